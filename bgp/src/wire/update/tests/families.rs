//! Faults that cost a family, and families that are not there (RFC 7606 §2, §5.3, RFC 4760 §7).

use AttributeErrorAction::{DisableFamily, TreatAsWithdraw};

use super::malformed::{actions, with_replaced};
use super::*;

/// Attributes of which only the family is known, IPv6, and the subcode where that ends the session.
pub(crate) fn lost_families() -> Vec<(&'static str, &'static str, Vec<u8>, u8)> {
    let a = attribute;
    let reach = |next_hop: u8, rest: &[u8]| a(0x80, 14, &[&[0, 2, 1, next_hop], rest].concat());
    let unreach = |value: &[u8]| a(0x80, 15, value);
    let transitive = |mut attribute: Vec<u8>| {
        attribute[0] = 0xc0;
        attribute
    };
    vec![
        ("5.3", "MP_REACH_NLRI transitive", transitive(mp_reach()), 4),
        (
            "5.3",
            "MP_UNREACH_NLRI transitive",
            transitive(mp_unreach()),
            4,
        ),
        ("5.3", "MP_REACH_NLRI of four octets", reach(0, &[]), 9),
        (
            "7.11",
            "next hop of four octets for IPv6",
            reach(4, &[1; 5]),
            9,
        ),
        ("7.11", "next hop of 24 octets", reach(24, &[1; 25]), 9),
        ("7.11", "next hop overruns", reach(32, &[1; 20]), 9),
        ("7.11", "no reserved octet", reach(16, &[1; 16]), 9),
        (
            "5.3",
            "MP prefix longer than an address",
            reach(16, &[129; 40]),
            9,
        ),
        ("5.3", "MP prefix cut", reach(16, &[64; 20]), 9),
        (
            "5.3",
            "withdrawn MP prefix cut",
            unreach(&[0, 2, 1, 9, 1]),
            9,
        ),
    ]
}

/// RFC 7606 §2, §5.3.
#[test]
fn where_only_the_family_is_known_it_is_disabled_if_there_is_another() {
    let only_v6 = Codec {
        families: vec![Family::Ipv6Unicast],
        ..codec()
    };
    let already = Codec {
        disabled: vec![Family::Ipv4Unicast],
        ..codec()
    };
    for (section, what, attribute, subcode) in lost_families() {
        let what = format!("{section} {what}");
        let octets = update(&[8, 10], &with_replaced(&attribute), &PREFIX);
        let decoded = decode_update(&codec(), &octets).expect(&what);
        assert_eq!(decoded.disable_family, Some(Family::Ipv6Unicast), "{what}");
        assert_eq!(actions(&decoded), [(DisableFamily, attribute[1])], "{what}");
        // The other family is told as if nothing had been.
        assert_eq!(decoded.announced, [prefix()], "{what}");
        assert_eq!(decoded.withdrawn, [nlri("10.0.0.0/8")], "{what}");
        assert_eq!(decoded.mp_announced, None, "{what}");

        let wanted = Notification::new(3, subcode, &attribute);
        for codec in [&only_v6, &already] {
            assert_eq!(decode_update(codec, &octets), Err(wanted.clone()), "{what}");
        }
    }
}

/// RFC 7606 §3 (h): what is told of the family in the same message goes as well, and what is told of the
/// other one is judged by itself.
#[test]
fn a_disabled_family_takes_its_other_prefixes_along_and_nothing_else() {
    let bad = attribute(0x80, 14, &[0, 2, 1, 4, 1, 1, 1, 1, 0]);
    let attributes = [&bad, &mp_unreach(), &mandatory()[1..].concat()[..]].concat();
    let decoded = decode_update(&codec(), &update(&[8, 10], &attributes, &PREFIX)).expect("good");
    assert_eq!(
        actions(&decoded),
        [(DisableFamily, 14), (TreatAsWithdraw, 1)]
    );
    assert_eq!(decoded.withdrawn, [nlri("10.0.0.0/8"), prefix()]);
    assert!(decoded.announced.is_empty());

    // IPv4 in the multiprotocol attributes is the IPv4 of the fields.
    let bad = attribute(0x80, 15, &[0, 1, 1, 33]);
    let attributes = [mp_reach(), bad, mandatory().concat()].concat();
    let decoded = decode_update(&codec(), &update(&[8, 10], &attributes, &PREFIX)).expect("good");
    assert_eq!(decoded.disable_family, Some(Family::Ipv4Unicast));
    assert_eq!((decoded.withdrawn, decoded.announced), (vec![], vec![]));
    assert!(decoded.mp_announced.is_some());
}

#[test]
fn of_a_disabled_family_nothing_is_heard_any_more() {
    let without_v6 = Codec {
        disabled: vec![Family::Ipv6Unicast],
        ..codec()
    };
    // Good, bad and with wrong flags.
    let bad = attribute(0xc0, 15, &[0, 2, 1, 255]);
    let attributes = [mp_reach(), bad, mandatory().concat()].concat();
    let decoded = decode_update(&without_v6, &update(&[8, 10], &attributes, &PREFIX));
    let decoded = decoded.expect("good");
    assert_eq!((decoded.errors.len(), decoded.disable_family), (0, None));
    assert_eq!(decoded.withdrawn, [nlri("10.0.0.0/8")]);
    assert_eq!(decoded.announced, [prefix()]);
    assert_eq!(decoded.mp_announced, None);

    let without_v4 = Codec {
        disabled: vec![Family::Ipv4Unicast],
        ..codec()
    };
    let octets = update(&[8, 10], &mandatory().concat(), &PREFIX);
    let decoded = decode_update(&without_v4, &octets).expect("good");
    assert_eq!(decoded, Update::default());
    let end_of_rib = decode_update(&without_v4, &update(&[], &[], &[])).expect("good");
    assert_eq!(end_of_rib.end_of_rib, None);
}

#[test]
fn a_family_that_was_not_agreed_is_passed_over_and_costs_nothing_else() {
    let only_v4 = Codec {
        families: vec![Family::Ipv4Unicast],
        ..codec()
    };
    // Its prefixes are not even looked at.
    let unreach = attribute(0x80, 15, &[0, 2, 1, 255]);
    let attributes = [mp_reach(), unreach, mandatory().concat()].concat();
    let octets = update(&[], &attributes, &PREFIX);
    let decoded = decode_update(&only_v4, &octets).expect("no reset");
    assert_eq!(
        (decoded.announced, decoded.mp_announced),
        (vec![prefix()], None)
    );
    let details = decoded.errors.iter().map(|one| one.detail.as_str());
    let wanted = ["AFI 2, SAFI 1 is not agreed for this session"; 2];
    assert!(details.eq(wanted));

    // With a fault beside it, and nothing else announced: nothing to withdraw, no reset either.
    let attributes = [mp_reach(), attribute(0x40, 1, &[9])].concat();
    let octets = update(&[], &attributes, &[]);
    let decoded = decode_update(&only_v4, &octets).expect("no reset");
    assert_eq!((decoded.withdrawn, decoded.errors.len()), (vec![], 2));
}
