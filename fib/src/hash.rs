//! Tables for keys that come from our own wishes: the same as std's, and several times faster.

mod near;

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;

pub(crate) use near::{Nearness, PrefixMap, hash_near};

pub(crate) type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// First in, first out, and each one only once.
#[derive(Debug)]
pub(crate) struct Backlog<T> {
    order: VecDeque<T>,
    members: HashSet<T, foldhash::fast::RandomState>,
}

impl<T> Default for Backlog<T> {
    fn default() -> Backlog<T> {
        Backlog {
            order: VecDeque::new(),
            members: HashSet::default(),
        }
    }
}

impl<T: Copy + Eq + Hash> Backlog<T> {
    /// Returns whether it was not there.
    pub(crate) fn insert(&mut self, item: T) -> bool {
        let new = self.members.insert(item);
        if new {
            self.order.push_back(item);
        }
        new
    }

    pub(crate) fn pop_first(&mut self) -> Option<T> {
        let item = self.order.pop_front()?;
        self.members.remove(&item);
        if self.order.is_empty() && self.order.capacity() > KEPT_MAX {
            // The room of a burst is given back.
            *self = Backlog::default();
        }
        Some(item)
    }

    pub(crate) fn contains(&self, item: &T) -> bool {
        self.members.contains(item)
    }

    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }
}

impl<'a, T: Copy + Eq + Hash + 'a> Extend<&'a T> for Backlog<T> {
    fn extend<I: IntoIterator<Item = &'a T>>(&mut self, items: I) {
        for item in items {
            self.insert(*item);
        }
    }
}

const KEPT_MAX: usize = 4096;
