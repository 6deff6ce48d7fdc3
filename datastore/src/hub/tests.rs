//! What a watch delivers, and what it may leave out.

use super::*;
use crate::store::{Metadata, Revision};

fn object(name: &str, value: u64) -> Object {
    Object {
        key: Key::new(Kind::Node, name),
        metadata: Metadata {
            name: name.to_owned(),
            ..Metadata::default()
        },
        spec: serde_json::json!({ "value": value }),
        revision: Some(Revision(value.to_string())),
    }
}

fn change(name: &str, value: Option<u64>) -> Change {
    Change {
        key: Key::new(Kind::Node, name),
        object: value.map(|value| object(name, value)),
    }
}

async fn drain(watcher: &mut Watcher) -> Vec<String> {
    let mut seen = Vec::new();
    while let Some(event) = watcher.events.recv().await {
        seen.push(match event {
            WatchEvent::Set(object) => format!("{}={}", object.key.name, object.spec["value"]),
            WatchEvent::Deleted(key) => format!("-{}", key.name),
            WatchEvent::InSync => "in sync".to_owned(),
            WatchEvent::Faults(faults) => format!("faults {}", faults.len()),
        });
    }
    seen
}

#[tokio::test]
async fn only_the_newest_state_of_a_key_waits_for_a_slow_consumer() {
    let mut hub = Hub::default();
    let mut watcher = hub.subscribe(&[Kind::Node], std::iter::empty(), &[]);
    for value in 0..10_000 {
        hub.publish(&[change("a", Some(value))]);
    }
    hub.publish(&[change("b", Some(1)), change("a", Some(7))]);
    drop(hub);
    assert_eq!(drain(&mut watcher).await, ["in sync", "b=1", "a=7"]);
}

#[tokio::test]
async fn a_change_before_in_sync_stays_in_the_complete_set() {
    let mut hub = Hub::default();
    let snapshot = [object("a", 1), object("b", 1), object("c", 1)];
    let mut watcher = hub.subscribe(&[Kind::Node], snapshot.iter(), &[]);
    hub.publish(&[
        change("a", Some(2)),
        change("b", None),
        change("d", Some(1)),
    ]);
    drop(hub);
    assert_eq!(
        drain(&mut watcher).await,
        ["a=2", "-b", "c=1", "in sync", "d=1"]
    );
}

#[tokio::test]
async fn other_kinds_are_not_delivered_and_faults_come_once() {
    let mut hub = Hub::default();
    let mut watcher = hub.subscribe(&[Kind::IPPool], [object("a", 1)].iter(), &[]);
    let fault = StoreError::NotFound(Key::new(Kind::Node, "a"));
    hub.publish(&[change("a", Some(2))]);
    hub.publish_faults(std::slice::from_ref(&fault));
    hub.publish_faults(&[fault.clone(), fault]);
    drop(hub);
    assert_eq!(drain(&mut watcher).await, ["in sync", "faults 2"]);
}

#[tokio::test]
async fn a_dropped_watcher_is_forgotten() {
    let mut hub = Hub::default();
    drop(hub.subscribe(&[Kind::Node], std::iter::empty(), &[]));
    while !hub.subscribers.is_empty() {
        hub.publish(&[change("a", Some(1))]);
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_told_before_the_set_is_called_complete() {
    let mut hub = Hub::default();
    let fault = StoreError::Invalid {
        what: "pool.yaml:3".to_owned(),
        why: "no mapping".to_owned(),
    };
    let mut watcher = hub.subscribe(&[Kind::Node], [object("a", 1)].iter(), &[fault]);
    drop(hub);
    assert_eq!(drain(&mut watcher).await, ["a=1", "faults 1", "in sync"]);
}
