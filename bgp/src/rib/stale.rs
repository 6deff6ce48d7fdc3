//! Paths that wait for their peer to say them again. Why they wait, and for how long, is [`crate::stale`]'s.

use super::Rib;
use super::ids::PrefixId;
use super::table::{Source, Staleness};
use crate::event::PeerId;
use crate::stale::NO_LLGR;
use crate::wire::Family;

impl Rib {
    /// Keeps the peer's paths of these families as stale (RFC 4724 §4.2), and drops the others. Paths that were
    /// stale already have not been refreshed in a whole session, and go too, unless the family is one of `twice`
    /// (RFC 9494 §4.2).
    pub(crate) fn mark_stale(&mut self, peer: PeerId, families: &[Family], twice: &[Family]) {
        for (id, source) in self.paths_of(self.adj_ins.received(peer), peer) {
            let family = Family::of(&self.table.entry(id).prefix);
            match self.staleness(id, source) {
                Some(Staleness::Fresh) if families.contains(&family) => {
                    self.set_staleness(id, source, Staleness::Stale);
                }
                Some(_) if families.contains(&family) && twice.contains(&family) => {}
                _ => self.remove_path_of(source, id),
            }
        }
    }

    /// The peer's Restart Time is over: what is still stale of the family becomes the least preferred, and
    /// what shall not be kept so long (NO_LLGR) goes (RFC 9494 §4.2).
    pub(crate) fn mark_long_lived_stale(&mut self, peer: PeerId, family: Family) {
        for (id, source) in self.stale_paths(peer, family) {
            let entry = self.table.entry(id);
            let path = entry.find(source).and_then(|index| entry.paths.get(index));
            let received = self.received.of(id, source);
            match received.or(path.map(|path| &path.attributes)) {
                Some(received) if !received.unpack().communities.contains(&NO_LLGR) => {
                    self.set_staleness(id, source, Staleness::LongLived);
                }
                _ => self.remove_path_of(source, id),
            }
        }
    }

    /// None of the peer's paths of the family is stale.
    pub(crate) fn unmark_stale(&mut self, peer: PeerId, family: Family) {
        for (id, source) in self.stale_paths(peer, family) {
            self.set_staleness(id, source, Staleness::Fresh);
        }
    }

    /// The peer is about to say all its paths of the family again (RFC 7313 §4).
    pub(crate) fn mark_refreshing(&mut self, peer: PeerId, family: Family) {
        for (id, source) in self.paths_of(self.adj_ins.received(peer), peer) {
            let is_of = Family::of(&self.table.entry(id).prefix) == family;
            if is_of && self.staleness(id, source) == Some(Staleness::Fresh) {
                self.set_staleness(id, source, Staleness::Stale);
            }
        }
    }

    /// Drops the peer's paths of the family that are still stale, and says how many.
    pub(crate) fn sweep_stale(&mut self, peer: PeerId, family: Family) -> usize {
        let stale = self.stale_paths(peer, family);
        for &(id, source) in &stale {
            self.remove_path_of(source, id);
        }
        stale.len()
    }

    pub(super) fn set_staleness(&mut self, id: PrefixId, source: Source, staleness: Staleness) {
        let entry = self.table.entry(id);
        let Some(index) = entry.find(source) else {
            return;
        };
        let old = entry.paths[index].condition();
        if old.1 == staleness {
            return;
        }
        let before = self.chosen(id);
        self.table.entry_mut(id).paths[index].staleness = staleness;
        self.account(source, id, Some(old), Some((old.0, staleness)));
        // Stale is as good as fresh (RFC 4724 §4.2), long-lived stale is not.
        if [old.1, staleness].contains(&Staleness::LongLived) {
            self.reselect(id, &before);
        }
    }

    fn staleness(&self, id: PrefixId, source: Source) -> Option<Staleness> {
        let entry = self.table.entry(id);
        entry.find(source).map(|index| entry.paths[index].staleness)
    }

    fn stale_paths(&self, peer: PeerId, family: Family) -> Vec<(PrefixId, Source)> {
        let mut paths = self.paths_of(self.adj_ins.stale(peer), peer);
        paths.retain(|&(id, source)| {
            Family::of(&self.table.entry(id).prefix) == family
                && self.staleness(id, source) != Some(Staleness::Fresh)
        });
        paths
    }
}
