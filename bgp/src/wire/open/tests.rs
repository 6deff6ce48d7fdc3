//! OPEN both ways, and the NOTIFICATION of each fault of RFC 4271 §6.2.

use super::*;
use crate::wire::iana::message_type;
use crate::wire::testing::{codec, encode, message};
use crate::wire::{Codec, Family, Message};

fn open(capabilities: Vec<Capability>) -> Open {
    Open {
        asn: 64512,
        hold_time_seconds: 90,
        router_id: Ipv4Addr::new(192, 0, 2, 1),
        capabilities,
    }
}

fn all_capabilities() -> Vec<Capability> {
    vec![
        Capability::Multiprotocol(Family::Ipv4Unicast),
        Capability::Multiprotocol(Family::Ipv6Unicast),
        Capability::RouteRefresh,
        Capability::FourOctetAs(64512),
        Capability::GracefulRestart {
            restarted: true,
            notification: true,
            time_seconds: 120,
            families: vec![(Family::Ipv4Unicast, true), (Family::Ipv6Unicast, false)],
        },
        Capability::Unknown {
            code: 200,
            value: b"\x04node\x00".to_vec(),
        },
    ]
}

fn decoded(octets: &[u8]) -> Result<Open, Notification> {
    match Codec::initial().decode(octets)? {
        Message::Open(open) => Ok(open),
        other => panic!("not an OPEN: {other:?}"),
    }
}

fn round_trip(open: &Open) -> Open {
    decoded(&encode(&codec(), &Message::Open(open.clone()))).expect("a good OPEN")
}

/// The ten octets of an OPEN's fixed part, then what is given.
fn octets(rest: &[u8]) -> Vec<u8> {
    let fixed = [4, 0xfc, 0, 0, 90, 192, 0, 2, 1];
    message(message_type::OPEN, &[&fixed, rest].concat())
}

#[test]
fn an_open_survives_the_wire_with_each_capability() {
    assert_eq!(round_trip(&open(vec![])), open(vec![]));
    assert_eq!(
        round_trip(&open(all_capabilities())),
        open(all_capabilities())
    );
}

#[test]
fn the_octets_of_an_open_are_those_of_the_rfc() {
    let octets = encode(
        &codec(),
        &Message::Open(open(all_capabilities()[..4].to_vec())),
    );
    let wanted = [
        4, 0xfc, 0, 0, 90, 192, 0, 2, 1, // version, AS, hold time, identifier
        22, 2, 20, // parameters, capabilities
        1, 4, 0, 1, 0, 1, 1, 4, 0, 2, 0, 1, // multiprotocol, twice
        2, 0, // route refresh
        65, 4, 0, 0, 0xfc, 0, // AS 64512
    ];
    assert_eq!(octets[19..], wanted);
}

#[test]
fn a_wide_as_number_hides_behind_as_trans() {
    let wide = Open {
        asn: 4_200_000_001,
        ..open(vec![Capability::FourOctetAs(4_200_000_001)])
    };
    let octets = encode(&codec(), &Message::Open(wide.clone()));
    assert_eq!(octets[20..22], 23456u16.to_be_bytes());
    assert_eq!(decoded(&octets), Ok(wide));
}

#[test]
fn one_parameter_for_each_capability_is_as_good_as_one_for_all() {
    let octets = octets(&[12, 2, 2, 2, 0, 2, 6, 65, 4, 0, 0, 0xfc, 0]);
    let wanted = vec![Capability::RouteRefresh, Capability::FourOctetAs(64512)];
    assert_eq!(decoded(&octets), Ok(open(wanted)));
}

#[test]
fn many_capabilities_take_the_extended_length() {
    let many: Vec<_> = (0..60)
        .map(|index| Capability::Unknown {
            code: 128 + index,
            value: vec![index; 9],
        })
        .collect();
    let octets = encode(&codec(), &Message::Open(open(many.clone())));
    assert_eq!(octets[28..33], [255, 255, 2, 151, 2]);
    assert_eq!(decoded(&octets), Ok(open(many)));
}

#[test]
fn the_longest_short_form_and_the_shortest_long_form_read_back() {
    for value_octets in [250, 251, 252, 253] {
        let one = vec![Capability::Unknown {
            code: 200,
            value: vec![1; value_octets],
        }];
        let octets = encode(&codec(), &Message::Open(open(one.clone())));
        let extended = value_octets > 251;
        assert_eq!(octets[29] == 255, extended, "{value_octets}");
        assert_eq!(decoded(&octets), Ok(open(one)), "{value_octets}");
    }
}

#[test]
fn the_extended_length_is_known_by_the_type_whatever_the_length_says() {
    // RFC 9072 §2: any length but zero.
    for length in [1, 255] {
        let octets = octets(&[length, 255, 0, 5, 2, 0, 2, 2, 0]);
        assert_eq!(
            decoded(&octets),
            Ok(open(vec![Capability::RouteRefresh])),
            "{length}"
        );
    }
}

#[test]
fn capabilities_that_do_not_fit_stay_behind() {
    let large: Vec<_> = (0..20)
        .map(|code| Capability::Unknown {
            code: 200 + code,
            value: vec![0; 255],
        })
        .collect();
    let octets = encode(&codec(), &Message::Open(open(large.clone())));
    assert!(octets.len() <= 4096);
    assert_eq!(decoded(&octets), Ok(open(large[..15].to_vec())));

    let impossible = Capability::Unknown {
        code: 200,
        value: vec![0; 256],
    };
    assert_eq!(
        round_trip(&open(vec![impossible, Capability::RouteRefresh])).capabilities,
        [Capability::RouteRefresh]
    );
}

#[test]
fn families_that_we_do_not_know_stay_as_they_came() {
    let octets = octets(&[
        16, 2, 14, 1, 4, 0, 25, 0, 70, 64, 6, 0x80, 120, 0, 1, 128, 0x80,
    ]);
    let wanted = vec![
        Capability::Unknown {
            code: 1,
            value: vec![0, 25, 0, 70],
        },
        Capability::GracefulRestart {
            restarted: true,
            notification: false,
            time_seconds: 120,
            families: vec![],
        },
    ];
    assert_eq!(decoded(&octets), Ok(open(wanted)));
}

#[test]
fn each_open_fault_has_its_notification() {
    let changed = |at: usize, value: &[u8]| {
        let mut octets = octets(&[0]);
        octets[19 + at..19 + at + value.len()].copy_from_slice(value);
        octets
    };
    let mut two_octet_as_zero = octets(&[8, 2, 6, 65, 4, 0, 0, 0xfc, 0]);
    two_octet_as_zero[20] = 0;
    let four_octet_as_zero = octets(&[8, 2, 6, 65, 4, 0, 0, 0, 0]);
    for (what, octets, subcode, data) in [
        ("version 3", changed(0, &[3]), 1, &[0, 4][..]),
        ("version 5", changed(0, &[5]), 1, &[0, 4]),
        ("AS 0", changed(1, &[0, 0]), 2, &[]),
        (
            "AS 0 beside a good four-octet one",
            two_octet_as_zero,
            2,
            &[],
        ),
        ("four-octet AS 0", four_octet_as_zero, 2, &[]),
        ("hold time 1", changed(3, &[0, 1]), 6, &[]),
        ("hold time 2", changed(3, &[0, 2]), 6, &[]),
        ("identifier 0", changed(5, &[0; 4]), 3, &[]),
        ("unknown parameter", octets(&[3, 1, 1, 0]), 4, &[]),
        ("parameters too short", octets(&[3, 2, 0]), 0, &[]),
        ("parameters too long", octets(&[2, 2, 0, 0]), 0, &[]),
        ("parameter overruns", octets(&[3, 2, 2, 2]), 0, &[]),
        ("half a parameter", octets(&[1, 2]), 0, &[]),
        ("capability overruns", octets(&[4, 2, 2, 2, 1]), 0, &[]),
        ("half a capability", octets(&[3, 2, 1, 2]), 0, &[]),
        (
            "route refresh of one octet",
            octets(&[5, 2, 3, 2, 1, 0]),
            0,
            &[],
        ),
        (
            "AS number of two octets",
            octets(&[6, 2, 4, 65, 2, 0xfc, 0]),
            0,
            &[],
        ),
        (
            "AS number of five octets",
            octets(&[9, 2, 7, 65, 5, 0, 0, 0xfc, 0, 0]),
            0,
            &[],
        ),
        (
            "multiprotocol of three octets",
            octets(&[7, 2, 5, 1, 3, 0, 1, 0]),
            0,
            &[],
        ),
        (
            "graceful restart of one octet",
            octets(&[5, 2, 3, 64, 1, 0]),
            0,
            &[],
        ),
        (
            "graceful restart of half a family",
            octets(&[8, 2, 6, 64, 4, 0, 0, 0, 1]),
            0,
            &[],
        ),
        (
            "extended length too short",
            octets(&[255, 255, 0, 4, 2, 0, 2, 2, 0]),
            0,
            &[],
        ),
        ("extended length cut", octets(&[255, 255, 0]), 0, &[]),
    ] {
        assert_eq!(
            decoded(&octets),
            Err(Notification::new(2, subcode, data)),
            "{what}"
        );
    }
}

#[test]
fn hold_time_zero_and_three_are_good() {
    for seconds in [0, 3, u16::MAX] {
        let open = Open {
            hold_time_seconds: seconds,
            ..open(vec![])
        };
        assert_eq!(round_trip(&open), open);
    }
}

#[test]
fn a_restart_time_over_twelve_bits_does_not_touch_the_flags() {
    let restart = |time_seconds| Capability::GracefulRestart {
        restarted: false,
        notification: false,
        time_seconds,
        families: vec![],
    };
    assert_eq!(
        round_trip(&open(vec![restart(u16::MAX)])),
        open(vec![restart(4095)])
    );
}
