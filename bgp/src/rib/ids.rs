//! Names for prefixes and paths, and sets of them as bits: one bit a prefix and peer is what the Adj-RIBs cost
//! per peer.

use std::marker::PhantomData;

/// A prefix of the [`Table`](super::table::Table), for as long as somebody knows it. Reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PrefixId(pub(crate) u32);

impl PrefixId {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// A path of a prefix that ADD-PATH (RFC 7911) announces on its own. Reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PathSlot(pub(crate) u32);

/// What is announced and withdrawn on its own: a prefix, or with ADD-PATH one path of it. Both are numbers
/// from zero on, so that arrays and sets of either are dense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NlriId(u32);

/// Which of the two an [`NlriId`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NlriKind {
    Prefix(PrefixId),
    Path(PathSlot),
}

impl NlriId {
    pub(crate) fn kind(self) -> NlriKind {
        if self.0 & PATH_BIT == 0 {
            NlriKind::Prefix(PrefixId(self.0))
        } else {
            NlriKind::Path(PathSlot(self.0 & !PATH_BIT))
        }
    }
}

impl From<PrefixId> for NlriId {
    fn from(id: PrefixId) -> NlriId {
        NlriId(id.0)
    }
}

impl From<PathSlot> for NlriId {
    fn from(slot: PathSlot) -> NlriId {
        NlriId(slot.0 | PATH_BIT)
    }
}

/// Two thousand million prefixes do not fit into memory.
const PATH_BIT: u32 = 1 << 31;

/// A set of what can be announced.
#[derive(Debug, Clone, Default)]
pub(crate) struct NlriSet {
    prefixes: IdSet<PrefixId>,
    paths: IdSet<PathSlot>,
}

impl NlriSet {
    pub(crate) fn len(&self) -> usize {
        self.prefixes.len() + self.paths.len()
    }

    pub(crate) fn contains(&self, id: NlriId) -> bool {
        match id.kind() {
            NlriKind::Prefix(id) => self.prefixes.contains(id),
            NlriKind::Path(slot) => self.paths.contains(slot),
        }
    }

    /// False when it was there already.
    pub(crate) fn insert(&mut self, id: NlriId) -> bool {
        match id.kind() {
            NlriKind::Prefix(id) => self.prefixes.insert(id),
            NlriKind::Path(slot) => self.paths.insert(slot),
        }
    }

    /// False when it was not there.
    pub(crate) fn remove(&mut self, id: NlriId) -> bool {
        match id.kind() {
            NlriKind::Prefix(id) => self.prefixes.remove(id),
            NlriKind::Path(slot) => self.paths.remove(slot),
        }
    }

    /// Prefixes before paths, each in order of id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = NlriId> + '_ {
        let paths = self.paths.iter().map(NlriId::from);
        self.prefixes.iter().map(NlriId::from).chain(paths)
    }
}

/// A set of ids.
#[derive(Debug, Clone)]
pub(crate) struct IdSet<I> {
    words: Vec<u64>,
    len: usize,
    of: PhantomData<I>,
}

/// A number from zero on.
pub(crate) trait Id: Copy {
    fn number(self) -> u32;
    fn from_number(number: u32) -> Self;
}

impl Id for PrefixId {
    fn number(self) -> u32 {
        self.0
    }

    fn from_number(number: u32) -> PrefixId {
        PrefixId(number)
    }
}

impl Id for PathSlot {
    fn number(self) -> u32 {
        self.0
    }

    fn from_number(number: u32) -> PathSlot {
        PathSlot(number)
    }
}

impl<I> Default for IdSet<I> {
    fn default() -> IdSet<I> {
        IdSet {
            words: Vec::new(),
            len: 0,
            of: PhantomData,
        }
    }
}

impl<I: Id> IdSet<I> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn contains(&self, id: I) -> bool {
        let (word, bit) = place(id);
        self.words.get(word).is_some_and(|w| w & bit != 0)
    }

    /// False when it was there already.
    pub(crate) fn insert(&mut self, id: I) -> bool {
        let (word, bit) = place(id);
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let new = self.words[word] & bit == 0;
        self.words[word] |= bit;
        self.len += usize::from(new);
        new
    }

    /// False when it was not there.
    pub(crate) fn remove(&mut self, id: I) -> bool {
        let (word, bit) = place(id);
        let Some(w) = self.words.get_mut(word) else {
            return false;
        };
        let was = *w & bit != 0;
        *w &= !bit;
        self.len -= usize::from(was);
        was
    }

    pub(crate) fn set(&mut self, id: I, is_in: bool) {
        if is_in {
            self.insert(id);
        } else {
            self.remove(id);
        }
    }

    /// In order of id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = I> + '_ {
        self.words.iter().enumerate().flat_map(|(word, &bits)| {
            std::iter::successors((bits != 0).then_some(bits), |&left| {
                let left = left & (left - 1);
                (left != 0).then_some(left)
            })
            .map(move |left| I::from_number(word as u32 * 64 + left.trailing_zeros()))
        })
    }
}

fn place(id: impl Id) -> (usize, u64) {
    let number = id.number();
    (number as usize / 64, 1 << (number % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_and_paths_of_equal_number_are_different_things() {
        let (prefix, path) = (NlriId::from(PrefixId(5)), NlriId::from(PathSlot(5)));
        assert_eq!(prefix.kind(), NlriKind::Prefix(PrefixId(5)));
        assert_eq!(path.kind(), NlriKind::Path(PathSlot(5)));
        let mut set = NlriSet::default();
        assert!(set.insert(path) && !set.contains(prefix) && set.insert(prefix));
        assert_eq!(set.iter().collect::<Vec<_>>(), [prefix, path]);
        assert!(set.remove(path) && set.contains(prefix));
        assert_eq!(set.len(), 1);
    }

    #[test]
    fn keeps_what_was_put_in_and_counts_it_once() {
        let mut set = IdSet::default();
        for id in [0, 63, 64, 500, 64] {
            set.insert(PrefixId(id));
        }
        assert_eq!(set.len(), 4);
        assert!(
            set.contains(PrefixId(63))
                && !set.contains(PrefixId(62))
                && !set.contains(PrefixId(9999))
        );
        assert!(
            set.remove(PrefixId(63)) && !set.remove(PrefixId(63)) && !set.remove(PrefixId(9999))
        );
        assert_eq!(set.iter().map(|id| id.0).collect::<Vec<_>>(), [0, 64, 500]);
    }
}
