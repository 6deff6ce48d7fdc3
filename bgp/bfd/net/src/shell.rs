//! The handle that everybody else has of running BFD.

use std::io;
use std::thread;

use caracal_bfd::{ConfigError, Event, SessionConfig, SessionId};
use tokio::runtime;
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::driver::{Command, Driver};
use crate::view::BfdView;

/// Running BFD. Clones are the same; when the last one is dropped, all sessions end as `stop` does.
#[derive(Debug, Clone)]
pub struct Bfd {
    commands: mpsc::Sender<Command>,
    events: broadcast::WeakSender<Event>,
}

/// BFD has been stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("BFD has stopped")]
pub struct Stopped;

/// Why a session cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BfdError {
    /// Its configuration cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Nobody is there to have it.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl Bfd {
    /// Starts the driver on a thread of its own. There are no sessions and no sockets yet.
    ///
    /// Discriminators come from `seed`, which should be hard to guess and another one after a restart.
    pub fn start(seed: u64) -> io::Result<Bfd> {
        let (commands, commands_in) = mpsc::channel(COMMANDS_MAX);
        let (events_out, _) = broadcast::channel(EVENTS_MAX);
        let events = events_out.downgrade();
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let run = move || runtime.block_on(Driver::new(seed, commands_in, events_out).run());
        thread::Builder::new().name("bfd".to_owned()).spawn(run)?;
        Ok(Bfd { commands, events })
    }

    /// Adds the session, or changes it. Kind and addresses make it the same.
    ///
    /// That a socket cannot be opened is no error: it is tried again, and told in [`Bfd::view`].
    pub async fn set(&self, config: SessionConfig) -> Result<SessionId, BfdError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Command::Set { config, reply }, answer)
            .await?
            .map_err(BfdError::Config)
    }

    /// Ends the session without an event. The other side is told that this is no failure (RFC 5880 §6.8.16).
    pub async fn remove(&self, session: SessionId) -> Result<(), Stopped> {
        let command = Command::Remove { session };
        self.commands.send(command).await.map_err(|_| Stopped)
    }

    /// Everything as it is now.
    pub async fn view(&self) -> Result<BfdView, Stopped> {
        let (reply, answer) = oneshot::channel();
        self.ask(Command::View { reply }, answer).await
    }

    /// Events from now on. Who reads too slowly gets `Lagged` and should look at the sessions as they are.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        match self.events.upgrade() {
            Some(events) => events.subscribe(),
            // Stopped: a receiver that says `Closed`.
            None => broadcast::channel(1).1,
        }
    }

    /// Tells all neighbours that we are administratively down, waits a moment for them to hear it, and closes
    /// everything.
    pub async fn stop(&self) {
        let _ = self.commands.send(Command::Stop).await;
        self.commands.closed().await;
    }

    async fn ask<R>(&self, command: Command, answer: oneshot::Receiver<R>) -> Result<R, Stopped> {
        self.commands.send(command).await.map_err(|_| Stopped)?;
        answer.await.map_err(|_| Stopped)
    }
}

pub(crate) const COMMANDS_MAX: usize = 64;
const EVENTS_MAX: usize = 1024;
