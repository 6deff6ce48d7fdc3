//! How large the cluster is and how it is joined.

use std::net::Ipv4Addr;
use std::ops::Range;
use std::time::Duration;

use caracal_bgp::{PeerConfig, SpeakerConfig};

use crate::speakers::address;

/// A cluster. Hosts are indices: the reflectors first, then the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Route reflectors; none: the nodes are a mesh.
    pub reflectors: usize,
    /// Nodes.
    pub nodes: usize,
    /// Of these, the first so many are whole. In a mesh all are.
    pub whole: usize,
    /// Blocks that each node announces.
    pub blocks_per_node: usize,
    /// Each reflector is a cluster of its own (RFC 4456 §7); else all have one CLUSTER_ID, as is usual with Calico.
    pub own_clusters: bool,
    /// What a host's link carries, in octets a second.
    pub octets_per_second: u64,
    /// Source of all chance.
    pub seed: u64,
}

impl Shape {
    /// Nodes that are clients of so many reflectors, fifty of them whole, four blocks each, links of 10 Gbit/s.
    pub fn reflected(nodes: usize, reflectors: usize) -> Shape {
        Shape {
            reflectors,
            nodes,
            whole: nodes.min(50),
            blocks_per_node: 4,
            own_clusters: false,
            octets_per_second: 1_250_000_000,
            seed: 1,
        }
    }

    /// Everybody with everybody.
    pub fn mesh(nodes: usize) -> Shape {
        Shape {
            whole: nodes,
            ..Shape::reflected(nodes, 0)
        }
    }

    /// Reflectors and nodes.
    pub fn hosts(self) -> usize {
        self.reflectors + self.nodes
    }

    /// The nodes among the hosts.
    pub fn node_hosts(self) -> Range<usize> {
        self.reflectors..self.hosts()
    }

    /// All blocks.
    pub fn blocks(self) -> usize {
        self.nodes * self.blocks_per_node
    }

    /// The blocks of a host.
    pub fn blocks_of(self, host: usize) -> Range<usize> {
        let node = host.checked_sub(self.reflectors);
        node.map_or(0..0, |node| {
            node * self.blocks_per_node..(node + 1) * self.blocks_per_node
        })
    }

    /// The host that a block is at home at.
    pub fn owner(self, block: usize) -> usize {
        self.reflectors + block / self.blocks_per_node
    }

    /// It passes on what others announce.
    pub fn is_reflector(self, host: usize) -> bool {
        host < self.reflectors
    }

    /// Its tables are real ones.
    pub fn is_whole(self, host: usize) -> bool {
        host < self.reflectors + self.whole
    }

    /// What its speaker uses is measured: that of the first reflector and of the first nodes.
    pub fn is_metered(self, host: usize) -> bool {
        let node = host.checked_sub(self.reflectors);
        node.map_or(host == 0, |node| node < self.whole.min(METERED_MAX))
    }

    /// Whom it has a session with.
    pub fn peers(self, host: usize) -> Range<usize> {
        match self.reflectors {
            0 => 0..self.nodes,
            _ if self.is_reflector(host) => 0..self.hosts(),
            reflectors => 0..reflectors,
        }
    }

    /// Sessions of the whole cluster.
    pub fn sessions(self) -> usize {
        match self.reflectors {
            0 => self.nodes * (self.nodes - 1) / 2,
            reflectors => self.nodes * reflectors + reflectors * (reflectors - 1) / 2,
        }
    }

    pub(super) fn speaker_config(self, host: usize, seed: u64, restarting: bool) -> SpeakerConfig {
        let cluster_id = self.is_reflector(host) && !self.own_clusters;
        SpeakerConfig {
            seed,
            // A reflector has no kernel to forget: it always keeps forwarding, as caracal-route-reflector says.
            restarting: restarting || self.is_reflector(host),
            cluster_id: cluster_id.then_some(CLUSTER_ID),
            multipath_max: 4,
            ..SpeakerConfig::new(ASN, router_id(host))
        }
    }

    pub(super) fn peer_config(self, host: usize, other: usize) -> PeerConfig {
        let is_client = self.is_reflector(host) && !self.is_reflector(other);
        PeerConfig {
            passive: is_client,
            reflector_client: is_client,
            graceful_restart: Some(RESTART_TIME),
            ..PeerConfig::new(address(other), ASN, ASN)
        }
    }
}

fn router_id(host: usize) -> Ipv4Addr {
    match address(host) {
        std::net::IpAddr::V4(address) => address,
        std::net::IpAddr::V6(_) => unreachable!("addresses of speakers are IPv4"),
    }
}

/// How long a session that broke leaves its paths behind (RFC 4724 §3), as `PeerConfig::new` has it.
pub const RESTART_TIME: Duration = Duration::from_secs(120);
/// Measuring costs time itself.
const METERED_MAX: usize = 20;
const ASN: u32 = 64512;
const CLUSTER_ID: Ipv4Addr = Ipv4Addr::new(244, 0, 0, 1);
