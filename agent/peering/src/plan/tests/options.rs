//! Options of a session that Calico has no fields for: of a BGPPeer, and of the mesh.

use caracal_bgp::BfdConfig;

use super::*;
use crate::PeerOptions;

/// The node `a` with a BGPPeer `tor` that has this annotation.
fn annotated(value: &str, spec: serde_json::Value) -> Cluster {
    let mut cluster = Cluster::of(&["a"]).peer("tor", spec);
    let metadata = &mut cluster.0.peers.get_mut("tor").unwrap().metadata;
    let annotation = (crate::SESSION_ANNOTATION.to_owned(), value.to_owned());
    metadata.annotations.extend([annotation]);
    cluster
}

#[test]
fn an_annotation_of_a_bgppeer_says_how_to_speak_with_it() {
    let spec = json!({
        "peerIP": "10.0.0.254", "asNumber": 65001, "ttlSecurity": 1,
        "maxRestartTime": "5m", "numAllowedLocalASNumbers": 3,
    });
    let plain = only(&annotated("{}", spec.clone()), "a").config;
    assert_eq!(plain.allow_own_as, 3);
    for written in [
        "{bfd: {minIntervalMilliseconds: 100}, role: customer, gracefulRestart: 30, shutdown: soon}",
        r#"{"bfd": {"minIntervalMilliseconds": 100}, "role": "customer", "gracefulRestart": 30, "shutdown": "soon"}"#,
    ] {
        let said = only(&annotated(written, spec.clone()), "a").config;
        let expected = PeerConfig {
            // Of `ttlSecurity`.
            bfd: Some(BfdConfig {
                min_interval_milliseconds: 100,
                multihop: Some(false),
                ..BfdConfig::default()
            }),
            role: Some(caracal_bgp::wire::Role::Customer),
            graceful_restart: Some(Duration::from_secs(30)),
            shutdown: Some("soon".to_owned()),
            ..plain.clone()
        };
        assert_eq!(said, expected);
    }
}

#[test]
fn a_policy_of_the_annotation_stands_in_place_of_what_the_cluster_says() {
    let spec = json!({"peerIP": "10.0.0.254", "asNumber": 65001});
    let text = "export: {default: reject, rules: [{match: {from: [local]}, set: {med: 5}, action: accept}]}";
    let config = only(&annotated(text, spec), "a").config;
    assert_eq!(config.import, Policy::accept_all());
    assert_eq!(config.export.rules.len(), 1);
    assert_ne!(config.export.rules[0].name, "local");
}

#[test]
fn a_peer_with_a_wrong_annotation_is_named_and_left_out() {
    let spec = json!({"peerIP": "10.0.0.254", "asNumber": 65001});
    for (value, why) in [
        (
            "yes please",
            "invalid type: string \"yes please\", expected struct PeerOptions",
        ),
        ("{bfd: {minRx: 3}}", "bfd.minRx: unknown field `minRx`"),
        (
            "{holdTime: 2}",
            "holdTime: 2 is neither 0 nor at least 3 whole seconds",
        ),
        ("{a: [", ""),
    ] {
        let (peers, faults) = plan(&annotated(value, spec.clone()), "a");
        // Without its options it might be let in although the annotation says `shutdown`.
        assert_eq!(peers, []);
        let expected =
            format!("BGPPeer tor: annotation bgp.caracal.network/session: `{value}`: {why}");
        assert!(
            faults.len() == 1 && faults[0].starts_with(&expected),
            "{faults:?}"
        );
    }
    let internal = json!({"peerIP": "10.0.0.254", "asNumber": 64512});
    let (peers, faults) = plan(&annotated("{role: peer, holdTime: 9}", internal), "a");
    assert_eq!(peers[0].config.hold_time, Duration::from_secs(9));
    assert_eq!(peers[0].config.role, None);
    assert_eq!(
        faults,
        [
            "BGPPeer tor: annotation bgp.caracal.network/session: role: peer: is for external peers only, and the peer \
          has our AS number (10.0.0.254)"
        ]
    );
}

#[test]
fn the_mesh_has_the_options_that_the_agents_say() {
    let mesh_options = PeerOptions::of(json!({"bfd": true, "holdTime": 9})).unwrap();
    let defaults = Defaults {
        mesh_options,
        ..Defaults::default()
    };
    let (peers, _) = peers_of("a", &Cluster::of(&["a", "b"]).0, &defaults);
    assert_eq!(peers[0].config.bfd, Some(BfdConfig::default()));
    assert_eq!(peers[0].config.hold_time, Duration::from_secs(9));
    let (peers, _) = plan(&Cluster::of(&["a", "b"]), "a");
    assert_eq!(peers[0].config.bfd, None);
}
