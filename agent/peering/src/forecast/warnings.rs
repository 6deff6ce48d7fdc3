//! What will be wrong with the sessions of a cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use crate::facts::NodeFacts;
use crate::{PeerKind, PlannedPeer};

/// All nodes and their internal sessions.
pub(super) struct Survey<'a> {
    nodes: &'a [NodeFacts<'a>],
    index: BTreeMap<&'a str, usize>,
    own: Vec<Own>,
}

#[derive(Default)]
struct Own {
    sessions: usize,
    /// It may hear of others through routers that nothing is known of here.
    has_router: bool,
    /// Internal sessions with nodes, by index and family, and how each sees the other.
    links: BTreeMap<(usize, bool), Seen>,
}

#[derive(Clone, Copy)]
struct Seen {
    client: bool,
    kind: PeerKind,
    /// What it takes the other's AS number to be, if that is said.
    remote_asn: Option<u32>,
    local_asn: u32,
}

impl<'a> Survey<'a> {
    pub(super) fn new(nodes: &'a [NodeFacts<'a>]) -> Survey<'a> {
        let index = nodes.iter().enumerate().map(|(at, node)| (node.name, at));
        Survey {
            index: index.collect(),
            own: nodes.iter().map(|_| Own::default()).collect(),
            nodes,
        }
    }

    pub(super) fn take(&mut self, node: &str, peers: &[PlannedPeer]) {
        let Some(&at) = self.index.get(node) else {
            return;
        };
        let mut own = Own {
            sessions: peers.len(),
            ..Own::default()
        };
        for peer in peers {
            let far = peer.node.as_deref();
            match far.and_then(|name| self.index.get(name)) {
                None => own.has_router = true,
                Some(&far) => {
                    let seen = Seen {
                        client: peer.config.reflector_client,
                        kind: peer.kind,
                        remote_asn: peer.config.remote_asn.number(peer.config.local_asn),
                        local_asn: peer.config.local_asn,
                    };
                    let v4 = IpAddr::is_ipv4(&peer.config.remote_address);
                    own.links.insert((far, v4), seen);
                }
            }
        }
        self.own[at] = own;
    }

    pub(super) fn finish(self) -> Vec<String> {
        let mut warnings = Vec::new();
        self.note_lonely(&mut warnings);
        self.note_reflectors(&mut warnings);
        self.note_one_sided(&mut warnings);
        self.note_unreached(&mut warnings);
        warnings
    }

    fn name(&self, at: usize) -> &str {
        self.nodes.get(at).map_or("", |node| node.name)
    }

    fn note_lonely(&self, warnings: &mut Vec<String>) {
        if self.nodes.len() < 2 {
            return;
        }
        let lonely = self.own.iter().enumerate();
        let lonely = lonely.filter(|(_, own)| own.sessions == 0);
        let lonely: Vec<&str> = lonely.map(|(at, _)| self.name(at)).collect();
        if !lonely.is_empty() {
            warnings.push(format!(
                "{} without any session: {}",
                counted(lonely.len(), "node"),
                few(&lonely)
            ));
        }
    }

    fn note_reflectors(&self, warnings: &mut Vec<String>) {
        for (node, own) in self.nodes.iter().zip(&self.own) {
            let has_clients = own.links.values().any(|seen| seen.client);
            if let (Some(id), false, false) = (node.cluster_id, has_clients, own.has_router) {
                warnings.push(format!(
                    "route reflector {} (cluster id {id}) is nobody's: no session of it is with a client",
                    node.name
                ));
            }
        }
        let mut clusters: BTreeMap<Ipv4Addr, Vec<usize>> = BTreeMap::new();
        for (at, node) in self.nodes.iter().enumerate() {
            if let Some(id) = node.cluster_id {
                clusters.entry(id).or_default().push(at);
            }
        }
        for (id, reflectors) in clusters {
            let clients = |at: usize| -> BTreeSet<usize> {
                let links = self.own[at].links.iter();
                let clients = links.filter(|(_, seen)| seen.client);
                clients.map(|((far, _), _)| *far).collect()
            };
            let Some((&first, others)) = reflectors.split_first() else {
                continue;
            };
            let of_first = clients(first);
            for &other in others {
                let of_other = clients(other);
                let (Some(one), Some(two)) = (
                    of_first.difference(&of_other).next(),
                    of_other.difference(&of_first).next(),
                ) else {
                    continue;
                };
                warnings.push(format!(
                    "route reflectors {} and {} have one cluster id, {id}, and not the same clients: they ignore what the other \
                     has reflected (RFC 4456 §8), so that {} and {} do not hear of each other; give them the same clients, or a \
                     cluster id each",
                    self.name(first),
                    self.name(other),
                    self.name(*one),
                    self.name(*two)
                ));
            }
        }
    }

    fn note_one_sided(&self, warnings: &mut Vec<String>) {
        let mut one_sided = Vec::new();
        for (at, own) in self.own.iter().enumerate() {
            for (&(far, v4), seen) in &own.links {
                let back = self.own.get(far).and_then(|own| own.links.get(&(at, v4)));
                match back {
                    None => one_sided.push(format!("{} → {}", self.name(at), self.name(far))),
                    Some(back) if at < far => {
                        let differs =
                            |expected: Option<u32>, is: u32| expected.is_some_and(|asn| asn != is);
                        if differs(seen.remote_asn, back.local_asn)
                            || differs(back.remote_asn, seen.local_asn)
                        {
                            let said = |asn: Option<u32>| {
                                asn.map_or("another".to_owned(), |asn| asn.to_string())
                            };
                            warnings.push(format!(
                                "{} and {} do not agree on their AS numbers, and will have no session: {} says {} and expects {}, \
                                 {} says {} and expects {}",
                                self.name(at), self.name(far),
                                self.name(at), seen.local_asn, said(seen.remote_asn),
                                self.name(far), back.local_asn, said(back.remote_asn),
                            ));
                        }
                        if seen.client
                            && back.client
                            && self.nodes[at].cluster_id != self.nodes[far].cluster_id
                            && seen.kind != PeerKind::Mesh
                        {
                            warnings.push(format!(
                                "route reflectors {} and {} take each other for clients, because their cluster ids differ: they pass \
                                 on to each other what each has from everybody else, which costs memory and messages; `client: \
                                 false` in the annotation bgp.caracal.network/session of their BGPPeer makes them equals",
                                self.name(at), self.name(far)
                            ));
                        }
                    }
                    Some(_) => {}
                }
            }
        }
        if !one_sided.is_empty() {
            let few = few(&one_sided.iter().map(String::as_str).collect::<Vec<_>>());
            warnings.push(format!(
                "{} asked for at one end only, which will not come up: {few}",
                counted(one_sided.len(), "session"),
            ));
        }
    }

    /// Whose paths do not get to whom, as RFC 4456 §6 and §8 pass them on. Nodes with sessions to routers are left out: what those
    /// pass on is not known here.
    fn note_unreached(&self, warnings: &mut Vec<String>) {
        let known: Vec<usize> = (0..self.nodes.len())
            .filter(|&at| !self.own[at].has_router && self.own[at].sessions > 0)
            .collect();
        let mut unreached = Vec::new();
        let mut count = 0;
        for &origin in &known {
            let reached = self.reached_from(origin);
            let same_as = |at: &&usize| self.nodes[**at].asn == self.nodes[origin].asn;
            for &at in known.iter().filter(same_as) {
                if at != origin && !reached[at] {
                    count += 1;
                    if unreached.len() < FEW {
                        unreached.push(format!("{} → {}", self.name(origin), self.name(at)));
                    }
                }
            }
        }
        if count > 0 {
            let more = match count - unreached.len() {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            warnings.push(format!(
                "routes of nodes do not get to other nodes, by no way of reflection: {}{more}",
                unreached.join(", ")
            ));
        }
    }

    /// Who hears of what `origin` announces, round by round: who hears it first, with the shortest CLUSTER_LIST, passes it on.
    fn reached_from(&self, origin: usize) -> Vec<bool> {
        let mut reached = vec![false; self.nodes.len()];
        reached[origin] = true;
        // Who has it, whether from a client, and the CLUSTER_LIST that it came with.
        let mut round: Vec<(usize, Option<bool>, Vec<Ipv4Addr>)> = vec![(origin, None, Vec::new())];
        let mut passed = BTreeSet::new();
        while !round.is_empty() {
            let mut next = Vec::new();
            for (at, from_client, list) in round {
                for (&(far, v4), seen) in &self.own[at].links {
                    let passes = match from_client {
                        None => true,
                        Some(from_client) => from_client || seen.client,
                    };
                    // It comes up only when both ends ask for it.
                    let Some(back) = self.own[far].links.get(&(at, v4)).filter(|_| passes) else {
                        continue;
                    };
                    let mut list = list.clone();
                    if from_client.is_some() {
                        list.extend(self.nodes[at].cluster_id);
                    }
                    let id = self.nodes[far].cluster_id;
                    if far == origin || id.is_some_and(|id| list.contains(&id)) {
                        continue;
                    }
                    reached[far] = true;
                    if id.is_some() && passed.insert((far, back.client)) {
                        next.push((far, Some(back.client), list));
                    }
                }
            }
            round = next;
        }
        reached
    }
}

/// Who reflects between nodes of the cluster, before and after.
pub(super) struct Reflecting<'a> {
    /// Before.
    reflectors: BTreeSet<&'a str>,
    ceases: Vec<String>,
    goes_on: bool,
    /// Some session between two that were no reflectors is there only afterwards.
    made: bool,
}

impl<'a> Reflecting<'a> {
    pub(super) fn new(before: &[NodeFacts<'a>]) -> Reflecting<'a> {
        let reflectors = before.iter().filter(|node| node.cluster_id.is_some());
        Reflecting {
            reflectors: reflectors.map(|node| node.name).collect(),
            ceases: Vec::new(),
            goes_on: false,
            made: false,
        }
    }

    /// Both in order of address.
    pub(super) fn take(&mut self, node: &str, old: &[PlannedPeer], new: &[PlannedPeer]) {
        let is_client = |peer: &PlannedPeer| peer.config.reflector_client && peer.node.is_some();
        match (old.iter().any(is_client), new.iter().any(is_client)) {
            (true, false) => self.ceases.push(node.to_owned()),
            (true, true) => self.goes_on = true,
            (false, _) => {}
        }
        if self.made || self.reflectors.contains(node) {
            return;
        }
        let address = |peer: &PlannedPeer| peer.config.remote_address;
        self.made = new.iter().any(|peer| {
            let far = peer.node.as_deref();
            far.is_some_and(|far| !self.reflectors.contains(far))
                && old.binary_search_by_key(&address(peer), address).is_err()
        });
    }

    /// A reflector ceases under its sessions and at once, while a session that is only made takes its time.
    pub(super) fn finish(self) -> Option<String> {
        if self.ceases.is_empty() || self.goes_on || !self.made {
            return None;
        }
        let names: Vec<&str> = self.ceases.iter().map(String::as_str).collect();
        Some(format!(
            "nobody reflects any more as soon as this is applied ({}), and until the sessions are up that are made now, nodes have no \
             routes of one another: first make those, and take routeReflectorClusterID away when they are up",
            few(&names)
        ))
    }
}

fn counted(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what} is"),
        _ => format!("{count} {what}s are"),
    }
}

/// The first few.
fn few(names: &[&str]) -> String {
    let shown = names
        .iter()
        .take(FEW)
        .copied()
        .collect::<Vec<_>>()
        .join(", ");
    match names.len().checked_sub(FEW) {
        None | Some(0) => shown,
        Some(more) => format!("{shown} and {more} more"),
    }
}

const FEW: usize = 5;
