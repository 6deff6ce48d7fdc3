//! Which sockets there shall be, which there are, and why one is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::task::{Context, Poll};
use std::time::Duration;

use caracal_bfd::{SessionConfig, SessionId, Sessions, Time, Transmit};
use tracing::{info, warn};

use crate::socket::{Receiver, Sender};

/// All sockets of the sessions.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    /// Desired: where each session hears.
    wanted: BTreeMap<SessionId, SocketAddr>,
    /// Actual.
    receivers: BTreeMap<SocketAddr, Receiver>,
    /// Pending: what could not be opened, and why.
    closed: BTreeMap<SocketAddr, String>,
    senders: BTreeMap<SessionId, Sender>,
    /// Why the last packet of a session was not sent.
    unsent: BTreeMap<SessionId, String>,
    retry_at: Option<Time>,
}

impl Sockets {
    /// The session is there, perhaps again.
    pub(super) fn want(&mut self, session: SessionId, config: &SessionConfig) {
        self.wanted.insert(session, hears_at(config));
    }

    /// Opens what is missing, unless it was just tried, and closes what no session needs.
    pub(super) fn resync(&mut self, now: Time, sessions: &Sessions) {
        self.wanted.retain(|id, _| sessions.contains(*id));
        let wanted = &self.wanted;
        self.senders.retain(|id, _| wanted.contains_key(id));
        self.unsent.retain(|id, _| wanted.contains_key(id));
        let desired: BTreeSet<SocketAddr> = wanted.values().copied().collect();
        self.receivers.retain(|at, _| desired.contains(at));
        self.closed.retain(|at, _| desired.contains(at));
        let again = self.retry_at.is_some_and(|at| at <= now);
        for at in desired {
            let untried = !self.closed.contains_key(&at);
            if !self.receivers.contains_key(&at) && (untried || again) {
                self.open(at);
            }
        }
        match self.closed.is_empty() {
            true => self.retry_at = None,
            false if again => self.retry_at = Some(now + RETRY),
            false => self.retry_at = self.retry_at.or(Some(now + RETRY)),
        }
    }

    /// When [`Sockets::resync`] should be called again.
    pub(super) fn retry_at(&self) -> Option<Time> {
        self.retry_at
    }

    pub(super) fn receivers_mut(&mut self) -> impl Iterator<Item = &mut Receiver> {
        self.receivers.values_mut()
    }

    /// One of the receivers has something, or is broken, which reading will show.
    pub(super) fn poll_ready(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut outcome = Poll::Pending;
        for receiver in self.receivers.values() {
            if receiver.poll_ready(context).is_ready() {
                outcome = Poll::Ready(());
            }
        }
        outcome
    }

    /// `false`: the system did not take it.
    pub(super) fn send(&mut self, now: Time, transmit: &Transmit) -> bool {
        let session = transmit.session;
        let outcome = match self.senders.get(&session) {
            Some(sender) => sender.send(transmit.destination, &transmit.bytes),
            None => Sender::open(transmit.source, transmit.ttl).and_then(|sender| {
                let outcome = sender.send(transmit.destination, &transmit.bytes);
                self.senders.insert(session, sender);
                outcome
            }),
        };
        match outcome {
            Ok(()) => {
                self.unsent.remove(&session);
                true
            }
            Err(error) => {
                let (from, to) = (transmit.source.ip(), transmit.destination);
                let problem = format!("cannot send from {from} to {to}: {}", in_words(&error));
                if self.unsent.get(&session) != Some(&problem) {
                    warn!(discriminator = %session, at = ?now, "BFD {problem}");
                    self.unsent.insert(session, problem);
                }
                false
            }
        }
    }

    /// Why the session cannot hear or speak.
    pub(super) fn problem(&self, session: SessionId) -> Option<String> {
        let deaf = self.wanted.get(&session).and_then(|at| self.closed.get(at));
        deaf.or_else(|| self.unsent.get(&session)).cloned()
    }

    pub(super) fn are_all_closed(&self) -> bool {
        self.wanted.is_empty()
    }

    fn open(&mut self, at: SocketAddr) {
        match Receiver::open(at) {
            Ok(receiver) => {
                self.receivers.insert(at, receiver);
                if self.closed.remove(&at).is_some() {
                    info!("BFD listens on {at} now");
                }
            }
            Err(error) => {
                let problem = format!("cannot listen on {at}: {}", in_words(&error));
                if self.closed.get(&at) != Some(&problem) {
                    warn!("BFD {problem}");
                    self.closed.insert(at, problem);
                }
            }
        }
    }
}

fn hears_at(config: &SessionConfig) -> SocketAddr {
    let port = config.kind.port();
    match config.local.to_canonical() {
        IpAddr::V6(local) if local.is_unicast_link_local() => {
            SocketAddrV6::new(local, port, 0, config.interface).into()
        }
        local => SocketAddr::new(local, port),
    }
}

fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "the port is in use, by another BFD daemon (bfdd, bird) perhaps".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => "no interface has this address".to_owned(),
        _ => error.to_string(),
    }
}

/// After which a socket that could not be opened is tried again.
const RETRY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use caracal_bfd::Kind;

    use super::*;

    #[test]
    fn a_link_local_address_is_heard_on_its_interface_and_another_on_all() {
        let config = |local: &str, kind| SessionConfig {
            remote: local.parse().unwrap(),
            local: local.parse().unwrap(),
            interface: 7,
            kind,
            min_tx: Duration::from_millis(300),
            min_rx: Duration::from_millis(300),
            multiplier: 3,
            admin_down: false,
        };
        let linked = hears_at(&config("fe80::1", Kind::SingleHop));
        assert_eq!(linked, "[fe80::1%7]:3784".parse().unwrap());
        let global = hears_at(&config("fd00::1", Kind::MultiHop));
        assert_eq!(global, "[fd00::1]:4784".parse().unwrap());
    }
}
