//! `IPAMHandle`: how many addresses one owner has in which blocks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Extra, Resource, fields};
use crate::store::{Kind, Metadata};

/// The spec of an IPAMHandle.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct IPAMHandle {
    /// The handle, which is the object's name too; as a custom resource that is in lower case.
    #[serde(rename = "handleID")]
    pub handle_id: String,
    /// Block to number of addresses.
    #[serde(default, deserialize_with = "fields::null_is_default")]
    pub block: BTreeMap<String, usize>,
    /// Marked for deletion: whoever sees it finishes the deletion.
    #[serde(default)]
    pub deleted: bool,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

impl Resource for IPAMHandle {
    const KIND: Kind = Kind::IPAMHandle;

    fn validate(&self, _metadata: &Metadata) -> Vec<String> {
        let mut faults = Vec::new();
        if self.handle_id.is_empty() {
            faults.push("spec.handleID: is empty".to_owned());
        }
        for cidr in self.block.keys() {
            if cidr.parse::<ipnet::IpNet>().is_err() {
                faults.push(format!("spec.block: {cidr:?} is not a CIDR"));
            }
        }
        faults
    }
}
