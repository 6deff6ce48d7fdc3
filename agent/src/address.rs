//! This node's own addresses: given, recorded, or found on its devices.

use std::net::IpAddr;

use caracal_fib::Interface;
use ipnet::IpNet;

use crate::config::NodeAddress;

/// Devices that never hold a node's address; Calico's list of prefixes.
const SKIPPED: [&str; 17] = [
    "docker",
    "cbr",
    "dummy",
    "podman",
    "virbr",
    "lxcbr",
    "veth",
    "lo",
    "br-",
    "cali",
    "tunl",
    "flannel",
    "kube-ipvs",
    "cni",
    "vxlan",
    "wireguard.cali",
    "nodelocaldns",
];

/// Addresses with prefix length.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct NodeAddresses {
    pub(crate) ipv4: Option<IpNet>,
    pub(crate) ipv6: Option<IpNet>,
}

impl NodeAddresses {
    /// The address of this family, without its length.
    pub(crate) fn of_family(&self, v4: bool) -> Option<IpAddr> {
        if v4 { self.ipv4 } else { self.ipv6 }.map(|net| net.addr())
    }

    /// Both networks.
    pub(crate) fn networks(&self) -> impl Iterator<Item = IpNet> + use<> {
        [self.ipv4, self.ipv6].into_iter().flatten()
    }
}

/// One family's address, and in words where it came from. What the configuration says wins over what the Node
/// resource records, and that over detection.
pub(crate) fn choose(
    wish: Option<&NodeAddress>,
    recorded: Option<IpNet>,
    interfaces: &[Interface],
    v4: bool,
) -> Result<(Option<IpNet>, String), String> {
    match (wish, recorded) {
        (Some(NodeAddress::None), _) => Ok((None, "switched off by the configuration".into())),
        (Some(NodeAddress::Fixed(net)), _) => {
            let holder = interfaces.iter().find(|interface| {
                interface
                    .addresses
                    .iter()
                    .any(|own| own.addr() == net.addr())
            });
            match holder {
                Some(interface) => Ok((Some(*net), format!("configured, on {}", interface.name))),
                None => Err(format!(
                    "no device of this node has the configured address {}",
                    net.addr()
                )),
            }
        }
        (None, Some(net)) => Ok((Some(net), "recorded in the Node resource".into())),
        (None, None) if !v4 => Ok((None, "not asked for".into())),
        (Some(NodeAddress::Autodetect) | None, _) => detect(interfaces, v4),
    }
}

fn detect(interfaces: &[Interface], v4: bool) -> Result<(Option<IpNet>, String), String> {
    let eligible = |interface: &&Interface| {
        interface.up && !SKIPPED.iter().any(|skip| interface.name.starts_with(skip))
    };
    let usable = |net: &&IpNet| match net.addr() {
        IpAddr::V4(address) => v4 && !address.is_loopback() && !address.is_link_local(),
        IpAddr::V6(address) => !v4 && !address.is_loopback() && !address.is_unicast_link_local(),
    };
    // A floating address (VRRP and the like) is a /32 beside the node's own, which has a network.
    let with_network = |net: &IpNet| net.prefix_len() < net.max_prefix_len();
    for interface in interfaces.iter().filter(eligible) {
        let mut addresses: Vec<IpNet> =
            interface.addresses.iter().filter(usable).copied().collect();
        addresses.sort_by_key(|net| !with_network(net));
        if let Some(net) = addresses.first() {
            return Ok((
                Some(*net),
                format!("detected: first usable address, on {}", interface.name),
            ));
        }
    }
    let names: Vec<&str> = interfaces
        .iter()
        .map(|interface| interface.name.as_str())
        .collect();
    Err(format!(
        "no device has a usable IPv{} address (looked at {}); set `{}` in the configuration",
        if v4 { 4 } else { 6 },
        names.join(", "),
        if v4 { "ip" } else { "ip6" },
    ))
}

#[cfg(test)]
mod tests;
