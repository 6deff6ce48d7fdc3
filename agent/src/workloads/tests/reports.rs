//! What the datastore reports, and what it cannot say.

use std::time::Instant;

use caracal_datastore::memory::{Fault, Verb};
use caracal_datastore::{Kind, MemoryDatastore};

use super::fake::{endpoint, scene};

#[tokio::test]
async fn a_workload_that_cannot_be_read_is_asked_for_again_and_holds_deletions_until_then() {
    let scene = scene().await;
    let key = scene.put(&endpoint("web", "cali1", "10.65.0.7"));
    let mut faults = 2;
    scene.theirs.set_plan(move |operation| {
        let reads = operation.verb == Verb::Get && operation.kind == Kind::WorkloadEndpoint;
        if reads && faults > 0 {
            faults -= 1;
            return Fault::Before(MemoryDatastore::down());
        }
        Fault::None
    });
    let workloads = &scene.workloads;
    workloads.told_of(&key).await;
    assert!(!workloads.complete());
    assert_eq!(
        scene.conditions(),
        [
            "WorkloadUnread: WorkloadEndpoint default/node1-k8s-web-eth0: cannot be read: datastore in memory: fault on demand; trying again"
        ]
    );
    let mut waits = Vec::new();
    while let Some(next) = workloads.next_read() {
        assert!(!workloads.complete());
        let now = Instant::now();
        // Not before its time.
        workloads.reads_again(now).await;
        assert_eq!(workloads.next_read(), Some(next));
        waits.push((next - now).as_secs_f64().ceil());
        workloads.reads_again(next).await;
    }
    assert_eq!(waits, [1.0, 2.0]);
    assert!(workloads.complete());
    assert_eq!(scene.conditions(), [""; 0]);
    assert_eq!(scene.notes.take(), ["set cali1 10.65.0.7"]);
}

#[tokio::test]
async fn a_workload_that_makes_no_sense_is_named_and_holds_deletions_if_nothing_good_is_known_of_it()
 {
    let scene = scene().await;
    let good = endpoint("web", "cali1", "10.65.0.7");
    let mut bad = good.clone();
    bad.spec.mac = "zz".into();
    let key = scene.put(&bad);
    let workloads = &scene.workloads;
    workloads.told_of(&key).await;
    let named = scene.conditions();
    assert_eq!(named.len(), 1, "{named:?}");
    for part in ["InvalidResource: ", "default/node1-k8s-web-eth0", "\"zz\""] {
        assert!(named[0].contains(part), "{named:?}");
    }
    assert!(!workloads.complete());
    // Somebody mends it, and breaks it again: what was good stands.
    scene.put(&good);
    workloads.told_of(&key).await;
    assert!(workloads.complete());
    assert_eq!(scene.conditions(), [""; 0]);
    scene.put(&bad);
    workloads.told_of(&key).await;
    assert_eq!(scene.conditions(), named);
    assert!(workloads.complete());
    assert_eq!(scene.notes.take(), ["set cali1 10.65.0.7"]);
    // And takes it away.
    scene.delete(&key).await;
    workloads.told_gone(&key).await;
    assert_eq!(scene.conditions(), [""; 0]);
    assert_eq!(scene.notes.take(), ["remove cali1"]);
}

#[tokio::test]
async fn a_workload_of_which_even_the_node_makes_no_sense_is_known_by_its_name() {
    let scene = scene().await;
    let good = endpoint("web", "cali1", "10.65.0.7");
    for (name, ours) in [
        ("node1-k8s-web-eth0", true),
        ("node1--2-k8s-web-eth0", false),
        ("node12-k8s-web-eth0", false),
    ] {
        let mut object = good.clone().into_object();
        object.key.name = name.into();
        object.metadata.name = name.into();
        object.spec["node"] = 7.into();
        scene.store.put_unchecked(object.clone());
        scene.workloads.told_unclearly_of(&object.key).await;
        let named = scene.conditions();
        assert_eq!(!named.is_empty(), ours, "{name}: {named:?}");
        scene.delete(&object.key).await;
        scene.workloads.told_unclearly_of(&object.key).await;
        assert_eq!(scene.conditions(), [""; 0]);
    }
}

#[tokio::test]
async fn two_workloads_that_name_one_device_are_told_apart_whichever_came_first() {
    // Neither device is called after its pod, so the name decides.
    let (one, two) = (
        endpoint("a", "cali1", "10.65.0.7"),
        endpoint("b", "cali1", "10.65.0.8"),
    );
    for order in [[&one, &two], [&two, &one]] {
        let scene = scene().await;
        let workloads = &scene.workloads;
        for endpoint in order {
            let key = scene.put(endpoint);
            workloads.told_of(&key).await;
        }
        assert_eq!(
            workloads.addresses(),
            ["10.65.0.7".parse::<std::net::IpAddr>().unwrap()]
        );
        assert_eq!(
            scene.conditions(),
            [
                "InvalidResource: WorkloadEndpoint default/node1-k8s-b-eth0: spec.interfaceName: cali1 belongs to WorkloadEndpoint default/node1-k8s-a-eth0"
            ]
        );
        // It is known what becomes of it, so it holds nothing up.
        assert!(workloads.complete());
        scene.delete(&one.key()).await;
        workloads.told_gone(&one.key()).await;
        let due = workloads.next_read().unwrap();
        workloads.reads_again(due).await;
        assert_eq!(
            workloads.addresses(),
            ["10.65.0.8".parse::<std::net::IpAddr>().unwrap()]
        );
        assert_eq!(scene.conditions(), [""; 0]);
    }
}

#[tokio::test]
async fn a_workload_that_changes_its_device_leaves_the_former_one() {
    let scene = scene().await;
    for device in ["cali1", "cali2"] {
        let key = scene.put(&endpoint("web", device, "10.65.0.7"));
        scene.workloads.told_of(&key).await;
    }
    assert_eq!(
        scene.notes.take(),
        ["set cali1 10.65.0.7", "remove cali1", "set cali2 10.65.0.7"]
    );
}

#[tokio::test]
async fn deletions_that_a_watch_has_missed_are_made_good() {
    let scene = scene().await;
    let mut keys = Vec::new();
    for (pod, device, address) in [("a", "cali1", "10.65.0.7"), ("b", "cali2", "10.65.0.8")] {
        let key = scene.put(&endpoint(pod, device, address));
        scene.workloads.told_of(&key).await;
        keys.push(key);
    }
    scene.notes.take();
    scene.delete(&keys[0]).await;
    scene.workloads.reads_everything().await;
    assert_eq!(scene.notes.take(), ["remove cali1"]);
}
