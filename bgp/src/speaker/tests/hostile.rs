//! A peer can send any bytes: the speaker lives, the others do not notice, and good routes stay.

use std::net::SocketAddr;

use super::*;
use crate::event::Event;
use crate::rng::Rng;
use crate::wire::{Attributes, Capability, Codec, Family, Message, Nlri, Open, RouteRefresh};

pub(super) fn good_open() -> Open {
    Open {
        asn: 64512,
        hold_time_seconds: 90,
        router_id: [10, 0, 0, 9].into(),
        capabilities: vec![
            Capability::Multiprotocol(Family::Ipv4Unicast),
            Capability::Multiprotocol(Family::Ipv6Unicast),
            Capability::FourOctetAs(64512),
        ],
    }
}

pub(super) fn codec() -> Codec {
    let families = vec![Family::Ipv4Unicast, Family::Ipv6Unicast];
    Codec {
        four_octet_as: true,
        families,
        ..Codec::initial()
    }
}

/// A whole session of a good peer, as octets.
fn good_session() -> Vec<u8> {
    let mut bytes = Vec::new();
    Codec::initial().encode(&Message::Open(good_open()), &mut bytes);
    Codec::initial().encode(&Message::Keepalive, &mut bytes);
    let attributes = Attributes {
        next_hop: Some([10, 0, 0, 9].into()),
        ..Attributes::default()
    };
    let prefixes: Vec<Nlri> = (0..20)
        .map(|n| prefix(&format!("10.9.{n}.0/24")).into())
        .collect();
    codec().encode_announce(&attributes, &prefixes, &mut bytes);
    let v6 = Attributes {
        next_hop: Some("fd00::9".parse().unwrap()),
        ..attributes
    };
    codec().encode_announce(&v6, &[prefix("fd00:9::/64").into()], &mut bytes);
    codec().encode_withdraw(&prefixes[..5], &mut bytes);
    codec().encode_end_of_rib(Family::Ipv4Unicast, &mut bytes);
    codec().encode(
        &Message::RouteRefresh(Some(RouteRefresh::request(Family::Ipv4Unicast))),
        &mut bytes,
    );
    bytes
}

/// Two good nodes, and a configured peer (number 8) that the test plays.
pub(super) fn net() -> Net {
    let mut net = Net::mesh(2);
    net.originate(1, "10.233.1.0/26");
    net.peer(
        0,
        crate::config::PeerConfig {
            passive: true,
            extended_messages: false,
            ..peer_config(8)
        },
    );
    net.settle();
    net
}

#[test]
fn a_good_session_played_by_hand_is_understood() {
    let mut net = net();
    let connection = net.dial(8, 0).unwrap();
    for byte in good_session() {
        let now = net.now;
        net.nodes[0].speaker.handle_bytes(now, connection, &[byte]);
    }
    let view = net.view(0, 8);
    assert_eq!(
        (view.state.as_str(), view.prefixes_received),
        ("Established", 16)
    );
    assert_eq!((view.messages_received, view.updates_received), (7, 4));
    let sent = net.sent(0, connection);
    let view = net.view(0, 8);
    // OPEN, KEEPALIVE, two End-of-RIBs; nothing of node 1, which is no client.
    assert_eq!(
        (view.messages_sent, view.updates_sent, view.prefixes_sent),
        (4, 2, 0)
    );
    assert!(!sent.is_empty());
}

#[test]
fn sessions_with_mutated_bytes_do_no_harm() {
    let good = good_session();
    let mut net = net();
    let mut rng = Rng::new(42);
    let mut draw = |bound: usize| {
        let micros = rng
            .jitter(std::time::Duration::from_micros(1 << 30))
            .as_micros() as usize;
        micros % bound
    };
    for _ in 0..3000 {
        let mut bytes = good.clone();
        for _ in 0..1 + draw(4) {
            let at = draw(bytes.len());
            match draw(5) {
                0 => bytes[at] ^= 1 << draw(8),
                1 => bytes[at] = draw(256) as u8,
                2 => drop(bytes.drain(at..(at + draw(9)).min(bytes.len()))),
                3 => bytes.insert(at, draw(256) as u8),
                _ => bytes.truncate(at.max(1)),
            }
        }
        let connection = match net.dial(8, 0) {
            Ok(connection) => connection,
            // Held idle after an error.
            Err(_) => {
                net.run_for(61);
                net.dial(8, 0).unwrap()
            }
        };
        for piece in bytes.chunks(1 + draw(200)) {
            let now = net.now;
            net.nodes[0].speaker.handle_bytes(now, connection, piece);
        }
        net.settle();
        let now = net.now;
        net.nodes[0]
            .speaker
            .handle_closed(now, connection, "closed by peer");
        assert_eq!(net.view(0, 1).state, "Established");
    }
    assert!(net.has(0, "10.233.1.0/26"));
    assert_eq!(net.view(0, 1).flaps, 0);
    assert_eq!(
        (net.view(0, 8).prefixes_received, net.prefixes(0).len()),
        (0, 1)
    );
}

#[test]
fn errors_are_answered_more_slowly_each_time() {
    let mut net = net();
    let mut waits = Vec::new();
    for _ in 0..8 {
        let connection = net.dial(8, 0).unwrap();
        let now = net.now;
        net.nodes[0].speaker.handle_bytes(now, connection, &[0; 19]);
        let reason = net.dial(8, 0).unwrap_err();
        assert!(reason.contains("Connection Not Synchronized"), "{reason}");
        let mut wait = 0;
        while net.dial(8, 0).is_err() {
            net.run_for(1);
            wait += 1;
        }
        waits.push(wait);
    }
    assert!(
        waits.is_sorted() && waits[0] <= 1 && (45..=61).contains(&waits[7]),
        "{waits:?}"
    );
}

#[test]
fn nonsense_holds_a_peer_idle_even_while_we_are_calling_it() {
    let mut net = Net::new(1);
    net.peer(0, peer_config(8));
    let now = net.now;
    net.nodes[0].speaker.handle_timeout(now);
    assert_eq!(net.view(0, 8).state, "Connect");
    let connection = net.dial(8, 0).unwrap();
    net.nodes[0].speaker.handle_bytes(now, connection, &[0; 19]);
    assert_eq!(net.view(0, 8).state, "Idle");
    assert!(net.dial(8, 0).is_err());
}

#[test]
fn strangers_are_refused_by_name() {
    let mut net = net();
    assert_eq!(
        net.dial(5, 0).unwrap_err(),
        "10.0.0.6 is not a configured peer"
    );
    net.settle();
    let refused = Event::ConnectionFailed {
        peer: None,
        remote: address(5),
        reason: "10.0.0.6 is not a configured peer".to_owned(),
    };
    assert!(net.events(0).contains(&refused));
}

#[test]
fn a_peer_that_connects_again_and_again_has_one_connection() {
    let mut net = net();
    for _ in 0..1000 {
        net.dial(8, 0).unwrap();
        net.settle();
    }
    assert_eq!(
        net.nodes[0].speaker.connections.len(),
        2,
        "node 1's and the last one"
    );
    assert_eq!(net.nodes[0].speaker.last_words.len(), 0);
}

#[test]
fn reports_about_connections_that_are_gone_are_ignored() {
    let mut net = net();
    let connection = net.dial(8, 0).unwrap();
    let (now, local) = (net.now, SocketAddr::new(address(0), 179));
    let speaker = &mut net.nodes[0].speaker;
    speaker.handle_closed(now, connection, "gone");
    speaker.handle_closed(now, connection, "gone");
    speaker.handle_bytes(now, connection, &[0; 100]);
    speaker.handle_connected(now, connection, local);
    speaker.handle_connect_failed(now, connection, "gone");
    assert!(!speaker.poll_transmit(now, connection, &mut Vec::new(), 100));
    assert_eq!(net.view(0, 8).state, "Active");
}
