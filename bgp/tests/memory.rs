//! What a reflector keeps of each prefix, in octets and allocations: counts, which do not depend on the machine.
//!
//! One client sends, another one hears all of it, and nothing is on its way any more when it is counted.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "how a test fails, and what it has counted"
)]

use std::net::{Ipv4Addr, SocketAddr};

use allocation_counter::AllocationInfo;
use caracal_bgp::wire::{
    AsPath, Attributes, Capability, Codec, Family, Message, Nlri, Open, Segment,
};
use caracal_bgp::{ConnectionId, PeerConfig, Speaker, SpeakerConfig, Time};
use ipnet::Ipv4Net;

const NOW: Time = Time::from_micros(1);
const PREFIXES: u32 = 20_000;

fn address(client: u32) -> Ipv4Addr {
    Ipv4Addr::from(0xac1f_0100 + client)
}

fn codec() -> Codec {
    Codec {
        four_octet_as: true,
        families: Family::ALL.to_vec(),
        ..Codec::initial()
    }
}

/// A speaker with two clients that are up.
fn reflector() -> (Speaker, [ConnectionId; 2]) {
    let config = SpeakerConfig::new(64_512, Ipv4Addr::new(172, 31, 0, 1));
    let mut speaker = Speaker::new(config, NOW);
    let connections = [0, 1].map(|client| {
        let peer = PeerConfig {
            passive: true,
            reflector_client: true,
            ..PeerConfig::new(address(client).into(), 64_512, 64_512)
        };
        speaker.set_peer(NOW, peer);
        let local = SocketAddr::from(([172, 31, 0, 1], 179));
        let remote = SocketAddr::from((address(client), 40_000));
        let connection = speaker.handle_incoming(NOW, local, remote).expect("a peer");
        let families = Family::ALL.map(Capability::Multiprotocol).into_iter();
        let open = Open {
            asn: 64_512,
            hold_time_seconds: 90,
            router_id: address(client),
            capabilities: families.chain([Capability::FourOctetAs(64_512)]).collect(),
        };
        let mut octets = Vec::new();
        codec().encode(&Message::Open(open), &mut octets);
        codec().encode(&Message::Keepalive, &mut octets);
        speaker.handle_bytes(NOW, connection, &octets);
        drain(&mut speaker);
        connection
    });
    (speaker, connections)
}

fn drain(speaker: &mut Speaker) -> usize {
    let mut out = Vec::with_capacity(128 * 1024);
    let mut octets = 0;
    while speaker.poll_action().is_some() {}
    while let Some(connection) = speaker.poll_ready() {
        while speaker.poll_transmit(NOW, connection, &mut out, 64 * 1024) {}
        octets += out.len();
        out.clear();
    }
    while speaker.poll_event().is_some() {}
    while speaker.poll_route_change().is_some() {}
    octets
}

/// All prefixes, `a_set` with equal attributes.
fn announcements(a_set: u32) -> Vec<u8> {
    let mut octets = Vec::new();
    for set in 0..PREFIXES / a_set {
        let attributes = Attributes {
            next_hop: Some(Ipv4Addr::from(0xac1f_0100 + set).into()),
            med: Some(1),
            local_pref: Some(100),
            communities: vec![0xfc00_0000 + set, set],
            as_path: AsPath(vec![Segment::Sequence(vec![64_600, 64_700 + set % 100])]),
            ..Attributes::default()
        };
        let numbers = set * a_set..(set + 1) * a_set;
        let prefix = |number: u32| Ipv4Net::new(Ipv4Addr::from(0x0a00_0000 + (number << 6)), 26);
        let nlris: Vec<Nlri> = numbers
            .map(|number| Nlri::from(ipnet::IpNet::V4(prefix(number).expect("a prefix"))))
            .collect();
        codec().encode_announce(&attributes, &nlris, &mut octets);
    }
    octets
}

/// Octets that are kept, and allocations that were made, of a prefix.
fn cost(a_set: u32) -> (f64, f64) {
    let (mut speaker, [sender, _]) = reflector();
    let octets = announcements(a_set);
    let mut sent = 0;
    let info: AllocationInfo = allocation_counter::measure(|| {
        for piece in octets.chunks(64 * 1024) {
            speaker.handle_bytes(NOW, sender, piece);
            sent += drain(&mut speaker);
        }
    });
    // ORIGINATOR_ID and CLUSTER_LIST have come to each UPDATE.
    assert!(sent > octets.len(), "the other client has heard of it");
    let each = |total: f64| total / f64::from(PREFIXES);
    let (kept, made) = (
        each(info.bytes_current as f64),
        each(info.count_total as f64),
    );
    println!("{a_set} prefixes a set: {kept:.0} octets kept, {made:.2} allocations made of each");
    (kept, made)
}

#[test]
fn a_prefix_with_attributes_of_its_own_is_kept_in_few_octets() {
    let (kept, made) = cost(1);
    assert!(kept < 280.0, "{kept} octets");
    assert!(made < 8.0, "{made} allocations");
}

#[test]
fn a_prefix_that_shares_its_attributes_has_no_heap_of_its_own() {
    let (kept, made) = cost(100);
    assert!(kept < 150.0, "{kept} octets");
    assert!(made < 0.25, "{made} allocations");
}
