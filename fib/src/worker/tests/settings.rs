//! Settings that change, and workloads that move, on a kernel in memory.

use super::*;
use crate::model::Standing;
use crate::settings::{MtuDevices, Settings};

#[test]
fn routes_that_change_their_metric_are_there_all_the_time() {
    Bench::run(async |bench| {
        with_cali(bench, &["cali1"]);
        bench.apply(vec![workload("cali1", "10.233.1.7"), metric(1024)]);
        bench.apply((0..600).map(|i| remote(i, 2)).collect());
        bench.settle().await;
        assert_eq!(metrics(bench), BTreeSet::from([1024]));

        bench.kernel.with(|kernel| kernel.batches.clear());
        bench.apply(vec![metric(100)]);
        bench.settle().await;
        assert_eq!(metrics(bench), BTreeSet::from([100]));
        assert_eq!(bench.kernel.routes().len(), 601);
        never_without(bench, 1024, 601);
        let status = bench.status();
        assert_eq!((status.pending, status.stale, status.repairs), (0, 0, 0));
        let writes = status.writes;

        // To say the same again costs nothing.
        bench.apply(vec![metric(100)]);
        bench.settle().await;
        assert_eq!(bench.status().writes, writes);
    });
}

#[test]
fn a_read_that_is_due_after_lost_events_is_not_put_off_by_other_settings() {
    Bench::run(async |bench| {
        bench.apply(vec![remote(1, 2)]);
        bench.settle().await;
        bench.kernel.foreign_delete(key("10.64.1.0/26"));
        bench
            .kernel
            .with(|kernel| kernel.events = vec![Event::Overrun]);
        bench.deliver();
        bench.apply(vec![Change::SetSettings(Box::new(Settings {
            elevated_metric_v4: 50,
            ..Settings::default()
        }))]);
        bench.wait_out(Duration::from_secs(10)).await;
        assert_eq!(bench.kernel.routes().len(), 1);
    });
}

/// Found by a story: its answers were lost, and the object's number was taken for somebody else's.
#[test]
fn a_route_that_moves_while_nothing_is_known_of_it_does_not_keep_us_awake() {
    for there in [false, true] {
        Bench::run(async |bench| {
            if there {
                bench.apply(vec![metric(100), remote(1, 3)]);
                bench.settle().await;
            }
            bench.kernel.with(|kernel| {
                kernel.fail_reads = 5;
                kernel.fail_writes = 1;
                kernel.lose_answers = 1;
            });
            bench.apply(vec![metric(100), remote(1, 2)]);
            bench.worker.turn(bench.now).await;
            bench.apply(vec![metric(0)]);
            bench.wait_out(Duration::from_secs(300)).await;
            assert_eq!(metrics(bench), BTreeSet::from([0]));
            assert_eq!(bench.kernel.routes().len(), 1);
            let status = bench.status();
            assert_eq!((status.pending, status.stale), (0, 0), "{status:?}");
        });
    }
}

#[test]
fn an_old_metric_goes_when_the_answer_to_the_new_one_was_lost() {
    Bench::run(async |bench| {
        bench.apply(vec![remote(1, 2)]);
        bench.settle().await;
        bench.kernel.with(|kernel| kernel.lose_answers = 1);
        bench.apply(vec![metric(100)]);
        bench.wait_out(Duration::from_secs(1)).await;
        assert_eq!(metrics(bench), BTreeSet::from([100]));
    });
}

#[test]
fn a_route_that_was_deleted_while_its_metric_changes_does_not_stay() {
    Bench::run(async |bench| {
        with_cali(bench, &["cali1"]);
        let prefix = net("10.233.1.7/32");
        let route = Route::Remote {
            next_hops: smallvec![[172, 18, 0, 2].into()],
            encapsulation: Encapsulation::None,
        };
        bench.apply(vec![
            Change::SetRoute(prefix, route),
            Change::SetGate(Gate::Open),
        ]);
        bench.settle().await;
        bench.apply(vec![standing("cali1", Standing::Elevated)]);
        // It is still ours to repair, and is written after the new one.
        bench.kernel.foreign_delete(Key::new(prefix, 0));
        bench.settle().await;
        assert_eq!(metrics(bench), BTreeSet::from([512]));
        assert_eq!(bench.status().stale, 0);
    });
}

#[test]
fn a_route_keeps_its_old_metric_while_the_new_one_is_refused() {
    Bench::run(async |bench| {
        bench.apply(vec![metric(1024), remote(1, 2)]);
        bench.settle().await;
        bench.kernel.with(|kernel| {
            let mut left = 2;
            kernel.refuse = Some(Box::new(move |write| match write {
                Write::Set { key, .. } if key.metric == 100 && left > 0 => {
                    left -= 1;
                    Some(refusal(libc::EINVAL, "not now"))
                }
                _ => None,
            }));
        });
        bench.apply(vec![metric(100)]);
        bench.settle().await;
        assert_eq!(metrics(bench), BTreeSet::from([1024]));
        // And it is still ours to repair.
        bench
            .kernel
            .foreign_delete(Key::new(net("10.64.1.0/26"), 1024));
        bench.settle().await;
        assert_eq!(metrics(bench), BTreeSet::from([1024]));
        bench.wait_out(Duration::from_secs(5)).await;
        assert_eq!(metrics(bench), BTreeSet::from([100]));
    });
}

#[test]
fn a_restart_with_another_metric_replaces_what_it_finds() {
    let kernel = FakeKernel::default();
    let eth0 = kernel.add_link("eth0", LinkKind::Ordinary);
    kernel.add_address(eth0, "172.18.0.1/16");
    Bench::run_on(kernel.clone(), async |bench| {
        bench.apply((0..3).map(|i| remote(i, 2)).collect());
        bench.settle().await;
        assert_eq!(metrics(bench), BTreeSet::from([0]));
    });
    Bench::run_on(kernel, async |bench| {
        bench.apply(vec![metric(1024)]);
        bench.apply((0..2).map(|i| remote(i, 2)).collect());
        bench.settle().await;
        // The gate is closed: what nobody desires stays as it is.
        let old = [net("10.64.2.0/26")].map(|prefix| Key { prefix, metric: 0 });
        let new = (0..2).map(|i| Key::new(net(&format!("10.64.{i}.0/26")), 1024));
        let expected: BTreeSet<Key> = old.into_iter().chain(new).collect();
        assert_eq!(
            bench.kernel.routes().into_keys().collect::<BTreeSet<_>>(),
            expected
        );
        bench.apply(vec![Change::SetGate(Gate::Open)]);
        bench.settle().await;
        assert_eq!(metrics(bench), BTreeSet::from([1024]));
    });
}

#[test]
fn a_workload_that_moves_here_has_no_route_then_a_better_one_then_an_ordinary_one() {
    Bench::run(async |bench| {
        with_cali(bench, &["cali1"]);
        bench.apply(vec![metric(1024), standing("cali1", Standing::Awaited)]);
        let mut answer = ask_settled(bench, "cali1");
        bench.settle().await;
        assert!(answer.try_recv().unwrap().is_ok(), "its neighbour is there");
        assert!(bench.kernel.routes().is_empty());

        bench.apply(vec![standing("cali1", Standing::Elevated)]);
        bench.settle().await;
        assert_eq!(metrics(bench), BTreeSet::from([512]));

        bench.kernel.with(|kernel| kernel.batches.clear());
        bench.apply(vec![standing("cali1", Standing::Normal)]);
        bench.settle().await;
        assert_eq!(metrics(bench), BTreeSet::from([1024]));
        never_without(bench, 512, 1);

        // It moves on, and nothing is left of any metric.
        bench.apply(vec![standing("cali1", Standing::Elevated)]);
        bench.apply(vec![Change::RemoveEndpoint("cali1".into())]);
        bench.settle().await;
        assert!(bench.kernel.routes().is_empty());
        assert_eq!(bench.status().stale, 0);
    });
}

#[test]
fn the_route_of_a_workload_gives_way_to_that_of_the_block_under_another_metric() {
    Bench::run(async |bench| {
        with_cali(bench, &["cali1"]);
        let elsewhere = Change::SetRoute(
            net("10.233.1.7/32"),
            Route::Remote {
                next_hops: smallvec![[172, 18, 0, 9].into()],
                encapsulation: Encapsulation::None,
            },
        );
        bench.apply(vec![
            metric(1024),
            elsewhere,
            standing("cali1", Standing::Elevated),
        ]);
        bench.settle().await;
        assert_eq!(metrics(bench), BTreeSet::from([512]));
        bench.kernel.with(|kernel| kernel.batches.clear());
        bench.apply(vec![Change::RemoveEndpoint("cali1".into())]);
        bench.settle().await;
        assert_eq!(metrics(bench), BTreeSet::from([1024]));
        never_without(bench, 512, 1);
    });
}

#[test]
fn the_source_of_packets_to_workloads_is_written_while_a_device_has_it() {
    Bench::run(async |bench| {
        with_cali(bench, &["cali1"]);
        let source: std::net::Ipv4Addr = "192.0.2.1".parse().unwrap();
        let settings = Settings {
            source_v4: Some(source),
            ..Settings::default()
        };
        bench.apply(vec![
            workload("cali1", "10.233.1.7"),
            remote(1, 2),
            Change::SetSettings(Box::new(settings)),
        ]);
        bench.settle().await;
        let of = |bench: &Bench, prefix| bench.kernel.routes()[&key(prefix)].source.clone();
        assert_eq!(of(bench, "10.233.1.7/32"), None);

        let lo = bench.kernel.add_link("lo", LinkKind::Loopback);
        bench.kernel.add_address(lo, "192.0.2.1/32");
        bench.settle().await;
        assert_eq!(of(bench, "10.233.1.7/32"), Some(Box::new(source.into())));
        assert_eq!(of(bench, "10.64.1.0/26"), None, "only of workloads");
    });
}

#[test]
fn the_kernel_is_read_as_often_as_the_settings_say() {
    Bench::run(async |bench| {
        let verify = |seconds| {
            Change::SetSettings(Box::new(Settings {
                verify_interval: Duration::from_secs(seconds),
                ..Settings::default()
            }))
        };
        let reads = |bench: &Bench| bench.kernel.with(|kernel| kernel.reads);
        bench.apply(vec![verify(10)]);
        bench.wait_out(Duration::from_secs(35)).await;
        assert_eq!(reads(bench), 1 + 3);
        bench.apply(vec![verify(0)]);
        bench.wait_out(Duration::from_secs(100_000)).await;
        assert_eq!(reads(bench), 1 + 3);
    });
}

#[test]
fn the_kernel_is_not_read_without_pause_nor_is_any_interval_too_long() {
    Bench::run(async |bench| {
        let verify = |verify_interval| {
            Change::SetSettings(Box::new(Settings {
                verify_interval,
                ..Settings::default()
            }))
        };
        let reads = |bench: &Bench| bench.kernel.with(|kernel| kernel.reads);
        bench.apply(vec![verify(Duration::from_nanos(1))]);
        bench.wait_out(Duration::from_millis(3_500)).await;
        assert_eq!(reads(bench), 1 + 3);
        bench.apply(vec![verify(Duration::MAX)]);
        bench.wait_out(Duration::from_secs(100_000)).await;
        assert_eq!(reads(bench), 1 + 3);
        let config = Config {
            verify_interval: Duration::MAX,
            ..bench.worker.config.clone()
        };
        Worker::start(bench.kernel.clone(), config, bench.now)
            .await
            .unwrap();
    });
}

#[test]
fn the_mtu_of_the_host_is_that_of_the_devices_that_are_meant() {
    Bench::run(async |bench| {
        let mtu = |bench: &Bench, name: &str, octets| {
            let device = bench.kernel.add_link(name, LinkKind::Ordinary);
            bench.kernel.with(|kernel| {
                let link = kernel.links.get_mut(&device).unwrap();
                link.mtu = octets;
                kernel.events.push(Event::Link(link.clone()));
            });
        };
        mtu(bench, "bond0", 9000);
        mtu(bench, "bond1", 8000);
        bench.settle().await;
        let subnet = bench.status().host_mtu;
        let pattern = |text: &str| {
            Change::SetSettings(Box::new(Settings {
                mtu_devices: MtuDevices::matching(text).unwrap(),
                ..Settings::default()
            }))
        };
        bench.apply(vec![pattern("^bond\\d")]);
        bench.settle().await;
        assert_eq!(bench.status().host_mtu, Some(8000));
        bench.apply(vec![pattern("^none of these$")]);
        bench.settle().await;
        assert_eq!(bench.status().host_mtu, subnet, "as without a pattern");
        assert!(MtuDevices::matching("eth(").is_err());
    });
}

/// In each state that the kernel went through, each of so many prefixes that had this metric had a route.
fn never_without(bench: &Bench, metric: u32, prefixes: usize) {
    let batches = bench.kernel.with(|kernel| kernel.batches.clone());
    let mut set = BTreeSet::new();
    let mut deleted = 0;
    for write in batches.iter().flatten() {
        match write {
            Write::Set { key, .. } => {
                set.insert(key.prefix);
            }
            Write::Delete { key, .. } => {
                assert_eq!(key.metric, metric);
                assert!(set.contains(&key.prefix), "{} went first", key.prefix);
                deleted += 1;
            }
            Write::SetObject { .. } | Write::DeleteObject { .. } => {}
        }
    }
    assert_eq!(deleted, prefixes);
}

fn metrics(bench: &Bench) -> BTreeSet<u32> {
    let routes = bench.kernel.routes();
    routes.keys().map(|key| key.metric).collect()
}

fn with_cali(bench: &mut Bench, devices: &[&str]) {
    for device in devices {
        bench.kernel.add_link(device, LinkKind::Ordinary);
    }
    bench.deliver();
}

fn ask_settled(bench: &mut Bench, device: &str) -> oneshot::Receiver<Result<(), FibError>> {
    let (reply, answer) = oneshot::channel();
    let ask = Command::Settled {
        device: device.into(),
        patience: Duration::from_secs(60),
        reply,
    };
    bench.worker.handle_command(ask, bench.now);
    answer
}

fn metric(metric: u32) -> Change {
    Change::SetSettings(Box::new(Settings {
        metric_v4: metric,
        ..Settings::default()
    }))
}

fn standing(device: &str, standing: Standing) -> Change {
    Change::SetEndpoint(
        device.into(),
        Endpoint {
            addresses: vec!["10.233.1.7".parse().unwrap()],
            mac: [2, 0, 0, 0, 0, 7],
            standing,
            may_spoof: false,
        },
    )
}
