use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

use super::{Partial, Reflection};
use crate::wire::{
    Aigp, AsPath, Attributes, Codec, Family, Nlri, Origin, Segment, UnknownAttribute,
};

fn packed(attributes: &Attributes) -> Vec<u8> {
    let mut octets = Vec::new();
    attributes.pack(&mut octets);
    octets
}

fn address() -> impl Strategy<Value = Ipv4Addr> {
    any::<u32>().prop_map(Ipv4Addr::from_bits)
}

fn address_v6() -> impl Strategy<Value = Ipv6Addr> {
    any::<u128>().prop_map(Ipv6Addr::from_bits)
}

fn next_hop() -> impl Strategy<Value = Option<IpAddr>> {
    of(prop_oneof![
        address().prop_map(IpAddr::V4),
        address_v6().prop_map(IpAddr::V6),
    ])
}

fn as_path() -> impl Strategy<Value = AsPath> {
    let segment = (0..4u8, vec(any::<u32>(), 1..=255)).prop_map(|(kind, asns)| match kind {
        0 => Segment::Sequence(asns),
        1 => Segment::Set(asns),
        2 => Segment::ConfedSequence(asns),
        _ => Segment::ConfedSet(asns),
    });
    vec(segment, 0..3).prop_map(AsPath)
}

fn unknown() -> impl Strategy<Value = Vec<UnknownAttribute>> {
    // Any code and flags at all.
    let one = (any::<u8>(), any::<u8>(), vec(any::<u8>(), 0..300));
    let one = one.prop_map(|(code, flags, value)| UnknownAttribute { code, flags, value });
    vec(one, 0..3)
}

fn any_attributes() -> impl Strategy<Value = Attributes> {
    let origin = prop_oneof![
        Just(Origin::Igp),
        Just(Origin::Egp),
        Just(Origin::Incomplete)
    ];
    let first = (origin, as_path(), next_hop(), of(address_v6()));
    let numbers = (of(any::<u32>()), of(any::<u32>()), of(any::<u32>()));
    let aggregation = (any::<bool>(), of((any::<u32>(), address())));
    let large = any::<(u32, u32, u32)>();
    let communities = (
        vec(any::<u32>(), 0..100),
        vec(any::<u64>(), 0..40),
        vec(large, 0..30),
    );
    let reflection = (of(address()), vec(address(), 0..80));
    let aigp = of(any::<u64>().prop_map(Aigp::new));
    let rest = (aigp, any::<u8>().prop_map(Partial), unknown());
    let all = (first, numbers, aggregation, communities, reflection, rest);
    all.prop_map(|all| {
        let (first, numbers, aggregation, communities, reflection, rest) = all;
        Attributes {
            origin: first.0,
            as_path: first.1,
            next_hop: first.2,
            next_hop_link_local: first.3,
            med: numbers.0,
            local_pref: numbers.1,
            otc: numbers.2,
            atomic_aggregate: aggregation.0,
            aggregator: aggregation.1,
            communities: communities.0,
            extended_communities: communities.1,
            large_communities: communities.2,
            originator_id: reflection.0,
            cluster_list: reflection.1,
            aigp: rest.0,
            partial: rest.1,
            unknown: rest.2,
        }
    })
}

proptest! {
    #[test]
    fn what_is_packed_is_what_is_unpacked(attributes in any_attributes()) {
        prop_assert_eq!(Attributes::unpack(&packed(&attributes)), attributes);
    }

    #[test]
    fn next_hops_alone_are_those_of_all(attributes in any_attributes()) {
        let next_hops = Attributes::unpack_next_hops(&packed(&attributes));
        prop_assert_eq!(next_hops, (attributes.next_hop, attributes.next_hop_link_local));
    }

    #[test]
    fn any_octets_unpack_to_something(octets in vec(any::<u8>(), 0..200)) {
        Attributes::unpack(&octets);
        Attributes::unpack_next_hops(&octets);
    }
}

#[test]
fn nothing_is_there_that_was_not_put_in() {
    let none = Attributes::default();
    assert_eq!(Attributes::unpack(&packed(&none)), none);
    assert_eq!(packed(&none).len(), 1 + 4 + 3);
}

#[test]
fn more_than_a_message_holds_is_kept() {
    let many = Attributes {
        communities: (0..40_000).collect(),
        ..Attributes::default()
    };
    assert_eq!(Attributes::unpack(&packed(&many)), many);
}

#[test]
fn a_path_of_a_node_takes_some_fifty_octets() {
    let attributes = Attributes {
        as_path: AsPath(vec![Segment::Sequence(vec![64_512, 64_513])]),
        next_hop: Some(Ipv4Addr::new(192, 0, 2, 1).into()),
        local_pref: Some(100),
        originator_id: Some(Ipv4Addr::new(192, 0, 2, 1)),
        cluster_list: vec![Ipv4Addr::new(192, 0, 2, 2)],
        ..Attributes::default()
    };
    assert_eq!(packed(&attributes).len(), 1 + 4 + 3 + 10 + 4 * 7);
}

/// What goes out of packed attributes is what goes out of the same attributes as values.
fn check_encoded(codec: &Codec, attributes: &Attributes, reflection: Option<Reflection>) {
    let prefixes = [nlri("10.0.0.0/8"), nlri("10.1.0.0/16"), nlri("fd00::/64")];
    for prefixes in [&prefixes[..2], &prefixes[2..], &prefixes[..]] {
        let mut expected = Vec::new();
        let mut values = attributes.clone();
        if let Some(reflection) = reflection {
            reflection.apply(&mut values);
        }
        let count = codec.encode_announce(&values, prefixes, &mut expected);
        let mut out = Vec::new();
        let packed = packed(attributes);
        let written = codec.encode_announce_packed(&packed, reflection, prefixes, &mut out);
        assert_eq!((written, out), (count, expected));
    }
}

fn nlri(prefix: &str) -> Nlri {
    prefix.parse::<ipnet::IpNet>().unwrap().into()
}

fn any_codec() -> impl Strategy<Value = Codec> {
    any::<[bool; 4]>().prop_map(|[four_octet_as, aigp, extended, short]| Codec {
        four_octet_as,
        aigp,
        extended_next_hop: extended,
        message_octets_max: if short { 4096 } else { 65_535 },
        families: Family::ALL.to_vec(),
        ..Codec::initial()
    })
}

proptest! {
    #[test]
    fn packed_attributes_go_out_as_they_would_unpacked(
        attributes in any_attributes(),
        codec in any_codec(),
        reflects in any::<bool>(),
        is_known in any::<bool>(),
    ) {
        let mut attributes = attributes;
        if is_known {
            attributes.unknown.clear();
        }
        // The encoder wants them in order, and of codes that are not its own.
        attributes.unknown.retain(|unknown| unknown.code > 128);
        attributes.unknown.sort_by_key(|unknown| unknown.code);
        let reflection = Reflection {
            originator_id: Ipv4Addr::new(192, 0, 2, 7),
            cluster_id: Ipv4Addr::new(192, 0, 2, 8),
            local_pref: 100,
        };
        check_encoded(&codec, &attributes, reflects.then_some(reflection));
    }
}
