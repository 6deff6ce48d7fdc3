//! Paths that we have not kept and want after all: those refused because a prefix had too many (RFC 7911), and all of a
//! peer of which nothing is kept as it was received (`PeerConfig::keep_received`). Only a route refresh (RFC 2918) brings
//! them.

use std::collections::BTreeSet;
use std::time::Duration;

use ipnet::IpNet;
use smallvec::SmallVec;

use super::Speaker;
use crate::event::{Event, PeerId};
use crate::peer::Peer;
use crate::time::Time;
use crate::wire::{Family, Nlri};

/// What we want of a peer once more.
#[derive(Debug, Default)]
pub(crate) struct Again {
    /// Prefixes of which paths were refused: each has as many as the peer may have, so there are not many.
    refused: BTreeSet<IpNet>,
    families: SmallVec<[Family; 2]>,
    /// When we ask.
    pub(crate) at: Option<Time>,
}

impl Speaker {
    /// The peer has sent more paths of prefixes than we keep.
    pub(super) fn refuse_paths(&mut self, id: PeerId, refused: &[Nlri]) {
        let (Some(&first), Some(peer)) = (refused.first(), self.peers.get_mut(&id)) else {
            return;
        };
        peer.counters.paths_refused += refused.len() as u64;
        let prefixes = refused.iter().map(|nlri| nlri.prefix);
        peer.again.refused.extend(prefixes);
        self.events.push_back(Event::PathsRefused {
            peer: id,
            count: refused.len(),
            first,
            paths_max: peer.config.add_path.receive_max,
        });
    }

    /// Paths of these have gone. Where that leaves room for what was refused, the family is asked for, after a moment:
    /// a prefix that changes all the time is no reason to ask all the time.
    pub(super) fn note_room(&mut self, now: Time, id: PeerId, gone: &[Nlri]) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        if peer.again.refused.is_empty() || !can_be_asked(peer) {
            return;
        }
        let paths_max = peer.config.add_path.receive_max;
        for Nlri { prefix, .. } in gone {
            if self.rib.fresh_paths(id, prefix) < paths_max && peer.again.refused.remove(prefix) {
                let family = Family::of(prefix);
                if !peer.again.families.contains(&family) {
                    peer.again.families.push(family);
                }
                peer.again.at = peer.again.at.or(Some(now + PAUSE));
            }
        }
    }

    /// The peer may send more paths of a prefix than before.
    pub(super) fn note_more_room(&mut self, now: Time, id: PeerId) {
        let refused = self.peers.get(&id).map(|peer| &peer.again.refused);
        let refused: Vec<Nlri> = refused.into_iter().flatten().map(|&p| p.into()).collect();
        self.note_room(now, id, &refused);
    }

    /// The moment is over.
    pub(super) fn ask_again(&mut self, id: PeerId) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.again.at = None;
            let families = std::mem::take(&mut peer.again.families);
            ask(peer, &families);
        }
    }

    /// All that the peer has, at once.
    pub(super) fn ask_for_everything(&mut self, id: PeerId) {
        if let Some(peer) = self.peers.get_mut(&id) {
            let families = peer.negotiated().map(|agreed| agreed.families().to_vec());
            ask(peer, &families.unwrap_or_default());
        }
    }
}

/// What the peer sends is kept as it was received: `PeerConfig::keep_received`, or there is no choice since it cannot be
/// asked.
pub(crate) fn keeps_received(peer: &Peer) -> bool {
    peer.config.keep_received || !can_be_asked(peer)
}

fn can_be_asked(peer: &Peer) -> bool {
    peer.negotiated().is_some_and(|agreed| agreed.route_refresh)
}

fn ask(peer: &mut Peer, families: &[Family]) {
    if let Some(session) = peer.established_mut() {
        for &family in families {
            session.request_refresh(family);
        }
    }
}

/// From room to the request.
const PAUSE: Duration = Duration::from_secs(5);
