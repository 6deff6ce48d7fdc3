//! UPDATE (RFC 4271 §4.3) with the error handling of RFC 7606.

use ipnet::IpNet;

use super::attributes::Attributes;
use super::Family;

/// A decoded UPDATE, good parts and complaints apart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Update {
    /// Withdrawn prefixes, of the withdrawn routes field and of MP_UNREACH_NLRI.
    pub withdrawn: Vec<IpNet>,
    /// Announced prefixes of the NLRI field, with NEXT_HOP's next hop.
    /// When `errors` ask for treat-as-withdraw they are withdrawals.
    pub announced: Vec<IpNet>,
    /// Attributes with NEXT_HOP.
    pub attributes: Attributes,
    /// MP_REACH_NLRI: its next hop and its prefixes. The same `attributes` otherwise.
    pub mp_announced: Option<MpReach>,
    /// End-of-RIB marker of this family (RFC 4724 §2).
    pub end_of_rib: Option<Family>,
    /// What was wrong and did not need a reset (RFC 7606), in order.
    pub errors: Vec<AttributeError>,
}

/// MP_REACH_NLRI (RFC 4760 §3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MpReach {
    /// Which family.
    pub family: Family,
    /// The global next hop.
    pub next_hop: std::net::IpAddr,
    /// Link-local next hop (RFC 2545 §3).
    pub link_local: Option<std::net::Ipv6Addr>,
    /// The prefixes.
    pub prefixes: Vec<IpNet>,
}

/// One complaint about an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttributeError {
    /// What RFC 7606 prescribes.
    pub action: AttributeErrorAction,
    /// Attribute Type Code.
    pub code: u8,
    /// In words, with the value.
    pub detail: String,
}

/// RFC 7606 §2, in order of preference. Session reset is an `Err` of the decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AttributeErrorAction {
    /// The attribute is ignored, the rest of the UPDATE counts.
    Discard,
    /// The UPDATE's prefixes are withdrawn.
    TreatAsWithdraw,
}
