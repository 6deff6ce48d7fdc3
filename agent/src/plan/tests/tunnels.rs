//! Tunnel devices of a plan.

use super::*;

#[test]
fn tunnels_are_there_when_a_pool_needs_them() {
    let nodes = [
        node("node1", "172.31.1.1/24"),
        node("node2", "172.31.2.1/24"),
    ];
    let with = |mode: Value| {
        make(
            &cluster(&[nodes[0].clone(), nodes[1].clone(), pool(mode)]),
            own(&[]),
        )
    };
    let ipip = with(json!({"ipipMode": "CrossSubnet"}));
    assert_eq!(
        ipip.tunnels.ipip,
        Some(IpipDevice {
            address: "10.233.0.1".parse().unwrap(),
            mtu: None
        })
    );
    assert!(ipip.tunnels.leaving.vxlan && !ipip.tunnels.leaving.ipip);
    assert_eq!(ipip.pod_mtu(1500), 1480);
    let vxlan = with(json!({"vxlanMode": "Always"}));
    assert!(vxlan.tunnels.leaving.ipip);
    let device = vxlan.tunnels.vxlan.clone().unwrap();
    assert_eq!(
        (device.vni, device.port, device.mac),
        (4096, 4789, derived_mac("node1", false))
    );
    assert_eq!(
        vxlan.vteps.keys().copied().collect::<Vec<_>>(),
        ["172.31.2.1".parse::<IpAddr>().unwrap()]
    );
    assert_eq!(vxlan.pod_mtu(1500), 1450);
}

#[test]
fn pods_have_the_smallest_mtu_of_the_tunnels_that_pools_need_as_configured() {
    let pools = |modes: &[Value], felix: Value| {
        let felix = (Kind::FelixConfiguration, "default", felix);
        let mut objects = vec![node("node1", "172.31.1.1/24"), felix];
        let names = ["one", "two", "three"];
        for (at, mode) in modes.iter().enumerate() {
            let mut spec = json!({"cidr": format!("10.{}.0.0/16", 200 + at)});
            let fields = spec.as_object_mut().unwrap();
            fields.extend(mode.as_object().unwrap().clone());
            objects.push((Kind::IPPool, names[at], spec));
        }
        cluster(&objects)
    };
    let with = |modes: &[Value], felix: Value| {
        let plan = make(&pools(modes, felix), own(&[]));
        (plan.pod_mtu(1500), plan.too_large_mtus(1500))
    };
    let (none, ipip) = (json!({}), json!({"ipipMode": "Always"}));
    let vxlan = json!({"vxlanMode": "CrossSubnet"});
    let pod_mtu = |modes: &[&Value], felix: Value| {
        let modes: Vec<Value> = modes.iter().copied().cloned().collect();
        with(&modes, felix).0
    };
    assert_eq!(pod_mtu(&[&none], json!({"ipipMTU": 1300})), 1500);
    assert_eq!(pod_mtu(&[&none, &ipip], json!({})), 1480);
    assert_eq!(pod_mtu(&[&none, &ipip], json!({"ipipMTU": 1300})), 1300);
    assert_eq!(
        pod_mtu(&[&ipip], json!({"ipipMTU": 0, "vxlanMTU": 1200})),
        1480
    );
    assert_eq!(pod_mtu(&[&ipip, &vxlan], json!({"ipipMTU": 1470})), 1450);
    assert_eq!(pod_mtu(&[&ipip, &vxlan], json!({"vxlanMTU": 1400})), 1400);
    // As Felix does; what comes of it is said.
    let (mtu, sentences) = with(&[ipip], json!({"ipipMTU": 1500}));
    assert_eq!((mtu, sentences.len()), (1500, 1));
    assert!(
        sentences[0].starts_with("ipipMTU is 1500, but packets of more than 1480 octets"),
        "{sentences:?}"
    );
}

#[test]
fn a_tunnel_that_no_pool_asks_for_leaves_and_its_device_waits_for_the_other_nodes() {
    let bare = |name: &'static str, address: &str| {
        (Kind::Node, name, json!({"bgp": {"ipv4Address": address}}))
    };
    let named = |name, address| node(name, address);
    let (own_address, other) = ("172.31.1.1/24", "172.31.2.1/24");
    let with = |nodes: [(Kind, &'static str, Value); 2], mode: Value| {
        let [one, two] = nodes;
        make(&cluster(&[one, two, pool(mode)]), own(&[]))
    };
    let ipip = |tunnels: &Tunnels| {
        let (leaving, awaited) = (tunnels.leaving.ipip, tunnels.awaited.ipip);
        (tunnels.ipip.is_some(), leaving, awaited)
    };
    let both = [named("node1", own_address), named("node2", other)];
    assert_eq!(ipip(&with(both, json!({})).tunnels), (true, true, true));
    let other_only = [bare("node1", own_address), named("node2", other)];
    let plan = with(other_only, json!({}));
    assert_eq!(ipip(&plan.tunnels), (false, false, true));
    assert_eq!(plan.without_ipip.len(), 0);
    let none = [bare("node1", own_address), bare("node2", other)];
    assert_eq!(with(none.clone(), json!({})).tunnels, Tunnels::default());
    // A pool asks, and nothing is named yet.
    let plan = with(none, json!({"ipipMode": "Always"}));
    assert_eq!(ipip(&plan.tunnels), (false, false, false));
    assert_eq!(plan.tunnels.leaving, TunnelSet::default());
    let silent: Vec<IpAddr> = plan.without_ipip.into_iter().collect();
    assert_eq!(silent, ["172.31.2.1".parse::<IpAddr>().unwrap()]);
}

#[test]
fn what_ipam_has_given_is_on_the_device_before_the_resource_names_it() {
    let address: IpAddr = "10.233.7.7".parse().unwrap();
    let bare = (
        Kind::Node,
        "node1",
        json!({"bgp": {"ipv4Address": "172.31.1.1/24"}}),
    );
    let cluster = |mode: Value| cluster(&[bare.clone(), pool(mode)]);
    let given = Own {
        assigned: [(Tunnel::Ipip, address)].into_iter().collect(),
        ..own(&[])
    };
    let plan = make(&cluster(json!({"ipipMode": "Always"})), given);
    assert_eq!(plan.tunnel_addresses(), [address]);
    assert!(!plan.records_lost, "no watch has told of its block yet");
    let none = make(&cluster(json!({})), given).tunnel_addresses();
    assert!(none.is_empty(), "{none:?}");
}

#[test]
fn felix_configuration_says_how_vxlan_devices_are() {
    let felix = json!({"vxlanVNI": 7, "vxlanPort": 8472, "vxlanMTU": 1400});
    let plan = make(
        &cluster(&[
            node("node1", "172.31.1.1/24"),
            pool(json!({"vxlanMode": "Always"})),
            (Kind::FelixConfiguration, "default", felix),
        ]),
        own(&[]),
    );
    let device = plan.tunnels.vxlan.unwrap();
    assert_eq!((device.vni, device.port, device.mtu), (7, 8472, Some(1400)));
}

#[test]
fn the_derived_mac_is_unicast_and_locally_administered() {
    for v6 in [false, true] {
        let mac = derived_mac("node1", v6);
        assert_eq!(mac[0] & 0b11, 0b10);
    }
    assert_ne!(derived_mac("node1", false), derived_mac("node1", true));
}
