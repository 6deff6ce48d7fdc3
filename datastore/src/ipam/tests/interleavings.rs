//! Two that want the same block at the same time: every order in which their operations can meet, with a crash of either
//! of them after any of its writes or without. The invariants are looked at after every operation.
//!
//! What can follow depends on what the store holds and on what each of the two has seen so far, and on nothing else. Orders
//! that lead to the same are walked on only once; how many orders there are is counted all the same.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use futures::FutureExt;
use tokio::sync::Semaphore;

use super::*;
use crate::store::{Object, Revision, Watcher};

/// Lets one operation on a block or an affinity through a permit. What else there is belongs to one of the two alone, or
/// does not change: its order does not matter.
#[derive(Debug)]
struct Stepped {
    store: MemoryDatastore,
    permits: Arc<Semaphore>,
    history: Arc<Mutex<History>>,
    versions: Arc<Mutex<BTreeMap<Key, usize>>>,
}

/// What an actor has seen.
#[derive(Debug, Default)]
struct History {
    seen: Vec<String>,
    wrote_last: bool,
}

impl Stepped {
    async fn step(&self, kind: Kind) {
        if matches!(kind, Kind::IPAMBlock | Kind::BlockAffinity) {
            self.permits.acquire().await.unwrap().forget();
        }
    }

    fn read(&self, what: String) {
        let mut history = self.history.lock().unwrap();
        history.seen.push(what);
        history.wrote_last = false;
    }

    fn wrote(&self, verb: &str, key: &Key, done: bool) {
        let mut versions = self.versions.lock().unwrap();
        let version = versions.entry(key.clone()).or_default();
        *version += usize::from(done);
        let mut history = self.history.lock().unwrap();
        history.seen.push(format!("{verb} {key} {version} {done}"));
        history.wrote_last = done;
    }

    fn version(&self, key: &Key) -> usize {
        let versions = self.versions.lock().unwrap();
        versions.get(key).copied().unwrap_or_default()
    }
}

#[async_trait]
impl Datastore for Stepped {
    async fn get(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        self.step(key.kind).await;
        self.read(format!("get {key} {}", self.version(key)));
        self.store.get(key).await
    }
    async fn list(&self, kind: Kind) -> Result<Vec<Object>, StoreError> {
        self.step(kind).await;
        let found = self.store.list(kind).await?;
        let versions = found
            .iter()
            .map(|one| format!("{} {}", one.key, self.version(&one.key)));
        self.read(format!("list {kind} {:?}", versions.collect::<Vec<_>>()));
        Ok(found)
    }
    async fn create(&self, object: Object) -> Result<Object, StoreError> {
        self.step(object.key.kind).await;
        let key = object.key.clone();
        let result = self.store.create(object).await;
        self.wrote("create", &key, result.is_ok());
        result
    }
    async fn update(&self, object: Object) -> Result<Object, StoreError> {
        self.step(object.key.kind).await;
        let (key, before) = (object.key.clone(), object.revision.clone());
        let result = self.store.update(object).await;
        let changed = result.as_ref().is_ok_and(|after| after.revision != before);
        self.wrote("update", &key, changed);
        result
    }
    async fn delete(&self, key: &Key, revision: Option<&Revision>) -> Result<(), StoreError> {
        self.step(key.kind).await;
        let result = self.store.delete(key, revision).await;
        self.wrote("delete", key, result.is_ok());
        result
    }
    async fn watch(&self, kinds: &[Kind]) -> Result<Watcher, StoreError> {
        self.store.watch(kinds).await
    }
}

/// What one of the two does, and whether it got what it wanted.
type Act = for<'a> fn(&'a Ipam) -> Pin<Box<dyn Future<Output = bool> + 'a>>;

/// One of the two.
struct Actor<'a> {
    act: Pin<Box<dyn Future<Output = bool> + 'a>>,
    permits: Arc<Semaphore>,
    history: Arc<Mutex<History>>,
    done: Option<bool>,
    crashed: bool,
}

impl Actor<'_> {
    /// Up to its next operation.
    fn poll(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        // Tokio would make a task pause that is polled so often.
        let mut act = tokio::task::unconstrained(self.act.as_mut());
        if let Poll::Ready(done) = act.poll_unpin(&mut context) {
            self.done = Some(done);
        }
    }

    fn is_over(&self) -> bool {
        self.done.is_some() || self.crashed
    }
}

/// What comes next.
#[derive(Debug, Clone, Copy)]
enum Step {
    Run(usize),
    Crash(usize),
}

/// A point at which several things can come next.
#[derive(Debug)]
struct Fork {
    state: u64,
    steps: Vec<Step>,
    taken: usize,
    orders: Orders,
}

/// How many orders there are, without and with a crash.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Orders {
    whole: u64,
    crashed: u64,
}

impl Orders {
    fn add(&mut self, other: Orders) {
        self.whole += other.whole;
        self.crashed += other.crashed;
    }
}

/// The walk through all orders, depth first: each run repeats the forks of the last one but for one turn.
#[derive(Default)]
struct Walk {
    forks: Vec<Fork>,
    at: usize,
    total: Orders,
    known: HashMap<u64, Orders>,
    between: HashSet<u64>,
    at_the_end: HashSet<u64>,
    outcomes: BTreeSet<[Option<bool>; 2]>,
}

impl Walk {
    /// What comes next; or how many orders there are from here on, when that is known.
    fn choose(&mut self, state: u64, steps: Vec<Step>) -> Result<Step, Orders> {
        if self.at == self.forks.len() {
            if let Some(orders) = self.known.get(&state) {
                return Err(*orders);
            }
            self.forks.push(Fork {
                state,
                steps,
                taken: 0,
                orders: Orders::default(),
            });
        }
        let fork = &self.forks[self.at];
        self.at += 1;
        Ok(fork.steps[fork.taken])
    }

    /// A run has ended, with so many orders behind its last turn. False when all have been seen.
    fn advance(&mut self, mut orders: Orders) -> bool {
        self.at = 0;
        while let Some(fork) = self.forks.last_mut() {
            fork.orders.add(orders);
            fork.taken += 1;
            if fork.taken < fork.steps.len() {
                return true;
            }
            orders = fork.orders;
            self.known.insert(fork.state, orders);
            self.forks.pop();
        }
        self.total = orders;
        false
    }
}

/// A race: what there is at its begin, and who does what.
struct Race {
    begin: fn(&Cluster),
    nodes: [&'static str; 2],
    acts: [Act; 2],
}

impl Race {
    async fn run(&self) -> Walk {
        let mut walk = Walk::default();
        loop {
            let orders = self.play(&mut walk).await;
            if !walk.advance(orders) {
                return walk;
            }
        }
    }

    /// One order.
    async fn play(&self, walk: &mut Walk) -> Orders {
        let cluster = Cluster::new(&[("p", "10.0.0.0/32", 32)]).await;
        (self.begin)(&cluster);
        let versions = Arc::default();
        let permits = [0, 1].map(|_| Arc::new(Semaphore::new(0)));
        let histories: [Arc<Mutex<History>>; 2] = Default::default();
        let ipams = [0, 1].map(|index| {
            let store = Stepped {
                store: cluster.store.client(),
                permits: Arc::clone(&permits[index]),
                history: Arc::clone(&histories[index]),
                versions: Arc::clone(&versions),
            };
            cluster.ipam_on(self.nodes[index], store)
        });
        let mut actors = [0, 1].map(|index| Actor {
            act: (self.acts[index])(&ipams[index]),
            permits: Arc::clone(&permits[index]),
            history: Arc::clone(&histories[index]),
            done: None,
            crashed: false,
        });
        actors.iter_mut().for_each(Actor::poll);
        loop {
            let steps = possible(&actors);
            let step = match steps.as_slice() {
                [] => break,
                [only] => *only,
                _ => match walk.choose(state(&cluster, &actors), steps) {
                    Ok(step) => step,
                    Err(orders) => return orders,
                },
            };
            match step {
                Step::Run(index) => {
                    actors[index].permits.add_permits(1);
                    actors[index].poll();
                }
                Step::Crash(index) => actors[index].crashed = true,
            }
            if walk.between.insert(hash(content(&cluster))) {
                let broken = broken(&cluster);
                assert!(broken.is_empty(), "{:?}: {broken:?}", walk.forks);
            }
        }
        walk.outcomes.insert([actors[0].done, actors[1].done]);
        let crashed = actors.iter().any(|actor| actor.crashed);
        if walk.at_the_end.insert(hash((crashed, content(&cluster)))) {
            if crashed {
                recover(&cluster, self.nodes).await;
            }
            assert_eq!(cluster.findings().await, [], "{:?}", walk.forks);
        }
        Orders {
            whole: (!crashed).into(),
            crashed: crashed.into(),
        }
    }
}

/// At most one of the two crashes, after one of its writes.
fn possible(actors: &[Actor<'_>; 2]) -> Vec<Step> {
    let living = || (0..2).filter(|index| !actors[*index].is_over());
    let mut steps: Vec<Step> = living().map(Step::Run).collect();
    if !actors.iter().any(|actor| actor.crashed) {
        let wrote = |index: &usize| actors[*index].history.lock().unwrap().wrote_last;
        steps.extend(living().filter(wrote).map(Step::Crash));
    }
    steps
}

fn hash(of: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// What follows depends on this alone.
fn state(cluster: &Cluster, actors: &[Actor<'_>; 2]) -> u64 {
    let of = |actor: &Actor<'_>| (hash(&actor.history.lock().unwrap().seen), actor.crashed);
    hash((content(cluster), of(&actors[0]), of(&actors[1])))
}

fn content(cluster: &Cluster) -> String {
    let store = cluster.store.client();
    let mut text = String::new();
    for kind in [Kind::IPAMBlock, Kind::BlockAffinity, Kind::IPAMHandle] {
        for object in store.list(kind).now_or_never().unwrap().unwrap() {
            text.push_str(&format!("{} {}", object.key, object.spec));
        }
    }
    text
}

/// Whoever crashed comes again; what may have been a write under way has its grace.
async fn recover(cluster: &Cluster, nodes: [&str; 2]) {
    for node in nodes {
        let ipam = cluster.ipam(node);
        ipam.tend().await.unwrap();
        cluster.pass(61);
        ipam.tend().await.unwrap();
    }
}

/// What must never be, not even between two operations.
fn broken(cluster: &Cluster) -> Vec<Finding> {
    let mut findings = cluster.findings().now_or_never().unwrap();
    findings.retain(|finding| {
        !matches!(
            finding,
            Finding::HandleCount { .. } | Finding::BlockWithoutAffinity { .. }
        )
    });
    findings
}

const BLOCK: &str = "10.0.0.0/32";

/// The block of node `one`, empty or not, claimed long ago, and its affinity in some state.
fn owned(cluster: &Cluster, state: AffinityState, used: bool) {
    let cidr = net(BLOCK);
    let affinity = BlockAffinity::new("one", cidr, state);
    put(cluster, names::affinity("one", &cidr), affinity);
    block_of(cluster, Some("one"), used.then_some("old"));
}

fn block_of(cluster: &Cluster, node: Option<&str>, handle: Option<&str>) {
    let cidr = net(BLOCK);
    let mut block = block::new(cidr, node, UNIX_EPOCH);
    if let Some(handle) = handle {
        let attribute = crate::resources::Attribute {
            handle_id: Some(handle.to_owned()),
            ..Default::default()
        };
        block::assign_next(&mut block, attribute).unwrap();
        let handle = IPAMHandle {
            handle_id: handle.to_owned(),
            block: BTreeMap::from([(BLOCK.to_owned(), 1)]),
            ..IPAMHandle::default()
        };
        put(cluster, handle.handle_id.clone(), handle);
    }
    put(cluster, names::block(&cidr), block);
}

fn put<R: crate::Resource>(cluster: &Cluster, name: String, spec: R) {
    let object = Stored::new(name, spec).into_object();
    cluster.store.put_unchecked(object);
}

fn claim(ipam: &Ipam) -> Pin<Box<dyn Future<Output = bool> + '_>> {
    Box::pin(async { ipam.claim(net(BLOCK)).await.unwrap().is_some() })
}

fn reclaim(ipam: &Ipam) -> Pin<Box<dyn Future<Output = bool> + '_>> {
    Box::pin(async {
        let rules = ipam.rules().await.unwrap();
        let pools: Vec<&Stored<IPPool>> = rules.pools.iter().collect();
        ipam.reclaim(&pools, &rules).await.unwrap().is_some()
    })
}

/// As when node `one` was deleted.
fn release_affinity(ipam: &Ipam) -> Pin<Box<dyn Future<Output = bool> + '_>> {
    Box::pin(async {
        let released = ipam.release_affinity("one", net(BLOCK));
        released.await.is_ok()
    })
}

fn assign(ipam: &Ipam) -> Pin<Box<dyn Future<Output = bool> + '_>> {
    Box::pin(async { ipam.assign(request("new", &ipam.node)).await.is_ok() })
}

fn release(ipam: &Ipam) -> Pin<Box<dyn Future<Output = bool> + '_>> {
    Box::pin(async { !ipam.release_handle("old").await.unwrap().is_empty() })
}

/// Runs every order; `orders` without a crash and with one, and which outcomes there are without one: what the first
/// of the two says, then the second.
async fn in_every_order(
    begin: fn(&Cluster),
    nodes: [&'static str; 2],
    acts: [Act; 2],
    orders: (u64, u64),
    outcomes: &[[bool; 2]],
) {
    let walk = Race { begin, nodes, acts }.run().await;
    assert_eq!((walk.total.whole, walk.total.crashed), orders);
    let seen: Vec<[bool; 2]> = walk
        .outcomes
        .iter()
        .filter_map(|[one, two]| Some([(*one)?, (*two)?]))
        .collect();
    assert_eq!(seen, outcomes);
}

/// One of them: the first or the second.
const EITHER: [[bool; 2]; 2] = [[false, true], [true, false]];

fn nothing(_: &Cluster) {}

fn confirmed(cluster: &Cluster) {
    owned(cluster, AffinityState::Confirmed, false);
}

fn pending(cluster: &Cluster) {
    owned(cluster, AffinityState::Pending, false);
}

fn pending_deletion(cluster: &Cluster) {
    owned(cluster, AffinityState::PendingDeletion, false);
}

#[tokio::test]
async fn two_claims_on_one_block_have_one_winner() {
    in_every_order(nothing, ["one", "two"], [claim, claim], (90, 160), &EITHER).await;
    // Two processes of one node, as when an agent is replaced.
    let both = [[true, true]];
    in_every_order(nothing, ["one", "one"], [claim, claim], (124, 262), &both).await;
}

// A claim that has ended before the other began is no hindrance to it: then both have got the block, in turn.
const ONE_OR_IN_TURN: [[bool; 2]; 3] = [[false, true], [true, false], [true, true]];

#[tokio::test]
async fn an_owner_that_claims_its_block_again_and_a_reclaimer_never_both_have_it() {
    let (nodes, acts): ([&str; 2], [Act; 2]) = (["one", "two"], [claim, reclaim]);
    in_every_order(confirmed, nodes, acts, (49829, 76099), &ONE_OR_IN_TURN).await;
}

#[tokio::test]
async fn a_claim_that_is_finished_and_a_reclaimer_never_both_have_the_block() {
    let (nodes, acts): ([&str; 2], [Act; 2]) = (["one", "two"], [claim, reclaim]);
    in_every_order(pending, nodes, acts, (83528, 150084), &ONE_OR_IN_TURN).await;
}

#[tokio::test]
async fn a_claim_on_a_block_that_is_being_removed_and_a_reclaimer_never_both_have_it() {
    let (nodes, acts): ([&str; 2], [Act; 2]) = (["one", "two"], [claim, reclaim]);
    in_every_order(
        pending_deletion,
        nodes,
        acts,
        (127865, 229936),
        &ONE_OR_IN_TURN,
    )
    .await;
}

#[tokio::test]
async fn two_reclaimers_of_one_block_have_one_winner() {
    let (nodes, acts): ([&str; 2], [Act; 2]) = (["two", "three"], [reclaim, reclaim]);
    in_every_order(confirmed, nodes, acts, (187442, 341704), &EITHER).await;
}

#[tokio::test]
async fn a_claim_and_the_release_of_its_node_leave_all_or_nothing() {
    let (nodes, acts): ([&str; 2], [Act; 2]) = (["one", "two"], [claim, release_affinity]);
    let both = [[true, true]];
    in_every_order(nothing, nodes, acts, (3188, 6159), &both).await;
    in_every_order(confirmed, nodes, acts, (267, 763), &both).await;
    in_every_order(pending, nodes, acts, (11692, 22648), &both).await;
    in_every_order(pending_deletion, nodes, acts, (13838, 26801), &both).await;
    // A block in use belongs to nobody afterwards, and then it cannot be claimed.
    let used: fn(&Cluster) = |cluster| owned(cluster, AffinityState::PendingDeletion, true);
    let lost = [[false, true], [true, true]];
    in_every_order(used, nodes, acts, (14472, 19492), &lost).await;
}

#[tokio::test]
async fn a_reclaimer_and_the_release_of_the_owner_leave_all_or_nothing() {
    let (nodes, acts): ([&str; 2], [Act; 2]) = (["two", "three"], [reclaim, release_affinity]);
    let either = [[false, true], [true, true]];
    in_every_order(confirmed, nodes, acts, (8116, 15256), &either).await;
}

#[tokio::test]
async fn an_owner_that_gives_an_address_and_a_reclaimer_never_both_have_the_block() {
    let (nodes, acts): ([&str; 2], [Act; 2]) = (["one", "two"], [assign, reclaim]);
    in_every_order(confirmed, nodes, acts, (41432, 99366), &ONE_OR_IN_TURN).await;
}

#[tokio::test]
async fn an_address_is_given_or_not_while_its_nodes_claims_are_released() {
    let (nodes, acts): ([&str; 2], [Act; 2]) = (["one", "two"], [assign, release_affinity]);
    let either = [[false, true], [true, true]];
    in_every_order(confirmed, nodes, acts, (150, 582), &either).await;
}

#[tokio::test]
async fn the_only_address_is_given_once_and_again_after_its_release() {
    let nodes = ["one", "two"];
    let used: fn(&Cluster) = |cluster| owned(cluster, AffinityState::Confirmed, true);
    let late = [[false, true], [true, true]];
    in_every_order(used, nodes, [assign, release], (56, 35), &late).await;
    // The last address of a block of nobody takes the block with it.
    let nobodys: fn(&Cluster) = |cluster| block_of(cluster, None, Some("old"));
    in_every_order(nobodys, nodes, [assign, release], (35, 12), &late).await;
}
