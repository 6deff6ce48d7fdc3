//! `BGPPeer`: who some or all nodes speak BGP with.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::fields::{FieldText, string_enum};
use super::{Extra, Resource, fields};
use crate::store::{Kind, Metadata};

/// The spec of a BGPPeer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BGPPeer {
    /// Only this node has the peer; all have it when this and `nodeSelector` are absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Only these nodes have the peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<String>,
    /// The peer's address, perhaps with a port.
    #[serde(
        default,
        rename = "peerIP",
        with = "fields::optional_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub peer_ip: Option<PeerAddress>,
    /// The peer's AS number.
    #[serde(
        default,
        with = "fields::as_number",
        skip_serializing_if = "Option::is_none"
    )]
    pub as_number: Option<u32>,
    /// The peers are all nodes with these labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_selector: Option<String>,
    /// The peers are workloads of this node with these labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_workload_selector: Option<String>,
    /// eBGP: next hops are passed on unchanged.
    #[serde(default, skip_serializing_if = "fields::is_false")]
    pub keep_original_next_hop: bool,
    /// TCP MD5 password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Password>,
    /// Which address the connection comes from.
    #[serde(
        default,
        deserialize_with = "fields::null_is_default",
        skip_serializing_if = "fields::is_default"
    )]
    pub source_address: SourceAddress,
    /// Graceful restart: how long the peer keeps our routes.
    #[serde(
        default,
        with = "fields::go_duration",
        skip_serializing_if = "Option::is_none"
    )]
    pub max_restart_time: Option<Duration>,
    /// How often our own AS may stand in a path.
    #[serde(
        default,
        rename = "numAllowedLocalASNumbers",
        skip_serializing_if = "Option::is_none"
    )]
    pub num_allowed_local_as_numbers: Option<u32>,
    /// Generalised TTL security with that many hops.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_security: Option<u8>,
    /// The gateway through which the peer is reached.
    #[serde(
        default,
        with = "fields::optional_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub reachable_by: Option<IpAddr>,
    /// Names of BGPFilters, in order.
    #[serde(
        default,
        deserialize_with = "fields::null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub filters: Vec<String>,
    /// Our AS number towards this peer.
    #[serde(
        default,
        rename = "localASNumber",
        with = "fields::as_number",
        skip_serializing_if = "Option::is_none"
    )]
    pub local_as_number: Option<u32>,
    /// What next hop is announced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_hop_mode: Option<NextHopMode>,
    /// Whether the nodes selected by `peerSelector` get the peering too.
    #[serde(
        default,
        deserialize_with = "fields::null_is_default",
        skip_serializing_if = "fields::is_default"
    )]
    pub reverse_peering: ReversePeering,
    /// Time between keepalives; the hold time is three times as long.
    #[serde(
        default,
        with = "fields::go_duration",
        skip_serializing_if = "Option::is_none"
    )]
    pub keepalive_time: Option<Duration>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

string_enum! {
    /// Which address a connection comes from.
    SourceAddress {
        /// The node's address.
        #[default]
        UseNodeIP = "UseNodeIP",
        /// Whatever the kernel chooses.
        None = "None",
    }
}

string_enum! {
    /// What next hop is announced.
    NextHopMode {
        /// Self on eBGP, unchanged where a reflector passes it on.
        #[default]
        Auto = "Auto",
        /// Always ourselves.
        Own = "Self",
        /// Always unchanged.
        Keep = "Keep",
    }
}

string_enum! {
    /// Whether the other side's peering is made automatically.
    ReversePeering {
        /// It is.
        #[default]
        Auto = "Auto",
        /// It has a BGPPeer of its own.
        Manual = "Manual",
    }
}

/// Where a password is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Password {
    /// A key of a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<SecretKeyRef>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A key of a Secret.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// The Secret.
    #[serde(default)]
    pub name: String,
    /// The key in it.
    #[serde(default)]
    pub key: String,
    /// Everything else (`optional`).
    #[serde(flatten)]
    pub extra: Extra,
}

impl Password {
    /// What is wrong with it.
    pub(crate) fn faults(&self, path: &str) -> Vec<String> {
        match &self.secret_key_ref {
            Some(reference) if !reference.name.is_empty() && !reference.key.is_empty() => {
                Vec::new()
            }
            Some(reference) => vec![format!(
                "{path}.secretKeyRef: name {:?} and key {:?} must both be given",
                reference.name, reference.key
            )],
            None => vec![format!("{path}.secretKeyRef: is missing")],
        }
    }
}

/// An address, perhaps with a port: `192.0.2.1`, `192.0.2.1:1179`, `[2001:db8::1]:1179`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerAddress {
    /// The address.
    pub ip: IpAddr,
    /// The port; 179 when absent.
    pub port: Option<u16>,
}

impl FromStr for PeerAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Ok(ip) = text.parse() {
            return Ok(PeerAddress { ip, port: None });
        }
        match text.parse::<std::net::SocketAddr>() {
            Ok(socket) if socket.port() != 0 => Ok(PeerAddress {
                ip: socket.ip(),
                port: Some(socket.port()),
            }),
            _ => Err(format!(
                "{text:?} is not an address, or an address with a port"
            )),
        }
    }
}

impl FieldText for PeerAddress {
    fn parse_field(text: &str) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            None => write!(f, "{}", self.ip),
            Some(port) => write!(f, "{}", std::net::SocketAddr::new(self.ip, port)),
        }
    }
}

impl Resource for BGPPeer {
    const KIND: Kind = Kind::BGPPeer;

    fn validate(&self, _metadata: &Metadata) -> Vec<String> {
        let mut faults = Vec::new();
        let mut exclusive = |one: &str, has_one: bool, other: &str, has_other: bool| {
            if has_one && has_other {
                faults.push(format!("spec.{one}: cannot be given together with {other}"));
            }
        };
        let (ip, selector) = (self.peer_ip.is_some(), given(&self.peer_selector));
        let workload = given(&self.local_workload_selector);
        exclusive("peerSelector", selector, "peerIP", ip);
        exclusive(
            "nodeSelector",
            given(&self.node_selector),
            "node",
            given(&self.node),
        );
        exclusive("localWorkloadSelector", workload, "peerIP", ip);
        exclusive("localWorkloadSelector", workload, "peerSelector", selector);
        exclusive(
            "peerSelector",
            selector,
            "asNumber",
            self.as_number.is_some(),
        );
        exclusive(
            "keepOriginalNextHop",
            self.keep_original_next_hop,
            "nextHopMode",
            self.next_hop_mode.is_some(),
        );
        if !(ip || selector || workload) {
            faults.push(
                "spec: one of peerIP, peerSelector and localWorkloadSelector must be given"
                    .to_owned(),
            );
        }
        if (ip || workload) && !selector && self.as_number.is_none() {
            faults.push("spec.asNumber: is missing".to_owned());
        }
        if self.as_number == Some(0) {
            faults.push("spec.asNumber: 0 is not an AS number".to_owned());
        }
        if self.local_as_number == Some(0) {
            faults.push("spec.localASNumber: 0 is not an AS number".to_owned());
        }
        if let Some(gateway) = self.reachable_by {
            match self.peer_ip {
                None => faults.push(format!("spec.reachableBy: {gateway} needs peerIP")),
                Some(peer) if peer.ip.is_ipv4() != gateway.is_ipv4() => faults.push(format!(
                    "spec.reachableBy: {gateway} is not of the family of peerIP {peer}"
                )),
                Some(_) => {}
            }
        }
        for (path, text) in [
            ("spec.nodeSelector", &self.node_selector),
            ("spec.peerSelector", &self.peer_selector),
            ("spec.localWorkloadSelector", &self.local_workload_selector),
        ] {
            fields::selector(path, text.as_deref(), &mut faults);
        }
        if let Some(password) = &self.password {
            faults.extend(password.faults("spec.password"));
        }
        if self.keepalive_time == Some(Duration::ZERO) {
            faults.push("spec.keepaliveTime: 0s is not a time between keepalives".to_owned());
        }
        faults
    }
}

/// Whether a string field says anything: Calico treats an empty string as absent.
fn given(text: &Option<String>) -> bool {
    text.as_deref().is_some_and(|text| !text.is_empty())
}
