//! What the CNI plugin asks.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// First half of ADD: addresses for a pod. Repeated for the same container and interface: the same answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CniAdd {
    /// `CNI_CONTAINERID`.
    pub container_id: String,
    /// `CNI_IFNAME`.
    pub ifname: String,
    /// `CNI_NETNS`.
    pub netns: String,
    /// Network name of the configuration.
    pub network: String,
    /// `K8S_POD_NAMESPACE`; without Kubernetes `None`.
    pub namespace: Option<String>,
    /// `K8S_POD_NAME`; without Kubernetes `None`.
    pub pod: Option<String>,
    /// Pools by name or CIDR, from the configuration (`ipam.ipv4_pools`).
    #[serde(default)]
    pub ipv4_pools: Vec<String>,
    /// The same of `ipam.ipv6_pools`.
    #[serde(default)]
    pub ipv6_pools: Vec<String>,
    /// Addresses asked for (CNI_ARGS `IP=`, or capability `ips`).
    pub addresses: Vec<IpAddr>,
}

/// What the plugin shall build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CniAddReply {
    /// Host side of the veth pair: `cali` and 11 hex digits.
    pub device: String,
    /// MTU of both ends, in octets.
    pub mtu: u32,
    /// The pod's addresses.
    pub addresses: Vec<CniAddress>,
    /// The kernel has everything (after `attached`).
    pub attached: bool,
    /// MAC of the pod's end, `aa:bb:cc:dd:ee:ff`; `None`: the kernel's choice.
    #[serde(default)]
    pub mac: Option<String>,
}

/// One address with its gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CniAddress {
    /// As /32 or /128.
    pub address: IpNet,
    /// 169.254.1.1, or the host side's link-local address.
    pub gateway: IpAddr,
}

/// Second half of ADD: the veth pair is there. Answered when the kernel has route and neighbour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CniAttached {
    /// As in [`CniAdd`].
    pub container_id: String,
    /// As in [`CniAdd`].
    pub ifname: String,
    /// MAC of the pod's end, `aa:bb:cc:dd:ee:ff`.
    pub mac: String,
}

/// DEL and CHECK. DEL of something unknown succeeds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CniDel {
    /// As in [`CniAdd`].
    pub container_id: String,
    /// As in [`CniAdd`].
    pub ifname: String,
    /// As in [`CniAdd`].
    pub network: String,
}

/// What DEL leaves for the plugin to do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CniDelReply {
    /// The host side of the container's veth pair, if the agent knew the container: the only device that the plugin
    /// may remove by name, since a newer container of the same pod has a device of the same name.
    pub device: Option<String>,
}

/// GC: what the runtime still knows. Everything else of this network on this node is released.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CniGc {
    /// As in [`CniAdd`].
    pub network: String,
    /// `cni.dev/valid-attachments`: container ID and interface name.
    pub valid: Vec<(String, String)>,
}

/// What GC released.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CniGcReply {
    /// Container IDs.
    pub released: Vec<String>,
    /// Their host-side devices, for the plugin to remove.
    pub devices: Vec<String>,
}
