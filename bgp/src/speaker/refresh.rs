//! Route refresh (RFC 2918) and its markers (RFC 7313), in both roles.
//!
//! *Asked:* the family is walked once more. Where the markers are agreed on, BoRR goes out before and EoRR after,
//! never before End-of-RIB. Whoever asks again meanwhile is answered again afterwards.
//!
//! *Told:* BoRR makes all paths of the family stale, what is said again is fresh, and EoRR drops the rest. A peer that
//! never says EoRR is waited for as long as for End-of-RIB after a restart.

use super::Speaker;
use crate::event::{Event, PeerId};
use crate::peer::Peer;
use crate::peer_key::PeerKey;
use crate::record::Step;
use crate::stale::{Kept, Stage};
use crate::time::Time;
use crate::wire::{Family, RouteRefresh, RouteRefreshKind};

impl Speaker {
    /// Asks the peer to send a family once more, or all that were negotiated (RFC 2918 §4).
    ///
    /// # Errors
    /// It is no peer of ours, has no session, cannot be asked, or the family was not negotiated.
    pub fn refresh_peer(
        &mut self,
        now: Time,
        remote: impl Into<PeerKey>,
        family: Option<Family>,
    ) -> Result<(), String> {
        let remote = remote.into();
        self.record(now, || Step::RefreshPeer {
            remote: remote.clone(),
            family,
        });
        let id = self.find(&remote);
        let id = id.ok_or_else(|| format!("{remote} is not a configured peer"))?;
        let peer = self.peers.get_mut(&id);
        let session = peer.and_then(Peer::established_mut);
        let session = session.ok_or_else(|| format!("peer {remote}: not Established"))?;
        let agreed = session.negotiated();
        if !agreed.is_some_and(|agreed| agreed.route_refresh) {
            return Err(format!("peer {remote}: does not know route refresh"));
        }
        let negotiated = agreed.map_or(&[][..], |agreed| agreed.families());
        let families = match family {
            None => negotiated.to_vec(),
            Some(family) if negotiated.contains(&family) => vec![family],
            Some(family) => return Err(format!("peer {remote}: {family} was not negotiated")),
        };
        for family in families {
            session.request_refresh(family);
        }
        self.settle(now, id);
        Ok(())
    }

    /// The peer has sent a ROUTE-REFRESH; `None`: one that we do not understand.
    pub(super) fn refresh(&mut self, now: Time, id: PeerId, refresh: Option<RouteRefresh>) {
        let Some(RouteRefresh { family, kind }) = refresh else {
            let detail = "ROUTE-REFRESH of a family or a subtype that we do not know";
            return self.ignore_refresh(id, detail.to_owned());
        };
        let agreed = self.peers.get(&id).and_then(Peer::negotiated);
        let Some(agreed) = agreed.filter(|agreed| agreed.families().contains(&family)) else {
            return self.ignore_refresh(
                id,
                format!("ROUTE-REFRESH of {family}, which was not negotiated"),
            );
        };
        let has_markers = agreed.codec.enhanced_route_refresh;
        match kind {
            RouteRefreshKind::Request => self.rib.refresh(id, family),
            // RFC 7313 §4: without the capability the markers mean nothing.
            _ if !has_markers => {
                self.ignore_refresh(id, format!("a marker of {family} that was not agreed on"));
            }
            RouteRefreshKind::Begin => self.refresh_begins(now, id, family),
            RouteRefreshKind::End => {
                let swept = self.sweep(id, family, |stage| stage == Stage::Refreshing);
                match swept {
                    Some(swept) => self.refreshed(id, family, swept, true),
                    None => self.ignore_refresh(id, format!("EoRR of {family} without BoRR")),
                }
            }
        }
    }

    /// The peer has had its time to say everything again.
    pub(super) fn refreshed(&mut self, id: PeerId, family: Family, swept: usize, complete: bool) {
        self.events.push_back(Event::Refreshed {
            peer: id,
            family,
            swept,
            complete,
        });
    }

    fn refresh_begins(&mut self, now: Time, id: PeerId, family: Family) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        // RFC 7313 §4: not before End-of-RIB, where the peer is one that says it.
        let says_end = peer
            .negotiated()
            .is_some_and(|agreed| agreed.graceful_restart.is_some());
        let stage = peer.stale.iter().find(|kept| kept.family == family);
        let returned = stage.is_some_and(|kept| matches!(kept.stage, Stage::Returned { .. }));
        if returned || says_end && !peer.ended_families.contains(&family) {
            return self.ignore_refresh(id, format!("BoRR of {family} before End-of-RIB"));
        }
        // A BoRR while another is open: everything is told from the beginning again.
        let patience = peer.config.stale_path_time;
        peer.stale.retain(|kept| kept.family != family);
        peer.stale.push(Kept::refreshing(now, family, patience));
        self.rib.mark_refreshing(id, family);
    }

    fn ignore_refresh(&mut self, id: PeerId, detail: String) {
        self.events
            .push_back(Event::RefreshIgnored { peer: id, detail });
    }
}
