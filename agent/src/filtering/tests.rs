use std::str::FromStr;

use caracal_datastore::resources::{
    BGPConfiguration, IPPool, NatOutgoingExclusions, Node, PortRange, Resource,
};
use caracal_datastore::{Metadata, Stored};
use caracal_fib::Encapsulation;
use caracal_fib::model::IpipDevice;
use serde_json::{Value, json};

use super::*;

fn stored<S: serde::de::DeserializeOwned>(spec: Value) -> Stored<S> {
    Stored {
        metadata: Metadata::default(),
        spec: serde_json::from_value(spec).unwrap(),
        revision: None,
    }
}

fn view() -> View {
    let mut view = View::default();
    for (name, spec) in [
        (
            "natted",
            json!({"cidr": "10.65.0.0/16", "natOutgoing": true}),
        ),
        (
            "disabled",
            json!({"cidr": "fd65::/64", "natOutgoing": true, "disabled": true}),
        ),
        ("plain", json!({"cidr": "10.66.0.0/16"})),
    ] {
        view.pools.insert(name.into(), stored::<IPPool>(spec));
    }
    let bgp = json!({"bgp": {"ipv4Address": "192.0.2.1/24", "ipv6Address": "2001:db8::1/64"},
        "addresses": [{"address": "198.51.100.1/24", "type": "InternalIP"}, {"address": "node1.example"}]});
    view.nodes.insert("node1".into(), stored::<Node>(bgp));
    let services = json!({"serviceClusterIPs": [{"cidr": "10.96.0.0/12"}],
        "serviceExternalIPs": [{"cidr": "203.0.113.0/24"}], "serviceLoadBalancerIPs": [{"cidr": "fd96::/108"}]});
    view.configurations
        .insert("default".into(), stored::<BGPConfiguration>(services));
    view
}

fn nets(texts: &[&str]) -> BTreeSet<IpNet> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn made(felix: &FelixConfiguration, allowed: &AllowedSources) -> Rules {
    rules(
        &view(),
        &[],
        &Tunnels::default(),
        &BTreeSet::new(),
        felix,
        allowed,
    )
}

fn ipip() -> Tunnels {
    let address = "10.65.0.0".parse().unwrap();
    Tunnels {
        ipip: Some(IpipDevice { address, mtu: None }),
        ..Tunnels::default()
    }
}

fn with_tunnels(felix: &FelixConfiguration) -> Rules {
    rules(
        &view(),
        &[],
        &ipip(),
        &BTreeSet::new(),
        felix,
        &AllowedSources::new(),
    )
}

#[test]
fn a_pool_that_overlaps_the_nodes_network_is_no_pool_for_masquerade() {
    let pool = |name: &str, unusable: Option<&str>| Pool {
        name: name.to_owned(),
        cidr: "10.65.0.0/16".parse().unwrap(),
        encapsulation: Encapsulation::None,
        disable_bgp_export: false,
        disabled: false,
        unusable: unusable.map(str::to_owned),
    };
    let pools = [pool("natted", Some("overlaps")), pool("disabled", None)];
    let felix = FelixConfiguration::default();
    let allowed = AllowedSources::new();
    let rules = rules(
        &view(),
        &pools,
        &Tunnels::default(),
        &BTreeSet::new(),
        &felix,
        &allowed,
    );
    let masquerade = rules.masquerade;
    assert_eq!(masquerade.sources, nets(&["fd65::/64"]));
    assert_eq!(masquerade.except_to, nets(&["10.66.0.0/16", "fd65::/64"]));
}

/// It stays for others who may not know yet, for minutes.
#[test]
fn a_device_that_nobody_wishes_for_any_more_is_protected_as_long_as_it_is_there() {
    let felix = FelixConfiguration {
        vxlan_port: Some(8472),
        ..FelixConfiguration::default()
    };
    let protection = |there: &[Tunnel]| {
        let there = there.iter().copied().collect();
        let none = Tunnels::default();
        let made = rules(&view(), &[], &none, &there, &felix, &AllowedSources::new());
        made.tunnels
    };
    assert_eq!(protection(&[]), None);
    let ipip = protection(&[Tunnel::Ipip]).unwrap();
    assert_eq!((ipip.ipip, ipip.vxlan, ipip.vxlan_v6), (true, None, None));
    assert!(ipip.ends.contains(&"192.0.2.1/32".parse().unwrap()));
    let vxlan = protection(&[Tunnel::Vxlan, Tunnel::VxlanV6]).unwrap();
    assert_eq!(
        (vxlan.ipip, vxlan.vxlan, vxlan.vxlan_v6),
        (false, Some(8472), Some(8472))
    );
}

#[test]
fn tunnels_are_taken_from_every_address_of_a_node_and_from_those_who_are_named() {
    let nothing = FelixConfiguration::default();
    assert_eq!(made(&nothing, &AllowedSources::new()).tunnels, None);
    let ends = with_tunnels(&nothing).tunnels.unwrap();
    let of_node = ["192.0.2.1/32", "198.51.100.1/32", "2001:db8::1/128"];
    assert_eq!((ends.ipip, ends.vxlan, ends.vxlan_v6), (true, None, None));
    assert_eq!(ends.ends, nets(&of_node));
    let named = FelixConfiguration {
        external_nodes_list: Some(vec!["203.0.113.0/24".into()]),
        ..FelixConfiguration::default()
    };
    let mut all = nets(&of_node);
    all.extend(nets(&["203.0.113.0/24"]));
    assert_eq!(with_tunnels(&named).tunnels.unwrap().ends, all);
}

#[test]
fn the_hosts_own_packets_are_masqueraded_into_the_tunnels_that_are_there() {
    let masquerade = with_tunnels(&FelixConfiguration::default()).masquerade;
    assert_eq!(masquerade.own_through, ["tunl0".to_owned()].into());
}

#[test]
fn pods_may_send_tunnels_only_where_felix_lets_them() {
    let spoofing = |felix: &FelixConfiguration| {
        let spoofing = made(felix, &AllowedSources::new()).spoofing.unwrap();
        (spoofing.may_send_ipip, spoofing.vxlan_port)
    };
    assert_eq!(
        spoofing(&FelixConfiguration::default()),
        (false, Some(4789))
    );
    let port = FelixConfiguration {
        vxlan_port: Some(8472),
        allow_ipip_packets_from_workloads: Some(true),
        ..FelixConfiguration::default()
    };
    assert_eq!(spoofing(&port), (true, Some(8472)));
    let both = FelixConfiguration {
        allow_vxlan_packets_from_workloads: Some(true),
        ..port
    };
    assert_eq!(spoofing(&both), (true, None));
}

#[test]
fn every_filter_of_devices_that_is_valid_is_followed() {
    for filter in ["eth0", "eth+", "a.b:c-d_e", "+"] {
        let felix = FelixConfiguration {
            iptables_nat_outgoing_interface_filter: Some(filter.to_owned()),
            ..FelixConfiguration::default()
        };
        let metadata = Metadata {
            name: "default".to_owned(),
            ..Metadata::default()
        };
        assert_eq!(felix.validate(&metadata), Vec::<String>::new());
        let output = made(&felix, &AllowedSources::new()).masquerade.output;
        // That of all devices is as none.
        assert_eq!(output.is_some(), filter != "+", "{filter}");
    }
}

#[test]
fn pools_are_masqueraded_to_what_is_no_pool_and_disabled_ones_count() {
    let rules = made(&FelixConfiguration::default(), &AllowedSources::new());
    let masquerade = rules.masquerade;
    assert_eq!(masquerade.sources, nets(&["10.65.0.0/16", "fd65::/64"]));
    let all = nets(&["10.65.0.0/16", "10.66.0.0/16", "fd65::/64"]);
    assert_eq!(masquerade.except_to, all);
    assert!(masquerade.except_to_hosts.is_empty());
    assert_eq!((masquerade.ports, masquerade.address), (None, None));
}

#[test]
fn felix_says_what_else_is_excluded_and_what_the_source_becomes() {
    let felix = FelixConfiguration {
        nat_outgoing_exclusions: Some(NatOutgoingExclusions::IPPoolsAndHostIPs),
        nat_port_range: Some(PortRange::from_str("32768:40000").unwrap()),
        nat_outgoing_address: Some("192.0.2.77".parse().unwrap()),
        iptables_nat_outgoing_interface_filter: Some("eth+".into()),
        ..FelixConfiguration::default()
    };
    let masquerade = made(&felix, &AllowedSources::new()).masquerade;
    let nodes = ["192.0.2.1", "2001:db8::1"].map(|node| node.parse().unwrap());
    assert_eq!(masquerade.except_to_hosts, nodes.into());
    assert_eq!(masquerade.ports, Some((32768, 40000)));
    assert_eq!(masquerade.address, Some("192.0.2.77".parse().unwrap()));
    assert_eq!(masquerade.output, Some("eth*".parse().unwrap()));
}

#[test]
fn sources_that_a_workload_asks_for_are_allowed_only_where_asking_is() {
    let allowed = AllowedSources::from([("cali1".to_owned(), nets(&["10.9.0.0/24"]))]);
    let spoofing = |felix: &FelixConfiguration| made(felix, &allowed).spoofing.unwrap();
    assert!(spoofing(&FelixConfiguration::default()).allowed.is_empty());
    let any = FelixConfiguration {
        workload_source_spoofing: Some(WorkloadSourceSpoofing::Any),
        interface_prefix: Some("cali,tap".into()),
        ..FelixConfiguration::default()
    };
    assert_eq!(spoofing(&any).allowed, allowed);
    let prefixes = ["cali".to_owned(), "tap".to_owned()];
    assert_eq!(spoofing(&any).device_prefixes, prefixes.into());
}

#[test]
fn packets_for_services_are_dropped_rejected_or_let_through() {
    let loops = |prevention| {
        let felix = FelixConfiguration {
            service_loop_prevention: prevention,
            ..FelixConfiguration::default()
        };
        made(&felix, &AllowedSources::new()).service_loops
    };
    let dropped = loops(None).unwrap();
    let all = nets(&["10.96.0.0/12", "203.0.113.0/24", "fd96::/108"]);
    assert_eq!((dropped.services, dropped.reject), (all, false));
    assert!(loops(Some(ServiceLoopPrevention::Reject)).unwrap().reject);
    assert_eq!(loops(Some(ServiceLoopPrevention::Disabled)), None);
}
