//! What we encode we decode again, equal, whatever it is.

#![allow(clippy::expect_used, clippy::panic, reason = "how a test fails")]

mod generate;

use caracal_bgp::wire::{Attributes, Codec, Family, Message, Nlri, Update};
use generate::{any_codec, attributes, codec, config, encode, message_for};
use generate::{link_local, next_hop_v4, next_hop_v6};
use generate::{prefix_v4, prefix_v6};
use ipnet::IpNet;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// Cuts what the encoder appended into UPDATEs.
fn updates(codec: &Codec, mut octets: &[u8]) -> Vec<Update> {
    let mut updates = Vec::new();
    while !octets.is_empty() {
        let length = codec.frame(octets).expect("a frame").expect("a header");
        let (message, rest) = octets.split_at(length);
        match codec.decode(message) {
            Ok(Message::Update(update)) => updates.push(update),
            other => panic!("not an UPDATE: {other:?}"),
        }
        octets = rest;
    }
    updates
}

/// Announces and checks that everything arrives once, in order, with these attributes.
fn check_announce(codec: &Codec, attributes: &Attributes, prefixes: &[Nlri]) {
    let mut out = Vec::new();
    let count = codec.encode_announce(attributes, prefixes, &mut out);
    let updates = updates(codec, &out);
    assert_eq!(updates.len(), count);
    let mut announced = Vec::new();
    for update in updates {
        assert_eq!(update.errors, []);
        let mut received = update.attributes;
        announced.extend(update.announced);
        if let Some(reach) = update.mp_announced {
            received.next_hop = Some(reach.next_hop);
            received.next_hop_link_local = reach.link_local;
            announced.extend(reach.prefixes);
        }
        assert_eq!(&received, attributes);
    }
    assert_eq!(announced, prefixes);
}

proptest! {
    #![proptest_config(config(800))]

    #[test]
    fn a_message_survives_the_wire(
        (codec, message) in any_codec().prop_flat_map(|codec| {
            let message = message_for(&codec);
            (Just(codec), message)
        })
    ) {
        prop_assert_eq!(codec.decode(&encode(&codec, &message)), Ok(message));
    }

    #[test]
    fn every_prefix_that_is_announced_arrives(
        codec in any_codec(),
        attributes in attributes(),
        next_hops in (next_hop_v4(), next_hop_v6(), option::of(link_local())),
        v4 in vec(prefix_v4(), 1..300),
        v6 in vec(prefix_v6(), 1..100),
        first_path_id in 1u32..,
        message_octets_max in 2500usize..=4096,
    ) {
        let long = codec.message_octets_max > 4096;
        let codec = Codec { message_octets_max: if long { 65535 } else { message_octets_max }, ..codec };
        let (next_hop_v4, next_hop_v6, link_local) = next_hops;
        let mut cases = vec![
            (next_hop_v4.into(), None, v4.clone()),
            (next_hop_v6.into(), link_local, v6.clone()),
        ];
        if codec.extended_next_hop {
            cases.push((next_hop_v6.into(), link_local, [v4, v6].concat()));
        }
        for (next_hop, next_hop_link_local, mut prefixes) in cases {
            for (index, one) in (0..).zip(&mut prefixes) {
                if codec.add_path_send.contains(&Family::of(&one.prefix)) {
                    one.path_id = first_path_id.wrapping_add(index);
                }
            }
            let attributes = Attributes {
                next_hop: Some(next_hop),
                next_hop_link_local,
                aigp: attributes.aigp.clone().filter(|_| codec.aigp),
                ..attributes.clone()
            };
            let fits = codec.encode_announce(&attributes, &prefixes, &mut Vec::new()) > 0;
            // A path of a thousand hops leaves no room in a short message; then there is nothing to check.
            prop_assert!(fits || !long);
            if fits {
                check_announce(&codec, &attributes, &prefixes);
            }
        }
    }

    #[test]
    fn every_prefix_that_is_withdrawn_arrives(
        prefixes in vec(prop_oneof![prefix_v4(), prefix_v6()], 1..600),
        message_octets_max in 60usize..=4096,
    ) {
        let codec = Codec { message_octets_max, ..codec(true) };
        let mut out = Vec::new();
        let count = codec.encode_withdraw(&prefixes, &mut out);
        let updates = updates(&codec, &out);
        prop_assert_eq!(updates.len(), count);
        let withdrawn: Vec<_> = updates.into_iter().flat_map(|update| update.withdrawn).collect();
        let (v4, v6): (Vec<_>, Vec<_>) = prefixes.into_iter().partition(|one| matches!(one.prefix, IpNet::V4(_)));
        prop_assert_eq!(withdrawn, [v4, v6].concat());
    }
}
