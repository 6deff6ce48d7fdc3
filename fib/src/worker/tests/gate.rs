//! What is in the kernel from an earlier run, and who may have it deleted (invariant 3 of docs/architecture.md).

use super::*;
use crate::kernel::{Hop, Object, Spec};
use crate::model::{Standing, Vtep};

#[test]
fn an_awaited_endpoint_leaves_the_route_of_an_earlier_run_to_the_gate() {
    Bench::run(async |bench| {
        let device = bench.kernel.add_link("cali1", LinkKind::Ordinary);
        let there = key("10.233.1.7/32");
        bench.kernel.foreign_set(there, straight_to(device));
        restarted(bench, async |bench| {
            bench.apply(vec![awaited("cali1", "10.233.1.7")]);
            bench.settle().await;
            bench.apply(vec![Change::RemoveEndpoint("cali1".into())]);
            bench.settle().await;
            assert!(bench.kernel.routes().contains_key(&there));
            assert_eq!(bench.status().stale, 1);
            bench.apply(vec![Change::SetGate(Gate::LocalOnly)]);
            bench.settle().await;
            assert_eq!(bench.kernel.routes().len(), 0);
        })
        .await;
    });
}

#[test]
fn nor_does_one_under_a_metric_that_it_has_no_more() {
    Bench::run(async |bench| {
        let device = bench.kernel.add_link("cali1", LinkKind::Ordinary);
        let there = Key::new(net("10.233.1.7/32"), 512);
        bench.kernel.foreign_set(there, straight_to(device));
        restarted(bench, async |bench| {
            bench.apply(vec![awaited("cali1", "10.233.1.7")]);
            bench.settle().await;
            assert!(bench.kernel.routes().contains_key(&there));
            bench.apply(vec![Change::SetGate(Gate::Open)]);
            bench.settle().await;
            assert_eq!(bench.kernel.routes().len(), 0);
        })
        .await;
    });
}

#[test]
fn the_address_of_a_vtep_is_no_wish_for_a_route_to_it() {
    Bench::run(async |bench| {
        let there = key("10.233.9.1/32");
        bench.kernel.foreign_set(there, Spec::blackhole(67));
        restarted(bench, async |bench| {
            let node: IpAddr = "172.18.0.2".parse().unwrap();
            let vtep = |last| Vtep {
                address: [10, 233, 9, last].into(),
                mac: [0x66, 0, 0, 0, 0, last],
            };
            bench.apply(vec![Change::SetVtep(node, vtep(1))]);
            bench.settle().await;
            bench.apply(vec![Change::SetVtep(node, vtep(2))]);
            bench.settle().await;
            bench.apply(vec![Change::RemoveVtep(node)]);
            bench.settle().await;
            assert!(bench.kernel.routes().contains_key(&there));
        })
        .await;
    });
}

/// Another peer, which is absent yet, may have brought what is there.
#[test]
fn a_wish_that_never_had_a_way_takes_nothing_with_it() {
    Bench::run(async |bench| {
        let there = key("10.64.1.0/26");
        bench.kernel.foreign_set(there, Spec::blackhole(67));
        restarted(bench, async |bench| {
            let unreachable = Route::Remote {
                next_hops: smallvec!["192.0.2.1".parse().unwrap()],
                encapsulation: Encapsulation::None,
            };
            bench.apply(vec![Change::SetRoute(there.prefix, unreachable)]);
            bench.settle().await;
            bench.apply(vec![Change::RemoveRoute(there.prefix)]);
            bench.settle().await;
            assert!(bench.kernel.routes().contains_key(&there));

            bench.apply(vec![remote(1, 2)]);
            bench.settle().await;
            bench.apply(vec![Change::RemoveRoute(there.prefix)]);
            bench.settle().await;
            assert_eq!(bench.kernel.routes().len(), 0, "that one was ours");
        })
        .await;
    });
}

#[test]
fn a_route_by_an_object_that_is_not_known_is_nobodys_until_the_gate_is_open() {
    Bench::run(async |bench| {
        let (id, there) = (7, key("10.64.1.0/26"));
        let hop = Hop {
            via: Some("172.18.0.2".parse().unwrap()),
            device: 1,
            onlink: false,
            weight: 0,
        };
        bench.kernel.foreign_set_object(id, Object::single(4, hop));
        bench.kernel.foreign_set(there, Spec::by_object(67, id));
        for gate in [
            Gate::LocalOnly,
            Gate::OpenExcept(vec!["172.18.0.3".parse().unwrap()]),
        ] {
            bench.apply(vec![Change::SetGate(gate.clone())]);
            bench.settle().await;
            assert!(bench.kernel.routes().contains_key(&there), "{gate:?}");
        }
        bench.apply(vec![Change::SetGate(Gate::Open)]);
        bench.settle().await;
        assert_eq!(bench.kernel.routes().len(), 0);
    });
}

async fn restarted(bench: &Bench, test: impl AsyncFnOnce(&mut Bench)) {
    Bench::restart(bench.kernel.clone(), test).await;
}

fn awaited(device: &str, address: &str) -> Change {
    let Change::SetEndpoint(device, endpoint) = workload(device, address) else {
        unreachable!("it is an endpoint");
    };
    let standing = Standing::Awaited;
    Change::SetEndpoint(
        device,
        Endpoint {
            standing,
            ..endpoint
        },
    )
}

fn straight_to(device: u32) -> Spec {
    let hop = Hop {
        via: None,
        device,
        onlink: false,
        weight: 0,
    };
    Spec::unicast(67, &net("10.233.1.7/32"), [hop].into_iter().collect())
}

/// They have been permitted to go before anybody wished for them.
#[test]
fn leftovers_stay_when_they_are_wished_for_while_others_are_being_removed() {
    Bench::run(async |bench| {
        let prefix = |i: u32| net(&format!("10.{}.{}.0/26", 64 + i / 256, i % 256));
        for i in 0..1_000 {
            let leftover = Key::new(prefix(i), 0);
            bench.kernel.foreign_set(leftover, Spec::blackhole(80));
        }
        restarted(bench, async |bench| {
            bench.apply(vec![Change::SetGate(Gate::Open)]);
            bench.worker.turn(bench.now).await;
            assert_eq!(bench.kernel.routes().len(), 1_000 - BATCH);
            // There is no way yet.
            let wish = |i| {
                let route = Route::Remote {
                    next_hops: smallvec!["192.0.2.1".parse().unwrap()],
                    encapsulation: Encapsulation::Ipip(crate::model::Mode::Always),
                };
                Change::SetRoute(prefix(i), route)
            };
            bench.apply((0..1_000).map(wish).collect());
            bench.settle().await;
            assert_eq!(bench.kernel.routes().len(), 1_000 - BATCH);
        })
        .await;
    });
}
