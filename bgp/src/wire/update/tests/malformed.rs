//! Each malformation and what RFC 7606 wants done about it.

use AttributeErrorAction::{DisableFamily, Discard, TreatAsWithdraw};

use super::*;

/// (section, what, attribute, action)
pub(crate) type Row = (&'static str, &'static str, Vec<u8>, AttributeErrorAction);

/// Attributes that are wrong in themselves. In an UPDATE with this instead of a good one of its code.
pub(crate) fn malformed_attributes() -> Vec<Row> {
    let a = attribute;
    let changed = |mut attribute: Vec<u8>, at: usize, octet: u8| {
        attribute[at] = octet;
        attribute
    };
    let withdraw = TreatAsWithdraw;
    vec![
        ("3 (c)", "ORIGIN optional", a(0xc0, 1, &[0]), withdraw),
        ("3 (c)", "ORIGIN not transitive", a(0x00, 1, &[0]), withdraw),
        ("3 (c)", "AS_PATH optional", a(0xc0, 2, &[]), withdraw),
        (
            "3 (c)",
            "NEXT_HOP optional",
            a(0xc0, 3, &[192, 0, 2, 1]),
            withdraw,
        ),
        ("3 (c)", "MED well-known", a(0x40, 4, &[0; 4]), withdraw),
        ("3 (c)", "MED transitive", a(0xc0, 4, &[0; 4]), withdraw),
        (
            "3 (c)",
            "LOCAL_PREF optional",
            a(0xc0, 5, &[0; 4]),
            withdraw,
        ),
        (
            "3 (c)",
            "ATOMIC_AGGREGATE optional",
            a(0xc0, 6, &[]),
            withdraw,
        ),
        (
            "3 (c)",
            "AGGREGATOR not transitive",
            a(0x80, 7, &[1; 8]),
            withdraw,
        ),
        (
            "3 (c)",
            "COMMUNITIES not transitive",
            a(0x80, 8, &[1; 4]),
            withdraw,
        ),
        (
            "3 (c)",
            "ORIGINATOR_ID transitive",
            a(0xc0, 9, &[1; 4]),
            withdraw,
        ),
        (
            "3 (c)",
            "CLUSTER_LIST transitive",
            a(0xc0, 10, &[1; 4]),
            withdraw,
        ),
        (
            "3 (c)",
            "EXTENDED COMMUNITIES well-known",
            a(0x40, 16, &[1; 8]),
            withdraw,
        ),
        (
            "3 (c)",
            "LARGE_COMMUNITY well-known",
            a(0x40, 32, &[1; 12]),
            withdraw,
        ),
        (
            "3 (c)",
            "OTC not transitive",
            a(0x80, 35, &[1; 4]),
            withdraw,
        ),
        (
            "3 (c)",
            "Traffic Engineering transitive",
            a(0xc0, 24, &[1; 36]),
            withdraw,
        ),
        (
            "3 (c)",
            "ATTR_SET not transitive",
            a(0x80, 128, &[1; 4]),
            withdraw,
        ),
        ("7.1", "ORIGIN empty", a(0x40, 1, &[]), withdraw),
        ("7.1", "ORIGIN too long", a(0x40, 1, &[0, 0]), withdraw),
        ("7.1", "ORIGIN undefined", a(0x40, 1, &[3]), withdraw),
        (
            "7.2",
            "AS_PATH segment type",
            a(0x40, 2, &[9, 1, 0, 0, 0, 1]),
            withdraw,
        ),
        (
            "7.2",
            "AS_PATH overrun",
            a(0x40, 2, &[2, 2, 0, 0, 0, 1]),
            withdraw,
        ),
        (
            "7.2",
            "AS_PATH underrun",
            a(0x40, 2, &[2, 1, 0, 0, 0, 1, 2]),
            withdraw,
        ),
        (
            "7.2",
            "AS_PATH empty segment",
            a(0x40, 2, &[2, 0]),
            withdraw,
        ),
        (
            "RFC 7607",
            "AS_PATH with AS 0",
            a(0x40, 2, &[2, 1, 0, 0, 0, 0]),
            withdraw,
        ),
        ("7.3", "NEXT_HOP empty", a(0x40, 3, &[]), withdraw),
        (
            "7.3",
            "NEXT_HOP too short",
            a(0x40, 3, &[192, 0, 2]),
            withdraw,
        ),
        (
            "7.3",
            "NEXT_HOP too long",
            a(0x40, 3, &[192, 0, 2, 1, 0]),
            withdraw,
        ),
        ("3 (e)", "NEXT_HOP 0.0.0.0", a(0x40, 3, &[0; 4]), withdraw),
        (
            "3 (e)",
            "NEXT_HOP multicast",
            a(0x40, 3, &[224, 0, 0, 5]),
            withdraw,
        ),
        (
            "3 (e)",
            "NEXT_HOP broadcast",
            a(0x40, 3, &[255; 4]),
            withdraw,
        ),
        ("7.4", "MED too short", a(0x80, 4, &[0; 3]), withdraw),
        ("7.4", "MED too long", a(0x80, 4, &[0; 5]), withdraw),
        ("7.5", "LOCAL_PREF too short", a(0x40, 5, &[0; 3]), withdraw),
        (
            "7.6",
            "ATOMIC_AGGREGATE of an octet",
            a(0x40, 6, &[0]),
            Discard,
        ),
        (
            "7.7",
            "AGGREGATOR of six octets",
            a(0xc0, 7, &[1; 6]),
            Discard,
        ),
        ("7.7", "AGGREGATOR empty", a(0xc0, 7, &[]), Discard),
        (
            "RFC 7607",
            "AGGREGATOR of AS 0",
            a(0xc0, 7, &[0, 0, 0, 0, 1, 1, 1, 1]),
            Discard,
        ),
        ("7.8", "COMMUNITIES empty", a(0xc0, 8, &[]), withdraw),
        (
            "7.8",
            "COMMUNITIES of five octets",
            a(0xc0, 8, &[1; 5]),
            withdraw,
        ),
        (
            "7.9",
            "ORIGINATOR_ID too short",
            a(0x80, 9, &[1; 3]),
            withdraw,
        ),
        ("7.10", "CLUSTER_LIST empty", a(0x80, 10, &[]), withdraw),
        (
            "7.10",
            "CLUSTER_LIST of six octets",
            a(0x80, 10, &[1; 6]),
            withdraw,
        ),
        (
            "7.14",
            "EXTENDED COMMUNITIES empty",
            a(0xc0, 16, &[]),
            withdraw,
        ),
        (
            "7.14",
            "EXTENDED COMMUNITIES of nine",
            a(0xc0, 16, &[1; 9]),
            withdraw,
        ),
        ("7.15", "IPv6 communities empty", a(0xc0, 25, &[]), withdraw),
        (
            "7.15",
            "IPv6 communities of 21 octets",
            a(0xc0, 25, &[1; 21]),
            withdraw,
        ),
        (
            "7.16",
            "ATTR_SET without an AS number",
            a(0xc0, 128, &[1; 3]),
            withdraw,
        ),
        (
            "7.16",
            "ATTR_SET that ends inside an attribute",
            a(0xc0, 128, &[0, 0, 0, 1, 0x40, 1, 2, 0]),
            withdraw,
        ),
        (
            "7.16",
            "ATTR_SET with prefixes",
            a(0xc0, 128, &[&[0, 0, 0, 1][..], &mp_reach()].concat()),
            withdraw,
        ),
        ("RFC 7311", "AIGP empty", a(0x80, 26, &[]), Discard),
        ("RFC 7311", "AIGP cut", a(0x80, 26, &[1, 0, 11, 0]), Discard),
        (
            "RFC 7311",
            "AIGP transitive",
            a(0xc0, 26, &[1, 0, 11, 0, 0, 0, 0, 0, 0, 0, 7]),
            Discard,
        ),
        ("RFC 9234", "OTC empty", a(0xc0, 35, &[]), withdraw),
        (
            "RFC 9234",
            "OTC of five octets",
            a(0xc0, 35, &[1; 5]),
            withdraw,
        ),
        (
            "RFC 8092",
            "LARGE_COMMUNITY empty",
            a(0xc0, 32, &[]),
            withdraw,
        ),
        (
            "RFC 8092",
            "LARGE_COMMUNITY of 13 octets",
            a(0xc0, 32, &[1; 13]),
            withdraw,
        ),
        (
            "RFC 6793",
            "AS4_PATH, four-octet peer",
            a(0xc0, 17, &[2, 1, 0, 0, 0, 1]),
            Discard,
        ),
        (
            "RFC 6793",
            "AS4_AGGREGATOR, four-octet peer",
            a(0xc0, 18, &[1; 8]),
            Discard,
        ),
        (
            "RFC 4760",
            "MP_REACH_NLRI, AFI 25",
            a(0x80, 14, &[0, 25, 70, 0, 0]),
            Discard,
        ),
        (
            "RFC 4760",
            "MP_UNREACH_NLRI, SAFI 128",
            a(0x80, 15, &[0, 1, 128, 99, 1]),
            Discard,
        ),
        (
            "RFC 4271 6.3",
            "multicast MP next hop",
            changed(mp_reach(), 7, 0xff),
            withdraw,
        ),
    ]
}

/// The mandatory attributes with `attribute` in the place of its like, or behind them.
pub(super) fn with_replaced(attribute: &[u8]) -> Vec<u8> {
    let mut attributes = mandatory();
    match attributes.iter_mut().find(|one| one[1] == attribute[1]) {
        Some(one) => *one = attribute.to_vec(),
        None => attributes.push(attribute.to_vec()),
    }
    attributes.concat()
}

pub(super) fn actions(update: &Update) -> Vec<(AttributeErrorAction, u8)> {
    let action = |error: &AttributeError| (error.action, error.code);
    update.errors.iter().map(action).collect()
}

#[test]
fn each_malformed_attribute_is_discarded_or_takes_its_prefixes_back() {
    for (section, what, attribute, action) in malformed_attributes() {
        let octets = update(&[8, 10], &with_replaced(&attribute), &PREFIX);
        let decoded = decode_update(&codec(), &octets).expect(what);
        assert_eq!(
            actions(&decoded),
            [(action, attribute[1])],
            "{section} {what}"
        );
        assert!(!decoded.errors[0].detail.is_empty(), "{section} {what}");

        match action {
            Discard => {
                assert_eq!(decoded.announced, [prefix()], "{what}");
                assert_eq!(decoded.withdrawn, [nlri("10.0.0.0/8")], "{what}");
                let good = decode_update(&codec(), &update_with(&[])).expect("good");
                assert_eq!(decoded.attributes, good.attributes, "{what}");
            }
            TreatAsWithdraw => {
                assert_eq!(
                    (decoded.announced.len(), &decoded.mp_announced),
                    (0, &None),
                    "{what}"
                );
                let is_v6 = |one: &Nlri| Family::of(&one.prefix) == Family::Ipv6Unicast;
                let (v6, v4): (Vec<_>, Vec<_>) = decoded.withdrawn.into_iter().partition(is_v6);
                assert_eq!(v4, [nlri("10.0.0.0/8"), prefix()], "{what}");
                assert_eq!(
                    v6.len(),
                    usize::from(matches!(attribute[1], 14 | 15)),
                    "{what}"
                );
            }
            DisableFamily => panic!("{what}: belongs into `lost_families`"),
        }
    }
}

/// RFC 7606 §5.2: with no prefix that is announced, treat-as-withdraw would be a guess; then the
/// NOTIFICATION of RFC 4271 §6.3 is sent, with the attribute as its data.
#[test]
fn without_prefixes_what_would_be_a_withdrawal_ends_the_session() {
    for (what, attribute, subcode) in [
        ("flags", attribute(0xc0, 1, &[0]), 4),
        ("length", attribute(0x40, 1, &[]), 5),
        ("ORIGIN", attribute(0x40, 1, &[3]), 6),
        ("NEXT_HOP", attribute(0x40, 3, &[224, 0, 0, 1]), 8),
        ("AS_PATH", attribute(0x40, 2, &[9, 1]), 11),
        ("MED", attribute(0x80, 4, &[]), 5),
        ("LOCAL_PREF", attribute(0x40, 5, &[1]), 5),
        ("COMMUNITIES", attribute(0xc0, 8, &[1]), 5),
    ] {
        for withdrawn in [&[][..], &PREFIX] {
            let octets = update(withdrawn, &with_replaced(&attribute), &[]);
            let wanted = Notification::new(3, subcode, &attribute);
            assert_eq!(decode_update(&codec(), &octets), Err(wanted), "{what}");
        }
    }
    let truncated = update(&[], &[0x40], &[]);
    let wanted = Notification::new(3, 1, &[]);
    assert_eq!(decode_update(&codec(), &truncated), Err(wanted));
}

#[test]
fn without_prefixes_a_discarded_attribute_harms_nobody() {
    let octets = update(&PREFIX, &attribute(0x40, 6, &[1]), &[]);
    let decoded = decode_update(&codec(), &octets).expect("no reset");
    assert_eq!(
        (decoded.withdrawn, decoded.errors.len()),
        (vec![prefix()], 1)
    );
}

#[test]
fn each_fault_that_hides_the_prefixes_ends_the_session() {
    let a = attribute;
    let with = |attribute: &[u8]| update(&[], &with_replaced(attribute), &PREFIX);
    let twice = |one: Vec<u8>| with(&[one.clone(), one].concat());
    let lengths = |withdrawn: u16, attributes: u16| {
        let mut octets = update(&[], &mandatory().concat(), &PREFIX);
        octets[19..21].copy_from_slice(&withdrawn.to_be_bytes());
        octets[21..23].copy_from_slice(&attributes.to_be_bytes());
        octets
    };
    let too_long = [32, 1, 2, 3, 4, 33, 1, 2, 3, 4, 5];
    let cut = [8, 10, 24, 10, 0];
    let announce = |field: &[u8]| update(&[], &mandatory().concat(), field);
    for (section, what, octets, subcode) in [
        (
            "RFC 4271 6.3",
            "Withdrawn Routes Length",
            lengths(500, 0),
            1,
        ),
        (
            "RFC 4271 6.3",
            "no room for the second length",
            lengths(28, 0),
            1,
        ),
        (
            "RFC 4271 6.3",
            "Total Path Attribute Length",
            lengths(0, 500),
            1,
        ),
        ("3 (g)", "MP_REACH_NLRI twice", twice(mp_reach()), 1),
        ("3 (g)", "MP_UNREACH_NLRI twice", twice(mp_unreach()), 1),
        (
            "5.3",
            "NLRI longer than an address",
            announce(&too_long),
            10,
        ),
        ("5.3", "NLRI cut", announce(&cut), 10),
        (
            "5.3",
            "withdrawn longer than an address",
            update(&too_long, &[], &[]),
            10,
        ),
        ("5.3", "withdrawn cut", update(&cut, &[], &[]), 10),
    ] {
        let wanted = Notification::new(3, subcode, &[]);
        assert_eq!(
            decode_update(&codec(), &octets),
            Err(wanted),
            "{section} {what}"
        );
    }

    for (section, what, attribute, subcode) in [
        (
            "5.3",
            "MP_REACH_NLRI without a family",
            a(0x80, 14, &[0, 2]),
            9,
        ),
        (
            "5.3",
            "MP_UNREACH_NLRI of two octets",
            a(0x80, 15, &[0, 2]),
            9,
        ),
        ("5.3", "the same, transitive", a(0xc0, 15, &[0, 2]), 9),
        (
            "RFC 4271 6.3",
            "unrecognised well-known",
            a(0x40, 99, &[7]),
            2,
        ),
    ] {
        let wanted = Notification::new(3, subcode, &attribute);
        assert_eq!(
            decode_update(&codec(), &with(&attribute)),
            Err(wanted),
            "{section} {what}"
        );
    }
}

/// RFC 7606 §3 (d).
#[test]
fn a_missing_mandatory_attribute_takes_the_prefixes_back() {
    for missing in [1, 2, 3] {
        let others = mandatory().into_iter().filter(|one| one[1] != missing);
        let attributes: Vec<_> = others.collect();
        let octets = update(&[], &attributes.concat(), &PREFIX);
        let decoded = decode_update(&codec(), &octets).expect("no reset");
        let wanted = AttributeError {
            action: TreatAsWithdraw,
            code: missing,
            detail: "missing".to_owned(),
        };
        assert_eq!(decoded.errors, [wanted]);
        assert_eq!(
            (decoded.withdrawn, decoded.announced),
            (vec![prefix()], vec![])
        );
    }
    let codes = |update: &Update| update.errors.iter().map(|one| one.code).collect::<Vec<_>>();
    let v4 = decode_update(&codec(), &update(&[], &[], &PREFIX)).expect("no reset");
    assert_eq!(codes(&v4), [1, 2, 3]);
    let v6 = decode_update(&codec(), &update(&[], &mp_reach(), &[])).expect("no reset");
    assert_eq!(codes(&v6), [1, 2]);
    assert_eq!(v6.withdrawn, [nlri("2001:db8::/32")]);
}

/// RFC 7606 §3 (g).
#[test]
fn of_an_attribute_given_twice_the_first_counts() {
    let octets = update_with(&[
        attribute(0x40, 1, &[2]),
        attribute(0x80, 4, &[0, 0, 0, 1]),
        attribute(0x80, 4, &[9]),
    ]);
    let decoded = decode_update(&codec(), &octets).expect("no reset");
    let attributes = &decoded.attributes;
    assert_eq!((attributes.origin, attributes.med), (Origin::Igp, Some(1)));
    assert_eq!(actions(&decoded), [(Discard, 1), (Discard, 4)]);
}

/// RFC 7606 §4.
#[test]
fn a_list_that_ends_inside_an_attribute_takes_the_prefixes_back() {
    for (what, tail, code) in [
        ("value overruns", &[0x40, 5, 4, 0][..], 5),
        ("extended value overruns", &[0x50, 5, 0xff, 0xff, 0], 5),
        ("no length", &[0xc0, 8], 8),
        ("half an extended length", &[0xd0, 8, 0], 8),
        ("one octet", &[0xc0], 0),
    ] {
        let attributes = [&mandatory().concat(), tail].concat();
        let octets = update(&[], &attributes, &PREFIX);
        let decoded = decode_update(&codec(), &octets).expect(what);
        assert_eq!(actions(&decoded), [(TreatAsWithdraw, code)], "{what}");
        assert_eq!(
            (decoded.withdrawn, decoded.announced),
            (vec![prefix()], vec![]),
            "{what}"
        );
    }
}

/// RFC 7606 §7.5, §7.9, §7.10.
#[test]
fn from_an_external_peer_three_attributes_are_discarded_in_any_shape() {
    for (code, flags) in [(5, 0x40), (9, 0x80), (10, 0x80)] {
        for value in [&[1, 2, 3, 4][..], &[1], &[]] {
            for flags in [flags, 0xc0] {
                let octets = update_with(&[attribute(flags, code, value)]);
                let decoded = decode_update(&codec_external(), &octets).expect("no reset");
                assert_eq!(actions(&decoded), [(Discard, code)]);
                assert_eq!(decoded.announced, [prefix()]);
                let attributes = decoded.attributes;
                assert_eq!(
                    (attributes.local_pref, attributes.originator_id),
                    (None, None)
                );
                assert!(attributes.cluster_list.is_empty());
            }
        }
    }
}

/// RFC 7606 §3 (h): the strongest action wins, and every complaint is heard.
#[test]
fn of_several_faults_the_strongest_decides() {
    let octets = update_with(&[
        attribute(0x40, 6, &[1]),
        attribute(0xc0, 8, &[1]),
        attribute(0xc0, 7, &[]),
    ]);
    let decoded = decode_update(&codec(), &octets).expect("no reset");
    assert_eq!(
        actions(&decoded),
        [(Discard, 6), (TreatAsWithdraw, 8), (Discard, 7)]
    );
    assert_eq!(decoded.withdrawn, [prefix()]);
}
