//! What the loop shares with those who answer questions.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use caracal_agent_api::{
    self as api, Condition, FibSummary, FilterSummary, Peer, Status, graceful_shutdown_condition,
};
use caracal_bgp_net::monitor::Monitoring;
use caracal_bgp_net::{PathWatch, Shell, Unnumbered};
use caracal_datastore::ipam::Ipam;
use caracal_fib::{Fib, FibStatus, TunnelStatus};
use caracal_filter::{Counters, Filter, FilterStatus};
use ipnet::IpNet;

use crate::address::NodeAddresses;
use crate::config::Config;
use crate::gc::Collecting;
use crate::metrics::Metrics;
use crate::node_status::Unheard;
use crate::plan::{condition, datastore_unread};
use crate::workloads::Workloads;

/// The parts, for the socket, for HTTP and for the tender.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) started: Instant,
    pub(crate) addresses: NodeAddresses,
    pub(crate) router_id: Ipv4Addr,
    pub(crate) shell: Shell,
    pub(crate) monitoring: Monitoring,
    pub(crate) watch: PathWatch,
    /// Links on which every router is a peer, by network device.
    pub(crate) links: tokio::sync::Mutex<BTreeMap<String, Unnumbered>>,
    pub(crate) fib: Fib,
    pub(crate) filter: Filter,
    pub(crate) ipam: Arc<Ipam>,
    pub(crate) workloads: Workloads,
    pub(crate) metrics: Metrics,
    /// What the collector of addresses has to say.
    pub(crate) collecting: Collecting,
    /// Why nobody hears what operators ask.
    pub(crate) unheard: Unheard,
    /// Written by the loop with each new plan.
    pub(crate) snapshot: RwLock<Snapshot>,
}

/// What only the loop knows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Snapshot {
    pub(crate) asn: u32,
    pub(crate) cluster_id: Option<Ipv4Addr>,
    pub(crate) datastore_in_sync: bool,
    pub(crate) peer_types: HashMap<IpAddr, String>,
    pub(crate) blocks: Vec<IpNet>,
    pub(crate) conditions: Vec<Condition>,
}

impl Shared {
    /// The loop's last word.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.snapshot
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }

    /// Peers, for people and metrics.
    pub(crate) async fn peers(&self) -> Vec<Peer> {
        let types = self.snapshot().peer_types;
        let views = self
            .shell
            .with(|speaker, now| speaker.peers(now))
            .await
            .unwrap_or_default();
        views
            .into_iter()
            .map(|view| {
                let peer_type = types.get(&view.address).cloned();
                Peer::of(view, peer_type.unwrap_or_default())
            })
            .collect()
    }

    /// Everything at a glance.
    pub(crate) async fn status(&self) -> Status {
        self.status_with(&self.peers().await).await
    }

    /// The status, given the peers, so that a scrape asks the speaker once.
    pub(crate) async fn status_with(&self, peers: &[Peer]) -> Status {
        let snapshot = self.snapshot();
        let fib = self.fib.status().borrow().clone();
        let filter = self.filter.status().borrow().clone();
        let not_ready_because = not_ready(&snapshot, &fib, &filter);
        // Without an answer there are those of before; the conditions say why.
        let counters = self.filter.counters().await;
        let counters = counters.unwrap_or_else(|_| self.filter.last_counters());
        let mut conditions = conditions(snapshot.conditions, &fib, &filter, peers);
        conditions.extend(self.watch.problems().await.into_iter().map(|message| {
            let name = "BfdUnavailable".to_owned();
            Condition { name, message }
        }));
        let in_shutdown = self
            .shell
            .with(|speaker, _| graceful_shutdown_condition(speaker));
        conditions.extend(in_shutdown.await.ok().flatten());
        conditions.extend(self.collecting.conditions());
        let others = [
            self.ipam.unread_and_unreadable(),
            self.unheard.unread_and_unreadable(),
        ];
        of_other_watches(&mut conditions, others);
        for link in self.links.lock().await.values() {
            conditions.extend(link.view().problem.map(|message| {
                let name = "NoDiscovery".to_owned();
                Condition { name, message }
            }));
        }
        Status {
            node: self.config.nodename.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            uptime_seconds: self.started.elapsed().as_secs(),
            ipv4: self.addresses.ipv4,
            ipv6: self.addresses.ipv6,
            asn: snapshot.asn,
            router_id: Some(self.router_id),
            cluster_id: snapshot.cluster_id,
            ready: not_ready_because.is_empty(),
            not_ready_because,
            datastore_in_sync: snapshot.datastore_in_sync,
            peers_established: peers
                .iter()
                .filter(|peer| peer.state == "Established")
                .count(),
            peers_configured: peers.len(),
            blocks: snapshot.blocks,
            endpoints: self.workloads.count(),
            fib: Some(summary(&fib)),
            filter: Some(filter_summary(&filter, &counters)),
            conditions,
            monitoring: api::Monitoring::of(self.monitoring.view()),
        }
    }
}

/// Ready means that our own work is done: a dead peer is a condition and not unreadiness, and so is a route that
/// the kernel refuses.
pub(crate) fn not_ready(
    snapshot: &Snapshot,
    fib: &FibStatus,
    filter: &FilterStatus,
) -> Vec<String> {
    let mut reasons = Vec::new();
    if !snapshot.datastore_in_sync {
        reasons.push("the datastore has not been read yet".to_owned());
    }
    if !fib.in_sync {
        reasons.push("the kernel's routes have not been read yet".to_owned());
    }
    let waiting = fib.pending.saturating_sub(fib.failed);
    if waiting > 0 {
        reasons.push(format!("{waiting} routes are not in the kernel yet"));
    }
    // One that cannot be written is a condition.
    if !filter.settled && filter.conditions.is_empty() {
        reasons.push("the packet filter is not in the kernel yet".to_owned());
    }
    reasons
}

fn conditions(
    mut conditions: Vec<Condition>,
    fib: &FibStatus,
    filter: &FilterStatus,
    peers: &[Peer],
) -> Vec<Condition> {
    let of_fib = fib.conditions.iter().map(|(name, message)| (name, message));
    conditions.extend(
        of_fib
            .chain(&filter.conditions)
            .map(|(name, message)| Condition {
                name: name.clone(),
                message: message.clone(),
            }),
    );
    conditions.extend(filter_late(filter, Instant::now()));
    for peer in peers.iter().filter(|peer| peer.state != "Established") {
        let why = peer.last_error.as_deref().unwrap_or("no session yet");
        let message = format!(
            "peer {} ({}): {} for {} s: {why}",
            peer.address, peer.name, peer.state, peer.state_seconds
        );
        conditions.push(Condition {
            name: "PeerDown".into(),
            message,
        });
    }
    conditions
}

/// What the watches beside the loop's cannot follow or read, as far as the loop has not said it.
fn of_other_watches(
    conditions: &mut Vec<Condition>,
    watches: impl IntoIterator<Item = (Vec<String>, Vec<String>)>,
) {
    for (unread, unreadable) in watches {
        let unread = unread.iter().map(|why| datastore_unread(why));
        let unreadable = unreadable
            .iter()
            .map(|why| condition("InvalidResource", why));
        for one in unread.chain(unreadable) {
            if !conditions.contains(&one) {
                conditions.push(one);
            }
        }
    }
}

/// The kernel does not answer, so that nobody knows why.
fn filter_late(filter: &FilterStatus, now: Instant) -> Option<Condition> {
    let waiting = now.duration_since(filter.unsettled_since?);
    let late = waiting > FILTER_LATE && filter.conditions.is_empty();
    late.then(|| Condition {
        name: "FilterLate".into(),
        message: format!(
            "the kernel has not taken the packet filter for {} s; pods are handed out, and those of before the first table may \
             send from any address; look at the kernel's log",
            waiting.as_secs()
        ),
    })
}

/// A transaction takes milliseconds.
const FILTER_LATE: Duration = Duration::from_secs(5);

fn filter_summary(filter: &FilterStatus, counters: &Counters) -> FilterSummary {
    FilterSummary {
        settled: filter.settled,
        masqueraded: counters.masqueraded,
        spoofed: counters.spoofed,
        looped: counters.looped,
        encapsulated: counters.encapsulated,
        loopback: counters.loopback,
        strangers: counters.strangers,
        transactions: filter.transactions,
        repairs: filter.repairs,
        conntrack_deleted: filter.conntrack_deleted,
        conntrack_failures: filter.conntrack_failures,
    }
}

fn summary(fib: &FibStatus) -> FibSummary {
    FibSummary {
        desired: fib.desired,
        actual: fib.actual,
        pending: fib.pending,
        failed: fib.failed,
        stale: fib.stale,
        writes: fib.writes,
        repairs: fib.repairs,
        contested: fib.contested,
        kept: fib.kept,
        unconfirmed: fib.unconfirmed,
        tunnels: fib.tunnels.iter().map(tunnel).collect(),
        nexthop_objects: fib.nexthop_objects,
        objects: fib.objects,
        object_writes: fib.object_writes,
        object_repairs: fib.object_repairs,
    }
}

fn tunnel(tunnel: &TunnelStatus) -> api::Tunnel {
    api::Tunnel {
        device: tunnel.device.clone(),
        state: tunnel.state.clone(),
        address: tunnel.address,
        reason: tunnel.reason.clone(),
    }
}

#[cfg(test)]
mod tests;
