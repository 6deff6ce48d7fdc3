//! Which way out: encapsulation, next hop and own subnets in, direct or tunnel out. Pure.
//!
//! | mode | next hop in one of our subnets | elsewhere |
//! |---|---|---|
//! | none | direct | through a gateway, as the kernel routes to the next hop |
//! | CrossSubnet | direct | tunnel |
//! | Always | tunnel | tunnel |

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use ipnet::IpNet;

use crate::model::{Encapsulation, Mode};

/// A subnet that this node is connected to, by the index of the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    /// The connected prefix.
    pub prefix: IpNet,
    /// Our own address in it.
    pub address: IpAddr,
    /// The device that has an address in it.
    pub device: u32,
}

/// The way to a next hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The next hop is a neighbour on this device.
    Direct {
        /// Index of the device.
        device: u32,
    },
    /// The next hop is somewhere else: the kernel's own route to it says which gateway.
    Gateway,
    /// Through `tunl0`.
    Ipip,
    /// Through the VXLAN device.
    Vxlan,
    /// IPIP carries IPv4 in IPv4 only, and this next hop is IPv6.
    Impossible,
}

/// Chooses the way to one next hop. Of overlapping subnets the longest counts, as it does in the kernel.
pub fn way(encapsulation: Encapsulation, next_hop: IpAddr, subnets: &[Subnet]) -> Way {
    let tunnel = match encapsulation {
        Encapsulation::None => None,
        Encapsulation::Ipip(mode) if next_hop.is_ipv4() => Some((Way::Ipip, mode)),
        Encapsulation::Ipip(_) => Some((Way::Impossible, Mode::Always)),
        Encapsulation::Vxlan(mode) => Some((Way::Vxlan, mode)),
    };
    let own = subnets
        .iter()
        .filter(|subnet| subnet.prefix.contains(&next_hop))
        .max_by_key(|subnet| subnet.prefix.prefix_len());
    match (tunnel, own) {
        (Some((tunnel, Mode::Always)), _) | (Some((tunnel, Mode::CrossSubnet)), None) => tunnel,
        (_, Some(subnet)) => Way::Direct {
            device: subnet.device,
        },
        (None, None) => Way::Gateway,
    }
}
