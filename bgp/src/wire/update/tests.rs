//! UPDATE: a table row for each malformation that RFC 7606 names, and what becomes of the prefixes.

use super::*;
use crate::wire::attributes::{Aigp, AsPath, Origin, Partial, UnknownAttribute};
use crate::wire::testing::{
    PREFIX, attribute, codec, codec_external, codec_two_octets, decode_update, encode, mandatory,
    nlri, prefix, update,
};
use crate::wire::{Message, Notification};

mod families;
mod malformed;
pub(crate) use families::lost_families;
pub(crate) use malformed::malformed_attributes;
mod two_octets;

/// A good UPDATE for [`prefix`] with these attributes behind the mandatory ones.
fn update_with(extra: &[Vec<u8>]) -> Vec<u8> {
    update(
        &[],
        &[mandatory().concat(), extra.concat()].concat(),
        &PREFIX,
    )
}

/// MP_REACH_NLRI for 2001:db8::/32 by 2001:db8::1.
fn mp_reach() -> Vec<u8> {
    let next_hop = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).octets();
    let value = [&[0, 2, 1, 16], &next_hop[..], &[0, 32, 0x20, 1, 0x0d, 0xb8]].concat();
    attribute(0x80, 14, &value)
}

/// MP_UNREACH_NLRI for 2001:db8:1::/48.
fn mp_unreach() -> Vec<u8> {
    attribute(0x80, 15, &[0, 2, 1, 48, 0x20, 1, 0x0d, 0xb8, 0, 1])
}

fn everything() -> Update {
    Update {
        withdrawn: vec![nlri("10.0.0.0/8"), nlri("2001:db8:1::/48")],
        announced: vec![nlri("198.51.100.0/24"), nlri("203.0.113.64/26")],
        attributes: Attributes {
            origin: Origin::Incomplete,
            as_path: "64512 4200000000 {1 2}".parse().expect("a path"),
            next_hop: Some(IpAddr::from([192, 0, 2, 1])),
            next_hop_link_local: None,
            med: Some(7),
            local_pref: Some(200),
            atomic_aggregate: true,
            aggregator: Some((4200000000, [192, 0, 2, 9].into())),
            communities: vec![64512 << 16 | 1, 0xffff_ff01],
            extended_communities: vec![0x0002_fc00_0000_0001],
            large_communities: vec![(1, 2, 3), (u32::MAX, 0, 1)],
            originator_id: Some([192, 0, 2, 8].into()),
            cluster_list: vec![[192, 0, 2, 6].into(), [192, 0, 2, 7].into()],
            aigp: Some(Aigp::new(77)),
            otc: Some(64513),
            partial: Partial::default(),
            unknown: vec![UnknownAttribute {
                code: 11,
                flags: 0xe0,
                value: vec![1; 300],
            }],
        },
        mp_announced: Some(MpReach {
            family: Family::Ipv6Unicast,
            next_hop: "2001:db8::1".parse().expect("an address"),
            link_local: Some("fe80::1".parse().expect("an address")),
            prefixes: vec![nlri("2001:db8::/32"), nlri("::/0")],
        }),
        end_of_rib: None,
        disable_family: None,
        errors: vec![],
    }
}

/// Codes in the order in which they stand in an encoded UPDATE.
fn codes(octets: &[u8]) -> Vec<u8> {
    let fields = Fields::read(&octets[19..]).expect("three fields");
    let mut rest = fields.attributes;
    let mut codes = Vec::new();
    while let [flags, code, length @ ..] = rest {
        codes.push(*code);
        let (front, length) = match flags & 0x10 {
            0 => (3, usize::from(length[0])),
            _ => (4, usize::from(u16::from_be_bytes([length[0], length[1]]))),
        };
        rest = &rest[front + length..];
    }
    codes
}

#[test]
fn everything_at_once_survives_the_wire() {
    for codec in [codec(), codec_two_octets()] {
        let octets = encode(&codec, &Message::Update(everything()));
        assert_eq!(decode_update(&codec, &octets), Ok(everything()));
    }
}

#[test]
fn attributes_ascend_and_the_prefixes_come_first() {
    let octets = encode(&codec(), &Message::Update(everything()));
    assert_eq!(
        codes(&octets),
        [14, 15, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 16, 26, 32, 35]
    );
    let octets = encode(&codec_two_octets(), &Message::Update(everything()));
    assert_eq!(
        codes(&octets),
        [
            14, 15, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 16, 17, 18, 26, 32, 35
        ]
    );
}

#[test]
fn the_octets_of_an_update_are_those_of_the_rfc() {
    let update = Update {
        announced: vec![prefix()],
        attributes: Attributes {
            as_path: AsPath::from_sequence(vec![65000]),
            next_hop: Some(IpAddr::from([192, 0, 2, 1])),
            ..Attributes::default()
        },
        ..Update::default()
    };
    let octets = encode(&codec(), &Message::Update(update));
    assert_eq!(octets, update_with(&[]));
}

#[test]
fn a_withdrawal_has_no_attributes_but_its_own() {
    let withdrawal = Update {
        withdrawn: vec![nlri("10.0.0.0/8"), nlri("2001:db8::/32")],
        ..Update::default()
    };
    let octets = encode(&codec(), &Message::Update(withdrawal.clone()));
    assert_eq!(codes(&octets), [15]);
    assert_eq!(decode_update(&codec(), &octets), Ok(withdrawal));
}

#[test]
fn end_of_rib_is_an_update_of_nothing() {
    for (octets, family) in [
        (update(&[], &[], &[]), Family::Ipv4Unicast),
        (
            update(&[], &attribute(0x80, 15, &[0, 2, 1]), &[]),
            Family::Ipv6Unicast,
        ),
        (
            update(&[], &attribute(0x80, 15, &[0, 1, 1]), &[]),
            Family::Ipv4Unicast,
        ),
    ] {
        let marker = Update {
            end_of_rib: Some(family),
            ..Update::default()
        };
        assert_eq!(decode_update(&codec(), &octets), Ok(marker));
    }
}

#[test]
fn what_is_nearly_end_of_rib_is_not() {
    let empty_unreach = attribute(0x80, 15, &[0, 2, 1]);
    let origin = attribute(0x40, 1, &[0]);
    for octets in [
        update(&PREFIX, &empty_unreach, &[]),
        update(&[], &[empty_unreach.clone(), origin].concat(), &[]),
        update(&[], &mp_unreach(), &[]),
        // With flags that make it malformed.
        update(&[], &attribute(0xc0, 15, &[0, 2, 1]), &[]),
        // Of a family that was not agreed.
        update(&[], &attribute(0x80, 15, &[0, 1, 128]), &[]),
    ] {
        let decoded = decode_update(&codec(), &octets).expect("a good UPDATE");
        assert_eq!(decoded.end_of_rib, None);
    }
}

#[test]
fn an_update_that_says_nothing_is_not_sent() {
    // As of attributes without a prefix: it must not become End-of-RIB on its way through us.
    let octets = update(&[], &mandatory().concat(), &[]);
    let decoded = decode_update(&codec(), &octets).expect("good");
    assert_eq!(decoded, Update::default());
    assert!(encode(&codec(), &Message::Update(decoded)).is_empty());
}

#[test]
fn ipv4_in_the_multiprotocol_attributes_is_ipv4() {
    let reach = attribute(0x80, 14, &[0, 1, 1, 4, 192, 0, 2, 9, 0, 8, 10]);
    let unreach = attribute(0x80, 15, &[0, 1, 1, 8, 11]);
    let attributes = [reach, unreach, mandatory()[..2].concat()].concat();
    let decoded = decode_update(&codec(), &update(&[8, 12], &attributes, &[])).expect("good");
    assert_eq!(decoded.errors, []);
    assert_eq!(decoded.withdrawn, [nlri("12.0.0.0/8"), nlri("11.0.0.0/8")]);
    let reach = decoded.mp_announced.expect("announced");
    assert_eq!(reach.next_hop, IpAddr::from([192, 0, 2, 9]));
    assert_eq!(
        (reach.family, reach.prefixes),
        (Family::Ipv4Unicast, vec![nlri("10.0.0.0/8")])
    );
}

#[test]
fn a_second_next_hop_counts_only_when_it_is_link_local() {
    let with = |second: &str| {
        let second: Ipv6Addr = second.parse().expect("an address");
        let global = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
        let value = [
            &[0, 2, 1, 32],
            &global.octets()[..],
            &second.octets(),
            &[0, 0],
        ]
        .concat();
        let attributes = [attribute(0x80, 14, &value), mandatory()[..2].concat()].concat();
        let decoded = decode_update(&codec(), &update(&[], &attributes, &[])).expect("good");
        decoded.mp_announced.expect("announced").link_local
    };
    assert_eq!(
        with("fe80::7"),
        Some("fe80::7".parse().expect("an address"))
    );
    assert_eq!(with("::"), None);
    assert_eq!(with("2001:db8::1"), None);
}

#[test]
fn next_hop_says_nothing_about_ipv6() {
    // RFC 4760 §3: NEXT_HOP without NLRI is ignored; its absence is no fault.
    for attributes in [mandatory().concat(), mandatory()[..2].concat()] {
        let octets = update(&[], &[mp_reach(), attributes].concat(), &[]);
        let decoded = decode_update(&codec(), &octets).expect("good");
        assert_eq!(decoded.errors, []);
        assert_eq!(decoded.attributes.next_hop, None);
        assert_eq!(
            decoded.mp_announced.map(|reach| reach.prefixes),
            Some(vec![nlri("2001:db8::/32")])
        );
    }
}

#[test]
fn unknown_attributes_are_passed_on_with_the_partial_bit_or_dropped() {
    let octets = update_with(&[
        attribute(0xc0, 99, &[1, 2]),
        attribute(0x80, 98, &[3]),
        attribute(0xe0, 20, &[]),
        attribute(0xcf, 97, &[4]), // unused flag bits
    ]);
    let decoded = decode_update(&codec(), &octets).expect("good");
    assert_eq!(decoded.errors, []);
    let kept: Vec<_> = decoded
        .attributes
        .unknown
        .iter()
        .map(|one| (one.code, one.flags))
        .collect();
    assert_eq!(kept, [(20, 0xe0), (97, 0xc0), (99, 0xc0)]);

    let passed_on = encode(&codec(), &Message::Update(decoded));
    let decoded = decode_update(&codec(), &passed_on).expect("good");
    assert!(
        decoded
            .attributes
            .unknown
            .iter()
            .all(|one| one.flags == 0xe0)
    );
}

#[test]
fn redundant_large_communities_are_silently_removed() {
    let one = [0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
    let two = [0, 0, 0, 9, 0, 0, 0, 2, 0, 0, 0, 3];
    let octets = update_with(&[attribute(0xc0, 32, &[two, one, two, one, one].concat())]);
    let decoded = decode_update(&codec(), &octets).expect("good");
    assert_eq!(decoded.errors, []);
    assert_eq!(decoded.attributes.large_communities, [(9, 2, 3), (1, 2, 3)]);
}

#[test]
fn an_extended_length_may_say_what_a_short_one_could() {
    let origin = vec![0x50, 1, 0, 1, 1];
    let attributes = [origin, mandatory()[1..].concat()].concat();
    let decoded = decode_update(&codec(), &update(&[], &attributes, &PREFIX)).expect("good");
    assert_eq!(
        (decoded.attributes.origin, decoded.errors),
        (Origin::Egp, vec![])
    );
}

#[test]
fn an_error_reads_as_a_sentence() {
    let octets = update_with(&[
        attribute(0xc0, 8, &[1, 2, 3]),
        attribute(0xc0, 201, &[]),
        vec![0xc0, 201, 0],
    ]);
    let decoded = decode_update(&codec(), &octets).expect("no reset");
    let texts: Vec<_> = decoded.errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "COMMUNITIES: length 3, should be a multiple of 4, value 0x010203: treated as withdrawal",
            "attribute 201: repeated with value (none): attribute discarded",
        ]
    );
}

#[test]
fn treat_as_withdraw_takes_every_prefix_of_the_message() {
    let attributes = [
        mp_reach(),
        mp_unreach(),
        mandatory().concat(),
        attribute(0x80, 4, &[1]),
    ];
    let octets = update(&[8, 10], &attributes.concat(), &PREFIX);
    let decoded = decode_update(&codec(), &octets).expect("no reset");
    assert!(decoded.is_treated_as_withdraw());
    assert_eq!(
        decoded.withdrawn,
        [
            nlri("10.0.0.0/8"),
            nlri("2001:db8:1::/48"),
            prefix(),
            nlri("2001:db8::/32")
        ]
    );
    assert_eq!((decoded.announced, decoded.mp_announced), (vec![], None));
    assert_eq!(decoded.attributes, Attributes::default());
}

#[test]
fn complaints_do_not_grow_with_the_message() {
    // 1,300 repetitions of one attribute: one complaint about it.
    let repeated = vec![vec![0xc0, 99, 0]; 1300];
    let decoded = decode_update(&codec(), &update_with(&repeated)).expect("no reset");
    assert_eq!(decoded.errors.len(), 1);
    assert_eq!(decoded.attributes.unknown.len(), 1);
    // 4,000 octets in one value: some of them are shown.
    let long = update_with(&[[&[0xd0, 8, 0x0f, 0x01][..], &[7; 3841]].concat()]);
    let decoded = decode_update(&codec(), &long).expect("no reset");
    assert!(decoded.errors[0].detail.len() < 150);
}

/// RFC 4271 §5: "once set, must not be set back".
#[test]
fn the_partial_bit_of_what_we_know_is_passed_on() {
    let values: [(u8, &[u8]); 5] = [
        (7, &[0, 0, 0, 1, 192, 0, 2, 1]),
        (8, &[0, 1, 0, 2]),
        (16, &[0, 2, 0, 1, 0, 0, 0, 2]),
        (32, &[0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3]),
        (35, &[0, 0, 0, 7]),
    ];
    for set in 0..values.len() {
        let attributes: Vec<_> = values
            .iter()
            .enumerate()
            .map(|(index, (code, value))| {
                let flags = if index == set { 0xe0 } else { 0xc0 };
                attribute(flags, *code, value)
            })
            .collect();
        let decoded = decode_update(&codec(), &update_with(&attributes)).expect("good");
        assert_eq!(decoded.errors, []);
        let partial = |(code, _): &(u8, &[u8])| decoded.attributes.partial.contains(*code);
        assert_eq!(values.iter().position(partial), Some(set));

        let passed_on = encode(&codec(), &Message::Update(decoded.clone()));
        assert_eq!(decode_update(&codec(), &passed_on), Ok(decoded));
    }
    // Not of one that was malformed, and not of one that cannot have it.
    let attributes = [attribute(0xe0, 7, &[1]), attribute(0xa0, 4, &[0, 0, 0, 1])];
    let decoded = decode_update(&codec(), &update_with(&attributes)).expect("good");
    assert_eq!(decoded.attributes.partial, Partial::default());
}

/// RFC 7606 §7.13, §7.15, §7.16: known well enough to be checked.
#[test]
fn what_is_only_passed_on_is_passed_on_when_it_is_well_formed() {
    let origin = [0x40, 1, 1, 0];
    let attr_set = [&[0, 0, 0xfd, 0xe8][..], &origin].concat();
    let octets = update_with(&[
        attribute(0xc0, 25, &[1; 40]),
        attribute(0x80, 24, &[1; 36]),
        attribute(0xc0, 128, &attr_set),
    ]);
    let decoded = decode_update(&codec(), &octets).expect("good");
    assert_eq!(decoded.errors, []);
    let kept = decoded.attributes.unknown.iter();
    let kept: Vec<_> = kept.map(|one| (one.code, one.value.len())).collect();
    assert_eq!(kept, [(25, 40), (128, 8)]);
}

/// RFC 7311 §3.1.
#[test]
fn aigp_is_for_sessions_that_carry_it() {
    let without = Codec {
        aigp: false,
        ..codec()
    };
    let update = Update {
        announced: vec![prefix()],
        attributes: Attributes {
            next_hop: Some(IpAddr::from([192, 0, 2, 1])),
            aigp: Some(Aigp::new(7)),
            ..Attributes::default()
        },
        ..Update::default()
    };
    let octets = encode(&codec(), &Message::Update(update.clone()));
    assert_eq!(codes(&octets), [1, 2, 3, 26]);
    let decoded = decode_update(&without, &octets).expect("good");
    assert_eq!((decoded.attributes.aigp, decoded.errors), (None, vec![]));
    // Whatever is in it.
    let bad = update_with(&[attribute(0xc0, 26, &[1])]);
    assert_eq!(decode_update(&without, &bad).expect("good").errors, []);
    let octets = encode(&without, &Message::Update(update));
    assert_eq!(codes(&octets), [1, 2, 3]);
}

/// The RIB keeps one for each set of equal ones, and a change makes another.
#[test]
fn attributes_stay_small() {
    assert!(
        size_of::<Attributes>() <= 240,
        "{} octets",
        size_of::<Attributes>()
    );
}
