//! Path attributes (RFC 4271 §4.3, §5) as values; `decode` and `encode` beside it turn them to octets.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

pub use super::as_path::{AsPath, Segment};
use super::iana::{attribute_code, attribute_flag};

pub use aigp::Aigp;
pub(crate) use packed::Reflection;

mod aigp;
pub(super) mod decode;
pub(super) mod encode;
mod packed;
mod raw;
mod rib_entry;

/// The attributes of a path, next hop included, NLRI not.
///
/// Interned and packed by the RIB: equal attributes are one allocation there, of few octets.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Attributes {
    /// ORIGIN.
    pub origin: Origin,
    /// AS_PATH, always of 4-octet AS numbers (RFC 6793).
    pub as_path: AsPath,
    /// NEXT_HOP, or the global next hop of MP_REACH_NLRI.
    pub next_hop: Option<IpAddr>,
    /// The link-local next hop of MP_REACH_NLRI (RFC 2545 §3), beside an IPv6 `next_hop`.
    pub next_hop_link_local: Option<Ipv6Addr>,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// LOCAL_PREF.
    pub local_pref: Option<u32>,
    /// ATOMIC_AGGREGATE.
    pub atomic_aggregate: bool,
    /// AGGREGATOR: AS number and router id.
    pub aggregator: Option<(u32, Ipv4Addr)>,
    /// COMMUNITIES (RFC 1997), in the order received.
    pub communities: Vec<u32>,
    /// EXTENDED COMMUNITIES (RFC 4360).
    pub extended_communities: Vec<u64>,
    /// LARGE_COMMUNITY (RFC 8092).
    pub large_communities: Vec<(u32, u32, u32)>,
    /// ORIGINATOR_ID (RFC 4456).
    pub originator_id: Option<Ipv4Addr>,
    /// CLUSTER_LIST (RFC 4456).
    pub cluster_list: Vec<Ipv4Addr>,
    /// AIGP (RFC 7311), on sessions that carry it.
    pub aigp: Option<Aigp>,
    /// OTC, Only to Customer (RFC 9234 §5): the AS number in it.
    pub otc: Option<u32>,
    /// Which of the attributes that are here have passed through somebody who does not know them.
    pub partial: Partial,
    /// Unknown optional transitive attributes (RFC 4271 §5), in order of type.
    pub unknown: Vec<UnknownAttribute>,
}

/// Partial bits (RFC 4271 §5) of optional transitive attributes that we know: AGGREGATOR, COMMUNITIES,
/// EXTENDED COMMUNITIES, LARGE_COMMUNITY and OTC. Once set, nobody may clear one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Partial(u8);

/// ORIGIN; smaller is better.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "camelCase")]
pub enum Origin {
    /// Interior to the originating AS.
    #[default]
    Igp,
    /// Learned by EGP.
    Egp,
    /// Learned by other means.
    Incomplete,
}

/// An attribute that we do not know and pass on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UnknownAttribute {
    /// Attribute Type Code.
    pub code: u8,
    /// Attribute Flags as received, of which only optional, transitive and partial are kept. The
    /// partial bit is set when we pass it on (RFC 4271 §5).
    pub flags: u8,
    /// Attribute Value.
    pub value: Vec<u8>,
}

impl Partial {
    /// The bit of the attribute of this code.
    pub fn contains(self, code: u8) -> bool {
        // Mostly there is none.
        self.0 != 0 && self.0 & Partial::bit(code) != 0
    }

    /// Sets the bit of the attribute of this code, if it is one of those.
    pub fn insert(&mut self, code: u8) {
        self.0 |= Partial::bit(code);
    }

    fn bit(code: u8) -> u8 {
        let all = [
            attribute_code::AGGREGATOR,
            attribute_code::COMMUNITIES,
            attribute_code::EXTENDED_COMMUNITIES,
            attribute_code::LARGE_COMMUNITY,
            attribute_code::OTC,
        ];
        let place = all.iter().position(|&one| one == code);
        place.map_or(0, |place| 1 << place)
    }
}

impl Origin {
    /// In ORIGIN.
    fn number(self) -> u8 {
        match self {
            Origin::Igp => 0,
            Origin::Egp => 1,
            Origin::Incomplete => 2,
        }
    }

    fn from_number(number: u8) -> Option<Origin> {
        [Origin::Igp, Origin::Egp, Origin::Incomplete]
            .into_iter()
            .find(|origin| origin.number() == number)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Origin::Igp => "igp",
            Origin::Egp => "egp",
            Origin::Incomplete => "incomplete",
        })
    }
}

/// The category of an attribute, as its flags say it (RFC 4271 §5).
pub(super) const WELL_KNOWN: u8 = attribute_flag::TRANSITIVE;
pub(super) const OPTIONAL_TRANSITIVE: u8 = attribute_flag::OPTIONAL | attribute_flag::TRANSITIVE;
pub(super) const OPTIONAL_NON_TRANSITIVE: u8 = attribute_flag::OPTIONAL;
