//! What must be kept tidy beside the loop, because it waits for the datastore: tunnel addresses, a spare block, and
//! DELs that were recorded while the agent was away; and our own Node resource, should somebody delete it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use caracal_datastore::TypedStore;
use ipnet::IpNet;
use tokio::sync::watch;
use tracing::warn;

use super::registration;
use crate::plan::Plan;
use crate::shared::Shared;
use crate::ways::Pool;
use crate::{spool, tunnels};

/// How often it looks without being told.
const ROUND: Duration = Duration::from_secs(10);

/// What the loop wants tended.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Wishes {
    pools: Vec<Pool>,
    /// Only to be woken when they change.
    blocks: BTreeSet<IpNet>,
    orphans: BTreeSet<IpNet>,
    records_lost: bool,
    registered: bool,
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
            in_sync: true,
        }
    }
}

/// Runs until the loop is gone.
pub(crate) async fn run(
    shared: Arc<Shared>,
    store: TypedStore,
    mut wishes: watch::Receiver<Wishes>,
) {
    let mut workloads = shared.workloads.changes();
    loop {
        tokio::select! {
            changed = wishes.changed() => if changed.is_err() { return },
            changed = workloads.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(ROUND) => {}
        }
        let now = wishes.borrow_and_update().clone();
        if now.in_sync {
            tend(&shared, &store, &now).await;
        }
    }
}

async fn tend(shared: &Shared, store: &TypedStore, wishes: &Wishes) {
    let node = &shared.config.nodename;
    let again = ROUND.as_secs();
    if !wishes.registered {
        match registration::register(&shared.config, store).await {
            Ok(_) => warn!("node {node}: its Node resource was gone; made again"),
            Err(fault) => warn!("node {node}: {fault}; trying again in {again} s"),
        }
    }
    spool::finish(&shared.config.cni.spool, &shared.workloads).await;
    let unusable = wishes.pools.iter().filter(|pool| pool.unusable.is_some());
    shared
        .ipam
        .avoid(unusable.map(|pool| pool.name.clone()).collect());
    if wishes.records_lost {
        shared.workloads.reassert().await;
    }
    if let Err(fault) = tunnels::tend(
        node,
        &wishes.pools,
        &shared.ipam,
        store,
        wishes.records_lost,
    )
    .await
    {
        warn!("node {node}: {fault}; trying again in {again} s");
    }
    let tended = match wishes.orphans.is_empty() {
        true => shared.ipam.tend().await,
        false => shared.ipam.tend_everything().await,
    };
    if let Err(fault) = tended {
        warn!("node {node}: address blocks: {fault}; trying again in {again} s");
    }
}
