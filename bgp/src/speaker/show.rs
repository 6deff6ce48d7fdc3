//! Peers and routes for people and programs: questions, which change nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

use super::Speaker;
use crate::event::PeerId;
use crate::peer::Peer;
use crate::peer_key::{PeerKey, is_link_local};
use crate::time::Time;
use crate::view::{FamilyView, PeerView, RouteView};
use crate::wire::{Family, Nlri};

impl Speaker {
    /// Every peer, in order of address.
    pub fn peers(&self, now: Time) -> Vec<PeerView> {
        let peers = self.by_address.values().filter_map(|id| self.peers.get(id));
        peers.map(|peer| self.show_peer(now, peer)).collect()
    }

    /// For each of these peers, how many prefixes are reached through it and others of them, and through nobody else: what would
    /// be lost without them.
    pub fn reached_only_through(&self, peers: &BTreeSet<IpAddr>) -> BTreeMap<IpAddr, usize> {
        let named = peers.iter().filter_map(|address| {
            let id = self.find(&PeerKey::from(*address))?;
            Some((id, *address))
        });
        let named: BTreeMap<PeerId, IpAddr> = named.collect();
        let counts = self
            .rib
            .reached_only_through(|peer| named.contains_key(&peer));
        let counts = counts.into_iter();
        counts
            .filter_map(|(peer, count)| Some((*named.get(&peer)?, count)))
            .collect()
    }

    /// One prefix of the Loc-RIB with all candidates and why each lost; `None`: no path at all.
    pub fn route(&self, prefix: &IpNet) -> Option<RouteView> {
        self.rib.route(prefix)
    }

    /// Next hops of the chosen learned paths of a prefix, cheaply: for the FIB. Empty for no route and
    /// for local paths.
    pub fn next_hops(&self, prefix: &IpNet) -> Vec<IpAddr> {
        self.rib.next_hops(prefix)
    }

    /// The same with the network device of each, where the next hop's address needs one: a link-local one is on
    /// the device of the peer that it came from.
    pub fn next_hops_on_devices(
        &self,
        prefix: &IpNet,
    ) -> impl Iterator<Item = (IpAddr, Option<&str>)> {
        let device = |(next_hop, link_local, peer): (IpAddr, Option<Ipv6Addr>, PeerId)| {
            let peer = self.peers.get(&peer);
            let device = peer.and_then(|peer| peer.config.interface.as_deref());
            match link_local {
                // RFC 2545 §3: on the link that we share, the link-local one is for forwarding.
                Some(address) if device.is_some() => (address.into(), device),
                _ => (next_hop, device.filter(|_| is_link_local(&next_hop))),
            }
        };
        self.rib.learned_next_hops(prefix).map(device)
    }

    /// A peer at this address is bound to a network device, so that it matters over which one it comes.
    pub fn is_bound(&self, remote: IpAddr) -> bool {
        let id = self.by_address.get(&PeerKey::from(remote));
        let peer = id.and_then(|id| self.peers.get(id));
        peer.is_some_and(|peer| peer.config.interface.is_some())
    }

    /// The whole Loc-RIB in order of prefix.
    pub fn routes(&self) -> Vec<RouteView> {
        self.rib.routes()
    }

    /// What was sent to this peer and stands (its Adj-RIB-Out), in order of prefix and of the Path Identifier
    /// that we gave it (RFC 7911), which is 0 where ADD-PATH was not agreed on.
    pub fn advertised(&self, remote: impl Into<PeerKey>) -> Vec<Nlri> {
        self.find(&remote.into())
            .map(|peer| self.rib.advertised(peer))
            .unwrap_or_default()
    }

    /// How often UPDATEs have been encoded to be shared by peers with equal terms of export: by how much fewer these are
    /// than UPDATEs sent says how well changes are shared. What a new peer is told of what was there before is not in it.
    pub fn updates_encoded(&self) -> u64 {
        self.rib.encodes()
    }

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
