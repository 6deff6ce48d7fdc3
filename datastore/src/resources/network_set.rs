//! `NetworkSet` and `GlobalNetworkSet`: addresses outside the cluster, with labels by which policies select them.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{Extra, Resource, fields};
use crate::store::{Kind, Metadata};

/// The spec of a NetworkSet, which serves policies of its namespace.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkSet {
    /// The addresses.
    #[serde(with = "fields::networks", skip_serializing_if = "Vec::is_empty")]
    pub nets: Vec<IpNet>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// The spec of a GlobalNetworkSet.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GlobalNetworkSet {
    /// The addresses.
    #[serde(with = "fields::networks", skip_serializing_if = "Vec::is_empty")]
    pub nets: Vec<IpNet>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

impl Resource for NetworkSet {
    const KIND: Kind = Kind::NetworkSet;

    fn validate(&self, metadata: &Metadata) -> Vec<String> {
        label_faults(metadata)
    }
}

impl Resource for GlobalNetworkSet {
    const KIND: Kind = Kind::GlobalNetworkSet;

    fn validate(&self, metadata: &Metadata) -> Vec<String> {
        label_faults(metadata)
    }
}

/// The label that Calico itself gives to what is in a namespace.
const NAMESPACE_LABEL: &str = "projectcalico.org/namespace";

fn label_faults(metadata: &Metadata) -> Vec<String> {
    match metadata.labels.get(NAMESPACE_LABEL) {
        None => Vec::new(),
        Some(value) => vec![format!(
            "metadata.labels.{NAMESPACE_LABEL}: {value:?}: this label is given by Calico itself"
        )],
    }
}
