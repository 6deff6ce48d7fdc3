//! `tunl0` and the VXLAN devices, and the routes through them.

use caracal_fib::{Change, Encapsulation, Gate, IpipDevice, Mode, Tunnels, Vtep, VxlanDevice};

use crate::harness::*;

const IPIP: Encapsulation = Encapsulation::Ipip(Mode::CrossSubnet);
const VXLAN: Encapsulation = Encapsulation::Vxlan(Mode::CrossSubnet);

#[test]
fn routes_to_other_subnets_go_through_vxlan() {
    in_namespace(|| async {
        let fib = start().await;
        fib.apply(vec![
            Change::SetTunnels(Box::new(vxlan_tunnels())),
            encapsulated("10.233.2.0/26", &["172.18.0.2"], VXLAN),
            encapsulated("10.233.3.0/26", &["172.19.0.3"], VXLAN),
            encapsulated("fd00:3::/122", &["2001:db8:19::3"], VXLAN),
            vtep("172.19.0.3", "10.233.3.1", 3),
            vtep("2001:db8:19::3", "fd00:3::1", 4),
        ]);
        settle_tunnels("vxlan.calico").await;
        settle_tunnels("vxlan-v6.calico").await;
        let status = settle(&fib).await;
        assert_eq!(status.conditions, []);
        assert_eq!(status.host_mtu, Some(1500));
        assert_eq!(
            ours("-4"),
            [
                "10.233.2.0/26 via 172.18.0.2 dev eth0",
                "10.233.3.0/26 via 10.233.3.1 dev vxlan.calico onlink"
            ]
        );
        assert_eq!(
            ours("-6"),
            [
                "fd00:3::1 dev vxlan-v6.calico metric 1024 pref medium",
                "fd00:3::/122 via fd00:3::1 dev vxlan-v6.calico metric 1024 onlink pref medium"
            ]
        );
        let device = ip("-d link show vxlan.calico");
        for part in [
            "vxlan id 4096 local 172.18.0.1",
            "dstport 4789",
            "nolearning",
            "mtu 1450",
            "66:00:00:00:00:01",
            ",UP",
        ] {
            assert!(device.contains(part), "{part}: {device}");
        }
        let addresses = ip("addr show dev vxlan.calico");
        assert!(addresses.contains("inet 10.233.1.1/32"), "{addresses}");
        let device = ip("-d link show vxlan-v6.calico");
        assert!(device.contains("local 2001:db8:18::1"), "{device}");
        assert!(device.contains("mtu 1430"), "{device}");
        let addresses = ip("addr show dev vxlan-v6.calico");
        assert!(addresses.contains("inet6 fd00:1::1/128"), "{addresses}");

        let neighbours = ip("neigh show dev vxlan.calico nud permanent");
        assert!(
            neighbours.contains("10.233.3.1 lladdr 66:00:00:00:00:03 PERMANENT"),
            "{neighbours}"
        );
        assert_eq!(forwarding("vxlan.calico"), ["66:00:00:00:00:03 172.19.0.3"]);
        assert_eq!(
            forwarding("vxlan-v6.calico"),
            ["66:00:00:00:00:04 2001:db8:19::3"]
        );

        assert_eq!(sysctl("net/ipv4/conf/vxlan.calico/rp_filter"), "2", "loose");
        fib.apply(vec![Change::RemoveVtep(address("172.19.0.3")), open()]);
        let status = until(&fib, "one is kept", |s| s.kept == 1).await;
        assert_eq!(status.pending, 0);
        let routes = fib.routes().await.unwrap();
        let reasons: Vec<_> = routes.iter().filter_map(|r| r.reason.clone()).collect();
        assert_eq!(
            reasons,
            ["keeps this way for now: node 172.19.0.3 has no VXLAN tunnel address"]
        );
        assert_eq!(forwarding("vxlan.calico").len(), 1, "a route leads there");
        fib.apply(vec![Change::RemoveRoute(net("10.233.3.0/26"))]);
        until_kernel("its entries are gone", || {
            forwarding("vxlan.calico").is_empty()
                && ip("neigh show dev vxlan.calico nud permanent").is_empty()
        })
        .await;
    });
}

/// The kernel refuses an IPv6 route by a VTEP to whose address it has a route through another device.
#[test]
fn an_ipv6_block_that_holds_its_nodes_vtep_moves_into_the_tunnel_and_out_again() {
    in_namespace(|| async {
        let fib = start().await;
        let node = ["2001:db8:18::2"];
        let always = Encapsulation::Vxlan(Mode::Always);
        fib.apply(vec![
            Change::SetTunnels(Box::new(vxlan_tunnels())),
            encapsulated("fd00:3::/122", &node, Encapsulation::None),
        ]);
        settle_tunnels("vxlan-v6.calico").await;
        settle(&fib).await;
        let direct = "fd00:3::/122 via 2001:db8:18::2 dev eth0 metric 1024 pref medium";
        assert_eq!(ours("-6"), [direct]);

        fib.apply(vec![
            vtep(node[0], "fd00:3::1", 4),
            encapsulated("fd00:3::/122", &node, always),
        ]);
        let status = settle(&fib).await;
        assert_eq!((status.failed, status.conditions), (0, vec![]));
        assert_eq!(
            ours("-6"),
            [
                "fd00:3::1 dev vxlan-v6.calico metric 1024 pref medium",
                "fd00:3::/122 via fd00:3::1 dev vxlan-v6.calico metric 1024 onlink pref medium"
            ]
        );

        fib.apply(vec![
            encapsulated("fd00:3::/122", &node, Encapsulation::None),
            Change::RemoveVtep(address(node[0])),
        ]);
        settle(&fib).await;
        // The way to the VTEP goes when nothing leads there any more.
        until_kernel("out again", || ours("-6") == [direct]).await;
    });
}

#[test]
fn a_restart_adopts_the_vxlan_device_and_writes_nothing() {
    in_namespace(|| async {
        let wishes = vec![
            Change::SetTunnels(Box::new(vxlan_tunnels())),
            encapsulated("10.233.3.0/26", &["172.19.0.3"], VXLAN),
            vtep("172.19.0.3", "10.233.3.1", 3),
            open(),
        ];
        let fib = start().await;
        fib.apply(wishes.clone());
        settle_tunnels("vxlan.calico").await;
        settle(&fib).await;
        drop(fib);

        let index = ip("-o link show vxlan.calico");
        let fib = start().await;
        fib.apply(wishes);
        let status = settle(&fib).await;
        assert_eq!((status.writes, status.actual), (0, 1));
        assert_eq!(ip("-o link show vxlan.calico"), index);
        assert_eq!(forwarding("vxlan.calico"), ["66:00:00:00:00:03 172.19.0.3"]);
    });
}

#[test]
fn a_vxlan_device_that_differs_is_made_anew_and_its_routes_come_back() {
    in_namespace(|| async {
        ip("link add vxlan.calico type vxlan id 1 dstport 8472 local 172.18.0.1 learning");
        let fib = start().await;
        fib.apply(vec![
            Change::SetTunnels(Box::new(vxlan_tunnels())),
            encapsulated("10.233.3.0/26", &["172.19.0.3"], VXLAN),
            vtep("172.19.0.3", "10.233.3.1", 3),
        ]);
        settle_tunnels("vxlan.calico").await;
        settle(&fib).await;
        assert!(ip("-d link show vxlan.calico").contains("vxlan id 4096"));

        let mut tunnels = vxlan_tunnels();
        if let Some(device) = &mut tunnels.vxlan {
            device.mac = [0x66, 0, 0, 0, 0, 9];
            device.address = address("10.233.1.9");
        }
        fib.apply(vec![Change::SetTunnels(Box::new(tunnels))]);
        until_kernel("the new MAC, and all that belongs to the device", || {
            try_ip("addr show vxlan.calico").is_ok_and(|device| {
                device.contains("66:00:00:00:00:09") && device.contains("10.233.1.9/32")
            }) && ours("-4") == ["10.233.3.0/26 via 10.233.3.1 dev vxlan.calico onlink"]
                && forwarding("vxlan.calico") == ["66:00:00:00:00:03 172.19.0.3"]
        })
        .await;
        settle(&fib).await;
    });
}

#[test]
fn a_tunnel_that_is_not_used_any_more_goes_after_its_routes() {
    in_namespace(|| async {
        let fib = start().await;
        fib.apply(vec![
            Change::SetTunnels(Box::new(vxlan_tunnels())),
            encapsulated("10.233.3.0/26", &["172.19.0.3"], VXLAN),
            vtep("172.19.0.3", "10.233.3.1", 3),
        ]);
        settle_tunnels("vxlan.calico").await;
        settle(&fib).await;
        fib.apply(vec![Change::SetTunnels(Box::default())]);
        settle(&fib).await;
        assert_eq!(ours("-4").len(), 1, "a route still needs the device");
        fib.apply(vec![Change::RemoveRoute(net("10.233.3.0/26"))]);
        until_kernel("the devices are gone", || {
            try_ip("link show vxlan.calico").is_err()
                && try_ip("link show vxlan-v6.calico").is_err()
        })
        .await;
        assert_eq!(ours("-4"), [""; 0]);
    });
}

#[test]
fn a_change_of_the_host_mtu_is_followed_and_foreign_addresses_are_removed() {
    in_namespace(|| async {
        let fib = start().await;
        fib.apply(vec![Change::SetTunnels(Box::new(vxlan_tunnels()))]);
        settle_tunnels("vxlan.calico").await;
        ip("link set eth0 mtu 1400");
        until_kernel("MTU", || ip("link show vxlan.calico").contains("mtu 1350")).await;
        ip("addr add 10.9.9.9/32 dev vxlan.calico");
        until_kernel("only ours", || {
            !ip("addr show vxlan.calico").contains("10.9.9.9")
        })
        .await;
        ip("addr del 10.233.1.1/32 dev vxlan.calico");
        settle_tunnels("vxlan.calico").await;
        ip("link set vxlan.calico down");
        settle_tunnels("vxlan.calico").await;
        assert_eq!(fib.status().borrow().host_mtu, Some(1400));
    });
}

#[test]
fn routes_to_other_subnets_go_through_tunl0() {
    in_namespace(|| async {
        if !kernel_has_ipip() {
            println!("skipped: this kernel has no ipip");
            return;
        }
        let fib = start().await;
        fib.apply(vec![
            Change::SetTunnels(Box::new(ipip_tunnels("10.233.1.1"))),
            encapsulated("10.233.2.0/26", &["172.18.0.2"], IPIP),
            encapsulated("10.233.3.0/26", &["172.19.0.3"], IPIP),
            encapsulated("10.233.4.0/26", &["172.19.0.3", "172.19.0.4"], IPIP),
            open(),
        ]);
        settle_tunnels("tunl0").await;
        let status = settle(&fib).await;
        assert_eq!(status.conditions, []);
        assert_eq!(
            ours("-4").join(" "),
            "10.233.2.0/26 via 172.18.0.2 dev eth0 \
             10.233.3.0/26 via 172.19.0.3 dev tunl0 onlink \
             10.233.4.0/26 nexthop via 172.19.0.3 dev tunl0 weight 1 onlink \
             nexthop via 172.19.0.4 dev tunl0 weight 1 onlink"
        );
        let device = ip("-d addr show tunl0");
        assert!(device.contains("mtu 1480"), "{device}");
        assert!(device.contains("inet 10.233.1.1/32"), "{device}");
        assert!(device.contains(",UP"), "{device}");

        ip("addr add 10.9.9.9/32 dev tunl0");
        fib.apply(vec![Change::SetTunnels(Box::new(ipip_tunnels(
            "10.233.1.2",
        )))]);
        until_kernel("the new address, and only that", || {
            let addresses = ip("-4 -o addr show tunl0");
            addresses.contains("10.233.1.2/32") && addresses.lines().count() == 1
        })
        .await;
        assert_eq!(ours("-4").len(), 5, "{:?}", ours("-4"));

        ip("link set tunl0 down");
        until_kernel("up again with its routes", || ours("-4").len() == 5).await;
        settle(&fib).await;

        drop(fib);
        let fib = start().await;
        fib.apply(vec![
            Change::SetTunnels(Box::new(ipip_tunnels("10.233.1.2"))),
            encapsulated("10.233.2.0/26", &["172.18.0.2"], IPIP),
            encapsulated("10.233.3.0/26", &["172.19.0.3"], IPIP),
            encapsulated("10.233.4.0/26", &["172.19.0.3", "172.19.0.4"], IPIP),
            open(),
        ]);
        assert_eq!(settle(&fib).await.writes, 0);

        fib.apply(vec![
            Change::SetTunnels(Box::default()),
            Change::RemoveRoute(net("10.233.3.0/26")),
            Change::RemoveRoute(net("10.233.4.0/26")),
        ]);
        until_kernel("tunl0 is bare", || {
            let device = ip("addr show tunl0");
            !device.contains("inet ") && !device.contains(",UP")
        })
        .await;
        assert_eq!(ours("-4"), ["10.233.2.0/26 via 172.18.0.2 dev eth0"]);
    });
}

#[test]
fn routes_that_felix_or_bird_left_on_tunl0_are_taken_over() {
    in_namespace(|| async {
        if !kernel_has_ipip() {
            println!("skipped: this kernel has no ipip");
            return;
        }
        try_ip("link add tunl0 type ipip").ok();
        ip("link set tunl0 up");
        ip("addr add 10.233.1.1/32 dev tunl0");
        ip("route add 10.233.3.0/26 via 172.19.0.3 dev tunl0 onlink proto bird");
        ip("route add 10.233.4.0/26 via 172.19.0.4 dev tunl0 onlink proto 80 metric 1024");
        ip("route add 10.233.5.0/26 via 172.19.0.5 dev tunl0 onlink proto 80");
        let fib = start().await;
        fib.apply(vec![
            Change::SetTunnels(Box::new(ipip_tunnels("10.233.1.1"))),
            encapsulated("10.233.3.0/26", &["172.19.0.3"], IPIP),
            encapsulated("10.233.4.0/26", &["172.19.0.4"], IPIP),
            Change::SetGate(Gate::LocalOnly),
        ]);
        settle(&fib).await;
        until_kernel("beside ours", || !ip("route show").contains("metric 1024")).await;
        assert!(ip("route show").contains("10.233.5.0/26"));
        fib.apply(vec![open()]);
        until_kernel("undesired", || !ip("route show").contains("10.233.5.0/26")).await;
        assert_eq!(
            ours("-4"),
            [
                "10.233.3.0/26 via 172.19.0.3 dev tunl0 onlink",
                "10.233.4.0/26 via 172.19.0.4 dev tunl0 onlink"
            ]
        );
    });
}

#[test]
fn a_kernel_without_ipip_is_a_condition_and_direct_routes_go_on() {
    in_namespace(|| async {
        if kernel_has_ipip() {
            println!("skipped: this kernel has ipip");
            return;
        }
        let fib = start().await;
        fib.apply(vec![
            Change::SetTunnels(Box::new(ipip_tunnels("10.233.1.1"))),
            encapsulated("10.233.2.0/26", &["172.18.0.2"], IPIP),
            encapsulated("10.233.3.0/26", &["172.19.0.3"], IPIP),
        ]);
        let status = until(&fib, "condition", |s| {
            s.failed == 1 && s.actual == 1 && !s.conditions.is_empty()
        })
        .await;
        let (name, sentence) = &status.conditions[0];
        assert_eq!(name, "NoIpip");
        assert!(sentence.contains("1 route waits for it"), "{sentence}");
        assert!(sentence.contains("modprobe ipip"), "{sentence}");
        let routes = fib.routes().await.unwrap();
        assert_eq!(routes[1].state, "pending");
        assert_eq!(
            routes[1].reason.as_deref(),
            Some("there is no device tunl0")
        );
        assert_eq!(ours("-4"), ["10.233.2.0/26 via 172.18.0.2 dev eth0"]);

        fib.apply(vec![Change::SetTunnels(Box::default())]);
        until(&fib, "nobody wants it", |s| s.conditions.is_empty()).await;
    });
}

fn kernel_has_ipip() -> bool {
    let probe = "link add probe0 type ipip local 192.0.2.1 remote 192.0.2.2";
    try_ip(probe).is_ok() && try_ip("link del probe0").is_ok()
}

fn ipip_tunnels(address: &str) -> Tunnels {
    Tunnels {
        ipip: Some(IpipDevice {
            address: address.parse().unwrap(),
            mtu: None,
        }),
        ..Tunnels::default()
    }
}

pub(crate) fn vxlan_tunnels() -> Tunnels {
    let device = |own: &str, local: &str, last: u8| VxlanDevice {
        vni: 4096,
        port: 4789,
        address: address(own),
        mac: [0x66, 0, 0, 0, 0, last],
        local: address(local),
        mtu: None,
    };
    Tunnels {
        ipip: None,
        vxlan: Some(device("10.233.1.1", "172.18.0.1", 1)),
        vxlan_v6: Some(device("fd00:1::1", "2001:db8:18::1", 2)),
        ..Tunnels::default()
    }
}

pub(crate) fn vtep(node: &str, tunnel: &str, last: u8) -> Change {
    Change::SetVtep(
        address(node),
        Vtep {
            address: address(tunnel),
            mac: [0x66, 0, 0, 0, 0, last],
        },
    )
}

/// Waits until a tunnel device is up and has one of our addresses.
pub(crate) async fn settle_tunnels(device: &str) {
    until_kernel(device, || {
        try_ip(&format!("addr show dev {device}")).is_ok_and(|text| {
            text.contains(",UP")
                && ["inet 10.233.1.1/32", "inet6 fd00:1::1/128"]
                    .iter()
                    .any(|address| text.contains(address))
        })
    })
    .await;
}

/// `/proc/sys` is that of the thread's namespace, like `/proc/thread-self`.
fn sysctl(path: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/sys/{path}")).unwrap();
    text.trim().into()
}

/// MAC and destination of the forwarding entries.
fn forwarding(device: &str) -> Vec<String> {
    let output = std::process::Command::new("bridge")
        .args(["fdb", "show", "dev", device])
        .output()
        .expect("iproute2 is installed");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            assert!(words.contains(&"permanent"), "{line}");
            format!("{} {}", words[0], words[2])
        })
        .collect()
}
