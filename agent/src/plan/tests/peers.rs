//! Peers and what their sessions are signed with.

use super::*;

/// A cluster whose node1 has a signed peer, the Secret's data being this.
fn with_secret(data: Option<Value>) -> Cluster {
    let mut cluster = cluster(&[
        node("node1", "172.31.1.1/24"),
        (
            Kind::BGPPeer,
            "tor",
            json!({"peerIP": "172.31.1.254", "asNumber": 64999, "ttlSecurity": 2,
                   "password": {"secretKeyRef": {"name": "bgp", "key": "tor"}}}),
        ),
    ]);
    if let Some(data) = data {
        cluster.handle(WatchEvent::Set(secret(data)));
    }
    cluster
}

fn secret(data: Value) -> Object {
    Object {
        key: Key::in_namespace(Kind::Secret, "kube-system", "bgp"),
        metadata: Metadata {
            name: "bgp".into(),
            namespace: Some("kube-system".into()),
            ..Metadata::default()
        },
        spec: json!({ "data": data }),
        revision: None,
    }
}

#[test]
fn a_peer_with_a_password_has_the_key_of_the_secret_and_its_ttl_security() {
    let address: IpAddr = "172.31.1.254".parse().unwrap();
    // "hush" and "rush".
    for (base64, octets) in [("aHVzaA==", b"hush"), ("cnVzaA==", b"rush")] {
        let plan = make(&with_secret(Some(json!({"tor": base64}))), own(&[]));
        assert!(plan.peer(address).is_some());
        let options = SessionOptions {
            key: Some(Md5Key::new(octets).unwrap()),
            ttl_security: std::num::NonZeroU8::new(2),
        };
        assert_eq!(plan.sessions, BTreeMap::from([(address, options)]));
        assert_eq!(plan.conditions, []);
        assert!(!format!("{plan:?}").contains("ush"));
    }
}

#[test]
fn a_peer_whose_password_is_missing_is_not_connected_and_peer_secret_and_key_are_named() {
    let long = "eHh4".repeat(27);
    for (data, why) in [
        (None, "there is no Secret bgp"),
        (
            Some(json!({"mesh": "aHVzaA=="})),
            "Secret kube-system/bgp has no key tor",
        ),
        (
            Some(json!({"tor": long})),
            "Secret bgp, key tor: a TCP MD5 key has 1 to 80 octets, and this one has 81",
        ),
    ] {
        let plan = make(&with_secret(data), own(&[]));
        assert!(plan.peers.is_empty() && plan.sessions.is_empty());
        let message =
            format!("peer 172.31.1.254 (Global_172_31_1_254): {why}; it is not connected");
        assert_eq!(plan.conditions, [condition("PasswordMissing", &message)]);
    }
}

#[test]
fn a_secret_that_goes_takes_its_peer_along() {
    let mut cluster = with_secret(Some(json!({"tor": "aHVzaA=="})));
    assert_eq!(make(&cluster, own(&[])).peers.len(), 1);
    cluster.handle(WatchEvent::Deleted(secret(json!({})).key));
    assert!(make(&cluster, own(&[])).peers.is_empty());
}
