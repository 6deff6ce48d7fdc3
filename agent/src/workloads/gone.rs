//! Interfaces of containers that were deleted in this run, so that a late report of the datastore does not bring them back, and
//! a repeated DEL costs little.

use std::collections::{HashSet, VecDeque};

/// The last that were deleted, by container and interface.
#[derive(Debug, Default)]
pub(super) struct Gone {
    known: HashSet<(String, String)>,
    oldest_first: VecDeque<(String, String)>,
}

impl Gone {
    /// A late report comes within seconds; nobody deletes so many in that time.
    const MAX: usize = 10_000;

    pub(super) fn insert(&mut self, place: (String, String)) {
        if self.known.insert(place.clone()) {
            self.oldest_first.push_back(place);
        }
        if self.oldest_first.len() > Gone::MAX
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    pub(super) fn remove(&mut self, place: &(String, String)) {
        if self.known.remove(place) {
            self.oldest_first.retain(|known| known != place);
        }
    }

    pub(super) fn contains(&self, place: &(String, String)) -> bool {
        self.known.contains(place)
    }
}
