//! Random histories of nodes that add and remove pods, crash in between, lose and regain their Node resource, while a
//! collector works on snapshots of any age. After each operation: what a record says, IPAM says too.

use std::cell::{Cell, RefCell};
use std::sync::Mutex;

use async_trait::async_trait;
use proptest::prelude::*;

use super::*;
use crate::store::{Revision, Watcher};

/// Lets others go first, so and so often, before each operation.
#[derive(Debug)]
struct Slow {
    store: MemoryDatastore,
    dice: Arc<Mutex<u64>>,
}

impl Slow {
    async fn step(&self) {
        for _ in 0..roll(&self.dice, 4) {
            tokio::task::yield_now().await;
        }
    }
}

/// Below `sides`. A linear congruential generator is random enough for an order of events.
fn roll(dice: &Mutex<u64>, sides: u64) -> u64 {
    let mut state = dice.lock().unwrap();
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) % sides
}

#[async_trait]
impl Datastore for Slow {
    async fn get(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        self.step().await;
        self.store.get(key).await
    }
    async fn list(&self, kind: Kind) -> Result<Vec<Object>, StoreError> {
        self.step().await;
        self.store.list(kind).await
    }
    async fn create(&self, object: Object) -> Result<Object, StoreError> {
        self.step().await;
        self.store.create(object).await
    }
    async fn update(&self, object: Object) -> Result<Object, StoreError> {
        self.step().await;
        self.store.update(object).await
    }
    async fn delete(&self, key: &Key, revision: Option<&Revision>) -> Result<(), StoreError> {
        self.step().await;
        self.store.delete(key, revision).await
    }
    async fn watch(&self, kinds: &[Kind]) -> Result<Watcher, StoreError> {
        self.step().await;
        self.store.watch(kinds).await
    }
}

/// What is going on at once.
struct World {
    cluster: Cluster,
    dice: Arc<Mutex<u64>>,
    /// Requests in flight. None lasts as long as the grace time (kubelet's limit is minutes), so time stands meanwhile.
    adding: Cell<usize>,
    containers: Cell<usize>,
    collected: RefCell<Vec<&'static str>>,
}

const NODES: [&str; 2] = ["one", "two"];
const PODS: [&str; 3] = ["a", "b", "c"];

impl World {
    fn client(&self) -> Slow {
        Slow {
            store: self.cluster.store.client(),
            dice: Arc::clone(&self.dice),
        }
    }

    fn roll(&self, sides: u64) -> u64 {
        roll(&self.dice, sides)
    }

    /// Nothing here waits, so that it sees one moment.
    async fn check(&self, after: &str) {
        let store = self.cluster.typed();
        let (endpoints, _) = store.list::<WorkloadEndpoint>().await.unwrap();
        let (blocks, _) = store.list::<IPAMBlock>().await.unwrap();
        for endpoint in endpoints {
            let handle = format!("net.{}", endpoint.spec.container_id);
            for network in &endpoint.spec.ip_networks {
                let mut all = blocks.iter().flat_map(|one| block::allocated(&one.spec));
                let given = all.any(|(address, said)| {
                    address == network.addr() && said.handle_id.as_ref() == Some(&handle)
                });
                assert!(
                    given,
                    "after {after}: {network} of {handle} (pod {}) is not its any more",
                    endpoint.spec.pod
                );
            }
        }
    }

    async fn add(&self, ipam: &Ipam, store: &Slow, node: &str, pod: &str, container: &str) -> bool {
        self.adding.set(self.adding.get() + 1);
        let request = self.cluster.request(node, pod, container);
        let assigned = match self.roll(4) {
            0 => self.doomed(node).assign(request).await,
            _ => ipam.assign(request).await,
        };
        let done = match assigned {
            Ok(assigned) if self.roll(3) > 0 => {
                let addresses: Vec<IpAddr> = assigned.iter().map(|one| one.address).collect();
                record(store, node, pod, container, &addresses)
                    .await
                    .is_ok()
            }
            // The agent has crashed.
            _ => false,
        };
        self.adding.set(self.adding.get() - 1);
        done
    }

    /// An agent that crashes before or after one of its next writes.
    fn doomed(&self, node: &str) -> Ipam {
        let client = self.client();
        let (left, after) = (self.roll(4), self.roll(2) == 0);
        client.store.crash_at(left, after);
        self.cluster.ipam_on(node, client)
    }

    async fn node(&self, node: &str, steps: u64) {
        let store = self.client();
        let mut ipam = self.cluster.ipam_on(node, self.client());
        let mut half_done: Vec<(&str, String)> = Vec::new();
        for _ in 0..steps {
            let pod = PODS[self.roll(PODS.len() as u64) as usize];
            let what = match self.roll(10) {
                0..=3 => {
                    let number = self.containers.get();
                    self.containers.set(number + 1);
                    let container = format!("c{number}");
                    if !self.add(&ipam, &store, node, pod, &container).await {
                        half_done.push((pod, container));
                    }
                    "an ADD"
                }
                // The runtime tries the same container again, perhaps long after.
                4 | 5 if !half_done.is_empty() => {
                    let index = self.roll(half_done.len() as u64) as usize;
                    let (pod, container) = half_done.swap_remove(index);
                    self.add(&ipam, &store, node, pod, &container).await;
                    "a repeated ADD"
                }
                4..=6 => {
                    let key = endpoint_key(node, pod);
                    if let Ok(Some(old)) = store.get(&key).await
                        && store.delete(&key, old.revision.as_ref()).await.is_ok()
                        && self.roll(3) > 0
                        && let Some(container) = old.spec["containerID"].as_str()
                    {
                        ipam.release_handle(&format!("net.{container}"))
                            .await
                            .unwrap();
                    }
                    "a DEL"
                }
                7 => {
                    if self.adding.get() == 0 {
                        self.cluster.pass(self.roll(1500));
                    }
                    "some time"
                }
                8 => {
                    ipam.tend().await.unwrap();
                    "the node's upkeep"
                }
                _ => {
                    // The Node resource is lost, and the agent that starts anew makes it again.
                    let key = Key::new(Kind::Node, node);
                    match store.get(&key).await.unwrap() {
                        Some(_) => drop(store.delete(&key, None).await),
                        None => {
                            let new = Stored::new(node, Node::default());
                            drop(store.create(new.into_object()).await);
                            ipam = self.cluster.ipam_on(node, self.client());
                        }
                    }
                    "a change of Node resources"
                }
            };
            self.check(what).await;
        }
    }

    async fn collector(&self, rounds: u64) {
        let mut collector = Collector::default();
        let mut snapshots = vec![Snapshot::load(&self.client()).await.unwrap()];
        for _ in 0..rounds {
            let client = self.client();
            if self.roll(5) == 0 {
                // Its connection fails somewhere.
                let mut left = self.roll(12);
                client.store.set_plan(move |_| {
                    left = left.saturating_sub(1);
                    match left {
                        0 => Fault::Before(MemoryDatastore::down()),
                        _ => Fault::None,
                    }
                });
            }
            if self.roll(3) > 0 {
                snapshots.push(Snapshot::load(&self.client()).await.unwrap());
            }
            let snapshot = match self.roll(3) {
                0 => &snapshots[self.roll(snapshots.len() as u64) as usize],
                _ => snapshots.last().unwrap(),
            };
            let ipam = self.cluster.ipam_on("leader", client);
            let now = self.cluster.now();
            let round = ipam
                .collect(snapshot, &mut collector, GRACE, now, &|| true)
                .await;
            self.collected.borrow_mut().extend(kinds(&round));
            self.check(&format!("a collector's round: {:?}", round.done))
                .await;
            if self.adding.get() == 0 {
                self.cluster.pass(self.roll(1000));
            }
        }
    }
}

/// Returns what the collector did while others worked.
async fn play(seed: u64) -> Vec<&'static str> {
    let world = World {
        cluster: Cluster::new(&["one", "two", "leader"]).await,
        dice: Arc::new(Mutex::new(seed)),
        adding: Cell::default(),
        containers: Cell::default(),
        collected: RefCell::default(),
    };
    tokio::join!(
        world.node(NODES[0], 60),
        world.node(NODES[1], 60),
        world.collector(60)
    );
    // All is quiet: what is left is what the records say, and it is consistent.
    let cluster = &world.cluster;
    for node in NODES {
        let again = Stored::new(node, Node::default());
        drop(cluster.typed().create(again).await);
    }
    for _ in 0..3 {
        cluster.collect().await;
    }
    world.check("the end").await;
    let (endpoints, _) = cluster.typed().list::<WorkloadEndpoint>().await.unwrap();
    let networks = endpoints.iter().flat_map(|one| &one.spec.ip_networks);
    let mut used: Vec<IpAddr> = networks.map(IpNet::addr).collect();
    used.sort_unstable();
    let mut allocated = cluster.allocated().await;
    allocated.sort_unstable();
    assert_eq!(allocated, used, "seed {seed}: something leaked");
    assert_eq!(cluster.findings().await, [], "seed {seed}");
    world.collected.into_inner()
}

#[test]
fn the_histories_make_the_collector_work() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let done: Vec<&str> = (0..16)
        .flat_map(|seed| runtime.block_on(play(seed)))
        .collect();
    let freed = done.iter().filter(|kind| **kind == "address").count();
    assert!(freed > 16, "{freed} addresses were freed");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn no_history_frees_the_address_of_a_workload_that_has_a_record(seed in any::<u64>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(play(seed));
    }
}
