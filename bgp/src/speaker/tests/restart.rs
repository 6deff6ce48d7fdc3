//! Graceful restart: nobody forgets a path that is still good, and nobody keeps one that is not.

use std::time::Duration;

use super::*;
use crate::event::Event;
use crate::wire::Family;

const BLOCK: &str = "10.233.0.0/26";
const OTHER: &str = "10.233.0.64/26";

/// Node 0 helps, node 1 has announced two blocks.
fn pair() -> Net {
    let mut net = Net::mesh(2);
    net.originate(1, BLOCK);
    net.originate(1, OTHER);
    net.settle();
    assert!(net.has(0, BLOCK) && net.has(0, OTHER));
    net.events(0);
    net.nodes[0].changes.clear();
    net
}

/// Node 1 dies and is a new process that has restarted.
fn restart(net: &mut Net, restarting: bool) {
    net.kill(1);
    net.replace(
        1,
        crate::config::SpeakerConfig {
            restarting,
            ..speaker_config(1)
        },
    );
    net.peer(1, peer_config(0));
}

#[test]
fn a_killed_peers_paths_stay_until_it_is_back_and_what_it_no_longer_has_goes_with_its_end_of_rib() {
    let mut net = pair();
    net.kill(1);
    net.settle();
    assert!(net.has(0, BLOCK) && net.has(0, OTHER));
    assert_eq!(net.view(0, 1).prefixes_stale, 2);
    assert!(matches!(
        net.events(0)[0],
        Event::Down {
            stale_kept: true,
            ..
        }
    ));

    restart(&mut net, true);
    net.originate(1, BLOCK);
    net.run_for(10);
    assert_eq!(net.view(0, 1).state, "Established");
    assert!(
        net.has(0, OTHER),
        "its local paths are not complete, so there is no End-of-RIB"
    );
    assert_eq!(net.view(0, 1).prefixes_stale, 1);
    let now = net.now;
    net.nodes[1].speaker.finish_restart(now);
    net.settle();
    assert_eq!(net.prefixes(0), [BLOCK]);
    assert_eq!(net.view(0, 1).prefixes_stale, 0);
    assert_eq!(
        net.nodes[0].changes,
        [prefix(OTHER)],
        "the block that stayed was never touched"
    );
}

#[test]
fn a_peer_that_does_not_come_back_in_time_loses_its_paths() {
    let mut net = pair();
    net.nodes[1].cut_off = true;
    net.kill(1);
    net.run_for(119);
    assert!(net.has(0, BLOCK));
    net.run_for(2);
    assert_eq!(net.prefixes(0), [] as [String; 0]);
    assert_eq!(net.view(0, 1).prefixes_stale, 0);
}

#[test]
fn a_peer_that_comes_back_without_the_capability_loses_what_was_kept() {
    let mut net = pair();
    net.kill(1);
    net.replace(1, speaker_config(1));
    net.peer(
        1,
        crate::config::PeerConfig {
            graceful_restart: None,
            ..peer_config(0)
        },
    );
    net.run_for(10);
    assert_eq!(net.view(0, 1).state, "Established");
    assert_eq!(net.prefixes(0), [] as [String; 0]);
}

#[test]
fn a_family_that_is_not_offered_again_is_dropped() {
    let mut net = pair();
    net.originate(1, "fd00:1::/64");
    net.settle();
    net.kill(1);
    net.replace(
        1,
        crate::config::SpeakerConfig {
            restarting: true,
            ..speaker_config(1)
        },
    );
    net.peer(
        1,
        crate::config::PeerConfig {
            families: vec![Family::Ipv4Unicast],
            ..peer_config(0)
        },
    );
    net.run_for(10);
    assert_eq!(net.prefixes(0), [BLOCK, OTHER]);
}

#[test]
fn a_second_break_before_end_of_rib_drops_what_was_not_refreshed() {
    let mut net = pair();
    restart(&mut net, true);
    net.originate(1, BLOCK);
    net.run_for(10);
    assert!(net.has(0, OTHER));
    net.kill(1);
    net.settle();
    assert_eq!(net.prefixes(0), [BLOCK]);
    assert_eq!(net.view(0, 1).prefixes_stale, 1);
}

#[test]
fn a_peer_that_restarts_without_our_noticing_replaces_its_old_connection() {
    let mut net = pair();
    // Node 1 dies, and node 0's TCP does not know.
    net.break_unnoticed_by(0, 1);
    net.replace(
        1,
        crate::config::SpeakerConfig {
            restarting: true,
            ..speaker_config(1)
        },
    );
    net.peer(1, peer_config(0));
    net.originate(1, BLOCK);
    net.settle();
    net.run_for(1);
    let view = net.view(0, 1);
    assert_eq!(
        (view.state.as_str(), view.flaps, view.prefixes_stale),
        ("Established", 1, 1)
    );
    assert!(net.has(0, BLOCK) && net.has(0, OTHER));
    let down = net
        .events(0)
        .into_iter()
        .find(|event| matches!(event, Event::Down { .. }))
        .unwrap();
    let Event::Down {
        reason, stale_kept, ..
    } = down
    else {
        unreachable!()
    };
    assert_eq!(
        (reason.as_str(), stale_kept),
        ("the peer has restarted", true)
    );
}

#[test]
fn a_shutdown_is_meant_unless_forwarding_is_kept() {
    for keep_forwarding in [true, false] {
        let mut net = pair();
        let now = net.now;
        net.nodes[1].speaker.shut_down(now, keep_forwarding, "");
        net.settle();
        assert_eq!(net.has(0, BLOCK), keep_forwarding);
        assert_eq!(net.view(1, 0).state, "Idle");
        let Event::Down {
            reason, stale_kept, ..
        } = net.events(0).remove(0)
        else {
            panic!()
        };
        assert_eq!(stale_kept, keep_forwarding, "{reason}");
        if !keep_forwarding {
            assert_eq!(
                reason,
                "received Cease: Hard Reset (Administrative Shutdown)"
            );
        }
        net.run_for(30);
        assert_eq!(
            net.view(0, 1).state,
            "Active",
            "refused, as long as it is shut down"
        );
    }
}

#[test]
fn hold_timer_expiry_keeps_paths_only_where_notifications_are_graceful() {
    // Between two of us RFC 8538 is agreed on.
    let mut net = pair();
    net.nodes[1].clogged = true;
    net.nodes[1].cut_off = true;
    net.run_for(100);
    assert!(net.has(0, BLOCK));
    assert_eq!(net.view(0, 1).prefixes_stale, 2);
    assert_eq!(
        net.view(0, 1).last_error.as_deref(),
        Some("no route to host")
    );
    net.run_for(130);
    assert_eq!(net.prefixes(0), [] as [String; 0]);
}

#[test]
fn a_restarting_speaker_waits_for_each_peer_on_its_own() {
    let mut net = Net::mesh(3);
    net.originate(1, BLOCK);
    net.settle();
    net.kill(0);
    net.replace(
        0,
        crate::config::SpeakerConfig {
            restarting: true,
            ..speaker_config(0)
        },
    );
    net.nodes[2].cut_off = true;
    net.peer(0, peer_config(1));
    net.peer(0, peer_config(2));
    net.run_for(10);
    // Node 1's paths are used at once, although node 2 is absent.
    assert!(net.has(0, BLOCK));
    assert!(!net.view(0, 1).deferral_pending && net.view(0, 2).deferral_pending);
    let over = |net: &mut Net| {
        let events = net.events(0).into_iter();
        events
            .filter(|event| matches!(event, Event::DeferralOver { .. }))
            .count()
    };
    assert_eq!(over(&mut net), 1);
    net.run_for(51);
    assert!(!net.view(0, 2).deferral_pending);
    assert_eq!(over(&mut net), 1);
    assert!(
        !net.view(1, 0).end_of_rib,
        "its own End-of-RIB waits for its local paths"
    );
    let now = net.now;
    net.nodes[0].speaker.finish_restart(now);
    net.settle();
    assert!(net.view(1, 0).end_of_rib);
}

#[test]
fn removing_a_peer_ends_its_deferral() {
    let mut net = Net::new(1);
    net.replace(
        0,
        crate::config::SpeakerConfig {
            restarting: true,
            ..speaker_config(0)
        },
    );
    net.peer(0, peer_config(1));
    let now = net.now + Duration::from_secs(1);
    net.nodes[0].speaker.remove_peer(now, address(1));
    net.settle();
    let events = net.events(0);
    assert!(
        events
            .iter()
            .any(|event| matches!(event, Event::DeferralOver { .. })),
        "{events:?}"
    );
}
