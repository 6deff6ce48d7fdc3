//! Every NOTIFICATION that we can send: how it comes about, and its data (RFC 4271 §4.5, §6, RFC 4486, 5492, 6608,
//! 7313, 8538, 9234, 9384). What octets alone provoke is in `malformed`; here is the rest, and that nothing is missing.

use std::collections::BTreeSet;
use std::time::Duration;

use super::hostile::good_open;
use super::malformed::{good, last_words, refusals, resets, say};
use super::played::{Grace, PLAYED, open_with};
use super::*;
use crate::config::{BfdConfig, LimitAction, PeerConfig, PrefixLimit};
use crate::event::{BfdState, ConnectionId};
use crate::speaker::{Reset, Speaker};
use crate::time::Time;
use crate::wire::iana::{error_subcode_name, message_type};
use crate::wire::testing::{attribute, mandatory, message, update};
use crate::wire::{Capability, Codec, Family, Message, Notification, Open, Role};

/// One way to a NOTIFICATION.
struct Way {
    section: &'static str,
    what: &'static str,
    config: PeerConfig,
    /// `None`: it says nothing before.
    open: Option<Open>,
    provoke: fn(&mut Speaker, Time, ConnectionId),
    answer: Notification,
}

/// An established session, and what then happens to it.
fn way(
    section: &'static str,
    what: &'static str,
    provoke: fn(&mut Speaker, Time, ConnectionId),
    answer: Notification,
) -> Way {
    Way {
        section,
        what,
        config: played(),
        open: Some(good_open()),
        provoke,
        answer,
    }
}

fn played() -> PeerConfig {
    PeerConfig {
        passive: true,
        ..peer_config(PLAYED)
    }
}

fn ways() -> Vec<Way> {
    let n = Notification::new;
    let hold_timer = |speaker: &mut Speaker, now: Time, _| {
        speaker.handle_timeout(now + Duration::from_secs(90));
    };
    let reset = |speaker: &mut Speaker, now: Time, _| {
        let done = speaker.reset_peer(now, address(PLAYED), Reset::Hard, "now");
        done.unwrap();
    };
    let limited = |speaker: &mut Speaker, now: Time, _| {
        let limit = PrefixLimit {
            max: 1,
            warn_percent: None,
            action: LimitAction::Stop,
        };
        let prefix_limits = [(Family::Ipv4Unicast, limit)].into();
        speaker.set_peer(
            now,
            PeerConfig {
                prefix_limits,
                ..played()
            },
        );
    };
    let shut = |speaker: &mut Speaker, now: Time, _| {
        let shutdown = Some("bye".to_owned());
        speaker.set_peer(
            now,
            PeerConfig {
                shutdown,
                ..played()
            },
        );
    };
    let changed = |speaker: &mut Speaker, now: Time, _| {
        let hold_time = Duration::from_secs(30);
        speaker.set_peer(
            now,
            PeerConfig {
                hold_time,
                ..played()
            },
        );
    };
    let removed = |speaker: &mut Speaker, now: Time, _| speaker.remove_peer(now, address(PLAYED));
    let path_fails = |speaker: &mut Speaker, now: Time, _| {
        speaker.handle_bfd(now, address(PLAYED), BfdState::Down);
    };
    let attributes_without_family = |speaker: &mut Speaker, now: Time, connection| {
        let attributes = [attribute(0x80, 14, &[0, 2]), mandatory().concat()].concat();
        speaker.handle_bytes(now, connection, &update(&[], &attributes, &[]));
    };
    let long_refresh = |speaker: &mut Speaker, now: Time, connection| {
        speaker.handle_bytes(now, connection, &long_refresh());
    };
    let keepalive = |speaker: &mut Speaker, now: Time, connection| {
        speaker.handle_bytes(now, connection, &message(message_type::KEEPALIVE, &[]));
    };
    let nothing = |_: &mut Speaker, _: Time, _| {};
    let delayed = PeerConfig {
        delay_open: Some(Duration::from_secs(10)),
        ..played()
    };
    let external = PeerConfig {
        role: Some(Role::Provider),
        ..PeerConfig::new(address(PLAYED), 65000, 64512)
    };
    let external_open = |role: Vec<Capability>| Open {
        asn: 65000,
        capabilities: [vec![Capability::FourOctetAs(65000)], role].concat(),
        ..good_open()
    };
    let unknown_role = Capability::Unknown {
        code: 9,
        value: vec![77],
    };
    let roles = vec![
        (
            "RFC 9234 4.2",
            "a role that does not fit",
            vec![Capability::Role(Role::Peer)],
            false,
        ),
        (
            "RFC 9234 4.2",
            "a role without a name",
            vec![unknown_role],
            false,
        ),
        (
            "RFC 9234 4.2",
            "two roles, of which one fits",
            vec![
                Capability::Role(Role::Customer),
                Capability::Role(Role::Peer),
            ],
            false,
        ),
        ("RFC 9234 4.2", "no role, strict", vec![], true),
    ];
    let mut ways = vec![
        way(
            "6.3, RFC 7606 5.3",
            "MP_REACH_NLRI without a family",
            attributes_without_family,
            n(3, 9, &attribute(0x80, 14, &[0, 2])),
        ),
        way("6.5", "nothing for the hold time", hold_timer, n(4, 0, &[])),
        Way {
            config: delayed,
            open: None,
            ..way(
                "RFC 6608",
                "KEEPALIVE before any OPEN",
                keepalive,
                n(5, 0, &[]),
            )
        },
        way(
            "6.7, RFC 4486 4",
            "too many prefixes",
            limited,
            n(6, 1, &[0, 1, 1, 0, 0, 0, 1]),
        ),
        way("RFC 4486 4, 9003 2", "shut down", shut, n(6, 2, b"\x03bye")),
        way("RFC 4486 4", "removed", removed, n(6, 3, &[])),
        way("RFC 4486 4, 9003 2", "reset", reset, n(6, 4, b"\x03now")),
        way("RFC 4486 4", "configured otherwise", changed, n(6, 6, &[])),
        Way {
            open: Some(open_with(vec![Grace::new().capability()])),
            ..way(
                "RFC 8538 3.1",
                "reset, with graceful NOTIFICATIONs",
                reset,
                n(6, 9, b"\x06\x04\x03now"),
            )
        },
        Way {
            config: PeerConfig {
                bfd: Some(BfdConfig::default()),
                ..played()
            },
            ..way(
                "RFC 9384 3",
                "BFD says that the path has failed",
                path_fails,
                n(6, 10, &[]),
            )
        },
        Way {
            open: Some(open_with(vec![Capability::EnhancedRouteRefresh])),
            ..way(
                "RFC 7313 5",
                "ROUTE-REFRESH that is too long",
                long_refresh,
                n(7, 1, &self::long_refresh()),
            )
        },
    ];
    ways.extend(
        roles
            .into_iter()
            .map(|(section, what, said, role_strict)| Way {
                config: PeerConfig {
                    role_strict,
                    passive: true,
                    ..external.clone()
                },
                open: Some(external_open(said)),
                ..way(section, what, nothing, n(2, 11, &[]))
            }),
    );
    ways
}

/// BoRR (RFC 7313 §4) with an octet too many.
fn long_refresh() -> Vec<u8> {
    message(message_type::ROUTE_REFRESH, &[0, 1, 1, 1, 0])
}

/// What we have no use for.
const NEVER: [(u8, u8, &str); 3] = [
    (
        3,
        3,
        "RFC 7606 §3 d: a missing attribute is treat-as-withdraw",
    ),
    (
        6,
        5,
        "a connection that is not wanted is closed before anything is said",
    ),
    (
        6,
        8,
        "memory is bounded for each connection, and what has no room waits",
    ),
];

#[test]
fn each_notification_that_no_octets_provoke_has_its_number_and_data() {
    for way in ways() {
        let what = format!("{} {}", way.section, way.what);
        let mut net = Net::new(1);
        net.peer(0, way.config);
        let connection = net.dial(PLAYED, 0).unwrap();
        if let Some(open) = way.open {
            let mut bytes = Vec::new();
            Codec::initial().encode(&Message::Open(open), &mut bytes);
            Codec::initial().encode(&Message::Keepalive, &mut bytes);
            bytes.extend(good(&[8, 10, 8, 11]));
            say(&mut net, connection, &bytes);
        }
        let now = net.now;
        (way.provoke)(&mut net.nodes[0].speaker, now, connection);
        assert_eq!(last_words(&mut net, connection), Some(way.answer), "{what}");
    }
}

#[test]
fn a_connection_that_comes_too_late_is_told_so() {
    let mut net = super::hostile::net();
    let session = super::malformed::session(&mut net);
    let late = net.dial(PLAYED, 0).unwrap();
    let mut open = Vec::new();
    Codec::initial().encode(&Message::Open(good_open()), &mut open);
    say(&mut net, late, &open);
    let collision = Notification::new(6, COLLISION, &[]);
    assert_eq!(last_words(&mut net, late), Some(collision));
    assert_ne!(session, late);
}

/// Connection Collision Resolution.
const COLLISION: u8 = 7;

#[test]
fn no_notification_with_a_name_is_left_out() {
    let octets = resets().into_iter().chain(refusals());
    let provoked = octets.map(|(_, _, _, answer)| answer);
    let provoked = provoked.chain(ways().into_iter().map(|way| way.answer));
    let mut provoked: BTreeSet<(u8, u8)> = provoked.map(|n| (n.code, n.subcode)).collect();
    assert!(provoked.insert((6, COLLISION)));
    for (code, subcode, why) in NEVER {
        assert!(
            provoked.insert((code, subcode)),
            "{code}/{subcode}: {why}, and yet it is sent"
        );
    }
    for code in 1..=u8::MAX {
        for subcode in 1..=u8::MAX {
            if let Some(name) = error_subcode_name(code, subcode) {
                assert!(
                    provoked.contains(&(code, subcode)),
                    "{code}/{subcode} {name}"
                );
            }
        }
    }
}
