//! Who a node is in BGP.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use caracal_datastore::resources::BindMode;
use ipnet::IpNet;
use sha2::{Digest, Sha256};

use crate::facts::{cluster, node_facts};
use crate::{Defaults, View};

/// A node's own part of a speaker's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its AS number.
    pub asn: u32,
    /// Its BGP Identifier.
    pub router_id: Ipv4Addr,
    /// It reflects (RFC 4456), under this CLUSTER_ID.
    pub cluster_id: Option<Ipv4Addr>,
    /// Its address with the length of its subnet.
    pub ipv4: Option<IpNet>,
    /// Its address with the length of its subnet.
    pub ipv6: Option<IpNet>,
    /// Where it listens: its addresses (`bindMode: NodeIP`), or everywhere in its families.
    pub listen: Vec<SocketAddr>,
}

/// `router_id` is the setting: nothing (the node's IPv4 address, or the hash where there is none), `hash` (of
/// the node's name), or an address. `Err`: the node has no place in BGP, and why.
pub fn identity_of(
    node: &str,
    view: &View,
    defaults: &Defaults,
    router_id: Option<&str>,
) -> Result<Identity, String> {
    let stored = view
        .nodes
        .get(node)
        .ok_or_else(|| format!("node {node} is not in the datastore"))?;
    let facts = node_facts(node, stored, view, defaults).ok_or_else(|| {
        format!("node {node}: neither spec.bgp.ipv4Address nor spec.bgp.ipv6Address is set")
    })?;
    let own_v4 = facts.addresses().find_map(|address| match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    });
    let only_there = cluster(view)
        .is_some_and(|configuration| configuration.bind_mode == Some(BindMode::NodeIP));
    let listen = facts
        .addresses()
        .map(|address| match address {
            _ if only_there => address,
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        })
        .map(|address| SocketAddr::new(address, facts.listen_port))
        .collect();
    Ok(Identity {
        asn: facts.asn,
        router_id: choose_router_id(node, own_v4, router_id)?,
        cluster_id: facts.cluster_id,
        ipv4: facts.ipv4,
        ipv6: facts.ipv6,
        listen,
    })
}

fn choose_router_id(
    node: &str,
    own: Option<Ipv4Addr>,
    setting: Option<&str>,
) -> Result<Ipv4Addr, String> {
    match (
        setting.map(str::trim).filter(|setting| !setting.is_empty()),
        own,
    ) {
        (None, Some(own)) => Ok(own),
        (None | Some("hash"), _) => Ok(hashed(node)),
        (Some(address), _) => match address.parse::<Ipv4Addr>() {
            Ok(address) if !address.is_unspecified() => Ok(address),
            _ => Err(format!(
                "router id `{address}` is neither `hash` nor an IPv4 address"
            )),
        },
    }
}

/// The first four octets of SHA-256 of the node's name, kept out of 224/3: Calico's `hash`.
fn hashed(node: &str) -> Ipv4Addr {
    let digest = Sha256::digest(node.as_bytes());
    let mut octets = [0; 4];
    for (octet, hashed) in octets.iter_mut().zip(digest) {
        *octet = hashed;
    }
    if octets[0] > 223 {
        octets[0] -= 32;
    }
    Ipv4Addr::from(octets)
}

#[cfg(test)]
mod tests;
