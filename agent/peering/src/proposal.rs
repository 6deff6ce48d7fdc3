//! How many route reflectors a cluster needs, and which nodes they should be. Arithmetic; nothing is read or changed.
//!
//! A mesh costs every node a session with every other, and is fine as long as that is few. Beyond that every node has a session
//! with each reflector of its cluster (RFC 4456). Reflectors of one cluster have one cluster id and the same clients; they are
//! spread over zones, so that one zone does not take all of them with it. A large cluster with zones gets a cluster for each zone,
//! and its reflectors are joined with one another as equals.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::Serialize;

/// So many nodes are a mesh still.
pub const MESH_NODES_MAX: usize = 100;
/// So many nodes have their reflectors in one cluster, also where there are zones.
pub const FLAT_NODES_MAX: usize = 1000;
/// Two reflectors are enough for so many clients; beyond, a third is there while one is upgraded.
pub const PAIR_CLIENTS_MAX: usize = 2000;
/// So many clients a reflector has been measured with.
pub const CLIENTS_MAX: usize = 5000;

/// A node that is there, or will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub zone: Option<String>,
    /// It may be a reflector.
    pub eligible: bool,
    /// It is one.
    pub reflects: bool,
}

/// What is asked for over what would be chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wish {
    /// So many reflectors in each cluster.
    pub reflectors: Option<usize>,
    /// A cluster for each zone, or one for all.
    pub per_zone: Option<bool>,
}

/// What is proposed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Proposal {
    /// How many nodes there are.
    pub nodes: usize,
    /// The mesh stays.
    pub mesh: bool,
    /// None for a mesh.
    pub clusters: Vec<ReflectorCluster>,
    /// Nodes that have no zone, where there is a cluster for each: they have sessions with all reflectors.
    pub without_zone: Vec<String>,
    /// Sessions that a mesh has.
    pub mesh_sessions: usize,
    /// Sessions of the proposal.
    pub sessions: usize,
    /// Sessions of one node that is no reflector, at most.
    pub sessions_of_node: usize,
    /// Sessions of a reflector, at most.
    pub sessions_of_reflector: usize,
    /// Why it is so.
    pub why: Vec<String>,
    /// What is not as it should be.
    pub warnings: Vec<String>,
}

/// Reflectors with one cluster id, and their clients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReflectorCluster {
    /// CLUSTER_ID.
    pub cluster_id: Ipv4Addr,
    /// Of this zone; `None`: of all.
    pub zone: Option<String>,
    /// The nodes that reflect.
    pub reflectors: Vec<String>,
    /// How many others have sessions with them.
    pub clients: usize,
}

/// What suits these nodes.
pub fn propose(places: &[Place], wish: Wish) -> Proposal {
    let nodes = places.len();
    let mut zones: BTreeMap<&str, Vec<&Place>> = BTreeMap::new();
    for place in places {
        if let Some(zone) = &place.zone {
            zones.entry(zone).or_default().push(place);
        }
    }
    let mut proposal = Proposal {
        nodes,
        mesh: true,
        clusters: Vec::new(),
        without_zone: Vec::new(),
        mesh_sessions: nodes * nodes.saturating_sub(1) / 2,
        sessions: 0,
        sessions_of_node: nodes.saturating_sub(1),
        sessions_of_reflector: 0,
        why: Vec::new(),
        warnings: Vec::new(),
    };
    if nodes <= MESH_NODES_MAX && wish == Wish::default() {
        proposal.sessions = proposal.mesh_sessions;
        proposal.why.push(format!(
            "{nodes} nodes: up to {MESH_NODES_MAX} a mesh is simplest, and no reflector can fail"
        ));
        return proposal;
    }
    proposal.mesh = false;
    let per_zone = wish
        .per_zone
        .unwrap_or(nodes > FLAT_NODES_MAX && zones.len() > 1);
    if per_zone {
        proposal.why.push(format!(
            "{nodes} nodes in {} zones: a cluster for each zone, so that the failure of one does not concern the others",
            zones.len()
        ));
        let without = places.iter().filter(|place| place.zone.is_none());
        proposal.without_zone = without.map(|place| place.name.clone()).collect();
        for (number, (zone, members)) in (1..).zip(&zones) {
            let cluster = proposal.cluster(number, Some(zone), members, wish);
            proposal.clusters.push(cluster);
        }
    } else {
        proposal.why.push(format!(
            "{nodes} nodes: one cluster of reflectors, with all of which every node has a session"
        ));
        let all: Vec<&Place> = places.iter().collect();
        let cluster = proposal.cluster(1, None, &all, wish);
        proposal.clusters.push(cluster);
    }
    proposal.count();
    proposal
}

impl Proposal {
    fn cluster(
        &mut self,
        number: u32,
        zone: Option<&str>,
        members: &[&Place],
        wish: Wish,
    ) -> ReflectorCluster {
        let enough = if members.len() > PAIR_CLIENTS_MAX {
            3
        } else {
            2
        };
        let wanted = wish.reflectors.unwrap_or(enough);
        let reflectors = choose(members, wanted);
        let place = zone.map_or("the cluster".to_owned(), |zone| format!("zone {zone}"));
        if reflectors.len() < wanted {
            self.warnings.push(format!(
                "{place} has {} that may be reflectors, and {wanted} are needed",
                nodes_in_words(reflectors.len())
            ));
        }
        if wanted < 2 {
            self.warnings.push(format!(
                "{place} has one reflector: while it is away, nodes keep what they know for its restart time and learn nothing new"
            ));
        }
        let clients = members.len() - reflectors.len();
        if clients > CLIENTS_MAX {
            self.warnings.push(format!(
                "a reflector of {place} has {clients} clients, and has been measured with {CLIENTS_MAX}; --zones with a label that \
                 parts the nodes makes them fewer"
            ));
        }
        ReflectorCluster {
            cluster_id: Ipv4Addr::from(FIRST_CLUSTER_ID + number - 1),
            zone: zone.map(str::to_owned),
            reflectors,
            clients,
        }
    }

    fn count(&mut self) {
        let all: usize = self
            .clusters
            .iter()
            .map(|cluster| cluster.reflectors.len())
            .sum();
        let of_clients = |cluster: &ReflectorCluster| cluster.reflectors.len() * cluster.clients;
        let strays = self.without_zone.len();
        self.sessions = self.clusters.iter().map(of_clients).sum::<usize>()
            + all * all.saturating_sub(1) / 2
            + strays * all;
        let widest = self
            .clusters
            .iter()
            .map(|cluster| cluster.reflectors.len())
            .max();
        self.sessions_of_node = match strays {
            0 => widest.unwrap_or(0),
            _ => all,
        };
        let clients = self.clusters.iter().map(|cluster| cluster.clients).max();
        self.sessions_of_reflector = clients.unwrap_or(0) + strays + all.saturating_sub(1);
    }
}

/// Those that reflect already, then one of each zone in turn, in order of name.
fn choose(members: &[&Place], wanted: usize) -> Vec<String> {
    let mut zones: BTreeMap<Option<&str>, Vec<&Place>> = BTreeMap::new();
    for place in members
        .iter()
        .filter(|place| place.eligible || place.reflects)
    {
        zones.entry(place.zone.as_deref()).or_default().push(place);
    }
    for places in zones.values_mut() {
        places.sort_by_key(|place| (!place.reflects, place.name.clone()));
        places.reverse();
    }
    let mut chosen = Vec::new();
    while chosen.len() < wanted && zones.values().any(|places| !places.is_empty()) {
        // A zone without a name is as good as any.
        for places in zones.values_mut() {
            if chosen.len() < wanted {
                chosen.extend(places.pop().map(|place| place.name.clone()));
            }
        }
    }
    chosen.sort();
    chosen
}

fn nodes_in_words(count: usize) -> String {
    match count {
        1 => "1 node".to_owned(),
        _ => format!("{count} nodes"),
    }
}

/// 244.0.0.1, as in Calico's documents: no router has it for an address.
const FIRST_CLUSTER_ID: u32 = 0xf400_0001;

#[cfg(test)]
mod tests {
    use super::*;

    fn places(count: usize, zones: usize) -> Vec<Place> {
        let place = |index: usize| Place {
            name: format!("node{index:05}"),
            zone: (zones > 0).then(|| format!("z{}", index % zones)),
            eligible: true,
            reflects: false,
        };
        (0..count).map(place).collect()
    }

    fn reflectors(proposal: &Proposal) -> Vec<usize> {
        let clusters = proposal.clusters.iter();
        clusters.map(|cluster| cluster.reflectors.len()).collect()
    }

    #[test]
    fn a_hundred_nodes_are_a_mesh_and_one_more_are_not() {
        let mesh = propose(&places(100, 3), Wish::default());
        assert_eq!(
            (mesh.mesh, mesh.sessions, mesh.sessions_of_node),
            (true, 4950, 99)
        );
        let flat = propose(&places(101, 3), Wish::default());
        assert_eq!((flat.mesh, reflectors(&flat)), (false, vec![2]));
        assert_eq!(
            flat.clusters[0].reflectors,
            ["node00000", "node00001"],
            "in two zones"
        );
        assert_eq!(
            (
                flat.sessions,
                flat.sessions_of_node,
                flat.sessions_of_reflector
            ),
            (199, 2, 100)
        );
        let wanted = Wish {
            reflectors: Some(3),
            ..Wish::default()
        };
        assert_eq!(reflectors(&propose(&places(10, 0), wanted)), [3]);
    }

    #[test]
    fn many_nodes_have_a_cluster_in_each_zone_with_an_id_of_its_own() {
        let proposal = propose(&places(5000, 4), Wish::default());
        assert_eq!(reflectors(&proposal), [2, 2, 2, 2]);
        let ids: Vec<String> = proposal
            .clusters
            .iter()
            .map(|c| c.cluster_id.to_string())
            .collect();
        assert_eq!(ids, ["244.0.0.1", "244.0.0.2", "244.0.0.3", "244.0.0.4"]);
        assert_eq!(proposal.sessions_of_node, 2);
        assert_eq!(proposal.sessions_of_reflector, 1248 + 7);
        assert_eq!(proposal.warnings, [""; 0]);
        let flat = propose(&places(5000, 0), Wish::default());
        assert_eq!((reflectors(&flat), flat.warnings.len()), (vec![3], 0));
    }

    #[test]
    fn what_is_missing_is_said() {
        let mut some = places(2400, 2);
        for (index, place) in some.iter_mut().enumerate() {
            place.eligible = index == 0 || index % 2 == 1;
        }
        some[7].zone = None;
        let proposal = propose(&some, Wish::default());
        assert_eq!(
            proposal.warnings,
            ["zone z0 has 1 node that may be reflectors, and 2 are needed"]
        );
        assert_eq!(proposal.without_zone, ["node00007"]);
        let many = propose(&places(6000, 0), Wish::default());
        assert!(
            many.warnings[0].contains("5997 clients"),
            "{:?}",
            many.warnings
        );
        let one = Wish {
            reflectors: Some(1),
            ..Wish::default()
        };
        assert!(propose(&places(10, 0), one).warnings[0].contains("has one reflector"));
    }

    #[test]
    fn who_reflects_already_goes_on() {
        let mut some = places(200, 0);
        some[150].reflects = true;
        let proposal = propose(&some, Wish::default());
        assert_eq!(proposal.clusters[0].reflectors, ["node00000", "node00150"]);
    }
}
