//! What every backend must do. One suite, run against each.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
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

/// Waits for a report of faults that satisfies the condition; other news goes to `seen`.
pub(crate) async fn faults_until(
    watcher: &mut Watcher,
    seen: &mut BTreeMap<Key, Object>,
    good: impl Fn(&[String]) -> bool,
) -> Vec<String> {
    loop {
        match next(watcher).await {
            WatchEvent::Faults(faults) => {
                let texts: Vec<String> = faults.iter().map(ToString::to_string).collect();
                if good(&texts) {
                    return texts;
                }
            }
            WatchEvent::Set(object) => drop(seen.insert(object.key.clone(), object)),
            WatchEvent::Deleted(key) => drop(seen.remove(&key)),
            WatchEvent::InSync => {}
        }
    }
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

/// What a backend cannot have as it likes, because others make the object or give it its name.
#[async_trait]
pub(crate) trait Surroundings: Sync {
    /// Makes what must be there before this object can be created.
    async fn prepare(&self, _object: &Object) {}
    /// Whether an object can have any name, and metadata that the backend does not know.
    fn is_free(&self) -> bool {
        true
    }
}

/// A backend that keeps what it is given.
pub(crate) struct Free;

impl Surroundings for Free {}

/// Everything that the trait promises. `one` and `other` are two clients of one empty store.
pub(crate) async fn suite(one: Arc<dyn Datastore>, other: Arc<dyn Datastore>) {
    suite_in(&Free, one, other).await;
}

/// The same where not everything can be written at once.
pub(crate) async fn suite_in(
    surroundings: &dyn Surroundings,
    one: Arc<dyn Datastore>,
    other: Arc<dyn Datastore>,
) {
    writes_go_by_revision(&*one, &*other).await;
    what_is_invalid_is_refused(&*one).await;
    unknown_fields_survive(surroundings, &*one, &*other).await;
    names_and_namespaces_do_not_collide(surroundings, &*one, &*other).await;
    a_watch_is_complete(&*one, &*other).await;
    a_watch_survives(&*one, &*other, async || {}, async || {}).await;
    a_slow_consumer_gets_the_newest(&*one, &*other).await;
    concurrent_writers_lose_nothing(Arc::clone(&one), Arc::clone(&other)).await;
}

/// Of those kinds that the suite makes.
async fn clear(store: &dyn Datastore) {
    for kind in [Kind::IPPool, Kind::IPAMHandle, Kind::WorkloadEndpoint] {
        let kind = &kind;
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

async fn unknown_fields_survive(
    surroundings: &dyn Surroundings,
    one: &dyn Datastore,
    other: &dyn Datastore,
) {
    let mut object = pool("a", "10.0.0.0/16");
    object.spec["future"] = json!({"deep": [1, "no", null, 1_806_000_000_123_456_789_u64]});
    object.metadata.labels.insert("yes".into(), "no".into());
    if surroundings.is_free() {
        object.metadata.extra.insert("uid".into(), json!("12:30"));
    }
    one.create(object.clone()).await.unwrap();
    let found = other.get(&object.key).await.unwrap().unwrap();
    assert_eq!(found.spec, object.spec);
    // A backend may add when it was made, and what else it keeps account of.
    let mut metadata = found.metadata.clone();
    metadata.extra.remove("creationTimestamp");
    if !surroundings.is_free() {
        metadata.extra.clear();
    }
    assert_eq!(metadata, object.metadata);
    // Nor does a write of one who knows nothing of them lose any.
    let mut changed = found.clone();
    changed.spec["disabled"] = json!(true);
    other.update(changed.clone()).await.unwrap();
    let again = one.get(&object.key).await.unwrap().unwrap();
    assert_eq!(again.spec, changed.spec);
    let (mut before, mut after) = (found.metadata, again.metadata);
    if !surroundings.is_free() {
        before.extra.clear();
        after.extra.clear();
    }
    assert_eq!(after, before);
    clear(one).await;
}

async fn names_and_namespaces_do_not_collide(
    surroundings: &dyn Surroundings,
    one: &dyn Datastore,
    other: &dyn Datastore,
) {
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
        spec: json!({
            "orchestrator": "k8s", "node": "n", "pod": pod, "endpoint": "eth0",
            "containerID": "c", "ipNetworks": ["10.0.0.1/32"],
        }),
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
    let longer = format!("{long}y");
    let plain = ["a", "a.b", "a-b", "A.c", &long, &longer];
    let wild = ["..", ".hidden", "a/b", "a%2Fb", "ü", "a b"];
    for name in plain.iter().chain(&wild) {
        let object = handle(name);
        if surroundings.is_free() || plain.contains(name) {
            objects.push(object);
            continue;
        }
        // Refused as a whole, and not taken for another.
        let refused = one.create(object.clone()).await;
        assert!(matches!(refused, Err(StoreError::Invalid { .. })), "{name}");
        assert!(one.get(&object.key).await.unwrap().is_none());
    }
    for object in &objects {
        surroundings.prepare(object).await;
        one.create(object.clone()).await.unwrap();
        let again = other.create(object.clone()).await;
        assert!(matches!(again, Err(StoreError::Exists(_))), "{again:?}");
    }
    for object in &objects {
        let found = other.get(&object.key).await.unwrap().unwrap();
        for (field, value) in object.spec.as_object().unwrap() {
            assert_eq!(&found.spec[field], value, "{}: {field}", object.key);
        }
    }
    let listed = async |kind| other.list(kind).await.unwrap().len();
    let made = |kind| {
        objects
            .iter()
            .filter(|object| object.key.kind == kind)
            .count()
    };
    for kind in [Kind::WorkloadEndpoint, Kind::IPAMHandle] {
        assert_eq!(listed(kind).await, made(kind));
    }
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

/// What happens while a watch is disturbed, deletions above all, is seen when that is over.
pub(crate) async fn a_watch_survives(
    one: &dyn Datastore,
    other: &dyn Datastore,
    disturb: impl AsyncFn(),
    mend: impl AsyncFn(),
) {
    for name in ["stays", "goes", "changes"] {
        one.create(pool(name, "10.0.0.0/16")).await.unwrap();
    }
    let mut watcher = one.watch(&[Kind::IPPool, Kind::Node]).await.unwrap();
    let mut seen = BTreeMap::new();
    until(&mut watcher, &mut seen, |seen| seen.len() == 3).await;
    disturb().await;
    other
        .delete(&Key::new(Kind::IPPool, "goes"), None)
        .await
        .unwrap();
    let changes = Key::new(Kind::IPPool, "changes");
    let mut object = other.get(&changes).await.unwrap().unwrap();
    object.spec["disabled"] = json!(true);
    other.update(object).await.unwrap();
    other.create(pool("comes", "10.1.0.0/16")).await.unwrap();
    mend().await;
    let changed = |seen: &BTreeMap<Key, Object>, disabled: bool| {
        seen.get(&changes)
            .is_some_and(|object| object.spec["disabled"] == json!(disabled))
    };
    until(&mut watcher, &mut seen, |seen| {
        let names: Vec<&str> = seen.keys().map(|key| key.name.as_str()).collect();
        names == ["changes", "comes", "stays"] && changed(seen, true)
    })
    .await;
    // And it goes on.
    let mut object = other.get(&changes).await.unwrap().unwrap();
    object.spec["disabled"] = json!(false);
    other.update(object).await.unwrap();
    until(&mut watcher, &mut seen, |seen| changed(seen, false)).await;
    drop(watcher);
    clear(other).await;
}

/// Who reads nothing for long holds up nobody, and then has the newest state, without every step to it.
async fn a_slow_consumer_gets_the_newest(one: &dyn Datastore, other: &dyn Datastore) {
    const STEPS: usize = 500;
    let mut slow = one.watch(&[Kind::IPPool]).await.unwrap();
    let mut object = other.create(pool("a", "10.0.0.0/16")).await.unwrap();
    for step in 1..=STEPS {
        object.spec["step"] = json!(step);
        object = other.update(object).await.unwrap();
    }
    // One that reads has it all, so that it has come to this client.
    let mut quick = one.watch(&[Kind::IPPool]).await.unwrap();
    let newest = |seen: &BTreeMap<Key, Object>| {
        seen.values()
            .any(|object| object.spec["step"] == json!(STEPS))
    };
    until(&mut quick, &mut BTreeMap::new(), newest).await;
    until(&mut slow, &mut BTreeMap::new(), newest).await;
    drop((slow, quick));
    clear(other).await;
}

/// 20,000 objects: listed, watched, and the watch is told of the deletion of each.
pub(crate) async fn many_objects(one: Arc<dyn Datastore>, other: Arc<dyn Datastore>) {
    let by = Arc::clone(&other);
    many_objects_removed(one, other, async |keys: Vec<Key>| {
        let mut writers = tokio::task::JoinSet::new();
        for part in keys.chunks(keys.len() / 8) {
            let (store, part) = (Arc::clone(&by), part.to_vec());
            writers.spawn(async move {
                for key in part {
                    store.delete(&key, None).await.unwrap();
                }
            });
        }
        writers.join_all().await;
    })
    .await;
}

/// The same where they are removed in another way.
pub(crate) async fn many_objects_removed(
    one: Arc<dyn Datastore>,
    other: Arc<dyn Datastore>,
    remove: impl AsyncFnOnce(Vec<Key>),
) {
    const MANY: usize = 20_000;
    let handle = |index: usize| {
        let name = format!("k8s-pod-network.{index:05}");
        Object {
            spec: json!({"handleID": name, "block": {"10.0.0.0/26": 1}}),
            key: Key::new(Kind::IPAMHandle, &*name),
            metadata: Metadata {
                name,
                ..Metadata::default()
            },
            revision: None,
        }
    };
    let mut early = one.watch(&[Kind::IPAMHandle]).await.unwrap();
    let mut writers = tokio::task::JoinSet::new();
    const WRITERS: usize = 8;
    for writer in 0..WRITERS {
        let store = Arc::clone(&other);
        writers.spawn(async move {
            for index in (writer..MANY).step_by(WRITERS) {
                store.create(handle(index)).await.unwrap();
            }
        });
    }
    writers.join_all().await;
    let listed = one.list(Kind::IPAMHandle).await.unwrap();
    assert_eq!(listed.len(), MANY);
    assert!(listed.is_sorted_by(|one, other| one.key < other.key));
    let mut seen = BTreeMap::new();
    until(&mut early, &mut seen, |seen| seen.len() == MANY).await;
    // A late one gets them all before it is in sync.
    let mut late = one.watch(&[Kind::IPAMHandle]).await.unwrap();
    let mut count = 0;
    while let WatchEvent::Set(_) = next(&mut late).await {
        count += 1;
    }
    assert_eq!(count, MANY);
    drop(late);
    remove(listed.into_iter().map(|object| object.key).collect()).await;
    until(&mut early, &mut seen, BTreeMap::is_empty).await;
    assert!(one.list(Kind::IPAMHandle).await.unwrap().is_empty());
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
