//! Routes: from dirty prefixes to desired, from pending to the kernel.

use std::collections::HashMap;
use std::time::Instant;

use ipnet::IpNet;
use tracing::{debug, info, warn};

use super::ahead::Batch;
use super::objects::OnObjects;
use super::refusals::BEHIND;
use super::staging::Staged;
use super::{BATCH, HOLD, Worker};
use crate::delta::{Action, RANKS};
use crate::gate;
use crate::kernel::{Kernel, Key, Object, ObjectId, Refusal, Spec, Write, WriteError};
use crate::plan;
use crate::resolve::VXLAN_V6_DEVICE;
use crate::staging::{self, Choice};

impl<K: Kernel> Worker<K> {
    /// Recomputes what is desired for dirty prefixes: all of workloads, and a bounded number of others. While routes move
    /// from one next hop to another, all changes are read first: their nexthop object can follow them only when none of
    /// them is left behind.
    pub(super) async fn resolve_dirty(&mut self, now: Instant) {
        let workloads = std::mem::take(&mut self.dirty.workloads);
        let limit = match self.dirty.unread.moves() {
            true => 0,
            false => self.portion(),
        };
        let others: Vec<IpNet> = std::iter::from_fn(|| self.dirty.prefixes.pop_first())
            .take(limit)
            .collect();
        // A workload's change is read before what stands in front of it: also before the route that takes its place.
        let replaced = self.dirty.unread.will_set(&workloads);
        let any = !workloads.is_empty() || !others.is_empty();
        self.catch_up_with(workloads.iter().chain(&others), now)
            .await;
        for prefix in workloads.into_iter().chain(others) {
            let key = self.key(prefix);
            let choice = self.resolve(&prefix, now);
            let staged = match &choice {
                Some(Choice::Keep(_, why)) => Some(Staged::Kept(why.clone())),
                Some(Choice::Unconfirmed(_, why)) => Some(Staged::Unconfirmed(why.clone())),
                _ => None,
            };
            self.note_stage(prefix, staged, now);
            match choice {
                Some(Choice::Take(spec) | Choice::Unconfirmed(spec, _) | Choice::Keep(spec, _)) => {
                    self.forget_waiting(&prefix);
                    self.routes.set(key, spec);
                    self.delete_superseded(prefix);
                }
                // What the kernel has stays, as if nobody desired it, until the gate lets it go.
                Some(Choice::Wait(waiting)) => {
                    let asked = waiting.unasked();
                    self.gateways.ask(asked);
                    self.waiting.insert(prefix, waiting);
                    self.routes.unset(key, false);
                    if self.routes.is_doubted(&key) {
                        self.read_again(now);
                    }
                    // Nothing is deleted for want of an answer that is on its way.
                    if asked.is_none() {
                        self.ask_gate_about(key);
                        self.unset_superseded(prefix, false);
                    }
                }
                // It stays until that is read.
                None if replaced.contains(&prefix) => {
                    self.forget_waiting(&prefix);
                    self.routes.unset(key, false);
                }
                None => {
                    self.forget_waiting(&prefix);
                    if !self.routes.unset(key, true) {
                        self.ask_gate_about(key);
                    }
                    self.unset_superseded(prefix, true);
                    self.sharing.sweep_soon(now);
                }
            }
            self.dirty.status = true;
        }
        if any {
            // What was permitted to go may be wished for by now.
            self.dirty.leftovers |= self.leftovers.counts().actual > 0;
            self.vteps.note_written();
            self.look_at_retired_tunnels();
        }
    }

    /// How many routes a turn takes in, and resolves: well below a millisecond. More than a batch until so many are in the
    /// queue that deletions stand behind what is to be set; then as many as are written, so that a route is still in the
    /// processor's cache when it is. IPv4 removals are read faster than they are written: the more of them stand in the queue,
    /// the less the kernel has to do for each ([`plan::SCATTERED`]).
    pub(super) fn portion(&self) -> usize {
        match self.routes.queued() >= AHEAD_OF_WRITES {
            _ if self.dirty.unread.removes_v4() => REMOVALS,
            true => BATCH,
            false => BATCH + AHEAD_OF_WRITES,
        }
    }

    fn forget_waiting(&mut self, prefix: &IpNet) {
        if !self.waiting.is_empty() {
            self.waiting.remove(prefix);
        }
    }

    /// A local workload wins over anything else of the same prefix.
    fn resolve(&mut self, prefix: &IpNet, now: Instant) -> Option<Choice> {
        if let Some(devices) = self.wishes.workloads.get(prefix) {
            let surroundings = self.surroundings();
            let ways = devices
                .iter()
                .map(|device| surroundings.workload(prefix, device));
            let mut first_failure = None;
            for way in ways {
                match way {
                    Ok(spec) => return Some(Choice::Take(spec)),
                    Err(waiting) => first_failure = first_failure.or(Some(waiting)),
                }
            }
            return first_failure.map(Choice::Wait);
        }
        let Some(route) = self.wishes.routes.get(prefix) else {
            // A route by an IPv6 VTEP is refused, onlink or not, while the longest route to that VTEP leads through another
            // device: as does the one that is to be replaced, when the VTEP's address is in the block behind it.
            if !self.wishes.vteps.has_host_prefix(prefix) {
                return None;
            }
            let here = self.surroundings().workload(prefix, VXLAN_V6_DEVICE);
            return here.ok().map(Choice::Take);
        };
        let key = self.key(*prefix);
        let (desired, actual) = self.routes.both(&key);
        let on_objects = OnObjects {
            desired: desired.and_then(Spec::object),
            actual: actual.and_then(Spec::object),
        };
        let sharing = &self.sharing;
        let there = actual.map(|actual| move || sharing.expanded(actual));
        let there = there.as_ref().map(|there| there as &dyn Fn() -> Spec);
        let since = self.staging.kept_since(prefix);
        let surroundings = self.surroundings();
        let choice = staging::choose(&surroundings, prefix, route, there, since, now);
        let legs = self.sharing.legs(prefix, route);
        Some(self.share(key, &legs, on_objects, choice))
    }

    /// Writes one batch of at most so many. Returns whether there is more to write.
    pub(super) async fn write_routes(&mut self, limit: usize, now: Instant) -> bool {
        self.collect(usize::MAX, now).await;
        // Objects before the routes on them, and not so many that a workload's route has to wait for the next batch.
        let end = match self.unsettled {
            true => plan::DELETIONS,
            false => RANKS,
        };
        let objects = self.sharing.objects.take_below(end, limit / 2, now);
        let mut batch = self.routes.take_below(end, limit - objects.len(), now);
        if objects.is_empty() && batch.is_empty() {
            if !self.ahead.is_empty() {
                self.catch_up(now).await;
                return true;
            }
            return !self.unsettled && self.delete_leftovers(now);
        }
        self.leave_unresolved(&mut batch);
        self.hold_back(&mut batch, &objects, now);
        let ahead = objects.is_empty() && self.may_run_ahead(&batch);
        let mut writes = self.object_writes(&objects);
        writes.extend(batch.into_iter().map(|(key, action)| {
            let taken_over = self.leftovers.actual(&key).is_some();
            plan::write(key, action, taken_over)
        }));
        if writes.is_empty() {
            // What they wait for may be on its way.
            self.catch_up(now).await;
            return true;
        }
        self.dirty.status = true;
        let routes = writes.len() - objects.len();
        if ahead {
            self.counters.writes += routes as u64;
            self.run_ahead(writes, now).await;
            return true;
        }
        self.catch_up(now).await;
        if self.timing.hold.is_some() {
            self.give_back(objects, &writes);
            return true;
        }
        self.counters.writes += routes as u64;
        self.sharing.writes += objects.len() as u64;
        match self.kernel.write(&writes) {
            Ok(mut outcomes) => {
                self.writer_problem = None;
                let keys: Vec<Key> = writes.iter().filter_map(Write::key).collect();
                let writes = writes.into_iter().skip(objects.len());
                let of_routes = outcomes.split_off(objects.len());
                let mut refused = HashMap::new();
                for ((id, action), outcome) in objects.into_iter().zip(outcomes) {
                    if let Err(refusal) = &outcome {
                        refused.insert(id, refusal.clone());
                    }
                    self.object_written(id, action, outcome, now);
                }
                self.retry_users_of_written(now);
                for (write, outcome) in writes.zip(of_routes) {
                    // The object's reason is the true one.
                    let object = write.object().and_then(|id| refused.get(&id));
                    let outcome = outcome.map_err(|refusal| object.cloned().unwrap_or(refusal));
                    self.route_answered(write, outcome, now);
                }
                // After all of them: the old route may have been written in this batch, too.
                for key in keys {
                    self.delete_superseded(key.prefix);
                }
            }
            Err(error) => {
                warn!(%error, routes, "a batch of routes has no answer; reading the kernel");
                self.give_back(objects, &writes);
                self.unanswered(error, now);
            }
        }
        true
    }

    /// They are to be taken again.
    fn give_back(&mut self, objects: Vec<(ObjectId, Action<Object>)>, writes: &[Write]) {
        for (id, _) in objects {
            self.sharing.objects.requeue(id);
        }
        self.give_back_routes(writes);
    }

    /// The same of those that are routes.
    pub(super) fn give_back_routes(&mut self, writes: &[Write]) {
        for key in writes.iter().filter_map(Write::key) {
            self.routes.requeue(key);
        }
    }

    /// Takes from the batch the routes whose prefix is to be looked at again: what was desired of them may be wrong, as after
    /// the loss of a link, and nothing is written twice.
    fn leave_unresolved(&mut self, batch: &mut Batch) {
        if self.dirty.prefixes.len() == 0 {
            return;
        }
        batch.retain(|(key, _)| {
            let unresolved = self.dirty.prefixes.contains(&key.prefix);
            if unresolved {
                self.routes.requeue(*key);
            }
            !unresolved
        });
    }

    /// It is not known what became of a batch: the kernel is read before anything else is deleted.
    pub(super) fn unanswered(&mut self, error: WriteError, now: Instant) {
        match error {
            WriteError::Overrun => self.counters.overruns += 1,
            WriteError::Failed(reason) => {
                self.counters.lost_batches += 1;
                self.writer_problem = Some(reason);
            }
            WriteError::Behind => {}
        }
        self.unsettled = true;
        if let Some(reading) = &mut self.reading {
            // It may be older than the batch.
            reading.settles = false;
        }
        self.dirty.resync = true;
        self.timing.hold = Some(now + HOLD);
    }

    /// What became of one message.
    pub(super) fn route_answered(
        &mut self,
        write: Write,
        outcome: Result<(), Refusal>,
        now: Instant,
    ) {
        let refusal = match outcome {
            Err(refusal) if !is_gone(&write, &refusal) => {
                return self.refused(&write, refusal, now);
            }
            other => other.err(),
        };
        let Some((key, action)) = plan::action(write) else {
            return;
        };
        if refusal.is_some() && self.routes.is_doubted(&key) {
            // There is none such, and perhaps another.
            self.read_again(now);
        }
        self.written(key, action, now);
    }

    fn written(&mut self, key: Key, action: Action<Spec>, now: Instant) {
        if matches!(action, Action::Set { .. }) && self.leftovers.counts().actual > 0 {
            self.leftovers.report(key, None);
            self.dirty.leftovers = true;
        }
        if !self.holders.is_empty() {
            self.holders.remove(&key);
        }
        self.refusals.forget(&key);
        if matches!(action, Action::Delete(_)) {
            self.removed(&key, now);
            self.refusals.make_room(&key);
        }
        let before = self.routes.done(key, action);
        if before.is_some_and(|spec| spec.object().is_some()) {
            self.sharing.sweep_soon(now);
        }
        self.vteps.note_written();
        self.look_at_retired_tunnels();
    }

    fn refused(&mut self, write: &Write, refusal: Refusal, now: Instant) {
        let Some(key) = write.key() else {
            return;
        };
        if let Write::Set { spec, .. } = write
            && self.routes.desired(&key) != Some(spec)
        {
            // By now something else is desired, to which that does not apply.
            self.routes.requeue(key);
            return;
        }
        let behind = self.refusals.note(key, write, refusal.errno);
        let misled = refusal.misses_object();
        let taken =
            refusal.errno == libc::EEXIST && matches!(write, Write::Set { replace: false, .. });
        let reason = match self.holders.get(&key) {
            Some(protocol) if taken => format!(
                "another route has this prefix and metric: protocol {}",
                gate::protocol_name(*protocol)
            ),
            _ => refusal.reason,
        };
        let first = self.routes.failed(key, now, reason.clone());
        if behind {
            self.routes.reschedule(key, now + BEHIND);
        }
        if self.refusals.is_told(key, first, misled) {
            warn!(prefix = %key.prefix, reason, "route is refused; trying again");
        } else if first {
            debug!(prefix = %key.prefix, reason, "route is refused; reading the kernel and trying again");
        }
        // Something is there that we did not know, or is not there.
        if first && (taken || misled) {
            self.read_again(now);
        }
    }

    /// Last of all, what Calico left and nobody needs any more.
    fn delete_leftovers(&mut self, now: Instant) -> bool {
        // What is not resolved yet may be desired, whatever was permitted before.
        if self.dirty.unresolved() > 0 {
            return false;
        }
        if std::mem::take(&mut self.dirty.leftovers) {
            self.permit_leftovers(now);
        }
        let batch = self.leftovers.take(BATCH, now);
        if batch.is_empty() {
            return false;
        }
        let writes: Vec<Write> = batch
            .into_iter()
            .map(|(key, action)| plan::write(key, action, false))
            .collect();
        self.counters.writes += writes.len() as u64;
        match self.kernel.write(&writes) {
            Ok(outcomes) => {
                self.writer_problem = None;
                for (write, outcome) in writes.into_iter().zip(outcomes) {
                    let failure = outcome.err().filter(|refusal| !is_gone(&write, refusal));
                    let Some((key, action)) = plan::action(write) else {
                        continue;
                    };
                    match failure {
                        Some(refusal) => {
                            self.leftovers.failed(key, now, refusal.reason);
                        }
                        None => {
                            info!(prefix = %key.prefix, "removed a route that others left");
                            self.repairs.counters.leftovers_removed += 1;
                            self.repairs.externals.remove(&key);
                            self.leftovers.done(key, action);
                        }
                    }
                }
            }
            Err(error) => {
                for key in writes.iter().filter_map(Write::key) {
                    self.leftovers.requeue(key);
                }
                self.unanswered(error, now);
            }
        }
        true
    }
}

/// A deletion of what is not there, or of a device that is not there, is done.
fn is_gone(write: &Write, refusal: &Refusal) -> bool {
    matches!(write, Write::Delete { .. }) && refusal.is_absence()
}

const AHEAD_OF_WRITES: usize = BATCH / 4;
const REMOVALS: usize = 4 * BATCH;
