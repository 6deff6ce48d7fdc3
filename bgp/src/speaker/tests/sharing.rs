//! Peers that get the same share one Adj-RIB-Out, whatever else is different about them.

use super::*;
use crate::config::{AddPath, PathsSent, PeerConfig};
use crate::wire::Family;
use std::time::Duration;

/// How many peers node 0 has.
const PEERS: usize = 50;

/// Node 0 and its clients: each says something else about what it sends and wants to hear of.
fn star() -> Net {
    let mut net = Net::new(PEERS + 1);
    for peer in 1..=PEERS {
        let may = |every: usize| peer.is_multiple_of(every);
        let receive = AddPath {
            receive: may(2),
            ..AddPath::default()
        };
        let send = AddPath {
            send: if may(3) {
                PathsSent::All
            } else {
                PathsSent::Best
            },
            ..AddPath::default()
        };
        let mut families = vec![Family::Ipv4Unicast, Family::Ipv6Unicast];
        if may(5) {
            families.reverse();
        }
        net.peer(
            0,
            PeerConfig {
                reflector_client: true,
                add_path: receive,
                graceful_restart: may(7).then_some(Duration::from_secs(60)),
                families,
                prefix_limits_out: [(Family::Ipv4Unicast, 1000 + peer)].into(),
                ..peer_config(peer)
            },
        );
        net.peer(
            peer,
            PeerConfig {
                add_path: send,
                hold_time: Duration::from_secs(30 + peer as u64),
                ..peer_config(0)
            },
        );
    }
    net.run_for(20);
    for view in net.nodes[0].speaker.peers(net.now) {
        assert_eq!(view.state, "Established", "{view:?}");
    }
    net
}

#[test]
fn a_change_is_encoded_once_for_peers_that_differ_in_what_they_send() {
    let mut net = star();
    let senders = (1..=PEERS).filter(|&peer| net.view(0, peer).by_family[0].add_path_receive);
    assert_eq!(senders.count(), PEERS / 6, "ADD-PATH was agreed on");
    let before = net.nodes[0].speaker.rib.encodes();
    net.originate(0, "10.9.0.0/26");
    net.settle();
    assert_eq!(net.nodes[0].speaker.rib.encodes() - before, 1);
    for peer in 1..=PEERS {
        assert!(net.has(peer, "10.9.0.0/26"), "{peer}");
    }
    net.withdraw(0, "10.9.0.0/26");
    net.settle();
    assert_eq!(net.nodes[0].speaker.rib.encodes() - before, 2);
    for peer in 1..=PEERS {
        assert!(!net.has(peer, "10.9.0.0/26"), "{peer}");
    }
}
