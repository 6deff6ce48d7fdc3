//! Graceful restart (RFC 4724, RFC 8538), in both roles.
//!
//! *Helper:* a session that breaks leaves its paths behind as stale. They stay for the peer's Restart Time;
//! when it is back, until its End-of-RIB, family by family; and not at all where it has not kept forwarding.
//!
//! *Restarting:* we announce R and F in our OPENs, use paths as soon as they come, and hold back only our
//! End-of-RIB until our own paths are complete. What the kernel still has from before may be deleted when a
//! peer's deferral is over, which is decided for each peer on its own: an absent one delays nobody but itself.
//! A peer that has restarted too is waited for all the same, against RFC 4724 §4.1: no Caracal holds its
//! End-of-RIB back for others, so there is no deadlock to fear, and its paths are worth the wait.

use std::time::Duration;

use super::Speaker;
use crate::connection::{Connection, End};
use crate::event::{Event, PeerId};
use crate::negotiated::GracefulRestart;
use crate::peer::Stale;
use crate::time::Time;
use crate::wire::Family;

impl Speaker {
    /// The session on `connection`, which is no longer the peer's, is over.
    pub(super) fn session_down(
        &mut self,
        now: Time,
        id: PeerId,
        connection: &Connection,
        end: End,
    ) {
        self.rib.close(id);
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        peer.counters.flaps += 1;
        peer.importer = None;
        peer.ended_families.clear();
        peer.stale = None;
        let agreed = connection.negotiated();
        let is_graceful =
            agreed.is_some_and(|agreed| end.is_graceful(agreed.notifications_are_graceful()));
        let families = agreed
            .filter(|_| is_graceful)
            .map(|agreed| agreed.kept_families())
            .unwrap_or_default();
        if families.is_empty() {
            self.rib.drop_paths(id);
        } else {
            self.rib.mark_stale(id, &families);
            let graceful = agreed.and_then(|agreed| agreed.graceful_restart.as_ref());
            let time = graceful.map_or(Duration::ZERO, |graceful| graceful.time);
            peer.stale = Some(Stale {
                families,
                until: now + time,
            });
        }
        let stale_kept = peer.stale.is_some();
        self.events.push_back(Event::Down {
            peer: id,
            at: now,
            reason: end.reason,
            stale_kept,
        });
    }

    /// A session is up: what of the stale paths may stay until End-of-RIB?
    pub(super) fn resume(&mut self, now: Time, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let Some(mut stale) = peer.stale.take() else {
            return;
        };
        let graceful = peer
            .negotiated()
            .and_then(|agreed| agreed.graceful_restart.clone());
        let kept = |graceful: &GracefulRestart, family| graceful.forwarding_kept(family);
        let (stay, go): (Vec<Family>, Vec<Family>) = stale
            .families
            .iter()
            .partition(|&&family| graceful.as_ref().is_some_and(|g| kept(g, family)));
        if !stay.is_empty() {
            stale.families = stay;
            stale.until = now + STALE_TIME_MAX;
            peer.stale = Some(stale);
        }
        for family in go {
            self.rib.sweep_stale(id, family);
        }
    }

    /// The peer has sent all it has of the family (RFC 4724 §2).
    pub(super) fn end_of_rib(&mut self, id: PeerId, family: Family) {
        self.sweep(id, &[family]);
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let had_all = peer.has_all_ends();
        if !peer.ended_families.contains(&family) {
            peer.ended_families.push(family);
        }
        if peer.has_all_ends() && !had_all {
            self.events.push_back(Event::EndOfRib { peer: id });
            self.end_deferral(id);
        }
    }

    /// The peer has not come back in time, or not said End-of-RIB.
    pub(super) fn drop_stale(&mut self, id: PeerId) {
        if let Some(stale) = self.peers.get(&id).and_then(|peer| peer.stale.clone()) {
            self.sweep(id, &stale.families);
        }
    }

    /// We have restarted, and no longer wait for this peer.
    pub(super) fn end_deferral(&mut self, id: PeerId) {
        if let Some(peer) = self.peers.get_mut(&id)
            && peer.deferral_until.take().is_some()
        {
            self.events.push_back(Event::DeferralOver { peer: id });
        }
    }

    fn sweep(&mut self, id: PeerId, families: &[Family]) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        if let Some(stale) = &mut peer.stale {
            stale.families.retain(|family| !families.contains(family));
            if stale.families.is_empty() {
                peer.stale = None;
            }
            for &family in families {
                self.rib.sweep_stale(id, family);
            }
        }
    }
}

/// How long paths may stay stale after the peer is back (RFC 4724 §4.2, last paragraph: an upper bound).
const STALE_TIME_MAX: Duration = Duration::from_secs(360);
