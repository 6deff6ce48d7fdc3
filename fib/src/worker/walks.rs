//! Walks over all routes, for questions that are too rare for an index. With a hundred thousand routes one costs
//! milliseconds: what changes in a turn is collected and asked in one walk, and questions that every write could answer
//! anew have a distance.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::Worker;
use crate::kernel::{Hop, Kernel, Key, ObjectId, Spec, Ways};
use crate::model::Route;

/// When a question is to be asked again.
#[derive(Debug, Default)]
pub(super) struct Pace {
    wanted: bool,
    last: Option<Instant>,
}

impl Pace {
    /// Something has happened that may change the answer.
    pub(super) fn want(&mut self) {
        self.wanted = true;
    }

    pub(super) fn next_due(&self, now: Instant) -> Option<Instant> {
        self.wanted
            .then(|| self.last.map_or(now, |last| last + PAUSE))
    }

    /// It is to be asked now, and is taken as asked.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let due = self.next_due(now).is_some_and(|due| due <= now);
        if due {
            self.asked(now);
        }
        due
    }

    /// The last answer is old enough.
    pub(super) fn may_ask(&self, now: Instant) -> bool {
        self.last.is_none_or(|last| last + PAUSE <= now)
    }

    pub(super) fn asked(&mut self, now: Instant) {
        self.wanted = false;
        self.last = Some(now);
    }
}

impl<K: Kernel> Worker<K> {
    /// Routes that have one of these next hops are looked at again in the next turn.
    pub(super) fn touch_next_hops(&mut self, changed: &HashSet<IpAddr>) {
        self.dirty.next_hops.extend(changed);
    }

    /// Finds the routes that have one of the next hops that have changed: those of all changes that are known.
    pub(super) fn look_at_next_hops(&mut self) {
        if self.dirty.unread.len() > 0 {
            return;
        }
        let changed = std::mem::take(&mut self.dirty.next_hops);
        if changed.is_empty() {
            return;
        }
        self.note_walk();
        for (prefix, route) in self.wishes.routes.iter() {
            if let Route::Remote { next_hops, .. } = route
                && next_hops.iter().any(|hop| changed.contains(hop))
            {
                self.dirty.prefixes.insert(*prefix);
            }
        }
    }

    /// Every way of every route: in the kernel, as desired, or both.
    pub(super) fn each_way(&mut self, mut with: impl FnMut(&Key, &[Hop])) {
        self.note_walk();
        let mut objects: HashMap<ObjectId, Ways> = HashMap::new();
        let actual = self.routes.all_actual();
        // Where both are there, this is the desired one.
        let meant = self.routes.iter().map(|(key, _, spec, _)| (key, spec));
        for (key, spec) in actual.chain(meant) {
            match spec.object() {
                Some(id) => {
                    let hops = objects.entry(id).or_insert_with(|| self.hops_of(spec));
                    with(key, hops);
                }
                None => with(key, spec.hops()),
            }
        }
    }

    /// Whether the wish for this prefix names this next hop.
    pub(super) fn wishes_for(&self, key: &Key, next_hop: &IpAddr) -> bool {
        let route = self.wishes.routes.get(&key.prefix);
        matches!(route, Some(Route::Remote { next_hops, .. }) if next_hops.contains(next_hop))
    }

    /// Where a route leads.
    pub(super) fn hops_of(&self, spec: &Spec) -> Ways {
        self.sharing.hops_of(spec)
    }

    pub(super) fn note_walk(&mut self) {
        #[cfg(test)]
        {
            self.walks += 1;
        }
    }
}

/// Between two walks for the same question.
const PAUSE: Duration = Duration::from_secs(1);
