//! What the worker keeps for changes of encapsulation in stages ([`crate::staging`]).

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::time::Instant;

use ipnet::IpNet;
use tracing::info;

use super::Worker;
use crate::kernel::Kernel;
use crate::resolve::Waiting;
use crate::staging::{self, PATIENCE_KEPT};

#[derive(Debug, Default)]
pub(super) struct Staging {
    /// Nodes that say that they cannot receive IPIP, since when.
    pub(super) without_ipip: HashMap<IpAddr, Instant>,
    /// Routes that are not as they are wanted, or not known to arrive, since when.
    routes: crate::hash::Map<IpNet, (Staged, Instant)>,
    /// When nodes are to be looked at again.
    due: BTreeSet<(Instant, IpAddr)>,
    /// When the time of kept routes is over.
    kept_until: BTreeSet<(Instant, IpNet)>,
}

/// A route in the middle of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Staged {
    /// It keeps the way that it has, and why.
    Kept(Waiting),
    /// It has the wanted way, and why it may not arrive.
    Unconfirmed(Waiting),
}

impl Staged {
    fn is_kept(&self) -> bool {
        matches!(self, Staged::Kept(_))
    }
}

impl Staging {
    pub(super) fn next_due(&self) -> Option<Instant> {
        let node = self.due.first().map(|(when, _)| *when);
        let route = self.kept_until.first().map(|(when, _)| *when);
        node.into_iter().chain(route).min()
    }

    /// A route that is kept for another reason than before is kept no longer for that.
    fn note(&mut self, prefix: IpNet, staged: Option<Staged>, now: Instant) {
        let before = self.routes.remove(&prefix);
        let kept_before = before.and_then(|(staged, since)| staged.is_kept().then_some(since));
        if let Some(since) = kept_before {
            self.kept_until.remove(&(since + PATIENCE_KEPT, prefix));
        }
        if let Some(staged) = staged {
            let since = kept_before.filter(|_| staged.is_kept()).unwrap_or(now);
            let until = since + PATIENCE_KEPT;
            // It may be kept for longer for a silent node, whose own time is in `due`.
            if staged.is_kept() && until > now {
                self.kept_until.insert((until, prefix));
            }
            self.routes.insert(prefix, (staged, since));
        }
    }

    /// The route has kept its way since then.
    pub(super) fn kept_since(&self, prefix: &IpNet) -> Option<Instant> {
        let (staged, since) = self.routes.get(prefix)?;
        staged.is_kept().then_some(*since)
    }

    /// No route is in the middle of a change.
    pub(super) fn is_quiet(&self) -> bool {
        self.routes.is_empty()
    }

    /// Why a route that is in the kernel is not as wanted, in words.
    pub(super) fn reason(&self, prefix: &IpNet) -> Option<String> {
        Some(match &self.routes.get(prefix)?.0 {
            Staged::Kept(waiting) => format!("keeps this way for now: {waiting}"),
            Staged::Unconfirmed(waiting) => waiting.to_string(),
        })
    }

    /// Kept, and unconfirmed.
    pub(super) fn counts(&self) -> (usize, usize) {
        let staged = self.routes.values();
        let kept = staged.filter(|(staged, _)| staged.is_kept()).count();
        (kept, self.routes.len() - kept)
    }

    /// A sentence about kept routes and one about unconfirmed ones, if there are any.
    pub(super) fn conditions(&self) -> Vec<(String, String)> {
        let first = |kept: bool| {
            let mut routes = self.routes.iter();
            let found = routes.find(|(_, (staged, _))| staged.is_kept() == kept);
            found.map(|(prefix, (staged, _))| {
                let (Staged::Kept(waiting) | Staged::Unconfirmed(waiting)) = staged;
                format!("{prefix}: {waiting}")
            })
        };
        let (kept, unconfirmed) = self.counts();
        let mut conditions = Vec::new();
        if let Some(example) = first(true) {
            conditions.push((
                "EncapsulationStaged".to_owned(),
                format!(
                    "routes that keep the way that they have until the encapsulation of their pool can be used: {kept}, of them \
                     {example}. See `caracalctl routes` and docs/operation/encapsulation.md"
                ),
            ));
        }
        if let Some(example) = first(false) {
            conditions.push((
                "EncapsulationUnconfirmed".to_owned(),
                format!(
                    "routes into a tunnel whose far end has not said that it can receive it: {unconfirmed}, of them \
                     {example}. Does the agent of that node run?"
                ),
            ));
        }
        conditions
    }
}

impl<K: Kernel> Worker<K> {
    /// What a node says of itself.
    pub(super) fn set_ipip_end(&mut self, node: IpAddr, ready: bool, now: Instant) {
        let known = self.staging.without_ipip.contains_key(&node);
        if known != ready {
            return;
        }
        if ready {
            self.staging.without_ipip.remove(&node);
        } else {
            self.staging.without_ipip.insert(node, now);
            let due = staging::deadlines(now).map(|when| (when, node));
            self.staging.due.extend(due);
        }
        self.touch_next_hops(&HashSet::from([node]));
    }

    /// Looks whose time is over.
    pub(super) fn look_at_stages(&mut self, now: Instant) {
        let mut over = HashSet::new();
        while let Some((when, node)) = self.staging.due.first().copied() {
            if when > now {
                break;
            }
            self.staging.due.pop_first();
            over.insert(node);
        }
        self.touch_next_hops(&over);
        while let Some((when, prefix)) = self.staging.kept_until.first().copied() {
            if when > now {
                break;
            }
            self.staging.kept_until.pop_first();
            self.dirty.prefixes.insert(prefix);
        }
    }

    pub(super) fn note_stage(&mut self, prefix: IpNet, staged: Option<Staged>, now: Instant) {
        let was_empty = self.staging.routes.is_empty();
        if was_empty && staged.is_none() {
            return;
        }
        self.staging.note(prefix, staged, now);
        match (was_empty, self.staging.routes.is_empty()) {
            (true, false) => info!(%prefix, "a change of encapsulation has begun"),
            (false, true) => info!("all routes have the encapsulation of their pools"),
            _ => {}
        }
    }
}
