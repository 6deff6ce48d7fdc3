//! Ends of tunnels that are in no resource any more: what a node has sent from its old address, or sends until it knows
//! that it has another one or is none any more, is still taken for a while.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use caracal_filter::Rules;
use ipnet::IpNet;

/// As long as other nodes' tunnels are waited for (docs/adr/0009-staged-encapsulation.md).
const PATIENCE: Duration = Duration::from_secs(300);

/// The ends that have left lately. A restart forgets them.
#[derive(Debug, Default)]
pub(crate) struct Leaving {
    present: BTreeSet<IpNet>,
    until: BTreeMap<IpNet, Instant>,
}

impl Leaving {
    /// Adds to the rules of a new plan those ends that were in the rules before it.
    pub(crate) fn join(&mut self, rules: &mut Rules, now: Instant) {
        let Some(tunnels) = &mut rules.tunnels else {
            *self = Leaving::default();
            return;
        };
        for gone in self.present.difference(&tunnels.ends) {
            self.until.insert(*gone, now + PATIENCE);
        }
        self.present = tunnels.ends.clone();
        let present = &self.present;
        self.until
            .retain(|end, until| now < *until && !present.contains(end));
        tunnels.ends.extend(self.until.keys());
    }

    /// When the next of them goes.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.until.values().min().copied()
    }
}

#[cfg(test)]
mod tests;
