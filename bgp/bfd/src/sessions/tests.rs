//! Which session a packet is for, and what a set of them shares.

use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::packet::Diagnostic;
use crate::state::State;
use crate::testing::{address, config, ends, millis};

fn down(my: u32, your: Option<SessionId>) -> [u8; Packet::OCTETS] {
    let packet = Packet {
        diagnostic: Diagnostic::NONE,
        state: State::Down,
        poll: false,
        finale: false,
        control_plane_independent: false,
        demand: false,
        detect_multiplier: 3,
        my_discriminator: SessionId(NonZeroU32::new(my).unwrap()),
        your_discriminator: your,
        desired_min_tx: millis(1000),
        required_min_rx: millis(300),
        required_min_echo_rx: Duration::ZERO,
    };
    packet.encode()
}

fn far() -> SessionConfig {
    SessionConfig {
        kind: Kind::MultiHop,
        ..config(0)
    }
}

#[test]
fn without_your_discriminator_kind_and_both_addresses_decide() {
    let mut sessions = Sessions::new(1);
    let near_id = sessions.set(Time::ZERO, config(0)).unwrap();
    let far_id = sessions.set(Time::ZERO, far()).unwrap();
    let other = "10.0.0.9".parse().unwrap();
    let other_local = SessionConfig {
        local: other,
        ..config(0)
    };
    let other_local_id = sessions.set(Time::ZERO, other_local).unwrap();
    let from = SocketAddr::from((address(1), 49152));
    let rows = [
        ((address(0), 3784), Ok(near_id)),
        ((address(0), 4784), Ok(far_id)),
        ((other, 3784), Ok(other_local_id)),
        (
            (other, 4784),
            Err(Discard::UnknownAddresses {
                remote: address(1),
                local: other,
            }),
        ),
        ((address(0), 3785), Err(Discard::Port(3785))),
    ];
    for (to, expected) in rows {
        let found = sessions.handle_packet(Time::ZERO, from, to.into(), 255, &down(7, None));
        assert_eq!(found, expected, "to {to:?}");
    }
    let stranger = SocketAddr::from((other, 49152));
    let to = SocketAddr::from((address(0), 3784));
    let found = sessions.handle_packet(Time::ZERO, stranger, to, 255, &down(7, None));
    let unknown = Discard::UnknownAddresses {
        remote: other,
        local: address(0),
    };
    assert_eq!(found, Err(unknown));
    let counted: Vec<(&str, u64)> = sessions.discards().iter().map(|(k, v)| (*k, *v)).collect();
    assert_eq!(counted, [("port", 1), ("unknown_addresses", 2)]);
}

#[test]
fn with_your_discriminator_nothing_else_decides_on_one_link() {
    let mut sessions = Sessions::new(2);
    let id = sessions.set(Time::ZERO, config(0)).unwrap();
    let (source, destination) = ends("192.0.2.7".parse().unwrap(), address(0));
    let bytes = down(7, Some(id));
    let found = sessions.handle_packet(Time::ZERO, source, destination, 255, &bytes);
    assert_eq!(found, Ok(id));
    // RFC 5881 §6: what we send still goes to the configured address.
    let sent = sessions.poll_transmit(Time::ZERO).unwrap();
    assert_eq!(sent.destination, SocketAddr::from((address(1), 3784)));
    let unknown = SessionId(NonZeroU32::new(id.number() ^ 1).unwrap());
    let bytes = down(7, Some(unknown));
    let found = sessions.handle_packet(Time::ZERO, source, destination, 255, &bytes);
    assert_eq!(found, Err(Discard::UnknownDiscriminator(unknown)));
}

#[test]
fn whoever_is_not_on_the_link_reaches_no_single_hop_session() {
    let mut sessions = Sessions::new(3);
    let id = sessions.set(Time::ZERO, config(0)).unwrap();
    let source = SocketAddr::from((address(1), 50_000));
    let near = SocketAddr::from((address(0), 3784));
    let far = SocketAddr::from((address(0), 4784));
    for your in [None, Some(id)] {
        let bytes = down(7, your);
        for ttl in [0, 1, 64, 254] {
            let found = sessions.handle_packet(Time::ZERO, source, near, ttl, &bytes);
            assert_eq!(found, Err(Discard::Ttl(ttl)));
        }
    }
    let found = sessions.handle_packet(Time::ZERO, source, far, 60, &down(7, Some(id)));
    assert_eq!(found, Err(Discard::Kind(id)));
    assert_eq!(sessions.view(Time::ZERO, id).unwrap().packets_received, 0);
}

#[test]
fn a_multihop_session_hears_its_neighbour_from_any_distance_and_nobody_else() {
    let mut sessions = Sessions::new(4);
    let id = sessions.set(Time::ZERO, far()).unwrap();
    let destination = SocketAddr::from((address(0), 4784));
    for ttl in [1, 64, 255] {
        let source = SocketAddr::from((address(1), 50_000));
        let bytes = down(7, Some(id));
        let found = sessions.handle_packet(Time::ZERO, source, destination, ttl, &bytes);
        assert_eq!(found, Ok(id));
    }
    let stranger = SocketAddr::from(([192, 0, 2, 7], 50_000));
    let bytes = down(7, Some(id));
    let found = sessions.handle_packet(Time::ZERO, stranger, destination, 255, &bytes);
    let wrong = Discard::Source {
        session: id,
        source_address: stranger.ip(),
    };
    assert_eq!(found, Err(wrong));
}

#[test]
fn link_local_neighbours_with_one_address_are_told_apart_by_interface() {
    let on = |interface| SessionConfig {
        remote: "fe80::1".parse().unwrap(),
        local: "fe80::2".parse().unwrap(),
        interface,
        ..config(0)
    };
    let mut sessions = Sessions::new(5);
    let ids = [3, 4].map(|interface| sessions.set(Time::ZERO, on(interface)).unwrap());
    assert_ne!(ids[0], ids[1]);
    for (interface, id) in [(3, ids[0]), (4, ids[1])] {
        let source = end("fe80::1".parse().unwrap(), 50_000, interface);
        let destination = end("fe80::2".parse().unwrap(), 3784, interface);
        let found = sessions.handle_packet(Time::ZERO, source, destination, 255, &down(7, None));
        assert_eq!(found, Ok(id));
        let sent = sessions.poll_transmit(Time::ZERO).unwrap();
        assert_eq!(sent.session, id);
        assert_eq!(sent.destination, end(source.ip(), 3784, interface));
    }
}

#[test]
fn an_ipv4_neighbour_seen_through_an_ipv6_socket_is_the_same() {
    let mut sessions = Sessions::new(6);
    let id = sessions.set(Time::ZERO, config(0)).unwrap();
    let source: SocketAddr = "[::ffff:10.0.0.2]:50000".parse().unwrap();
    let destination: SocketAddr = "[::ffff:10.0.0.1]:3784".parse().unwrap();
    let found = sessions.handle_packet(Time::ZERO, source, destination, 255, &down(7, None));
    assert_eq!(found, Ok(id));
}

#[test]
fn discriminators_and_source_ports_are_unique_and_stay() {
    let mut sessions = Sessions::new(7);
    let mut first_ports = BTreeMap::new();
    for host in 0..2000_u32 {
        let config = SessionConfig {
            remote: std::net::Ipv4Addr::from(0x0a01_0000 + host).into(),
            ..config(0)
        };
        sessions.set(Time::ZERO, config).unwrap();
    }
    for second in 1..=5 {
        let now = Duration::from_secs(second);
        sessions.handle_timeout(now);
        while let Some(sent) = sessions.poll_transmit(now) {
            assert_eq!(sent.ttl, 255);
            assert!(sent.source.port() >= 49152);
            let port = first_ports
                .entry(sent.session)
                .or_insert(sent.source.port());
            assert_eq!(*port, sent.source.port());
            let packet = Packet::decode(&sent.bytes).unwrap();
            assert_eq!(packet.my_discriminator, sent.session);
        }
    }
    assert_eq!(first_ports.len(), 2000);
    let ports: BTreeSet<u16> = first_ports.into_values().collect();
    assert_eq!(ports.len(), 2000);
}

#[test]
fn when_all_source_ports_are_used_the_least_used_one_is_shared() {
    let mut sessions = Sessions::new(8);
    for port in PORT_FIRST..=PORT_LAST {
        sessions.ports.insert(port, 2);
    }
    sessions.ports.insert(60_000, 1);
    let id = sessions.set(Time::ZERO, config(0)).unwrap();
    assert_eq!(sessions.by_id[&id].source_port, 60_000);
    assert_eq!(sessions.ports[&60_000], 2);
    sessions.remove(Time::ZERO, id);
    assert_eq!(sessions.ports[&60_000], 1);
}

#[test]
fn sessions_made_at_once_do_not_send_at_once() {
    let mut sessions = Sessions::new(9);
    for host in 0..100_u32 {
        let config = SessionConfig {
            remote: std::net::Ipv4Addr::from(0x0a01_0000 + host).into(),
            ..config(0)
        };
        sessions.set(Time::ZERO, config).unwrap();
    }
    sessions.handle_timeout(millis(125));
    let half = std::iter::from_fn(|| sessions.poll_transmit(millis(125))).count();
    sessions.handle_timeout(millis(250));
    let rest = std::iter::from_fn(|| sessions.poll_transmit(millis(250))).count();
    assert!((30..=70).contains(&half), "{half}");
    assert_eq!(half + rest, 100);
}

#[test]
fn a_configuration_that_cannot_work_is_refused() {
    let rows = [
        (
            SessionConfig {
                min_tx: Duration::from_micros(9_999),
                ..config(0)
            },
            "bfd session with 10.0.0.2: min_tx of 9999 µs is not within 10000 and 4294967295",
        ),
        (
            SessionConfig {
                min_rx: Duration::from_secs(4295),
                ..config(0)
            },
            "bfd session with 10.0.0.2: min_rx of 4295000000 µs is not within 10000 and 4294967295",
        ),
        (
            SessionConfig {
                multiplier: 0,
                ..config(0)
            },
            "bfd session with 10.0.0.2: multiplier is zero",
        ),
        (
            SessionConfig {
                local: "2001:db8::1".parse().unwrap(),
                ..config(0)
            },
            "bfd session with 10.0.0.2: 2001:db8::1 is of the other family",
        ),
    ];
    for (config, expected) in rows {
        let mut sessions = Sessions::new(10);
        let refused = sessions.set(Time::ZERO, config).unwrap_err();
        assert_eq!(refused.to_string(), expected);
        assert!(sessions.views(Time::ZERO).is_empty());
    }
}

#[test]
fn a_view_is_plain_data() {
    let mut sessions = Sessions::new(11);
    let id = sessions.set(Time::ZERO, far()).unwrap();
    let view = sessions.view(Duration::from_secs(5), id).unwrap();
    let text = serde_json::to_value(&view).unwrap();
    assert_eq!(text["kind"], "multi-hop");
    assert_eq!(text["state"], "Down");
    assert_eq!(text["stateSeconds"], 5);
    assert_eq!(text["discriminator"], id.number());
    assert_eq!(serde_json::from_value::<SessionView>(text).unwrap(), view);
}

#[test]
fn a_neighbour_cannot_fill_the_timer_queue() {
    let mut sessions = Sessions::new(12);
    let id = sessions.set(Time::ZERO, config(0)).unwrap();
    let (source, destination) = ends(address(1), address(0));
    for round in 0..10_000_u64 {
        let now = millis(round * 10);
        // Detection times of up to twelve days, then short ones, over and over.
        let packet = Packet {
            detect_multiplier: [255, 1][(round % 2) as usize],
            state: [State::Init, State::Up][usize::from(round > 0)],
            desired_min_tx: Duration::from_micros([u32::MAX, 1][(round % 2) as usize].into()),
            required_min_rx: millis([20, 4000, 0][(round % 3) as usize]),
            ..Packet::decode(&down(7, Some(id))).unwrap()
        };
        let bytes = packet.encode();
        sessions
            .handle_packet(now, source, destination, 255, &bytes)
            .unwrap();
        sessions.handle_timeout(now);
        while sessions.poll_transmit(now).is_some() {}
        assert!(sessions.timers.len() <= 1 && sessions.ready.is_empty());
    }
    let events = std::iter::from_fn(|| sessions.poll_event()).count();
    assert_eq!(events, 1, "it stayed up");
}

#[test]
fn a_session_that_is_gone_leaves_nothing_behind() {
    let mut sessions = Sessions::new(13);
    let id = sessions.set(Time::ZERO, config(0)).unwrap();
    sessions.remove(Time::ZERO, id);
    assert!(sessions.by_id.is_empty() && sessions.by_key.is_empty() && sessions.ports.is_empty());
    assert_eq!(sessions.poll_timeout(), None);
}
