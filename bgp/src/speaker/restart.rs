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

use smallvec::SmallVec;

use super::Speaker;
use crate::connection::{Connection, End};
use crate::event::{Event, PeerId};
use crate::negotiated::Negotiated;
use crate::stale::{Kept, Stage};
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
        self.tap_down(id, now, &end);
        self.rib.close(id);
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        peer.counters.flaps += 1;
        peer.importer = None;
        peer.again = Default::default();
        peer.ended_families.clear();
        let before = std::mem::take(&mut peer.stale);
        let agreed = connection.negotiated();
        if let Some(agreed) =
            agreed.filter(|agreed| end.is_graceful(agreed.notifications_are_graceful()))
        {
            let families = agreed.families().iter();
            peer.stale = families
                .filter_map(|&family| {
                    let (restart_time, stale_time) = agreed.times_of_grace(family)?;
                    let stale_time = peer
                        .config
                        .long_lived_max
                        .map_or(stale_time, |max| stale_time.min(max));
                    let before = before.iter().find(|kept| kept.family == family);
                    Kept::lost(now, family, restart_time, stale_time, before)
                })
                .collect();
        }
        let kept = peer.stale.clone();
        for kept in before.iter().filter(|kept| kept.stage == Stage::Refreshing) {
            // They were good until now: it was us whom the peer told once more.
            self.rib.unmark_stale(id, kept.family);
        }
        if kept.is_empty() {
            self.rib.drop_paths(id);
        } else {
            let families = |which: fn(&Kept) -> bool| -> Vec<Family> {
                let kept = kept.iter().filter(|kept| which(kept));
                kept.map(|kept| kept.family).collect()
            };
            let (all, twice) = (families(|_| true), families(Kept::is_long_lived));
            self.rib.mark_stale(id, &all, &twice);
            for kept in kept.iter().filter(|kept| kept.stage == Stage::LongLived) {
                self.begin_long_lived(id, kept.family);
            }
        }
        self.events.push_back(Event::Down {
            peer: id,
            at: now,
            reason: end.reason,
            stale_kept: !kept.is_empty(),
        });
    }

    /// A session is up: what of the stale paths may stay until End-of-RIB?
    pub(super) fn resume(&mut self, now: Time, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let before = std::mem::take(&mut peer.stale);
        let patience = peer.config.stale_path_time;
        for kept in before {
            let may_stay =
                |agreed: &Negotiated| agreed.forwarding_kept(kept.family, kept.is_long_lived());
            let Some(peer) = self.peers.get_mut(&id) else {
                return;
            };
            if peer.negotiated().is_some_and(may_stay) {
                peer.stale.push(kept.returned(now, patience));
            } else {
                self.rib.sweep_stale(id, kept.family);
            }
        }
    }

    /// The peer has sent all it has of the family (RFC 4724 §2).
    pub(super) fn end_of_rib(&mut self, id: PeerId, family: Family) {
        self.sweep(id, family, |stage| matches!(stage, Stage::Returned { .. }));
        self.tap_end_of_rib(id, family);
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

    /// A time of stale paths is over: the peer has not come back, or not said everything.
    pub(super) fn stale_due(&mut self, now: Time, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let (due, mut left): (SmallVec<[Kept; 2]>, SmallVec<[Kept; 2]>) =
            peer.stale.drain(..).partition(|kept| kept.until <= now);
        left.extend(due.iter().filter_map(|kept| kept.over(now)));
        peer.stale = left.clone();
        for kept in due {
            if left.iter().any(|left| left.family == kept.family) {
                self.begin_long_lived(id, kept.family);
                continue;
            }
            let swept = self.rib.sweep_stale(id, kept.family);
            if kept.stage == Stage::Refreshing {
                self.refreshed(id, kept.family, swept, false);
            }
        }
    }

    /// RFC 9494 §4.2: the peer's stale paths of the family are now worse than all others.
    fn begin_long_lived(&mut self, id: PeerId, family: Family) {
        self.rib.mark_long_lived_stale(id, family);
        self.events
            .push_back(Event::LongLivedStale { peer: id, family });
    }

    /// We have restarted, and no longer wait for this peer.
    pub(super) fn end_deferral(&mut self, id: PeerId) {
        if let Some(peer) = self.peers.get_mut(&id)
            && peer.deferral_until.take().is_some()
        {
            self.events.push_back(Event::DeferralOver { peer: id });
        }
    }

    /// Drops what is still stale of the family, if that is in such a stage, and says how many paths.
    pub(super) fn sweep(
        &mut self,
        id: PeerId,
        family: Family,
        stage: impl Fn(Stage) -> bool,
    ) -> Option<usize> {
        let peer = self.peers.get_mut(&id)?;
        let ends = |kept: &Kept| kept.family == family && stage(kept.stage);
        if !peer.stale.iter().any(ends) {
            return None;
        }
        peer.stale.retain(|kept| !ends(kept));
        Some(self.rib.sweep_stale(id, family))
    }
}
