//! Containers that were deleted in this run, so that a late report of the datastore does not bring them back.

use std::collections::{HashSet, VecDeque};

/// The last containers that were deleted.
#[derive(Debug, Default)]
pub(super) struct Gone {
    known: HashSet<String>,
    oldest_first: VecDeque<String>,
}

impl Gone {
    /// A late report comes within seconds; nobody deletes so many in that time.
    const MAX: usize = 10_000;

    pub(super) fn insert(&mut self, container_id: &str) {
        if self.known.insert(container_id.to_owned()) {
            self.oldest_first.push_back(container_id.to_owned());
        }
        if self.oldest_first.len() > Gone::MAX
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    pub(super) fn remove(&mut self, container_id: &str) {
        if self.known.remove(container_id) {
            self.oldest_first.retain(|known| known != container_id);
        }
    }

    pub(super) fn contains(&self, container_id: &str) -> bool {
        self.known.contains(container_id)
    }
}
