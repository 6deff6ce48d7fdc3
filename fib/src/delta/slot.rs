//! One key of a [`Delta`](super::Delta): what is wished for it, what is there, and how it is counted.

use std::time::Instant;

use super::queue::Queue;
use super::tagged::Tags;
use super::{Action, RANKS, Tag};

/// How a key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Desired and there.
    Installed,
    /// To be set or deleted.
    Pending,
    /// As pending, and the last attempt failed.
    Failed,
    /// There, desired by nobody, and protected.
    Stale,
}

/// Numbers of keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub desired: usize,
    pub actual: usize,
    pub pending: usize,
    pub failed: usize,
    pub stale: usize,
}

#[derive(Debug)]
pub(super) struct Slot<V> {
    pub(super) desired: Option<V>,
    pub(super) actual: Option<V>,
    pub(super) owned: bool,
    /// Others are said to have changed what is there, and that may be old news: it is written whatever is believed.
    pub(super) doubted: bool,
    /// It was desired at some time of this run.
    pub(super) wished: bool,
    /// Its wish was taken back, or something else has its place: no need to ask whether it may be deleted.
    pub(super) withdrawn: bool,
    /// The gate lets it go.
    pub(super) permitted: bool,
    pub(super) queued: Option<u8>,
    /// As it is counted.
    pub(super) counted: Option<State>,
    /// Its action was taken and is not answered yet: it is not taken again before.
    pub(super) underway: bool,
    /// Boxed, since it is rare and there are many slots.
    pub(super) failure: Option<Box<Failure>>,
}

#[derive(Debug)]
pub(super) struct Failure {
    pub(super) attempts: u32,
    pub(super) retry: Instant,
    pub(super) reason: String,
}

impl<V: Clone + Eq> Slot<V> {
    pub(super) fn empty() -> Slot<V> {
        Slot {
            desired: None,
            actual: None,
            owned: false,
            doubted: false,
            wished: false,
            withdrawn: false,
            permitted: false,
            queued: None,
            counted: None,
            underway: false,
            failure: None,
        }
    }

    pub(super) fn tags<T>(&self, tag: Tag<V, T>) -> Tags<T> {
        [&self.desired, &self.actual].map(|value| value.as_ref().and_then(tag))
    }

    /// Stands in the queue of its action, or in none.
    pub(super) fn enqueue<K>(
        &mut self,
        key: K,
        rank: Option<usize>,
        queues: &mut [Queue<K>; RANKS],
    ) {
        let rank = rank.filter(|_| !self.underway);
        let queued = rank.map(|rank| rank as u8);
        if self.queued != queued {
            self.queued = queued;
            if let Some(rank) = rank {
                queues[rank].push(key);
            }
        }
    }

    pub(super) fn action(&self) -> Option<Action<&V>> {
        match (&self.desired, &self.actual) {
            (Some(desired), actual) if self.doubted || actual.as_ref() != Some(desired) => {
                Some(Action::Set {
                    value: desired,
                    owned: self.owned,
                })
            }
            (None, Some(actual)) if self.withdrawn || self.permitted => {
                Some(Action::Delete(actual))
            }
            _ => None,
        }
    }

    pub(super) fn state(&self) -> Option<State> {
        self.state_with(self.action().is_some())
    }

    /// The same where it is known whether there is something to be done.
    pub(super) fn state_with(&self, to_do: bool) -> Option<State> {
        match (&self.desired, &self.actual) {
            _ if self.failure.is_some() => Some(State::Failed),
            _ if self.underway => Some(State::Pending),
            (None, None) => None,
            _ if to_do => Some(State::Pending),
            (Some(_), _) => Some(State::Installed),
            (None, _) => Some(State::Stale),
        }
    }
}

impl Counts {
    pub(super) fn add<V>(&mut self, slot: &Slot<V>) {
        self.desired += usize::from(slot.desired.is_some());
        self.actual += usize::from(slot.actual.is_some());
        match slot.counted {
            Some(State::Pending) => self.pending += 1,
            Some(State::Failed) => {
                self.pending += 1;
                self.failed += 1;
            }
            Some(State::Stale) => self.stale += 1,
            Some(State::Installed) | None => {}
        }
    }

    pub(super) fn subtract<V>(&mut self, slot: &Slot<V>) {
        self.desired -= usize::from(slot.desired.is_some());
        self.actual -= usize::from(slot.actual.is_some());
        match slot.counted {
            Some(State::Pending) => self.pending -= 1,
            Some(State::Failed) => {
                self.pending -= 1;
                self.failed -= 1;
            }
            Some(State::Stale) => self.stale -= 1,
            Some(State::Installed) | None => {}
        }
    }
}
