//! Kubernetes' own kinds, as far as anything here reads them: Namespace, Service and EndpointSlice. All fields beside
//! the metadata are kept; what is not declared stands in `extra`.
//!
//! In Kubernetes others write them and their API server has checked them, so that little is checked here.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Extra, Resource, fields};
use crate::store::{Kind, Metadata};

/// A Namespace (`v1`) without its metadata, whose labels pools and policies select by.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Namespace {
    /// Everything: `spec`, `status`.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A Service (`v1`) without its metadata.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Service {
    /// What it is.
    #[serde(deserialize_with = "fields::null_is_default")]
    pub spec: ServiceSpec,
    /// Which addresses its load balancer has given it.
    #[serde(
        deserialize_with = "fields::null_is_default",
        skip_serializing_if = "fields::is_default"
    )]
    pub status: ServiceStatus,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// `spec` of a Service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceSpec {
    /// `ClusterIP` (empty too), `NodePort`, `LoadBalancer`, `ExternalName`.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub service_type: String,
    /// Its address, or `None` on a headless one.
    #[serde(
        rename = "clusterIP",
        deserialize_with = "fields::null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub cluster_ip: String,
    /// One for each family, the first being `clusterIP`.
    #[serde(
        rename = "clusterIPs",
        deserialize_with = "fields::null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub cluster_ips: Vec<String>,
    /// Addresses outside the cluster that lead to it.
    #[serde(
        rename = "externalIPs",
        deserialize_with = "fields::null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub external_ips: Vec<String>,
    /// The address that it wants of its load balancer.
    #[serde(
        rename = "loadBalancerIP",
        deserialize_with = "fields::null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub load_balancer_ip: String,
    /// `Cluster` (empty too) or `Local`: only nodes with an endpoint take packets from outside.
    #[serde(
        deserialize_with = "fields::null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub external_traffic_policy: String,
    /// Everything else: ports, selector, families.
    #[serde(flatten)]
    pub extra: Extra,
}

/// `status` of a Service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceStatus {
    /// What the load balancer says.
    #[serde(
        deserialize_with = "fields::null_is_default",
        skip_serializing_if = "fields::is_default"
    )]
    pub load_balancer: LoadBalancerStatus,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// `status.loadBalancer` of a Service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoadBalancerStatus {
    /// Where packets come in.
    #[serde(
        deserialize_with = "fields::null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub ingress: Vec<LoadBalancerIngress>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// One of `status.loadBalancer.ingress` of a Service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoadBalancerIngress {
    /// An address; absent where there is a `hostname`.
    #[serde(
        with = "fields::optional_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub ip: Option<IpAddr>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// An EndpointSlice (`discovery.k8s.io/v1`) without its metadata. Its Service is named by a label.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointSlice {
    /// `IPv4`, `IPv6` or `FQDN`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub address_type: String,
    /// Who serves.
    #[serde(
        deserialize_with = "fields::null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub endpoints: Vec<SliceEndpoint>,
    /// On which ports.
    #[serde(
        deserialize_with = "fields::null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub ports: Vec<SlicePort>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// One of `endpoints` of an EndpointSlice.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SliceEndpoint {
    /// Its addresses, which mean the same endpoint.
    #[serde(deserialize_with = "fields::null_is_default")]
    pub addresses: Vec<String>,
    /// How it is.
    #[serde(
        deserialize_with = "fields::null_is_default",
        skip_serializing_if = "fields::is_default"
    )]
    pub conditions: SliceConditions,
    /// Where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_name: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// `conditions` of an endpoint.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SliceConditions {
    /// Whether it takes new connections; absent counts as true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<bool>,
    /// Everything else: serving, terminating.
    #[serde(flatten)]
    pub extra: Extra,
}

/// One of `ports` of an EndpointSlice.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SlicePort {
    /// The port; absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Everything else: name, protocol.
    #[serde(flatten)]
    pub extra: Extra,
}

/// The label of an EndpointSlice that names its Service.
pub const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

impl Service {
    /// Whether only nodes with an endpoint take packets from outside.
    pub fn is_local(&self) -> bool {
        self.spec.external_traffic_policy == "Local"
    }
}

impl SliceEndpoint {
    /// Whether it takes new connections.
    pub fn is_ready(&self) -> bool {
        self.conditions.ready.unwrap_or(true)
    }
}

impl Resource for Namespace {
    const KIND: Kind = Kind::Namespace;

    fn validate(&self, _metadata: &Metadata) -> Vec<String> {
        Vec::new()
    }
}

impl Resource for Service {
    const KIND: Kind = Kind::Service;

    fn validate(&self, _metadata: &Metadata) -> Vec<String> {
        let mut faults = Vec::new();
        let of = |field: &str, index: usize| format!("spec.{field}[{index}]");
        for (index, text) in self.spec.cluster_ips.iter().enumerate() {
            if text != "None" {
                address(&of("clusterIPs", index), text, &mut faults);
            }
        }
        for (index, text) in self.spec.external_ips.iter().enumerate() {
            address(&of("externalIPs", index), text, &mut faults);
        }
        faults
    }
}

impl Resource for EndpointSlice {
    const KIND: Kind = Kind::EndpointSlice;

    fn validate(&self, _metadata: &Metadata) -> Vec<String> {
        match self.address_type.as_str() {
            "IPv4" | "IPv6" | "FQDN" => Vec::new(),
            other => vec![format!(
                "addressType: {other:?} is none of IPv4, IPv6, FQDN"
            )],
        }
    }
}

fn address(path: &str, text: &str, faults: &mut Vec<String>) {
    if text.parse::<IpAddr>().is_err() {
        faults.push(format!("{path}: {text:?} is not an IP address"));
    }
}
