//! What a change of the cluster's resources will do to its sessions, before it is made: each node's peers as the agents compute
//! them, before and after, and how the two differ. Pure.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use caracal_datastore::resources::BGPConfiguration;
use serde::Serialize;

use crate::facts::{self, NodeFacts};
use crate::plan::Plans;
use crate::{Defaults, PeerKind, PlannedPeer, View, identity_of};
use sessions::Sessions;

mod sessions;
mod warnings;

/// What a change will do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Forecast {
    /// How many sessions come to what.
    pub counts: BTreeMap<Fate, usize>,
    /// Those that are not simply kept, in order of their ends; of each reason as many as were asked for.
    pub sessions: Vec<SessionForecast>,
    /// How many more there are of each reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub more: Vec<More>,
    /// What sessions cannot follow: an agent has to be restarted.
    pub restarts: Vec<String>,
    /// What will be wrong afterwards.
    pub warnings: Vec<String>,
    /// What of the resources could not be followed, and could before.
    pub faults: Vec<String>,
}

/// A session, both ends of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionForecast {
    /// The node.
    pub node: String,
    /// The other end: a node, or the address of a router.
    pub peer: String,
    /// The other end's address.
    pub address: IpAddr,
    /// What becomes of it.
    pub fate: Fate,
    /// Where it comes from, after the change, or before it when it ends.
    pub kind: String,
    /// Why.
    pub why: String,
}

/// Sessions that are counted and not listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct More {
    /// So many.
    pub count: usize,
    /// What becomes of them.
    pub fate: Fate,
    /// Why.
    pub why: String,
}

/// What becomes of a session. The worse, the later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Fate {
    /// It is as it was.
    Kept,
    /// Something about it changes, and it goes on.
    Changed,
    /// It will be there and was not.
    Made,
    /// It ends when those in its place are up ([`crate::Transition`]).
    Replaced,
    /// It ends at once.
    Ended,
    /// It ends and comes back.
    Restarted,
}

/// What `after` makes of `before`. Of the sessions with one fate for one reason `listed` are listed, the others counted: a mesh
/// of thousands of nodes has millions.
pub fn forecast(before: &View, after: &View, defaults: &Defaults, listed: usize) -> Forecast {
    let (old, new) = (Plans::new(before, defaults), Plans::new(after, defaults));
    let names: BTreeSet<&str> = old
        .nodes
        .iter()
        .chain(&new.nodes)
        .map(|node| node.name)
        .collect();
    let mut ends = Ends {
        before,
        old: by_name(&old.nodes),
        new: by_name(&new.nodes),
        mesh_after: facts::cluster(after).is_none_or(BGPConfiguration::mesh),
        sessions: Sessions::default(),
    };
    let mut warnings = warnings::Survey::new(&new.nodes);
    let mut reflecting = warnings::Reflecting::new(&old.nodes);
    let (mut faults, mut restarts) = (BTreeSet::new(), Vec::new());
    for node in names {
        let peers = |plans: &Plans<'_>, there: bool| match there {
            true => plans.peers_of(node),
            false => Default::default(),
        };
        let (was, is) = (ends.old.contains_key(node), ends.new.contains_key(node));
        let ((old_peers, old_faults), (new_peers, new_faults)) =
            (peers(&old, was), peers(&new, is));
        let new_faults = new_faults.into_iter();
        faults.extend(new_faults.filter(|fault| !old_faults.contains(fault)));
        warnings.take(node, &new_peers);
        reflecting.take(node, &old_peers, &new_peers);
        ends.compare(node, &old_peers, &new_peers);
        if was && is {
            restarts.extend(restart_needed(node, before, after, defaults));
        }
    }
    let (counts, sessions, more) = ends.sessions.finish(listed);
    let mut warnings = warnings.finish();
    warnings.extend(reflecting.finish());
    Forecast {
        counts,
        sessions,
        more,
        restarts,
        warnings,
        faults: faults.into_iter().collect(),
    }
}

impl Forecast {
    /// Nothing happens, and nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty() && self.restarts.is_empty() && !self.is_worrying()
    }

    /// Something will be wrong.
    pub fn is_worrying(&self) -> bool {
        !self.warnings.is_empty() || !self.faults.is_empty()
    }
}

struct Ends<'a> {
    before: &'a View,
    old: BTreeMap<&'a str, &'a NodeFacts<'a>>,
    new: BTreeMap<&'a str, &'a NodeFacts<'a>>,
    mesh_after: bool,
    sessions: Sessions,
}

impl Ends<'_> {
    fn compare(&mut self, node: &str, old: &[PlannedPeer], new: &[PlannedPeer]) {
        let address = |peer: &PlannedPeer| peer.config.remote_address;
        let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
        let is_internal = |peer: &PlannedPeer| peer.link().internal;
        let has_successor = new.clone().any(is_internal);
        loop {
            let order = match (old.peek(), new.peek()) {
                (None, None) => return,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(one), Some(other)) => address(one).cmp(&address(other)),
            };
            let gone = if order.is_le() { old.next() } else { None };
            let there = if order.is_ge() { new.next() } else { None };
            let (fate, why) = match (gone, there) {
                (Some(gone), None) => self.ended(node, gone, has_successor),
                (Some(gone), Some(there)) => changed(gone, there),
                (None, there) => (Fate::Made, there.map(origin).unwrap_or_default()),
            };
            if let Some(peer) = there.or(gone) {
                self.note(node, peer, fate, &why);
            }
        }
    }

    fn note(&mut self, node: &str, peer: &PlannedPeer, fate: Fate, why: &str) {
        let remote = peer.config.remote_address;
        let facts = self.new.get(node).or(self.old.get(node));
        let own = facts.and_then(|facts| facts.address_like(remote));
        self.sessions
            .note(node, own.unwrap_or(remote), peer, fate, why);
    }

    fn ended(&self, node: &str, gone: &PlannedPeer, has_successor: bool) -> (Fate, String) {
        let link = gone.link();
        let far = link.node.as_deref();
        let is_reflector = |name: &str| {
            let facts = self.new.get(name);
            facts.is_some_and(|facts| facts.cluster_id.is_some())
        };
        let is_gone = |name: &str| !self.new.contains_key(name);
        let why = match (gone.kind, far) {
            _ if is_gone(node) => format!("node {node} is gone"),
            (_, Some(far)) if is_gone(far) => format!("node {far} is gone"),
            (PeerKind::Mesh, _) if !self.mesh_after => "nodeToNodeMeshEnabled: false".to_owned(),
            (PeerKind::Mesh, Some(far)) if is_reflector(far) => {
                format!("{far} is a route reflector, which has no part in the mesh")
            }
            (PeerKind::Mesh, _) if is_reflector(node) => {
                format!("{node} is a route reflector, which has no part in the mesh")
            }
            (PeerKind::Mesh, _) => "the two have different AS numbers".to_owned(),
            (_, _) => match &gone.wish {
                Some(wish) if self.before.peers.contains_key(wish) => {
                    format!("BGPPeer {wish} no longer asks for it")
                }
                _ => "no BGPPeer asks for it".to_owned(),
            },
        };
        let goes_on = link.internal && has_successor && !is_gone(node) && !far.is_some_and(is_gone);
        match goes_on && (far.is_some() || link.client) {
            true => (
                Fate::Replaced,
                format!("{why}; it goes on until others bring what it brings"),
            ),
            false => (Fate::Ended, why),
        }
    }
}

/// A session that was there and will be.
fn changed(old: &PlannedPeer, new: &PlannedPeer) -> (Fate, String) {
    let fields = old.config.changes_to(&new.config);
    let named = |keeps: bool| -> Vec<&str> {
        let fields = fields.iter().filter(|field| field.keeps_session == keeps);
        fields
            .map(|field| field.field)
            .filter(|field| *field != "name")
            .collect()
    };
    let (mut kept, ended) = (named(true), named(false));
    if !ended.is_empty() {
        return (Fate::Restarted, format!("{} changes", ended.join(", ")));
    }
    if old.password_ref != new.password_ref {
        kept.push("password (at both ends within the hold time)");
    }
    if old.ttl_security != new.ttl_security {
        kept.push("ttlSecurity");
    }
    match (
        kept.as_slice(),
        old.kind == new.kind && old.wish == new.wish,
    ) {
        ([], true) => (Fate::Kept, String::new()),
        ([], false) => (Fate::Changed, format!("now from {}", origin(new))),
        (fields, _) => (
            Fate::Changed,
            format!("{} changes, under the session", fields.join(", ")),
        ),
    }
}

fn origin(peer: &PlannedPeer) -> String {
    match &peer.wish {
        Some(wish) => format!("BGPPeer {wish}"),
        None => peer.kind.to_string(),
    }
}

fn by_name<'a>(nodes: &'a [NodeFacts<'a>]) -> BTreeMap<&'a str, &'a NodeFacts<'a>> {
    nodes.iter().map(|node| (node.name, node)).collect()
}

/// What a running agent does not follow.
fn restart_needed(node: &str, before: &View, after: &View, defaults: &Defaults) -> Vec<String> {
    let identity = |view| identity_of(node, view, defaults, None).ok();
    let (Some(old), Some(new)) = (identity(before), identity(after)) else {
        return Vec::new();
    };
    let mut needed = Vec::new();
    if old.asn != new.asn {
        needed.push(format!(
            "its AS number becomes {} ({} now)",
            new.asn, old.asn
        ));
    }
    if old.router_id != new.router_id {
        needed.push(format!("its router id becomes {}", new.router_id));
    }
    if old.listen != new.listen {
        needed.push(format!("it listens on {:?}", new.listen));
    }
    let needed = needed.into_iter();
    needed
        .map(|what| format!("node {node}: {what}, with the next start of its agent"))
        .collect()
}

impl fmt::Display for Fate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Fate::Kept => "kept",
            Fate::Changed => "changed",
            Fate::Made => "made",
            Fate::Replaced => "replaced",
            Fate::Ended => "ended",
            Fate::Restarted => "restarted",
        })
    }
}

#[cfg(test)]
mod tests;
