//! The cluster's garbage collector of addresses: every agent is a candidate, one at a time works
//! (docs/operation/ipam.md). The work itself is [`caracal_datastore::ipam::collect`]'s.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use caracal_agent_api::Condition;
use caracal_datastore::ipam::collect::{Collector, Doubt, Round, Settings, Snapshot, WATCHED};
use caracal_datastore::lead::{self, Attempt, Leadership};
use caracal_datastore::{Datastore, StoreError};
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::{info, warn};

use crate::plan::condition;
use crate::shared::Shared;

/// The name of the seat.
const SEAT: &str = "ipam-gc";
/// After a watch that could not be had.
const RETRY: Duration = Duration::from_secs(10);

/// What others may know of it.
#[derive(Debug, Default)]
pub(crate) struct Collecting(Mutex<BTreeMap<&'static str, Condition>>);

impl Collecting {
    /// What is wrong in the cluster, as far as this agent is the one that looks.
    pub(crate) fn conditions(&self) -> Vec<Condition> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Condition>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As a round has left it. Conditions are logged when they begin and when they end.
    fn set(&self, now: Vec<Condition>) {
        let mut known = self.lock();
        let names = ["AddressLeak", "CollectionHeld", "DuplicateAffinity"];
        for name in names {
            let message = now.iter().find(|one| one.name == name);
            match (known.get(name), message) {
                (None, Some(one)) => warn!("{name}: {}", one.message),
                (Some(_), None) => info!("{name}: over"),
                _ => {}
            }
            match message {
                Some(one) => drop(known.insert(name, one.clone())),
                None => drop(known.remove(name)),
            }
        }
    }
}

/// Its metrics.
#[derive(Debug)]
pub(crate) struct GcMetrics {
    leader: IntGauge,
    rounds: IntCounterVec,
    repairs: IntCounterVec,
    spared: IntCounter,
    suspects: IntGauge,
    leaks: IntGauge,
    left: IntGauge,
    unknown: IntGauge,
}

impl GcMetrics {
    pub(crate) fn new(registry: &Registry) -> Result<GcMetrics, prometheus::Error> {
        let gauge = |name: &str, help: &str| -> Result<IntGauge, prometheus::Error> {
            let gauge = IntGauge::new(format!("caracal_ipam_gc_{name}"), help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let counters =
            |name: &str, help: &str, label: &str| -> Result<IntCounterVec, prometheus::Error> {
                let options = Opts::new(format!("caracal_ipam_gc_{name}"), help);
                let counters = IntCounterVec::new(options, &[label])?;
                registry.register(Box::new(counters.clone()))?;
                Ok(counters)
            };
        let spared = IntCounter::new(
            "caracal_ipam_gc_spared_total",
            "Suspects that a fresh read spoke for",
        )?;
        registry.register(Box::new(spared.clone()))?;
        Ok(GcMetrics {
            leader: gauge("leader", "1 while this agent collects for the cluster")?,
            rounds: counters(
                "rounds_total",
                "Rounds of the collector: ok, held (something could not be read), failed (the datastore)",
                "result",
            )?,
            repairs: counters(
                "repairs_total",
                "What was put right: address, node, claim, confirm, handle, block",
                "kind",
            )?,
            spared,
            suspects: gauge("suspects", "What looks wrong and has not for long enough")?,
            leaks: gauge(
                "leaked_addresses",
                "Addresses that nobody seems to use, in two looks at least",
            )?,
            left: gauge(
                "left",
                "Repairs for the next round, because one has a limit",
            )?,
            unknown: gauge(
                "unknown_addresses",
                "Addresses of kinds that are not judged and that no workload names",
            )?,
        })
    }

    fn count(&self, round: &Round) {
        let result = match (&round.error, &round.held) {
            (Some(_), _) => "failed",
            (None, Some(_)) => "held",
            (None, None) => "ok",
        };
        self.rounds.with_label_values(&[result]).inc();
        for (repair, _) in &round.done {
            self.repairs.with_label_values(&[repair.kind()]).inc();
        }
        self.spared
            .inc_by(u64::try_from(round.spared).unwrap_or(u64::MAX));
        if result != "ok" {
            return;
        }
        let count = |figure: usize| i64::try_from(figure).unwrap_or(i64::MAX);
        self.suspects.set(count(round.waiting));
        self.leaks.set(count(round.leaks));
        self.left.set(count(round.left));
        self.unknown.set(count(round.unknown));
    }

    fn resign(&self) {
        for gauge in [
            &self.leader,
            &self.suspects,
            &self.leaks,
            &self.left,
            &self.unknown,
        ] {
            gauge.set(0);
        }
    }
}

/// Stands for election for ever, and works while it leads.
pub(crate) async fn run(shared: Arc<Shared>, store: Arc<dyn Datastore>) {
    if !shared.config.ipam.gc {
        return;
    }
    let node = &shared.config.nodename;
    let Some(election) = store.election() else {
        info!("node {node}: this datastore elects no leader; nobody collects addresses");
        return;
    };
    loop {
        let before = Mutex::new(None);
        let told = |attempt: &Result<Attempt, StoreError>| {
            let mut before = before.lock().unwrap_or_else(PoisonError::into_inner);
            let now = match attempt {
                Ok(Attempt::Ours) => return,
                Ok(Attempt::Others(who)) => format!("node {who} collects addresses"),
                Err(fault) => format!("nobody is asked to collect addresses: {fault}"),
            };
            if before.as_ref() != Some(&now) {
                info!("{now}");
                *before = Some(now);
            }
        };
        let leadership = lead::campaign(&*election, SEAT, node, told).await;
        info!("node {node}: collects addresses for the cluster");
        shared.metrics.gc.leader.set(1);
        work(&shared, &*store, leadership).await;
        shared.metrics.gc.resign();
        shared.collecting.set(Vec::new());
        info!("node {node}: collects addresses no more");
    }
}

/// Until leadership is lost.
async fn work(shared: &Shared, store: &dyn Datastore, mut leadership: Leadership) {
    let mut collector = Collector::default();
    let holds = leadership.holding();
    loop {
        tokio::select! {
            () = leadership.lost() => return,
            () = follow(shared, store, &mut collector, &holds) => {}
        }
        // What was seen before may have changed while nobody looked.
        collector.forget();
        tokio::select! {
            () = leadership.lost() => return,
            () = sleep(RETRY) => {}
        }
    }
}

/// For as long as a watch lasts.
async fn follow(
    shared: &Shared,
    store: &dyn Datastore,
    collector: &mut Collector,
    holds: &(dyn Fn() -> bool + Send + Sync),
) {
    let mut watcher = match store.watch_all(&WATCHED).await {
        Ok(watcher) => watcher,
        Err(fault) => {
            warn!("addresses are not collected: {fault}");
            return;
        }
    };
    let settings = shared.config.ipam.settings();
    let mut snapshot = Snapshot::default();
    let mut round = interval(shared.config.ipam.interval());
    round.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            event = watcher.events.recv() => match event {
                Some(event) => snapshot.handle(event),
                None => return,
            },
            _ = round.tick(), if snapshot.is_in_sync() => {
                let now = lead::since_boot();
                let done = shared.ipam.collect(&snapshot, collector, settings, now, holds).await;
                if let Some(fault) = &done.error {
                    warn!("a round of the address collector ended early: {fault}");
                }
                shared.metrics.gc.count(&done);
                shared.collecting.set(conditions(&done, settings));
            }
        }
    }
}

/// What people should know after a round.
fn conditions(round: &Round, settings: Settings) -> Vec<Condition> {
    let mut conditions = Vec::new();
    if round.leaks > 0 {
        let message = format!(
            "{} to no workload that has a record; each is freed when that has been so for {} s. \
             `caracalctl ipam check --show-problem-ips` lists them",
            match round.leaks {
                1 => "1 address belongs".to_owned(),
                many => format!("{many} addresses belong"),
            },
            settings.grace.as_secs()
        );
        conditions.push(condition("AddressLeak", &message));
    }
    if let Some(why) = &round.held {
        let message = format!(
            "no address is collected while not everything can be read: {why}. Repair or delete that object"
        );
        conditions.push(condition("CollectionHeld", &message));
    }
    if let Some(Doubt { whose, why }) = round.doubtful.first().filter(|_| round.held.is_none()) {
        let more = match round.doubtful.len() {
            1 => String::new(),
            count => format!(" (and {} more)", count - 1),
        };
        let message = format!(
            "no address of {whose}{more} is collected while this cannot be read: {why}. Repair or delete that object"
        );
        conditions.push(condition("CollectionHeld", &message));
    }
    if let Some(first) = round.duplicates.first() {
        let more = match round.duplicates.len() {
            1 => String::new(),
            count => format!(" (and {} more)", count - 1),
        };
        let message = format!(
            "{first}{more}. The loser's claim is deleted when the block has said so for {} s; where blocks overlap, delete the \
             BlockAffinity that is wrong",
            settings.grace.as_secs()
        );
        conditions.push(condition("DuplicateAffinity", &message));
    }
    conditions
}

#[cfg(test)]
mod tests;
