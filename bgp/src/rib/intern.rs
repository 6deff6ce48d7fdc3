//! Attributes, kept once: equal attributes are one allocation, compared by pointer. They are packed, since most of them
//! are looked at when they come and when they go out, and lie there in between.

use std::hash::{BuildHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use foldhash::quality::FixedState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::wire::Attributes;

/// Attributes, shared by all paths that have them. Equal to another of the same speaker exactly when both
/// are one allocation.
#[derive(Debug, Clone)]
pub struct Interned(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Order of first appearance. What reaches the wire is ordered by it, since addresses differ from
    /// run to run.
    serial: u64,
    packed: Box<[u8]>,
}

impl Interned {
    pub(crate) fn serial(&self) -> u64 {
        self.0.serial
    }

    pub(super) fn packed(&self) -> &[u8] {
        &self.0.packed
    }

    /// As values. They are made anew each time.
    pub fn unpack(&self) -> Attributes {
        Attributes::unpack(&self.0.packed)
    }

    /// Only the next hop, and the link-local one beside it.
    pub(super) fn next_hops(&self) -> (Option<IpAddr>, Option<Ipv6Addr>) {
        Attributes::unpack_next_hops(&self.0.packed)
    }
}

impl PartialEq for Interned {
    fn eq(&self, other: &Interned) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Interned {}

impl Hash for Interned {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.serial.hash(state);
    }
}

/// All attributes that somebody uses, and for a while those that nobody uses any more.
#[derive(Debug)]
pub(crate) struct Interner {
    /// Each with its hash, so that those that are not meant and those that move when the table grows are not looked at: there
    /// the memory of each would have to be waited for.
    table: HashTable<(u64, Interned)>,
    hasher: FixedState,
    next_serial: u64,
    sweep_at: usize,
    /// The last that were looked at, by serial: the next question mostly is about the same. Boxed, since they go from hand
    /// to hand and are large.
    unpacked: Option<(u64, Box<Attributes>)>,
    /// What is being packed.
    scratch: Vec<u8>,
}

impl Interner {
    pub(crate) fn new(seed: u64) -> Interner {
        Interner {
            table: HashTable::new(),
            hasher: FixedState::with_seed(seed),
            next_serial: 0,
            sweep_at: SWEEP_MIN,
            unpacked: None,
            scratch: Vec::new(),
        }
    }

    pub(crate) fn intern(&mut self, attributes: Attributes) -> Interned {
        self.scratch.clear();
        attributes.pack(&mut self.scratch);
        let hash = self.hasher.hash_one(&*self.scratch);
        if self.table.len() >= self.sweep_at {
            self.sweep();
        }
        let is_it = |(of, known): &(u64, Interned)| *of == hash && *known.0.packed == *self.scratch;
        let interned = match self.table.entry(hash, is_it, |(of, _)| *of) {
            Entry::Occupied(known) => known.get().1.clone(),
            Entry::Vacant(place) => {
                let interned = Interned(Arc::new(Shared {
                    serial: self.next_serial,
                    packed: self.scratch.as_slice().into(),
                }));
                self.next_serial += 1;
                place.insert((hash, interned.clone()));
                interned
            }
        };
        self.keep_unpacked(interned.serial(), attributes);
        interned
    }

    fn keep_unpacked(&mut self, serial: u64, attributes: Attributes) {
        match &mut self.unpacked {
            Some((of, place)) => (*of, **place) = (serial, attributes),
            None => self.unpacked = Some((serial, Box::new(attributes))),
        }
    }

    /// As values, which are to be put back.
    pub(crate) fn take(&mut self, interned: &Interned) -> Box<Attributes> {
        match self.unpacked.take() {
            Some((serial, attributes)) if serial == interned.serial() => attributes,
            Some((_, mut place)) => {
                *place = interned.unpack();
                place
            }
            None => Box::new(interned.unpack()),
        }
    }

    /// They are as [`Interner::take`] has given them.
    pub(crate) fn put_back(&mut self, interned: &Interned, attributes: Box<Attributes>) {
        self.unpacked = Some((interned.serial(), attributes));
    }

    /// Somebody needs them no longer. If he was the last, they are gone at once, so that what a peer says anew takes
    /// the memory of what it said before. What a log or a monitor still has is left to the next sweep.
    pub(crate) fn release(&mut self, attributes: Interned) {
        // The table's, and this one.
        if Arc::strong_count(&attributes.0) > 2 {
            return;
        }
        let hash = self.hasher.hash_one(attributes.packed());
        let is_it = |(_, known): &(u64, Interned)| *known == attributes;
        if let Ok(found) = self.table.find_entry(hash, is_it) {
            found.remove();
        }
    }

    /// Forgets what nobody uses. Doing it at each doubling costs a constant per `intern`, and nobody
    /// has to say when he drops attributes.
    fn sweep(&mut self) {
        self.table
            .retain(|(_, known)| Arc::strong_count(&known.0) > 1);
        self.sweep_at = (self.table.len() * 2).max(SWEEP_MIN);
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }
}

const SWEEP_MIN: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn with_med(med: u32) -> Attributes {
        Attributes {
            med: Some(med),
            ..Attributes::default()
        }
    }

    #[test]
    fn equal_attributes_are_one_allocation() {
        let mut interner = Interner::new(0);
        let (one, two) = (interner.intern(with_med(1)), interner.intern(with_med(2)));
        assert_eq!(interner.intern(with_med(1)), one);
        assert_ne!(one, two);
        assert_eq!(interner.len(), 2);
    }

    #[test]
    fn what_the_last_one_gives_back_is_forgotten_at_once() {
        let mut interner = Interner::new(0);
        let (one, again) = (interner.intern(with_med(1)), interner.intern(with_med(1)));
        interner.release(one);
        assert_eq!(interner.len(), 1, "somebody else has them");
        interner.release(again);
        assert_eq!(interner.len(), 0);
    }

    #[test]
    fn what_nobody_uses_is_forgotten_and_what_is_used_is_kept() {
        let mut interner = Interner::new(0);
        let kept = interner.intern(with_med(u32::MAX));
        for med in 0..100_000 {
            interner.intern(with_med(med));
        }
        assert!(interner.len() <= 2 * SWEEP_MIN, "{} kept", interner.len());
        assert_eq!(interner.intern(with_med(u32::MAX)), kept);
    }
}
