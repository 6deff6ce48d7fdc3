//! What must be kept tidy beside the loop, because it waits for the datastore: tunnel addresses, a spare block, and
//! DELs that were recorded while the agent was away; and our own Node resource, should somebody delete it.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use caracal_datastore::TypedStore;
use caracal_fib::{TunnelStatus, Tunnels};
use ipnet::IpNet;
use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::registration;
use crate::plan::Plan;
use crate::shared::Shared;
use crate::spool;
use crate::tunnels::{Place, Tended, Tending};
use crate::ways::Pool;

/// How often it looks without being told.
const ROUND: Duration = Duration::from_secs(10);
/// How often IPAM may give tunnels what pods have before it is asked again with the next round.
const TUNNEL_TRIES: usize = 3;

/// What the loop wants tended.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Wishes {
    pools: Vec<Pool>,
    /// Only to be woken when they change.
    blocks: BTreeSet<IpNet>,
    orphans: BTreeSet<IpNet>,
    records_lost: bool,
    registered: bool,
    /// Only to be woken when others name other addresses of tunnels, or we do.
    tunnels: Tunnels,
    in_sync: bool,
}

impl Wishes {
    /// What a plan asks for.
    pub(crate) fn of(plan: &Plan) -> Wishes {
        Wishes {
            pools: plan.pools.clone(),
            blocks: plan.blocks.clone(),
            orphans: plan.orphans.clone(),
            records_lost: plan.records_lost,
            registered: plan.registered,
            tunnels: plan.tunnels.clone(),
            in_sync: true,
        }
    }
}

/// Runs until the loop is gone.
pub(crate) async fn run(
    shared: Arc<Shared>,
    store: TypedStore,
    mut wishes: watch::Receiver<Wishes>,
    assigned: watch::Sender<Tended>,
) {
    let mut tending = Tending::default();
    let mut said = Said::default();
    let mut workloads = shared.workloads.changes();
    let mut fib = shared.fib.status();
    let mut devices = Vec::new();
    let mut round = tokio::time::interval(ROUND);
    round.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            changed = wishes.changed() => if changed.is_err() { return },
            changed = workloads.changed() => if changed.is_err() { return },
            // Of all that changes there, a tunnel that became ready or unused is waited for here.
            changed = fib.wait_for(|status| status.tunnels != devices) => if changed.is_err() { return },
            _ = round.tick() => {}
        }
        let now = wishes.borrow_and_update().clone();
        devices = fib.borrow_and_update().tunnels.clone();
        if now.in_sync {
            tend(
                &shared,
                &store,
                &now,
                &devices,
                &mut tending,
                &mut said,
                &assigned,
            )
            .await;
        }
    }
}

async fn tend(
    shared: &Shared,
    store: &TypedStore,
    wishes: &Wishes,
    devices: &[TunnelStatus],
    tending: &mut Tending,
    said: &mut Said,
    assigned: &watch::Sender<Tended>,
) {
    let node = &shared.config.nodename;
    if !wishes.registered {
        let made = registration::register(&shared.config, store).await;
        if made.is_ok() {
            warn!("node {node}: its Node resource, or its address there, was gone; made again");
        }
        said.outcome(node, "registration", made);
    }
    spool::finish(&shared.config.cni.spool, &shared.workloads).await;
    let unusable = wishes.pools.iter().filter(|pool| pool.unusable.is_some());
    shared
        .ipam
        .avoid(unusable.map(|pool| pool.name.clone()).collect());
    if wishes.records_lost {
        shared.workloads.reassert().await;
    }
    let mut records_lost = wishes.records_lost;
    for _ in 0..TUNNEL_TRIES {
        let held = shared.workloads.recorded_addresses();
        let place = Place {
            node,
            pools: &wishes.pools,
            ipam: &shared.ipam,
            store,
            records_lost,
            held: &held,
            devices,
        };
        said.outcome(node, "tunnels", tending.tend(place).await);
        if !tending.met_a_pod() {
            break;
        }
        warn!("node {node}: IPAM gave a tunnel what a pod has; mending IPAM's records");
        records_lost = true;
        shared.workloads.reassert().await;
    }
    let now = tending.tended();
    assigned.send_if_modified(|known| {
        let changed = known != now;
        known.clone_from(now);
        changed
    });
    let tended = match wishes.orphans.is_empty() {
        true => shared.ipam.tend().await,
        false => shared.ipam.tend_everything().await,
    };
    said.outcome(node, "address blocks", tended);
}

/// What was said of each task that failed: with every round it would be said again, for as long as the datastore is away.
#[derive(Debug, Default)]
struct Said(BTreeSet<&'static str>);

impl Said {
    fn outcome<T>(&mut self, node: &str, task: &'static str, done: Result<T, impl Display>) {
        match done {
            Ok(_) if self.0.remove(task) => info!("node {node}: {task}: done after all"),
            Ok(_) => {}
            Err(fault) if self.0.insert(task) => {
                let again = ROUND.as_secs();
                warn!("node {node}: {task}: {fault}; trying again every {again} s");
            }
            Err(fault) => debug!("node {node}: {task}: {fault}"),
        }
    }
}
