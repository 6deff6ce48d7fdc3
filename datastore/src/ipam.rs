//! IPAM: which node owns which block, and who has which address.
//!
//! ```text
//!   assign ── own block with room? ──► handle + 1, then block          2 writes, out of memory
//!               │ no                                                   release: block, then handle - 1
//!               ├─► claim: affinity pending → block → affinity confirmed
//!               ├─► reclaim an empty block of another node, then claim
//!               └─► borrow from another node's block (unless strictAffinity)
//!   tend ──── finishes what a crash left, keeps a block with room ahead
//! ```
//!
//! Exactly Calico's kinds and order of writes (each write a compare-and-swap), so that other writers may
//! work on the same store at the same time. The arithmetic is in [`block`], names in [`names`], what an
//! inspector says in [`audit`] and [`usage`].
//!
//! *Invariant:* a confirmed affinity implies a block that says so, and no address has two owners.
//! *Invariant:* whatever a crash leaves, `tend` on some node finishes or undoes.

mod assign;
pub mod audit;
pub mod block;
mod cache;
mod claim;
pub mod collect;
mod handles;
pub mod names;
mod own;
mod pools;
mod release;
mod tend;
pub mod usage;
mod view;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::resources::{IPAMConfig, IPPool, IPReservation, Node};
use crate::store::{Datastore, StoreError, Stored, TypedStore};
use cache::Cache;
use view::View;

/// Address management for one node.
pub struct Ipam {
    store: TypedStore,
    node: String,
    clock: Clock,
    patience: Patience,
    cache: Cache,
    /// What a watch says, since [`Ipam::follow`].
    view: OnceLock<View>,
    /// Claims, and the repair of claims, happen one at a time.
    claiming: tokio::sync::Mutex<()>,
    /// One request a handle at a time.
    handles: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    upkeep: tokio::sync::Mutex<tend::Upkeep>,
    /// Pools that are treated as disabled on this node.
    avoided: Mutex<BTreeSet<String>>,
}

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// How often a compare-and-swap is tried again, as in Calico.
const TRIES: usize = 100;

/// How long a request may take, the wait for another request of the same handle included.
#[derive(Debug, Clone, Copy)]
struct Patience {
    assign: Duration,
    /// The CNI plugin waits 15 s for a DEL, and records it for later otherwise.
    release: Duration,
}

const PATIENCE: Patience = Patience {
    assign: Duration::from_secs(30),
    release: Duration::from_secs(12),
};

/// A wish for addresses.
#[derive(Debug, Clone, Default)]
pub struct AssignRequest {
    /// Handle ID: `k8s-pod-network.<containerID>`, `ipip-tunnel-addr-<node>`.
    pub handle: String,
    /// Attributes stored with the address: node, namespace, pod, timestamp; or node, type.
    pub attributes: BTreeMap<String, String>,
    /// One IPv4 address.
    pub ipv4: bool,
    /// One IPv6 address.
    pub ipv6: bool,
    /// IPv4 addresses only from these pools (names or CIDRs); from all that fit when empty.
    pub ipv4_pools: Vec<String>,
    /// The same for IPv6.
    pub ipv6_pools: Vec<String>,
    /// Exactly these addresses instead.
    pub addresses: Vec<IpAddr>,
    /// What for.
    pub purpose: Purpose,
}

/// `allowedUses` of a pool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Purpose {
    #[default]
    Workload,
    Tunnel,
}

/// An assigned address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assigned {
    /// The address.
    pub address: IpAddr,
    /// Its block.
    pub block: IpNet,
    /// Its pool's name.
    pub pool: String,
    /// The block is affine to another node or to none.
    pub borrowed: bool,
}

/// Why no address could be had.
#[derive(Debug, Clone, thiserror::Error)]
pub enum IpamError {
    /// No enabled pool fits; in words.
    #[error("no IP pool for {0}")]
    NoPool(String),
    /// All pools that fit are full or all blocks a node may have are.
    #[error("no free address: {0}")]
    Exhausted(String),
    /// The address asked for is taken, reserved or in no pool.
    #[error("address {address}: {why}")]
    NotAvailable {
        /// Which.
        address: IpAddr,
        /// Why.
        why: String,
    },
    /// The datastore.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Ipam {
    /// Address management of `node` on this store.
    pub fn new(store: Arc<dyn Datastore>, node: String) -> Ipam {
        Ipam::with_clock(store, node, Arc::new(SystemTime::now))
    }

    /// The same with a clock of one's own.
    pub fn with_clock(store: Arc<dyn Datastore>, node: String, clock: Clock) -> Ipam {
        Ipam {
            store: TypedStore(store),
            node,
            clock,
            patience: PATIENCE,
            cache: Cache::default(),
            view: OnceLock::new(),
            claiming: tokio::sync::Mutex::default(),
            handles: Mutex::default(),
            upkeep: tokio::sync::Mutex::default(),
            avoided: Mutex::default(),
        }
    }

    /// From now on these pools, by name, are treated as if they were disabled: nothing new comes from them on
    /// this node, and what they gave stays.
    pub fn avoid(&self, pools: BTreeSet<String>) {
        *self.avoided.lock().unwrap_or_else(PoisonError::into_inner) = pools;
    }

    /// From now on pools, reservations, rules and claims are followed by a watch instead of being read for each request.
    /// What others change reaches this node a moment later.
    pub async fn follow(&self) -> Result<(), IpamError> {
        let view = View::follow(&*self.store.0).await?;
        // A second call changes nothing.
        drop(self.view.set(view));
        Ok(())
    }

    /// What the watch of [`Ipam::follow`] cannot follow now, and what it has seen that makes no sense, one sentence each.
    /// What was known of it stays in force.
    pub fn unread_and_unreadable(&self) -> (Vec<String>, Vec<String>) {
        let view = self.view.get();
        view.map(View::unread_and_unreadable).unwrap_or_default()
    }

    /// As [`Ipam::tend`], and looks through every block and handle at once, which `tend` does only now and then.
    pub async fn tend_everything(&self) -> Result<(), IpamError> {
        self.upkeep.lock().await.audited = None;
        self.tend().await
    }

    /// Assigns. A repeated call with a handle that already has addresses of these families returns those.
    /// All or nothing: a half success is rolled back.
    pub async fn assign(&self, request: AssignRequest) -> Result<Vec<Assigned>, IpamError> {
        let assigned = async {
            let turn = self.turn(&request.handle);
            let _turn = turn.lock().await;
            self.assign_all(&request).await
        };
        in_time(
            &request.handle,
            "no address",
            self.patience.assign,
            assigned,
        )
        .await
    }

    /// Releases everything of a handle; no error when there is nothing. Returns what was released.
    pub async fn release_handle(&self, handle: &str) -> Result<Vec<IpAddr>, IpamError> {
        let released = async {
            let turn = self.turn(handle);
            let _turn = turn.lock().await;
            Ok(self.release_all(handle).await?)
        };
        in_time(handle, "not released", self.patience.release, released).await
    }

    /// Everything that a handle has.
    pub async fn addresses_of(&self, handle: &str) -> Result<Vec<IpAddr>, IpamError> {
        let found = async {
            let turn = self.turn(handle);
            let _turn = turn.lock().await;
            Ok(self.addresses_in_blocks(handle).await?)
        };
        in_time(handle, "no answer", self.patience.release, found).await
    }

    /// Gives up a node's claim on every block it has, as when the node was deleted. Blocks with addresses
    /// in use stay, affine to nobody. Returns the number of claims given up.
    pub async fn release_node(&self, node: &str) -> Result<usize, IpamError> {
        Ok(self.release_affinities_of(node).await?)
    }

    /// Handles that have addresses in blocks and were assigned for this node (attribute `node`).
    pub async fn handles_of_this_node(&self) -> Result<BTreeMap<String, Vec<IpAddr>>, IpamError> {
        let (blocks, _) = self.store.list::<crate::IPAMBlock>().await?;
        let mut handles: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
        for stored in blocks.iter().filter(|stored| !stored.spec.deleted) {
            for (address, attribute) in block::allocated(&stored.spec) {
                let ours = attribute.secondary.get("node") == Some(&self.node);
                if let (true, Some(handle)) = (ours, &attribute.handle_id) {
                    handles.entry(handle.clone()).or_default().push(address);
                }
            }
        }
        Ok(handles)
    }

    /// Keeps one confirmed block with free addresses ahead in each pool that serves this node, so that its
    /// announcement is out before the first pod needs it. Does nothing when there is one. Also finishes or
    /// undoes what a crash left: pending affinities, `pendingDeletion` affinities, handles that count more than the blocks hold.
    pub async fn tend(&self) -> Result<(), IpamError> {
        self.tend_all().await
    }

    fn now(&self) -> SystemTime {
        (self.clock)()
    }

    fn turn(&self, handle: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that nobody waits for are forgotten.
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(turns.entry(names::handle(handle)).or_default())
    }

    /// What a decision needs to know: from the watch, or read now.
    async fn rules(&self) -> Result<Rules, StoreError> {
        let mut rules = match self.rules_in_view() {
            Some(rules) => rules,
            None => self.read_rules().await?,
        };
        {
            let avoided = self.avoided.lock().unwrap_or_else(PoisonError::into_inner);
            for pool in &mut rules.pools {
                pool.spec.disabled |= avoided.contains(&pool.metadata.name);
            }
        }
        let selective = |pool: &Stored<IPPool>| pool.spec.node_selector != "all()";
        if rules.pools.iter().any(selective) {
            let node = self.store.get::<Node>(&self.node).await?;
            rules.labels = node
                .map(|stored| stored.metadata.labels)
                .unwrap_or_default();
        }
        Ok(rules)
    }

    fn rules_in_view(&self) -> Option<Rules> {
        let state = self.view.get()?.state()?;
        Some(Rules {
            config: state.config.clone(),
            pools: state.pools.values().cloned().collect(),
            complete: state.is_complete(),
            reserved: state.reserved(),
            labels: BTreeMap::new(),
        })
    }

    async fn read_rules(&self) -> Result<Rules, StoreError> {
        let config = self.store.get::<IPAMConfig>("default").await?;
        let (pools, unreadable) = self.store.list::<IPPool>().await?;
        let (reservations, _) = self.store.list::<IPReservation>().await?;
        let reserved = reservations
            .into_iter()
            .flat_map(|stored| stored.spec.reserved_cidrs);
        Ok(Rules {
            config: config.map(|stored| stored.spec).unwrap_or_default(),
            pools,
            complete: unreadable.is_empty(),
            reserved: reserved.collect(),
            labels: BTreeMap::new(),
        })
    }
}

/// What takes too long is given up with a sentence. Other requests have limits of their own.
async fn in_time<T>(
    handle: &str,
    without: &str,
    patience: Duration,
    asked: impl Future<Output = Result<T, IpamError>>,
) -> Result<T, IpamError> {
    match tokio::time::timeout(patience, Box::pin(asked)).await {
        Ok(answer) => answer,
        Err(_) => Err(IpamError::Store(StoreError::Unavailable {
            what: format!("for handle {handle}"),
            why: format!("{without} within {patience:?}"),
        })),
    }
}

/// What the cluster says about addresses at a moment.
struct Rules {
    config: IPAMConfig,
    pools: Vec<Stored<IPPool>>,
    /// Whether every pool could be read.
    complete: bool,
    /// Given only to who asks for them by name.
    reserved: Vec<IpNet>,
    /// Of this node; only read when a pool's selector asks for them.
    labels: BTreeMap<String, String>,
}

impl Rules {
    fn cooldown(&self) -> Duration {
        Duration::from_secs(self.config.ip_cooldown_seconds.unwrap_or(0).into())
    }
}

impl fmt::Debug for Ipam {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ipam")
            .field("node", &self.node)
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
