//! The store in memory keeps the promises of the trait, and its faults do what they say.

use super::*;
use crate::conformance::{many_objects, pool, suite};

#[tokio::test]
async fn it_conforms() {
    let one = MemoryDatastore::new();
    let other = one.client();
    suite(Arc::new(one), Arc::new(other)).await;
}

#[tokio::test]
async fn it_holds_twenty_thousand_objects() {
    let one = MemoryDatastore::new();
    let other = one.client();
    many_objects(Arc::new(one), Arc::new(other)).await;
}

#[tokio::test]
async fn a_fault_before_writes_nothing_and_a_fault_after_writes() {
    let store = MemoryDatastore::new();
    let client = store.client();
    client.set_plan(|operation| match operation.name.as_str() {
        "before" => Fault::Before(MemoryDatastore::down()),
        _ => Fault::After(MemoryDatastore::down()),
    });
    for name in ["before", "after"] {
        client.create(pool(name, "10.0.0.0/16")).await.unwrap_err();
    }
    let listed = store.list(Kind::IPPool).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].key.name.as_str(), store.writes()), ("after", 1));
}
