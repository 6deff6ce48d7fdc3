//! Keys that wait for their action. First in, first out; or, where that is dear, from all over the queue.

use std::collections::VecDeque;

#[derive(Debug)]
pub(super) struct Queue<K> {
    keys: VecDeque<K>,
    scattered: bool,
    /// Where the last run was taken from, as a fraction of 2^32.
    place: u32,
    /// So many more in front belong to it.
    left: usize,
}

impl<K> Default for Queue<K> {
    fn default() -> Queue<K> {
        Queue {
            keys: VecDeque::new(),
            scattered: false,
            place: 0,
            left: 0,
        }
    }
}

impl<K> Queue<K> {
    /// A long queue is no more taken in its order, but in short runs from places that are far from one another.
    pub(super) fn scatter(&mut self) {
        self.scattered = true;
    }

    pub(super) fn push(&mut self, key: K) {
        self.keys.push_back(key);
    }

    pub(super) fn pop(&mut self) -> Option<K> {
        if self.scattered && self.left == 0 {
            self.next_run();
        }
        self.left = self.left.saturating_sub(1);
        self.keys.pop_front()
    }

    /// Brings a run to the front, in exchange for the one that is there.
    fn next_run(&mut self) {
        self.left = RUN;
        if self.keys.len() < SCATTERED_MIN {
            return;
        }
        self.place = self.place.wrapping_add(STEP);
        let runs = (self.keys.len() / RUN) as u64;
        let start = ((u64::from(self.place) * runs) >> u32::BITS) as usize * RUN;
        for i in 0..RUN {
            self.keys.swap(i, start + i);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The room of a burst is given back.
    pub(super) fn tidy(&mut self) {
        if self.keys.is_empty() && self.keys.capacity() > KEPT_MAX {
            self.keys = VecDeque::new();
        }
    }
}

/// As many as stand side by side in our tables ([`crate::hash::hash_near`]).
const RUN: usize = 16;
/// A shorter one is taken in its order: there is nothing to gain.
const SCATTERED_MIN: usize = 4096;
/// Of 2^32 the golden ratio: however many places there were, the next one is far from all of them.
const STEP: u32 = 0x9e37_79b9;
const KEPT_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(count: usize, scattered: bool) -> Vec<usize> {
        let mut queue = Queue::default();
        if scattered {
            queue.scatter();
        }
        (0..count).for_each(|key| queue.push(key));
        let taken = std::iter::from_fn(|| queue.pop()).collect();
        queue.tidy();
        assert_eq!(queue.keys.capacity(), 0);
        taken
    }

    #[test]
    fn the_first_in_is_the_first_out() {
        assert!(taken(10_000, false).is_sorted());
    }

    #[test]
    fn each_is_taken_once_and_with_its_neighbours() {
        let order = taken(100_000, true);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..100_000));
        let breaks = order.windows(2).filter(|pair| pair[0] + 1 != pair[1]);
        assert!(breaks.count() <= 100_000 / RUN);
    }

    #[test]
    fn while_a_long_one_empties_no_part_of_it_is_spared() {
        let order = taken(64_000, true);
        let mut parts = [0; 64];
        order[..16_000]
            .iter()
            .for_each(|key| parts[key / 1000] += 1);
        assert!(
            parts.iter().all(|&part| (100..400).contains(&part)),
            "{parts:?}"
        );
    }

    #[test]
    fn a_short_one_keeps_its_order() {
        let mut queue = Queue::default();
        queue.scatter();
        (0..SCATTERED_MIN - 1).for_each(|key| queue.push(key));
        assert!(std::iter::from_fn(|| queue.pop()).is_sorted());
    }
}
