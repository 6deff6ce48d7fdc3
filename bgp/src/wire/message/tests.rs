//! Framing, and the NOTIFICATION of each fault of RFC 4271 §6.1.

use super::*;
use crate::wire::testing::{codec, encode, message};

/// (what, octets, subcode, data)
fn header_faults() -> Vec<(&'static str, Vec<u8>, u8, Vec<u8>)> {
    let with_length = |kind: u8, length: u16| {
        let mut octets = message(kind, &[]);
        octets[16..18].copy_from_slice(&length.to_be_bytes());
        octets
    };
    let mut broken_marker = message(message_type::KEEPALIVE, &[]);
    broken_marker[7] = 0xfe;
    let bad_length = header_error::BAD_MESSAGE_LENGTH;
    vec![
        (
            "marker",
            broken_marker,
            header_error::CONNECTION_NOT_SYNCHRONIZED,
            vec![],
        ),
        (
            "under a header",
            with_length(message_type::UPDATE, 18),
            bad_length,
            vec![0, 18],
        ),
        (
            "over 4096",
            with_length(message_type::UPDATE, 4097),
            bad_length,
            vec![0x10, 0x01],
        ),
        (
            "short OPEN",
            with_length(message_type::OPEN, 28),
            bad_length,
            vec![0, 28],
        ),
        (
            "short UPDATE",
            with_length(message_type::UPDATE, 22),
            bad_length,
            vec![0, 22],
        ),
        (
            "short NOTIFICATION",
            with_length(message_type::NOTIFICATION, 20),
            bad_length,
            vec![0, 20],
        ),
        (
            "long KEEPALIVE",
            with_length(message_type::KEEPALIVE, 20),
            bad_length,
            vec![0, 20],
        ),
        (
            "short ROUTE-REFRESH",
            with_length(message_type::ROUTE_REFRESH, 22),
            bad_length,
            vec![0, 22],
        ),
        (
            "long ROUTE-REFRESH",
            with_length(message_type::ROUTE_REFRESH, 24),
            bad_length,
            vec![0, 24],
        ),
        (
            "type 0",
            message(0, &[]),
            header_error::BAD_MESSAGE_TYPE,
            vec![0],
        ),
        (
            "type 6",
            message(6, &[]),
            header_error::BAD_MESSAGE_TYPE,
            vec![6],
        ),
        (
            "type 255",
            message(255, &[1, 2]),
            header_error::BAD_MESSAGE_TYPE,
            vec![255],
        ),
    ]
}

#[test]
fn each_header_fault_has_its_notification() {
    for (what, octets, subcode, data) in header_faults() {
        let wanted = Notification::new(1, subcode, &data);
        assert_eq!(codec().frame(&octets), Err(wanted.clone()), "{what}");
        assert_eq!(codec().decode(&octets), Err(wanted), "{what}");
    }
}

#[test]
fn an_incomplete_header_is_not_yet_a_frame() {
    let octets = message(message_type::KEEPALIVE, &[]);
    for end in 0..19 {
        assert_eq!(codec().frame(&octets[..end]), Ok(None), "{end} octets");
    }
    assert_eq!(codec().frame(&octets), Ok(Some(19)));
}

#[test]
fn a_wrong_marker_is_found_with_its_first_octet() {
    let error = codec().frame(&[0x16]).expect_err("no marker");
    assert_eq!((error.code, error.subcode), (1, 1));
}

#[test]
fn a_frame_is_the_first_message_of_what_follows() {
    let mut octets = message(message_type::UPDATE, &[0; 4]);
    octets.extend(message(message_type::KEEPALIVE, &[]));
    assert_eq!(codec().frame(&octets), Ok(Some(23)));
}

#[test]
fn decode_wants_exactly_one_message() {
    let octets = message(message_type::KEEPALIVE, &[]);
    let longer = [octets.as_slice(), &[0xff]].concat();
    for wrong in [&octets[..18], &longer, &[]] {
        let error = codec().decode(wrong).expect_err("not one message");
        assert_eq!((error.code, error.subcode), (1, 2));
    }
}

#[test]
fn long_messages_are_for_those_who_agreed_and_never_for_open() {
    let extended = Codec {
        message_octets_max: 65535,
        ..codec()
    };
    let mut octets = message(message_type::UPDATE, &[0; 5000]);
    assert_eq!(extended.frame(&octets), Ok(Some(5019)));
    assert_eq!(
        codec().frame(&octets).map_err(|error| error.data),
        Err(5019u16.to_be_bytes().to_vec())
    );
    octets[18] = message_type::OPEN;
    assert_eq!(
        extended.frame(&octets).map_err(|error| error.subcode),
        Err(2)
    );
}

#[test]
fn the_small_messages_survive_the_wire() {
    for message in [
        Message::Keepalive,
        Message::RouteRefresh(Some(RouteRefresh::request(Family::Ipv4Unicast))),
        Message::RouteRefresh(Some(RouteRefresh::request(Family::Ipv6Unicast))),
        Message::RouteRefresh(Some(RouteRefresh {
            family: Family::Ipv6Unicast,
            kind: RouteRefreshKind::Begin,
        })),
        Message::RouteRefresh(Some(RouteRefresh {
            family: Family::Ipv4Unicast,
            kind: RouteRefreshKind::End,
        })),
        Message::RouteRefresh(None),
        Message::Notification(Notification::new(6, 2, &[3, b'b', b'y', b'e'])),
        Message::Notification(Notification::new(99, 77, &[])),
    ] {
        assert_eq!(codec().decode(&encode(&codec(), &message)), Ok(message));
    }
}

#[test]
fn a_route_refresh_of_an_unknown_kind_or_family_is_to_be_ignored() {
    // RFC 7313 §5.
    for subtype in [3, 128, 255] {
        let octets = message(message_type::ROUTE_REFRESH, &[0, 1, subtype, 1]);
        assert_eq!(codec().decode(&octets), Ok(Message::RouteRefresh(None)));
    }
    let vpn = message(message_type::ROUTE_REFRESH, &[0, 1, 0, 128]);
    assert_eq!(codec().decode(&vpn), Ok(Message::RouteRefresh(None)));
}

#[test]
fn a_notification_is_cut_to_the_longest_message() {
    let long = Message::Notification(Notification::new(3, 1, &[7; 5000]));
    let octets = encode(&codec(), &long);
    assert_eq!(octets.len(), 4096);
    let Ok(Message::Notification(notification)) = codec().decode(&octets) else {
        panic!("a NOTIFICATION");
    };
    assert_eq!(notification.data, [7; 4075]);
}

#[test]
fn an_update_that_does_not_fit_leaves_the_buffer_as_it_was() {
    let prefixes = (0..2000u32).map(|index| {
        let address = std::net::Ipv4Addr::from(0x0a00_0000 | index << 6);
        let prefix = ipnet::Ipv4Net::new(address, 26).expect("a length");
        ipnet::IpNet::from(prefix).into()
    });
    let update = Update {
        withdrawn: prefixes.collect(),
        ..Update::default()
    };
    let mut out = vec![1, 2, 3];
    codec().encode(&Message::Update(update), &mut out);
    assert_eq!(out, [1, 2, 3]);
}

/// RFC 7313 §5.
#[test]
fn a_marker_of_a_wrong_length_is_answered_with_itself() {
    let enhanced = Codec {
        enhanced_route_refresh: true,
        ..codec()
    };
    for subtype in [1, 2] {
        for body in [&[0, 1, subtype][..], &[0, 1, subtype, 1, 0, 7]] {
            let octets = message(message_type::ROUTE_REFRESH, body);
            assert_eq!(enhanced.frame(&octets), Ok(Some(octets.len())));
            assert_eq!(
                enhanced.decode(&octets),
                Err(Notification::new(7, 1, &octets))
            );
        }
    }
    // Not so a request, of which RFC 7313 says nothing.
    for body in [&[0, 1, 0, 1, 9][..], &[0, 1], &[]] {
        let octets = message(message_type::ROUTE_REFRESH, body);
        let length = u16::try_from(octets.len()).expect("short").to_be_bytes();
        assert_eq!(
            enhanced.decode(&octets),
            Err(Notification::new(1, 2, &length))
        );
    }
}
