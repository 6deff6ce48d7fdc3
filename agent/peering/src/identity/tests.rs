//! AS number, router id, cluster id and listening addresses of a node.

use serde_json::json;

use super::*;
use crate::testing::Cluster;

fn identity(cluster: &Cluster, node: &str) -> Identity {
    identity_of(node, &cluster.0, &Defaults::default(), None).unwrap()
}

#[test]
fn the_nodes_as_number_overrides_the_clusters_and_that_the_default() {
    let cluster = Cluster::of(&["a"]);
    assert_eq!(identity(&cluster, "a").asn, 64512);
    let cluster = cluster.configuration("default", json!({"asNumber": 65000}));
    assert_eq!(identity(&cluster, "a").asn, 65000);
    let cluster = cluster.node(
        "a",
        json!({"ipv4Address": "10.0.0.1/24", "asNumber": "1.10"}),
        &[],
    );
    assert_eq!(identity(&cluster, "a").asn, 65546);
}

#[test]
fn the_router_id_is_the_ipv4_address_unless_set() {
    let cluster = Cluster::of(&["a"]);
    let with = |setting| {
        identity_of("a", &cluster.0, &Defaults::default(), setting)
            .map(|identity| identity.router_id)
    };
    assert_eq!(with(None), Ok(Ipv4Addr::new(10, 0, 0, 1)));
    assert_eq!(with(Some("")), Ok(Ipv4Addr::new(10, 0, 0, 1)));
    assert_eq!(with(Some("192.0.2.1")), Ok(Ipv4Addr::new(192, 0, 2, 1)));
    // SHA-256 of "a" begins with ca 97 81 12.
    assert_eq!(
        with(Some("hash")),
        Ok(Ipv4Addr::new(0xca, 0x97, 0x81, 0x12))
    );
    assert_eq!(
        with(Some("0.0.0.0")),
        Err("router id `0.0.0.0` is neither `hash` nor an IPv4 address".to_owned())
    );
}

#[test]
fn a_hashed_router_id_stays_out_of_multicast() {
    // SHA-256 of "node-18" begins with 245, 194, 139, 227.
    assert_eq!(hashed("node-18"), Ipv4Addr::new(213, 194, 139, 227));
}

#[test]
fn a_node_without_ipv4_gets_a_hashed_router_id() {
    let cluster = Cluster::default().node("a", json!({"ipv6Address": "fd00::1/64"}), &[]);
    let identity = identity(&cluster, "a");
    assert_eq!(identity.router_id, Ipv4Addr::new(0xca, 0x97, 0x81, 0x12));
    assert_eq!(identity.listen, vec!["[::]:179".parse().unwrap()]);
}

#[test]
fn the_listening_port_is_the_nodes_then_the_clusters() {
    let cluster = Cluster::of(&["a", "b"])
        .configuration("default", json!({"listenPort": 1790, "bindMode": "NodeIP"}))
        .configuration("node.b", json!({"listenPort": 1791}));
    assert_eq!(
        identity(&cluster, "a").listen,
        vec!["10.0.0.1:1790".parse().unwrap()]
    );
    assert_eq!(
        identity(&cluster, "b").listen,
        vec!["10.0.0.2:1791".parse().unwrap()]
    );
}

#[test]
fn who_is_not_there_or_has_no_address_has_no_identity() {
    let cluster = Cluster::default().node("a", json!({}), &[]);
    let error = |node| identity_of(node, &cluster.0, &Defaults::default(), None).unwrap_err();
    assert_eq!(error("z"), "node z is not in the datastore");
    assert_eq!(
        error("a"),
        "node a: neither spec.bgp.ipv4Address nor spec.bgp.ipv6Address is set"
    );
}
