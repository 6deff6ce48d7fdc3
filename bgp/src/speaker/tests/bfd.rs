//! What BFD says of the paths, and what becomes of sessions and prefixes.

use super::played::*;
use super::*;
use crate::config::{BfdConfig, PeerConfig};
use crate::event::{BfdState, Event};
use crate::wire::iana::{cease, error_code};
use crate::wire::{Message, Notification, Open};

const BLOCK: &str = "10.9.0.0/26";
const NONE: [&str; 0] = [];

fn watched() -> PeerConfig {
    PeerConfig {
        bfd: Some(BfdConfig::default()),
        ..peer_config(PLAYED)
    }
}

fn open() -> Open {
    open_with(vec![Grace::new().capability()])
}

fn complete(config: PeerConfig) -> Played {
    let mut played = Played::start(config, open());
    played.announce(&[BLOCK]);
    played.end_of_rib(&BOTH);
    assert_eq!(played.prefixes(), [BLOCK]);
    played
}

fn say(played: &mut Played, state: BfdState) {
    let now = played.net.now;
    let speaker = &mut played.net.nodes[0].speaker;
    speaker.handle_bfd(now, address(PLAYED), state);
}

fn shown(played: &Played) -> Option<String> {
    played.net.view(0, PLAYED).bfd
}

#[test]
fn a_failed_path_ends_the_session_and_its_prefixes_are_not_kept() {
    let mut played = complete(watched());
    assert_eq!(shown(&played).as_deref(), Some("Unknown"));
    say(&mut played, BfdState::Up);
    assert_eq!(shown(&played).as_deref(), Some("Up"));
    let connection = played.connection;
    say(&mut played, BfdState::Down);
    // Graceful restart was agreed on, with notifications; this is a Hard Reset around BFD Down (RFC 9384).
    let (code, hard) = (error_code::CEASE, cease::HARD_RESET);
    let expected = Notification::new(code, hard, &[code, cease::BFD_DOWN]);
    let mut octets = Vec::new();
    let codec = &played.codec;
    codec.encode(&Message::Notification(expected), &mut octets);
    let said = played.net.sent(0, connection);
    assert!(said.ends_with(&octets), "{said:?}");
    played.net.settle();
    assert_eq!((played.prefixes(), played.stale()), (vec![], 0));
    assert_eq!(shown(&played).as_deref(), Some("Down"));
    let down = played.net.nodes[0].events.iter().find_map(|e| match e {
        Event::Down {
            reason, stale_kept, ..
        } => Some((reason.clone(), *stale_kept)),
        _ => None,
    });
    let (reason, stale_kept) = down.unwrap();
    assert!(reason.contains("BFD"), "{reason}");
    assert!(!stale_kept);
}

#[test]
fn it_comes_back_without_waiting_for_bfd() {
    let mut played = complete(watched());
    say(&mut played, BfdState::Down);
    played.net.run_for(1);
    played.connect(open());
    played.announce(&[BLOCK]);
    assert_eq!(played.prefixes(), [BLOCK]);
}

#[test]
fn an_administrator_who_switches_bfd_off_ends_nothing() {
    let mut played = complete(watched());
    say(&mut played, BfdState::Up);
    say(&mut played, BfdState::AdminDown);
    played.net.settle();
    assert_eq!(shown(&played).as_deref(), Some("AdminDown"));
    assert_eq!(played.net.view(0, PLAYED).state, "Established");
    assert_eq!(played.prefixes(), [BLOCK]);
}

#[test]
fn a_peer_that_restarts_keeps_its_prefixes_although_its_bfd_falls_silent() {
    let mut played = complete(watched());
    say(&mut played, BfdState::Up);
    played.lose();
    say(&mut played, BfdState::Down);
    played.net.settle();
    assert_eq!((played.prefixes(), played.stale()), (vec![BLOCK.into()], 1));
}

#[test]
fn a_peer_that_is_not_watched_does_not_listen_to_bfd() {
    let mut played = complete(peer_config(PLAYED));
    say(&mut played, BfdState::Down);
    played.net.settle();
    assert_eq!(shown(&played), None);
    assert_eq!(played.prefixes(), [BLOCK]);
    let speaker = &mut played.net.nodes[0].speaker;
    let stranger: std::net::IpAddr = "192.0.2.1".parse().unwrap();
    speaker.handle_bfd(played.net.now, stranger, BfdState::Down);
    assert_eq!(played.prefixes(), [BLOCK]);
}

#[test]
fn watching_is_switched_on_and_off_under_a_session() {
    let mut played = complete(peer_config(PLAYED));
    let wishes = |played: &Played| -> Vec<_> { played.net.nodes[0].speaker.bfd_wishes().collect() };
    assert_eq!(wishes(&played), []);
    let passive = |config: PeerConfig| PeerConfig {
        passive: true,
        ..config
    };
    played.net.peer(0, passive(watched()));
    let wish = &wishes(&played)[0];
    assert_eq!(
        (wish.remote.clone(), wish.local),
        (address(PLAYED).into(), Some(address(0)))
    );
    assert_eq!(wish.config, BfdConfig::default());
    played.net.peer(0, passive(peer_config(PLAYED)));
    assert_eq!(wishes(&played), []);
    played.net.settle();
    assert_eq!(played.net.view(0, PLAYED).flaps, 0);
    assert_ne!(played.prefixes(), NONE);
}

#[test]
fn a_peer_that_is_shut_down_is_not_watched() {
    let mut played = complete(watched());
    played.net.peer(
        0,
        PeerConfig {
            passive: true,
            shutdown: Some("maintenance".to_owned()),
            ..watched()
        },
    );
    let speaker = &played.net.nodes[0].speaker;
    assert_eq!(speaker.bfd_wishes().count(), 0);
}

#[test]
fn a_path_that_fails_again_and_again_is_tried_later_each_time() {
    let mut played = complete(watched());
    for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
        say(&mut played, BfdState::Up);
        say(&mut played, BfdState::Down);
        played.net.settle();
        let held = played.net.view(0, PLAYED).held.unwrap();
        // Jittered by up to a quarter (RFC 4271 §10).
        let is_about = |said: u64| said <= seconds && said * 4 + 4 >= seconds * 3;
        let said = held.rsplit(' ').nth(1).unwrap().parse().unwrap();
        assert!(is_about(said), "{held}");
        assert!(held.contains("BFD Down"), "{held}");
        assert!(played.net.dial(PLAYED, 0).is_err());
        played.net.run_for(seconds);
        played.connect(open());
    }
    // What lasts is forgiven.
    played.net.now = played.net.now + std::time::Duration::from_secs(61);
    say(&mut played, BfdState::Down);
    played.net.settle();
    let held = played.net.view(0, PLAYED).held.unwrap();
    assert!(held.ends_with("again in 1 s"), "{held}");
}

#[test]
fn in_strict_mode_there_is_no_session_before_bfd_is_up() {
    let strict = |node| PeerConfig {
        bfd: Some(BfdConfig {
            strict: true,
            ..BfdConfig::default()
        }),
        ..peer_config(node)
    };
    let mut net = Net::new(2);
    net.peer(0, strict(1));
    net.peer(1, peer_config(0));
    net.run_for(60);
    let view = net.view(0, 1);
    assert_eq!(view.held.as_deref(), Some("waits for BFD to be up"));
    assert!(view.errors.connections_refused > 1, "{:?}", view.errors);
    assert_eq!(view.errors.connections_failed, 0, "{:?}", view.errors);
    let now = net.now;
    net.nodes[0]
        .speaker
        .handle_bfd(now, address(1), BfdState::Up);
    net.run_for(1);
    assert_eq!(net.view(0, 1).state, "Established");
    let now = net.now;
    net.nodes[0]
        .speaker
        .handle_bfd(now, address(1), BfdState::Down);
    net.run_for(60);
    assert_eq!(
        net.view(0, 1).held.as_deref(),
        Some("waits for BFD to be up")
    );
    // Switched off by the other side's operator: BFD has nothing to say.
    let now = net.now;
    let speaker = &mut net.nodes[0].speaker;
    speaker.handle_bfd(now, address(1), BfdState::AdminDown);
    net.run_for(1);
    assert_eq!(net.view(0, 1).state, "Established");
}
