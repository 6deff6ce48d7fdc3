//! The whole read: at the start, after lost events, and now and then as a safety net. It is correct on its own;
//! events only make it rare.
//!
//! ```text
//!   begin: devices ─────────────────────────────────────────► world
//!     │ beside: objects, routes, neighbours ─► answer ─┐
//!     └─ news and own writes meanwhile ─► kept ────────┴────► actual
//! ```
//!
//! Devices are few and are read in the loop. The tables take long, so they are read beside it: writing goes on, and
//! where anything was heard or written since the read began, it says nothing new.

mod tables;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use tokio::sync::oneshot::error::TryRecvError;
use tracing::{info, warn};

use super::Worker;
use crate::kernel::{Answer, Devices, Event, Kernel, Refusal, Tables};
use crate::world::World;

/// The kernel cannot be read.
#[derive(Debug)]
pub(super) struct ReadProblem {
    pub(super) reason: String,
    attempts: u32,
}

/// A read that is under way.
#[derive(Debug)]
pub(super) struct Reading {
    answer: Answer,
    arrived: Option<Result<Tables, Refusal>>,
    /// Devices of which the kernel may have dropped something since, without a word.
    disturbed: HashSet<u32>,
    /// No batch was lost since it began.
    pub(super) settles: bool,
    /// An address or a link was lost before it began.
    lost: bool,
}

/// Until the read that is under way has its answer.
pub(super) async fn arrival(reading: &mut Option<Reading>) {
    match reading {
        Some(reading) if reading.arrived.is_none() => {
            let answer = (&mut reading.answer).await;
            reading.arrived = Some(answer.unwrap_or_else(|_| Err(Refusal::lost())));
        }
        Some(_) => {}
        None => std::future::pending().await,
    }
}

impl Reading {
    fn has_arrived(&mut self) -> bool {
        if self.arrived.is_none() {
            self.arrived = match self.answer.try_recv() {
                Ok(answer) => Some(answer),
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Closed) => Some(Err(Refusal::lost())),
            };
        }
        self.arrived.is_some()
    }
}

impl<K: Kernel> Worker<K> {
    /// Something is not as believed: the kernel is read, at once if that is rare. What comes in a burst is answered by one
    /// read after it.
    pub(super) fn read_again(&mut self, now: Instant) {
        let due = self.timing.read + READ_PAUSE;
        if self.read_problem.is_some() && self.reading.is_none() {
            // It is tried again anyway.
        } else if due <= now {
            self.dirty.resync = true;
        } else {
            self.timing.again = Some(due);
        }
    }

    /// Reads the kernel, and waits until that is done.
    pub(super) async fn resync(&mut self, now: Instant) -> Result<(), Refusal> {
        self.begin_read(now).await?;
        arrival(&mut self.reading).await;
        self.end_read(now)
    }

    /// Begins a read that is due, and believes one that has arrived.
    pub(super) async fn tend_read(&mut self, now: Instant) {
        if now >= self.timing.verify {
            self.timing.verify = self.next_verification(now);
            self.dirty.resync = true;
        }
        if self.timing.again.is_some_and(|again| again <= now) {
            self.timing.again = None;
            self.dirty.resync = true;
        }
        if self.dirty.resync && self.reading.is_none() {
            // What is being written belongs to neither side.
            self.catch_up(now).await;
            if let Err(refusal) = self.begin_read(now).await {
                self.read_failed(refusal, now);
            }
        }
        if self.reading.as_mut().is_some_and(Reading::has_arrived) {
            self.catch_up(now).await;
            if let Err(refusal) = self.end_read(now) {
                self.read_failed(refusal, now);
            }
        }
    }

    async fn begin_read(&mut self, now: Instant) -> Result<(), Refusal> {
        self.dirty.resync = false;
        let devices = self.kernel.read_devices().await?;
        self.timing.verify = self.next_verification(now);
        self.timing.again = None;
        self.timing.read = now;
        self.believe_devices(devices);
        self.look_at_forwarding();
        self.routes.begin_read();
        self.leftovers.begin_read();
        self.neighbours.begin_read();
        self.vtep_neighbours.begin_read();
        self.sharing.objects.begin_read();
        self.reading = Some(Reading {
            answer: self.kernel.begin_read(),
            arrived: None,
            disturbed: HashSet::new(),
            settles: true,
            lost: std::mem::take(&mut self.dirty.lost),
        });
        Ok(())
    }

    fn end_read(&mut self, now: Instant) -> Result<(), Refusal> {
        let Some(mut reading) = self.reading.take_if(|reading| reading.has_arrived()) else {
            return Ok(());
        };
        let Some(answer) = reading.arrived.take() else {
            return Ok(());
        };
        let tables = match answer {
            Ok(tables) => tables,
            Err(refusal) => {
                self.routes.give_up_read();
                self.leftovers.give_up_read();
                self.neighbours.give_up_read();
                self.vtep_neighbours.give_up_read();
                self.sharing.objects.give_up_read();
                self.dirty.lost |= reading.lost;
                return Err(refusal);
            }
        };
        self.timing.read = now;
        self.believe_tables(tables, &reading, now);
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
        self.unsettled &= !reading.settles;
        if self.read_problem.take().is_some() {
            info!("the kernel's routes can be read again");
        }
        Ok(())
    }

    /// A writer that was lost is so no more when all is written, or nobody wishes for what was not: no batch will come to show
    /// that it works.
    pub(super) fn look_at_writer(&mut self) {
        if self.writer_problem.is_some() && !self.unsettled && self.is_all_written() {
            self.writer_problem = None;
            self.dirty.status = true;
        }
    }

    /// Of routes, objects and leftovers, nothing is to be written.
    fn is_all_written(&self) -> bool {
        let counts = [
            self.routes.counts(),
            self.leftovers.counts(),
            self.sharing.objects.counts(),
        ];
        counts.iter().all(|counts| counts.pending == 0)
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

    /// What an event says is newer than the read that is under way.
    pub(super) fn note_event(&mut self, event: &Event) {
        let Some(reading) = &mut self.reading else {
            return;
        };
        match event {
            Event::Route { key, .. } | Event::RouteGone { key, .. } => {
                self.routes.touch(*key);
                self.leftovers.touch(*key);
            }
            Event::Object { id, .. } | Event::ObjectGone { id, .. } => {
                self.sharing.objects.touch(*id);
            }
            Event::Neighbour(key, _) | Event::NeighbourGone(key) => {
                self.neighbours.touch(*key);
                self.vtep_neighbours.touch(*key);
            }
            Event::Link(link) if link.up && link.carrier => {}
            Event::Link(link) => {
                reading.disturbed.insert(link.index);
            }
            Event::LinkGone(device) | Event::AddressGone(device, _) => {
                reading.disturbed.insert(*device);
            }
            Event::Address(..) | Event::Overrun | Event::SocketLost(..) | Event::SocketBack(_) => {}
        }
    }

    fn believe_devices(&mut self, devices: Devices) {
        let world = World::new(devices.links, devices.addresses);
        let before = std::mem::replace(&mut self.world, world);
        self.compare_carriers(&before);
        self.dirty
            .endpoints
            .extend(self.wishes.endpoints.keys().cloned());
        self.dirty.surroundings = true;
        self.dirty.tunnels = true;
        self.dirty.vteps = true;
        self.dirty.status = true;
    }
}

/// Between two whole reads that events ask for.
const READ_PAUSE: Duration = Duration::from_millis(500);
/// After a read that failed.
const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(10);
