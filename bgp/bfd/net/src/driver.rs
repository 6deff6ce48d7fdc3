//! The one task that owns the sessions.

mod sockets;

use std::collections::BTreeMap;
use std::future::{pending, poll_fn};
use std::io;
use std::time::Duration;

use caracal_bfd::{ConfigError, Event, SessionConfig, SessionId, Sessions, Time};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::journal::Journal;
use crate::shell::COMMANDS_MAX;
use crate::socket::DATAGRAM_OCTETS_MAX;
use crate::view::{BfdSession, BfdView, Counters};

use sockets::Sockets;

/// From the handles.
#[derive(Debug)]
pub(crate) enum Command {
    /// This session shall be like this.
    Set {
        config: SessionConfig,
        reply: oneshot::Sender<Result<SessionId, ConfigError>>,
    },
    /// This one shall be no more.
    Remove { session: SessionId },
    /// How is everything?
    View { reply: oneshot::Sender<BfdView> },
    /// End.
    Stop,
}

/// Owns the sessions and their sockets.
#[derive(Debug)]
pub(crate) struct Driver {
    sessions: Sessions,
    sockets: Sockets,
    commands: mpsc::Receiver<Command>,
    events: broadcast::Sender<Event>,
    epoch: Instant,
    counters: Counters,
    journal: Journal,
}

impl Driver {
    pub(crate) fn new(
        seed: u64,
        commands: mpsc::Receiver<Command>,
        events: broadcast::Sender<Event>,
    ) -> Driver {
        Driver {
            sessions: Sessions::new(seed),
            sockets: Sockets::default(),
            commands,
            events,
            epoch: Instant::now(),
            counters: Counters::default(),
            journal: Journal::default(),
        }
    }

    /// Runs until it is told to stop, or every handle is gone.
    pub(crate) async fn run(mut self) {
        while self.turn().await {}
        self.last_words().await;
    }

    /// One turn: wait, read, time, write. `false`: stop.
    async fn turn(&mut self) -> bool {
        let mut goes_on = true;
        tokio::select! {
            command = self.commands.recv() => goes_on = self.handle_command(command),
            () = Driver::something_to_do(self.epoch, &self.sessions, &self.sockets) => {}
        }
        for _ in 0..COMMANDS_MAX {
            let Ok(command) = self.commands.try_recv() else {
                break;
            };
            goes_on &= self.handle_command(Some(command));
        }
        self.work();
        goes_on
    }

    /// A packet, or a deadline.
    async fn something_to_do(epoch: Instant, sessions: &Sessions, sockets: &Sockets) {
        let deadlines = [sessions.poll_timeout(), sockets.retry_at()];
        let deadline = deadlines.into_iter().flatten().min();
        let timer = async {
            match deadline {
                Some(at) => sleep_until(epoch + at).await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = poll_fn(|context| sockets.poll_ready(context)) => {}
            () = timer => {}
        }
    }

    fn work(&mut self) {
        self.receive();
        let now = self.now();
        if self.sessions.poll_timeout().is_some_and(|at| at <= now) {
            self.sessions.handle_timeout(now);
        }
        self.sockets.resync(now, &self.sessions);
        while let Some(transmit) = self.sessions.poll_transmit(now) {
            if !self.sockets.send(now, &transmit) {
                self.counters.send_errors += 1;
            }
        }
        while let Some(event) = self.sessions.poll_event() {
            match event {
                Event::Up { .. } => self.counters.ups += 1,
                Event::Down { .. } => self.counters.downs += 1,
            }
            self.journal.happened(&event);
            // It fails when nobody listens, which is fine.
            let _ = self.events.send(event);
        }
    }

    /// As much from each socket as its buffer can hold: all that had arrived before we looked at the clock.
    fn receive(&mut self) {
        let mut buffer = [0; DATAGRAM_OCTETS_MAX];
        let now = self.now();
        for receiver in self.sockets.receivers_mut() {
            for _ in 0..DATAGRAMS_MAX {
                let datagram = match receiver.receive(&mut buffer) {
                    Ok(datagram) => datagram,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // About one datagram (a bad checksum, say); it is gone from the queue.
                    Err(_) => continue,
                };
                let bytes = buffer.get(..datagram.octets).unwrap_or_default();
                let taken = self.sessions.handle_packet(
                    now,
                    datagram.source,
                    receiver.local(),
                    datagram.ttl,
                    bytes,
                );
                if let Err(reason) = taken {
                    self.journal.discarded(now, datagram.source, reason);
                }
            }
        }
    }

    fn handle_command(&mut self, command: Option<Command>) -> bool {
        let now = self.now();
        match command {
            Some(Command::Set { config, reply }) => {
                let outcome = self.sessions.set(now, config.clone());
                if let Ok(id) = outcome {
                    self.sockets.want(id, &config);
                }
                let _ = reply.send(outcome);
            }
            Some(Command::Remove { session }) => self.sessions.remove(now, session),
            Some(Command::View { reply }) => {
                let _ = reply.send(self.view(now));
            }
            Some(Command::Stop) | None => return false,
        }
        true
    }

    fn view(&self, now: Time) -> BfdView {
        let sessions = self.sessions.views(now).into_iter();
        let sessions = sessions.map(|session| BfdSession {
            problem: self.sockets.problem(session.discriminator),
            session,
        });
        let discards = self.sessions.discards().iter();
        let discards = discards.map(|(reason, count)| ((*reason).to_owned(), *count));
        BfdView {
            sessions: sessions.collect(),
            discards: discards.collect::<BTreeMap<_, _>>(),
            counters: self.counters,
        }
    }

    /// Removes all sessions, which tell it to their neighbours until these had time to hear it.
    async fn last_words(mut self) {
        let now = self.now();
        for session in self.sessions.views(now) {
            self.sessions.remove(now, session.discriminator);
        }
        let patience = Instant::now() + STOP_PATIENCE;
        self.work();
        while !self.sockets.are_all_closed() {
            tokio::select! {
                () = Driver::something_to_do(self.epoch, &self.sessions, &self.sockets) => {}
                () = sleep_until(patience) => break,
            }
            self.work();
        }
    }

    fn now(&self) -> Time {
        self.epoch.elapsed()
    }
}

/// More than the kernel's usual receive buffer (212,992 octets) has room for, at about 768 octets a datagram.
const DATAGRAMS_MAX: usize = 512;
const STOP_PATIENCE: Duration = Duration::from_secs(1);
