//! `routes`, `fib` and `endpoints`: what the node knows and what it has written.

use std::net::IpAddr;

use caracal_agent_api::{EndpointView, FibRoute, Path, Route};
use ipnet::IpNet;

use crate::failure::{Failure, Sort};
use crate::table::{Table, or_dash};

/// Routes to a prefix, or those that contain an address, longest first.
pub(crate) fn select(routes: Vec<Route>, wanted: &str) -> Result<Vec<Route>, Failure> {
    let found: Vec<Route> = if let Ok(prefix) = wanted.parse::<IpNet>() {
        let prefix = prefix.trunc();
        routes
            .into_iter()
            .filter(|route| route.prefix == prefix)
            .collect()
    } else if let Ok(address) = wanted.parse::<IpAddr>() {
        let mut found: Vec<Route> = routes
            .into_iter()
            .filter(|route| route.prefix.contains(&address))
            .collect();
        found.sort_by_key(|route| std::cmp::Reverse(route.prefix.prefix_len()));
        found
    } else {
        return Err(Failure::new(
            Sort::Usage,
            format!("{wanted} is neither a prefix nor an address"),
        ));
    };
    if found.is_empty() {
        return Err(Failure::new(
            Sort::NotFound,
            format!("no route to {wanted}"),
        ));
    }
    Ok(found)
}

/// The Loc-RIB for people: one line a path, the prefix on the first.
pub(crate) fn routes(routes: &Vec<Route>, wide: bool) -> String {
    if routes.is_empty() {
        return "No routes.\n".to_owned();
    }
    let mut heading = vec![
        "", "PREFIX", "NEXT HOP", "FROM", "PREF", "MED", "AS PATH", "ORIGIN",
    ];
    if wide {
        heading.extend(["COMMUNITIES", "ORIGINATOR", "CLUSTERS"]);
    }
    heading.push("LOST BECAUSE");
    let mut table = Table::new(heading);
    for route in routes {
        for (index, path) in route.paths.iter().enumerate() {
            let prefix = if index == 0 {
                route.prefix.to_string()
            } else {
                String::new()
            };
            let mut cells = vec![
                mark(path),
                prefix,
                or_dash(path.next_hop),
                path.peer
                    .map_or_else(|| "local".to_owned(), |peer| peer.to_string()),
                path.local_pref.to_string(),
                or_dash(path.med),
                path.as_path.clone(),
                path.origin.clone(),
            ];
            if wide {
                let clusters: Vec<String> =
                    path.cluster_list.iter().map(ToString::to_string).collect();
                cells.extend([
                    path.communities.join(" "),
                    or_dash(path.originator_id),
                    clusters.join(" "),
                ]);
            }
            cells.push(path.lost_because.clone().unwrap_or_default());
            table.row(cells);
        }
    }
    table.columns()
}

/// As `vtysh` and `birdc` mark paths.
fn mark(path: &Path) -> String {
    let first = if path.stale { 'S' } else { '*' };
    let second = match (path.best, path.multipath) {
        (true, _) => ">",
        (false, true) => "=",
        (false, false) => "",
    };
    format!("{first}{second}")
}

/// The FIB for people: each line begins as `ip route` prints it.
pub(crate) fn fib(routes: &Vec<FibRoute>, wide: bool) -> String {
    if routes.is_empty() {
        return "No routes.\n".to_owned();
    }
    let mut heading = vec!["ROUTE"];
    if wide {
        heading.extend(["METRIC", "NHID"]);
    }
    heading.extend(["STATE", "REASON"]);
    let mut table = Table::new(heading);
    for route in routes {
        let mut cells = vec![as_ip_route(route)];
        if wide {
            cells.extend([or_dash(route.metric), or_dash(route.nexthop_id)]);
        }
        cells.extend([
            route.state.clone(),
            route.reason.clone().unwrap_or_default(),
        ]);
        table.row(cells);
    }
    table.columns()
}

/// `blackhole 10.233.1.0/26 …` has its type in front; a host route has no length.
fn as_ip_route(route: &FibRoute) -> String {
    let host = route.prefix.prefix_len() == route.prefix.max_prefix_len();
    let prefix = if host {
        route.prefix.addr().to_string()
    } else {
        route.prefix.to_string()
    };
    let (first, rest) = route
        .way
        .split_once(' ')
        .unwrap_or((route.way.as_str(), ""));
    match first {
        "blackhole" | "unreachable" | "prohibit" => {
            format!("{first} {prefix} {rest}").trim_end().to_owned()
        }
        _ => format!("{prefix} {}", route.way),
    }
}

/// Local workloads for people.
pub(crate) fn endpoints(endpoints: &Vec<EndpointView>, wide: bool) -> String {
    if endpoints.is_empty() {
        return "No endpoints.\n".to_owned();
    }
    let mut table = Table::new(["WORKLOAD", "ADDRESSES", "DEVICE", "CONTAINER"]);
    for endpoint in endpoints {
        let addresses: Vec<String> = endpoint.addresses.iter().map(ToString::to_string).collect();
        // Twelve digits, as container runtimes show their IDs.
        let container: String = if wide {
            endpoint.container_id.clone()
        } else {
            endpoint.container_id.chars().take(12).collect()
        };
        table.row([
            endpoint.workload.clone(),
            addresses.join(","),
            endpoint.device.clone(),
            container,
        ]);
    }
    table.columns()
}

#[cfg(test)]
mod tests;
