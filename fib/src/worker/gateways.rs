//! Next hops behind gateways: the kernel is asked for the way, and again when its routes change. And the gate, which
//! needs the same answers.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::Worker;
use crate::egress::{self, Way};
use crate::gate;
use crate::kernel::{Kernel, Key, Refusal, Resolution};
use crate::model::{Gate, Route};
use crate::resolve::Waiting;

#[derive(Debug, Default)]
pub(super) struct Gateways {
    known: HashMap<IpAddr, Result<Resolution, Refusal>>,
    ask: BTreeSet<IpAddr>,
    /// All known ones are to be asked again then: changes come in groups.
    again: Option<Instant>,
}

impl Gateways {
    pub(super) fn known(&self) -> &HashMap<IpAddr, Result<Resolution, Refusal>> {
        &self.known
    }

    pub(super) fn ask(&mut self, next_hops: impl IntoIterator<Item = IpAddr>) {
        for next_hop in next_hops {
            if !self.known.contains_key(&next_hop) {
                self.ask.insert(next_hop);
            }
        }
    }

    pub(super) fn ask_all_again(&mut self, now: Instant) {
        if self.again.is_none() && !self.known.is_empty() {
            self.again = Some(now + SETTLE);
        }
    }

    pub(super) fn has_due(&self, now: Instant) -> bool {
        !self.ask.is_empty() || self.again.is_some_and(|again| again <= now)
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.again
    }
}

impl<K: Kernel> Worker<K> {
    /// Asks for some next hops.
    pub(super) async fn ask_gateways(&mut self, now: Instant) {
        if self.gateways.again.is_some_and(|again| again <= now) {
            self.gateways.again = None;
            self.forget_unused_gateways();
            self.gateways.ask = self.gateways.known.keys().copied().collect();
        }
        let mut changed = HashSet::new();
        for _ in 0..LOOKUPS_A_TURN {
            let Some(next_hop) = self.gateways.ask.pop_first() else {
                break;
            };
            let answer = self.kernel.resolve(next_hop).await;
            if self.gateways.known.get(&next_hop) != Some(&answer) {
                self.gateways.known.insert(next_hop, answer);
                changed.insert(next_hop);
            }
        }
        self.touch_next_hops(&changed);
        self.dirty.gate |= !changed.is_empty();
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
        let (gate, protected) = self.effective_gate();
        let waiting = &self.waiting;
        let asked = |key: &Key| {
            waiting
                .get(&key.prefix)
                .and_then(Waiting::unasked)
                .is_some()
        };
        let sharing = &self.sharing;
        self.routes.permit_all(|key, spec| {
            !asked(key) && gate::may_delete(&gate, &protected, &sharing.expanded(spec))
        });
        let open = gate == Gate::Open;
        self.neighbours.permit_all(|_, _| open);
        self.vtep_neighbours.permit_all(|_, _| open);
        self.dirty.status = true;
        self.sharing.sweep_soon(now);
    }

    pub(super) fn ask_gate_about(&mut self, key: Key) {
        let nothing_there = self.routes.actual(&key).is_none();
        if nothing_there || self.dirty.gate || self.wishes.gate == Gate::Closed {
            return;
        }
        let (gate, protected) = self.effective_gate();
        if let Some(spec) = self.routes.actual(&key) {
            let verdict = gate::may_delete(&gate, &protected, &self.sharing.expanded(spec));
            self.routes.permit(key, verdict);
        }
    }

    /// The gate, and the gateways by which absent peers would be reached. While a gateway is not known, closed.
    pub(super) fn effective_gate(&mut self) -> (Gate, HashSet<IpAddr>) {
        let mut protected = HashSet::new();
        if let Gate::OpenExcept(peers) = &self.wishes.gate {
            for peer in peers {
                let way = egress::way(crate::model::Encapsulation::None, *peer, &self.subnets);
                if way != Way::Gateway {
                    continue;
                }
                match self.gateways.known.get(peer) {
                    Some(Ok(resolution)) => {
                        protected.extend(resolution.hops.iter().filter_map(|hop| hop.via));
                    }
                    Some(Err(_)) => {}
                    None => {
                        self.gateways.ask.insert(*peer);
                        return (Gate::Closed, protected);
                    }
                }
            }
        }
        (self.wishes.gate.clone(), protected)
    }
}

const LOOKUPS_A_TURN: usize = 64;
const SETTLE: Duration = Duration::from_millis(50);
