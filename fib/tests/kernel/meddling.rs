//! Programs that change, delete, flush or forge our routes; each is undone, counted and named.

use std::time::{Duration, Instant};

use caracal_fib::{Change, Config, Fib, FibStatus, Refused, Route};

use crate::harness::*;

#[test]
fn each_cause_of_a_repair_is_counted_in_both_families() {
    for (family, prefix, other) in [
        ("-4", "10.233.2.0/26", "172.18.0.66"),
        ("-6", "fd00:2::/122", "2001:db8:18::66"),
    ] {
        in_namespace(move || async move {
            let fib = start().await;
            fib.apply(vec![
                remote("10.233.2.0/26", &["172.18.0.2"]),
                remote("fd00:2::/122", &["2001:db8:18::2"]),
            ]);
            settle(&fib).await;
            let before = (ours("-4"), ours("-6"));
            let causes = |s: &FibStatus| {
                let causes = &s.counters.repairs;
                (causes.deleted, causes.replaced, causes.changed)
            };
            ip(&format!("{family} route del {prefix}"));
            until(&fib, "deleted", |s| {
                causes(s) == (1, 0, 0) && s.pending == 0
            })
            .await;
            ip(&format!(
                "{family} route replace {prefix} via {other} proto bird"
            ));
            until(&fib, "replaced", |s| {
                causes(s) == (1, 1, 0) && s.pending == 0
            })
            .await;
            ip(&format!(
                "{family} route replace {prefix} via {other} proto 67"
            ));
            let status = until(&fib, "changed", |s| {
                causes(s) == (1, 1, 1) && s.pending == 0
            })
            .await;
            assert_eq!((ours("-4"), ours("-6")), before);
            assert_eq!(
                (status.repairs, status.resyncs),
                (3, 1),
                "events are enough"
            );
            assert_eq!((status.counters.fights, status.contested), (0, 0));
        });
    }
}

/// Of both families, twenty thousand each: what events do not tell, one read does.
#[test]
fn a_flush_of_twenty_thousand_is_repaired_by_events_or_by_one_read() {
    for family in ["-4", "-6"] {
        in_namespace(move || async move {
            // `ip route flush` is at its limits with routes that lead to objects.
            let config = Config {
                nexthop_objects: false,
                ..Config::default()
            };
            let fib = Fib::start(config).await.unwrap();
            let wishes: Vec<_> = (0..20_000u32)
                .map(|i| match family {
                    "-4" => remote(
                        &format!("10.{}.{}.{}/26", 64 + i / 1024, i / 4 % 256, i % 4 * 64),
                        &["172.18.0.2"],
                    ),
                    _ => remote(&format!("fd00:{i:x}::/64"), &["2001:db8:18::2"]),
                })
                .collect();
            fib.apply(wishes);
            settle(&fib).await;
            let began = Instant::now();
            // It stumbles over routes that we write meanwhile; that is its business.
            try_ip(&format!("{family} route flush proto 67")).ok();
            // And deletes again what comes back meanwhile, up to ten times.
            while ours(family).len() < 20_000 {
                assert!(
                    began.elapsed() < 3 * PATIENCE,
                    "{:?}",
                    fib.status().borrow()
                );
                settle(&fib).await;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            let status = settle(&fib).await;
            let causes = &status.counters.repairs;
            assert!(status.resyncs <= 1 + reads_max(began), "{status:?}");
            assert_eq!(
                causes.deleted + causes.flushed + causes.unseen,
                status.repairs,
                "{status:?}"
            );
            println!(
                "{family}: {} by events, {} by {} reads",
                causes.deleted + causes.flushed,
                causes.unseen,
                status.resyncs - 1
            );
        });
    }
}

#[test]
fn a_program_that_never_stops_is_named_by_a_condition_and_not_fought_without_pause() {
    in_namespace(|| async {
        let fib = start().await;
        fib.apply(vec![
            remote("10.233.2.0/26", &["172.18.0.2"]),
            remote("fd00:2::/122", &["2001:db8:18::2"]),
        ]);
        let before = settle(&fib).await;
        // In two families at once, as fast as it can.
        let end = Instant::now() + Duration::from_secs(3);
        let mut foreign = 0;
        while Instant::now() < end || fib.status().borrow().contested < 2 {
            ip("route replace 10.233.2.0/26 via 172.18.0.66 proto dhcp");
            ip("-6 route replace fd00:2::/122 via 2001:db8:18::66 proto ra");
            foreign += 2;
            tokio::task::yield_now().await;
            assert!(Instant::now() < end + PATIENCE);
        }
        let status = until(&fib, "both are contested", |s| s.contested == 2).await;
        let writes = status.writes - before.writes;
        assert!(writes < 40, "{writes} writes against {foreign}");
        assert_eq!(status.counters.fights, 2);
        let condition = status
            .conditions
            .iter()
            .find(|(n, _)| n == "RouteContested");
        let (_, sentence) = condition.unwrap_or_else(|| panic!("{:?}", status.conditions));
        assert!(
            sentence.starts_with("10.233.2.0/26: changed or deleted "),
            "{sentence}"
        );
        assert!(sentence.contains("protocol dhcp"), "{sentence}");
        assert!(sentence.contains("1 more route"), "{sentence}");

        until_kernel("the last word is ours", || {
            ours("-4") == ["10.233.2.0/26 via 172.18.0.2 dev eth0"] && ours("-6").len() == 1
        })
        .await;
    });
}

#[test]
fn a_culprit_that_still_runs_is_named_by_its_program() {
    in_namespace(|| async {
        // The batch keeps one process with one socket, which waits for its next line.
        let mut culprit = std::process::Command::new("ip")
            .args(["-batch", "-"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = culprit.stdin.take().unwrap();
        let fib = start().await;
        fib.apply(vec![remote("10.233.2.0/26", &["172.18.0.2"])]);
        settle(&fib).await;
        for round in 1..=7 {
            use std::io::Write;
            writeln!(lines, "route del 10.233.2.0/26").unwrap();
            lines.flush().unwrap();
            until(&fib, "noticed", |s| s.repairs == round).await;
            until_kernel("repaired", || !ours("-4").is_empty()).await;
        }
        let status = until(&fib, "contested", |s| s.contested == 1).await;
        let (_, sentence) = &status.conditions[0];
        let named = format!("the last time by ip (process {})", culprit.id());
        assert!(sentence.contains(&named), "{sentence}");
        drop(lines);
        culprit.wait().unwrap();
    });
}

#[test]
fn a_route_forged_with_our_number_is_removed_under_the_gate() {
    in_namespace(|| async {
        let fib = start().await;
        ip("route add 10.99.0.0/16 via 172.18.0.66 proto 67");
        ip("-6 route add fd99::/64 via 2001:db8:18::66 proto 67");
        let status = until(&fib, "seen", |s| s.stale == 2).await;
        assert_eq!(status.counters.intruders_removed, 0, "the gate is closed");
        fib.apply(vec![open()]);
        until(&fib, "removed", |s| s.counters.intruders_removed == 2).await;
        assert_eq!((ours("-4").len(), ours("-6").len()), (0, 0));
        ip("route add blackhole 10.98.0.0/16 proto 67");
        let status = until(&fib, "removed", |s| s.counters.intruders_removed == 3).await;
        assert_eq!((status.repairs, status.writes), (0, 3));
    });
}

/// A burst of changes that is larger than the room for events, while our own wishes change too.
#[test]
fn a_burst_that_overruns_the_events_ends_as_desired() {
    in_namespace(|| async {
        let fib = Fib::start(Config::default()).await.unwrap();
        let wish = |i: u32, host: u8| {
            let prefix = format!("10.{}.{}.0/24", 64 + i / 256, i % 256);
            remote(&prefix, &[&format!("172.18.0.{host}")])
        };
        fib.apply((0..5_000).map(|i| wish(i, 2)).collect());
        settle(&fib).await;
        let mut lines = String::new();
        for round in 0..8 {
            for i in 0..5_000u32 {
                let prefix = format!("10.{}.{}.0/24", 64 + i / 256, i % 256);
                lines += &match (i + round) % 3 {
                    0 => format!("route del {prefix}\n"),
                    1 => format!("route replace {prefix} via 172.18.0.66 proto static\n"),
                    _ => format!("route replace {prefix} via 172.18.0.66 proto 67\n"),
                };
            }
        }
        let began = Instant::now();
        let burst = tokio::task::spawn_blocking({
            let namespace = std::fs::File::open("/proc/thread-self/ns/net").unwrap();
            move || {
                rustix::thread::move_into_link_name_space(
                    std::os::fd::AsFd::as_fd(&namespace),
                    None,
                )
                .unwrap();
                batch(&lines);
            }
        });
        fib.apply((0..5_000).map(|i| wish(i, 3)).collect());
        burst.await.unwrap();
        let desired: Vec<String> = (0..5_000u32)
            .map(|i| {
                let prefix = format!("10.{}.{}.0/24", 64 + i / 256, i % 256);
                format!("{prefix} via 172.18.0.3 dev eth0")
            })
            .collect();
        until_kernel("as desired", || ours("-4") == desired).await;
        let status = settle(&fib).await;
        assert!(status.resyncs <= 1 + reads_max(began), "{status:?}");
        println!("{} overruns, {} reads", status.overruns, status.resyncs);
    });
}

#[test]
fn what_the_kernel_refuses_is_counted_by_kind_and_holds_nobody_back() {
    in_namespace(|| async {
        let fib = start().await;
        let through = |prefix: &str, via: &str, device: &str| {
            let next_hops = vec![(address(via), device.into())];
            Change::SetRoute(net(prefix), Route::Links { next_hops })
        };
        fib.apply(vec![
            // No neighbours of this device.
            through("10.233.2.0/26", "192.0.2.1", "eth0"),
            through("fd00:2::/122", "2001:db8:99::1", "eth0"),
            remote("10.233.4.0/26", &["172.18.0.2"]),
            remote("fd00:4::/122", &["2001:db8:18::2"]),
        ]);
        let status = until(&fib, "refused", |s| s.failed == 2 && s.pending == 2).await;
        assert_eq!(ours("-4"), ["10.233.4.0/26 via 172.18.0.2 dev eth0"]);
        assert_eq!(ours("-6").len(), 1);
        assert!(
            status.counters.refused[&Refused::Unreachable] >= 2,
            "{status:?}"
        );
        let (name, sentence) = &status.conditions[0];
        assert_eq!(name, "RouteRefused");
        assert!(
            sentence.contains("2 routes, of them 10.233.2.0/26"),
            "{sentence}"
        );
        assert!(sentence.contains("see `caracalctl fib`") || sentence.contains("`ip address`"));

        ip("addr add 192.0.2.9/24 dev eth0");
        ip("addr add 2001:db8:99::9/64 dev eth0 nodad");
        settle(&fib).await;
        assert_eq!(ours("-4").len(), 2);
    });
}

/// Older kernels refused IPv6 routes beyond `net.ipv6.route.max_size`; newer ones (6.3) do not.
#[test]
fn the_limit_of_the_ipv6_table_is_a_condition_where_the_kernel_has_one() {
    in_namespace(|| async {
        std::fs::write("/proc/sys/net/ipv6/route/max_size", "16").unwrap();
        let fib = start().await;
        fib.apply(
            (0..200u32)
                .map(|i| remote(&format!("fd00:{i:x}::/64"), &["2001:db8:18::2"]))
                .collect(),
        );
        fib.routes().await.unwrap();
        let status = until(&fib, "tried", |s| s.pending == s.failed).await;
        let named = status
            .conditions
            .iter()
            .any(|(name, _)| name == "TableFull");
        assert_eq!(named, status.failed > 0, "{status:?}");
        assert_eq!(status.actual + status.failed, 200);
        assert_eq!(ours("-6").len(), status.actual);
        println!("{} of 200 refused", status.failed);
        std::fs::write("/proc/sys/net/ipv6/route/max_size", "100000").unwrap();
        settle(&fib).await;
        assert_eq!(ours("-6").len(), 200);
    });
}

/// Reads that events ask for have a pause of half a second between them.
fn reads_max(since: Instant) -> u64 {
    1 + since.elapsed().as_millis() as u64 / 500
}

#[test]
fn a_route_that_takes_the_packets_of_ours_is_named_and_left_alone() {
    in_namespace(|| async {
        let config = Config {
            metric: 1024,
            ..Config::default()
        };
        let fib = Fib::start(config).await.unwrap();
        fib.apply(vec![
            remote("10.233.2.0/26", &["172.18.0.2"]),
            remote("fd00:2::/122", &["2001:db8:18::2"]),
        ]);
        let before = settle(&fib).await;
        for (family, change, undo, named) in [
            (
                "-4",
                "add 10.233.2.0/26 via 172.18.0.66 proto static",
                "del 10.233.2.0/26 metric 0 proto static",
                "10.233.2.0/26: a route of protocol static with metric 0 ",
            ),
            (
                "-6",
                "add fd00:2::/122 via 2001:db8:18::66 metric 7 proto static",
                "del fd00:2::/122 metric 7 proto static",
                "fd00:2::/122: a route of protocol static with metric 7 ",
            ),
            (
                "-4",
                "prepend 10.233.2.0/26 via 172.18.0.66 metric 1024 proto static",
                "del 10.233.2.0/26 metric 1024 proto static",
                "10.233.2.0/26: a route of protocol static with metric 1024 ",
            ),
        ] {
            ip(&format!("{family} route {change}"));
            let status = until(&fib, change, |s| !s.conditions.is_empty()).await;
            let (name, sentence) = &status.conditions[0];
            assert_eq!(name, "RouteShadowed");
            assert!(sentence.starts_with(named), "{sentence}");
            ip(&format!("{family} route {undo}"));
            until(&fib, undo, |s| s.conditions.is_empty()).await;
        }
        let status = settle(&fib).await;
        assert_eq!((status.writes, status.repairs), (before.writes, 0));
    });
}
