//! The handle on the FIB, and the thread behind it.

use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use tokio::sync::{mpsc, oneshot, watch};

use crate::model::{Change, Config, FibStatus, RouteStatus};
use crate::netlink::{self, Netlink};
use crate::worker::{Command, Worker};

/// A handle on the FIB's own thread, which ends when the last handle is dropped. It leaves the kernel as it is then.
///
/// The thread belongs to the network namespace of the thread that called [`Fib::start`], and nothing that it waits for
/// makes anyone else wait.
#[derive(Debug, Clone)]
pub struct Fib {
    commands: mpsc::UnboundedSender<Command>,
    status: watch::Receiver<FibStatus>,
}

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

impl Fib {
    /// Opens netlink in the current network namespace, reads the kernel, and starts the task.
    pub async fn start(config: Config) -> Result<Fib, FibError> {
        let (commands, incoming) = mpsc::unbounded_channel();
        let (started, outcome) = oneshot::channel();
        // A new thread is in the namespace of the thread that makes it, here as in /proc/sys.
        thread::Builder::new()
            .name("caracal-fib".into())
            .spawn(move || run(config, incoming, started))
            .map_err(|error| FibError::Netlink(format!("no thread: {error}")))?;
        let status = outcome.await.map_err(|_| FibError::Stopped)??;
        Ok(Fib { commands, status })
    }

    /// Changes what is desired. Returns at once; the kernel follows.
    pub fn apply(&self, changes: Vec<Change>) {
        self.send(Command::Apply(changes));
    }

    /// Waits until everything that is desired of this endpoint is in the kernel. Does not wait for other writes.
    pub async fn endpoint_settled(&self, device: &str, patience: Duration) -> Result<(), FibError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Settled {
            device: device.into(),
            patience,
            reply,
        });
        answer.await.map_err(|_| FibError::Stopped)?
    }

    /// Waits until the kernel has no route any more to a workload that had these addresses, after
    /// [`Change::RemoveEndpoint`].
    pub async fn addresses_gone(
        &self,
        addresses: Vec<IpAddr>,
        patience: Duration,
    ) -> Result<(), FibError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Gone {
            addresses,
            patience,
            reply,
        });
        answer.await.map_err(|_| FibError::Stopped)?
    }

    /// The newest status; changes can be awaited.
    pub fn status(&self) -> watch::Receiver<FibStatus> {
        self.status.clone()
    }

    /// All routes, desired and stale, in order of prefix. When the answer comes, the status knows all changes that
    /// were applied before the question.
    pub async fn routes(&self) -> Result<Vec<RouteStatus>, FibError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Routes(reply));
        answer.await.map_err(|_| FibError::Stopped)
    }

    fn send(&self, command: Command) {
        // A worker that is gone shows in the answer that does not come, and in the status channel.
        self.commands.send(command).ok();
    }
}

/// The devices of the current network namespace, for autodetection of the node's address.
pub async fn interfaces() -> Result<Vec<Interface>, FibError> {
    netlink::interfaces().await
}

type Started = oneshot::Sender<Result<watch::Receiver<FibStatus>, FibError>>;

fn run(config: Config, commands: mpsc::UnboundedReceiver<Command>, started: Started) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            started
                .send(Err(FibError::Netlink(format!("no runtime: {error}"))))
                .ok();
            return;
        }
    };
    runtime.block_on(async {
        let (kernel, events) = match Netlink::open() {
            Ok(open) => open,
            Err(error) => {
                started.send(Err(FibError::Netlink(error.to_string()))).ok();
                return;
            }
        };
        match Worker::start(kernel, config, Instant::now()).await {
            Ok((worker, status)) => {
                if started.send(Ok(status)).is_ok() {
                    worker.run(commands, events).await;
                }
            }
            Err(refusal) => {
                started.send(Err(FibError::Netlink(refusal.reason))).ok();
            }
        }
    });
}
