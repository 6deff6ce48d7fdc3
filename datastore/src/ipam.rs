//! IPAM: which node owns which block, and who has which address.
//!
//! Exactly Calico's kinds and order of writes (each write a compare-and-swap), so that other writers may
//! work on the same store at the same time.

pub mod block;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::store::{Datastore, StoreError};

/// Address management for one node.
#[derive(Debug)]
pub struct Ipam {}

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
    /// Only from these pools (names or CIDRs); all that fit when empty.
    pub pools: Vec<String>,
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
        todo!()
    }

    /// Assigns. A repeated call with a handle that already has addresses of these families returns those.
    /// All or nothing: a half success is rolled back.
    pub async fn assign(&self, request: AssignRequest) -> Result<Vec<Assigned>, IpamError> {
        todo!()
    }

    /// Releases everything of a handle; no error when there is nothing. Returns what was released.
    pub async fn release_handle(&self, handle: &str) -> Result<Vec<IpAddr>, IpamError> {
        todo!()
    }

    /// Handles that have addresses in blocks and were assigned for this node (attribute `node`).
    pub async fn handles_of_this_node(&self) -> Result<BTreeMap<String, Vec<IpAddr>>, IpamError> {
        todo!()
    }

    /// Keeps one confirmed block with free addresses ahead in each pool that serves this node, so that its
    /// announcement is out before the first pod needs it. Does nothing when there is one. Also finishes or
    /// undoes what a crash left: pending affinities, `pendingDeletion` affinities, handles that count more than the blocks hold.
    pub async fn tend(&self) -> Result<(), IpamError> {
        todo!()
    }
}
