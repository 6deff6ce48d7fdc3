//! Notices that someone else keeps undoing what we write. Then repairing pauses between attempts, longer and longer, so
//! that two writers who disagree do not keep the kernel busy. A fight is over when the other has been quiet. Pure.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(crate) struct Fights<K> {
    rounds: HashMap<K, Rounds>,
    /// Keys with more rounds than are at once.
    ongoing: usize,
    /// No fight is over before.
    check_at: Option<Instant>,
    /// Old rounds are looked for when there are so many.
    sweep_at: usize,
}

/// How often somebody undid what we had written to one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rounds {
    pub since: Instant,
    last: Instant,
    pub count: u32,
    /// Who did it last.
    pub by: String,
}

/// What to do about one more round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Round {
    /// Repair at once.
    AtOnce,
    /// Repair after this pause. `first`: the fight has just begun.
    After { pause: Duration, first: bool },
}

impl<K> Default for Fights<K> {
    fn default() -> Fights<K> {
        Fights {
            rounds: HashMap::new(),
            ongoing: 0,
            check_at: None,
            sweep_at: SWEEP_MIN,
        }
    }
}

impl<K: Copy + Eq + Ord + Hash> Fights<K> {
    /// Somebody undid what we had written.
    pub(crate) fn again(&mut self, key: K, by: &str, now: Instant) -> Round {
        if self.rounds.len() >= self.sweep_at {
            self.end_quiet(now);
            self.sweep_at = SWEEP_MIN.max(self.rounds.len() * 2);
        }
        if self.rounds.get(&key).is_some_and(|r| r.is_over(now)) {
            self.remove(&key);
        }
        let rounds = self.rounds.entry(key).or_insert_with(|| Rounds {
            since: now,
            last: now,
            count: 0,
            by: String::new(),
        });
        rounds.last = now;
        rounds.count += 1;
        if rounds.by != by {
            rounds.by = by.into();
        }
        let first = rounds.count == ROUNDS_AT_ONCE + 1;
        if first {
            self.ongoing += 1;
            let end = rounds.end();
            self.check_at = Some(self.check_at.map_or(end, |at| at.min(end)));
        }
        match rounds.pause() {
            Duration::ZERO => Round::AtOnce,
            pause => Round::After { pause, first },
        }
    }

    /// Forgets those who have been quiet. Returns the keys whose fight is over.
    pub(crate) fn end_quiet(&mut self, now: Instant) -> Vec<K> {
        let over: Vec<K> = self
            .rounds
            .iter()
            .filter(|(_, rounds)| rounds.is_over(now))
            .map(|(key, _)| *key)
            .collect();
        let fights = over.iter().filter(|key| self.is_fight(key)).copied();
        let fights: Vec<K> = fights.collect();
        for key in over {
            self.remove(&key);
        }
        self.check_at = self.iter().map(|(_, rounds)| rounds.end()).min();
        fights
    }

    /// When to ask for fights that are over.
    pub(crate) fn next_end(&self) -> Option<Instant> {
        self.check_at
    }

    /// All fights that go on, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &Rounds)> {
        // Most of the time there is none, and rounds of a burst are many.
        let any = self.ongoing > 0;
        let all = any.then(|| self.rounds.iter()).into_iter().flatten();
        all.filter(|(_, rounds)| rounds.count > ROUNDS_AT_ONCE)
    }

    /// How many go on.
    pub(crate) fn ongoing(&self) -> usize {
        self.ongoing
    }

    /// This one goes on.
    pub(crate) fn is_fight(&self, key: &K) -> bool {
        let rounds = self.rounds.get(key);
        rounds.is_some_and(|rounds| rounds.count > ROUNDS_AT_ONCE)
    }

    fn remove(&mut self, key: &K) {
        self.ongoing -= usize::from(self.is_fight(key));
        self.rounds.remove(key);
    }
}

impl Rounds {
    fn pause(&self) -> Duration {
        match self.count.checked_sub(ROUNDS_AT_ONCE) {
            None | Some(0) => Duration::ZERO,
            Some(paused) => (PAUSE_MIN * 2u32.saturating_pow((paused - 1).min(16))).min(PAUSE_MAX),
        }
    }

    /// The other has had time to undo what we wrote after the pause, and has not.
    fn end(&self) -> Instant {
        self.last + self.pause() + QUIET
    }

    fn is_over(&self, now: Instant) -> bool {
        now >= self.end()
    }
}

/// So many times in a row without so much quiet between.
const ROUNDS_AT_ONCE: u32 = 5;
const QUIET: Duration = Duration::from_secs(10);
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(30);
const SWEEP_MIN: usize = 1024;
