//! `IPAMConfig` `default`: rules for the whole cluster's address management.

use serde::{Deserialize, Serialize};

use super::{Extra, Resource, fields};
use crate::store::{Kind, Metadata};

/// The spec of an IPAMConfig.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IPAMConfig {
    /// No node uses addresses of another node's block.
    #[serde(default, deserialize_with = "fields::null_is_default")]
    pub strict_affinity: bool,
    /// Blocks are claimed when needed.
    #[serde(default = "yes")]
    pub auto_allocate_blocks: bool,
    /// How many blocks a node may have; 0 stands for 20.
    #[serde(default, deserialize_with = "fields::null_is_default")]
    pub max_blocks_per_host: u32,
    /// How long a released address rests before it is given again.
    #[serde(
        default,
        rename = "ipCooldownSeconds",
        skip_serializing_if = "Option::is_none"
    )]
    pub ip_cooldown_seconds: Option<u32>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

impl Default for IPAMConfig {
    fn default() -> IPAMConfig {
        IPAMConfig {
            strict_affinity: false,
            auto_allocate_blocks: true,
            max_blocks_per_host: 0,
            ip_cooldown_seconds: None,
            extra: Extra::new(),
        }
    }
}

impl IPAMConfig {
    /// How many blocks a node may have, per family.
    pub fn blocks_per_host(&self) -> usize {
        match self.max_blocks_per_host {
            0 => 20,
            count => count as usize,
        }
    }
}

impl Resource for IPAMConfig {
    const KIND: Kind = Kind::IPAMConfig;

    fn validate(&self, metadata: &Metadata) -> Vec<String> {
        let mut faults = Vec::new();
        if metadata.name != "default" {
            faults.push(format!("metadata.name: {:?} is not default", metadata.name));
        }
        if let Some(seconds) = self.ip_cooldown_seconds
            && seconds > 1200
        {
            faults.push(format!(
                "spec.ipCooldownSeconds: {seconds} is not between 0 and 1200"
            ));
        }
        if !self.auto_allocate_blocks && self.strict_affinity {
            faults.push(
                "spec.autoAllocateBlocks: false together with strictAffinity true: no node could get an address".to_owned(),
            );
        }
        faults
    }
}

fn yes() -> bool {
    true
}
