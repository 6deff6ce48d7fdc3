//! Sets of prefixes as bits: one bit a prefix and peer is what the Adj-RIBs cost per peer.

/// A prefix of the [`Table`](super::table::Table), for as long as somebody knows it. Reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PrefixId(pub(crate) u32);

impl PrefixId {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// A set of prefixes.
#[derive(Debug, Clone, Default)]
pub(crate) struct IdSet {
    words: Vec<u64>,
    len: usize,
}

impl IdSet {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn contains(&self, id: PrefixId) -> bool {
        let (word, bit) = place(id);
        self.words.get(word).is_some_and(|w| w & bit != 0)
    }

    /// False when it was there already.
    pub(crate) fn insert(&mut self, id: PrefixId) -> bool {
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
    pub(crate) fn remove(&mut self, id: PrefixId) -> bool {
        let (word, bit) = place(id);
        let Some(w) = self.words.get_mut(word) else {
            return false;
        };
        let was = *w & bit != 0;
        *w &= !bit;
        self.len -= usize::from(was);
        was
    }

    /// In order of id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = PrefixId> + '_ {
        self.words.iter().enumerate().flat_map(|(word, &bits)| {
            std::iter::successors((bits != 0).then_some(bits), |&left| {
                let left = left & (left - 1);
                (left != 0).then_some(left)
            })
            .map(move |left| PrefixId(word as u32 * 64 + left.trailing_zeros()))
        })
    }
}

fn place(id: PrefixId) -> (usize, u64) {
    (id.index() / 64, 1 << (id.0 % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

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
