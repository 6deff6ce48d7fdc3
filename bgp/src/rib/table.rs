//! The one table: every prefix of both families with its candidate paths.
//!
//! Adj-RIBs-In and Loc-RIB are views of it. A prefix with one path has no heap of its own. Prefixes are
//! numbered, so that the Adj-RIBs-Out can be plain arrays and a set of prefixes can be bits.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use ipnet::IpNet;
use smallvec::SmallVec;

use super::ids::PrefixId;
use super::intern::Interned;
use crate::event::PeerId;
use crate::import::Verdict;

/// Where a path comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    /// We originate it.
    Local,
    /// A peer sent it.
    Peer(PeerId),
}

/// Attributes of a prefix from one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) source: Source,
    pub(crate) attributes: Interned,
    /// What import (Phase 1) thinks of it.
    pub(crate) verdict: Verdict,
    /// Kept from before its peer's restart (RFC 4724 §4.2).
    pub(crate) stale: bool,
}

/// A prefix and all we know about it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) prefix: IpNet,
    /// The chosen first (the best, then its equals for multipath), then the others in no order.
    pub(crate) paths: SmallVec<[Path; 1]>,
    /// How many of `paths` are chosen.
    pub(crate) chosen: u16,
    /// The driver has not yet been told of the last change.
    pub(crate) change_queued: bool,
    /// At how many peers an announcement of it stands.
    pub(crate) standing: u32,
}

impl Entry {
    pub(crate) fn best(&self) -> Option<&Path> {
        self.chosen().first()
    }

    pub(crate) fn chosen(&self) -> &[Path] {
        &self.paths[..usize::from(self.chosen)]
    }

    /// Puts the paths with these indices first.
    pub(crate) fn choose(&mut self, indices: &[usize]) {
        self.chosen = u16::try_from(indices.len()).unwrap_or(u16::MAX);
        let in_place = indices
            .iter()
            .enumerate()
            .all(|(place, &index)| place == index);
        if in_place {
            return;
        }
        let mut left: Vec<Option<Path>> = self.paths.drain(..).map(Some).collect();
        let first: Vec<Path> = indices
            .iter()
            .filter_map(|&index| left.get_mut(index)?.take())
            .collect();
        self.paths.extend(first);
        self.paths.extend(left.into_iter().flatten());
    }

    fn unused(&self) -> bool {
        self.paths.is_empty() && self.standing == 0 && !self.change_queued
    }
}

/// Every prefix that has a path, stands at a peer, or waits to be named to the driver.
#[derive(Debug)]
pub(crate) struct Table {
    entries: Vec<Entry>,
    free: Vec<PrefixId>,
    index: HashTable<PrefixId>,
    hasher: FixedState,
}

impl Table {
    pub(crate) fn new(seed: u64) -> Table {
        Table {
            entries: Vec::new(),
            free: Vec::new(),
            index: HashTable::new(),
            hasher: FixedState::with_seed(seed),
        }
    }

    pub(crate) fn find(&self, prefix: &IpNet) -> Option<PrefixId> {
        let hash = self.hasher.hash_one(prefix);
        self.index
            .find(hash, |id| self.entries[id.index()].prefix == *prefix)
            .copied()
    }

    pub(crate) fn find_or_insert(&mut self, prefix: IpNet) -> PrefixId {
        if let Some(id) = self.find(&prefix) {
            return id;
        }
        let entry = Entry {
            prefix,
            paths: SmallVec::new(),
            chosen: 0,
            change_queued: false,
            standing: 0,
        };
        let id = match self.free.pop() {
            Some(id) => {
                self.entries[id.index()] = entry;
                id
            }
            None => {
                // Four thousand million prefixes do not fit into memory.
                let id = PrefixId(self.entries.len() as u32);
                self.entries.push(entry);
                id
            }
        };
        let (hasher, entries) = (&self.hasher, &self.entries);
        self.index.insert_unique(hasher.hash_one(prefix), id, |id| {
            hasher.hash_one(entries[id.index()].prefix)
        });
        id
    }

    /// Forgets the prefix if nothing is known about it any more; true when it did. Its id may then come
    /// back for another prefix.
    pub(crate) fn release(&mut self, id: PrefixId) -> bool {
        let entry = &self.entries[id.index()];
        if !entry.unused() {
            return false;
        }
        let hash = self.hasher.hash_one(entry.prefix);
        match self.index.find_entry(hash, |other| *other == id) {
            Ok(found) => {
                found.remove();
                self.free.push(id);
                true
            }
            // Released before.
            Err(_) => false,
        }
    }

    pub(crate) fn entry(&self, id: PrefixId) -> &Entry {
        &self.entries[id.index()]
    }

    pub(crate) fn entry_mut(&mut self, id: PrefixId) -> &mut Entry {
        &mut self.entries[id.index()]
    }

    /// At most `max` entries from that index on, and where the next ones begin; `None`: there are no more.
    pub(crate) fn slice(
        &self,
        from: usize,
        max: usize,
    ) -> (impl Iterator<Item = &Entry>, Option<usize>) {
        let rest = self.entries.get(from..).unwrap_or(&[]);
        let (slice, left) = rest.split_at(rest.len().min(max.max(1)));
        let next = (!left.is_empty()).then_some(from + slice.len());
        (slice.iter().filter(|entry| !entry.unused()), next)
    }

    /// In order of id, which is no order that a person would see a sense in.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (PrefixId, &Entry)> {
        self.entries
            .iter()
            .enumerate()
            .map(|(index, entry)| (PrefixId(index as u32), entry))
            .filter(|(_, entry)| !entry.unused())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_reused_only_after_release() {
        let mut table = Table::new(0);
        let prefix = |n: u8| IpNet::from(ipnet::Ipv4Net::new([10, 0, n, 0].into(), 24).unwrap());
        let first = table.find_or_insert(prefix(1));
        table.entry_mut(first).standing = 1;
        assert!(!table.release(first));
        assert_ne!(table.find_or_insert(prefix(2)), first);
        table.entry_mut(first).standing = 0;
        assert!(table.release(first));
        assert!(!table.release(first));
        assert_eq!(table.find(&prefix(1)), None);
        assert_eq!(table.find_or_insert(prefix(3)), first);
    }

    #[test]
    fn one_path_needs_no_heap_of_its_own() {
        let paths: SmallVec<[Path; 1]> = SmallVec::new();
        assert_eq!(paths.inline_size(), 1);
        assert!(size_of::<Entry>() <= 72, "{}", size_of::<Entry>());
    }
}
