//! The conditions of a rule.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::as_path::AsPathMatch;
use super::community::{
    CommunityMatch, ExtendedCommunity, ExtendedPattern, LargeCommunity, LargePattern,
    StandardCommunity, StandardPattern,
};
use super::peer::{AddressRange, Glob, PathSource, PeerPattern, SessionPeer, SourcePattern};
use super::range::{NumberRange, PrefixRange};
use super::text::is_default;
use crate::decision::local_pref;
use crate::wire::{Attributes, Family, Origin};

/// Which paths a rule is about: all conditions must hold. Each is a list of alternatives; an empty one asks nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Match {
    /// The prefix is one of these.
    #[serde(skip_serializing_if = "is_default")]
    pub prefixes: Vec<PrefixRange>,
    /// The prefix is none of these.
    #[serde(skip_serializing_if = "is_default")]
    pub not_prefixes: Vec<PrefixRange>,
    /// The family of the prefix: `ipv4-unicast`, `ipv6-unicast`.
    #[serde(skip_serializing_if = "is_default")]
    pub families: Vec<Family>,
    /// Where the path comes from. On import that is the peer of the session.
    #[serde(skip_serializing_if = "is_default")]
    pub from: Vec<SourcePattern>,
    /// The peer of the session: on import where the path comes from, on export where it would go.
    #[serde(skip_serializing_if = "is_default")]
    pub peers: Vec<PeerPattern>,
    /// The interface that the session is bound to. A session that is bound to none matches nothing.
    #[serde(skip_serializing_if = "is_default")]
    pub interfaces: Vec<Glob>,
    /// NEXT_HOP as it was received. A path of ours has none and matches nothing.
    #[serde(skip_serializing_if = "is_default")]
    pub next_hops: Vec<AddressRange>,
    /// AS_PATH.
    #[serde(skip_serializing_if = "is_default")]
    pub as_path: AsPathMatch,
    /// Communities (RFC 1997).
    #[serde(skip_serializing_if = "is_default")]
    pub communities: CommunityMatch<StandardPattern>,
    /// Extended communities (RFC 4360).
    #[serde(skip_serializing_if = "is_default")]
    pub extended_communities: CommunityMatch<ExtendedPattern>,
    /// Large communities (RFC 8092).
    #[serde(skip_serializing_if = "is_default")]
    pub large_communities: CommunityMatch<LargePattern>,
    /// MULTI_EXIT_DISC; 0 where there is none, as the decision has it.
    #[serde(skip_serializing_if = "is_default")]
    pub med: Vec<NumberRange>,
    /// LOCAL_PREF; 100 where there is none, as the decision has it.
    #[serde(skip_serializing_if = "is_default")]
    pub local_pref: Vec<NumberRange>,
    /// ORIGIN: `igp`, `egp`, `incomplete`.
    #[serde(skip_serializing_if = "is_default")]
    pub origins: Vec<Origin>,
}

impl Match {
    /// Whether it asks for the prefix itself, not only for its family.
    pub(super) fn asks_for_prefix(&self) -> bool {
        !self.prefixes.is_empty() || !self.not_prefixes.is_empty()
    }

    pub(super) fn prefix_holds(&self, prefix: &IpNet) -> bool {
        some(&self.prefixes, |range| range.contains(prefix))
            && !self.not_prefixes.iter().any(|range| range.contains(prefix))
    }

    /// The conditions about the session.
    pub(super) fn session_holds(&self, peer: &SessionPeer<'_>) -> bool {
        some(&self.peers, |pattern| pattern.holds(peer))
            && some(&self.interfaces, |glob| {
                peer.interface.is_some_and(|name| glob.is_match(name))
            })
    }

    /// The conditions that are neither about the session nor about the prefix.
    pub(super) fn path_holds(
        &self,
        family: Family,
        source: PathSource,
        attributes: &Attributes,
    ) -> bool {
        let standard = attributes
            .communities
            .iter()
            .copied()
            .map(StandardCommunity);
        let extended = attributes
            .extended_communities
            .iter()
            .copied()
            .map(ExtendedCommunity);
        let large = attributes.large_communities.iter();
        let large = large.map(|&(one, two, three)| LargeCommunity(one, two, three));
        some(&self.families, |&wanted| wanted == family)
            && some(&self.from, |pattern| pattern.holds(source))
            && some(&self.next_hops, |range| {
                attributes
                    .next_hop
                    .is_some_and(|address| range.contains(address))
            })
            && some(&self.med, |range| {
                range.contains(attributes.med.unwrap_or(0))
            })
            && some(&self.local_pref, |range| {
                range.contains(local_pref(attributes))
            })
            && some(&self.origins, |&wanted| wanted == attributes.origin)
            && self.communities.holds(standard)
            && self.extended_communities.holds(extended)
            && self.large_communities.holds(large)
            && self.as_path.holds(&attributes.as_path)
    }
}

fn some<T>(alternatives: &[T], holds: impl FnMut(&T) -> bool) -> bool {
    alternatives.is_empty() || alternatives.iter().any(holds)
}
