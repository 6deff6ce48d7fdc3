//! Peers of which only the kind of AS number is configured.

use super::*;
use crate::config::{PeerConfig, RemoteAs, SpeakerConfig};

/// Two speakers of these AS numbers, each of which has the other as a peer of this kind.
fn net(asns: [u32; 2], remotes: [RemoteAs; 2]) -> Net {
    let mut net = Net::new(2);
    for (node, asn) in asns.into_iter().enumerate() {
        let config = SpeakerConfig {
            asn,
            ..speaker_config(node)
        };
        net.replace(node, config);
    }
    for (node, other) in [(0, 1), (1, 0)] {
        let config = PeerConfig {
            remote_asn: remotes[node],
            local_asn: asns[node],
            ..peer_config(other)
        };
        net.peer(node, config);
    }
    net.originate(1, "10.233.1.0/26");
    net
}

#[test]
fn an_external_peer_is_of_the_as_that_it_says() {
    let mut net = net([64512, 65001], [RemoteAs::External; 2]);
    assert_eq!(net.view(0, 1).remote_asn, 0, "nobody knows");
    net.run_for(20);
    let view = net.view(0, 1);
    assert_eq!(
        (view.state.as_str(), view.remote_asn),
        ("Established", 65001)
    );
    // Its paths begin with that number, and would not be taken with another in front.
    let route = net.nodes[0].speaker.route(&prefix("10.233.1.0/26"));
    let path = &route.unwrap().paths[0];
    assert_eq!((path.as_path.as_str(), path.best), ("65001", true));
}

#[test]
fn an_internal_peer_has_our_number_whatever_that_is() {
    let mut net = net([64512; 2], [RemoteAs::Internal, 64512.into()]);
    assert_eq!(net.view(0, 1).remote_asn, 64512);
    net.run_for(20);
    assert_eq!(net.view(0, 1).state, "Established");
    let route = net.nodes[0].speaker.route(&prefix("10.233.1.0/26"));
    assert_eq!(route.unwrap().paths[0].as_path, "");
}

#[test]
fn a_peer_of_the_other_kind_is_refused() {
    let cases = [
        (
            [64512, 64512],
            RemoteAs::External,
            "the peer's AS is 64512, configured is external",
        ),
        (
            [64512, 65001],
            RemoteAs::Internal,
            "the peer's AS is 65001, configured is internal",
        ),
    ];
    for (asns, remote, why) in cases {
        let mut net = net(asns, [remote, asns[0].into()]);
        net.run_for(20);
        let view = net.view(0, 1);
        assert_ne!(view.state, "Established", "{remote}");
        let refused = view.errors.notifications_sent;
        assert!(
            refused["OPEN Message Error: Bad Peer AS"] > 1,
            "{refused:?}"
        );
        assert!(view.last_error.unwrap().contains(why), "{remote}");
    }
}
