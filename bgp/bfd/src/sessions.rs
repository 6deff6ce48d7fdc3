//! The set of sessions: which one a packet is for, and who has something to do.
//!
//! After any input the driver drains [`Sessions::poll_transmit`] and [`Sessions::poll_event`], and then asks
//! [`Sessions::poll_timeout`]. When both a packet and a deadline are there, the packet goes first: otherwise a
//! driver that slept too long would blame the neighbour.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::num::NonZeroU32;

use crate::Time;
use crate::config::{ConfigError, Key, Kind, SessionConfig};
use crate::event::{Event, SessionId, Transmit};
use crate::packet::{Discard, Packet};
use crate::rng::Rng;
use crate::session::{Change, Session};
use crate::timers::Timers;
use crate::view::SessionView;

/// All BFD sessions of a node.
#[derive(Debug)]
pub struct Sessions {
    by_id: BTreeMap<SessionId, Session>,
    by_key: BTreeMap<Key, SessionId>,
    /// How many sessions send from a port.
    ports: BTreeMap<u16, usize>,
    rng: Rng,
    timers: Timers,
    ready: VecDeque<SessionId>,
    events: VecDeque<Event>,
    discards: BTreeMap<&'static str, u64>,
}

impl Sessions {
    /// None yet. The seed should be hard to guess and another one after a restart: discriminators come from it.
    pub fn new(seed: u64) -> Sessions {
        Sessions {
            by_id: BTreeMap::new(),
            by_key: BTreeMap::new(),
            ports: BTreeMap::new(),
            rng: Rng::new(seed),
            timers: Timers::default(),
            ready: VecDeque::new(),
            events: VecDeque::new(),
            discards: BTreeMap::new(),
        }
    }

    /// Adds the session, or changes it as gently as RFC 5880 §6.8.3 allows. Kind and addresses make it the same.
    pub fn set(&mut self, now: Time, config: SessionConfig) -> Result<SessionId, ConfigError> {
        config.check()?;
        let key = config.key();
        if let Some(&id) = self.by_key.get(&key) {
            self.with(id, |session| {
                session.forget_at = None;
                session.configure(now, config)
            });
            return Ok(id);
        }
        let id = self.draw_id();
        let port = self.draw_port();
        let session = Session::new(now, id, config, port, self.rng.fork());
        self.by_id.insert(id, session);
        self.by_key.insert(key, id);
        *self.ports.entry(port).or_default() += 1;
        self.settle(id);
        Ok(id)
    }

    /// Ends the session without an event. The other side hears AdminDown for as long as it needs to
    /// notice; then the session is forgotten.
    pub fn remove(&mut self, now: Time, id: SessionId) {
        match self.by_id.get_mut(&id).map(|session| session.retire(now)) {
            Some(true) => self.settle(id),
            Some(false) => self.forget(id),
            None => {}
        }
    }

    /// A datagram came. The destination's port says of which kind it is (RFC 5881 §4, RFC 5883 §5).
    ///
    /// What is discarded is counted; the answer is for a log that knows moderation.
    pub fn handle_packet(
        &mut self,
        now: Time,
        source: SocketAddr,
        destination: SocketAddr,
        ttl: u8,
        bytes: &[u8],
    ) -> Result<SessionId, Discard> {
        let found = self.demultiplex(source, destination, ttl, bytes);
        let (id, packet) = found.inspect_err(|reason| {
            *self.discards.entry(reason.label()).or_default() += 1;
        })?;
        self.with(id, |session| session.handle_packet(now, packet));
        Ok(id)
    }

    /// The time that [`Sessions::poll_timeout`] named has come.
    pub fn handle_timeout(&mut self, now: Time) {
        while let Some(id) = self.timers.pop(now) {
            let Some(session) = self.by_id.get_mut(&id) else {
                continue;
            };
            session.queued = None;
            if session.forget_at.is_some_and(|at| at <= now) {
                self.forget(id);
                continue;
            }
            self.with(id, |session| session.handle_timeout(now));
        }
    }

    /// The next datagram to send, now.
    #[must_use]
    pub fn poll_transmit(&mut self, now: Time) -> Option<Transmit> {
        while let Some(id) = self.ready.pop_front() {
            let Some(session) = self.by_id.get_mut(&id) else {
                continue;
            };
            session.ready = false;
            let Some(packet) = session.transmit(now) else {
                continue;
            };
            let config = &session.config;
            let key = config.key();
            let transmit = Transmit {
                session: id,
                source: end(key.local, session.source_port, key.interface),
                destination: end(key.remote, config.kind.port(), key.interface),
                ttl: TTL,
                bytes: packet.encode(),
            };
            self.settle(id);
            return Some(transmit);
        }
        None
    }

    /// The next thing that happened.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`Sessions::handle_timeout`] wants to be called. It may turn out that there was nothing to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        self.timers.first()
    }

    /// The session is there, if only to say its last words.
    pub fn contains(&self, id: SessionId) -> bool {
        self.by_id.contains_key(&id)
    }

    /// The session as it is now.
    pub fn view(&self, now: Time, id: SessionId) -> Option<SessionView> {
        self.by_id.get(&id).map(|s| SessionView::new(now, s))
    }

    /// All of them, those too that are about to be forgotten.
    pub fn views(&self, now: Time) -> Vec<SessionView> {
        let sessions = self.by_id.values();
        sessions.map(|s| SessionView::new(now, s)).collect()
    }

    /// How many packets were discarded, by [`Discard::label`].
    pub fn discards(&self) -> &BTreeMap<&'static str, u64> {
        &self.discards
    }

    /// RFC 5880 §6.3: by our discriminator; while the other side does not know it, by the two addresses.
    fn demultiplex(
        &self,
        source: SocketAddr,
        destination: SocketAddr,
        ttl: u8,
        bytes: &[u8],
    ) -> Result<(SessionId, Packet), Discard> {
        let port = destination.port();
        let kind = Kind::from_port(port).ok_or(Discard::Port(port))?;
        if kind == Kind::SingleHop && ttl != TTL {
            return Err(Discard::Ttl(ttl));
        }
        let packet = Packet::decode(bytes)?;
        let key = Key::of_packet(kind, source, destination);
        let Some(id) = packet.your_discriminator else {
            let id = self.by_key.get(&key).copied();
            let id = id.ok_or(Discard::UnknownAddresses {
                remote: key.remote,
                local: key.local,
            })?;
            return Ok((id, packet));
        };
        let session = self.by_id.get(&id);
        let config = &session.ok_or(Discard::UnknownDiscriminator(id))?.config;
        // Whoever is far away must not come around the TTL.
        if config.kind != kind {
            return Err(Discard::Kind(id));
        }
        // On one link the source may change (RFC 5881 §6); from afar it is the little protection there is.
        if kind == Kind::MultiHop && config.key().remote != key.remote {
            return Err(Discard::Source {
                session: id,
                source_address: key.remote,
            });
        }
        Ok((id, packet))
    }

    /// Does `input` to the session and what follows from it.
    fn with(&mut self, id: SessionId, input: impl FnOnce(&mut Session) -> Option<Change>) {
        let Some(session) = self.by_id.get_mut(&id) else {
            return;
        };
        let remote = session.config.remote;
        let event = input(session).map(|change| match change {
            Change::Up => Event::Up {
                session: id,
                remote,
            },
            Change::Down(reason) => Event::Down {
                session: id,
                remote,
                diagnostic: session.diagnostic,
                reason,
            },
        });
        self.events.extend(event);
        self.settle(id);
    }

    /// Whatever happened to the session: the queues know of it.
    fn settle(&mut self, id: SessionId) {
        let Some(session) = self.by_id.get_mut(&id) else {
            return;
        };
        if !session.ready && session.wants_transmit() {
            session.ready = true;
            self.ready.push_back(id);
        }
        let deadline = session.deadline();
        self.timers.queue(id, deadline, &mut session.queued);
    }

    fn forget(&mut self, id: SessionId) {
        let Some(session) = self.by_id.remove(&id) else {
            return;
        };
        self.timers.forget(id, session.queued);
        self.by_key.remove(&session.config.key());
        if let Some(sessions) = self.ports.get_mut(&session.source_port) {
            *sessions -= 1;
            if *sessions == 0 {
                self.ports.remove(&session.source_port);
            }
        }
    }

    /// Unique and not zero (RFC 5880 §6.8.1).
    fn draw_id(&mut self) -> SessionId {
        loop {
            let number = u32::try_from(self.rng.below(1 << 32)).unwrap_or_default();
            let id = NonZeroU32::new(number).map(SessionId);
            if let Some(id) = id.filter(|id| !self.by_id.contains_key(id)) {
                return id;
            }
        }
    }

    /// RFC 5881 §4: its own as long as there are any, then one that few use.
    fn draw_port(&mut self) -> u16 {
        let count = u64::from(PORT_LAST - PORT_FIRST) + 1;
        let offset = u16::try_from(self.rng.below(count)).unwrap_or_default();
        let drawn = PORT_FIRST + offset;
        let ports = (drawn..=PORT_LAST).chain(PORT_FIRST..drawn);
        // Stops at the first unused one, which is near unless nearly all are used.
        let uses = |port: &u16| self.ports.get(port).copied().unwrap_or(0);
        let mut least = drawn;
        for port in ports {
            if uses(&port) == 0 {
                return port;
            }
            if uses(&port) < uses(&least) {
                least = port;
            }
        }
        least
    }
}

fn end(address: IpAddr, port: u16, interface: u32) -> SocketAddr {
    match address {
        IpAddr::V4(address) => SocketAddr::from((address, port)),
        IpAddr::V6(address) => SocketAddrV6::new(address, port, 0, interface).into(),
    }
}

/// RFC 5881 §5. Over several hops too, so that the other side can tell how far we are.
const TTL: u8 = 255;

/// RFC 5881 §4.
const PORT_FIRST: u16 = 49152;
const PORT_LAST: u16 = 65535;

#[cfg(test)]
mod tests;
