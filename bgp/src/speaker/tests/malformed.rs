//! What a peer may say wrongly (RFC 4271 §6, RFC 7606), said in a session that has good routes: before, beside it and
//! after. Decoding each is the matter of `wire`; here is what becomes of the session, its routes, and everybody else.

use super::hostile::{codec, good_open, net};
use super::*;
use crate::event::{ConnectionId, Event};
use crate::wire::Family;
use crate::wire::iana::message_type;
use crate::wire::testing::{
    PREFIX, attribute, lost_families, malformed_attributes, mandatory, message, update,
};
use crate::wire::{AttributeErrorAction, Codec, Message, Notification};

/// 10.0.0.0/8, 203.0.113.0/24 and 192.88.99.0/24 as NLRI.
const EARLY: [u8; 2] = [8, 10];
const GOOD: [u8; 4] = [24, 203, 0, 113];
const LATE: [u8; 4] = [24, 192, 88, 99];

/// A good UPDATE that announces this.
pub(super) fn good(announced: &[u8]) -> Vec<u8> {
    update(&[], &mandatory().concat(), announced)
}

/// A session with peer 8, which has announced two prefixes.
pub(super) fn session(net: &mut Net) -> ConnectionId {
    let connection = net.dial(8, 0).unwrap();
    let mut bytes = Vec::new();
    Codec::initial().encode(&Message::Open(good_open()), &mut bytes);
    Codec::initial().encode(&Message::Keepalive, &mut bytes);
    say(net, connection, &bytes);
    say(net, connection, &good(&[&EARLY[..], &GOOD].concat()));
    net.settle();
    assert_eq!(net.view(0, 8).state, "Established");
    assert!(net.has(0, "10.0.0.0/8") && net.has(0, "203.0.113.0/24"));
    net.events(0);
    connection
}

pub(super) fn say(net: &mut Net, connection: ConnectionId, bytes: &[u8]) {
    let now = net.now;
    net.nodes[0].speaker.handle_bytes(now, connection, bytes);
}

/// What the speaker said last on this connection, if that was a NOTIFICATION.
pub(super) fn last_words(net: &mut Net, connection: ConnectionId) -> Option<Notification> {
    let sent = net.sent(0, connection);
    let mut rest = sent.as_slice();
    let mut last = None;
    while !rest.is_empty() {
        let length = codec().frame(rest).unwrap().unwrap();
        last = Some(rest[..length].to_vec());
        rest = &rest[length..];
    }
    match codec().decode(&last?) {
        Ok(Message::Notification(notification)) => Some(notification),
        _ => None,
    }
}

/// Node 1, which has nothing to do with it.
fn assert_the_other_is_unharmed(net: &mut Net, what: &str) {
    net.settle();
    let other = net.view(0, 1);
    assert_eq!(
        (other.state.as_str(), other.flaps),
        ("Established", 0),
        "{what}"
    );
    assert!(net.has(0, "10.233.1.0/26"), "{what}");
}

#[test]
fn each_malformed_attribute_costs_at_most_the_prefixes_beside_it() {
    let mut net = net();
    for (section, what, bad, action) in malformed_attributes() {
        let what = format!("{section} {what}");
        let connection = session(&mut net);
        let mut attributes = mandatory();
        match attributes.iter_mut().find(|one| one[1] == bad[1]) {
            Some(one) => *one = bad,
            None => attributes.push(bad),
        }
        let octets = update(&EARLY, &attributes.concat(), &PREFIX);
        // In the same segment as a good one.
        say(&mut net, connection, &[octets, good(&LATE)].concat());
        assert_eq!(last_words(&mut net, connection), None, "{what}");
        net.settle();

        let view = net.view(0, 8);
        assert_eq!(view.state, "Established", "{what}: {:?}", view.last_error);
        let told = |event: &Event| matches!(event, Event::UpdateError { .. });
        assert_eq!(
            net.events(0).iter().filter(|event| told(event)).count(),
            1,
            "{what}"
        );
        assert!(net.has(0, "203.0.113.0/24"), "{what}: what was before");
        assert!(net.has(0, "192.88.99.0/24"), "{what}: what comes after");
        assert!(!net.has(0, "10.0.0.0/8"), "{what}: what it withdraws");
        let kept = action == AttributeErrorAction::Discard;
        assert_eq!(net.has(0, "198.51.100.0/24"), kept, "{what}: beside it");

        let now = net.now;
        let speaker = &mut net.nodes[0].speaker;
        speaker.handle_closed(now, connection, "the next one");
        assert_the_other_is_unharmed(&mut net, &what);
    }
}

/// RFC 4760 §7, RFC 7606 §2: AFI/SAFI disable.
#[test]
fn of_a_family_whose_prefixes_cannot_be_read_nothing_is_left_and_nothing_more_is_taken() {
    let mut net = net();
    let mut families_lost = 0;
    for (section, what, bad, _) in lost_families() {
        let what = format!("{section} {what}");
        let connection = session(&mut net);
        let announce_v6 = |octet: u8| {
            let mut reach = vec![0, 2, 1, 16];
            reach.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0]);
            reach.extend([16, 0xfd, octet]);
            let attributes = [attribute(0x80, 14, &reach), mandatory()[..2].concat()];
            update(&[], &attributes.concat(), &[])
        };
        say(&mut net, connection, &announce_v6(1));
        net.settle();
        assert!(net.has(0, "fd01::/16"), "{what}");
        net.events(0);

        let bad = update(&EARLY, &[bad, mandatory().concat()].concat(), &PREFIX);
        let later = [announce_v6(2), good(&LATE)].concat();
        say(&mut net, connection, &[bad, later].concat());
        net.settle();
        assert_eq!(last_words(&mut net, connection), None, "{what}");
        assert_eq!(net.view(0, 8).state, "Established", "{what}");
        for (prefix, has) in [
            ("fd01::/16", false),
            ("fd02::/16", false),
            ("10.0.0.0/8", false),
            ("203.0.113.0/24", true),
            ("198.51.100.0/24", true),
            ("192.88.99.0/24", true),
        ] {
            assert_eq!(net.has(0, prefix), has, "{what}: {prefix}");
        }
        let told = |event: &Event| matches!(event, Event::UpdateError { detail, .. } if detail.contains("disabled"));
        let events = net.events(0);
        assert_eq!(
            events.iter().filter(|event| told(event)).count(),
            1,
            "{what}"
        );
        let lost = |event: &Event| {
            matches!(
                event,
                Event::FamilyDisabled {
                    family: Family::Ipv6Unicast,
                    ..
                }
            )
        };
        assert_eq!(
            events.iter().filter(|event| lost(event)).count(),
            1,
            "{what}"
        );
        let view = net.view(0, 8);
        let disabled = view
            .by_family
            .iter()
            .map(|view| (view.family, view.disabled));
        let expected = [(Family::Ipv4Unicast, false), (Family::Ipv6Unicast, true)];
        assert!(disabled.eq(expected), "{what}: {view:?}");
        families_lost += 1;
        assert_eq!(view.errors.families_disabled, families_lost, "{what}");

        let now = net.now;
        let speaker = &mut net.nodes[0].speaker;
        speaker.handle_closed(now, connection, "the next one");
        assert_the_other_is_unharmed(&mut net, &what);
    }
}

/// (section, what, octets, answer)
pub(super) type Reset = (&'static str, &'static str, Vec<u8>, Notification);

/// Everything that ends an established session.
pub(super) fn resets() -> Vec<Reset> {
    let n = Notification::new;
    let update_with = |attribute: Vec<u8>, announced: &[u8]| {
        let mut attributes = mandatory();
        attributes.retain(|one| one[1] != attribute[1]);
        attributes.push(attribute);
        update(&[], &attributes.concat(), announced)
    };
    let changed = |at: usize, octets: &[u8]| {
        let mut message = good(&PREFIX);
        message[at..at + octets.len()].copy_from_slice(octets);
        message
    };
    let of = |attribute: &[u8]| attribute.to_vec();
    let origin = attribute(0x40, 1, &[3]);
    let next_hop = attribute(0x40, 3, &[224, 0, 0, 1]);
    let as_path = attribute(0x40, 2, &[9, 1]);
    let flags = attribute(0xc0, 1, &[0]);
    let length = attribute(0x80, 4, &[0]);
    let unknown = attribute(0x40, 99, &[7]);
    let mut refused_open = Vec::new();
    Codec::initial().encode(&Message::Open(good_open()), &mut refused_open);
    vec![
        ("6.1", "marker", changed(3, &[0]), n(1, 1, &[])),
        ("6.1", "length 18", changed(16, &[0, 18]), n(1, 2, &[0, 18])),
        (
            "6.1",
            "length 65535",
            changed(16, &[255, 255]),
            n(1, 2, &[255, 255]),
        ),
        (
            "6.1",
            "UPDATE of 22 octets",
            message(message_type::UPDATE, &[0; 3]),
            n(1, 2, &[0, 22]),
        ),
        (
            "6.1",
            "KEEPALIVE of 20 octets",
            message(message_type::KEEPALIVE, &[0]),
            n(1, 2, &[0, 20]),
        ),
        (
            "6.1",
            "NOTIFICATION of 20 octets",
            message(message_type::NOTIFICATION, &[6]),
            n(1, 2, &[0, 20]),
        ),
        ("6.1", "type 0", message(0, &[0; 4]), n(1, 3, &[0])),
        ("6.1", "type 77", message(77, &[0; 4]), n(1, 3, &[77])),
        (
            "6.3",
            "withdrawn routes too long",
            changed(19, &[255, 0]),
            n(3, 1, &[]),
        ),
        (
            "6.3",
            "attributes too long",
            changed(21, &[255, 0]),
            n(3, 1, &[]),
        ),
        (
            "6.3",
            "unrecognised well-known",
            update_with(of(&unknown), &PREFIX),
            n(3, 2, &unknown),
        ),
        (
            "6.3",
            "flags, no prefix",
            update_with(of(&flags), &[]),
            n(3, 4, &flags),
        ),
        (
            "6.3",
            "length, no prefix",
            update_with(of(&length), &[]),
            n(3, 5, &length),
        ),
        (
            "6.3",
            "ORIGIN, no prefix",
            update_with(of(&origin), &[]),
            n(3, 6, &origin),
        ),
        (
            "6.3",
            "NEXT_HOP, no prefix",
            update_with(of(&next_hop), &[]),
            n(3, 8, &next_hop),
        ),
        (
            "6.3",
            "AS_PATH, no prefix",
            update_with(of(&as_path), &[]),
            n(3, 11, &as_path),
        ),
        ("6.3", "prefix of 33 bits", good(&[33; 6]), n(3, 10, &[])),
        ("6.3", "prefix cut", good(&[24, 10]), n(3, 10, &[])),
        (
            "6.3",
            "withdrawn prefix of 33 bits",
            update(&[33; 6], &[], &[]),
            n(3, 10, &[]),
        ),
        ("RFC 6608", "a second OPEN", refused_open, n(5, 3, &[])),
    ]
}

#[test]
fn each_error_that_ends_a_session_is_answered_by_its_number_and_data() {
    let mut net = net();
    for (section, what, octets, answer) in resets() {
        let what = format!("{section} {what}");
        let connection = session(&mut net);
        // What comes behind it in the same segment is not heard any more.
        say(&mut net, connection, &[octets, good(&LATE)].concat());
        assert_eq!(
            last_words(&mut net, connection),
            Some(answer.clone()),
            "{what}"
        );
        net.settle();
        let view = net.view(0, 8);
        assert_eq!(view.state, "Idle", "{what}");
        let error = view.last_error.unwrap_or_default();
        assert!(error.contains(&answer.to_string()), "{what}: {error}");
        assert_eq!(
            net.prefixes(0),
            ["10.233.1.0/26"],
            "{what}: nothing is left"
        );
        // When it is no longer held idle, it may try again; `session` looks whether its routes are back.
        net.run_for(61);
        assert_the_other_is_unharmed(&mut net, &what);
    }
}

/// OPENs, and messages before their time, on a new connection (RFC 4271 §6.2, RFC 6608).
pub(super) fn refusals() -> Vec<Reset> {
    let n = Notification::new;
    let open = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut octets = Vec::new();
        Codec::initial().encode(&Message::Open(good_open()), &mut octets);
        change(&mut octets);
        octets
    };
    let parameters = |parameters: &[u8]| {
        let length = u8::try_from(parameters.len()).unwrap();
        let front = [4, 0xfc, 0, 0, 90, 10, 0, 0, 9, length];
        message(message_type::OPEN, &[&front, parameters].concat())
    };
    let keepalive = message(message_type::KEEPALIVE, &[]);
    vec![
        ("6.2", "version 3", open(&|o| o[19] = 3), n(2, 1, &[0, 4])),
        (
            "6.2",
            "another AS",
            parameters(&[2, 6, 65, 4, 0, 0, 0xfd, 0]),
            n(2, 2, &[]),
        ),
        ("6.2", "hold time 1", open(&|o| o[23] = 1), n(2, 6, &[])),
        ("6.2", "hold time 2", open(&|o| o[23] = 2), n(2, 6, &[])),
        (
            "6.2",
            "identifier 0.0.0.0",
            open(&|o| o[24..28].fill(0)),
            n(2, 3, &[]),
        ),
        (
            "6.2",
            "our own identifier",
            open(&|o| o[27] = 1),
            n(2, 3, &[]),
        ),
        ("6.2", "a parameter 77", parameters(&[77, 0]), n(2, 4, &[])),
        (
            "6.2",
            "a parameter that overruns",
            parameters(&[2, 200, 1]),
            n(2, 0, &[]),
        ),
        (
            "6.1",
            "OPEN of 28 octets",
            message(1, &[0; 9]),
            n(1, 2, &[0, 28]),
        ),
        (
            "RFC 5492",
            "no family in common",
            parameters(&[2, 12, 1, 4, 0, 25, 0, 70, 65, 4, 0, 0, 0xfc, 0]),
            n(2, 7, &[1, 4, 0, 1, 0, 1, 1, 4, 0, 2, 0, 1]),
        ),
        ("RFC 6608", "KEEPALIVE first", keepalive, n(5, 1, &[])),
        ("RFC 6608", "UPDATE first", good(&PREFIX), n(5, 1, &[])),
        (
            "RFC 6608",
            "UPDATE before KEEPALIVE",
            [open(&|_| {}), good(&PREFIX)].concat(),
            n(5, 2, &[]),
        ),
    ]
}

#[test]
fn each_open_that_cannot_be_accepted_is_answered_by_its_number_and_data() {
    let mut net = net();
    for (section, what, octets, answer) in refusals() {
        let what = format!("{section} {what}");
        let connection = net.dial(8, 0).unwrap();
        say(&mut net, connection, &octets);
        let said = last_words(&mut net, connection);
        assert_eq!(said, Some(answer), "{what}");
        net.settle();
        assert_eq!(net.view(0, 8).state, "Idle", "{what}");
        assert_eq!(net.prefixes(0), ["10.233.1.0/26"], "{what}");
        net.run_for(61);
        assert_the_other_is_unharmed(&mut net, &what);
    }
    // It has never been Established, and after all that it can be.
    assert_eq!(net.view(0, 8).flaps, 0);
    session(&mut net);
}
