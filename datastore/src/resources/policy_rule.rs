//! The rules of policies: what a packet must be like, and what becomes of it.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::fields::string_enum;
use super::port::{Port, Protocol};
use super::{Extra, fields};

/// A rule. All its conditions must hold.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// What becomes of the packet.
    pub action: Action,
    /// 4 or 6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_version: Option<u8>,
    /// The protocol inside IP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// Any protocol but this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_protocol: Option<Protocol>,
    /// Messages of ICMP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icmp: Option<IcmpMatch>,
    /// Any message of ICMP but these.
    #[serde(default, rename = "notICMP", skip_serializing_if = "Option::is_none")]
    pub not_icmp: Option<IcmpMatch>,
    /// Who sends it.
    #[serde(
        default,
        deserialize_with = "fields::null_is_default",
        skip_serializing_if = "fields::is_default"
    )]
    pub source: EntityRule,
    /// Who gets it.
    #[serde(
        default,
        deserialize_with = "fields::null_is_default",
        skip_serializing_if = "fields::is_default"
    )]
    pub destination: EntityRule,
    /// Requests of HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpMatch>,
    /// What people want to say about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<RuleMetadata>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

string_enum! {
    /// What becomes of a packet.
    Action {
        /// It is let through.
        #[default]
        Allow = "Allow",
        /// It is dropped.
        Deny = "Deny",
        /// It is logged, and the next rule is looked at.
        Log = "Log",
        /// The next tier is looked at.
        Pass = "Pass",
    }
}

/// One end of a packet.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EntityRule {
    /// Its address is in one of these.
    #[serde(with = "fields::networks", skip_serializing_if = "Vec::is_empty")]
    pub nets: Vec<IpNet>,
    /// It is an endpoint, or in a set, with these labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// It is in a namespace with these labels; `global()`: in none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<String>,
    /// It is behind that Service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub services: Option<ServiceMatch>,
    /// Its port is one of these.
    #[serde(
        deserialize_with = "fields::null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub ports: Vec<Port>,
    /// Its address is in none of these.
    #[serde(with = "fields::networks", skip_serializing_if = "Vec::is_empty")]
    pub not_nets: Vec<IpNet>,
    /// It is no endpoint with these labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_selector: Option<String>,
    /// Its port is none of these.
    #[serde(
        deserialize_with = "fields::null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub not_ports: Vec<Port>,
    /// It is a pod of one of these service accounts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_accounts: Option<ServiceAccountMatch>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A Service of Kubernetes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceMatch {
    /// Its name.
    pub name: String,
    /// Its namespace; the policy's when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Service accounts, by both.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceAccountMatch {
    /// By name.
    #[serde(
        deserialize_with = "fields::null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub names: Vec<String>,
    /// By labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Messages of ICMP or ICMPv6.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct IcmpMatch {
    /// The type, 0 to 254.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub icmp_type: Option<u8>,
    /// The code; needs a type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u8>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Requests of HTTP, by both.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HttpMatch {
    /// One of these methods.
    #[serde(
        deserialize_with = "fields::null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub methods: Vec<String>,
    /// One of these paths.
    #[serde(
        deserialize_with = "fields::null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub paths: Vec<HttpPath>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A path of HTTP, exactly one of both.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HttpPath {
    /// The whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<String>,
    /// Its beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// What people want to say about a rule.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RuleMetadata {
    /// Anything.
    #[serde(
        default,
        deserialize_with = "fields::null_is_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Which packets of an endpoint rules are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Ingress,
    Egress,
}

const ICMP: u8 = 1;
const ICMP_V6: u8 = 58;
const TCP: u8 = 6;

impl Rule {
    /// `path` is the rule's, such as `spec.ingress[0]`; `global`: its policy has no namespace.
    pub(crate) fn validate(
        &self,
        path: &str,
        direction: Direction,
        global: bool,
        faults: &mut Vec<String>,
    ) {
        let source = format!("{path}.source");
        let destination = format!("{path}.destination");
        self.source.validate(&source, faults);
        self.destination.validate(&destination, faults);
        self.validate_protocol(path, faults);
        self.validate_families(path, faults);
        if let Some(http) = &self.http {
            http.validate(&format!("{path}.http"), faults);
            if self.action != Action::Allow {
                faults.push(format!(
                    "{path}.http: in a rule that says {}, only Allow may have it",
                    self.action
                ));
            }
            if direction == Direction::Egress {
                faults.push(format!("{path}.http: only ingress rules may have it"));
            }
        }
        // Endpoints of a Service are where packets of an egress rule go, and where those of an ingress rule come from.
        let (far, far_path, near, near_path) = match direction {
            Direction::Ingress => (&self.source, &source, &self.destination, &destination),
            Direction::Egress => (&self.destination, &destination, &self.source, &source),
        };
        if near.services.is_some() {
            faults.push(format!("{near_path}.services: only the source of an ingress rule and the destination of an egress rule may have it"));
        }
        if global
            && let Some(service) = &far.services
            && service.namespace.is_empty()
        {
            faults.push(format!(
                "{far_path}.services.namespace: is missing, in a policy without a namespace"
            ));
        }
        if self.destination.services.is_some()
            && !(self.destination.ports.is_empty() && self.destination.not_ports.is_empty())
        {
            faults.push(format!(
                "{destination}.ports: cannot be given together with services, which have their own"
            ));
        }
    }

    fn validate_protocol(&self, path: &str, faults: &mut Vec<String>) {
        let ports = [
            ("source.ports", &self.source.ports),
            ("source.notPorts", &self.source.not_ports),
            ("destination.ports", &self.destination.ports),
            ("destination.notPorts", &self.destination.not_ports),
        ];
        if !self.protocol.is_some_and(Protocol::has_ports) {
            for (field, _) in ports.iter().filter(|(_, ports)| !ports.is_empty()) {
                faults.push(format!("{path}.{field}: needs protocol TCP, UDP or SCTP"));
            }
        }
        if let Some(protocol) = self.protocol
            && self.http.is_some()
            && protocol.number() != TCP
        {
            faults.push(format!(
                "{path}.protocol: {protocol} together with http, which needs TCP or none"
            ));
        }
        let number = self.protocol.map(Protocol::number);
        for (field, icmp) in [("icmp", &self.icmp), ("notICMP", &self.not_icmp)] {
            let Some(icmp) = icmp else { continue };
            // Of notICMP Calico asks for no protocol.
            if field == "icmp" && !matches!(number, Some(ICMP | ICMP_V6)) {
                faults.push(format!("{path}.{field}: needs protocol ICMP or ICMPv6"));
            }
            if icmp.icmp_type == Some(255) {
                faults.push(format!("{path}.{field}.type: 255 is not between 0 and 254"));
            }
            if let (Some(code), None) = (icmp.code, icmp.icmp_type) {
                faults.push(format!("{path}.{field}.code: {code} without a type"));
            }
        }
    }

    fn validate_families(&self, path: &str, faults: &mut Vec<String>) {
        if let Some(version) = self.ip_version {
            if version != 4 && version != 6 {
                faults.push(format!("{path}.ipVersion: {version} is neither 4 nor 6"));
            }
            for protocol in [self.protocol, self.not_protocol].into_iter().flatten() {
                let needed = match protocol.number() {
                    ICMP => 4,
                    ICMP_V6 => 6,
                    _ => continue,
                };
                if version != needed {
                    faults.push(format!(
                        "{path}.ipVersion: {version} with protocol {protocol}, which needs {needed}"
                    ));
                }
            }
        }
        // One family a rule: a packet has one.
        let mut seen = self.ip_version.filter(|version| matches!(version, 4 | 6));
        for (field, nets) in [
            ("source.nets", &self.source.nets),
            ("source.notNets", &self.source.not_nets),
            ("destination.nets", &self.destination.nets),
            ("destination.notNets", &self.destination.not_nets),
        ] {
            for (index, net) in nets.iter().enumerate() {
                let version = if net.addr().is_ipv4() { 4 } else { 6 };
                match seen {
                    Some(other) if other != version => faults.push(format!(
                        "{path}.{field}[{index}]: {net} in a rule of IPv{other}"
                    )),
                    _ => seen = Some(version),
                }
            }
        }
    }
}

impl EntityRule {
    fn validate(&self, path: &str, faults: &mut Vec<String>) {
        for (field, nets) in [("nets", &self.nets), ("notNets", &self.not_nets)] {
            for (index, net) in nets.iter().enumerate() {
                fields::host_bits(&format!("{path}.{field}[{index}]"), net, faults);
            }
        }
        fields::selector(
            &format!("{path}.notSelector"),
            self.not_selector.as_deref(),
            faults,
        );
        fields::selector_of_some(
            &format!("{path}.selector"),
            self.selector.as_deref(),
            faults,
        );
        let namespaces = self.namespace_selector.as_deref();
        let namespaces_path = format!("{path}.namespaceSelector");
        if let Some(selector) = fields::parsed_selector(&namespaces_path, namespaces, faults)
            && selector.speaks_of_global()
            && !selector.is_global()
        {
            faults.push(format!(
                "{namespaces_path}: {:?}: global() cannot be combined with others",
                namespaces.unwrap_or_default()
            ));
        }
        if let Some(accounts) = &self.service_accounts {
            fields::selector(
                &format!("{path}.serviceAccounts.selector"),
                accounts.selector.as_deref(),
                faults,
            );
        }
        if let Some(service) = &self.services {
            service.validate(&format!("{path}.services"), faults);
            let given =
                |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
            for (field, is_given) in [
                ("selector", given(&self.selector)),
                ("notSelector", given(&self.not_selector)),
                ("namespaceSelector", given(&self.namespace_selector)),
                ("serviceAccounts", self.service_accounts.is_some()),
                ("nets", !self.nets.is_empty()),
                ("notNets", !self.not_nets.is_empty()),
            ] {
                if is_given {
                    faults.push(format!(
                        "{path}.services: cannot be given together with {field}"
                    ));
                }
            }
        }
    }
}

impl ServiceMatch {
    fn validate(&self, path: &str, faults: &mut Vec<String>) {
        if self.name.is_empty() {
            faults.push(format!("{path}.name: is missing"));
        } else {
            fields::name(&format!("{path}.name"), &self.name, faults);
        }
        if !self.namespace.is_empty() {
            fields::name(&format!("{path}.namespace"), &self.namespace, faults);
        }
    }
}

impl HttpMatch {
    fn validate(&self, path: &str, faults: &mut Vec<String>) {
        let mut seen = BTreeSet::new();
        for (index, method) in self.methods.iter().enumerate() {
            if !seen.insert(method) {
                faults.push(format!("{path}.methods[{index}]: {method} is there twice"));
            }
        }
        for (index, one) in self.paths.iter().enumerate() {
            let path = format!("{path}.paths[{index}]");
            let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
            let (text, field) = match (given(&one.exact), given(&one.prefix)) {
                (Some(text), None) => (text, "exact"),
                (None, Some(text)) => (text, "prefix"),
                _ => {
                    faults.push(format!("{path}: has not exactly one of exact and prefix"));
                    continue;
                }
            };
            // RFC 3986 §3.3
            if !text.starts_with('/') || text.contains(['?', ' ', '#']) {
                faults.push(format!(
                    "{path}.{field}: {text:?} does not begin with / or has ?, # or a space in it"
                ));
            }
        }
    }
}
