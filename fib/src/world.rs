//! The devices and addresses of this node, as last told. Pure.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::device_prefixes::DevicePrefixes;
use crate::egress::Subnet;
use crate::kernel::{Link, LinkKind};
use crate::settings::MtuDevices;

#[derive(Debug, Default)]
pub(crate) struct World {
    links: BTreeMap<u32, Link>,
    names: HashMap<String, u32>,
    addresses: BTreeMap<u32, Vec<IpNet>>,
}

impl World {
    pub(crate) fn new(links: Vec<Link>, addresses: Vec<(u32, IpNet)>) -> World {
        let mut world = World::default();
        for link in links {
            world.set_link(link);
        }
        for (device, address) in addresses {
            world.add_address(device, address);
        }
        world
    }

    /// Returns what was known of the device before.
    pub(crate) fn set_link(&mut self, link: Link) -> Option<Link> {
        let before = self.links.insert(link.index, link.clone());
        if let Some(before) = &before
            && before.name != link.name
            && self.names.get(&before.name) == Some(&link.index)
        {
            self.names.remove(&before.name);
        }
        self.names.insert(link.name, link.index);
        before
    }

    pub(crate) fn remove_link(&mut self, index: u32) -> Option<Link> {
        let link = self.links.remove(&index)?;
        self.addresses.remove(&index);
        if self.names.get(&link.name) == Some(&index) {
            self.names.remove(&link.name);
        }
        Some(link)
    }

    /// Returns whether that is news.
    pub(crate) fn add_address(&mut self, device: u32, address: IpNet) -> bool {
        let addresses = self.addresses.entry(device).or_default();
        let new = !addresses.contains(&address);
        if new {
            addresses.push(address);
        }
        new
    }

    pub(crate) fn remove_address(&mut self, device: u32, address: IpNet) -> bool {
        let Some(addresses) = self.addresses.get_mut(&device) else {
            return false;
        };
        let before = addresses.len();
        addresses.retain(|a| *a != address);
        addresses.len() != before
    }

    /// All of them, by index.
    pub(crate) fn links(&self) -> impl Iterator<Item = &Link> {
        self.links.values()
    }

    pub(crate) fn link(&self, index: u32) -> Option<&Link> {
        self.links.get(&index)
    }

    pub(crate) fn link_mut(&mut self, index: u32) -> Option<&mut Link> {
        self.links.get_mut(&index)
    }

    pub(crate) fn named(&self, name: &str) -> Option<&Link> {
        self.links.get(self.names.get(name)?)
    }

    pub(crate) fn name(&self, index: u32) -> Option<&str> {
        self.links.get(&index).map(|link| link.name.as_str())
    }

    pub(crate) fn addresses(&self, device: u32) -> &[IpNet] {
        self.addresses.get(&device).map_or(&[], Vec::as_slice)
    }

    /// Some device that is up has it.
    pub(crate) fn has_address(&self, address: &IpAddr) -> bool {
        let up = self.links.values().filter(|link| link.up);
        up.flat_map(|link| self.addresses(link.index))
            .any(|net| net.addr() == *address)
    }

    /// Connected prefixes of the host's own devices that are up. A host prefix is not a subnet, and a link-local one
    /// holds no node address.
    pub(crate) fn own_subnets(&self, device_prefixes: &DevicePrefixes) -> Vec<Subnet> {
        let mut subnets = Vec::new();
        for link in self.links.values().filter(|link| link.up) {
            if !is_host_device(link, device_prefixes) {
                continue;
            }
            for address in self.addresses(link.index) {
                if address.prefix_len() < address.max_prefix_len() && !is_link_local(address) {
                    subnets.push(Subnet {
                        prefix: address.trunc(),
                        address: address.addr(),
                        device: link.index,
                    });
                }
            }
        }
        subnets
    }

    /// The smallest MTU of the devices that count.
    pub(crate) fn host_mtu(
        &self,
        device_prefixes: &DevicePrefixes,
        devices: &MtuDevices,
    ) -> Option<u32> {
        let named = self.links.values().filter(|link| devices.named(&link.name));
        if let Some(smallest) = named.map(|link| link.mtu).min() {
            return Some(smallest);
        }
        self.own_subnets(device_prefixes)
            .iter()
            .filter_map(|subnet| self.link(subnet.device))
            .map(|link| link.mtu)
            .min()
    }
}

/// A device of the host itself: neither a workload's, nor a tunnel, nor the loopback.
pub(crate) fn is_host_device(link: &Link, device_prefixes: &DevicePrefixes) -> bool {
    link.kind == LinkKind::Ordinary && !device_prefixes.fit(&link.name)
}

fn is_link_local(address: &IpNet) -> bool {
    match address {
        IpNet::V4(v4) => v4.addr().is_link_local(),
        IpNet::V6(v6) => v6.addr().is_unicast_link_local(),
    }
}
