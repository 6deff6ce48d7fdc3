//! The plugin's requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use caracal_agent_api::{CniAdd, CniAttached, CniDel, CniGc};
use caracal_datastore::memory::{Fault, Verb};
use caracal_datastore::resources::Namespace;
use caracal_datastore::{Datastore, IPPool, Kind, MemoryDatastore, Metadata, Stored, TypedStore};
use serde_json::json;

use super::fake::{Scene, endpoint, just_begun, scene};
use super::*;

fn add_of(ifname: &str, network: &str) -> CniAdd {
    CniAdd {
        container_id: "0123456789ab".into(),
        ifname: ifname.into(),
        netns: "/run/netns/x".into(),
        network: network.into(),
        namespace: Some("default".into()),
        pod: Some("web".into()),
        ipv4_pools: vec![],
        ipv6_pools: vec![],
        addresses: vec![],
    }
}

fn del_of(ifname: &str, network: &str) -> CniDel {
    CniDel {
        container_id: "0123456789ab".into(),
        ifname: ifname.into(),
        network: network.into(),
    }
}

/// Both halves of ADD; returns device and address.
async fn add(scene: &Scene, ifname: &str, network: &str) -> (String, IpAddr) {
    let request = add_of(ifname, network);
    let reply = scene.workloads.add(&request).await.unwrap();
    let attached = CniAttached {
        container_id: request.container_id,
        ifname: ifname.into(),
        mac: "02:00:00:00:00:07".into(),
    };
    scene.workloads.attached(&attached).await.unwrap();
    (reply.device, reply.addresses[0].address.addr())
}

#[tokio::test]
async fn an_address_is_forgotten_before_it_is_free_though_memory_does_not_know_its_workload() {
    let first = scene().await;
    let (device, address) = add(&first, "eth0", "net").await;
    // The agent starts anew, and the DEL comes before the watch has told anything.
    let second = just_begun(first.store.client());
    let handle = handle("net", "0123456789ab");
    let ipam = second.ipam.clone();
    assert_eq!(ipam.addresses_of(&handle).await.unwrap(), [address]);
    let reply = second.workloads.del(&del_of("eth0", "net")).await.unwrap();
    assert_eq!(reply.device, Some(device));
    assert_eq!(second.notes.take(), [format!("forget {address}")]);
    assert_eq!(ipam.addresses_of(&handle).await.unwrap(), [] as [IpAddr; 0]);
}

#[tokio::test]
async fn an_address_without_a_record_is_forgotten_before_it_is_free() {
    let first = scene().await;
    // Only the first half of ADD, and then the agent is killed.
    let reply = first.workloads.add(&add_of("eth0", "net")).await.unwrap();
    let address = reply.addresses[0].address.addr();
    let second = just_begun(first.store.client());
    let reply = second.workloads.del(&del_of("eth0", "net")).await.unwrap();
    assert_eq!(reply.device, None);
    assert_eq!(second.notes.take(), [format!("forget {address}")]);
}

#[tokio::test]
async fn of_two_interfaces_only_the_one_that_is_asked_for_goes() {
    let first = scene().await;
    let (eth0, address) = add(&first, "eth0", "net").await;
    let (net1, other) = add(&first, "net1", "storage").await;
    assert_ne!((&eth0, address), (&net1, other));
    // Whether memory knows them or not.
    for scene in [just_begun(first.store.client()), first] {
        scene.notes.take();
        scene
            .workloads
            .del(&del_of("net1", "storage"))
            .await
            .unwrap();
        let records = scene.store.list(Kind::WorkloadEndpoint).await.unwrap();
        let names: Vec<&str> = records
            .iter()
            .map(|object| object.key.name.as_str())
            .collect();
        assert_eq!(names, ["node1-k8s-web-eth0"]);
        let told = scene.notes.take();
        assert!(!told.iter().any(|line| line.contains(&eth0)), "{told:?}");
    }
}

/// Counts how often the datastore is asked for all records.
fn count_lists(scene: &Scene) -> Arc<AtomicUsize> {
    let lists = Arc::new(AtomicUsize::new(0));
    let counted = lists.clone();
    scene.theirs.set_plan(move |operation| {
        if operation.verb == Verb::List && operation.kind == Kind::WorkloadEndpoint {
            counted.fetch_add(1, Ordering::Relaxed);
        }
        Fault::None
    });
    lists
}

/// Runtimes repeat it, and delete what they could not add; the watch has told what there is.
#[tokio::test]
async fn a_del_lists_no_records_and_one_after_another_add_removes_the_new_one() {
    let scene = scene().await;
    let lists = count_lists(&scene);
    let del = del_of("eth0", "net");
    // Of something that was never heard of.
    for _ in 0..3 {
        scene.workloads.del(&del).await.unwrap();
    }
    for _ in 0..2 {
        let (device, _) = add(&scene, "eth0", "net").await;
        let reply = scene.workloads.del(&del).await.unwrap();
        assert_eq!(reply.device, Some(device));
        let reply = scene.workloads.del(&del).await.unwrap();
        assert_eq!(reply.device, None);
    }
    assert_eq!(lists.load(Ordering::Relaxed), 0);
    let records = scene.store.list(Kind::WorkloadEndpoint).await.unwrap();
    assert_eq!(records.len(), 0);
    let handle = handle("net", "0123456789ab");
    let given = scene.ipam.addresses_of(&handle).await.unwrap();
    assert_eq!(given, [] as [IpAddr; 0]);
}

#[tokio::test]
async fn a_del_before_everything_was_read_lists_the_records_once() {
    let scene = just_begun(scene().await.store);
    let lists = count_lists(&scene);
    for _ in 0..3 {
        scene.workloads.del(&del_of("eth0", "net")).await.unwrap();
    }
    assert_eq!(lists.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_del_that_failed_half_way_is_finished_by_the_next_one() {
    let scene = scene().await;
    let (device, _) = add(&scene, "eth0", "net").await;
    scene.theirs.set_plan(|operation| match operation.verb {
        Verb::Delete => Fault::Before(MemoryDatastore::down()),
        _ => Fault::None,
    });
    let del = del_of("eth0", "net");
    for _ in 0..2 {
        let refusal = scene.workloads.del(&del).await.unwrap_err();
        assert!(matches!(refusal, Refusal::Later(_)), "{refusal}");
    }
    let lists = count_lists(&scene);
    let reply = scene.workloads.del(&del).await.unwrap();
    assert_eq!(reply.device, Some(device));
    let records = scene.store.list(Kind::WorkloadEndpoint).await.unwrap();
    assert_eq!(records, []);
    assert_eq!(lists.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_record_that_makes_no_sense_is_found_without_a_list() {
    let scene = scene().await;
    let mut broken = endpoint("web", "", "10.65.0.7");
    broken.spec.container_id = "0123456789ab".to_owned();
    let key = scene.put(&broken);
    scene.workloads.told_of(&key).await;
    assert_eq!(scene.conditions().len(), 1);
    let lists = count_lists(&scene);
    scene.workloads.del(&del_of("eth0", "net")).await.unwrap();
    assert!(scene.store.get(&key).await.unwrap().is_none());
    assert_eq!(lists.load(Ordering::Relaxed), 0);
}

fn annotated(annotations: &[(&str, &str)]) -> Metadata {
    let annotations = annotations.iter();
    Metadata {
        annotations: annotations
            .map(|(key, value)| (format!("cni.projectcalico.org/{key}"), (*value).to_owned()))
            .collect(),
        ..Metadata::default()
    }
}

#[tokio::test]
async fn a_pod_gets_what_it_says_at_the_time_of_its_add_and_not_before() {
    let scene = scene().await;
    let typed = TypedStore(Arc::new(scene.store.client()));
    for (name, cidr) in [("blue", "10.66.0.0/24"), ("red", "10.67.0.0/24")] {
        let pool: IPPool = serde_json::from_value(json!({ "cidr": cidr })).unwrap();
        typed.create(Stored::new(name, pool)).await.unwrap();
    }
    let mut namespace = Stored::new("default", Namespace::default());
    namespace.metadata.annotations = annotated(&[("ipv4pools", "[\"blue\"]")]).annotations;
    typed.create(namespace).await.unwrap();
    let address_of = async |annotations: &[(&str, &str)]| {
        scene
            .store
            .put_pod("default", "web", annotated(annotations));
        let added = scene.workloads.add(&add_of("eth0", "net")).await;
        scene.workloads.del(&del_of("eth0", "net")).await.unwrap();
        added.map(|reply| (reply.addresses[0].address.to_string(), reply.mac))
    };
    let (address, mac) = address_of(&[]).await.unwrap();
    assert!(address.starts_with("10.66.0."), "{address}");
    assert_eq!(mac, None);
    let (address, _) = address_of(&[("ipv4pools", "[\"10.67.0.0/24\"]")])
        .await
        .unwrap();
    assert!(address.starts_with("10.67.0."), "{address}");
    let wished = [
        ("ipAddrs", "[\"10.65.3.4\"]"),
        ("hwAddr", "1C:0C:0A:C0:FF:EE"),
    ];
    let (address, mac) = address_of(&wished).await.unwrap();
    assert_eq!(address, "10.65.3.4/32");
    assert_eq!(mac.as_deref(), Some("1c:0c:0a:c0:ff:ee"));

    // What cannot be had is refused for good, in the annotation's own words.
    for (annotation, value, why) in [
        (
            "ipv4pools",
            "blue",
            "is no JSON list of names or CIDRs of pools: expected value at line 1 column 1",
        ),
        (
            "ipv4pools",
            "[\"green\"]",
            "no IP pool for IPv4: there is no pool green",
        ),
        (
            "ipAddrs",
            "[\"192.0.2.7\"]",
            "address 192.0.2.7: it is in no pool",
        ),
    ] {
        let refusal = address_of(&[(annotation, value)]).await.unwrap_err();
        assert!(matches!(refusal, Refusal::Wrong(_)), "{refusal}");
        assert_eq!(
            refusal.to_string(),
            format!(
                "pod default/web: annotation cni.projectcalico.org/{annotation}: {value}: {why}"
            )
        );
    }
    let given = scene
        .ipam
        .addresses_of(&handle("net", "0123456789ab"))
        .await;
    assert_eq!(given.unwrap(), [] as [IpAddr; 0]);
}

#[tokio::test]
async fn a_second_interface_on_the_same_network_is_refused() {
    let scene = scene().await;
    let (_, address) = add(&scene, "eth0", "net").await;
    let refusal = scene
        .workloads
        .add(&add_of("net1", "net"))
        .await
        .unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "container 0123456789ab: interface net1: eth0 is on network net already"
    );
    // The runtime deletes what it could not add, perhaps when the agent has started anew. The address stays the first's.
    let handle = handle("net", "0123456789ab");
    for scene in [just_begun(scene.store.client()), scene] {
        scene.notes.take();
        scene.workloads.del(&del_of("net1", "net")).await.unwrap();
        let given = scene.ipam.addresses_of(&handle).await.unwrap();
        assert_eq!(given, [address]);
        assert_eq!(scene.notes.take(), [""; 0]);
    }
}

#[tokio::test]
async fn one_that_is_promised_an_address_keeps_it_when_a_second_interface_is_deleted() {
    let scene = scene().await;
    let reply = scene.workloads.add(&add_of("eth0", "net")).await.unwrap();
    scene.workloads.del(&del_of("net1", "net")).await.unwrap();
    let handle = handle("net", "0123456789ab");
    let given = scene.ipam.addresses_of(&handle).await.unwrap();
    assert_eq!(given, [reply.addresses[0].address.addr()]);
}

#[tokio::test]
async fn the_end_of_one_interface_does_not_keep_a_report_of_another_away() {
    let first = scene().await;
    let (eth0, _) = add(&first, "eth0", "net").await;
    let (net1, _) = add(&first, "net1", "storage").await;
    // The agent starts anew, and the DEL comes before the watch has told anything.
    let second = just_begun(first.store.client());
    let workloads = &second.workloads;
    let mut keys = BTreeMap::new();
    for object in second.store.list(Kind::WorkloadEndpoint).await.unwrap() {
        let (_, workload) = record::read(&object).unwrap();
        keys.insert(workload.device, object.key);
    }
    workloads.del(&del_of("net1", "storage")).await.unwrap();
    workloads.told_of(&keys[&eth0]).await;
    assert_eq!(workloads.count(), 1);
    // A late report of the one that is gone brings nothing back.
    let late = first.store.get(&keys[&net1]).await;
    assert!(matches!(late, Ok(None)), "{late:?}");
    workloads.told_of(&keys[&net1]).await;
    assert_eq!(workloads.count(), 1);
}

#[tokio::test]
async fn garbage_is_collected_interface_by_interface() {
    let scene = scene().await;
    add(&scene, "eth0", "net").await;
    let (net1, _) = add(&scene, "net1", "storage").await;
    let gc = |network: &str, valid: &[&str]| CniGc {
        network: network.into(),
        valid: valid
            .iter()
            .map(|ifname| ("0123456789ab".into(), (*ifname).into()))
            .collect(),
    };
    let reply = scene.workloads.gc(&gc("net", &["eth0"])).await.unwrap();
    assert_eq!(reply.devices, [""; 0]);
    let reply = scene.workloads.gc(&gc("storage", &["eth0"])).await.unwrap();
    assert_eq!(reply.devices, [net1]);
    assert_eq!(scene.workloads.count(), 1);
}

#[tokio::test]
async fn a_record_that_others_keep_changing_is_given_up_after_some_tries() {
    let scene = scene().await;
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = tries.clone();
    scene.theirs.set_plan(move |operation| {
        if operation.verb == Verb::Create && operation.kind == Kind::WorkloadEndpoint {
            counted.fetch_add(1, Ordering::Relaxed);
            let key = Key::in_namespace(operation.kind, "default", &operation.name);
            return Fault::Before(caracal_datastore::StoreError::Conflict(key));
        }
        Fault::None
    });
    let reply = scene.workloads.add(&add_of("eth0", "net")).await.unwrap();
    let attached = CniAttached {
        container_id: "0123456789ab".into(),
        ifname: "eth0".into(),
        mac: "02:00:00:00:00:07".into(),
    };
    let refusal = scene.workloads.attached(&attached).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Later(_)));
    assert!(
        refusal.to_string().contains("node1-k8s-web-eth0"),
        "{refusal}"
    );
    assert_eq!(tries.load(Ordering::Relaxed), 10);
    assert!(!reply.attached);
}
