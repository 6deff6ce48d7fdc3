//! Batches that the kernel works on while the next ones are made.

use super::stages::{IPIP, ipip, node};
use super::*;

#[test]
fn many_routes_are_written_ahead_of_their_answers_and_counted_when_those_come() {
    Bench::run(async |bench| {
        bench.kernel.with(|kernel| kernel.late_answers = true);
        bench.worker.config.nexthop_objects = false;
        bench.worker.resync(bench.now).await.unwrap();
        bench.apply((0..2_000).map(|i| remote(i, 2)).collect());
        bench.worker.turn(bench.now).await;
        bench.worker.turn(bench.now).await;
        assert_eq!(bench.kernel.routes().len(), 2 * BATCH);
        assert_eq!(
            bench.worker.routes.counts().actual,
            0,
            "nothing is answered"
        );
        bench.settle().await;
        let status = bench.status();
        assert_eq!(
            (status.writes, status.actual, status.pending),
            (2_000, 2_000, 0)
        );
    });
}

#[test]
fn a_wish_that_changes_while_its_route_is_written_is_written_after_that() {
    for gone in [false, true] {
        Bench::run(async |bench| {
            bench.kernel.with(|kernel| kernel.late_answers = true);
            bench.worker.config.nexthop_objects = false;
            bench.worker.resync(bench.now).await.unwrap();
            bench.apply((0..300).map(|i| remote(i, 2)).collect());
            bench.worker.turn(bench.now).await;
            assert!(!bench.worker.ahead.is_empty());
            let first = bench.kernel.with(|kernel| kernel.batches[0][0].clone());
            let Write::Set { key: written, .. } = first else {
                panic!("{first:?}");
            };
            let wish = match gone {
                true => Change::RemoveRoute(written.prefix),
                false => Change::SetRoute(
                    written.prefix,
                    Route::Remote {
                        next_hops: smallvec![[172, 18, 0, 9].into()],
                        encapsulation: Encapsulation::None,
                    },
                ),
            };
            bench.apply(vec![wish]);
            bench.settle().await;
            let routes = bench.kernel.routes();
            assert_eq!(routes.len(), 300 - usize::from(gone));
            let nine: Option<IpAddr> = Some([172, 18, 0, 9].into());
            let via = routes.get(&written).map(|spec| spec.hops()[0].via);
            assert_eq!(via, (!gone).then_some(nine));
            assert_eq!(bench.status().writes, 301);
            assert_eq!(bench.status().counters.refused, BTreeMap::new());
        });
    }
}

#[test]
fn a_workload_is_written_behind_what_was_begun_and_answered_before_the_rest() {
    Bench::run(async |bench| {
        bench.kernel.add_link("cali1", LinkKind::Ordinary);
        bench.deliver();
        bench.kernel.with(|kernel| kernel.late_answers = true);
        bench.worker.config.nexthop_objects = false;
        bench.worker.resync(bench.now).await.unwrap();
        bench.apply((0..5_000).map(|i| remote(i, 2)).collect());
        bench.worker.turn(bench.now).await;
        bench.worker.turn(bench.now).await;
        bench.apply(vec![workload("cali1", "10.233.1.7")]);
        bench.worker.turn(bench.now).await;
        assert!(bench.worker.ahead.is_empty());
        assert!(bench.worker.routes.installed(&key("10.233.1.7/32")));
        let sizes = bench.kernel.with(|kernel| {
            let batches = kernel.batches.iter().map(Vec::len);
            batches.collect::<Vec<_>>()
        });
        assert_eq!(sizes, [BATCH, BATCH, BATCH_HURRIED]);
    });
}

#[test]
fn when_a_batch_has_no_answer_the_ones_behind_it_are_waited_for_and_the_kernel_is_read() {
    Bench::run(async |bench| {
        bench.worker.config.nexthop_objects = false;
        bench.worker.resync(bench.now).await.unwrap();
        bench.kernel.with(|kernel| {
            kernel.late_answers = true;
            kernel.fail_writes = 1;
        });
        bench.apply((0..2_000).map(|i| remote(i, 2)).collect());
        for _ in 0..3 {
            bench.worker.turn(bench.now).await;
        }
        assert!(bench.worker.ahead.is_empty());
        assert!(bench.worker.timing.hold.is_some());
        bench.wait_out(Duration::from_secs(1)).await;
        assert_eq!(bench.kernel.routes().len(), 2_000);
        let status = bench.status();
        assert_eq!((status.actual, status.pending), (2_000, 0));
        assert_eq!(status.counters.lost_batches, 1);
        assert_eq!(status.repairs, 0);
    });
}

/// One route takes the place of many: while it is not there, they are.
#[test]
fn nothing_is_deleted_behind_a_batch_that_failed() {
    Bench::run(async |bench| {
        bench.worker.config.nexthop_objects = false;
        bench.worker.resync(bench.now).await.unwrap();
        bench.apply((0..1_000).map(|i| remote(i, 2)).collect());
        bench.settle().await;
        bench.kernel.with(|kernel| {
            kernel.late_answers = true;
            kernel.fail_writes = 1;
        });
        let wider = net("10.64.0.0/14");
        let others = (2_000..2_300).map(|i| remote(i, 2));
        let mut changes: Vec<Change> = others.collect();
        let Change::SetRoute(_, route) = remote(0, 2) else {
            panic!("no route");
        };
        changes.push(Change::SetRoute(wider, route));
        let removed = (0..1_000).map(|i| {
            let prefix = format!("10.{}.{}.0/26", 64 + i / 256, i % 256);
            Change::RemoveRoute(net(&prefix))
        });
        changes.extend(removed);
        bench.apply(changes);
        let there = |bench: &Bench| {
            let routes = bench.kernel.routes();
            let narrow = |key: &Key| (64..68).contains(&second_octet(key));
            let narrower = routes.keys().filter(|key| key.prefix != wider);
            (
                routes.contains_key(&Key::new(wider, 0)),
                narrower.filter(|key| narrow(key)).count(),
            )
        };
        for _ in 0..200 {
            bench.worker.turn(bench.now).await;
            let (wide, narrow) = there(bench);
            assert!(wide || narrow == 1_000, "{narrow} are left, and no other");
        }
        bench.wait_out(Duration::from_secs(1)).await;
        assert_eq!(there(bench), (true, 0));
        let status = bench.status();
        assert_eq!((status.counters.lost_batches, status.pending), (1, 0));
    });
}

fn second_octet(key: &Key) -> u8 {
    match key.prefix.addr() {
        IpAddr::V4(address) => address.octets()[1],
        IpAddr::V6(_) => 0,
    }
}

#[test]
fn one_refused_route_of_a_batch_that_runs_ahead_is_tried_again_alone() {
    Bench::run(async |bench| {
        let bad = key("10.64.7.0/26");
        let mut left = 1;
        bench.kernel.with(|kernel| {
            kernel.late_answers = true;
            kernel.refuse = Some(Box::new(move |write| {
                let is_bad = matches!(write, Write::Set { key, .. } if *key == bad) && left > 0;
                is_bad.then(|| {
                    left -= 1;
                    refusal(libc::EINVAL, "Nexthop has invalid gateway")
                })
            }));
        });
        bench.worker.config.nexthop_objects = false;
        bench.worker.resync(bench.now).await.unwrap();
        bench.apply((0..1_000).map(|i| remote(i, 2)).collect());
        bench.settle().await;
        assert_eq!(bench.kernel.routes().len(), 999);
        bench.wait_out(Duration::from_secs(1)).await;
        assert_eq!(bench.kernel.routes().len(), 1_000);
        assert_eq!(bench.status().writes, 1_001);
    });
}

/// With nexthop objects, all others move elsewhere: not with the object of the one that stays.
#[test]
fn a_wish_that_waits_while_its_route_is_written_keeps_that_route() {
    for objects in [false, true] {
        Bench::run(async |bench| {
            bench.kernel.with(|kernel| kernel.has_ipip = true);
            bench.worker.config.nexthop_objects = objects;
            bench.worker.resync(bench.now).await.unwrap();
            bench.apply(vec![
                Change::SetGate(Gate::Open),
                Change::SetTunnels(Box::new(ipip())),
                Change::SetIpipEnd(node(), false),
            ]);
            bench.settle().await;
            bench.kernel.with(|kernel| kernel.late_answers = true);
            bench.apply((0..300).map(|i| remote(i, 2)).collect());
            bench.worker.turn(bench.now).await;
            bench.worker.turn(bench.now).await;
            assert!(!bench.worker.ahead.is_empty());
            let last = bench.kernel.with(|kernel| kernel.batches.last().cloned());
            let Some(Write::Set { key: written, .. }) = last.unwrap().pop() else {
                panic!("no route");
            };
            let others = (0..300).map(|i| remote(i, 3));
            let others = others.filter(|change| {
                !matches!(change, Change::SetRoute(prefix, _) if *prefix == written.prefix)
            });
            let mut changes: Vec<Change> = others.collect();
            changes.push(Change::SetRoute(
                written.prefix,
                Route::Remote {
                    next_hops: smallvec![node()],
                    encapsulation: IPIP,
                },
            ));
            bench.apply(changes);
            bench.settle().await;
            assert_eq!(bench.status().kept, 1);
            bench.worker.dirty.gate = true;
            bench.settle().await;
            let routes = bench.kernel.routes();
            assert_eq!(routes.len(), 300);
            let kept = &routes[&written].hops()[0];
            assert_eq!((kept.via, kept.device), (Some(node()), bench.index("eth0")));
            assert_eq!(bench.deletions(), 0);
        });
    }
}

#[test]
fn what_is_being_written_is_answered_before_its_device_is_taken_down() {
    Bench::run(async |bench| {
        bench.kernel.with(|kernel| kernel.late_answers = true);
        bench.worker.config.nexthop_objects = false;
        bench.worker.resync(bench.now).await.unwrap();
        bench.apply((0..300).map(|i| remote(i, 2)).collect());
        bench.worker.turn(bench.now).await;
        assert!(!bench.worker.ahead.is_empty());
        let down = DeviceChange::SetUp(bench.index("eth0"), false);
        let done = bench.worker.change_device(down, "eth0", bench.now).await;
        done.unwrap();
        assert!(bench.worker.ahead.is_empty());
        assert_eq!(bench.worker.routes.counts().actual, 0);
    });
}
