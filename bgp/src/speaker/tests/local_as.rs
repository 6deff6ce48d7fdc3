//! Another AS number towards one peer (RFC 7705), and our own in the paths that we take.

use super::*;
use crate::config::{LocalAs, PeerConfig, SpeakerConfig};

/// 0 is in AS 64512, 1 in AS 65001 and 2 in AS 65002; 1 is 64999 to 2.
fn net(local_as: LocalAs) -> Net {
    let asns = [64512, 65001, 65002];
    let mut net = Net::new(3);
    for (node, &asn) in asns.iter().enumerate() {
        let config = SpeakerConfig {
            asn,
            ..speaker_config(node)
        };
        net.replace(node, config);
    }
    let peer = |other: usize, remote_asn: u32, local_asn| PeerConfig {
        remote_asn: remote_asn.into(),
        local_asn,
        local_as,
        ..peer_config(other)
    };
    net.peer(0, peer(1, 65001, 64512));
    net.peer(1, peer(0, 64512, 65001));
    net.peer(1, peer(2, 65002, 64999));
    net.peer(2, peer(1, 64999, 65002));
    net.run_for(20);
    net.originate(0, "10.0.0.0/24");
    net.originate(2, "10.2.0.0/24");
    net.settle();
    net
}

fn path(net: &Net, node: usize, text: &str) -> String {
    let route = net.nodes[node].speaker.route(&prefix(text)).unwrap();
    route.paths[0].as_path.clone()
}

#[test]
fn as_paths_name_the_other_number_as_configured() {
    // no_prepend, replace_as; what 2 gets, what 0 gets.
    let table = [
        (false, false, "64999 65001 64512", "65001 64999 65002"),
        (true, false, "64999 65001 64512", "65001 65002"),
        (false, true, "64999 64512", "65001 64999 65002"),
        (true, true, "64999 64512", "65001 65002"),
    ];
    for (no_prepend, replace_as, at_2, at_0) in table {
        let net = net(LocalAs {
            no_prepend,
            replace_as,
        });
        let paths = (path(&net, 2, "10.0.0.0/24"), path(&net, 0, "10.2.0.0/24"));
        assert_eq!(
            paths,
            (at_2.to_owned(), at_0.to_owned()),
            "{no_prepend} {replace_as}"
        );
    }
}

#[test]
fn two_places_with_one_as_number_see_each_other_where_that_is_allowed() {
    for (allow_own_as, seen) in [(0, false), (1, true)] {
        let mut net = Net::new(3);
        let provider = SpeakerConfig {
            asn: 65001,
            ..speaker_config(1)
        };
        net.replace(1, provider);
        for place in [0, 2] {
            let up = PeerConfig {
                remote_asn: 65001.into(),
                allow_own_as,
                ..peer_config(1)
            };
            net.peer(place, up);
            let down = PeerConfig {
                local_asn: 65001,
                ..peer_config(place)
            };
            net.peer(1, down);
        }
        net.run_for(20);
        net.originate(0, "10.0.0.0/24");
        net.settle();
        assert_eq!(net.has(2, "10.0.0.0/24"), seen, "{allow_own_as}");
        let route = net.nodes[2].speaker.route(&prefix("10.0.0.0/24")).unwrap();
        let why = route.paths[0].lost_because.as_deref();
        assert_eq!(why, (!seen).then_some("loop: our AS is in AS_PATH"));
    }
}

#[test]
fn a_session_without_hold_time_outlives_any_silence() {
    let mut net = Net::new(2);
    let endless = |node| PeerConfig {
        hold_time: std::time::Duration::ZERO,
        ..peer_config(node)
    };
    net.peer(0, endless(1));
    net.peer(1, peer_config(0));
    net.run_for(10);
    assert_eq!(net.view(1, 0).hold_time_seconds, Some(0));
    let before = net.view(0, 1).messages_received;
    net.nodes[1].clogged = true;
    net.run_for(1_000_000);
    net.nodes[1].clogged = false;
    let view = net.view(0, 1);
    assert_eq!((view.state.as_str(), view.flaps), ("Established", 0));
    assert_eq!(view.messages_received, before);
    net.originate(1, "10.1.0.0/24");
    net.settle();
    assert!(net.has(0, "10.1.0.0/24"));
}
