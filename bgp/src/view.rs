//! What people and programs may see of a speaker: plain data, with serde, for the socket API.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use crate::errors::PeerErrors;
use crate::wire::Family;

/// A peer as it is now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerView {
    /// As configured.
    pub name: String,
    /// As configured.
    pub address: IpAddr,
    /// The network device of a peer that is bound to one.
    #[serde(default)]
    pub interface: Option<String>,
    /// Its AS number; 0, which nobody has (RFC 7607), while only its kind is configured and it has not said.
    pub remote_asn: u32,
    /// Our AS number towards it.
    pub local_asn: u32,
    /// RFC 4271 §8.2.2: `Idle`, `Connect`, `Active`, `OpenSent`, `OpenConfirm`, `Established`.
    pub state: String,
    /// Seconds in this state.
    pub state_seconds: u64,
    /// Its BGP Identifier, once known.
    pub router_id: Option<Ipv4Addr>,
    /// Agreed hold time in seconds, once Established.
    pub hold_time_seconds: Option<u64>,
    /// Agreed families: `ipv4-unicast`, `ipv6-unicast`.
    pub families: Vec<String>,
    /// Capabilities that both sides have sent: `route-refresh`, `extended-message`, ...
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// The name of its host, with the domain, as it says.
    #[serde(default)]
    pub hostname: Option<String>,
    /// The name and version of its software, as it says.
    #[serde(default)]
    pub software: Option<String>,
    /// Paths in its Adj-RIB-In: one a prefix, and with ADD-PATH (RFC 7911) one or more.
    pub prefixes_received: usize,
    /// Of these, accepted by import policy.
    pub prefixes_accepted: usize,
    /// Of these, kept from before its restart.
    pub prefixes_stale: usize,
    /// What was sent to it and stands: one announcement a prefix, and with ADD-PATH one or more.
    pub prefixes_sent: usize,
    /// Paths that were refused in all sessions because it has sent too many of one prefix.
    #[serde(default)]
    pub paths_refused: u64,
    /// The same figures and more for each family that is agreed on, or of which something is kept.
    #[serde(default)]
    pub by_family: Vec<FamilyView>,
    /// It has sent End-of-RIB in this session.
    pub end_of_rib: bool,
    /// We are restarting and still wait for it.
    pub deferral_pending: bool,
    /// What BFD says of the path: `Up`, `Down`, `AdminDown`, or `Unknown` before it has said anything. `None`: it is
    /// not asked.
    #[serde(default)]
    pub bfd: Option<String>,
    /// How often it left Established.
    pub flaps: u64,
    /// UPDATEs received and sent in all sessions.
    pub updates_received: u64,
    /// UPDATEs received and sent in all sessions.
    pub updates_sent: u64,
    /// Messages received and sent in all sessions.
    pub messages_received: u64,
    /// Messages received and sent in all sessions.
    pub messages_sent: u64,
    /// Why no connection is made or accepted, and for how long: `administratively down: maintenance`.
    #[serde(default)]
    pub held: Option<String>,
    /// Why the last session or attempt ended.
    pub last_error: Option<String>,
    /// How many seconds ago.
    #[serde(default)]
    pub last_error_seconds: Option<u64>,
    /// What has gone wrong in all sessions and attempts, by kind.
    #[serde(default)]
    pub errors: PeerErrors,
}

/// What is between a peer and us of one family. A path is counted, not a prefix, where ADD-PATH (RFC 7911) was
/// agreed on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FamilyView {
    /// Which: `ipv4-unicast`, `ipv6-unicast`.
    pub family: Family,
    /// In its Adj-RIB-In.
    pub received: usize,
    /// Of these, accepted by import policy and all other checks.
    pub accepted: usize,
    /// Of these, the best of their prefix.
    pub best: usize,
    /// Of those received, kept from before its restart.
    pub stale: usize,
    /// Sent to it, and standing there.
    pub sent: usize,
    /// Not sent to it because of `PeerConfig::prefix_limits_out`.
    pub held_back: usize,
    /// It sends several paths of a prefix (RFC 7911).
    pub add_path_receive: bool,
    /// It gets several paths of a prefix (RFC 7911).
    pub add_path_send: bool,
    /// What it sends of the family is not heard any more in this session (RFC 7606 §2, AFI/SAFI disable).
    #[serde(default)]
    pub disabled: bool,
}

/// A prefix of the Loc-RIB.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteView {
    /// Which.
    pub prefix: IpNet,
    /// Candidates, the best first.
    pub paths: Vec<PathView>,
}

/// One candidate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PathView {
    /// The peer it came from; `None`: local.
    pub peer: Option<IpAddr>,
    /// The Path Identifier that the peer gave it (RFC 7911); `None`: ADD-PATH was not agreed on.
    #[serde(default)]
    pub path_id: Option<u32>,
    /// NEXT_HOP; `None`: local.
    pub next_hop: Option<IpAddr>,
    /// Best.
    pub best: bool,
    /// Best, or as good for multipath.
    pub multipath: bool,
    /// Kept from before the peer's restart.
    pub stale: bool,
    /// Kept beyond the peer's Restart Time (RFC 9494), and the last to be chosen.
    #[serde(default)]
    pub long_lived_stale: bool,
    /// Why it is not best, in the words of RFC 4271 §9.1.2.2: `longer AS_PATH (2 against 1)`.
    pub lost_because: Option<String>,
    /// LOCAL_PREF, as the decision saw it.
    pub local_pref: u32,
    /// AS_PATH as text.
    pub as_path: String,
    /// `igp`, `egp`, `incomplete`.
    pub origin: String,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// `aa:bb`, then the large ones (RFC 8092): `aa:bb:cc`.
    pub communities: Vec<String>,
    /// ORIGINATOR_ID.
    pub originator_id: Option<Ipv4Addr>,
    /// CLUSTER_LIST.
    pub cluster_list: Vec<Ipv4Addr>,
}

/// What would become of a path on its way to a peer, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExportView {
    /// Of which prefix.
    pub prefix: IpNet,
    /// The peer it came from; `None`: local.
    pub from: Option<IpAddr>,
    /// The Path Identifier that it goes out under (RFC 7911); `None`: the peer gets the best path only.
    #[serde(default)]
    pub path_id: Option<u32>,
    /// The peer would get it.
    pub sent: bool,
    /// Why, in words: `export policy, rule 2 "learned in pools"`, `not best: longer AS_PATH (2 against 1)`.
    pub reason: String,
    /// As the Loc-RIB has it.
    pub before: AttributesView,
    /// As the peer would get it.
    pub after: Option<AttributesView>,
}

/// What would become of a path that a peer has sent, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImportView {
    /// Of which prefix.
    pub prefix: IpNet,
    /// The Path Identifier that the peer gave it (RFC 7911); `None`: ADD-PATH was not agreed on.
    #[serde(default)]
    pub path_id: Option<u32>,
    /// The decision would consider it.
    pub accepted: bool,
    /// Why, in words: `import policy, default`, `loop: our AS is in AS_PATH`.
    pub reason: String,
    /// As the peer has sent it.
    pub before: AttributesView,
    /// As the decision would see it.
    pub after: Option<AttributesView>,
}

/// Path attributes as text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttributesView {
    /// NEXT_HOP; `None`: local.
    pub next_hop: Option<IpAddr>,
    /// LOCAL_PREF.
    pub local_pref: Option<u32>,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// AS_PATH.
    pub as_path: String,
    /// `igp`, `egp`, `incomplete`.
    pub origin: String,
    /// As policies write them: standard, extended, large.
    pub communities: Vec<String>,
    /// ORIGINATOR_ID.
    pub originator_id: Option<Ipv4Addr>,
    /// CLUSTER_LIST.
    pub cluster_list: Vec<Ipv4Addr>,
}
