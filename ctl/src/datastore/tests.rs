//! Out of one store and into another, in memory.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use caracal_datastore::memory::{Fault, Verb};
use caracal_datastore::{Datastore, Key, MemoryDatastore, manifest, resources};
use serde_json::Value;

use super::*;
use crate::cli::{ExportArgs, ImportArgs};
use crate::failure::Sort;
use crate::store::Place;

/// One of each kind that IPAM and BGP need, in no order.
const CLUSTER: &str = r#"
apiVersion: projectcalico.org/v3
kind: BlockAffinity
metadata: {name: n1-10-1-0-0-30}
spec: {cidr: 10.1.0.0/30, node: n1, state: confirmed, deleted: "false"}
---
apiVersion: projectcalico.org/v3
kind: IPAMBlock
metadata: {name: 10-1-0-0-30}
spec:
  cidr: 10.1.0.0/30
  affinity: host:n1
  allocations: [null, 0, null, null]
  unallocated: [0, 2, 3]
  attributes: [{handle_id: k8s-pod-network.Ab, secondary: {node: n1, pod: p}}]
  sequenceNumber: 1799999999999999999
  sequenceNumberForAllocation: {"1": 1799999999999999998}
  deleted: false
  strictAffinity: false
---
apiVersion: projectcalico.org/v3
kind: IPAMHandle
metadata: {name: k8s-pod-network.Ab}
spec: {handleID: k8s-pod-network.Ab, block: {10.1.0.0/30: 1}, deleted: false}
---
apiVersion: projectcalico.org/v3
kind: IPAMConfig
metadata: {name: default}
spec: {strictAffinity: true, autoAllocateBlocks: true, maxBlocksPerHost: 4}
---
apiVersion: projectcalico.org/v3
kind: Node
metadata: {name: n1, labels: {rack: a}, uid: a-b, creationTimestamp: "2026-01-01T00:00:00Z"}
spec: {bgp: {ipv4Address: 172.31.0.1/24}, foreign: {kept: [1, "yes"]}}
---
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: {name: p, annotations: {note: 'a: b'}}
spec: {cidr: 10.1.0.0/24, blockSize: 30}
---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: {name: tor}
spec: {peerIP: 172.31.0.254, asNumber: 64513}
---
apiVersion: v1
kind: Secret
metadata: {name: bgp, namespace: one}
data: {password: c2VjcmV0}
---
apiVersion: projectcalico.org/v3
kind: ClusterInformation
metadata: {name: default}
spec: {clusterGUID: abc, datastoreReady: false}
"#;

fn place() -> Place {
    Place::named("memory")
}

fn memory() -> (MemoryDatastore, Arc<dyn Datastore>) {
    let memory = MemoryDatastore::new();
    let store: Arc<dyn Datastore> = Arc::new(memory.client());
    (memory, store)
}

async fn full() -> Arc<dyn Datastore> {
    let (memory, store) = memory();
    for object in manifest::parse("test", CLUSTER).into_objects().unwrap() {
        memory.create(object).await.unwrap();
    }
    store
}

async fn exported(store: &Arc<dyn Datastore>) -> String {
    let args = ExportArgs {
        filename: None,
        directory: None,
        kinds: Vec::new(),
        unlocked: false,
    };
    let outcome = export::export(store, &place(), &args).await.unwrap();
    assert!(outcome.failure.is_none(), "{outcome:?}");
    outcome.text
}

/// Imports a text.
async fn imported(
    store: &Arc<dyn Datastore>,
    text: &str,
    change: impl FnOnce(&mut ImportArgs),
) -> Result<Outcome, Failure> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("export.yaml");
    std::fs::write(&file, text).unwrap();
    let mut args = ImportArgs {
        filename: vec![PathBuf::from(&file)],
        overwrite: false,
        unlock: false,
        dry_run: false,
    };
    change(&mut args);
    import::import(store, &place(), &args).await
}

#[tokio::test]
async fn what_goes_out_comes_in_and_goes_out_the_same() {
    let first = full().await;
    let text = exported(&first).await;
    assert!(
        text.starts_with("# caracalctl datastore export: 9 objects\n"),
        "{text}"
    );
    assert!(
        text.contains("sequenceNumber: 1799999999999999999\n"),
        "{text}"
    );
    assert!(!text.contains("uid"), "{text}");
    let (_, second) = memory();
    let outcome = imported(&second, &text, |_| {}).await.unwrap();
    assert!(outcome.failure.is_none(), "{outcome:?}");
    assert!(
        outcome.text.ends_with(
            "All 9 objects are in memory as in the file.\n\
             It is locked: `caracalctl datastore unlock` when all is set for its use.\n"
        ),
        "{}",
        outcome.text
    );
    assert!(lock::is_locked(&second).await.unwrap());
    assert_eq!(exported(&second).await, text);
    // Once more changes nothing.
    let outcome = imported(&second, &text, |args| args.overwrite = true).await;
    let said = outcome.unwrap().text;
    assert!(
        said.contains("IPAMBlock            0         0         1\n"),
        "{said}"
    );
}

#[tokio::test]
async fn what_a_backend_adds_to_an_affinity_by_itself_is_no_change() {
    let (memory, store) = memory();
    let text = exported(&full().await).await;
    imported(&store, &text, |_| {}).await.unwrap();
    // As Kubernetes shows it: the mark a text or a truth value, the type said, and labels to list it by.
    let key = Key::new(Kind::BlockAffinity, "n1-10-1-0-0-30");
    let mut shown = store.get(&key).await.unwrap().unwrap();
    shown.spec["deleted"] = Value::Bool(false);
    shown.spec["type"] = "host".into();
    let label = "projectcalico.org/affinity-type".to_owned();
    shown.metadata.labels.insert(label, "host".to_owned());
    memory.put_unchecked(shown.clone());
    let before = store.get(&key).await.unwrap();
    let again = imported(&store, &text, |args| args.overwrite = true).await;
    let words = again.unwrap().text;
    let line = words.lines().find(|line| line.starts_with("BlockAffinity"));
    let counts: Vec<&str> = line.unwrap().split_whitespace().skip(1).collect();
    assert_eq!(counts, ["0", "0", "1"], "{words}");
    assert_eq!(store.get(&key).await.unwrap(), before);
    // What is other is written.
    shown.spec["state"] = "pending".into();
    memory.put_unchecked(shown);
    let again = imported(&store, &text, |args| args.overwrite = true).await;
    let words = again.unwrap().text;
    let line = words.lines().find(|line| line.starts_with("BlockAffinity"));
    let counts: Vec<&str> = line.unwrap().split_whitespace().skip(1).collect();
    assert_eq!(counts, ["0", "1", "0"], "{words}");
}

#[tokio::test]
async fn objects_are_written_behind_those_that_they_need() {
    let text = exported(&full().await).await;
    let (memory, _) = memory();
    let client = memory.client();
    let written = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&written);
    client.set_plan(move |operation| {
        if operation.verb.writes() {
            seen.lock().unwrap().push(operation.kind.as_str());
        }
        Fault::None
    });
    let store: Arc<dyn Datastore> = Arc::new(client);
    imported(&store, &text, |args| args.unlock = true)
        .await
        .unwrap();
    // The lock, what the file says of the cluster, all else, and the lock again.
    assert_eq!(
        *written.lock().unwrap(),
        [
            "ClusterInformation",
            "ClusterInformation",
            "Secret",
            "IPPool",
            "IPAMConfig",
            "Node",
            "BGPPeer",
            "IPAMHandle",
            "IPAMBlock",
            "BlockAffinity",
            "ClusterInformation"
        ]
    );
    assert!(!lock::is_locked(&store).await.unwrap());
}

#[tokio::test]
async fn a_datastore_that_is_not_locked_or_not_empty_is_left_alone() {
    let first = full().await;
    let text = exported(&first).await;
    lock::set(&first, true).await.unwrap();
    let mut args = ExportArgs {
        filename: None,
        directory: None,
        kinds: vec!["pools".to_owned(), "nodes".to_owned()],
        unlocked: false,
    };
    let refused = export::export(&first, &place(), &args).await.unwrap_err();
    assert!(
        refused.words[0].contains("memory is not locked"),
        "{refused}"
    );
    args.unlocked = true;
    let some = export::export(&first, &place(), &args).await.unwrap();
    assert_eq!(some.notes, ["exported 2 objects: 1 IPPool, 1 Node"]);
    let refused = imported(&first, &text, |_| {}).await.unwrap_err();
    assert!(
        refused.words[0].contains("is not empty: 1 Secret, 1 IPPool, 1 IPAMConfig, 1 Node, "),
        "{refused}"
    );
    assert!(!lock::is_locked(&first).await.unwrap());
    let (memory, empty) = memory();
    let outcome = imported(&empty, &text, |args| args.dry_run = true)
        .await
        .unwrap();
    assert!(outcome.text.ends_with("Nothing was written (dry run).\n"));
    assert_eq!(memory.writes(), 0);
}

#[tokio::test]
async fn a_text_that_is_cut_off_or_wrong_writes_nothing() {
    let text = exported(&full().await).await;
    let (memory, store) = memory();
    let cut = text.rsplit_once("---\n").unwrap().0;
    let twice = format!("{}---\n{}", cut, cut.split_once('\n').unwrap().1);
    for (text, words) in [
        (
            cut.to_owned(),
            "its first line tells of 9 objects, and there are 8: it is cut off",
        ),
        (twice, " stands in "),
        (
            text.replace("10.1.0.0/24", "10.1.0.1/24"),
            "IPPool p: spec.cidr",
        ),
        ("===\n".to_owned(), "2 parts with === between them"),
        (String::new(), "no objects in "),
    ] {
        let failure = imported(&store, &text, |_| {}).await.unwrap_err();
        assert!(
            failure.words.iter().any(|said| said.contains(words)),
            "{words}: {failure}"
        );
    }
    assert_eq!(memory.writes(), 0);
}

#[tokio::test]
async fn an_import_that_was_cut_short_is_finished_by_the_next() {
    let text = exported(&full().await).await;
    let (memory, _) = memory();
    let client = memory.client();
    let mut left = 5;
    client.set_plan(move |operation| {
        left -= u32::from(operation.verb == Verb::Create && left > 0);
        match left {
            0 => Fault::Before(MemoryDatastore::down()),
            _ => Fault::None,
        }
    });
    let cut: Arc<dyn Datastore> = Arc::new(client);
    let outcome = imported(&cut, &text, |_| {}).await.unwrap();
    let failure = outcome.failure.unwrap();
    assert_eq!(failure.sort, Sort::Unavailable);
    assert!(
        failure.words[1].contains("of 9 objects are there, and the datastore is locked"),
        "{failure}"
    );
    let store: Arc<dyn Datastore> = Arc::new(memory.client());
    let outcome = imported(&store, &text, |args| args.overwrite = true)
        .await
        .unwrap();
    assert!(outcome.failure.is_none(), "{outcome:?}");
    assert_eq!(exported(&store).await, text);
}

#[tokio::test]
async fn what_cannot_be_read_fails_an_export_that_goes_on() {
    let (memory, store) = memory();
    for object in manifest::parse("test", CLUSTER).into_objects().unwrap() {
        memory.create(object).await.unwrap();
    }
    let mut bad = store
        .get(&Key::new(Kind::IPPool, "p"))
        .await
        .unwrap()
        .unwrap();
    bad.spec = Value::String("{broken".to_owned());
    memory.put_unchecked(bad);
    let args = ExportArgs {
        filename: None,
        directory: None,
        kinds: Vec::new(),
        unlocked: false,
    };
    let outcome = export::export(&store, &place(), &args).await.unwrap();
    let failure = outcome.failure.unwrap();
    assert_eq!(failure.words[0], "IPPool p: left out: it cannot be read");
    assert!(
        outcome
            .text
            .starts_with("# caracalctl datastore export: 8 objects\n")
    );
}

/// As `calicoctl datastore migrate export` writes it.
const CALICOS: &str = r#"apiVersion: projectcalico.org/v3
items:
- apiVersion: projectcalico.org/v3
  kind: IPPool
  metadata:
    creationTimestamp: null
    name: default-ipv4-ippool
  spec:
    allowedUses:
    - Workload
    - Tunnel
    blockSize: 30
    cidr: 10.1.0.0/16
    ipipMode: Always
    natOutgoing: true
    nodeSelector: all()
    vxlanMode: Never
kind: IPPoolList
metadata:
  resourceVersion: "9"
---
apiVersion: projectcalico.org/v3
items: []
kind: BGPPeerList
metadata:
  resourceVersion: "9"
---
apiVersion: projectcalico.org/v3
items: null
kind: BGPFilterList
metadata: {}
---
===
{
  "kind": "ClusterInformation",
  "apiVersion": "projectcalico.org/v3",
  "metadata": {"name": "default", "uid": "u", "resourceVersion": "3", "creationTimestamp": "2026-01-01T00:00:00Z"},
  "spec": {"clusterGUID": "g", "calicoVersion": "v3.29.1", "datastoreReady": false}
}
===
{
  "block_affinities": [
    {"Key": "/calico/ipam/v2/host/n1/ipv4/block/10.1.0.0-30", "Value": {"state": "confirmed", "deleted": false}, "TTL": 0}
  ],
  "blocks": [
    {"Key": "/calico/ipam/v2/assignment/ipv4/block/10.1.0.0-30",
     "Value": {"cidr": "10.1.0.0/30", "affinity": "host:n1", "allocations": [0, null, null, null], "unallocated": [1, 2, 3],
       "attributes": [{"handle_id": "ipip-tunnel-addr-n1", "secondary": {"node": "n1", "type": "ipipTunnelAddress"}}],
       "sequenceNumber": 1799999999999999999, "sequenceNumberForAllocation": {"0": 1799999999999999998}, "deleted": false},
     "TTL": 0}
  ],
  "handles": [
    {"Key": "/calico/ipam/v2/handle/ipip-tunnel-addr-n1", "Value": {"block": {"10.1.0.0/30": 1}, "deleted": false}, "TTL": 0}
  ],
  "config": {"Key": "/calico/ipam/v2/config", "Value": {"auto_allocate_blocks": true}, "TTL": 0}
}
"#;

#[tokio::test]
async fn what_calicoctl_exports_is_read() {
    let (_, store) = memory();
    let outcome = imported(&store, CALICOS, |_| {}).await.unwrap();
    assert!(outcome.failure.is_none(), "{outcome:?}");
    assert!(
        outcome
            .text
            .contains("All 6 objects are in memory as in the file.\n"),
        "{}",
        outcome.text
    );
    let block = store
        .get(&Key::new(Kind::IPAMBlock, "10-1-0-0-30"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(block.spec["sequenceNumber"], 1_799_999_999_999_999_999_u64);
    let affinity = store
        .get(&Key::new(Kind::BlockAffinity, "n1-10-1-0-0-30"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (&affinity.spec["node"], &affinity.spec["state"]),
        (&"n1".into(), &"confirmed".into())
    );
    let config = store
        .get(&Key::new(Kind::IPAMConfig, "default"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (
            &config.spec["autoAllocateBlocks"],
            &config.spec["strictAffinity"]
        ),
        (&true.into(), &false.into())
    );
    let cluster = store.get(&lock::key()).await.unwrap().unwrap();
    assert_eq!(cluster.spec["clusterGUID"], "g");
    for kind in kinds_in_order() {
        for object in store.list(kind).await.unwrap() {
            assert_eq!(resources::faults_of_written(&object), Vec::<String>::new());
        }
    }
    let wrong = CALICOS.replace("/calico/ipam/v2/handle/", "/calico/ipam/v3/handle/");
    let failure = imported(&store, &wrong, |_| {}).await.unwrap_err();
    assert!(
        failure.words[0].contains(
            "(IPAM): /calico/ipam/v3/handle/ipip-tunnel-addr-n1: this is not a key of IPAM"
        ),
        "{failure}"
    );
}

#[tokio::test]
async fn a_lock_keeps_what_else_is_there() {
    let (_, store) = memory();
    assert!(!lock::is_locked(&store).await.unwrap());
    assert_eq!(
        lock::set(&store, false).await.unwrap(),
        "Datastore locked.\n"
    );
    assert_eq!(
        lock::set(&store, false).await.unwrap(),
        "Datastore locked.\n"
    );
    assert!(lock::is_locked(&store).await.unwrap());
    let mut object = store.get(&lock::key()).await.unwrap().unwrap();
    object.spec["clusterGUID"] = "g".into();
    object.spec["other"] = 1.into();
    store.update(object).await.unwrap();
    assert_eq!(
        lock::set(&store, true).await.unwrap(),
        "Datastore unlocked.\n"
    );
    let object = store.get(&lock::key()).await.unwrap().unwrap();
    assert_eq!(
        object.spec,
        serde_json::json!({"clusterGUID": "g", "datastoreReady": true, "other": 1})
    );
}
