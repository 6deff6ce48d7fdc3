//! The FIB's task and the handle on it.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::model::{Change, Config, FibStatus, RouteStatus};

/// A handle on the FIB's own task, which ends when the last handle is dropped. It leaves the kernel as it is then.
#[derive(Debug, Clone)]
pub struct Fib {}

/// What the FIB cannot do.
#[derive(Debug, thiserror::Error)]
pub enum FibError {
    /// Netlink is not to be had.
    #[error("netlink: {0}")]
    Netlink(String),
    /// The kernel did not take it in time.
    #[error("{what}: not in the kernel after {waited:?}: {reason}")]
    Unsettled {
        /// Prefix or device.
        what: String,
        /// How long we waited.
        waited: Duration,
        /// What the kernel said last, or what is missing.
        reason: String,
    },
    /// The task is gone.
    #[error("the FIB has stopped")]
    Stopped,
}

impl Fib {
    /// Opens netlink in the current network namespace, reads the kernel, and starts the task.
    pub async fn start(config: Config) -> Result<Fib, FibError> {
        todo!()
    }

    /// Changes what is desired. Returns at once; the kernel follows.
    pub fn apply(&self, changes: Vec<Change>) {
        todo!()
    }

    /// Waits until everything that is desired of this endpoint is in the kernel. Does not wait for other writes.
    pub async fn endpoint_settled(&self, device: &str, patience: Duration) -> Result<(), FibError> {
        todo!()
    }

    /// The newest status; changes can be awaited.
    pub fn status(&self) -> tokio::sync::watch::Receiver<FibStatus> {
        todo!()
    }

    /// All routes, desired and stale, in order of prefix.
    pub async fn routes(&self) -> Result<Vec<RouteStatus>, FibError> {
        todo!()
    }
}

/// A network device of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// `eth0`.
    pub name: String,
    /// In the order of the kernel.
    pub addresses: Vec<IpNet>,
    /// Administratively up.
    pub up: bool,
    /// Octets.
    pub mtu: u32,
}

/// The devices of the current network namespace, for autodetection of the node's address.
pub async fn interfaces() -> Result<Vec<Interface>, FibError> {
    todo!()
}

#[allow(unused)]
fn _unused(_: IpAddr) {}
