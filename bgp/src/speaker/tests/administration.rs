//! Peers that the operator shuts down, resets and configures otherwise.

use super::played::{Grace, PLAYED, Played, open_with};
use super::*;
use crate::config::PeerConfig;
use crate::event::Event;
use crate::speaker::Reset;

fn down(words: &str) -> PeerConfig {
    PeerConfig {
        shutdown: Some(words.to_owned()),
        ..peer_config(1)
    }
}

fn reason_of_down(events: &[Event]) -> &str {
    let mut reasons = events.iter().filter_map(|event| match event {
        Event::Down { reason, .. } => Some(reason.as_str()),
        _ => None,
    });
    reasons.next_back().unwrap_or("no session went down")
}

#[test]
fn a_peer_that_is_shut_down_hears_why_and_has_no_session_until_it_may() {
    let mut net = Net::mesh(2);
    net.originate(1, "10.233.1.0/26");
    net.settle();
    net.events(1);
    net.peer(0, down("maintenance till five"));
    net.run_for(120);

    let view = net.view(0, 1);
    assert_eq!((view.state.as_str(), view.flaps), ("Idle", 1));
    assert_eq!(
        view.held.as_deref(),
        Some("administratively down: maintenance till five")
    );
    assert_eq!(net.prefixes(0), [] as [String; 0]);
    let events = net.events(1);
    assert_eq!(
        reason_of_down(&events),
        "received Cease: Hard Reset (Administrative Shutdown \"maintenance till five\")"
    );
    let refused = net.dial(1, 0);
    assert_eq!(
        refused.unwrap_err(),
        "peer 10.0.0.2: administratively down: maintenance till five"
    );

    // Other words change nothing but what is shown.
    net.peer(0, down(""));
    net.run_for(10);
    let view = net.view(0, 1);
    assert_eq!(view.held.as_deref(), Some("administratively down"));
    assert_eq!(view.flaps, 1);

    net.peer(0, peer_config(1));
    net.run_for(10);
    let view = net.view(0, 1);
    assert_eq!((view.state.as_str(), view.held), ("Established", None));
    assert_eq!(net.prefixes(0), ["10.233.1.0/26"]);
}

#[test]
fn what_is_shut_by_hand_stays_shut_until_it_is_brought_up_by_hand() {
    let mut net = Net::mesh(2);
    net.settle();
    let now = net.now;
    let speaker = &mut net.nodes[0].speaker;
    let stranger: std::net::IpAddr = "192.0.2.9".parse().unwrap();
    let unknown = Err("192.0.2.9 is not a configured peer".to_owned());
    assert_eq!(speaker.shut_peer(now, stranger, ""), unknown);
    assert_eq!(speaker.bring_up_peer(now, stranger), unknown);
    let up = Err("peer 10.0.0.2 is not shut down".to_owned());
    assert_eq!(speaker.bring_up_peer(now, address(1)), up);

    speaker.shut_peer(now, address(1), "a new card").unwrap();
    speaker.shut_peer(now, address(1), "two cards").unwrap();
    net.run_for(10);
    // A new configuration is none of the operator's words.
    net.peer(
        0,
        PeerConfig {
            allow_own_as: 1,
            ..peer_config(1)
        },
    );
    net.run_for(30);
    let view = net.view(0, 1);
    assert_eq!(
        view.held.as_deref(),
        Some("administratively down: two cards")
    );
    let now = net.now;
    net.nodes[0].speaker.bring_up_peer(now, address(1)).unwrap();
    net.run_for(30);
    assert_eq!(net.view(0, 1).state, "Established");

    // Configuration and hand, and the hand alone is taken away.
    let now = net.now;
    net.nodes[0].speaker.shut_peer(now, address(1), "").unwrap();
    net.peer(0, down("by file"));
    let now = net.now;
    let still = net.nodes[0].speaker.bring_up_peer(now, address(1));
    assert_eq!(
        still.unwrap_err(),
        "peer 10.0.0.2 stays down, because its configuration says so (shutdown: \"by file\")"
    );
    assert_eq!(
        net.view(0, 1).held.as_deref(),
        Some("administratively down: by file")
    );
}

#[test]
fn a_peer_may_be_configured_as_shut_down_from_the_beginning() {
    let mut net = Net::new(2);
    net.peer(0, down("not yet"));
    net.peer(1, peer_config(0));
    net.run_for(30);
    assert_eq!(net.view(0, 1).state, "Idle");
    assert_ne!(net.view(1, 0).state, "Established");
    net.peer(0, peer_config(1));
    net.run_for(10);
    assert_eq!(net.view(1, 0).state, "Established");
}

#[test]
fn a_shutdown_ends_the_paths_that_waited_for_a_restart_too() {
    let mut peer = Played::start(
        peer_config(PLAYED),
        open_with(vec![Grace::new().capability()]),
    );
    peer.announce(&["10.233.1.0/26"]);
    peer.lose();
    assert_eq!((peer.stale(), peer.prefixes().len()), (1, 1));
    peer.net.peer(
        0,
        PeerConfig {
            shutdown: Some(String::new()),
            ..peer_config(PLAYED)
        },
    );
    assert_eq!((peer.stale(), peer.prefixes().len()), (0, 0));
}

#[test]
fn a_reset_session_is_back_at_once() {
    // How, what the peer is told, and whether it keeps our paths meanwhile.
    let hard = "received Cease: Hard Reset (Administrative Reset \"new cable\")";
    let graceful = "received Cease: Administrative Reset \"new cable\"";
    for (reset, told, kept) in [
        (Reset::Hard, hard, false),
        (Reset::Graceful, graceful, true),
    ] {
        let mut net = Net::mesh(2);
        net.originate(0, "10.233.0.0/26");
        net.settle();
        net.events(1);
        let now = net.now;
        let speaker = &mut net.nodes[0].speaker;
        speaker
            .reset_peer(now, address(1), reset, "new cable")
            .unwrap();
        net.settle();
        let events = net.events(1);
        assert_eq!(reason_of_down(&events), told);
        assert_eq!(net.has(1, "10.233.0.0/26"), kept, "{reset:?}");
        net.run_for(2);
        let view = net.view(1, 0);
        assert_eq!((view.state.as_str(), view.flaps), ("Established", 1));
        assert!(net.has(1, "10.233.0.0/26"));
    }
}

#[test]
fn a_soft_reset_sends_everything_once_more_and_keeps_the_session() {
    let mut net = Net::mesh(2);
    net.originate(0, "10.233.0.0/26");
    net.settle();
    let before = net.view(1, 0).updates_received;
    let now = net.now;
    let speaker = &mut net.nodes[0].speaker;
    speaker
        .reset_peer(now, address(1), Reset::Soft, "")
        .unwrap();
    net.settle();
    let view = net.view(1, 0);
    assert_eq!((view.flaps, view.prefixes_received), (0, 1));
    assert!(view.updates_received > before);
}

#[test]
fn who_cannot_be_reset_is_named() {
    let mut net = Net::new(2);
    net.peer(0, down(""));
    let now = net.now;
    let speaker = &mut net.nodes[0].speaker;
    assert_eq!(
        speaker
            .reset_peer(now, address(1), Reset::Hard, "")
            .unwrap_err(),
        "peer 10.0.0.2 is administratively down"
    );
    assert_eq!(
        speaker
            .reset_peer(now, address(7), Reset::Hard, "")
            .unwrap_err(),
        "10.0.0.8 is not a configured peer"
    );
}

#[test]
fn a_hard_reset_tries_a_peer_that_is_held() {
    let mut net = Net::new(2);
    net.peer(0, peer_config(1));
    net.peer(
        1,
        PeerConfig {
            remote_asn: 64999.into(),
            ..peer_config(0)
        },
    );
    net.run_for(100);
    let held = net.view(0, 1).held.unwrap();
    assert!(
        held.starts_with("received OPEN Message Error: Bad Peer AS, again in "),
        "{held}"
    );
    net.peer(1, peer_config(0));
    let now = net.now;
    for (node, other) in [(0, 1), (1, 0)] {
        let speaker = &mut net.nodes[node].speaker;
        speaker
            .reset_peer(now, address(other), Reset::Hard, "")
            .unwrap();
    }
    net.run_for(1);
    assert_eq!(net.view(0, 1).state, "Established");
}

#[test]
fn oscillations_are_damped_only_where_that_is_asked_for() {
    // Attempts of two minutes against a peer that takes us for somebody else, at five seconds each when undamped.
    for (damp, hold_max, attempts) in [(true, 60, 6..=9), (true, 4, 26..=45), (false, 60, 24..=34)]
    {
        let mut net = Net::new(2);
        net.peer(
            0,
            PeerConfig {
                damp_oscillations: damp,
                idle_hold_max: std::time::Duration::from_secs(hold_max),
                ..peer_config(1)
            },
        );
        net.peer(
            1,
            PeerConfig {
                remote_asn: 64999.into(),
                passive: true,
                damp_oscillations: false,
                ..peer_config(0)
            },
        );
        net.run_for(120);
        let events = net.events(0);
        let failed = events
            .iter()
            .filter(|event| matches!(event, Event::ConnectionFailed { .. }));
        let failed = failed.count();
        assert!(attempts.contains(&failed), "{damp} {hold_max}: {failed}");
    }
}

#[test]
fn what_has_gone_wrong_is_counted_by_kind_on_both_sides() {
    let mut net = Net::mesh(2);
    let before = net.view(0, 1).errors.connections_lost;
    let now = net.now;
    let speaker = &mut net.nodes[0].speaker;
    let reset = speaker.reset_peer(now, address(1), Reset::Graceful, "again");
    reset.unwrap();
    net.run_for(2);
    net.peer(
        0,
        PeerConfig {
            shutdown: Some(String::new()),
            ..peer_config(1)
        },
    );
    net.run_for(20);
    let (ours, theirs) = (net.view(0, 1).errors, net.view(1, 0).errors);
    let names = ["Cease: Administrative Reset", "Cease: Hard Reset"];
    for said in [&ours.notifications_sent, &theirs.notifications_received] {
        for name in names {
            assert_eq!(said.get(name), Some(&1), "{said:?}");
        }
    }
    // Node 1 goes on trying, and is refused.
    assert!(ours.connections_refused > 1, "{ours:?}");
    assert_eq!(ours.connections_lost, before, "{ours:?}");
}

#[test]
fn the_words_of_a_shutdown_are_shown_while_attempts_fail() {
    let mut net = Net::mesh(2);
    net.nodes[0]
        .speaker
        .shut_down(net.now, false, "maintenance until 18 h");
    net.run_for(60);
    let view = net.view(1, 0);
    assert_ne!(view.state, "Established");
    let error = view.last_error.unwrap();
    assert!(error.contains("maintenance until 18 h"), "{error}");
}
