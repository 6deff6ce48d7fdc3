//! Connections come and go: connecting, accepting, collisions, sessions up and down.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use smallvec::SmallVec;

use super::Speaker;
use super::contest::collided;
use crate::collision::Initiator;
use crate::connection::{Connection, End, Input, Outcome, State};
use crate::event::{Action, ConnectionId, Event, PeerId};
use crate::peer::{Peer, Phase};
use crate::rib::{MemberTerms, PeerFacts, PerFamily};
use crate::tap::Tapped;
use crate::time::Time;
use crate::wire::Notification;

impl Speaker {
    /// Does what a connection's step asks for.
    pub(super) fn act(
        &mut self,
        now: Time,
        peer: PeerId,
        connection: ConnectionId,
        outcome: Outcome,
    ) {
        match outcome {
            Outcome::Nothing => {}
            Outcome::Opened => {
                // What is not there yet need not come: nothing was said on it, so the peer has not
                // chosen it.
                self.give_up(peer);
                self.opened(now, peer, connection);
            }
            Outcome::Up => {
                self.settle_contest(now, peer, connection);
                self.session_up(now, peer, connection);
            }
            Outcome::Update(update) => self.update(now, peer, update),
            Outcome::Refresh(refresh) => self.refresh(now, peer, refresh),
            Outcome::Ended(end) => {
                self.actions.push_back(Action::Close { connection });
                self.connection_ended(now, peer, connection, end);
            }
        }
    }

    pub(super) fn connection_mut(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
    ) -> Option<&mut Connection> {
        self.peers.get_mut(&peer)?.connection_mut(id)
    }

    /// Takes an incoming connection, or says why not.
    pub(super) fn accept(
        &mut self,
        now: Time,
        peer: Option<PeerId>,
        local: SocketAddr,
        remote: IpAddr,
    ) -> Result<ConnectionId, String> {
        if self.stopped {
            return Err(format!("{remote}: this speaker is shutting down"));
        }
        let id = peer.ok_or_else(|| format!("{remote} is not a configured peer"))?;
        let peer = self
            .peers
            .get(&id)
            .ok_or_else(|| format!("{remote} is not a configured peer"))?;
        if let Some(held) = peer.held(now) {
            return Err(format!("peer {remote}: {held}"));
        }
        // Somebody who connects anew has given up what he began before.
        let mut older: SmallVec<[ConnectionId; 2]> = SmallVec::new();
        for begun in &peer.connections {
            if begun.initiator == Initiator::Remote && begun.state() < State::Established {
                older.push(begun.id);
            }
        }
        for older in older {
            self.stop(
                now,
                id,
                older,
                Some(collided()),
                "the peer has connected again",
            );
        }
        let connection = self.next_connection(id);
        self.start(now, id, connection, Initiator::Remote, local);
        self.challenge(now, id, connection);
        self.settle(now, id);
        Ok(connection)
    }

    pub(super) fn connected(
        &mut self,
        now: Time,
        id: PeerId,
        connection: ConnectionId,
        local: SocketAddr,
    ) {
        if self.is_awaited(id, connection) {
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.phase = Phase::Active { retry: None };
            }
            self.start(now, id, connection, Initiator::Local, local);
            self.challenge(now, id, connection);
        }
    }

    pub(super) fn connect_failed(
        &mut self,
        now: Time,
        id: PeerId,
        connection: ConnectionId,
        reason: &str,
    ) {
        if !self.is_awaited(id, connection) {
            return;
        }
        self.connections.remove(&connection);
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        peer.phase = Phase::Active { retry: None };
        peer.errors.connections_failed += 1;
        if peer.established().is_some() {
            // It has come to us meanwhile.
            return;
        }
        peer.blame_attempt(now, reason);
        peer.plan_retry(now, None, None, &mut self.rng);
        let (remote, reason) = (peer.config.remote_address, reason.to_owned());
        self.events.push_back(Event::ConnectionFailed {
            peer: Some(id),
            remote,
            reason,
        });
    }

    /// The driver says that the connection is gone.
    pub(super) fn lose(&mut self, now: Time, id: PeerId, connection: ConnectionId, reason: &str) {
        self.connect_failed(now, id, connection, reason);
        if let Some(alive) = self.connection_mut(id, connection)
            && let Outcome::Ended(end) = alive.step(now, Input::Lost(reason.to_owned()))
        {
            alive.transmit.clear();
            self.connection_ended(now, id, connection, end);
        }
    }

    pub(super) fn phase_timeout(&mut self, now: Time, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        match peer.phase {
            Phase::Idle { .. } if peer.config.passive => peer.phase = Phase::Active { retry: None },
            Phase::Active { .. } if !peer.connections.is_empty() => {
                // It has come to us meanwhile.
                peer.phase = Phase::Active { retry: None };
            }
            Phase::Idle { .. } | Phase::Active { .. } if peer.awaits_bfd() => {
                peer.phase = Phase::Active {
                    retry: Some(now + peer.config.connect_retry.max(CONNECT_TIME_MIN)),
                };
            }
            Phase::Idle { .. } | Phase::Active { .. } => self.connect(now, id),
            Phase::Connect { .. } => {
                let (remote, reason) = (peer.remote(), "TCP did not come up in time");
                peer.errors.connections_failed += 1;
                peer.blame_attempt(now, &format!("{remote}: {reason}"));
                let (remote, reason) = (remote.ip(), reason.to_owned());
                self.events.push_back(Event::ConnectionFailed {
                    peer: Some(id),
                    remote,
                    reason,
                });
                self.give_up(id);
                self.connect(now, id);
            }
            Phase::Stopped => {}
        }
    }

    fn session_up(&mut self, now: Time, id: PeerId, connection: ConnectionId) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        peer.phase = Phase::Active { retry: None };
        peer.ended_families.clear();
        peer.warned.clear();
        let Some(session) = peer.connection(connection) else {
            return;
        };
        let (Some(agreed), Some(terms)) = (session.negotiated(), peer.terms(&self.config, session))
        else {
            return;
        };
        let facts = PeerFacts {
            address: peer.config.remote_address,
            router_id: agreed.remote_router_id,
            kind: peer.kind(),
            long_lived: peer.config.graceful_restart.is_some()
                && !peer.config.long_lived_times().is_empty(),
        };
        let own = MemberTerms {
            limits: peer.limits_out(),
            marks_refresh: agreed.codec.enhanced_route_refresh,
        };
        let importer = peer.importer(&self.config, session);
        peer.importer = Some(importer);
        peer.full = PerFamily::default();
        self.rib.open(id, facts, terms, own);
        self.resume(now, id);
        self.events.push_back(Event::Up { peer: id, at: now });
        self.tap(|speaker| {
            let peer = speaker.peers.get(&id)?;
            let session = peer.session(peer.established()?)?;
            Some(Tapped::Up(Box::new(session)))
        });
    }

    /// A connection has ended; the driver knows.
    fn connection_ended(&mut self, now: Time, id: PeerId, connection: ConnectionId, end: End) {
        self.connections.remove(&connection);
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let Some(mut connection) = peer.remove_connection(connection) else {
            return;
        };
        let session = connection.established_at;
        peer.errors.count_end(&end, peer.phase == Phase::Stopped);
        if !connection.transmit.is_empty() {
            self.last_words
                .insert(connection.id, std::mem::take(&mut connection.transmit));
            if !connection.announced_ready {
                self.ready.push_back(connection.id);
            }
            // A driver that never asks shall not make us keep them for ever.
            if self.last_words.len() > LAST_WORDS_MAX {
                self.last_words.pop_first();
            }
        }
        if session.is_some() || peer.established().is_none() {
            if session.is_some() {
                peer.blame_end(now, &end);
            } else {
                peer.blame_attempt(now, &end.reason);
            }
            if end.is_damped() {
                // It would be told the same.
                self.give_up(id);
            }
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.plan_retry(now, Some(&end), session, &mut self.rng);
            }
        }
        self.end_contest(now, id);
        if session.is_some() {
            self.session_down(now, id, &connection, end);
        } else if let Some(peer) = self.peers.get(&id)
            // Of two connections one had to go.
            && peer.established().is_none()
        {
            let remote = peer.config.remote_address;
            self.events.push_back(Event::ConnectionFailed {
                peer: Some(id),
                remote,
                reason: end.reason,
            });
        }
    }

    fn connect(&mut self, now: Time, id: PeerId) {
        let connection = self.next_connection(id);
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let patience = peer.config.connect_retry.max(CONNECT_TIME_MIN);
        peer.phase = Phase::Connect {
            connection,
            deadline: now + self.rng.jitter(patience),
        };
        self.actions.push_back(Action::Connect {
            connection,
            peer: id,
            remote: peer.remote(),
            local: peer.config.local_address,
            interface: peer.config.interface.clone(),
        });
    }

    /// No longer wants the TCP connection that is on its way.
    pub(super) fn give_up(&mut self, id: PeerId) {
        if let Some(peer) = self.peers.get_mut(&id)
            && let Phase::Connect { connection, .. } = peer.phase
        {
            peer.phase = Phase::Active { retry: None };
            self.connections.remove(&connection);
            self.actions.push_back(Action::Close { connection });
        }
    }

    fn is_awaited(&self, id: PeerId, connection: ConnectionId) -> bool {
        let awaits = |peer: &Peer| matches!(peer.phase, Phase::Connect { connection: c, .. } if c == connection);
        self.peers.get(&id).is_some_and(awaits)
    }

    fn next_connection(&mut self, peer: PeerId) -> ConnectionId {
        let connection = ConnectionId(self.connections_made);
        self.connections_made += 1;
        self.connections.insert(connection, peer);
        connection
    }

    fn start(
        &mut self,
        now: Time,
        id: PeerId,
        connection: ConnectionId,
        by: Initiator,
        local: SocketAddr,
    ) {
        let rng = self.rng.fork();
        // A listener for both families sees IPv4 in IPv6's clothes.
        let local = SocketAddr::new(local.ip().to_canonical(), local.port());
        if let Some(peer) = self.peers.get_mut(&id) {
            let terms = (peer.offer(&self.config), peer.config.delay_open);
            peer.connections.push(Box::new(Connection::new(
                now, connection, by, local, terms, rng,
            )));
        }
    }

    pub(super) fn stop(
        &mut self,
        now: Time,
        id: PeerId,
        connection: ConnectionId,
        notification: Option<Notification>,
        reason: &str,
    ) {
        self.feed(
            now,
            id,
            connection,
            Input::Stop(notification, reason.to_owned()),
        );
    }
}

/// Least time that TCP gets.
const CONNECT_TIME_MIN: Duration = Duration::from_secs(1);
const LAST_WORDS_MAX: usize = 4096;
