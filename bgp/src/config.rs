//! What an operator decides about a speaker and its peers.
//!
//! All of it can be written down and read back (serde): times are seconds, names are those of the fields in
//! camelCase.

pub mod bfd;
mod change;
mod limit;
mod local_as;
mod remote_as;
pub(crate) mod seconds;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use bfd::BfdConfig;
pub use change::FieldChange;
pub use limit::{LimitAction, PrefixLimit};
pub use local_as::LocalAs;
pub use remote_as::RemoteAs;

pub use crate::policy::Policy;
use crate::wire::{Family, Role};

/// A speaker's own identity (RFC 4271 §4.2) and manners.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SpeakerConfig {
    /// Our AS number (RFC 6793).
    pub asn: u32,
    /// Our BGP Identifier.
    pub router_id: Ipv4Addr,
    /// CLUSTER_ID when reflecting (RFC 4456 §7); the router id when `None`.
    pub cluster_id: Option<Ipv4Addr>,
    /// What one client has sent goes to the others (RFC 4456 §6). False where the clients of a cluster are fully meshed, and
    /// hear of one another without us (§5): then it goes to those who are no clients only.
    #[serde(default = "yes")]
    pub client_to_client: bool,
    /// The name of our host, and the domain it is in, which peers are told (draft-walton-bgp-hostname-capability).
    #[serde(default)]
    pub hostname: Option<String>,
    /// As `hostname`, without which it is not said.
    #[serde(default)]
    pub domain: Option<String>,
    /// The name and version of this program, which peers are told (draft-abraitis-bgp-version-capability).
    #[serde(default)]
    pub software: Option<String>,
    /// Source of all jitter (RFC 4271 §10), so that a run can be repeated.
    pub seed: u64,
    /// True when this process starts on a node whose kernel may still forward over routes that
    /// its predecessor wrote: OPENs then carry the Restart State bit (RFC 4724 §3), and End-of-RIB
    /// is held back until [`crate::Speaker::finish_restart`] or each peer's deferral.
    pub restarting: bool,
    /// How long a restarting speaker waits for one peer's End-of-RIB (RFC 4724 §4.1
    /// Selection_Deferral_Timer), *per peer*.
    #[serde(with = "seconds")]
    pub selection_deferral: Duration,
    /// Most paths that a multipath route may have; 1 switches multipath off.
    pub multipath_max: usize,
    /// The whole node is about to be shut down: as [`PeerConfig::graceful_shutdown`] for every peer (RFC 8326 §4.2).
    #[serde(default)]
    pub graceful_shutdown: bool,
    /// The same for routes whose best path is from an external peer; `multipath_max` when `None`.
    pub multipath_external_max: Option<usize>,
    /// The same for routes whose best path is from an internal peer; `multipath_max` when `None`.
    pub multipath_internal_max: Option<usize>,
    /// Paths of equal AS_PATH length are equal for multipath, whichever AS they begin with. False: only
    /// those with the neighbour AS of the best.
    pub multipath_relax: bool,
    /// Compares MULTI_EXIT_DISC between paths of different neighbour ASes too (RFC 4271 §9.1.2.2 c
    /// compares it within one).
    pub always_compare_med: bool,
    /// Somebody asks for [`crate::Speaker::poll_route_change`]. Where nobody does (a reflector has no FIB), false
    /// keeps no list for him, nor the prefixes on it that are gone.
    #[serde(default = "yes")]
    pub route_changes: bool,
}

impl SpeakerConfig {
    /// A speaker that starts afresh, without multipath, and waits a minute for a restarting peer's End-of-RIB.
    /// Change what shall be otherwise.
    pub fn new(asn: u32, router_id: Ipv4Addr) -> SpeakerConfig {
        SpeakerConfig {
            asn,
            router_id,
            cluster_id: None,
            client_to_client: true,
            hostname: None,
            domain: None,
            software: None,
            seed: 0,
            restarting: false,
            selection_deferral: Duration::from_secs(60),
            multipath_max: 1,
            graceful_shutdown: false,
            multipath_external_max: None,
            multipath_internal_max: None,
            multipath_relax: true,
            always_compare_med: false,
            route_changes: true,
        }
    }
}

/// A configured neighbour.
///
/// Two equal configurations mean that nothing needs to be done; a difference in `name`, policy
/// or next-hop mode alone keeps the session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerConfig {
    /// For people: `Mesh_172_31_0_2`, `Global_10_0_0_1`.
    pub name: String,
    /// Its address, which identifies it among our peers.
    pub remote_address: IpAddr,
    /// Where it listens.
    pub remote_port: u16,
    /// Its AS number, or what kind of number it must be. Equal to `local_asn`: internal (iBGP), else external (eBGP).
    pub remote_asn: RemoteAs,
    /// Our AS number towards it.
    pub local_asn: u32,
    /// Bind our end to this address; `None`: the kernel chooses.
    pub local_address: Option<IpAddr>,
    /// Connect over this network device only. A link-local address needs it, and is then accepted from there only.
    #[serde(default)]
    pub interface: Option<String>,
    /// Never connect, only accept.
    pub passive: bool,
    /// What to negotiate (RFC 4760).
    pub families: Vec<Family>,
    /// Proposed hold time; zero or at least three seconds. Keepalives go at a third of the agreed value.
    #[serde(with = "seconds")]
    pub hold_time: Duration,
    /// ConnectRetryTimer (RFC 4271 §8), jittered.
    #[serde(with = "seconds")]
    pub connect_retry: Duration,
    /// DelayOpen (RFC 4271 §8.1.1): when TCP is there, wait so long for the peer's OPEN before ours is sent. `None`:
    /// it is sent at once.
    #[serde(default, with = "seconds::optional")]
    pub delay_open: Option<Duration>,
    /// Administratively down, with words for the peer's operator (RFC 9003), which may be empty: no session, and
    /// none is made or accepted.
    #[serde(default)]
    pub shutdown: Option<String>,
    /// DampPeerOscillations (RFC 4271 §8.1.1): after an error of protocol we wait, from one second on twice as long
    /// each time, up to `idle_hold_max`. Otherwise `connect_retry` holds there as well.
    pub damp_oscillations: bool,
    /// Greatest IdleHoldTime.
    #[serde(with = "seconds")]
    pub idle_hold_max: Duration,
    /// How many prefixes of a family it may send (RFC 4271 §6.7); no bound for a family that is not named.
    #[serde(default)]
    pub prefix_limits: BTreeMap<Family, PrefixLimit>,
    /// What we are to it (RFC 9234 §3), so that routes do not leak; external peers only. It must be what belongs to that,
    /// if it says what it is.
    #[serde(default)]
    pub role: Option<Role>,
    /// No session with a peer that does not say its role (RFC 9234 §4.2).
    #[serde(default)]
    pub role_strict: bool,
    /// What AS_PATH says of `local_asn` where that is not the speaker's own (RFC 7705).
    #[serde(default)]
    pub local_as: LocalAs,
    /// How often our AS numbers may be in an AS_PATH that we take: zero, as RFC 4271 §9.1.2 has it, unless we have
    /// several places with one AS number.
    #[serde(default)]
    pub allow_own_as: u8,
    /// It is our client (RFC 4456 §4): internal peers only.
    pub reflector_client: bool,
    /// NEXT_HOP, AS_PATH, LOCAL_PREF and MULTI_EXIT_DISC of what is reflected to it are what export policy and `next_hop`
    /// make of them. False: they stay as they came, since changing them can make loops (RFC 4456 §10).
    #[serde(default)]
    pub change_reflected: bool,
    /// What goes into NEXT_HOP on export.
    pub next_hop: NextHopMode,
    /// "Self" in IPv4; the session's own address when `None` and the session is IPv4.
    pub next_hop_self_v4: Option<Ipv4Addr>,
    /// "Self" in IPv6; the session's own address when `None` and the session is IPv6.
    pub next_hop_self_v6: Option<Ipv6Addr>,
    /// Restart Time we offer (RFC 4724 §3); `None`: capability not sent.
    #[serde(with = "seconds::optional")]
    pub graceful_restart: Option<Duration>,
    /// BFD watches the path to it, and a path that fails ends the session. `None`: only the hold timer does.
    #[serde(default)]
    pub bfd: Option<BfdConfig>,
    /// Long-lived Stale Time that we offer (RFC 9494), when graceful restart is offered too, for the families that are
    /// not in `long_lived_families`. Where there is none at all, the capability is not sent, and nothing of the peer is
    /// kept beyond its Restart Time.
    #[serde(default, with = "seconds::optional")]
    pub long_lived: Option<Duration>,
    /// The same for single families, in seconds.
    #[serde(default)]
    pub long_lived_families: BTreeMap<Family, u32>,
    /// Its paths are kept no longer than this beyond its Restart Time, whatever Long-lived Stale Time it asks for
    /// (RFC 9494); `None`: as long as it asks for.
    #[serde(default, with = "seconds::optional")]
    pub long_lived_max: Option<Duration>,
    /// An internal peer that does not know long-lived graceful restart gets long-lived stale paths all the same,
    /// with NO_EXPORT and LOCAL_PREF 0 (RFC 9494 §4.6).
    #[serde(default)]
    pub long_lived_partial: bool,
    /// Offer messages of up to 65,535 octets (RFC 8654).
    #[serde(default = "yes")]
    pub extended_messages: bool,
    /// Offer that IPv4 prefixes have an IPv6 next hop (RFC 8950).
    #[serde(default)]
    pub extended_next_hop: bool,
    /// How long paths may stay stale while the peer is there: after its return until End-of-RIB (RFC 4724
    /// §4.2), and in a refresh until its end (RFC 7313 §4).
    #[serde(with = "seconds")]
    pub stale_path_time: Duration,
    /// The session is about to be shut down (RFC 8326 §4.2): what it gets carries GRACEFUL_SHUTDOWN (and, when it is
    /// internal, LOCAL_PREF 0), and what comes from it is used only where there is nothing else.
    #[serde(default)]
    pub graceful_shutdown: bool,
    /// A path with GRACEFUL_SHUTDOWN from an external peer gets LOCAL_PREF 0 (RFC 8326 §4.1).
    #[serde(default = "yes")]
    pub honour_graceful_shutdown: bool,
    /// Several paths of a prefix (RFC 7911).
    #[serde(default)]
    pub add_path: AddPath,
    /// Most announcements of a family that may stand at it: what goes beyond is held back until others are
    /// withdrawn. A path of ADD-PATH is an announcement of its own. A family that is not here has no limit.
    #[serde(default)]
    pub prefix_limits_out: BTreeMap<Family, usize>,
    /// Everything that it sends is kept as it was before import policy, so that another policy can judge it anew. False
    /// saves that memory, also for what the policy rejects, which then counts nowhere; after a change the peer is asked
    /// for everything (RFC 2918), and where it cannot be asked all is kept all the same.
    #[serde(default = "yes")]
    pub keep_received: bool,
    /// What we take from it.
    pub import: Policy,
    /// What it gets.
    pub export: Policy,
}

impl PeerConfig {
    /// A neighbour on port 179 with the family of its address, RFC 4271's proposal of a hold time of 90 s,
    /// graceful restart, and everything accepted both ways. Change what shall be otherwise.
    pub fn new(remote_address: IpAddr, remote_asn: u32, local_asn: u32) -> PeerConfig {
        PeerConfig {
            name: remote_address.to_string(),
            remote_address,
            remote_port: 179,
            remote_asn: remote_asn.into(),
            local_asn,
            local_address: None,
            interface: None,
            passive: false,
            families: vec![match remote_address {
                IpAddr::V4(_) => Family::Ipv4Unicast,
                IpAddr::V6(_) => Family::Ipv6Unicast,
            }],
            hold_time: Duration::from_secs(90),
            connect_retry: Duration::from_secs(5),
            delay_open: None,
            shutdown: None,
            damp_oscillations: true,
            idle_hold_max: Duration::from_secs(60),
            prefix_limits: BTreeMap::new(),
            role: None,
            role_strict: false,
            local_as: LocalAs::default(),
            allow_own_as: 0,
            reflector_client: false,
            change_reflected: false,
            next_hop: NextHopMode::Auto,
            next_hop_self_v4: None,
            next_hop_self_v6: None,
            graceful_restart: Some(Duration::from_secs(120)),
            bfd: None,
            long_lived: None,
            long_lived_families: BTreeMap::new(),
            long_lived_max: None,
            long_lived_partial: false,
            extended_messages: true,
            extended_next_hop: remote_address.is_ipv6(),
            stale_path_time: Duration::from_secs(360),
            graceful_shutdown: false,
            honour_graceful_shutdown: true,
            add_path: AddPath::default(),
            prefix_limits_out: BTreeMap::new(),
            keep_received: true,
            import: Policy::accept_all(),
            export: Policy::accept_all(),
        }
    }
}

impl PeerConfig {
    /// Long-lived Stale Times by family, in the order of `families` (RFC 9494 §4.1).
    pub(crate) fn long_lived_times(&self) -> Vec<(Family, Duration)> {
        let families = self.families.iter();
        let time_of = |family: &Family| {
            let own = self.long_lived_families.get(family);
            let own = own.map(|&seconds| Duration::from_secs(seconds.into()));
            Some((*family, own.or(self.long_lived)?))
        };
        families.filter_map(time_of).collect()
    }
}

fn yes() -> bool {
    true
}

/// Which address a path that we pass on names as next hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NextHopMode {
    /// RFC 4271 §5.1.3: self on eBGP and for local paths, unchanged otherwise.
    #[default]
    Auto,
    /// Always ourselves.
    OwnAddress,
    /// Never changed, also on eBGP.
    Keep,
}

/// ADD-PATH (RFC 7911): what we offer to a peer, for all families of its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct AddPath {
    /// We take several paths of a prefix from it, if it wants to send them.
    pub receive: bool,
    /// Most paths of one prefix that we keep of it at once. What comes beyond is refused, with an event
    /// each UPDATE.
    pub receive_max: usize,
    /// It gets several paths of a prefix from us, if it wants to.
    pub send: PathsSent,
}

impl Default for AddPath {
    /// Not offered.
    fn default() -> AddPath {
        AddPath {
            receive: false,
            receive_max: 64,
            send: PathsSent::Best,
        }
    }
}

impl AddPath {
    /// We offer to send several paths of a prefix.
    pub(crate) fn sends(&self) -> bool {
        self.send != PathsSent::Best
    }

    /// It is in force without another OPEN, where `agreed` is.
    pub(crate) fn offers_the_same(&self, agreed: &AddPath) -> bool {
        (self.receive, self.sends()) == (agreed.receive, agreed.sends())
    }
}

/// Which paths of a prefix a peer gets. What must not go to it (its own paths, RFC 4456 §6, export policy)
/// does not, and no other takes its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PathsSent {
    /// The best, without ADD-PATH.
    #[default]
    Best,
    /// All that may be chosen.
    All,
    /// So many of the best, as the decision ranks them: each is what would be chosen without those before it.
    BestOf(usize),
}

/// The attributes of a prefix that we originate.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LocalPath {
    /// LOCAL_PREF towards internal peers (RFC 4271 §5.1.5); 100 when `None`.
    pub local_pref: Option<u32>,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// Standard communities (RFC 1997).
    pub communities: Vec<u32>,
}

#[cfg(test)]
mod tests;
