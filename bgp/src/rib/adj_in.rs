//! Adj-RIBs-In (RFC 4271 §3.2): which prefixes of the table a peer has sent, and who that peer is.
//!
//! The paths are in the table. With ADD-PATH (RFC 7911) a prefix may have several of one peer there: the sets
//! here say where to look, the numbers count paths.

use std::net::{IpAddr, Ipv4Addr};

use smallvec::SmallVec;

use super::ids::{IdSet, PrefixId};
use super::per_family::PerFamily;
use super::table::{Path, Source, Staleness};
use crate::decision::{Candidate, Provenance};
use crate::event::PeerId;
use crate::import::Verdict;
use crate::stale::says_long_lived_stale;
use crate::wire::Family;

/// What a peer is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum SessionKind {
    /// Of another AS.
    External,
    /// Of our AS.
    Internal,
    /// Of our AS, and our client (RFC 4456 §4).
    Client,
}

impl SessionKind {
    pub(crate) fn is_internal(self) -> bool {
        self != SessionKind::External
    }
}

/// What decision and dissemination must know of the peer that a path comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PeerFacts {
    pub(crate) address: IpAddr,
    pub(crate) router_id: Ipv4Addr,
    pub(crate) kind: SessionKind,
    /// We have offered it long-lived graceful restart (RFC 9494 §4.3).
    pub(crate) long_lived: bool,
}

/// What a peer has sent.
#[derive(Debug)]
pub(crate) struct AdjIn {
    facts: PeerFacts,
    /// Prefixes of which it has a path.
    received: IdSet<PrefixId>,
    /// Prefixes of which it has a stale path.
    stale: IdSet<PrefixId>,
    counts: PerFamily<Counts>,
}

/// How many paths of a peer and family there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) received: usize,
    /// Of these, those that may be chosen.
    pub(crate) accepted: usize,
    /// Of these, those that are the best of their prefix.
    pub(crate) best: usize,
    /// Kept although their session is gone, or has not sent them again yet.
    pub(crate) stale: usize,
}

impl AdjIn {
    pub(crate) fn counts(&self, family: Family) -> Counts {
        self.counts[family]
    }
}

/// Of all peers that have had a session, by id.
#[derive(Debug, Default)]
pub(crate) struct AdjIns(Vec<Option<Box<AdjIn>>>);

impl AdjIns {
    pub(crate) fn of(&self, peer: PeerId) -> Option<&AdjIn> {
        self.0.get(peer.0 as usize)?.as_deref()
    }

    fn of_mut(&mut self, peer: PeerId) -> Option<&mut AdjIn> {
        self.0.get_mut(peer.0 as usize)?.as_deref_mut()
    }

    pub(crate) fn facts(&self, peer: PeerId) -> Option<&PeerFacts> {
        self.of(peer).map(|adj_in| &adj_in.facts)
    }

    /// The paths as the decision wants them.
    pub(crate) fn candidates(&self, paths: &[Path]) -> SmallVec<[Candidate; 4]> {
        let candidate = |path: &Path| {
            let attributes = path.attributes.unpack();
            let sender = path.source.peer().and_then(|peer| self.facts(peer));
            let provenance = match (path.source, sender) {
                (Source::Local, _) => Provenance::Local,
                (Source::Peer(_, path_id), Some(facts)) => Provenance::Peer {
                    external: !facts.kind.is_internal(),
                    router_id: facts.router_id,
                    address: facts.address,
                    path_id,
                },
                // Only a peer with facts has paths.
                (Source::Peer(..), None) => UNKNOWN,
            };
            Candidate {
                merits: (&attributes).into(),
                verdict: path.verdict,
                provenance,
                long_lived_stale: path.staleness == Staleness::LongLived
                    || says_long_lived_stale(&attributes, sender),
            }
        };
        paths.iter().map(candidate).collect()
    }

    /// True when something about the peer is other than before.
    pub(super) fn set_facts(&mut self, peer: PeerId, facts: PeerFacts) -> bool {
        let fresh = AdjIn {
            facts,
            received: IdSet::default(),
            stale: IdSet::default(),
            counts: PerFamily::default(),
        };
        let index = peer.0 as usize;
        if index >= self.0.len() {
            self.0.resize_with(index + 1, || None);
        }
        let adj_in = self.0[index].get_or_insert_with(|| Box::new(fresh));
        std::mem::replace(&mut adj_in.facts, facts) != facts
    }

    pub(super) fn received(&self, peer: PeerId) -> Vec<PrefixId> {
        self.of(peer)
            .map(|adj_in| adj_in.received.iter().collect())
            .unwrap_or_default()
    }

    pub(super) fn stale(&self, peer: PeerId) -> Vec<PrefixId> {
        self.of(peer)
            .map(|adj_in| adj_in.stale.iter().collect())
            .unwrap_or_default()
    }

    /// The peer's paths of a prefix have come or gone: whether it has one, and one that is stale.
    pub(super) fn note(&mut self, peer: PeerId, id: PrefixId, has_any: bool, has_stale: bool) {
        if let Some(adj_in) = self.of_mut(peer) {
            adj_in.received.set(id, has_any);
            adj_in.stale.set(id, has_stale);
        }
    }

    /// A path of the peer is other than it was; `None`: it is not there.
    pub(super) fn count(
        &mut self,
        peer: PeerId,
        family: Family,
        old: Option<(Verdict, Staleness)>,
        new: Option<(Verdict, Staleness)>,
    ) {
        let Some(adj_in) = self.of_mut(peer) else {
            return;
        };
        let counts = &mut adj_in.counts[family];
        let accepted = |path: Option<(Verdict, _)>| {
            usize::from(path.is_some_and(|(verdict, _)| verdict == Verdict::Eligible))
        };
        let stale = |path: Option<(_, Staleness)>| {
            usize::from(path.is_some_and(|(_, staleness)| staleness != Staleness::Fresh))
        };
        counts.received = counts.received + usize::from(new.is_some()) - usize::from(old.is_some());
        counts.accepted = counts.accepted + accepted(new) - accepted(old);
        counts.stale = counts.stale + stale(new) - stale(old);
    }

    /// Another path than before is the best of a prefix.
    pub(super) fn count_best(&mut self, family: Family, old: Option<Source>, new: Option<Source>) {
        let (old, new) = (old.and_then(Source::peer), new.and_then(Source::peer));
        if let Some(adj_in) = new.and_then(|peer| self.of_mut(peer)) {
            adj_in.counts[family].best += 1;
        }
        if let Some(adj_in) = old.and_then(|peer| self.of_mut(peer)) {
            adj_in.counts[family].best -= 1;
        }
    }

    pub(super) fn forget(&mut self, peer: PeerId) {
        if let Some(adj_in) = self.0.get_mut(peer.0 as usize) {
            *adj_in = None;
        }
    }
}

const UNKNOWN: Provenance = Provenance::Peer {
    external: false,
    router_id: Ipv4Addr::BROADCAST,
    address: IpAddr::V4(Ipv4Addr::BROADCAST),
    path_id: u32::MAX,
};
