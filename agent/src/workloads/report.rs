//! What the datastore reports of WorkloadEndpoints: what was there before this run, and what others change.

use caracal_datastore::Key;
use caracal_fib::Change;
use tracing::{info, warn};

use super::{Workload, Workloads, record};

impl Workloads {
    /// The datastore reports a WorkloadEndpoint of a node, or (`None`) that it is gone. Those of other nodes are many
    /// and none of our business.
    pub(crate) async fn handle_report(&self, key: &Key, node: Option<&str>) {
        let ours = match node {
            Some(node) => node == self.node,
            None => self.state().known.values().any(|known| known.key == *key),
        };
        if !ours {
            return;
        }
        // What the store holds now counts, not what the report said then.
        let object = match self.store.get(key).await {
            Ok(object) => object,
            Err(fault) => return warn!("{fault}"),
        };
        match object.as_ref().map(record::read) {
            Some(Ok((node, workload))) if node == self.node => self.take_over(workload),
            Some(Err(fault)) => warn!("{fault}"),
            _ => self.drop_unrecorded_by_store(key),
        }
    }

    fn take_over(&self, workload: Workload) {
        let state = self.state();
        let known = state.known.get(&workload.device);
        let older = known.is_some_and(|known| !known.recorded || *known == workload);
        if older || state.gone.contains(&workload.container_id) {
            return;
        }
        drop(state);
        self.insert(workload);
    }

    fn drop_unrecorded_by_store(&self, key: &Key) {
        let mut state = self.state();
        let Some(device) = state
            .known
            .values()
            .find(|known| known.key == *key && known.recorded)
            .map(|w| w.device.clone())
        else {
            return;
        };
        state.known.remove(&device);
        state.untell(&device);
        info!("{key}: gone from the datastore; its routes are removed");
        self.fib.apply(vec![Change::RemoveEndpoint(device)]);
        self.changed.send_modify(|count| *count += 1);
        drop(state);
    }
}
