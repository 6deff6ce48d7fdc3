//! Long-lived graceful restart (RFC 9494): a path stays longer than Restart Time, as the last resort.

use std::time::Duration;

use super::played::*;
use super::*;
use crate::config::{PeerConfig, SpeakerConfig};
use crate::event::Event;
use crate::wire::{Capability, Family, LongLivedFamily, Open};

const V4: Family = Family::Ipv4Unicast;
const V6: Family = Family::Ipv6Unicast;
const BLOCK: &str = "10.9.0.0/26";
const OTHER: &str = "10.9.1.0/26";
const SIX: &str = "fd00:9::/64";
const NONE: [&str; 0] = [];
const NO_LLGR: u32 = 0xffff_0007;
/// LLGR_STALE and NO_EXPORT as people see them.
const STALE: &str = "65535:6";
const NO_EXPORT: &str = "65535:65281";

fn config(peer: usize) -> PeerConfig {
    PeerConfig {
        long_lived: Some(Duration::from_secs(1000)),
        ..peer_config(peer)
    }
}

/// Restart Time is 100 s, and the stale times are these, with F.
fn open(families: &[(Family, u32, bool)]) -> Open {
    let long_lived = families
        .iter()
        .map(|&(family, seconds, forwarding)| LongLivedFamily {
            family,
            forwarding,
            stale_time_seconds: seconds,
        });
    open_with(vec![
        Grace::new().capability(),
        Capability::LongLivedGracefulRestart(long_lived.collect()),
    ])
}

fn both(seconds: u32) -> Open {
    open(&[(V4, seconds, true), (V6, seconds, true)])
}

/// Established and complete with three paths.
fn complete(open: Open) -> Played {
    let mut played = Played::start(config(PLAYED), open);
    played.announce(&[BLOCK, OTHER, SIX]);
    played.end_of_rib(&BOTH);
    played.net.settle();
    played
}

/// The communities of the best path of the prefix at the node.
fn communities(net: &Net, node: usize, text: &str) -> Vec<String> {
    let route = net.nodes[node].speaker.route(&prefix(text)).unwrap();
    route.paths[0].communities.clone()
}

#[test]
fn paths_stay_for_restart_time_and_then_for_the_stale_time_of_their_family() {
    let mut played = complete(open(&[(V4, 500, true), (V6, 50, true)]));
    played.lose();
    played.net.run_for(99);
    assert_eq!(communities(&played.net, 0, BLOCK), NONE);
    played.net.run_for(2);
    assert_eq!(communities(&played.net, 0, BLOCK), [STALE]);
    assert_eq!(communities(&played.net, 0, SIX), [STALE]);
    let events = played.net.events(0);
    let began = |event: &&Event| matches!(event, Event::LongLivedStale { .. });
    assert_eq!(events.iter().filter(began).count(), 2);
    played.net.run_for(50);
    assert_eq!(played.prefixes(), [BLOCK, OTHER]);
    played.net.run_for(448);
    assert_eq!(played.prefixes(), [BLOCK, OTHER]);
    played.net.run_for(2);
    assert_eq!(played.prefixes(), NONE);
}

#[test]
fn with_restart_time_zero_the_long_lived_period_begins_at_once() {
    let grace = Grace {
        time_seconds: 0,
        ..Grace::new()
    };
    let long = Capability::LongLivedGracefulRestart(vec![LongLivedFamily {
        family: V4,
        forwarding: true,
        stale_time_seconds: 30,
    }]);
    let mut played = complete(open_with(vec![grace.capability(), long]));
    played.lose();
    assert_eq!(played.prefixes(), [BLOCK, OTHER]);
    assert_eq!(communities(&played.net, 0, BLOCK), [STALE]);
    played.net.run_for(31);
    assert_eq!(played.prefixes(), NONE);
}

#[test]
fn a_path_that_says_no_is_not_kept_beyond_restart_time() {
    let mut played = complete(both(500));
    played.announce_with(&[OTHER], &[NO_LLGR]);
    played.lose();
    played.net.run_for(99);
    assert_eq!(played.prefixes(), [BLOCK, OTHER, SIX]);
    played.net.run_for(2);
    assert_eq!(played.prefixes(), [BLOCK, SIX]);
}

#[test]
fn nothing_is_kept_longer_where_we_do_not_offer_it_or_the_peer_has_no_graceful_restart() {
    let mut played = Played::start(peer_config(PLAYED), both(500));
    played.announce(&[BLOCK]);
    played.lose();
    played.net.run_for(101);
    assert_eq!(played.prefixes(), NONE);
    // RFC 9494 §4.5: one without the other is ignored.
    let mut alone = both(500);
    alone
        .capabilities
        .retain(|capability| !matches!(capability, Capability::GracefulRestart { .. }));
    let mut played = complete(alone);
    played.lose();
    assert_eq!(played.prefixes(), NONE);
}

#[test]
fn a_peer_that_is_back_in_time_gets_its_paths_back_and_the_community_goes() {
    let mut played = complete(both(500));
    played.lose();
    played.net.run_for(300);
    played.connect(both(500));
    assert_eq!(played.stale(), 3);
    played.announce(&[BLOCK]);
    assert_eq!(communities(&played.net, 0, BLOCK), NONE);
    assert_eq!(communities(&played.net, 0, SIX), [STALE]);
    played.end_of_rib(&BOTH);
    assert_eq!(played.prefixes(), [BLOCK]);
}

#[test]
fn on_return_the_long_lived_capability_decides_what_of_the_long_lived_paths_stays() {
    let back = |open: Open| {
        let mut played = complete(both(500));
        played.lose();
        played.net.run_for(300);
        played.connect(open);
        played.prefixes()
    };
    assert_eq!(
        back(open(&[(V4, 500, true), (V6, 500, false)])),
        [BLOCK, OTHER]
    );
    assert_eq!(back(open(&[(V6, 500, true)])), [SIX]);
    assert_eq!(back(open_with(vec![Grace::new().capability()])), NONE);
    assert_eq!(back(open_with(Vec::new())), NONE);
}

#[test]
fn a_second_break_before_end_of_rib_leaves_the_stale_time_that_runs() {
    let mut played = complete(both(500));
    played.lose();
    // The stale time runs from 100 to 600.
    played.net.run_for(300);
    played.connect(both(500));
    played.announce(&[BLOCK]);
    played.lose();
    assert_eq!(played.prefixes(), [BLOCK, OTHER, SIX], "RFC 9494 §4.2");
    played.net.run_for(299);
    assert_eq!(played.prefixes(), [BLOCK, OTHER, SIX]);
    assert_eq!(communities(&played.net, 0, BLOCK), [STALE]);
    played.net.run_for(2);
    assert_eq!(played.prefixes(), NONE);
}

#[test]
fn after_a_notification_both_times_run_as_well() {
    let mut played = complete(both(500));
    played.notify(4, 0, &[]);
    played.net.run_for(101);
    assert_eq!(communities(&played.net, 0, BLOCK), [STALE]);
    let mut played = complete(both(500));
    played.notify(6, 9, &[6, 4]);
    assert_eq!(played.prefixes(), NONE, "a Hard Reset keeps nothing");
}

/// Node 0 reflects between the played peer and three clients: one that understands, one that does not, and one that
/// does not and is told in other words.
fn reflector() -> Played {
    let mut net = Net::new(4);
    let mut played = config(PLAYED);
    played.passive = true;
    net.peer(0, played);
    for client in 1..4 {
        net.peer(
            0,
            PeerConfig {
                reflector_client: true,
                long_lived_partial: client == 3,
                ..config(client)
            },
        );
        net.peer(
            client,
            if client == 1 {
                config(0)
            } else {
                peer_config(0)
            },
        );
    }
    net.run_for(20);
    let mut played = Played::join(net, both(500));
    played.announce(&[BLOCK]);
    played.end_of_rib(&BOTH);
    played.net.settle();
    played
}

#[test]
fn long_lived_stale_paths_go_to_those_who_understand_and_to_others_only_as_configured() {
    let mut played = reflector();
    for client in 1..4 {
        assert!(played.net.has(client, BLOCK));
    }
    played.lose();
    played.net.run_for(101);
    assert_eq!(communities(&played.net, 1, BLOCK), [STALE]);
    assert!(!played.net.has(2, BLOCK), "RFC 9494 §4.3");
    // §4.6.
    assert_eq!(communities(&played.net, 3, BLOCK), [STALE, NO_EXPORT]);
    let route = played.net.nodes[3].speaker.route(&prefix(BLOCK)).unwrap();
    assert_eq!(route.paths[0].local_pref, 0);
    // All is as before when the peer is back.
    played.connect(both(500));
    played.announce(&[BLOCK]);
    played.end_of_rib(&BOTH);
    played.net.settle();
    for client in 1..4 {
        assert_eq!(communities(&played.net, client, BLOCK), NONE, "{client}");
    }
}

#[test]
fn a_restarting_speaker_asks_for_both_and_finds_its_paths_as_they_were() {
    let mut net = Net::new(2);
    net.peer(0, config(1));
    net.peer(1, config(0));
    net.originate(1, BLOCK);
    net.run_for(20);
    net.nodes[1].cut_off = true;
    net.kill(1);
    net.run_for(600);
    assert_eq!(communities(&net, 0, BLOCK), [STALE]);
    net.replace(
        1,
        SpeakerConfig {
            restarting: true,
            ..speaker_config(1)
        },
    );
    net.peer(1, config(0));
    net.run_for(20);
    assert_eq!(communities(&net, 0, BLOCK), [STALE], "not yet complete");
    net.originate(1, BLOCK);
    let now = net.now;
    net.nodes[1].speaker.finish_restart(now);
    net.settle();
    assert_eq!(communities(&net, 0, BLOCK), NONE);
    assert_eq!(net.view(0, 1).prefixes_stale, 0);
}

#[test]
fn the_community_of_somebody_else_counts_from_those_to_whom_we_have_promised_it() {
    let mut net = Net::new(4);
    let from = |upstream: usize, long_lived: bool| PeerConfig {
        reflector_client: true,
        long_lived: long_lived.then_some(Duration::from_secs(1000)),
        ..peer_config(upstream)
    };
    for upstream in [1, 2] {
        net.peer(0, from(upstream, true));
        net.peer(upstream, config(0));
    }
    // It does not know long-lived graceful restart.
    net.peer(0, from(3, false));
    net.peer(3, peer_config(0));
    let path = crate::config::LocalPath {
        communities: vec![0xffff_0006],
        ..Default::default()
    };
    let now = net.now;
    net.nodes[1].speaker.originate(now, prefix(BLOCK), path);
    net.run_for(20);
    assert_eq!(communities(&net, 0, BLOCK), [STALE], "the only one");
    assert!(!net.has(3, BLOCK), "RFC 9494 §4.3");
    net.originate(2, BLOCK);
    net.settle();
    let best = |net: &Net| net.nodes[0].speaker.route(&prefix(BLOCK)).unwrap().paths[0].peer;
    assert_eq!(best(&net), Some(address(2)), "the other one is worse");
    // Where we have offered nothing it is a community like others, for the decision and for those beyond.
    net.peer(0, from(1, false));
    net.run_for(20);
    assert_eq!(best(&net), Some(address(1)), "the lower BGP Identifier");
    assert_eq!(communities(&net, 3, BLOCK), [STALE]);
}

#[test]
fn each_family_has_its_time_and_no_peer_makes_us_wait_longer_than_we_want() {
    let offers = |families: &[(Family, u32)]| PeerConfig {
        long_lived_families: families.iter().copied().collect(),
        ..peer_config(0)
    };
    let mut net = Net::new(2);
    let patience = |max: u64| PeerConfig {
        long_lived_max: Some(Duration::from_secs(max)),
        ..config(1)
    };
    net.peer(0, patience(1000));
    net.peer(1, offers(&[(V4, 500), (V6, 50)]));
    net.originate(1, BLOCK);
    net.originate(1, SIX);
    net.run_for(20);
    // Under the session.
    net.peer(0, patience(300));
    net.settle();
    assert_eq!(net.view(0, 1).flaps, 0);
    net.nodes[1].cut_off = true;
    net.kill(1);
    // Restart Time is 120 s.
    net.run_for(120 + 49);
    assert!(net.has(0, BLOCK) && net.has(0, SIX));
    net.run_for(2);
    assert!(net.has(0, BLOCK) && !net.has(0, SIX), "50 s are over");
    net.run_for(247);
    assert!(net.has(0, BLOCK));
    net.run_for(3);
    assert!(!net.has(0, BLOCK), "300 s are over, not 500");
}
