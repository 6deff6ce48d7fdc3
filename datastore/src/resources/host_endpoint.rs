//! `HostEndpoint`: a node's device to which policies apply.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::port::Protocol;
use super::{Extra, Resource, fields};
use crate::store::{Kind, Metadata};

/// The spec of a HostEndpoint.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HostEndpoint {
    /// The node.
    pub node: String,
    /// The device; `*` stands for all; empty: the one that has one of `expectedIPs`.
    #[serde(
        deserialize_with = "fields::null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub interface_name: String,
    /// Addresses of the device.
    #[serde(
        rename = "expectedIPs",
        with = "fields::text_list",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub expected_ips: Vec<IpAddr>,
    /// Its profiles, in order.
    #[serde(
        deserialize_with = "fields::null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub profiles: Vec<String>,
    /// Named ports.
    #[serde(
        deserialize_with = "fields::null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub ports: Vec<NamedPort>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A port that rules may call by its name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NamedPort {
    /// Its name.
    pub name: String,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: Protocol,
    /// The port.
    pub port: u16,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

impl Resource for HostEndpoint {
    const KIND: Kind = Kind::HostEndpoint;

    fn validate(&self, _metadata: &Metadata) -> Vec<String> {
        let mut faults = Vec::new();
        if self.node.is_empty() {
            faults.push("spec.node: is missing".to_owned());
        } else {
            fields::name("spec.node", &self.node, &mut faults);
        }
        if self.interface_name.is_empty() && self.expected_ips.is_empty() {
            faults.push(
                "spec.interfaceName: is missing, and there are no expectedIPs either".to_owned(),
            );
        }
        if !self.interface_name.is_empty() && !is_device(&self.interface_name) {
            faults.push(format!(
                "spec.interfaceName: {:?} is neither * nor a device's name",
                self.interface_name
            ));
        }
        for (index, profile) in self.profiles.iter().enumerate() {
            fields::name(&format!("spec.profiles[{index}]"), profile, &mut faults);
        }
        for (index, port) in self.ports.iter().enumerate() {
            port.validate(&format!("spec.ports[{index}]"), &mut faults);
        }
        faults
    }
}

impl NamedPort {
    fn validate(&self, path: &str, faults: &mut Vec<String>) {
        if !is_port_name(&self.name) {
            faults.push(format!(
                "{path}.name: {:?} is not a port's name (up to 15 of a-z, 0-9 and single '-', a letter among them)",
                self.name
            ));
        }
        if !self.protocol.has_ports() {
            faults.push(format!(
                "{path}.protocol: {} has no ports; TCP, UDP and SCTP have",
                self.protocol
            ));
        }
        if self.port == 0 {
            faults.push(format!("{path}.port: 0 is not a port"));
        }
    }
}

/// A name of Linux, or all.
fn is_device(name: &str) -> bool {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.' | b'-');
    name == "*" || ((1..=15).contains(&name.len()) && name.bytes().all(allowed))
}

/// A service's name of RFC 6335 §5.1.
fn is_port_name(name: &str) -> bool {
    let allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    (1..=15).contains(&name.len())
        && name.bytes().all(allowed)
        && name.bytes().any(|c| c.is_ascii_lowercase())
        && !name.contains("--")
        && !name.starts_with('-')
        && !name.ends_with('-')
}
