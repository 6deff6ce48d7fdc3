//! What is wished for, and what there is to say about it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Instant;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Everything that the table shall do. Without any of it there is no table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// Packets of pods that leave the cluster get an address of this node.
    pub masquerade: Masquerade,
    /// Packets with a source that is not the pod's own do not leave its device; `None` lets all pass.
    pub spoofing: Option<SpoofProtection>,
    /// Packets in tunnels are taken from nodes of the cluster only; `None` takes them from anybody.
    pub tunnels: Option<TunnelProtection>,
    /// Packets for services that nobody serves do not travel in circles; `None` lets them.
    pub service_loops: Option<ServiceLoops>,
}

/// Which packets get another source, and which one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Masquerade {
    /// Packets from here.
    pub sources: BTreeSet<IpNet>,
    /// But not those to here.
    pub except_to: BTreeSet<IpNet>,
    /// Nor to here (addresses of nodes).
    pub except_to_hosts: BTreeSet<IpAddr>,
    /// Source ports of TCP and UDP, first and last; any when `None`.
    pub ports: Option<(u16, u16)>,
    /// This address instead of one of the outgoing device, for its family.
    pub address: Option<IpAddr>,
    /// Only packets that leave through such a device.
    pub output: Option<DevicePattern>,
    /// Packets of this host itself that leave through one of these devices (tunnels) with an address of another device get
    /// one of this device: answers would not come back through the tunnel.
    pub own_through: BTreeSet<String>,
}

/// Which devices are pods', and what more they may send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoofProtection {
    /// Names of pods' devices begin so (`cali`).
    pub device_prefixes: BTreeSet<String>,
    /// Sources that a device may have beside those that are routed to it. `0.0.0.0/0` and `::/0` are all.
    pub allowed: BTreeMap<String, BTreeSet<IpNet>>,
    /// Pods may send what they have put into IPIP themselves, with any source inside.
    pub may_send_ipip: bool,
    /// Pods may not send to this UDP port, behind which VXLAN would unpack any source; `None`: they may.
    pub vxlan_port: Option<u16>,
}

/// Whose tunnels end here. What is in a tunnel has passed no spoof protection of ours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TunnelProtection {
    /// IPIP ends here.
    pub ipip: bool,
    /// VXLAN between IPv4 addresses ends here, at this UDP port.
    pub vxlan: Option<u16>,
    /// VXLAN between IPv6 addresses ends here, at this UDP port.
    pub vxlan_v6: Option<u16>,
    /// Addresses that the other ends have.
    pub ends: BTreeSet<IpNet>,
}

/// What happens to packets for service addresses that would be forwarded as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceLoops {
    /// Cluster IPs, external IPs and load balancers' IPs.
    pub services: BTreeSet<IpNet>,
    /// Answered with ICMP port unreachable, or dropped without a word.
    pub reject: bool,
}

/// A name of a network device, or how such names begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevicePattern {
    name: String,
    whole: bool,
}

/// A text that is no [`DevicePattern`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is neither the name of a network device nor the beginning of one followed by `*` or `+`"
)]
pub struct NoDevicePattern(pub String);

impl std::str::FromStr for DevicePattern {
    type Err = NoDevicePattern;

    /// `eth0`, or `eth*` as nft writes it, or `eth+` as iptables does.
    fn from_str(text: &str) -> Result<DevicePattern, NoDevicePattern> {
        let beginning = text.strip_suffix(['*', '+']);
        let name = beginning.unwrap_or(text);
        let legal = |octet: u8| octet.is_ascii_graphic() && !b"/*+".contains(&octet);
        if name.is_empty() || name.len() >= DEVICE_NAME_OCTETS || !name.bytes().all(legal) {
            return Err(NoDevicePattern(text.to_owned()));
        }
        Ok(DevicePattern {
            name: name.to_owned(),
            whole: beginning.is_none(),
        })
    }
}

impl DevicePattern {
    /// What a register with a device's name is compared with: a whole name has its zeros.
    pub(crate) fn octets(&self) -> Vec<u8> {
        match self.whole {
            true => device_name(&self.name),
            false => self.name.clone().into_bytes(),
        }
    }
}

/// A device's name as the kernel keeps it.
pub(crate) fn device_name(name: &str) -> Vec<u8> {
    let mut octets = name.as_bytes().to_vec();
    octets.resize(DEVICE_NAME_OCTETS, 0);
    octets
}

/// How things stand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct FilterStatus {
    /// The kernel has what was wished for last.
    pub settled: bool,
    /// Since when it has not, from the first wish on.
    #[serde(skip)]
    pub unsettled_since: Option<Instant>,
    /// Transactions that the kernel took since the start.
    pub transactions: u64,
    /// Messages in them.
    pub messages: u64,
    /// Times that somebody else had changed our table and it was put right.
    pub repairs: u64,
    /// Conntrack entries of released addresses that were deleted.
    pub conntrack_deleted: u64,
    /// Times that this failed.
    pub conntrack_failures: u64,
    /// What is wrong, by name.
    pub conditions: BTreeMap<String, String>,
}

/// What the rules have counted since the table was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Counters {
    /// Connections that got another source.
    pub masqueraded: u64,
    /// Packets of pods dropped because of their source.
    pub spoofed: u64,
    /// Packets for services dropped or rejected.
    pub looped: u64,
    /// Packets dropped that pods had put into a tunnel themselves.
    pub encapsulated: u64,
    /// Packets of pods to or from 127.0.0.0/8 dropped.
    pub loopback: u64,
    /// Packets in tunnels dropped because they came from no node.
    pub strangers: u64,
}

/// IFNAMSIZ.
pub(crate) const DEVICE_NAME_OCTETS: usize = 16;
