//! What disseminate and import would say, and why, for people who ask before they change something.

use std::fmt;

use ipnet::IpNet;

use super::Rib;
use super::group::{before_dissemination, offered};
use super::ids::PrefixId;
use super::table::{Entry, Path, Source};
use crate::config::PathsSent;
use crate::decision::{self, Reason};
use crate::disseminate::{Terms, Withheld};
use crate::event::PeerId;
use crate::import::{Importer, Verdict};
use crate::policy::{ExtendedCommunity, LargeCommunity, RuleName, StandardCommunity};
use crate::view::{AttributesView, ExportView, ImportView};
use crate::wire::{Attributes, Family};

impl Rib {
    /// In order of prefix; of a prefix the best path first.
    pub(crate) fn explain_export(
        &self,
        to: PeerId,
        terms: &Terms,
        only: Option<&IpNet>,
    ) -> Vec<ExportView> {
        let mut views = Vec::new();
        for (id, entry) in self.in_order(only) {
            let family = Family::of(&entry.prefix);
            let sends_paths = terms.sends_paths(family);
            let signature = terms.signature(&entry.prefix);
            let candidates = self.adj_ins.candidates(&entry.paths);
            let lost = decision::select(&candidates, &self.options).lost;
            let offered = offered(terms, entry, &self.adj_ins, &self.options);
            for (index, path) in entry.paths.iter().enumerate() {
                let from = path.source.peer();
                let sender = from.and_then(|peer| self.adj_ins.facts(peer));
                let path_id = sends_paths.then_some(u32::from(path.path_id));
                let place = match lost.get(index).copied().flatten() {
                    Some(reason) if !offered.contains(&index) => {
                        Err(NotSent::lost(terms, family, reason))
                    }
                    _ if sends_paths && path.path_id == 0 => Err(NotSent::NoIdentifier),
                    _ if from == Some(to) => Err(NotSent::ItsOwn),
                    _ => Ok(()),
                };
                let answer = place.and_then(|()| {
                    let mut attributes = path.attributes.unpack();
                    before_dissemination(path, &mut attributes);
                    let out = terms.disseminate(family, &signature, &attributes, sender);
                    let out = out.map_err(NotSent::Withheld)?;
                    match self.adj_outs.held_by(to, id, path_id.unwrap_or(0), family) {
                        Some(limit) => Err(NotSent::Limit(limit)),
                        None => Ok(out),
                    }
                });
                let (after, reason) = match answer {
                    Ok(outgoing) => (
                        Some(show(&outgoing.attributes)),
                        decided("export", outgoing.by),
                    ),
                    Err(reason) => (None, reason.to_string()),
                };
                views.push(ExportView {
                    prefix: entry.prefix,
                    from: sender.map(|facts| facts.address),
                    path_id: path_id.filter(|&path_id| path_id != 0),
                    sent: after.is_some(),
                    reason,
                    before: show(&path.attributes.unpack()),
                    after,
                });
            }
        }
        views
    }

    /// In order of prefix.
    pub(crate) fn explain_import(
        &self,
        from: PeerId,
        importer: &Importer,
        only: Option<&IpNet>,
    ) -> Vec<ImportView> {
        let mut views = Vec::new();
        for (id, entry) in self.in_order(only) {
            let signature = importer.signature(&entry.prefix);
            let of_peer = |path: &&Path| path.source.peer() == Some(from);
            for path in entry.paths.iter().filter(of_peer) {
                let received = self.received.of(id, path.source);
                let received = received.unwrap_or(&path.attributes).unpack();
                let path_id = match path.source {
                    Source::Peer(_, path_id) if path_id != 0 => Some(path_id),
                    _ => None,
                };
                let imported = importer.judge(Family::of(&entry.prefix), &signature, &received);
                let accepted = imported.verdict == Verdict::Eligible;
                views.push(ImportView {
                    prefix: entry.prefix,
                    path_id,
                    accepted,
                    reason: match imported.verdict {
                        Verdict::Eligible | Verdict::Policy => decided("import", imported.by),
                        verdict => verdict.to_string(),
                    },
                    before: show(&received),
                    after: accepted.then(|| show(&imported.attributes)),
                });
            }
        }
        views
    }

    fn in_order(&self, only: Option<&IpNet>) -> Vec<(PrefixId, &Entry)> {
        let has_paths = |(_, entry): &(PrefixId, &Entry)| !entry.paths.is_empty();
        if let Some(prefix) = only {
            let id = self.table.find(&prefix.trunc());
            let entry = id.map(|id| (id, self.table.entry(id)));
            return entry.filter(has_paths).into_iter().collect();
        }
        let mut entries: Vec<_> = self.table.iter().filter(has_paths).collect();
        entries.sort_by_key(|(_, entry)| entry.prefix);
        entries
    }
}

/// Why a path would not stand at a peer.
#[derive(Debug, Clone, Copy)]
enum NotSent<'p> {
    Ineligible(Verdict),
    NotBest(Reason),
    /// The peer gets so many of the best.
    NotAmong(usize, Reason),
    /// There are 65,535 other paths of the prefix.
    NoIdentifier,
    ItsOwn,
    Withheld(Withheld<'p>),
    /// It may have so many.
    Limit(usize),
}

impl NotSent<'_> {
    fn lost(terms: &Terms, family: Family, reason: Reason) -> NotSent<'static> {
        match (reason, terms.paths_sent) {
            (Reason::Ineligible(verdict), _) => NotSent::Ineligible(verdict),
            (reason, PathsSent::BestOf(max)) if terms.sends_paths(family) => {
                NotSent::NotAmong(max, reason)
            }
            (reason, _) => NotSent::NotBest(reason),
        }
    }
}

impl fmt::Display for NotSent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotSent::Ineligible(verdict) => write!(f, "not taken: {verdict}"),
            NotSent::NotBest(reason) => write!(f, "not best: {reason}"),
            NotSent::NotAmong(max, reason) => write!(f, "not among the best {max}: {reason}"),
            NotSent::NoIdentifier => {
                f.write_str("the prefix has more paths than there are identifiers")
            }
            NotSent::ItsOwn => f.write_str("it came from this peer"),
            NotSent::Withheld(withheld) => withheld.fmt(f),
            NotSent::Limit(limit) => {
                write!(f, "held back: the peer has its {limit} announcements")
            }
        }
    }
}

fn decided(policy: &str, by: Option<RuleName<'_>>) -> String {
    match by {
        Some(rule) => format!("{policy} policy, {rule}"),
        None => format!("{policy} policy, default"),
    }
}

fn show(attributes: &Attributes) -> AttributesView {
    let standard = attributes.communities.iter();
    let standard = standard.map(|&community| StandardCommunity(community).to_string());
    let extended = attributes.extended_communities.iter();
    let extended = extended.map(|&community| ExtendedCommunity(community).to_string());
    let large = attributes.large_communities.iter();
    let large = large.map(|&(one, two, three)| LargeCommunity(one, two, three).to_string());
    AttributesView {
        next_hop: attributes.next_hop,
        local_pref: attributes.local_pref,
        med: attributes.med,
        as_path: attributes.as_path.to_string(),
        origin: decision::origin_name(attributes.origin).to_owned(),
        communities: standard.chain(extended).chain(large).collect(),
        originator_id: attributes.originator_id,
        cluster_list: attributes.cluster_list.clone(),
    }
}
