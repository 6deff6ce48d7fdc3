//! Two connections with one peer (RFC 4271 §6.8): which one stays, and that no session is lost over it.
//!
//! The connection that the speaker with the higher BGP Identifier made is the *senior* one, the other the
//! *junior*. When the OPENs of both arrive, the senior one stays. The RFC has each end compare whenever an OPEN
//! arrives, and never give up a session that is Established. As written, with bad luck, one end takes the junior
//! one to Established before the senior one's OPEN is there, and the other end closes it: a session is lost. So
//!
//! 1. while a senior connection is there, the junior one is *held*: it does not become Established, and if it has
//!    not been confirmed by our KEEPALIVE yet, it is not;
//! 2. when the senior one's OPEN is there, the junior one is closed, unless our KEEPALIVE may have made it
//!    Established at the other end and the senior one is theirs: then they have had what they need to decide.
//!    The senior one's KEEPALIVE, or its end, says how they did;
//! 3. when the senior one ends, or says nothing for [`PATIENCE`], or an UPDATE on the junior one shows that it is
//!    Established at the other end, the junior one goes on;
//! 4. what is Established stays, and what opens later is closed, unless the peer has restarted
//!    (RFC 4724 §5).
//!
//! With a speaker that does the same, both ends close the same connection, and none that either has taken to
//! Established. A speaker that follows the RFC to the letter decides as it always does. One case it cannot be spared:
//! our junior connection is Established, and it has not had our KEEPALIVE when it opens the senior one. It closes
//! the junior one then, as the RFC has it. So a junior one that is Established and on which the peer has not said anything
//! that shows the same is left to the peer, too, and at least one of the two lives on at once.

use std::time::Duration;

use super::Speaker;
use crate::collision::{self, Initiator};
use crate::connection::{Connection, Input, State};
use crate::event::{ConnectionId, PeerId};
use crate::peer::Peer;
use crate::time::Time;
use crate::wire::Notification;
use crate::wire::iana::{cease, error_code};

impl Speaker {
    /// A connection has begun: a junior one that has its OPEN is held for it.
    pub(super) fn challenge(&mut self, now: Time, id: PeerId, new: ConnectionId) {
        for other in self.others(id, new) {
            if self.senior(id, other) == self.initiator(id, new)
                && let Some(junior) = self.connection_mut(id, other)
                && junior.state() == State::OpenConfirm
            {
                junior.hold(now + PATIENCE);
            }
        }
    }

    /// A connection has its OPEN: it may go on, must wait, or must end.
    pub(super) fn opened(&mut self, now: Time, id: PeerId, new: ConnectionId) {
        for other in self.others(id, new) {
            match self.collide(now, id, new, other) {
                Some(Collision::KeepNew) => {
                    self.stop(now, id, other, Some(collided()), "connection collision");
                }
                Some(Collision::KeepOther) => {
                    self.stop(now, id, new, Some(collided()), "connection collision");
                    // If the other end of what we keep is gone, this brings it to light.
                    if let Some(kept) = self.connection_mut(id, other) {
                        kept.probe();
                    }
                }
                Some(Collision::Restarted) => {
                    self.stop(now, id, other, None, "the peer has restarted");
                }
                Some(Collision::HoldNew) => {
                    if let Some(junior) = self.connection_mut(id, new) {
                        junior.hold(now + PATIENCE);
                    }
                }
                Some(Collision::LeaveToPeer) | None => {}
            }
        }
        if self
            .connection_mut(id, new)
            .is_some_and(|new| !new.is_held())
        {
            self.feed(now, id, new, Input::Proceed);
        }
    }

    /// A connection is Established: what else was, or was about to be, is not needed. What has not sent OPEN
    /// may still turn out to be a restarted peer.
    pub(super) fn settle_contest(&mut self, now: Time, id: PeerId, winner: ConnectionId) {
        for other in self.others(id, winner) {
            if self
                .connection_mut(id, other)
                .is_some_and(|other| other.state() >= State::OpenConfirm)
            {
                self.stop(now, id, other, Some(collided()), "connection collision");
            }
        }
    }

    /// A connection has ended: one that was held for it goes on.
    pub(super) fn end_contest(&mut self, now: Time, id: PeerId) {
        let Some(peer) = self.peers.get(&id) else {
            return;
        };
        if let [last] = peer.connections.as_slice()
            && last.is_held()
        {
            let last = last.id;
            self.feed(now, id, last, Input::Proceed);
        }
    }

    fn others(&self, id: PeerId, than: ConnectionId) -> Vec<ConnectionId> {
        let Some(peer) = self.peers.get(&id) else {
            return Vec::new();
        };
        let others = peer.connections.iter().map(|connection| connection.id);
        others.filter(|&other| other != than).collect()
    }

    fn initiator(&self, id: PeerId, connection: ConnectionId) -> Option<Initiator> {
        let connection = self.peers.get(&id)?.connection(connection)?;
        Some(connection.initiator)
    }

    /// Who makes the senior connection, as far as `opened` says who is there.
    fn senior(&self, id: PeerId, opened: ConnectionId) -> Option<Initiator> {
        let peer = self.peers.get(&id)?;
        let agreed = peer.connection(opened)?.negotiated()?;
        let local = (self.config.router_id, peer.config.local_asn);
        let remote = (agreed.remote_router_id, agreed.remote_asn);
        Some(collision::winner(local, remote))
    }

    /// `new` has just had its OPEN. `None`: one of them is gone.
    fn collide(
        &self,
        now: Time,
        id: PeerId,
        new: ConnectionId,
        other: ConnectionId,
    ) -> Option<Collision> {
        let senior = self.senior(id, new)?;
        let peer: &Peer = self.peers.get(&id)?;
        let (new, other) = (peer.connection(new)?, peer.connection(other)?);
        let is_theirs = new.initiator == senior && senior == Initiator::Remote;
        Some(if other.state() == State::Established {
            match after_established(now, new, other) {
                Collision::KeepOther if is_theirs && may_be_unknown(now, other) => {
                    Collision::LeaveToPeer
                }
                collision => collision,
            }
        } else if new.initiator == other.initiator {
            Collision::KeepNew
        } else if new.initiator != senior {
            // Its OPEN, or its end, will come.
            Collision::HoldNew
        } else if other.is_confirmed() && is_theirs {
            Collision::LeaveToPeer
        } else {
            Collision::KeepNew
        })
    }
}

/// What becomes of two connections with one peer.
enum Collision {
    KeepNew,
    KeepOther,
    /// The new one waits for the other.
    HoldNew,
    /// Both go on until the peer has closed one, or confirmed the senior one.
    LeaveToPeer,
    /// The other one's session is over, although TCP has not noticed.
    Restarted,
}

/// RFC 4724 §5 lets a new connection replace an established one as soon as TCP is there. We wait for its OPEN, so
/// that nobody can end a session by connecting.
fn after_established(now: Time, new: &Connection, established: &Connection) -> Collision {
    let restarted = |connection: &Connection| {
        let agreed = connection.negotiated();
        let graceful = agreed.and_then(|agreed| agreed.graceful_restart.as_ref());
        graceful.map(|graceful| graceful.restarted)
    };
    let is_young = is_young(now, established);
    match (restarted(established), restarted(new)) {
        (None, _) => Collision::KeepOther,
        (Some(_), _) if !is_young => Collision::Restarted,
        // Both may speak of the same restart, and be of one rush to connect.
        (Some(false), Some(true)) => Collision::Restarted,
        _ => Collision::KeepOther,
    }
}

/// At the other end the connection may not be Established yet.
fn may_be_unknown(now: Time, established: &Connection) -> bool {
    is_young(now, established) && established.traffic.updates_received == 0
}

fn is_young(now: Time, established: &Connection) -> bool {
    let since = established.established_at;
    since.is_some_and(|since| now.since(since) < PATIENCE)
}

pub(super) fn collided() -> Notification {
    Notification::new(
        error_code::CEASE,
        cease::CONNECTION_COLLISION_RESOLUTION,
        &[],
    )
}

/// How long a connection may keep another waiting, and how long after Established an OPEN may still be part of
/// the same rush to connect.
const PATIENCE: Duration = Duration::from_secs(5);
