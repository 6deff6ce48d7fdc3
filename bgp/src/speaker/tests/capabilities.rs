//! What two speakers do because both can.

use std::net::IpAddr;

use super::*;
use crate::config::{LocalPath, PeerConfig};
use crate::wire::Family;

const BLOCK: &str = "10.233.0.0/26";
const SIX: &str = "fd00:233::/64";

/// More communities than a message of 4,096 octets has room for.
fn large() -> LocalPath {
    LocalPath {
        communities: (0..2000).collect(),
        ..LocalPath::default()
    }
}

fn originate_large(net: &mut Net, node: usize, text: &str) {
    let now = net.now;
    let speaker = &mut net.nodes[node].speaker;
    speaker.originate(now, prefix(text), large());
    net.settle();
}

#[test]
fn long_messages_go_to_whoever_offers_to_read_them() {
    let mut net = Net::new(3);
    net.peer(0, peer_config(1));
    net.peer(0, peer_config(2));
    net.peer(1, peer_config(0));
    let short = PeerConfig {
        extended_messages: false,
        ..peer_config(0)
    };
    net.peer(2, short);
    net.run_for(20);
    originate_large(&mut net, 0, BLOCK);
    assert!(net.has(1, BLOCK), "both offer");
    assert!(!net.has(2, BLOCK), "there is no room");
    // What the others' room is does not matter to a path that fits.
    net.originate(0, "10.233.1.0/26");
    net.settle();
    assert!(net.has(1, "10.233.1.0/26") && net.has(2, "10.233.1.0/26"));
    // RFC 8654 §4: it may send what it does not read.
    originate_large(&mut net, 2, "10.233.2.0/26");
    assert!(net.has(0, "10.233.2.0/26"));
    let words = |of| net.view(0, of).capabilities;
    assert!(words(1).contains(&"extended-message".to_owned()));
    assert!(!words(2).contains(&"extended-message".to_owned()));
    assert_eq!(net.view(0, 2).state, "Established");
}

/// Two nodes with an IPv4 or IPv6 session, each with a path of each family; the next hops that node 1 sees.
fn next_hops(six: bool, change: impl Fn(&mut PeerConfig)) -> [Vec<IpAddr>; 2] {
    let mut net = Net::new(2);
    for (node, other) in [(0, 1), (1, 0)] {
        let mut config = peer_config(other);
        if six {
            config.remote_address = address6(other);
            config.extended_next_hop = true;
        }
        change(&mut config);
        net.peer(node, config);
    }
    net.run_for(20);
    net.originate(0, BLOCK);
    net.originate(0, SIX);
    net.settle();
    [BLOCK, SIX].map(|text| net.nodes[1].speaker.next_hops(&prefix(text)))
}

#[test]
fn both_families_go_over_both_kinds_of_session() {
    let (four, six) = (address(0), address6(0));
    // Over IPv4 "self" in IPv6 is configured, as `Net::peer` does it.
    assert_eq!(next_hops(false, |_| {}), [vec![four], vec![six]]);
    // Over IPv6 without an IPv4 address of our own.
    assert_eq!(next_hops(true, |_| {}), [vec![six], vec![six]]);
    // With one, it is named: whoever understands both likes the plain form better.
    let own: IpAddr = [192, 0, 2, 7].into();
    let with_own = next_hops(true, |config| {
        if config.remote_address == address6(1) {
            config.next_hop_self_v4 = Some([192, 0, 2, 7].into());
        }
    });
    assert_eq!(with_own, [vec![own], vec![six]]);
    // Without agreement there is no next hop, and so no path, for IPv4.
    let without = next_hops(true, |config| config.extended_next_hop = false);
    assert_eq!(without, [vec![], vec![six]]);
}

#[test]
fn ipv6_next_hops_are_offered_by_default_over_ipv6_only_and_need_both() {
    assert!(!PeerConfig::new(address(0), 1, 1).extended_next_hop);
    assert!(PeerConfig::new(address6(0), 1, 1).extended_next_hop);
    let mut net = Net::new(2);
    for (node, other, offers) in [(0, 1, true), (1, 0, false)] {
        let config = PeerConfig {
            remote_address: address6(other),
            extended_next_hop: offers,
            ..peer_config(other)
        };
        net.peer(node, config);
    }
    net.originate(0, BLOCK);
    net.run_for(20);
    let views = net.nodes[0].speaker.peers(net.now);
    assert_eq!(views[0].state, "Established");
    assert!(
        !views[0]
            .capabilities
            .contains(&"extended-next-hop".to_owned())
    );
    assert!(!net.has(1, BLOCK));
}

#[test]
fn a_reflector_passes_ipv4_with_an_ipv6_next_hop_to_those_who_understand_it() {
    let mut net = Net::new(3);
    for (client, extended) in [(1, true), (2, false)] {
        let mut config = peer_config(client);
        config.reflector_client = true;
        config.extended_next_hop = extended;
        net.peer(0, config);
        let mut config = peer_config(0);
        config.extended_next_hop = extended;
        // Node 1 says IPv6 also for IPv4: it has no IPv4 address that it would name.
        net.peer(client, config);
    }
    // A third client, which does not understand it, over IPv4.
    net.run_for(20);
    let far = PeerConfig {
        remote_address: address6(3),
        reflector_client: true,
        extended_next_hop: true,
        ..peer_config(3)
    };
    net.peer(0, far);
    let attributes = crate::wire::Attributes {
        next_hop: Some(address6(3)),
        ..Default::default()
    };
    // Played: node 3 dials over IPv6 and announces IPv4 behind IPv6.
    let now = net.now;
    let (local, remote) = (
        std::net::SocketAddr::new(address6(0), 179),
        std::net::SocketAddr::new(address6(3), 40000),
    );
    let connection = net.nodes[0]
        .speaker
        .handle_incoming(now, local, remote)
        .unwrap();
    let open = crate::wire::Open {
        asn: 64512,
        hold_time_seconds: 90,
        router_id: [10, 0, 0, 4].into(),
        capabilities: vec![
            crate::wire::Capability::Multiprotocol(Family::Ipv4Unicast),
            crate::wire::Capability::ExtendedNextHop(vec![(
                Family::Ipv4Unicast,
                crate::wire::NextHopAfi::Ipv6,
            )]),
        ],
    };
    let codec = crate::wire::Codec {
        extended_next_hop: true,
        families: vec![Family::Ipv4Unicast],
        ..crate::wire::Codec::initial()
    };
    let mut bytes = Vec::new();
    codec.encode(&crate::wire::Message::Open(open), &mut bytes);
    codec.encode(&crate::wire::Message::Keepalive, &mut bytes);
    codec.encode_announce(&attributes, &[prefix(BLOCK).into()], &mut bytes);
    net.nodes[0].speaker.handle_bytes(now, connection, &bytes);
    net.settle();
    let next_hops = |node: usize| net.nodes[node].speaker.next_hops(&prefix(BLOCK));
    assert_eq!(next_hops(0), [address6(3)]);
    assert_eq!(next_hops(1), [address6(3)]);
    assert!(!net.has(2, BLOCK));
}

#[test]
fn a_peer_says_its_name_and_its_software() {
    let mut net = Net::new(2);
    net.replace(
        1,
        crate::config::SpeakerConfig {
            hostname: Some("node-7".to_owned()),
            domain: Some("rack2.example".to_owned()),
            software: Some("Caracal 0.1".to_owned()),
            ..speaker_config(1)
        },
    );
    net.peer(0, peer_config(1));
    net.peer(1, peer_config(0));
    net.run_for(20);
    let view = net.view(0, 1);
    assert_eq!(view.hostname.as_deref(), Some("node-7.rack2.example"));
    assert_eq!(view.software.as_deref(), Some("Caracal 0.1"));
    let other = net.view(1, 0);
    assert_eq!((other.hostname, other.software), (None, None));
    assert_eq!(
        view.capabilities,
        [
            "route-refresh",
            "enhanced-route-refresh",
            "extended-message",
            "four-octet-as",
            "graceful-restart"
        ]
    );
}
