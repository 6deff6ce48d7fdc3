//! What others do, and what we do about it.

use std::sync::atomic::Ordering::Relaxed;

use super::*;
use crate::counters::Refused;
use crate::kernel::Spec;

#[test]
fn a_contested_route_is_a_condition_that_names_it_and_clears_itself() {
    Bench::run(async |bench| {
        bench.apply(vec![remote(1, 2), remote(2, 2)]);
        bench.settle().await;
        let contested = key("10.64.1.0/26");
        // Whoever it is undoes it the moment it is there, for ten minutes.
        let end = bench.now + Duration::from_secs(600);
        while bench.now < end {
            if bench.kernel.routes().contains_key(&contested) {
                bench.kernel.foreign_delete(contested);
            }
            let next = bench.settle().await;
            if !bench.kernel.routes().contains_key(&contested) {
                bench.now = next;
            }
        }
        let status = bench.status();
        assert!(status.writes < 40, "{} writes", status.writes);
        assert_eq!((status.contested, status.counters.fights), (1, 1));
        let (name, sentence) = &status.conditions[0];
        assert_eq!(name, "RouteContested");
        let count = status.repairs;
        let begins = format!("10.64.1.0/26: changed or deleted {count} times by others");
        assert!(sentence.starts_with(&begins), "{sentence}");
        assert!(sentence.contains("process 4242"), "{sentence}");

        bench.wait_out(Duration::from_secs(100)).await;
        assert_eq!(bench.kernel.routes().len(), 2);
        let status = bench.status();
        assert_eq!((status.conditions, status.contested), (vec![], 0));
        assert_eq!(status.failed, 0);
    });
}

#[test]
fn a_route_with_our_number_that_nobody_desires_is_removed_when_the_gate_is_open() {
    Bench::run(async |bench| {
        let intruder = key("10.99.0.0/16");
        bench.kernel.foreign_set(intruder, Spec::blackhole(67));
        bench.settle().await;
        assert_eq!(bench.status().stale, 1, "the gate is closed");
        assert_eq!(bench.status().counters.intruders_removed, 0);
        bench.apply(vec![Change::SetGate(Gate::Open)]);
        bench.settle().await;
        assert_eq!(bench.kernel.routes().len(), 0);
        assert_eq!(bench.status().counters.intruders_removed, 1);
        assert_eq!(bench.status().repairs, 0, "no route of ours was touched");

        for _ in 0..100 {
            bench.kernel.foreign_set(intruder, Spec::blackhole(67));
            bench.settle().await;
        }
        let writes = bench.status().writes;
        assert!(writes < 10, "{writes} deletions in no time");
        bench.wait_out(Duration::from_secs(60)).await;
        assert_eq!(bench.kernel.routes().len(), 0, "nor is it left");
    });
}

#[test]
fn of_intruders_those_are_remembered_that_are_there() {
    Bench::run(async |bench| {
        let intruder = |i: u32| key(&format!("10.99.{i}.0/24"));
        for i in 0..100 {
            bench.kernel.foreign_set(intruder(i), Spec::blackhole(67));
            if i % 2 == 0 {
                bench.kernel.foreign_delete(intruder(i));
            }
        }
        bench.settle().await;
        assert_eq!(bench.worker.repairs.intruders.len(), 50);
        // Who deletes them is not heard.
        for i in 0..80 {
            bench.kernel.foreign_delete(intruder(i));
        }
        bench
            .kernel
            .with(|kernel| kernel.events = vec![Event::Overrun]);
        bench.wait_out(Duration::from_secs(1)).await;
        assert_eq!(bench.worker.repairs.intruders.len(), 10);
        bench.apply(vec![Change::SetGate(Gate::Open)]);
        bench.settle().await;
        assert_eq!(bench.worker.repairs.intruders.len(), 0);
        assert_eq!(bench.status().counters.intruders_removed, 10);
    });
}

#[test]
fn a_flush_of_twenty_thousand_is_repaired_by_events_alone() {
    Bench::run(async |bench| {
        bench.apply((0..20_000).map(|i| remote(i, 2)).collect());
        bench.settle().await;
        let keys: Vec<Key> = bench.kernel.routes().into_keys().collect();
        for key in keys {
            bench.kernel.foreign_delete(key);
        }
        bench.settle().await;
        assert_eq!(bench.kernel.routes().len(), 20_000);
        let status = bench.status();
        let causes = &status.counters.repairs;
        assert_eq!((status.repairs, status.resyncs), (20_000, 1));
        assert_eq!((causes.deleted, causes.flushed), (3, 19_997));
        assert_eq!(status.counters.fights, 0);
    });
}

#[test]
fn a_flush_with_lost_events_is_repaired_by_one_read() {
    Bench::run(async |bench| {
        bench.apply((0..20_000).map(|i| remote(i, 2)).collect());
        bench.settle().await;
        let keys: Vec<Key> = bench.kernel.routes().into_keys().collect();
        for key in keys {
            bench.kernel.foreign_delete(key);
        }
        bench.kernel.with(|kernel| {
            kernel.events.truncate(5_000);
            kernel.events.push(Event::Overrun);
        });
        bench.wait_out(Duration::from_secs(1)).await;
        assert_eq!(bench.kernel.routes().len(), 20_000);
        let status = bench.status();
        let causes = &status.counters.repairs;
        assert_eq!((status.overruns, status.resyncs), (1, 2));
        assert_eq!((causes.deleted, causes.flushed), (3, 4_997));
        assert_eq!((causes.unseen, status.repairs), (15_000, 20_000));
    });
}

#[test]
fn a_full_table_is_a_condition_and_what_fits_is_written() {
    Bench::run(async |bench| {
        let full = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
        let mut room = 12;
        let is_full = full.clone();
        bench.kernel.with(|kernel| {
            kernel.refuse = Some(Box::new(move |write| {
                if !matches!(write, Write::Set { .. }) || !is_full.load(Relaxed) {
                    return None;
                }
                room -= 1;
                (room < 0).then(|| refusal(libc::ENOSPC, "No space left on device"))
            }));
        });
        bench.apply((0..20).map(|i| remote(i, 2)).collect());
        bench.settle().await;
        assert_eq!(bench.kernel.routes().len(), 12);
        let status = bench.status();
        assert_eq!((status.pending, status.failed), (8, 8));
        assert_eq!(status.counters.refused[&Refused::Full], 8);
        let (name, sentence) = &status.conditions[0];
        assert_eq!(name, "TableFull");
        let begins = "the kernel refuses 8 routes, of them 10.64.12.0/26: No space left on device";
        assert!(sentence.starts_with(begins), "{sentence}");

        full.store(false, Relaxed);
        bench.wait_out(Duration::from_secs(2)).await;
        assert_eq!(bench.kernel.routes().len(), 20);
        assert_eq!(bench.status().conditions, []);
    });
}

#[test]
fn room_in_a_full_table_is_for_workloads_first_and_for_all_who_wait() {
    Bench::run(async |bench| {
        bench.kernel.add_link("cali1", LinkKind::Ordinary);
        let room = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(10));
        let left = room.clone();
        bench.kernel.with(|kernel| {
            kernel.refuse = Some(Box::new(move |write| match write {
                Write::Set { .. } => {
                    let taken = left.fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1));
                    taken
                        .err()
                        .map(|_| refusal(libc::ENOBUFS, "No buffer space available"))
                }
                Write::Delete { .. } => {
                    left.fetch_add(1, Relaxed);
                    None
                }
                _ => None,
            }));
        });
        bench.apply((0..1000).map(|i| remote(i, 2)).collect());
        bench.settle().await;
        assert_eq!(bench.kernel.routes().len(), 10);
        bench.apply(vec![
            workload("cali1", "10.233.1.7"),
            workload("cali1", "10.233.1.8"),
        ]);
        let writes = bench.status().writes;
        bench.wait_out(Duration::from_secs(200)).await;
        let knocks = bench.status().writes - writes;
        assert!((150..=450).contains(&knocks), "{knocks} attempts in 200 s");

        let there = |bench: &Bench, prefix: &str| bench.kernel.routes().contains_key(&key(prefix));
        assert!(!there(bench, "10.233.1.8/32"));
        bench.apply(vec![Change::RemoveRoute(net("10.64.3.0/26"))]);
        bench.settle().await;
        assert!(
            there(bench, "10.233.1.8/32"),
            "where another was deleted, at once"
        );
        assert_eq!(bench.kernel.routes().len(), 10);

        // Whoever knocks may be taken back.
        bench.apply(vec![Change::RemoveRoute(net("10.64.10.0/26"))]);
        bench.settle().await;
        room.store(500, Relaxed);
        bench.wait_out(Duration::from_secs(2)).await;
        assert_eq!(bench.kernel.routes().len(), 510);
        room.store(5000, Relaxed);
        bench.wait_out(Duration::from_secs(2)).await;
        assert_eq!(bench.kernel.routes().len(), 999);
        let status = bench.status();
        assert_eq!((status.pending, status.conditions), (0, vec![]));
    });
}

#[test]
fn a_leftover_that_cannot_be_deleted_yet_does_not_keep_us_awake_while_the_kernel_cannot_be_read() {
    Bench::run(async |bench| {
        let leftover = key("10.233.4.0/26");
        let set = Spec::blackhole(80);
        bench.kernel.foreign_set(leftover, set);
        bench.kernel.with(|kernel| {
            kernel.refuse = Some(Box::new(|_| {
                Some(refusal(libc::EINVAL, "Invalid argument"))
            }));
        });
        bench.apply(vec![Change::SetGate(Gate::Open)]);
        bench.settle().await;
        bench.kernel.with(|kernel| {
            kernel.fail_reads = 3;
            kernel.lose_answers = 1;
        });
        bench.apply(vec![remote(1, 2)]);
        bench.wait_out(Duration::from_secs(60)).await;
        bench.kernel.with(|kernel| kernel.refuse = None);
        bench.wait_out(Duration::from_secs(60)).await;
        let left: Vec<Key> = bench.kernel.routes().into_keys().collect();
        assert_eq!(left, [key("10.64.1.0/26")]);
    });
}

#[test]
fn what_the_kernel_drops_with_a_link_is_nobodys_fault() {
    Bench::run(async |bench| {
        bench.apply(vec![remote(1, 2)]);
        bench.settle().await;
        let route = key("10.64.1.0/26");
        bench.kernel.with(|kernel| {
            let spec = kernel.routes.remove(&route).unwrap();
            let by = 0;
            kernel.events.push(Event::RouteGone {
                key: route,
                spec,
                by,
            });
        });
        bench.settle().await;
        assert_eq!(bench.kernel.routes().len(), 1);
        let status = bench.status();
        assert_eq!((status.repairs, status.counters.repairs.link_lost), (0, 1));
    });
}

/// A CNI plugin of others writes its route first, and we hear of its workload later.
#[test]
fn routes_of_others_on_a_workloads_device_have_a_grace_period() {
    Bench::run(async |bench| {
        let device = bench.kernel.add_link("cali1", LinkKind::Ordinary);
        bench.apply(vec![
            workload("cali1", "10.233.1.7"),
            Change::SetGate(Gate::Open),
        ]);
        bench.settle().await;
        let ours = bench.kernel.routes()[&key("10.233.1.7/32")].clone();
        assert!(ours.uses(device));
        let external = |bench: &Bench, address: &str| {
            let protocol = 3;
            let spec = Spec {
                protocol,
                ..ours.clone()
            };
            bench.kernel.foreign_set(key(address), spec);
        };
        external(bench, "10.233.1.8/32");
        bench.wait_out(Duration::from_millis(9_900)).await;
        external(bench, "10.233.1.9/32");
        // It becomes a workload's in time, and ours.
        let Change::SetEndpoint(device, mut both) = workload("cali1", "10.233.1.7") else {
            unreachable!("a workload is an endpoint");
        };
        both.addresses.push([10, 233, 1, 9].into());
        bench.apply(vec![Change::SetEndpoint(device, both)]);
        bench.settle().await;
        assert_eq!(bench.kernel.routes().len(), 3);
        bench.wait_out(Duration::from_millis(200)).await;
        let left: Vec<_> = bench.kernel.routes().into_iter().collect();
        assert_eq!(left.len(), 2);
        assert!(left.iter().all(|(_, spec)| spec.protocol == 67));
        assert_eq!(bench.status().counters.leftovers_removed, 1);

        // Again and again: left alone while it goes on.
        for round in 0..10 {
            external(bench, &format!("10.233.1.{}/32", 20 + round % 2));
            bench.wait_out(Duration::from_secs(1)).await;
        }
        let writes = bench.status().writes;
        bench.wait_out(Duration::from_secs(60)).await;
        assert_eq!(bench.kernel.routes().len(), 2);
        assert_eq!(bench.status().writes - writes, 2);
    });
}

/// The news of a link that went down and came up again are read only after our own route was written.
#[test]
fn news_of_a_lost_link_that_a_later_write_has_overtaken_leave_no_route_behind() {
    Bench::run(async |bench| {
        bench.apply(vec![remote(1, 2), Change::SetGate(Gate::Open)]);
        bench.settle().await;
        let eth0 = bench.worker.world.named("eth0").unwrap().index;
        bench.kernel.set_up(eth0, false);
        bench.kernel.set_up(eth0, true);
        assert_eq!(bench.kernel.routes().len(), 0, "they went with the link");
        bench.worker.handle_event(Event::Overrun, bench.now);
        bench.now += Duration::from_secs(1);
        bench.worker.turn(bench.now).await;
        assert_eq!(bench.kernel.routes().len(), 1);

        bench.apply(vec![Change::RemoveRoute(net("10.64.1.0/26"))]);
        bench.deliver();
        bench.wait_out(Duration::from_secs(1)).await;
        assert_eq!(bench.kernel.routes().len(), 0);
        assert_eq!(bench.status().actual, 0);
    });
}

#[test]
fn a_link_that_comes_up_again_costs_one_read_and_one_that_stays_down_none() {
    for has_objects in [true, false] {
        Bench::run(async |bench| {
            if !has_objects {
                bench.worker.config.nexthop_objects = false;
                bench.worker.resync(bench.now).await.unwrap();
            }
            bench.apply((0..1_000).map(|i| remote(i, 2)).collect());
            bench.settle().await;
            let before = bench.status();
            assert_eq!(before.nexthop_objects, has_objects);
            let eth0 = bench.worker.world.named("eth0").unwrap().index;
            bench.kernel.set_up(eth0, false);
            bench.wait_out(Duration::from_secs(1)).await;
            assert_eq!(bench.status().resyncs, before.resyncs);
            bench.kernel.set_up(eth0, true);
            bench.wait_out(Duration::from_secs(1)).await;
            let status = bench.status();
            assert_eq!(status.resyncs, before.resyncs + 1);
            assert_eq!(status.writes, 2_000, "each route is written once more");
            assert_eq!(bench.kernel.routes().len(), 1_000);
        });
    }
}

#[test]
fn an_ipip_device_that_was_renamed_is_named_by_a_condition_until_it_has_its_name_again() {
    Bench::run(async |bench| {
        bench.kernel.with(|kernel| kernel.has_ipip = true);
        let tunnels = Tunnels {
            ipip: Some(crate::model::IpipDevice {
                address: [10, 233, 1, 1].into(),
                mtu: None,
            }),
            ..Tunnels::default()
        };
        let prefix = net("10.64.1.0/26");
        let route = Route::Remote {
            next_hops: smallvec![[172, 19, 0, 2].into()],
            encapsulation: Encapsulation::Ipip(crate::model::Mode::Always),
        };
        bench.apply(vec![
            Change::SetTunnels(Box::new(tunnels)),
            Change::SetRoute(prefix, route),
        ]);
        bench.wait_out(Duration::from_secs(1)).await;
        assert_eq!(bench.kernel.routes().len(), 1);
        let tunl0 = bench.worker.world.named("tunl0").unwrap().index;
        bench.kernel.rename_link(tunl0, "old0");
        bench.wait_out(Duration::from_secs(1)).await;
        let status = bench.status();
        let (name, sentence) = &status.conditions[0];
        assert_eq!(name, "NoIpip");
        assert!(sentence.contains("renamed to old0"), "{sentence}");
        assert!(sentence.contains("name tunl0"), "{sentence}");
        assert!(sentence.contains("; 1 route waits for it, "), "{sentence}");

        bench.kernel.rename_link(tunl0, "tunl0");
        bench.wait_out(Duration::from_secs(1)).await;
        assert_eq!(bench.status().conditions, []);
        assert_eq!(bench.kernel.routes().len(), 1);
    });
}

#[test]
fn a_route_of_others_with_a_lower_metric_is_a_condition_before_and_after_our_own_is_there() {
    Bench::run(async |bench| {
        let settings = crate::settings::Settings {
            metric_v4: 1024,
            ..Default::default()
        };
        let foreign = |metric| Key::new(net("10.64.1.0/26"), metric);
        let early = Spec::blackhole(4);
        bench.apply(vec![Change::SetSettings(Box::new(settings)), remote(2, 2)]);
        bench.settle().await;
        bench.kernel.foreign_set(foreign(0), early.clone());
        bench.kernel.foreign_set(foreign(2000), early);
        bench.settle().await;
        assert_eq!(bench.status().conditions, [], "no route of ours is there");

        bench.apply(vec![remote(1, 2)]);
        bench.settle().await;
        let status = bench.status();
        let (name, sentence) = &status.conditions[0];
        assert_eq!(name, "RouteShadowed");
        let begins = "10.64.1.0/26: a route of protocol static with metric 0 comes before ours with metric 1024";
        assert!(sentence.starts_with(begins), "{sentence}");
        let advice = "`ip route del 10.64.1.0/26 metric 0 proto static`";
        assert!(sentence.contains(advice), "{sentence}");
        assert_eq!((status.repairs, status.writes), (0, 2), "nobody fights");

        bench.worker.handle_event(Event::Overrun, bench.now);
        bench.wait_out(Duration::from_secs(1)).await;
        assert_eq!(bench.status().conditions, status.conditions, "after a read");
        bench.kernel.foreign_delete(foreign(0));
        bench.settle().await;
        assert_eq!(bench.status().conditions, []);
    });
}

#[test]
fn a_writer_that_keeps_undoing_is_not_fought_without_pause() {
    Bench::run(async |bench| {
        bench.apply(vec![remote(1, 2)]);
        bench.settle().await;
        let mut writes = 0;
        for _ in 0..50 {
            bench.kernel.foreign_delete(key("10.64.1.0/26"));
            bench.settle().await;
            writes = bench.status().writes;
        }
        assert!(writes < 10, "{writes} writes in no time");
        assert_eq!(bench.status().failed, 1);
        bench.wait_out(Duration::from_secs(1)).await;
        assert_eq!(bench.kernel.routes().len(), 1, "nor is it given up");
    });
}

#[test]
fn a_neighbour_that_nobody_desires_goes_while_the_gate_is_open() {
    Bench::run(async |bench| {
        let device = bench.kernel.add_link("cali1", LinkKind::Ordinary);
        bench.apply(vec![Change::SetGate(Gate::Open)]);
        bench.settle().await;
        let key = NeighbourKey::Address(device, [10, 233, 1, 9].into());
        let set = DeviceChange::SetNeighbour(key, NeighbourValue::Mac([2; 6]));
        bench.kernel.clone().change(&set).await.unwrap();
        bench.settle().await;
        assert_eq!(bench.kernel.with(|kernel| kernel.neighbours.len()), 0);
    });
}
