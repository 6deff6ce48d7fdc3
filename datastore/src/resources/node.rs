//! `Node`: where a node can be reached and how it speaks BGP.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use super::{Extra, Resource, fields};
use crate::store::{Kind, Metadata};

/// The spec of a Node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// How it speaks BGP; absent on a node that does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bgp: Option<NodeBgp>,
    /// Address of `vxlan.calico`.
    #[serde(
        default,
        rename = "ipv4VXLANTunnelAddr",
        with = "fields::optional_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub ipv4_vxlan_tunnel_addr: Option<Ipv4Addr>,
    /// Address of `vxlan-v6.calico`.
    #[serde(
        default,
        rename = "ipv6VXLANTunnelAddr",
        with = "fields::optional_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub ipv6_vxlan_tunnel_addr: Option<Ipv6Addr>,
    /// MAC address of `vxlan.calico`.
    #[serde(
        default,
        rename = "vxlanTunnelMACAddr",
        skip_serializing_if = "Option::is_none"
    )]
    pub vxlan_tunnel_mac_addr: Option<String>,
    /// MAC address of `vxlan-v6.calico`.
    #[serde(
        default,
        rename = "vxlanTunnelMACAddrV6",
        skip_serializing_if = "Option::is_none"
    )]
    pub vxlan_tunnel_mac_addr_v6: Option<String>,
    /// Addresses that the node is known by.
    #[serde(
        default,
        deserialize_with = "fields::null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub addresses: Vec<NodeAddress>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// `spec.bgp` of a Node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeBgp {
    /// Its AS number; the cluster's when absent.
    #[serde(
        default,
        with = "fields::as_number",
        skip_serializing_if = "Option::is_none"
    )]
    pub as_number: Option<u32>,
    /// Its address with the length of its subnet's prefix: `192.0.2.7/24`.
    #[serde(
        default,
        rename = "ipv4Address",
        with = "fields::optional_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub ipv4_address: Option<Ipv4Net>,
    /// The same for IPv6.
    #[serde(
        default,
        rename = "ipv6Address",
        with = "fields::optional_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub ipv6_address: Option<Ipv6Net>,
    /// Address of `tunl0`.
    #[serde(
        default,
        rename = "ipv4IPIPTunnelAddr",
        with = "fields::optional_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub ipv4_ipip_tunnel_addr: Option<Ipv4Addr>,
    /// Makes the node a route reflector of that cluster.
    #[serde(
        default,
        rename = "routeReflectorClusterID",
        with = "fields::optional_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub route_reflector_cluster_id: Option<Ipv4Addr>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// One of `spec.addresses`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeAddress {
    /// An address, or an address with prefix length.
    pub address: String,
    /// `CalicoNodeIP`, `InternalIP`, `ExternalIP`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

impl Resource for Node {
    const KIND: Kind = Kind::Node;

    fn validate(&self, _metadata: &Metadata) -> Vec<String> {
        let mut faults = Vec::new();
        if let Some(bgp) = &self.bgp {
            if let Some(address) = bgp.ipv4_address
                && !usable(address.addr().into())
            {
                faults.push(format!(
                    "spec.bgp.ipv4Address: {address} is not a node's address"
                ));
            }
            if let Some(address) = bgp.ipv6_address
                && !usable(address.addr().into())
            {
                faults.push(format!(
                    "spec.bgp.ipv6Address: {address} is not a node's address"
                ));
            }
            if bgp.as_number == Some(0) {
                faults.push("spec.bgp.asNumber: 0 is not an AS number".to_owned());
            }
        }
        for (index, entry) in self.addresses.iter().enumerate() {
            let bare = entry.address.split('/').next().unwrap_or_default();
            if bare.parse::<IpAddr>().is_err() {
                faults.push(format!(
                    "spec.addresses[{index}].address: {:?} is not an IP address",
                    entry.address
                ));
            }
        }
        fields::mac(
            "spec.vxlanTunnelMACAddr",
            self.vxlan_tunnel_mac_addr.as_deref(),
            &mut faults,
        );
        fields::mac(
            "spec.vxlanTunnelMACAddrV6",
            self.vxlan_tunnel_mac_addr_v6.as_deref(),
            &mut faults,
        );
        faults
    }
}

fn usable(address: IpAddr) -> bool {
    !(address.is_unspecified() || address.is_loopback() || address.is_multicast())
}
