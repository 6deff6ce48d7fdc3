//! What the collector tells people and Prometheus.

use caracal_datastore::ipam::audit::Finding;
use caracal_datastore::ipam::collect::Repair;

use super::*;

fn names(conditions: &[Condition]) -> Vec<&str> {
    conditions.iter().map(|one| one.name.as_str()).collect()
}

#[test]
fn a_round_without_trouble_has_no_conditions_and_one_with_it_names_each() {
    let settings = Settings::default();
    assert_eq!(conditions(&Round::default(), settings), []);
    let duplicate = Finding::DuplicateAffinity {
        cidr: "10.0.0.0/26".parse().unwrap(),
        winner: "a".to_owned(),
        loser: "b".to_owned(),
    };
    let round = Round {
        leaks: 3,
        held: Some("WorkloadEndpoint default/x: spec.node: is empty".to_owned()),
        duplicates: vec![duplicate.clone(), duplicate],
        ..Round::default()
    };
    let told = conditions(&round, settings);
    let expected = ["AddressLeak", "CollectionHeld", "DuplicateAffinity"];
    assert_eq!(names(&told), expected);
    assert!(told[0].message.starts_with("3 addresses"), "{told:?}");
    assert!(told[1].message.contains("default/x"), "{told:?}");
    assert!(
        told[2].message.contains("b must not announce it"),
        "{told:?}"
    );
    assert!(told[2].message.contains("1 more"), "{told:?}");
    // A Node that cannot be read holds its own only.
    let doubtful = ["node n", "node m"].map(|whose| Doubt {
        whose: whose.to_owned(),
        why: "Node: makes no sense".to_owned(),
    });
    let round = Round {
        doubtful: doubtful.into(),
        ..Round::default()
    };
    let of_nodes = conditions(&round, settings);
    assert_eq!(names(&of_nodes), ["CollectionHeld"]);
    let words = &of_nodes[0].message;
    assert!(
        words.contains("node n (and 1 more)") && words.contains("makes no sense"),
        "{words}"
    );
    let collecting = Collecting::default();
    collecting.set(told);
    assert_eq!(names(&collecting.conditions()), expected);
    collecting.set(conditions(&Round::default(), settings));
    assert_eq!(collecting.conditions(), []);
}

#[test]
fn what_is_put_right_is_counted_by_kind_and_gauges_stand_while_rounds_fail() {
    let registry = Registry::new();
    let metrics = GcMetrics::new(&registry).unwrap();
    let repair = Repair::Handle {
        handle: "h".to_owned(),
    };
    let round = Round {
        done: vec![
            (repair.clone(), "why".to_owned()),
            (repair, "why".to_owned()),
        ],
        leaks: 4,
        spared: 1,
        ..Round::default()
    };
    metrics.count(&round);
    let failed = Round {
        error: Some(StoreError::Unavailable {
            what: "etcd".to_owned(),
            why: "away".to_owned(),
        }),
        ..Round::default()
    };
    metrics.count(&failed);
    assert_eq!(metrics.repairs.with_label_values(&["handle"]).get(), 2);
    assert_eq!(metrics.rounds.with_label_values(&["ok"]).get(), 1);
    assert_eq!(metrics.rounds.with_label_values(&["failed"]).get(), 1);
    assert_eq!((metrics.leaks.get(), metrics.spared.get()), (4, 1));
    metrics.resign();
    assert_eq!(metrics.leaks.get(), 0);
}
