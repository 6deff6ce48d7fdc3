//! `node status` and `peers`.

use caracal_agent_api::{Condition, FibSummary, Monitoring, Peer, Status, Tunnel};
use serde::Serialize;

use crate::table::{Table, duration, or_dash};

/// What `node status` shows.
#[derive(Debug, Serialize)]
pub(crate) struct NodeStatus {
    /// The node.
    pub(crate) status: Status,
    /// Its peers.
    pub(crate) peers: Vec<Peer>,
}

/// For people: how the node is, then the sessions as `calicoctl` shows them.
pub(crate) fn status(report: &NodeStatus, wide: bool) -> String {
    let mut out = heading(&report.status);
    for (family, ipv4) in [("IPv4", true), ("IPv6", false)] {
        let peers: Vec<&Peer> = report
            .peers
            .iter()
            .filter(|peer| peer.address.is_ipv4() == ipv4)
            .collect();
        out.push_str(&format!("\n{family} BGP status\n"));
        if peers.is_empty() {
            out.push_str(&format!("No {family} peers found.\n"));
        } else {
            out.push_str(&sessions(&peers, wide));
        }
    }
    out
}

fn heading(status: &Status) -> String {
    let ready = if status.ready { "ready" } else { "not ready" };
    // Who has neither FIB nor address is a route reflector, and has neither pods nor blocks.
    let is_node = status.fib.is_some() || status.ipv4.or(status.ipv6).is_some();
    let (kind, program) = match is_node {
        true => ("Node", "agent"),
        false => ("Route reflector", "version"),
    };
    let mut lines = vec![format!(
        "{kind} {} is {ready}; {program} {} has been up for {}.",
        status.node,
        status.version,
        duration(status.uptime_seconds)
    )];
    for reason in &status.not_ready_because {
        lines.push(format!("  not ready: {reason}"));
    }
    let addresses: Vec<String> = [status.ipv4, status.ipv6]
        .iter()
        .flatten()
        .map(ToString::to_string)
        .collect();
    let mut identity = format!(
        "AS {}, router ID {}",
        // 0: it does not know yet.
        or_dash((status.asn != 0).then_some(status.asn)),
        or_dash(status.router_id)
    );
    if let Some(cluster_id) = status.cluster_id {
        identity += &format!(", cluster ID {cluster_id}");
    }
    if is_node {
        let addresses = (!addresses.is_empty()).then(|| addresses.join(" and "));
        identity += &format!(", address {}", or_dash(addresses));
    }
    lines.push(identity);
    let unread = |one: &Condition| matches!(&*one.name, "DatastoreAway" | "DatastoreUnread");
    let unread = status.conditions.iter().any(unread);
    let datastore = if unread {
        "Datastore cannot be read now; "
    } else if !status.datastore_in_sync {
        "Datastore not in sync; "
    } else if is_node {
        "Datastore in sync; "
    } else {
        // A reflector may have none.
        ""
    };
    let mut line = format!(
        "{datastore}{} of {} peers established",
        status.peers_established, status.peers_configured,
    );
    if is_node {
        line += &format!(
            "; {}, {}",
            counted(status.endpoints, "endpoint"),
            counted(status.blocks.len(), "block"),
        );
    }
    lines.push(line);
    if let Some(fib) = &status.fib {
        lines.push(format!(
            "Kernel: {} of {} routes{}; {} pending, {} failed, {} stale",
            fib.actual,
            fib.desired,
            match fib.objects {
                0 => String::new(),
                objects => format!(" and {}", counted(objects, "nexthop object")),
            },
            fib.pending,
            fib.failed,
            fib.stale
        ));
        if fib.repairs > 0 {
            lines.push(format!(
                "  {} changed by others and repaired; {} contested now",
                counted(fib.repairs as usize, "route"),
                fib.contested
            ));
        }
        lines.extend(tunnels(fib));
    }
    if let Some(filter) = &status.filter {
        lines.push(format!(
            "Filter: {}; {} masqueraded, {} spoofed and {} looping dropped",
            if filter.settled {
                "in force"
            } else {
                "not as it should be"
            },
            counted(filter.masqueraded as usize, "connection"),
            counted(filter.spoofed as usize, "packet"),
            filter.looped,
        ));
        if filter.encapsulated + filter.strangers + filter.loopback > 0 {
            lines.push(format!(
                "  also dropped: {} in tunnels of pods and {} in those of strangers, {} between pods and 127.0.0.0/8",
                counted(filter.encapsulated as usize, "packet"),
                filter.strangers,
                filter.loopback,
            ));
        }
    }
    lines.extend(status.monitoring.iter().flat_map(monitoring));
    for condition in &status.conditions {
        lines.push(format!(
            "Condition {}: {}",
            condition.name, condition.message
        ));
    }
    lines.join("\n") + "\n"
}

/// One line for all, where there is something to say.
fn tunnels(fib: &FibSummary) -> Option<String> {
    let device = |tunnel: &Tunnel| {
        let (device, state) = (&tunnel.device, &tunnel.state);
        match (&tunnel.reason, tunnel.address) {
            (Some(reason), _) => format!("{device} {state} ({reason})"),
            (None, Some(address)) => format!("{device} {state} ({address})"),
            (None, None) => format!("{device} {state}"),
        }
    };
    let devices: Vec<String> = fib.tunnels.iter().map(device).collect();
    let mut parts = vec![match devices.is_empty() {
        true => "none".to_owned(),
        false => devices.join(", "),
    }];
    if fib.kept > 0 {
        let routes = counted(fib.kept, "route");
        parts.push(format!("{routes} on another way than is wanted"));
    }
    if fib.unconfirmed > 0 {
        let routes = counted(fib.unconfirmed, "route");
        parts.push(format!("{routes} to nodes that name no address"));
    }
    let silent = devices.is_empty() && parts.len() == 1;
    (!silent).then(|| format!("Tunnels: {}", parts.join("; ")))
}

/// One line a collector, and one for the files.
fn monitoring(monitoring: &Monitoring) -> Vec<String> {
    let station = |station: &caracal_agent_api::Station| {
        let state = match (station.up, station.synchronized) {
            (true, true) => "up".to_owned(),
            (true, false) => "up, and is being told what there is".to_owned(),
            (false, _) => match &station.last_error {
                Some(why) => format!("down: {why}"),
                None => "down".to_owned(),
            },
        };
        let slow = match station.overruns {
            0 => String::new(),
            times => format!("; let go {times} times, because it did not keep up"),
        };
        let (address, octets) = (station.address, station.octets);
        format!("BMP {address}: {state}; {octets} octets{slow}")
    };
    let mut lines: Vec<String> = monitoring.stations.iter().map(station).collect();
    if monitoring.mrt_octets + monitoring.mrt_errors > 0 {
        let (octets, errors) = (monitoring.mrt_octets, monitoring.mrt_errors);
        lines.push(format!("MRT: {octets} octets written, {errors} failures"));
    }
    lines
}

fn sessions(peers: &[&Peer], wide: bool) -> String {
    let mut heading = vec!["PEER ADDRESS", "PEER TYPE", "STATE", "SINCE", "INFO"];
    if wide {
        heading.splice(1..1, ["NAME", "AS"]);
    }
    let mut table = Table::new(heading);
    for peer in peers {
        let mut cells = vec![
            peer.address.to_string(),
            peer.peer_type.clone(),
            word_of(&peer.state).to_owned(),
            duration(peer.state_seconds),
            info(peer),
        ];
        if wide {
            cells.splice(1..1, [peer.name.clone(), asn(peer)]);
        }
        table.row(cells);
    }
    table.framed()
}

/// BIRD's word for the state, which readers of this table know.
fn word_of(state: &str) -> &'static str {
    match state {
        "Established" => "up",
        "Idle" => "down",
        _ => "start",
    }
}

fn info(peer: &Peer) -> String {
    match peer.held.as_ref().or(peer.last_error.as_ref()) {
        Some(error) if peer.state != "Established" => format!("{}: {error}", peer.state),
        _ => peer.state.clone(),
    }
}

/// `peers`, for people.
pub(crate) fn peers(peers: &Vec<Peer>, wide: bool) -> String {
    if peers.is_empty() {
        return "No peers found.\n".to_owned();
    }
    let mut heading = vec![
        "NAME", "ADDRESS", "AS", "STATE", "SINCE", "BFD", "RECEIVED", "ACCEPTED", "SENT", "FLAPS",
    ];
    if wide {
        heading.extend([
            "STALE",
            "ROUTER ID",
            "HOLD",
            "FAMILIES",
            "MESSAGES IN",
            "MESSAGES OUT",
            "HELD",
            "ERRORS",
        ]);
    }
    heading.push("LAST ERROR");
    let mut table = Table::new(heading);
    for peer in peers {
        let mut cells = vec![
            peer.name.clone(),
            peer.address.to_string(),
            asn(peer),
            peer.state.clone(),
            duration(peer.state_seconds),
            or_dash(peer.bfd.clone()),
            peer.prefixes_received.to_string(),
            peer.prefixes_accepted.to_string(),
            peer.prefixes_sent.to_string(),
            peer.flaps.to_string(),
        ];
        if wide {
            cells.extend([
                peer.prefixes_stale.to_string(),
                or_dash(peer.router_id),
                or_dash(peer.hold_time_seconds.map(duration)),
                peer.families.join(","),
                peer.messages_received.to_string(),
                peer.messages_sent.to_string(),
                or_dash(peer.held.clone()),
                errors(peer),
            ]);
        }
        cells.push(last_error(peer));
        table.row(cells);
    }
    table.columns()
}

/// Unknown until a peer of which only the kind is configured has said it.
fn asn(peer: &Peer) -> String {
    or_dash((peer.remote_asn != 0).then_some(peer.remote_asn))
}

/// What has happened, and how often.
fn errors(peer: &Peer) -> String {
    let happened = peer.errors.by_kind().into_iter().filter(|(_, n)| *n > 0);
    let happened: Vec<String> = happened.map(|(kind, n)| format!("{kind} {n}")).collect();
    or_dash((!happened.is_empty()).then(|| happened.join(", ")))
}

fn last_error(peer: &Peer) -> String {
    match (&peer.last_error, peer.last_error_seconds) {
        (Some(error), Some(seconds)) => format!("{error} ({} ago)", duration(seconds)),
        (error, _) => error.clone().unwrap_or_default(),
    }
}

fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

#[cfg(test)]
mod tests;
