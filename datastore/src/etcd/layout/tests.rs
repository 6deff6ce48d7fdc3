//! Keys as Calico makes them, and back.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::store::Metadata;

fn object(key: Key, spec: Value) -> Object {
    Object {
        metadata: Metadata {
            name: key.name.clone(),
            namespace: key.namespace.clone(),
            ..Metadata::default()
        },
        key,
        spec,
        revision: None,
    }
}

/// Objects and where Calico 3.x keeps them.
fn known() -> Vec<(Object, &'static str)> {
    let named = |kind, name: &str, spec| object(Key::new(kind, name), spec);
    vec![
        (
            named(Kind::IPPool, "default-ipv4-ippool", json!({})),
            "/calico/resources/v3/projectcalico.org/ippools/default-ipv4-ippool",
        ),
        (
            named(Kind::BGPConfiguration, "node.node-1", json!({})),
            "/calico/resources/v3/projectcalico.org/bgpconfigurations/node.node-1",
        ),
        (
            named(Kind::BGPFilter, "f", json!({})),
            "/calico/resources/v3/projectcalico.org/bgpfilters/f",
        ),
        (
            object(
                Key::in_namespace(Kind::WorkloadEndpoint, "default", "node--1-k8s-nginx-eth0"),
                json!({}),
            ),
            "/calico/resources/v3/projectcalico.org/workloadendpoints/default/node--1-k8s-nginx-eth0",
        ),
        (
            object(
                Key::in_namespace(Kind::LiveMigration, "vms", "move"),
                json!({}),
            ),
            "/calico/resources/v3/projectcalico.org/livemigrations/vms/move",
        ),
        (
            object(
                Key::in_namespace(Kind::Secret, "kube-system", "bgp"),
                json!({}),
            ),
            "/caracal/v1/secrets/kube-system/bgp",
        ),
        (
            named(
                Kind::IPAMBlock,
                "10-0-0-64-26",
                json!({"cidr": "10.0.0.64/26"}),
            ),
            "/calico/ipam/v2/assignment/ipv4/block/10.0.0.64-26",
        ),
        (
            named(
                Kind::IPAMBlock,
                "fd00-1--40-122",
                json!({"cidr": "fd00:1::40/122"}),
            ),
            "/calico/ipam/v2/assignment/ipv6/block/fd00:1::40-122",
        ),
        (
            named(
                Kind::BlockAffinity,
                "node-1-10-0-0-64-26",
                json!({"cidr": "10.0.0.64/26", "node": "node-1"}),
            ),
            "/calico/ipam/v2/host/node-1/ipv4/block/10.0.0.64-26",
        ),
        (
            named(
                Kind::BlockAffinity,
                "load-balancer-10-9-0-0-26",
                json!({"cidr": "10.9.0.0/26", "node": "load-balancer", "type": "virtual"}),
            ),
            "/calico/ipam/v2/virtual/load-balancer/ipv4/block/10.9.0.0-26",
        ),
        (
            named(
                Kind::IPAMHandle,
                "k8s-pod-network.AbC",
                json!({"handleID": "k8s-pod-network.AbC"}),
            ),
            "/calico/ipam/v2/handle/k8s-pod-network.AbC",
        ),
        (
            named(Kind::IPAMConfig, "default", json!({})),
            "/calico/ipam/v2/config",
        ),
    ]
}

#[test]
fn keys_are_calicos() {
    for (object, path) in known() {
        assert_eq!(path_of(&object).as_deref(), Ok(path));
        let kind = object.key.kind;
        assert_eq!(locate(kind, path.as_bytes()).unwrap().key(), object.key);
        let Places::Exact(places) = places_of(&object.key) else {
            panic!("{} has no place", object.key);
        };
        assert!(places.iter().any(|place| place == path), "{places:?}");
        let inside = ranges(kind).iter().any(|range| match range {
            Range::One(one) => *one == path,
            Range::Prefix(prefix) => path.starts_with(prefix.as_str()),
        });
        assert!(inside, "{path} is listed");
    }
}

#[test]
fn a_name_that_may_mean_several_affinities_has_several_places() {
    let key = Key::new(Kind::BlockAffinity, "node-1-fd00-1--40-122");
    let Places::Exact(places) = places_of(&key) else {
        panic!("it has places");
    };
    for wanted in [
        "/calico/ipam/v2/host/node-1/ipv6/block/fd00:1::40-122",
        "/calico/ipam/v2/host/node-1-fd00/ipv6/block/1::40-122",
    ] {
        assert!(places.iter().any(|place| place == wanted), "{places:?}");
    }
    let v4 = Key::new(Kind::BlockAffinity, "node-1-10-0-0-64-26");
    assert_eq!(
        places_of(&v4),
        Places::Exact(vec![
            "/calico/ipam/v2/host/node-1/ipv4/block/10.0.0.64-26".to_owned(),
            "/calico/ipam/v2/virtual/node-1/ipv4/block/10.0.0.64-26".to_owned(),
        ])
    );
}

#[test]
fn a_name_that_does_not_fit_the_spec_is_refused() {
    let block = object(
        Key::new(Kind::IPAMBlock, "10-0-0-0-26"),
        json!({"cidr": "10.0.0.64/26"}),
    );
    assert_eq!(
        path_of(&block).unwrap_err(),
        "metadata.name: \"10-0-0-0-26\" is not \"10-0-0-64-26\", which the spec says"
    );
    let handle = object(
        Key::new(Kind::IPAMHandle, "abc"),
        json!({"handleID": "ABC"}),
    );
    assert!(path_of(&handle).unwrap_err().starts_with("metadata.name:"));
}

#[test]
fn keys_that_are_nothing_of_ours_are_named() {
    for (kind, path) in [
        (
            Kind::Node,
            "/calico/resources/v3/projectcalico.org/nodes/a/b",
        ),
        (Kind::Node, "/calico/resources/v3/projectcalico.org/nodes"),
        (
            Kind::WorkloadEndpoint,
            "/calico/resources/v3/projectcalico.org/workloadendpoints/x",
        ),
        (
            Kind::IPAMBlock,
            "/calico/ipam/v2/assignment/ipv4/block/10.0.0.0",
        ),
        (
            Kind::IPAMBlock,
            "/calico/ipam/v2/assignment/ipv6/block/10.0.0.0-26",
        ),
        (
            Kind::BlockAffinity,
            "/calico/ipam/v2/host/n/ipv4/10.0.0.0-26",
        ),
        (Kind::IPAMHandle, "/calico/ipam/v2/handle/a%b"),
    ] {
        // `%` alone is taken as it is read and would be written as %25: not the same key.
        let read = locate(kind, path.as_bytes());
        assert!(read.is_err(), "{path}: {read:?}");
    }
    assert!(locate(Kind::Node, b"/calico/\xff").is_err());
}

#[test]
fn the_end_of_a_range_is_behind_all_that_begin_so() {
    let (first, end) = Range::Prefix("/calico/ipam/v2/handle/".to_owned()).bounds();
    assert!(first.as_slice() < b"/calico/ipam/v2/handle/\xff\xff".as_slice());
    assert!(b"/calico/ipam/v2/handle/\xff\xff".as_slice() < end.as_slice());
    assert_eq!(end, b"/calico/ipam/v2/handle0");
}

proptest! {
    #[test]
    fn any_name_comes_back(namespace in "[ -~ü]{1,20}", name in "[ -~ü]{1,40}") {
        let key = Key::in_namespace(Kind::WorkloadEndpoint, namespace, name);
        let path = path_of(&object(key.clone(), json!({}))).unwrap();
        prop_assert_eq!(locate(Kind::WorkloadEndpoint, path.as_bytes()).unwrap().key(), key);
    }

    #[test]
    fn any_affinity_is_found_by_its_name(
        node in "[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?",
        bits in any::<u128>(),
        length in 100_u8..=128,
        v4 in any::<bool>(),
    ) {
        let cidr = if v4 {
            let address = std::net::Ipv4Addr::from(u32::try_from(bits >> 96).unwrap());
            IpNet::V4(ipnet::Ipv4Net::new(address, length - 96).unwrap())
        } else {
            IpNet::V6(ipnet::Ipv6Net::new(bits.into(), length).unwrap())
        };
        let cidr = cidr.trunc();
        let located = Located::Affinity { node, affinity_type: AffinityType::Host, cidr };
        let Places::Exact(places) = places_of(&located.key()) else { panic!("it has places") };
        prop_assert!(places.contains(&located.path()), "{:?}", places);
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        for kind in Kind::all() {
            let _ = locate(*kind, &bytes);
        }
    }
}
