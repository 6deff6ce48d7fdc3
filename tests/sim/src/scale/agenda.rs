//! What is going to happen, in order of time, and of being planned where the time is the same.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use caracal_bgp::Time;

/// A heap of small keys; what they stand for stays where it is.
#[derive(Debug)]
pub(super) struct Agenda<T> {
    keys: BinaryHeap<Reverse<(Time, u64, usize)>>,
    planned: u64,
    entries: Vec<Option<T>>,
    free: Vec<usize>,
}

impl<T> Agenda<T> {
    pub(super) fn new() -> Agenda<T> {
        Agenda {
            keys: BinaryHeap::new(),
            planned: 0,
            entries: Vec::new(),
            free: Vec::new(),
        }
    }

    pub(super) fn plan(&mut self, at: Time, what: T) {
        let index = match self.free.pop() {
            Some(index) => {
                self.entries[index] = Some(what);
                index
            }
            None => {
                self.entries.push(Some(what));
                self.entries.len() - 1
            }
        };
        self.planned += 1;
        self.keys.push(Reverse((at, self.planned, index)));
    }

    /// The next, if it is not after `end`.
    pub(super) fn next_until(&mut self, end: Time) -> Option<(Time, T)> {
        let &Reverse((at, _, index)) = self.keys.peek()?;
        if at > end {
            return None;
        }
        self.keys.pop();
        self.free.push(index);
        self.entries[index].take().map(|what| (at, what))
    }
}
