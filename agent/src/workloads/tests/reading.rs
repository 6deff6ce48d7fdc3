//! Reading beside the loop.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use caracal_datastore::ipam::Ipam;
use caracal_datastore::{
    Datastore, Key, Kind, MemoryDatastore, Object, Revision, StoreError, Watcher,
};
use tokio::time::Instant;

use super::fake::{endpoint, scene};
use crate::workloads::Workloads;

/// A datastore that never answers.
#[derive(Debug)]
struct Silent;

#[async_trait]
impl Datastore for Silent {
    async fn get(&self, _: &Key) -> Result<Option<Object>, StoreError> {
        std::future::pending().await
    }

    async fn list(&self, _: Kind) -> Result<Vec<Object>, StoreError> {
        Err(MemoryDatastore::down())
    }

    async fn create(&self, _: Object) -> Result<Object, StoreError> {
        Err(MemoryDatastore::down())
    }

    async fn update(&self, _: Object) -> Result<Object, StoreError> {
        Err(MemoryDatastore::down())
    }

    async fn delete(&self, _: &Key, _: Option<&Revision>) -> Result<(), StoreError> {
        Err(MemoryDatastore::down())
    }

    async fn watch(&self, _: &[Kind]) -> Result<Watcher, StoreError> {
        Err(MemoryDatastore::down())
    }
}

#[tokio::test(start_paused = true)]
async fn a_datastore_that_does_not_answer_holds_nobody_up() {
    let store = Arc::new(Silent);
    let scene = scene().await;
    let workloads = Workloads::new(
        "node1".into(),
        store.clone(),
        Arc::new(Ipam::new(store, "node1".into())),
        Arc::new(scene.notes.clone()),
    );
    let began = Instant::now();
    let the_loop = async {
        for number in 0..100 {
            let key = endpoint(&format!("web{number}"), "cali1", "10.65.0.7").key();
            workloads.handle_report(&key, Some("node1"));
        }
        // Its other work.
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(began.elapsed(), Duration::from_millis(1));
        assert!(!workloads.all_read());
        assert!(!workloads.complete());
        assert_eq!(workloads.next_read(), None);
        workloads.read_through().await;
    };
    tokio::select! {
        _ = workloads.keep_reading() => {}
        () = the_loop => {}
    }
    // One patience for all of them, and then they are due later and not at once.
    assert_eq!(began.elapsed(), Duration::from_secs(15));
    assert!(workloads.all_read());
    assert!(!workloads.complete());
    assert_eq!(workloads.conditions().len(), 100);
    assert!(workloads.next_read() > Some(std::time::Instant::now()));
}

#[tokio::test]
async fn a_report_that_comes_during_the_reading_is_looked_into_after_it() {
    let scene = scene().await;
    let workloads = &scene.workloads;
    let key = scene.put(&endpoint("web", "cali1", "10.65.0.7"));
    workloads.handle_report(&key, Some("node1"));
    assert_eq!(workloads.next_asked(), Some(key.clone()));
    assert_eq!(workloads.next_asked(), None);
    let old = scene.store.get(&key).await;
    scene.delete(&key).await;
    workloads.handle_deletion(&key);
    workloads.take_answer(&key, old);
    workloads.settle_question(&key);
    assert!(!workloads.all_read());
    workloads.read_what_is_asked_for().await;
    assert!(workloads.all_read());
    assert_eq!(scene.notes.take(), ["set cali1 10.65.0.7", "remove cali1"]);
}

#[tokio::test]
async fn a_report_not_looked_into_holds_deletions_and_that_of_a_deletion_does_not() {
    let scene = scene().await;
    let workloads = &scene.workloads;
    let key = endpoint("web", "cali1", "10.65.0.7").key();
    workloads.handle_deletion(&key);
    assert!(workloads.complete());
    workloads.handle_report(&key, Some("node1"));
    assert!(!workloads.complete());
    workloads.read_what_is_asked_for().await;
    assert!(workloads.complete());
}
