//! `NetworkPolicy` and `GlobalNetworkPolicy`: which packets endpoints may send and get.
//!
//! They are kept and validated; nothing here enforces them.

use serde::{Deserialize, Serialize};

use super::fields::string_enum;
use super::policy_rule::{Direction, Rule};
use super::{Extra, Resource, fields};
use crate::store::{Kind, Metadata};

/// The spec of a NetworkPolicy, which is for endpoints of its namespace.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkPolicy {
    /// Its tier; `default` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// Policies with smaller numbers come first; absent: last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<f64>,
    /// For packets to the endpoints: the first rule that matches decides.
    #[serde(
        deserialize_with = "fields::null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub ingress: Vec<Rule>,
    /// For packets from the endpoints.
    #[serde(
        deserialize_with = "fields::null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub egress: Vec<Rule>,
    /// Which endpoints it is for; all when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Which directions it decides about; see [`types_of`].
    #[serde(
        deserialize_with = "fields::null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub types: Vec<PolicyType>,
    /// Only for pods of service accounts with these labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account_selector: Option<String>,
    /// `AssumeNeededOnEveryNode`.
    #[serde(
        deserialize_with = "fields::null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub performance_hints: Vec<String>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// The spec of a GlobalNetworkPolicy, which is for endpoints everywhere.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GlobalNetworkPolicy {
    /// As of [`NetworkPolicy`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// As of [`NetworkPolicy`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<f64>,
    /// As of [`NetworkPolicy`].
    #[serde(
        deserialize_with = "fields::null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub ingress: Vec<Rule>,
    /// As of [`NetworkPolicy`].
    #[serde(
        deserialize_with = "fields::null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub egress: Vec<Rule>,
    /// As of [`NetworkPolicy`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// As of [`NetworkPolicy`].
    #[serde(
        deserialize_with = "fields::null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub types: Vec<PolicyType>,
    /// It decides before connections are tracked, and what it allows is not tracked.
    #[serde(skip_serializing_if = "fields::is_false")]
    pub do_not_track: bool,
    /// It decides before destinations are translated.
    #[serde(rename = "preDNAT", skip_serializing_if = "fields::is_false")]
    pub pre_dnat: bool,
    /// On host endpoints it decides about forwarded packets, too.
    #[serde(skip_serializing_if = "fields::is_false")]
    pub apply_on_forward: bool,
    /// As of [`NetworkPolicy`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account_selector: Option<String>,
    /// Only for endpoints in namespaces with these labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<String>,
    /// As of [`NetworkPolicy`].
    #[serde(
        deserialize_with = "fields::null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub performance_hints: Vec<String>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

string_enum! {
    /// A direction that a policy decides about.
    PolicyType {
        /// Packets to the endpoint.
        #[default]
        Ingress = "Ingress",
        /// Packets from the endpoint.
        Egress = "Egress",
    }
}

/// The directions that a policy decides about, where it does not say: those that it has rules for, and ingress if it
/// has none at all.
pub fn types_of(types: &[PolicyType], ingress: &[Rule], egress: &[Rule]) -> Vec<PolicyType> {
    match (types, ingress.is_empty(), egress.is_empty()) {
        ([], _, true) => vec![PolicyType::Ingress],
        ([], true, false) => vec![PolicyType::Egress],
        ([], false, false) => vec![PolicyType::Ingress, PolicyType::Egress],
        (said, _, _) => said.to_vec(),
    }
}

impl Resource for NetworkPolicy {
    const KIND: Kind = Kind::NetworkPolicy;

    fn validate(&self, metadata: &Metadata) -> Vec<String> {
        let mut faults = Vec::new();
        // Policies of Kubernetes, and of OpenStack's security groups, stand among ours in etcd.
        let foreign = ["knp.default.", "ossg.default."];
        if !foreign
            .iter()
            .any(|prefix| metadata.name.starts_with(prefix))
        {
            name_faults(metadata, &mut faults);
        }
        Shared {
            tier: self.tier.as_deref(),
            ingress: &self.ingress,
            egress: &self.egress,
            types: &self.types,
            hints: &self.performance_hints,
            global: false,
        }
        .validate(&mut faults);
        selector("selector", &self.selector, &mut faults);
        selector(
            "serviceAccountSelector",
            &self.service_account_selector,
            &mut faults,
        );
        faults
    }
}

impl Resource for GlobalNetworkPolicy {
    const KIND: Kind = Kind::GlobalNetworkPolicy;

    fn validate(&self, metadata: &Metadata) -> Vec<String> {
        let mut faults = Vec::new();
        name_faults(metadata, &mut faults);
        Shared {
            tier: self.tier.as_deref(),
            ingress: &self.ingress,
            egress: &self.egress,
            types: &self.types,
            hints: &self.performance_hints,
            global: true,
        }
        .validate(&mut faults);
        selector("selector", &self.selector, &mut faults);
        selector(
            "serviceAccountSelector",
            &self.service_account_selector,
            &mut faults,
        );
        selector("namespaceSelector", &self.namespace_selector, &mut faults);
        if self.do_not_track && self.pre_dnat {
            faults.push("spec.preDNAT: cannot be given together with doNotTrack".to_owned());
        }
        if self.pre_dnat && !self.egress.is_empty() {
            faults.push("spec.egress: cannot be given together with preDNAT".to_owned());
        }
        if self.pre_dnat && self.types.contains(&PolicyType::Egress) {
            faults.push("spec.types: Egress cannot be given together with preDNAT".to_owned());
        }
        if !self.apply_on_forward && (self.do_not_track || self.pre_dnat) {
            let needed_by = if self.pre_dnat {
                "preDNAT"
            } else {
                "doNotTrack"
            };
            faults.push(format!(
                "spec.applyOnForward: false, and {needed_by} needs it"
            ));
        }
        faults
    }
}

/// What both have.
struct Shared<'a> {
    tier: Option<&'a str>,
    ingress: &'a [Rule],
    egress: &'a [Rule],
    types: &'a [PolicyType],
    hints: &'a [String],
    global: bool,
}

impl Shared<'_> {
    fn validate(&self, faults: &mut Vec<String>) {
        if let Some(tier) = self.tier.filter(|tier| !tier.is_empty()) {
            fields::name("spec.tier", tier, faults);
        }
        for (index, one) in self.types.iter().enumerate() {
            if self.types[..index].contains(one) {
                faults.push(format!("spec.types[{index}]: {one} is there twice"));
            }
        }
        for (list, rules, direction) in [
            ("ingress", self.ingress, Direction::Ingress),
            ("egress", self.egress, Direction::Egress),
        ] {
            for (index, rule) in rules.iter().enumerate() {
                rule.validate(
                    &format!("spec.{list}[{index}]"),
                    direction,
                    self.global,
                    faults,
                );
            }
        }
        for (index, hint) in self.hints.iter().enumerate() {
            if hint != "AssumeNeededOnEveryNode" {
                faults.push(format!(
                    "spec.performanceHints[{index}]: {hint:?} is not AssumeNeededOnEveryNode"
                ));
            }
        }
    }
}

/// A selector of endpoints, where `global()` makes no sense.
fn selector(field: &str, text: &Option<String>, faults: &mut Vec<String>) {
    fields::selector_of_some(&format!("spec.{field}"), text.as_deref(), faults);
}

/// A policy's name is a label, or a tier and a label with a dot between them.
fn name_faults(metadata: &Metadata, faults: &mut Vec<String>) {
    if metadata.name.matches('.').count() > 1 {
        faults.push(format!(
            "metadata.name: {:?} has more than one dot, which stands between tier and name",
            metadata.name
        ));
    }
}
