//! Desired, actual, pending: what is wished for, what is there, and the difference. Generic, no I/O, no clock.
//!
//! ```text
//!      desired            actual
//!   ┌───────────┬───────┬───────────┐
//!   │ to set    │ equal │ to delete │   pending = both outer parts, less what may not be deleted
//!   └───────────┴───────┴───────────┘
//! ```
//!
//! Each key has at most one pending action, made from the newest wish. Pending keys stand in queues by rank;
//! a key that failed leaves the queue until its back-off is over, so that it holds nobody back.

mod queue;
mod slot;
mod tagged;
#[cfg(test)]
mod tests;

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::Hash;
use std::time::{Duration, Instant};

use crate::hash::Nearness;
use queue::Queue;
use slot::{Failure, Slot};
use tagged::Tagged;

pub(crate) use slot::{Counts, State};

/// What has to be done to one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action<V> {
    /// Write this value.
    Set {
        /// The value.
        value: V,
        /// What is there was ours at some time of this run: it may be replaced, whatever it is now.
        owned: bool,
    },
    /// Delete this value, which is there.
    Delete(V),
}

/// The order in which actions are taken: the lower rank first. Below [`RANKS`].
pub(crate) type Rank<K, V> = fn(&K, Action<&V>) -> usize;

/// What a value is found by, beside its key: keys that share a tag are listed by [`Delta::tagged`].
pub(crate) type Tag<V, T> = fn(&V) -> Option<T>;

#[derive(Debug)]
pub(crate) struct Delta<K, V, T = u32> {
    slots: Slots<K, V>,
    rank: Rank<K, V>,
    tag: Tag<V, T>,
    tagged: Tagged<K, T>,
    /// Keys by rank. An entry whose slot says another queue, or none, is out of date and is skipped.
    queues: [Queue<K>; RANKS],
    retries: BTreeSet<(Instant, K)>,
    counts: Counts,
    /// Of these the next [`Delta::report_all`] knows nothing, or nothing new.
    kept: HashSet<K, foldhash::fast::RandomState>,
    /// A read is under way: what is heard or done meanwhile is newer than what it will say.
    reading: bool,
}

#[cfg(test)]
impl<V> Action<V> {
    fn as_ref(&self) -> Action<&V> {
        match self {
            Action::Set { value, owned } => Action::Set {
                value,
                owned: *owned,
            },
            Action::Delete(value) => Action::Delete(value),
        }
    }
}

impl<V: Clone> Action<&V> {
    fn cloned(self) -> Action<V> {
        match self {
            Action::Set { value, owned } => Action::Set {
                value: value.clone(),
                owned,
            },
            Action::Delete(value) => Action::Delete(value.clone()),
        }
    }
}

impl<K: Copy + Eq + Ord + Hash, V: Clone + Eq, T: Copy + Eq + Hash> Delta<K, V, T> {
    /// Values have no tags.
    pub(crate) fn new(rank: Rank<K, V>) -> Delta<K, V, T> {
        Delta::with_tags(rank, |_| None)
    }

    pub(crate) fn with_tags(rank: Rank<K, V>, tag: Tag<V, T>) -> Delta<K, V, T> {
        Delta {
            slots: HashMap::default(),
            rank,
            tag,
            tagged: Tagged::default(),
            queues: Default::default(),
            retries: BTreeSet::new(),
            counts: Counts::default(),
            kept: HashSet::default(),
            reading: false,
        }
    }

    /// Keys of this rank are not taken in the order in which they came, when there are very many.
    pub(crate) fn scattering(mut self, rank: usize) -> Delta<K, V, T> {
        self.queues[rank].scatter();
        self
    }

    /// Desires this value. A failure of another value is forgotten, of the same one not.
    pub(crate) fn set(&mut self, key: K, value: V) {
        self.change(key, |slot| {
            slot.withdrawn = false;
            slot.wished = true;
            if slot.desired.as_ref() != Some(&value) {
                slot.desired = Some(value);
                slot.failure = None;
            }
        });
    }

    /// Desires nothing. `withdrawn`: what was desired in this run may go without asking the gate; what is there of an
    /// earlier one, and never was desired since, may not. Returns whether nobody need be asked.
    pub(crate) fn unset(&mut self, key: K, withdrawn: bool) -> bool {
        self.desire_nothing(key, |slot| withdrawn && slot.wished)
    }

    /// Desires nothing, since something else has taken its place: it goes without asking the gate.
    pub(crate) fn discard(&mut self, key: K) {
        self.desire_nothing(key, |_| true);
    }

    fn desire_nothing(&mut self, key: K, at_once: impl FnOnce(&Slot<V>) -> bool) -> bool {
        let mut withdrawn = false;
        self.change(key, |slot| {
            if slot.desired.take().is_some() {
                slot.failure = None;
            }
            slot.withdrawn |= at_once(slot);
            withdrawn = slot.withdrawn;
        });
        withdrawn
    }

    /// Says what is there, from an event or a read.
    pub(crate) fn report(&mut self, key: K, value: Option<V>) {
        self.touch(key);
        if value.is_none() && !self.slots.contains_key(&key) {
            return;
        }
        self.change(key, |slot| {
            slot.owned |= value.is_some();
            slot.actual = value;
            slot.doubted = false;
        });
    }

    /// Says that others have changed or deleted what is there, which may have been before our last write or after it.
    pub(crate) fn doubt(&mut self, key: K) {
        self.touch(key);
        if self.actual(&key).is_some() {
            self.change(key, |slot| slot.doubted = true);
        }
    }

    /// Its action was taken and is not answered yet.
    pub(crate) fn is_underway(&self, key: &K) -> bool {
        self.slots.get(key).is_some_and(|slot| slot.underway)
    }

    /// It is to be deleted, and nobody need be asked.
    pub(crate) fn is_withdrawn(&self, key: &K) -> bool {
        let slot = self.slots.get(key);
        slot.is_some_and(|slot| slot.desired.is_none() && slot.withdrawn)
    }

    pub(crate) fn is_doubted(&self, key: &K) -> bool {
        self.slots.get(key).is_some_and(|slot| slot.doubted)
    }

    /// All that is there is read from now on, and will be told by [`Delta::report_all`]. News that come before it win.
    pub(crate) fn begin_read(&mut self) {
        self.kept.clear();
        self.reading = true;
    }

    /// Nothing will be told.
    pub(crate) fn give_up_read(&mut self) {
        self.kept = HashSet::default();
        self.reading = false;
    }

    /// There are news of this key.
    pub(crate) fn touch(&mut self, key: K) {
        if self.reading {
            self.kept.insert(key);
        }
    }

    /// What the next [`Delta::report_all`] says of this key is not to be believed.
    pub(crate) fn keep(&mut self, key: K) {
        self.kept.insert(key);
    }

    pub(crate) fn is_kept(&self, key: &K) -> bool {
        self.kept.contains(key)
    }

    pub(crate) fn kept(&self) -> impl Iterator<Item = &K> {
        self.kept.iter()
    }

    /// Says all that is there. Returns the keys for which something else was believed, and not doubted.
    pub(crate) fn report_all(&mut self, mut all: HashMap<K, V>) -> Vec<K> {
        let kept = std::mem::take(&mut self.kept);
        self.reading = false;
        all.retain(|key, _| !kept.contains(key));
        let differs = |key: &K, slot: &Slot<V>| {
            slot.doubted || (slot.actual.is_some() && slot.actual.as_ref() != all.get(key))
        };
        let mut wrong: Vec<(K, bool)> = self
            .slots
            .iter()
            .filter(|(key, slot)| differs(key, slot) && !kept.contains(key))
            .map(|(key, slot)| (*key, slot.doubted))
            .collect();
        for (key, _) in &wrong {
            let value = all.remove(key);
            self.report(*key, value);
        }
        wrong.retain(|(_, doubted)| !doubted);
        for (key, value) in all {
            if self.actual(&key) != Some(&value) {
                self.report(key, Some(value));
            }
        }
        wrong.into_iter().map(|(key, _)| key).collect()
    }

    /// Asks the gate about everything that nobody desires.
    pub(crate) fn permit_all(&mut self, may_delete: impl Fn(&K, &V) -> bool) {
        let verdicts: Vec<(K, bool)> = self
            .slots
            .iter()
            .filter(|(_, slot)| slot.desired.is_none())
            .filter_map(|(key, slot)| {
                let verdict = may_delete(key, slot.actual.as_ref()?);
                (verdict != slot.permitted).then_some((*key, verdict))
            })
            .collect();
        for (key, verdict) in verdicts {
            self.change(key, |slot| slot.permitted = verdict);
        }
    }

    /// The gate's word about one key.
    pub(crate) fn permit(&mut self, key: K, verdict: bool) {
        if self.slots.contains_key(&key) {
            self.change(key, |slot| slot.permitted = verdict);
        }
    }

    /// The next actions, by rank, at most `limit`. Each one has to be answered by [`Delta::done`],
    /// [`Delta::failed`] or [`Delta::requeue`].
    pub(crate) fn take(&mut self, limit: usize, now: Instant) -> Vec<(K, Action<V>)> {
        self.take_below(RANKS, limit, now)
    }

    /// The same, of those with a lower rank than this only.
    pub(crate) fn take_below(
        &mut self,
        rank_end: usize,
        limit: usize,
        now: Instant,
    ) -> Vec<(K, Action<V>)> {
        while let Some(&(when, key)) = self.retries.first() {
            if when > now {
                break;
            }
            self.retries.pop_first();
            self.enqueue(key);
        }
        let mut taken = Vec::new();
        for rank in 0..rank_end.min(RANKS) {
            while taken.len() < limit {
                let Some(key) = self.queues[rank].pop() else {
                    break;
                };
                let Some(slot) = self.slots.get_mut(&key) else {
                    continue;
                };
                if slot.queued != Some(rank as u8) {
                    continue;
                }
                slot.queued = None;
                if let Some(action) = slot.action().map(Action::cloned) {
                    slot.underway = true;
                    taken.push((key, action));
                }
            }
        }
        self.queues.iter_mut().for_each(Queue::tidy);
        taken
    }

    /// The action was carried out. Returns what was there before.
    pub(crate) fn done(&mut self, key: K, action: Action<V>) -> Option<V> {
        let mut before = None;
        self.touch(key);
        self.change(key, |slot| {
            slot.failure = None;
            slot.doubted = false;
            slot.underway = false;
            before = match action {
                Action::Set { value, .. } => {
                    slot.owned = true;
                    slot.actual.replace(value)
                }
                Action::Delete(_) => {
                    slot.owned = false;
                    slot.actual.take()
                }
            };
        });
        before
    }

    /// The action failed; it is tried again later. Returns whether this is the first failure in a row.
    pub(crate) fn failed(&mut self, key: K, now: Instant, reason: String) -> bool {
        self.pause(key, |attempts| now + backoff(attempts), reason)
    }

    /// The action is not to be taken before `retry`.
    pub(crate) fn hold(&mut self, key: K, retry: Instant, reason: String) {
        self.pause(key, |_| retry, reason);
    }

    fn pause(&mut self, key: K, until: impl FnOnce(u32) -> Instant, reason: String) -> bool {
        let mut first = false;
        let mut retry = None;
        self.change(key, |slot| {
            // It may stand in a queue already, if it failed without having been taken.
            slot.queued = None;
            slot.underway = false;
            let attempts = slot.failure.as_ref().map_or(0, |f| f.attempts) + 1;
            first = attempts == 1;
            let when = until(attempts);
            retry = Some(when);
            slot.failure = Some(Box::new(Failure {
                attempts,
                retry: when,
                reason,
            }));
        });
        // Where there is nothing to do, nothing has failed.
        if let Some(when) = self.retry_of(&key).filter(|when| retry == Some(*when)) {
            self.retries.insert((when, key));
        }
        first
    }

    /// When this key, which failed, is to be tried again.
    pub(crate) fn retry_of(&self, key: &K) -> Option<Instant> {
        Some(self.slots.get(key)?.failure.as_ref()?.retry)
    }

    /// A key that failed is tried again at another time.
    pub(crate) fn reschedule(&mut self, key: K, retry: Instant) {
        if self.retry_of(&key).is_none() {
            return;
        }
        self.change(key, |slot| {
            slot.queued = None;
            if let Some(failure) = &mut slot.failure {
                failure.retry = retry;
            }
        });
        self.retries.insert((retry, key));
    }

    /// It is not known what became of the action: it is taken again.
    pub(crate) fn requeue(&mut self, key: K) {
        self.change(key, |slot| slot.underway = false);
        self.enqueue(key);
    }

    /// Tries failed keys again now, of those whose desired value is meant.
    pub(crate) fn retry(&mut self, now: Instant, meant: impl Fn(&K, &V) -> bool) {
        let keys: Vec<(Instant, K)> = self
            .retries
            .iter()
            .filter(|(when, _)| *when > now)
            .filter(|(_, key)| self.desired(key).is_some_and(|v| meant(key, v)))
            .copied()
            .collect();
        for entry in keys {
            self.retries.remove(&entry);
            self.enqueue(entry.1);
        }
    }

    /// When the next failed key is to be tried again.
    pub(crate) fn next_retry(&self) -> Option<Instant> {
        self.retries.first().map(|(when, _)| *when)
    }

    /// About how many can be taken now.
    pub(crate) fn queued(&self) -> usize {
        self.queues.iter().map(Queue::len).sum()
    }

    /// Something can be taken now.
    pub(crate) fn has_due(&self) -> bool {
        self.queues.iter().any(|queue| !queue.is_empty())
    }

    pub(crate) fn desired(&self, key: &K) -> Option<&V> {
        self.slots.get(key)?.desired.as_ref()
    }

    pub(crate) fn actual(&self, key: &K) -> Option<&V> {
        self.slots.get(key)?.actual.as_ref()
    }

    /// Desired and actual.
    pub(crate) fn both(&self, key: &K) -> (Option<&V>, Option<&V>) {
        let slot = self.slots.get(key);
        slot.map_or((None, None), |slot| {
            (slot.desired.as_ref(), slot.actual.as_ref())
        })
    }

    /// Desired, and the kernel has it so.
    pub(crate) fn installed(&self, key: &K) -> bool {
        self.slots
            .get(key)
            .is_some_and(|slot| slot.state() == Some(State::Installed))
    }

    pub(crate) fn reason(&self, key: &K) -> Option<&str> {
        Some(self.slots.get(key)?.failure.as_ref()?.reason.as_str())
    }

    /// Every key with its state, the value that is meant (desired, else actual) and why it failed.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, State, &V, Option<&str>)> {
        self.slots.iter().filter_map(|(key, slot)| {
            let value = slot.desired.as_ref().or(slot.actual.as_ref())?;
            let reason = slot.failure.as_ref().map(|f| f.reason.as_str());
            Some((key, slot.state()?, value, reason))
        })
    }

    /// Everything that is there.
    pub(crate) fn all_actual(&self) -> impl Iterator<Item = (&K, &V)> {
        self.slots
            .iter()
            .filter_map(|(key, slot)| Some((key, slot.actual.as_ref()?)))
    }

    /// The keys whose desired or actual value has this tag. One that had another meanwhile may come twice.
    pub(crate) fn tagged(&self, tag: T) -> impl Iterator<Item = &K> {
        let listed = self.tagged.listed(tag).iter();
        listed.filter(move |key| has_tag(&self.slots, self.tag, key, tag))
    }

    /// The tags that some desired or actual value has.
    pub(crate) fn tags(&self) -> impl Iterator<Item = T> {
        self.tagged.tags()
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// The only way to change a slot: keeps counts, queues and tags right, drops empty slots.
    fn change(&mut self, key: K, change: impl FnOnce(&mut Slot<V>)) {
        let mut entry = match self.slots.entry(key) {
            Entry::Occupied(entry) => entry,
            Entry::Vacant(entry) => entry.insert_entry(Slot::empty()),
        };
        let slot = entry.get_mut();
        self.counts.subtract(slot);
        let failed_before = slot.failure.as_ref().map(|f| f.retry);
        let tags_before = slot.tags(self.tag);
        change(slot);
        let untidy = self.tagged.change(key, tags_before, slot.tags(self.tag));
        if slot.desired.is_some() {
            slot.permitted = false;
        }
        let rank = slot.action().map(|action| (self.rank)(&key, action));
        if rank.is_none() {
            slot.failure = None;
        }
        slot.counted = slot.state_with(rank.is_some());
        self.counts.add(slot);
        let failed_now = slot.failure.as_ref().map(|f| f.retry);
        let empty = slot.desired.is_none() && slot.actual.is_none() && !slot.underway;
        if let Some(retry) = failed_before.filter(|_| failed_before != failed_now) {
            self.retries.remove(&(retry, key));
        }
        if empty {
            entry.remove();
        } else if failed_now.is_none() {
            slot.enqueue(key, rank, &mut self.queues);
        }
        if let Some(tag) = untidy {
            let (slots, of) = (&self.slots, self.tag);
            self.tagged.tidy(tag, |key| has_tag(slots, of, key, tag));
        }
    }

    fn enqueue(&mut self, key: K) {
        let Some(slot) = self.slots.get_mut(&key) else {
            return;
        };
        let rank = slot.action().map(|action| (self.rank)(&key, action));
        slot.enqueue(key, rank, &mut self.queues);
    }
}

type Slots<K, V> = HashMap<K, Slot<V>, Nearness>;

fn has_tag<K, V, T>(slots: &Slots<K, V>, of: Tag<V, T>, key: &K, tag: T) -> bool
where
    K: Eq + Hash,
    V: Clone + Eq,
    T: Copy + Eq,
{
    let slot = slots.get(key);
    slot.is_some_and(|slot| slot.tags(of).contains(&Some(tag)))
}

fn backoff(attempts: u32) -> Duration {
    (BACKOFF_MIN * 2u32.saturating_pow(attempts.saturating_sub(1).min(16))).min(BACKOFF_MAX)
}

/// How many ranks there are.
pub(crate) const RANKS: usize = 7;
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
