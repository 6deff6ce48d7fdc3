//! The far ends of VXLAN tunnels: nodes that move, are replaced, or say the same; and what it costs.

use super::stages::{IPIP, VXLAN, ipip, node, to_node, vtep, vxlan};
use super::*;
use crate::kernel::{NeighbourKey, NeighbourValue};
use crate::model::Vtep;

#[test]
fn a_node_with_another_address_keeps_its_tunnel_when_the_old_address_is_forgotten() {
    for removed_first in [true, false] {
        Bench::run(async |bench| {
            bench.begin().await;
            let mut changes = vec![
                Change::RemoveVtep(node()),
                Change::SetVtep(successor(), vtep(2)),
            ];
            if !removed_first {
                changes.reverse();
            }
            for change in changes {
                bench.apply(vec![change]);
                bench.settle().await;
            }
            assert_eq!(bench.remote(vtep(2).mac), Some(successor()));
            bench.apply(vec![to(successor(), "10.233.2.0/26")]);
            bench.wait_out(Duration::from_secs(400)).await;
            assert_eq!(bench.way().await, "via 10.233.2.0 dev vxlan.calico onlink");
            assert_eq!(bench.remote(vtep(2).mac), Some(successor()));
            assert_eq!(bench.mac_of(vtep(2).address), Some(vtep(2).mac));
            assert_eq!((bench.deletions(), bench.neighbours()), (0, 2));
        });
    }
}

#[test]
fn of_two_nodes_that_name_one_tunnel_one_gets_it_and_both_are_named() {
    Bench::run(async |bench| {
        bench.begin().await;
        bench.apply(vec![Change::SetVtep(successor(), vtep(2))]);
        bench.settle().await;
        assert_eq!(bench.remote(vtep(2).mac), Some(node()));
        let conditions = bench.status().conditions;
        let (name, sentence) = &conditions[0];
        assert_eq!(name, "VtepContested");
        assert!(sentence.contains("172.18.0.2 and 172.18.0.9"), "{sentence}");
        bench.apply(vec![Change::RemoveVtep(node())]);
        bench.settle().await;
        assert_eq!(bench.remote(vtep(2).mac), Some(successor()));
        let conditions = bench.status().conditions;
        assert!(conditions.iter().all(|(name, _)| name != "VtepContested"));
    });
}

#[test]
fn routes_move_to_another_tunnel_address_after_its_entries_and_before_the_old_ones_go() {
    let other_address = Vtep {
        address: [10, 233, 2, 77].into(),
        ..vtep(2)
    };
    let other_mac = Vtep {
        mac: [0x66, 0, 0, 0, 0, 250],
        ..vtep(2)
    };
    let both = Vtep {
        mac: other_mac.mac,
        ..other_address
    };
    for changed in [other_address, other_mac, both] {
        Bench::run(async |bench| {
            bench.begin().await;
            // Entries of others stand before those of this one.
            let others =
                (10..200).map(|host| Change::SetVtep([172, 18, 0, host].into(), vtep(host)));
            bench.apply(others.collect());
            bench.apply(vec![Change::SetVtep(node(), changed.clone())]);
            for _ in 0..TURNS_MAX {
                bench.deliver();
                bench.worker.turn(bench.now).await;
                let routes = bench.kernel.routes();
                let via = routes[&key("10.233.2.0/26")].hops()[0].via.unwrap();
                let mac = bench.mac_of(via).expect("no route without its entry");
                assert_eq!(bench.remote(mac), Some(node()), "{changed:?}");
            }
            bench.wait_out(Duration::from_secs(3)).await;
            assert_eq!(bench.mac_of(changed.address), Some(changed.mac));
            assert_eq!(bench.remote(changed.mac), Some(node()));
            assert_eq!(bench.neighbours(), 2 + 2 * 190, "the old ones are gone");
            assert_eq!((bench.deletions(), bench.status().kept), (0, 0));
        });
    }
}

#[test]
fn a_tunnel_address_that_changes_before_its_entries_are_written_changes_all_the_same() {
    Bench::run(async |bench| {
        bench.begin().await;
        for last in [77, 78, 79] {
            let address = [10, 233, 2, last].into();
            let changed = Vtep {
                address,
                mac: vtep(last).mac,
            };
            bench.apply(vec![Change::SetVtep(node(), changed)]);
        }
        bench.wait_out(Duration::from_secs(3)).await;
        assert_eq!(bench.way().await, "via 10.233.2.79 dev vxlan.calico onlink");
        assert_eq!((bench.deletions(), bench.neighbours()), (0, 2));
    });
}

#[test]
fn however_many_far_ends_change_in_a_turn_routes_are_walked_once() {
    Bench::run(async |bench| {
        let ends = |with: &dyn Fn(IpAddr, u8) -> Change| {
            let all = (2..250).map(|host| with([172, 18, 0, host].into(), host));
            all.collect::<Vec<Change>>()
        };
        bench.kernel.with(|kernel| kernel.has_ipip = true);
        bench.apply(vec![
            Change::SetGate(Gate::Open),
            Change::SetTunnels(Box::new(Tunnels {
                ipip: ipip().ipip,
                ..vxlan()
            })),
        ]);
        bench.apply(ends(&|node, host| Change::SetVtep(node, vtep(host))));
        bench.apply(ends(&|node, host| to(node, &format!("10.64.{host}.0/26"))));
        bench.settle().await;
        assert_eq!(bench.kernel.routes().len(), 248);
        // The entries of 248 nodes take several turns.
        let start = bench.worker.walks;
        assert!(start <= 4, "{start} at the start");
        bench.apply(ends(&|node, _| Change::RemoveVtep(node)));
        bench.settle().await;
        let removal = bench.worker.walks - start;
        assert!(removal <= 3, "{removal} for the removal");
        let before = bench.worker.walks;
        bench.apply(ends(&|node, _| Change::SetIpipEnd(node, false)));
        bench.apply(ends(&|node, _| Change::SetIpipEnd(node, true)));
        bench.settle().await;
        assert!(
            bench.worker.walks - before <= 1,
            "for what nodes say of IPIP"
        );
    });
}

#[test]
fn while_a_tunnel_leaves_routes_are_not_walked_at_each_write() {
    Bench::run(async |bench| {
        bench.begin().await;
        bench.apply(vec![Change::RemoveVtep(node())]);
        let mut leaving = vxlan();
        leaving.leaving.vxlan = true;
        bench.apply(vec![Change::SetTunnels(Box::new(leaving))]);
        bench.settle().await;
        assert_eq!(bench.tunnel(), ("leaving".into(), true));
        let before = bench.worker.walks;
        for host in 0..100 {
            bench.apply(vec![remote(host, 3)]);
            bench.settle().await;
        }
        assert!(bench.worker.walks - before <= 2, "no time has passed");
        // What is over is found all the same.
        bench.apply(vec![to_node(IPIP), to_node(Encapsulation::None)]);
        bench.wait_out(Duration::from_secs(2)).await;
        assert_eq!(bench.tunnel(), ("leaving".into(), false));
        assert_eq!(bench.neighbours(), 0);
    });
}

impl Bench {
    /// One node, and a route to it.
    async fn begin(&mut self) {
        self.apply(vec![
            Change::SetGate(Gate::Open),
            Change::SetTunnels(Box::new(vxlan())),
            Change::SetVtep(node(), vtep(2)),
            to_node(VXLAN),
        ]);
        self.settle().await;
        assert_eq!(self.way().await, "via 10.233.2.0 dev vxlan.calico onlink");
    }

    fn neighbours(&self) -> usize {
        self.kernel.with(|kernel| kernel.neighbours.len())
    }

    /// The node that frames to a MAC go to.
    fn remote(&self, mac: [u8; 6]) -> Option<IpAddr> {
        let key = NeighbourKey::Mac(self.index("vxlan.calico"), mac);
        match self
            .kernel
            .with(|kernel| kernel.neighbours.get(&key).copied())?
        {
            NeighbourValue::Remote(node) => Some(node),
            NeighbourValue::Mac(_) => None,
        }
    }

    fn mac_of(&self, address: IpAddr) -> Option<[u8; 6]> {
        let key = NeighbourKey::Address(self.index("vxlan.calico"), address);
        match self
            .kernel
            .with(|kernel| kernel.neighbours.get(&key).copied())?
        {
            NeighbourValue::Mac(mac) => Some(mac),
            NeighbourValue::Remote(_) => None,
        }
    }
}

/// It has the place of the first one, which may still be named.
fn successor() -> IpAddr {
    [172, 18, 0, 9].into()
}

fn to(node: IpAddr, prefix: &str) -> Change {
    Change::SetRoute(
        net(prefix),
        Route::Remote {
            next_hops: smallvec![node],
            encapsulation: VXLAN,
        },
    )
}
