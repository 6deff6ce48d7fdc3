//! Keys by what their values are tagged with, so that those of one tag are found without looking at all. Pure.

use std::collections::HashSet;
use std::hash::Hash;

use crate::hash::Map;

/// What the values of a key are found by: of the desired one and of the actual one.
pub(super) type Tags<T> = [Option<T>; 2];

#[derive(Debug)]
pub(super) struct Tagged<K, T>(Map<T, HashSet<K, foldhash::fast::RandomState>>);

impl<K, T> Default for Tagged<K, T> {
    fn default() -> Tagged<K, T> {
        Tagged(Map::default())
    }
}

impl<K: Copy + Eq + Hash, T: Copy + Eq + Hash> Tagged<K, T> {
    pub(super) fn change(&mut self, key: K, before: Tags<T>, now: Tags<T>) {
        if before == now {
            return;
        }
        for tag in before.into_iter().flatten() {
            if !now.contains(&Some(tag))
                && let Some(keys) = self.0.get_mut(&tag)
            {
                keys.remove(&key);
                if keys.is_empty() {
                    self.0.remove(&tag);
                }
            }
        }
        for tag in now.into_iter().flatten() {
            if !before.contains(&Some(tag)) {
                self.0.entry(tag).or_default().insert(key);
            }
        }
    }

    pub(super) fn keys(&self, tag: T) -> impl Iterator<Item = &K> {
        self.0.get(&tag).into_iter().flatten()
    }

    pub(super) fn tags(&self) -> impl Iterator<Item = T> {
        self.0.keys().copied()
    }
}
