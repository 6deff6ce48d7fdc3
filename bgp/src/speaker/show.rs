//! Peers for people and programs.

use super::Speaker;
use crate::peer::Peer;
use crate::time::Time;
use crate::view::PeerView;
use crate::wire::Family;

impl Speaker {
    pub(super) fn show_peer(&self, now: Time, peer: &Peer) -> PeerView {
        let agreed = peer.negotiated();
        let adj_in = self.rib.adj_in(peer.id);
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
            remote_asn: peer.config.remote_asn,
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
            prefixes_received: adj_in.map_or(0, |adj_in| adj_in.received()),
            prefixes_accepted: adj_in.map_or(0, |adj_in| adj_in.accepted()),
            prefixes_stale: adj_in.map_or(0, |adj_in| adj_in.stale()),
            prefixes_sent: self.rib.standing(peer.id),
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
            last_error: peer.last_error.clone(),
        }
    }
}
