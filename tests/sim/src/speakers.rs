//! A speaker's configuration: a function of its index, of the topology and of its manners.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use caracal_bgp::policy::{Changes, Decision, Match, PrefixRange, Rule};
use caracal_bgp::wire::Family;
use caracal_bgp::{NextHopMode, PeerConfig, Policy, SpeakerConfig};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::topology::Topology;

/// How a border treats its external peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manners {
    /// Everything, both ways.
    Open,
    /// It tells nobody of shared prefixes.
    KeepsShared,
    /// It wants to hear of no shared prefix.
    TakesNoShared,
    /// What it hears of others' own blocks gets this LOCAL_PREF. Not of shared prefixes: two clusters that
    /// prefer each other's path to their own have no one state to end in.
    Prefers(u32),
}

impl Manners {
    /// It lets a path go to an external peer.
    pub fn lets_out(self, prefix: &IpNet) -> bool {
        self != Manners::KeepsShared || !is_shared(prefix)
    }

    /// It takes a path from an external peer.
    pub fn lets_in(self, prefix: &IpNet) -> bool {
        self != Manners::TakesNoShared || !is_shared(prefix)
    }

    /// The LOCAL_PREF of what it takes from an external peer; `None`: as it came.
    pub fn local_pref(self, prefix: &IpNet) -> Option<u32> {
        match self {
            Manners::Prefers(local_pref) if !is_shared(prefix) => Some(local_pref),
            _ => None,
        }
    }
}

/// The address of a speaker, which is its identifier too.
pub fn address(node: usize) -> IpAddr {
    IpAddr::V4(router_id(node))
}

/// The speaker with this address.
pub fn index_of(address: IpAddr) -> Option<usize> {
    match address {
        IpAddr::V4(address) => Some(u32::from(address).checked_sub(FIRST_ADDRESS)? as usize),
        IpAddr::V6(_) => None,
    }
}

/// The next hop that a speaker names for itself.
pub fn next_hop(node: usize, prefix: &IpNet) -> IpAddr {
    match prefix {
        IpNet::V4(_) => address(node),
        IpNet::V6(_) => IpAddr::V6(address_v6(node)),
    }
}

/// One of a speaker's own blocks. Number 3 is of IPv6.
pub(crate) fn own_prefix(speaker: usize, number: u64) -> IpNet {
    let block = speaker as u32 * 4 + number as u32;
    if number == 3 {
        let bits = (0xfd00_0010_0233 << 80) | (u128::from(block) << 6);
        return Ipv6Net::new_assert(bits.into(), 122).into();
    }
    Ipv4Net::new_assert((0x0ae9_0000 + block * 64).into(), 26).into()
}

/// A prefix that anybody may originate.
pub(crate) fn shared_prefix(number: u64) -> IpNet {
    Ipv4Net::new_assert((SHARED + number as u32).into(), 32).into()
}

pub(crate) fn endpoint(node: usize, port: u16) -> SocketAddr {
    SocketAddr::new(address(node), port)
}

pub(crate) fn speaker_config(
    topology: Topology,
    node: usize,
    seed: u64,
    restarting: bool,
) -> SpeakerConfig {
    SpeakerConfig {
        seed,
        restarting,
        selection_deferral: Duration::from_secs(20),
        multipath_max: MULTIPATH_MAX,
        ..SpeakerConfig::new(topology.asn(node), router_id(node))
    }
}

pub(crate) fn peer_config(
    topology: Topology,
    hold_time: Duration,
    manners: Manners,
    node: usize,
    other: usize,
) -> PeerConfig {
    let is_external = topology.is_external(node, other);
    let (import, export) = match is_external {
        true => (import_of(manners), export_of(manners)),
        false => (Policy::accept_all(), Policy::accept_all()),
    };
    PeerConfig {
        name: format!("speaker {other}"),
        // A few never call, so that both ways of coming together are in the story.
        passive: (node + other).is_multiple_of(3) && node > other,
        families: vec![Family::Ipv4Unicast, Family::Ipv6Unicast],
        hold_time,
        reflector_client: topology.is_client(node, other),
        // Nobody inside knows the way to another cluster's border.
        next_hop: match topology.is_border(node) && !is_external {
            true => NextHopMode::OwnAddress,
            false => NextHopMode::Auto,
        },
        next_hop_self_v6: Some(address_v6(node)),
        graceful_restart: Some(Duration::from_secs(15)),
        import,
        export,
        ..PeerConfig::new(address(other), topology.asn(other), topology.asn(node))
    }
}

fn import_of(manners: Manners) -> Policy {
    match manners {
        Manners::TakesNoShared => without_shared(),
        Manners::Prefers(local_pref) => preferring(local_pref),
        Manners::Open | Manners::KeepsShared => Policy::accept_all(),
    }
}

fn export_of(manners: Manners) -> Policy {
    match manners {
        Manners::KeepsShared => without_shared(),
        Manners::Open | Manners::TakesNoShared | Manners::Prefers(_) => Policy::accept_all(),
    }
}

fn without_shared() -> Policy {
    Policy {
        rules: vec![Rule::reject(shared())],
        default: Decision::Accept,
    }
}

fn preferring(local_pref: u32) -> Policy {
    let prefer = Rule {
        set: Changes {
            local_pref: Some(local_pref),
            ..Changes::default()
        },
        ..Rule::accept(Match::default())
    };
    Policy {
        rules: vec![Rule::accept(shared()), prefer],
        default: Decision::Accept,
    }
}

fn shared() -> Match {
    let shared = Ipv4Net::new_assert(SHARED.into(), 24).into();
    Match {
        prefixes: vec![PrefixRange::inside(shared)],
        ..Match::default()
    }
}

fn is_shared(prefix: &IpNet) -> bool {
    IpNet::from(Ipv4Net::new_assert(SHARED.into(), 24)).contains(prefix)
}

fn router_id(node: usize) -> Ipv4Addr {
    Ipv4Addr::from(FIRST_ADDRESS + node as u32)
}

fn address_v6(node: usize) -> Ipv6Addr {
    Ipv6Addr::from((0xfd00_u128 << 112) | (node as u128 + 1))
}

/// As `SpeakerConfig::multipath_max`.
pub const MULTIPATH_MAX: usize = 3;
const FIRST_ADDRESS: u32 = 0xac1f_0001;
const SHARED: u32 = 0xc633_6400;
