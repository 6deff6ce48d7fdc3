//! Several paths of a prefix between whole speakers (RFC 7911).

use serde_json::json;

use super::*;
use crate::config::{AddPath, LocalPath, PathsSent, PeerConfig, Policy, SpeakerConfig};
use crate::event::Event;
use crate::wire::Family;

const P: &str = "10.233.0.0/26";
const OTHER: &str = "10.233.0.64/26";

/// Node 0 reflects between these.
const UPSTREAMS: [usize; 3] = [1, 2, 3];
/// It has offered to take several paths.
const RECEIVER: usize = 4;
/// It has not.
const PLAIN: usize = 5;

fn receives() -> AddPath {
    AddPath {
        receive: true,
        ..AddPath::default()
    }
}

fn to_receiver(send: PathsSent) -> PeerConfig {
    PeerConfig {
        reflector_client: true,
        add_path: AddPath {
            send,
            ..AddPath::default()
        },
        ..peer_config(RECEIVER)
    }
}

fn from_reflector() -> PeerConfig {
    PeerConfig {
        add_path: receives(),
        ..peer_config(0)
    }
}

/// Complete, without prefixes.
fn star(send: PathsSent) -> Net {
    let mut net = Net::new(6);
    for client in [1, 2, 3, PLAIN] {
        net.peer(
            0,
            PeerConfig {
                reflector_client: true,
                ..peer_config(client)
            },
        );
        net.peer(client, peer_config(0));
    }
    net.peer(0, to_receiver(send));
    net.peer(RECEIVER, from_reflector());
    net.run_for(20);
    net.events(0);
    net
}

/// The upstream has the prefix, with a MED by which it is found again.
fn announce(net: &mut Net, upstream: usize, text: &str, med: u32) {
    let path = LocalPath {
        med: Some(med),
        ..LocalPath::default()
    };
    let now = net.now;
    net.nodes[upstream]
        .speaker
        .originate(now, prefix(text), path);
    net.settle();
}

/// All have it, and the first has the best.
fn all_announce(net: &mut Net, text: &str) {
    for upstream in UPSTREAMS {
        announce(net, upstream, text, upstream as u32);
    }
}

/// What the node has of the prefix: by MED.
fn meds(net: &Net, node: usize, text: &str) -> Vec<u32> {
    let route = net.nodes[node].speaker.route(&prefix(text));
    let paths = route.map(|route| route.paths).unwrap_or_default();
    let mut meds: Vec<u32> = paths.iter().filter_map(|path| path.med).collect();
    meds.sort_unstable();
    meds
}

/// Path Identifier and MED, in order of identifier.
fn identified(net: &Net, node: usize, text: &str) -> Vec<(Option<u32>, u32)> {
    let route = net.nodes[node].speaker.route(&prefix(text)).unwrap();
    let paths = route.paths.iter();
    let mut paths: Vec<_> = paths
        .map(|path| (path.path_id, path.med.unwrap()))
        .collect();
    paths.sort_unstable();
    paths
}

#[test]
fn who_offers_it_has_all_paths_and_others_have_the_best() {
    let mut net = star(PathsSent::All);
    all_announce(&mut net, P);
    assert_eq!(meds(&net, RECEIVER, P), [1, 2, 3]);
    assert_eq!(meds(&net, PLAIN, P), [1]);
    assert_eq!(net.view(0, RECEIVER).by_family[0].sent, 3);
    assert_eq!(net.view(RECEIVER, 0).by_family[0].received, 3);
    net.withdraw(1, P);
    net.settle();
    assert_eq!(meds(&net, RECEIVER, P), [2, 3]);
    assert_eq!(meds(&net, PLAIN, P), [2]);
    net.withdraw(3, P);
    net.withdraw(2, P);
    net.settle();
    assert!(!net.has(RECEIVER, P) && !net.has(PLAIN, P));
}

#[test]
fn how_many_paths_a_peer_gets_may_change_under_its_session() {
    let mut net = star(PathsSent::All);
    all_announce(&mut net, P);
    let flaps = net.view(0, RECEIVER).flaps;
    for (send, wanted) in [
        (PathsSent::BestOf(2), &[1, 2][..]),
        (PathsSent::BestOf(1), &[1]),
        (PathsSent::All, &[1, 2, 3]),
        (PathsSent::BestOf(2), &[1, 2]),
    ] {
        net.peer(0, to_receiver(send));
        net.settle();
        assert_eq!(meds(&net, RECEIVER, P), wanted, "{send:?}");
        assert_eq!(net.view(0, RECEIVER).flaps, flaps, "the session stays");
    }
    // What was agreed on in OPEN needs another OPEN.
    net.peer(0, to_receiver(PathsSent::Best));
    net.run_for(20);
    assert_eq!(meds(&net, RECEIVER, P), [1]);
    assert_eq!(net.view(0, RECEIVER).flaps, flaps + 1);
    assert_eq!(identified(&net, RECEIVER, P), [(None, 1)]);
    net.peer(0, to_receiver(PathsSent::All));
    net.run_for(20);
    assert_eq!(meds(&net, RECEIVER, P), [1, 2, 3]);
}

#[test]
fn after_a_restart_with_other_identifiers_there_are_the_paths_that_there_were() {
    let mut net = star(PathsSent::All);
    all_announce(&mut net, P);
    let before = identified(&net, RECEIVER, P);
    net.kill(0);
    net.settle();
    assert_eq!(meds(&net, RECEIVER, P), [1, 2, 3], "stale");
    assert_eq!(net.view(RECEIVER, 0).by_family[0].stale, 3);
    let config = SpeakerConfig {
        restarting: true,
        ..speaker_config(0)
    };
    net.replace(0, config);
    net.peer(0, to_receiver(PathsSent::All));
    // They come back in another order, so that the identifiers are others.
    for upstream in UPSTREAMS.into_iter().rev() {
        net.peer(
            0,
            PeerConfig {
                reflector_client: true,
                ..peer_config(upstream)
            },
        );
        net.run_for(20);
    }
    let now = net.now;
    net.nodes[0].speaker.finish_restart(now);
    net.run_for(5);
    assert_eq!(meds(&net, RECEIVER, P), [1, 2, 3]);
    assert_ne!(identified(&net, RECEIVER, P), before);
    assert_eq!(net.view(RECEIVER, 0).by_family[0].stale, 0);
    assert_eq!(net.view(RECEIVER, 0).by_family[0].received, 3);
}

#[test]
fn a_change_of_import_policy_judges_each_path_of_a_peer_by_what_was_received() {
    let mut net = star(PathsSent::All);
    all_announce(&mut net, P);
    let before = identified(&net, RECEIVER, P);
    let import = |net: &mut Net, import: Policy| {
        net.peer(
            RECEIVER,
            PeerConfig {
                import,
                ..from_reflector()
            },
        );
        net.settle();
    };
    let policy = |written| serde_json::from_value::<Policy>(written).unwrap();
    let ten = json!({"rules": [{"set": {"med": 10}, "action": "accept"}], "default": "reject"});
    import(&mut net, policy(ten));
    assert_eq!(meds(&net, RECEIVER, P), [10, 10, 10]);
    let views = net.nodes[RECEIVER].speaker.explain_import(address(0), None);
    let views = views.unwrap().into_iter();
    let mut received: Vec<_> = views.map(|view| (view.path_id, view.before.med)).collect();
    received.sort_unstable();
    let wanted: Vec<_> = before.iter().map(|&(id, med)| (id, Some(med))).collect();
    assert_eq!(received, wanted);
    // One goes while it is changed: the others are as they were.
    net.withdraw(2, P);
    net.settle();
    import(&mut net, Policy::accept_all());
    assert_eq!(meds(&net, RECEIVER, P), [1, 3]);
}

/// What node 0 says of each path on its way to the receiver, in order of what upstream it came from.
fn explained(net: &Net) -> Vec<(Option<u32>, bool, String)> {
    let speaker = &net.nodes[0].speaker;
    let mut views = speaker.explain_export(address(RECEIVER), None).unwrap();
    views.sort_by_key(|view| (view.prefix, view.from));
    let views = views.into_iter();
    views
        .map(|view| (view.path_id, view.sent, view.reason))
        .collect()
}

#[test]
fn a_path_that_a_peer_does_not_get_is_explained_by_what_the_peer_gets() {
    let mut net = star(PathsSent::All);
    all_announce(&mut net, P);
    let sent = "export policy, default".to_owned();
    let ids: Vec<_> = explained(&net).into_iter().collect();
    let wanted = [1, 2, 3].map(|id| (Some(id), true, sent.clone()));
    assert_eq!(ids, wanted, "nothing is lost by not being the best");
    net.peer(0, to_receiver(PathsSent::BestOf(2)));
    net.settle();
    let not_sent = "not among the best 2: higher MULTI_EXIT_DISC (3 against 1)".to_owned();
    assert_eq!(explained(&net)[1], (Some(2), true, sent.clone()));
    assert_eq!(explained(&net)[2], (Some(3), false, not_sent));
    // What is not taken is nobody's second best.
    net.peer(
        0,
        PeerConfig {
            reflector_client: true,
            import: Policy::reject_all(),
            ..peer_config(2)
        },
    );
    net.settle();
    let (_, is_sent, reason) = explained(&net)[1].clone();
    assert!(!is_sent && reason.starts_with("not taken: "), "{reason}");
    assert!(explained(&net)[2].1);
}

#[test]
fn what_is_beyond_a_limit_is_told_once_explained_and_sent_when_there_is_room() {
    let mut net = star(PathsSent::All);
    let limited = |limit: Option<usize>| PeerConfig {
        prefix_limits_out: limit
            .map(|limit| (Family::Ipv4Unicast, limit))
            .into_iter()
            .collect(),
        ..to_receiver(PathsSent::All)
    };
    net.peer(0, limited(Some(2)));
    all_announce(&mut net, P);
    announce(&mut net, 1, OTHER, 1);
    let full = |net: &mut Net| {
        let events = net.events(0);
        let full = events.into_iter().filter(|event| {
            matches!(
                event,
                Event::PrefixLimitOut {
                    family: Family::Ipv4Unicast,
                    limit: 2,
                    ..
                }
            )
        });
        full.count()
    };
    assert_eq!(full(&mut net), 1);
    assert_eq!(meds(&net, RECEIVER, P), [1, 2]);
    let held = "held back: the peer has its 2 announcements";
    let reasons: Vec<_> = explained(&net).into_iter().map(|(.., why)| why).collect();
    assert_eq!(reasons[2..], [held, held]);
    let figures = net.view(0, RECEIVER).by_family[0].clone();
    assert_eq!((figures.sent, figures.held_back), (2, 2));
    net.withdraw(2, P);
    net.settle();
    assert_eq!(net.view(0, RECEIVER).by_family[0].held_back, 1);
    assert_eq!(net.view(RECEIVER, 0).by_family[0].received, 2);
    net.peer(0, limited(None));
    net.settle();
    assert_eq!(meds(&net, RECEIVER, P), [1, 3]);
    assert_eq!(meds(&net, RECEIVER, OTHER), [1]);
    assert!(explained(&net).iter().all(|(_, is_sent, _)| *is_sent));
}

#[test]
fn a_path_that_was_refused_is_asked_for_when_there_is_room() {
    let mut net = star(PathsSent::All);
    let with_room_for = |receive_max: usize| PeerConfig {
        add_path: AddPath {
            receive_max,
            ..receives()
        },
        ..peer_config(0)
    };
    net.peer(RECEIVER, with_room_for(2));
    net.events(RECEIVER);
    all_announce(&mut net, P);
    let refused = |net: &mut Net| {
        let events = net.events(RECEIVER).into_iter();
        let refused = events.filter_map(|event| match event {
            Event::PathsRefused {
                count,
                first,
                paths_max,
                ..
            } => Some((count, first.prefix, paths_max)),
            _ => None,
        });
        refused.collect::<Vec<_>>()
    };
    assert_eq!(refused(&mut net), [(1, prefix(P), 2)]);
    assert_eq!(net.view(RECEIVER, 0).paths_refused, 1);
    assert_eq!(meds(&net, RECEIVER, P), [1, 2]);
    // A change of what is there makes no room, and the withdrawal of what is not there neither.
    announce(&mut net, 1, P, 1);
    net.run_for(10);
    assert_eq!(meds(&net, RECEIVER, P), [1, 2]);
    net.withdraw(1, P);
    net.run_for(10);
    assert_eq!(meds(&net, RECEIVER, P), [2, 3]);
    assert_eq!(refused(&mut net), []);
    // A greater maximum is room as well.
    announce(&mut net, 1, P, 1);
    assert_eq!(refused(&mut net).len(), 1);
    net.peer(RECEIVER, with_room_for(3));
    net.run_for(10);
    assert_eq!(meds(&net, RECEIVER, P), [1, 2, 3]);
    assert_eq!(refused(&mut net), []);
}
