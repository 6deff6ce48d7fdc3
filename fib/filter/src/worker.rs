//! The thread's loop: takes wishes and news in, and makes the kernel equal to the wishes when it is time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, warn};

use crate::events::{Events, Foreign};
use crate::handle::FilterError;
use crate::model::{Counters, FilterStatus, Rules};
use crate::remove::commit;
use crate::socket::{Failure, Netfilter};
use crate::table::Table;
use crate::{compile, conntrack, difference, keep, read};

/// What handles ask for.
#[derive(Debug)]
pub(crate) enum Command {
    Set(Box<Rules>, Standing),
    Forget(Vec<IpAddr>, oneshot::Sender<Result<u64, FilterError>>),
    Count(oneshot::Sender<Result<Counters, FilterError>>),
}

/// What becomes of that which stands and is not wished for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Replaced,
    Kept,
}

/// All state of the thread.
pub(crate) struct Worker {
    kernel: Option<Kernel>,
    desired: Option<Rules>,
    standing: Standing,
    actual: Actual,
    /// Chains that this kernel does not take, and why: the others do without them.
    refused: BTreeMap<&'static str, String>,
    /// When somebody else's changes were put right lately.
    repaired: VecDeque<Instant>,
    /// They are so many that repairing pauses.
    fight: bool,
    /// Somebody else changed the table since it was read.
    foreign: Option<Foreign>,
    /// When to make the kernel equal to the wishes next.
    due: Option<Instant>,
    backoff: Duration,
    status: watch::Sender<FilterStatus>,
}

/// The sockets.
struct Kernel {
    netfilter: Netfilter,
    events: Events,
}

/// What we know of the kernel's table.
#[derive(Debug)]
enum Actual {
    Unknown,
    /// Our own last write, or what was read; `None`: there is no table.
    Known(Option<Table>),
}

impl Worker {
    pub(crate) fn new() -> (Worker, watch::Receiver<FilterStatus>) {
        let (status, receiver) = watch::channel(FilterStatus::default());
        let worker = Worker {
            kernel: None,
            desired: None,
            standing: Standing::Replaced,
            actual: Actual::Unknown,
            refused: BTreeMap::new(),
            repaired: VecDeque::new(),
            fight: false,
            foreign: None,
            due: None,
            backoff: BACKOFF_MIN,
            status,
        };
        (worker, receiver)
    }

    pub(crate) async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        loop {
            tokio::select! {
                // Whoever has no handle any more must not take its successor's writes for a stranger's.
                biased;
                command = commands.recv() => match command {
                    None => return,
                    // Whatever has queued up behind it is taken in before the kernel is written.
                    Some(first) => {
                        let more = std::iter::from_fn(|| commands.try_recv().ok());
                        let batch: Vec<Command> = std::iter::once(first).chain(more).collect();
                        self.handle(batch);
                    }
                },
                foreign = next_event(&mut self.kernel) => self.handle_event(foreign),
                () = at(self.due) => {}
            }
            if self.due.is_some_and(|due| due <= Instant::now()) {
                self.reconcile();
            }
        }
    }

    fn handle(&mut self, batch: Vec<Command>) {
        let mut forgotten = BTreeSet::new();
        let mut waiting = Vec::new();
        for command in batch {
            match command {
                Command::Set(rules, standing) => {
                    if self.desired.as_ref() != Some(&*rules) || self.standing != standing {
                        self.desired = Some(*rules);
                        self.standing = standing;
                        self.due = Some(Instant::now());
                        self.settle(false);
                    }
                }
                Command::Forget(addresses, reply) => {
                    forgotten.extend(addresses);
                    waiting.push(reply);
                }
                Command::Count(reply) => {
                    reply.send(self.counters()).ok();
                }
            }
        }
        if !waiting.is_empty() {
            self.forget(&forgotten, waiting);
        }
    }

    /// All at once: a look at the kernel's table costs the same for one address and for many.
    fn forget(
        &mut self,
        addresses: &BTreeSet<IpAddr>,
        waiting: Vec<oneshot::Sender<Result<u64, FilterError>>>,
    ) {
        let outcome = conntrack::forget(addresses)
            .map_err(|failure| FilterError::Netlink(format!("conntrack: {failure}")));
        self.status.send_modify(|status| match &outcome {
            Ok(deleted) => status.conntrack_deleted += deleted,
            Err(_) => status.conntrack_failures += 1,
        });
        for reply in waiting {
            reply.send(outcome.clone()).ok();
        }
    }

    fn counters(&mut self) -> Result<Counters, FilterError> {
        match &mut self.kernel {
            None => Ok(Counters::default()),
            Some(kernel) => read::counters(&mut kernel.netfilter)
                .map_err(|failure| FilterError::Netlink(failure.to_string())),
        }
    }

    fn handle_event(&mut self, foreign: io::Result<Foreign>) {
        let now = Instant::now();
        match foreign {
            Ok(foreign) => {
                self.actual = Actual::Unknown;
                self.foreign = Some(foreign);
                let pause = match self.fighting(now) {
                    true => FIGHT_PAUSE,
                    false => Duration::ZERO,
                };
                let when = now + pause;
                self.due = Some(self.due.map_or(when, |due| due.min(when)));
            }
            Err(error) => {
                warn!(%error, "nf_tables: events are lost; the sockets are opened anew");
                self.kernel = None;
                self.due = Some(now + self.next_backoff());
            }
        }
    }

    /// Whether somebody else keeps undoing what we write. Then repairing pauses.
    fn fighting(&mut self, now: Instant) -> bool {
        while self
            .repaired
            .front()
            .is_some_and(|at| now.duration_since(*at) > FIGHT_WINDOW)
        {
            self.repaired.pop_front();
        }
        // It lasts until there was nothing to put right for a whole window.
        self.fight = match self.fight {
            true => !self.repaired.is_empty(),
            false => self.repaired.len() > FIGHT_ROUNDS,
        };
        self.fight
    }

    /// Makes the kernel equal to the wishes, or says why not and when it is tried again.
    fn reconcile(&mut self) {
        self.due = None;
        if self.desired.is_none() {
            self.foreign = None;
            return;
        }
        let now = Instant::now();
        if self.status.borrow().settled {
            // Nothing new was wished for: what is there is looked at again, and what was refused is tried again.
            self.actual = Actual::Unknown;
            self.refused.clear();
        }
        let mut outcome = Err(Failure::Stale);
        for _ in 0..ATTEMPTS_MAX {
            outcome = self.attempt();
            match &outcome {
                Err(Failure::Stale) => self.actual = Actual::Unknown,
                Err(Failure::Refused { .. }) if self.leave_out(&outcome) => {}
                _ => break,
            }
        }
        let failure = match outcome {
            Ok(()) => {
                self.backoff = BACKOFF_MIN;
                self.due = Some(now + VERIFY_INTERVAL);
                None
            }
            Err(failure) => {
                self.actual = Actual::Unknown;
                if matches!(failure, Failure::Socket(_)) {
                    self.kernel = None;
                }
                self.due = Some(now + self.next_backoff());
                Some(failure)
            }
        };
        let fought = self.fighting(now);
        if fought {
            // To say when it is over.
            self.due = self
                .due
                .map(|due| due.min(now + FIGHT_WINDOW + FIGHT_PAUSE));
        }
        self.tell(failure, fought);
    }

    /// One reading, if needed, and one transaction, if needed.
    fn attempt(&mut self) -> Result<(), Failure> {
        let kernel = match &mut self.kernel {
            Some(kernel) => kernel,
            none => none.insert(Kernel::open()?),
        };
        let netfilter = &mut kernel.netfilter;
        let generation = match &self.actual {
            Actual::Known(_) => read::generation(netfilter)?,
            Actual::Unknown => {
                let (generation, table) = read::table(netfilter)?;
                self.actual = Actual::Known(table);
                generation
            }
        };
        let (Actual::Known(actual), Some(rules)) = (&self.actual, &self.desired) else {
            return Ok(());
        };
        let mut desired = compile::table(rules, &self.refused);
        if self.standing == Standing::Kept
            && let Some(actual) = actual
        {
            desired = keep::joined(actual, desired);
        }
        let changes = difference::changes(actual.as_ref(), desired.as_ref());
        let foreign = self.foreign.take();
        if changes.is_empty() {
            return Ok(());
        }
        let messages: Vec<_> = changes
            .iter()
            .map(|change| change.message.clone())
            .collect();
        let outcome = commit(netfilter, Some(generation), &messages);
        if let Err(Failure::Refused {
            place,
            errno,
            reason,
        }) = outcome
        {
            let change = place.and_then(|place| changes.get(place));
            let object = change.map_or("table inet caracal", |change| &change.object);
            let reason = format!("{object}: {reason}");
            self.foreign = foreign;
            // The chain is left out next time if this is about what the kernel does not have.
            let chain = change.and_then(|change| change.chain.as_deref());
            let known = compile::CHAINS.into_iter().find(|name| chain == Some(name));
            if let Some(chain) = known
                && [libc::ENOENT, libc::EOPNOTSUPP].contains(&errno)
            {
                self.refused.insert(chain, reason.clone());
            }
            return Err(Failure::Refused {
                place,
                errno,
                reason,
            });
        }
        if outcome.is_err() {
            self.foreign = foreign;
            return outcome;
        }
        self.actual = Actual::Known(desired);
        let count = messages.len() as u64;
        self.status.send_modify(|status| {
            status.transactions += 1;
            status.messages += count;
            status.repairs += u64::from(foreign.is_some());
        });
        if let Some(foreign) = foreign {
            let culprit = foreign.culprit.as_deref().unwrap_or("somebody");
            warn!("table inet caracal: changed by {culprit}; put right");
            self.repaired.push_back(Instant::now());
            if self.fighting(Instant::now()) {
                let message = format!(
                    "table inet caracal is changed again and again, last by {culprit}; it is put right every {} s until \
                     that ends",
                    FIGHT_PAUSE.as_secs()
                );
                self.set_condition(FOUGHT, Some(message));
            }
        }
        Ok(())
    }

    /// Whether the refusal was noted as that of a chain, and another attempt will be without it.
    fn leave_out(&mut self, outcome: &Result<(), Failure>) -> bool {
        self.actual = Actual::Unknown;
        let Err(Failure::Refused { reason, .. }) = outcome else {
            return false;
        };
        self.refused.values().any(|known| known == reason)
    }

    /// What everyone may know now.
    fn tell(&mut self, failure: Option<Failure>, fought: bool) {
        if let Some(failure) = &failure {
            debug!("table inet caracal is not as it should be: {failure}");
        }
        // Who wishes for nothing misses nothing where nothing can be.
        let wished = self
            .desired
            .as_ref()
            .is_some_and(|rules| *rules != Rules::default());
        let absent = self.kernel.is_none();
        let failure = failure.filter(|_| wished || !absent);
        let (no_nftables, refused) = said_of(failure.as_ref(), absent, &self.refused);
        self.set_condition(NO_NFTABLES, no_nftables);
        self.set_condition(REFUSED, refused);
        if !fought {
            self.set_condition(FOUGHT, None);
        }
        self.settle(failure.is_none());
    }

    fn settle(&self, settled: bool) {
        self.status.send_modify(|status| {
            status.settled = settled;
            status.unsettled_since = match settled {
                true => None,
                false => status
                    .unsettled_since
                    .or_else(|| Some(Instant::now().into_std())),
            };
        });
    }

    fn set_condition(&self, name: &str, message: Option<String>) {
        self.status.send_if_modified(|status| {
            if status.conditions.get(name) == message.as_ref() {
                return false;
            }
            match message {
                Some(message) => {
                    warn!("{name}: {message}");
                    status.conditions.insert(name.to_owned(), message);
                }
                None => {
                    info!("no longer {name}");
                    status.conditions.remove(name);
                }
            }
            true
        });
    }

    fn next_backoff(&mut self) -> Duration {
        let backoff = self.backoff;
        self.backoff = (backoff * 2).min(BACKOFF_MAX);
        backoff
    }
}

impl Kernel {
    /// Events are subscribed to first, so that nothing is missed between a read and the first event.
    fn open() -> Result<Kernel, Failure> {
        let failed = |error: io::Error| Failure::Socket(error.to_string());
        let mut netfilter = Netfilter::open().map_err(failed)?;
        let events = Events::subscribe(netfilter.port()).map_err(failed)?;
        // A kernel without nf_tables, and one that does not let us, say so now.
        read::generation(&mut netfilter).map_err(|failure| Failure::Socket(failure.to_string()))?;
        Ok(Kernel { netfilter, events })
    }
}

/// The messages of `NoNftables` and `FilterRefused`. `absent`: there are no sockets to write rules.
fn said_of(
    failure: Option<&Failure>,
    absent: bool,
    left_out: &BTreeMap<&'static str, String>,
) -> (Option<String>, Option<String>) {
    let parts: Vec<&str> = left_out.values().map(String::as_str).collect();
    match failure {
        Some(failure) if absent => {
            let message = format!(
                "table inet caracal cannot be written: {failure}; pods are not masqueraded and may send from any address; \
                 the kernel needs nf_tables, and the agent CAP_NET_ADMIN"
            );
            (Some(message), None)
        }
        Some(failure) => {
            let message = format!(
                "the kernel refuses what table inet caracal shall be: {failure}; the table stays as it was, if there was one; \
                 tried again"
            );
            (None, Some(message))
        }
        None if !parts.is_empty() => {
            let message = format!(
                "the kernel refuses a part of table inet caracal: {}; the rest is in force; tried again",
                parts.join("; ")
            );
            (None, Some(message))
        }
        None => (None, None),
    }
}

async fn next_event(kernel: &mut Option<Kernel>) -> io::Result<Foreign> {
    match kernel {
        Some(kernel) => kernel.events.next().await,
        None => future::pending().await,
    }
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => future::pending().await,
    }
}

/// Conditions.
const NO_NFTABLES: &str = "NoNftables";
const REFUSED: &str = "FilterRefused";
const FOUGHT: &str = "FilterFought";

/// Readings and transactions in a row, while somebody else changes things or parts are left out.
const ATTEMPTS_MAX: u32 = 8;
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// A safety net; events tell of changes at once.
const VERIFY_INTERVAL: Duration = Duration::from_secs(300);
/// More than so many repairs within the window are a fight.
const FIGHT_ROUNDS: usize = 5;
const FIGHT_WINDOW: Duration = Duration::from_secs(10);
const FIGHT_PAUSE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
