//! Peers that send too much.

use std::time::Duration;

use super::played::{Grace, PLAYED, Played, open_with};
use super::*;
use crate::config::{LimitAction, PeerConfig, PrefixLimit};
use crate::event::Event;
use crate::speaker::Reset;
use crate::wire::{Family, Notification};

const V4: Family = Family::Ipv4Unicast;

fn limited(max: usize, action: LimitAction) -> PeerConfig {
    PeerConfig {
        passive: true,
        prefix_limits: [(
            V4,
            PrefixLimit {
                max,
                warn_percent: Some(75),
                action,
            },
        )]
        .into(),
        ..peer_config(PLAYED)
    }
}

fn prefixes(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("10.1.{n}.0/24")).collect()
}

fn announce(peer: &mut Played, range: std::ops::Range<usize>) {
    for prefix in &prefixes(range.end)[range] {
        peer.announce(&[prefix]);
    }
    peer.net.settle();
}

fn warnings(peer: &mut Played) -> Vec<(usize, usize)> {
    let events = peer.net.events(0).into_iter();
    events
        .filter_map(|event| match event {
            Event::PrefixLimit { received, max, .. } => Some((received, max)),
            _ => None,
        })
        .collect()
}

#[test]
fn there_is_one_warning_near_the_limit_until_it_is_farther_again() {
    let mut peer = Played::start(limited(4, LimitAction::Stop), open_with(Vec::new()));
    announce(&mut peer, 0..2);
    assert_eq!(warnings(&mut peer), []);
    announce(&mut peer, 2..4);
    announce(&mut peer, 0..4);
    assert_eq!(warnings(&mut peer), [(3, 4)]);
    // The other family is not limited.
    peer.announce(&["fd00:1::/64", "fd00:2::/64", "fd00:3::/64"]);
    assert_eq!(warnings(&mut peer), []);
    let mut bytes = Vec::new();
    let gone = [prefix("10.1.3.0/24").into(), prefix("10.1.2.0/24").into()];
    peer.codec.encode_withdraw(&gone, &mut bytes);
    peer.bytes(&bytes);
    announce(&mut peer, 2..3);
    assert_eq!(warnings(&mut peer), [(3, 4)]);
    assert_eq!(peer.net.view(0, PLAYED).state, "Established");
}

#[test]
fn a_limit_that_only_warns_says_so_near_it_and_beyond() {
    let mut peer = Played::start(limited(4, LimitAction::Warn), open_with(Vec::new()));
    announce(&mut peer, 0..9);
    assert_eq!(warnings(&mut peer), [(3, 4), (5, 4)]);
    assert_eq!(peer.net.view(0, PLAYED).prefixes_received, 9);
}

#[test]
fn who_exceeds_the_limit_is_told_and_held_for_as_long_as_configured() {
    for graceful in [false, true] {
        let after = Duration::from_secs(60);
        let capabilities = graceful.then(|| Grace::new().capability());
        let mut peer = Played::start(
            limited(4, LimitAction::Restart { after }),
            open_with(capabilities.into_iter().collect()),
        );
        peer.net.sent(0, peer.connection);
        let connection = peer.connection;
        for prefix in prefixes(5) {
            peer.announce(&[&prefix]);
        }
        // Cease, Maximum Number of Prefixes Reached: AFI 1, SAFI 1, 4; where that would be graceful, a Hard Reset.
        let cause = [0, 1, 1, 0, 0, 0, 4];
        let expected = match graceful {
            false => Notification::new(6, 1, &cause),
            true => Notification::new(6, 9, &[&[6, 1], cause.as_slice()].concat()),
        };
        let sent = peer.net.sent(0, connection);
        let end = expected.data.as_slice();
        assert!(
            sent.ends_with(&[&[3, 6, expected.subcode], end].concat()),
            "{sent:?}"
        );
        peer.net.settle();
        assert_eq!((peer.prefixes(), peer.stale()), (vec![], 0));

        peer.net.run_for(3);
        let view = peer.net.view(0, PLAYED);
        let held = "prefix limit 4 of ipv4-unicast exceeded, again in 57 s";
        assert_eq!(
            (view.state.as_str(), view.held.as_deref()),
            ("Idle", Some(held))
        );
        let refused = peer.net.dial(PLAYED, 0).unwrap_err();
        assert_eq!(refused, format!("peer 10.0.0.9: {held}"));
        peer.net.run_for(57);
        assert_eq!(peer.net.view(0, PLAYED).held, None);
        peer.connect(open_with(Vec::new()));
    }
}

#[test]
fn a_peer_that_is_stopped_for_good_comes_back_when_it_is_reset_or_may_send_more() {
    for raised in [false, true] {
        let mut peer = Played::start(limited(4, LimitAction::Stop), open_with(Vec::new()));
        announce(&mut peer, 0..5);
        peer.net.run_for(100_000);
        let held = peer.net.view(0, PLAYED).held;
        assert_eq!(
            held.as_deref(),
            Some("prefix limit 4 of ipv4-unicast exceeded")
        );
        if raised {
            peer.net.peer(0, limited(5, LimitAction::Stop));
        } else {
            let now = peer.net.now;
            let speaker = &mut peer.net.nodes[0].speaker;
            speaker
                .reset_peer(now, address(PLAYED), Reset::Hard, "")
                .unwrap();
        }
        peer.connect(open_with(Vec::new()));
    }
}

#[test]
fn a_limit_that_is_lowered_under_a_session_holds_at_once() {
    let mut peer = Played::start(limited(10, LimitAction::Stop), open_with(Vec::new()));
    announce(&mut peer, 0..5);
    peer.net.peer(0, limited(5, LimitAction::Stop));
    assert_eq!(peer.net.view(0, PLAYED).state, "Established");
    peer.net.peer(0, limited(4, LimitAction::Stop));
    assert_eq!(peer.net.view(0, PLAYED).state, "Idle");
}
