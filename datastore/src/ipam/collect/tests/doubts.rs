//! Records of workloads that cannot be read: each holds what may be its own, and nobody else's.

use serde_json::json;

use super::*;

#[tokio::test]
async fn a_record_that_cannot_be_read_keeps_its_pods_addresses_and_no_others() {
    let cluster = Cluster::new(&["n"]).await;
    let kept = cluster.assign("n", "a", "c1").await;
    cluster.assign("n", "b", "c2").await;
    // The spec says nothing: the name alone tells whose it is.
    strange(
        &cluster,
        &endpoint_key("n", "a"),
        json!({"orchestrator": 7}),
    );
    let round = cluster.collect().await;
    assert_eq!(round.held, None);
    let whose: Vec<&str> = round
        .doubtful
        .iter()
        .map(|one| one.whose.as_str())
        .collect();
    assert_eq!(whose, ["pod default/a"]);
    assert!(round.doubtful[0].why.contains("orchestrator"), "{round:?}");
    assert_eq!(round.done.len(), 1, "{round:?}");
    assert_eq!(cluster.allocated().await, [kept]);
    // When it is gone, its address goes, too.
    let key = endpoint_key("n", "a");
    cluster.store.delete(&key, None).await.unwrap();
    assert_eq!(cluster.collect().await.done.len(), 1);
    assert!(cluster.allocated().await.is_empty());
}

#[tokio::test]
async fn a_record_that_cannot_be_read_by_the_fresh_read_spares_its_pods_addresses() {
    let cluster = Cluster::new(&["n"]).await;
    let kept = cluster.assign("n", "a", "c1").await;
    cluster.assign("n", "b", "c2").await;
    let mut collector = Collector::default();
    cluster.round(&mut collector).await;
    cluster.pass(1000);
    let snapshot = cluster.snapshot().await;
    strange(
        &cluster,
        &endpoint_key("n", "a"),
        json!({"orchestrator": 7}),
    );
    let round = cluster.round_with(&snapshot, &mut collector).await;
    assert_eq!((round.done.len(), round.spared), (1, 1), "{round:?}");
    assert_eq!(cluster.allocated().await, [kept]);
}

#[tokio::test]
async fn what_can_be_read_of_a_record_counts_whatever_its_name_says() {
    for more in [
        json!({"pod": "a"}),
        json!({"pod": "z", "containerID": "c1"}),
        json!({"pod": "z", "ipNetworks": ["ADDRESS/32", 7]}),
        json!({"pod": "z", "ipNATs": [{"internalIP": "ADDRESS"}]}),
        // Nothing but its node.
        json!({}),
    ] {
        let cluster = Cluster::new(&["n", "m"]).await;
        let kept = cluster.assign("n", "a", "c1").await;
        let text = more.to_string().replace("ADDRESS", &kept.to_string());
        let mut fields: serde_json::Value = serde_json::from_str(&text).unwrap();
        fields["node"] = "n".into();
        fields["ports"] = 7.into();
        cluster.assign("m", "b", "c2").await;
        let key = Key::in_namespace(Kind::WorkloadEndpoint, "default", "x");
        strange(&cluster, &key, fields.clone());
        let round = cluster.collect().await;
        assert_eq!(round.held, None, "{fields}");
        assert_eq!(cluster.allocated().await, [kept], "{fields}");
    }
}

#[tokio::test]
async fn a_container_without_a_pod_is_held_by_its_record_and_by_a_pods_of_its_node() {
    let cluster = Cluster::new(&["n", "m"]).await;
    let assign = async |node: &str, container: &str| {
        let mut request = cluster.request(node, "", container);
        request.attributes.remove("pod");
        request.attributes.remove("namespace");
        cluster.ipam(node).assign(request).await.unwrap()[0].address
    };
    let own = assign("n", "c1").await;
    assign("n", "c2").await;
    let of_node = assign("m", "c3").await;
    let name = WorkloadEndpoint::name_for_container("n", "c1", "eth0");
    let key = Key::in_namespace(Kind::WorkloadEndpoint, "default", name);
    strange(&cluster, &key, json!(7));
    strange(&cluster, &endpoint_key("m", "a"), json!(7));
    cluster.collect().await;
    assert_eq!(cluster.allocated().await, [own, of_node]);
}

#[tokio::test]
async fn a_node_without_resource_keeps_its_blocks_while_a_record_says_that_it_may_be_there() {
    let cluster = Cluster::new(&["n"]).await;
    let kept = cluster.assign("gone", "a", "c1").await;
    strange(&cluster, &endpoint_key("gone", "a"), json!(7));
    assert_eq!(cluster.collect().await.done, []);
    assert_eq!(cluster.allocated().await, [kept]);
    let key = endpoint_key("gone", "a");
    cluster.store.delete(&key, None).await.unwrap();
    assert!(!cluster.collect().await.done.is_empty());
}

#[test]
fn a_fault_of_the_store_holds_the_workload_that_it_names() {
    let mut snapshot = Snapshot::default();
    let node = Stored::new("n", Node::default()).into_object();
    snapshot.handle(crate::WatchEvent::Set(node));
    let name = WorkloadEndpoint::name_for_pod("n-1", "p-x", "eth0");
    for what in [
        format!("WorkloadEndpoint default/{name}"),
        format!("endpoints.yaml:3: WorkloadEndpoint default/{name}"),
        format!("WorkloadEndpoint default/{name} (etcd /calico/x)"),
    ] {
        let why = "makes no sense".to_owned();
        let fault = StoreError::Invalid { what, why };
        snapshot.handle(crate::WatchEvent::Faults(vec![fault]));
        snapshot.handle(crate::WatchEvent::InSync);
        assert_eq!(snapshot.incomplete(), None);
        assert_eq!(snapshot.doubts()[0].whose, "pod default/p-x");
        assert!(snapshot.users().is_busy("n-1"));
        // It was put right.
        snapshot.handle(crate::WatchEvent::Faults(Vec::new()));
        assert_eq!(snapshot.doubts(), []);
        assert!(!snapshot.users().is_busy("n-1"));
    }
}
