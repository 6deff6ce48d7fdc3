//! Two sessions and a clock: up, down, and every change in between.

use super::*;
use crate::config::Kind;
use crate::event::Event;
use crate::testing::{LATENCY, Pair, address, config, ends, millis};
use crate::view::SessionView;

mod hand;

const SEEDS: std::ops::Range<u64> = 0..20;

fn down_reasons(pair: &Pair, node: usize) -> Vec<DownReason> {
    let downs = pair.downs(node);
    let reason = |event| match event {
        Event::Down { reason, .. } => reason,
        Event::Up { .. } => unreachable!("downs only"),
    };
    downs.into_iter().map(|(_, event)| reason(event)).collect()
}

#[test]
fn two_sessions_come_up_within_a_second_and_say_so_once() {
    for seed in SEEDS {
        let mut pair = Pair::new(seed, [config(0), config(1)]);
        pair.run_for(millis(1000));
        assert_eq!(pair.states(), [State::Up, State::Up], "seed {seed}");
        for node in [0, 1] {
            let events: Vec<Event> = pair.events[node].iter().map(|(_, event)| *event).collect();
            let up = Event::Up {
                session: pair.ids[node],
                remote: address(1 - node),
            };
            assert_eq!(events, [up], "seed {seed}");
        }
    }
}

#[test]
fn packets_come_slowly_until_the_session_is_up() {
    for seed in SEEDS {
        let mut pair = Pair::new(seed, [config(0), config(1)]);
        pair.lose_all_of(1);
        pair.run_for(Duration::from_secs(60));
        let gaps = pair.gaps(Time::ZERO, 1);
        // Node 0 is not heard by itself, node 1 hears Down and stays in Init.
        assert_eq!(pair.states(), [State::Down, State::Init]);
        assert!(gaps.len() > 58 && gaps.iter().skip(1).all(|gap| *gap >= millis(750)));
        assert!(gaps.iter().all(|gap| *gap <= millis(1000)), "{gaps:?}");
    }
}

#[test]
fn an_interval_of_more_than_a_second_is_not_shortened_by_the_slow_start() {
    let mut pair = Pair::new(3, [config(0), config(1)]);
    let slow = SessionConfig {
        min_tx: Duration::from_secs(4),
        ..config(0)
    };
    pair.set(0, slow);
    pair.lose_all_of(0);
    pair.run_for(Duration::from_secs(100));
    let told = pair.sent_since(millis(2000), 0).next().unwrap();
    assert_eq!(told.1.desired_min_tx, Duration::from_secs(4));
    assert!(
        pair.gaps(millis(5000), 0)
            .iter()
            .all(|gap| *gap >= millis(3000))
    );
}

#[test]
fn once_up_packets_come_at_the_slower_of_what_one_wants_and_the_other_can() {
    for (min_tx, remote_min_rx, expected) in [(300, 300, 300), (100, 400, 400), (500, 50, 500)] {
        let ours = SessionConfig {
            min_tx: millis(min_tx),
            ..config(0)
        };
        let theirs = SessionConfig {
            min_rx: millis(remote_min_rx),
            ..config(1)
        };
        let mut pair = Pair::new(min_tx, [ours, theirs]);
        pair.run_for(Duration::from_secs(60));
        let gaps = pair.gaps(millis(5000), 0);
        let (shortest, longest) = (gaps.iter().min().unwrap(), gaps.iter().max().unwrap());
        // 75 to 100 %, and all of that range is used.
        assert!(
            *shortest >= millis(expected * 75 / 100) && *shortest < millis(expected * 80 / 100)
        );
        assert!(*longest <= millis(expected) && *longest > millis(expected * 95 / 100));
        assert!(pair.downs(0).is_empty() && pair.downs(1).is_empty());
    }
}

#[test]
fn with_a_multiplier_of_one_no_packet_is_late() {
    let single = |node| SessionConfig {
        multiplier: 1,
        ..config(node)
    };
    for seed in SEEDS {
        let mut pair = Pair::new(seed, [single(0), single(1)]);
        pair.run_for(Duration::from_secs(60));
        let gaps = pair.gaps(millis(5000), 0);
        assert!(
            gaps.iter()
                .all(|gap| *gap >= millis(225) && *gap <= millis(270))
        );
        assert!(pair.downs(0).is_empty() && pair.downs(1).is_empty());
    }
}

#[test]
fn silence_takes_the_session_down_when_the_detection_time_is_over_and_not_before() {
    for seed in SEEDS {
        let mut pair = Pair::up(seed);
        pair.lose_all_of(1);
        let (last, _) = pair.sent_since(Time::ZERO, 1).last().unwrap();
        let heard = last + LATENCY;
        let lost_at = heard + millis(900);
        pair.run_for(lost_at - pair.now - Duration::from_micros(1));
        assert_eq!(pair.states(), [State::Up, State::Up]);
        pair.run_for(Duration::from_micros(1));
        assert_eq!(pair.view(0).state, State::Down);
        let down = Event::Down {
            session: pair.ids[0],
            remote: address(1),
            diagnostic: Diagnostic::DETECTION_TIME_EXPIRED,
            reason: DownReason::DetectionTimeExpired,
        };
        assert_eq!(pair.downs(0), [(lost_at, down)]);
        // It hears us, and we tell it.
        pair.run_for(millis(5));
        let told = DownReason::RemoteDown(Diagnostic::DETECTION_TIME_EXPIRED);
        assert_eq!(down_reasons(&pair, 1), [told]);
        let view = pair.view(0);
        assert_eq!((view.flaps, view.remote_discriminator), (1, None));
        assert_eq!(view.last_down.as_deref(), Some("detection time expired"));
    }
}

#[test]
fn the_detection_time_is_the_remotes_multiplier_times_the_slower_interval() {
    for (remote_min_tx, remote_multiplier, expected) in
        [(300, 3, 900), (700, 5, 3500), (10, 2, 600)]
    {
        let theirs = SessionConfig {
            min_tx: millis(remote_min_tx),
            multiplier: remote_multiplier,
            ..config(1)
        };
        let mut pair = Pair::new(9, [config(0), theirs]);
        pair.run_for(Duration::from_secs(10));
        assert_eq!(pair.view(0).detection_time_micros, Some(expected * 1000));
    }
}

/// Loses a run of periodic packets of node 1, once.
fn lose_in_a_row(pair: &mut Pair, count: usize) {
    let mut left = count;
    pair.loss = Box::new(move |_, node, packet| {
        let lost = node == 1 && !packet.finale && left > 0;
        left -= usize::from(lost);
        lost
    });
}

#[test]
fn as_many_losses_as_the_multiplier_allows_are_survived() {
    for seed in SEEDS {
        let mut pair = Pair::up(seed);
        lose_in_a_row(&mut pair, 2);
        pair.run_for(Duration::from_secs(30));
        assert!(
            pair.downs(0).is_empty() && pair.downs(1).is_empty(),
            "seed {seed}"
        );
    }
}

#[test]
fn more_losses_than_the_multiplier_allows_are_one_flap() {
    for seed in SEEDS {
        let mut pair = Pair::up(seed);
        // Jitter makes packets come up to a quarter early: four lost ones span at least 1125 ms.
        lose_in_a_row(&mut pair, 4);
        pair.run_for(Duration::from_secs(30));
        assert_eq!(down_reasons(&pair, 0), [DownReason::DetectionTimeExpired]);
        assert_eq!(pair.states(), [State::Up, State::Up], "seed {seed}");
    }
}

#[test]
fn sessions_find_each_other_through_heavy_loss() {
    for seed in SEEDS {
        let mut pair = Pair::new(seed, [config(0), config(1)]);
        let mut rng = Rng::new(seed);
        pair.loss = Box::new(move |at, _, _| at < millis(60_000) && rng.below(10) < 6);
        pair.run_for(Duration::from_secs(70));
        assert_eq!(pair.states(), [State::Up, State::Up], "seed {seed}");
        for node in [0, 1] {
            let ups = pair.events[node].len() - pair.downs(node).len();
            assert_eq!(ups, pair.downs(node).len() + 1, "up and down take turns");
        }
    }
}

#[test]
fn going_up_starts_a_poll_sequence_that_one_final_ends() {
    for seed in SEEDS {
        let pair = Pair::up(seed);
        for node in [0, 1] {
            let polls = pair.sent_since(Time::ZERO, node).filter(|(_, p)| p.poll);
            let polls: Vec<Duration> = polls.map(|(_, p)| p.desired_min_tx).collect();
            let finals = pair
                .sent_since(Time::ZERO, 1 - node)
                .filter(|(_, p)| p.finale);
            assert_eq!(polls, [millis(300)], "seed {seed}");
            assert_eq!(finals.count(), 1);
        }
        let both = |(_, _, p): &(Time, usize, Packet)| p.poll && p.finale;
        assert!(!pair.sent.iter().any(both));
    }
}

#[test]
fn a_poll_is_repeated_with_each_periodic_packet_until_it_is_answered() {
    let mut pair = Pair::up(5);
    let start = pair.now;
    pair.loss = Box::new(move |at, node, p| node == 1 && p.finale && at < start + millis(2000));
    pair.set(
        0,
        SessionConfig {
            min_tx: millis(200),
            ..config(0)
        },
    );
    pair.run_for(Duration::from_secs(5));
    let polled = |from: Time, to: Time| {
        let sent = pair.sent_since(from, 0).filter(move |(at, _)| *at < to);
        sent.map(|(_, p)| p.poll).collect::<Vec<bool>>()
    };
    let unanswered = polled(start, start + millis(2000));
    assert!(unanswered.len() >= 7 && unanswered.iter().all(|poll| *poll));
    let answered = polled(start + millis(2400), start + millis(5000));
    assert!(answered.len() >= 8 && !answered.iter().any(|poll| *poll));
    // Additional packets MUST NOT be sent: only the first is out of turn, since its contents are new.
    assert!(pair.gaps(start, 0).iter().all(|gap| *gap >= millis(150)));
}

#[test]
fn a_slower_rate_is_used_only_when_the_other_side_knows_it() {
    let mut pair = Pair::up(6);
    let start = pair.now;
    let heard_at = start + millis(3000);
    pair.loss = Box::new(move |at, node, p| node == 1 && p.finale && at < heard_at);
    pair.set(
        0,
        SessionConfig {
            min_tx: millis(2000),
            ..config(0)
        },
    );
    pair.run_for(Duration::from_secs(20));
    let gaps_before: Vec<Duration> = {
        let sent = pair
            .sent_since(start, 0)
            .filter(|(at, p)| !p.finale && *at < heard_at);
        let times: Vec<Time> = sent.map(|(at, _)| at).collect();
        times.windows(2).map(|pair| pair[1] - pair[0]).collect()
    };
    assert!(gaps_before.len() >= 9 && gaps_before.iter().all(|gap| *gap <= millis(300)));
    let gaps_after = pair.gaps(heard_at + millis(1000), 0);
    assert!(gaps_after.iter().skip(1).all(|gap| *gap >= millis(1500)));
    assert!(gaps_after.len() >= 5);
    assert!(pair.downs(1).is_empty());
}

#[test]
fn a_shorter_detection_time_counts_only_when_the_other_side_can_keep_it() {
    let slow = SessionConfig {
        min_rx: millis(2000),
        multiplier: 20,
        ..config(0)
    };
    let fast = SessionConfig {
        min_tx: millis(100),
        ..config(1)
    };
    let mut pair = Pair::new(7, [slow.clone(), fast]);
    pair.run_for(Duration::from_secs(20));
    assert_eq!(pair.view(0).detection_time_micros, Some(6_000_000));
    // The other side does not hear of it for a while.
    let deaf_until = pair.now + millis(4000);
    pair.loss = Box::new(move |at, node, _| node == 0 && at < deaf_until);
    pair.set(
        0,
        SessionConfig {
            min_rx: millis(100),
            ..slow
        },
    );
    pair.run_for(millis(3900));
    assert_eq!(pair.view(0).detection_time_micros, Some(6_000_000));
    pair.run_for(Duration::from_secs(5));
    assert_eq!(pair.view(0).detection_time_micros, Some(300_000));
    assert!(pair.downs(0).is_empty() && pair.downs(1).is_empty());
    assert!(
        pair.gaps(pair.now - millis(1000), 1)
            .iter()
            .all(|gap| *gap <= millis(100))
    );
}

#[test]
fn changes_in_quick_succession_end_in_the_last_one_without_a_flap() {
    for seed in SEEDS {
        let mut pair = Pair::up(seed);
        for interval in [50, 1000, 200, 3000, 100, 400] {
            let changed = SessionConfig {
                min_tx: millis(interval),
                min_rx: millis(interval),
                ..config(0)
            };
            pair.set(0, changed);
            pair.run_for(millis(40));
        }
        pair.run_for(Duration::from_secs(10));
        assert!(
            pair.downs(0).is_empty() && pair.downs(1).is_empty(),
            "seed {seed}"
        );
        let SessionView {
            transmit_interval_micros,
            detection_time_micros,
            ..
        } = pair.view(0);
        assert_eq!(transmit_interval_micros, Some(400_000));
        assert_eq!(detection_time_micros, Some(1_200_000));
        assert!(
            !pair
                .sent_since(pair.now - millis(2000), 0)
                .any(|(_, p)| p.poll)
        );
    }
}

#[test]
fn a_new_multiplier_is_told_at_once_and_without_a_poll() {
    let mut pair = Pair::up(8);
    let start = pair.now;
    pair.set(
        0,
        SessionConfig {
            multiplier: 10,
            ..config(0)
        },
    );
    pair.run_for(LATENCY);
    assert_eq!(pair.view(1).detection_time_micros, Some(3_000_000));
    assert!(!pair.sent_since(start, 0).any(|(_, p)| p.poll));
}

#[test]
fn admin_down_takes_the_other_side_down_at_once_and_both_come_back() {
    for seed in SEEDS {
        let mut pair = Pair::up(seed);
        pair.set(
            0,
            SessionConfig {
                admin_down: true,
                ..config(0)
            },
        );
        pair.run_for(LATENCY);
        assert_eq!(pair.states(), [State::AdminDown, State::Down]);
        assert_eq!(down_reasons(&pair, 0), [DownReason::AdminDown]);
        assert_eq!(down_reasons(&pair, 1), [DownReason::RemoteAdminDown]);
        assert_eq!(pair.view(0).diagnostic, "administratively down");
        assert_eq!(pair.view(1).diagnostic, "neighbor signaled session down");
        assert_eq!(
            pair.view(1).remote_diagnostic.as_deref(),
            Some("administratively down")
        );
        pair.run_for(Duration::from_secs(30));
        assert_eq!(
            pair.states(),
            [State::AdminDown, State::Down],
            "it stays so"
        );
        pair.set(0, config(0));
        pair.run_for(Duration::from_secs(2));
        assert_eq!(pair.states(), [State::Up, State::Up], "seed {seed}");
    }
}

#[test]
fn a_session_that_starts_admin_down_says_so_and_is_no_flap() {
    let held = SessionConfig {
        admin_down: true,
        ..config(0)
    };
    let mut pair = Pair::new(4, [held, config(1)]);
    pair.run_for(Duration::from_secs(10));
    assert_eq!(pair.states(), [State::AdminDown, State::Down]);
    assert_eq!(pair.view(1).remote_state, Some(State::AdminDown));
    assert!(pair.events.iter().all(Vec::is_empty));
}

#[test]
fn a_neighbour_that_restarts_is_noticed_by_its_first_packet() {
    for seed in SEEDS {
        let mut pair = Pair::up(seed);
        let before = pair.view(0).remote_discriminator;
        pair.restart(1, seed + 5000);
        let restarted_at = pair.now;
        pair.run_for(Duration::from_secs(3));
        assert_eq!(pair.states(), [State::Up, State::Up], "seed {seed}");
        assert_ne!(pair.view(0).remote_discriminator, before);
        assert_eq!(pair.view(0).remote_discriminator, Some(pair.ids[1]));
        let [(at, _)] = pair.downs(0)[..] else {
            unreachable!("one flap, seed {seed}")
        };
        assert!(at - restarted_at <= millis(250) + LATENCY);
        assert_eq!(
            down_reasons(&pair, 0),
            [DownReason::RemoteDown(Diagnostic::NONE)]
        );
    }
}

#[test]
fn a_removed_session_says_admin_down_and_is_then_forgotten() {
    let mut pair = Pair::up(11);
    let id = pair.ids[0];
    let start = pair.now;
    pair.nodes[0].remove(start, id);
    pair.drain();
    let said = pair.sent_since(start, 0).next().map(|(_, p)| p.state);
    assert_eq!(said, Some(State::AdminDown));
    pair.run_for(millis(10));
    assert_eq!(down_reasons(&pair, 1), [DownReason::RemoteAdminDown]);
    assert!(pair.downs(0).is_empty(), "whoever removes it knows");
    pair.run_for(millis(2900));
    assert!(pair.nodes[0].view(pair.now, id).is_some());
    // Saying it again does not make it stay longer.
    pair.nodes[0].remove(pair.now, id);
    assert!(pair.sent_since(start, 0).filter(|(_, p)| !p.finale).count() >= 3);
    pair.run_for(millis(100));
    assert!(pair.nodes[0].views(pair.now).is_empty());
    let forgotten_at = pair.now;
    pair.run_for(Duration::from_secs(5));
    assert_eq!(pair.sent_since(forgotten_at, 0).count(), 0);
    assert_eq!(pair.nodes[0].poll_timeout(), None);
}

#[test]
fn a_session_that_is_configured_again_while_it_leaves_comes_back() {
    let mut pair = Pair::up(12);
    let id = pair.ids[0];
    pair.nodes[0].remove(pair.now, id);
    pair.drain();
    pair.run_for(millis(1000));
    pair.set(0, config(0));
    assert_eq!(pair.ids[0], id);
    pair.run_for(Duration::from_secs(10));
    assert_eq!(pair.states(), [State::Up, State::Up]);
}

#[test]
fn a_session_that_nobody_answered_is_forgotten_at_once() {
    let mut pair = Pair::new(13, [config(0), config(1)]);
    let id = pair.ids[0];
    pair.nodes[0].remove(pair.now, id);
    assert!(pair.nodes[0].view(pair.now, id).is_none());
}

#[test]
fn both_ends_over_several_hops_behave_the_same() {
    let far = |node| SessionConfig {
        kind: Kind::MultiHop,
        ..config(node)
    };
    let mut pair = Pair::new(14, [far(0), far(1)]);
    pair.run_for(Duration::from_secs(2));
    assert_eq!(pair.states(), [State::Up, State::Up]);
}
