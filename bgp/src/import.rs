//! Phase 1 (RFC 4271 §9.1.1): what a peer sent becomes a candidate, or is kept with the reason why not.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use crate::config::Policy;
use crate::wire::{Attributes, Family};

/// What import thinks of a path. Paths that may not be used are kept all the same: the operator sees
/// them with the reason, and a change of policy needs no route refresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Verdict {
    Eligible,
    /// RFC 4271 §9.1.2: our AS number is in AS_PATH.
    AsLoop,
    /// RFC 4271 §6.3: an external peer's path begins with another AS than the peer's.
    FirstAs,
    /// RFC 4456 §8: ORIGINATOR_ID is ours.
    OriginatorLoop,
    /// RFC 4456 §8: our CLUSTER_ID is in CLUSTER_LIST.
    ClusterLoop,
    /// RFC 4271 §5.1.3: NEXT_HOP is ourselves.
    OwnNextHop,
    /// No NEXT_HOP, or one of another family than the prefix: RFC 8950 was not agreed on.
    NextHopFamily,
    /// Import policy.
    Policy,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Eligible => "eligible",
            Verdict::AsLoop => "loop: our AS is in AS_PATH",
            Verdict::FirstAs => "AS_PATH does not begin with the peer's AS",
            Verdict::OriginatorLoop => "loop: ORIGINATOR_ID is ours",
            Verdict::ClusterLoop => "loop: our CLUSTER_ID is in CLUSTER_LIST",
            Verdict::OwnNextHop => "NEXT_HOP is ourselves",
            Verdict::NextHopFamily => "NEXT_HOP is not of the prefix's family",
            Verdict::Policy => "rejected by import policy",
        })
    }
}

/// What import needs to know of a session and of us.
#[derive(Debug)]
pub(crate) struct Importer {
    /// The peer's AS number when it is external.
    pub(crate) external_asn: Option<u32>,
    /// Our AS numbers: the speaker's and the session's.
    pub(crate) own_asns: [u32; 2],
    pub(crate) router_id: Ipv4Addr,
    pub(crate) cluster_id: Ipv4Addr,
    /// Our addresses, as far as the session knows them.
    pub(crate) own_addresses: [Option<IpAddr>; 3],
    pub(crate) policy: Policy,
}

impl Importer {
    /// The part of the verdict that is the same for all prefixes of an UPDATE.
    pub(crate) fn judge_attributes(&self, attributes: &Attributes) -> Verdict {
        let first_is_wrong = |asn| attributes.as_path.first_as() != Some(asn);
        if self.external_asn.is_some_and(first_is_wrong) {
            Verdict::FirstAs
        } else if self
            .own_asns
            .iter()
            .any(|&asn| attributes.as_path.contains(asn))
        {
            Verdict::AsLoop
        } else if attributes.originator_id == Some(self.router_id) {
            Verdict::OriginatorLoop
        } else if attributes.cluster_list.contains(&self.cluster_id) {
            Verdict::ClusterLoop
        } else if attributes.next_hop.is_some() && self.own_addresses.contains(&attributes.next_hop)
        {
            Verdict::OwnNextHop
        } else {
            Verdict::Eligible
        }
    }

    /// The rest of it.
    pub(crate) fn judge(
        &self,
        of_attributes: Verdict,
        next_hop: Option<IpAddr>,
        prefix: &IpNet,
    ) -> Verdict {
        let fits = match Family::of(prefix) {
            Family::Ipv4Unicast => matches!(next_hop, Some(IpAddr::V4(_))),
            Family::Ipv6Unicast => matches!(next_hop, Some(IpAddr::V6(_))),
        };
        match of_attributes {
            Verdict::Eligible if !fits => Verdict::NextHopFamily,
            Verdict::Eligible if !self.policy.accepts(prefix, false) => Verdict::Policy,
            of_attributes => of_attributes,
        }
    }
}

#[cfg(test)]
mod tests;
