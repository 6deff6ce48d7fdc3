//! The handle that everybody else has of a running speaker.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use caracal_bgp::{Event, Speaker, Time};
use ipnet::IpNet;
use tokio::runtime::Handle;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::driver::{Command, Driver};
use crate::listener::{self, NetError};
use crate::options::{OptionsError, OptionsTable, SessionOptions};
use crate::places::Places;
use crate::recorder::Recording;
use crate::thread;

/// A running speaker. Clones are the same speaker; when the last one is dropped, it closes its sessions as
/// `stop(true)` does.
#[derive(Debug, Clone)]
pub struct Shell {
    pub(crate) commands: mpsc::Sender<Command>,
    events: broadcast::WeakSender<Event>,
    /// Some peer shall be watched by BFD.
    pub(crate) wishes_bfd: watch::Receiver<bool>,
    pub(crate) shared: Arc<Shared>,
}

/// Asked before the speaker is, about everyone who connects: it may add a peer for that address (a peer
/// from a prefix, say), which is then accepted like any other.
pub type Admission = Box<dyn FnMut(&mut Speaker, Time, IpAddr) + Send>;

/// Takes a portion of the route changes that wait in the speaker ([`Speaker::poll_route_change`]).
pub(crate) type RouteFollower = Box<dyn FnMut(&mut Speaker) + Send>;

/// The speaker has been stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the BGP speaker has stopped")]
pub struct Stopped;

/// What is there without asking the driver.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) epoch: Instant,
    pub(crate) refused: AtomicU64,
    pub(crate) places: Places,
    /// Where large buffers are written.
    pub(crate) helpers: Handle,
    listening: Vec<SocketAddr>,
}

impl Shared {
    pub(crate) fn now(&self) -> Time {
        let micros = u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX);
        Time::from_micros(micros)
    }
}

impl Shell {
    /// Listens on these addresses and runs the speaker in a thread of its own; the current tokio runtime helps to write
    /// what is large. Time begins at [`Time::ZERO`] now, so that is what the speaker should have been made with.
    pub fn start(speaker: Speaker, listen: &[SocketAddr]) -> Result<Shell, NetError> {
        Shell::start_with(speaker, listen, None)
    }

    /// The same, with a word on who else may connect.
    pub fn start_with(
        speaker: Speaker,
        listen: &[SocketAddr],
        admission: Option<Admission>,
    ) -> Result<Shell, NetError> {
        Shell::start_with_options(speaker, listen, admission, [])
    }

    /// The same for a speaker that has peers already, with their session options.
    pub fn start_with_options(
        speaker: Speaker,
        listen: &[SocketAddr],
        admission: Option<Admission>,
        options: impl IntoIterator<Item = (IpNet, SessionOptions)>,
    ) -> Result<Shell, NetError> {
        let mut table = OptionsTable::default();
        for (peers, options) in options {
            table.replace(peers, Some(options));
        }
        let mut listeners = Vec::with_capacity(listen.len());
        for &address in listen {
            let listener = listener::listen(address, &table)?;
            let bound = listener.local_addr().ok();
            let bound = bound.and_then(|bound| bound.as_socket());
            listeners.push((listener, bound.unwrap_or(address)));
        }
        let shared = Arc::new(Shared {
            epoch: Instant::now(),
            refused: AtomicU64::new(0),
            places: Places::default(),
            helpers: Handle::current(),
            listening: listeners.iter().map(|(_, address)| *address).collect(),
        });
        let (commands, commands_in) = mpsc::channel(COMMANDS_MAX);
        let (events_out, _) = broadcast::channel(EVENTS_MAX);
        let events = events_out.downgrade();
        let (wishes_bfd_out, wishes_bfd) = watch::channel(false);
        let of_driver = shared.clone();
        let driver = move || {
            Driver::new(
                speaker,
                commands_in,
                events_out,
                wishes_bfd_out,
                of_driver,
                admission,
                table,
            )
        };
        thread::start(listeners, driver)?;
        Ok(Shell {
            commands,
            events,
            wishes_bfd,
            shared,
        })
    }

    /// Runs a change or a query where the speaker is. Keep it short: meanwhile no peer is served.
    pub async fn with<R, F>(&self, closure: F) -> Result<R, Stopped>
    where
        F: FnOnce(&mut Speaker, Time) -> R + Send + 'static,
        R: Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let run = Box::new(move |speaker: &mut Speaker, now: Time| {
            // The caller may have gone meanwhile; what it asked for is done all the same.
            let _ = reply.send(closure(speaker, now));
        });
        self.commands
            .send(Command::With(run))
            .await
            .map_err(|_| Stopped)?;
        answer.await.map_err(|_| Stopped)
    }

    /// Sets, changes or (`None`) removes the options of the connections with a peer, or with all peers of a
    /// prefix that have none of their own. A session that is there stays and goes on with the new ones, if its
    /// other end does the same before the hold time is over.
    ///
    /// After an error there are none, and the peers should not be either.
    ///
    /// Set them before the peer, and remove them after it. In a prefix with a key, every peer must have one:
    /// the kernel does not take anything unsigned from there.
    pub async fn set_session_options(
        &self,
        peers: impl Into<IpNet>,
        options: Option<SessionOptions>,
    ) -> Result<(), OptionsError> {
        let (reply, answer) = oneshot::channel();
        let command = Command::SetOptions {
            peers: peers.into(),
            options,
            reply,
        };
        self.commands.send(command).await.map_err(|_| Stopped)?;
        answer.await.map_err(|_| Stopped)?
    }

    /// Writes down what is done to the speaker, which has been recorded since it was new
    /// ([`crate::recorder::begin`]).
    pub async fn record(&self, recording: Recording) -> Result<(), Stopped> {
        let command = Command::Record(recording);
        self.commands.send(command).await.map_err(|_| Stopped)
    }

    /// From now on route changes are taken by this, and by whoever did so before no longer. It is called where the
    /// speaker is, in the turn that brought the changes, and again between other work while some are left: so it takes
    /// at least one and no more than a portion. Changes that wait coalesce in the speaker.
    pub async fn follow_routes(
        &self,
        follower: impl FnMut(&mut Speaker) + Send + 'static,
    ) -> Result<(), Stopped> {
        let command = Command::FollowRoutes(Box::new(follower));
        self.commands.send(command).await.map_err(|_| Stopped)
    }

    /// Events from now on. Who reads too slowly gets `Lagged` and should look at the peers as they are. Of failed
    /// connections from addresses that are no peers only some are told, so that they do not bury the rest.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        match self.events.upgrade() {
            Some(events) => events.subscribe(),
            // Stopped: a receiver that says `Closed`.
            None => broadcast::channel(1).1,
        }
    }

    /// The time, as the speaker is told it.
    pub fn time(&self) -> Time {
        self.shared.now()
    }

    /// Where it listens, with the ports that the kernel chose where 0 was asked for.
    pub fn listening(&self) -> &[SocketAddr] {
        &self.shared.listening
    }

    /// TCP connections with peers, those included that are being opened by the other side or closed.
    pub fn connections(&self) -> usize {
        self.shared.places.count()
    }

    /// Connections refused so far: from unknown addresses, not wanted now, or too many from one address.
    pub fn refused_connections(&self) -> u64 {
        self.shared.refused.load(Ordering::Relaxed)
    }

    /// Ends all sessions, waits a moment for last words to go out, closes everything. With
    /// `keep_forwarding` sessions end without NOTIFICATION, so that helpers keep our routes (RFC 4724 §4).
    pub async fn stop(&self, keep_forwarding: bool) {
        let _ = self.commands.send(Command::Stop { keep_forwarding }).await;
        self.stopped().await;
    }

    /// Returns when the speaker has stopped, for whatever reason.
    pub async fn stopped(&self) {
        self.commands.closed().await;
    }
}

/// Commands that may wait, and how many of them a turn takes.
pub(crate) const COMMANDS_MAX: usize = 64;
const EVENTS_MAX: usize = 1024;
