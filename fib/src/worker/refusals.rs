//! What the kernel refuses, by kind, for counters and conditions.

use std::collections::BTreeMap;

use super::Worker;
use crate::counters::Refused;
use crate::hash::Map;
use crate::kernel::{Kernel, Key};

/// Routes that were refused at the last attempt.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    kinds: Map<Key, Refused>,
    /// Since the start.
    pub(super) counted: BTreeMap<Refused, u64>,
}

impl Refusals {
    pub(super) fn note(&mut self, key: Key, errno: i32) {
        let kind = Refused::of(errno);
        *self.counted.entry(kind).or_default() += 1;
        self.kinds.insert(key, kind);
    }

    /// The kernel has taken it.
    pub(super) fn forget(&mut self, key: &Key) {
        if !self.kinds.is_empty() {
            self.kinds.remove(key);
        }
    }
}

impl<K: Kernel> Worker<K> {
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
