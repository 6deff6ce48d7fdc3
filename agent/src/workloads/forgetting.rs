//! Before an address may be given to another pod: its route is gone from the kernel, and then what connection tracking
//! remembers of it. In this order, because a packet that is still routed makes a new entry.

use std::time::Duration;

use caracal_fib::Fib;
use caracal_filter::Filter;
use tracing::warn;

use super::Workload;

/// Does it, or says why not. An address that is not quite forgotten is better than one that is lost for ever, so its
/// release does not wait for longer than this.
pub(super) async fn forget(fib: &Fib, filter: &Filter, workload: &Workload) {
    let addresses = &workload.addresses;
    if let Err(fault) = fib.addresses_gone(addresses.clone(), PATIENCE).await {
        warn!("workload {}: {fault}", workload.name());
    }
    let name = workload.name();
    match tokio::time::timeout(PATIENCE, filter.forget(addresses.clone())).await {
        Ok(Ok(_)) => {}
        Ok(Err(fault)) => warn!("workload {name}: entries of {addresses:?} stay: {fault}"),
        Err(_) => {
            warn!("workload {name}: entries of {addresses:?} stay: no answer in {PATIENCE:?}")
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(5);
