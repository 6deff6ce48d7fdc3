//! Phase 1 (RFC 4271 §9.1.1): what a peer sent becomes a candidate, or is kept with the reason why not.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use crate::policy::{
    Decision, GRACEFUL_SHUTDOWN, PathSource, Program, RuleName, Signature, Subject,
};
use crate::roles;
use crate::wire::{Attributes, Family, Role};

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
    /// RFC 9234 §5: OTC says that it should not have come from this peer.
    RouteLeak,
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
            Verdict::RouteLeak => "route leak: Only to Customer (OTC), and it came from another",
            Verdict::Policy => "rejected by import policy",
        })
    }
}

/// What import needs to know of a session and of us.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Importer {
    /// The peer's AS number when it is external.
    pub(crate) external_asn: Option<u32>,
    /// Our AS numbers: the speaker's and the session's.
    pub(crate) own_asns: [u32; 2],
    /// How often they may be in AS_PATH.
    pub(crate) allow_own_as: u8,
    /// Put in front of what it sends (RFC 7705 §3.3).
    pub(crate) prepend: Option<u32>,
    /// What we are to it, when that is configured and it is external.
    pub(crate) role: Option<Role>,
    pub(crate) router_id: Ipv4Addr,
    pub(crate) cluster_id: Ipv4Addr,
    /// Our addresses, as far as the session knows them.
    pub(crate) own_addresses: [Option<IpAddr>; 3],
    /// IPv4 prefixes may have an IPv6 next hop (RFC 8950).
    pub(crate) extended_next_hop: bool,
    pub(crate) policy: Program,
    /// Where its paths come from, for the policy.
    pub(crate) source: PathSource,
    /// The session is about to be shut down (RFC 8326 §4.2).
    pub(crate) graceful_shutdown: bool,
    /// What the peer is about to shut down is the last choice (RFC 8326 §4.1).
    pub(crate) honour_graceful_shutdown: bool,
}

/// What has become of a path.
#[derive(Debug)]
pub(crate) struct Imported<'p, 'a> {
    pub(crate) verdict: Verdict,
    /// As decision and dissemination see them; borrowed where the policy has changed nothing.
    pub(crate) attributes: Cow<'a, Attributes>,
    /// The rule that decided, where one did.
    pub(crate) by: Option<RuleName<'p>>,
}

impl Importer {
    /// All that the answer depends on of a prefix, besides its family.
    pub(crate) fn signature(&self, prefix: &IpNet) -> Signature {
        self.policy.signature(prefix)
    }

    /// The answer for all prefixes of a family with equal signature. What was received is judged first, so that no
    /// policy makes a loop acceptable or its own work a loop.
    pub(crate) fn judge<'a>(
        &self,
        family: Family,
        signature: &Signature,
        attributes: &'a Attributes,
    ) -> Imported<'_, 'a> {
        let verdict = match self.judge_received(attributes) {
            Verdict::Eligible if !fits(family, attributes.next_hop, self.extended_next_hop) => {
                Verdict::NextHopFamily
            }
            verdict => verdict,
        };
        if verdict != Verdict::Eligible {
            return Imported {
                verdict,
                attributes: Cow::Borrowed(attributes),
                by: None,
            };
        }
        let subject = Subject {
            family,
            source: self.source,
            attributes,
            prepend_asn: attributes.as_path.first_as(),
        };
        let judged = self.policy.evaluate(signature, subject);
        if judged.decision == Decision::Reject {
            // People are shown what the peer sent.
            return Imported {
                verdict: Verdict::Policy,
                attributes: Cow::Borrowed(attributes),
                by: judged.by,
            };
        }
        let verdict = if fits(
            family,
            judged.draft.attributes.next_hop,
            self.extended_next_hop,
        ) {
            Verdict::Eligible
        } else {
            Verdict::NextHopFamily
        };
        Imported {
            verdict,
            attributes: self.mark(self.last_choice(judged.draft.attributes)),
            by: judged.by,
        }
    }

    /// RFC 8326 §4, after the policy, which may have taken the community away.
    fn last_choice<'a>(&self, mut attributes: Cow<'a, Attributes>) -> Cow<'a, Attributes> {
        let is_marked = attributes.communities.contains(&GRACEFUL_SHUTDOWN.0);
        if self.graceful_shutdown && !is_marked {
            attributes.to_mut().communities.push(GRACEFUL_SHUTDOWN.0);
        }
        let is_external = self.external_asn.is_some();
        let is_honoured = is_marked && is_external && self.honour_graceful_shutdown;
        if (self.graceful_shutdown || is_honoured) && attributes.local_pref != Some(0) {
            attributes.to_mut().local_pref = Some(0);
        }
        attributes
    }

    fn own_count(&self, attributes: &Attributes) -> usize {
        let segments = attributes.as_path.0.iter();
        let asns = segments.flat_map(|segment| segment.asns());
        asns.filter(|asn| self.own_asns.contains(asn)).count()
    }

    fn has_leaked(&self, otc: Option<u32>) -> bool {
        let (Some(role), Some(remote_asn)) = (self.role, self.external_asn) else {
            return false;
        };
        roles::has_leaked(role, remote_asn, otc)
    }

    /// What we add to a path that we take (RFC 9234 §5).
    fn mark<'a>(&self, mut attributes: Cow<'a, Attributes>) -> Cow<'a, Attributes> {
        if let Some(asn) = self.prepend {
            attributes.to_mut().as_path.prepend(asn, 1);
        }
        if let (Some(role), Some(remote_asn)) = (self.role, self.external_asn) {
            let otc = roles::taken(role, remote_asn, attributes.otc);
            if otc != attributes.otc {
                attributes.to_mut().otc = otc;
            }
        }
        attributes
    }

    /// What the protocol has to say.
    fn judge_received(&self, attributes: &Attributes) -> Verdict {
        let first_is_wrong = |asn| attributes.as_path.first_as() != Some(asn);
        if self.external_asn.is_some_and(first_is_wrong) {
            Verdict::FirstAs
        } else if self.own_count(attributes) > usize::from(self.allow_own_as) {
            Verdict::AsLoop
        } else if attributes.originator_id == Some(self.router_id) {
            Verdict::OriginatorLoop
        } else if attributes.cluster_list.contains(&self.cluster_id) {
            Verdict::ClusterLoop
        } else if attributes.next_hop.is_some() && self.own_addresses.contains(&attributes.next_hop)
        {
            Verdict::OwnNextHop
        } else if self.has_leaked(attributes.otc) {
            Verdict::RouteLeak
        } else {
            Verdict::Eligible
        }
    }
}

/// Whether the next hop is one for prefixes of the family; `extended`: RFC 8950 was agreed on.
fn fits(family: Family, next_hop: Option<IpAddr>, extended: bool) -> bool {
    match family {
        Family::Ipv4Unicast => match next_hop {
            Some(IpAddr::V4(_)) => true,
            Some(IpAddr::V6(_)) => extended,
            None => false,
        },
        Family::Ipv6Unicast => matches!(next_hop, Some(IpAddr::V6(_))),
    }
}

#[cfg(test)]
mod tests;
