//! The speaker: peers and RIBs.
//!
//! Inputs are `handle_*` (network and time) and plain verbs (configuration, local prefixes); outputs are
//! `poll_*`. After any input the driver drains, in this order: `poll_action`, `poll_transmit` for each
//! `poll_ready`, `poll_event`, `poll_route_change`, and then asks `poll_timeout`.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use crate::config::{LocalPath, PeerConfig, SpeakerConfig};
use crate::event::{Action, ConnectionId, Event, PeerId};
use crate::time::Time;
use crate::view::{PeerView, RouteView};

/// A BGP speaker (RFC 4271).
#[derive(Debug)]
pub struct Speaker {}

impl Speaker {
    /// A speaker without peers and prefixes.
    pub fn new(config: SpeakerConfig, now: Time) -> Speaker {
        todo!()
    }

    /// Adds the peer, or changes it as gently as the difference allows.
    pub fn set_peer(&mut self, now: Time, config: PeerConfig) -> PeerId {
        todo!()
    }

    /// Ends the session (Cease, Peer De-configured) and forgets the peer and its paths.
    pub fn remove_peer(&mut self, now: Time, remote: IpAddr) {
        todo!()
    }

    /// Makes `prefix` a local path, or changes its attributes.
    pub fn originate(&mut self, now: Time, prefix: IpNet, path: LocalPath) {
        todo!()
    }

    /// Takes a local path back.
    pub fn withdraw(&mut self, now: Time, prefix: IpNet) {
        todo!()
    }

    /// A restarting speaker has all its local paths: End-of-RIB may go out to each peer as soon as
    /// what it should get is out.
    pub fn finish_restart(&mut self, now: Time) {
        todo!()
    }

    /// Someone connected to us. `Err` names why it is refused; close the socket then.
    pub fn handle_incoming(&mut self, now: Time, local: SocketAddr, remote: SocketAddr) -> Result<ConnectionId, String> {
        todo!()
    }

    /// A connection that [`Action::Connect`] asked for is there.
    pub fn handle_connected(&mut self, now: Time, connection: ConnectionId, local: SocketAddr) {
        todo!()
    }

    /// A connection that [`Action::Connect`] asked for could not be made.
    pub fn handle_connect_failed(&mut self, now: Time, connection: ConnectionId, reason: &str) {
        todo!()
    }

    /// Bytes arrived, in order, cut anywhere.
    pub fn handle_bytes(&mut self, now: Time, connection: ConnectionId, bytes: &[u8]) {
        todo!()
    }

    /// The connection ended from the other side or broke.
    pub fn handle_closed(&mut self, now: Time, connection: ConnectionId, reason: &str) {
        todo!()
    }

    /// Some deadline of `poll_timeout` has come.
    pub fn handle_timeout(&mut self, now: Time) {
        todo!()
    }

    /// Shuts every session down (Cease, Administrative Shutdown), or, with `keep_forwarding`, closes
    /// them so that graceful-restart helpers keep our routes (no NOTIFICATION, RFC 4724 §4).
    pub fn shut_down(&mut self, now: Time, keep_forwarding: bool) {
        todo!()
    }

    /// The next thing to do.
    #[must_use]
    pub fn poll_action(&mut self) -> Option<Action> {
        todo!()
    }

    /// A connection that has something to send. Each is named once until `poll_transmit` has emptied it.
    #[must_use]
    pub fn poll_ready(&mut self) -> Option<ConnectionId> {
        todo!()
    }

    /// Appends up to about `bytes_max` octets (whole messages) for this connection to `out`; true when
    /// there may be more. The driver calls it when the socket has room, so a peer that reads slowly
    /// holds nobody up, and what was superseded meanwhile is never sent.
    #[must_use]
    pub fn poll_transmit(&mut self, now: Time, connection: ConnectionId, out: &mut Vec<u8>, bytes_max: usize) -> bool {
        todo!()
    }

    /// The next state change.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        todo!()
    }

    /// A prefix whose place in the Loc-RIB has changed since it was last named here. Ask `route` for
    /// what it is *now*.
    #[must_use]
    pub fn poll_route_change(&mut self) -> Option<IpNet> {
        todo!()
    }

    /// Whether `poll_route_change` would name a prefix. The shell wakes those who wait for routes by it.
    #[must_use]
    pub fn has_route_changes(&self) -> bool {
        todo!()
    }

    /// Name and address of a peer that an [`Event`] is about; `None` once it is removed and its last
    /// event has been polled. For the shell's log lines.
    #[must_use]
    pub fn peer_identity(&self, peer: PeerId) -> Option<(String, IpAddr)> {
        todo!()
    }

    /// When `handle_timeout` is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        todo!()
    }

    /// Every peer, in order of address.
    pub fn peers(&self, now: Time) -> Vec<PeerView> {
        todo!()
    }

    /// One prefix of the Loc-RIB with all candidates and why each lost; `None`: no path at all.
    pub fn route(&self, prefix: &IpNet) -> Option<RouteView> {
        todo!()
    }

    /// Next hops of the chosen learned paths of a prefix, cheaply: for the FIB. Empty for no route and
    /// for local paths.
    pub fn next_hops(&self, prefix: &IpNet) -> Vec<IpAddr> {
        todo!()
    }

    /// The whole Loc-RIB in order of prefix.
    pub fn routes(&self) -> Vec<RouteView> {
        todo!()
    }

    /// What was sent to this peer and stands (its Adj-RIB-Out), in order of prefix.
    pub fn advertised(&self, remote: IpAddr) -> Vec<IpNet> {
        todo!()
    }
}
