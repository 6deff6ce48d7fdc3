//! Too many prefixes (RFC 4271 §6.7): a warning, and then the end of the session.

use std::time::Duration;

use super::Speaker;
use crate::config::{LimitAction, PrefixLimit};
use crate::event::{Event, PeerId};
use crate::peer::Phase;
use crate::time::Time;
use crate::wire::{Family, Notification};

impl Speaker {
    /// To be called after everything that may have brought prefixes, or changed how many there may be.
    pub(super) fn check_limits(&mut self, now: Time, id: PeerId) {
        let Some(peer) = self.peers.get(&id) else {
            return;
        };
        if peer.config.prefix_limits.is_empty() || peer.established().is_none() {
            return;
        }
        for (family, limit) in peer.config.prefix_limits.clone() {
            let received = self.rib.received(id, family).received;
            self.warn(id, family, received, &limit);
            if received > limit.max && self.exceeded(now, id, family, &limit) {
                return;
            }
        }
    }

    /// Said once when the bound comes near, and once when it is exceeded, until it is farther again.
    fn warn(&mut self, id: PeerId, family: Family, received: usize, limit: &PrefixLimit) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let exceeded = received > limit.max;
        let near = limit.warns_at().is_some_and(|at| received >= at);
        let warned = peer.warned.iter().find(|(warned, _)| *warned == family);
        let said = warned.map(|(_, exceeded)| *exceeded);
        let now = (near || exceeded).then_some(exceeded);
        if said == now {
            return;
        }
        peer.warned.retain(|(warned, _)| *warned != family);
        if let Some(exceeded) = now {
            peer.warned.push((family, exceeded));
        }
        if now > said {
            self.events.push_back(Event::PrefixLimit {
                peer: id,
                family,
                received,
                max: limit.max,
            });
        }
    }

    /// True when that ends the session.
    fn exceeded(&mut self, now: Time, id: PeerId, family: Family, limit: &PrefixLimit) -> bool {
        let phase = match limit.action {
            LimitAction::Warn => return false,
            LimitAction::Restart { after } => Phase::Idle {
                until: now + after.max(RESTART_TIME_MIN),
            },
            LimitAction::Stop => Phase::Stopped,
        };
        let why = format!("prefix limit {} of {family} exceeded", limit.max);
        self.give_up(id);
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.phase = Phase::Stopped;
        }
        let cease = Notification::prefix_limit(family, limit.max);
        for connection in self.begun(id) {
            let cease = self.meant(id, connection, cease.clone());
            self.stop(now, id, connection, Some(cease), &why);
        }
        self.drop_all(id);
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.phase = phase;
            peer.held_by_limit = true;
            peer.held_because = why;
        }
        true
    }
}

/// Less would be a loop without a pause.
const RESTART_TIME_MIN: Duration = Duration::from_secs(1);
