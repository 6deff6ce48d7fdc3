//! Things in a row, each with a number that is never reused: put in behind the last, taken out anywhere.
//!
//! The numbers are consecutive, so that one is found where it must be. What is taken out leaves its place empty until
//! it is the first, or until more are empty than not: then a number may stand further in front than it would, and is
//! searched for.

use std::collections::VecDeque;

/// The place of a record. Never reused; zero is before all.
pub(crate) type Sequence = u64;

/// By number, from one on.
#[derive(Debug)]
pub(super) struct Records<T> {
    /// In order of number; the first is not empty.
    places: VecDeque<(Sequence, Option<T>)>,
    len: usize,
    next: Sequence,
}

impl<T> Records<T> {
    pub(super) fn new() -> Records<T> {
        Records {
            places: VecDeque::new(),
            len: 0,
            next: 1,
        }
    }

    /// The number that the next one gets.
    pub(super) fn next(&self) -> Sequence {
        self.next
    }

    pub(super) fn push(&mut self, record: T) -> Sequence {
        let sequence = self.next;
        self.next += 1;
        self.places.push_back((sequence, Some(record)));
        self.len += 1;
        sequence
    }

    pub(super) fn get(&self, sequence: Sequence) -> Option<&T> {
        let index = self.index(sequence)?;
        self.places.get(index)?.1.as_ref()
    }

    pub(super) fn get_mut(&mut self, sequence: Sequence) -> Option<&mut T> {
        let index = self.index(sequence)?;
        self.places.get_mut(index)?.1.as_mut()
    }

    /// The last one that was put in, if it is still there.
    pub(super) fn newest_mut(&mut self) -> Option<(Sequence, &mut T)> {
        let (sequence, record) = self.places.back_mut()?;
        Some((*sequence, record.as_mut()?))
    }

    pub(super) fn remove(&mut self, sequence: Sequence) -> Option<T> {
        let index = self.index(sequence)?;
        let removed = self.places.get_mut(index)?.1.take()?;
        self.len -= 1;
        while let Some((_, None)) = self.places.front() {
            self.places.pop_front();
        }
        if self.places.len() > 2 * self.len + EMPTY_MIN {
            self.places.retain(|(_, record)| record.is_some());
        }
        if self.len == 0 {
            self.places.shrink_to(EMPTY_MIN);
        }
        Some(removed)
    }

    /// Those with this number or a higher one.
    pub(super) fn from(&self, first: Sequence) -> impl Iterator<Item = (Sequence, &T)> {
        let start = match self.expected(first) {
            Some(index) if self.is_at(index, first) => index,
            _ => self.places.partition_point(|(number, _)| *number < first),
        };
        let places = self.places.range(start..);
        places.filter_map(|(sequence, record)| Some((*sequence, record.as_ref()?)))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (Sequence, &mut T)> {
        let places = self.places.iter_mut();
        places.filter_map(|(sequence, record)| Some((*sequence, record.as_mut()?)))
    }

    fn index(&self, sequence: Sequence) -> Option<usize> {
        let index = self.expected(sequence)?;
        if self.is_at(index, sequence) {
            return Some(index);
        }
        let by_number = |(number, _): &(Sequence, _)| *number;
        self.places.binary_search_by_key(&sequence, by_number).ok()
    }

    /// Where it is if none before it has lost its place.
    fn expected(&self, sequence: Sequence) -> Option<usize> {
        let (first, _) = self.places.front()?;
        usize::try_from(sequence.checked_sub(*first)?).ok()
    }

    fn is_at(&self, index: usize, sequence: Sequence) -> bool {
        self.places
            .get(index)
            .is_some_and(|(number, _)| *number == sequence)
    }
}

/// So many empty places are not worth the work.
const EMPTY_MIN: usize = 64;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn it_is_a_map_whose_empty_places_are_bounded() {
        let mut state = 1u64;
        let mut below = |max: u64| {
            // Of Numerical Recipes; good enough to hit every branch.
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223) & 0xffff_ffff;
            (state >> 8) % max
        };
        let (mut records, mut model) = (Records::new(), BTreeMap::new());
        for round in 0..20_000u64 {
            // It grows and shrinks by turns, and some stay for long.
            let grows = round / 1000 % 2 == 0;
            if below(10) < if grows { 8 } else { 2 } {
                let sequence = records.next();
                assert_eq!(records.push(round), sequence);
                assert_eq!(model.insert(sequence, round), None);
                assert_eq!(records.newest_mut().map(|(at, _)| at), Some(sequence));
            }
            let one = below(records.next() + 2);
            assert_eq!(records.get(one), model.get(&one), "{one}");
            if one % 50 != 0 && below(3) > 0 {
                assert_eq!(records.remove(one), model.remove(&one), "{one}");
            }
            let from = below(records.next() + 2);
            let known = model.range(from..).map(|(&at, it)| (at, it)).take(3);
            assert!(records.from(from).take(3).eq(known), "{from}");
            assert!(records.places.len() <= 2 * model.len() + EMPTY_MIN + 1);
        }
        let all: Vec<Sequence> = model.keys().copied().collect();
        for one in all {
            assert_eq!(records.get_mut(one).copied(), model.get(&one).copied());
            assert_eq!(records.remove(one), model.remove(&one));
        }
        assert_eq!(records.from(0).count(), 0);
        assert!(records.places.capacity() <= 2 * EMPTY_MIN);
    }
}
