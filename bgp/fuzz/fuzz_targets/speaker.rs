//! What a peer says behind a good OPEN, beside another one that looks on.

#![no_main]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use caracal_bgp::wire::{Capability, Codec, Family, Message, Open};
use caracal_bgp::{ConnectionId, LocalPath, PeerConfig, Speaker, SpeakerConfig, Time};
use libfuzzer_sys::fuzz_target;

const ASN: u32 = 64512;
const TURNS_MAX: usize = 10_000;
const NOW: Time = Time::from_micros(1);

fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, last)
}

fn connect(speaker: &mut Speaker, last: u8, asn: u32) -> ConnectionId {
    let (local, remote) = (
        SocketAddr::new(address(1).into(), 179),
        SocketAddr::new(address(last).into(), 40000),
    );
    let connection = speaker.handle_incoming(NOW, local, remote).expect("a peer");
    let capabilities = vec![
        Capability::Multiprotocol(Family::Ipv4Unicast),
        Capability::Multiprotocol(Family::Ipv6Unicast),
        Capability::RouteRefresh,
        Capability::FourOctetAs(asn),
    ];
    let open = Open {
        asn,
        hold_time_seconds: 0,
        router_id: address(last),
        capabilities,
    };
    let mut octets = Vec::new();
    Codec::initial().encode(&Message::Open(open), &mut octets);
    Codec::initial().encode(&Message::Keepalive, &mut octets);
    speaker.handle_bytes(NOW, connection, &octets);
    connection
}

/// Takes all outputs; those for the onlooker must be good messages.
fn drain(speaker: &mut Speaker, onlooker: ConnectionId) {
    let codec = Codec {
        four_octet_as: true,
        families: Family::ALL.to_vec(),
        ..Codec::initial()
    };
    let mut turns = 0;
    let mut turn = || {
        turns += 1;
        assert!(turns < TURNS_MAX, "work without end");
    };
    while speaker.poll_action().is_some() {
        turn();
    }
    while let Some(connection) = speaker.poll_ready() {
        let mut out = Vec::new();
        while speaker.poll_transmit(NOW, connection, &mut out, 65536) {
            turn();
        }
        let mut rest = out.as_slice();
        while connection == onlooker && !rest.is_empty() {
            let length = codec.frame(rest).expect("a header").expect("whole");
            match codec.decode(&rest[..length]).expect("a good message") {
                Message::Update(update) => assert!(update.errors.is_empty(), "{update:?}"),
                Message::Notification(last) => panic!("{last}"),
                _ => {}
            }
            rest = &rest[length..];
        }
    }
    while speaker.poll_event().is_some() {
        turn();
    }
    while speaker.poll_route_change().is_some() {
        turn();
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((options, octets)) = input.split_first() else {
        return;
    };
    let asn = if options & 1 == 0 { ASN } else { 65001 };
    let mut speaker = Speaker::new(SpeakerConfig::new(ASN, address(1)), NOW);
    for (last, asn) in [(2, asn), (3, ASN)] {
        speaker.set_peer(
            NOW,
            PeerConfig {
                passive: true,
                families: Family::ALL.to_vec(),
                hold_time: Duration::ZERO,
                reflector_client: options & 2 != 0 && last == 2 && asn == ASN,
                ..PeerConfig::new(address(last).into(), asn, ASN)
            },
        );
    }
    let local = "10.233.0.0/26".parse().expect("a prefix");
    speaker.originate(NOW, local, LocalPath::default());
    let onlooker = connect(&mut speaker, 3, ASN);
    drain(&mut speaker, onlooker);
    let enemy = connect(&mut speaker, 2, asn);
    drain(&mut speaker, onlooker);
    let piece = usize::from(options >> 2) * 16 + 1;
    for piece in octets.chunks(piece) {
        speaker.handle_bytes(NOW, enemy, piece);
        drain(&mut speaker, onlooker);
    }
    let peers = speaker.peers(NOW);
    let of = |last| {
        peers
            .iter()
            .find(|peer| peer.address == IpAddr::from(address(last)))
    };
    let view = of(3).expect("a peer");
    assert_eq!((view.state.as_str(), view.flaps), ("Established", 0));
    assert_eq!(speaker.advertised(view.address).len(), view.prefixes_sent);
});
