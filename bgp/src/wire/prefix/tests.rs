//! Prefixes on the wire.

use super::*;
use crate::wire::testing::net;

fn decoded(family: Family, field: &[u8]) -> Result<Vec<IpNet>, PrefixError> {
    let mut prefixes = Vec::new();
    decode(field, family, &mut prefixes)?;
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
        let prefixes = texts.map(net);
        let mut octets = Vec::new();
        prefixes.iter().for_each(|one| encode(one, &mut octets));
        assert_eq!(
            octets.len(),
            prefixes.iter().map(encoded_octets).sum::<usize>()
        );
        assert_eq!(decoded(family, &octets), Ok(prefixes.to_vec()));
    }
}

#[test]
fn host_bits_become_zero_both_ways() {
    assert_eq!(
        decoded(Family::Ipv4Unicast, &[26, 10, 1, 2, 0xff]),
        Ok(vec![net("10.1.2.192/26")])
    );
    let mut octets = Vec::new();
    encode(&net("10.1.2.255/26"), &mut octets);
    encode(&net("2001:db8::ffff/113"), &mut octets);
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
    let mut prefixes = vec![net("192.0.2.0/24")];
    let error = decode(&[8, 10, 24, 10, 0], Family::Ipv4Unicast, &mut prefixes);
    assert_eq!(
        error,
        Err(PrefixError::Overrun {
            length: 24,
            wanted: 3,
            left: 2
        })
    );
    assert_eq!(prefixes, [net("192.0.2.0/24")]);
}

#[test]
fn memory_is_reserved_for_what_there_is() {
    let mut prefixes = Vec::new();
    decode(&[0; 4000], Family::Ipv4Unicast, &mut prefixes).expect("4,000 default routes");
    assert_eq!((prefixes.len(), prefixes.capacity()), (4000, 4000));
    assert!(size_of::<IpNet>() <= 20);
}
