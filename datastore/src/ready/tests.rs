//! A locked datastore is read and not written.

use serde_json::json;

use super::*;
use crate::conformance::pool;
use crate::ipam::{AssignRequest, Ipam};
use crate::memory::MemoryDatastore;
use crate::store::{Metadata, TypedStore};

fn information(spec: serde_json::Value) -> Object {
    Object {
        key: lock_key(),
        metadata: Metadata {
            name: "default".to_owned(),
            ..Metadata::default()
        },
        spec,
        revision: None,
    }
}

async fn locked() -> (MemoryDatastore, Arc<LockableDatastore>) {
    let memory = MemoryDatastore::new();
    let other = memory.client();
    other.create(pool("a", "10.0.0.0/16")).await.unwrap();
    other
        .create(information(json!({"datastoreReady": false})))
        .await
        .unwrap();
    let store = LockableDatastore::new(Arc::new(memory)).await.unwrap();
    (other, Arc::new(store))
}

#[tokio::test]
async fn reads_go_on_and_writes_are_refused_with_a_sentence() {
    let (_, store) = locked().await;
    let mut found = store.list(Kind::IPPool).await.unwrap().remove(0);
    assert!(store.get(&found.key).await.unwrap().is_some());
    store.watch(&[Kind::IPPool]).await.unwrap();
    let fault = store.create(pool("b", "10.1.0.0/16")).await.unwrap_err();
    assert_eq!(
        fault.to_string(),
        "IPPool b cannot be written: Calico is currently not ready to process requests: datastoreReady of \
         ClusterInformation default is false, as it is during a migration or an upgrade of the datastore"
    );
    found.spec["natOutgoing"] = json!(true);
    let fault = store.update(found.clone()).await.unwrap_err();
    assert!(matches!(fault, StoreError::Locked(_)), "{fault}");
    let fault = store.delete(&found.key, None).await.unwrap_err();
    assert!(matches!(fault, StoreError::Locked(_)), "{fault}");
}

#[tokio::test]
async fn no_address_is_given_or_taken_back_while_it_is_locked() {
    let (other, store) = locked().await;
    let ipam = Ipam::new(store.clone(), "n".to_owned());
    let writes = other.writes();
    let request = AssignRequest {
        handle: "h".to_owned(),
        ipv4: true,
        ..AssignRequest::default()
    };
    let fault = ipam.assign(request.clone()).await.unwrap_err();
    assert!(
        fault.to_string().contains("Calico is currently not ready"),
        "{fault}"
    );
    assert_eq!(other.writes(), writes);

    store.set_locked(false);
    let given = ipam.assign(request).await.unwrap();
    assert_eq!(given.len(), 1);
    store.set_locked(true);
    let writes = other.writes();
    let fault = ipam.release_handle("h").await.unwrap_err();
    assert!(
        fault.to_string().contains("Calico is currently not ready"),
        "{fault}"
    );
    assert_eq!(other.writes(), writes);
    store.set_locked(false);
    ipam.release_handle("h").await.unwrap();
}

#[tokio::test]
async fn the_lock_itself_can_be_opened_through_it() {
    let (_, store) = locked().await;
    let typed = TypedStore(store.clone());
    let mut stored = typed
        .get::<ClusterInformation>("default")
        .await
        .unwrap()
        .unwrap();
    stored.spec.datastore_ready = Some(true);
    typed.update(stored).await.unwrap();
}

#[test]
fn only_false_is_a_lock() {
    for (spec, expected) in [
        (json!({"datastoreReady": false}), true),
        (json!({"datastoreReady": false, "clusterType": 7}), true),
        (json!({"datastoreReady": true}), false),
        (json!({"datastoreReady": null}), false),
        (json!({"datastoreReady": "false"}), false),
        (json!({}), false),
        (json!(null), false),
    ] {
        assert_eq!(is_locked(&information(spec.clone())), expected, "{spec}");
    }
    let mut other = information(json!({"datastoreReady": false}));
    other.key.name = "other".to_owned();
    assert!(!is_locked(&other));
}

async fn information_in(store: &MemoryDatastore) -> ClusterInformation {
    let typed = TypedStore(Arc::new(store.client()));
    let found = typed.get::<ClusterInformation>("default").await;
    found.unwrap().unwrap().spec
}

#[tokio::test]
async fn cluster_information_is_made_once() {
    let memory = MemoryDatastore::new();
    for expected in [Introduced::Made, Introduced::AsItWas] {
        let done = ensure_cluster_information(&memory, &["k8s", "bgp"]).await;
        assert_eq!(done.unwrap(), expected);
    }
    let made = information_in(&memory).await;
    assert_eq!(made.cluster_type.as_deref(), Some("k8s,bgp"));
    assert_eq!(made.datastore_ready, Some(true));
    assert_eq!(made.calico_version, None);
    let guid = made.cluster_guid.unwrap();
    assert!(
        guid.len() == 32 && guid.bytes().all(|c| c.is_ascii_hexdigit()),
        "{guid}"
    );
}

#[tokio::test]
async fn what_the_cluster_is_made_of_is_added_to_and_what_calico_wrote_stays() {
    let store = MemoryDatastore::new();
    let spec = json!({
        "clusterGUID": "x", "calicoVersion": "v3.31.0", "clusterType": "typha,k8s,bgp", "datastoreReady": true,
        "variant": "Calico", "surprise": 1,
    });
    store.create(information(spec)).await.unwrap();
    for expected in [Introduced::Completed, Introduced::AsItWas] {
        let done = ensure_cluster_information(&store, &["k8s", "bgp", "kdd", "caracal"]).await;
        assert_eq!(done.unwrap(), expected);
    }
    let object = store.get(&lock_key()).await.unwrap().unwrap();
    let expected = json!({
        "clusterGUID": "x", "calicoVersion": "v3.31.0", "clusterType": "typha,k8s,bgp,kdd,caracal",
        "datastoreReady": true, "variant": "Calico", "surprise": 1,
    });
    assert_eq!(object.spec, expected);
}

#[tokio::test]
async fn a_locked_datastore_is_not_added_to() {
    let calicos = MemoryDatastore::new();
    let spec = json!({"clusterGUID": "x", "calicoVersion": "v3.31.0", "datastoreReady": false});
    let before = calicos.create(information(spec)).await.unwrap();
    let done = ensure_cluster_information(&calicos, &["bgp"]).await;
    assert_eq!(done.unwrap(), Introduced::AsItWas);
    assert_eq!(calicos.get(&lock_key()).await.unwrap(), Some(before));
}

#[tokio::test]
async fn agents_that_start_together_lose_nothing_of_what_each_adds() {
    let store = MemoryDatastore::new();
    let agents = ["a", "b", "c", "d"].map(|one| {
        let client = store.client();
        async move {
            ensure_cluster_information(&client, &["bgp", one])
                .await
                .unwrap()
        }
    });
    futures::future::join_all(agents).await;
    let made = information_in(&store).await.cluster_type.unwrap();
    let mut types: Vec<&str> = made.split(',').collect();
    types.sort_unstable();
    assert_eq!(types, ["a", "b", "bgp", "c", "d"]);
}
