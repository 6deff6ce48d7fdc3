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
mod member;
mod path_list;
mod paths;
mod pen;
mod per_family;
mod received;
mod records;
mod show;
mod stale;
mod table;
mod via;
mod walk;
mod watch;

use std::collections::VecDeque;

use ipnet::IpNet;
use smallvec::SmallVec;

pub(crate) use adj_in::{AdjIns, Counts, PeerFacts, SessionKind};
use adj_out::{AdjOuts, Inputs};
use ids::PrefixId;
pub use intern::Interned;
pub(crate) use intern::Interner;
pub(crate) use member::MemberTerms;
pub(crate) use pen::Sent;
pub(crate) use per_family::PerFamily;
use received::Received;
pub(crate) use table::Source;
use table::{Path, Staleness, Table};

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
    /// The driver wants to be told.
    names_changes: bool,
    /// What monitors have not yet been told.
    watch: Option<Box<Watch>>,
    options: decision::Options,
}

impl Rib {
    pub(crate) fn new(seed: u64, options: decision::Options, names_changes: bool) -> Rib {
        Rib {
            table: Table::new(seed),
            received: Received::default(),
            interner: Interner::new(seed),
            adj_ins: AdjIns::default(),
            adj_outs: AdjOuts::new(),
            changes: VecDeque::new(),
            names_changes,
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
        let entry = self.table.entry(id);
        let known = entry.find(source).map(|index| (index, &entry.paths[index]));
        let (index, old, path_id) = match known {
            Some((_, path)) if path.attributes == *attributes && path.verdict == verdict => {
                return self.set_staleness(id, source, Staleness::Fresh);
            }
            Some((index, path)) => (Some(index), Some(path.condition()), path.path_id),
            None => (None, None, entry.free_path_id()),
        };
        let before = self.chosen(id);
        let path = Path {
            source,
            attributes: attributes.clone(),
            verdict,
            staleness: Staleness::Fresh,
            path_id,
        };
        let new = Some(path.condition());
        let paths = &mut self.table.entry_mut(id).paths;
        let replaced = match index {
            Some(index) => Some(std::mem::replace(&mut paths[index], path)),
            None => {
                paths.push(path);
                None
            }
        };
        self.account(source, id, old, new);
        self.note_path(source, prefix);
        self.reselect(id, &before);
        if let Some(replaced) = replaced {
            self.interner.release(replaced.attributes);
        }
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

    /// Whether a path of this source and prefix may come, when a peer may have `paths_max` of a prefix at
    /// once. Those that are stale do not count, since a peer may have other identifiers after its restart.
    pub(crate) fn has_room(&self, source: Source, prefix: &IpNet, paths_max: usize) -> bool {
        let is_known = self.table.find(prefix).is_some_and(|id| {
            let entry = self.table.entry(id);
            let path = entry.find(source).map(|index| &entry.paths[index]);
            path.is_some_and(|path| path.staleness == Staleness::Fresh)
        });
        let peer = source.peer();
        is_known || peer.is_none_or(|peer| self.fresh_paths(peer, prefix) < paths_max)
    }

    /// How many paths of the prefix are of the peer's present session.
    pub(crate) fn fresh_paths(&self, peer: PeerId, prefix: &IpNet) -> usize {
        let entry = self.table.find(prefix).map(|id| self.table.entry(id));
        let paths = entry.into_iter().flat_map(|entry| entry.paths.iter());
        let is_fresh =
            |path: &&Path| path.staleness == Staleness::Fresh && path.source.peer() == Some(peer);
        paths.filter(is_fresh).count()
    }

    /// A path is gone.
    pub(crate) fn remove_path(&mut self, source: Source, prefix: &IpNet) {
        if let Some(id) = self.table.find(prefix) {
            self.remove_path_of(source, id);
        }
    }

    /// The peer's session is up. Its stale paths, if any, now are those of `facts`.
    pub(crate) fn open(&mut self, peer: PeerId, facts: PeerFacts, terms: Terms, own: MemberTerms) {
        if self.adj_ins.set_facts(peer, facts) {
            self.follow_facts(peer);
        }
        let (adj_outs, mut inputs) = self.outward();
        adj_outs.join(peer, terms, own, &mut inputs);
        if let Some(watch) = &mut self.watch {
            watch.open(peer);
        }
    }

    /// The peer's session is down: nothing stands there any more. What it sent is another question.
    pub(crate) fn close(&mut self, peer: PeerId) {
        if let Some(watch) = &mut self.watch {
            watch.close(peer);
        }
        for id in self.adj_outs.leave(peer, &mut self.table) {
            self.adj_outs.forget(id);
        }
    }

    /// The peer has become our client in its session, or is none any more.
    pub(crate) fn change_kind(&mut self, peer: PeerId, kind: SessionKind) {
        let Some(&facts) = self.adj_ins.facts(peer) else {
            return;
        };
        if self.adj_ins.set_facts(peer, PeerFacts { kind, ..facts }) {
            self.follow_facts(peer);
        }
    }

    /// What was known of the peer is other than before: who gets its paths, and with which ORIGINATOR_ID, too.
    fn follow_facts(&mut self, peer: PeerId) {
        for id in self.adj_ins.received(peer) {
            let before = self.chosen(id);
            self.reselect(id, &before);
            let (adj_outs, mut inputs) = self.outward();
            adj_outs.update(id, &mut inputs);
        }
    }

    /// The peer's terms of export have changed.
    pub(crate) fn change_terms(&mut self, peer: PeerId, terms: Terms) {
        let (adj_outs, mut inputs) = self.outward();
        adj_outs.change_terms(peer, terms, &mut inputs);
    }

    /// The peer may have more or fewer announcements than before. What stands there stays.
    pub(crate) fn change_limits(&mut self, peer: PeerId, limits: PerFamily<Option<usize>>) {
        self.adj_outs.set_limits(peer, limits);
    }

    /// Import policy or our addresses have changed: all of the peer's paths are judged anew, from what was received.
    pub(crate) fn rejudge(
        &mut self,
        peer: PeerId,
        mut judge: impl FnMut(&IpNet, &Interned, &mut Interner) -> (Verdict, Interned),
    ) {
        for id in self.adj_ins.received(peer) {
            let before = self.chosen(id);
            let entry = self.table.entry_mut(id);
            let prefix = entry.prefix;
            let mut is_other = false;
            for path in entry.paths.iter_mut() {
                let (source, old) = (path.source, path.condition());
                if source.peer() != Some(peer) {
                    continue;
                }
                let received = self.received.of(id, source).unwrap_or(&path.attributes);
                let received = received.clone();
                let (verdict, attributes) = judge(&prefix, &received, &mut self.interner);
                let different = (attributes != received).then_some(&received);
                self.received.set(id, source, different);
                if path.verdict == verdict && path.attributes == attributes {
                    continue;
                }
                (path.verdict, path.attributes) = (verdict, attributes);
                is_other = true;
                let (family, new) = (Family::of(&prefix), path.condition());
                self.adj_ins.count(peer, family, Some(old), Some(new));
                if let Some(watch) = &mut self.watch {
                    watch.note_path(source, prefix);
                }
            }
            if is_other {
                self.reselect(id, &before);
            }
        }
    }

    /// Drops all that the peer sent.
    pub(crate) fn drop_paths(&mut self, peer: PeerId) {
        for (id, source) in self.paths_of(self.adj_ins.received(peer), peer) {
            self.remove_path_of(source, id);
        }
    }

    /// Drops all that the peer sent of the family.
    pub(crate) fn drop_family(&mut self, peer: PeerId, family: Family) {
        for (id, source) in self.paths_of(self.adj_ins.received(peer), peer) {
            if Family::of(&self.table.entry(id).prefix) == family {
                self.remove_path_of(source, id);
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

    /// What the peer has sent of the family.
    pub(crate) fn received(&self, peer: PeerId, family: Family) -> Counts {
        let adj_in = self.adj_ins.of(peer);
        adj_in.map_or_else(Counts::default, |adj_in| adj_in.counts(family))
    }

    /// Of the family, how many announcements stand at the peer, and how many should and do not because it
    /// may not have more.
    pub(crate) fn sent(&self, peer: PeerId, family: Family) -> (usize, usize) {
        self.adj_outs.count(peer, family, &self.table)
    }

    /// How often anything was encoded for the logs of groups.
    pub(crate) fn encodes(&self) -> u64 {
        self.adj_outs.encodes()
    }

    fn remove_path_of(&mut self, source: Source, id: PrefixId) {
        let Some(index) = self.table.entry(id).find(source) else {
            return;
        };
        let before = self.chosen(id);
        let entry = self.table.entry_mut(id);
        let (Some(path), prefix) = (entry.paths.remove(index), entry.prefix) else {
            return;
        };
        self.received.forget(id, source);
        self.account(source, id, Some(path.condition()), None);
        self.note_path(source, prefix);
        self.reselect(id, &before);
        self.release(id);
        self.interner.release(path.attributes);
    }

    /// The peer's paths of these prefixes.
    fn paths_of(&self, ids: Vec<PrefixId>, peer: PeerId) -> Vec<(PrefixId, Source)> {
        let sources = |id| self.table.entry(id).sources_of(peer).into_iter();
        let pairs = ids.into_iter();
        pairs
            .flat_map(|id| sources(id).map(move |source| (id, source)))
            .collect()
    }

    /// Keeps the books of the peer: a path has come, gone, or changed.
    fn account(
        &mut self,
        source: Source,
        id: PrefixId,
        old: Option<(Verdict, Staleness)>,
        new: Option<(Verdict, Staleness)>,
    ) {
        let Some(peer) = source.peer() else {
            return;
        };
        let entry = self.table.entry(id);
        let mut of_peer = entry.paths.iter().filter(|p| p.source.peer() == Some(peer));
        let has_any = of_peer.clone().next().is_some();
        let has_stale = of_peer.any(|path| path.staleness != Staleness::Fresh);
        let family = Family::of(&entry.prefix);
        self.adj_ins.note(peer, id, has_any, has_stale);
        self.adj_ins.count(peer, family, old, new);
    }

    /// Phase 2 for one prefix, and what follows when the choice is not what it was before.
    fn reselect(&mut self, id: PrefixId, before: &Chosen) {
        let chosen = match &*self.table.entry(id).paths {
            // Most prefixes have one path, or none: there is nothing to compare.
            [] => SmallVec::new(),
            [path] if path.verdict == Verdict::Eligible => SmallVec::from_slice(&[0]),
            [_] => SmallVec::new(),
            paths => decision::select(&self.adj_ins.candidates(paths), &self.options).chosen,
        };
        self.table.entry_mut(id).choose(&chosen);
        let after = self.chosen(id);
        let is_other = after != *before;
        if is_other {
            let best = |chosen: &Chosen| chosen.first().map(|(source, ..)| *source);
            let entry = self.table.entry_mut(id);
            let family = Family::of(&entry.prefix);
            self.adj_ins.count_best(family, best(before), best(&after));
            if self.names_changes && !entry.change_queued {
                entry.change_queued = true;
                self.changes.push_back(id);
            }
            if let Some(watch) = &mut self.watch {
                watch.note_choice(entry.prefix);
            }
        }
        // Who gets several paths wants to hear of those that are not chosen too.
        if is_other || self.adj_outs.has_add_path() {
            let (adj_outs, mut inputs) = self.outward();
            adj_outs.update(id, &mut inputs);
        }
    }

    /// What Phase 3 works on, and from.
    fn outward(&mut self) -> (&mut AdjOuts, Inputs<'_>) {
        let inputs = Inputs {
            table: &self.table,
            adj_ins: &self.adj_ins,
            interner: &mut self.interner,
            options: &self.options,
        };
        (&mut self.adj_outs, inputs)
    }

    fn note_path(&mut self, source: Source, prefix: IpNet) {
        if let Some(watch) = &mut self.watch {
            watch.note_path(source, prefix);
        }
    }

    fn chosen(&self, id: PrefixId) -> Chosen {
        let chosen = self.table.entry(id).chosen().iter();
        chosen
            .map(|path| {
                let is_long_lived = path.staleness == Staleness::LongLived;
                (path.source, path.attributes.serial(), is_long_lived)
            })
            .collect()
    }

    fn release(&mut self, id: PrefixId) {
        if self.table.release(id) {
            self.adj_outs.forget(id.into());
        }
    }
}

/// Enough of the chosen paths to see whether they are others: the serial of the attributes, which is theirs alone,
/// and whether it is long-lived stale.
type Chosen = SmallVec<[(Source, u64, bool); 2]>;

#[cfg(test)]
mod tests;
