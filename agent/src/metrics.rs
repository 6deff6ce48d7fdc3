//! What Prometheus gets. Names begin with `caracal_`; docs/operation/metrics.md lists them.

use std::time::Duration;

use caracal_agent_api::metrics::{BfdMetrics, MonitoringMetrics};
use caracal_agent_api::{FilterSummary, Peer, PeerErrors, Status};
use caracal_bgp_net::bfd_net::BfdView;
use caracal_bgp_net::monitor::MonitorView;
use caracal_fib::{FibStatus, Refused};
use prometheus::{
    Encoder, Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::gc::GcMetrics;

/// The metrics of one agent.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    info: GaugeVec,
    ready: IntGauge,
    uptime: Gauge,
    in_sync: IntGauge,
    peers: IntGaugeVec,
    prefixes: IntGaugeVec,
    messages: IntCounterVec,
    flaps: IntCounter,
    encoded: IntCounter,
    errors: IntCounterVec,
    fib_routes: IntGaugeVec,
    fib_events: IntCounterVec,
    fib_repairs: IntCounterVec,
    fib_refused: IntCounterVec,
    fib_contested: IntGauge,
    fib_tunnels: IntGaugeVec,
    fib_objects: IntGauge,
    filter_packets: IntCounterVec,
    filter_events: IntCounterVec,
    endpoints: IntGauge,
    blocks: IntGauge,
    conditions: IntGaugeVec,
    peer_up: IntGaugeVec,
    peer_prefixes: IntGaugeVec,
    cni_requests: IntCounterVec,
    cni_seconds: HistogramVec,
    bfd: BfdMetrics,
    monitoring: MonitoringMetrics,
    /// Counted where it happens.
    pub(crate) gc: GcMetrics,
}

impl Metrics {
    /// Registers every name once.
    pub(crate) fn new() -> Result<Metrics, prometheus::Error> {
        let registry = Registry::new();
        let gauge = |name: &str, help: &str| -> Result<IntGauge, prometheus::Error> {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let gauges =
            |name: &str, help: &str, labels: &[&str]| -> Result<IntGaugeVec, prometheus::Error> {
                let gauges = IntGaugeVec::new(Opts::new(name, help), labels)?;
                registry.register(Box::new(gauges.clone()))?;
                Ok(gauges)
            };
        let counters =
            |name: &str, help: &str, labels: &[&str]| -> Result<IntCounterVec, prometheus::Error> {
                let counters = IntCounterVec::new(Opts::new(name, help), labels)?;
                registry.register(Box::new(counters.clone()))?;
                Ok(counters)
            };
        let flaps = IntCounter::new(
            "caracal_bgp_session_flaps_total",
            "Sessions lost, over all configured peers",
        )?;
        registry.register(Box::new(flaps.clone()))?;
        let encoded = IntCounter::new(
            "caracal_bgp_updates_encoded_total",
            "UPDATEs encoded to be shared by peers with equal terms of export",
        )?;
        registry.register(Box::new(encoded.clone()))?;
        let info = GaugeVec::new(
            Opts::new("caracal_agent_info", "1; who this is"),
            &["node", "version"],
        )?;
        registry.register(Box::new(info.clone()))?;
        let uptime = Gauge::new(
            "caracal_agent_uptime_seconds",
            "Seconds since the agent started",
        )?;
        registry.register(Box::new(uptime.clone()))?;
        let buckets = vec![
            0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
        ];
        let options = HistogramOpts::new(
            "caracal_cni_request_seconds",
            "How long the agent worked on a request of the CNI plugin",
        );
        let cni_seconds = HistogramVec::new(options.buckets(buckets), &["command"])?;
        registry.register(Box::new(cni_seconds.clone()))?;
        Ok(Metrics {
            bfd: BfdMetrics::new(&registry)?,
            monitoring: MonitoringMetrics::new(&registry)?,
            gc: GcMetrics::new(&registry)?,
            info,
            uptime,
            flaps,
            encoded,
            cni_seconds,
            cni_requests: counters(
                "caracal_cni_requests_total",
                "Requests of the CNI plugin, by command and result (ok, error)",
                &["command", "result"],
            )?,
            ready: gauge("caracal_agent_ready", "1 when the node's own work is done")?,
            in_sync: gauge(
                "caracal_datastore_in_sync",
                "1 when the datastore has delivered a complete set",
            )?,
            peers: gauges("caracal_bgp_peers", "BGP peers by state", &["state"])?,
            prefixes: gauges(
                "caracal_bgp_prefixes",
                "Prefixes over all peers: received, accepted, stale, sent",
                &["kind"],
            )?,
            messages: counters(
                "caracal_bgp_messages_total",
                "BGP messages over all configured peers",
                &["direction"],
            )?,
            errors: counters(
                "caracal_bgp_peer_errors_total",
                "What has gone wrong with BGP peers, by kind, over all configured peers",
                &["kind"],
            )?,
            fib_routes: gauges(
                "caracal_fib_routes",
                "Routes: desired, actual, pending, failed, stale, kept (on another way, until a change of encapsulation can be \
                 made), unconfirmed (into a tunnel whose far end has not said that it can receive)",
                &["kind"],
            )?,
            fib_events: counters(
                "caracal_fib_events_total",
                "What the FIB did since the start: writes, repairs, neighbour_repairs, resyncs, failed_reads, overruns, lost_batches, \
                 lost_sockets, fights, intruders_removed, leftovers_removed, object_writes, object_repairs",
                &["kind"],
            )?,
            fib_repairs: counters(
                "caracal_fib_repairs_total",
                "Routes of ours that were written again: changed, replaced, deleted or flushed by others, unseen (found \
                 by a read), link_lost (dropped by the kernel)",
                &["cause"],
            )?,
            fib_refused: counters(
                "caracal_fib_refused_total",
                "Route writes that the kernel refused: full, unreachable, device, taken, permission, invalid",
                &["kind"],
            )?,
            fib_contested: gauge(
                "caracal_fib_contested_routes",
                "Routes that others keep changing, so that repairing them pauses",
            )?,
            fib_tunnels: gauges(
                "caracal_fib_tunnels",
                "1 for each tunnel device and the state that it is in: making, ready, leaving, retiring, failed, broken",
                &["device", "state"],
            )?,
            fib_objects: gauge(
                "caracal_fib_nexthop_objects",
                "Nexthop objects of ours in the kernel, which routes share",
            )?,
            filter_packets: counters(
                "caracal_filter_packets_total",
                "What the packet filter has counted since its table was made: connections masqueraded; packets dropped that were spoofed, looping, encapsulated by pods, to or from 127.0.0.0/8, in tunnels of strangers",
                &["kind"],
            )?,
            filter_events: counters(
                "caracal_filter_events_total",
                "Transactions, repairs, conntrack entries deleted, failures of that since the start",
                &["kind"],
            )?,
            endpoints: gauge("caracal_endpoints", "Local workloads")?,
            blocks: gauge(
                "caracal_ipam_blocks",
                "Confirmed address blocks of this node",
            )?,
            conditions: gauges(
                "caracal_conditions",
                "Conditions that hold, by name",
                &["name"],
            )?,
            peer_up: gauges(
                "caracal_bgp_peer_up",
                "1 when Established (metrics.perPeer)",
                &["peer", "name"],
            )?,
            peer_prefixes: gauges(
                "caracal_bgp_peer_prefixes",
                "Prefixes of a peer (metrics.perPeer)",
                &["peer", "kind"],
            )?,
            registry,
        })
    }

    /// One request of the plugin is done.
    pub(crate) fn cni_done(&self, command: &str, ok: bool, took: Duration) {
        self.cni_requests
            .with_label_values(&[command, if ok { "ok" } else { "error" }])
            .inc();
        self.cni_seconds
            .with_label_values(&[command])
            .observe(took.as_secs_f64());
    }

    /// Before `render`.
    pub(crate) fn set_monitoring(&self, view: &MonitorView) {
        self.monitoring.set(view);
    }

    /// Before `render`.
    pub(crate) fn set_updates_encoded(&self, figure: u64) {
        self.encoded.reset();
        self.encoded.inc_by(figure);
    }

    /// The text that a scrape gets.
    pub(crate) fn render(
        &self,
        status: &Status,
        peers: &[Peer],
        fib: &FibStatus,
        bfd: &BfdView,
        per_peer: bool,
    ) -> Result<String, prometheus::Error> {
        self.info
            .with_label_values(&[&status.node, &status.version])
            .set(1.0);
        self.ready.set(status.ready.into());
        self.uptime.set(status.uptime_seconds as f64);
        self.in_sync.set(status.datastore_in_sync.into());
        self.endpoints.set(count(status.endpoints));
        self.blocks.set(count(status.blocks.len()));
        self.set_peers(peers, per_peer);
        self.set_fib(fib);
        if let Some(filter) = &status.filter {
            self.set_filter(filter);
        }
        self.bfd.set(bfd);
        self.conditions.reset();
        for condition in &status.conditions {
            self.conditions.with_label_values(&[&condition.name]).inc();
        }
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    fn set_peers(&self, peers: &[Peer], per_peer: bool) {
        self.peers.reset();
        for state in [
            "Idle",
            "Connect",
            "Active",
            "OpenSent",
            "OpenConfirm",
            "Established",
        ] {
            let with_state = peers.iter().filter(|peer| peer.state == state).count();
            self.peers
                .with_label_values(&[state])
                .set(count(with_state));
        }
        let sum = |figure: fn(&Peer) -> usize| count(peers.iter().map(figure).sum());
        self.prefixes
            .with_label_values(&["received"])
            .set(sum(|peer| peer.prefixes_received));
        self.prefixes
            .with_label_values(&["accepted"])
            .set(sum(|peer| peer.prefixes_accepted));
        self.prefixes
            .with_label_values(&["stale"])
            .set(sum(|peer| peer.prefixes_stale));
        self.prefixes
            .with_label_values(&["sent"])
            .set(sum(|peer| peer.prefixes_sent));
        let sum = |figure: fn(&Peer) -> u64| peers.iter().map(figure).sum::<u64>();
        self.messages.reset();
        self.messages
            .with_label_values(&["received"])
            .inc_by(sum(|peer| peer.messages_received));
        self.messages
            .with_label_values(&["sent"])
            .inc_by(sum(|peer| peer.messages_sent));
        self.flaps.reset();
        self.flaps.inc_by(sum(|peer| peer.flaps));
        self.errors.reset();
        for (kind, figure) in PeerErrors::sum(peers.iter().map(|peer| &peer.errors)) {
            self.errors.with_label_values(&[kind]).inc_by(figure);
        }
        self.peer_up.reset();
        self.peer_prefixes.reset();
        for peer in peers.iter().filter(|_| per_peer) {
            let address = peer.address.to_string();
            self.peer_up
                .with_label_values(&[&address, &peer.name])
                .set((peer.state == "Established").into());
            self.peer_prefixes
                .with_label_values(&[&address, &"received".into()])
                .set(count(peer.prefixes_received));
            self.peer_prefixes
                .with_label_values(&[&address, &"sent".into()])
                .set(count(peer.prefixes_sent));
        }
    }

    fn set_filter(&self, filter: &FilterSummary) {
        let packets = [
            ("masqueraded", filter.masqueraded),
            ("spoofed", filter.spoofed),
            ("looped", filter.looped),
            ("encapsulated", filter.encapsulated),
            ("loopback", filter.loopback),
            ("strangers", filter.strangers),
        ];
        let events = [
            ("transactions", filter.transactions),
            ("repairs", filter.repairs),
            ("conntrack_deleted", filter.conntrack_deleted),
            ("conntrack_failures", filter.conntrack_failures),
        ];
        for (family, figures) in [
            (&self.filter_packets, &packets[..]),
            (&self.filter_events, &events[..]),
        ] {
            family.reset();
            for (kind, figure) in figures {
                family.with_label_values(&[kind]).inc_by(*figure);
            }
        }
    }

    fn set_fib(&self, fib: &FibStatus) {
        let kinds = [
            ("desired", fib.desired),
            ("actual", fib.actual),
            ("pending", fib.pending),
            ("failed", fib.failed),
            ("stale", fib.stale),
            ("kept", fib.kept),
            ("unconfirmed", fib.unconfirmed),
        ];
        for (kind, figure) in kinds {
            self.fib_routes
                .with_label_values(&[kind])
                .set(count(figure));
        }
        let events = [
            ("writes", fib.writes),
            ("repairs", fib.repairs),
            ("resyncs", fib.resyncs),
            ("overruns", fib.overruns),
            ("failed_reads", fib.counters.failed_reads),
            ("lost_batches", fib.counters.lost_batches),
            ("lost_sockets", fib.counters.lost_sockets),
            ("fights", fib.counters.fights),
            ("neighbour_repairs", fib.counters.neighbour_repairs),
            ("intruders_removed", fib.counters.intruders_removed),
            ("leftovers_removed", fib.counters.leftovers_removed),
            ("object_writes", fib.object_writes),
            ("object_repairs", fib.object_repairs),
        ];
        self.fib_events.reset();
        for (kind, figure) in events {
            self.fib_events.with_label_values(&[kind]).inc_by(figure);
        }
        self.fib_repairs.reset();
        for (cause, figure) in fib.counters.repairs.by_cause() {
            self.fib_repairs.with_label_values(&[cause]).inc_by(figure);
        }
        self.fib_refused.reset();
        for kind in Refused::ALL {
            let figure = fib.counters.refused.get(&kind).copied().unwrap_or_default();
            self.fib_refused
                .with_label_values(&[kind.name()])
                .inc_by(figure);
        }
        self.fib_contested.set(count(fib.contested));
        self.fib_objects.set(count(fib.objects));
        self.fib_tunnels.reset();
        for tunnel in &fib.tunnels {
            self.fib_tunnels
                .with_label_values(&[&tunnel.device, &tunnel.state])
                .set(1);
        }
    }
}

fn count(figure: usize) -> i64 {
    i64::try_from(figure).unwrap_or(i64::MAX)
}
