//! What the reflector shall be and whom it shall speak with: pure, from file or cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use caracal_bgp::PeerConfig;
use caracal_bgp::wire::Family;
use caracal_bgp_net::SessionOptions;
use caracal_peering::{
    Defaults, Link, View, identity_of, peers_of, reflection_of, session_options,
};
use ipnet::IpNet;

use crate::config::{DynamicEntry, FromDatastore, Standalone, Terms};
use crate::sessions::Sessions;

/// The whole of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Desired {
    pub(crate) own: Own,
    pub(crate) peers: BTreeMap<IpAddr, DesiredPeer>,
    pub(crate) dynamic: Vec<DynamicEntry>,
    /// How connections are signed, and from how far they may come. Most need nothing.
    pub(crate) sessions: Sessions,
    /// How a dynamic peer is configured, but for its address and AS number.
    pub(crate) families: Vec<Family>,
    pub(crate) hold_time: Duration,
    /// Peers that are asked for and cannot be had.
    pub(crate) refused: BTreeSet<IpAddr>,
    /// What could not be followed, in words.
    pub(crate) faults: Vec<String>,
}

/// Who it is. Of this a running speaker can change how it reflects, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Own {
    /// The node's name, or the router id.
    pub(crate) name: String,
    pub(crate) asn: u32,
    pub(crate) router_id: Ipv4Addr,
    pub(crate) cluster_id: Option<Ipv4Addr>,
    /// Clients hear of one another through us.
    pub(crate) client_to_client: bool,
    pub(crate) listen: Vec<SocketAddr>,
}

/// A configured peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DesiredPeer {
    pub(crate) config: PeerConfig,
    /// For `caracalctl node status`.
    pub(crate) kind: String,
    /// The node of the cluster at the other end.
    pub(crate) node: Option<String>,
    /// It goes on until others take its place.
    pub(crate) leaving: bool,
}

impl Desired {
    /// As the file says.
    pub(crate) fn from_file(file: &Standalone, hold_time: Duration) -> Desired {
        let own = file.own();
        let peers = file.peers.iter().map(|entry| {
            let mut config = config(entry.address, &entry.terms, &own, &file.families, hold_time);
            config.remote_port = entry.port;
            let kind = if entry.terms.client { "client" } else { "peer" };
            (
                entry.address,
                DesiredPeer {
                    config,
                    kind: kind.to_owned(),
                    node: None,
                    leaving: false,
                },
            )
        });
        let signed = file
            .peers
            .iter()
            .map(|entry| (entry.address.into(), entry.terms.session_options()));
        let dynamic = file
            .dynamic_peers
            .iter()
            .map(|entry| (entry.prefix, entry.terms.session_options()));
        let needs_some =
            |(_, options): &(IpNet, SessionOptions)| *options != SessionOptions::default();
        Desired {
            sessions: signed.chain(dynamic).filter(needs_some).collect(),
            peers: peers.collect(),
            own,
            dynamic: file.dynamic_peers.clone(),
            families: file.families.clone(),
            hold_time,
            refused: BTreeSet::new(),
            faults: Vec::new(),
        }
    }

    /// As the cluster says. `Err`: this node has no place in it (yet), and why.
    pub(crate) fn from_view(
        node: &FromDatastore,
        view: &View,
        hold_time: Duration,
    ) -> Result<Desired, String> {
        let defaults = Defaults {
            hold_time,
            ..Defaults::default()
        };
        let identity = identity_of(&node.nodename, view, &defaults, node.router_id.as_deref())?;
        let (planned, mut faults) = peers_of(&node.nodename, view, &defaults);
        if identity.cluster_id.is_none() {
            faults.push(format!(
                "node {} has no spec.bgp.routeReflectorClusterID, so it is no route reflector and has no clients",
                node.nodename
            ));
        }
        let mut peers = BTreeMap::new();
        let mut sessions = Sessions::new();
        let mut refused = BTreeSet::new();
        let reflection = reflection_of(&node.nodename, view, &mut faults);
        for peer in planned {
            match session_options(view, &peer) {
                Ok(options) if options == SessionOptions::default() => {}
                Ok(options) => {
                    sessions.insert(peer.config.remote_address.into(), options);
                }
                Err(why) => {
                    faults.push(format!("peer {} is left out: {why}", peer.config.name));
                    refused.insert(peer.config.remote_address);
                    continue;
                }
            }
            peers.insert(
                peer.config.remote_address,
                DesiredPeer {
                    kind: peer.kind.to_string(),
                    config: peer.config,
                    node: peer.node,
                    leaving: false,
                },
            );
        }
        let own = Own {
            name: node.nodename.clone(),
            asn: identity.asn,
            router_id: identity.router_id,
            cluster_id: identity.cluster_id,
            client_to_client: reflection.client_to_client,
            listen: if node.listen.is_empty() {
                identity.listen
            } else {
                node.listen.clone()
            },
        };
        Ok(Desired {
            own,
            peers,
            sessions,
            dynamic: Vec::new(),
            families: Vec::new(),
            hold_time,
            refused,
            faults,
        })
    }

    /// What goes on of `last` beside this.
    pub(crate) fn keep(&mut self, last: &Desired, kept: &BTreeSet<IpAddr>) {
        for address in kept {
            let Some(peer) = last.peers.get(address) else {
                continue;
            };
            let kind = peer.kind.trim_end_matches(", leaving");
            let peer = DesiredPeer {
                kind: format!("{kind}, leaving"),
                leaving: true,
                ..peer.clone()
            };
            self.peers.insert(*address, peer);
            let session = IpNet::from(*address);
            if let Some(options) = last.sessions.get(&session) {
                self.sessions.insert(session, options.clone());
            }
        }
    }

    /// What matters of the sessions while others take their place.
    pub(crate) fn links(&self) -> BTreeMap<IpAddr, Link> {
        let peers = self.peers.iter();
        peers
            .map(|(address, peer)| (*address, Link::of(&peer.config, peer.node.clone())))
            .collect()
    }

    /// Goes without these peers, because they cannot have the session options that they need.
    pub(crate) fn leave_out(&mut self, peers: IpNet, why: &dyn std::error::Error) {
        self.sessions.remove(&peers);
        self.peers
            .retain(|address, _| IpNet::from(*address) != peers);
        self.dynamic.retain(|entry| entry.prefix != peers);
        self.faults.push(format!("{peers} is left out: {why}"));
    }

    /// The configuration of whoever connects from `address`, if a prefix says that it may. The longest decides.
    pub(crate) fn dynamic_peer(&self, address: IpAddr) -> Option<PeerConfig> {
        let entries = self
            .dynamic
            .iter()
            .filter(|entry| entry.prefix.contains(&address));
        let entry = entries.max_by_key(|entry| entry.prefix.prefix_len())?;
        let (families, hold_time) = (&self.families, self.hold_time);
        let mut config = config(address, &entry.terms, &self.own, families, hold_time);
        config.passive = true;
        Some(config)
    }
}

impl Standalone {
    /// Who it is.
    pub(crate) fn own(&self) -> Own {
        Own {
            name: self.router_id.to_string(),
            asn: self.asn,
            router_id: self.router_id,
            cluster_id: self.cluster_id,
            client_to_client: self.client_to_client,
            listen: self.listen.clone(),
        }
    }

    /// Becomes `new` in everything else.
    pub(crate) fn take_peers_of(&mut self, new: Standalone) {
        self.families = new.families;
        self.cluster_id = new.cluster_id;
        self.client_to_client = new.client_to_client;
        self.peers = new.peers;
        self.dynamic_peers = new.dynamic_peers;
    }
}

/// A peer of a file.
fn config(
    address: IpAddr,
    terms: &Terms,
    own: &Own,
    families: &[Family],
    hold_time: Duration,
) -> PeerConfig {
    let local_asn = terms.local_asn.unwrap_or(own.asn);
    let mut config = PeerConfig {
        local_address: own.source_for(address),
        families: families.to_vec(),
        hold_time,
        connect_retry: CONNECT_RETRY,
        reflector_client: terms.client,
        graceful_restart: Some(RESTART_TIME),
        remote_asn: terms.asn,
        ..PeerConfig::new(address, local_asn, local_asn)
    };
    terms.options.apply(&mut config);
    let watched = config.bfd;
    config.bfd = watched.map(|bfd| bfd.with_ttl_security(terms.ttl_security));
    config
}

impl Own {
    /// Peers know us by an address we listen on. With several, or none in particular, the kernel chooses.
    fn source_for(&self, remote: IpAddr) -> Option<IpAddr> {
        let mut own = self
            .listen
            .iter()
            .map(SocketAddr::ip)
            .filter(|own| own.is_ipv4() == remote.is_ipv4());
        match (own.next(), own.next()) {
            (Some(only), None) if !only.is_unspecified() => Some(only),
            _ => None,
        }
    }
}

const CONNECT_RETRY: Duration = Duration::from_secs(5);
const RESTART_TIME: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests;
