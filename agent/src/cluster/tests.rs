use super::*;
use caracal_datastore::Metadata;
use serde_json::json;

fn object(kind: Kind, name: &str, spec: serde_json::Value) -> Object {
    Object {
        key: Key {
            kind,
            namespace: None,
            name: name.into(),
        },
        metadata: Metadata {
            name: name.into(),
            ..Metadata::default()
        },
        spec,
        revision: None,
    }
}

#[test]
fn the_order_of_the_news_does_not_matter() {
    // Invariant 1 of docs/architecture.md, for the part that listens to the datastore.
    let pool = |cidr: &str| WatchEvent::Set(object(Kind::IPPool, "pool", json!({"cidr": cidr})));
    let node = || {
        WatchEvent::Set(object(
            Kind::Node,
            "node1",
            json!({"bgp": {"ipv4Address": "172.31.1.1/24"}}),
        ))
    };
    let mut one = Cluster::default();
    for event in [
        pool("10.0.0.0/16"),
        node(),
        pool("10.1.0.0/16"),
        WatchEvent::InSync,
    ] {
        one.handle(event);
    }
    let mut other = Cluster::default();
    for event in [WatchEvent::InSync, pool("10.1.0.0/16"), node()] {
        other.handle(event);
    }
    assert_eq!(one.view, other.view);
}

#[test]
fn an_object_that_makes_no_sense_keeps_its_last_good_state_and_is_named() {
    let mut cluster = Cluster::default();
    cluster.handle(WatchEvent::Set(object(
        Kind::IPPool,
        "pool",
        json!({"cidr": "10.0.0.0/16"}),
    )));
    cluster.handle(WatchEvent::Set(object(
        Kind::IPPool,
        "pool",
        json!({"cidr": "10.0.0.0/16", "blockSize": 8}),
    )));
    assert_eq!(cluster.view.pools["pool"].spec.block_size, None);
    let faults: Vec<&str> = cluster.faults().collect();
    assert!(
        faults.len() == 1 && faults[0].contains("pool") && faults[0].contains('8'),
        "{faults:?}"
    );
    cluster.handle(WatchEvent::Set(object(
        Kind::IPPool,
        "pool",
        json!({"cidr": "10.0.0.0/16"}),
    )));
    assert_eq!(cluster.faults().count(), 0);
}

#[test]
fn a_deleted_object_takes_its_fault_along() {
    let mut cluster = Cluster::default();
    cluster.handle(WatchEvent::Set(object(
        Kind::IPPool,
        "pool",
        json!({"cidr": "nonsense"}),
    )));
    assert_eq!(cluster.faults().count(), 1);
    cluster.handle(WatchEvent::Deleted(Key {
        kind: Kind::IPPool,
        namespace: None,
        name: "pool".into(),
    }));
    assert_eq!(cluster.faults().count(), 0);
}

#[test]
fn a_workload_is_looked_up_and_not_remembered() {
    let mut cluster = Cluster::default();
    let key = Key {
        kind: Kind::WorkloadEndpoint,
        namespace: Some("default".into()),
        name: "w".into(),
    };
    assert_eq!(
        cluster.handle(WatchEvent::Deleted(key.clone())),
        Touched::WorkloadGone(key)
    );
}

#[test]
fn a_bgppeer_whose_options_make_no_sense_stays_what_it_was() {
    let peer = |annotation: &str| {
        let spec = json!({"peerIP": "10.0.0.254", "asNumber": 65001});
        let mut peer = object(Kind::BGPPeer, "tor", spec);
        let key = caracal_peering::SESSION_ANNOTATION.to_owned();
        peer.metadata.annotations.insert(key, annotation.to_owned());
        WatchEvent::Set(peer)
    };
    let mut cluster = Cluster::default();
    cluster.handle(peer("shutdown: maintenance"));
    let good = cluster.view.clone();
    cluster.handle(peer("{shutdown: maintenance, holdTme: 9}"));
    assert_eq!(cluster.view, good);
    let faults: Vec<&str> = cluster.faults().collect();
    assert!(
        faults.len() == 1
            && faults[0].starts_with("BGPPeer tor: annotation")
            && faults[0].contains("holdTme"),
        "{faults:?}"
    );
    cluster.handle(peer("{shutdown: maintenance, holdTime: 9}"));
    assert_eq!(cluster.faults().count(), 0);
    assert_ne!(cluster.view, good);
}

fn pool(name: &str, cidr: &str) -> WatchEvent {
    WatchEvent::Set(object(Kind::IPPool, name, json!({"cidr": cidr})))
}

#[test]
fn what_a_later_watch_does_not_tell_is_gone_and_stands_until_that_one_is_in_sync() {
    let mut cluster = Cluster::default();
    for event in [
        pool("a", "10.1.0.0/16"),
        pool("b", "10.2.0.0/16"),
        WatchEvent::InSync,
    ] {
        assert_eq!(cluster.handle(event), Touched::Plan);
    }
    cluster.begin_again();
    assert_eq!(cluster.handle(pool("b", "10.3.0.0/16")), Touched::Plan);
    assert!(cluster.in_sync && cluster.view.pools.contains_key("a"));
    // What makes no sense now is there all the same.
    let event = pool("a", "nonsense");
    cluster.handle(event);
    cluster.begin_again();
    cluster.handle(pool("b", "10.3.0.0/16"));
    assert_eq!(cluster.faults().count(), 1);
    assert_eq!(cluster.handle(WatchEvent::InSync), Touched::Everything);
    let names: Vec<&String> = cluster.view.pools.keys().collect();
    assert_eq!(names, ["b"]);
    assert_eq!(cluster.faults().count(), 0);
}

#[test]
fn what_was_never_good_leaves_the_cluster_incomplete() {
    let mut cluster = Cluster::default();
    cluster.handle(pool("a", "10.1.0.0/16"));
    assert!(!cluster.complete());
    cluster.handle(WatchEvent::InSync);
    assert!(cluster.complete());
    // The last good state stands.
    cluster.handle(pool("a", "nonsense"));
    assert!(cluster.complete());
    cluster.handle(pool("b", "nonsense"));
    assert!(!cluster.complete());
    assert!(!cluster.complete_for_filter());
    cluster.handle(pool("b", "10.2.0.0/16"));
    assert!(cluster.complete());
    // It decides about routes, but not about the packet filter.
    let peer = object(Kind::BGPPeer, "p", json!({"peerIP": 7}));
    cluster.handle(WatchEvent::Set(peer));
    assert!(!cluster.complete());
    assert!(cluster.complete_for_filter());
}

#[test]
fn what_the_datastore_could_not_read_at_the_start_leaves_the_cluster_incomplete() {
    let fault = || StoreError::Invalid {
        what: "/etc/caracal/datastore/pods.yaml:3".into(),
        why: "no mapping".into(),
    };
    let mut cluster = Cluster::default();
    cluster.handle(WatchEvent::Faults(vec![fault()]));
    cluster.handle(WatchEvent::InSync);
    assert!(!cluster.complete());
    cluster.handle(WatchEvent::Faults(vec![fault(), fault()]));
    assert!(!cluster.complete());
    cluster.handle(WatchEvent::Faults(vec![]));
    assert!(cluster.complete());
    // What becomes unreadable later has a last good state.
    cluster.handle(WatchEvent::Faults(vec![fault()]));
    assert!(cluster.complete());
}

#[test]
fn a_datastore_that_is_away_is_another_matter_than_an_object_that_makes_no_sense() {
    let mut cluster = Cluster::default();
    let away = StoreError::Unavailable {
        what: "etcd http://10.0.0.1:2379".into(),
        why: "connection refused".into(),
    };
    let broken = StoreError::Invalid {
        what: "IPPool a".into(),
        why: "is not JSON".into(),
    };
    cluster.handle(WatchEvent::Faults(vec![away, broken]));
    let unread: Vec<&str> = cluster.unread().collect();
    assert_eq!(
        unread,
        ["datastore etcd http://10.0.0.1:2379: connection refused"]
    );
    let faults: Vec<&str> = cluster.faults().collect();
    assert_eq!(faults, ["IPPool a: is not JSON"]);
    cluster.handle(WatchEvent::InSync);
    assert!(!cluster.complete());
    cluster.handle(WatchEvent::Faults(vec![]));
    assert!(cluster.complete() && cluster.unread().count() == 0);
}

fn block(number: usize, node: &str, taken: &[usize]) -> WatchEvent {
    let cidr = format!("10.{}.{}.0/26", number / 256, number % 256);
    let allocations: Vec<Option<usize>> = (0..64)
        .map(|ordinal| taken.contains(&ordinal).then_some(0))
        .collect();
    let unallocated: Vec<usize> = (0..64).filter(|ordinal| !taken.contains(ordinal)).collect();
    let spec = json!({"cidr": cidr, "affinity": format!("host:{node}"), "allocations": allocations,
        "unallocated": unallocated, "attributes": [{"handle_id": "h"}], "strictAffinity": false});
    let name = format!("10-{}-{}-0-26", number / 256, number % 256);
    WatchEvent::Set(object(Kind::IPAMBlock, &name, spec))
}

#[test]
fn pods_of_other_nodes_cost_a_look_at_the_block_of_each_and_no_plan() {
    let mut cluster = Cluster::new("node1");
    for number in 0..5000 {
        let node = if number == 0 { "node1" } else { "node2" };
        cluster.handle(block(number, node, &[]));
    }
    cluster.handle(WatchEvent::InSync);
    let before = cluster.blocks.looked_at.get();
    let mut plans = 0;
    for pod in 1..=100 {
        match cluster.handle(block(pod * 7, "node2", &[pod % 64])) {
            Touched::Block(cidr) => assert!(!cluster.blocks.own().contains(&cidr)),
            Touched::Nothing => {}
            _ => plans += 1,
        }
    }
    assert_eq!(plans, 0);
    assert_eq!(cluster.blocks.looked_at.get(), before);
    // What is not new costs nothing, and what is ours a plan.
    assert_eq!(cluster.handle(block(7, "node2", &[1])), Touched::Nothing);
    assert_eq!(cluster.handle(block(0, "node1", &[1])), Touched::Plan);
    assert_eq!(cluster.handle(block(0, "node2", &[1])), Touched::Plan);
}

#[test]
fn affinities_of_other_nodes_are_none_of_our_business() {
    let affinity = |name: &str, node: &str| {
        let spec =
            json!({"node": node, "cidr": "10.0.0.0/26", "state": "confirmed", "deleted": "false"});
        WatchEvent::Set(object(Kind::BlockAffinity, name, spec))
    };
    let mut cluster = Cluster::new("node1");
    assert_eq!(cluster.handle(affinity("a", "node2")), Touched::Nothing);
    assert_eq!(cluster.handle(affinity("b", "node1")), Touched::Plan);
    let gone = |name: &str| WatchEvent::Deleted(Key::new(Kind::BlockAffinity, name));
    assert_eq!(cluster.handle(gone("a")), Touched::Nothing);
    assert_eq!(cluster.handle(gone("b")), Touched::Plan);
    // A block that is lost to another node while its affinity says that it is ours.
    cluster.handle(affinity("b", "node1"));
    assert_eq!(cluster.handle(block(0, "node2", &[])), Touched::Plan);
}

#[test]
fn a_lock_is_heard_of_and_its_end_also_when_it_was_missed() {
    let told = |ready: bool| {
        let spec = json!({ "datastoreReady": ready });
        WatchEvent::Set(object(Kind::ClusterInformation, "default", spec))
    };
    let mut cluster = Cluster::new("n");
    cluster.handle(WatchEvent::InSync);
    assert!(!cluster.locked);
    assert_eq!(cluster.handle(told(false)), Touched::Plan);
    assert!(cluster.locked);
    cluster.handle(told(true));
    assert!(!cluster.locked);

    cluster.handle(told(false));
    cluster.handle(WatchEvent::Deleted(Key::new(
        Kind::ClusterInformation,
        "other",
    )));
    assert!(cluster.locked);
    cluster.begin_again();
    cluster.handle(WatchEvent::InSync);
    assert!(!cluster.locked);
    cluster.handle(told(false));
    cluster.begin_again();
    cluster.handle(told(false));
    cluster.handle(WatchEvent::InSync);
    assert!(cluster.locked);
    cluster.handle(WatchEvent::Deleted(Key::new(
        Kind::ClusterInformation,
        "default",
    )));
    assert!(!cluster.locked);
}
