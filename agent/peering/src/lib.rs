//! From what the cluster says to the peers that a node has: pure, no I/O.
//!
//! ```text
//!   Node, BGPPeer, BGPConfiguration ──[View]──┬── identity_of ──► AS number, router id, cluster id, listen
//!                                             └── peers_of ─────► peers, and faults in words
//!   Node, BGPConfiguration ─────────────────────── reflection_of ─► whether clients hear of each other through us
//!   peers of before and now ────────────────────── Transition ───► what goes on until others take its place
//!   View, another View ─────────────────────────── forecast ─────► what a change does, session by session
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
mod forecast;
mod identity;
mod options;
mod password;
mod plan;
mod proposal;
mod reflection;
#[cfg(test)]
mod testing;
mod transition;

pub use export::export_policy;
pub use forecast::{Fate, Forecast, More, SessionForecast, forecast};
pub use identity::{Identity, identity_of};
pub use options::{ANNOTATION as SESSION_ANNOTATION, PeerOptions, Seconds, parsed};
pub use password::{NoPassword, password_of, session_options};
pub use plan::{PeerKind, PlannedPeer, SecretRef, change_words, peers_of};
pub use proposal::{
    CLIENTS_MAX, FLAT_NODES_MAX, MESH_NODES_MAX, PAIR_CLIENTS_MAX, Place, Proposal,
    ReflectorCluster, Wish, propose,
};
pub use reflection::{ANNOTATION as REFLECTION_ANNOTATION, Reflection, reflection_of};
pub use transition::{LINGER, Link, LinkState, PATIENCE, SETTLE, Transition};

use std::collections::BTreeMap;
use std::time::Duration;

use caracal_datastore::resources::{
    BGPConfiguration, BGPFilter, BGPPeer, IPPool, Node, Resource, Secret,
};
use caracal_datastore::{Kind, Object, Stored};

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

impl View {
    /// What these objects say; those of other kinds, Secrets too, have no part in it. What cannot be read is left out and told in
    /// words.
    pub fn of<'a>(objects: impl IntoIterator<Item = &'a Object>) -> (View, Vec<String>) {
        let mut view = View::default();
        let mut faults = Vec::new();
        for object in objects {
            let name = &object.key.name;
            let read = match object.key.kind {
                Kind::Node => take(&mut view.nodes, name, object),
                Kind::IPPool => take(&mut view.pools, name, object),
                Kind::BGPConfiguration => take(&mut view.configurations, name, object),
                Kind::BGPFilter => take(&mut view.filters, name, object),
                Kind::BGPPeer => match PeerOptions::of_annotation(&object.metadata) {
                    Ok(options) => {
                        view.options.insert(name.clone(), options);
                        take(&mut view.peers, name, object)
                    }
                    Err(why) => Err(format!("BGPPeer {name}: {why}")),
                },
                _ => Ok(()),
            };
            faults.extend(read.err());
        }
        (view, faults)
    }
}

fn take<R: Resource>(
    map: &mut BTreeMap<String, Stored<R>>,
    name: &str,
    object: &Object,
) -> Result<(), String> {
    let stored = Stored::from_object(object).map_err(|fault| fault.to_string())?;
    map.insert(name.to_owned(), stored);
    Ok(())
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
