//! What a rule changes about a path.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::community::{CommunityChange, ExtendedCommunity, LargeCommunity, StandardCommunity};
use super::program::Draft;
use super::range::digits;
use super::text::{BadText, is_default, serde_as_text};
use crate::wire::Origin;

/// What a rule changes about the attributes of a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Changes {
    /// LOCAL_PREF. External peers never get it.
    #[serde(skip_serializing_if = "is_default")]
    pub local_pref: Option<u32>,
    /// MULTI_EXIT_DISC. On export to an external peer, what is set here is sent in place of nothing (RFC 4271 §5.1.4).
    #[serde(skip_serializing_if = "is_default")]
    pub med: Option<MedChange>,
    /// NEXT_HOP.
    #[serde(skip_serializing_if = "is_default")]
    pub next_hop: Option<NextHopChange>,
    /// ORIGIN.
    #[serde(skip_serializing_if = "is_default")]
    pub origin: Option<Origin>,
    /// How often an AS number is put in front of AS_PATH, besides what RFC 4271 §5.1.2 asks for. On export it is ours;
    /// on import it is the path's first one, since our own would be a loop to our internal peers.
    #[serde(skip_serializing_if = "is_default")]
    pub prepend: u8,
    /// AS numbers in front of that, the last one nearest to the path.
    #[serde(skip_serializing_if = "is_default")]
    pub prepend_path: Vec<u32>,
    /// Communities (RFC 1997).
    #[serde(skip_serializing_if = "is_default")]
    pub communities: CommunityChange<StandardCommunity>,
    /// Extended communities (RFC 4360).
    #[serde(skip_serializing_if = "is_default")]
    pub extended_communities: CommunityChange<ExtendedCommunity>,
    /// Large communities (RFC 8092).
    #[serde(skip_serializing_if = "is_default")]
    pub large_communities: CommunityChange<LargeCommunity>,
}

impl Changes {
    /// Does it. `prepend_asn` is what goes in front of AS_PATH; nothing where it is `None`.
    pub(super) fn apply(&self, draft: &mut Draft<'_>, prepend_asn: Option<u32>) {
        if *self == Changes::default() {
            return;
        }
        if let Some(change) = self.next_hop {
            draft.change_next_hop(change);
        }
        if self.med.is_some() {
            draft.med_is_set = true;
        }
        let attributes = draft.attributes.to_mut();
        if let Some(local_pref) = self.local_pref {
            attributes.local_pref = Some(local_pref);
        }
        if let Some(change) = self.med {
            attributes.med = change.of(attributes.med);
        }
        if let Some(origin) = self.origin {
            attributes.origin = origin;
        }
        if let Some(asn) = prepend_asn {
            attributes.as_path.prepend(asn, usize::from(self.prepend));
        }
        for &asn in self.prepend_path.iter().rev() {
            attributes.as_path.prepend(asn, 1);
        }
        let change = &self.communities;
        if !change.is_empty() {
            change.apply(&mut attributes.communities, StandardCommunity, |c| c.0);
        }
        let change = &self.extended_communities;
        if !change.is_empty() {
            change.apply(
                &mut attributes.extended_communities,
                ExtendedCommunity,
                |c| c.0,
            );
        }
        let change = &self.large_communities;
        if !change.is_empty() {
            let read = |(one, two, three)| LargeCommunity(one, two, three);
            change.apply(&mut attributes.large_communities, read, |c| (c.0, c.1, c.2));
        }
    }
}

/// What becomes of MULTI_EXIT_DISC: `50`, `add 10`, `subtract 10`, `remove`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MedChange {
    /// This value.
    Set(u32),
    /// So much more than before (0 where there was none), 4294967295 at most.
    Add(u32),
    /// So much less, 0 at least.
    Subtract(u32),
    /// None.
    Remove,
}

impl MedChange {
    fn of(self, med: Option<u32>) -> Option<u32> {
        let before = med.unwrap_or(0);
        match self {
            MedChange::Set(med) => Some(med),
            MedChange::Add(more) => Some(before.saturating_add(more)),
            MedChange::Subtract(less) => Some(before.saturating_sub(less)),
            MedChange::Remove => None,
        }
    }
}

impl fmt::Display for MedChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MedChange::Set(med) => write!(f, "{med}"),
            MedChange::Add(more) => write!(f, "add {more}"),
            MedChange::Subtract(less) => write!(f, "subtract {less}"),
            MedChange::Remove => f.write_str("remove"),
        }
    }
}

impl FromStr for MedChange {
    type Err = BadText;

    fn from_str(text: &str) -> Result<MedChange, BadText> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let change = match words[..] {
            ["remove"] => Some(MedChange::Remove),
            ["add", more] => digits(more).map(MedChange::Add),
            ["subtract", less] => digits(less).map(MedChange::Subtract),
            [med] => digits(med).map(MedChange::Set),
            _ => None,
        };
        change.ok_or_else(|| {
            let why = "wanted: a number up to 4294967295, add N, subtract N or remove";
            BadText::new("MED", text, why)
        })
    }
}

serde_as_text!(MedChange);

/// What becomes of NEXT_HOP: `self`, `keep`, or an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NextHopChange {
    /// On export ourselves, as [`crate::NextHopMode::OwnAddress`]. On import nothing: a path whose next hop we are
    /// ourselves leads nowhere.
    Own,
    /// As received.
    Keep,
    /// This address. Where it is not of the prefix's family, the path cannot be used or passed on.
    Address(IpAddr),
}

impl fmt::Display for NextHopChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NextHopChange::Own => f.write_str("self"),
            NextHopChange::Keep => f.write_str("keep"),
            NextHopChange::Address(address) => address.fmt(f),
        }
    }
}

impl FromStr for NextHopChange {
    type Err = BadText;

    fn from_str(text: &str) -> Result<NextHopChange, BadText> {
        match text {
            "self" => Ok(NextHopChange::Own),
            "keep" => Ok(NextHopChange::Keep),
            _ => text
                .parse()
                .map(NextHopChange::Address)
                .map_err(|_| BadText::new("next hop", text, "wanted: self, keep or an address")),
        }
    }
}

serde_as_text!(NextHopChange);
