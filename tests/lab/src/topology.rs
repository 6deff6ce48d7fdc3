//! Who is where, with which address. Arithmetic on [`Options`]; nothing is made here.
//!
//! ```text
//!   rack R   172.31.R.0/24   fd00:31:R::/64    nodes .1 …   router .254 (::fe)
//!   rack 0   172.31.0.0/24   fd00:31:0::/64    route reflectors .1 …
//!   pods     10.233.0.0/16   fd00:233::/48     blocks of /26 and /122
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Result, bail};
use ipnet::IpNet;

/// The AS of the cluster.
pub const ASN: u32 = 64512;
/// Pods' addresses.
pub const POOL_IPV4: &str = "10.233.0.0/16";
/// Pods' addresses.
pub const POOL_IPV6: &str = "fd00:233::/48";
/// What the first route reflector is called; the others are numbered.
pub const REFLECTOR: &str = "reflector";
/// The rack of the route reflectors.
pub const REFLECTOR_RACK: u8 = 0;

/// How nodes learn each other's routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// Every node peers with every other.
    Mesh,
    /// Every node peers with each route reflector, and with nobody else.
    Reflector,
}

/// How packets between racks travel. Within a rack they are never wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Encapsulation {
    /// As they are: the router between the racks learns the routes too.
    None,
    /// In IP (`ipipMode: CrossSubnet`).
    Ipip,
    /// In VXLAN (`vxlanMode: CrossSubnet`).
    Vxlan,
}

/// What a lab shall look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Nodes, 1 to 1,000, at most 250 a rack.
    pub nodes: u16,
    /// Racks, 1 to 50, at most as many as nodes.
    pub racks: u8,
    /// Mesh or reflector.
    pub mode: Mode,
    /// Route reflectors, 1 to 9, in the mode that has them. All are of one cluster, and none peers with another.
    pub reflectors: u8,
    /// Between racks.
    pub encapsulation: Encapsulation,
    /// Pods have IPv6 addresses as well.
    pub ipv6: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            nodes: 3,
            racks: 2,
            mode: Mode::Mesh,
            reflectors: 1,
            encapsulation: Encapsulation::Vxlan,
            ipv6: false,
        }
    }
}

/// A place on a rack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// `node1`.
    pub name: String,
    /// 1 …
    pub rack: u8,
    /// With the rack's prefix length.
    pub ipv4: IpNet,
    /// With the rack's prefix length.
    pub ipv6: IpNet,
}

impl Options {
    /// Names the option that is out of range.
    pub fn check(&self) -> Result<()> {
        if !(1..=1000).contains(&self.nodes) {
            bail!("--nodes {}: 1 to 1000 are possible", self.nodes);
        }
        let fewest = self.nodes.div_ceil(RACK_NODES_MAX);
        let most = self.nodes.min(50);
        if !(fewest..=most).contains(&u16::from(self.racks)) {
            bail!(
                "--racks {}: {fewest} to {most} are possible with {} nodes",
                self.racks,
                self.nodes
            );
        }
        if !(1..=9).contains(&self.reflectors) {
            bail!("--reflectors {}: 1 to 9 are possible", self.reflectors);
        }
        Ok(())
    }

    /// The nodes, spread evenly, neighbours in the same rack.
    pub fn sites(&self) -> Vec<Site> {
        let mut taken = vec![0u8; usize::from(self.racks) + 1];
        let in_order = (0..u32::from(self.nodes)).map(|index| {
            let rack = (index * u32::from(self.racks) / u32::from(self.nodes)) as u8 + 1;
            taken[usize::from(rack)] += 1;
            site(
                &format!("node{}", index + 1),
                rack,
                taken[usize::from(rack)],
            )
        });
        in_order.collect()
    }

    /// The route reflectors; none in a mesh.
    pub fn reflector_sites(&self) -> Vec<Site> {
        let count = match self.mode {
            Mode::Mesh => 0,
            Mode::Reflector => self.reflectors,
        };
        let name = |number: u8| match number {
            1 => REFLECTOR.to_owned(),
            _ => format!("{REFLECTOR}{number}"),
        };
        let sites = (1..=count).map(|number| site(&name(number), REFLECTOR_RACK, number));
        sites.collect()
    }

    /// All racks that exist, that of the reflectors included.
    pub fn rack_numbers(&self) -> Vec<u8> {
        let first = if self.mode == Mode::Reflector {
            REFLECTOR_RACK
        } else {
            1
        };
        (first..=self.racks).collect()
    }
}

/// Addresses of a rack that are left for nodes.
const RACK_NODES_MAX: u16 = 250;

/// A place by rack and number.
pub fn site(name: &str, rack: u8, number: u8) -> Site {
    let ipv4 = Ipv4Addr::new(172, 31, rack, number);
    let ipv6 = Ipv6Addr::new(0xfd00, 0x31, u16::from(rack), 0, 0, 0, 0, u16::from(number));
    Site {
        name: name.to_owned(),
        rack,
        ipv4: with_length(ipv4.into(), 24),
        ipv6: with_length(ipv6.into(), 64),
    }
}

/// The router's address in a rack.
pub fn router(rack: u8) -> Site {
    site("router", rack, 254)
}

fn with_length(address: IpAddr, length: u8) -> IpNet {
    let longest = if address.is_ipv4() { 32 } else { 128 };
    IpNet::new(address, length.min(longest)).unwrap_or_else(|_| address.into())
}

#[cfg(test)]
mod tests;
