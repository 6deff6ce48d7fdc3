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
    let nets = |texts: &[&str]| {
        texts
            .iter()
            .map(|text| text.parse().unwrap())
            .collect::<Vec<IpNet>>()
    };
    assert_eq!(
        export_policy(&cluster.0),
        Policy {
            rules: vec![
                PolicyRule {
                    within: nets(&["10.1.0.0/16"]),
                    local: None,
                    accept: false
                },
                PolicyRule {
                    within: vec![],
                    local: Some(true),
                    accept: true
                },
                PolicyRule {
                    within: nets(&["10.1.0.0/16", "10.2.0.0/16"]),
                    local: Some(false),
                    accept: true
                },
            ],
            default_accept: false,
        }
    );
}

#[test]
fn without_pools_only_local_paths_get_out() {
    let policy = export_policy(&Cluster::default().0);
    assert_eq!(
        policy.rules,
        vec![PolicyRule {
            within: vec![],
            local: Some(true),
            accept: true
        }]
    );
    assert!(!policy.default_accept);
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
