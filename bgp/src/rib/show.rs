//! The RIBs for people and programs.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;
use smallvec::SmallVec;

use super::Rib;
use super::group::before_dissemination;
use super::table::{Entry, Source, Staleness};
use crate::decision;
use crate::event::PeerId;
use crate::import::Verdict;
use crate::view::{PathView, RouteView};
use crate::wire::{Attributes, Community, Nlri};

impl Rib {
    pub(crate) fn route(&self, prefix: &IpNet) -> Option<RouteView> {
        let entry = self.table.entry(self.table.find(prefix)?);
        (!entry.paths.is_empty()).then(|| self.show(entry))
    }

    /// In order of prefix.
    pub(crate) fn routes(&self) -> Vec<RouteView> {
        let entries = self.table.iter().map(|(_, entry)| entry);
        let mut known: Vec<&Entry> = entries.filter(|entry| !entry.paths.is_empty()).collect();
        known.sort_by_key(|entry| entry.prefix);
        known.into_iter().map(|entry| self.show(entry)).collect()
    }

    /// Next hops of the chosen paths; none for a local path.
    pub(crate) fn next_hops(&self, prefix: &IpNet) -> Vec<IpAddr> {
        let learned = self.learned_next_hops(prefix);
        learned.map(|(next_hop, ..)| next_hop).collect()
    }

    /// The same with the link-local one beside it, if any, and the peer that each came from.
    pub(crate) fn learned_next_hops(
        &self,
        prefix: &IpNet,
    ) -> impl Iterator<Item = (IpAddr, Option<Ipv6Addr>, PeerId)> {
        let id = self.table.find(prefix);
        let chosen = id.into_iter().flat_map(|id| self.table.entry(id).chosen());
        chosen.filter_map(|path| match path.source {
            Source::Local => None,
            Source::Peer(peer, _) => {
                let (next_hop, link_local) = path.attributes.next_hops();
                Some((next_hop?, link_local, peer))
            }
        })
    }

    /// How many prefixes would have no eligible path without these peers, by peer.
    pub(crate) fn reached_only_through(
        &self,
        is_named: impl Fn(PeerId) -> bool,
    ) -> BTreeMap<PeerId, usize> {
        let mut counts = BTreeMap::new();
        for (_, entry) in self.table.iter() {
            let eligible = entry.paths.iter();
            let eligible = eligible.filter(|path| path.verdict == Verdict::Eligible);
            let peers = eligible.map(|path| path.source.peer().filter(|peer| is_named(*peer)));
            let Some(mut peers) = peers.collect::<Option<SmallVec<[PeerId; 4]>>>() else {
                continue;
            };
            peers.sort();
            peers.dedup();
            for peer in peers {
                *counts.entry(peer).or_default() += 1;
            }
        }
        counts
    }

    /// In order of prefix and Path Identifier.
    pub(crate) fn advertised(&self, peer: PeerId) -> Vec<Nlri> {
        let mut nlris: Vec<Nlri> = self.adj_outs.standing(peer, &self.table).collect();
        nlris.sort();
        nlris
    }

    fn show(&self, entry: &Entry) -> RouteView {
        let candidates = self.adj_ins.candidates(&entry.paths);
        let selection = decision::select(&candidates, &self.options);
        let show = |(index, path): (usize, &super::Path)| {
            let mut attributes = path.attributes.unpack();
            before_dissemination(path, &mut attributes);
            let (peer, path_id) = match path.source {
                Source::Local => (None, None),
                Source::Peer(peer, path_id) => (
                    self.adj_ins.facts(peer).map(|facts| facts.address),
                    Some(path_id).filter(|&path_id| path_id != 0),
                ),
            };
            let lost = selection.lost.get(index).copied().flatten();
            PathView {
                peer,
                path_id,
                next_hop: attributes.next_hop,
                best: selection.chosen.first() == Some(&index),
                multipath: selection.chosen.contains(&index),
                stale: path.staleness != Staleness::Fresh,
                long_lived_stale: path.staleness == Staleness::LongLived,
                lost_because: lost.map(|reason| reason.to_string()),
                local_pref: decision::local_pref(&attributes),
                as_path: attributes.as_path.to_string(),
                origin: decision::origin_name(attributes.origin).to_owned(),
                med: attributes.med,
                communities: communities(&attributes),
                originator_id: attributes.originator_id,
                cluster_list: attributes.cluster_list.clone(),
            }
        };
        let mut paths: Vec<PathView> = entry.paths.iter().enumerate().map(show).collect();
        // The losers are in the order in which they came; people want one that stays.
        paths[usize::from(entry.chosen)..].sort_by_key(|path| (path.peer, path.path_id));
        RouteView {
            prefix: entry.prefix,
            paths,
        }
    }
}

/// The communities of RFC 1997, then the large ones of RFC 8092.
fn communities(attributes: &Attributes) -> Vec<String> {
    let short = attributes.communities.iter();
    let short = short.map(|&community| Community(community).to_string());
    let large = attributes.large_communities.iter();
    let large = large.map(|(administrator, one, two)| format!("{administrator}:{one}:{two}"));
    short.chain(large).collect()
}
