//! The handle on the filter, and the thread behind it.

use std::net::IpAddr;
use std::thread;

use tokio::sync::{mpsc, oneshot, watch};

use crate::model::{Counters, FilterStatus, Rules};
use crate::worker::{Command, Worker};

/// A handle on the filter's own thread, which ends when the last handle is dropped. It leaves the kernel as it is then;
/// [`crate::remove`] takes the table away.
///
/// The thread belongs to the network namespace of the thread that called [`Filter::start`].
#[derive(Debug, Clone)]
pub struct Filter {
    commands: mpsc::UnboundedSender<Command>,
    status: watch::Receiver<FilterStatus>,
}

/// What the filter cannot do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FilterError {
    /// Netlink is not to be had, or refuses.
    #[error("nfnetlink: {0}")]
    Netlink(String),
    /// There is no thread.
    #[error("the filter has stopped")]
    Stopped,
}

impl Filter {
    /// Starts the thread. A kernel without nf_tables is no error: it is the condition `NoNftables`.
    pub fn start() -> Result<Filter, FilterError> {
        let (commands, incoming) = mpsc::unbounded_channel();
        let (worker, status) = Worker::new();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| FilterError::Netlink(format!("no runtime: {error}")))?;
        // A new thread is in the namespace of the thread that makes it.
        thread::Builder::new()
            .name("caracal-filter".into())
            .spawn(move || runtime.block_on(worker.run(incoming)))
            .map_err(|error| FilterError::Netlink(format!("no thread: {error}")))?;
        Ok(Filter { commands, status })
    }

    /// Says what is wished for. Returns at once; the kernel follows. Until the first time the kernel stays as it is.
    pub fn set(&self, rules: Rules) {
        self.send(Command::Set(Box::new(rules)));
    }

    /// Removes what connection tracking remembers of these addresses. Returns how many entries that were.
    pub async fn forget(&self, addresses: Vec<IpAddr>) -> Result<u64, FilterError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Forget(addresses, reply));
        answer.await.map_err(|_| FilterError::Stopped)?
    }

    /// What the rules have counted. Without a table, nothing.
    pub async fn counters(&self) -> Result<Counters, FilterError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Count(reply));
        answer.await.map_err(|_| FilterError::Stopped)?
    }

    /// The newest status; changes can be awaited.
    pub fn status(&self) -> watch::Receiver<FilterStatus> {
        self.status.clone()
    }

    fn send(&self, command: Command) {
        // A worker that is gone shows in the answer that does not come, and in the status channel.
        self.commands.send(command).ok();
    }
}
