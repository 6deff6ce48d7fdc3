//! What every input begins and ends with: whose it is, which timers are due, what has to be told to the driver.

use std::net::{IpAddr, SocketAddr};

use super::Speaker;
use crate::config::PeerConfig;
use crate::connection::Input;
use crate::event::{ConnectionId, PeerId};
use crate::peer::{Peer, Phase};
use crate::peer_key::PeerKey;
use crate::time::Time;

impl Speaker {
    /// The peer that is meant. A link-local address without its link is enough if there is one peer with it.
    pub(crate) fn find(&self, key: &PeerKey) -> Option<PeerId> {
        let exact = self.by_address.get(key).copied();
        if exact.is_some() || !key.is_vague() {
            return exact;
        }
        // Keys with a device follow the one without it.
        let from = self.by_address.range::<PeerKey, _>(key..);
        let mut same = from.take_while(|(other, _)| other.address() == key.address());
        let first = same.next().map(|(_, &id)| id);
        first.filter(|_| same.next().is_none())
    }

    /// Whether who has come over this device may be the peer.
    pub(super) fn judge_link(
        &self,
        peer: Option<PeerId>,
        remote: IpAddr,
        interface: Option<&str>,
    ) -> Result<(), String> {
        let peer = peer.and_then(|id| self.peers.get(&id));
        match peer.and_then(|peer| peer.config.interface.as_deref()) {
            Some(bound) if interface != Some(bound) => {
                Err(format!("peer {remote}: not over {bound}"))
            }
            None if peer.is_none() && interface.is_some() => {
                let key = PeerKey::on(remote, interface);
                match self.by_address.contains_key(&PeerKey::from(remote)) {
                    true => Err(format!(
                        "peer {remote}: a link-local address needs an interface"
                    )),
                    false => Err(format!("{key} is not a configured peer")),
                }
            }
            _ => Ok(()),
        }
    }

    pub(super) fn add_peer(&mut self, now: Time, config: PeerConfig) -> PeerId {
        let id = self.peers.next_id();
        let mut peer = Peer::new(now, id, config);
        if self.stopped {
            peer.phase = Phase::Stopped;
            peer.held_because = "this speaker is shutting down".to_owned();
        }
        if self.config.restarting {
            peer.deferral_until = Some(now + self.config.selection_deferral);
        }
        self.by_address.insert(PeerKey::of(&peer.config), id);
        self.peers.insert(peer);
        id
    }

    /// To be called after everything that may have moved a peer: its timers are queued and what it has to
    /// send is announced.
    pub(super) fn settle(&mut self, now: Time, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let old = peer.note_state(now);
        let deadline = peer.next_deadline();
        self.timers.queue(id, deadline, &mut peer.queued);
        for connection in &mut peer.connections {
            if !connection.transmit.is_empty() && !connection.announced_ready {
                connection.announced_ready = true;
                self.ready.push_back(connection.id);
            }
        }
        if let Some(old) = old {
            self.tap_state(id, now, old);
        }
    }

    pub(super) fn set_remote(&mut self, connection: ConnectionId, remote: SocketAddr) {
        let peer = self.connections.get(&connection).copied();
        if let Some(connection) = peer.and_then(|peer| self.connection_mut(peer, connection)) {
            connection.remote = SocketAddr::new(remote.ip().to_canonical(), remote.port());
        }
    }

    pub(super) fn announce_ready(&mut self, peer: PeerId, connection: ConnectionId) {
        if let Some(connection) = self.connection_mut(peer, connection)
            && !connection.announced_ready
        {
            connection.announced_ready = true;
            let id = connection.id;
            self.ready.push_back(id);
        }
    }

    pub(super) fn peer_timeout(&mut self, now: Time, id: PeerId) {
        let Some(peer) = self.peers.get(&id) else {
            return;
        };
        let is_due = |deadline: Option<Time>| deadline.is_some_and(|deadline| deadline <= now);
        let (again, deferral, stale, phase) = (
            is_due(peer.again.at),
            is_due(peer.deferral_until),
            is_due(peer.stale.iter().map(|kept| kept.until).min()),
            is_due(peer.phase.deadline()),
        );
        let connections: Vec<ConnectionId> = peer.connections.iter().map(|c| c.id).collect();
        if again {
            self.ask_again(id);
        }
        if deferral {
            self.end_deferral(id);
        }
        if stale {
            self.stale_due(now, id);
        }
        for connection in connections {
            while let Some(alive) = self.connection_mut(id, connection)
                && let Some(input) = alive.due(now)
            {
                self.feed(now, id, connection, input);
            }
        }
        if phase {
            self.phase_timeout(now, id);
        }
    }

    /// One input for one connection.
    pub(super) fn feed(&mut self, now: Time, peer: PeerId, connection: ConnectionId, input: Input) {
        if let Some(alive) = self.connection_mut(peer, connection) {
            let outcome = alive.step(now, input);
            self.act(now, peer, connection, outcome);
        }
    }
}
