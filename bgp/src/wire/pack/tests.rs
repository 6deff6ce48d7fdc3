//! Packing: nothing lost, nothing twice, as few messages as can be, none too long.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::*;
use crate::wire::testing::{codec, decode_all, nlri};
use crate::wire::{AsPath, Message, Update};

fn blocks_v4(count: u32) -> Vec<Nlri> {
    let block = |index: u32| Ipv4Net::new(Ipv4Addr::from(0x0a00_0000 + (index << 6)), 26);
    (0..count)
        .map(|index| IpNet::from(block(index).expect("a length")).into())
        .collect()
}

fn blocks_v6(count: u16) -> Vec<Nlri> {
    let block = |index| Ipv6Net::new(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, index, 0), 122);
    (0..count)
        .map(|index| IpNet::from(block(index).expect("a length")).into())
        .collect()
}

fn attributes(next_hop: &str) -> Attributes {
    Attributes {
        as_path: AsPath::from_sequence(vec![64512]),
        next_hop: Some(next_hop.parse().expect("an address")),
        local_pref: Some(100),
        communities: vec![1, 2, 3],
        ..Attributes::default()
    }
}

fn updates(octets: &[u8]) -> Vec<Update> {
    let of = |message| match message {
        Message::Update(update) => update,
        other => panic!("not an UPDATE: {other:?}"),
    };
    decode_all(&codec(), octets).into_iter().map(of).collect()
}

#[test]
fn many_ipv4_prefixes_take_few_messages_with_equal_attributes() {
    let attributes = attributes("192.0.2.1");
    let prefixes = blocks_v4(3000);
    let mut out = vec![];
    let count = codec().encode_announce(&attributes, &prefixes, &mut out);

    let updates = updates(&out);
    assert_eq!(updates.len(), count);
    // 19 + 4 of header and lengths, 4 + 9 + 7 + 7 + 15 of attributes, 5 for each prefix.
    assert_eq!(count, 3000usize.div_ceil((4096 - 23 - 42) / 5));
    for update in &updates {
        assert_eq!((&update.attributes, &update.errors), (&attributes, &vec![]));
        assert_eq!((&update.mp_announced, update.withdrawn.len()), (&None, 0));
    }
    let announced: Vec<_> = updates
        .into_iter()
        .flat_map(|update| update.announced)
        .collect();
    assert_eq!(announced, prefixes);
}

#[test]
fn many_ipv6_prefixes_stand_first_among_the_attributes() {
    let attributes = attributes("fd00::1");
    let prefixes = blocks_v6(1000);
    let mut out = vec![];
    let count = codec().encode_announce(&attributes, &prefixes, &mut out);
    assert_eq!(out[24], attribute_code::MP_REACH_NLRI);

    let updates = updates(&out);
    assert_eq!(updates.len(), count);
    // 23 as above, 25 before the prefixes in MP_REACH_NLRI, 35 of other attributes, 17 each.
    assert_eq!(count, 1000usize.div_ceil((4096 - 23 - 25 - 35) / 17));
    let mut announced = vec![];
    for update in updates {
        assert_eq!((update.announced.len(), &update.errors), (0, &vec![]));
        let reach = update.mp_announced.expect("announced");
        assert_eq!(
            (Some(reach.next_hop), reach.link_local),
            (attributes.next_hop, None)
        );
        let with_next_hop = Attributes {
            next_hop: attributes.next_hop,
            ..update.attributes
        };
        assert_eq!(with_next_hop, attributes);
        announced.extend(reach.prefixes);
    }
    assert_eq!(announced, prefixes);
}

#[test]
fn withdrawals_of_both_families_are_packed_apart() {
    let prefixes: Vec<_> = blocks_v6(700)
        .into_iter()
        .zip(blocks_v4(700))
        .flat_map(|(six, four)| [six, four])
        .collect();
    let mut out = vec![];
    let count = codec().encode_withdraw(&prefixes, &mut out);
    let updates = updates(&out);
    assert_eq!((count, updates.len()), (1 + 3, 4));
    let withdrawn: Vec<_> = updates
        .into_iter()
        .flat_map(|update| update.withdrawn)
        .collect();
    assert_eq!(withdrawn, [blocks_v4(700), blocks_v6(700)].concat());
}

#[test]
fn the_buffer_is_appended_to() {
    let mut out = vec![];
    let two = [nlri("10.0.0.0/8"), nlri("10.0.0.0/26")];
    codec().encode_announce(&attributes("192.0.2.1"), &two, &mut out);
    codec().encode_announce(&attributes("fd00::1"), &blocks_v6(2), &mut out);
    codec().encode_withdraw(&two, &mut out);
    codec().encode_end_of_rib(Family::Ipv4Unicast, &mut out);
    codec().encode_end_of_rib(Family::Ipv6Unicast, &mut out);
    let updates = updates(&out);
    assert_eq!(updates.len(), 5);
    assert_eq!(updates[0].announced, two);
    assert_eq!(
        updates[1]
            .mp_announced
            .as_ref()
            .map(|reach| reach.prefixes.len()),
        Some(2)
    );
    assert_eq!(updates[2].withdrawn, two);
    assert_eq!(updates[3].end_of_rib, Some(Family::Ipv4Unicast));
    assert_eq!(updates[4].end_of_rib, Some(Family::Ipv6Unicast));
}

#[test]
fn a_message_may_be_full_to_its_last_octet() {
    for octets_max in 4000..4040 {
        let codec = Codec {
            message_octets_max: octets_max,
            ..codec()
        };
        for (next_hop, prefixes) in [("192.0.2.1", blocks_v4(1000)), ("fd00::1", blocks_v6(300))] {
            let mut out = vec![];
            let count = codec.encode_announce(&attributes(next_hop), &prefixes, &mut out);
            let octets = prefix::encoded_octets(&prefixes[0], false);
            let first = codec.frame(&out).expect("a frame").expect("a header");
            assert!(count > 1 && first + octets > octets_max && first <= octets_max);
            assert_eq!(decode_all(&codec, &out).len(), count);

            out.clear();
            let count = codec.encode_withdraw(&prefixes, &mut out);
            let first = codec.frame(&out).expect("a frame").expect("a header");
            assert!(count > 1 && first + octets > octets_max && first <= octets_max);
            assert_eq!(decode_all(&codec, &out).len(), count);
        }
    }
}

#[test]
fn what_cannot_be_announced_is_no_message_at_all() {
    let mut out = vec![7];
    let none = Attributes::default();
    assert_eq!(codec().encode_announce(&none, &blocks_v4(1), &mut out), 0);
    assert_eq!(
        codec().encode_announce(&attributes("192.0.2.1"), &[], &mut out),
        0
    );
    assert_eq!(
        codec().encode_announce(&attributes("192.0.2.1"), &blocks_v6(1), &mut out),
        0
    );
    assert_eq!(
        codec().encode_announce(&attributes("fd00::1"), &blocks_v4(1), &mut out),
        0
    );
    assert_eq!(codec().encode_withdraw(&[], &mut out), 0);
    assert_eq!(out, [7]);
}

#[test]
fn attributes_without_room_for_a_prefix_are_no_message() {
    for next_hop in ["192.0.2.1", "fd00::1"] {
        let prefixes = if next_hop.contains(':') {
            blocks_v6(3)
        } else {
            blocks_v4(3)
        };
        let mut encoded = 0;
        for communities in 980..1030 {
            let attributes = Attributes {
                communities: vec![1; communities],
                ..attributes(next_hop)
            };
            let mut out = vec![7];
            match codec().encode_announce(&attributes, &prefixes, &mut out) {
                0 => assert_eq!(out, [7]),
                count => {
                    assert_eq!(decode_all(&codec(), &out[1..]).len(), count);
                    encoded += 1;
                }
            }
        }
        assert!((1..50).contains(&encoded), "{encoded} of 50");
    }
    // More than even the longest message, whose length field cannot say it.
    let attributes = Attributes {
        large_communities: vec![(1, 2, 3); 6000],
        ..attributes("192.0.2.1")
    };
    let extended = Codec {
        message_octets_max: 65535,
        ..codec()
    };
    let mut out = vec![];
    assert_eq!(
        extended.encode_announce(&attributes, &blocks_v4(1), &mut out),
        0
    );
    assert!(out.is_empty());
}

/// RFC 8950 §3.
#[test]
fn ipv4_prefixes_have_an_ipv6_next_hop_where_that_was_agreed() {
    let extended = Codec {
        extended_next_hop: true,
        ..codec()
    };
    let attributes = Attributes {
        next_hop_link_local: Some("fe80::7".parse().expect("an address")),
        ..attributes("fd00::1")
    };
    // Both families at once, since one next hop serves both.
    let prefixes = [blocks_v4(1000), blocks_v6(2)].concat();
    let mut out = vec![];
    let count = extended.encode_announce(&attributes, &prefixes, &mut out);
    let mut announced = vec![];
    let messages = decode_all(&extended, &out);
    assert_eq!((count, messages.len()), (3, 3));
    for message in messages {
        let Message::Update(update) = message else {
            panic!("not an UPDATE: {message:?}");
        };
        assert_eq!((update.errors, update.announced), (vec![], vec![]));
        let reach = update.mp_announced.expect("announced");
        assert_eq!(Some(reach.next_hop), attributes.next_hop);
        assert_eq!(reach.link_local, attributes.next_hop_link_local);
        announced.extend(reach.prefixes);
    }
    assert_eq!(announced, prefixes);
    // To a peer that did not agree, nothing of it.
    assert_eq!(
        codec().encode_announce(&attributes, &prefixes, &mut vec![]),
        0
    );
}

/// RFC 7911 §3.
#[test]
fn path_identifiers_are_written_for_the_families_that_agreed() {
    let agreed = Codec {
        add_path_send: vec![Family::Ipv6Unicast],
        add_path_receive: vec![Family::Ipv6Unicast],
        ..codec()
    };
    let mut v6: Vec<Nlri> = [blocks_v6(300), blocks_v6(300)].concat();
    for (path_id, one) in (1..).zip(&mut v6) {
        one.path_id = path_id;
    }
    let mut out = vec![];
    let count = agreed.encode_announce(&attributes("fd00::1"), &v6, &mut out);
    assert_eq!(count, 600usize.div_ceil((4096 - 23 - 25 - 35) / 21));
    agreed.encode_announce(&attributes("192.0.2.1"), &blocks_v4(3), &mut out);
    agreed.encode_withdraw(&[v6.clone(), blocks_v4(3)].concat(), &mut out);
    let (mut announced, mut withdrawn) = (vec![], vec![]);
    for message in decode_all(&agreed, &out) {
        let Message::Update(update) = message else {
            panic!("not an UPDATE: {message:?}");
        };
        announced.extend(update.mp_announced.into_iter().flat_map(|mp| mp.prefixes));
        announced.extend(update.announced);
        withdrawn.extend(update.withdrawn);
    }
    assert_eq!(announced, [v6.clone(), blocks_v4(3)].concat());
    assert_eq!(withdrawn, [blocks_v4(3), v6].concat());
}
