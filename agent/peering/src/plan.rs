//! Which peers a node has, and how each is configured.
//!
//! Sessions come from four sources; where two name the same address, the earlier one here decides:
//!
//! 1. BGPPeers for all nodes ("global"),
//! 2. BGPPeers for this node, by name or selector ("node specific"),
//! 3. the reverse side of other nodes' BGPPeers that mean this node (unless `reversePeering: Manual`),
//! 4. the mesh between all nodes of one AS that are not route reflectors.
//!
//! Calico lets one side of a session between nodes be passive, the one whose peer's address is greater as
//! text. Caracal connects from both sides: a node that comes back then has its sessions at once, whoever it
//! talks to, and where two connections meet, RFC 4271 §6.8 closes one.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU8;
use std::time::Duration;

use caracal_bgp::config::Policy;
use caracal_bgp::{NextHopMode, PeerConfig};
use caracal_datastore::resources::{
    self, BGPConfiguration, Password, ReversePeering, SourceAddress,
};

use crate::facts::{self, NodeFacts, Scope};
use crate::filter::{Way, filtered};
use crate::options::ANNOTATION;
use crate::{Defaults, Link, View, export_policy};

use wish::{Remote, Wish, wishes};

mod wish;

/// A peer that a node shall have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedPeer {
    /// For the speaker.
    pub config: PeerConfig,
    /// Where it comes from.
    pub kind: PeerKind,
    /// The BGPPeer that asks for it; `None`: the mesh does.
    pub wish: Option<String>,
    /// The node of the cluster at the other end, if it is one.
    pub node: Option<String>,
    /// It is in the configuration no longer, and goes on until others take its place ([`crate::Transition`]).
    pub leaving: bool,
    /// The session is to be signed (TCP MD5, RFC 2385) with what this secret holds. Without the secret the peer
    /// must not be configured.
    pub password_ref: Option<SecretRef>,
    /// Only what has come over at most so many hops is taken (GTSM, RFC 5082), and what is sent has TTL 255.
    pub ttl_security: Option<NonZeroU8>,
}

/// Where a peer comes from, in the words of `node status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerKind {
    /// The full mesh.
    Mesh,
    /// A BGPPeer for all nodes.
    Global,
    /// A BGPPeer for this node, or the reverse side of one.
    NodeSpecific,
}

/// A key of a secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretRef {
    /// Name of the secret.
    pub name: String,
    /// Key in it.
    pub key: String,
}

impl PlannedPeer {
    /// What matters of it while others take its place.
    pub fn link(&self) -> Link {
        Link::of(&self.config, self.node.clone())
    }

    /// For people: where it comes from, and that it leaves.
    pub fn words(&self) -> String {
        match self.leaving {
            false => self.kind.to_string(),
            true => format!("{}, leaving", self.kind),
        }
    }
}

/// What another configuration of a peer does to its session, for the log; `None`: nothing that anybody would notice.
pub fn change_words(old: &PeerConfig, new: &PeerConfig) -> Option<String> {
    let changes = old.changes_to(new);
    let named = |keeps: bool| -> Vec<&str> {
        let of = changes
            .iter()
            .filter(|change| change.keeps_session == keeps);
        of.map(|change| change.field).collect()
    };
    let (kept, ended) = (named(true), named(false));
    let peer = &new.name;
    match (kept.as_slice(), ended.as_slice()) {
        ([] | ["name"], []) => None,
        (_, []) => Some(format!(
            "peer {peer}: {} changed, the session stays",
            kept.join(", ")
        )),
        _ => Some(format!(
            "peer {peer}: {} changed, which is said in OPEN or sits on the socket: the session begins anew",
            ended.join(", ")
        )),
    }
}

/// The peers of `node` in order of address, and what in the view could not be followed, in words.
pub fn peers_of(node: &str, view: &View, defaults: &Defaults) -> (Vec<PlannedPeer>, Vec<String>) {
    Plans::new(view, defaults).peers_of(node)
}

/// A view, with what the plans of all its nodes have in common.
pub(crate) struct Plans<'a> {
    view: &'a View,
    defaults: &'a Defaults,
    /// In order of name.
    pub(crate) nodes: Vec<NodeFacts<'a>>,
    wishes: Vec<Wish<'a>>,
    faults: Vec<String>,
}

impl<'a> Plans<'a> {
    pub(crate) fn new(view: &'a View, defaults: &'a Defaults) -> Plans<'a> {
        let nodes = facts::nodes(view, defaults);
        let mut faults = shared_addresses(&nodes);
        Plans {
            view,
            defaults,
            nodes,
            wishes: wishes(view, &mut faults),
            faults,
        }
    }

    /// As [`peers_of`].
    pub(crate) fn peers_of(&self, node: &str) -> (Vec<PlannedPeer>, Vec<String>) {
        let Some(me) = self.nodes.iter().find(|facts| facts.name == node) else {
            return (
                Vec::new(),
                vec![format!(
                    "node {node} has no BGP address in the datastore, so it has no peers"
                )],
            );
        };
        let mut faults = Vec::new();
        let export = export_policy(node, self.view, &mut faults);
        faults.extend_from_slice(&self.faults);
        let mut planner = Planner {
            me,
            nodes: &self.nodes,
            view: self.view,
            defaults: self.defaults,
            export,
            planned: BTreeMap::new(),
            faults,
        };
        planner.plan(&self.wishes);
        (planner.planned.into_values().collect(), planner.faults)
    }
}

/// Two nodes with one address cannot both be reached; the plan takes the first and says so.
fn shared_addresses(nodes: &[NodeFacts<'_>]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut owners: BTreeMap<IpAddr, &str> = BTreeMap::new();
    for node in nodes {
        for address in node.addresses() {
            if let Some(owner) = owners.insert(address, node.name) {
                faults.push(format!(
                    "nodes {owner} and {} have the same address {address}",
                    node.name
                ));
            }
        }
    }
    faults
}

struct Planner<'a> {
    me: &'a NodeFacts<'a>,
    nodes: &'a [NodeFacts<'a>],
    view: &'a View,
    defaults: &'a Defaults,
    export: Policy,
    planned: BTreeMap<IpAddr, PlannedPeer>,
    faults: Vec<String>,
}

/// The far end of one session.
struct FarEnd {
    address: IpAddr,
    port: u16,
    asn: u32,
    cluster_id: Option<Ipv4Addr>,
    node: Option<String>,
}

impl Planner<'_> {
    fn plan(&mut self, wishes: &[Wish<'_>]) {
        let (global, specific): (Vec<_>, Vec<_>) = wishes
            .iter()
            .partition(|wish| matches!(wish.local, Scope::Everyone));
        for wish in global {
            self.forward(wish, PeerKind::Global);
        }
        for wish in specific {
            self.forward(wish, PeerKind::NodeSpecific);
        }
        for wish in wishes {
            self.reverse(wish);
        }
        self.mesh();
    }

    /// A BGPPeer that says what this node's peers are.
    fn forward(&mut self, wish: &Wish<'_>, kind: PeerKind) {
        if !wish.local.contains(self.me) {
            return;
        }
        let local_asn = wish.local_asn(self.me);
        match &wish.remote {
            Remote::Nodes(scope) => {
                for node in self
                    .nodes
                    .iter()
                    .filter(|node| node.name != self.me.name && scope.contains(node))
                {
                    // Both sides may be in the scope, and then `localASNumber` is the other's too.
                    let asn = if wish.local.contains(node) {
                        wish.local_asn(node)
                    } else {
                        node.asn
                    };
                    self.with_node(node, asn, local_asn, Some(wish), kind);
                }
            }
            &Remote::Address { address, port, asn } => {
                // A BGPPeer for everyone means everyone else when it names one of the nodes.
                if self.me.has(address) {
                    return;
                }
                let node = self.nodes.iter().find(|node| node.has(address));
                let far = FarEnd {
                    address,
                    port: port
                        .or(node.map(|node| node.listen_port))
                        .unwrap_or(BGP_PORT),
                    asn,
                    cluster_id: node.and_then(|node| node.cluster_id),
                    node: node.map(|node| node.name.to_owned()),
                };
                self.add(far, local_asn, Some(wish), kind);
            }
        }
    }

    /// A BGPPeer that says of other nodes that this node is their peer.
    fn reverse(&mut self, wish: &Wish<'_>) {
        if wish.peer.reverse_peering == ReversePeering::Manual {
            return;
        }
        let family = match &wish.remote {
            Remote::Nodes(scope) => {
                if !scope.contains(self.me) {
                    return;
                }
                None
            }
            &Remote::Address { address, port, asn } => {
                let means_me = self.me.has(address)
                    && port.is_none_or(|port| port == self.me.listen_port)
                    && asn == self.me.asn;
                if !means_me {
                    return;
                }
                Some(address)
            }
        };
        for node in self
            .nodes
            .iter()
            .filter(|node| node.name != self.me.name && wish.local.contains(node))
        {
            let asn = wish.local_asn(node);
            match family {
                None => self.with_node(node, asn, self.me.asn, Some(wish), PeerKind::NodeSpecific),
                Some(own) => {
                    if let Some(address) = node.address_like(own) {
                        let far = FarEnd::of(node, address, asn);
                        self.add(far, self.me.asn, Some(wish), PeerKind::NodeSpecific);
                    }
                }
            }
        }
    }

    fn mesh(&mut self) {
        let enabled = facts::cluster(self.view).is_none_or(BGPConfiguration::mesh);
        if !enabled || self.me.cluster_id.is_some() {
            return;
        }
        for node in self.nodes {
            if node.name != self.me.name && node.cluster_id.is_none() && node.asn == self.me.asn {
                self.with_node(node, node.asn, self.me.asn, None, PeerKind::Mesh);
            }
        }
    }

    /// One session for each address family that both nodes have.
    fn with_node(
        &mut self,
        node: &NodeFacts<'_>,
        asn: u32,
        local_asn: u32,
        wish: Option<&Wish<'_>>,
        kind: PeerKind,
    ) {
        for address in node.addresses() {
            if self.me.address_like(address).is_some() && !self.me.has(address) {
                self.add(FarEnd::of(node, address, asn), local_asn, wish, kind);
            }
        }
    }

    fn add(&mut self, far: FarEnd, local_asn: u32, wish: Option<&Wish<'_>>, kind: PeerKind) {
        if let Some(earlier) = self.planned.get(&far.address) {
            if let (Some(wish), true) = (wish, earlier.config.remote_port != far.port) {
                self.faults.push(format!(
                    "BGPPeer {}: peer {} port {} is left out, because {} has the same address",
                    wish.name, far.address, far.port, earlier.config.name
                ));
            }
            return;
        }
        let own = self.me.address_like(far.address);
        if own.is_none() {
            if let Some(wish) = wish {
                let version = if far.address.is_ipv4() { 4 } else { 6 };
                self.faults.push(format!(
                    "BGPPeer {}: peer {} is left out, because node {} has no IPv{version} address",
                    wish.name, far.address, self.me.name
                ));
            }
            return;
        }
        let options = match wish {
            Some(wish) => self.options_of(wish, far.asn != local_asn),
            None => self.mesh_options(),
        };
        let names = wish.map_or(&[][..], |wish| &wish.peer.filters);
        let mut faults = Vec::new();
        let export = self.export.clone();
        let export = filtered(self.view, names, Way::Export, export, &mut faults);
        let import = Policy::accept_all();
        let import = filtered(self.view, names, Way::Import, import, &mut faults);
        for fault in faults {
            self.note(fault);
        }
        let mut config = PeerConfig {
            name: session_name(kind, far.address, far.port),
            remote_port: far.port,
            local_address: own.filter(|_| options.bound),
            hold_time: options.hold_time,
            connect_retry: self.defaults.connect_retry,
            reflector_client: far.asn == local_asn
                && self.me.cluster_id.is_some()
                && far.cluster_id != self.me.cluster_id,
            next_hop: options.next_hop,
            next_hop_self_v4: match self.me.address_like(Ipv4Addr::UNSPECIFIED.into()) {
                Some(IpAddr::V4(address)) => Some(address),
                _ => None,
            },
            next_hop_self_v6: match self.me.address_like(Ipv6Addr::UNSPECIFIED.into()) {
                Some(IpAddr::V6(address)) => Some(address),
                _ => None,
            },
            graceful_restart: Some(options.restart_time),
            allow_own_as: options.allow_own_as,
            import,
            export,
            ..PeerConfig::new(far.address, far.asn, local_asn)
        };
        let said = wish.map_or(&self.defaults.mesh_options, |wish| &wish.options);
        match said.check_for(far.asn == local_asn) {
            Ok(()) => said.apply(&mut config),
            Err(why) => {
                let whose = wish.map_or("bgp.meshOptions".to_owned(), |wish| {
                    format!("BGPPeer {}: annotation {ANNOTATION}", wish.name)
                });
                self.note(format!("{whose}: {why} ({})", far.address));
                said.for_anybody().apply(&mut config);
            }
        }
        // Both ends of a session have the options of its BGPPeer, and only a reflector has clients.
        config.reflector_client &= self.me.cluster_id.is_some();
        config.bfd = config
            .bfd
            .map(|bfd| bfd.with_ttl_security(options.ttl_security));
        self.planned.insert(
            far.address,
            PlannedPeer {
                config,
                kind,
                wish: wish.map(|wish| wish.name.to_owned()),
                node: far.node,
                leaving: false,
                password_ref: options.password_ref,
                ttl_security: options.ttl_security,
            },
        );
    }

    /// One peer's fault may be another's.
    fn note(&mut self, fault: String) {
        if !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }

    fn options_of(&mut self, wish: &Wish<'_>, external: bool) -> Options {
        let peer = wish.peer;
        if let Some(gateway) = peer.reachable_by {
            self.note(format!(
                "BGPPeer {}: spec.reachableBy: {gateway} has no effect: the way to the peer is the kernel's, and must \
                 not depend on this session",
                wish.name
            ));
        }
        let times = peer.num_allowed_local_as_numbers.unwrap_or(0);
        let next_hop = match peer.next_hop_mode {
            Some(resources::NextHopMode::Own) => NextHopMode::OwnAddress,
            Some(resources::NextHopMode::Keep) => NextHopMode::Keep,
            _ if external && peer.keep_original_next_hop => NextHopMode::Keep,
            _ => NextHopMode::Auto,
        };
        let ttl_security = peer.ttl_security.and_then(NonZeroU8::new);
        Options {
            hold_time: peer
                .keepalive_time
                .map_or(self.defaults.hold_time, |keepalive| {
                    keepalive.saturating_mul(3)
                }),
            restart_time: peer.max_restart_time.unwrap_or(self.defaults.restart_time),
            next_hop,
            bound: peer.source_address == SourceAddress::UseNodeIP,
            password_ref: peer.password.as_ref().and_then(secret),
            ttl_security,
            allow_own_as: u8::try_from(times).unwrap_or(u8::MAX),
        }
    }

    fn mesh_options(&self) -> Options {
        let cluster = facts::cluster(self.view);
        Options {
            hold_time: self.defaults.hold_time,
            restart_time: cluster
                .and_then(|all| all.node_mesh_max_restart_time)
                .unwrap_or(self.defaults.restart_time),
            next_hop: NextHopMode::Auto,
            bound: true,
            password_ref: cluster
                .and_then(|all| all.node_mesh_password.as_ref())
                .and_then(secret),
            ttl_security: None,
            allow_own_as: 0,
        }
    }
}

/// What a BGPPeer, or the mesh, says about how to speak.
struct Options {
    hold_time: Duration,
    restart_time: Duration,
    next_hop: NextHopMode,
    /// The connection comes from the node's address.
    bound: bool,
    password_ref: Option<SecretRef>,
    ttl_security: Option<NonZeroU8>,
    /// So often our own AS number may be in a path.
    allow_own_as: u8,
}

impl FarEnd {
    fn of(node: &NodeFacts<'_>, address: IpAddr, asn: u32) -> FarEnd {
        FarEnd {
            address,
            port: node.listen_port,
            asn,
            cluster_id: node.cluster_id,
            node: Some(node.name.to_owned()),
        }
    }
}

fn secret(password: &Password) -> Option<SecretRef> {
    let reference = password.secret_key_ref.as_ref()?;
    Some(SecretRef {
        name: reference.name.clone(),
        key: reference.key.clone(),
    })
}

/// `Mesh_172_31_0_2`, `Global_10_0_0_1_port_1179`.
fn session_name(kind: PeerKind, address: IpAddr, port: u16) -> String {
    let kind = match kind {
        PeerKind::Mesh => "Mesh",
        PeerKind::Global => "Global",
        PeerKind::NodeSpecific => "Node",
    };
    let address = address.to_string().replace(['.', ':'], "_");
    if port == BGP_PORT {
        format!("{kind}_{address}")
    } else {
        format!("{kind}_{address}_port_{port}")
    }
}

impl fmt::Display for PeerKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            PeerKind::Mesh => "node-to-node mesh",
            PeerKind::Global => "global",
            PeerKind::NodeSpecific => "node specific",
        })
    }
}

const BGP_PORT: u16 = 179;

#[cfg(test)]
mod tests;
