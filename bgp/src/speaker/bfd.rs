//! What BFD says of the paths to our peers (RFC 5882), handed in by whoever has the BFD sessions.
//!
//! *Down* ends an Established session at once, and its paths are not kept: they lead where nothing arrives.
//! A session that is gone already, and whose paths wait for the peer's restart, is left alone: BFD dies with the
//! process that speaks it (RFC 5882 §4.3.2, the C bit is clear), so its silence is no news then.
//!
//! A path that fails again and again is spoken over again after 1 s, 2 s, ... up to `PeerConfig::idle_hold_max`, as after
//! errors of protocol (`PeerConfig::damp_oscillations`), until a session has lasted that long.
//!
//! *AdminDown* is an operator's wish and no failure (§3.2). A session that never came up fails nobody either, so
//! a peer without BFD can be spoken with, unless `BfdConfig::strict` says that the path has to work first.

use std::net::IpAddr;

use super::Speaker;
use smallvec::SmallVec;

use crate::config::BfdConfig;
use crate::connection::State;
use crate::event::{BfdState, ConnectionId};
use crate::peer::Phase;
use crate::peer_key::PeerKey;
use crate::record::Step;
use crate::time::Time;
use crate::wire::iana::cease;

/// A peer whose path shall be watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BfdWish {
    /// The peer.
    pub remote: PeerKey,
    /// Our end of its connection, or the address that it is bound to. `None`: as the kernel will choose.
    pub local: Option<IpAddr>,
    /// How.
    pub config: BfdConfig,
}

impl Speaker {
    /// The BFD session with a peer has entered this state. Nothing happens if the peer is not configured for BFD.
    pub fn handle_bfd(&mut self, now: Time, remote: impl Into<PeerKey>, state: BfdState) {
        let remote = remote.into();
        self.record(now, || Step::Bfd {
            remote: remote.clone(),
            state,
        });
        let Some(id) = self.find(&remote) else {
            return;
        };
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        if peer.config.bfd.is_none() {
            return;
        }
        let waited = peer.awaits_bfd();
        peer.bfd = Some(state);
        if state != BfdState::Down {
            if waited && let Phase::Active { retry: Some(retry) } = &mut peer.phase {
                *retry = now;
                self.settle(now, id);
            }
            return;
        }
        let strict = peer.config.bfd.is_some_and(|bfd| bfd.strict);
        let mut failed: SmallVec<[ConnectionId; 2]> = SmallVec::new();
        for connection in &peer.connections {
            if strict || connection.state() == State::Established {
                failed.push(connection.id);
            }
        }
        for connection in failed {
            // RFC 9384: it is told, should the path work in that direction.
            let words = "BFD: the path has failed";
            let word = self.farewell(id, connection, cease::BFD_DOWN, words);
            self.stop(now, id, connection, Some(word), words);
            self.settle(now, id);
        }
    }

    /// The peers that shall be watched, in order of their addresses. A peer that is shut down is not.
    pub fn bfd_wishes(&self) -> impl Iterator<Item = BfdWish> + '_ {
        self.by_address.iter().filter_map(|(remote, id)| {
            let peer = self.peers.get(id)?;
            if peer.config.shutdown.is_some() {
                return None;
            }
            let bound = || peer.config.local_address;
            Some(BfdWish {
                remote: remote.clone(),
                local: peer.established().map(|up| up.local.ip()).or_else(bound),
                config: peer.config.bfd?,
            })
        })
    }
}
