//! What the agent shows of itself. The route reflector answers the same requests.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// An error reply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiError {
    /// One sentence that names the object and the value.
    pub error: String,
}

/// The agent as a whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// This node's name.
    pub node: String,
    /// Version of the agent.
    pub version: String,
    /// Seconds since it started.
    pub uptime_seconds: u64,
    /// This node's address with prefix length.
    pub ipv4: Option<IpNet>,
    /// This node's address with prefix length.
    pub ipv6: Option<IpNet>,
    /// AS number of this node.
    pub asn: u32,
    /// BGP Identifier.
    pub router_id: Option<Ipv4Addr>,
    /// CLUSTER_ID (RFC 4456). `None`: it reflects nothing.
    #[serde(default)]
    pub cluster_id: Option<Ipv4Addr>,
    /// Own work is done: datastore in sync and kernel equal to desired.
    pub ready: bool,
    /// Why not ready, in words.
    pub not_ready_because: Vec<String>,
    /// The datastore has delivered a complete set.
    pub datastore_in_sync: bool,
    /// Sessions Established.
    pub peers_established: usize,
    /// Sessions configured.
    pub peers_configured: usize,
    /// Confirmed blocks of this node.
    pub blocks: Vec<IpNet>,
    /// Local workloads.
    pub endpoints: usize,
    /// The FIB. `None`: a process without one (route reflector).
    pub fib: Option<FibSummary>,
    /// The packet filter. `None`: a process without one.
    #[serde(default)]
    pub filter: Option<FilterSummary>,
    /// What is wrong without being fatal.
    pub conditions: Vec<Condition>,
    /// Who watches the speaker; `None`: nobody.
    #[serde(default)]
    pub monitoring: Option<Monitoring>,
}

/// Collectors and files that get what the speaker hears and does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Monitoring {
    /// BMP collectors (RFC 7854).
    pub stations: Vec<Station>,
    /// Octets written to MRT files (RFC 6396).
    pub mrt_octets: u64,
    /// How often MRT files could not be written.
    pub mrt_errors: u64,
    /// How often everything began anew, because messages came faster than they were taken.
    pub overruns: u64,
}

/// A BMP collector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Station {
    /// As configured.
    pub address: SocketAddr,
    /// There is a connection.
    pub up: bool,
    /// It has been told all that was there when it came up.
    pub synchronized: bool,
    /// How often it was connected to.
    pub connects: u64,
    /// How often it was let go because it did not keep up.
    pub overruns: u64,
    /// Octets given to it.
    pub octets: u64,
    /// Why there is no connection, or why the last one ended.
    pub last_error: Option<String>,
}

/// A named condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// `NoIpip`, `InvalidResource`, `PeerDown`.
    pub name: String,
    /// One sentence that names the object and the value.
    pub message: String,
}

/// The FIB in figures.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FibSummary {
    /// Routes desired.
    pub desired: usize,
    /// Routes of ours in the kernel.
    pub actual: usize,
    /// Not yet written.
    pub pending: usize,
    /// Refused or waiting for a device.
    pub failed: usize,
    /// Undesired but protected for now.
    pub stale: usize,
    /// Route writes since the start.
    pub writes: u64,
    /// Foreign changes repaired.
    pub repairs: u64,
    /// Routes that others keep changing.
    #[serde(default)]
    pub contested: usize,
    /// Routes that keep another way than is wanted until a change of encapsulation can be made.
    #[serde(default)]
    pub kept: usize,
    /// Routes into an IPIP tunnel whose far end has not said that it can receive it.
    #[serde(default)]
    pub unconfirmed: usize,
    /// Tunnel devices that are desired, or still there.
    #[serde(default)]
    pub tunnels: Vec<Tunnel>,
    /// Routes that share a next hop lead to one nexthop object. `false`: switched off, or the kernel has none.
    #[serde(default)]
    pub nexthop_objects: bool,
    /// Nexthop objects of ours in the kernel.
    #[serde(default)]
    pub objects: usize,
    /// Messages about them since the start.
    #[serde(default)]
    pub object_writes: u64,
    /// Of them, changed by others and repaired.
    #[serde(default)]
    pub object_repairs: u64,
}

/// A tunnel device of the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tunnel {
    /// `tunl0`, `vxlan.calico`, `vxlan-v6.calico`.
    pub device: String,
    /// `ready`: the node can receive. `making`: not yet. `failed`. `leaving`: ready, though no pool asks for it any more.
    /// `retiring`: stays while others may send, or routes use it.
    pub state: String,
    /// The address that it has.
    pub address: Option<IpAddr>,
    /// Why it failed.
    pub reason: Option<String>,
}

/// The packet filter in figures.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct FilterSummary {
    /// The kernel has the table as it was wished for.
    pub settled: bool,
    /// Connections that got another source.
    pub masqueraded: u64,
    /// Packets of pods dropped because of their source.
    pub spoofed: u64,
    /// Packets for services dropped or rejected, because they would have left the node again.
    pub looped: u64,
    /// Packets dropped that pods had put into a tunnel themselves.
    pub encapsulated: u64,
    /// Packets of pods to or from 127.0.0.0/8 dropped.
    pub loopback: u64,
    /// Packets in tunnels dropped because they came from no node.
    pub strangers: u64,
    /// Transactions written since the start.
    pub transactions: u64,
    /// Foreign changes of the table repaired.
    pub repairs: u64,
    /// Conntrack entries of released addresses deleted.
    pub conntrack_deleted: u64,
    /// Times that this failed.
    pub conntrack_failures: u64,
}

/// A BGP peer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Peer {
    /// `Mesh_172_31_0_2`.
    pub name: String,
    /// `node-to-node mesh`, `global`, `node specific`, `client`.
    pub peer_type: String,
    /// Its address.
    pub address: IpAddr,
    /// Its AS number; 0 while only its kind is configured and it has not said.
    pub remote_asn: u32,
    /// Ours towards it.
    pub local_asn: u32,
    /// `Idle` … `Established`.
    pub state: String,
    /// Seconds in this state.
    pub state_seconds: u64,
    /// Its BGP Identifier.
    pub router_id: Option<Ipv4Addr>,
    /// Agreed hold time.
    pub hold_time_seconds: Option<u64>,
    /// Agreed families.
    pub families: Vec<String>,
    /// Capabilities that both sides have sent.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// The name of its host, as it says.
    #[serde(default)]
    pub hostname: Option<String>,
    /// The name and version of its software, as it says.
    #[serde(default)]
    pub software: Option<String>,
    /// Paths received from it: with ADD-PATH (RFC 7911) a prefix may have several.
    pub prefixes_received: usize,
    /// Of these, accepted.
    pub prefixes_accepted: usize,
    /// Of these, kept from before its restart.
    pub prefixes_stale: usize,
    /// Announcements sent to it that stand.
    pub prefixes_sent: usize,
    /// What BFD says of the path: `Up`, `Down`, `AdminDown`, `Unknown`. `None`: it is not asked.
    #[serde(default)]
    pub bfd: Option<String>,
    /// Paths that were refused because it has sent too many of one prefix.
    #[serde(default)]
    pub paths_refused: u64,
    /// What is between it and us of each family.
    #[serde(default)]
    pub by_family: Vec<FamilyCounts>,
    /// How often the session was lost.
    pub flaps: u64,
    /// Messages received.
    pub messages_received: u64,
    /// Messages sent.
    pub messages_sent: u64,
    /// Why no connection is made or accepted, and for how long.
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

/// How often what has gone wrong with a peer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PeerErrors {
    /// Our attempts to connect that came to nothing.
    pub connections_failed: u64,
    /// Connections of the peer that were not taken, because it was held or shut down.
    pub connections_refused: u64,
    /// Connections that TCP lost.
    pub connections_lost: u64,
    /// Connections on which nothing was heard for the hold time.
    pub hold_timer_expired: u64,
    /// NOTIFICATIONs sent, by the names of code and subcode.
    pub notifications_sent: BTreeMap<String, u64>,
    /// NOTIFICATIONs received, likewise.
    pub notifications_received: BTreeMap<String, u64>,
    /// UPDATEs with an attribute that was discarded (RFC 7606).
    pub attributes_discarded: u64,
    /// UPDATEs whose prefixes were withdrawn because of an attribute.
    pub treated_as_withdraw: u64,
    /// Families that were disabled until the session's end.
    pub families_disabled: u64,
}

impl PeerErrors {
    /// Each kind with its name in metrics.
    pub fn by_kind(&self) -> [(&'static str, u64); 9] {
        [
            ("connection_failed", self.connections_failed),
            ("connection_refused", self.connections_refused),
            ("connection_lost", self.connections_lost),
            ("hold_timer_expired", self.hold_timer_expired),
            ("notification_sent", self.notifications_sent.values().sum()),
            (
                "notification_received",
                self.notifications_received.values().sum(),
            ),
            ("attribute_discarded", self.attributes_discarded),
            ("treated_as_withdraw", self.treated_as_withdraw),
            ("family_disabled", self.families_disabled),
        ]
    }

    /// All peers together, as metrics show it.
    pub fn sum<'a>(peers: impl Iterator<Item = &'a PeerErrors>) -> [(&'static str, u64); 9] {
        let mut sum = PeerErrors::default().by_kind();
        for errors in peers {
            for (sum, (_, more)) in sum.iter_mut().zip(errors.by_kind()) {
                sum.1 += more;
            }
        }
        sum
    }
}

/// What is between a peer and us of one family. With ADD-PATH (RFC 7911) paths are counted, else prefixes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FamilyCounts {
    /// `ipv4-unicast`, `ipv6-unicast`.
    pub family: String,
    /// Received from it.
    pub received: usize,
    /// Of these, accepted.
    pub accepted: usize,
    /// Of these, the best of their prefix.
    pub best: usize,
    /// Of those received, kept from before its restart.
    pub stale: usize,
    /// Sent to it.
    pub sent: usize,
    /// Not sent to it because of its limit.
    pub held_back: usize,
    /// It sends several paths of a prefix.
    pub add_path_receive: bool,
    /// It gets several paths of a prefix.
    pub add_path_send: bool,
    /// What it sends of the family is not heard any more in this session (RFC 7606).
    #[serde(default)]
    pub disabled: bool,
}

/// A prefix of the Loc-RIB.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Route {
    /// Which.
    pub prefix: IpNet,
    /// Candidates, best first.
    pub paths: Vec<Path>,
}

/// A candidate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Path {
    /// From which peer; `None`: local.
    pub peer: Option<IpAddr>,
    /// The Path Identifier that the peer gave it (RFC 7911).
    #[serde(default)]
    pub path_id: Option<u32>,
    /// NEXT_HOP.
    pub next_hop: Option<IpAddr>,
    /// The best.
    pub best: bool,
    /// Used, alone or with equals.
    pub multipath: bool,
    /// From before the peer's restart.
    pub stale: bool,
    /// Kept beyond the peer's Restart Time (RFC 9494).
    #[serde(default)]
    pub long_lived_stale: bool,
    /// Why it is not the best.
    pub lost_because: Option<String>,
    /// LOCAL_PREF.
    pub local_pref: u32,
    /// AS_PATH.
    pub as_path: String,
    /// ORIGIN.
    pub origin: String,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// COMMUNITIES, then LARGE_COMMUNITY.
    pub communities: Vec<String>,
    /// ORIGINATOR_ID.
    pub originator_id: Option<Ipv4Addr>,
    /// CLUSTER_LIST.
    pub cluster_list: Vec<Ipv4Addr>,
}

/// What an operator wants done with a peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PeerOrder {
    /// Which peer.
    pub peer: IpAddr,
    /// What.
    pub verb: PeerVerb,
    /// For the peer's operator (RFC 9003), with the verbs that end a session; may be empty.
    #[serde(default)]
    pub words: String,
}

/// What can be done with a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PeerVerb {
    /// The session begins anew, and nothing of the old one is kept.
    ResetHard,
    /// The session begins anew, and paths are kept meanwhile where RFC 8538 was agreed on.
    ResetGraceful,
    /// The session stays; policies judge all paths once more, both ways.
    ResetSoft,
    /// The peer is asked to send everything once more (RFC 2918).
    Refresh,
    /// Administratively down, until `BringUp` or the end of the process.
    ShutDown,
    /// Takes `ShutDown` back.
    BringUp,
}

/// The whole node is about to be shut down (RFC 8326 §4.2), or no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GracefulShutdown {
    /// Its paths are everybody's last choice.
    pub on: bool,
}

/// A question about policies: what would be taken from a peer, or sent to it, and why?
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Explain {
    /// Which peer.
    pub peer: IpAddr,
    /// Which prefix; `None`: all.
    #[serde(default)]
    pub prefix: Option<IpNet>,
    /// With this policy (`docs/operation/policy.md`) instead of the peer's; nothing is changed.
    #[serde(default)]
    pub policy: Option<serde_json::Value>,
}

/// What would become of one path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explained {
    /// Of which prefix.
    pub prefix: IpNet,
    /// The peer it came from; `None`: local.
    pub from: Option<IpAddr>,
    /// Its Path Identifier between the peer and us (RFC 7911); `None`: there is none.
    #[serde(default)]
    pub path_id: Option<u32>,
    /// It would be taken, or sent.
    pub accepted: bool,
    /// Why.
    pub reason: String,
    /// As it is before the policy.
    pub before: PathAttributes,
    /// As it would be taken, or sent.
    pub after: Option<PathAttributes>,
}

/// Path attributes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PathAttributes {
    /// NEXT_HOP; `None`: local.
    pub next_hop: Option<IpAddr>,
    /// LOCAL_PREF.
    pub local_pref: Option<u32>,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// AS_PATH.
    pub as_path: String,
    /// ORIGIN.
    pub origin: String,
    /// Standard, extended and large.
    pub communities: Vec<String>,
    /// ORIGINATOR_ID.
    pub originator_id: Option<Ipv4Addr>,
    /// CLUSTER_LIST.
    pub cluster_list: Vec<Ipv4Addr>,
}

/// A route of the FIB.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FibRoute {
    /// Which.
    pub prefix: IpNet,
    /// As `ip route` prints it.
    pub way: String,
    /// Metric, as the kernel shows it; `None`: an older agent does not say.
    #[serde(default)]
    pub metric: Option<u32>,
    /// The nexthop object that it leads to (`nhid`), if it shares its next hops with others.
    #[serde(default, rename = "nexthopId")]
    pub nexthop_id: Option<u32>,
    /// `installed`, `pending`, `failed`, `stale`.
    pub state: String,
    /// Why it is not installed.
    pub reason: Option<String>,
}

/// A local workload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointView {
    /// `default/web-1`.
    pub workload: String,
    /// Container ID.
    pub container_id: String,
    /// Host side of the veth.
    pub device: String,
    /// Addresses.
    pub addresses: Vec<IpAddr>,
}
