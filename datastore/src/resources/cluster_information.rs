//! `ClusterInformation` `default`: what the cluster is, and whether its datastore may be written.

use serde::{Deserialize, Serialize};

use super::{Extra, Resource};
use crate::store::{Kind, Metadata};

/// The spec of a ClusterInformation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterInformation {
    /// Names the cluster; random.
    #[serde(rename = "clusterGUID", skip_serializing_if = "Option::is_none")]
    pub cluster_guid: Option<String>,
    /// What the cluster is made of, words with commas: `k8s,bgp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_type: Option<String>,
    /// The version of Calico that wrote last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calico_version: Option<String>,
    /// False while the datastore is being migrated or upgraded: nobody may write; see [`crate::ready`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub datastore_ready: Option<bool>,
    /// `Calico`, or that of the commercial edition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

impl Resource for ClusterInformation {
    const KIND: Kind = Kind::ClusterInformation;

    fn validate(&self, metadata: &Metadata) -> Vec<String> {
        match metadata.name.as_str() {
            "default" => Vec::new(),
            name => vec![format!("metadata.name: {name:?} is not default")],
        }
    }
}
