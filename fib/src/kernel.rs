//! The kernel as this crate sees it: routes, devices and neighbours as plain values, and the one trait behind which
//! there is either netlink ([`crate::netlink`]) or, in tests, a table in memory.

#[cfg(test)]
pub(crate) mod fake;
mod nexthop;
mod ways;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use ipnet::IpNet;
use smallvec::SmallVec;
use tokio::sync::oneshot;

use crate::hash::hash_near;

pub(crate) use nexthop::{Content, GROUPS, Member, Nexthops, Object, ObjectId};
pub(crate) use ways::Ways;

/// What tells one route of the main table from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub prefix: IpNet,
    /// As the kernel shows it: IPv6 has no metric 0.
    pub metric: u32,
}

/// Neighbours stand side by side, since routes mostly come in their order.
impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash_near(state, &self.prefix, self.metric);
    }
}

/// What a route does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spec {
    pub protocol: u8,
    pub kind: Kind,
    /// RT_SCOPE_LINK for IPv4 routes without a gateway; always 0 in IPv6.
    pub scope: u8,
    pub nexthops: Nexthops,
    /// Preferred source (RTA_PREFSRC). Few routes have one, so it costs a pointer.
    pub source: Option<Box<IpAddr>>,
    /// It has attributes that we never write, as metrics.
    pub foreign_attributes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Unicast,
    Blackhole,
    /// Anything else, by its number (RTN_*).
    Other(u8),
}

/// One way out of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Hop {
    pub via: Option<IpAddr>,
    /// Index.
    pub device: u32,
    pub onlink: bool,
    /// Of 1 to 256, less one (rtnh_hops).
    pub weight: u8,
}

/// A network device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub index: u32,
    pub name: String,
    /// Administratively (IFF_UP).
    pub up: bool,
    /// IFF_RUNNING or IFF_LOWER_UP. Without both, the kernel keeps no nexthop objects on it.
    pub carrier: bool,
    /// Octets.
    pub mtu: u32,
    pub mac: Option<[u8; 6]>,
    pub kind: LinkKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LinkKind {
    Ordinary,
    Loopback,
    /// IPIP, as `tunl0`.
    Ipip,
    /// Any other tunnel but VXLAN.
    Tunnel,
    Vxlan(VxlanLink),
}

/// What cannot be changed of a VXLAN device once it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VxlanLink {
    pub vni: u32,
    pub port: u16,
    pub local: Option<IpAddr>,
    pub learning: bool,
}

/// A permanent neighbour or forwarding entry, by device index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum NeighbourKey {
    /// ARP or NDP.
    Address(u32, IpAddr),
    /// Forwarding database of a VXLAN device.
    Mac(u32, [u8; 6]),
}

impl NeighbourKey {
    /// Index.
    pub(crate) fn device(&self) -> u32 {
        let (NeighbourKey::Address(device, _) | NeighbourKey::Mac(device, _)) = self;
        *device
    }

    /// For logs: `10.233.1.5 on cali0123456789a`, `66:2d:bf:44:a6:8b on device 3` where no device has that index.
    pub(crate) fn describe<'a>(&self, name: impl Fn(u32) -> Option<&'a str>) -> String {
        let index = self.device();
        let device = name(index).map_or_else(|| format!("device {index}"), str::to_owned);
        match self {
            NeighbourKey::Address(_, address) => format!("{address} on {device}"),
            NeighbourKey::Mac(_, mac) => {
                let octets = mac.map(|octet| format!("{octet:02x}"));
                format!("{} on {device}", octets.join(":"))
            }
        }
    }
}

/// What a neighbour is reached by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NeighbourValue {
    Mac([u8; 6]),
    /// Outer destination.
    Remote(IpAddr),
}

/// Devices and their addresses. There are few of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Devices {
    pub links: Vec<Link>,
    /// By device index.
    pub addresses: Vec<(u32, IpNet)>,
}

/// What there may be very many of, read one after the other and while others write.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tables {
    /// Nexthop objects, ours and others'; `None`: this kernel has no such thing. Read before the routes, since an object
    /// that goes takes its routes along: of one that is missed here, the routes might be believed for ever.
    pub objects: Option<Vec<(ObjectId, Object)>>,
    /// Of the main table.
    pub routes: Vec<(Key, Spec)>,
    pub neighbours: Vec<(NeighbourKey, NeighbourValue)>,
}

/// What became of a read that goes on beside the worker.
pub(crate) type Answer = oneshot::Receiver<Result<Tables, Refusal>>;

/// Something happened that was not our own route write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    Link(Link),
    LinkGone(u32),
    Address(u32, IpNet),
    AddressGone(u32, IpNet),
    /// A route was added, or has replaced another of the same key.
    Route {
        key: Key,
        spec: Spec,
        replaced: bool,
        /// Netlink port of the writer, most often its process id; 0: the kernel itself.
        by: u32,
    },
    RouteGone {
        key: Key,
        spec: Spec,
        by: u32,
    },
    /// A nexthop object was added or replaced.
    Object {
        id: ObjectId,
        object: Object,
        by: u32,
    },
    /// With the routes on it.
    ObjectGone {
        id: ObjectId,
        by: u32,
    },
    Neighbour(NeighbourKey, NeighbourValue),
    NeighbourGone(NeighbourKey),
    /// Events were lost.
    Overrun,
    /// This socket has failed, for this reason, and is opened again.
    SocketLost(Lane, String),
    /// It is open again. What happened meanwhile was not heard.
    SocketBack(Lane),
}

/// What a socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    /// What others do.
    Events,
    /// Devices, neighbours, lookups.
    Requests,
}

/// One message about a route, or about the nexthop object that routes share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Write {
    Set {
        key: Key,
        spec: Spec,
        /// Whatever has the key is replaced; else the write fails when there is something.
        replace: bool,
    },
    Delete {
        key: Key,
        spec: Spec,
    },
    SetObject {
        id: ObjectId,
        object: Object,
        /// As of a route.
        replace: bool,
    },
    /// And the routes on it, if there still are any.
    DeleteObject {
        id: ObjectId,
    },
}

/// A change that is not a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DeviceChange {
    /// Makes `tunl0`, by which the kernel loads the module if it has one.
    AddIpip(String),
    AddVxlan {
        name: String,
        link: VxlanLink,
        mac: [u8; 6],
        mtu: u32,
    },
    DeleteLink(u32),
    SetUp(u32, bool),
    SetMtu(u32, u32),
    AddAddress(u32, IpNet),
    DeleteAddress(u32, IpNet),
    SetNeighbour(NeighbourKey, NeighbourValue),
    DeleteNeighbour(NeighbourKey, NeighbourValue),
}

/// The kernel said no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Positive errno; 0 when there was no answer.
    pub errno: i32,
    /// With the kernel's own words when it gave some.
    pub reason: String,
}

impl Refusal {
    /// There is no such thing, or not even its device: to a deletion that is as good as done.
    pub(crate) fn is_absence(&self) -> bool {
        [libc::ENOENT, libc::ESRCH, libc::ENODEV].contains(&self.errno)
    }
}

/// A batch whose answers did not all arrive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WriteError {
    /// The kernel dropped answers for want of room (ENOBUFS).
    Overrun,
    /// The socket failed.
    Failed(String),
    /// It was not written, because one before it failed: what it deletes may be replaced by what that one sets.
    Behind,
}

/// What became of a batch.
#[derive(Debug)]
pub(crate) struct Written {
    /// All of the batch, in its order.
    pub writes: Vec<Write>,
    /// In the order of the batch.
    pub outcomes: Result<Vec<Result<(), Refusal>>, WriteError>,
}

/// How the kernel would reach an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resolution {
    /// Who wrote the route that was found.
    pub protocol: u8,
    /// It leads to ourselves, or nowhere.
    pub kind: Kind,
    pub hops: SmallVec<[Hop; 1]>,
}

/// What is asked of a kernel.
pub(crate) trait Kernel {
    /// Reads the devices.
    async fn read_devices(&mut self) -> Result<Devices, Refusal>;

    /// Begins to read the tables, and does not wait for the answer: that may take a second.
    fn begin_read(&mut self) -> Answer;

    /// Reads the tables, and waits.
    async fn read_tables(&mut self) -> Result<Tables, Refusal> {
        let answer = self.begin_read();
        answer.await.unwrap_or_else(|_| Err(Refusal::lost()))
    }

    /// Writes a batch. The outcomes are in the order of the batch.
    fn write(&mut self, batch: &[Write]) -> Result<Vec<Result<(), Refusal>>, WriteError>;

    /// Begins to write a batch, behind those begun before. [`Kernel::write`] is not called until all are answered. When one
    /// of them fails, those begun before that is known are not written ([`WriteError::Behind`]).
    fn begin_write(&mut self, batch: Vec<Write>);

    /// Waits for what became of the oldest batch that was begun and is not answered yet.
    async fn written(&mut self) -> Written;

    /// The same, if it is known already.
    fn try_written(&mut self) -> Option<Written>;

    /// Asks for the route to an address.
    async fn resolve(&mut self, to: IpAddr) -> Result<Resolution, Refusal>;

    /// Changes something that is not a route.
    async fn change(&mut self, change: &DeviceChange) -> Result<(), Refusal>;
}

impl Write {
    /// The route that it is about; `None`: it is about an object.
    pub(crate) fn key(&self) -> Option<Key> {
        match self {
            Write::Set { key, .. } | Write::Delete { key, .. } => Some(*key),
            Write::SetObject { .. } | Write::DeleteObject { .. } => None,
        }
    }

    /// The nexthop object that a route is to lead to.
    pub(crate) fn object(&self) -> Option<ObjectId> {
        match self {
            Write::Set { spec, .. } => spec.object(),
            _ => None,
        }
    }
}

impl Spec {
    /// A route of ours through these hops.
    pub(crate) fn unicast(protocol: u8, prefix: &IpNet, mut hops: SmallVec<[Hop; 1]>) -> Spec {
        hops.sort_unstable();
        hops.dedup();
        // The kernel keeps weights of multipath routes only.
        if let [one] = hops.as_mut_slice() {
            one.weight = 0;
        }
        let linked = hops.iter().all(|hop| hop.via.is_none());
        Spec {
            protocol,
            kind: Kind::Unicast,
            scope: if linked && prefix.addr().is_ipv4() {
                SCOPE_LINK
            } else {
                0
            },
            nexthops: Nexthops::Own(hops.as_slice().into()),
            source: None,
            foreign_attributes: false,
        }
    }

    /// A blackhole of ours.
    pub(crate) fn blackhole(protocol: u8) -> Spec {
        Spec {
            protocol,
            kind: Kind::Blackhole,
            scope: 0,
            nexthops: Nexthops::Own(Ways::default()),
            source: None,
            foreign_attributes: false,
        }
    }

    /// A route of ours by a nexthop object that has a gateway.
    pub(crate) fn by_object(protocol: u8, id: ObjectId) -> Spec {
        Spec {
            protocol,
            kind: Kind::Unicast,
            scope: 0,
            nexthops: Nexthops::Object(id),
            source: None,
            foreign_attributes: false,
        }
    }

    /// Its own next hops; none where an object has them.
    pub(crate) fn hops(&self) -> &[Hop] {
        match &self.nexthops {
            Nexthops::Own(hops) => hops,
            Nexthops::Object(_) => &[],
        }
    }

    /// The nexthop object that it leads to.
    pub(crate) fn object(&self) -> Option<ObjectId> {
        match self.nexthops {
            Nexthops::Object(id) => Some(id),
            Nexthops::Own(_) => None,
        }
    }

    /// It leaves through this device, at least in part.
    pub(crate) fn uses(&self, device: u32) -> bool {
        self.hops().iter().any(|hop| hop.device == device)
    }

    /// As `ip route` would print it.
    pub(crate) fn describe<'a>(&self, name: impl Fn(u32) -> Option<&'a str>) -> String {
        match self.kind {
            Kind::Blackhole => return "blackhole".into(),
            Kind::Other(number) => return format!("type {number}"),
            Kind::Unicast => {}
        }
        let hop = |hop: &Hop| {
            let mut text = String::new();
            if let Some(via) = hop.via {
                text.push_str(&format!("via {via} "));
            }
            match name(hop.device) {
                Some(name) => text.push_str(&format!("dev {name}")),
                None => text.push_str(&format!("dev if{}", hop.device)),
            }
            if hop.onlink {
                text.push_str(" onlink");
            }
            text
        };
        match self.hops() {
            [one] if self.scope == SCOPE_LINK => match &self.source {
                Some(source) => format!("{} scope link src {source}", hop(one)),
                None => format!("{} scope link", hop(one)),
            },
            [one] => hop(one),
            many => many
                .iter()
                .map(|h| format!("nexthop {}", hop(h)))
                .collect::<Vec<_>>()
                .join(" "),
        }
    }
}

impl Key {
    /// The key under which the kernel keeps a route with this metric.
    pub(crate) fn new(prefix: IpNet, metric: u32) -> Key {
        let metric = match prefix {
            IpNet::V6(_) if metric == 0 => METRIC_DEFAULT_V6,
            _ => metric,
        };
        Key { prefix, metric }
    }
}

impl Refusal {
    /// Whoever was to read ended without a word.
    pub(crate) fn lost() -> Refusal {
        Refusal {
            errno: 0,
            reason: "the read ended without an answer".into(),
        }
    }

    /// It names a nexthop object that is not there: of a route, or of a member of a group.
    pub(crate) fn misses_object(&self) -> bool {
        let missing = ["Nexthop id does not exist", "Invalid nexthop id"];
        self.errno == libc::EINVAL && missing.iter().any(|text| self.reason.starts_with(text))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Lane::Events => "events",
            Lane::Requests => "requests",
        })
    }
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WriteError::Overrun => f.write_str("the kernel dropped answers"),
            WriteError::Failed(reason) => f.write_str(reason),
            WriteError::Behind => f.write_str("one before it has none"),
        }
    }
}

/// RT_SCOPE_LINK.
pub(crate) const SCOPE_LINK: u8 = 253;
/// IP6_RT_PRIO_USER: what the kernel makes of no metric.
const METRIC_DEFAULT_V6: u32 = 1024;
