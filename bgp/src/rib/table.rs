//! The one table: every prefix of both families with its candidate paths.
//!
//! Adj-RIBs-In and Loc-RIB are views of it. A prefix with one path has no heap of its own. Prefixes are
//! numbered, so that the Adj-RIBs-Out can be plain arrays and a set of prefixes can be bits.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::{HashTable, hash_table};
use ipnet::IpNet;
use smallvec::{SmallVec, smallvec};

use super::ids::PrefixId;
use super::intern::Interned;
use super::path_list::PathList;
use crate::event::PeerId;
use crate::import::Verdict;

/// Where a path comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    /// We originate it.
    Local,
    /// A peer sent it with this Path Identifier (RFC 7911 §3); zero where ADD-PATH was not agreed on.
    Peer(PeerId, u32),
}

impl Source {
    pub(crate) fn peer(self) -> Option<PeerId> {
        match self {
            Source::Local => None,
            Source::Peer(peer, _) => Some(peer),
        }
    }
}

/// Whether a path was kept although its session is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Staleness {
    /// Of the present session.
    Fresh,
    /// Kept from before the peer's restart (RFC 4724 §4.2).
    Stale,
    /// Kept beyond the peer's Restart Time (RFC 9494 §4.2).
    LongLived,
}

/// Attributes of a prefix from one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) source: Source,
    pub(crate) attributes: Interned,
    /// What import (Phase 1) thinks of it.
    pub(crate) verdict: Verdict,
    pub(crate) staleness: Staleness,
    /// Its name towards peers that get several paths of a prefix (RFC 7911 §3): other than that of each other
    /// path of the prefix, and the same as long as the path lives. Zero: there were none left.
    pub(crate) path_id: u16,
}

impl Path {
    /// What its peer's books say of it.
    pub(crate) fn condition(&self) -> (Verdict, Staleness) {
        (self.verdict, self.staleness)
    }
}

/// A prefix and all we know about it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) prefix: IpNet,
    /// The chosen first (the best, then its equals for multipath), then the others in no order.
    pub(crate) paths: PathList,
    /// How many of `paths` are chosen.
    pub(crate) chosen: u16,
    /// The driver has not yet been told of the last change.
    pub(crate) change_queued: bool,
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
        let paths = std::mem::take(&mut self.paths).into_vec();
        let mut left: Vec<Option<Path>> = paths.into_iter().map(Some).collect();
        let mut paths: Vec<Path> = indices
            .iter()
            .filter_map(|&index| left.get_mut(index)?.take())
            .collect();
        paths.extend(left.into_iter().flatten());
        self.paths = PathList::from(paths);
    }

    pub(crate) fn find(&self, source: Source) -> Option<usize> {
        self.paths.iter().position(|path| path.source == source)
    }

    /// What the peer has sent of the prefix.
    pub(crate) fn sources_of(&self, peer: PeerId) -> SmallVec<[Source; 2]> {
        let sources = self.paths.iter().map(|path| path.source);
        sources
            .filter(|source| source.peer() == Some(peer))
            .collect()
    }

    /// The lowest Path Identifier that none of the paths has.
    pub(crate) fn free_path_id(&self) -> u16 {
        if self.paths.is_empty() {
            return 1;
        }
        let mut taken: SmallVec<[u64; 2]> = smallvec![0; self.paths.len() / 64 + 1];
        taken[0] = 1;
        for path in self.paths.iter() {
            let (word, bit) = (usize::from(path.path_id) / 64, path.path_id % 64);
            if let Some(word) = taken.get_mut(word) {
                *word |= 1 << bit;
            }
        }
        let with_room = taken.iter().position(|&word| word != u64::MAX);
        let word = with_room.unwrap_or(taken.len());
        let bit = taken.get(word).map_or(0, |word| word.trailing_ones());
        u16::try_from(word * 64 + bit as usize).unwrap_or(0)
    }
}

/// Every prefix that has a path, stands at a peer, or waits to be named to the driver.
#[derive(Debug)]
pub(crate) struct Table {
    entries: Vec<Entry>,
    /// At how many peers an announcement of each prefix stands. Not in the entries, since a reflector counts here
    /// for each prefix and peer, and looks at nothing else of the prefix then.
    standing: Vec<u32>,
    free: Vec<PrefixId>,
    index: HashTable<PrefixId>,
    hasher: FixedState,
}

impl Table {
    pub(crate) fn new(seed: u64) -> Table {
        Table {
            entries: Vec::new(),
            standing: Vec::new(),
            free: Vec::new(),
            index: HashTable::new(),
            hasher: FixedState::with_seed(seed),
        }
    }

    pub(crate) fn find(&self, prefix: &IpNet) -> Option<PrefixId> {
        self.find_hashed(self.hash(prefix), prefix)
    }

    fn find_hashed(&self, hash: u64, prefix: &IpNet) -> Option<PrefixId> {
        self.index
            .find(hash, |id| self.entries[id.index()].prefix == *prefix)
            .copied()
    }

    fn hash(&self, prefix: &IpNet) -> u64 {
        hash_of(&self.hasher, prefix)
    }

    pub(crate) fn find_or_insert(&mut self, prefix: IpNet) -> PrefixId {
        let hash = self.hash(&prefix);
        let (hasher, entries) = (&self.hasher, &self.entries);
        let is_it = |id: &PrefixId| entries[id.index()].prefix == prefix;
        let hash_again = |id: &PrefixId| hash_of(hasher, &entries[id.index()].prefix);
        let place = match self.index.entry(hash, is_it, hash_again) {
            hash_table::Entry::Occupied(known) => return *known.get(),
            hash_table::Entry::Vacant(place) => place,
        };
        let entry = Entry {
            prefix,
            paths: PathList::default(),
            chosen: 0,
            change_queued: false,
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
                self.standing.push(0);
                id
            }
        };
        place.insert(id);
        id
    }

    /// Forgets the prefix if nothing is known about it any more; true when it did. Its id may then come
    /// back for another prefix.
    pub(crate) fn release(&mut self, id: PrefixId) -> bool {
        if self.is_used(id) {
            return false;
        }
        let hash = self.hash(&self.entries[id.index()].prefix);
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

    /// An announcement of it stands at one peer more.
    pub(crate) fn stand(&mut self, id: PrefixId) {
        self.standing[id.index()] += 1;
    }

    /// At one peer less.
    pub(crate) fn fall(&mut self, id: PrefixId) {
        self.standing[id.index()] -= 1;
    }

    fn is_used(&self, id: PrefixId) -> bool {
        if self.standing[id.index()] > 0 {
            return true;
        }
        let entry = &self.entries[id.index()];
        !entry.paths.is_empty() || entry.change_queued
    }

    /// At most `max` entries from that index on, and where the next ones begin; `None`: there are no more.
    pub(crate) fn slice(
        &self,
        from: usize,
        max: usize,
    ) -> (impl Iterator<Item = &Entry>, Option<usize>) {
        let ids = from..from.saturating_add(max.max(1)).min(self.entries.len());
        let next = (ids.end < self.entries.len()).then_some(ids.end);
        let ids = ids.map(|index| PrefixId(index as u32));
        let used = ids.filter(|&id| self.is_used(id));
        (used.map(|id| self.entry(id)), next)
    }

    /// In order of id, which is no order that a person would see a sense in.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (PrefixId, &Entry)> {
        self.entries
            .iter()
            .enumerate()
            .map(|(index, entry)| (PrefixId(index as u32), entry))
            .filter(|(id, _)| self.is_used(*id))
    }
}

/// Of one or three words: the derived one would take the address octet by octet.
fn hash_of(hasher: &FixedState, prefix: &IpNet) -> u64 {
    let length = prefix.prefix_len();
    match prefix {
        IpNet::V4(prefix) => {
            hasher.hash_one(u64::from(u32::from(prefix.addr())) << 8 | u64::from(length))
        }
        IpNet::V6(prefix) => hasher.hash_one((u128::from(prefix.addr()), length)),
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
        table.stand(first);
        assert!(!table.release(first));
        assert_ne!(table.find_or_insert(prefix(2)), first);
        table.fall(first);
        assert!(table.release(first));
        assert!(!table.release(first));
        assert_eq!(table.find(&prefix(1)), None);
        assert_eq!(table.find_or_insert(prefix(3)), first);
    }

    #[test]
    fn a_path_gets_the_lowest_identifier_that_is_free() {
        let mut interner = super::super::intern::Interner::new(0);
        let attributes = interner.intern(crate::wire::Attributes::default());
        let path = |path_id| Path {
            source: Source::Local,
            attributes: attributes.clone(),
            verdict: Verdict::Eligible,
            staleness: Staleness::Fresh,
            path_id,
        };
        let mut entry = Entry {
            prefix: "10.0.0.0/8".parse().unwrap(),
            paths: PathList::default(),
            chosen: 0,
            change_queued: false,
        };
        for wanted in 1..=200 {
            assert_eq!(entry.free_path_id(), wanted);
            entry.paths.push(path(wanted));
        }
        for gone in [150, 63, 2] {
            let index = entry.paths.iter().position(|path| path.path_id == gone);
            entry.paths.remove(index.unwrap());
            assert_eq!(entry.free_path_id(), gone);
        }
        entry.paths = (0..=u16::MAX).map(path).collect::<Vec<_>>().into();
        assert_eq!(entry.free_path_id(), 0, "none is left");
    }

    #[test]
    fn one_path_needs_no_heap_of_its_own() {
        assert!(size_of::<Path>() <= 24, "{}", size_of::<Path>());
        assert!(size_of::<Entry>() <= 48, "{}", size_of::<Entry>());
    }
}
