//! A kernel that notes what it is told, and a node with a datastore in memory.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use caracal_datastore::ipam::Ipam;
use caracal_datastore::resources::WorkloadEndpoint;
use caracal_datastore::{Datastore, IPPool, MemoryDatastore, Node, Stored, TypedStore};
use caracal_fib::FibError;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::json;

use super::*;

/// What the kernel was told, a line each: `set cali1 10.65.0.7`, `remove cali1`, `forget 10.65.0.7`.
#[derive(Debug, Clone, Default)]
pub(super) struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    fn note(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }

    /// Those since the last call.
    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Dataplane for Notes {
    fn apply(&self, changes: Vec<Change>) {
        for change in changes {
            self.note(match change {
                Change::SetEndpoint(device, endpoint) => {
                    let all: Vec<String> =
                        endpoint.addresses.iter().map(ToString::to_string).collect();
                    match endpoint.standing {
                        caracal_fib::Standing::Normal => format!("set {device} {}", all.join(" ")),
                        other => format!("set {device} {} {other:?}", all.join(" ")),
                    }
                }
                Change::RemoveEndpoint(device) => format!("remove {device}"),
                other => format!("{other:?}"),
            });
        }
    }

    fn settled<'a>(&'a self, _: &'a str, _: Duration) -> BoxFuture<'a, Result<(), FibError>> {
        async { Ok(()) }.boxed()
    }

    fn forget<'a>(&'a self, _: &'a str, addresses: &'a [IpAddr]) -> BoxFuture<'a, ()> {
        for address in addresses {
            self.note(format!("forget {address}"));
        }
        async {}.boxed()
    }
}

/// The workloads of node1, its store (a client without faults), and what its kernel was told.
pub(super) struct Scene {
    pub(super) workloads: Workloads,
    pub(super) store: MemoryDatastore,
    /// The client that the workloads use: it can be given faults.
    pub(super) theirs: Arc<MemoryDatastore>,
    pub(super) notes: Notes,
    pub(super) ipam: Arc<Ipam>,
}

pub(super) async fn scene() -> Scene {
    let store = MemoryDatastore::new();
    let typed = TypedStore(Arc::new(store.client()));
    let node: Node =
        serde_json::from_value(json!({"bgp": {"ipv4Address": "192.0.2.1/24"}})).unwrap();
    typed.create(Stored::new("node1", node)).await.unwrap();
    let pool: IPPool = serde_json::from_value(json!({"cidr": "10.65.0.0/16"})).unwrap();
    typed.create(Stored::new("pool", pool)).await.unwrap();
    over(store)
}

/// A new run of the agent on a store.
pub(super) fn over(store: MemoryDatastore) -> Scene {
    let theirs = Arc::new(store.client());
    let notes = Notes::default();
    let ipam = Arc::new(Ipam::new(theirs.clone(), "node1".into()));
    let workloads = Workloads::new(
        "node1".into(),
        theirs.clone(),
        ipam.clone(),
        Arc::new(notes.clone()),
    );
    workloads.set_circumstances(Circumstances {
        datastore_in_sync: true,
        pools: vec![Pool {
            name: "pool".into(),
            cidr: "10.65.0.0/16".parse().unwrap(),
            encapsulation: crate::ways::encapsulation(None, None, &"10.65.0.0/16".parse().unwrap()),
            disable_bgp_export: false,
            disabled: false,
            unusable: None,
        }],
        ..Circumstances::default()
    });
    let surroundings = Surroundings {
        hears: true,
        convergence: Duration::from_secs(30),
        ..Surroundings::default()
    };
    workloads.set_surroundings(surroundings, Instant::now());
    Scene {
        workloads,
        store,
        theirs,
        notes,
        ipam,
    }
}

/// A run of the agent that has just begun: the watch has told nothing yet.
pub(super) fn just_begun(store: MemoryDatastore) -> Scene {
    let scene = over(store);
    scene.workloads.set_circumstances(Circumstances::default());
    scene
}

/// A WorkloadEndpoint of node1.
pub(super) fn endpoint(pod: &str, device: &str, address: &str) -> Stored<WorkloadEndpoint> {
    let spec: WorkloadEndpoint = serde_json::from_value(json!({
        "orchestrator": "k8s", "node": "node1", "pod": pod, "endpoint": "eth0", "containerID": format!("c-{pod}"),
        "interfaceName": device, "ipNetworks": [format!("{address}/32")], "mac": "02:00:00:00:00:07",
    }))
    .unwrap();
    let name = spec.name();
    Stored::new_in("default", name, spec)
}

/// What the loop does, and the reading beside it until nothing is left to read.
impl Workloads {
    pub(super) async fn told_of(&self, key: &Key) {
        self.handle_report(key, Some("node1"));
        self.read_what_is_asked_for().await;
    }

    pub(super) async fn told_unclearly_of(&self, key: &Key) {
        self.handle_report(key, None);
        self.read_what_is_asked_for().await;
    }

    pub(super) async fn told_gone(&self, key: &Key) {
        self.handle_deletion(key);
        self.read_what_is_asked_for().await;
    }

    pub(super) async fn reads_again(&self, now: Instant) {
        self.read_again(now);
        self.read_what_is_asked_for().await;
    }

    pub(super) async fn reads_everything(&self) {
        self.read_everything();
        self.read_what_is_asked_for().await;
    }
}

impl Scene {
    /// The workloads of another run, to which nothing was told yet.
    pub(super) fn fresh(&self) -> Workloads {
        Workloads::new(
            "node1".into(),
            self.theirs.clone(),
            self.ipam.clone(),
            Arc::new(self.notes.clone()),
        )
    }

    /// Stores it as it is, right or wrong, and returns its key.
    pub(super) fn put(&self, endpoint: &Stored<WorkloadEndpoint>) -> Key {
        self.store.put_unchecked(endpoint.clone().into_object());
        endpoint.key()
    }

    pub(super) async fn delete(&self, key: &Key) {
        self.store.delete(key, None).await.unwrap();
    }

    /// `InvalidResource: …`
    pub(super) fn conditions(&self) -> Vec<String> {
        let conditions = self.workloads.conditions();
        conditions
            .into_iter()
            .map(|condition| format!("{}: {}", condition.name, condition.message))
            .collect()
    }
}
