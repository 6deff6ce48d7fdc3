//! Nexthop objects: what is one write, what a restart adopts, and what others may do to them.

use super::*;
use crate::kernel::{Content, Object, ObjectId};

#[test]
fn a_node_that_moved_is_one_write_for_a_thousand_routes() {
    Bench::run(async |bench| {
        let kernel = bench.kernel.clone();
        let way = |host: &str| {
            let way = through(host, 1);
            bench_gateway(&kernel, way);
        };
        way("172.18.0.254");
        let wish = |i: u32| {
            let next_hops = smallvec!["10.9.9.9".parse().unwrap()];
            let encapsulation = Encapsulation::None;
            let route = Route::Remote {
                next_hops,
                encapsulation,
            };
            Change::SetRoute(net(&format!("10.{}.{}.0/26", 64 + i / 256, i % 256)), route)
        };
        bench.apply((0..1000).map(wish).collect());
        bench.settle().await;
        let before = bench.status();
        assert_eq!(
            (before.writes, before.object_writes, before.actual),
            (1000, 1, 1000)
        );
        way("172.18.0.253");
        let router = Spec::unicast(3, &net("0.0.0.0/0"), through("172.18.0.253", 1).hops);
        bench
            .kernel
            .foreign_set(Key::new(net("0.0.0.0/0"), 0), router);
        bench.wait_out(Duration::from_secs(1)).await;
        let after = bench.status();
        assert_eq!((after.writes, after.object_writes), (1000, 2));
        assert_eq!(hosts(bench), ["172.18.0.253"]);
    });
}

#[test]
fn an_object_of_ours_that_others_delete_or_change_is_repaired_with_its_routes() {
    Bench::run(async |bench| {
        bench.apply((0..300).map(|i| remote(i, 2)).collect());
        bench.settle().await;
        let id = ids(bench)[0];
        bench.kernel.foreign_delete_object(id);
        assert_eq!(bench.kernel.routes().len(), 0);
        bench.settle().await;
        assert_eq!(bench.kernel.routes().len(), 300);
        let mut other = bench.kernel.with(|kernel| kernel.objects[&id].clone());
        if let Content::Single(hop) = &mut other.content {
            hop.via = Some("172.18.0.66".parse().unwrap());
        }
        bench.kernel.foreign_set_object(id, other);
        bench.settle().await;
        assert_eq!(hosts(bench), ["172.18.0.2"]);
        let status = bench.status();
        assert_eq!((status.object_repairs, status.resyncs), (2, 1));
    });
}

#[test]
fn an_object_that_goes_while_the_kernel_is_read_is_repaired_with_its_routes() {
    Bench::run(async |bench| {
        bench.apply((0..10).map(|i| remote(i, 2)).collect());
        bench.settle().await;
        let id = ids(bench)[0];
        bench.kernel.with(|kernel| {
            kernel.events = vec![Event::Overrun];
            kernel.amid_read = Some(Box::new(move |kernel| kernel.foreign_delete_object(id)));
        });
        bench.wait_out(Duration::from_secs(2)).await;
        assert_eq!(bench.kernel.routes().len(), 10);
        // Once more because the routes were refused before the event came.
        assert_eq!(bench.status().resyncs, 3);
    });
}

#[test]
fn a_route_whose_object_a_read_has_missed_is_believed_when_its_event_comes() {
    Bench::run(async |bench| {
        bench.apply((0..10).map(|i| remote(i, 2)).collect());
        bench.settle().await;
        let id = 670_000_500;
        bench.kernel.with(|kernel| {
            kernel.events = vec![Event::Overrun];
            kernel.amid_read = Some(Box::new(move |kernel| {
                let hop = through("172.18.0.9", 1).hops[0];
                kernel.foreign_set_object(id, Object::single(67, hop));
                kernel.foreign_set(key("10.64.99.0/26"), Spec::by_object(67, id));
            }));
        });
        bench.deliver();
        bench.now += Duration::from_secs(1);
        bench.worker.turn(bench.now).await;
        let status = bench.status();
        assert_eq!((status.resyncs, status.actual), (2, 10), "not yet");
        bench.settle().await;
        assert_eq!(bench.status().actual, 11);
    });
}

#[test]
fn an_object_that_is_not_there_although_it_should_be_is_found_by_one_read() {
    Bench::run(async |bench| {
        bench.apply((0..10).map(|i| remote(i, 2)).collect());
        bench.settle().await;
        bench.kernel.set_carrier(1, false);
        bench.kernel.set_carrier(1, true);
        bench.kernel.with(|kernel| kernel.events.clear());
        bench.apply((10..310).map(|i| remote(i, 2)).collect());
        bench.wait_out(Duration::from_secs(2)).await;
        assert_eq!(bench.kernel.routes().len(), 310);
        assert_eq!(bench.status().resyncs, 2, "not one for each route");
    });
}

#[test]
fn a_group_whose_member_is_not_there_although_it_should_be_is_found_by_one_read() {
    Bench::run(async |bench| {
        let eth1 = bench.kernel.add_link("eth1", LinkKind::Ordinary);
        bench.kernel.add_address(eth1, "172.19.0.1/16");
        let wish = |block: u8, hosts: [&str; 2]| {
            let route = Route::Remote {
                next_hops: hosts.iter().map(|host| host.parse().unwrap()).collect(),
                encapsulation: Encapsulation::None,
            };
            Change::SetRoute(net(&format!("10.64.{block}.0/26")), route)
        };
        bench.apply(vec![wish(1, ["172.18.0.2", "172.19.0.2"])]);
        bench.settle().await;
        bench.kernel.set_carrier(eth1, false);
        bench.kernel.set_carrier(eth1, true);
        bench.kernel.with(|kernel| kernel.events.clear());
        bench.apply(vec![wish(2, ["172.18.0.3", "172.19.0.2"])]);
        bench.wait_out(Duration::from_secs(2)).await;
        let routes = bench.kernel.routes();
        assert!(
            routes.values().all(|spec| spec.hops().len() == 2),
            "{routes:?}"
        );
        assert_eq!((routes.len(), bench.status().resyncs), (2, 2));
    });
}

#[test]
fn a_carrier_whose_return_was_not_heard_is_found_by_reading() {
    Bench::run(async |bench| {
        bench.apply((0..10).map(|i| remote(i, 2)).collect());
        bench.settle().await;
        bench.kernel.set_carrier(1, false);
        bench.settle().await;
        assert_eq!(bench.kernel.routes().len(), 0);
        bench.kernel.set_carrier(1, true);
        bench
            .kernel
            .with(|kernel| kernel.events = vec![Event::Overrun]);
        bench.wait_out(Duration::from_secs(60)).await;
        assert_eq!(bench.kernel.routes().len(), 10);
        let status = bench.status();
        assert_eq!((status.pending, status.failed), (0, 0));
    });
}

#[test]
fn routes_of_an_earlier_run_by_a_peer_that_has_not_spoken_stay_on_their_object() {
    Bench::run(async |bench| {
        bench.apply(vec![remote(1, 2), remote(2, 3)]);
        bench.settle().await;
        let kernel = bench.kernel.clone();
        Bench::restart(kernel, async |bench| {
            let silent = vec!["172.18.0.2".parse().unwrap()];
            bench.apply(vec![Change::SetGate(Gate::OpenExcept(silent))]);
            bench.wait_out(Duration::from_secs(10)).await;
            assert_eq!(bench.kernel.routes().len(), 1);
            assert!(hosts(bench).contains(&"172.18.0.2".to_owned()));
            bench.apply(vec![Change::SetGate(Gate::Open)]);
            bench.wait_out(Duration::from_secs(10)).await;
            assert!(bench.kernel.routes().is_empty());
            assert!(ids(bench).is_empty());
        })
        .await;
    });
}

#[test]
fn a_device_without_carrier_keeps_no_objects_and_they_return_with_it() {
    Bench::run(async |bench| {
        bench.apply((0..10).map(|i| remote(i, 2)).collect());
        bench.settle().await;
        bench.kernel.set_carrier(1, false);
        bench.settle().await;
        assert_eq!(bench.kernel.routes().len(), 0);
        let status = bench.status();
        assert_eq!((status.pending, status.failed), (10, 10), "they wait");
        assert_eq!(status.object_writes, 1, "and nothing is tried in vain");
        bench.kernel.set_carrier(1, true);
        bench.settle().await;
        assert_eq!(bench.kernel.routes().len(), 10);
        assert_eq!(bench.status().object_writes, 2);
    });
}

#[test]
fn a_restart_adopts_what_an_equal_state_needs_and_writes_nothing() {
    Bench::run(async |bench| {
        let wishes: Vec<Change> = (0..20_000)
            .map(|i| remote(i, 2 + (i % 200) as u8))
            .collect();
        bench.apply(wishes.clone());
        bench.settle().await;
        let objects = bench.kernel.with(|kernel| kernel.objects.clone());
        assert_eq!(objects.len(), 200);
        let kernel = bench.kernel.clone();
        Bench::restart(kernel, async |bench| {
            bench.apply(wishes.into_iter().rev().collect());
            bench.apply(vec![Change::SetGate(Gate::Open)]);
            bench.wait_out(Duration::from_secs(5)).await;
            let status = bench.status();
            assert_eq!((status.writes, status.object_writes), (0, 0));
            assert_eq!(status.actual, 20_000);
            let after = bench.kernel.with(|kernel| kernel.objects.clone());
            assert_eq!(after, objects);
        })
        .await;
    });
}

#[test]
fn a_kernel_without_objects_gets_routes_with_their_own_hops() {
    let kernel = FakeKernel::default();
    let eth0 = kernel.add_link("eth0", LinkKind::Ordinary);
    kernel.add_address(eth0, "172.18.0.1/16");
    kernel.with(|kernel| kernel.no_objects = true);
    Bench::run_on(kernel, async |bench| {
        bench.apply((0..10).map(|i| remote(i, 2)).collect());
        bench.settle().await;
        let status = bench.status();
        assert!(!status.nexthop_objects);
        assert_eq!((status.actual, status.object_writes), (10, 0));
        // It is upgraded: each route is replaced in place.
        bench.kernel.with(|kernel| kernel.no_objects = false);
        let kernel = bench.kernel.clone();
        Bench::restart(kernel, async |bench| {
            bench.apply((0..10).map(|i| remote(i, 2)).collect());
            bench.settle().await;
            let status = bench.status();
            assert!(status.nexthop_objects);
            assert_eq!((status.writes, status.object_writes), (10, 1));
        })
        .await;
    });
}

#[test]
fn a_kernel_that_refuses_objects_after_all_gets_routes_with_their_own_hops() {
    Bench::run(async |bench| {
        bench.kernel.with(|kernel| kernel.no_objects = true);
        bench.apply((0..10).map(|i| remote(i, 2)).collect());
        bench.wait_out(Duration::from_secs(1)).await;
        let status = bench.status();
        assert!(!status.nexthop_objects);
        assert_eq!((status.actual, status.pending), (10, 0));
    });
}

#[test]
fn what_nobody_needs_any_more_goes_after_the_last_route() {
    Bench::run(async |bench| {
        bench.apply((0..10).map(|i| remote(i, 2 + (i % 2) as u8)).collect());
        bench.settle().await;
        assert_eq!(ids(bench).len(), 2);
        let gone = (0..10).filter(|i| i % 2 == 0);
        let changes = gone.map(|i| Change::RemoveRoute(net(&format!("10.64.{i}.0/26"))));
        bench.apply(changes.collect());
        bench.wait_out(Duration::from_secs(3)).await;
        assert_eq!(hosts(bench), ["172.18.0.3"]);
    });
}

fn bench_gateway(kernel: &FakeKernel, way: crate::kernel::Resolution) {
    kernel.with(|state| {
        state.gateways.insert("10.9.9.9".parse().unwrap(), way);
    });
}

fn ids(bench: &Bench) -> Vec<ObjectId> {
    bench
        .kernel
        .with(|kernel| kernel.objects.keys().copied().collect())
}

/// Where the objects lead.
fn hosts(bench: &Bench) -> Vec<String> {
    let host = |object: &Object| match &object.content {
        Content::Single(hop) => hop.via.unwrap().to_string(),
        other => format!("{other:?}"),
    };
    bench
        .kernel
        .with(|kernel| kernel.objects.values().map(host).collect())
}
