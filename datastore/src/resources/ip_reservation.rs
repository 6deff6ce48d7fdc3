//! `IPReservation`: addresses that are never given automatically. Who asks for one by name gets it.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{Extra, Resource, fields};
use crate::store::{Kind, Metadata};

/// The spec of an IPReservation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IPReservation {
    /// The addresses; a single one may stand without a prefix length.
    #[serde(
        rename = "reservedCIDRs",
        with = "fields::networks",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub reserved_cidrs: Vec<IpNet>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

impl Resource for IPReservation {
    const KIND: Kind = Kind::IPReservation;

    fn validate(&self, _metadata: &Metadata) -> Vec<String> {
        // As in Calico, host bits do not matter.
        Vec::new()
    }
}
