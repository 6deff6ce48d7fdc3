//! Pools, and what gets out of a node.

use serde_json::json;

use super::*;
use crate::testing::Cluster;

#[test]
fn a_pool_with_disabled_export_comes_first_and_an_enabled_pool_lets_learned_paths_through() {
    let cluster = Cluster::default()
        .pool(
            "hidden",
            json!({"cidr": "10.1.0.0/16", "disableBGPExport": true}),
        )
        .pool("open", json!({"cidr": "10.2.0.0/16"}))
        .pool("old", json!({"cidr": "10.3.0.0/16", "disabled": true}));
    let (rules, default) = written(&policy_of(&cluster.0));
    assert_eq!(
        rules,
        json!([
            {
                "name": "disableBGPExport",
                "match": {"prefixes": ["10.1.0.0/16 inside"]},
                "action": "reject",
            },
            {"name": "local", "match": {"from": ["local"]}, "action": "accept"},
            {
                "name": "learned in pools",
                "match": {
                    "prefixes": ["10.1.0.0/16 inside", "10.2.0.0/16 inside"],
                    "from": ["learned"],
                },
                "action": "accept",
            },
        ])
    );
    assert_eq!(default, "reject");
}

#[test]
fn without_pools_only_local_paths_get_out() {
    let (rules, default) = written(&policy_of(&Cluster::default().0));
    assert_eq!(
        rules,
        json!([{"name": "local", "match": {"from": ["local"]}, "action": "accept"}])
    );
    assert_eq!(default, "reject");
}

fn policy_of(view: &View) -> Policy {
    let mut faults = Vec::new();
    let policy = export_policy("a", view, &mut faults);
    assert_eq!(faults, [""; 0]);
    policy
}

/// A policy as an operator would read it.
fn written(policy: &Policy) -> (serde_json::Value, serde_json::Value) {
    let mut written = serde_json::to_value(policy).unwrap();
    (written["rules"].take(), written["default"].take())
}

#[test]
fn the_names_of_pools_do_not_matter() {
    let one = Cluster::default()
        .pool("a", json!({"cidr": "10.2.0.0/16"}))
        .pool("b", json!({"cidr": "10.1.0.0/16"}));
    let two = Cluster::default()
        .pool("a", json!({"cidr": "10.1.0.0/16"}))
        .pool("b", json!({"cidr": "10.2.0.0/16"}));
    assert_eq!(policy_of(&one.0), policy_of(&two.0));
}

#[test]
fn prefix_advertisements_add_communities_by_name_and_value_and_those_of_the_node_decide() {
    let cluster = Cluster::default().configuration(
        "default",
        json!({
            "communities": [{"name": "rack", "value": "64512:7"}, {"name": "wide", "value": "64512:1:2"}],
            "prefixAdvertisements": [
                {"cidr": "10.2.0.0/16", "communities": ["rack", "wide", "64512:9"]},
                {"cidr": "10.3.0.0/16", "communities": ["rack"]},
            ],
        }),
    );
    let advertised = |cluster: &Cluster| written(&policy_of(&cluster.0)).0;
    assert_eq!(
        advertised(&cluster),
        json!([
            {
                "name": "prefixAdvertisements 10.2.0.0/16",
                "match": {"prefixes": ["10.2.0.0/16 inside"]},
                "set": {
                    "communities": {"add": ["64512:7", "64512:9"]},
                    "largeCommunities": {"add": ["64512:1:2"]},
                },
                "action": "next",
            },
            {
                "name": "prefixAdvertisements 10.3.0.0/16",
                "match": {"prefixes": ["10.3.0.0/16 inside"]},
                "set": {"communities": {"add": ["64512:7"]}},
                "action": "next",
            },
            {"name": "local", "match": {"from": ["local"]}, "action": "accept"},
        ])
    );
    let own = json!({"prefixAdvertisements": [{"cidr": "10.2.0.0/16", "communities": ["rack"]}]});
    let cluster = cluster.configuration("node.a", own);
    let rules = advertised(&cluster);
    assert_eq!(rules.as_array().unwrap().len(), 2);
    assert_eq!(
        rules[0]["set"],
        json!({"communities": {"add": ["64512:7"]}})
    );
}

#[test]
fn a_community_that_is_none_is_named_and_the_others_stand() {
    let cluster = Cluster::default().configuration(
        "default",
        json!({"prefixAdvertisements": [{"cidr": "10.2.0.0/16", "communities": ["rack", "64512:9"]}]}),
    );
    let mut faults = Vec::new();
    let policy = export_policy("a", &cluster.0, &mut faults);
    assert_eq!(faults.len(), 1);
    let expected = "BGPConfiguration default: spec.prefixAdvertisements[0].communities[0]: bad community \"rack\"";
    assert!(faults[0].starts_with(expected), "{faults:?}");
    let set = json!({"communities": {"add": ["64512:9"]}});
    assert_eq!(written(&policy).0[0]["set"], set);
}
