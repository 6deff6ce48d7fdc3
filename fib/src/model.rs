//! The words of this crate: what is wished for, and what can be seen.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::counters::FibCounters;
use crate::device_prefixes::DevicePrefixes;
use crate::settings::Settings;

/// How the FIB works at its start; not what it contains. [`Change::SetSettings`] changes a part of it later.
#[derive(Debug, Clone)]
pub struct Config {
    /// The signature on every route we write (RTA protocol).
    pub protocol: u8,
    /// Metric of all our IPv4 and IPv6 routes; 0: none given (the kernel makes it 1024 in IPv6).
    pub metric: u32,
    /// How devices of local workloads are named: `cali…`.
    pub device_prefixes: DevicePrefixes,
    /// Remote routes that share a next hop lead to one nexthop object of the kernel, where it has such objects; else each
    /// has its own next hops.
    pub nexthop_objects: bool,
    /// How often the kernel is read whole, as a safety net under events.
    pub verify_interval: Duration,
    /// `/proc/sys`, or a folder of a test.
    pub sysctl_root: PathBuf,
    /// `/proc`, or a folder of a test: names of processes that change our routes.
    pub proc_root: PathBuf,
    /// Where to note what the kernel was like before us, for [`crate::cleanup()`]; a folder that a reboot empties. `None`:
    /// nothing is noted, and sysctls and `tunl0` are not put back.
    pub before_file: Option<PathBuf>,
    /// Routes of others on devices of our workloads are removed, as Felix does (`removeExternalRoutes`).
    pub remove_external_routes: bool,
    /// After so much time, because a CNI plugin may write its route before we hear of the workload.
    pub external_grace: Duration,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            protocol: 67,
            metric: 0,
            device_prefixes: DevicePrefixes::default(),
            nexthop_objects: true,
            verify_interval: Duration::from_secs(300),
            sysctl_root: "/proc/sys".into(),
            proc_root: "/proc".into(),
            before_file: None,
            remove_external_routes: true,
            external_grace: Duration::from_secs(10),
        }
    }
}

/// One change of what is desired. Later ones of the same key replace earlier ones; equal ones cost nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Routes of remote blocks and our own blackholes.
    SetRoute(IpNet, Route),
    /// No such route is desired any more. One that was desired in this run is deleted at once; one that the kernel has of an
    /// earlier run, when the gate allows.
    RemoveRoute(IpNet),
    /// A local workload, by the name of its host-side device: `/32` and `/128` routes, static neighbours, sysctls.
    SetEndpoint(String, Endpoint),
    /// The workload is gone.
    RemoveEndpoint(String),
    /// Tunnel devices of this node, all at once.
    SetTunnels(Box<Tunnels>),
    /// How a remote node is reached over VXLAN, by node address.
    SetVtep(IpAddr, Vtep),
    /// The node names no VXLAN tunnel any more. Its entries stay while a route of ours leads there, five minutes at most.
    RemoveVtep(IpAddr),
    /// Whether a node, by its address, can receive IPIP, as far as it says. One of which nothing is said can.
    SetIpipEnd(IpAddr, bool),
    /// Which unknown routes of ours may be deleted.
    SetGate(Gate),
    /// How the FIB works from now on. Routes that change their metric are there all the time.
    SetSettings(Box<Settings>),
}

/// A hundred thousand of them may be on their way at once, and nearly all are of routes: what is larger is in a box.
const _: () = assert!(size_of::<Change>() <= 64);

/// Node addresses. Most routes have one, which then costs no memory elsewhere.
pub type NextHops = SmallVec<[IpAddr; 1]>;

/// What a prefix shall have in the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// A remote block. The FIB finds the way out by itself ([`crate::egress`]), again when addresses change.
    Remote {
        /// BGP next hops (node addresses), one or more; more are one multipath route.
        next_hops: NextHops,
        /// What its pool asks for.
        encapsulation: Encapsulation,
    },
    /// What is behind routers on links of ours, whose addresses mean something there only. No tunnel leads there.
    Links {
        /// Link-local addresses, also of IPv4 prefixes (RFC 8950), each with the name of its network device; more are
        /// one multipath route.
        next_hops: Vec<(IpAddr, String)>,
    },
    /// A block of this node: what no workload's longer route takes is dropped here.
    Blackhole,
}

/// The encapsulation of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Encapsulation {
    /// Never.
    None,
    /// `ipipMode`.
    Ipip(Mode),
    /// `vxlanMode`.
    Vxlan(Mode),
}

/// When a pool is encapsulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Mode {
    /// To every node.
    Always,
    /// To nodes outside our subnets.
    CrossSubnet,
}

/// A local workload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Endpoint {
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// The MAC of its own end of the veth pair.
    pub mac: [u8; 6],
    /// How its routes stand among others of the same addresses.
    pub standing: Standing,
    /// It may send from addresses that are not its own: its device's `rp_filter` is off.
    pub may_spoof: bool,
}

/// How the routes to a workload stand among others of the same addresses, while it moves from node to node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Standing {
    /// It does not move.
    #[default]
    Normal,
    /// It is to come here and runs elsewhere still: its device is prepared, and there is no route yet.
    Awaited,
    /// It has just come: its routes have the lower metric of [`Settings`].
    Elevated,
}

/// Tunnel devices that this node shall have. `None`: not used; ours is taken down and its addresses removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tunnels {
    /// `tunl0`.
    pub ipip: Option<IpipDevice>,
    /// `vxlan.calico`.
    pub vxlan: Option<VxlanDevice>,
    /// `vxlan-v6.calico`.
    pub vxlan_v6: Option<VxlanDevice>,
    /// Those of the above that no pool asks for any more: [`TunnelStatus::used`] says when no route uses one.
    pub leaving: TunnelSet,
    /// Other nodes may still send through these. One that is not desired stays as it is meanwhile, five minutes at most.
    pub awaited: TunnelSet,
}

/// Some of the three tunnels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TunnelSet {
    /// `tunl0`.
    pub ipip: bool,
    /// `vxlan.calico`.
    pub vxlan: bool,
    /// `vxlan-v6.calico`.
    pub vxlan_v6: bool,
}

/// The kernel's fallback IPIP device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpipDevice {
    /// Its address, as /32.
    pub address: Ipv4Addr,
    /// Octets; `None`: the smallest host MTU less 20.
    pub mtu: Option<u32>,
}

/// A VXLAN device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VxlanDevice {
    /// VXLAN network identifier: 4096.
    pub vni: u32,
    /// UDP port: 4789.
    pub port: u16,
    /// Its address, as /32 or /128.
    pub address: IpAddr,
    /// Its MAC.
    pub mac: [u8; 6],
    /// This node's address, the outer source.
    pub local: IpAddr,
    /// Octets; `None`: the smallest host MTU less 50 (IPv6: 70).
    pub mtu: Option<u32>,
}

/// The far end of a VXLAN tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vtep {
    /// Address of the remote `vxlan.calico`.
    pub address: IpAddr,
    /// Its MAC.
    pub mac: [u8; 6],
}

/// Which routes of ours that nobody desires may be deleted (invariant 3 of docs/architecture.md).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gate {
    /// None: the datastore is not in sync.
    Closed,
    /// All but those whose next hop (node address; for VXLAN the address of the VTEP) is one of these: peers that are
    /// still expected to tell.
    OpenExcept(Vec<IpAddr>),
    /// All but those learned from anywhere: own blackholes and workload routes may go, remote routes not.
    LocalOnly,
    /// All.
    Open,
}

/// The state of the FIB, for readiness, metrics and people.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FibStatus {
    /// The kernel was read at least once.
    pub in_sync: bool,
    /// Routes that are desired.
    pub desired: usize,
    /// Routes with our signature that the kernel has.
    pub actual: usize,
    /// Differences not yet written.
    pub pending: usize,
    /// Of these: refused by the kernel, or waiting for a device. Each is retried.
    pub failed: usize,
    /// Routes of ours in the kernel that nobody desires and the gate protects.
    pub stale: usize,
    /// Netlink route messages written since the start (sets and deletes).
    pub writes: u64,
    /// Routes of ours that someone else changed or deleted, and we repaired.
    pub repairs: u64,
    /// Routes that share a next hop lead to one nexthop object. `false`: switched off, or the kernel has none.
    #[serde(default)]
    pub nexthop_objects: bool,
    /// Nexthop objects of ours that the kernel has.
    #[serde(default)]
    pub objects: usize,
    /// Netlink messages about them written since the start.
    #[serde(default)]
    pub object_writes: u64,
    /// Of them, changed or deleted by someone else, and repaired with the routes on them.
    #[serde(default)]
    pub object_repairs: u64,
    /// Whole reads of the kernel.
    pub resyncs: u64,
    /// Overruns of the event socket.
    pub overruns: u64,
    /// What else has happened, by cause.
    #[serde(default)]
    pub counters: FibCounters,
    /// Routes that someone else keeps changing, so that repairing pauses.
    #[serde(default)]
    pub contested: usize,
    /// Smallest MTU of the host's own devices, in octets.
    pub host_mtu: Option<u32>,
    /// Named conditions with a sentence each: `NoIpip`, `NoVxlan`, `SysctlReadOnly`, `RouteRefused`, `RouteContested`,
    /// `RouteShadowed`, `TableFull`, `WriterLost`.
    pub conditions: Vec<(String, String)>,
    /// Tunnel devices that are desired, or still there.
    #[serde(default)]
    pub tunnels: Vec<TunnelStatus>,
    /// Routes that keep another way than is wanted until a change of encapsulation can be made.
    #[serde(default)]
    pub kept: usize,
    /// Routes into an IPIP tunnel whose far end has not said that it can receive it.
    #[serde(default)]
    pub unconfirmed: usize,
}

/// A tunnel device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TunnelStatus {
    /// `tunl0`, `vxlan.calico`, `vxlan-v6.calico`.
    pub device: String,
    /// `ready`: up, with its address: this node can receive. `making`: not yet. `failed`: it will be tried again. `broken`:
    /// failed for 30 s and more. `leaving`: ready, though no pool asks for it any more. `retiring`: stays while others may
    /// send, or routes use it.
    pub state: String,
    /// The address that it has, of those that it shall have.
    pub address: Option<IpAddr>,
    /// Routes of ours lead through it, or will. Looked at only when it is leaving or retiring; else true.
    pub used: bool,
    /// Why it failed.
    pub reason: Option<String>,
}

/// One desired or actual route.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteStatus {
    /// Which.
    pub prefix: IpNet,
    /// As `ip route` would print it: `via 172.31.2.3 dev tunl0 onlink`, `dev cali0123456789a scope link`, `blackhole`.
    pub way: String,
    /// Metric, as the kernel shows it.
    #[serde(default)]
    pub metric: u32,
    /// The nexthop object that it leads to (`nhid`), if it shares its next hops with others.
    #[serde(default)]
    pub nexthop_id: Option<u32>,
    /// `installed`, `pending`, `failed`, `stale`.
    pub state: String,
    /// Why it failed or waits.
    pub reason: Option<String>,
}
