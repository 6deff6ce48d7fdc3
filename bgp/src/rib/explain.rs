//! What disseminate and import would say, and why, for people who ask before they change something.

use ipnet::IpNet;

use super::Rib;
use super::group::{before_dissemination, offered};
use super::table::{Entry, Path};
use crate::decision;
use crate::disseminate::Terms;
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
        for entry in self.in_order(only) {
            let signature = terms.signature(&entry.prefix);
            let candidates = self.adj_ins.candidates(&entry.paths);
            let lost = decision::select(&candidates, &self.options).lost;
            let offered = offered(terms, entry, &self.adj_ins, &self.options);
            for (index, path) in entry.paths.iter().enumerate() {
                let from = path.source.peer();
                let sender = from.and_then(|peer| self.adj_ins.facts(peer));
                let answer = match lost.get(index).copied().flatten() {
                    Some(reason) if !offered.contains(&index) => Err(format!("not best: {reason}")),
                    _ if from == Some(to) => Err("it came from this peer".to_owned()),
                    _ => terms
                        .disseminate(
                            Family::of(&entry.prefix),
                            &signature,
                            &before_dissemination(path),
                            sender,
                        )
                        .map_err(|withheld| withheld.to_string()),
                };
                let (after, reason) = match answer {
                    Ok(outgoing) => (
                        Some(show(&outgoing.attributes)),
                        decided("export", outgoing.by),
                    ),
                    Err(reason) => (None, reason),
                };
                views.push(ExportView {
                    prefix: entry.prefix,
                    from: sender.map(|facts| facts.address),
                    sent: after.is_some(),
                    reason,
                    before: show(&path.attributes),
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
        for entry in self.in_order(only) {
            let signature = importer.signature(&entry.prefix);
            let of_peer = |path: &&Path| path.source.peer() == Some(from);
            for path in entry.paths.iter().filter(of_peer) {
                let id = self.table.find(&entry.prefix);
                let received = id.and_then(|id| self.received.of(id, path.source));
                let received = received.unwrap_or(&path.attributes);
                let imported = importer.judge(Family::of(&entry.prefix), &signature, received);
                let accepted = imported.verdict == Verdict::Eligible;
                views.push(ImportView {
                    prefix: entry.prefix,
                    accepted,
                    reason: match imported.verdict {
                        Verdict::Eligible | Verdict::Policy => decided("import", imported.by),
                        verdict => verdict.to_string(),
                    },
                    before: show(received),
                    after: accepted.then(|| show(&imported.attributes)),
                });
            }
        }
        views
    }

    fn in_order(&self, only: Option<&IpNet>) -> Vec<&Entry> {
        let has_paths = |entry: &&Entry| !entry.paths.is_empty();
        if let Some(prefix) = only {
            let id = self.table.find(&prefix.trunc());
            let entry = id.map(|id| self.table.entry(id));
            return entry.filter(has_paths).into_iter().collect();
        }
        let entries = self.table.iter().map(|(_, entry)| entry);
        let mut entries: Vec<&Entry> = entries.filter(has_paths).collect();
        entries.sort_by_key(|entry| entry.prefix);
        entries
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
