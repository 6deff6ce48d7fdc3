//! `BlockAffinity`: a node's claim on a block.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::fields::string_enum;
use super::{Extra, Resource, fields};
use crate::store::{Kind, Metadata};

/// The spec of a BlockAffinity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlockAffinity {
    /// How far the claim is.
    #[serde(default, deserialize_with = "fields::null_is_default")]
    pub state: AffinityState,
    /// Whose it is: a node's name, or `load-balancer` for the type `virtual`.
    pub node: String,
    /// Whether a host or a virtual owner.
    #[serde(
        default,
        rename = "type",
        deserialize_with = "fields::null_is_default",
        skip_serializing_if = "is_host"
    )]
    pub affinity_type: AffinityType,
    /// The block.
    #[serde(with = "fields::text")]
    pub cidr: IpNet,
    /// Marked for deletion: whoever sees it finishes the deletion. A string in the CRD's schema.
    #[serde(default, with = "fields::string_bool")]
    pub deleted: bool,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

string_enum! {
    /// How far a claim is. Only confirmed blocks are announced.
    AffinityState {
        /// The block is the node's. An empty state, which old versions wrote, means the same.
        #[default]
        Confirmed = "confirmed",
        /// Claimed, the block perhaps not yet written.
        Pending = "pending",
        /// Being given back.
        PendingDeletion = "pendingDeletion",
    }
}

string_enum! {
    /// Whose an affinity is.
    AffinityType {
        /// A node's.
        #[default]
        Host = "host",
        /// A virtual owner's, such as the load balancer's.
        Virtual = "virtual",
    }
}

impl BlockAffinity {
    /// A node's claim.
    pub fn new(node: &str, cidr: IpNet, state: AffinityState) -> BlockAffinity {
        BlockAffinity {
            state,
            node: node.to_owned(),
            affinity_type: AffinityType::Host,
            cidr,
            deleted: false,
            extra: Extra::new(),
        }
    }

    /// Whether the block is that node's beyond doubt, so that it may be announced and used.
    pub fn is_confirmed_for(&self, node: &str) -> bool {
        self.state == AffinityState::Confirmed && !self.deleted && self.is_of(node)
    }

    /// Whether it is that node's claim.
    pub fn is_of(&self, node: &str) -> bool {
        self.affinity_type == AffinityType::Host && self.node == node
    }
}

impl Resource for BlockAffinity {
    const KIND: Kind = Kind::BlockAffinity;

    fn validate(&self, _metadata: &Metadata) -> Vec<String> {
        let mut faults = Vec::new();
        if self.node.is_empty() {
            faults.push("spec.node: is empty".to_owned());
        }
        fields::host_bits("spec.cidr", &self.cidr, &mut faults);
        faults
    }
}

fn is_host(affinity_type: &AffinityType) -> bool {
    *affinity_type == AffinityType::Host
}
