//! Numbers for the paths that ADD-PATH (RFC 7911) announces on their own, so that sets of them can be bits.
//!
//! Only what some group gives out, or what stands at a peer, has a number: without ADD-PATH there are none.

use std::collections::BTreeMap;

use super::ids::{NlriId, NlriKind, PathSlot, PrefixId};

/// All that have a number.
#[derive(Debug, Default)]
pub(super) struct Paths {
    slots: Vec<Slot>,
    free: Vec<PathSlot>,
    index: BTreeMap<(PrefixId, u16), PathSlot>,
}

/// A path of a prefix, by the identifier that we give out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    pub(super) prefix: PrefixId,
    pub(super) path_id: u16,
    /// How many groups desire it.
    wanted: u32,
    /// At how many peers it stands.
    standing: u32,
}

impl Paths {
    pub(super) fn slot(&self, slot: PathSlot) -> &Slot {
        &self.slots[slot.0 as usize]
    }

    /// The prefix that it is, or that it is a path of.
    pub(super) fn prefix(&self, id: NlriId) -> PrefixId {
        match id.kind() {
            NlriKind::Prefix(id) => id,
            NlriKind::Path(slot) => self.slot(slot).prefix,
        }
    }

    /// As it goes out; zero without ADD-PATH.
    pub(super) fn path_id(&self, id: NlriId) -> u32 {
        match id.kind() {
            NlriKind::Prefix(_) => 0,
            NlriKind::Path(slot) => self.slot(slot).path_id.into(),
        }
    }

    /// Those of a prefix, in order of path id.
    pub(super) fn of_prefix(&self, prefix: PrefixId) -> impl Iterator<Item = PathSlot> {
        let range = self.index.range((prefix, 0)..=(prefix, u16::MAX));
        range.map(|(_, &slot)| slot)
    }

    pub(super) fn find(&self, prefix: PrefixId, path_id: u32) -> Option<PathSlot> {
        let path_id = u16::try_from(path_id).ok()?;
        self.index.get(&(prefix, path_id)).copied()
    }

    pub(super) fn find_or_insert(&mut self, prefix: PrefixId, path_id: u16) -> PathSlot {
        if let Some(&known) = self.index.get(&(prefix, path_id)) {
            return known;
        }
        let fresh = Slot {
            prefix,
            path_id,
            wanted: 0,
            standing: 0,
        };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot.0 as usize] = fresh;
                slot
            }
            None => {
                // As for prefixes: so many do not fit into memory.
                let slot = PathSlot(self.slots.len() as u32);
                self.slots.push(fresh);
                slot
            }
        };
        self.index.insert((prefix, path_id), slot);
        slot
    }

    /// A group desires it from now on, or no longer.
    pub(super) fn want(&mut self, slot: PathSlot, wanted: bool) {
        let count = &mut self.slots[slot.0 as usize].wanted;
        *count = if wanted { *count + 1 } else { *count - 1 };
    }

    /// It stands at one peer more, or less.
    pub(super) fn stand(&mut self, slot: PathSlot, stands: bool) {
        let count = &mut self.slots[slot.0 as usize].standing;
        *count = if stands { *count + 1 } else { *count - 1 };
    }

    /// Forgets it if nobody desires it and it stands nowhere; true when it did. Its number may then come
    /// back for another path.
    pub(super) fn release(&mut self, slot: PathSlot) -> bool {
        let Slot {
            prefix,
            path_id,
            wanted,
            standing,
        } = *self.slot(slot);
        if wanted > 0 || standing > 0 || self.index.get(&(prefix, path_id)) != Some(&slot) {
            return false;
        }
        self.index.remove(&(prefix, path_id));
        self.free.push(slot);
        true
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_reused_only_after_release() {
        let mut paths = Paths::default();
        let prefix = PrefixId(7);
        let slot = paths.find_or_insert(prefix, 1);
        assert_eq!(paths.find_or_insert(prefix, 1), slot);
        paths.want(slot, true);
        paths.stand(slot, true);
        paths.want(slot, false);
        assert!(!paths.release(slot), "it stands somewhere");
        let other = paths.find_or_insert(prefix, 2);
        assert_ne!(other, slot);
        assert_eq!(paths.of_prefix(prefix).collect::<Vec<_>>(), [slot, other]);
        assert_eq!(paths.of_prefix(PrefixId(8)).count(), 0);
        paths.stand(slot, false);
        assert!(paths.release(slot) && !paths.release(slot));
        assert_eq!(paths.find_or_insert(PrefixId(8), 9), slot);
        assert_eq!(paths.len(), 2);
    }
}
