//! What must be kept tidy beside the loop, because it waits for the datastore: tunnel addresses, a spare block, and
//! DELs that were recorded while the agent was away.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use caracal_datastore::TypedStore;
use ipnet::IpNet;
use tokio::sync::watch;
use tracing::warn;

use crate::shared::Shared;
use crate::ways::Pool;
use crate::{spool, tunnels};

/// How often it looks without being told.
const ROUND: Duration = Duration::from_secs(10);

/// What the loop wants tended.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wishes {
    pools: Vec<Pool>,
    /// Only to be woken when they change.
    blocks: BTreeSet<IpNet>,
    in_sync: bool,
}

impl Wishes {
    /// True when something changed.
    pub(crate) fn renew(&mut self, pools: Vec<Pool>, blocks: BTreeSet<IpNet>) -> bool {
        let changed = !self.in_sync || self.pools != pools || self.blocks != blocks;
        *self = Wishes {
            pools,
            blocks,
            in_sync: true,
        };
        changed
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
        if !now.in_sync {
            continue;
        }
        spool::finish(&shared.config.cni.spool, &shared.workloads).await;
        let node = &shared.config.nodename;
        if let Err(fault) = tunnels::tend(node, &now.pools, &shared.ipam, &store).await {
            warn!(
                "node {node}: {fault}; trying again in {} s",
                ROUND.as_secs()
            );
        }
        if now.pools.iter().any(|pool| pool.unusable.is_none())
            && let Err(fault) = shared.ipam.tend().await
        {
            warn!(
                "node {node}: spare block: {fault}; trying again in {} s",
                ROUND.as_secs()
            );
        }
    }
}
