//! Each key, and the sentence for each that is wrong.

use serde_json::json;

use super::*;

fn plain() -> PeerConfig {
    PeerConfig::new("192.0.2.7".parse().unwrap(), 65001, 64512)
}

fn with(said: Value) -> PeerConfig {
    let mut config = plain();
    PeerOptions::of(said).unwrap().apply(&mut config);
    config
}

/// What these options make of a plain peer, as its configuration is written.
fn changed(said: Value) -> serde_json::Map<String, Value> {
    let written = |config: &PeerConfig| serde_json::to_value(config).unwrap();
    let (before, after) = (written(&plain()), written(&with(said)));
    let after = after.as_object().unwrap().clone();
    let differs = |(key, value): &(String, Value)| before[key] != *value;
    after.into_iter().filter(differs).collect()
}

#[test]
fn each_key_changes_the_field_of_its_name_and_nothing_else() {
    let policy = json!({"default": "reject", "rules": [{"action": "accept"}]});
    let limit = json!({"max": 1000, "warnPercent": 80, "action": {"restart": {"after": 60}}});
    for (key, value) in [
        ("shutdown", json!("maintenance")),
        ("passive", json!(true)),
        ("localAddress", json!("192.0.2.1")),
        ("interface", json!("eth1")),
        ("families", json!(["ipv4-unicast", "ipv6-unicast"])),
        ("holdTime", json!(9)),
        ("connectRetry", json!(1.5)),
        ("delayOpen", json!(3)),
        ("dampOscillations", json!(false)),
        ("idleHoldMax", json!(600)),
        ("prefixLimits", json!({"ipv4-unicast": limit})),
        ("prefixLimitsOut", json!({"ipv6-unicast": 5})),
        ("role", json!("routeServerClient")),
        ("roleStrict", json!(true)),
        ("localAs", json!({"noPrepend": false, "replaceAs": true})),
        ("allowOwnAs", json!(2)),
        ("nextHop", json!("ownAddress")),
        ("gracefulRestart", json!(30)),
        ("longLived", json!(3600)),
        ("longLivedPartial", json!(true)),
        ("stalePathTime", json!(30)),
        ("extendedMessages", json!(false)),
        ("extendedNextHop", json!(true)),
        ("gracefulShutdown", json!(true)),
        ("honourGracefulShutdown", json!(false)),
        (
            "addPath",
            json!({"receive": true, "receiveMax": 9, "send": {"bestOf": 2}}),
        ),
        (
            "bfd",
            json!({"minIntervalMilliseconds": 50, "multiplier": 5, "multihop": true, "strict": true}),
        ),
        ("import", policy.clone()),
        ("export", policy.clone()),
    ] {
        let changed = changed(json!({key: value.clone()}));
        assert_eq!(changed.keys().collect::<Vec<_>>(), [key]);
        if !["import", "export"].contains(&key) {
            assert_eq!(changed[key], value);
        }
    }
    assert_eq!(with(json!({})), plain());
}

#[test]
fn what_is_on_can_be_switched_off() {
    assert_eq!(with(json!({"gracefulRestart": 0})).graceful_restart, None);
    let mut config = plain();
    config.bfd = Some(BfdConfig::default());
    config.long_lived = Some(Duration::from_secs(5));
    let off = PeerOptions::of(json!({"bfd": false, "longLived": 0})).unwrap();
    off.apply(&mut config);
    assert_eq!((config.bfd, config.long_lived), (None, None));
}

#[test]
fn each_fault_names_key_and_value() {
    for (said, expected) in [
        (
            json!({"holdtime": 3}),
            "holdtime: unknown field `holdtime`, expected one of `shutdown`",
        ),
        (
            json!({"holdTime": 2}),
            "holdTime: 2 is neither 0 nor at least 3 whole seconds (RFC 4271 §4.2)",
        ),
        (
            json!({"holdTime": 65536}),
            "holdTime: 65536 is not between 0 and 65535 seconds",
        ),
        (
            json!({"holdTime": "9s"}),
            "holdTime: invalid type: string \"9s\", expected f64",
        ),
        (
            json!({"holdTime": -1}),
            "holdTime: -1 is no number of seconds",
        ),
        (
            json!({"connectRetry": 0.2}),
            "connectRetry: 0.2 is not between 1 and 65535 seconds",
        ),
        (
            json!({"gracefulRestart": 5000}),
            "gracefulRestart: 5000 is not between 0 and 4095 seconds",
        ),
        (json!({"families": []}), "families: empty"),
        (
            json!({"families": ["ipv4-unicast", "ipv4-unicast"]}),
            "families: ipv4-unicast is there twice",
        ),
        (
            json!({"families": ["ipv5"]}),
            "families[0]: unknown variant `ipv5`",
        ),
        (
            json!({"localAddress": "10.0.0.300"}),
            "localAddress: \"10.0.0.300\": invalid IP address",
        ),
        (json!({"role": "boss"}), "role: unknown variant `boss`"),
        (
            json!({"allowOwnAs": 300}),
            "allowOwnAs: invalid value: integer `300`, expected u8",
        ),
        (
            json!({"interface": "a-name-that-is-much-too-long"}),
            "interface: \"a-name-that-is-much-too-long\" is no name",
        ),
        (
            json!({"prefixLimits": {"ipv4-unicast": {"max": "many", "action": "stop"}}}),
            "prefixLimits.ipv4-unicast.max: invalid type: string \"many\"",
        ),
        (
            json!({"prefixLimits": {"ipv4-unicast": {"max": 1, "warnPercent": 101, "action": "stop"}}}),
            "prefixLimits.ipv4-unicast.warnPercent: 101 is not between 1 and 100",
        ),
        (
            json!({"import": {"default": "accept", "rules": [{"match": {"prefixes": ["10.0.0.1/8"]}, "action": "next"}]}}),
            "import.rules[0].match.prefixes[0]: bad prefix \"10.0.0.1/8\"",
        ),
        (
            json!({"addPath": {"send": {"bestOf": 2}, "recieve": true}}),
            "addPath.recieve: unknown field `recieve`",
        ),
        (
            json!({"bfd": {"multiplier": 0}}),
            "bfd: multiplier: 0 is not within 1 and 255",
        ),
        (json!({"shutdown": "x".repeat(256)}), "shutdown: \"xxx"),
    ] {
        let fault = PeerOptions::of(said.clone()).unwrap_err();
        assert!(fault.starts_with(expected), "{said}: {fault}");
    }
}

#[test]
fn an_internal_peer_has_no_role_and_no_other_as() {
    for said in [
        json!({"role": "peer"}),
        json!({"roleStrict": true}),
        json!({"localAs": {}}),
    ] {
        let options = PeerOptions::of(said).unwrap();
        assert_eq!(options.check_for(false), Ok(()));
        let fault = options.check_for(true).unwrap_err();
        assert!(fault.contains("is for external peers only"), "{fault}");
    }
    let other = PeerOptions::of(json!({"passive": true, "roleStrict": false})).unwrap();
    assert_eq!(other.check_for(true), Ok(()));
}

#[test]
fn add_path_that_lets_nothing_through_is_refused() {
    for (said, why) in [
        (
            json!({"addPath": {"send": {"bestOf": 0}}}),
            "addPath.send.bestOf: 0",
        ),
        (
            json!({"addPath": {"receiveMax": 0}}),
            "addPath.receiveMax: 0",
        ),
    ] {
        let fault = PeerOptions::of(said).unwrap_err();
        assert!(fault.starts_with(why), "{fault}");
    }
}
