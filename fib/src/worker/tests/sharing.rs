//! Nexthop objects that others use or whose number they have, and what is done at once, or not at all.

use super::*;
use crate::kernel::{Content, Link, Object, ObjectId, Spec};

#[test]
fn a_route_that_the_gate_protects_stays_where_it_is_when_others_leave_its_object() {
    Bench::run(async |bench| {
        bench.apply(vec![remote(1, 2), remote(2, 2)]);
        bench.settle().await;
        // There is no way to this one: what the kernel has stays.
        bench.apply(vec![to("10.64.2.0/26", "10.9.9.9"), remote(1, 3)]);
        bench.settle().await;
        assert_eq!(through_of(bench, "10.64.1.0/26"), "172.18.0.3");
        assert_eq!(through_of(bench, "10.64.2.0/26"), "172.18.0.2");
    });
}

#[test]
fn a_route_of_an_earlier_run_stays_where_it_is_when_others_leave_its_object() {
    Bench::run(async |bench| {
        bench.apply(vec![remote(1, 2), remote(2, 2)]);
        bench.settle().await;
        let kernel = bench.kernel.clone();
        Bench::restart(kernel, async |bench| {
            bench.apply(vec![remote(1, 2)]);
            bench.settle().await;
            bench.apply(vec![remote(1, 3)]);
            bench.settle().await;
            assert_eq!(through_of(bench, "10.64.1.0/26"), "172.18.0.3");
            assert_eq!(through_of(bench, "10.64.2.0/26"), "172.18.0.2");
        })
        .await;
    });
}

#[test]
fn routes_that_all_change_to_the_same_next_hop_are_one_write() {
    Bench::run(async |bench| {
        bench.apply((0..1000).map(|i| remote(i, 2)).collect());
        bench.settle().await;
        bench.apply((0..1000).map(|i| remote(i, 3)).collect());
        bench.settle().await;
        let status = bench.status();
        assert_eq!((status.writes, status.object_writes), (1000, 2));
        assert_eq!(through_of(bench, "10.64.7.0/26"), "172.18.0.3");
    });
}

#[test]
fn a_number_that_someone_takes_before_it_is_written_is_left_to_him() {
    Bench::run(async |bench| {
        refuse_objects(bench);
        bench.apply(vec![remote(1, 2)]);
        bench.settle().await;
        let theirs = foreign("172.18.0.77");
        bench.kernel.foreign_set_object(FIRST, theirs.clone());
        bench.kernel.with(|kernel| kernel.refuse = None);
        bench.wait_out(Duration::from_secs(5)).await;
        assert_eq!(object(bench, FIRST), Some(theirs));
        assert_eq!(object_of(bench, "10.64.1.0/26"), FIRST + 1);
        assert_eq!(bench.status().pending, 0);
    });
}

#[test]
fn a_number_whose_object_others_deleted_and_put_theirs_there_is_left_to_them() {
    for told in [true, false] {
        Bench::run(async |bench| {
            bench.apply((0..10).map(|i| remote(i, 2)).collect());
            bench.settle().await;
            let theirs = foreign("172.18.0.77");
            bench.kernel.foreign_delete_object(FIRST);
            let events = bench.kernel.with(|kernel| kernel.events.clone());
            bench.kernel.foreign_set_object(FIRST, theirs.clone());
            if !told {
                bench.kernel.with(|kernel| kernel.events = events);
            }
            bench.wait_out(Duration::from_secs(1)).await;
            assert_eq!(object(bench, FIRST), Some(theirs));
            assert_eq!(bench.kernel.routes().len(), 10);
            assert_eq!(through_of(bench, "10.64.1.0/26"), "172.18.0.2");
            assert_eq!(bench.status().pending, 0);
        });
    }
}

#[test]
fn an_object_that_a_route_of_others_uses_is_neither_deleted_nor_led_elsewhere() {
    Bench::run(async |bench| {
        bench.apply(vec![remote(1, 2), Change::SetGate(Gate::Open)]);
        bench.settle().await;
        let theirs = key("192.0.2.0/24");
        bench.kernel.foreign_set(theirs, Spec::by_object(3, FIRST));
        bench.settle().await;
        bench.apply(vec![remote(1, 3)]);
        bench.wait_out(Duration::from_secs(5)).await;
        assert_eq!(through_of(bench, "10.64.1.0/26"), "172.18.0.3");
        assert_eq!(through_of(bench, "192.0.2.0/24"), "172.18.0.2");
        // Nor does a restart delete it.
        let kernel = bench.kernel.clone();
        Bench::restart(kernel, async |bench| {
            bench.apply(vec![remote(1, 3), Change::SetGate(Gate::Open)]);
            bench.wait_out(Duration::from_secs(5)).await;
            assert_eq!(through_of(bench, "192.0.2.0/24"), "172.18.0.2");
            bench.kernel.foreign_delete(theirs);
            bench.wait_out(Duration::from_secs(5)).await;
            assert_eq!(object(bench, FIRST), None, "and then it goes");
        })
        .await;
    });
}

#[test]
fn an_object_in_a_group_of_others_is_not_deleted() {
    Bench::run(async |bench| {
        bench.apply(vec![remote(1, 2), Change::SetGate(Gate::Open)]);
        bench.settle().await;
        let member = crate::kernel::Member {
            id: FIRST,
            weight: 0,
        };
        bench
            .kernel
            .foreign_set_object(7, Object::group(3, [member]));
        bench.apply(vec![Change::RemoveRoute(net("10.64.1.0/26"))]);
        bench.wait_out(Duration::from_secs(5)).await;
        assert!(object(bench, 7).is_some());
        bench.kernel.foreign_delete_object(7);
        bench.wait_out(Duration::from_secs(5)).await;
        assert_eq!(object(bench, FIRST), None);
    });
}

#[test]
fn a_member_that_a_group_has_no_more_goes() {
    Bench::run(async |bench| {
        let two = |hosts: [u8; 2]| {
            let route = Route::Remote {
                next_hops: hosts
                    .map(|host| [172, 18, 0, host].into())
                    .into_iter()
                    .collect(),
                encapsulation: Encapsulation::None,
            };
            Change::SetRoute(net("10.64.1.0/26"), route)
        };
        bench.apply(vec![two([2, 3])]);
        bench.wait_out(Duration::from_secs(5)).await;
        bench.apply(vec![two([2, 4])]);
        bench.wait_out(Duration::from_secs(5)).await;
        let status = bench.status();
        assert_eq!((status.writes, status.objects), (1, 3));
    });
}

#[test]
fn old_news_of_a_carrier_cost_no_number() {
    Bench::run(async |bench| {
        bench.apply((0..10).map(|i| remote(i, 2)).collect());
        bench.settle().await;
        let link = bench.kernel.with(|kernel| kernel.links[&1].clone());
        let before = Link {
            carrier: false,
            ..link.clone()
        };
        // As after a read, which is ahead of the events: the kernel has dropped nothing since.
        bench
            .kernel
            .with(|kernel| kernel.events = vec![Event::Link(before), Event::Link(link)]);
        bench.wait_out(Duration::from_secs(3)).await;
        let status = bench.status();
        assert_eq!(object_of(bench, "10.64.1.0/26"), FIRST);
        assert_eq!((status.object_writes, status.objects), (2, 1));
        assert_eq!((status.actual, status.pending), (10, 0));
    });
}

#[test]
fn routes_that_waited_for_an_object_do_not_wait_longer_when_it_is_another_and_is_taken() {
    Bench::run(async |bench| {
        let behind = |host: &str| {
            let way = through(host, 1);
            let next_hop: IpAddr = [10, 9, 9, 9].into();
            bench.kernel.with(|state| {
                state.gateways.insert(next_hop, way);
            });
        };
        behind("172.18.0.254");
        refuse_objects(bench);
        bench.apply(vec![to("10.64.1.0/26", "10.9.9.9")]);
        bench.wait_out(Duration::from_secs(60)).await;
        bench.kernel.with(|kernel| {
            kernel
                .gateways
                .insert([10, 9, 9, 9].into(), through("172.18.0.253", 1));
            kernel.refuse = None;
        });
        let router = Spec::unicast(3, &net("0.0.0.0/0"), through("172.18.0.253", 1).hops);
        bench.kernel.foreign_set(key("0.0.0.0/0"), router);
        bench.wait_out(Duration::from_millis(100)).await;
        assert_eq!(through_of(bench, "10.64.1.0/26"), "172.18.0.253");
    });
}

#[test]
fn a_refused_object_is_tried_again_when_its_device_changes_and_a_group_with_its_members() {
    Bench::run(async |bench| {
        refuse_objects(bench);
        let two = Route::Remote {
            next_hops: smallvec![[172, 18, 0, 2].into(), [172, 18, 0, 3].into()],
            encapsulation: Encapsulation::None,
        };
        bench.apply(vec![
            Change::SetRoute(net("10.64.1.0/26"), two),
            remote(2, 4),
        ]);
        bench.wait_out(Duration::from_secs(60)).await;
        assert_eq!(bench.kernel.routes().len(), 0);
        let reasons = bench.worker.route_statuses().into_iter();
        for reason in reasons.map(|status| status.reason.unwrap()) {
            assert!(reason.contains("Nexthop device is not up"), "{reason}");
        }
        bench.kernel.with(|kernel| kernel.refuse = None);
        let mtu = DeviceChange::SetMtu(1, 1400);
        bench.kernel.clone().change(&mtu).await.unwrap();
        bench.settle().await;
        assert_eq!(bench.kernel.routes().len(), 2);
        assert_eq!(bench.status().failed, 0);
    });
}

#[test]
fn a_device_that_no_object_uses_costs_no_look_at_any_route() {
    Bench::run(async |bench| {
        let wishes = (0..2000).map(|i| remote(i, 2 + (i % 100) as u8));
        bench.apply(wishes.collect());
        bench.settle().await;
        for name in ["cali1", "veth7"] {
            let device = bench.kernel.add_link(name, LinkKind::Ordinary);
            assert_eq!(looked_at(bench).await, 0, "{name} comes");
            bench.kernel.set_carrier(device, false);
            assert_eq!(looked_at(bench).await, 0, "{name} loses its carrier");
            bench.kernel.set_carrier(device, true);
            assert_eq!(looked_at(bench).await, 0, "{name} gets it back");
            bench.kernel.set_up(device, false);
            bench.kernel.delete_link(device);
            assert_eq!(looked_at(bench).await, 0, "{name} goes");
        }
        // And a read finds nothing new in the carrier of a device that has come.
        bench.kernel.add_link("veth8", LinkKind::Ordinary);
        bench
            .kernel
            .with(|kernel| kernel.events = vec![Event::Overrun]);
        assert_eq!(looked_at(bench).await, 0);
        bench.wait_out(Duration::from_secs(1)).await;
        assert_eq!(bench.status().writes, 2000);
    });
}

#[test]
fn a_device_that_loses_its_carrier_costs_a_look_at_the_routes_through_it() {
    Bench::run(async |bench| {
        let eth1 = bench.kernel.add_link("eth1", LinkKind::Ordinary);
        bench.apply((0..2000).map(|i| remote(i, 2)).collect());
        let by_link = |devices: &[&str]| {
            let next_hops = devices.iter();
            Route::Links {
                next_hops: next_hops
                    .map(|device| ([172, 18, 0, 9].into(), (*device).to_owned()))
                    .collect(),
            }
        };
        bench.kernel.add_address(eth1, "172.18.0.8/32");
        let both = by_link(&["eth0", "eth1"]);
        bench.apply(vec![Change::SetRoute(net("10.1.0.0/24"), both)]);
        bench.settle().await;
        bench.kernel.set_carrier(eth1, false);
        assert_eq!(looked_at(bench).await, 1);
        bench.kernel.set_carrier(eth1, true);
        assert_eq!(looked_at(bench).await, 1);
        bench.settle().await;
        assert_eq!(bench.kernel.routes().len(), 2001);
    });
}

#[test]
fn a_group_that_loses_a_device_and_gets_it_back_is_not_written_in_vain() {
    Bench::run(async |bench| {
        bench.kernel.add_link("eth1", LinkKind::Ordinary);
        let v6: IpAddr = "fe80::7".parse().unwrap();
        let next_hops = vec![(v6, "eth0".into()), (v6, "eth1".into())];
        let prefix = net("2001:db8:7::/48");
        bench.apply(vec![Change::SetRoute(prefix, Route::Links { next_hops })]);
        bench.settle().await;
        assert_eq!(bench.status().object_writes, 3);
        for carrier in [false, true] {
            bench.kernel.set_carrier(2, carrier);
            bench.wait_out(Duration::from_secs(5)).await;
        }
        let status = bench.status();
        // The member and the group, when it is back.
        assert_eq!((status.writes, status.object_writes), (1, 5));
    });
}

/// How many prefixes are looked at again for the sake of what the kernel told.
async fn looked_at(bench: &mut Bench) -> usize {
    bench.deliver();
    let count = bench.worker.dirty.prefixes.len();
    bench.settle().await;
    count
}

fn refuse_objects(bench: &Bench) {
    bench.kernel.with(|kernel| {
        kernel.refuse = Some(Box::new(|write| {
            let object = matches!(write, Write::SetObject { .. });
            object.then(|| refusal(libc::ENETDOWN, "Nexthop device is not up"))
        }));
    });
}

fn to(prefix: &str, next_hop: &str) -> Change {
    let route = Route::Remote {
        next_hops: smallvec![next_hop.parse().unwrap()],
        encapsulation: Encapsulation::None,
    };
    Change::SetRoute(net(prefix), route)
}

fn foreign(via: &str) -> Object {
    Object::single(3, through(via, 1).hops[0])
}

fn object(bench: &Bench, id: ObjectId) -> Option<Object> {
    bench.kernel.with(|kernel| kernel.objects.get(&id).cloned())
}

fn object_of(bench: &Bench, prefix: &str) -> ObjectId {
    let spec = bench
        .kernel
        .with(|kernel| kernel.routes[&key(prefix)].clone());
    spec.object().unwrap()
}

/// The gateway of a route that is on an object.
fn through_of(bench: &Bench, prefix: &str) -> String {
    let object = object(bench, object_of(bench, prefix)).unwrap();
    match &object.content {
        Content::Single(hop) => hop.via.unwrap().to_string(),
        other => format!("{other:?}"),
    }
}

const FIRST: ObjectId = 670_000_001;
