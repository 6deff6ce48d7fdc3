//! Sessions and the paths that go over them.

use super::*;
use crate::config::{PeerConfig, Policy, SpeakerConfig};
use crate::event::Event;
use std::time::Duration;

#[test]
fn two_speakers_tell_each_other_their_prefixes() {
    let mut net = Net::mesh(2);
    net.originate(0, "10.233.0.0/26");
    net.originate(0, "fd00:10:233::/122");
    net.originate(1, "10.233.0.64/26");
    net.settle();
    let all = ["10.233.0.0/26", "10.233.0.64/26", "fd00:10:233::/122"];
    assert_eq!(net.prefixes(0), all);
    assert_eq!(net.prefixes(1), all);
    assert_eq!(
        net.nodes[1].speaker.next_hops(&prefix("10.233.0.0/26")),
        [address(0)]
    );
    assert_eq!(
        net.nodes[0].speaker.next_hops(&prefix("10.233.0.0/26")),
        [] as [std::net::IpAddr; 0]
    );
    net.withdraw(0, "10.233.0.0/26");
    net.settle();
    assert_eq!(net.prefixes(1), all[1..]);
}

#[test]
fn a_mesh_of_ten_settles_with_one_session_a_pair() {
    let mut net = Net::mesh(10);
    for node in 0..10 {
        net.originate(node, &format!("10.233.{node}.0/26"));
    }
    net.run_for(600);
    for node in 0..10 {
        assert_eq!(net.prefixes(node).len(), 10);
        for other in (0..10).filter(|&other| other != node) {
            let view = net.view(node, other);
            assert_eq!(
                (view.flaps, view.prefixes_received, view.prefixes_sent),
                (0, 1, 1),
                "{view:?}"
            );
        }
    }
}

#[test]
fn a_collision_ends_with_one_session_whoever_calls_first() {
    for (first, second) in [(0, 1), (1, 0)] {
        let mut net = Net::new(2);
        net.peer(first, peer_config(second));
        net.peer(second, peer_config(first));
        net.run_for(1);
        for (a, b) in [(0, 1), (1, 0)] {
            let view = net.view(a, b);
            assert_eq!(
                (view.state.as_str(), view.flaps),
                ("Established", 0),
                "{view:?}"
            );
            assert_eq!(net.nodes[a].speaker.connections.len(), 1);
        }
    }
}

#[test]
fn a_peer_that_we_may_not_call_calls_us() {
    let mut net = Net::new(2);
    net.peer(
        0,
        PeerConfig {
            passive: true,
            ..peer_config(1)
        },
    );
    net.run_for(1);
    assert_eq!(net.view(0, 1).state, "Active");
    net.peer(1, peer_config(0));
    net.run_for(1);
    assert_eq!(net.view(0, 1).state, "Established");
}

#[test]
fn an_absent_peer_is_called_again_until_it_is_there() {
    let mut net = Net::new(2);
    net.nodes[1].cut_off = true;
    net.peer(0, peer_config(1));
    net.peer(
        1,
        PeerConfig {
            passive: true,
            ..peer_config(0)
        },
    );
    net.run_for(30);
    let failures = net.events(0).len();
    assert!(
        (5..=9).contains(&failures),
        "{failures} attempts in 30 s at 5 s each"
    );
    assert_eq!(
        net.view(0, 1).last_error.as_deref(),
        Some("no route to host")
    );
    let view = net.view(0, 1);
    assert_eq!(view.errors.connections_failed, failures as u64);
    assert!(view.last_error_seconds < Some(8), "{view:?}");
    net.nodes[1].cut_off = false;
    net.run_for(6);
    assert_eq!(net.view(0, 1).state, "Established");
}

#[test]
fn a_session_that_breaks_is_back_within_a_second() {
    let mut net = Net::mesh(2);
    net.originate(1, "10.233.0.0/26");
    net.settle();
    net.break_between(0, 1);
    net.run_for(1);
    let view = net.view(0, 1);
    assert_eq!(
        (view.state.as_str(), view.flaps, view.prefixes_received),
        ("Established", 1, 1)
    );
}

#[test]
fn a_silent_peer_loses_its_session_after_the_hold_time() {
    let mut net = Net::mesh(2);
    net.events(0);
    net.nodes[1].clogged = true;
    net.nodes[1].cut_off = true;
    net.run_for(59);
    assert_eq!(net.view(0, 1).state, "Established");
    net.run_for(40);
    let events = net.events(0);
    let Some(Event::Down { reason, .. }) = events.first() else {
        panic!("{events:?}")
    };
    assert_eq!(reason, "sent Hold Timer Expired");
}

#[test]
fn removing_a_peer_tells_it_why_and_forgets_its_paths() {
    let mut net = Net::mesh(2);
    net.originate(1, "10.233.0.0/26");
    net.settle();
    net.events(1);
    let now = net.now;
    let id = net.nodes[0].speaker.by_address[&address(1).into()];
    net.nodes[0].speaker.remove_peer(now, address(1));
    assert_eq!(
        net.nodes[0].speaker.peer_identity(id),
        Some(("node1".to_owned(), address(1)))
    );
    net.settle();
    assert_eq!(net.nodes[0].speaker.peer_identity(id), None);
    assert_eq!(net.prefixes(0), [] as [String; 0]);
    let events = net.events(1);
    let Some(Event::Down {
        reason,
        stale_kept: false,
        ..
    }) = events.first()
    else {
        panic!("{events:?}")
    };
    assert_eq!(reason, "received Cease: Hard Reset (Peer De-configured)");
    assert!(net.nodes[0].speaker.peers(now).is_empty());
}

#[test]
fn policies_change_under_a_session_and_other_things_do_not() {
    let mut net = Net::mesh(2);
    net.originate(0, "10.233.0.0/26");
    net.originate(1, "10.233.1.0/26");
    net.settle();
    let nothing = PeerConfig {
        name: "renamed".to_owned(),
        import: Policy::reject_all(),
        export: Policy::reject_all(),
        ..peer_config(1)
    };
    net.peer(0, nothing);
    net.settle();
    assert_eq!(
        (net.prefixes(0), net.prefixes(1)),
        (vec!["10.233.0.0/26".into()], vec!["10.233.1.0/26".into()])
    );
    let view = net.view(0, 1);
    assert_eq!(
        (view.name.as_str(), view.flaps, view.prefixes_sent),
        ("renamed", 0, 0)
    );
    assert_eq!((view.prefixes_received, view.prefixes_accepted), (1, 0));
    let route = net.nodes[0]
        .speaker
        .route(&prefix("10.233.1.0/26"))
        .unwrap();
    assert_eq!(
        route.paths[0].lost_because.as_deref(),
        Some("rejected by import policy")
    );

    net.peer(0, peer_config(1));
    net.settle();
    assert_eq!(
        (
            net.prefixes(0).len(),
            net.prefixes(1).len(),
            net.view(0, 1).flaps
        ),
        (2, 2, 0)
    );

    net.peer(
        0,
        PeerConfig {
            hold_time: std::time::Duration::from_secs(30),
            ..peer_config(1)
        },
    );
    net.run_for(10);
    let view = net.view(0, 1);
    assert_eq!((view.flaps, view.hold_time_seconds), (1, Some(30)));
    assert_eq!(net.prefixes(0).len(), 2);
}

#[test]
fn an_external_session_prepends_and_names_ourselves() {
    let mut net = Net::new(3);
    net.replace(
        2,
        SpeakerConfig {
            asn: 65000,
            ..speaker_config(2)
        },
    );
    let external = |node| PeerConfig {
        remote_asn: 65000.into(),
        ..peer_config(node)
    };
    let internal = |node| PeerConfig {
        local_asn: 65000,
        ..peer_config(node)
    };
    net.peer(0, peer_config(1));
    net.peer(1, peer_config(0));
    net.peer(1, external(2));
    net.peer(2, internal(1));
    net.run_for(5);
    net.originate(0, "10.233.0.0/26");
    net.originate(2, "192.0.2.0/24");
    net.settle();
    let at_2 = net.nodes[2]
        .speaker
        .route(&prefix("10.233.0.0/26"))
        .unwrap()
        .paths
        .remove(0);
    assert_eq!(
        (at_2.as_path.as_str(), at_2.next_hop, at_2.local_pref),
        ("64512", Some(address(1)), 100)
    );
    let at_0 = net.nodes[0]
        .speaker
        .route(&prefix("192.0.2.0/24"))
        .unwrap()
        .paths
        .remove(0);
    assert_eq!(
        (at_0.as_path.as_str(), at_0.next_hop),
        ("65000", Some(address(2)))
    );
}

#[test]
fn the_driver_is_told_of_a_prefix_once_however_often_it_changed() {
    let mut net = Net::new(1);
    let now = net.now;
    let speaker = &mut net.nodes[0].speaker;
    for _ in 0..10 {
        speaker.originate(now, prefix("10.0.0.0/24"), crate::LocalPath::default());
        speaker.withdraw(now, prefix("10.0.0.0/24"));
    }
    assert!(speaker.has_route_changes());
    assert_eq!(speaker.poll_route_change(), Some(prefix("10.0.0.0/24")));
    assert_eq!(
        (speaker.poll_route_change(), speaker.has_route_changes()),
        (None, false)
    );
}

#[test]
fn with_delay_open_a_session_comes_when_the_first_of_both_has_waited_long_enough() {
    let config = |node, seconds| PeerConfig {
        delay_open: Some(Duration::from_secs(seconds)),
        ..peer_config(node)
    };
    let mut net = Net::new(2);
    net.peer(1, config(0, 30));
    net.nodes[1].cut_off = true;
    net.run_for(1);
    net.nodes[1].cut_off = false;
    net.peer(0, config(1, 8));
    net.run_for(6);
    // Who has connected is in Connect, who has accepted in Active.
    assert_eq!(net.view(0, 1).state, "Connect");
    assert!(["Active", "Connect"].contains(&net.view(1, 0).state.as_str()));
    assert_eq!(net.view(0, 1).messages_sent, 0);
    net.run_for(12);
    for (node, other) in [(0, 1), (1, 0)] {
        let view = net.view(node, other);
        assert_eq!(view.state, "Established", "{view:?}");
        assert_eq!(view.flaps, 0);
    }
    net.originate(0, "10.233.0.0/26");
    net.settle();
    assert!(net.has(1, "10.233.0.0/26"));
    // A change of it is for the next connection.
    net.peer(1, peer_config(0));
    net.run_for(20);
    assert_eq!(net.view(0, 1).flaps, 0);
}

#[test]
fn with_delay_open_a_peer_that_speaks_first_does_not_wait() {
    let mut net = Net::new(2);
    net.peer(1, peer_config(0));
    net.peer(
        0,
        PeerConfig {
            delay_open: Some(Duration::from_secs(100)),
            ..peer_config(1)
        },
    );
    net.run_for(8);
    let view = net.view(0, 1);
    assert_eq!(view.state, "Established", "{view:?}");
}
