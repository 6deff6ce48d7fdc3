//! From a wish to the route that the kernel shall have: next hops get devices, gateways and tunnels. Pure.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::net::IpAddr;
use std::time::Instant;

use ipnet::IpNet;
use smallvec::SmallVec;

use crate::egress::{self, Subnet, Way};
use crate::kernel::{Hop, Kind, Refusal, Resolution, Spec};
use crate::model::{Encapsulation, Route, Vtep};
use crate::settings::Settings;
use crate::vteps::Vteps;
use crate::world::World;

/// The names of our devices.
pub(crate) const IPIP_DEVICE: &str = "tunl0";
pub(crate) const VXLAN_DEVICE: &str = "vxlan.calico";
pub(crate) const VXLAN_V6_DEVICE: &str = "vxlan-v6.calico";

/// Everything a way depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    pub protocol: u8,
    pub settings: &'a Settings,
    pub world: &'a World,
    pub subnets: &'a [Subnet],
    pub vteps: &'a Vteps,
    /// Nodes whose VTEP has no permanent entries yet.
    pub unwritten_vteps: &'a HashSet<IpAddr>,
    /// Nodes that say that they cannot receive IPIP, since when.
    pub without_ipip: &'a HashMap<IpAddr, Instant>,
    /// The kernel's ways: far ends that say nothing count as well, and so does what they named before, if one of these
    /// leads there.
    pub there: Option<&'a [Hop]>,
    pub gateways: &'a BTreeMap<IpAddr, Result<Resolution, Refusal>>,
}

/// One next hop of a wish, and how it is to be reached: the same for all routes that share its nexthop object.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Leg {
    Remote {
        next_hop: IpAddr,
        encapsulation: Encapsulation,
        /// The prefixes are IPv6.
        v6: bool,
    },
    Link {
        next_hop: IpAddr,
        device: String,
        v6: bool,
    },
}

impl Leg {
    fn name(&self) -> (IpAddr, &str) {
        match self {
            Leg::Remote { next_hop, .. } => (*next_hop, ""),
            Leg::Link {
                next_hop, device, ..
            } => (*next_hop, device),
        }
    }
}

/// The legs of a route to `prefix`, each once and in ascending order; none where it leads nowhere.
pub(crate) fn legs(prefix: &IpNet, route: &Route) -> SmallVec<[Leg; 1]> {
    let v6 = matches!(prefix, IpNet::V6(_));
    let mut legs: SmallVec<[Leg; 1]> = SmallVec::new();
    match route {
        Route::Blackhole => {}
        Route::Remote {
            next_hops,
            encapsulation,
        } => legs.extend(next_hops.iter().map(|next_hop| Leg::Remote {
            next_hop: *next_hop,
            encapsulation: *encapsulation,
            v6,
        })),
        Route::Links { next_hops } => {
            legs.extend(next_hops.iter().map(|(next_hop, device)| Leg::Link {
                next_hop: *next_hop,
                device: device.clone(),
                v6,
            }));
        }
    }
    legs.sort_by(|one, other| one.name().cmp(&other.name()));
    legs.dedup();
    legs
}

/// Why there is no way yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Waiting {
    NoDevice(String),
    DeviceDown(String),
    NoCarrier(String),
    NoVtep(IpAddr),
    /// The permanent entries of its VTEP are not in the kernel yet.
    VtepUnwritten(IpAddr),
    /// The node does not say that it can receive IPIP.
    NoIpipEnd(IpAddr),
    NoNextHop,
    /// The kernel has not been asked yet.
    Unasked(IpAddr),
    Unreachable(IpAddr, String),
    /// The next hop is one of our own addresses, or dropped.
    NotUnicast(IpAddr),
    /// The next hop is our own address in one of our subnets.
    OwnAddress(IpAddr),
    /// The way to the next hop would be a route that we wrote ourselves.
    Circular(IpAddr),
    IpipToIpv6(IpAddr),
}

impl Surroundings<'_> {
    /// The route to a local workload.
    pub(crate) fn workload(&self, prefix: &IpNet, device: &str) -> Result<Spec, Waiting> {
        let device = self.ready(device)?;
        let hop = Hop {
            via: None,
            device,
            onlink: false,
            weight: 0,
        };
        let spec = Spec::unicast(self.protocol, prefix, SmallVec::from_slice(&[hop]));
        // The kernel refuses a source that is no address of this node; better a route without.
        let source = self.settings.source(&prefix.addr());
        let source = source.filter(|source| self.world.has_address(source));
        Ok(Spec {
            source: source.map(Box::new),
            ..spec
        })
    }

    /// Any other route. Of several next hops those count that have a way; when none has, the first says why.
    pub(crate) fn route(&self, prefix: &IpNet, route: &Route) -> Result<Spec, Waiting> {
        let (found, missing) = self.found(prefix, route);
        found.ok_or_else(|| missing.unwrap_or(Waiting::NoNextHop))
    }

    /// The way, if there is one, and what the first next hop that has none lacks.
    pub(crate) fn found(&self, prefix: &IpNet, route: &Route) -> (Option<Spec>, Option<Waiting>) {
        let (next_hops, encapsulation) = match route {
            Route::Blackhole => return (Some(Spec::blackhole(self.protocol)), None),
            Route::Links { next_hops } => {
                return match self.links(prefix, next_hops) {
                    Ok(spec) => (Some(spec), None),
                    Err(waiting) => (None, Some(waiting)),
                };
            }
            Route::Remote {
                next_hops,
                encapsulation,
            } => (next_hops, *encapsulation),
        };
        let mut hops = SmallVec::new();
        let mut waiting = None;
        for next_hop in next_hops {
            match self.hops(prefix, *next_hop, encapsulation) {
                Ok(found) => hops.extend(found),
                // Not half a route first, and the whole a moment later.
                Err(reason @ Waiting::Unasked(_)) => return (None, Some(reason)),
                Err(reason) => waiting = waiting.or(Some(reason)),
            }
        }
        let found = (!hops.is_empty()).then(|| Spec::unicast(self.protocol, prefix, hops));
        (found, waiting)
    }

    /// The same, for one who has these ways and looks whether they are still good.
    pub(crate) fn lenient<'b>(&'b self, there: &'b [Hop]) -> Surroundings<'b> {
        Surroundings {
            there: Some(there),
            ..*self
        }
    }

    /// As many of the next hops as have a device that is up.
    fn links(&self, prefix: &IpNet, next_hops: &[(IpAddr, String)]) -> Result<Spec, Waiting> {
        let mut hops = SmallVec::new();
        let mut waiting = None;
        for (next_hop, device) in next_hops {
            match self.ready(device) {
                Ok(device) => hops.push(Hop {
                    via: Some(*next_hop),
                    device,
                    onlink: false,
                    weight: 0,
                }),
                Err(reason) => waiting = waiting.or(Some(reason)),
            }
        }
        if hops.is_empty() {
            return Err(waiting.unwrap_or(Waiting::NoNextHop));
        }
        Ok(Spec::unicast(self.protocol, prefix, hops))
    }

    fn hops(
        &self,
        prefix: &IpNet,
        next_hop: IpAddr,
        encapsulation: Encapsulation,
    ) -> Result<SmallVec<[Hop; 1]>, Waiting> {
        let hop = |via: IpAddr, device: u32, onlink: bool| {
            SmallVec::from_slice(&[Hop {
                via: Some(via),
                device,
                onlink,
                weight: 0,
            }])
        };
        // The kernel refuses it, or leads packets back to this node through a tunnel.
        if self.subnets.iter().any(|own| own.address == next_hop) {
            return Err(Waiting::OwnAddress(next_hop));
        }
        match egress::way(encapsulation, next_hop, self.subnets) {
            Way::Direct { device } => Ok(hop(next_hop, device, false)),
            Way::Ipip => {
                let device = self.ready(IPIP_DEVICE)?;
                if self.there.is_none() && self.without_ipip.contains_key(&next_hop) {
                    return Err(Waiting::NoIpipEnd(next_hop));
                }
                Ok(hop(next_hop, device, true))
            }
            Way::Vxlan => {
                let name = match prefix {
                    IpNet::V4(_) => VXLAN_DEVICE,
                    IpNet::V6(_) => VXLAN_V6_DEVICE,
                };
                let device = self.ready(name)?;
                let mut all = self.vteps.of(&next_hop);
                let vtep = match self.there {
                    None => self.vteps.named(&next_hop),
                    Some(there) => {
                        let leads = |vtep: &&Vtep| {
                            let via = Some(vtep.address);
                            let mut hops = there.iter();
                            hops.any(|hop| hop.device == device && hop.via == via)
                        };
                        all.find(leads).or_else(|| self.vteps.named(&next_hop))
                    }
                };
                let vtep = vtep.ok_or(Waiting::NoVtep(next_hop))?;
                if self.there.is_none() && self.unwritten_vteps.contains(&next_hop) {
                    return Err(Waiting::VtepUnwritten(next_hop));
                }
                Ok(hop(vtep.address, device, true))
            }
            Way::Gateway => self.gateway(next_hop),
            Way::Impossible => Err(Waiting::IpipToIpv6(next_hop)),
        }
    }

    /// A next hop behind a gateway is reached as the kernel reaches it.
    fn gateway(&self, next_hop: IpAddr) -> Result<SmallVec<[Hop; 1]>, Waiting> {
        let resolution = match self.gateways.get(&next_hop) {
            None => return Err(Waiting::Unasked(next_hop)),
            Some(Err(refusal)) => {
                return Err(Waiting::Unreachable(next_hop, refusal.reason.clone()));
            }
            Some(Ok(resolution)) => resolution,
        };
        if resolution.protocol == self.protocol {
            return Err(Waiting::Circular(next_hop));
        }
        if resolution.kind != Kind::Unicast || resolution.hops.is_empty() {
            return Err(Waiting::NotUnicast(next_hop));
        }
        Ok(resolution
            .hops
            .iter()
            .map(|hop| Hop {
                via: Some(hop.via.unwrap_or(next_hop)),
                ..*hop
            })
            .collect())
    }

    fn ready(&self, name: &str) -> Result<u32, Waiting> {
        match self.world.named(name) {
            None => Err(Waiting::NoDevice(name.into())),
            Some(link) if !link.up => Err(Waiting::DeviceDown(name.into())),
            Some(link) => Ok(link.index),
        }
    }
}

impl Waiting {
    /// The kernel has to be asked for the way to this address first.
    pub(crate) fn unasked(&self) -> Option<IpAddr> {
        match self {
            Waiting::Unasked(address) => Some(*address),
            _ => None,
        }
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Waiting::NoDevice(name) => write!(f, "there is no device {name}"),
            Waiting::DeviceDown(name) => write!(f, "device {name} is down"),
            Waiting::NoCarrier(name) => write!(f, "device {name} has no carrier"),
            Waiting::NoVtep(node) => write!(f, "node {node} has no VXLAN tunnel address"),
            Waiting::VtepUnwritten(node) => {
                write!(
                    f,
                    "the entries for the VXLAN tunnel of node {node} are not in the kernel yet"
                )
            }
            Waiting::NoIpipEnd(node) => {
                write!(
                    f,
                    "node {node} names no IPIP tunnel address: it may be unable to receive IPIP"
                )
            }
            Waiting::NoNextHop => write!(f, "no next hop"),
            Waiting::Unasked(next_hop) => write!(f, "looking for the way to {next_hop}"),
            Waiting::Unreachable(next_hop, reason) => {
                write!(f, "next hop {next_hop} is unreachable: {reason}")
            }
            Waiting::NotUnicast(next_hop) => write!(
                f,
                "next hop {next_hop} is an address of this node, or the kernel drops what goes there"
            ),
            Waiting::OwnAddress(next_hop) => write!(
                f,
                "next hop {next_hop} is this node's own address: some other node has it too, or announces routes with it"
            ),
            Waiting::Circular(next_hop) => write!(
                f,
                "the way to next hop {next_hop} is itself a route learned from a peer"
            ),
            Waiting::IpipToIpv6(next_hop) => write!(
                f,
                "next hop {next_hop}: IPIP carries IPv4 between IPv4 addresses only"
            ),
        }
    }
}
