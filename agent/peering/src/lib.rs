//! From what the cluster says to the peers that a node has: pure, no I/O.
//!
//! ```text
//!   Node, BGPPeer, BGPConfiguration ──[View]──┬── identity_of ──► AS number, router id, cluster id, listen
//!                                             └── peers_of ─────► peers, and faults in words
//!   Node, BGPConfiguration ─────────────────────── reflection_of ─► whether clients hear of each other through us
//!   peers of before and now ────────────────────── Transition ───► what goes on until others take its place
//!   Secret ────────────────────────────────────── password_of ───► what a session is signed with
//!   IPPool ───────────────────────────────────── export_policy ─► what a peer may get
//! ```
//!
//! Meaning and defaults are Calico's (BGPPeer and BGPConfiguration of `projectcalico.org/v3`), so that the
//! other side of a session, which may be Calico, comes to the same conclusions. The result depends on the view
//! alone. Agent and route reflector both use it. `caracal-bgp-net` is here for the types of its session options.

mod export;
mod facts;
mod filter;
mod identity;
mod options;
mod password;
mod plan;
mod reflection;
#[cfg(test)]
mod testing;
mod transition;

pub use export::export_policy;
pub use identity::{Identity, identity_of};
pub use options::{ANNOTATION as SESSION_ANNOTATION, PeerOptions, Seconds, parsed};
pub use password::{NoPassword, password_of, session_options};
pub use plan::{PeerKind, PlannedPeer, SecretRef, peers_of};
pub use reflection::{ANNOTATION as REFLECTION_ANNOTATION, Reflection, reflection_of};
pub use transition::{LINGER, Link, LinkState, PATIENCE, SETTLE, Transition};

use std::collections::BTreeMap;
use std::time::Duration;

use caracal_datastore::Stored;
use caracal_datastore::resources::{BGPConfiguration, BGPFilter, BGPPeer, IPPool, Node, Secret};

/// The part of the cluster that decides about BGP. Keys are resource names.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct View {
    /// All nodes.
    pub nodes: BTreeMap<String, Stored<Node>>,
    /// All BGPPeers.
    pub peers: BTreeMap<String, Stored<BGPPeer>>,
    /// What the annotations of BGPPeers say, of those that were looked at when they came: they need not be looked at again.
    pub options: BTreeMap<String, PeerOptions>,
    /// All BGPFilters.
    pub filters: BTreeMap<String, Stored<BGPFilter>>,
    /// `default` and `node.<name>`.
    pub configurations: BTreeMap<String, Stored<BGPConfiguration>>,
    /// All pools.
    pub pools: BTreeMap<String, Stored<IPPool>>,
    /// All Secrets that passwords may be in, by namespace and name.
    pub secrets: BTreeMap<(String, String), Stored<Secret>>,
}

/// What holds where the cluster says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defaults {
    /// AS number of the cluster.
    pub asn: u32,
    /// Proposed hold time. A BGPPeer's `keepaliveTime` changes it to three times that.
    pub hold_time: Duration,
    /// ConnectRetryTimer.
    pub connect_retry: Duration,
    /// Restart Time of graceful restart.
    pub restart_time: Duration,
    /// Where a node listens.
    pub listen_port: u16,
    /// For the sessions of the node-to-node mesh.
    pub mesh_options: PeerOptions,
}

impl Default for Defaults {
    /// Calico's, where Calico has one that is not BIRD's: a hold time of 240 s finds a dead node too late.
    fn default() -> Defaults {
        Defaults {
            asn: 64512,
            hold_time: Duration::from_secs(90),
            connect_retry: Duration::from_secs(5),
            restart_time: Duration::from_secs(120),
            listen_port: 179,
            mesh_options: PeerOptions::default(),
        }
    }
}
