//! Batches that the kernel works on while the next ones are made.
//!
//! ```text
//!   worker   │ make 1 │ make 2 │ make 3 │ 1 done, make 4 │ …
//!   kernel            │   write 1   │   write 2   │   write 3   │ …
//! ```
//!
//! So it is where there are many ordinary routes to write and nothing else. Before anything that depends on what the kernel
//! has — workloads, nexthop objects, events, a whole read, a change of encapsulation or of metrics, another wish for a route
//! that is being written, a device that we take down — all of them are waited for: then there is nothing that could be taken
//! in the wrong order.

use std::time::Instant;

use ipnet::IpNet;
use tracing::warn;

use super::{BATCH_HURRIED, Worker};
use crate::delta::Action;
use crate::kernel::{Kernel, Key, Spec, Write, Written};
use crate::plan;

/// Routes that are being written.
#[derive(Debug)]
pub(super) struct Ahead {
    /// Batches without an answer.
    batches: usize,
    /// Smaller ones are written at once: to wake the thread that writes takes longer.
    pub(super) least: usize,
}

pub(super) type Batch = Vec<(Key, Action<Spec>)>;

impl Default for Ahead {
    fn default() -> Ahead {
        Ahead {
            batches: 0,
            least: BATCH_HURRIED + 1,
        }
    }
}

impl Ahead {
    pub(super) fn is_empty(&self) -> bool {
        self.batches == 0
    }
}

impl<K: Kernel> Worker<K> {
    /// Nothing but its own routes depends on what becomes of this batch.
    pub(super) fn may_run_ahead(&self, batch: &Batch) -> bool {
        batch.len() >= self.ahead.least
            && !self.unsettled
            && self.superseded.is_empty()
            && self.staging.is_quiet()
            && self.wishes.vteps.all_former().next().is_none()
            && !self.tunnels.any_retires()
            && batch.iter().all(|(_, action)| {
                let (Action::Set { value, .. } | Action::Delete(value)) = action;
                !plan::is_workload(value)
            })
    }

    /// Hands a batch to the kernel, and waits only if there are enough before it.
    pub(super) async fn run_ahead(&mut self, writes: Vec<Write>, now: Instant) {
        self.kernel.begin_write(writes);
        self.ahead.batches += 1;
        self.collect(AHEAD_MAX, now).await;
    }

    /// Waits until the kernel has answered everything.
    pub(super) async fn catch_up(&mut self, now: Instant) {
        self.collect(0, now).await;
    }

    /// The same, if one of these prefixes is being written: what is chosen for it depends on what the kernel has of it, and
    /// nobody looks again when the answer comes.
    pub(super) async fn catch_up_with(
        &mut self,
        prefixes: impl Iterator<Item = &IpNet>,
        now: Instant,
    ) {
        let mut prefixes = prefixes;
        let written = |prefix: &IpNet| self.routes.is_underway(&self.key(*prefix));
        if !self.ahead.is_empty() && prefixes.any(written) {
            self.catch_up(now).await;
        }
    }

    /// Takes the answers that are there, and waits for others until at most so many batches are without.
    pub(super) async fn collect(&mut self, left: usize, now: Instant) {
        while !self.ahead.is_empty() {
            // After a failure nothing is left to chance.
            let wait = self.ahead.batches > left || self.timing.hold.is_some();
            let answered = match self.kernel.try_written() {
                Some(answered) => answered,
                None if wait => self.kernel.written().await,
                None => return,
            };
            self.ahead.batches -= 1;
            self.batch_answered(answered, now);
        }
    }

    fn batch_answered(&mut self, answered: Written, now: Instant) {
        let Written { writes, outcomes } = answered;
        match outcomes {
            Ok(outcomes) => {
                self.writer_problem = None;
                for (write, outcome) in writes.into_iter().zip(outcomes) {
                    let key = write.key();
                    self.route_answered(write, outcome, now);
                    if let Some(key) = key {
                        self.delete_superseded(key.prefix);
                    }
                }
            }
            Err(error) => {
                warn!(%error, routes = writes.len(), "a batch of routes has no answer; reading the kernel");
                self.give_back_routes(&writes);
                self.unanswered(error, now);
            }
        }
        self.dirty.status = true;
    }
}

/// One that the kernel works on, and the next, so that it need not wait for it.
const AHEAD_MAX: usize = 2;
