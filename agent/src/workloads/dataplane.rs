//! What workloads need of the node's kernel: routes and devices by the FIB, and what connection tracking remembers.

use std::fmt::Debug;
use std::net::IpAddr;
use std::time::Duration;

use caracal_fib::{Change, Fib, FibError};
use caracal_filter::Filter;
use futures::FutureExt;
use futures::future::BoxFuture;
use tracing::warn;

/// The kernel, or a test's.
pub(crate) trait Dataplane: Debug + Send + Sync {
    /// Changes what is desired. Returns at once.
    fn apply(&self, changes: Vec<Change>);

    /// Waits until everything that is desired of this endpoint is in the kernel, and the packet filter in force.
    fn settled<'a>(
        &'a self,
        device: &'a str,
        patience: Duration,
    ) -> BoxFuture<'a, Result<(), FibError>>;

    /// Before addresses may be given to another pod: their routes are gone, and then what connection tracking remembers
    /// of them. In this order, because a packet that is still routed makes a new entry. `whose` is for the log.
    fn forget<'a>(&'a self, whose: &'a str, addresses: &'a [IpAddr]) -> BoxFuture<'a, ()>;
}

/// The kernel of this node.
#[derive(Debug)]
pub(crate) struct Kernel {
    pub(crate) fib: Fib,
    pub(crate) filter: Filter,
}

impl Dataplane for Kernel {
    fn apply(&self, changes: Vec<Change>) {
        self.fib.apply(changes);
    }

    fn settled<'a>(
        &'a self,
        device: &'a str,
        patience: Duration,
    ) -> BoxFuture<'a, Result<(), FibError>> {
        let in_kernel = self.fib.endpoint_settled(device, patience);
        let protected = self.protected(device);
        async { tokio::join!(in_kernel, protected).0 }.boxed()
    }

    fn forget<'a>(&'a self, whose: &'a str, addresses: &'a [IpAddr]) -> BoxFuture<'a, ()> {
        self.forget_in_order(whose, addresses).boxed()
    }
}

impl Kernel {
    /// Does it, or says why not. An address that is not quite forgotten is better than one that is lost for ever, so its
    /// release does not wait for longer than this.
    async fn forget_in_order(&self, whose: &str, addresses: &[IpAddr]) {
        if let Err(fault) = self.fib.addresses_gone(addresses.to_vec(), PATIENCE).await {
            warn!("{whose}: {fault}");
        }
        if let Err(fault) = self.filter.forget(addresses.to_vec()).await {
            warn!("{whose}: entries of {addresses:?} stay: {fault}");
        }
    }

    /// A pod shall not send before what it may send is decided. But a filter that cannot be written is no reason to have no
    /// pods: the condition says so, and nobody waits while there is one.
    async fn protected(&self, device: &str) {
        if let Err(fault) = self.filter.settled(PATIENCE).await {
            warn!("{device}: handed out though it may send from any address: {fault}");
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(5);
