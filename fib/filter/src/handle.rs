//! The handle on the filter, and the thread behind it.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::model::{Counters, FilterStatus, Rules};
use crate::worker::{Command, Standing, Worker};

/// A handle on the filter's own thread, which ends when the last handle is dropped. It leaves the kernel as it is then;
/// [`crate::remove`] takes the table away.
///
/// The thread belongs to the network namespace of the thread that called [`Filter::start`].
#[derive(Debug, Clone)]
pub struct Filter {
    commands: mpsc::UnboundedSender<Command>,
    status: watch::Receiver<FilterStatus>,
    counted: Arc<Mutex<Counters>>,
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
    /// The thread waits for the kernel, or for something else that was asked before.
    #[error("the filter has not answered within {0:?}")]
    NoAnswer(Duration),
    /// The kernel does not have what was wished for: the conditions say why.
    #[error("the packet filter is not in force: {0}")]
    NotInForce(String),
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
        Ok(Filter::new(commands, status))
    }

    fn new(
        commands: mpsc::UnboundedSender<Command>,
        status: watch::Receiver<FilterStatus>,
    ) -> Filter {
        Filter {
            commands,
            status,
            counted: Arc::default(),
        }
    }

    /// Says what is wished for. Returns at once; the kernel follows. Until the first time the kernel stays as it is.
    pub fn set(&self, rules: Rules) {
        self.send(Command::Set(Box::new(rules), Standing::Replaced));
    }

    /// The same while the wish may lack something: what stands in the table is not taken away.
    pub fn set_and_keep(&self, rules: Rules) {
        self.send(Command::Set(Box::new(rules), Standing::Kept));
    }

    /// Waits until the kernel has what was wished for, or it is known why it has not, or `patience` is over.
    pub async fn settled(&self, patience: Duration) -> Result<(), FilterError> {
        let mut status = self.status();
        let decided = status.wait_for(|now| now.settled || !now.conditions.is_empty());
        let now = timeout(patience, decided)
            .await
            .map_err(|_| FilterError::NoAnswer(patience))?
            .map_err(|_| FilterError::Stopped)?;
        match now.settled {
            true => Ok(()),
            false => {
                let why: Vec<&str> = now.conditions.values().map(String::as_str).collect();
                Err(FilterError::NotInForce(why.join("; ")))
            }
        }
    }

    /// Removes what connection tracking remembers of these addresses. Returns how many entries that were. An answer that
    /// takes longer than some seconds is not waited for; it is done later then.
    pub async fn forget(&self, addresses: Vec<IpAddr>) -> Result<u64, FilterError> {
        self.ask(FORGET_PATIENCE, |reply| Command::Forget(addresses, reply))
            .await
    }

    /// What the rules have counted. Without a table, nothing. An answer that takes longer than a second or two is not
    /// waited for.
    pub async fn counters(&self) -> Result<Counters, FilterError> {
        let counters = self.ask(COUNT_PATIENCE, Command::Count).await?;
        *self.counted.lock().unwrap_or_else(PoisonError::into_inner) = counters;
        Ok(counters)
    }

    /// What [`Filter::counters`] has answered last.
    pub fn last_counters(&self) -> Counters {
        *self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask<T>(
        &self,
        patience: Duration,
        command: impl FnOnce(oneshot::Sender<Result<T, FilterError>>) -> Command,
    ) -> Result<T, FilterError> {
        let (reply, answer) = oneshot::channel();
        self.send(command(reply));
        match timeout(patience, answer).await {
            Ok(answer) => answer.map_err(|_| FilterError::Stopped)?,
            Err(_) => Err(FilterError::NoAnswer(patience)),
        }
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

/// A released address is given again only after this, so it is not to be waited for longer than a DEL may take.
const FORGET_PATIENCE: Duration = Duration::from_secs(5);
const COUNT_PATIENCE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
