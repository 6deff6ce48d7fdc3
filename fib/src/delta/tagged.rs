//! Keys by what their values are tagged with, so that those of one tag are found without looking at all. Pure.
//!
//! Many keys come and go, and few are asked for: so a key that loses its tag stays in the list, whoever reads the list asks
//! each key's slot, and a list of which most is out of date is made anew.

use std::hash::Hash;

use crate::hash::Map;

/// What the values of a key are found by: of the desired one and of the actual one.
pub(super) type Tags<T> = [Option<T>; 2];

#[derive(Debug)]
pub(super) struct Tagged<K, T>(Map<T, Keys<K>>);

#[derive(Debug)]
struct Keys<K> {
    listed: Vec<K>,
    /// So many different ones have the tag.
    count: usize,
}

impl<K, T> Default for Tagged<K, T> {
    fn default() -> Tagged<K, T> {
        Tagged(Map::default())
    }
}

impl<K> Default for Keys<K> {
    fn default() -> Keys<K> {
        Keys {
            listed: Vec::new(),
            count: 0,
        }
    }
}

impl<K: Copy + Eq + Ord + Hash, T: Copy + Eq + Hash> Tagged<K, T> {
    /// Returns the tag whose list is to be made anew.
    pub(super) fn change(&mut self, key: K, before: Tags<T>, now: Tags<T>) -> Option<T> {
        if before == now {
            return None;
        }
        for tag in distinct(before) {
            if !now.contains(&Some(tag))
                && let Some(keys) = self.0.get_mut(&tag)
            {
                keys.count -= 1;
                if keys.count == 0 {
                    self.0.remove(&tag);
                }
            }
        }
        let mut bloated = None;
        for tag in distinct(now) {
            if !before.contains(&Some(tag)) {
                let keys = self.0.entry(tag).or_default();
                keys.listed.push(key);
                keys.count += 1;
                if keys.listed.len() > 2 * keys.count + UNTIDY_MAX {
                    bloated = Some(tag);
                }
            }
        }
        bloated
    }

    /// Makes a list anew, of the keys that have the tag.
    pub(super) fn tidy(&mut self, tag: T, has_it: impl Fn(&K) -> bool) {
        if let Some(keys) = self.0.get_mut(&tag) {
            keys.listed.retain(has_it);
            keys.listed.sort_unstable();
            keys.listed.dedup();
        }
    }

    /// All that have the tag, some of them more than once, and others that had it.
    pub(super) fn listed(&self, tag: T) -> &[K] {
        self.0.get(&tag).map_or(&[], |keys| &keys.listed)
    }

    pub(super) fn tags(&self) -> impl Iterator<Item = T> {
        self.0.keys().copied()
    }
}

fn distinct<T: Copy + Eq>(tags: Tags<T>) -> impl Iterator<Item = T> {
    let [first, second] = tags;
    let second = second.filter(|_| second != first);
    first.into_iter().chain(second)
}

/// Short lists are not worth it.
const UNTIDY_MAX: usize = 8;
