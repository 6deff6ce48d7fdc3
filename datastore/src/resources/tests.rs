//! Calico's objects as its documentation shows them, and each fault that validation knows.

mod complete;
mod faults;
mod objects;
mod policies;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;
use crate::manifest;
use complete::complete;

fn object(kind: Kind, name: &str, spec: Value) -> Object {
    let namespace = kind.namespaced().then(|| "default".to_owned());
    Object {
        key: crate::Key {
            kind,
            namespace: namespace.clone(),
            name: name.to_owned(),
        },
        metadata: Metadata {
            name: name.to_owned(),
            namespace,
            ..Metadata::default()
        },
        spec,
        revision: None,
    }
}

/// Reads the spec into its type and writes it again.
fn rewritten(object: &Object) -> Value {
    fn through<R: Resource>(object: &Object) -> Value {
        Stored::<R>::from_object(object).unwrap().into_object().spec
    }
    match object.key.kind {
        Kind::Node => through::<Node>(object),
        Kind::IPPool => through::<IPPool>(object),
        Kind::BGPConfiguration => through::<BGPConfiguration>(object),
        Kind::BGPPeer => through::<BGPPeer>(object),
        Kind::BGPFilter => through::<BGPFilter>(object),
        Kind::IPAMBlock => through::<IPAMBlock>(object),
        Kind::BlockAffinity => through::<BlockAffinity>(object),
        Kind::IPAMHandle => through::<IPAMHandle>(object),
        Kind::IPAMConfig => through::<IPAMConfig>(object),
        Kind::WorkloadEndpoint => through::<WorkloadEndpoint>(object),
        Kind::FelixConfiguration => through::<FelixConfiguration>(object),
        Kind::LiveMigration => through::<LiveMigration>(object),
        Kind::Secret => through::<Secret>(object),
        Kind::IPReservation => through::<IPReservation>(object),
        Kind::ClusterInformation => through::<ClusterInformation>(object),
        Kind::CalicoNodeStatus => through::<CalicoNodeStatus>(object),
        Kind::HostEndpoint => through::<HostEndpoint>(object),
        Kind::NetworkPolicy => through::<NetworkPolicy>(object),
        Kind::GlobalNetworkPolicy => through::<GlobalNetworkPolicy>(object),
        Kind::NetworkSet => through::<NetworkSet>(object),
        Kind::GlobalNetworkSet => through::<GlobalNetworkSet>(object),
        Kind::Namespace => through::<Namespace>(object),
        Kind::Service => through::<Service>(object),
        Kind::EndpointSlice => through::<EndpointSlice>(object),
    }
}

#[test]
fn every_field_of_every_kind_survives_a_read_and_a_write() {
    for object in complete() {
        assert_eq!(faults_of(&object), Vec::<String>::new(), "{}", object.key);
        assert_eq!(rewritten(&object), object.spec, "{}", object.key);
    }
    let kinds: BTreeSet<Kind> = complete().iter().map(|object| object.key.kind).collect();
    assert_eq!(kinds, Kind::all().iter().copied().collect());
}

#[test]
fn every_kind_survives_being_a_manifest() {
    for object in complete() {
        let text = manifest::to_yaml(&object).unwrap();
        let parsed = manifest::parse("x", &text).into_objects().unwrap();
        assert_eq!(parsed, std::slice::from_ref(&object), "{text}");
        // The other reader of YAML, which knows version 1.2 of its rules, reads the same.
        let other: Value = serde_yaml::from_str(&text).unwrap();
        assert_eq!(other, manifest::to_value(&object), "{text}");
    }
}

#[test]
fn a_migration_is_read_with_capital_letters_too() {
    let written = json!({"Source": {"WorkloadEndpoint":
        {"Hostname": "n", "OrchestratorID": "openstack", "WorkloadID": "vm", "EndpointID": "port"}}});
    let expected = json!({"source": {"workloadEndpoint":
        {"hostname": "n", "orchestratorID": "openstack", "workloadID": "vm", "endpointID": "port"}}});
    let object = object(Kind::LiveMigration, "m", written);
    assert_eq!(faults_of(&object), Vec::<String>::new());
    assert_eq!(rewritten(&object), expected);
}

#[test]
fn calicos_tolerance_in_reading() {
    let read = |kind, spec| Stored::<BGPPeer>::read_spec(&object(kind, "x", spec)).unwrap();
    let peer = read(
        Kind::BGPPeer,
        json!({"peerIP": "192.0.2.1", "asNumber": "65000.1", "sourceAddress": ""}),
    );
    assert_eq!(peer.as_number, Some(65000 << 16 | 1));
    assert_eq!(peer.source_address, SourceAddress::UseNodeIP);
    let peer = read(
        Kind::BGPPeer,
        json!({"asNumber": "4200000000", "filters": null, "keepaliveTime": "1h0m5.5s"}),
    );
    assert_eq!(peer.as_number, Some(4_200_000_000));
    assert_eq!(
        peer.keepalive_time,
        Some(std::time::Duration::from_millis(3_605_500))
    );

    let read = |spec| Stored::<IPPool>::read_spec(&object(Kind::IPPool, "x", spec)).unwrap();
    for word in ["cross-subnet", "CrossSubnet", "crosssubnet"] {
        let pool = read(json!({"cidr": "10.0.0.0/16", "ipipMode": word, "nodeSelector": ""}));
        assert_eq!(pool.ipip_mode, Encapsulation::CrossSubnet);
        assert_eq!(pool.node_selector, "all()");
        assert!(pool.allows(AllowedUse::Tunnel) && !pool.allows(AllowedUse::LoadBalancer));
    }
    let pool = read(json!({"cidr": "fd00::/64", "vxlanMode": null, "allowedUses": []}));
    assert_eq!(
        (pool.block_prefix_length(), pool.vxlan_mode),
        (122, Encapsulation::Never)
    );

    let read = |deleted| {
        let spec = json!({"node": "n", "cidr": "10.0.0.0/26", "state": "", "deleted": deleted});
        Stored::<BlockAffinity>::read_spec(&object(Kind::BlockAffinity, "x", spec)).unwrap()
    };
    for (deleted, expected) in [
        (json!("true"), true),
        (json!(true), true),
        (json!(null), false),
    ] {
        let affinity = read(deleted);
        assert_eq!(
            (affinity.deleted, affinity.state),
            (expected, AffinityState::Confirmed)
        );
    }

    let node = json!({"bgp": {"ipv4Address": "192.0.2.7", "ipv6Address": "", "asNumber": null}});
    let node = Stored::<Node>::read_spec(&object(Kind::Node, "n", node)).unwrap();
    let bgp = node.bgp.unwrap();
    assert_eq!(bgp.ipv4_address, Some("192.0.2.7/32".parse().unwrap()));
    assert_eq!((bgp.ipv6_address, bgp.as_number), (None, None));
}

#[test]
fn pools_that_overlap_are_named_as_pairs() {
    let pool = |name: &str, cidr: &str| Stored::new(name, IPPool::new(cidr.parse().unwrap()));
    let pools = [
        pool("a", "10.0.0.0/8"),
        pool("b", "10.1.0.0/16"),
        pool("c", "10.2.0.0/16"),
    ];
    assert_eq!(
        overlaps(&pools),
        [
            "IPPool b: spec.cidr: 10.1.0.0/16 overlaps 10.0.0.0/8 of IPPool a",
            "IPPool c: spec.cidr: 10.2.0.0/16 overlaps 10.0.0.0/8 of IPPool a",
        ]
    );
}

#[test]
fn times_are_read_and_written_as_kubernetes_does() {
    for text in [
        "1970-01-01T00:00:00Z",
        "2000-02-29T23:59:59Z",
        "2026-12-31T00:00:01Z",
        "1969-07-20T20:17:40Z",
    ] {
        assert_eq!(text.parse::<Timestamp>().unwrap().to_string(), text);
    }
    let with_offset: Timestamp = "2026-08-01T14:00:00.123+02:00".parse().unwrap();
    assert_eq!(with_offset.to_string(), "2026-08-01T12:00:00Z");
    for bad in [
        "",
        "2026-08-01",
        "2026-13-01T00:00:00Z",
        "2026-08-01T12:00:00",
        "2026-08-01T12:00:00+",
        "é-08-01T12:00:00Z",
        "2026-08-01T12:00:00+é:",
    ] {
        bad.parse::<Timestamp>().unwrap_err();
    }
}

#[test]
fn an_endpoints_name_doubles_the_dashes_of_its_parts() {
    assert_eq!(
        WorkloadEndpoint::name_for_pod("node-1", "web-0", "eth0"),
        "node--1-k8s-web--0-eth0"
    );
    assert_eq!(
        WorkloadEndpoint::name_for_container("n", "0a-1b", "eth0"),
        "n-cni-0a--1b-eth0"
    );
}
