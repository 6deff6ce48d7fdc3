//! The collector on a store in memory: what it finds, what it leaves alone, and that no history makes it free what is
//! in use.

mod doubts;
mod guards;
mod histories;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use super::*;
use crate::ipam::audit::audit;
use crate::ipam::block::new as block_of;
use crate::ipam::{AssignRequest, Ipam, block, names};
use crate::memory::{Fault, MemoryDatastore};
use crate::resources::{
    AffinityState, BlockAffinity, Extra, IPAMBlock, IPAMHandle, IPPool, Node, WorkloadEndpoint,
};
use crate::store::{Datastore, Key, Kind, Object, Stored, TypedStore};

/// A cluster in memory, with a clock of its own.
struct Cluster {
    store: MemoryDatastore,
    seconds: Arc<AtomicU64>,
}

const GRACE: Settings = Settings {
    grace: Duration::from_secs(900),
    repairs_max: 256,
};

impl Cluster {
    async fn new(nodes: &[&str]) -> Cluster {
        let cluster = Cluster {
            store: MemoryDatastore::new(),
            seconds: Arc::new(AtomicU64::new(1_800_000_000)),
        };
        let mut pool = IPPool::new("10.0.0.0/24".parse().unwrap());
        pool.block_size = Some(29);
        cluster.create(Stored::new("p", pool)).await;
        for node in nodes {
            cluster.create(Stored::new(*node, Node::default())).await;
        }
        cluster
    }

    fn typed(&self) -> TypedStore {
        TypedStore(Arc::new(self.store.client()))
    }

    async fn create<R: crate::Resource>(&self, stored: Stored<R>) {
        self.typed().create(stored).await.unwrap();
    }

    fn clock(&self) -> super::super::Clock {
        let seconds = Arc::clone(&self.seconds);
        Arc::new(move || UNIX_EPOCH + Duration::from_secs(seconds.load(Ordering::Relaxed)))
    }

    fn ipam(&self, node: &str) -> Ipam {
        self.ipam_on(node, self.store.client())
    }

    fn ipam_on(&self, node: &str, store: impl Datastore + 'static) -> Ipam {
        Ipam::with_clock(Arc::new(store), node.to_owned(), self.clock())
    }

    fn now(&self) -> Duration {
        Duration::from_secs(self.seconds.load(Ordering::Relaxed))
    }

    fn pass(&self, seconds: u64) {
        self.seconds.fetch_add(seconds, Ordering::Relaxed);
    }

    /// As the CNI plugin asks for a pod.
    fn request(&self, node: &str, pod: &str, container: &str) -> AssignRequest {
        let now = crate::Timestamp::of(UNIX_EPOCH + self.now()).to_string();
        let said = [
            ("node", node),
            ("namespace", "default"),
            ("pod", pod),
            ("timestamp", &now),
        ];
        AssignRequest {
            handle: format!("net.{container}"),
            attributes: said
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            ipv4: true,
            ..AssignRequest::default()
        }
    }

    async fn assign(&self, node: &str, pod: &str, container: &str) -> IpAddr {
        let request = self.request(node, pod, container);
        self.ipam(node).assign(request).await.unwrap()[0].address
    }

    async fn record(&self, node: &str, pod: &str, container: &str, addresses: &[IpAddr]) {
        record(&self.store, node, pod, container, addresses)
            .await
            .unwrap();
    }

    async fn snapshot(&self) -> Snapshot {
        Snapshot::load(&self.store).await.unwrap()
    }

    /// A look, the grace time, and another look that acts.
    async fn collect(&self) -> Round {
        let mut collector = Collector::default();
        self.round(&mut collector).await;
        self.pass(901);
        self.round(&mut collector).await
    }

    async fn round(&self, collector: &mut Collector) -> Round {
        let snapshot = self.snapshot().await;
        self.round_with(&snapshot, collector).await
    }

    async fn round_with(&self, snapshot: &Snapshot, collector: &mut Collector) -> Round {
        let ipam = self.ipam("leader");
        ipam.collect(snapshot, collector, GRACE, self.now(), &|| true)
            .await
    }

    async fn allocated(&self) -> Vec<IpAddr> {
        let (blocks, _) = self.typed().list::<IPAMBlock>().await.unwrap();
        let all = blocks
            .iter()
            .flat_map(|stored| block::allocated(&stored.spec));
        all.map(|(address, _)| address).collect()
    }

    async fn findings(&self) -> Vec<Finding> {
        let store = self.typed();
        audit(
            &store.list().await.unwrap().0,
            &store.list().await.unwrap().0,
            &store.list().await.unwrap().0,
        )
    }
}

pub(in crate::ipam) async fn record(
    store: &dyn Datastore,
    node: &str,
    pod: &str,
    container: &str,
    addresses: &[IpAddr],
) -> Result<(), StoreError> {
    let spec = WorkloadEndpoint {
        orchestrator: "k8s".to_owned(),
        node: node.to_owned(),
        pod: pod.to_owned(),
        endpoint: "eth0".to_owned(),
        container_id: container.to_owned(),
        ip_networks: addresses.iter().copied().map(IpNet::from).collect(),
        ..WorkloadEndpoint::default()
    };
    let mut new = Stored::new_in("default", spec.name(), spec).into_object();
    let old = store.get(&new.key).await?;
    match old {
        None => store.create(new).await.map(drop),
        Some(old) => {
            new.revision = old.revision;
            store.update(new).await.map(drop)
        }
    }
}

pub(in crate::ipam) fn endpoint_key(node: &str, pod: &str) -> Key {
    let name = WorkloadEndpoint::name_for_pod(node, pod, "eth0");
    Key::in_namespace(Kind::WorkloadEndpoint, "default", name)
}

fn kinds(round: &Round) -> Vec<&'static str> {
    round.done.iter().map(|(repair, _)| repair.kind()).collect()
}

#[tokio::test]
async fn an_address_without_a_pod_is_freed_after_the_grace_time_and_not_before() {
    let cluster = Cluster::new(&["n"]).await;
    let used = cluster.assign("n", "a", "c1").await;
    cluster.record("n", "a", "c1", &[used]).await;
    let leaked = cluster.assign("n", "b", "c2").await;
    let mut collector = Collector::default();
    for look in 0..3 {
        let round = cluster.round(&mut collector).await;
        assert_eq!((round.done.len(), round.leaks), (0, look.min(1)));
        cluster.pass(299);
    }
    cluster.pass(3);
    let round = cluster.round(&mut collector).await;
    assert_eq!(kinds(&round), ["address"]);
    assert_eq!(round.done[0].1, "there is no pod default/b");
    assert_eq!(cluster.allocated().await, [used]);
    assert_ne!(leaked, used);
    assert_eq!(cluster.findings().await, []);
}

#[tokio::test]
async fn seen_once_is_not_enough_however_old_it_is() {
    let cluster = Cluster::new(&["n"]).await;
    cluster.assign("n", "b", "c2").await;
    cluster.pass(100_000);
    let round = cluster.round(&mut Collector::default()).await;
    assert_eq!((round.done.len(), round.waiting), (0, 1));
}

#[tokio::test]
async fn a_suspect_that_changed_between_two_looks_begins_anew() {
    let cluster = Cluster::new(&["n"]).await;
    let first = cluster.assign("n", "b", "c2").await;
    let mut collector = Collector::default();
    cluster.round(&mut collector).await;
    cluster.pass(1000);
    // The runtime asks once more for the same container: it has its address again, and the time is renewed.
    assert_eq!(cluster.assign("n", "b", "c2").await, first);
    assert_eq!(cluster.round(&mut collector).await.done, []);
    cluster.pass(1000);
    assert_eq!(kinds(&cluster.round(&mut collector).await), ["address"]);
}

#[tokio::test]
async fn a_pod_that_returns_under_its_name_keeps_what_is_its_and_loses_what_was() {
    let cluster = Cluster::new(&["n"]).await;
    let old = cluster.assign("n", "db-0", "c1").await;
    let new = cluster.assign("n", "db-0", "c2").await;
    cluster.record("n", "db-0", "c2", &[new]).await;
    let round = cluster.collect().await;
    assert_eq!(kinds(&round), ["address"]);
    assert!(round.done[0].1.contains("another container"), "{round:?}");
    assert_eq!(cluster.allocated().await, [new]);
    // The same address under the old handle, because somebody asked for it: the address counts.
    cluster.record("n", "db-0", "c9", &[new]).await;
    assert_eq!(cluster.collect().await.done, []);
    assert_ne!(old, new);
}

#[tokio::test]
async fn all_addresses_of_a_handle_are_used_or_none() {
    let cluster = Cluster::new(&["n"]).await;
    let six = IPPool::new("fd00::/112".parse().unwrap());
    cluster.create(Stored::new("six", six)).await;
    let mut request = cluster.request("n", "a", "c1");
    request.ipv6 = true;
    let both = cluster.ipam("n").assign(request).await.unwrap();
    assert_eq!(both.len(), 2);
    cluster.record("n", "a", "cX", &[both[0].address]).await;
    assert_eq!(cluster.collect().await.done, []);
    cluster.record("n", "a", "cX", &[]).await;
    assert_eq!(kinds(&cluster.collect().await), ["address", "address"]);
}

#[tokio::test]
async fn kinds_that_are_not_known_are_left_alone() {
    let cluster = Cluster::new(&["n"]).await;
    let ipam = cluster.ipam("n");
    let strange: [(&str, &[(&str, &str)]); 6] = [
        ("lb-0123", &[("service", "s"), ("namespace", "default")]),
        (
            "net.vm",
            &[
                ("node", "n"),
                ("namespace", "default"),
                ("pod", "x"),
                ("vmi", "m"),
            ],
        ),
        ("by-hand", &[]),
        ("net.c9", &[("node", "n")]),
        ("x", &[("node", "gone"), ("type", "somebodysAddress")]),
        (
            "net.half",
            &[
                ("node", "n"),
                ("pod", "x"),
                ("timestamp", "2020-01-01T00:00:00Z"),
            ],
        ),
    ];
    for (handle, said) in strange {
        let attributes = said
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let request = AssignRequest {
            handle: handle.to_owned(),
            attributes: attributes.collect(),
            ipv4: true,
            ..AssignRequest::default()
        };
        ipam.assign(request).await.unwrap();
    }
    let round = cluster.collect().await;
    assert_eq!(
        (round.done.len(), round.unknown, round.leaks),
        (0, 6, 0),
        "{round:?}"
    );
}

#[tokio::test]
async fn nothing_is_freed_when_the_workloads_cannot_all_be_read() {
    let cluster = Cluster::new(&["n"]).await;
    cluster.assign("n", "a", "c1").await;
    // One that does not say whose it is may be the one that uses it.
    let key = Key::in_namespace(Kind::WorkloadEndpoint, "default", "x");
    strange(&cluster, &key, serde_json::json!({"orchestrator": 7}));
    let round = cluster.collect().await;
    assert_eq!(round.done, []);
    assert!(round.held.unwrap().contains("orchestrator"));
    // It is unreadable only by the time of the fresh read: the look before saw nothing.
    cluster.store.delete(&key, None).await.unwrap();
    let mut collector = Collector::default();
    cluster.round(&mut collector).await;
    cluster.pass(1000);
    let snapshot = cluster.snapshot().await;
    let client = cluster.store.client();
    client.set_plan(|operation| match operation.kind {
        Kind::Node if operation.verb == crate::memory::Verb::Watch => {
            Fault::Before(MemoryDatastore::down())
        }
        _ => Fault::None,
    });
    let ipam = cluster.ipam_on("leader", client);
    let round = ipam
        .collect(&snapshot, &mut collector, GRACE, cluster.now(), &|| true)
        .await;
    assert_eq!(round.done, []);
    assert!(round.error.is_some());
    assert_eq!(cluster.allocated().await.len(), 1);
    // And a cluster without any Node is no cluster.
    cluster
        .store
        .delete(&Key::new(Kind::Node, "n"), None)
        .await
        .unwrap();
    let round = cluster.collect().await;
    assert!(round.done.is_empty() && round.held.is_some(), "{round:?}");
}

/// A Node that is there and makes no sense.
fn strange_node(cluster: &Cluster, node: &str) {
    let key = Key::new(Kind::Node, node);
    strange(cluster, &key, serde_json::json!({"bgp": 7}));
}

/// Something that is there and makes no sense.
fn strange(cluster: &Cluster, key: &Key, spec: serde_json::Value) {
    cluster.store.put_unchecked(Object {
        metadata: crate::Metadata {
            name: key.name.clone(),
            namespace: key.namespace.clone(),
            ..Default::default()
        },
        key: key.clone(),
        spec,
        revision: None,
    });
}

#[tokio::test]
async fn a_node_that_cannot_be_read_keeps_what_may_be_its_own_and_nothing_else() {
    let cluster = Cluster::new(&["n", "m"]).await;
    let kept = cluster.assign("n", "a", "c1").await;
    cluster.assign("m", "b", "c2").await;
    cluster.assign("gone", "c", "c3").await;
    strange_node(&cluster, "n");
    let round = cluster.collect().await;
    assert_eq!(round.held, None);
    assert_eq!(round.doubtful.len(), 1);
    assert_eq!(round.doubtful[0].whose, "node n");
    assert!(
        round.doubtful[0].why.contains("bgp"),
        "{:?}",
        round.doubtful
    );
    assert_eq!(kinds(&round), ["address", "address", "node"]);
    assert_eq!(cluster.allocated().await, [kept]);
    assert_eq!(cluster.findings().await, []);
    // It becomes unreadable only by the time of the fresh read.
    cluster
        .store
        .delete(&Key::new(Kind::Node, "n"), None)
        .await
        .unwrap();
    cluster.create(Stored::new("n", Node::default())).await;
    let mut collector = Collector::default();
    cluster.round(&mut collector).await;
    cluster.pass(1000);
    let snapshot = cluster.snapshot().await;
    strange_node(&cluster, "n");
    let round = cluster.round_with(&snapshot, &mut collector).await;
    assert_eq!((round.done.len(), round.spared), (0, 1));
    assert_eq!(cluster.allocated().await, [kept]);
    // When no Node at all can be read, nobody knows what is there.
    strange_node(&cluster, "m");
    assert!(cluster.snapshot().await.incomplete().is_some());
}

#[test]
fn a_fault_of_the_store_holds_one_node_when_it_names_that_and_everything_otherwise() {
    let node = Object {
        metadata: crate::Metadata {
            name: "n".to_owned(),
            ..Default::default()
        },
        key: Key::new(Kind::Node, "n"),
        spec: serde_json::json!({}),
        revision: None,
    };
    for (what, doubtful) in [
        ("Node m", Some("m")),
        ("nodes.yaml:3: Node m", Some("m")),
        (
            "Node m (etcd /calico/resources/v3/projectcalico.org/nodes/m)",
            Some("m"),
        ),
        ("nodes.yaml:3", None),
        ("Node ", None),
        // A name that does not say whose it is.
        ("WorkloadEndpoint default/m", None),
    ] {
        let mut snapshot = Snapshot::default();
        let fault = StoreError::Invalid {
            what: what.to_owned(),
            why: "makes no sense".to_owned(),
        };
        snapshot.handle(crate::WatchEvent::Set(node.clone()));
        snapshot.handle(crate::WatchEvent::Faults(vec![fault]));
        snapshot.handle(crate::WatchEvent::InSync);
        let found = snapshot.doubtful_nodes().next().map(|(node, _)| node);
        assert_eq!(found, doubtful, "{what}");
        assert_eq!(
            snapshot.incomplete().is_none(),
            doubtful.is_some(),
            "{what}"
        );
        assert_eq!(snapshot.users().has_node("m"), doubtful.is_some());
        assert_eq!(snapshot.unreadable().count(), 1);
        // It was put right.
        snapshot.handle(crate::WatchEvent::Faults(Vec::new()));
        assert_eq!(snapshot.incomplete(), None);
        assert!(!snapshot.users().has_node("m"));
    }
}

/// A store whose watches tell only of one node's workloads, as one might by mistake.
#[derive(Debug)]
struct Narrow(MemoryDatastore);

#[async_trait::async_trait]
impl Datastore for Narrow {
    async fn get(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        self.0.get(key).await
    }
    async fn list(&self, kind: Kind) -> Result<Vec<Object>, StoreError> {
        self.0.list(kind).await
    }
    async fn create(&self, object: Object) -> Result<Object, StoreError> {
        self.0.create(object).await
    }
    async fn update(&self, object: Object) -> Result<Object, StoreError> {
        self.0.update(object).await
    }
    async fn delete(
        &self,
        key: &Key,
        revision: Option<&crate::Revision>,
    ) -> Result<(), StoreError> {
        self.0.delete(key, revision).await
    }
    async fn watch(&self, kinds: &[Kind]) -> Result<crate::Watcher, StoreError> {
        let kinds: Vec<Kind> = kinds
            .iter()
            .copied()
            .filter(|kind| *kind != Kind::WorkloadEndpoint)
            .collect();
        self.0.watch(&kinds).await
    }
}

#[tokio::test]
async fn what_only_a_list_knows_of_is_in_use_too() {
    let cluster = Cluster::new(&["n"]).await;
    let address = cluster.assign("n", "a", "c1").await;
    cluster.record("n", "a", "c1", &[address]).await;
    let ipam = cluster.ipam_on("leader", Narrow(cluster.store.client()));
    let snapshot = Snapshot::load(&Narrow(cluster.store.client()))
        .await
        .unwrap();
    let mut collector = Collector::default();
    for _ in 0..3 {
        let now = cluster.now();
        let round = ipam
            .collect(&snapshot, &mut collector, GRACE, now, &|| true)
            .await;
        assert_eq!(round.done, []);
        cluster.pass(1000);
    }
    assert_eq!(cluster.allocated().await, [address]);
}

#[tokio::test]
async fn an_old_snapshot_frees_nothing_that_is_in_use_by_now() {
    let cluster = Cluster::new(&["n"]).await;
    let address = cluster.assign("n", "a", "c1").await;
    let mut collector = Collector::default();
    let old = cluster.snapshot().await;
    cluster.round_with(&old, &mut collector).await;
    cluster.pass(1000);
    cluster.record("n", "a", "c1", &[address]).await;
    let round = cluster.round_with(&old, &mut collector).await;
    assert_eq!((round.done.len(), round.spared), (0, 1));
    assert_eq!(cluster.allocated().await, [address]);
}

#[tokio::test]
async fn a_node_that_is_gone_gives_up_its_blocks_and_its_tunnels_addresses() {
    let cluster = Cluster::new(&["n", "dead"]).await;
    let used = cluster.assign("n", "a", "c1").await;
    cluster.record("n", "a", "c1", &[used]).await;
    let tunnel = AssignRequest {
        handle: "ipip-tunnel-addr-dead".to_owned(),
        attributes: [("node", "dead"), ("type", "ipipTunnelAddress")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        ipv4: true,
        ..AssignRequest::default()
    };
    cluster.ipam("dead").assign(tunnel).await.unwrap();
    // While its Node is there, and while there are workloads on it, it is a node.
    assert_eq!(cluster.collect().await.done, []);
    let key = Key::new(Kind::Node, "dead");
    cluster.store.delete(&key, None).await.unwrap();
    let pod = cluster.assign("dead", "b", "c2").await;
    cluster.record("dead", "b", "c2", &[pod]).await;
    assert_eq!(kinds(&cluster.collect().await), ["address"]);
    assert_eq!(cluster.findings().await, []);
    // Its last pod is gone.
    cluster
        .store
        .delete(&endpoint_key("dead", "b"), None)
        .await
        .unwrap();
    let round = cluster.collect().await;
    assert_eq!(kinds(&round), ["address", "node"]);
    assert_eq!(cluster.allocated().await, [used]);
    let (affinities, _) = cluster.typed().list::<BlockAffinity>().await.unwrap();
    assert!(affinities.iter().all(|stored| stored.spec.node == "n"));
    assert_eq!(cluster.findings().await, []);
}

#[tokio::test]
async fn handles_claims_and_blocks_that_do_not_fit_are_put_right() {
    let cluster = Cluster::new(&["n", "m"]).await;
    let used = cluster.assign("n", "a", "c1").await;
    cluster.record("n", "a", "c1", &[used]).await;
    let cidr = |text: &str| -> IpNet { text.parse().unwrap() };
    let handle = |id: &str, block: &str, count| IPAMHandle {
        handle_id: id.to_owned(),
        block: [(block.to_owned(), count)].into(),
        deleted: false,
        extra: Extra::new(),
    };
    // Counts what is in no block; and one that counts too little.
    cluster
        .create(Stored::new(
            "net.lost",
            handle("net.lost", "10.0.0.8/29", 2),
        ))
        .await;
    let typed = cluster.typed();
    let right = typed.get::<IPAMHandle>("net.c1").await.unwrap().unwrap();
    typed.delete(&right).await.unwrap();
    // A claim on another's block, and on none.
    let own = right.spec.block.keys().next().unwrap();
    for block in [own.as_str(), "10.0.0.248/29"] {
        let claim = BlockAffinity::new("m", cidr(block), AffinityState::Confirmed);
        let name = names::affinity("m", &cidr(block));
        cluster.create(Stored::new(name, claim)).await;
    }
    // A claim that stopped before its end, an empty block of nobody, one that no pool covers.
    let time = SystemTime::UNIX_EPOCH;
    for (block, node) in [
        ("10.0.0.240/29", Some("m")),
        ("10.0.0.232/29", None),
        ("10.9.0.0/29", Some("m")),
    ] {
        let range = cidr(block);
        let spec = block_of(range, node, time);
        cluster
            .create(Stored::new(names::block(&range), spec))
            .await;
    }
    for (block, state) in [
        ("10.0.0.240/29", AffinityState::Pending),
        ("10.9.0.0/29", AffinityState::Confirmed),
    ] {
        let claim = BlockAffinity::new("m", cidr(block), state);
        let name = names::affinity("m", &cidr(block));
        cluster.create(Stored::new(name, claim)).await;
    }
    let round = cluster.collect().await;
    assert_eq!(round.duplicates.len(), 1);
    let mut done = kinds(&round);
    done.sort_unstable();
    let expected = [
        "block", "block", "claim", "claim", "confirm", "handle", "handle",
    ];
    assert_eq!(done, expected, "{round:?}");
    assert_eq!(cluster.findings().await, []);
    assert_eq!(cluster.allocated().await, [used]);
    let after = cluster.collect().await;
    assert!(
        after.done.is_empty() && after.duplicates.is_empty(),
        "{after:?}"
    );
}

#[tokio::test]
async fn of_two_empty_blocks_a_node_keeps_one() {
    let cluster = Cluster::new(&["n"]).await;
    let ipam = cluster.ipam("n");
    let mut assigned = Vec::new();
    for index in 0..17 {
        let id = format!("c{index}");
        let request = cluster.request("n", &id, &id);
        assigned.extend(ipam.assign(request).await.unwrap());
    }
    for index in 0..17 {
        ipam.release_handle(&format!("net.c{index}")).await.unwrap();
    }
    let round = cluster.collect().await;
    assert_eq!(kinds(&round), ["block", "block"]);
    let (blocks, _) = cluster.typed().list::<IPAMBlock>().await.unwrap();
    assert_eq!(blocks.len(), 1);
    assert_eq!(cluster.findings().await, []);
    // The node goes on with what it has.
    assert_eq!(
        ipam.assign(cluster.request("n", "x", "x"))
            .await
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn a_round_has_a_limit_and_ends_when_leadership_does() {
    let cluster = Cluster::new(&["n"]).await;
    for index in 0..6 {
        cluster
            .assign("n", &format!("p{index}"), &format!("c{index}"))
            .await;
    }
    let settings = Settings {
        repairs_max: 4,
        ..GRACE
    };
    let ipam = cluster.ipam("leader");
    let mut collector = Collector::default();
    let go_on = || true;
    let snapshot = cluster.snapshot().await;
    ipam.collect(&snapshot, &mut collector, settings, cluster.now(), &go_on)
        .await;
    cluster.pass(901);
    let stop = || false;
    let round = ipam
        .collect(&snapshot, &mut collector, settings, cluster.now(), &stop)
        .await;
    assert_eq!((round.done.len(), round.left), (0, 2));
    let round = ipam
        .collect(&snapshot, &mut collector, settings, cluster.now(), &go_on)
        .await;
    assert_eq!((round.done.len(), round.left), (4, 2));
    let snapshot = cluster.snapshot().await;
    let round = ipam
        .collect(&snapshot, &mut collector, settings, cluster.now(), &go_on)
        .await;
    assert_eq!(round.done.len(), 2);
    assert_eq!(cluster.allocated().await, [] as [IpAddr; 0]);
}
