//! `BGPFilter`: what nodes take from the peers whose BGPPeers name it, and send to them.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fields::string_enum;
use super::{Extra, Resource, fields};
use crate::store::{Kind, Metadata};

/// The spec of a BGPFilter. Of each list the first rule that matches decides; where none does, what holds without the
/// filter holds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BGPFilter {
    /// For IPv4 routes to the peer.
    #[serde(
        default,
        deserialize_with = "fields::null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub export_v4: Vec<BGPFilterRule>,
    /// For IPv4 routes from the peer.
    #[serde(
        default,
        deserialize_with = "fields::null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub import_v4: Vec<BGPFilterRule>,
    /// For IPv6 routes to the peer.
    #[serde(
        default,
        deserialize_with = "fields::null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub export_v6: Vec<BGPFilterRule>,
    /// For IPv6 routes from the peer.
    #[serde(
        default,
        deserialize_with = "fields::null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub import_v6: Vec<BGPFilterRule>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A rule: all conditions must hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BGPFilterRule {
    /// What happens to what matches.
    pub action: FilterAction,
    /// How the prefix is compared with `cidr`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub match_operator: Option<MatchOperator>,
    /// A prefix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cidr: Option<IpNet>,
    /// Lengths of prefixes inside `cidr`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix_length: Option<PrefixLength>,
    /// `RemotePeers`: only what was learned by BGP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The device of the route, perhaps with `*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// `eBGP` or `iBGP`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_type: Option<String>,
    /// Communities that the route carries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub communities: Option<FilterCommunities>,
    /// The first AS numbers of the path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub as_path_prefix: Vec<u32>,
    /// The priority of the route, smaller is better.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
    /// What is changed about what is accepted: objects with one field each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<Value>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Lengths of prefixes, both included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrefixLength {
    /// That of the `cidr` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<u8>,
    /// That of an address when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u8>,
}

/// Communities.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilterCommunities {
    /// `aa:bb` or `aa:bb:cc`.
    #[serde(default)]
    pub values: Vec<String>,
}

string_enum! {
    /// What happens to what matches.
    FilterAction {
        /// It is taken or sent, whatever holds without the filter.
        Accept = "Accept",
        /// It is not.
        #[default]
        Reject = "Reject",
    }
}

string_enum! {
    /// How a prefix is compared.
    MatchOperator {
        /// The same.
        #[default]
        Equal = "Equal",
        /// Another one.
        NotEqual = "NotEqual",
        /// The same or inside.
        In = "In",
        /// Neither.
        NotIn = "NotIn",
    }
}

impl Resource for BGPFilter {
    const KIND: Kind = Kind::BGPFilter;

    fn validate(&self, _metadata: &Metadata) -> Vec<String> {
        let mut faults = Vec::new();
        for (list, rules, is_v4) in [
            ("exportV4", &self.export_v4, true),
            ("importV4", &self.import_v4, true),
            ("exportV6", &self.export_v6, false),
            ("importV6", &self.import_v6, false),
        ] {
            for (index, rule) in rules.iter().enumerate() {
                rule.validate(&format!("spec.{list}[{index}]"), is_v4, &mut faults);
            }
        }
        faults
    }
}

impl BGPFilterRule {
    fn validate(&self, path: &str, is_v4: bool, faults: &mut Vec<String>) {
        match (&self.cidr, self.match_operator) {
            (Some(cidr), operator) => {
                if cidr.addr().is_ipv4() != is_v4 {
                    faults.push(format!("{path}.cidr: {cidr} is of the other family"));
                }
                fields::host_bits(&format!("{path}.cidr"), cidr, faults);
                if operator.is_none() {
                    faults.push(format!(
                        "{path}.matchOperator: missing, while cidr is {cidr}"
                    ));
                }
            }
            (None, Some(operator)) => {
                faults.push(format!(
                    "{path}.cidr: missing, while matchOperator is {operator}"
                ));
            }
            (None, None) => {}
        }
        if let Some(PrefixLength { min, max }) = self.prefix_length {
            let Some(cidr) = &self.cidr else {
                faults.push(format!(
                    "{path}.cidr: missing, while there is a prefixLength"
                ));
                return;
            };
            let (least, most) = (cidr.prefix_len(), cidr.max_prefix_len());
            let (min, max) = (min.unwrap_or(least), max.unwrap_or(most));
            if min > max || max > most {
                faults.push(format!(
                    "{path}.prefixLength: {min} to {max} is not between 0 and {most}"
                ));
            }
        }
        if !self.operations.is_empty() && self.action == FilterAction::Reject {
            faults.push(format!(
                "{path}.operations: what is rejected cannot be changed"
            ));
        }
        if self.operations.len() > OPERATIONS_MAX {
            let count = self.operations.len();
            faults.push(format!(
                "{path}.operations: {count}, and {OPERATIONS_MAX} are the most"
            ));
        }
    }
}

const OPERATIONS_MAX: usize = 10;
