//! What people see of a plan: conditions, the log, the status.

use std::sync::PoisonError;

use tracing::{info, warn};

use super::Node;
use crate::plan::{Plan, condition};
use crate::shared::Snapshot;

impl Node {
    pub(super) fn name_what_is_unknown(&mut self) {
        let conditions = &mut self.plan.conditions;
        if self.away {
            let message = "the datastore's watch has ended, and the next is not in sync; what is known stays in force";
            conditions.push(condition("DatastoreAway", message));
        }
        if self.cluster.locked {
            let message = "datastoreReady of ClusterInformation default is false, as it is during a migration or an upgrade of the datastore: nothing is written, new pods wait, and what is known stays in force; `caracalctl datastore unlock` ends it";
            conditions.push(condition("DatastoreLocked", message));
        }
        if !(self.cluster.complete() && self.shared.workloads.complete()) {
            let message = "routes from before the agent's start that nobody asks for stay until all of the datastore can be read (InvalidResource, DatastoreUnread, WorkloadUnread)";
            conditions.push(condition("DeletionsHeld", message));
        }
    }

    /// One line for each change that an operator may have to explain later.
    pub(super) fn log_changes(&self, last: &Plan) {
        for prefix in self
            .plan
            .originated
            .keys()
            .filter(|prefix| !last.originated.contains_key(prefix))
        {
            info!("{prefix}: announced");
        }
        for prefix in last
            .originated
            .keys()
            .filter(|prefix| !self.plan.originated.contains_key(prefix))
        {
            info!("{prefix}: no longer announced");
        }
        for condition in self
            .plan
            .conditions
            .iter()
            .filter(|condition| !last.conditions.contains(condition))
        {
            warn!("{}: {}", condition.name, condition.message);
        }
        for condition in last
            .conditions
            .iter()
            .filter(|condition| !self.plan.conditions.contains(condition))
        {
            info!("no longer {}: {}", condition.name, condition.message);
        }
    }

    pub(super) fn publish(&self) {
        let snapshot = Snapshot {
            asn: self.plan.asn,
            cluster_id: self.plan.reflection.cluster_id,
            datastore_in_sync: self.cluster.in_sync,
            peer_types: self
                .plan
                .peers
                .iter()
                .map(|peer| (peer.config.remote_address, peer.words()))
                .collect(),
            blocks: self.plan.blocks.iter().copied().collect(),
            conditions: self.plan.conditions.clone(),
        };
        *self
            .shared
            .snapshot
            .write()
            .unwrap_or_else(PoisonError::into_inner) = snapshot;
    }
}
