//! Next hops behind gateways: the kernel is asked for the way, and again when its routes change. And the gate, which
//! needs the same answers.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use super::Worker;
use crate::egress::{self, Way};
use crate::gate::Rule;
use crate::kernel::{Kernel, Key, Refusal, Resolution};
use crate::model::{Encapsulation, Gate, Route};
use crate::resolve::Waiting;

#[derive(Debug, Default)]
pub(super) struct Gateways {
    known: Answers,
    ask: BTreeSet<IpAddr>,
    /// Known ones whose answer may have changed, and when they are asked again: changes come in groups.
    stale: BTreeSet<IpAddr>,
    stale_due: Option<Instant>,
    /// When all known ones are asked again, and when they were last.
    all_due: Option<Instant>,
    all_asked: Option<Instant>,
    /// New answers whose routes have not been looked at yet.
    changed: HashSet<IpAddr>,
    /// As of the last time that the gate was asked about everything.
    pub(super) rule: Rule,
}

/// How the kernel reaches next hops, in ascending order.
type Answers = BTreeMap<IpAddr, Result<Resolution, Refusal>>;

impl Gateways {
    pub(super) fn known(&self) -> &Answers {
        &self.known
    }

    pub(super) fn ask(&mut self, next_hops: impl IntoIterator<Item = IpAddr>) {
        for next_hop in next_hops {
            if !self.known.contains_key(&next_hop) {
                self.ask.insert(next_hop);
            }
        }
    }

    /// After a change that may concern any of them.
    pub(super) fn ask_all_again(&mut self, now: Instant) {
        if self.all_due.is_some() || self.known.is_empty() {
            return;
        }
        let settled = now + SETTLE;
        let rested = self.all_asked.map(|last| last + PAUSE);
        self.all_due = Some(rested.map_or(settled, |rested| rested.max(settled)));
    }

    /// After a change of a route to this prefix: those of other prefixes are reached as before.
    pub(super) fn ask_within_again(&mut self, prefix: &IpNet, now: Instant) {
        if prefix.prefix_len() == 0 {
            return self.ask_all_again(now);
        }
        let within = self.known.range(prefix.network()..=prefix.broadcast());
        self.stale.extend(within.map(|(next_hop, _)| *next_hop));
        self.settle(now);
    }

    /// After the loss of a device.
    pub(super) fn ask_over_again(&mut self, device: u32, now: Instant) {
        let over = self.known.iter().filter(|(_, answer)| match answer {
            Ok(resolution) => resolution.hops.iter().any(|hop| hop.device == device),
            Err(_) => false,
        });
        self.stale.extend(over.map(|(next_hop, _)| *next_hop));
        self.settle(now);
    }

    fn settle(&mut self, now: Instant) {
        if !self.stale.is_empty() {
            self.stale_due.get_or_insert(now + SETTLE);
        }
    }

    /// What is to be asked again by now is asked with the rest.
    fn collect_due(&mut self, now: Instant) {
        let all = self.all_due.is_some_and(|due| due <= now);
        if all {
            self.all_due = None;
            self.all_asked = Some(now);
            self.stale = self.known.keys().copied().collect();
        }
        if all || self.stale_due.is_some_and(|due| due <= now) {
            self.stale_due = None;
            self.ask.append(&mut self.stale);
        }
    }

    pub(super) fn has_due(&self, now: Instant) -> bool {
        !self.ask.is_empty() || self.next_due().is_some_and(|due| due <= now)
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        [self.stale_due, self.all_due].into_iter().flatten().min()
    }
}

impl<K: Kernel> Worker<K> {
    /// Asks for some next hops.
    pub(super) async fn ask_gateways(&mut self, now: Instant) {
        if self.gateways.all_due.is_some_and(|due| due <= now) {
            self.forget_unused_gateways();
        }
        self.gateways.collect_due(now);
        for _ in 0..LOOKUPS_A_TURN {
            let Some(next_hop) = self.gateways.ask.pop_first() else {
                break;
            };
            let answer = self.kernel.resolve(next_hop).await;
            if self.gateways.known.get(&next_hop) != Some(&answer) {
                self.gateways.known.insert(next_hop, answer);
                self.gateways.changed.insert(next_hop);
            }
        }
        // Each time all wishes are walked through.
        if self.gateways.ask.is_empty() || self.gateways.changed.len() >= LOOKED_AT_TOGETHER {
            let changed = std::mem::take(&mut self.gateways.changed);
            self.touch_next_hops(&changed);
            self.dirty.gate |= !changed.is_empty();
        }
    }

    fn forget_unused_gateways(&mut self) {
        let mut used: HashSet<IpAddr> = HashSet::new();
        for route in self.wishes.routes.values() {
            if let Route::Remote { next_hops, .. } = route {
                used.extend(next_hops);
            }
        }
        if let Gate::OpenExcept(peers) = &self.wishes.gate {
            used.extend(peers);
        }
        self.gateways
            .known
            .retain(|next_hop, _| used.contains(next_hop));
    }

    /// Applies the gate to everything that nobody desires.
    pub(super) fn ask_gate(&mut self, now: Instant) {
        // What is not resolved yet may be desired, and is not to be deleted meanwhile.
        if self.dirty.unresolved() > 0 || !std::mem::take(&mut self.dirty.gate) {
            return;
        }
        self.dirty.leftovers = true;
        self.gateways.rule = self.rule();
        let rule = &self.gateways.rule;
        let waiting = &self.waiting;
        let asked = |key: &Key| {
            waiting
                .get(&key.prefix)
                .and_then(Waiting::unasked)
                .is_some()
        };
        let sharing = &self.sharing;
        self.routes.permit_all(|key, spec| {
            !asked(key) && rule.may_delete(spec, sharing.known_hops(spec).as_deref())
        });
        let open = *rule == Rule::Open;
        self.neighbours.permit_all(|_, _| open);
        self.vtep_neighbours.permit_all(|_, _| open);
        self.dirty.status = true;
        self.sharing.sweep_soon(now);
    }

    pub(super) fn ask_gate_about(&mut self, key: Key) {
        // All are asked about soon, or none may go.
        if self.dirty.gate || self.gateways.rule == Rule::Closed {
            return;
        }
        if self.dirty.unread.len() > 0 {
            // A change that is not read yet may desire it: all are asked about when there is none.
            self.dirty.gate = true;
            return;
        }
        if let Some(spec) = self.routes.actual(&key) {
            let hops = self.sharing.known_hops(spec);
            let verdict = self.gateways.rule.may_delete(spec, hops.as_deref());
            self.routes.permit(key, verdict);
        }
    }

    /// The gate, and the gateways by which absent peers would be reached. While a gateway is not known, closed.
    fn rule(&mut self) -> Rule {
        let peers = match &self.wishes.gate {
            Gate::Closed => return Rule::Closed,
            Gate::LocalOnly => return Rule::LocalOnly,
            Gate::Open => return Rule::Open,
            Gate::OpenExcept(peers) => peers,
        };
        let mut protected: HashSet<IpAddr> = peers.iter().copied().collect();
        let mut unknown = Vec::new();
        for peer in peers {
            let way = egress::way(Encapsulation::None, *peer, &self.subnets);
            if way != Way::Gateway {
                continue;
            }
            match self.gateways.known.get(peer) {
                Some(Ok(resolution)) => {
                    protected.extend(resolution.hops.iter().filter_map(|hop| hop.via));
                }
                Some(Err(_)) => {}
                None => unknown.push(*peer),
            }
        }
        if unknown.is_empty() {
            return Rule::Except(protected);
        }
        self.gateways.ask(unknown);
        Rule::Closed
    }
}

const LOOKUPS_A_TURN: usize = 64;
const LOOKED_AT_TOGETHER: usize = 1024;
const SETTLE: Duration = Duration::from_millis(50);
/// Between two times that all are asked again: a router's daemon may change the default route all the time.
const PAUSE: Duration = Duration::from_secs(1);
