//! The one loop: takes wishes and events, brings the kernel nearer to what is desired, a bounded piece a turn.
//!
//! ```text
//!   commands ─┐                     ┌─► tunnels     devices, addresses, MTU
//!             ├─► wishes ─► dirty ──┼─► endpoints   sysctls, neighbours
//!   events ───┘   world             └─► resolve ─► desired ┐
//!                                         kernel ─► actual ┴─► pending ─► batch of at most 256
//! ```
//!
//! A turn takes a portion of the changes and of the events, and writes at most one batch. Commands are read between
//! turns; what concerns a workload is taken at once, its route stands first in the next batch, and that batch is
//! small: it never waits for more than the batches that are being written, of which there are three at most (`ahead.rs`).

mod ahead;
mod endpoints;
mod events;
mod gateways;
mod objects;
mod refusals;
mod repair;
mod resync;
mod routes;
mod settings;
mod shadows;
mod staging;
mod status;
#[cfg(test)]
mod tests;
mod tunnels;
mod vteps;
mod walks;
mod wishes;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use tokio::sync::{mpsc, oneshot, watch};

use crate::delta::Delta;
use crate::egress::Subnet;
use crate::handle::FibError;
use crate::hash::{Backlog, Map};
use crate::kernel::{Kernel, Key, Lane, NeighbourKey, NeighbourValue, Refusal, Spec};
use crate::model::{Change, Config, FibStatus, RouteStatus};
use crate::netlink::Events;
use crate::plan::{self, Mark};
use crate::resolve::{Surroundings, Waiting};
use crate::settings::Settings;
use crate::sysctl::Sysctls;
use crate::world::World;
use ahead::Ahead;
use endpoints::Endpoints;
use gateways::Gateways;
use objects::Sharing;
use refusals::Refusals;
use repair::Repairs;
use resync::{ReadProblem, Reading};
use settings::Superseded;
use staging::Staging;
use tunnels::TunnelState;
use vteps::VtepState;
use wishes::{Unread, Wishes};

/// What a handle asks of the worker.
#[derive(Debug)]
pub(crate) enum Command {
    Apply(Vec<Change>),
    Settled {
        device: String,
        patience: Duration,
        reply: oneshot::Sender<Result<(), FibError>>,
    },
    /// None of these has its route of a workload any more.
    Gone {
        addresses: Vec<IpAddr>,
        patience: Duration,
        reply: oneshot::Sender<Result<(), FibError>>,
    },
    Routes(oneshot::Sender<Vec<RouteStatus>>),
}

#[derive(Debug)]
pub(crate) struct Worker<K> {
    kernel: K,
    config: Config,
    wishes: Wishes,
    world: World,
    routes: Delta<Key, Spec, Mark>,
    ahead: Ahead,
    /// Nexthop objects that routes share.
    sharing: Sharing,
    /// Routes that Calico left, only ever deleted.
    leftovers: Delta<Key, Spec, Mark>,
    /// Of local workloads.
    neighbours: Delta<NeighbourKey, NeighbourValue>,
    /// Of remote VTEPs: there may be thousands, and no pod waits for them.
    vtep_neighbours: Delta<NeighbourKey, NeighbourValue>,
    /// Desired, but there is no way yet.
    waiting: Map<IpNet, Waiting>,
    /// Why the last batch failed as a whole, if it did.
    writer_problem: Option<String>,
    /// It is not known what became of a batch: nothing is deleted until the kernel is read.
    unsettled: bool,
    read_problem: Option<ReadProblem>,
    /// The read that is under way.
    reading: Option<Reading>,
    /// Reads in a row that had to leave something in doubt.
    doubtful_reads: u32,
    /// Sockets that have failed and are not open again yet, and why.
    lost_sockets: BTreeMap<Lane, String>,
    /// Who has a key that we want and must not take, by protocol number.
    holders: Map<Key, u8>,
    repairs: Repairs,
    refusals: Refusals,
    endpoints: Endpoints,
    gateways: Gateways,
    tunnels: TunnelState,
    staging: Staging,
    vteps: VtepState,
    sysctls: Sysctls,
    settings: Settings,
    superseded: Superseded,
    /// Devices that went down, by index: what was believed to be there of ours was forgotten.
    dropped: BTreeSet<u32>,
    subnets: Vec<Subnet>,
    dirty: Dirty,
    timing: Timing,
    waiters: Vec<Waiter>,
    readers: Vec<oneshot::Sender<Vec<RouteStatus>>>,
    status: watch::Sender<FibStatus>,
    counters: Counters,
    /// Over all routes.
    #[cfg(test)]
    walks: usize,
}

/// What the next turn has to look at again.
#[derive(Debug, Default)]
struct Dirty {
    /// Changes that are not looked at yet.
    unread: Unread,
    /// Addresses of workloads, before all others.
    workloads: BTreeSet<IpNet>,
    prefixes: Backlog<IpNet>,
    /// All routes that have one of these.
    next_hops: HashSet<IpAddr>,
    endpoints: BTreeSet<String>,
    /// Links or addresses of the host or of tunnels.
    surroundings: bool,
    tunnels: bool,
    vteps: bool,
    gate: bool,
    leftovers: bool,
    resync: bool,
    /// An address or a link of the host is lost, and the kernel does not say which routes went with it.
    lost: bool,
    status: bool,
}

#[derive(Debug)]
struct Timing {
    /// Nothing is written before.
    hold: Option<Instant>,
    /// Whole read, if nothing happens.
    verify: Instant,
    /// Whole read, because something was lost.
    again: Option<Instant>,
    /// Of the last whole read.
    read: Instant,
    published: Option<Instant>,
}

#[derive(Debug)]
enum Awaited {
    /// All of this device's endpoint.
    Endpoint(String),
    /// No routes to a workload that had these.
    Gone(Vec<IpAddr>),
}

#[derive(Debug)]
struct Waiter {
    awaited: Awaited,
    patience: Duration,
    deadline: Instant,
    reply: oneshot::Sender<Result<(), FibError>>,
}

#[derive(Debug, Default)]
struct Counters {
    in_sync: bool,
    writes: u64,
    repairs: u64,
    resyncs: u64,
    overruns: u64,
    lost_batches: u64,
}

/// What to do after a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// There is more to do.
    Again,
    /// Nothing before that time, unless something happens.
    At(Instant),
}

impl<K: Kernel> Worker<K> {
    /// Reads the kernel, and is ready for turns.
    pub(crate) async fn start(
        kernel: K,
        config: Config,
        now: Instant,
    ) -> Result<(Worker<K>, watch::Receiver<FibStatus>), Refusal> {
        let (status, receiver) = watch::channel(FibStatus::default());
        let mut worker = Worker {
            kernel,
            wishes: Wishes::default(),
            world: World::default(),
            routes: Delta::with_tags(plan::route, plan::mark).scattering(plan::SCATTERED),
            ahead: Ahead::default(),
            sharing: Sharing::new(config.protocol),
            leftovers: Delta::new(plan::route),
            neighbours: Delta::new(plan::neighbour),
            vtep_neighbours: Delta::new(plan::neighbour),
            waiting: Map::default(),
            writer_problem: None,
            unsettled: false,
            read_problem: None,
            reading: None,
            doubtful_reads: 0,
            lost_sockets: BTreeMap::new(),
            holders: Map::default(),
            repairs: Repairs::new(&config),
            refusals: Refusals::default(),
            endpoints: Endpoints::default(),
            gateways: Gateways::default(),
            tunnels: TunnelState::default(),
            staging: Staging::default(),
            vteps: VtepState::default(),
            sysctls: Sysctls::new(
                config.sysctl_root.clone(),
                config.before_file.clone(),
                config.device_prefixes.clone(),
            ),
            settings: Settings::of(&config),
            superseded: Superseded::default(),
            dropped: BTreeSet::new(),
            subnets: Vec::new(),
            dirty: Dirty::default(),
            timing: Timing {
                hold: None,
                verify: settings::verification(config.verify_interval, now),
                again: None,
                read: now,
                published: None,
            },
            waiters: Vec::new(),
            readers: Vec::new(),
            status,
            counters: Counters::default(),
            #[cfg(test)]
            walks: 0,
            config,
        };
        worker.resync(now).await?;
        worker.look_at_tunnels(now);
        worker.publish(now);
        Ok((worker, receiver))
    }

    /// Works until the last handle is gone. The kernel stays as it is.
    pub(crate) async fn run(
        mut self,
        mut commands: mpsc::UnboundedReceiver<Command>,
        mut events: Events,
    ) {
        loop {
            let next = self.turn(Instant::now()).await;
            match next {
                // The sockets are read by tasks of the same thread.
                Next::Again => tokio::task::yield_now().await,
                Next::At(when) => tokio::select! {
                    biased;
                    command = commands.recv() => match command {
                        Some(command) => self.handle_command(command, Instant::now()),
                        None => return,
                    },
                    Some(event) = events.recv() => self.handle_event(event, Instant::now()),
                    () = resync::arrival(&mut self.reading) => {}
                    () = tokio::time::sleep_until(when.into()) => {}
                },
            }
            loop {
                match commands.try_recv() {
                    Ok(command) => self.handle_command(command, Instant::now()),
                    Err(mpsc::error::TryRecvError::Empty) => break,
                    Err(mpsc::error::TryRecvError::Disconnected) => return,
                }
            }
            if !events.is_empty() {
                // What others did is news against all that we did.
                self.catch_up(Instant::now()).await;
            }
            for _ in 0..EVENTS_A_TURN {
                let Some(event) = events.try_recv() else {
                    break;
                };
                self.handle_event(event, Instant::now());
            }
        }
    }

    pub(crate) fn handle_command(&mut self, command: Command, now: Instant) {
        match command {
            Command::Apply(changes) => {
                self.take_in(changes, now);
                self.dirty.status = true;
            }
            Command::Settled {
                device,
                patience,
                reply,
            } => self.waiters.push(Waiter {
                awaited: Awaited::Endpoint(device),
                patience,
                deadline: now + patience,
                reply,
            }),
            Command::Gone {
                addresses,
                patience,
                reply,
            } => self.waiters.push(Waiter {
                awaited: Awaited::Gone(addresses),
                patience,
                deadline: now + patience,
                reply,
            }),
            Command::Routes(reply) => self.readers.push(reply),
        }
    }

    /// One bounded piece of work.
    pub(crate) async fn turn(&mut self, now: Instant) -> Next {
        self.read_changes(now);
        if self.timing.hold.is_some_and(|hold| hold <= now) {
            self.timing.hold = None;
        }
        self.tend_read(now).await;
        let hurried = !self.dirty.workloads.is_empty();
        self.tend_repairs(now);
        self.look_around();
        self.tend_tunnels(now).await;
        self.tend_endpoints(now).await;
        self.look_at_stages(now);
        self.look_at_former_vteps(now);
        self.tend_vteps();
        self.ask_gateways(now).await;
        self.look_at_next_hops();
        self.resolve_dirty(now).await;
        self.tend_objects(now);
        self.ask_gate(now);
        let mut more = self.write_neighbours(now).await;
        self.look_at_unwritten_vteps();
        if self.timing.hold.is_none() {
            let limit = if hurried { BATCH_HURRIED } else { BATCH };
            more |= self.write_routes(limit, now).await;
        }
        self.finish(now, more)
    }

    fn finish(&mut self, now: Instant, more: bool) -> Next {
        self.answer_waiters(now);
        self.look_at_writer();
        let held = self.timing.hold.is_some();
        let to_read = self.dirty.resync && self.reading.is_none();
        let more = ((more || to_read) && !held)
            || self.dirty.any()
            || self.wishes.vteps.has_changes()
            || self.gateways.has_due(now);
        let recently = self
            .timing
            .published
            .is_some_and(|at| now < at + PUBLISH_INTERVAL);
        // It costs as much as there are routes that wait or are refused: not at each event. That all is done is told at once.
        let told = !recently || (!more && self.is_newly_done());
        if told || !self.readers.is_empty() {
            self.publish(now);
        }
        if self.dirty.unresolved() == 0 {
            for reader in std::mem::take(&mut self.readers) {
                // A reply that nobody waits for any more is no loss.
                reader.send(self.route_statuses()).ok();
            }
        }
        if more {
            return Next::Again;
        }
        if let Some(hold) = self.timing.hold {
            return self.held_until(hold);
        }
        let deadlines = [
            self.routes.next_retry(),
            self.sharing.next_due(),
            // Nothing is deleted before the kernel is read.
            self.leftovers.next_retry().filter(|_| !self.unsettled),
            self.neighbours.next_retry(),
            self.vtep_neighbours.next_retry(),
            self.tunnels.next_due(now),
            self.gateways.next_due(),
            self.repairs.next_due(),
            self.staging.next_due(),
            self.vteps.next_due(&self.wishes.vteps, now),
            self.timing.again,
            self.next_waiter(),
            self.next_publication(),
        ];
        let next = deadlines.into_iter().flatten().min();
        Next::At(next.map_or(self.timing.verify, |next| next.min(self.timing.verify)))
    }

    /// Nothing is pending, and the last status said that something was.
    fn is_newly_done(&self) -> bool {
        self.routes.counts().pending == 0
            && self.waiting.is_empty()
            && self.dirty.unresolved() == 0
            && self.sharing.pending() == 0
            && self.neighbours.counts().pending + self.vtep_neighbours.counts().pending == 0
            && self.status.borrow().pending > 0
    }

    /// What is due before has to wait, or we would wake up for nothing; but for those whose patience ends, and those who
    /// look on.
    fn held_until(&self, hold: Instant) -> Next {
        let others = [self.next_waiter(), self.next_publication()];
        let first = others.into_iter().flatten().min();
        Next::At(first.map_or(hold, |deadline| deadline.min(hold)))
    }

    fn next_publication(&self) -> Option<Instant> {
        let due = self.timing.published.map(|at| at + PUBLISH_INTERVAL);
        due.filter(|_| self.dirty.status)
    }

    fn next_waiter(&self) -> Option<Instant> {
        self.waiters.iter().map(|waiter| waiter.deadline).min()
    }

    fn surroundings(&self) -> Surroundings<'_> {
        Surroundings {
            protocol: self.config.protocol,
            settings: &self.settings,
            world: &self.world,
            subnets: &self.subnets,
            vteps: &self.wishes.vteps,
            unwritten_vteps: &self.vteps.unwritten,
            without_ipip: &self.staging.without_ipip,
            there: None,
            gateways: self.gateways.known(),
        }
    }
}

impl Dirty {
    /// About as many prefixes of which it is not known yet what is desired, or next hops of such.
    fn unresolved(&self) -> usize {
        self.unread.len() + self.workloads.len() + self.prefixes.len() + self.next_hops.len()
    }

    fn any(&self) -> bool {
        self.unresolved() > 0
            || !self.endpoints.is_empty()
            || self.surroundings
            || self.tunnels
            || self.vteps
            || self.gate
    }
}

/// A batch of this size takes one or two milliseconds, and the errors to all of it fit into the smallest receive buffer.
const BATCH: usize = 256;
/// With a workload's route in it, whose answer comes with the answer to the batch.
const BATCH_HURRIED: usize = 32;
/// A fraction of a millisecond.
const EVENTS_A_TURN: usize = 256;
/// After a batch whose answers were lost.
const HOLD: Duration = Duration::from_millis(200);
const PUBLISH_INTERVAL: Duration = Duration::from_millis(20);
