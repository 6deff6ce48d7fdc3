//! Who provides transit to whom, between whole speakers.

use super::*;
use crate::config::{PeerConfig, SpeakerConfig};
use crate::wire::Role;

fn asn(node: usize) -> u32 {
    65000 + node as u32
}

/// Speakers of an AS each, and who is what to whom: node, other, the node's role.
fn net(roles: &[(usize, usize, Option<Role>)]) -> Net {
    let mut net = Net::new(4);
    for node in 0..4 {
        let config = SpeakerConfig {
            asn: asn(node),
            ..speaker_config(node)
        };
        net.replace(node, config);
    }
    for &(node, other, role) in roles {
        join(&mut net, node, other, role, false);
        join(&mut net, other, node, role.map(Role::counterpart), false);
    }
    net
}

fn join(net: &mut Net, node: usize, other: usize, role: Option<Role>, strict: bool) {
    let config = PeerConfig {
        remote_asn: asn(other).into(),
        local_asn: asn(node),
        role,
        role_strict: strict,
        ..peer_config(other)
    };
    net.peer(node, config);
}

#[test]
fn what_a_provider_or_a_peer_sends_goes_to_customers_only() {
    // 0 provides 1, which provides 3; 1 and 2 are peers.
    let provider = Some(Role::Provider);
    let mut net = net(&[(0, 1, provider), (1, 3, provider), (1, 2, Some(Role::Peer))]);
    net.run_for(20);
    for (node, block) in [
        (0, "10.0.0.0/24"),
        (1, "10.1.0.0/24"),
        (2, "10.2.0.0/24"),
        (3, "10.3.0.0/24"),
    ] {
        net.originate(node, block);
    }
    net.settle();
    assert_eq!(
        net.prefixes(0),
        ["10.0.0.0/24", "10.1.0.0/24", "10.3.0.0/24"]
    );
    assert_eq!(
        net.prefixes(2),
        ["10.1.0.0/24", "10.2.0.0/24", "10.3.0.0/24"]
    );
    assert_eq!(net.prefixes(1).len(), 4);
    assert_eq!(net.prefixes(3).len(), 4);
}

#[test]
fn a_leak_of_somebody_else_is_not_used_and_shown_as_what_it_is() {
    // 1 knows no roles and passes what it gets from its provider 0 to its peer 2 and its other provider 3.
    let mut net = net(&[]);
    join(&mut net, 0, 1, Some(Role::Provider), false);
    join(&mut net, 1, 0, None, false);
    join(&mut net, 2, 1, Some(Role::Peer), false);
    join(&mut net, 1, 2, None, false);
    join(&mut net, 3, 1, Some(Role::Provider), false);
    join(&mut net, 1, 3, None, false);
    net.originate(0, "10.0.0.0/24");
    net.originate(1, "10.1.0.0/24");
    net.run_for(20);
    assert_eq!(net.prefixes(1).len(), 2);
    for node in [2, 3] {
        assert_eq!(net.prefixes(node), ["10.1.0.0/24"], "{node}");
        let route = net.nodes[node]
            .speaker
            .route(&prefix("10.0.0.0/24"))
            .unwrap();
        let why = route.paths[0].lost_because.as_deref();
        assert_eq!(
            why,
            Some("route leak: Only to Customer (OTC), and it came from another")
        );
    }
}

#[test]
fn roles_that_do_not_belong_together_make_no_session() {
    let mut net = net(&[]);
    join(&mut net, 0, 1, Some(Role::Provider), false);
    join(&mut net, 1, 0, Some(Role::Peer), false);
    join(&mut net, 2, 3, Some(Role::Provider), true);
    join(&mut net, 3, 2, None, false);
    net.run_for(10);
    let error = |net: &Net, node, other| net.view(node, other).last_error.unwrap();
    let errors = [error(&net, 0, 1), error(&net, 1, 0)];
    assert!(
        errors
            .iter()
            .all(|error| error.contains("OPEN Message Error: Role Mismatch")),
        "{errors:?}"
    );
    let words = "sent OPEN Message Error: Role Mismatch (we are provider, and the peer does not say what it is)";
    assert_eq!(error(&net, 2, 3), words);
    join(&mut net, 3, 2, Some(Role::Customer), false);
    net.run_for(70);
    assert_eq!(net.view(2, 3).state, "Established");
}
