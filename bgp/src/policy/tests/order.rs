//! Rules are tried in order, and later ones see what earlier ones did.

use proptest::prelude::*;

use super::*;

#[test]
fn the_first_rule_that_decides_is_the_last_that_is_asked() {
    let policy = policy(json!({
        "rules": [
            {"name": "small", "match": {"prefixes": ["10.1.1.0/24"]}, "action": "reject"},
            {"match": {"prefixes": ["10.1.0.0/16 inside", "fd00::/8 inside"]}, "action": "accept"},
            {"match": {"prefixes": ["10.0.0.0/8 inside"]}, "set": {"localPref": 1}, "action": "reject"},
        ],
        "default": "accept",
    }));
    for (prefix, accepted, rule) in [
        ("10.1.1.0/24", false, Some("rule 1 \"small\"")),
        ("10.1.2.0/24", true, Some("rule 2")),
        ("fd00:1::/64", true, Some("rule 2")),
        ("10.2.0.0/24", false, Some("rule 3")),
        ("192.0.2.0/24", true, None),
    ] {
        let seen = run(&policy, prefix, &path());
        assert_eq!(
            (seen.accepted, seen.rule.as_deref()),
            (accepted, rule),
            "{prefix}"
        );
    }
}

#[test]
fn a_later_rule_sees_what_an_earlier_one_made_of_the_path() {
    let policy = policy(json!({
        "rules": [
            {"set": {"localPref": 300, "communities": {"add": ["1:1"]}}, "action": "next"},
            {"match": {"communities": {"none": ["1:1"]}}, "action": "reject"},
            {"match": {"localPref": [300]}, "set": {"med": "add 1"}, "action": "next"},
            {"match": {"med": [51]}, "set": {"med": "add 1"}, "action": "accept"},
        ],
        "default": "reject",
    }));
    let seen = run(&policy, "10.1.0.0/24", &path());
    assert!(seen.accepted);
    assert_eq!(seen.attributes.med, Some(52));
    assert_eq!(seen.rule.as_deref(), Some("rule 4"));
}

#[test]
fn a_next_hop_that_is_kept_in_the_end_is_the_received_one() {
    let policy = policy(json!({
        "rules": [
            {"set": {"nextHop": "192.0.2.9"}, "action": "next"},
            {"match": {"nextHops": ["192.0.2.9"]}, "set": {"nextHop": "keep"}, "action": "accept"},
        ],
        "default": "reject",
    }));
    let seen = run(&policy, "10.1.0.0/24", &path());
    assert_eq!(seen.attributes, path());
}

#[test]
fn sessions_that_leave_the_same_rules_have_equal_programs_and_others_have_not() {
    let policy = policy(json!({
        "rules": [
            {"match": {"peers": ["10.0.0.1"]}, "action": "reject"},
            {"match": {"peers": ["internal"], "med": [5]}, "action": "accept"},
            {"match": {"interfaces": ["eth1"]}, "action": "accept"},
        ],
        "default": "reject",
    }));
    let program = |last: u8, kind, interface| {
        policy.program(&SessionPeer {
            address: [10, 0, 0, last].into(),
            kind,
            interface,
        })
    };
    let common = program(2, SessionKind::Internal, None);
    assert_eq!(common, program(3, SessionKind::Client, Some("eth0")));
    assert_ne!(common, program(1, SessionKind::Internal, None));
    assert_ne!(common, program(2, SessionKind::External, None));
    assert_ne!(common, program(2, SessionKind::Internal, Some("eth1")));
}

/// Rules of all sorts, about few values, so that they often match.
fn any_rule() -> impl Strategy<Value = serde_json::Value> {
    let condition = prop_oneof![
        (8u8..=32, 0u8..4).prop_map(|(length, net)| {
            let net: IpNet = format!("10.{net}.0.0/{length}").parse().unwrap();
            json!({"prefixes": [format!("{} inside", net.trunc())]})
        }),
        (16u8..=32, 0u8..4).prop_map(|(length, net)| {
            json!({"notPrefixes": [format!("10.{net}.0.0/16 le {length}")]})
        }),
        (0u32..4).prop_map(|asn| json!({"asPath": {"contains": [asn]}})),
        (0u32..4).prop_map(|asn| json!({"asPath": {"regexp": [format!("_{asn}_[0-9]*")]}})),
        (0u32..4).prop_map(|low| json!({"communities": {"any": [format!("*:{low}")]}})),
        (0u32..4).prop_map(|med| json!({"med": [format!("{med}-")]})),
        Just(json!({})),
    ];
    let change = prop_oneof![
        (0u32..4).prop_map(|med| json!({"med": med})),
        (0u32..4).prop_map(|low| json!({"communities": {"add": [format!("1:{low}")]}})),
        (0u32..4).prop_map(|low| json!({"communities": {"remove": [format!("*:{low}")]}})),
        (0u8..=255).prop_map(|times| json!({"prepend": times})),
        Just(json!({})),
    ];
    let action = prop_oneof![Just("accept"), Just("reject"), Just("next"), Just("next")];
    (condition, change, action)
        .prop_map(|(when, set, action)| json!({"match": when, "set": set, "action": action}))
}

fn any_path() -> impl Strategy<Value = Attributes> {
    let asns = proptest::collection::vec(0u32..4, 0..6);
    let communities = proptest::collection::vec((0u32..4).prop_map(|low| 1 << 16 | low), 0..4);
    (asns, communities, proptest::option::of(0u32..4)).prop_map(|(asns, communities, med)| {
        Attributes {
            as_path: crate::wire::AsPath::from_sequence(asns),
            communities,
            med,
            ..path()
        }
    })
}

fn as_policy(rules: &[serde_json::Value]) -> Policy {
    policy(json!({"rules": rules, "default": "accept"}))
}

proptest! {
    // A case compiles up to eighty rules.
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// What a signature stands for is all that the answer depends on; rules that come after the deciding one do
    /// not matter; a policy that is written down and read back is the same.
    #[test]
    fn the_answer_depends_on_the_rules_up_to_the_deciding_one_only(
        rules in proptest::collection::vec(any_rule(), 0..80),
        attributes in any_path(),
        (length, net) in (8u8..=32, 0u8..4),
    ) {
        let prefix: IpNet = format!("10.{net}.0.0/{length}").parse().unwrap();
        let prefix = prefix.trunc().to_string();
        let policy = as_policy(&rules);
        let seen = run(&policy, &prefix, &attributes);
        if let Some(rule) = &seen.rule {
            let number: usize = rule.trim_start_matches("rule ").parse().unwrap();
            let shorter = run(&as_policy(&rules[..number]), &prefix, &attributes);
            prop_assert_eq!(shorter.rule.as_ref(), Some(rule));
            prop_assert_eq!(&shorter.attributes, &seen.attributes);
            let without = run(&as_policy(&rules[..number - 1]), &prefix, &attributes);
            prop_assert_eq!(without.rule, None);
        } else {
            prop_assert!(seen.accepted);
        }
        let written = serde_json::to_value(&policy).unwrap();
        prop_assert_eq!(super::policy(written), policy);
    }

    /// Rules that only accept or reject, about prefixes that do not overlap, may stand in any order.
    #[test]
    fn rules_about_different_prefixes_may_change_places(
        (first, second) in (0u8..4, 0u8..4),
        (length, net) in (16u8..=32, 0u8..4),
    ) {
        prop_assume!(first != second);
        let rule = |net: u8, action: &str| {
            json!({"match": {"prefixes": [format!("10.{net}.0.0/16 inside")]}, "action": action})
        };
        let (one, two) = (rule(first, "accept"), rule(second, "reject"));
        let prefix = format!("10.{net}.0.0/{length}");
        let forward = run(&as_policy(&[one.clone(), two.clone()]), &prefix, &path());
        let backward = run(&as_policy(&[two, one]), &prefix, &path());
        prop_assert_eq!(forward.accepted, backward.accepted);
    }
}
