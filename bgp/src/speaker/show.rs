//! Peers for people and programs.

use super::Speaker;
use crate::peer::Peer;
use crate::time::Time;
use crate::view::{FamilyView, PeerView};
use crate::wire::Family;

impl Speaker {
    pub(super) fn show_peer(&self, now: Time, peer: &Peer) -> PeerView {
        let agreed = peer.negotiated();
        let by_family: Vec<FamilyView> = Family::ALL
            .into_iter()
            .map(|family| self.show_family(peer, family))
            .filter(|view| {
                let is_agreed =
                    agreed.is_some_and(|agreed| agreed.families().contains(&view.family));
                is_agreed || view.received > 0
            })
            .collect();
        let sum = |of: fn(&FamilyView) -> usize| by_family.iter().map(of).sum();
        let furthest = peer
            .connections
            .iter()
            .find_map(|connection| connection.negotiated());
        let mut counters = peer.counters;
        for connection in &peer.connections {
            counters.add(connection.traffic);
        }
        PeerView {
            name: peer.config.name.clone(),
            address: peer.config.remote_address,
            interface: peer.config.interface.clone(),
            remote_asn: peer.remote_asn().unwrap_or(0),
            local_asn: peer.config.local_asn,
            state: peer.state().name().to_owned(),
            state_seconds: now.since(peer.state_since()).as_secs(),
            router_id: furthest.map(|agreed| agreed.remote_router_id),
            hold_time_seconds: agreed.map(|agreed| agreed.hold_time.as_secs()),
            families: agreed
                .map(|agreed| agreed.families().iter().map(Family::to_string).collect())
                .unwrap_or_default(),
            capabilities: agreed
                .map(|agreed| {
                    agreed
                        .capabilities
                        .iter()
                        .map(|&name| name.to_owned())
                        .collect()
                })
                .unwrap_or_default(),
            hostname: furthest.and_then(|agreed| agreed.hostname.clone()),
            software: furthest.and_then(|agreed| agreed.software.clone()),
            prefixes_received: sum(|view| view.received),
            prefixes_accepted: sum(|view| view.accepted),
            prefixes_stale: sum(|view| view.stale),
            prefixes_sent: sum(|view| view.sent),
            paths_refused: counters.paths_refused,
            by_family,
            end_of_rib: peer.has_all_ends(),
            deferral_pending: peer.deferral_until.is_some(),
            bfd: peer.config.bfd.map(|_| {
                peer.bfd
                    .map_or("Unknown".to_owned(), |state| state.to_string())
            }),
            flaps: counters.flaps,
            updates_received: counters.updates_received,
            updates_sent: counters.updates_sent,
            messages_received: counters.messages_received,
            messages_sent: counters.messages_sent,
            held: peer.held(now),
            last_error: peer.last_error.as_ref().map(|(why, _)| why.clone()),
            last_error_seconds: peer
                .last_error
                .as_ref()
                .map(|(_, at)| now.since(*at).as_secs()),
            errors: peer.errors.clone(),
        }
    }

    fn show_family(&self, peer: &Peer, family: Family) -> FamilyView {
        let counts = self.rib.received(peer.id, family);
        let (sent, held_back) = self.rib.sent(peer.id, family);
        let codec = peer.negotiated().map(|agreed| &agreed.codec);
        FamilyView {
            family,
            received: counts.received,
            accepted: counts.accepted,
            best: counts.best,
            stale: counts.stale,
            sent,
            held_back,
            add_path_receive: codec.is_some_and(|c| c.add_path_receive.contains(&family)),
            add_path_send: codec.is_some_and(|c| c.add_path_send.contains(&family)),
            disabled: peer.established().is_some_and(|up| up.is_disabled(family)),
        }
    }
}
