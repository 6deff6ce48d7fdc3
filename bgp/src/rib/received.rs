//! What peers have sent where import policy has made something else of it.
//!
//! A path of the table has the attributes that decision and dissemination work with. Most policies change few paths,
//! so that what was received has no place there: it is here, for those that differ, and a change of policy can
//! judge them anew without asking the peer.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::ids::PrefixId;
use super::intern::Interned;
use super::table::Source;

/// By prefix and source of the path.
#[derive(Debug, Default)]
pub(super) struct Received(HashMap<(PrefixId, Source), Interned, FixedState>);

impl Received {
    /// What was received for a path, where it differs from what is in the table.
    pub(super) fn of(&self, id: PrefixId, source: Source) -> Option<&Interned> {
        if self.0.is_empty() {
            return None;
        }
        self.0.get(&(id, source))
    }

    /// `None`: it is what is in the table.
    pub(super) fn set(&mut self, id: PrefixId, source: Source, received: Option<&Interned>) {
        match received {
            Some(received) => {
                self.0.insert((id, source), received.clone());
            }
            None => self.forget(id, source),
        }
    }

    /// The path is gone.
    pub(super) fn forget(&mut self, id: PrefixId, source: Source) {
        if !self.0.is_empty() {
            self.0.remove(&(id, source));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
