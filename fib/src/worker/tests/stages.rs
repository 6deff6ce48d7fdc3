//! Changes of encapsulation, and tunnel devices on their way in and out.

use super::*;
use crate::kernel::DeviceChange;
use crate::model::{IpipDevice, Mode, TunnelSet, Vtep, VxlanDevice};

pub(super) const IPIP: Encapsulation = Encapsulation::Ipip(Mode::Always);
pub(super) const VXLAN: Encapsulation = Encapsulation::Vxlan(Mode::Always);

#[test]
fn a_route_leaves_its_way_when_the_far_end_can_receive_the_new_one() {
    Bench::run(async |bench| {
        bench.kernel.with(|kernel| kernel.has_ipip = true);
        bench.apply(vec![
            Change::SetGate(Gate::Open),
            to_node(Encapsulation::None),
        ]);
        bench.settle().await;
        bench.apply(vec![
            Change::SetTunnels(Box::new(ipip())),
            Change::SetIpipEnd(node(), false),
            to_node(IPIP),
        ]);
        bench.settle().await;
        assert_eq!(bench.way().await, "via 172.18.0.2 dev eth0");
        let reason = bench.reason().await.unwrap();
        assert!(
            reason.starts_with("keeps this way for now: node 172.18.0.2"),
            "{reason}"
        );
        let status = bench.status();
        assert_eq!((status.kept, status.failed, status.pending), (1, 0, 0));
        assert_eq!(status.conditions[0].0, "EncapsulationStaged");

        bench.apply(vec![Change::SetIpipEnd(node(), true)]);
        bench.settle().await;
        assert_eq!(bench.way().await, "via 172.18.0.2 dev tunl0 onlink");
        assert_eq!(bench.reason().await, None);
        assert_eq!(
            (bench.status().kept, bench.status().conditions),
            (0, vec![])
        );
        assert_eq!(bench.deletions(), 0);
    });
}

#[test]
fn a_far_end_that_never_says_so_is_sent_to_after_five_minutes_and_named() {
    Bench::run(async |bench| {
        bench.kernel.with(|kernel| kernel.has_ipip = true);
        bench.apply(vec![
            Change::SetGate(Gate::Open),
            to_node(Encapsulation::None),
        ]);
        bench.settle().await;
        let changes = [
            Change::SetTunnels(Box::new(ipip())),
            Change::SetIpipEnd(node(), false),
        ];
        bench.apply(changes.into());
        bench.apply(vec![to_node(IPIP)]);
        bench.wait_out(Duration::from_secs(299)).await;
        assert_eq!(bench.way().await, "via 172.18.0.2 dev eth0");
        bench.wait_out(Duration::from_secs(2)).await;
        assert_eq!(bench.way().await, "via 172.18.0.2 dev tunl0 onlink");
        let status = bench.status();
        assert_eq!((status.kept, status.unconfirmed), (0, 1));
        assert_eq!(status.conditions[0].0, "EncapsulationUnconfirmed");
    });
}

#[test]
fn a_new_route_into_ipip_waits_ten_seconds_for_a_silent_far_end() {
    Bench::run(async |bench| {
        bench.kernel.with(|kernel| kernel.has_ipip = true);
        let changes = [
            Change::SetTunnels(Box::new(ipip())),
            Change::SetIpipEnd(node(), false),
        ];
        bench.apply(changes.into());
        bench.apply(vec![to_node(IPIP)]);
        bench.wait_out(Duration::from_secs(9)).await;
        assert_eq!(bench.kernel.routes().len(), 0);
        bench.wait_out(Duration::from_secs(1)).await;
        assert_eq!(bench.way().await, "via 172.18.0.2 dev tunl0 onlink");
    });
}

#[test]
fn a_restart_in_the_middle_of_a_change_keeps_the_way_too() {
    Bench::run(async |bench| {
        bench.apply(vec![to_node(Encapsulation::None)]);
        bench.settle().await;
        let kernel = bench.kernel.clone();
        Bench::restart(kernel, async |bench| {
            bench.apply(vec![
                Change::SetTunnels(Box::new(ipip())),
                Change::SetIpipEnd(node(), false),
                to_node(IPIP),
                Change::SetGate(Gate::Open),
            ]);
            bench.settle().await;
            assert_eq!(bench.way().await, "via 172.18.0.2 dev eth0");
            assert_eq!(bench.status().writes, 0);
        })
        .await;
    });
}

#[test]
fn no_route_goes_into_vxlan_before_the_entries_of_its_far_end_are_written() {
    Bench::run(async |bench| {
        let mut changes = vec![
            Change::SetGate(Gate::Open),
            Change::SetTunnels(Box::new(vxlan())),
        ];
        // More than one turn writes.
        for host in 2..200 {
            changes.push(Change::SetVtep([172, 18, 0, host].into(), vtep(host)));
        }
        changes.push(Change::SetRoute(
            net("10.233.2.0/26"),
            Route::Remote {
                next_hops: smallvec![[172, 18, 0, 199].into()],
                encapsulation: VXLAN,
            },
        ));
        bench.apply(changes);
        for _ in 0..TURNS_MAX {
            bench.deliver();
            bench.worker.turn(bench.now).await;
            let (routes, neighbours) = bench.kernel.with(|kernel| {
                (
                    kernel.routes.len(),
                    kernel.neighbours.keys().copied().collect::<Vec<_>>(),
                )
            });
            if routes > 0 {
                let end = vtep(199).address;
                let has = |key: &NeighbourKey| matches!(key, NeighbourKey::Address(_, address) if *address == end);
                assert!(neighbours.iter().any(has), "{neighbours:?}");
                return;
            }
        }
        panic!("no route");
    });
}

#[test]
fn entries_of_a_vtep_that_is_named_no_more_stay_while_a_route_leads_there() {
    Bench::run(async |bench| {
        bench.apply(vec![
            Change::SetGate(Gate::Open),
            Change::SetTunnels(Box::new(vxlan())),
            Change::SetVtep(node(), vtep(2)),
            to_node(VXLAN),
        ]);
        bench.settle().await;
        bench.apply(vec![Change::RemoveVtep(node())]);
        bench.settle().await;
        assert_eq!(bench.way().await, "via 10.233.2.0 dev vxlan.calico onlink");
        assert_eq!(bench.kernel.with(|kernel| kernel.neighbours.len()), 2);
        bench.apply(vec![to_node(Encapsulation::None)]);
        bench.wait_out(Duration::from_secs(1)).await;
        assert_eq!(bench.way().await, "via 172.18.0.2 dev eth0");
        assert_eq!(bench.kernel.with(|kernel| kernel.neighbours.len()), 0);
        assert_eq!(bench.deletions(), 0);
    });
}

#[test]
fn entries_of_a_vtep_that_is_named_no_more_go_after_five_minutes() {
    Bench::run(async |bench| {
        bench.apply(vec![
            Change::SetGate(Gate::Open),
            Change::SetTunnels(Box::new(vxlan())),
            Change::SetVtep(node(), vtep(2)),
            to_node(VXLAN),
        ]);
        bench.settle().await;
        bench.apply(vec![Change::RemoveVtep(node())]);
        bench.wait_out(Duration::from_secs(301)).await;
        assert_eq!(bench.kernel.with(|kernel| kernel.neighbours.len()), 0);
        assert_eq!(bench.status().failed, 1);
    });
}

#[test]
fn a_leaving_device_says_when_no_route_uses_it_and_stays_as_long_as_others_may_send() {
    Bench::run(async |bench| {
        bench.apply(vec![
            Change::SetTunnels(Box::new(vxlan())),
            Change::SetVtep(node(), vtep(2)),
            to_node(VXLAN),
        ]);
        bench.settle().await;
        assert_eq!(bench.tunnel(), ("ready".into(), true));
        let leaving = Tunnels {
            leaving: VXLAN_ONLY,
            awaited: VXLAN_ONLY,
            ..vxlan()
        };
        bench.apply(vec![Change::SetTunnels(Box::new(leaving))]);
        bench.settle().await;
        assert_eq!(bench.tunnel(), ("leaving".into(), true));
        bench.apply(vec![to_node(Encapsulation::None)]);
        bench.wait_out(Duration::from_secs(1)).await;
        assert_eq!(bench.tunnel(), ("leaving".into(), false));

        let retiring = Tunnels {
            awaited: VXLAN_ONLY,
            ..Tunnels::default()
        };
        bench.apply(vec![Change::SetTunnels(Box::new(retiring.clone()))]);
        bench.wait_out(Duration::from_secs(299)).await;
        assert_eq!(bench.tunnel(), ("retiring".into(), false));
        assert!(bench.has_vxlan());
        bench.wait_out(Duration::from_secs(2)).await;
        assert!(!bench.has_vxlan(), "whoever is dead is not waited for");
        assert_eq!(bench.status().tunnels, []);

        // Wanted again, and nobody sends any more.
        bench.apply(vec![Change::SetTunnels(Box::new(vxlan()))]);
        bench.settle().await;
        bench.apply(vec![Change::SetTunnels(Box::new(retiring))]);
        bench.settle().await;
        assert!(bench.has_vxlan());
        bench.apply(vec![Change::SetTunnels(Box::default())]);
        bench.settle().await;
        assert!(!bench.has_vxlan());
    });
}

#[test]
fn a_device_is_ready_when_it_is_up_with_its_address_and_put_right_again() {
    Bench::run(async |bench| {
        bench.kernel.with(|kernel| kernel.has_ipip = true);
        bench.apply(vec![Change::SetTunnels(Box::new(ipip()))]);
        bench.worker.turn(bench.now).await;
        assert_eq!(bench.tunnel(), ("making".into(), true));
        bench.settle().await;
        assert_eq!(bench.tunnel(), ("ready".into(), true));
        let index = bench.index("tunl0");
        bench.kernel.set_up(index, false);
        bench.settle().await;
        assert_eq!(bench.tunnel(), ("ready".into(), true));
        let ups = bench.kernel.with(|kernel| {
            let is_up = |change: &&DeviceChange| **change == DeviceChange::SetUp(index, true);
            kernel.changes.iter().filter(is_up).count()
        });
        assert!(ups >= 1, "nobody else set it up");
        bench.kernel.delete_link(index);
        bench.settle().await;
        assert_eq!(bench.tunnel(), ("ready".into(), true));
    });
}

#[test]
fn a_device_that_cannot_be_put_right_is_broken_after_half_a_minute_and_ready_when_it_can() {
    Bench::run(async |bench| {
        bench.kernel.with(|kernel| kernel.has_ipip = true);
        bench.apply(vec![Change::SetTunnels(Box::new(ipip()))]);
        bench.settle().await;
        assert_eq!(bench.tunnel().0, "ready");
        let index = bench.index("tunl0");
        bench.kernel.with(|kernel| kernel.has_ipip = false);
        bench.kernel.delete_link(index);
        bench.settle().await;
        assert_eq!(bench.tunnel().0, "failed");
        bench.wait_out(Duration::from_secs(29)).await;
        assert_eq!(bench.tunnel().0, "failed");
        bench.wait_out(Duration::from_secs(35)).await;
        assert_eq!(bench.tunnel().0, "broken");
        assert_eq!(bench.status().conditions[0].0, "NoIpip");
        bench.kernel.with(|kernel| kernel.has_ipip = true);
        bench.wait_out(Duration::from_secs(61)).await;
        assert_eq!(bench.tunnel().0, "ready");
    });
}

#[test]
fn a_vxlan_device_of_ours_under_another_name_is_removed() {
    Bench::run(async |bench| {
        bench.apply(vec![Change::SetTunnels(Box::new(vxlan()))]);
        bench.settle().await;
        bench
            .kernel
            .rename_link(bench.index("vxlan.calico"), "old0");
        bench.settle().await;
        assert_eq!(bench.tunnel().0, "ready");
        let links = bench.kernel.with(|kernel| kernel.links.len());
        assert_eq!(links, 2, "eth0 and one tunnel");
    });
}

const VXLAN_ONLY: TunnelSet = TunnelSet {
    ipip: false,
    vxlan: true,
    vxlan_v6: false,
};

impl Bench {
    async fn one(&mut self) -> RouteStatus {
        let (reply, mut answer) = oneshot::channel();
        self.worker.handle_command(Command::Routes(reply), self.now);
        self.settle().await;
        answer.try_recv().unwrap().remove(0)
    }

    /// Of the one route, as the kernel has it.
    pub(super) async fn way(&mut self) -> String {
        let route = self.one().await;
        assert_eq!(route.state, "installed");
        route.way
    }

    async fn reason(&mut self) -> Option<String> {
        self.one().await.reason
    }

    /// State and use of the one tunnel.
    pub(super) fn tunnel(&mut self) -> (String, bool) {
        let tunnels = self.status().tunnels;
        assert_eq!(tunnels.len(), 1, "{tunnels:?}");
        (tunnels[0].state.clone(), tunnels[0].used)
    }

    fn has_vxlan(&self) -> bool {
        self.kernel.with(|kernel| {
            kernel
                .links
                .values()
                .any(|link| link.name == "vxlan.calico")
        })
    }

    pub(super) fn index(&self, name: &str) -> u32 {
        self.kernel.with(|kernel| {
            let found = kernel.links.values().find(|link| link.name == name);
            found.unwrap().index
        })
    }

    /// A route that is deleted is a packet that is lost.
    pub(super) fn deletions(&self) -> usize {
        let batches = self.kernel.with(|kernel| kernel.batches.concat());
        let is_delete = |write: &&Write| matches!(write, Write::Delete { .. });
        batches.iter().filter(is_delete).count()
    }
}

pub(super) fn node() -> IpAddr {
    [172, 18, 0, 2].into()
}

pub(super) fn to_node(encapsulation: Encapsulation) -> Change {
    Change::SetRoute(
        net("10.233.2.0/26"),
        Route::Remote {
            next_hops: smallvec![node()],
            encapsulation,
        },
    )
}

pub(super) fn vtep(host: u8) -> Vtep {
    Vtep {
        address: [10, 233, host, 0].into(),
        mac: [0x66, 0, 0, 0, 0, host],
    }
}

pub(super) fn ipip() -> Tunnels {
    Tunnels {
        ipip: Some(IpipDevice {
            address: [10, 233, 1, 1].into(),
            mtu: None,
        }),
        ..Tunnels::default()
    }
}

pub(super) fn vxlan() -> Tunnels {
    Tunnels {
        vxlan: Some(VxlanDevice {
            vni: 4096,
            port: 4789,
            address: [10, 233, 1, 0].into(),
            mac: [0x66; 6],
            local: [172, 18, 0, 1].into(),
            mtu: None,
        }),
        ..Tunnels::default()
    }
}

#[test]
fn a_route_that_is_kept_for_one_reason_after_another_does_not_keep_us_awake() {
    Bench::run(async |bench| {
        bench.kernel.with(|kernel| kernel.has_ipip = true);
        let both = Tunnels {
            ipip: ipip().ipip,
            ..vxlan()
        };
        bench.apply(vec![
            Change::SetGate(Gate::Open),
            Change::SetTunnels(Box::new(both)),
            to_node(Encapsulation::None),
        ]);
        bench.settle().await;
        bench.apply(vec![to_node(VXLAN)]);
        bench.wait_out(Duration::from_secs(100)).await;
        assert_eq!(bench.status().kept, 1);
        bench.apply(vec![Change::SetIpipEnd(node(), false), to_node(IPIP)]);
        // `settle` panics when it is not quiet after many turns.
        bench.wait_out(Duration::from_secs(299)).await;
        assert_eq!(bench.way().await, "via 172.18.0.2 dev eth0");
        bench.wait_out(Duration::from_secs(2)).await;
        assert_eq!(bench.way().await, "via 172.18.0.2 dev tunl0 onlink");
    });
}
