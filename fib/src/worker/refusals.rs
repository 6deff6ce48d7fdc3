//! What the kernel refuses, by kind, for counters and conditions; and who is first when a table that is full has room again.
//!
//! While there is no room, only the route that is to be first knocks at the door, once a second at least: all the others wait
//! behind it, or whoever happens to be tried first would take the place of a workload.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::Worker;
use crate::counters::Refused;
use crate::delta::Action;
use crate::hash::Map;
use crate::kernel::{Kernel, Key, Write};
use crate::plan;

/// Routes that were refused at the last attempt.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    kinds: Map<Key, Refused>,
    /// Those that found no room, by family, with their rank.
    full: [BTreeSet<(usize, Key)>; 2],
    /// Places that became free since the last look, by family.
    room: [usize; 2],
    /// Of these the object was not there, which was not told: it may have gone with its device a moment ago.
    misled: BTreeSet<Key>,
    /// Since the start.
    pub(super) counted: BTreeMap<Refused, u64>,
}

impl Refusals {
    /// Returns whether it is to wait for room behind others.
    pub(super) fn note(&mut self, key: Key, write: &Write, errno: i32) -> bool {
        let kind = Refused::of(errno);
        *self.counted.entry(kind).or_default() += 1;
        self.kinds.insert(key, kind);
        let Write::Set { spec, .. } = write else {
            return false;
        };
        let action = Action::Set {
            value: spec,
            owned: false,
        };
        let entry = (plan::route(&key, action), key);
        let full = &mut self.full[family(&key)];
        if kind != Refused::Full {
            full.remove(&entry);
            return false;
        }
        full.insert(entry);
        full.first() != Some(&entry)
    }

    /// Whether a refusal is to be told, `first` in a row or not: not the first for want of an object, which is written again at
    /// once, but the one after it.
    pub(super) fn is_told(&mut self, key: Key, first: bool, misses_object: bool) -> bool {
        match first && misses_object {
            true => {
                self.misled.insert(key);
                false
            }
            false => self.misled.remove(&key) || first,
        }
    }

    /// The kernel has taken it.
    pub(super) fn forget(&mut self, key: &Key) {
        if !self.misled.is_empty() {
            self.misled.remove(key);
        }
        if !self.kinds.is_empty() && self.kinds.remove(key) == Some(Refused::Full) {
            self.make_room(key);
        }
    }

    /// There may be room where this one was, or beside it.
    pub(super) fn make_room(&mut self, key: &Key) {
        let family = family(key);
        if !self.full[family].is_empty() {
            self.room[family] += 1;
        }
    }
}

fn family(key: &Key) -> usize {
    usize::from(key.prefix.addr().is_ipv6())
}

impl<K: Kernel> Worker<K> {
    /// Who found no room is tried again in its turn: two for each place that is free, and else the first of all.
    pub(super) fn look_for_room(&mut self, now: Instant) {
        for family in 0..self.refusals.full.len() {
            let room = std::mem::take(&mut self.refusals.room[family]);
            let full = &mut self.refusals.full[family];
            if full.is_empty() {
                continue;
            }
            let (routes, kinds) = (&self.routes, &self.refusals.kinds);
            let waits =
                |key: &Key| kinds.get(key) == Some(&Refused::Full) && routes.reason(key).is_some();
            while full.first().is_some_and(|(_, key)| !waits(key)) {
                full.pop_first();
            }
            let first = full.first().map(|(_, key)| *key);
            let more = full.iter().map(|(_, key)| *key);
            let woken: Vec<Key> = more.filter(waits).take(room.saturating_mul(2)).collect();
            for key in &woken {
                self.routes.reschedule(*key, now);
            }
            let latest = now + KNOCK;
            if let Some(key) = first
                && self.routes.retry_of(&key).is_some_and(|when| when > latest)
            {
                self.routes.reschedule(key, latest);
            }
        }
    }

    /// Conditions on routes that the kernel refuses now: one for a full table, and one for all else.
    pub(super) fn refusal_conditions(&mut self) -> Vec<(String, String)> {
        let routes = &self.routes;
        // Wishes that were taken back while they were refused.
        self.refusals
            .kinds
            .retain(|key, _| routes.reason(key).is_some());
        let mut conditions = Vec::new();
        for (name, full) in [("TableFull", true), ("RouteRefused", false)] {
            let kinds = self.refusals.kinds.iter();
            let mut meant: Vec<_> = kinds
                .filter(|(_, kind)| (**kind == Refused::Full) == full)
                .collect();
            meant.sort_unstable();
            let Some((key, kind)) = meant.first() else {
                continue;
            };
            let reason = self.routes.reason(key).unwrap_or_default();
            let advice = kind.advice();
            conditions.push((
                name.into(),
                format!(
                    "the kernel refuses {} routes, of them {}: {reason}. They are tried again, others go on; {advice}",
                    meant.len(),
                    key.prefix
                ),
            ));
        }
        conditions
    }
}

/// Room that others make is found after so long.
const KNOCK: Duration = Duration::from_secs(1);
/// Who waits behind the first is tried once in a while all the same.
pub(super) const BEHIND: Duration = Duration::from_secs(300);
