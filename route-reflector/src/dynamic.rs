//! Who is a peer at the moment: the configured ones, and those that came from a prefix of `dynamicPeers`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use caracal_bgp::view::PeerView;
use caracal_bgp::{PeerConfig, Speaker, Time};
use caracal_peering::change_words;
use tracing::info;

use crate::desired::Desired;

/// What the speaker has been told. Lives beside it: only the task that owns the speaker changes it.
#[derive(Debug)]
pub(crate) struct Roster {
    desired: Desired,
    actual: BTreeMap<IpAddr, PeerConfig>,
    dynamic: BTreeSet<IpAddr>,
}

impl Roster {
    /// Nobody yet.
    pub(crate) fn new(desired: Desired) -> Roster {
        Roster {
            desired,
            actual: BTreeMap::new(),
            dynamic: BTreeSet::new(),
        }
    }

    /// What was desired last.
    pub(crate) fn desired(&self) -> &Desired {
        &self.desired
    }

    /// Makes the speaker's peers what is desired now; peers that did not change are not touched.
    pub(crate) fn apply(&mut self, desired: Desired, speaker: &mut Speaker, now: Time) {
        let own = &desired.own;
        speaker.set_reflection(now, own.cluster_id, own.client_to_client);
        let last = std::mem::replace(&mut self.desired, desired);
        self.dynamic
            .retain(|address| !self.desired.peers.contains_key(address));
        let mut wanted: BTreeMap<IpAddr, PeerConfig> = self
            .desired
            .peers
            .iter()
            .map(|(address, peer)| (*address, peer.config.clone()))
            .collect();
        self.dynamic
            .extend(self.unnamed(&last, &wanted, speaker, now));
        for &address in &self.dynamic {
            if let Some(config) = self.desired.dynamic_peer(address) {
                wanted.insert(address, config);
            }
        }
        self.dynamic.retain(|address| wanted.contains_key(address));
        for address in self
            .actual
            .keys()
            .filter(|address| !wanted.contains_key(address))
        {
            match last.peers.get(address).is_some_and(|peer| peer.leaving) {
                true => speaker.release_peer(now, *address),
                false => speaker.remove_peer(now, *address),
            }
        }
        for (address, config) in &wanted {
            let before = self.actual.get(address);
            if let Some(words) = before.and_then(|old| change_words(old, config)) {
                info!("{words}");
            }
            if before != Some(config) {
                speaker.set_peer(now, config.clone());
            }
        }
        self.actual = wanted;
    }

    /// Who was named, is no longer, and would be let in by a prefix: its session goes on.
    fn unnamed(
        &self,
        last: &Desired,
        wanted: &BTreeMap<IpAddr, PeerConfig>,
        speaker: &Speaker,
        now: Time,
    ) -> Vec<IpAddr> {
        let is_let_in = |address: &&IpAddr| {
            !wanted.contains_key(*address) && self.desired.dynamic_peer(**address).is_some()
        };
        let mut unnamed: Vec<IpAddr> = last.peers.keys().filter(is_let_in).copied().collect();
        if !unnamed.is_empty() {
            let peers = speaker.peers(now);
            let up = peers.iter().filter(|peer| peer.state == "Established");
            let up: BTreeSet<IpAddr> = up.map(|peer| peer.address).collect();
            unnamed.retain(|address| up.contains(address));
        }
        unnamed
    }

    /// Someone connects: it becomes a peer if it is none and a prefix lets it.
    pub(crate) fn admit(&mut self, speaker: &mut Speaker, now: Time, address: IpAddr) {
        if self.actual.contains_key(&address) || self.dynamic.len() >= DYNAMIC_PEERS_MAX {
            return;
        }
        if let Some(config) = self.desired.dynamic_peer(address) {
            speaker.set_peer(now, config.clone());
            self.actual.insert(address, config);
            self.dynamic.insert(address);
        }
    }

    /// Forgets dynamic peers that have been away for long.
    pub(crate) fn expire(&mut self, speaker: &mut Speaker, now: Time) {
        if self.dynamic.is_empty() {
            return;
        }
        for address in self.absent(&speaker.peers(now)) {
            speaker.remove_peer(now, address);
            self.actual.remove(&address);
            self.dynamic.remove(&address);
        }
    }

    fn absent(&self, peers: &[PeerView]) -> Vec<IpAddr> {
        let away = |peer: &&PeerView| {
            self.dynamic.contains(&peer.address)
                && peer.state != "Established"
                && peer.state_seconds >= ABSENT_SECONDS_MAX
        };
        peers.iter().filter(away).map(|peer| peer.address).collect()
    }

    /// After our restart: whether all clients that are to be waited for have said what they have, or had their
    /// time. Who comes from a prefix is unknown until it comes, hence `long_enough`. Other reflectors are not
    /// waited for, or two of them would wait for each other.
    pub(crate) fn is_complete(&self, peers: &[PeerView], long_enough: bool) -> bool {
        let is_client = |address| {
            self.actual
                .get(address)
                .is_some_and(|config| config.reflector_client)
        };
        (long_enough || self.desired.dynamic.is_empty())
            && !peers
                .iter()
                .any(|peer| peer.deferral_pending && is_client(&peer.address))
    }

    /// The kind of a peer, for people.
    pub(crate) fn kind(&self, address: IpAddr) -> String {
        match self.desired.peers.get(&address) {
            Some(peer) => peer.kind.clone(),
            None => match self.actual.get(&address) {
                Some(config) if config.reflector_client => "dynamic client".to_owned(),
                _ => "dynamic peer".to_owned(),
            },
        }
    }
}

/// Longer than the restart time, so that the paths of a restarting peer are kept as long as they may be.
const ABSENT_SECONDS_MAX: u64 = 300;
/// Whoever owns the prefix could fill our memory otherwise.
const DYNAMIC_PEERS_MAX: usize = 20_000;

#[cfg(test)]
mod tests;
