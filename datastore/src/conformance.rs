//! What every backend must do. One suite, run against each.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::store::*;

/// How long a condition may take to come true.
const DEADLINE: Duration = Duration::from_secs(20);

/// A pool as an untyped object.
pub(crate) fn pool(name: &str, cidr: &str) -> Object {
    Object {
        key: Key::new(Kind::IPPool, name),
        metadata: Metadata {
            name: name.to_owned(),
            ..Metadata::default()
        },
        spec: json!({ "cidr": cidr }),
        revision: None,
    }
}

/// The next event of a watch.
pub(crate) async fn next(watcher: &mut Watcher) -> WatchEvent {
    tokio::time::timeout(DEADLINE, watcher.events.recv())
        .await
        .expect("an event in time")
        .expect("the watch to go on")
}

/// Applies events to `seen` until it satisfies the condition.
pub(crate) async fn until(
    watcher: &mut Watcher,
    seen: &mut BTreeMap<Key, Object>,
    condition: impl Fn(&BTreeMap<Key, Object>) -> bool,
) {
    while !condition(seen) {
        match next(watcher).await {
            WatchEvent::Set(object) => {
                seen.insert(object.key.clone(), object);
            }
            WatchEvent::Deleted(key) => {
                seen.remove(&key);
            }
            WatchEvent::InSync | WatchEvent::Faults(_) => {}
        }
    }
}

/// Everything that the trait promises. `one` and `other` are two clients of one empty store.
pub(crate) async fn suite(one: Arc<dyn Datastore>, other: Arc<dyn Datastore>) {
    writes_go_by_revision(&*one, &*other).await;
    what_is_invalid_is_refused(&*one).await;
    unknown_fields_survive(&*one, &*other).await;
    names_and_namespaces_do_not_collide(&*one, &*other).await;
    a_watch_is_complete(&*one, &*other).await;
    concurrent_writers_lose_nothing(Arc::clone(&one), Arc::clone(&other)).await;
}

async fn clear(store: &dyn Datastore) {
    for kind in Kind::all() {
        for object in store.list(*kind).await.unwrap() {
            store.delete(&object.key, None).await.unwrap();
        }
        assert!(store.list(*kind).await.unwrap().is_empty());
    }
}

async fn writes_go_by_revision(one: &dyn Datastore, other: &dyn Datastore) {
    let key = Key::new(Kind::IPPool, "a");
    assert!(one.get(&key).await.unwrap().is_none());
    assert!(one.list(Kind::IPPool).await.unwrap().is_empty());
    let first = one.create(pool("a", "10.0.0.0/16")).await.unwrap();
    assert!(first.revision.is_some());
    assert_eq!(other.get(&key).await.unwrap(), Some(first.clone()));

    let again = other.create(pool("a", "10.1.0.0/16")).await;
    assert!(matches!(again, Err(StoreError::Exists(found)) if found == key));

    let mut changed = first.clone();
    changed.spec["natOutgoing"] = json!(true);
    let second = other.update(changed.clone()).await.unwrap();
    assert_ne!(second.revision, first.revision);
    let conflict = one.update(changed).await;
    assert!(matches!(conflict, Err(StoreError::Conflict(found)) if found == key));
    let conflict = one.delete(&key, first.revision.as_ref()).await;
    assert!(matches!(conflict, Err(StoreError::Conflict(_))));

    let b = one.create(pool("b", "10.2.0.0/16")).await.unwrap();
    let listed = other.list(Kind::IPPool).await.unwrap();
    assert_eq!(listed, [second.clone(), b]);

    one.delete(&key, second.revision.as_ref()).await.unwrap();
    assert!(other.get(&key).await.unwrap().is_none());
    let gone = other.update(second).await;
    assert!(matches!(gone, Err(StoreError::NotFound(_))));
    let gone = other.delete(&key, None).await;
    assert!(matches!(gone, Err(StoreError::NotFound(_))));
    clear(one).await;
}

async fn what_is_invalid_is_refused(store: &dyn Datastore) {
    let fault = store.create(pool("bad", "10.0.0.1/16")).await.unwrap_err();
    assert_eq!(
        fault.to_string(),
        "IPPool bad: spec.cidr: 10.0.0.1/16 has host bits set"
    );
    let mut good = store.create(pool("good", "10.0.0.0/16")).await.unwrap();
    good.spec["blockSize"] = json!(33);
    assert!(matches!(
        store.update(good).await,
        Err(StoreError::Invalid { .. })
    ));
    clear(store).await;
}

async fn unknown_fields_survive(one: &dyn Datastore, other: &dyn Datastore) {
    let mut object = pool("a", "10.0.0.0/16");
    object.spec["future"] = json!({"deep": [1, "no", null, 1_806_000_000_123_456_789_u64]});
    object.metadata.labels.insert("yes".into(), "no".into());
    object.metadata.extra.insert("uid".into(), json!("12:30"));
    one.create(object.clone()).await.unwrap();
    let found = other.get(&object.key).await.unwrap().unwrap();
    assert_eq!(found.spec, object.spec);
    assert_eq!(found.metadata, object.metadata);
    clear(one).await;
}

async fn names_and_namespaces_do_not_collide(one: &dyn Datastore, other: &dyn Datastore) {
    let endpoint = |namespace: &str, pod: &str| Object {
        key: Key::in_namespace(
            Kind::WorkloadEndpoint,
            namespace,
            format!("n-k8s-{pod}-eth0"),
        ),
        metadata: Metadata {
            name: format!("n-k8s-{pod}-eth0"),
            namespace: Some(namespace.to_owned()),
            ..Metadata::default()
        },
        spec: json!({"orchestrator": "k8s", "node": "n", "pod": pod, "endpoint": "eth0"}),
        revision: None,
    };
    let handle = |name: &str| Object {
        key: Key::new(Kind::IPAMHandle, name),
        metadata: Metadata {
            name: name.to_owned(),
            ..Metadata::default()
        },
        spec: json!({"handleID": name, "block": {}}),
        revision: None,
    };
    let mut objects = vec![endpoint("a", "x"), endpoint("b", "x"), endpoint("a", "y")];
    let long = "x".repeat(250);
    for name in [
        "..",
        ".hidden",
        "a/b",
        "a%2Fb",
        "ü",
        "a b",
        &long,
        &format!("{long}y"),
    ] {
        objects.push(handle(name));
    }
    for object in &objects {
        one.create(object.clone()).await.unwrap();
    }
    for object in &objects {
        let found = other.get(&object.key).await.unwrap().unwrap();
        assert_eq!(found.spec, object.spec, "{}", object.key);
    }
    assert_eq!(other.list(Kind::WorkloadEndpoint).await.unwrap().len(), 3);
    assert_eq!(other.list(Kind::IPAMHandle).await.unwrap().len(), 8);
    clear(other).await;
}

async fn a_watch_is_complete(one: &dyn Datastore, other: &dyn Datastore) {
    one.create(pool("a", "10.0.0.0/16")).await.unwrap();
    one.create(pool("b", "10.1.0.0/16")).await.unwrap();
    let mut watcher = other.watch(&[Kind::IPPool, Kind::Node]).await.unwrap();
    let mut names = Vec::new();
    loop {
        match next(&mut watcher).await {
            WatchEvent::Set(object) => names.push(object.key.name),
            WatchEvent::InSync => break,
            event => panic!("unexpected {event:?}"),
        }
    }
    names.sort();
    assert_eq!(names, ["a", "b"]);

    // What the other client writes, what this one writes, and a deletion.
    let mut a = one
        .get(&Key::new(Kind::IPPool, "a"))
        .await
        .unwrap()
        .unwrap();
    a.spec["disabled"] = json!(true);
    one.update(a).await.unwrap();
    other.create(pool("c", "10.2.0.0/16")).await.unwrap();
    one.delete(&Key::new(Kind::IPPool, "b"), None)
        .await
        .unwrap();
    let mut seen = BTreeMap::new();
    seen.insert(Key::new(Kind::IPPool, "b"), pool("b", "10.1.0.0/16"));
    until(&mut watcher, &mut seen, |seen| {
        let get = |name: &str| seen.get(&Key::new(Kind::IPPool, name));
        get("a").is_some_and(|a| a.spec["disabled"] == json!(true))
            && get("b").is_none()
            && get("c").is_some()
    })
    .await;
    drop(watcher);
    clear(one).await;
}

/// Several writers count up one object; every success must be in the sum.
async fn concurrent_writers_lose_nothing(one: Arc<dyn Datastore>, other: Arc<dyn Datastore>) {
    let key = Key::new(Kind::IPAMHandle, "counter");
    let mut object = pool("counter", "10.0.0.0/16");
    object.key = key.clone();
    object.spec = json!({"handleID": "counter", "block": {"10.0.0.0/26": 0}});
    one.create(object).await.unwrap();
    let mut watcher = one.watch(&[Kind::IPAMHandle]).await.unwrap();
    let mut writers = Vec::new();
    for index in 0..6 {
        let store = if index % 2 == 0 {
            Arc::clone(&one)
        } else {
            Arc::clone(&other)
        };
        let key = key.clone();
        writers.push(tokio::spawn(async move {
            let mut done = 0;
            while done < 20 {
                let mut object = store.get(&key).await.unwrap().unwrap();
                let count = object.spec["block"]["10.0.0.0/26"].as_u64().unwrap();
                object.spec["block"]["10.0.0.0/26"] = json!(count + 1);
                match store.update(object).await {
                    Ok(_) => done += 1,
                    Err(StoreError::Conflict(_)) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let found = other.get(&key).await.unwrap().unwrap();
    assert_eq!(found.spec["block"]["10.0.0.0/26"], json!(120));
    let mut seen = BTreeMap::new();
    until(&mut watcher, &mut seen, |seen| {
        seen.get(&key)
            .is_some_and(|object| object.spec["block"]["10.0.0.0/26"] == json!(120))
    })
    .await;
    clear(&*one).await;
}
