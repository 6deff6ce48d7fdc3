//! `WorkloadEndpoint`: a pod's device, its addresses, and where it is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{Extra, Resource, fields};
use crate::store::{Kind, Metadata};

/// The spec of a WorkloadEndpoint.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadEndpoint {
    /// `k8s`, `cni`.
    pub orchestrator: String,
    /// The workload, for orchestrators without pods.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub workload: String,
    /// The node.
    pub node: String,
    /// The container (CNI_CONTAINERID).
    #[serde(
        default,
        rename = "containerID",
        skip_serializing_if = "String::is_empty"
    )]
    pub container_id: String,
    /// The pod.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pod: String,
    /// The device inside the pod.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub endpoint: String,
    /// The pod's service account.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub service_account_name: String,
    /// Its addresses, each with /32 or /128.
    #[serde(
        default,
        with = "fields::text_list",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub ip_networks: Vec<IpNet>,
    /// One-to-one translations (floating addresses).
    #[serde(
        default,
        rename = "ipNATs",
        deserialize_with = "fields::null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub ip_nats: Vec<IpNat>,
    /// Its gateway.
    #[serde(
        default,
        rename = "ipv4Gateway",
        with = "fields::optional_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub ipv4_gateway: Option<Ipv4Addr>,
    /// The same for IPv6.
    #[serde(
        default,
        rename = "ipv6Gateway",
        with = "fields::optional_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub ipv6_gateway: Option<Ipv6Addr>,
    /// Its profiles.
    #[serde(
        default,
        deserialize_with = "fields::null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub profiles: Vec<String>,
    /// The device on the node: `cali` and 11 hex digits.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub interface_name: String,
    /// The MAC address inside the pod.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub mac: String,
    /// Named ports.
    #[serde(
        default,
        deserialize_with = "fields::null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub ports: Vec<EndpointPort>,
    /// Sources that the pod may use besides its own.
    #[serde(
        default,
        with = "fields::text_list",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub allow_spoofed_source_prefixes: Vec<IpNet>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A one-to-one translation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IpNat {
    /// Inside.
    #[serde(rename = "internalIP", with = "fields::text")]
    pub internal_ip: IpAddr,
    /// Outside.
    #[serde(rename = "externalIP", with = "fields::text")]
    pub external_ip: IpAddr,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A named port.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointPort {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// A name or a number.
    #[serde(default)]
    pub protocol: serde_json::Value,
    /// The port.
    #[serde(default)]
    pub port: u16,
    /// The port on the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_port: Option<u16>,
    /// The node's address for it.
    #[serde(default, rename = "hostIP", skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

impl WorkloadEndpoint {
    /// The name of a pod's endpoint: `<node>-k8s-<pod>-<device>`, each `-` inside a part doubled.
    pub fn name_for_pod(node: &str, pod: &str, device: &str) -> String {
        Self::joined([node, "k8s", pod, device])
    }

    /// The name of a container's endpoint without Kubernetes: `<node>-cni-<containerID>-<device>`.
    pub fn name_for_container(node: &str, container_id: &str, device: &str) -> String {
        Self::joined([node, "cni", container_id, device])
    }

    /// The name that this endpoint must have.
    pub fn name(&self) -> String {
        match self.orchestrator.as_str() {
            "k8s" => Self::name_for_pod(&self.node, &self.pod, &self.endpoint),
            "cni" => Self::name_for_container(&self.node, &self.container_id, &self.endpoint),
            other => Self::joined([&self.node, other, &self.workload, &self.endpoint]),
        }
    }

    /// Node, orchestrator, workload (a pod, a container) and device, of which a name is made; `None` where one is missing.
    pub fn parts_of_name(name: &str) -> Option<[String; 4]> {
        let mut parts = vec![String::new()];
        let mut rest = name.chars().peekable();
        while let Some(c) = rest.next() {
            // A single `-` is between two parts, a double one is a `-` inside one.
            if c == '-' && rest.next_if_eq(&'-').is_none() {
                parts.push(String::new());
            } else if let Some(last) = parts.last_mut() {
                last.push(c);
            }
        }
        let parts: [String; 4] = parts.try_into().ok()?;
        parts.iter().all(|part| !part.is_empty()).then_some(parts)
    }

    fn joined(parts: [&str; 4]) -> String {
        parts.map(|part| part.replace('-', "--")).join("-")
    }
}

impl Resource for WorkloadEndpoint {
    const KIND: Kind = Kind::WorkloadEndpoint;

    fn validate(&self, metadata: &Metadata) -> Vec<String> {
        let mut faults = Vec::new();
        for (field, value) in [("orchestrator", &self.orchestrator), ("node", &self.node)] {
            if value.is_empty() {
                faults.push(format!("spec.{field}: is empty"));
            }
        }
        if faults.is_empty() && metadata.name != self.name() {
            faults.push(format!(
                "metadata.name: {:?} does not fit its fields, which give {:?}",
                metadata.name,
                self.name()
            ));
        }
        for (index, network) in self.ip_networks.iter().enumerate() {
            if network.prefix_len() != network.max_prefix_len() {
                faults.push(format!(
                    "spec.ipNetworks[{index}]: {network} is not a single address"
                ));
            }
        }
        if !self.interface_name.is_empty()
            && (self.interface_name.len() > 15
                || self
                    .interface_name
                    .contains(|c: char| c == '/' || c.is_whitespace()))
        {
            faults.push(format!(
                "spec.interfaceName: {:?} is not a device's name",
                self.interface_name
            ));
        }
        fields::mac("spec.mac", Some(&self.mac), &mut faults);
        for (index, prefix) in self.allow_spoofed_source_prefixes.iter().enumerate() {
            fields::host_bits(
                &format!("spec.allowSpoofedSourcePrefixes[{index}]"),
                prefix,
                &mut faults,
            );
        }
        faults
    }
}
