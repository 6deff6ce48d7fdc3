//! What Calico and others left, on the devices on which they leave it, and under which gate it goes.

use std::time::Duration;

use caracal_fib::{Change, Config, Encapsulation, Fib, Gate, Mode, Tunnels, Vtep, VxlanDevice};

use crate::harness::*;

const VXLAN: Encapsulation = Encapsulation::Vxlan(Mode::Always);

/// The device and the routes as Felix makes them; v3.32 and later with a metric.
#[test]
fn routes_of_felix_on_vxlan_are_replaced_first_and_go_as_each_peer_has_told() {
    in_namespace(|| async {
        for line in [
            "link add vxlan.calico address 66:00:00:00:00:01 mtu 1450 type vxlan id 4096 dstport 4789 \
             local 172.18.0.1 nolearning dev eth0",
            "link set vxlan.calico up",
            "addr add 10.233.1.0/32 dev vxlan.calico",
            "route add 10.233.2.0/26 via 10.233.2.0 dev vxlan.calico onlink proto 80",
            "route add 10.233.3.0/26 via 10.233.3.0 dev vxlan.calico onlink proto 80 metric 1024",
            "route add 10.233.4.0/26 via 10.233.4.0 dev vxlan.calico onlink proto 80",
            "route add 10.233.5.0/26 via 10.233.5.0 dev vxlan.calico onlink proto 80",
            "route add blackhole 10.233.1.0/26 proto 80",
            "route add blackhole 10.233.9.0/26 proto 80",
            // Of a node in the same subnet.
            "route add 10.233.6.0/26 via 172.18.0.6 proto 80",
        ] {
            ip(line);
        }
        let index = ip("-o link show vxlan.calico");
        let fib = start().await;
        fib.apply(vec![
            Change::SetTunnels(Box::new(Tunnels {
                vxlan: Some(VxlanDevice {
                    vni: 4096,
                    port: 4789,
                    address: address("10.233.1.0"),
                    mac: [0x66, 0, 0, 0, 0, 1],
                    local: address("172.18.0.1"),
                    mtu: None,
                }),
                ..Tunnels::default()
            })),
            encapsulated("10.233.2.0/26", &["172.18.0.2"], VXLAN),
            vtep("172.18.0.2", "10.233.2.0", 2),
            encapsulated("10.233.3.0/26", &["172.18.0.3"], VXLAN),
            vtep("172.18.0.3", "10.233.3.0", 3),
            // It waits for its VTEP: what Felix left serves better than nothing.
            encapsulated("10.233.5.0/26", &["172.18.0.5"], VXLAN),
            blackhole("10.233.1.0/26"),
        ]);
        until(&fib, "three are ours", |s| s.actual == 3 && s.pending == 1).await;
        assert_eq!(
            ip("-o link show vxlan.calico"),
            index,
            "the device is adopted"
        );
        until_kernel("the one beside ours is gone", || {
            !ip("route show").contains("metric 1024")
        })
        .await;
        let left = |gone: &[&str]| {
            let all = ip("route show proto 80");
            ["10.233.4.0", "10.233.5.0", "10.233.6.0", "10.233.9.0"]
                .iter()
                .all(|prefix| all.contains(&format!("{prefix}/26")) != gone.contains(prefix))
        };
        assert!(left(&[]), "{}", ip("route show"));

        fib.apply(vec![Change::SetGate(Gate::LocalOnly)]);
        until_kernel("the blackhole", || left(&["10.233.9.0"])).await;
        // One peer is absent: its node address, and that of its VTEP.
        let absent = vec![address("172.18.0.4"), address("10.233.4.0")];
        fib.apply(vec![Change::SetGate(Gate::OpenExcept(absent))]);
        until_kernel("of present peers", || left(&["10.233.9.0", "10.233.6.0"])).await;
        fib.apply(vec![open()]);
        until_kernel("all but the one that waits", || {
            left(&["10.233.9.0", "10.233.6.0", "10.233.4.0"])
        })
        .await;
        fib.apply(vec![vtep("172.18.0.5", "10.233.5.0", 5)]);
        until_kernel("nothing of Felix is left", || {
            ip("route show proto 80").is_empty()
        })
        .await;
        let status = settle(&fib).await;
        assert_eq!(status.actual, 4);
        assert_eq!(
            status.counters.leftovers_removed, 4,
            "the others were replaced"
        );
        assert_eq!(status.repairs, 0);
    });
}

#[test]
fn routes_of_others_on_devices_of_workloads_go_under_the_gate() {
    in_namespace(|| async {
        for cali in ["cali1", "cali2"] {
            add_cali(cali);
        }
        for line in [
            "route add 10.233.1.7 dev cali1 scope link",
            "route add 10.233.1.99 dev cali1 scope link proto static",
            "-6 route add fd00:1::7 dev cali1",
            "-6 route add fd00:1::99 dev cali1 proto static",
            // Of a device that we do not serve, or not a workload's.
            "route add 10.233.1.98 dev cali2 scope link",
            "-6 route add fd00:1::98 dev cali2",
            "route add 10.77.0.0/16 via 172.18.0.2 proto static",
        ] {
            ip(line);
        }
        let config = Config {
            external_grace: Duration::ZERO,
            ..Config::default()
        };
        let fib = Fib::start(config).await.unwrap();
        fib.apply(vec![
            workload("cali1", &["10.233.1.7", "fd00:1::7"]),
            Change::SetGate(Gate::Closed),
        ]);
        settle(&fib).await;
        let all = || ip("route show") + &ip("-6 route show");
        assert!(all().contains("10.233.1.99") && all().contains("fd00:1::99"));

        fib.apply(vec![Change::SetGate(Gate::LocalOnly)]);
        until_kernel("they are gone", || {
            !all().contains("10.233.1.99") && !all().contains("fd00:1::99")
        })
        .await;
        let there = all();
        for kept in [
            "10.233.1.98",
            "fd00:1::98",
            "10.77.0.0/16",
            "fe80::/64 dev cali1",
        ] {
            assert!(there.contains(kept), "{kept} is gone: {there}");
        }
        assert_eq!(ours("-4"), ["10.233.1.7 dev cali1 scope link"]);
        assert_eq!(ours("-6").len(), 1);
        // Whenever it comes.
        ip("route add 10.233.1.97 dev cali1 scope link");
        until_kernel("it is gone", || !all().contains("10.233.1.97")).await;
        assert_eq!(fib.status().borrow().repairs, 0);
    });
}

#[test]
fn routes_of_others_stay_when_the_operator_says_so() {
    in_namespace(|| async {
        add_cali("cali1");
        ip("route add 10.233.1.99 dev cali1 scope link proto static");
        ip("route add 10.233.1.98 dev cali1 scope link proto 80");
        let config = Config {
            remove_external_routes: false,
            external_grace: Duration::ZERO,
            ..Config::default()
        };
        let fib = Fib::start(config).await.unwrap();
        fib.apply(vec![workload("cali1", &["10.233.1.7"]), open()]);
        until_kernel("Felix's is gone", || {
            !ip("route show").contains("10.233.1.98")
        })
        .await;
        settle(&fib).await;
        assert!(ip("route show").contains("10.233.1.99"));
    });
}

fn vtep(node: &str, tunnel: &str, last: u8) -> Change {
    Change::SetVtep(
        address(node),
        Vtep {
            address: address(tunnel),
            mac: [0x66, 0, 0, 0, 0, last],
        },
    )
}
