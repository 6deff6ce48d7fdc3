//! The routing information bases (RFC 4271 §3.2) and what flows between them.
//!
//! ```text
//!            set_path, remove_path                                 transmit
//!   peers ──────────────┐                                   ┌────────────────────► peers
//!                       ▼                                   │
//!             ┌───────────────────┐  Phase 2   Phase 3   ┌──┴───────────────────┐
//!   local ───►│ Table: one row a  │ ────────► ─────────► │ AdjOuts: desired and │
//!             │ prefix, all paths │  select    Terms     │ log, one a group;    │
//!             │ (AdjIns, Loc-RIB) │                      │ cursor, one a member │
//!             └───────────────────┘                      └──────────────────────┘
//!                       │ poll_change
//!                       └──────────► driver (FIB)
//! ```
//!
//! A change runs through at once: there are no queues between the phases, and no order of events that could
//! matter. Only the last step waits, for room in each peer's connection.

mod adj_in;
mod adj_out;
mod explain;
mod group;
mod ids;
mod intern;
mod log;
mod pen;
mod received;
mod show;
mod table;
mod walk;
mod watch;

use std::collections::VecDeque;

use ipnet::IpNet;
use smallvec::SmallVec;

pub(crate) use adj_in::{AdjIn, AdjIns, PeerFacts, SessionKind};
use adj_out::{AdjOuts, Inputs};
use ids::PrefixId;
pub use intern::Interned;
pub(crate) use intern::Interner;
pub(crate) use pen::Sent;
use received::Received;
pub(crate) use table::Source;
use table::{Path, Table};

use crate::decision;
use crate::disseminate::Terms;
use crate::event::PeerId;
use crate::import::Verdict;
use crate::tap::Watch;
use crate::wire::{Attributes, Family};

/// All RIBs of a speaker.
#[derive(Debug)]
pub(crate) struct Rib {
    table: Table,
    received: Received,
    interner: Interner,
    adj_ins: AdjIns,
    adj_outs: AdjOuts,
    /// Prefixes whose choice has changed since the driver was told.
    changes: VecDeque<PrefixId>,
    /// What monitors have not yet been told.
    watch: Option<Box<Watch>>,
    options: decision::Options,
}

impl Rib {
    pub(crate) fn new(seed: u64, options: decision::Options) -> Rib {
        Rib {
            table: Table::new(seed),
            received: Received::default(),
            interner: Interner::new(seed),
            adj_ins: AdjIns::default(),
            adj_outs: AdjOuts::new(),
            changes: VecDeque::new(),
            watch: None,
            options,
        }
    }

    pub(crate) fn intern(&mut self, attributes: Attributes) -> Interned {
        self.interner.intern(attributes)
    }

    pub(crate) fn interner(&mut self) -> &mut Interner {
        &mut self.interner
    }

    /// A path is there, or has other attributes or another verdict than before. It is not stale.
    pub(crate) fn set_path(
        &mut self,
        source: Source,
        prefix: IpNet,
        attributes: &Interned,
        verdict: Verdict,
    ) {
        let id = self.table.find_or_insert(prefix);
        if let Source::Peer(peer) = source {
            self.adj_ins.note_received(peer, id);
        }
        let entry = self.table.entry_mut(id);
        let known = entry.paths.iter_mut().find(|path| path.source == source);
        if let Some(path) = &known
            && path.attributes == *attributes
            && path.verdict == verdict
        {
            if let Some(path) = known {
                path.stale = false;
            }
            return;
        }
        let before = self.chosen(id);
        let path = Path {
            source,
            attributes: attributes.clone(),
            verdict,
            stale: false,
        };
        let entry = self.table.entry_mut(id);
        let replaced = match entry.paths.iter_mut().find(|path| path.source == source) {
            Some(known) => Some(std::mem::replace(known, path)),
            None => {
                entry.paths.push(path);
                None
            }
        };
        if let Source::Peer(peer) = source {
            self.adj_ins
                .note_verdict(peer, replaced.map(|path| path.verdict), Some(verdict));
            self.note_path(peer, prefix);
        }
        self.reselect(id, &before);
    }

    /// What was received for a path that `set_path` has just set; `None`: the same attributes.
    pub(crate) fn keep_received(
        &mut self,
        source: Source,
        prefix: &IpNet,
        received: Option<&Interned>,
    ) {
        if (received.is_some() || !self.received.is_empty())
            && let Some(id) = self.table.find(prefix)
        {
            self.received.set(id, source, received);
        }
    }

    /// A path is gone.
    pub(crate) fn remove_path(&mut self, source: Source, prefix: &IpNet) {
        if let Some(id) = self.table.find(prefix) {
            self.remove_path_of(source, id);
        }
    }

    /// The peer's session is up. Its stale paths, if any, now are those of `facts`.
    pub(crate) fn open(&mut self, peer: PeerId, facts: PeerFacts, terms: Terms) {
        if self.adj_ins.set_facts(peer, facts) {
            for id in self.adj_ins.received(peer) {
                let before = self.chosen(id);
                self.reselect(id, &before);
            }
        }
        let mut inputs = Inputs {
            table: &self.table,
            adj_ins: &self.adj_ins,
            interner: &mut self.interner,
        };
        self.adj_outs.join(peer, terms, &mut inputs);
        if let Some(watch) = &mut self.watch {
            watch.open(peer);
        }
    }

    /// The peer's session is down: nothing stands there any more. What it sent is another question.
    pub(crate) fn close(&mut self, peer: PeerId) {
        if let Some(watch) = &mut self.watch {
            watch.close(peer);
        }
        for id in self.adj_outs.leave(peer).iter() {
            self.table.entry_mut(id).standing -= 1;
            self.release(id);
        }
    }

    /// The peer's terms of export have changed.
    pub(crate) fn change_terms(&mut self, peer: PeerId, terms: Terms) {
        let mut inputs = Inputs {
            table: &self.table,
            adj_ins: &self.adj_ins,
            interner: &mut self.interner,
        };
        self.adj_outs.change_terms(peer, terms, &mut inputs);
    }

    /// Import policy or our addresses have changed: all of the peer's paths are judged anew, from what was received.
    pub(crate) fn rejudge(
        &mut self,
        peer: PeerId,
        mut judge: impl FnMut(&IpNet, &Interned, &mut Interner) -> (Verdict, Interned),
    ) {
        let source = Source::Peer(peer);
        for id in self.adj_ins.received(peer) {
            let before = self.chosen(id);
            let entry = self.table.entry_mut(id);
            let prefix = entry.prefix;
            let Some(path) = entry.paths.iter_mut().find(|path| path.source == source) else {
                continue;
            };
            let received = self.received.of(id, source).unwrap_or(&path.attributes);
            let received = received.clone();
            let (verdict, attributes) = judge(&prefix, &received, &mut self.interner);
            let different = (attributes != received).then_some(&received);
            self.received.set(id, source, different);
            let old = std::mem::replace(&mut path.verdict, verdict);
            let old_attributes = std::mem::replace(&mut path.attributes, attributes);
            if old != verdict {
                self.adj_ins.note_verdict(peer, Some(old), Some(verdict));
            }
            if old != verdict || old_attributes != path.attributes {
                self.note_path(peer, prefix);
                self.reselect(id, &before);
            }
        }
    }

    /// Keeps the peer's paths of these families as stale (RFC 4724 §4.2), and drops the others. Paths that were
    /// stale already have not been refreshed in a whole session, and go too, unless the family is one of `twice`
    /// (RFC 9494 §4.2).
    pub(crate) fn mark_stale(&mut self, peer: PeerId, families: &[Family], twice: &[Family]) {
        for id in self.adj_ins.received(peer) {
            let entry = self.table.entry_mut(id);
            let of_peer = |path: &&mut Path| path.source == Source::Peer(peer);
            let path = entry.paths.iter_mut().find(of_peer);
            let family = Family::of(&entry.prefix);
            match path.filter(|_| families.contains(&family)) {
                Some(path) if !path.stale || twice.contains(&family) => {
                    path.stale = true;
                    self.adj_ins.note_stale(peer, id);
                }
                _ => self.remove_path_of(Source::Peer(peer), id),
            }
        }
    }

    /// None of the peer's paths of the family is stale.
    pub(crate) fn unmark_stale(&mut self, peer: PeerId, family: Family) {
        for id in self.adj_ins.stale(peer) {
            let entry = self.table.entry_mut(id);
            if Family::of(&entry.prefix) != family {
                continue;
            }
            let paths = entry.paths.iter_mut();
            for path in paths.filter(|path| path.source == Source::Peer(peer)) {
                path.stale = false;
            }
            self.adj_ins.note_received(peer, id);
        }
    }

    /// The peer is about to say all its paths of the family again (RFC 7313 §4).
    pub(crate) fn mark_refreshing(&mut self, peer: PeerId, family: Family) {
        for id in self.adj_ins.received(peer) {
            let entry = self.table.entry_mut(id);
            if Family::of(&entry.prefix) != family {
                continue;
            }
            let paths = entry.paths.iter_mut();
            for path in paths.filter(|path| path.source == Source::Peer(peer)) {
                path.stale = true;
            }
            self.adj_ins.note_stale(peer, id);
        }
    }

    /// The peer's Restart Time is over: what is still stale of the family becomes the least preferred, and what
    /// shall not be kept so long (NO_LLGR) goes (RFC 9494 §4.2). The community says it to us and to everybody that
    /// the path is passed on to.
    pub(crate) fn mark_long_lived_stale(&mut self, peer: PeerId, family: Family) {
        for id in self.adj_ins.stale(peer) {
            let entry = self.table.entry(id);
            if Family::of(&entry.prefix) != family {
                continue;
            }
            let of_peer = |path: &&Path| path.source == Source::Peer(peer);
            let Some(path) = entry.paths.iter().find(of_peer) else {
                continue;
            };
            if path.attributes.communities.contains(&NO_LLGR) {
                self.remove_path_of(Source::Peer(peer), id);
                continue;
            }
            if path.attributes.communities.contains(&LLGR_STALE) {
                continue;
            }
            let mut attributes = Attributes::clone(&path.attributes);
            attributes.communities.push(LLGR_STALE);
            let attributes = self.interner.intern(attributes);
            let before = self.chosen(id);
            let paths = self.table.entry_mut(id).paths.iter_mut();
            for path in paths.filter(|path| path.source == Source::Peer(peer)) {
                path.attributes = attributes.clone();
            }
            self.reselect(id, &before);
        }
    }

    /// Drops the peer's paths of the family that are still stale, and says how many.
    pub(crate) fn sweep_stale(&mut self, peer: PeerId, family: Family) -> usize {
        let mut stale = self.adj_ins.stale(peer);
        stale.retain(|&id| Family::of(&self.table.entry(id).prefix) == family);
        for &id in &stale {
            self.remove_path_of(Source::Peer(peer), id);
        }
        stale.len()
    }

    /// Drops all that the peer sent.
    pub(crate) fn drop_paths(&mut self, peer: PeerId) {
        for id in self.adj_ins.received(peer) {
            self.remove_path_of(Source::Peer(peer), id);
        }
    }

    /// Drops all that the peer sent of the family.
    pub(crate) fn drop_family(&mut self, peer: PeerId, family: Family) {
        for id in self.adj_ins.received(peer) {
            if Family::of(&self.table.entry(id).prefix) == family {
                self.remove_path_of(Source::Peer(peer), id);
            }
        }
    }

    /// Forgets the peer.
    pub(crate) fn forget(&mut self, peer: PeerId) {
        self.close(peer);
        self.drop_paths(peer);
        self.adj_ins.forget(peer);
    }

    /// Route refresh (RFC 2918 §4).
    pub(crate) fn refresh(&mut self, peer: PeerId, family: Family) {
        self.adj_outs.refresh(peer, family);
    }

    /// End-of-RIB, held back until now, may go out to everybody.
    pub(crate) fn release_end_of_rib(&mut self) {
        self.adj_outs.wake_for_end_of_rib();
    }

    /// A peer that has something new to be sent.
    pub(crate) fn poll_woken(&mut self) -> Option<PeerId> {
        self.adj_outs.poll_woken()
    }

    /// Writes up to about `octets_max` octets of UPDATEs for the peer.
    pub(crate) fn transmit(
        &mut self,
        peer: PeerId,
        may_end: bool,
        out: &mut Vec<u8>,
        octets_max: usize,
    ) -> Sent {
        let (sent, gone) = self
            .adj_outs
            .transmit(peer, &mut self.table, may_end, out, octets_max);
        for id in gone {
            self.adj_outs.forget(id);
        }
        sent
    }

    pub(crate) fn poll_change(&mut self) -> Option<IpNet> {
        let id = self.changes.pop_front()?;
        let entry = self.table.entry_mut(id);
        entry.change_queued = false;
        let prefix = entry.prefix;
        self.release(id);
        Some(prefix)
    }

    pub(crate) fn has_changes(&self) -> bool {
        !self.changes.is_empty()
    }

    pub(crate) fn adj_in(&self, peer: PeerId) -> Option<&AdjIn> {
        self.adj_ins.of(peer)
    }

    /// How many prefixes of the family the peer has sent.
    pub(crate) fn received(&self, peer: PeerId, family: Family) -> usize {
        let is_of = |id: &PrefixId| Family::of(&self.table.entry(*id).prefix) == family;
        self.adj_ins
            .received(peer)
            .iter()
            .filter(|id| is_of(id))
            .count()
    }

    /// How many announcements stand at the peer.
    pub(crate) fn standing(&self, peer: PeerId) -> usize {
        self.adj_outs
            .standing(peer)
            .map_or(0, |standing| standing.len())
    }

    fn remove_path_of(&mut self, source: Source, id: PrefixId) {
        let entry = self.table.entry(id);
        let Some(index) = entry.paths.iter().position(|path| path.source == source) else {
            return;
        };
        let before = self.chosen(id);
        let path = self.table.entry_mut(id).paths.remove(index);
        self.received.forget(id, source);
        if let Source::Peer(peer) = source {
            self.adj_ins.note_removed(peer, id);
            self.adj_ins.note_verdict(peer, Some(path.verdict), None);
            let prefix = self.table.entry(id).prefix;
            self.note_path(peer, prefix);
        }
        self.reselect(id, &before);
        self.release(id);
    }

    /// Phase 2 for one prefix, and what follows when the choice is not what it was before.
    fn reselect(&mut self, id: PrefixId, before: &Chosen) {
        let chosen = {
            let candidates = self.adj_ins.candidates(&self.table.entry(id).paths);
            decision::select(&candidates, &self.options).chosen
        };
        self.table.entry_mut(id).choose(&chosen);
        if self.chosen(id) == *before {
            return;
        }
        let entry = self.table.entry_mut(id);
        if let Some(watch) = &mut self.watch {
            watch.note_choice(entry.prefix);
        }
        if !entry.change_queued {
            entry.change_queued = true;
            self.changes.push_back(id);
        }
        let mut inputs = Inputs {
            table: &self.table,
            adj_ins: &self.adj_ins,
            interner: &mut self.interner,
        };
        self.adj_outs.update(id, &mut inputs);
    }

    fn note_path(&mut self, peer: PeerId, prefix: IpNet) {
        if let Some(watch) = &mut self.watch {
            watch.note_path(peer, prefix, 0);
        }
    }

    fn chosen(&self, id: PrefixId) -> Chosen {
        let chosen = self.table.entry(id).chosen().iter();
        chosen
            .map(|path| (path.source, path.attributes.clone()))
            .collect()
    }

    fn release(&mut self, id: PrefixId) {
        if self.table.release(id) {
            self.adj_outs.forget(id);
        }
    }
}

/// RFC 9494 §3.2.
const LLGR_STALE: u32 = 0xffff_0006;
/// RFC 9494 §3.3.
const NO_LLGR: u32 = 0xffff_0007;

/// Enough of the chosen paths to see whether they are others.
type Chosen = SmallVec<[(Source, Interned); 2]>;

#[cfg(test)]
mod tests;
