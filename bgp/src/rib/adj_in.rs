//! Adj-RIBs-In (RFC 4271 §3.2): which prefixes of the table a peer has sent, and who that peer is.

use std::net::{IpAddr, Ipv4Addr};

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use smallvec::SmallVec;

use super::ids::{IdSet, PrefixId};
use super::table::{Path, Source};
use crate::decision::{Candidate, Provenance};
use crate::event::PeerId;
use crate::import::Verdict;

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
    received: IdSet,
    stale: IdSet,
    accepted: usize,
}

impl AdjIn {
    pub(crate) fn received(&self) -> usize {
        self.received.len()
    }

    pub(crate) fn accepted(&self) -> usize {
        self.accepted
    }

    pub(crate) fn stale(&self) -> usize {
        self.stale.len()
    }
}

/// Of all peers that have had a session.
#[derive(Debug, Default)]
pub(crate) struct AdjIns(HashMap<PeerId, AdjIn, FixedState>);

impl AdjIns {
    pub(crate) fn of(&self, peer: PeerId) -> Option<&AdjIn> {
        self.0.get(&peer)
    }

    pub(crate) fn facts(&self, peer: PeerId) -> Option<&PeerFacts> {
        self.0.get(&peer).map(|adj_in| &adj_in.facts)
    }

    /// The paths as the decision wants them.
    pub(crate) fn candidates<'a>(&self, paths: &'a [Path]) -> SmallVec<[Candidate<'a>; 4]> {
        let provenance = |source| match source {
            Source::Local => Provenance::Local,
            Source::Peer(peer) => match self.facts(peer) {
                Some(facts) => Provenance::Peer {
                    external: !facts.kind.is_internal(),
                    router_id: facts.router_id,
                    address: facts.address,
                    path_id: 0,
                },
                // Only a peer with facts has paths.
                None => UNKNOWN,
            },
        };
        let candidate = |path: &'a Path| Candidate {
            attributes: &path.attributes,
            verdict: path.verdict,
            provenance: provenance(path.source),
            long_lived_stale: false,
        };
        paths.iter().map(candidate).collect()
    }

    /// True when something about the peer is other than before.
    pub(super) fn set_facts(&mut self, peer: PeerId, facts: PeerFacts) -> bool {
        let fresh = AdjIn {
            facts,
            received: IdSet::default(),
            stale: IdSet::default(),
            accepted: 0,
        };
        let adj_in = self.0.entry(peer).or_insert(fresh);
        std::mem::replace(&mut adj_in.facts, facts) != facts
    }

    pub(super) fn received(&self, peer: PeerId) -> Vec<PrefixId> {
        self.0
            .get(&peer)
            .map(|adj_in| adj_in.received.iter().collect())
            .unwrap_or_default()
    }

    pub(super) fn stale(&self, peer: PeerId) -> Vec<PrefixId> {
        self.0
            .get(&peer)
            .map(|adj_in| adj_in.stale.iter().collect())
            .unwrap_or_default()
    }

    pub(super) fn note_received(&mut self, peer: PeerId, id: PrefixId) {
        if let Some(adj_in) = self.0.get_mut(&peer) {
            adj_in.received.insert(id);
            adj_in.stale.remove(id);
        }
    }

    pub(super) fn note_stale(&mut self, peer: PeerId, id: PrefixId) {
        if let Some(adj_in) = self.0.get_mut(&peer) {
            adj_in.stale.insert(id);
        }
    }

    pub(super) fn note_removed(&mut self, peer: PeerId, id: PrefixId) {
        if let Some(adj_in) = self.0.get_mut(&peer) {
            adj_in.received.remove(id);
            adj_in.stale.remove(id);
        }
    }

    pub(super) fn note_verdict(
        &mut self,
        peer: PeerId,
        old: Option<Verdict>,
        new: Option<Verdict>,
    ) {
        if let Some(adj_in) = self.0.get_mut(&peer) {
            adj_in.accepted -= usize::from(old == Some(Verdict::Eligible));
            adj_in.accepted += usize::from(new == Some(Verdict::Eligible));
        }
    }

    pub(super) fn forget(&mut self, peer: PeerId) {
        self.0.remove(&peer);
    }
}

const UNKNOWN: Provenance = Provenance::Peer {
    external: false,
    router_id: Ipv4Addr::BROADCAST,
    address: IpAddr::V4(Ipv4Addr::BROADCAST),
    path_id: u32::MAX,
};
