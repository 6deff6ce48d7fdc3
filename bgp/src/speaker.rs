//! The speaker: peers and RIBs.
//!
//! Inputs are `handle_*` (network and time) and plain verbs (configuration, local prefixes); outputs are
//! `poll_*`. After any input the driver drains, in this order: `poll_action`, `poll_transmit` for each
//! `poll_ready`, `poll_event`, `poll_route_change`, and then asks `poll_timeout`.
//!
//! Here is who may ask for what. What happens then is in `session` (connections come and go), `contest` (two of
//! them at a time), `administration` (the operator has a word), `update` and `limits` (paths come and go), `refresh`
//! and `again` (they come once more), `restart` (neither should, although a speaker restarts) and `show`;
//! what all of it begins and ends with is in `turn`.

mod administration;
mod again;
mod bfd;
mod contest;
mod explain;
mod limits;
mod refresh;
mod restart;
mod session;
mod show;
mod turn;
mod update;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use ipnet::IpNet;

pub use administration::Reset;
pub(crate) use administration::down_because;
pub(crate) use again::Again;
pub use bfd::BfdWish;

use crate::config::{LocalPath, PeerConfig, SpeakerConfig};
use crate::connection::{Outcome, State};
use crate::decision::Options;
use crate::event::{Action, ConnectionId, Event, PeerId};
use crate::import::Verdict;
use crate::peer::Peer;
use crate::peer_key::PeerKey;
use crate::peers::Peers;
use crate::record::{Octets, Step, Tape, digest};
use crate::rib::{Rib, Source};
use crate::rng::Rng;
use crate::tap::Tap;
use crate::time::Time;
use crate::timers::Timers;
use crate::wire::Attributes;
use crate::wire::iana::cease;

/// A BGP speaker (RFC 4271).
#[derive(Debug)]
pub struct Speaker {
    pub(crate) config: SpeakerConfig,
    pub(crate) peers: Peers,
    pub(crate) by_address: BTreeMap<PeerKey, PeerId>,
    /// All that the driver may report on: connections, and those that it shall make.
    connections: HashMap<ConnectionId, PeerId, FixedState>,
    /// Last words of connections that are closed.
    last_words: BTreeMap<ConnectionId, Vec<u8>>,
    pub(crate) rib: Rib,
    timers: Timers,
    rng: Rng,
    connections_made: u64,
    /// Peers that the operator has shut down, whatever their configuration says.
    shut_by_hand: BTreeMap<PeerKey, administration::ByHand>,
    /// Our local paths are all there: End-of-RIB may go out.
    may_end_rib: bool,
    pub(crate) stopped: bool,
    actions: VecDeque<Action>,
    ready: VecDeque<ConnectionId>,
    events: VecDeque<Event>,
    /// Peers that are gone, while there are events about them.
    removed: Vec<(PeerId, String, IpAddr)>,
    /// For monitors, when there are any.
    pub(crate) tap: Option<Box<Tap>>,
    /// What is done here, when it is recorded.
    pub(crate) tape: Option<Box<Tape>>,
}

impl Speaker {
    /// A speaker without peers and prefixes.
    pub fn new(config: SpeakerConfig, _now: Time) -> Speaker {
        Speaker {
            rib: Rib::new(config.seed, Options::from(&config), config.route_changes),
            rng: Rng::new(config.seed),
            may_end_rib: !config.restarting,
            config,
            peers: Peers::default(),
            by_address: BTreeMap::new(),
            connections: HashMap::with_hasher(FixedState::default()),
            last_words: BTreeMap::new(),
            timers: Timers::default(),
            connections_made: 0,
            shut_by_hand: BTreeMap::new(),
            stopped: false,
            actions: VecDeque::new(),
            ready: VecDeque::new(),
            events: VecDeque::new(),
            removed: Vec::new(),
            tap: None,
            tape: None,
        }
    }

    /// Adds the peer, or changes it as gently as the difference allows.
    pub fn set_peer(&mut self, now: Time, mut config: PeerConfig) -> PeerId {
        self.record(now, || Step::SetPeer {
            config: Box::new(config.clone()),
        });
        self.keep_shut(&mut config);
        let id = match self.by_address.get(&PeerKey::of(&config)).copied() {
            Some(id) => {
                self.change_peer(now, id, config);
                id
            }
            None => self.add_peer(now, config),
        };
        self.settle(now, id);
        id
    }

    /// Ends the session (Cease, Peer De-configured) and forgets the peer and its paths.
    pub fn remove_peer(&mut self, now: Time, remote: impl Into<PeerKey>) {
        let remote = remote.into();
        self.record(now, || Step::RemovePeer {
            remote: remote.clone(),
        });
        let word = Some((cease::PEER_DE_CONFIGURED, "peer removed"));
        self.take_out(now, &remote, word);
    }

    /// Forgets the peer and its paths; but it keeps ours for their restart time where graceful restart was agreed on
    /// (RFC 4724 §4.2), because the connection ends without a word. For a peer that hears of our prefixes in another way by
    /// now, or will in a moment: from a route reflector, where a mesh was.
    pub fn release_peer(&mut self, now: Time, remote: impl Into<PeerKey>) {
        let remote = remote.into();
        self.record(now, || Step::ReleasePeer {
            remote: remote.clone(),
        });
        self.take_out(now, &remote, None);
    }

    fn take_out(&mut self, now: Time, remote: &PeerKey, word: Option<(u8, &str)>) {
        let Some(id) = self.find(remote) else {
            return;
        };
        self.by_address.retain(|_, peer| *peer != id);
        self.stop_peer(now, id, word);
        self.end_deferral(id);
        self.rib.forget(id);
        if let Some(peer) = self.peers.remove(&id) {
            self.removed
                .push((id, peer.config.name, peer.config.remote_address));
        }
    }

    /// The whole node is about to be shut down, or no longer (RFC 8326 §4.2): its paths become everybody's last choice,
    /// and everybody's paths its own, while packets still flow. Sessions go on.
    pub fn set_graceful_shutdown(&mut self, now: Time, graceful_shutdown: bool) {
        self.record(now, || Step::GracefulShutdown {
            on: graceful_shutdown,
        });
        if self.config.graceful_shutdown == graceful_shutdown {
            return;
        }
        self.config.graceful_shutdown = graceful_shutdown;
        for id in self.peers.ids() {
            self.apply_policies(id);
            self.settle(now, id);
        }
    }

    /// Whether the whole node is about to be shut down (RFC 8326 §4.2).
    #[must_use]
    pub fn is_in_graceful_shutdown(&self) -> bool {
        self.config.graceful_shutdown
    }

    /// How we reflect (RFC 4456): under which CLUSTER_ID ([`SpeakerConfig::cluster_id`]), and whether clients hear of one
    /// another through us ([`SpeakerConfig::client_to_client`]). Sessions go on; what was received is judged anew, and what
    /// was sent is sent as it is now.
    pub fn set_reflection(
        &mut self,
        now: Time,
        cluster_id: Option<Ipv4Addr>,
        client_to_client: bool,
    ) {
        self.record(now, || Step::Reflection {
            cluster_id,
            client_to_client,
        });
        let config = &mut self.config;
        if (config.cluster_id, config.client_to_client) == (cluster_id, client_to_client) {
            return;
        }
        (config.cluster_id, config.client_to_client) = (cluster_id, client_to_client);
        for id in self.peers.ids() {
            self.apply_policies(id);
            self.settle(now, id);
        }
    }

    /// Makes `prefix` a local path, or changes its attributes.
    pub fn originate(&mut self, now: Time, prefix: IpNet, path: LocalPath) {
        self.record(now, || Step::Originate {
            prefix,
            path: path.clone(),
        });
        let attributes = self.rib.intern(Attributes {
            local_pref: path.local_pref,
            med: path.med,
            communities: path.communities,
            ..Attributes::default()
        });
        self.rib.set_path(
            Source::Local,
            prefix.trunc(),
            &attributes,
            Verdict::Eligible,
        );
    }

    /// Takes a local path back.
    pub fn withdraw(&mut self, now: Time, prefix: IpNet) {
        self.record(now, || Step::Withdraw { prefix });
        self.rib.remove_path(Source::Local, &prefix.trunc());
    }

    /// A restarting speaker has all its local paths: End-of-RIB may go out to each peer as soon as
    /// what it should get is out.
    pub fn finish_restart(&mut self, now: Time) {
        self.record(now, || Step::FinishRestart);
        if !self.may_end_rib {
            self.may_end_rib = true;
            self.rib.release_end_of_rib();
        }
    }

    /// Someone connected to us. `Err` names why it is refused; close the socket then.
    pub fn handle_incoming(
        &mut self,
        now: Time,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> Result<ConnectionId, String> {
        self.handle_incoming_over(now, local, remote, None)
    }

    /// The same, where it is known over which network device. A peer that is bound to one is taken from there only.
    pub fn handle_incoming_over(
        &mut self,
        now: Time,
        local: SocketAddr,
        remote: SocketAddr,
        interface: Option<&str>,
    ) -> Result<ConnectionId, String> {
        let address = remote.ip().to_canonical();
        let peer = self.find(&PeerKey::on(address, interface));
        let taken = match self.judge_link(peer, address, interface) {
            Ok(()) => self.accept(now, peer, local, address),
            Err(reason) => Err(reason),
        };
        match &taken {
            Ok(connection) => self.set_remote(*connection, remote),
            Err(reason) => {
                if let Some(peer) = peer.and_then(|id| self.peers.get_mut(&id)) {
                    peer.errors.connections_refused += 1;
                }
                let reason = reason.clone();
                self.events.push_back(Event::ConnectionFailed {
                    peer,
                    remote: address,
                    reason,
                });
            }
        }
        let connection = taken.as_ref().ok().copied();
        self.record(now, || Step::Incoming {
            local,
            remote,
            interface: interface.map(str::to_owned),
            connection,
        });
        taken
    }

    /// A connection that [`Action::Connect`] asked for is there.
    pub fn handle_connected(&mut self, now: Time, connection: ConnectionId, local: SocketAddr) {
        self.record(now, || Step::Connected { connection, local });
        if let Some(&peer) = self.connections.get(&connection) {
            self.connected(now, peer, connection, local);
            if let Some(remote) = self.peers.get(&peer).map(Peer::remote) {
                self.set_remote(connection, remote);
            }
            self.settle(now, peer);
        }
    }

    /// A connection that [`Action::Connect`] asked for could not be made.
    pub fn handle_connect_failed(&mut self, now: Time, connection: ConnectionId, reason: &str) {
        self.record(now, || Step::ConnectFailed {
            connection,
            reason: reason.to_owned(),
        });
        if let Some(&peer) = self.connections.get(&connection) {
            self.connect_failed(now, peer, connection, reason);
            self.settle(now, peer);
        }
    }

    /// Bytes arrived, in order, cut anywhere.
    pub fn handle_bytes(&mut self, now: Time, connection: ConnectionId, bytes: &[u8]) {
        self.record(now, || Step::Bytes {
            connection,
            octets: Octets(bytes.to_vec()),
        });
        let Some(&peer) = self.connections.get(&connection) else {
            return;
        };
        if let Some(connection) = self.connection_mut(peer, connection) {
            connection.receive(bytes);
        }
        let mut taken = 0;
        let tapped = self.taps_received();
        // The connection may be gone after each message.
        while let Some(alive) = self.connection_mut(peer, connection) {
            let message = tapped.then(|| alive.peek(taken).map(Box::from)).flatten();
            let before = taken;
            match alive.poll(now, &mut taken) {
                Some(outcome) => {
                    // A message may make the connection Established before it is taken.
                    if taken != before || outcome != Outcome::Up {
                        self.tap_received(peer, now, message);
                    }
                    self.act(now, peer, connection, outcome);
                }
                None => {
                    alive.discard(taken);
                    break;
                }
            }
        }
        self.settle(now, peer);
    }

    /// The connection ended from the other side or broke.
    pub fn handle_closed(&mut self, now: Time, connection: ConnectionId, reason: &str) {
        self.record(now, || Step::Closed {
            connection,
            reason: reason.to_owned(),
        });
        self.last_words.remove(&connection);
        let Some(&peer) = self.connections.get(&connection) else {
            return;
        };
        self.lose(now, peer, connection, reason);
        self.settle(now, peer);
    }

    /// Some deadline of `poll_timeout` has come.
    pub fn handle_timeout(&mut self, now: Time) {
        self.record(now, || Step::Timeout);
        while let Some((time, id)) = self.timers.pop(now) {
            let Some(peer) = self.peers.get_mut(&id) else {
                continue;
            };
            if peer.queued == Some(time) {
                peer.queued = None;
                self.peer_timeout(now, id);
                self.settle(now, id);
            }
        }
    }

    /// Shuts every session down (Cease, Administrative Shutdown), with `words` for the operators of the
    /// other side (RFC 9003; none when empty), or, with `keep_forwarding`, closes them so that
    /// graceful-restart helpers keep our routes (no NOTIFICATION, RFC 4724 §4, and so no words).
    pub fn shut_down(&mut self, now: Time, keep_forwarding: bool, words: &str) {
        self.record(now, || Step::ShutDown {
            keep_forwarding,
            words: words.to_owned(),
        });
        self.stopped = true;
        let word = (!keep_forwarding).then_some((cease::ADMINISTRATIVE_SHUTDOWN, words));
        for id in self.peers.ids() {
            self.stop_peer(now, id, word);
            self.settle(now, id);
        }
    }

    /// The next thing to do.
    #[must_use]
    pub fn poll_action(&mut self) -> Option<Action> {
        let action = self.actions.pop_front()?;
        self.record_output(|| Step::Action {
            action: format!("{action:?}"),
        });
        Some(action)
    }

    /// A connection that has something to send. Each is named once until `poll_transmit` has emptied it.
    #[must_use]
    pub fn poll_ready(&mut self) -> Option<ConnectionId> {
        let mut woken = false;
        while let Some(peer) = self.rib.poll_woken() {
            woken = true;
            if let Some(connection) = self.peers.get(&peer).and_then(Peer::established) {
                let connection = connection.id;
                self.announce_ready(peer, connection);
            }
        }
        let connection = self.ready.pop_front();
        if woken || connection.is_some() {
            self.record_output(|| Step::Ready { connection });
        }
        connection
    }

    /// Appends up to about `bytes_max` octets (whole messages) for this connection to `out`; true when
    /// there may be more. The driver calls it when the socket has room, so a peer that reads slowly
    /// holds nobody up, and what was superseded meanwhile is never sent.
    #[must_use]
    pub fn poll_transmit(
        &mut self,
        now: Time,
        connection: ConnectionId,
        out: &mut Vec<u8>,
        bytes_max: usize,
    ) -> bool {
        let start = out.len();
        let more = self.transmit(now, connection, out, bytes_max);
        self.record(now, || Step::Transmit {
            connection,
            octets_max: bytes_max,
            octets: out.len() - start,
            digest: digest(&out[start..]),
            more,
        });
        more
    }

    fn transmit(
        &mut self,
        now: Time,
        connection: ConnectionId,
        out: &mut Vec<u8>,
        bytes_max: usize,
    ) -> bool {
        if let Some(mut last_words) = self.last_words.remove(&connection) {
            out.append(&mut last_words);
            return false;
        }
        let Some(&id) = self.connections.get(&connection) else {
            return false;
        };
        let Some(peer) = self.peers.get_mut(&id) else {
            return false;
        };
        let Some(connection) = peer.connection_mut(connection) else {
            return false;
        };
        let room = bytes_max.saturating_sub(connection.transmit.len());
        out.append(&mut connection.transmit);
        if connection.state() != State::Established {
            connection.announced_ready = false;
            return false;
        }
        let start = out.len();
        let sent = self.rib.transmit(id, self.may_end_rib, out, room);
        connection.announced_ready = sent.more;
        peer.counters.updates_sent += sent.updates;
        peer.counters.messages_sent += sent.updates + sent.markers;
        self.tap_sent(id, now, &out[start..]);
        self.note_full(id, sent.full);
        sent.more
    }

    /// The next state change.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        if self.events.is_empty() {
            self.removed.clear();
        }
        let event = self.events.pop_front()?;
        self.record_output(|| Step::Event {
            event: format!("{event:?}"),
        });
        Some(event)
    }

    /// A prefix whose place in the Loc-RIB has changed since it was last named here. Ask `route` for
    /// what it is *now*.
    #[must_use]
    pub fn poll_route_change(&mut self) -> Option<IpNet> {
        let prefix = self.rib.poll_change()?;
        self.record_output(|| Step::RouteChange { prefix });
        Some(prefix)
    }

    /// Whether `poll_route_change` would name a prefix. The shell wakes those who wait for routes by it.
    #[must_use]
    pub fn has_route_changes(&self) -> bool {
        self.rib.has_changes()
    }

    /// Name and address of a peer that an [`Event`] is about; `None` once it is removed and its last
    /// event has been polled. For the shell's log lines.
    #[must_use]
    pub fn peer_identity(&self, peer: PeerId) -> Option<(String, IpAddr)> {
        if let Some(peer) = self.peers.get(&peer) {
            return Some((peer.config.name.clone(), peer.config.remote_address));
        }
        let mut removed = self.removed.iter().filter(|(id, ..)| *id == peer);
        removed
            .next()
            .map(|(_, name, address)| (name.clone(), *address))
    }

    /// When `handle_timeout` is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        self.timers.first()
    }
}

#[cfg(test)]
mod tests;
