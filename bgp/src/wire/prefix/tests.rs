//! Prefixes on the wire.

use super::*;
use crate::wire::testing::nlri;

fn form(family: Family, path_ids: bool) -> Form {
    Form { family, path_ids }
}

fn decoded(family: Family, field: &[u8]) -> Result<Vec<Nlri>, PrefixError> {
    let mut prefixes = Vec::new();
    decode(field, form(family, false), &mut prefixes)?;
    Ok(prefixes)
}

#[test]
fn prefixes_survive_the_wire() {
    for (family, texts) in [
        (
            Family::Ipv4Unicast,
            [
                "0.0.0.0/0",
                "128.0.0.0/1",
                "10.1.128.0/17",
                "10.233.0.64/26",
                "192.0.2.7/32",
            ],
        ),
        (
            Family::Ipv6Unicast,
            [
                "::/0",
                "8000::/1",
                "2001:db8::/33",
                "fd00:1::40/122",
                "2001:db8::7/128",
            ],
        ),
    ] {
        let prefixes = texts.map(nlri);
        let mut octets = Vec::new();
        let mut length = 0;
        for one in &prefixes {
            encode(one, false, &mut octets);
            length += encoded_octets(one, false);
            assert!(encoded_octets(one, false) <= encoded_octets_max(form(family, false)));
        }
        assert_eq!(octets.len(), length);
        assert_eq!(decoded(family, &octets), Ok(prefixes.to_vec()));
    }
}

#[test]
fn host_bits_become_zero_both_ways() {
    assert_eq!(
        decoded(Family::Ipv4Unicast, &[26, 10, 1, 2, 0xff]),
        Ok(vec![nlri("10.1.2.192/26")])
    );
    let mut octets = Vec::new();
    encode(&nlri("10.1.2.255/26"), false, &mut octets);
    encode(&nlri("2001:db8::ffff/113"), false, &mut octets);
    assert_eq!(octets[..5], [26, 10, 1, 2, 0xc0]);
    assert_eq!(octets[5 + 15..], [0x80]);
}

#[test]
fn a_length_over_an_address_is_refused() {
    assert_eq!(
        decoded(Family::Ipv4Unicast, &[24, 10, 0, 0, 33, 10, 0, 0, 0, 0]),
        Err(PrefixError::Length {
            length: 33,
            length_max: 32
        })
    );
    assert_eq!(
        decoded(Family::Ipv6Unicast, &[[129].as_slice(), &[0; 17]].concat()),
        Err(PrefixError::Length {
            length: 129,
            length_max: 128
        })
    );
}

#[test]
fn a_field_that_ends_inside_a_prefix_is_refused_and_nothing_is_taken() {
    let mut prefixes = vec![nlri("192.0.2.0/24")];
    let v4 = form(Family::Ipv4Unicast, false);
    let error = decode(&[8, 10, 24, 10, 0], v4, &mut prefixes);
    assert_eq!(
        error,
        Err(PrefixError::Overrun {
            length: 24,
            wanted: 3,
            left: 2
        })
    );
    assert_eq!(prefixes, [nlri("192.0.2.0/24")]);
}

#[test]
fn memory_is_reserved_for_what_there_is() {
    let mut prefixes = Vec::new();
    let v4 = form(Family::Ipv4Unicast, false);
    decode(&[0; 4000], v4, &mut prefixes).expect("4,000 default routes");
    assert_eq!((prefixes.len(), prefixes.capacity()), (4000, 4000));
    assert!(size_of::<Nlri>() <= 24);
}

/// RFC 7911 §3.
#[test]
fn a_path_identifier_stands_before_its_prefix() {
    let prefixes = [
        Nlri {
            path_id: 7,
            ..nlri("10.233.0.64/26")
        },
        Nlri {
            path_id: u32::MAX,
            ..nlri("10.233.0.64/26")
        },
        nlri("0.0.0.0/0"),
    ];
    let mut octets = Vec::new();
    for one in &prefixes {
        encode(one, true, &mut octets);
    }
    assert_eq!(octets[..9], [0, 0, 0, 7, 26, 10, 233, 0, 64]);
    assert_eq!(octets.len(), 9 + 9 + 5);
    let form = form(Family::Ipv4Unicast, true);
    assert_eq!(encoded_octets_max(form), 9);
    let mut decoded = Vec::new();
    assert_eq!(decode(&octets, form, &mut decoded), Ok(()));
    assert_eq!(decoded, prefixes);
}

#[test]
fn a_path_identifier_without_a_prefix_is_refused() {
    for field in [&[0, 0, 0][..], &[0, 0, 0, 1]] {
        let error = decode(field, form(Family::Ipv6Unicast, true), &mut Vec::new());
        let left = field.len();
        assert_eq!(error, Err(PrefixError::PathId { left }));
    }
}

#[test]
fn text_names_the_path_where_there_is_more_than_one() {
    let one = Nlri {
        path_id: 3,
        ..nlri("10.0.0.0/8")
    };
    assert_eq!(one.to_string(), "10.0.0.0/8 path 3");
    assert_eq!(nlri("10.0.0.0/8").to_string(), "10.0.0.0/8");
}
