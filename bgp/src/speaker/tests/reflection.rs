//! Route reflection between whole speakers (RFC 4456), sentence by sentence where it says MUST or SHOULD.

use std::net::Ipv4Addr;

use serde_json::json;

use super::*;
use crate::config::{AddPath, NextHopMode, PathsSent, PeerConfig, Policy, SpeakerConfig};
use crate::view::PathView;

const P: &str = "10.233.0.0/26";
const Q: &str = "10.233.0.64/26";

/// One session, with what each end is to the other.
fn join(net: &mut Net, reflector: usize, other: usize, is_client: bool) {
    net.peer(
        reflector,
        PeerConfig {
            reflector_client: is_client,
            ..peer_config(other)
        },
    );
    net.peer(other, peer_config(reflector));
}

fn reflect(net: &mut Net, node: usize, cluster: u8) {
    let id = Ipv4Addr::new(1, 0, 0, cluster);
    let now = net.now;
    net.nodes[node].speaker.set_reflection(now, Some(id), true);
}

/// Reflectors 0 and 1, joined as non-clients, and clients 2 to 4, which have a session with both.
fn pair(clusters: [u8; 2]) -> Net {
    let mut net = Net::new(5);
    for (reflector, cluster) in clusters.into_iter().enumerate() {
        reflect(&mut net, reflector, cluster);
        for client in 2..5 {
            join(&mut net, reflector, client, true);
        }
    }
    join(&mut net, 0, 1, false);
    net.run_for(20);
    net
}

fn paths(net: &Net, node: usize, text: &str) -> Vec<PathView> {
    let route = net.nodes[node].speaker.route(&prefix(text));
    route.map(|route| route.paths).unwrap_or_default()
}

fn from(net: &Net, node: usize, text: &str, peer: usize) -> Option<PathView> {
    let mut paths = paths(net, node, text).into_iter();
    paths.find(|path| path.peer == Some(address(peer)))
}

fn clusters(path: &PathView) -> Vec<u8> {
    path.cluster_list.iter().map(|id| id.octets()[3]).collect()
}

#[test]
fn reflectors_of_one_cluster_drop_what_the_other_has_reflected() {
    let mut net = pair([1, 1]);
    net.originate(2, P);
    net.settle();
    // §7, §8: "if the local CLUSTER_ID is found in the CLUSTER_LIST, the advertisement received SHOULD be ignored".
    let other = from(&net, 0, P, 1).unwrap();
    let why = "loop: our CLUSTER_ID is in CLUSTER_LIST";
    assert_eq!(other.lost_because.as_deref(), Some(why));
    // And so a client that has lost one of the two hears nothing from it of clients that have lost the other.
    net.nodes[1].speaker.remove_peer(net.now, address(2));
    net.nodes[0].speaker.remove_peer(net.now, address(3));
    net.run_for(1);
    assert!(!net.has(3, P), "only with one cluster id each");
}

#[test]
fn reflectors_with_a_cluster_id_each_pass_on_what_the_other_alone_has() {
    let mut net = pair([1, 2]);
    net.originate(2, P);
    net.settle();
    let other = from(&net, 0, P, 1).unwrap();
    assert_eq!(clusters(&other), [2]);
    let lost = other.lost_because.unwrap();
    assert!(lost.contains("CLUSTER_LIST"), "§9, the shorter one: {lost}");
    net.nodes[1].speaker.remove_peer(net.now, address(2));
    net.nodes[0].speaker.remove_peer(net.now, address(3));
    net.run_for(1);
    let path = &paths(&net, 3, P)[0];
    assert_eq!(clusters(path), [2, 1], "§8: each MUST prepend its own");
    assert_eq!(path.originator_id, Some(Ipv4Addr::new(10, 0, 0, 3)));
    assert_eq!(path.next_hop, Some(address(2)), "§10: as it was");
}

/// ```text
///           0 top           cluster 1
///         /       \
///      1             2       clusters 2 and 3, clients of 0
///     / \           / \
///    3   4         5   6     clients
/// ```
fn hierarchy(add_path: AddPath) -> Net {
    let mut net = Net::new(7);
    for reflector in 0..3 {
        reflect(&mut net, reflector, reflector as u8 + 1);
    }
    let sessions = [(0, 1), (0, 2), (1, 3), (1, 4), (2, 5), (2, 6)];
    for (reflector, client) in sessions {
        for (node, other, is_client) in [(reflector, client, true), (client, reflector, false)] {
            net.peer(
                node,
                PeerConfig {
                    reflector_client: is_client,
                    add_path,
                    ..peer_config(other)
                },
            );
        }
    }
    net.run_for(20);
    net
}

#[test]
fn a_hierarchy_carries_a_path_up_and_down_and_keeps_the_first_originator() {
    let mut net = hierarchy(AddPath::default());
    net.originate(3, P);
    net.settle();
    for (node, list) in [
        (4, vec![2]),
        (0, vec![2]),
        (2, vec![1, 2]),
        (6, vec![3, 1, 2]),
    ] {
        let path = &paths(&net, node, P)[0];
        assert_eq!(clusters(path), list, "{node}");
        // §8: "A BGP speaker SHOULD NOT create an ORIGINATOR_ID if one already exists."
        assert_eq!(
            path.originator_id,
            Some(Ipv4Addr::new(10, 0, 0, 4)),
            "{node}"
        );
        assert_eq!(path.next_hop, Some(address(3)), "{node}");
    }
    net.withdraw(3, P);
    net.settle();
    assert!((0..7).all(|node| paths(&net, node, P).is_empty()));
}

#[test]
fn with_add_path_all_clients_of_a_hierarchy_keep_all_equal_paths() {
    let several = AddPath {
        receive: true,
        send: PathsSent::BestOf(2),
        ..AddPath::default()
    };
    for (add_path, count) in [(AddPath::default(), 1), (several, 2)] {
        let mut net = hierarchy(add_path);
        net.originate(3, P);
        net.originate(4, P);
        net.settle();
        let used: Vec<_> = paths(&net, 6, P)
            .into_iter()
            .filter(|p| p.multipath)
            .collect();
        assert_eq!(used.len(), count, "next hops at the far end: {used:?}");
        net.withdraw(3, P);
        net.settle();
        assert_eq!(paths(&net, 6, P)[0].next_hop, Some(address(4)));
    }
}

#[test]
fn a_path_that_comes_back_to_its_originator_is_ignored() {
    // §8: "A router that recognizes the ORIGINATOR_ID attribute SHOULD ignore a route received with its BGP Identifier as the
    // ORIGINATOR_ID": 2 brings the prefix to 0, which reflects it to 1, which has a session with 2 as well.
    let mut net = Net::new(3);
    reflect(&mut net, 0, 1);
    reflect(&mut net, 1, 2);
    for (node, other) in [(0, 2), (0, 1), (1, 0), (1, 2)] {
        net.peer(
            node,
            PeerConfig {
                reflector_client: true,
                ..peer_config(other)
            },
        );
    }
    // It is announced to 0 only.
    net.peer(2, peer_config(0));
    let silent = PeerConfig {
        export: Policy::reject_all(),
        ..peer_config(1)
    };
    net.peer(2, silent);
    net.originate(2, P);
    net.run_for(20);
    let own = from(&net, 2, P, 1).unwrap();
    assert_eq!(
        own.lost_because.as_deref(),
        Some("loop: ORIGINATOR_ID is ours")
    );
}

#[test]
fn clients_that_are_meshed_hear_of_each_other_without_the_reflector() {
    // §5: "a full mesh of the clients"; 3 is no client.
    let mut net = Net::new(4);
    reflect(&mut net, 0, 1);
    for (other, is_client) in [(1, true), (2, true), (3, false)] {
        join(&mut net, 0, other, is_client);
    }
    net.run_for(20);
    net.originate(1, P);
    net.originate(3, Q);
    net.settle();
    assert!(net.has(2, P) && net.has(3, P) && net.has(2, Q));
    let flaps = net.view(0, 2).flaps;
    let set = |net: &mut Net, on| {
        let (id, now) = (Some(Ipv4Addr::new(1, 0, 0, 1)), net.now);
        net.nodes[0].speaker.set_reflection(now, id, on);
        net.settle();
    };
    set(&mut net, false);
    assert!(!net.has(2, P), "withdrawn from the other client");
    assert!(net.has(3, P) && net.has(2, Q), "and from nobody else");
    let why = net.nodes[0].speaker.explain_export(address(2), None);
    let why = why
        .unwrap()
        .into_iter()
        .find(|view| view.prefix == prefix(P));
    assert_eq!(
        why.unwrap().reason,
        "from a client, and clients hear of one another without us"
    );
    set(&mut net, true);
    assert!(net.has(2, P));
    assert_eq!(net.view(0, 2).flaps, flaps, "the session stays");
}

#[test]
fn what_is_reflected_is_changed_by_policy_only_where_the_operator_asks_for_it() {
    // §10: "when a RR reflects a route, it SHOULD NOT modify ... NEXT_HOP, AS_PATH, LOCAL_PREF, and MED."
    let export = || -> Policy {
        let set = json!({"nextHop": "self", "prepend": 2, "localPref": 7, "med": 7, "communities": {"add": ["64512:7"]}});
        let rules = json!({"rules": [{"set": set, "action": "accept"}], "default": "reject"});
        serde_json::from_value(rules).unwrap()
    };
    for changes in [false, true] {
        let mut net = Net::new(3);
        reflect(&mut net, 0, 1);
        join(&mut net, 0, 1, true);
        net.peer(2, peer_config(0));
        net.peer(
            0,
            PeerConfig {
                reflector_client: true,
                change_reflected: changes,
                next_hop: NextHopMode::OwnAddress,
                export: export(),
                ..peer_config(2)
            },
        );
        net.run_for(20);
        net.originate(1, P);
        net.originate(0, Q);
        net.settle();
        let reflected = &paths(&net, 2, P)[0];
        let seen = (
            reflected.next_hop,
            reflected.local_pref,
            reflected.med,
            reflected.as_path.as_str(),
        );
        let expected = match changes {
            false => (Some(address(1)), 100, None, ""),
            true => (Some(address(0)), 7, Some(7), "64512 64512"),
        };
        if !changes {
            assert_eq!(
                reflected.communities,
                ["64512:7"],
                "what decides nothing may be added"
            );
            assert_eq!(seen, expected);
        } else {
            // Our AS is in AS_PATH: what such a change leads to.
            assert_eq!(
                (seen.0, seen.1, seen.2),
                (expected.0, expected.1, expected.2)
            );
        }
        let own = &paths(&net, 2, Q)[0];
        assert_eq!(
            (own.local_pref, own.med),
            (7, Some(7)),
            "our own is ours to change"
        );
    }
}

#[test]
fn a_peer_becomes_a_client_and_a_reflector_gets_another_cluster_under_their_sessions() {
    let mut net = Net::new(4);
    for other in 1..4 {
        join(&mut net, 0, other, false);
    }
    net.run_for(20);
    net.originate(1, P);
    net.originate(2, Q);
    net.settle();
    assert!(!net.has(2, P) && !net.has(3, P), "split horizon");
    let flaps: Vec<u64> = (1..4).map(|other| net.view(0, other).flaps).collect();
    let client = |net: &mut Net, other, reflector_client| {
        net.peer(
            0,
            PeerConfig {
                reflector_client,
                ..peer_config(other)
            },
        );
        net.settle();
    };
    client(&mut net, 1, true);
    assert!(
        net.has(2, P) && net.has(3, P),
        "what it had sent before, too"
    );
    assert!(net.has(1, Q) && !net.has(3, Q));
    reflect(&mut net, 0, 9);
    net.settle();
    assert_eq!(clusters(&paths(&net, 3, P)[0]), [9]);
    client(&mut net, 1, false);
    assert!(!net.has(2, P) && !net.has(3, P) && !net.has(1, Q));
    let now: Vec<u64> = (1..4).map(|other| net.view(0, other).flaps).collect();
    assert_eq!(now, flaps);
}

#[test]
fn who_comes_back_with_another_identifier_is_passed_on_with_it() {
    let mut net = Net::new(3);
    reflect(&mut net, 0, 1);
    for client in [1, 2] {
        join(&mut net, 0, client, true);
    }
    net.run_for(20);
    net.originate(1, P);
    net.settle();
    net.kill(1);
    let config = SpeakerConfig {
        restarting: true,
        ..SpeakerConfig::new(64512, Ipv4Addr::new(10, 9, 9, 9))
    };
    net.replace(1, config);
    net.peer(1, peer_config(0));
    net.originate(1, P);
    net.nodes[1].speaker.finish_restart(net.now);
    net.run_for(20);
    let path = &paths(&net, 2, P)[0];
    assert_eq!(path.originator_id, Some(Ipv4Addr::new(10, 9, 9, 9)));
}

#[test]
fn a_peer_that_is_released_keeps_our_paths_for_their_restart_time_and_one_that_is_removed_does_not()
{
    for released in [true, false] {
        let mut net = Net::mesh(2);
        net.originate(0, P);
        net.settle();
        let (now, peer) = (net.now, address(1));
        match released {
            true => net.nodes[0].speaker.release_peer(now, peer),
            false => net.nodes[0].speaker.remove_peer(now, peer),
        }
        net.run_for(1);
        assert!(net.nodes[0].speaker.peers(net.now).is_empty());
        assert_eq!(net.has(1, P), released);
        net.run_for(121);
        assert!(!net.has(1, P), "and not for ever");
    }
}
