//! Workloads that migrations name.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use caracal_datastore::resources::LiveMigration;
use caracal_datastore::{Metadata, Stored};
use serde_json::json;

use super::fake::{Scene, endpoint, over, scene};
use crate::announcements::{Announcement, Sender};
use crate::migration::question;
use crate::workloads::Surroundings;

/// What the loop tells when `web` is the target of a migration, or of none.
fn surroundings(is_target: bool, hears: bool) -> Surroundings {
    let spec: LiveMigration = serde_json::from_value(json!({"target": {"workloadEndpoint": {
        "orchestratorID": "k8s", "workloadID": "default/web", "endpointID": "eth0"}}}))
    .unwrap();
    let migration = Stored {
        metadata: Metadata {
            name: "m".into(),
            namespace: Some("default".into()),
            ..Metadata::default()
        },
        spec,
        revision: None,
    };
    Surroundings {
        migrations: is_target.then_some(migration).into_iter().collect(),
        convergence: Duration::from_secs(30),
        hears,
        ..Surroundings::default()
    }
}

/// `web` with its record, and nothing told of yet.
async fn with_web() -> Scene {
    let scene = scene().await;
    let key = scene.put(&endpoint("web", "cali1", "10.65.0.7"));
    scene.workloads.told_of(&key).await;
    assert_eq!(scene.notes.take(), ["set cali1 10.65.0.7"]);
    scene
}

fn answer() -> Announcement {
    on("cali1")
}

fn on(device: &str) -> Announcement {
    Announcement {
        device: device.to_owned(),
        sender: Sender {
            mac: [2, 0, 0, 0, 0, 7],
            address: Some("10.65.0.7".parse().unwrap()),
        },
    }
}

#[tokio::test]
async fn a_running_workload_that_becomes_a_target_keeps_its_route_when_it_answers() {
    let scene = with_web().await;
    let workloads = &scene.workloads;
    let now = Instant::now();
    workloads.set_surroundings(surroundings(true, true), now);
    // It is asked, once, and nothing changes meanwhile.
    let questions = workloads.take_questions(now);
    assert_eq!(questions.len(), 1);
    assert_eq!(
        (questions[0].device.as_str(), questions[0].mac),
        ("cali1", answer().sender.mac)
    );
    assert!(workloads.awaits_any());
    // Another pod can write its MAC and address into a frame, but not send it on its device.
    workloads.heard(on("cali2"), now);
    assert_eq!(scene.notes.take(), [""; 0]);
    workloads.set_surroundings(surroundings(true, true), now);
    assert_eq!(workloads.take_questions(now), []);
    assert_eq!(scene.notes.take(), [""; 0]);
    workloads.heard(answer(), now);
    assert_eq!(scene.notes.take(), ["set cali1 10.65.0.7 Elevated"]);
    assert_eq!(workloads.next_move(), None);
}

#[tokio::test]
async fn one_that_does_not_answer_loses_its_route_until_it_comes() {
    let scene = with_web().await;
    let workloads = &scene.workloads;
    let now = Instant::now();
    workloads.set_surroundings(surroundings(true, true), now);
    // The loop is late: until it asks, nobody's patience ends.
    let now = now + Duration::from_secs(10);
    workloads.move_on(now);
    assert_eq!(scene.notes.take(), [""; 0]);
    assert_eq!(workloads.take_questions(now).len(), 1);
    workloads.move_on(now);
    assert_eq!(scene.notes.take(), [""; 0]);
    let until = workloads.next_move().unwrap();
    assert_eq!(until, now + question::PATIENCE);
    workloads.move_on(until);
    assert_eq!(scene.notes.take(), ["set cali1 10.65.0.7 Awaited"]);
    workloads.heard(answer(), until);
    assert_eq!(scene.notes.take(), ["set cali1 10.65.0.7 Elevated"]);
}

#[tokio::test]
async fn one_that_cannot_be_heard_keeps_its_route() {
    let scene = with_web().await;
    let workloads = &scene.workloads;
    let now = Instant::now();
    workloads.set_surroundings(surroundings(true, false), now);
    assert_eq!(workloads.next_move(), None);
    workloads.move_on(now + Duration::from_secs(3600));
    assert_eq!(scene.notes.take(), [""; 0]);
}

#[tokio::test]
async fn a_restart_in_a_migration_leaves_the_route_of_a_workload_that_has_come() {
    let first = with_web().await;
    for (routed, told, hears_later) in [
        (true, "set cali1 10.65.0.7 Elevated", true),
        (false, "set cali1 10.65.0.7 Awaited", true),
    ] {
        let scene = over(first.store.client());
        // Before the datastore is in sync nothing is known of migrations, and so nothing is told.
        let scene = Scene {
            workloads: scene.fresh(),
            ..scene
        };
        let workloads = &scene.workloads;
        if routed {
            workloads.begin_with([("cali1".to_owned(), "10.65.0.7".parse().unwrap())]);
        }
        let now = Instant::now();
        let key = endpoint("web", "cali1", "10.65.0.7").key();
        workloads.told_of(&key).await;
        assert_eq!(scene.notes.take(), [""; 0]);
        workloads.set_surroundings(surroundings(true, hears_later), now);
        assert_eq!(scene.notes.take(), [told]);
        assert_eq!(workloads.take_questions(now).len(), usize::from(routed));
    }
}

#[tokio::test]
async fn an_address_that_goes_is_no_longer_outranked() {
    let scene = with_web().await;
    let workloads = &scene.workloads;
    let now = Instant::now();
    let address = "10.65.0.7".parse().unwrap();
    workloads.set_outranked(&[address], &BTreeSet::from([address]), now);
    assert_eq!(scene.notes.take(), ["set cali1 10.65.0.7 Awaited"]);
    let key = endpoint("web", "cali1", "10.65.0.7").key();
    scene.delete(&key).await;
    workloads.told_gone(&key).await;
    assert_eq!(scene.notes.take(), ["remove cali1"]);
    // Another workload gets the address.
    let key = scene.put(&endpoint("db", "cali2", "10.65.0.7"));
    workloads.told_of(&key).await;
    assert_eq!(scene.notes.take(), ["set cali2 10.65.0.7"]);
}

#[tokio::test]
async fn an_address_that_a_workload_has_no_more_is_no_longer_outranked() {
    let scene = with_web().await;
    let workloads = &scene.workloads;
    let address = "10.65.0.7".parse().unwrap();
    workloads.set_outranked(&[address], &BTreeSet::from([address]), Instant::now());
    assert_eq!(scene.notes.take(), ["set cali1 10.65.0.7 Awaited"]);
    // In its place comes one with another address.
    let key = scene.put(&endpoint("web", "cali1", "10.65.0.8"));
    workloads.told_of(&key).await;
    assert_eq!(scene.notes.take(), ["set cali1 10.65.0.8"]);
    let key = scene.put(&endpoint("db", "cali2", "10.65.0.7"));
    workloads.told_of(&key).await;
    assert_eq!(scene.notes.take(), ["set cali2 10.65.0.7"]);
}
