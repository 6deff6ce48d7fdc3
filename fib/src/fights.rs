//! Notices that someone else keeps undoing what we write. Then repairing pauses between attempts, so that two writers
//! who disagree do not keep the kernel busy. Pure.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(crate) struct Fights<K> {
    rounds: HashMap<K, Rounds>,
}

#[derive(Debug)]
struct Rounds {
    since: Instant,
    count: u32,
}

impl<K> Default for Fights<K> {
    fn default() -> Fights<K> {
        Fights {
            rounds: HashMap::new(),
        }
    }
}

impl<K: Copy + Eq + Hash> Fights<K> {
    /// One more repair of this key. Returns whether it is a fight by now.
    pub(crate) fn again(&mut self, key: K, now: Instant) -> bool {
        if self.rounds.len() > REMEMBERED_MAX {
            self.rounds
                .retain(|_, rounds| now.duration_since(rounds.since) < WINDOW);
        }
        let rounds = self.rounds.entry(key).or_insert(Rounds {
            since: now,
            count: 0,
        });
        if now.duration_since(rounds.since) >= WINDOW {
            *rounds = Rounds {
                since: now,
                count: 0,
            };
        }
        rounds.count += 1;
        rounds.count > ROUNDS_MAX
    }
}

const WINDOW: Duration = Duration::from_secs(10);
const ROUNDS_MAX: u32 = 5;
const REMEMBERED_MAX: usize = 1024;
