//! RFC 4724 and RFC 8538 line by line, with a peer that the test plays.

use super::played::*;
use super::*;
use crate::config::SpeakerConfig;
use crate::event::Event;
use crate::wire::iana::{cease, error_code};
use crate::wire::{Family, Open};

const V4: Family = Family::Ipv4Unicast;
const V6: Family = Family::Ipv6Unicast;
const BLOCK: &str = "10.9.0.0/26";
const OTHER: &str = "10.9.1.0/26";
const SIX: &str = "fd00:9::/64";
const NONE: [&str; 0] = [];

fn open(grace: Grace) -> Open {
    open_with(vec![grace.capability()])
}

fn restarted() -> Grace {
    Grace {
        restarted: true,
        ..Grace::new()
    }
}

/// Established and complete, with a path of each family and one more.
fn complete(grace: Grace) -> Played {
    let mut played = Played::start(peer_config(PLAYED), open(grace));
    played.announce(&[BLOCK, OTHER, SIX]);
    played.end_of_rib(&BOTH);
    assert_eq!(played.prefixes(), [BLOCK, OTHER, SIX]);
    played
}

#[test]
fn a_family_that_the_peer_names_without_f_after_its_restart_is_dropped_and_the_other_stays() {
    let mut played = complete(Grace::new());
    played.lose();
    assert_eq!(played.stale(), 3);
    played.connect(open(Grace {
        families: vec![(V4, true), (V6, false)],
        ..restarted()
    }));
    assert_eq!(played.prefixes(), [BLOCK, OTHER]);
    assert_eq!(played.stale(), 2);
}

#[test]
fn a_family_that_the_new_capability_does_not_name_is_dropped() {
    let mut played = complete(Grace::new());
    played.lose();
    played.connect(open(Grace {
        families: vec![(V6, true)],
        ..restarted()
    }));
    assert_eq!(played.prefixes(), [SIX]);
}

#[test]
fn a_peer_that_offers_graceful_restart_for_one_family_keeps_only_that_one() {
    let mut played = complete(Grace {
        families: vec![(V6, false)],
        ..Grace::new()
    });
    // F says what was kept over the last restart (§3), and nothing about the next.
    played.lose();
    assert_eq!(played.prefixes(), [SIX]);
    assert_eq!(played.stale(), 1);
}

#[test]
fn restart_time_zero_keeps_nothing() {
    let mut played = complete(Grace {
        time_seconds: 0,
        ..Grace::new()
    });
    played.lose();
    assert_eq!(played.prefixes(), NONE);
    let events = played.net.events(0);
    let down = |event: &Event| {
        matches!(
            event,
            Event::Down {
                stale_kept: false,
                ..
            }
        )
    };
    assert!(events.iter().any(down), "{events:?}");
}

#[test]
fn restart_time_is_the_peers_and_not_ours() {
    let mut played = complete(Grace {
        time_seconds: 7,
        ..Grace::new()
    });
    played.lose();
    played.net.run_for(6);
    assert_eq!(played.stale(), 3);
    played.net.run_for(2);
    assert_eq!(played.prefixes(), NONE);
}

#[test]
fn what_is_said_again_before_a_second_break_is_kept_and_the_rest_is_not() {
    let mut played = complete(Grace::new());
    played.lose();
    played.connect(open(restarted()));
    played.announce(&[OTHER]);
    // IPv6 is complete, and is not what breaks for the second time.
    played.announce(&[SIX]);
    played.end_of_rib(&[V6]);
    played.lose();
    assert_eq!(played.prefixes(), [OTHER, SIX]);
    assert_eq!(played.stale(), 2);
}

#[test]
fn a_restarted_peer_that_never_sends_end_of_rib_is_waited_for_as_long_as_configured() {
    let mut config = peer_config(PLAYED);
    config.stale_path_time = std::time::Duration::from_secs(50);
    let mut played = Played::start(config, open(Grace::new()));
    played.announce(&[BLOCK, OTHER]);
    played.lose();
    played.connect(open(restarted()));
    played.announce(&[BLOCK]);
    played.stay_for(49);
    assert_eq!(played.prefixes(), [BLOCK, OTHER]);
    played.stay_for(2);
    assert_eq!(played.prefixes(), [BLOCK]);
    assert_eq!(played.net.view(0, PLAYED).state, "Established");
}

#[test]
fn end_of_rib_of_one_family_leaves_the_stale_paths_of_the_other() {
    let mut played = complete(Grace::new());
    played.lose();
    played.connect(open(restarted()));
    played.end_of_rib(&[V4]);
    assert_eq!(played.prefixes(), [SIX]);
    assert!(!played.net.view(0, PLAYED).end_of_rib);
    played.end_of_rib(&[V6]);
    assert_eq!(played.prefixes(), NONE);
}

#[test]
fn consecutive_restarts_go_by_the_capability_of_the_session_that_was_lost_and_of_the_new_one() {
    let mut played = complete(Grace::new());
    played.lose();
    // Back with IPv4 only: this is what the next loss goes by.
    played.connect(open(Grace {
        families: vec![(V4, true)],
        time_seconds: 5,
        ..restarted()
    }));
    played.announce(&[BLOCK, OTHER, SIX]);
    played.end_of_rib(&BOTH);
    played.lose();
    assert_eq!(played.prefixes(), [BLOCK, OTHER]);
    played.net.run_for(4);
    // Back without any: nothing that was kept may stay.
    played.connect(open_with(Vec::new()));
    assert_eq!(played.prefixes(), NONE);
    played.announce(&[BLOCK]);
    played.lose();
    assert_eq!(played.prefixes(), NONE);
}

#[test]
fn the_hold_timer_keeps_paths_when_both_set_n() {
    for (notification, kept) in [(true, 3), (false, 0)] {
        let mut played = complete(Grace {
            notification,
            ..Grace::new()
        });
        played.net.run_for(91);
        assert_eq!(played.net.view(0, PLAYED).state, "Active");
        assert_eq!(played.prefixes().len(), kept, "N is {notification}");
    }
}

#[test]
fn a_notification_keeps_paths_when_both_set_n_and_a_hard_reset_never_does() {
    let reset = [error_code::CEASE, cease::ADMINISTRATIVE_RESET];
    for (notification, subcode, data, kept) in [
        (true, cease::ADMINISTRATIVE_RESET, &[][..], 3),
        (false, cease::ADMINISTRATIVE_RESET, &[][..], 0),
        (true, cease::HARD_RESET, &reset[..], 0),
        (false, cease::HARD_RESET, &reset[..], 0),
    ] {
        let mut played = complete(Grace {
            notification,
            ..Grace::new()
        });
        played.notify(error_code::CEASE, subcode, data);
        assert_eq!(
            played.prefixes().len(),
            kept,
            "N {notification}, subcode {subcode}"
        );
    }
}

#[test]
fn a_peer_need_not_set_r_to_get_its_paths_back_after_a_notification() {
    // RFC 8538 §4: nobody has restarted.
    let mut played = complete(Grace::new());
    played.notify(error_code::HOLD_TIMER_EXPIRED, 0, &[]);
    played.connect(open(Grace::new()));
    assert_eq!(played.stale(), 3);
    played.announce(&[BLOCK]);
    played.end_of_rib(&BOTH);
    assert_eq!(played.prefixes(), [BLOCK]);
    assert_eq!(played.stale(), 0);
}

/// A net whose node 0 restarts, with the played peer and node 1.
fn restarting() -> Net {
    let mut net = Net::new(2);
    net.replace(
        0,
        SpeakerConfig {
            restarting: true,
            ..speaker_config(0)
        },
    );
    let mut config = peer_config(PLAYED);
    config.passive = true;
    net.peer(0, config);
    net.peer(0, peer_config(1));
    net.peer(1, peer_config(0));
    net
}

#[test]
fn a_speaker_that_restarts_helps_a_peer_that_restarts_too() {
    let mut played = Played::join(restarting(), open(Grace::new()));
    played.announce(&[BLOCK, OTHER]);
    assert!(played.net.view(0, PLAYED).deferral_pending);
    played.lose();
    assert_eq!(played.stale(), 2, "kept, although we are not complete");
    played.connect(open(restarted()));
    played.announce(&[BLOCK]);
    played.end_of_rib(&BOTH);
    assert_eq!(played.prefixes(), [BLOCK]);
    assert!(!played.net.view(0, PLAYED).deferral_pending);
}

#[test]
fn restart_state_is_said_until_the_peer_is_complete_and_again_when_the_session_is_lost_before() {
    let says_restarted = |played: &mut Played| {
        let connection = played.net.dial(PLAYED, 0).unwrap();
        let sent = played.net.sent(0, connection);
        let now = played.net.now;
        played.net.nodes[0]
            .speaker
            .handle_closed(now, connection, "closed by peer");
        let crate::wire::Message::Open(open) = crate::wire::Codec::initial().decode(&sent).unwrap()
        else {
            panic!("{sent:?}");
        };
        open.capabilities.iter().any(|capability| {
            matches!(
                capability,
                crate::wire::Capability::GracefulRestart {
                    restarted: true,
                    ..
                }
            )
        })
    };
    let mut played = Played::join(restarting(), open(Grace::new()));
    played.lose();
    assert!(says_restarted(&mut played));
    played.connect(open(restarted()));
    played.end_of_rib(&BOTH);
    played.lose();
    assert!(!says_restarted(&mut played), "its paths are all here");
}

#[test]
fn deferral_ends_for_each_peer_on_its_own_also_for_one_that_is_lost_meanwhile() {
    let mut played = Played::join(restarting(), open(Grace::new()));
    played.net.run_for(20);
    assert!(!played.net.view(0, 1).deferral_pending);
    played.lose();
    assert!(played.net.view(0, PLAYED).deferral_pending);
    played.net.run_for(41);
    assert!(!played.net.view(0, PLAYED).deferral_pending);
    let events = played.net.events(0);
    let over = |event: &&Event| matches!(event, Event::DeferralOver { .. });
    assert_eq!(events.iter().filter(over).count(), 2);
}

#[test]
fn a_shutdown_says_why_in_the_operators_words() {
    let words = "new kernel, back at ten";
    let mut net = Net::mesh(2);
    let now = net.now;
    net.nodes[1].speaker.shut_down(now, false, words);
    net.settle();
    let hard = "Cease: Hard Reset (Administrative Shutdown \"new kernel, back at ten\")";
    let error = |net: &Net, node, of| net.view(node, of).last_error;
    assert_eq!(error(&net, 0, 1), Some(format!("received {hard}")));
    assert_eq!(error(&net, 1, 0), Some(format!("sent {hard}")));
    // And where NOTIFICATIONs are not graceful, as RFC 9003 has it.
    let mut played = Played::start(peer_config(PLAYED), open_with(Vec::new()));
    played.net.sent(0, played.connection);
    let now = played.net.now;
    played.net.nodes[0].speaker.shut_down(now, false, words);
    let sent = played.net.sent(0, played.connection);
    let crate::wire::Message::Notification(notification) = played.codec.decode(&sent).unwrap()
    else {
        panic!("{sent:?}");
    };
    assert_eq!(notification.communication().as_deref(), Some(words));
}
