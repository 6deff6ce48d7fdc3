//! The whole read: at the start, after lost events, and now and then as a safety net. It is correct on its own;
//! events only make it rare.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::Worker;
use super::events::Owner;
use crate::gate::{self, Foreign};
use crate::kernel::{Kernel, Key, ObjectId, Refusal, Snapshot, Spec};
use crate::world::World;

/// The kernel cannot be read.
#[derive(Debug)]
pub(super) struct ReadProblem {
    pub(super) reason: String,
    attempts: u32,
}

impl<K: Kernel> Worker<K> {
    /// Something is not as believed: the kernel is read, at once if that is rare. What comes in a burst is answered by one
    /// read after it.
    pub(super) fn read_again(&mut self, now: Instant) {
        let due = self.timing.read + READ_PAUSE;
        if self.read_problem.is_some() {
            // It is tried again anyway.
        } else if due <= now {
            self.dirty.resync = true;
        } else {
            self.timing.again = Some(due);
        }
    }

    /// Reads the kernel, and believes it.
    pub(super) async fn resync(&mut self, now: Instant) -> Result<(), Refusal> {
        let snapshot = self.kernel.read().await?;
        self.timing.verify = self.next_verification(now);
        self.timing.again = None;
        self.timing.read = now;
        self.take_over(snapshot, now);
        self.gateways.ask_all_again(now);
        if !self.counters.in_sync {
            let counts = self.routes.counts();
            info!(
                ours = counts.actual,
                leftovers = self.leftovers.counts().actual,
                "read the kernel's routes"
            );
        }
        self.counters.in_sync = true;
        self.counters.resyncs += 1;
        self.unsettled = false;
        if self.read_problem.take().is_some() {
            info!("the kernel's routes can be read again");
        }
        Ok(())
    }

    /// What is believed is still the best that is known: writing goes on with it, and the read is tried again.
    pub(super) fn read_failed(&mut self, refusal: Refusal, now: Instant) {
        self.repairs.counters.failed_reads += 1;
        self.dirty.status = true;
        let before = self.read_problem.take();
        if before.as_ref().is_none_or(|p| p.reason != refusal.reason) {
            warn!(reason = %refusal, "cannot read the kernel's routes; trying again");
        }
        let attempts = before.map_or(0, |problem| problem.attempts) + 1;
        let pause = RETRY_MIN * 2u32.saturating_pow(attempts.min(16) - 1);
        self.timing.again = Some(now + pause.min(RETRY_MAX));
        self.timing.verify = self.next_verification(now);
        self.read_problem = Some(ReadProblem {
            reason: refusal.reason,
            attempts,
        });
    }

    fn take_over(&mut self, snapshot: Snapshot, now: Instant) {
        let before = std::mem::replace(
            &mut self.world,
            World::new(snapshot.links, snapshot.addresses),
        );
        self.compare_carriers(&before);
        let objects = snapshot.objects.as_deref();
        let objects: Option<HashSet<ObjectId>> =
            objects.map(|objects| objects.iter().map(|(id, _)| *id).collect());
        self.sort_objects(snapshot.objects, now);
        self.sort_routes(snapshot.routes, objects.as_ref(), now);
        self.sort_neighbours(snapshot.neighbours);
        self.dirty
            .endpoints
            .extend(self.wishes.endpoints.keys().cloned());
        self.dirty.surroundings = true;
        self.dirty.tunnels = true;
        self.dirty.vteps = true;
        self.dirty.gate = true;
        self.dirty.leftovers = true;
        self.dirty.status = true;
    }

    /// `objects`: the nexthop objects that were read before the routes, if there are such things.
    fn sort_routes(
        &mut self,
        routes: Vec<(Key, Spec)>,
        objects: Option<&HashSet<ObjectId>>,
        now: Instant,
    ) {
        let mut ours = HashMap::new();
        let mut leftovers = HashMap::new();
        let mut externals = HashMap::new();
        let mut before_ours = HashMap::new();
        self.holders.clear();
        self.repairs.shadows.clear();
        for (key, spec) in routes {
            // Its object came while the kernel was read: what is told of both is still on its way.
            if let (Some(id), Some(objects)) = (spec.object(), objects)
                && !objects.contains(&id)
            {
                self.routes.keep(key);
                self.leftovers.keep(key);
                continue;
            }
            if spec.protocol == self.config.protocol {
                if let Some(protocol) = before_ours.get(&key) {
                    self.note_prepended(key, *protocol);
                }
                // Of two with one key, the first is the one that the kernel uses and would replace.
                ours.entry(key).or_insert(spec);
                continue;
            }
            self.note_shadow(key, &spec);
            self.note_borrower(key, &spec);
            match gate::foreign(&spec, &self.world, &self.config.device_prefixes) {
                class @ (Foreign::Leftover | Foreign::External | Foreign::Replaceable) => {
                    if class == Foreign::External {
                        let since = self.repairs.externals.get(&key).copied();
                        externals.insert(key, since.unwrap_or(now));
                    }
                    leftovers.entry(key).or_insert(spec);
                }
                Foreign::Untouchable => {
                    before_ours.insert(key, spec.protocol);
                    if self.routes.desired(&key).is_some() {
                        self.holders.insert(key, spec.protocol);
                    }
                }
            }
        }
        let wrong = self.routes.report_all(ours);
        self.repair_unseen(wrong, now);
        self.forget_intruders();
        self.leftovers.report_all(leftovers);
        self.find_superseded();
        self.repairs.externals = externals;
    }

    fn sort_neighbours(
        &mut self,
        neighbours: Vec<(crate::kernel::NeighbourKey, crate::kernel::NeighbourValue)>,
    ) {
        let mut workloads = HashMap::new();
        let mut vteps = HashMap::new();
        for (key, value) in neighbours {
            match self.neighbour_owner(&key) {
                Some(Owner::Workload) => workloads.insert(key, value),
                Some(Owner::Vtep) => vteps.insert(key, value),
                None => None,
            };
        }
        self.neighbours.report_all(workloads);
        self.vtep_neighbours.report_all(vteps);
    }
}

/// Between two whole reads that events ask for.
const READ_PAUSE: Duration = Duration::from_millis(500);
/// After a read that failed.
const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(10);
