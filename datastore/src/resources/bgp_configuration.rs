//! `BGPConfiguration`: how the cluster speaks BGP (`default`), and what one node does otherwise
//! (`node.<node>`).

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::fields::string_enum;
use super::{Extra, Password, Resource, fields};
use crate::store::{Kind, Metadata};

/// The spec of a BGPConfiguration.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BGPConfiguration {
    /// `Trace`, `Debug`, `Info`, `Warning`, `Error`, `Fatal`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_severity_screen: Option<String>,
    /// All nodes peer with one another; true when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_to_node_mesh_enabled: Option<bool>,
    /// The cluster's AS number; 64512 when absent.
    #[serde(
        default,
        with = "fields::as_number",
        skip_serializing_if = "Option::is_none"
    )]
    pub as_number: Option<u32>,
    /// Announced for services of type LoadBalancer.
    #[serde(
        default,
        rename = "serviceLoadBalancerIPs",
        deserialize_with = "fields::null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub service_load_balancer_ips: Vec<CidrEntry>,
    /// Announced for external IPs of services.
    #[serde(
        default,
        rename = "serviceExternalIPs",
        deserialize_with = "fields::null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub service_external_ips: Vec<CidrEntry>,
    /// Announced for cluster IPs of services.
    #[serde(
        default,
        rename = "serviceClusterIPs",
        deserialize_with = "fields::null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub service_cluster_ips: Vec<CidrEntry>,
    /// Names for communities.
    #[serde(
        default,
        deserialize_with = "fields::null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub communities: Vec<Community>,
    /// Which prefixes carry which communities.
    #[serde(
        default,
        deserialize_with = "fields::null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub prefix_advertisements: Vec<PrefixAdvertisement>,
    /// 179 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen_port: Option<u16>,
    /// TCP MD5 password of the mesh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_mesh_password: Option<Password>,
    /// Graceful restart time in the mesh.
    #[serde(
        default,
        with = "fields::go_duration",
        skip_serializing_if = "Option::is_none"
    )]
    pub node_mesh_max_restart_time: Option<Duration>,
    /// Which addresses are listened on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bind_mode: Option<BindMode>,
    /// Devices whose routes are not announced; `*` and `?` are wildcards.
    #[serde(
        default,
        deserialize_with = "fields::null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub ignored_interfaces: Vec<String>,
    /// The address under which workloads reach this node's speaker.
    #[serde(
        default,
        rename = "localWorkloadPeeringIPV4",
        with = "fields::optional_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub local_workload_peering_ipv4: Option<Ipv4Addr>,
    /// The same for IPv6.
    #[serde(
        default,
        rename = "localWorkloadPeeringIPV6",
        with = "fields::optional_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub local_workload_peering_ipv6: Option<Ipv6Addr>,
    /// Whether load balancer addresses are announced as their CIDR.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_load_balancer_aggregation: Option<Toggle>,
    /// Whether BGP writes the routes to pods of other nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program_cluster_routes: Option<ProgramClusterRoutes>,
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
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// `{cidr: 10.96.0.0/12}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CidrEntry {
    /// The CIDR; a single address may stand without a prefix length.
    #[serde(with = "fields::network")]
    pub cidr: IpNet,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A name for a community.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Community {
    /// Its name.
    pub name: String,
    /// `aa:nn` or `aa:nn:mm`.
    pub value: String,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Communities of all prefixes inside a CIDR.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PrefixAdvertisement {
    /// The CIDR; a single address may stand without a prefix length.
    #[serde(with = "fields::network")]
    pub cidr: IpNet,
    /// Names or values.
    #[serde(default, deserialize_with = "fields::null_is_default")]
    pub communities: Vec<String>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

string_enum! {
    /// Which addresses are listened on.
    BindMode {
        /// All.
        #[default]
        None = "None",
        /// The node's only.
        NodeIP = "NodeIP",
    }
}

string_enum! {
    /// A switch that is a word.
    Toggle {
        /// On.
        #[default]
        Enabled = "Enabled",
        /// Off.
        Disabled = "Disabled",
    }
}

string_enum! {
    /// Which routes to other nodes' workloads one of Calico's two writers writes, BGP or Felix.
    ProgramClusterRoutes {
        /// All.
        #[default]
        Enabled = "Enabled",
        /// None.
        Disabled = "Disabled",
        /// Those through the IPIP tunnel.
        EnabledIPIPOnly = "EnabledIPIPOnly",
        /// Those without a tunnel.
        EnabledNoEncapOnly = "EnabledNoEncapOnly",
    }
}

impl BGPConfiguration {
    /// Whether all nodes peer with one another.
    pub fn mesh(&self) -> bool {
        self.node_to_node_mesh_enabled.unwrap_or(true)
    }

    /// What Calico refuses to write, and is of no harm where it stands.
    pub(crate) fn faults_when_written(&self) -> Vec<String> {
        if self.communities.is_empty() || !self.prefix_advertisements.is_empty() {
            return Vec::new();
        }
        vec!["spec.communities: are given and no prefixAdvertisements, which use them".to_owned()]
    }

    /// The values of a community that is given by name or by value.
    pub fn community<'a>(&'a self, name_or_value: &'a str) -> &'a str {
        self.communities
            .iter()
            .find(|community| community.name == name_or_value)
            .map_or(name_or_value, |community| community.value.as_str())
    }
}

impl Resource for BGPConfiguration {
    const KIND: Kind = Kind::BGPConfiguration;

    fn validate(&self, metadata: &Metadata) -> Vec<String> {
        let mut faults = Vec::new();
        if let Some(node) = metadata.name.strip_prefix("node.") {
            self.only_what_a_node_may_have(node, &mut faults);
        } else if metadata.name != "default" {
            faults.push(format!(
                "metadata.name: {:?} is neither default nor node.<node>",
                metadata.name
            ));
        }
        if self.as_number == Some(0) {
            faults.push("spec.asNumber: 0 is not an AS number".to_owned());
        }
        if self.listen_port == Some(0) {
            faults.push("spec.listenPort: 0 is not a port".to_owned());
        }
        if let Some(severity) = &self.log_severity_screen
            && !["Trace", "Debug", "Info", "Warning", "Error", "Fatal"]
                .iter()
                .any(|known| known.eq_ignore_ascii_case(severity))
        {
            faults.push(format!(
                "spec.logSeverityScreen: {severity:?} is none of Trace, Debug, Info, Warning, Error, Fatal"
            ));
        }
        for (field, entries) in [
            ("serviceLoadBalancerIPs", &self.service_load_balancer_ips),
            ("serviceExternalIPs", &self.service_external_ips),
            ("serviceClusterIPs", &self.service_cluster_ips),
        ] {
            for (index, entry) in entries.iter().enumerate() {
                fields::host_bits(
                    &format!("spec.{field}[{index}].cidr"),
                    &entry.cidr,
                    &mut faults,
                );
            }
        }
        for (index, community) in self.communities.iter().enumerate() {
            if !is_community(&community.value) {
                faults.push(format!(
                    "spec.communities[{index}].value: {:?} is neither aa:nn nor aa:nn:mm",
                    community.value
                ));
            }
        }
        for (index, advertisement) in self.prefix_advertisements.iter().enumerate() {
            let path = format!("spec.prefixAdvertisements[{index}]");
            fields::host_bits(&format!("{path}.cidr"), &advertisement.cidr, &mut faults);
            for (position, community) in advertisement.communities.iter().enumerate() {
                if !is_community(self.community(community)) {
                    faults.push(format!(
                        "{path}.communities[{position}]: {community:?} is neither a community nor the name of one"
                    ));
                }
            }
        }
        if let Some(password) = &self.node_mesh_password {
            faults.extend(password.faults("spec.nodeMeshPassword"));
            if !self.mesh() {
                faults.push(
                    "spec.nodeMeshPassword: is given while nodeToNodeMeshEnabled is false"
                        .to_owned(),
                );
            }
        }
        if let Some(time) = self.node_mesh_max_restart_time
            && !self.mesh()
        {
            faults.push(format!(
                "spec.nodeMeshMaxRestartTime: {} while nodeToNodeMeshEnabled is false",
                fields::format_go_duration(time)
            ));
        }
        for (index, pattern) in self.ignored_interfaces.iter().enumerate() {
            if pattern.is_empty() || pattern == "*" {
                faults.push(format!(
                    "spec.ignoredInterfaces[{index}]: {pattern:?} would ignore every device"
                ));
            }
        }
        for (field, priority) in [
            ("ipv4NormalRoutePriority", self.ipv4_normal_route_priority),
            ("ipv6NormalRoutePriority", self.ipv6_normal_route_priority),
        ] {
            if let Some(priority) = priority
                && !(1..=2_147_483_646).contains(&priority)
            {
                faults.push(format!(
                    "spec.{field}: {priority} is not between 1 and 2147483646"
                ));
            }
        }
        faults
    }
}

impl BGPConfiguration {
    fn only_what_a_node_may_have(&self, node: &str, faults: &mut Vec<String>) {
        let rest = BGPConfiguration {
            listen_port: None,
            log_severity_screen: None,
            prefix_advertisements: Vec::new(),
            // Names of communities are looked up in the same object.
            communities: Vec::new(),
            extra: Extra::new(),
            ..self.clone()
        };
        if rest != BGPConfiguration::default() {
            faults.push(format!(
                "spec: node.{node} may have listenPort, logSeverityScreen and prefixAdvertisements only"
            ));
        }
    }
}

/// A standard community of two 16-bit numbers, or a large one of three 32-bit numbers (RFC 8092).
fn is_community(text: &str) -> bool {
    let parts: Vec<&str> = text.split(':').collect();
    match parts.len() {
        2 => parts.iter().all(|part| part.parse::<u16>().is_ok()),
        3 => parts.iter().all(|part| part.parse::<u32>().is_ok()),
        _ => false,
    }
}
