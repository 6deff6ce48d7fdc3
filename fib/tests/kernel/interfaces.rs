//! What becomes of routes when the host's devices change under them.

use std::time::Duration;

use caracal_fib::{Change, Config, Fib, Tunnels, VxlanDevice};

use crate::harness::*;

/// A block of each family behind a neighbour on eth0.
fn two_blocks() -> Vec<Change> {
    vec![
        remote("10.233.2.0/26", &["172.18.0.2"]),
        remote("fd00:2::/122", &["2001:db8:18::2"]),
    ]
}

/// The gateways and devices of all our routes, in both families.
fn ways() -> Vec<(String, String)> {
    let mut ways = Vec::new();
    for family in ["-4", "-6"] {
        for route in ours(family) {
            let words: Vec<&str> = route.split_whitespace().collect();
            for hop in words.windows(4) {
                if hop[0] == "via" && hop[2] == "dev" {
                    ways.push((hop[1].into(), hop[3].into()));
                }
            }
        }
    }
    ways.sort();
    ways
}

fn through(hops: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = hops
        .iter()
        .map(|&(via, device)| (via.to_owned(), device.to_owned()));
    owned.collect()
}

#[test]
fn a_host_device_that_is_renamed_keeps_its_routes_under_the_new_name() {
    in_namespace(|| async {
        let fib = start().await;
        fib.apply(two_blocks());
        settle(&fib).await;
        ip("link set eth0 down");
        ip("link set eth0 name lan0");
        ip("link set lan0 up");
        ip("addr add 2001:db8:18::1/64 dev lan0 nodad");
        until_kernel("through the new name", || {
            ways() == through(&[("172.18.0.2", "lan0"), ("2001:db8:18::2", "lan0")])
        })
        .await;
        let status = settle(&fib).await;
        assert_eq!((status.repairs, status.stale), (0, 0), "nobody meddled");
        assert!(fib.routes().await.unwrap()[0].way.contains("dev lan0"));
    });
}

#[test]
fn a_host_device_made_anew_has_its_routes_under_another_index() {
    in_namespace(|| async {
        let fib = start().await;
        fib.apply(two_blocks());
        settle(&fib).await;
        ip("link del eth0");
        until(&fib, "both wait", |s| s.failed == 2).await;
        assert_eq!(ways(), []);
        ip("link add eth0 type veth peer name peer0");
        ip("link set peer0 up");
        ip("link set eth0 up");
        ip("addr add 172.18.0.1/24 dev eth0");
        ip("addr add 2001:db8:18::1/64 dev eth0 nodad");
        until_kernel("there again", || {
            ways() == through(&[("172.18.0.2", "eth0"), ("2001:db8:18::2", "eth0")])
        })
        .await;
        assert_eq!(settle(&fib).await.repairs, 0);
    });
}

/// The cable is pulled: the device stays up, and the kernel keeps its addresses.
#[test]
fn routes_are_there_after_the_carrier_was_lost() {
    in_namespace(|| async {
        let fib = start().await;
        fib.apply(two_blocks());
        settle(&fib).await;
        for _ in 0..3 {
            ip("link set peer0 down");
            until_kernel("no carrier", || ip("link show eth0").contains("NO-CARRIER")).await;
            ip("link set peer0 up");
        }
        until_kernel("there", || {
            ways() == through(&[("172.18.0.2", "eth0"), ("2001:db8:18::2", "eth0")])
        })
        .await;
        let status = settle(&fib).await;
        assert_eq!((status.failed, status.repairs), (0, 0));
    });
}

/// Without nexthop objects, which go with the carrier, the kernel keeps the routes and calls them `linkdown`.
#[test]
fn routes_with_next_hops_of_their_own_stay_while_there_is_no_carrier() {
    in_namespace(|| async {
        let config = Config {
            nexthop_objects: false,
            verify_interval: Duration::from_secs(1),
            ..Config::default()
        };
        let fib = Fib::start(config).await.unwrap();
        add_cali("cali1");
        fib.apply(two_blocks());
        fib.apply(vec![workload("cali1", &["10.233.1.7", "fd00:1::7"])]);
        let before = settle(&fib).await;
        ip("link set peer0 down");
        ip("link set pcali1 down");
        let linkdown = |family: &str| {
            let shown = ours(family);
            shown
                .iter()
                .filter(|line| line.contains("linkdown"))
                .count()
        };
        until_kernel("no carrier", || (linkdown("-4"), linkdown("-6")) == (2, 2)).await;
        // What is written now is kept as well.
        fib.apply(vec![remote("10.233.9.0/26", &["172.18.0.9"])]);
        settle(&fib).await;
        let reads = fib.status().borrow().resyncs;
        let status = until(&fib, "read twice", |s| s.resyncs > reads + 1).await;
        assert_eq!((status.actual, status.failed), (5, 0), "{status:?}");
        assert_eq!(status.writes, before.writes + 1, "{status:?}");
        assert_eq!(status.counters.repairs, Default::default());
        ip("link set peer0 up");
        ip("link set pcali1 up");
        until_kernel("carrier", || (linkdown("-4"), linkdown("-6")) == (0, 0)).await;
        let status = settle(&fib).await;
        assert_eq!((status.actual, status.writes), (5, before.writes + 1));
    });
}

#[test]
fn an_ecmp_route_loses_the_member_whose_device_goes_down_and_has_it_back() {
    in_namespace(|| async {
        ip("link add eth1 type veth peer name peer1");
        ip("link set peer1 up");
        ip("link set eth1 up");
        ip("addr add 172.19.0.1/24 dev eth1");
        ip("addr add 2001:db8:19::1/64 dev eth1 nodad");
        let fib = start().await;
        fib.apply(vec![
            remote("10.233.2.0/26", &["172.18.0.2", "172.19.0.2"]),
            remote("fd00:2::/122", &["2001:db8:18::2", "2001:db8:19::2"]),
        ]);
        settle(&fib).await;
        let both = through(&[
            ("172.18.0.2", "eth0"),
            ("172.19.0.2", "eth1"),
            ("2001:db8:18::2", "eth0"),
            ("2001:db8:19::2", "eth1"),
        ]);
        assert_eq!(ways(), both);
        ip("link set eth1 down");
        until_kernel("one member each", || {
            ways() == through(&[("172.18.0.2", "eth0"), ("2001:db8:18::2", "eth0")])
        })
        .await;
        ip("link set eth1 up");
        ip("addr add 2001:db8:19::1/64 dev eth1 nodad");
        until_kernel("both members again", || ways() == both).await;
        assert_eq!(settle(&fib).await.repairs, 0);
    });
}

#[test]
fn the_mtu_of_tunnels_follows_that_of_the_host() {
    in_namespace(|| async {
        let fib = start().await;
        fib.apply(vec![Change::SetTunnels(Box::new(tunnels()))]);
        settle(&fib).await;
        for (host, v4, v6) in [(1500, 1450, 1430), (1400, 1350, 1330), (1500, 1450, 1430)] {
            ip(&format!("link set eth0 mtu {host}"));
            until_kernel("both follow", || {
                let has = |device: &str, mtu: u32| {
                    try_ip(&format!("link show {device}"))
                        .is_ok_and(|text| text.contains(&format!("mtu {mtu} ")))
                };
                has("vxlan.calico", v4) && has("vxlan-v6.calico", v6)
            })
            .await;
            until(&fib, "said so", |s| s.host_mtu == Some(host)).await;
        }
    });
}

#[test]
fn a_tunnel_device_that_is_renamed_is_made_anew_and_the_old_one_is_removed() {
    for device in ["vxlan.calico", "vxlan-v6.calico"] {
        in_namespace(move || async move {
            let fib = start().await;
            fib.apply(vec![Change::SetTunnels(Box::new(tunnels()))]);
            fib.apply(two_blocks());
            settle(&fib).await;
            until_kernel("made", || try_ip(&format!("link show {device}")).is_ok()).await;
            rename(device, "old0").await;
            until_kernel("removed", || try_ip("link show old0").is_err()).await;
            until_kernel("made again", || {
                try_ip(&format!("link show {device}")).is_ok_and(|shown| shown.contains(",UP"))
            })
            .await;
            until(&fib, "no condition", |s| s.conditions.is_empty()).await;
            assert_eq!(ways().len(), 2, "direct routes go on");
        });
    }
}

#[test]
fn a_foreign_device_with_our_vni_is_named_by_a_condition_until_it_is_gone() {
    in_namespace(|| async {
        let foreign = "id 4096 dstport 4789 local 172.18.0.1 nolearning";
        let made = try_ip(&format!(
            "link add old0 address 02:00:00:00:00:09 type vxlan {foreign}"
        ));
        made.unwrap();
        let fib = start().await;
        fib.apply(vec![Change::SetTunnels(Box::new(tunnels()))]);
        let status = until(&fib, "a condition", |s| {
            s.conditions.iter().any(|(name, _)| name == "NoVxlan")
        })
        .await;
        let mut conditions = status.conditions.iter();
        let (_, sentence) = conditions.find(|(name, _)| name == "NoVxlan").unwrap();
        assert!(sentence.contains("device old0 has its VNI"), "{sentence}");
        try_ip("link del old0").unwrap();
        until(&fib, "no condition", |s| s.conditions.is_empty()).await;
    });
}

/// Older kernels rename only what is down, and what is ours is up again at once: between two programs it always would be.
async fn rename(from: &str, to: &str) {
    let orders = std::env::temp_dir().join(format!("caracal-rename-{}-{to}", std::process::id()));
    let both = format!("link set {from} down\nlink set {from} name {to}\n");
    std::fs::write(&orders, both).unwrap();
    let batch = format!("-batch {}", orders.display());
    until_kernel("renamed", || try_ip(&batch).is_ok()).await;
    std::fs::remove_file(&orders).unwrap();
}

fn tunnels() -> Tunnels {
    let device = |address_: &str, local: &str, last: u8| VxlanDevice {
        vni: 4096,
        port: 4789,
        address: address(address_),
        mac: [0x66, 0, 0, 0, 0, last],
        local: address(local),
        mtu: None,
    };
    Tunnels {
        vxlan: Some(device("10.233.1.1", "172.18.0.1", 1)),
        vxlan_v6: Some(device("fd00:1::1", "2001:db8:18::1", 2)),
        ..Tunnels::default()
    }
}
