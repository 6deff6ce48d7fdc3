//! Metrics, sources and sysctls that the settings decide; workloads that move.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use caracal_fib::{Change, Endpoint, Settings, Standing};

use crate::harness::*;

#[test]
fn a_changed_metric_leaves_no_moment_without_a_route() {
    in_namespace(|| async {
        add_cali("cali1");
        let fib = start().await;
        fib.apply(vec![
            settings(|settings| settings.metric_v4 = 1024),
            workload("cali1", &["10.233.1.7", "fd00:233::7"]),
            remote("10.64.1.0/26", &["172.18.0.2"]),
            remote("10.64.2.0/26", &["172.18.0.2", "172.18.0.3"]),
            remote("fd00:2::/122", &["2001:db8:18::2"]),
            Change::SetRoute(net("10.233.1.0/26"), caracal_fib::Route::Blackhole),
        ]);
        settle(&fib).await;
        let before = all();
        // The route of two ways takes three lines.
        assert_eq!(before.len(), 8, "{before:?}");
        let changed = |text: &str| -> Vec<String> {
            let lines = before.iter();
            lines
                .map(|line| line.replace("metric 1024", text))
                .collect()
        };

        let monitor = Monitor::start();
        fib.apply(vec![settings(|settings| {
            settings.metric_v4 = 100;
            settings.metric_v6 = 100;
        })]);
        settle(&fib).await;
        assert_eq!(all(), changed("metric 100"));
        let (added, deleted) = monitor.end();
        assert_eq!(
            (added.len(), deleted.len()),
            (6, 6),
            "{added:?} {deleted:?}"
        );
        for (at, prefix) in &deleted {
            let new = added.iter().find(|(_, added)| added == prefix);
            assert!(new.is_some_and(|(new, _)| new < at), "{prefix} went first");
        }
    });
}

#[test]
fn a_workload_that_moves_here_has_a_better_route_for_a_while() {
    in_namespace(|| async {
        add_cali("cali1");
        let fib = start().await;
        let moving = |standing| {
            Change::SetEndpoint(
                "cali1".into(),
                Endpoint {
                    addresses: vec![address("10.233.1.7"), address("fd00:233::7")],
                    mac: [2, 0, 0, 0, 0, 7],
                    standing,
                    ..Endpoint::default()
                },
            )
        };
        fib.apply(vec![
            settings(|settings| settings.metric_v4 = 1024),
            moving(Standing::Awaited),
        ]);
        fib.endpoint_settled("cali1", PATIENCE).await.unwrap();
        assert!(all().is_empty(), "{:?}", all());
        assert!(ip("neigh show dev cali1 nud permanent").contains("10.233.1.7"));
        for (standing, metric) in [(Standing::Elevated, 512), (Standing::Normal, 1024)] {
            fib.apply(vec![moving(standing)]);
            settle(&fib).await;
            assert_eq!(
                all(),
                [
                    format!("10.233.1.7 dev cali1 scope link metric {metric}"),
                    format!("fd00:233::7 dev cali1 metric {metric} pref medium"),
                ]
            );
        }
    });
}

#[test]
fn packets_to_workloads_have_the_source_that_the_settings_say() {
    in_namespace(|| async {
        add_cali("cali1");
        ip("link set lo up");
        ip("address add 192.0.2.1/32 dev lo");
        let fib = start().await;
        fib.apply(vec![
            settings(|settings| settings.source_v4 = "192.0.2.1".parse().ok()),
            workload("cali1", &["10.233.1.7"]),
        ]);
        fib.endpoint_settled("cali1", PATIENCE).await.unwrap();
        assert_eq!(
            ours("-4"),
            ["10.233.1.7 dev cali1 scope link src 192.0.2.1"]
        );
        assert!(ip("route get 10.233.1.7").contains("src 192.0.2.1"));
        // An address that the node has not is no source.
        ip("address delete 192.0.2.1/32 dev lo");
        until_kernel("a route without", || {
            ours("-4") == ["10.233.1.7 dev cali1 scope link"]
        })
        .await;
    });
}

#[test]
fn reverse_paths_are_not_checked_of_a_workload_that_may_send_from_other_addresses() {
    in_namespace(|| async {
        add_cali("cali1");
        let fib = start().await;
        let by_default = sysctl("ipv4/conf/default/rp_filter");
        std::fs::write("/proc/sys/net/ipv4/conf/cali1/rp_filter", "2").unwrap();
        for (may_spoof, expected) in [(true, "0"), (false, by_default.as_str())] {
            let endpoint = Endpoint {
                addresses: vec![address("10.233.1.7")],
                mac: [2, 0, 0, 0, 0, 7],
                may_spoof,
                ..Endpoint::default()
            };
            fib.apply(vec![Change::SetEndpoint("cali1".into(), endpoint)]);
            fib.endpoint_settled("cali1", PATIENCE).await.unwrap();
            assert_eq!(sysctl("ipv4/conf/cali1/rp_filter"), expected);
        }
    });
}

#[test]
fn forwarding_is_left_alone_until_it_is_wanted() {
    in_namespace(|| async {
        add_cali("cali1");
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap();
        let fib = start().await;
        fib.apply(vec![
            settings(|settings| settings.forwarding = false),
            workload("cali1", &["10.233.1.7"]),
        ]);
        fib.endpoint_settled("cali1", PATIENCE).await.unwrap();
        assert_eq!(sysctl("ipv4/ip_forward"), "0");
        fib.apply(vec![settings(|_| ())]);
        until_kernel("forwarding", || sysctl("ipv4/ip_forward") == "1").await;
    });
}

fn settings(change: impl FnOnce(&mut Settings)) -> Change {
    let mut settings = Settings::default();
    change(&mut settings);
    Change::SetSettings(Box::new(settings))
}

fn all() -> Vec<String> {
    [ours("-4"), ours("-6")].concat()
}

fn sysctl(path: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/sys/net/{path}"));
    text.unwrap().trim().to_owned()
}

/// The kernel's own report of route changes.
struct Monitor {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Monitor {
    fn start() -> Monitor {
        let mut child = Command::new("ip")
            .args(["-oneline", "monitor", "route"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        let (tell, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in said.lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        let monitor = Monitor { child, lines };
        // From the moment on at which it tells of this, it tells of everything.
        loop {
            ip("route replace blackhole 203.0.113.1 proto 99");
            let mut heard = std::iter::from_fn(|| monitor.lines.recv_timeout(PAUSE).ok());
            if heard.any(|line| line.contains("203.0.113.1")) {
                return monitor;
            }
            ip("route delete blackhole 203.0.113.1 proto 99");
        }
    }

    /// Prefixes that were added and deleted, each with its place in the order.
    fn end(mut self) -> (Vec<Seen>, Vec<Seen>) {
        ip("route add blackhole 203.0.113.2 proto 99");
        let (mut added, mut deleted) = (Vec::new(), Vec::new());
        for at in 0.. {
            let line = self.lines.recv_timeout(PATIENCE).unwrap();
            if line.contains("203.0.113.2") {
                break;
            }
            if !line.contains("proto 67") {
                continue;
            }
            let mut words = line.split_whitespace().peekable();
            let list = match words.next_if_eq(&"Deleted") {
                Some(_) => &mut deleted,
                None => &mut added,
            };
            let prefix = words.find(|word| word.contains(['.', ':']));
            list.push((at, prefix.unwrap_or_default().to_owned()));
        }
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        (added, deleted)
    }
}

/// A prefix, and its place in the order.
type Seen = (usize, String);

/// How long a line of the monitor may be on its way before it is asked for again.
const PAUSE: Duration = Duration::from_millis(100);
