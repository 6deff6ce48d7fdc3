//! From what the agent knows of itself to the words of CalicoNodeStatus.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, SystemTime};

use caracal_agent_api::{FibRoute, Peer, Route};
use caracal_datastore::Timestamp;
use caracal_datastore::resources::{
    AgentAnswer, BgpAnswer, DaemonAnswer, LearnedFrom, NodeStatusAnswer, NodeStatusClass,
    NodeStatusQuestion, PeerAnswer, RouteAnswer, RoutesAnswer,
};
use ipnet::IpNet;
use serde_json::json;

/// What an answer is made from.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    /// Our own work is done.
    pub(crate) ready: bool,
    /// The node has an address of this family: IPv4, IPv6.
    pub(crate) families: [bool; 2],
    pub(crate) router_id: Option<Ipv4Addr>,
    pub(crate) started: Option<SystemTime>,
    pub(crate) peers: Vec<Peer>,
    /// Of the Loc-RIB.
    pub(crate) routes: Vec<Route>,
    pub(crate) fib: Vec<FibRoute>,
}

/// More routes of a family than this are not told, as no datastore takes an object of more than about a megabyte. How many
/// were left out stands beside them.
const ROUTES_MAX: usize = 2_000;

/// The answer to a question: what was asked for, and nothing in place of the rest.
pub(super) fn to(
    question: &NodeStatusQuestion,
    facts: &Facts,
    now: SystemTime,
) -> NodeStatusAnswer {
    let mut answer = NodeStatusAnswer {
        last_updated: Some(Timestamp::of(now).to_string()),
        ..NodeStatusAnswer::default()
    };
    for class in &question.classes {
        match class {
            NodeStatusClass::Agent => answer.agent = agent(facts),
            NodeStatusClass::BGP => answer.bgp = bgp(&facts.peers, now),
            NodeStatusClass::Routes => {
                let (routes, left_out) = routes(facts);
                answer.routes = routes;
                if left_out > 0 {
                    answer
                        .extra
                        .insert("routesLeftOut".to_owned(), json!(left_out));
                }
            }
        }
    }
    answer
}

fn agent(facts: &Facts) -> AgentAnswer {
    let daemon = |has_address: bool| match has_address && facts.ready {
        true => DaemonAnswer {
            state: "Ready".to_owned(),
            version: concat!("Caracal ", env!("CARGO_PKG_VERSION")).to_owned(),
            router_id: facts
                .router_id
                .map_or_else(String::new, |id| id.to_string()),
            last_boot_time: facts
                .started
                .map_or_else(String::new, |at| Timestamp::of(at).to_string()),
            last_reconfiguration_time: String::new(),
        },
        false => DaemonAnswer {
            state: "NotReady".to_owned(),
            ..DaemonAnswer::default()
        },
    };
    let [v4, v6] = facts.families;
    AgentAnswer {
        bird_v4: daemon(v4),
        bird_v6: daemon(v6),
    }
}

fn bgp(peers: &[Peer], now: SystemTime) -> BgpAnswer {
    let mut answer = BgpAnswer::default();
    for peer in peers {
        let (established, not_established, list) = match peer.address {
            IpAddr::V4(_) => (
                &mut answer.number_established_v4,
                &mut answer.number_not_established_v4,
                &mut answer.peers_v4,
            ),
            IpAddr::V6(_) => (
                &mut answer.number_established_v6,
                &mut answer.number_not_established_v6,
                &mut answer.peers_v6,
            ),
        };
        match peer.state == "Established" {
            true => *established += 1,
            false => *not_established += 1,
        }
        let since = now.checked_sub(Duration::from_secs(peer.state_seconds));
        list.push(PeerAnswer {
            peer_ip: peer.address.to_string(),
            peer_type: peer_type(peer).to_owned(),
            state: peer.state.clone(),
            since: since.map_or_else(String::new, |since| Timestamp::of(since).to_string()),
        });
    }
    answer
}

/// As Calico calls it.
fn peer_type(peer: &Peer) -> &'static str {
    match peer.peer_type.as_str() {
        "node-to-node mesh" => "NodeMesh",
        "global" => "GlobalPeer",
        _ => "NodePeer",
    }
}

/// Routes of both families, and how many were left out.
fn routes(facts: &Facts) -> (RoutesAnswer, usize) {
    let mesh: BTreeSet<IpAddr> = facts
        .peers
        .iter()
        .filter(|peer| peer_type(peer) == "NodeMesh")
        .map(|peer| peer.address)
        .collect();
    let installed: BTreeMap<IpNet, &FibRoute> = facts
        .fib
        .iter()
        .filter(|route| route.state == "installed")
        .map(|route| (route.prefix, route))
        .collect();
    let mut found: Vec<(IpNet, RouteAnswer)> = Vec::new();
    let mut told = BTreeSet::new();
    for route in &facts.routes {
        told.insert(route.prefix);
        for path in &route.paths {
            let in_use = (path.best || path.multipath).then(|| installed.get(&route.prefix));
            let in_use = in_use.flatten();
            let source_type = match path.peer {
                None => "Static",
                Some(peer) if mesh.contains(&peer) => "NodeMesh",
                Some(_) => "BGPPeer",
            };
            let from = LearnedFrom {
                source_type: source_type.to_owned(),
                peer_ip: path.peer.map_or_else(String::new, |peer| peer.to_string()),
            };
            found.push((
                route.prefix,
                answer(
                    &route.prefix,
                    path.next_hop.filter(|_| path.peer.is_some()),
                    in_use.copied(),
                    from,
                ),
            ));
        }
    }
    // What is in the kernel and in no table of BGP: pods of this node.
    for (prefix, route) in installed
        .iter()
        .filter(|(prefix, _)| !told.contains(*prefix))
    {
        let from = LearnedFrom {
            source_type: "Direct".to_owned(),
            peer_ip: String::new(),
        };
        found.push((*prefix, answer(prefix, None, Some(route), from)));
    }
    let (v4, v6): (Vec<_>, Vec<_>) = found
        .into_iter()
        .partition(|(prefix, _)| prefix.addr().is_ipv4());
    let left_out = v4.len().saturating_sub(ROUTES_MAX) + v6.len().saturating_sub(ROUTES_MAX);
    let first = |routes: Vec<(IpNet, RouteAnswer)>| {
        let routes = routes.into_iter().take(ROUTES_MAX);
        routes.map(|(_, route)| route).collect()
    };
    let answer = RoutesAnswer {
        routes_v4: first(v4),
        routes_v6: first(v6),
    };
    (answer, left_out)
}

/// `in_kernel`: packets follow it.
fn answer(
    prefix: &IpNet,
    next_hop: Option<IpAddr>,
    in_kernel: Option<&FibRoute>,
    learned_from: LearnedFrom,
) -> RouteAnswer {
    let route_type = if in_kernel.is_some() { "FIB" } else { "RIB" };
    RouteAnswer {
        route_type: route_type.to_owned(),
        destination: prefix.to_string(),
        gateway: next_hop.map_or_else(|| "N/A".to_owned(), |next_hop| next_hop.to_string()),
        interface: in_kernel.map_or_else(String::new, |route| device(&route.way).to_owned()),
        learned_from,
    }
}

/// The device in what `ip route` would print, or the word that stands for none, such as `blackhole`.
fn device(way: &str) -> &str {
    let mut words = way.split_whitespace();
    let first = words.next().unwrap_or_default();
    if first == "dev" {
        return words.next().unwrap_or_default();
    }
    let mut rest = words.skip_while(|word| *word != "dev");
    rest.next();
    rest.next().unwrap_or(first)
}

#[cfg(test)]
mod tests {
    //! The words.

    use super::*;

    #[test]
    fn a_device_is_found_in_what_ip_route_prints() {
        for (way, expected) in [
            ("via 172.31.2.3 dev tunl0 onlink", "tunl0"),
            ("dev cali0123456789a scope link", "cali0123456789a"),
            ("blackhole", "blackhole"),
            ("", ""),
        ] {
            assert_eq!(device(way), expected, "{way}");
        }
    }
}
