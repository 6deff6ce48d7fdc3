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
    let (rules, default) = written(&export_policy(&cluster.0));
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
    let (rules, default) = written(&export_policy(&Cluster::default().0));
    assert_eq!(
        rules,
        json!([{"name": "local", "match": {"from": ["local"]}, "action": "accept"}])
    );
    assert_eq!(default, "reject");
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
    assert_eq!(export_policy(&one.0), export_policy(&two.0));
}
