//! `IPAMBlock`: who has which address of a block. The arithmetic on it is in [`crate::ipam::block`].

use std::collections::BTreeMap;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::timestamp::Timestamp;
use super::{Extra, Resource, fields};
use crate::store::{Kind, Metadata};

/// The spec of an IPAMBlock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IPAMBlock {
    /// Its addresses.
    #[serde(with = "fields::text")]
    pub cidr: IpNet,
    /// `host:<node>`, `virtual:load-balancer`, or nobody's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<String>,
    /// When the affinity began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity_claim_time: Option<Timestamp>,
    /// One entry an ordinal: the index in `attributes`, or null when it is free.
    #[serde(default, deserialize_with = "fields::null_is_default")]
    pub allocations: Vec<Option<usize>>,
    /// Free ordinals; the next one to be given stands first.
    #[serde(default, deserialize_with = "fields::null_is_default")]
    pub unallocated: Vec<usize>,
    /// What allocations point to; equal ones are kept once.
    #[serde(default, deserialize_with = "fields::null_is_default")]
    pub attributes: Vec<Attribute>,
    /// Counts writes; begins with nanoseconds since 1970.
    #[serde(default)]
    pub sequence_number: u64,
    /// `sequence_number` at the time of each live allocation, by ordinal.
    #[serde(
        default,
        deserialize_with = "fields::null_is_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub sequence_number_for_allocation: BTreeMap<String, u64>,
    /// Marked for deletion: whoever sees it finishes the deletion.
    #[serde(default)]
    pub deleted: bool,
    /// Unused; the schema requires it.
    #[serde(default)]
    pub strict_affinity: bool,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// What is known about an allocation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Attribute {
    /// Who has it; absent on an address that was released and cools down.
    #[serde(default, rename = "handle_id", skip_serializing_if = "Option::is_none")]
    pub handle_id: Option<String>,
    /// node, namespace, pod, timestamp; or node, type.
    #[serde(
        default,
        deserialize_with = "fields::null_is_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub secondary: BTreeMap<String, String>,
    /// The next owner, while a virtual machine migrates.
    #[serde(
        default,
        rename = "alternateOwnerAttrs",
        deserialize_with = "fields::null_is_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub alternate_owner_attrs: BTreeMap<String, String>,
    /// When it was released; it is given again when the cooldown is over.
    #[serde(
        default,
        rename = "releasedAt",
        skip_serializing_if = "Option::is_none"
    )]
    pub released_at: Option<Timestamp>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

impl Resource for IPAMBlock {
    const KIND: Kind = Kind::IPAMBlock;

    fn validate(&self, _metadata: &Metadata) -> Vec<String> {
        crate::ipam::block::faults(self)
    }
}
