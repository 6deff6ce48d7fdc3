//! `FelixConfiguration`: how nodes treat their kernel (`default`), and what one node does otherwise (`node.<node>`).
//!
//! The fields are those that concern routes, devices, addresses and translation; the others are kept as they stand.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::bgp_configuration::{ProgramClusterRoutes, Toggle};
use super::fields::string_enum;
use super::{Extra, Resource, fields};
use crate::store::{Kind, Metadata};

/// The spec of a FelixConfiguration. What is absent is as in the next object below, in the end Calico's default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FelixConfiguration {
    /// Names of workloads' devices begin with one of these, separated by commas; `cali` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface_prefix: Option<String>,
    /// The devices whose smallest MTU is the host's, a regular expression on names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu_iface_pattern: Option<String>,
    /// The agent does not work without the MTU file for the CNI plugin.
    #[serde(
        default,
        rename = "requireMTUFile",
        skip_serializing_if = "Option::is_none"
    )]
    pub require_mtu_file: Option<bool>,
    /// MTU of `tunl0` in octets; 0: the host's less 20.
    #[serde(default, rename = "ipipMTU", skip_serializing_if = "Option::is_none")]
    pub ipip_mtu: Option<u32>,
    /// MTU of `vxlan.calico` in octets; 0: the host's less 50.
    #[serde(default, rename = "vxlanMTU", skip_serializing_if = "Option::is_none")]
    pub vxlan_mtu: Option<u32>,
    /// MTU of `vxlan-v6.calico` in octets; 0: the host's less 70.
    #[serde(
        default,
        rename = "vxlanMTUV6",
        skip_serializing_if = "Option::is_none"
    )]
    pub vxlan_mtu_v6: Option<u32>,
    /// UDP port of VXLAN; 4789 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vxlan_port: Option<u16>,
    /// VXLAN network identifier; 4096 when absent.
    #[serde(default, rename = "vxlanVNI", skip_serializing_if = "Option::is_none")]
    pub vxlan_vni: Option<u32>,
    /// Ports that translated connections leave from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nat_port_range: Option<PortRange>,
    /// The source address of translated connections, in place of the device's.
    #[serde(
        default,
        with = "fields::optional_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub nat_outgoing_address: Option<Ipv4Addr>,
    /// Destinations that `natOutgoing` leaves alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nat_outgoing_exclusions: Option<NatOutgoingExclusions>,
    /// The device through which packets must leave to be translated; a `+` at the end stands for any rest.
    #[serde(
        default,
        rename = "iptablesNATOutgoingInterfaceFilter",
        skip_serializing_if = "Option::is_none"
    )]
    pub iptables_nat_outgoing_interface_filter: Option<String>,
    /// What happens to packets to service addresses that would leave the node again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_loop_prevention: Option<ServiceLoopPrevention>,
    /// Whether workloads may ask to send from addresses that are not theirs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload_source_spoofing: Option<WorkloadSourceSpoofing>,
    /// Whether the node forwards at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_forwarding: Option<Toggle>,
    /// Workloads may send what they have put into IPIP themselves; they may not when absent.
    #[serde(
        default,
        rename = "allowIPIPPacketsFromWorkloads",
        skip_serializing_if = "Option::is_none"
    )]
    pub allow_ipip_packets_from_workloads: Option<bool>,
    /// Workloads may send what they have put into VXLAN themselves; they may not when absent.
    #[serde(
        default,
        rename = "allowVXLANPacketsFromWorkloads",
        skip_serializing_if = "Option::is_none"
    )]
    pub allow_vxlan_packets_from_workloads: Option<bool>,
    /// Addresses and networks from which packets in tunnels are taken, besides those of nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_nodes_list: Option<Vec<String>>,
    /// Source of the node's own packets to its workloads.
    #[serde(
        default,
        with = "fields::optional_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub device_route_source_address: Option<Ipv4Addr>,
    /// The same for IPv6.
    #[serde(
        default,
        rename = "deviceRouteSourceAddressIPv6",
        with = "fields::optional_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub device_route_source_address_ipv6: Option<Ipv6Addr>,
    /// Felix takes away routes of others on workloads' devices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remove_external_routes: Option<bool>,
    /// How often the kernel's routes are read whole; 0: never.
    #[serde(
        default,
        with = "fields::go_duration",
        skip_serializing_if = "Option::is_none"
    )]
    pub route_refresh_interval: Option<Duration>,
    /// Metric of ordinary routes; 1024 when absent.
    #[serde(
        default,
        rename = "ipv4NormalRoutePriority",
        skip_serializing_if = "Option::is_none"
    )]
    pub ipv4_normal_route_priority: Option<u32>,
    /// The same for IPv6.
    #[serde(
        default,
        rename = "ipv6NormalRoutePriority",
        skip_serializing_if = "Option::is_none"
    )]
    pub ipv6_normal_route_priority: Option<u32>,
    /// Metric of the route to a workload that has just moved here; 512 when absent.
    #[serde(
        default,
        rename = "ipv4ElevatedRoutePriority",
        skip_serializing_if = "Option::is_none"
    )]
    pub ipv4_elevated_route_priority: Option<u32>,
    /// The same for IPv6.
    #[serde(
        default,
        rename = "ipv6ElevatedRoutePriority",
        skip_serializing_if = "Option::is_none"
    )]
    pub ipv6_elevated_route_priority: Option<u32>,
    /// For how long that route keeps it; 30 s when absent.
    #[serde(
        default,
        with = "fields::go_duration",
        skip_serializing_if = "Option::is_none"
    )]
    pub live_migration_route_convergence_time: Option<Duration>,
    /// Which routes to other nodes' workloads Felix writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program_cluster_routes: Option<ProgramClusterRoutes>,
    /// Felix writes no routes, since somebody else does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route_sync_disabled: Option<bool>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

string_enum! {
    /// Destinations that `natOutgoing` leaves alone.
    NatOutgoingExclusions {
        /// Those in pools.
        #[default]
        IPPoolsOnly = "IPPoolsOnly",
        /// Those in pools, and the nodes' addresses.
        IPPoolsAndHostIPs = "IPPoolsAndHostIPs",
    }
}

string_enum! {
    /// What happens to packets to service addresses that would leave the node again.
    ServiceLoopPrevention {
        /// Dropped.
        #[default]
        Drop = "Drop",
        /// Refused.
        Reject = "Reject",
        /// Let through.
        Disabled = "Disabled",
    }
}

string_enum! {
    /// Whether workloads may ask to send from addresses that are not theirs.
    WorkloadSourceSpoofing {
        /// They may not.
        #[default]
        Disabled = "Disabled",
        /// They may, with the annotation `allowedSourcePrefixes`.
        Any = "Any",
    }
}

/// A port, or the ports from the first to the last: `32768:65535`; one port is a number in manifests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRange {
    /// The lowest.
    pub first: u16,
    /// The highest.
    pub last: u16,
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}:{}", self.first, self.last)
        }
    }
}

impl FromStr for PortRange {
    type Err = String;

    fn from_str(text: &str) -> Result<PortRange, String> {
        let (first, last) = text.split_once(':').unwrap_or((text, text));
        match (first.trim().parse(), last.trim().parse()) {
            (Ok(first), Ok(last)) if first <= last => Ok(PortRange { first, last }),
            _ => Err(format!("{text:?} is no range of ports such as 32768:65535")),
        }
    }
}

impl Serialize for PortRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.first == self.last {
            serializer.serialize_u16(self.first)
        } else {
            serializer.collect_str(self)
        }
    }
}

impl<'de> Deserialize<'de> for PortRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<PortRange, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Number(i64),
            Text(String),
        }
        let text = match Either::deserialize(deserializer)? {
            Either::Number(number) => number.to_string(),
            Either::Text(text) => text,
        };
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl FelixConfiguration {
    /// What holds when this object lies over another one: field by field, the upper one wins where it says something.
    pub fn over(self, below: FelixConfiguration) -> FelixConfiguration {
        let mut extra = below.extra;
        extra.extend(self.extra);
        // A field that is missing here does not compile.
        macro_rules! upper_or_below {
            ($($field:ident),+ $(,)?) => {
                FelixConfiguration { $($field: self.$field.or(below.$field),)+ extra }
            };
        }
        upper_or_below!(
            interface_prefix,
            mtu_iface_pattern,
            require_mtu_file,
            ipip_mtu,
            vxlan_mtu,
            vxlan_mtu_v6,
            vxlan_port,
            vxlan_vni,
            nat_port_range,
            nat_outgoing_address,
            nat_outgoing_exclusions,
            iptables_nat_outgoing_interface_filter,
            service_loop_prevention,
            workload_source_spoofing,
            ip_forwarding,
            allow_ipip_packets_from_workloads,
            allow_vxlan_packets_from_workloads,
            external_nodes_list,
            device_route_source_address,
            device_route_source_address_ipv6,
            remove_external_routes,
            route_refresh_interval,
            ipv4_normal_route_priority,
            ipv6_normal_route_priority,
            ipv4_elevated_route_priority,
            ipv6_elevated_route_priority,
            live_migration_route_convergence_time,
            program_cluster_routes,
            route_sync_disabled,
        )
    }
}

impl FelixConfiguration {
    /// `externalNodesList`, without what cannot be read.
    pub fn external_nodes(&self) -> impl Iterator<Item = IpNet> {
        let entries = self.external_nodes_list.iter().flatten();
        entries.filter_map(|entry| network(entry))
    }
}

/// A network, or the one of a single address.
fn network(text: &str) -> Option<IpNet> {
    let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
    text.parse()
        .ok()
        .or_else(address)
        .map(|net: IpNet| net.trunc())
}

impl Resource for FelixConfiguration {
    const KIND: Kind = Kind::FelixConfiguration;

    fn validate(&self, metadata: &Metadata) -> Vec<String> {
        let mut faults = Vec::new();
        if metadata.name != "default" && !metadata.name.starts_with("node.") {
            faults.push(format!(
                "metadata.name: {:?} is neither default nor node.<node>",
                metadata.name
            ));
        }
        self.check_devices(&mut faults);
        self.check_tunnels(&mut faults);
        self.check_priorities(&mut faults);
        if let Some(range) = self.nat_port_range
            && range.first == 0
        {
            faults.push(format!("spec.natPortRange: {range} begins with port 0"));
        }
        faults
    }
}

impl FelixConfiguration {
    fn check_devices(&self, faults: &mut Vec<String>) {
        if let Some(prefixes) = &self.interface_prefix {
            let legal = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            for prefix in prefixes.split(',') {
                if prefix.is_empty() || prefix.len() > 15 || !prefix.chars().all(legal) {
                    faults.push(format!(
                        "spec.interfacePrefix: {prefix:?} is no beginning of a device's name (1 to 15 letters, digits, '-' and '_')"
                    ));
                }
            }
        }
        if let Some(pattern) = &self.mtu_iface_pattern
            && let Err(fault) = regex::bytes::RegexBuilder::new(pattern)
                .unicode(false)
                .build()
        {
            let why = fault.to_string();
            let why = why.lines().last().unwrap_or_default();
            faults.push(format!(
                "spec.mtuIfacePattern: {pattern:?} is no regular expression: {}",
                why.trim_start_matches("error: ")
            ));
        }
        if let Some(filter) = &self.iptables_nat_outgoing_interface_filter {
            let legal = |c: char| c.is_ascii_alphanumeric() || ":._+-".contains(c);
            let name = filter.strip_suffix('+').unwrap_or(filter);
            if filter.len() > 15 || !filter.chars().all(legal) || name.contains('+') {
                faults.push(format!(
                    "spec.iptablesNATOutgoingInterfaceFilter: {filter:?} is no name of a device (up to 15 letters, digits, ':', '.', '_', '-', and '+' at the end)"
                ));
            }
        }
    }

    fn check_tunnels(&self, faults: &mut Vec<String>) {
        for (field, mtu) in [
            ("ipipMTU", self.ipip_mtu),
            ("vxlanMTU", self.vxlan_mtu),
            ("vxlanMTUV6", self.vxlan_mtu_v6),
        ] {
            // RFC 791: every module must forward 68 octets. RFC 8200: every link must carry 1280.
            let least = if field == "vxlanMTUV6" { 1280 } else { 68 };
            if let Some(mtu) = mtu
                && mtu != 0
                && !(least..=65_535).contains(&mtu)
            {
                faults.push(format!(
                    "spec.{field}: {mtu} is neither 0 nor between {least} and 65535"
                ));
            }
        }
        for entry in self.external_nodes_list.iter().flatten() {
            if network(entry).is_none() {
                faults.push(format!(
                    "spec.externalNodesList: {entry:?} is neither an address nor a network"
                ));
            }
        }
        if self.vxlan_port == Some(0) {
            faults.push("spec.vxlanPort: 0 is not a port".to_owned());
        }
        if let Some(vni) = self.vxlan_vni
            && !(1..1 << 24).contains(&vni)
        {
            faults.push(format!(
                "spec.vxlanVNI: {vni} is not between 1 and 16777215"
            ));
        }
    }

    fn check_priorities(&self, faults: &mut Vec<String>) {
        for (field, priority) in [
            ("ipv4NormalRoutePriority", self.ipv4_normal_route_priority),
            ("ipv6NormalRoutePriority", self.ipv6_normal_route_priority),
            (
                "ipv4ElevatedRoutePriority",
                self.ipv4_elevated_route_priority,
            ),
            (
                "ipv6ElevatedRoutePriority",
                self.ipv6_elevated_route_priority,
            ),
        ] {
            if let Some(priority) = priority
                && !(1..=2_147_483_646).contains(&priority)
            {
                faults.push(format!(
                    "spec.{field}: {priority} is not between 1 and 2147483646"
                ));
            }
        }
    }

    /// What is refused when it is written and lived with where it stands: the agent takes other metrics in place of
    /// these and says so, and the object's other fields go on.
    pub(crate) fn faults_when_written(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (family, normal, elevated) in [
            (
                "ipv4",
                self.ipv4_normal_route_priority,
                self.ipv4_elevated_route_priority,
            ),
            (
                "ipv6",
                self.ipv6_normal_route_priority,
                self.ipv6_elevated_route_priority,
            ),
        ] {
            if let (Some(normal), Some(elevated)) = (normal, elevated)
                && elevated >= normal
            {
                faults.push(format!(
                    "spec.{family}ElevatedRoutePriority: {elevated} is not less than {family}NormalRoutePriority, which is {normal}"
                ));
            }
        }
        faults
    }
}

#[cfg(test)]
mod tests;
