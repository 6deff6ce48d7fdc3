//! Watches the paths to a speaker's peers with BFD.
//!
//! ```text
//!   Speaker ──bfd_wishes──► PathWatch ──set, remove──► Bfd ──► UDP
//!      ▲                        │                       │
//!      └──────handle_bfd────────┴◄───────events─────────┘
//! ```
//!
//! *Desired* is what the speaker's peers wish, with what the kernel knows of the way to them: our address, and
//! whether a router is between. The kernel does not tell us when that changes, so it is looked at again once a second, and
//! whenever a session comes or goes; while no peer wishes it, nothing is done at all. What BFD says is handed to the speaker as it comes.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use caracal_bfd_net::caracal_bfd::{DownReason, Event, Kind, SessionConfig, SessionId, State};
use caracal_bfd_net::{Bfd, BfdError, BfdView, is_on_link, source_towards};
use caracal_bgp::{BfdState, BfdWish, PeerKey, Speaker, Time};
use socket2::{Domain, Socket, Type};
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

use crate::shell::{Shell, Stopped};
use crate::socket;

/// BFD beside a speaker. Clones are the same; it ends with the speaker, with [`PathWatch::stop`], or with the last
/// clone.
#[derive(Debug, Clone)]
pub struct PathWatch {
    bfd: Bfd,
    unwatched: Unwatched,
    task: Arc<Task>,
}

/// Why a peer that wishes BFD has no session, by peer.
type Unwatched = Arc<Mutex<BTreeMap<PeerKey, String>>>;

#[derive(Debug)]
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl PathWatch {
    /// Watches the peers of this speaker, now and later, as their configurations say. Without such peers there
    /// is no socket.
    ///
    /// `seed` should be hard to guess and another one after a restart.
    pub fn start(shell: &Shell, seed: u64) -> io::Result<PathWatch> {
        let bfd = Bfd::start(seed)?;
        let unwatched = Unwatched::default();
        let watcher = Watcher {
            shell: shell.clone(),
            bfd: bfd.clone(),
            watched: BTreeMap::new(),
            unwatched: unwatched.clone(),
        };
        Ok(PathWatch {
            bfd,
            unwatched,
            task: Arc::new(Task(tokio::spawn(watcher.run()))),
        })
    }

    /// The BFD sessions. Empty when BFD has stopped.
    pub async fn view(&self) -> BfdView {
        self.bfd.view().await.unwrap_or_default()
    }

    /// What keeps peers from being watched as they should be, in sentences that name the peer.
    pub async fn problems(&self) -> Vec<String> {
        let mut problems: Vec<String> = lock(&self.unwatched)
            .iter()
            .map(|(remote, why)| format!("peer {remote} is not watched by BFD: {why}"))
            .collect();
        for session in self.view().await.sessions {
            if let Some(why) = session.problem {
                let remote = session.session.remote;
                problems.push(format!("peer {remote} is not watched by BFD: {why}"));
            }
        }
        problems
    }

    /// Tells the other sides that this is an operator's wish and no failure, so that they keep the routes for as
    /// long as BGP says. Do it before the speaker stops.
    pub async fn stop(&self) {
        self.task.0.abort();
        self.bfd.stop().await;
    }
}

/// The task.
struct Watcher {
    shell: Shell,
    bfd: Bfd,
    watched: BTreeMap<PeerKey, Watched>,
    unwatched: Unwatched,
}

/// A peer's BFD session.
#[derive(Debug)]
struct Watched {
    session: SessionId,
    config: SessionConfig,
    /// It was up when we last heard.
    up: bool,
}

impl Watcher {
    async fn run(mut self) {
        let mut of_bfd = self.bfd.subscribe();
        let mut of_bgp = self.shell.subscribe();
        let mut tick = interval(LOOK_AGAIN);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut wishes = self.shell.wishes_bfd.clone();
        loop {
            let idle = !*wishes.borrow() && self.watched.is_empty();
            let outcome = tokio::select! {
                // What BFD says goes first: it may be that a path has failed.
                biased;
                event = of_bfd.recv() => match event {
                    Ok(event) => self.hand_over(event).await,
                    Err(RecvError::Lagged(_)) => self.catch_up().await,
                    Err(RecvError::Closed) => return,
                },
                event = of_bgp.recv() => match event {
                    Err(RecvError::Closed) => return,
                    Ok(_) | Err(RecvError::Lagged(_)) if idle => Ok(()),
                    Ok(_) | Err(RecvError::Lagged(_)) => self.converge().await,
                },
                changed = wishes.changed() => match changed {
                    Ok(()) => self.converge().await,
                    Err(_) => return,
                },
                _ = tick.tick(), if !idle => self.converge().await,
            };
            if outcome.is_err() {
                return;
            }
        }
    }

    /// Makes the sessions what the peers wish now.
    async fn converge(&mut self) -> Result<(), Stopped> {
        let ask = |speaker: &mut Speaker, _| speaker.bfd_wishes().collect::<Vec<_>>();
        let mut unwatched = BTreeMap::new();
        let mut desired = BTreeMap::new();
        for wish in self.shell.with(ask).await? {
            match session_of(&wish) {
                Ok(config) => {
                    desired.insert(wish.remote, config);
                }
                Err(why) => {
                    unwatched.insert(wish.remote, why);
                }
            }
        }
        let gone = |(remote, watched): (&PeerKey, &Watched)| {
            let stays = desired.get(remote);
            (!stays.is_some_and(|new| is_same(new, &watched.config))).then(|| remote.clone())
        };
        let gone: Vec<PeerKey> = self.watched.iter().filter_map(gone).collect();
        for remote in gone {
            if let Some(watched) = self.watched.remove(&remote) {
                self.bfd.remove(watched.session).await.map_err(stopped)?;
            }
        }
        for (remote, config) in desired {
            let old = self.watched.get(&remote);
            if old.is_some_and(|old| old.config == config) {
                continue;
            }
            match self.bfd.set(config.clone()).await {
                Ok(session) => {
                    let up = old.is_some_and(|old| old.up);
                    let watched = Watched {
                        session,
                        config,
                        up,
                    };
                    self.watched.insert(remote, watched);
                }
                Err(BfdError::Config(why)) => {
                    unwatched.insert(remote, why.to_string());
                }
                Err(BfdError::Stopped(_)) => return Err(Stopped),
            }
        }
        for (remote, why) in &unwatched {
            if lock(&self.unwatched).get(remote) != Some(why) {
                warn!(%remote, %why, "peer is not watched by BFD");
            }
        }
        *lock(&self.unwatched) = unwatched;
        Ok(())
    }

    async fn hand_over(&mut self, event: Event) -> Result<(), Stopped> {
        let (session, state) = match event {
            Event::Up { session, .. } => (session, BfdState::Up),
            Event::Down {
                session, reason, ..
            } => (session, state_after(reason)),
        };
        self.tell(session, state).await
    }

    /// Too much has happened to hear it all: what counts is how it is now.
    async fn catch_up(&mut self) -> Result<(), Stopped> {
        let view = self.bfd.view().await.map_err(stopped)?;
        for session in view.sessions {
            let state = match session.session.state {
                State::Up => BfdState::Up,
                // Also what has gone down and came up again would be noticed, by the packets of BGP.
                State::Down | State::Init => BfdState::Down,
                State::AdminDown => BfdState::AdminDown,
            };
            let id = session.session.discriminator;
            let was_up = self.watched.values().any(|w| w.session == id && w.up);
            if was_up != (state == BfdState::Up) {
                self.tell(id, state).await?;
            }
        }
        Ok(())
    }

    async fn tell(&mut self, session: SessionId, state: BfdState) -> Result<(), Stopped> {
        let mut watched = self.watched.iter_mut();
        let Some((remote, watched)) = watched.find(|(_, w)| w.session == session) else {
            // Nobody wishes it any more.
            return Ok(());
        };
        watched.up = state == BfdState::Up;
        let remote = remote.clone();
        let tell = move |speaker: &mut Speaker, now: Time| speaker.handle_bfd(now, remote, state);
        self.shell.with(tell).await
    }
}

/// A session that is the same may be changed; another one takes its place.
fn is_same(one: &SessionConfig, other: &SessionConfig) -> bool {
    let ends =
        |config: &SessionConfig| (config.kind, config.remote, config.local, config.interface);
    ends(one) == ends(other)
}

fn state_after(reason: DownReason) -> BfdState {
    match reason {
        DownReason::AdminDown | DownReason::RemoteAdminDown => BfdState::AdminDown,
        DownReason::DetectionTimeExpired | DownReason::RemoteDown(_) => BfdState::Down,
    }
}

/// What the kernel makes of a wish.
fn session_of(wish: &BfdWish) -> Result<SessionConfig, String> {
    let remote = wish.remote.address();
    let interface = match wish.remote.interface() {
        Some(name) => index_of(name).map_err(|error| socket::in_words(&error))?,
        None => 0,
    };
    let multihop = match wish.config.multihop {
        Some(multihop) => multihop,
        None => !is_on_link(remote).map_err(|why| format!("cannot list interfaces: {why}"))?,
    };
    let kind = if multihop {
        Kind::MultiHop
    } else {
        Kind::SingleHop
    };
    let local = match wish.local {
        Some(local) => local,
        None => source_towards(with_scope(remote, kind.port(), interface))
            .map_err(|why| format!("no way to it: {why}"))?,
    };
    let interval = Duration::from_millis(wish.config.min_interval_milliseconds.into());
    Ok(SessionConfig {
        remote,
        local,
        interface,
        kind,
        min_tx: interval,
        min_rx: interval,
        multiplier: wish.config.multiplier,
        admin_down: false,
    })
}

fn index_of(name: &str) -> io::Result<u32> {
    // Any socket will do.
    let socket = Socket::new(Domain::IPV6, Type::DGRAM, None)?;
    socket::device_index(&socket, name)
}

fn with_scope(address: IpAddr, port: u16, interface: u32) -> SocketAddr {
    match address {
        IpAddr::V4(_) => SocketAddr::new(address, port),
        IpAddr::V6(address) => SocketAddrV6::new(address, port, 0, interface).into(),
    }
}

fn stopped(_: caracal_bfd_net::Stopped) -> Stopped {
    Stopped
}

fn lock(unwatched: &Unwatched) -> MutexGuard<'_, BTreeMap<PeerKey, String>> {
    // A map is whole after every step.
    unwatched.lock().unwrap_or_else(PoisonError::into_inner)
}

const LOOK_AGAIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
