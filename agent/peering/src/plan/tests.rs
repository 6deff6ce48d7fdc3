//! States of a cluster and the peers that follow.
//!
//! A peer is written as one line: name, AS numbers (local-remote), kind, and what is unusual.

mod options;

use caracal_bgp::wire::Family;
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::testing::Cluster;

fn plan(cluster: &Cluster, node: &str) -> (Vec<PlannedPeer>, Vec<String>) {
    peers_of(node, &cluster.0, &Defaults::default())
}

fn only(cluster: &Cluster, node: &str) -> PlannedPeer {
    let (mut peers, faults) = plan(cluster, node);
    assert_eq!(faults, Vec::<String>::new());
    assert_eq!(peers.len(), 1, "{:?}", lines(cluster, node));
    peers.remove(0)
}

fn lines(cluster: &Cluster, node: &str) -> Vec<String> {
    let (peers, faults) = plan(cluster, node);
    assert_eq!(faults, Vec::<String>::new());
    peers.iter().map(line).collect()
}

fn line(peer: &PlannedPeer) -> String {
    let config = &peer.config;
    let mut line = format!(
        "{} {}-{} {}",
        config.name, config.local_asn, config.remote_asn, peer.kind
    );
    if config.reflector_client {
        line.push_str(", client");
    }
    line
}

#[test]
fn a_mesh_is_every_other_node_of_the_same_as_in_each_family_that_both_have() {
    let cluster = Cluster::of(&["a", "b"])
        .node(
            "dual",
            json!({"ipv4Address": "10.0.0.3/24", "ipv6Address": "fd00::3/64"}),
            &[],
        )
        .node(
            "dual2",
            json!({"ipv4Address": "10.0.0.4/24", "ipv6Address": "fd00::4/64"}),
            &[],
        )
        .node(
            "elsewhere",
            json!({"ipv4Address": "10.0.0.5/24", "asNumber": 65001}),
            &[],
        )
        .node("without", json!({}), &[]);
    assert_eq!(
        lines(&cluster, "a"),
        [
            "Mesh_10_0_0_2 64512-64512 node-to-node mesh",
            "Mesh_10_0_0_3 64512-64512 node-to-node mesh",
            "Mesh_10_0_0_4 64512-64512 node-to-node mesh",
        ]
    );
    assert_eq!(
        lines(&cluster, "dual"),
        [
            "Mesh_10_0_0_1 64512-64512 node-to-node mesh",
            "Mesh_10_0_0_2 64512-64512 node-to-node mesh",
            "Mesh_10_0_0_4 64512-64512 node-to-node mesh",
            "Mesh_fd00__4 64512-64512 node-to-node mesh",
        ]
    );
    assert_eq!(lines(&cluster, "elsewhere"), [""; 0]);
}

#[test]
fn a_session_carries_the_family_of_its_addresses_and_comes_from_the_nodes_address() {
    let cluster = Cluster::default()
        .node(
            "a",
            json!({"ipv4Address": "10.0.0.1/24", "ipv6Address": "fd00::1/64"}),
            &[],
        )
        .node(
            "b",
            json!({"ipv4Address": "10.0.0.2/24", "ipv6Address": "fd00::2/64"}),
            &[],
        );
    let (peers, _) = plan(&cluster, "a");
    let seen: Vec<_> = peers
        .iter()
        .map(|peer| (peer.config.local_address, peer.config.families.clone()))
        .collect();
    assert_eq!(
        seen,
        [
            (Some("10.0.0.1".parse().unwrap()), vec![Family::Ipv4Unicast]),
            (Some("fd00::1".parse().unwrap()), vec![Family::Ipv6Unicast]),
        ]
    );
    assert_eq!(
        peers[0].config.next_hop_self_v4,
        Some("10.0.0.1".parse().unwrap())
    );
    assert_eq!(
        peers[1].config.next_hop_self_v6,
        Some("fd00::1".parse().unwrap())
    );
    assert!(!peers[0].config.passive);
}

#[test]
fn without_the_mesh_there_are_no_peers() {
    let cluster =
        Cluster::of(&["a", "b"]).configuration("default", json!({"nodeToNodeMeshEnabled": false}));
    assert_eq!(lines(&cluster, "a"), [""; 0]);
}

#[test]
fn the_mesh_goes_around_route_reflectors_on_either_side() {
    let cluster = Cluster::of(&["a", "b"]).node(
        "rr",
        json!({"ipv4Address": "10.0.0.9/24", "routeReflectorClusterID": "1.0.0.1"}),
        &[],
    );
    assert_eq!(
        lines(&cluster, "a"),
        ["Mesh_10_0_0_2 64512-64512 node-to-node mesh"]
    );
    assert_eq!(lines(&cluster, "rr"), [""; 0]);
}

fn reflected() -> Cluster {
    let rr =
        |address: &str, id: &str| json!({"ipv4Address": address, "routeReflectorClusterID": id});
    Cluster::of(&["a", "b"])
        .node("rr1", rr("10.0.0.8/24", "1.0.0.1"), &[("rr", "true")])
        .node("rr2", rr("10.0.0.9/24", "1.0.0.1"), &[("rr", "true")])
        .node("rr3", rr("10.0.0.10/24", "1.0.0.3"), &[("rr", "true")])
        .configuration("default", json!({"nodeToNodeMeshEnabled": false}))
        .peer(
            "to-reflectors",
            json!({"nodeSelector": "!has(rr)", "peerSelector": "has(rr)"}),
        )
        .peer(
            "reflectors",
            json!({"nodeSelector": "has(rr)", "peerSelector": "has(rr)"}),
        )
}

#[test]
fn nodes_peer_with_the_reflectors_and_reflectors_have_them_as_clients() {
    assert_eq!(
        lines(&reflected(), "a"),
        [
            "Node_10_0_0_8 64512-64512 node specific",
            "Node_10_0_0_9 64512-64512 node specific",
            "Node_10_0_0_10 64512-64512 node specific",
        ]
    );
    // The nodes come from the reverse side; a reflector of the same cluster is no client.
    assert_eq!(
        lines(&reflected(), "rr1"),
        [
            "Node_10_0_0_1 64512-64512 node specific, client",
            "Node_10_0_0_2 64512-64512 node specific, client",
            "Node_10_0_0_9 64512-64512 node specific",
            "Node_10_0_0_10 64512-64512 node specific, client",
        ]
    );
}

#[test]
fn both_sides_of_every_session_agree() {
    let cluster = reflected().node(
        "far",
        json!({"ipv4Address": "10.0.0.20/24", "asNumber": 65020}),
        &[],
    );
    let mut sessions = std::collections::BTreeSet::new();
    for (name, node) in &cluster.0.nodes {
        let own = node.spec.bgp.as_ref().unwrap().ipv4_address.unwrap().addr();
        let (peers, faults) = plan(&cluster, name);
        assert_eq!(faults, Vec::<String>::new());
        for PlannedPeer { config, .. } in peers {
            sessions.insert((
                IpAddr::from(own),
                config.remote_address,
                config.local_asn,
                config.remote_asn.number(config.local_asn).unwrap(),
            ));
        }
    }
    for &(own, remote, own_asn, remote_asn) in &sessions {
        assert!(
            sessions.contains(&(remote, own, remote_asn, own_asn)),
            "{own} has {remote}, but not the reverse"
        );
    }
    assert_eq!(sessions.len(), 3 * 3 * 2 + 3 * 2);
}

#[test]
fn a_manual_reverse_side_is_left_to_its_own_bgppeer() {
    let cluster = Cluster::of(&["a", "b"])
        .configuration("default", json!({"nodeToNodeMeshEnabled": false}))
        .peer("ab", json!({"node": "a", "peerIP": "10.0.0.2", "asNumber": 64512, "reversePeering": "Manual"}));
    assert_eq!(
        lines(&cluster, "a"),
        ["Node_10_0_0_2 64512-64512 node specific"]
    );
    assert_eq!(lines(&cluster, "b"), [""; 0]);
}

#[test]
fn a_bgppeer_that_names_a_nodes_address_has_a_reverse_side_when_the_as_number_is_right() {
    let with = |asn: u32| {
        Cluster::of(&["a", "b"])
            .configuration("default", json!({"nodeToNodeMeshEnabled": false}))
            .peer(
                "ab",
                json!({"node": "a", "peerIP": "10.0.0.2", "asNumber": asn}),
            )
    };
    assert_eq!(
        lines(&with(64512), "b"),
        ["Node_10_0_0_1 64512-64512 node specific"]
    );
    assert_eq!(lines(&with(65001), "b"), [""; 0]);
}

#[test]
fn a_global_peer_is_everyones_and_not_its_own() {
    let cluster = Cluster::of(&["a", "b"])
        .configuration("default", json!({"nodeToNodeMeshEnabled": false}))
        .peer("tor", json!({"peerIP": "10.0.0.254", "asNumber": 65001}))
        .peer(
            "b-for-all",
            json!({"peerIP": "10.0.0.2", "asNumber": 64512}),
        );
    assert_eq!(
        lines(&cluster, "a"),
        [
            "Global_10_0_0_2 64512-64512 global",
            "Global_10_0_0_254 64512-65001 global"
        ]
    );
    assert_eq!(
        lines(&cluster, "b"),
        [
            "Node_10_0_0_1 64512-64512 node specific",
            "Global_10_0_0_254 64512-65001 global"
        ]
    );
}

#[test]
fn a_global_peer_wins_over_a_node_specific_one_and_both_over_the_mesh() {
    let cluster = Cluster::of(&["a", "b", "c"])
        .peer("z-global", json!({"peerIP": "10.0.0.2", "asNumber": 64512}))
        .peer(
            "a-node",
            json!({"node": "a", "peerIP": "10.0.0.2", "asNumber": 64512}),
        )
        .peer(
            "c-node",
            json!({"node": "a", "peerIP": "10.0.0.3", "asNumber": 64512}),
        );
    assert_eq!(
        lines(&cluster, "a"),
        [
            "Global_10_0_0_2 64512-64512 global",
            "Node_10_0_0_3 64512-64512 node specific"
        ]
    );
}

#[test]
fn a_node_selector_limits_whose_peer_it_is() {
    let cluster = Cluster::default()
        .node("a", json!({"ipv4Address": "10.0.1.1/24"}), &[("rack", "1")])
        .node("b", json!({"ipv4Address": "10.0.2.1/24"}), &[("rack", "2")])
        .configuration("default", json!({"nodeToNodeMeshEnabled": false}))
        .peer(
            "tor1",
            json!({"nodeSelector": "rack == '1'", "peerIP": "10.0.1.254", "asNumber": 65001}),
        )
        .peer(
            "tor2",
            json!({"nodeSelector": "rack == '2'", "peerIP": "10.0.2.254", "asNumber": 65002}),
        );
    assert_eq!(
        lines(&cluster, "a"),
        ["Node_10_0_1_254 64512-65001 node specific"]
    );
    assert_eq!(
        lines(&cluster, "b"),
        ["Node_10_0_2_254 64512-65002 node specific"]
    );
}

#[test]
fn a_peer_that_is_a_node_is_called_on_that_nodes_port() {
    let cluster = Cluster::of(&["a", "b", "c"])
        .configuration("node.b", json!({"listenPort": 1790}))
        .peer(
            "ext",
            json!({"node": "a", "peerIP": "10.0.0.77:1179", "asNumber": 65001}),
        )
        .peer(
            "to-b",
            json!({"node": "c", "peerIP": "10.0.0.2", "asNumber": 64512}),
        );
    let ports = |node| -> Vec<(String, u16)> {
        plan(&cluster, node)
            .0
            .iter()
            .map(|peer| (peer.config.name.clone(), peer.config.remote_port))
            .collect()
    };
    assert_eq!(
        ports("a"),
        [
            ("Mesh_10_0_0_2_port_1790".to_owned(), 1790),
            ("Mesh_10_0_0_3".to_owned(), 179),
            ("Node_10_0_0_77_port_1179".to_owned(), 1179),
        ]
    );
    assert_eq!(
        ports("c"),
        [
            ("Mesh_10_0_0_1".to_owned(), 179),
            ("Node_10_0_0_2_port_1790".to_owned(), 1790)
        ]
    );
}

#[test]
fn local_as_number_is_the_nodes_in_that_session_for_both_sides() {
    let cluster = Cluster::of(&["a"])
        .node(
            "b",
            json!({"ipv4Address": "10.0.0.2/24", "asNumber": 65002}),
            &[("edge", "")],
        )
        .configuration("default", json!({"nodeToNodeMeshEnabled": false}))
        .peer(
            "ab",
            json!({"node": "a", "peerSelector": "has(edge)", "localASNumber": 65002}),
        );
    assert_eq!(
        lines(&cluster, "a"),
        ["Node_10_0_0_2 65002-65002 node specific"]
    );
    assert_eq!(
        lines(&cluster, "b"),
        ["Node_10_0_0_1 65002-65002 node specific"]
    );
}

#[test]
fn an_external_session_of_a_reflector_is_no_client() {
    let cluster = Cluster::default()
        .node(
            "rr",
            json!({"ipv4Address": "10.0.0.1/24", "routeReflectorClusterID": "1.0.0.1"}),
            &[],
        )
        .peer("tor", json!({"peerIP": "10.0.0.254", "asNumber": 65001}))
        .peer(
            "old-bird",
            json!({"peerIP": "10.0.0.253", "asNumber": 64512}),
        );
    assert_eq!(
        lines(&cluster, "rr"),
        [
            "Global_10_0_0_253 64512-64512 global, client",
            "Global_10_0_0_254 64512-65001 global"
        ]
    );
}

#[test]
fn options_of_a_bgppeer_reach_the_session() {
    let tor = |more: serde_json::Value| {
        let mut spec = json!({"peerIP": "10.0.0.254", "asNumber": 65001});
        spec.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        only(&Cluster::of(&["a"]).peer("tor", spec), "a")
    };
    let plain = tor(json!({}));
    assert_eq!(plain.config.hold_time, Duration::from_secs(90));
    assert_eq!(
        plain.config.graceful_restart,
        Some(Duration::from_secs(120))
    );
    assert_eq!(plain.config.next_hop, NextHopMode::Auto);
    assert_eq!(
        plain.config.local_address,
        Some("10.0.0.1".parse().unwrap())
    );
    assert_eq!(plain.password_ref, None);
    assert_eq!(plain.ttl_security, None);
    assert_eq!(tor(json!({"ttlSecurity": 0})).ttl_security, None);
    assert_eq!(
        tor(json!({"ttlSecurity": 2})).ttl_security,
        std::num::NonZeroU8::new(2)
    );

    assert_eq!(
        tor(json!({"keepaliveTime": "20s"})).config.hold_time,
        Duration::from_secs(60)
    );
    assert_eq!(
        tor(json!({"maxRestartTime": "5m"})).config.graceful_restart,
        Some(Duration::from_secs(300))
    );
    assert_eq!(
        tor(json!({"keepOriginalNextHop": true})).config.next_hop,
        NextHopMode::Keep
    );
    assert_eq!(
        tor(json!({"nextHopMode": "Self"})).config.next_hop,
        NextHopMode::OwnAddress
    );
    assert_eq!(
        tor(json!({"nextHopMode": "Keep"})).config.next_hop,
        NextHopMode::Keep
    );
    assert_eq!(
        tor(json!({"sourceAddress": "None"})).config.local_address,
        None
    );
    assert_eq!(
        tor(json!({"password": {"secretKeyRef": {"name": "bgp", "key": "tor"}}})).password_ref,
        Some(SecretRef {
            name: "bgp".to_owned(),
            key: "tor".to_owned()
        })
    );
}

#[test]
fn the_original_next_hop_is_kept_towards_external_peers_only() {
    let cluster = Cluster::of(&["a"]).peer(
        "bird",
        json!({"peerIP": "10.0.0.254", "asNumber": 64512, "keepOriginalNextHop": true}),
    );
    assert_eq!(only(&cluster, "a").config.next_hop, NextHopMode::Auto);
}

#[test]
fn options_of_the_mesh_are_in_the_cluster_configuration() {
    let cluster = Cluster::of(&["a", "b"]).configuration(
        "default",
        json!({
            "nodeMeshMaxRestartTime": "240s",
            "nodeMeshPassword": {"secretKeyRef": {"name": "bgp", "key": "mesh"}},
        }),
    );
    let peer = only(&cluster, "a");
    assert_eq!(peer.config.graceful_restart, Some(Duration::from_secs(240)));
    assert_eq!(peer.ttl_security, None);
    assert_eq!(
        peer.password_ref,
        Some(SecretRef {
            name: "bgp".to_owned(),
            key: "mesh".to_owned()
        })
    );
}

#[test]
fn the_export_policy_is_on_every_session() {
    let cluster = Cluster::of(&["a", "b"])
        .pool("pods", json!({"cidr": "10.233.0.0/16"}))
        .peer("tor", json!({"peerIP": "10.0.0.254", "asNumber": 65001}));
    let (peers, _) = plan(&cluster, "a");
    let policy = export_policy("a", &cluster.0, &mut Vec::new());
    assert_eq!(peers.len(), 2);
    assert!(
        peers
            .iter()
            .all(|peer| peer.config.export == policy && peer.config.import == Policy::accept_all())
    );
}

#[test]
fn what_cannot_be_followed_is_said_and_the_rest_stands() {
    let cluster = Cluster::of(&["a", "b"])
        .node("twin", json!({"ipv4Address": "10.0.0.2/24"}), &[])
        .peer(
            "bad-selector",
            json!({"nodeSelector": "rack =", "peerIP": "10.0.0.7", "asNumber": 65001}),
        )
        .peer("no-as", json!({"peerIP": "10.0.0.7"}))
        .peer("nobody", json!({}))
        .peer(
            "other-port",
            json!({"node": "a", "peerIP": "10.0.0.9:1179", "asNumber": 65001}),
        )
        .peer(
            "other-port-2",
            json!({"node": "a", "peerIP": "10.0.0.9:1180", "asNumber": 65001}),
        )
        .peer("six", json!({"peerIP": "fd00::7", "asNumber": 65001}))
        .peer(
            "unreachable",
            json!({"peerIP": "10.0.0.8", "asNumber": 65001, "reachableBy": "10.0.0.254"}),
        );
    let (peers, faults) = plan(&cluster, "a");
    let names: Vec<_> = peers.iter().map(|peer| peer.config.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "Mesh_10_0_0_2",
            "Global_10_0_0_8",
            "Node_10_0_0_9_port_1179"
        ]
    );
    let expected = [
        "nodes b and twin have the same address 10.0.0.2",
        "BGPPeer bad-selector: spec.nodeSelector: `rack =`:",
        "BGPPeer no-as: spec.asNumber: missing, while spec.peerIP is 10.0.0.7",
        "BGPPeer nobody: it names no peer: neither spec.peerIP nor spec.peerSelector is set",
        "BGPPeer six: peer fd00::7 is left out, because node a has no IPv6 address",
        "BGPPeer unreachable: spec.reachableBy: 10.0.0.254 has no effect",
        "BGPPeer other-port-2: peer 10.0.0.9 port 1180 is left out, because Node_10_0_0_9_port_1179 has the same address",
    ];
    assert_eq!(faults.len(), expected.len(), "{faults:#?}");
    for (fault, expected) in faults.iter().zip(expected) {
        assert!(fault.starts_with(expected), "{fault}");
    }
}

#[test]
fn a_node_that_is_not_there_has_no_peers_and_a_reason() {
    let (peers, faults) = plan(&Cluster::of(&["a"]), "z");
    assert!(peers.is_empty());
    assert_eq!(
        faults,
        ["node z has no BGP address in the datastore, so it has no peers"]
    );
}
