//! From the cluster to what this node shall say and do. Pure: the same cluster gives the same plan, whatever came first.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use caracal_agent_api::Condition;
use caracal_bgp::LocalPath;
use caracal_bgp_net::SessionOptions;
use caracal_datastore::Stored;
use caracal_datastore::resources::{Encapsulation, FelixConfiguration, IPPool};
use caracal_fib::{Mode, Tunnels, Vtep};
use caracal_filter::Rules;
use caracal_peering::{
    Defaults, PeerOptions, PlannedPeer, Reflection, identity_of, peers_of, reflection_of,
    session_options,
};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::address::NodeAddresses;
use crate::cluster::Cluster;
use crate::filtering::{self, AllowedSources};
use crate::settings;
use crate::tunnels::{Assigned, Tunnel};
use crate::ways::{self, Pool};

mod tunnels;

/// LOCAL_PREF of everything that a node announces, as Calico v3.32 and later, is this less the metric (1024).
const LOCAL_PREF_MAX: u32 = 2_147_483_647;

/// What follows from the present state of the cluster for one node.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Plan {
    pub(crate) asn: u32,
    /// All pools, disabled ones too: what they gave lives on.
    pub(crate) pools: Vec<Pool>,
    /// Blocks of this node whose affinity has been lost.
    pub(crate) orphans: BTreeSet<IpNet>,
    /// Some address of a local workload or tunnel is free in IPAM's records.
    pub(crate) records_lost: bool,
    /// The cluster has a Node resource for us.
    pub(crate) registered: bool,
    pub(crate) peers: Vec<PlannedPeer>,
    /// Peers that are asked for and cannot be had: without their password.
    pub(crate) refused: BTreeSet<IpAddr>,
    /// How it reflects, if it does.
    pub(crate) reflection: Reflection,
    /// How connections with peers are signed, and from how far they may come. Most need nothing.
    pub(crate) sessions: BTreeMap<IpAddr, SessionOptions>,
    /// Confirmed blocks of this node.
    pub(crate) blocks: BTreeSet<IpNet>,
    /// Blocks, addresses borrowed from blocks of others, and those of workloads that have just come.
    pub(crate) originated: BTreeMap<IpNet, LocalPath>,
    /// Blocks, but not those of a single address.
    pub(crate) blackholes: BTreeSet<IpNet>,
    pub(crate) tunnels: Tunnels,
    /// By node address.
    pub(crate) vteps: BTreeMap<IpAddr, Vtep>,
    /// Nodes that do not say that they can receive IPIP, by address.
    pub(crate) without_ipip: BTreeSet<IpAddr>,
    /// How the node treats its kernel.
    pub(crate) felix: FelixConfiguration,
    /// For the packet filter.
    pub(crate) rules: Rules,
    /// LOCAL_PREF above these (IPv4, IPv6) is that of workloads that have just come to a node.
    pub(crate) normal_local_pref: (u32, u32),
    pub(crate) conditions: Vec<Condition>,
}

/// Who and where we are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Own<'a> {
    pub(crate) node: &'a str,
    pub(crate) addresses: NodeAddresses,
    /// Addresses of local workloads.
    pub(crate) workloads: &'a [IpAddr],
    /// Those that have just come here: announced as better than what is where they were.
    pub(crate) elevated: &'a BTreeSet<IpAddr>,
    /// Tunnel addresses that IPAM has given this run.
    pub(crate) assigned: Assigned,
    /// Whose devices the kernel has.
    pub(crate) tunnels_there: &'a BTreeSet<Tunnel>,
    /// For the sessions of the mesh.
    pub(crate) mesh_options: &'a PeerOptions,
    /// What the environment says over FelixConfiguration.
    pub(crate) felix: &'a settings::Environment,
    /// Sources that local workloads ask for beside their own.
    pub(crate) allowed_sources: &'a AllowedSources,
}

/// Whether the Node is there and says an address: a kubelet that makes its Node anew makes it without.
fn is_registered(cluster: &Cluster, node: &str) -> bool {
    let stored = cluster.view.nodes.get(node);
    let bgp = stored.and_then(|stored| stored.spec.bgp.as_ref());
    bgp.is_some_and(|bgp| bgp.ipv4_address.is_some() || bgp.ipv6_address.is_some())
}

/// Makes the plan.
pub(crate) fn make(cluster: &Cluster, own: Own<'_>) -> Plan {
    let mut conditions: Vec<Condition> = cluster.unread().map(datastore_unread).collect();
    conditions.extend(
        cluster
            .faults()
            .map(|fault| condition("InvalidResource", fault)),
    );
    let pools = pools(cluster, own);
    conditions.extend(
        pools
            .iter()
            .filter_map(|pool| Some(condition("PoolUnusable", pool.unusable.as_deref()?))),
    );
    let overlaps = caracal_datastore::resources::overlaps(cluster.view.pools.values());
    conditions.extend(
        overlaps
            .iter()
            .map(|fault| condition("InvalidResource", fault)),
    );
    let blocks = blocks(cluster, own, &pools, &mut conditions);
    let orphans = orphans(cluster, own);
    conditions.extend(orphans.iter().map(|cidr| {
        let message = format!("block {cidr} says that it belongs to node {}, but no BlockAffinity does; it is claimed again", own.node);
        condition("BlockWithoutAffinity", &message)
    }));
    let Peering {
        asn,
        peers,
        refused,
        sessions,
    } = peering(cluster, own, &mut conditions);
    let mut faults = Vec::new();
    let reflection = reflection_of(own.node, &cluster.view, &mut faults);
    conditions.extend(
        faults
            .iter()
            .map(|fault| condition("InvalidPeering", fault)),
    );
    let felix = settings::effective(&cluster.felix, own.node, own.felix);
    let ends = tunnels::ends(cluster, own, &pools, &felix);
    let borrowed = borrowed(cluster, own, &ends.tunnels);
    let elevated: BTreeSet<IpNet> = own.elevated.iter().copied().map(IpNet::from).collect();
    let exported =
        |prefix: &&IpNet| ways::pool_of(&pools, prefix).is_none_or(|pool| !pool.disable_bgp_export);
    let path = |prefix: &IpNet| LocalPath {
        local_pref: Some(
            LOCAL_PREF_MAX
                - match elevated.contains(prefix) {
                    true => elevated_priority(&felix, priority(cluster, &felix, prefix), prefix),
                    false => priority(cluster, &felix, prefix),
                },
        ),
        ..LocalPath::default()
    };
    let of_all = |prefix: IpNet| LOCAL_PREF_MAX - priority(cluster, &felix, &prefix);
    let normal_local_pref = (
        of_all(Ipv4Net::default().into()),
        of_all(Ipv6Net::default().into()),
    );
    let allowed = own.allowed_sources;
    let rules = filtering::rules(
        &cluster.view,
        &pools,
        &ends.tunnels,
        own.tunnels_there,
        &felix,
        allowed,
    );
    conditions.extend(
        settings::faults(&felix, in_bgp(cluster))
            .iter()
            .map(|fault| condition("InvalidResource", fault)),
    );
    Plan {
        asn,
        peers,
        refused,
        reflection,
        sessions,
        originated: blocks
            .iter()
            .chain(&borrowed)
            .chain(&elevated)
            .filter(exported)
            .map(|prefix| (*prefix, path(prefix)))
            .collect(),
        blackholes: blocks
            .iter()
            .filter(|block| block.prefix_len() < block.max_prefix_len())
            .copied()
            .collect(),
        blocks,
        orphans,
        records_lost: records_lost(cluster, own, &ends.tunnels),
        registered: is_registered(cluster, own.node),
        pools,
        tunnels: ends.tunnels,
        vteps: ends.vteps,
        without_ipip: ends.without_ipip,
        rules,
        normal_local_pref,
        felix,
        conditions,
    }
}

impl Plan {
    /// What the tunnel devices of this node have.
    pub(crate) fn tunnel_addresses(&self) -> Vec<IpAddr> {
        tunnels::addresses(&self.tunnels).collect()
    }

    /// The peer with this address; they stand in order of address.
    pub(crate) fn peer(&self, address: IpAddr) -> Option<&PlannedPeer> {
        let index = self
            .peers
            .binary_search_by_key(&address, |peer| peer.config.remote_address);
        self.peers.get(index.ok()?)
    }

    /// MTU of the pods' devices: the smallest of the tunnels that pools need, and the host's where none is needed.
    pub(crate) fn pod_mtu(&self, host_mtu: u32) -> u32 {
        let mtus = self.needed_tunnels().map(|tunnel| {
            let room = host_mtu.saturating_sub(tunnel.overhead_octets());
            tunnels::configured_mtu(tunnel, &self.felix).unwrap_or(room)
        });
        mtus.min().unwrap_or(host_mtu)
    }

    /// Sentences about tunnels whose configured MTU is more than the host's devices leave for it.
    pub(crate) fn too_large_mtus(&self, host_mtu: u32) -> Vec<String> {
        let sentence = |tunnel: Tunnel| {
            let room = host_mtu.saturating_sub(tunnel.overhead_octets());
            let mtu = tunnels::configured_mtu(tunnel, &self.felix).filter(|mtu| *mtu > room)?;
            Some(format!(
                "{} is {mtu}, but packets of more than {room} octets do not fit through the host's devices (MTU {host_mtu}) in \
                 {}: they are dropped, or sent in fragments. Make it {room}, or 0, which is as the host's devices are",
                tunnels::mtu_field(tunnel),
                tunnel.device(),
            ))
        };
        self.needed_tunnels().filter_map(sentence).collect()
    }

    fn needed_tunnels(&self) -> impl Iterator<Item = Tunnel> {
        let needed = |tunnel: &Tunnel| {
            let mut pools = self.pools.iter();
            pools.any(|pool| Tunnel::of_pool(pool) == Some(*tunnel))
        };
        Tunnel::ALL.into_iter().filter(needed)
    }
}

/// The metrics that stand for ordinary routes in BGP, as BGPConfiguration has them: IPv4, IPv6.
fn in_bgp(cluster: &Cluster) -> [Option<u32>; 2] {
    let bgp = cluster.view.configurations.get("default");
    let bgp = bgp.map(|stored| &stored.spec);
    [
        bgp.and_then(|bgp| bgp.ipv4_normal_route_priority),
        bgp.and_then(|bgp| bgp.ipv6_normal_route_priority),
    ]
}

/// The metric that stands for ordinary routes in BGP: BGPConfiguration's, else the kernel's.
fn priority(cluster: &Cluster, felix: &FelixConfiguration, prefix: &IpNet) -> u32 {
    let [in_bgp_v4, in_bgp_v6] = in_bgp(cluster);
    let (in_bgp, in_kernel) = match prefix {
        IpNet::V4(_) => (in_bgp_v4, felix.ipv4_normal_route_priority),
        IpNet::V6(_) => (in_bgp_v6, felix.ipv6_normal_route_priority),
    };
    in_bgp.or(in_kernel).unwrap_or(settings::NORMAL)
}

/// The metric of workloads that have just come, which stands for them in BGP too, where it is better than `normal`.
fn elevated_priority(felix: &FelixConfiguration, normal: u32, prefix: &IpNet) -> u32 {
    let configured = match prefix {
        IpNet::V4(_) => felix.ipv4_elevated_route_priority,
        IpNet::V6(_) => felix.ipv6_elevated_route_priority,
    };
    settings::elevated(configured, normal)
}

/// The datastore, or a kind in it, cannot be followed.
pub(crate) fn datastore_unread(why: &str) -> Condition {
    condition(
        "DatastoreUnread",
        &format!("{why}; what is known stays in force"),
    )
}

pub(crate) fn condition(name: &str, message: &str) -> Condition {
    Condition {
        name: name.to_owned(),
        message: message.to_owned(),
    }
}

fn pools(cluster: &Cluster, own: Own<'_>) -> Vec<Pool> {
    let mode = |mode: Encapsulation| match mode {
        Encapsulation::Never => None,
        Encapsulation::Always => Some(Mode::Always),
        Encapsulation::CrossSubnet => Some(Mode::CrossSubnet),
    };
    let pool = |(name, pool): (&String, &Stored<IPPool>)| {
        let cidr = pool.spec.cidr;
        let overlapped = own
            .addresses
            .networks()
            .map(|net| net.trunc())
            .find(|net| net.contains(&cidr.network()) || cidr.contains(&net.network()));
        Pool {
            name: name.clone(),
            cidr,
            encapsulation: ways::encapsulation(mode(pool.spec.ipip_mode), mode(pool.spec.vxlan_mode), &cidr),
            disable_bgp_export: pool.spec.disable_bgp_export,
            disabled: pool.spec.disabled,
            // A disabled pool over everybody's network is how one says what is not to be masqueraded.
            unusable: overlapped.filter(|_| !pool.spec.disabled).map(|net| {
                format!("IPPool {name}: {cidr} overlaps {net}, the network of node {}; it is not used on this node", own.node)
            }),
        }
    };
    cluster.view.pools.iter().map(pool).collect()
}

/// Our AS number, the peers and their session options.
struct Peering {
    asn: u32,
    peers: Vec<PlannedPeer>,
    refused: BTreeSet<IpAddr>,
    sessions: BTreeMap<IpAddr, SessionOptions>,
}

/// A peer whose password is not there is left out: an unsigned
/// session is not what the operator asked for.
fn peering(cluster: &Cluster, own: Own<'_>, conditions: &mut Vec<Condition>) -> Peering {
    let defaults = Defaults {
        mesh_options: own.mesh_options.clone(),
        ..Defaults::default()
    };
    let asn = identity_of(own.node, &cluster.view, &defaults, None)
        .map_or(defaults.asn, |identity| identity.asn);
    let (peers, faults) = peers_of(own.node, &cluster.view, &defaults);
    conditions.extend(
        faults
            .iter()
            .map(|fault| condition("InvalidPeering", fault)),
    );
    let mut usable = Vec::with_capacity(peers.len());
    let mut sessions = BTreeMap::new();
    let mut refused = BTreeSet::new();
    for peer in peers {
        let address = peer.config.remote_address;
        match session_options(&cluster.view, &peer) {
            Ok(options) => {
                if options != SessionOptions::default() {
                    sessions.insert(address, options);
                }
                usable.push(peer);
            }
            Err(why) => {
                let message = format!(
                    "peer {address} ({}): {why}; it is not connected",
                    peer.config.name
                );
                conditions.push(condition("PasswordMissing", &message));
                refused.insert(address);
            }
        }
    }
    Peering {
        asn,
        peers: usable,
        refused,
        sessions,
    }
}

/// Blocks with a confirmed affinity to this node, if the block says so too. `pending` ones are never announced.
fn blocks(
    cluster: &Cluster,
    own: Own<'_>,
    pools: &[Pool],
    conditions: &mut Vec<Condition>,
) -> BTreeSet<IpNet> {
    let mut blocks = BTreeSet::new();
    for affinity in cluster.affinities.values().map(|stored| &stored.spec) {
        if !affinity.is_confirmed_for(own.node) {
            continue;
        }
        let cidr = affinity.cidr;
        let owner = cluster.blocks.get(&cidr).map(|block| block.node.as_deref());
        match owner {
            Some(Some(node)) if node == own.node => {
                let pool = ways::pool_of(pools, &cidr);
                if pool.is_none_or(|pool| pool.unusable.is_none()) {
                    blocks.insert(cidr);
                }
                if pool.is_none() {
                    conditions.push(condition(
                        "BlockWithoutPool",
                        &format!("block {cidr} of node {} lies in no IPPool any more; it is announced until its addresses are released", own.node),
                    ));
                }
            }
            Some(Some(node)) => conditions.push(condition(
                "DuplicateAffinity",
                &format!("BlockAffinity of {cidr}: confirmed for node {}, but the block belongs to node {node}; not announced", own.node),
            )),
            Some(None) | None => conditions.push(condition(
                "AffinityWithoutBlock",
                &format!("BlockAffinity of {cidr}: confirmed for node {}, but no block says so; not announced", own.node),
            )),
        }
    }
    blocks
}

/// Blocks that say they are this node's, for which there is no affinity in any state.
fn orphans(cluster: &Cluster, own: Own<'_>) -> BTreeSet<IpNet> {
    let claimed: BTreeSet<IpNet> = cluster
        .affinities
        .values()
        .filter(|affinity| affinity.spec.is_of(own.node))
        .map(|affinity| affinity.spec.cidr)
        .collect();
    cluster.blocks.own().difference(&claimed).copied().collect()
}

/// Whether an address that is in use here counts as free, or its block is gone: somebody has taken IPAM's records away.
fn records_lost(cluster: &Cluster, own: Own<'_>, tunnels: &Tunnels) -> bool {
    // Of tunnels those that the cluster knows: one that was given a moment ago may be in no block of the watch yet.
    let node = cluster.view.nodes.get(own.node);
    let named = Tunnel::ALL.map(|tunnel| crate::tunnels::recorded(node?, tunnel));
    let mut addresses = own
        .workloads
        .iter()
        .copied()
        .chain(tunnels::staying(tunnels).filter(|address| named.contains(&Some(*address))));
    addresses.any(|address| !cluster.blocks.is_taken(address))
}

/// Addresses of this node that lie in a block of another node or of nobody: announced as host routes.
fn borrowed(cluster: &Cluster, own: Own<'_>, tunnels: &Tunnels) -> BTreeSet<IpNet> {
    let addresses = own
        .workloads
        .iter()
        .copied()
        .chain(tunnels::addresses(tunnels));
    let is_foreign = |address: &IpAddr| {
        let around = cluster.blocks.around(*address);
        around.is_some_and(|(_, block)| block.node.as_deref() != Some(own.node))
    };
    addresses.filter(is_foreign).map(IpNet::from).collect()
}

#[cfg(test)]
pub(crate) mod tests;
