//! What Prometheus gets. Names are the agent's where they mean the same.

use caracal_agent_api::metrics::{BfdMetrics, MonitoringMetrics};
use caracal_agent_api::{Peer, PeerErrors, Status};
use caracal_bgp_net::bfd_net::BfdView;
use caracal_bgp_net::monitor::MonitorView;
use prometheus::{
    Encoder, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

/// The metrics of one reflector.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    info: IntGaugeVec,
    ready: IntGauge,
    uptime: IntGauge,
    in_sync: IntGauge,
    peers: IntGaugeVec,
    prefixes: IntGaugeVec,
    conditions: IntGaugeVec,
    messages: IntCounterVec,
    encoded: IntCounter,
    flaps: IntCounter,
    errors: IntCounterVec,
    refused: IntCounter,
    bfd: BfdMetrics,
    monitoring: MonitoringMetrics,
}

impl Metrics {
    /// Registers every name once.
    pub(crate) fn new() -> Result<Metrics, prometheus::Error> {
        let registry = Registry::new();
        let metrics = Metrics {
            bfd: BfdMetrics::new(&registry)?,
            monitoring: MonitoringMetrics::new(&registry)?,
            registry,
            info: IntGaugeVec::new(
                Opts::new("caracal_rr_info", "1; who this is"),
                &["node", "version"],
            )?,
            ready: IntGauge::new("caracal_rr_ready", "1 when the speaker is at work")?,
            uptime: IntGauge::new(
                "caracal_rr_uptime_seconds",
                "Seconds since the reflector started",
            )?,
            in_sync: IntGauge::new(
                "caracal_datastore_in_sync",
                "1 when the datastore has delivered a complete set, or none is used",
            )?,
            peers: IntGaugeVec::new(
                Opts::new("caracal_bgp_peers", "BGP peers by state"),
                &["state"],
            )?,
            prefixes: IntGaugeVec::new(
                Opts::new(
                    "caracal_bgp_prefixes",
                    "Prefixes over all peers: received, accepted, stale, sent",
                ),
                &["kind"],
            )?,
            conditions: IntGaugeVec::new(
                Opts::new("caracal_conditions", "Conditions that hold, by name"),
                &["name"],
            )?,
            messages: IntCounterVec::new(
                Opts::new(
                    "caracal_bgp_messages_total",
                    "BGP messages over all peers there are",
                ),
                &["direction"],
            )?,
            encoded: IntCounter::new(
                "caracal_bgp_updates_encoded_total",
                "UPDATEs encoded to be shared by peers with equal terms of export",
            )?,
            flaps: IntCounter::new(
                "caracal_bgp_session_flaps_total",
                "Sessions lost, over all peers there are",
            )?,
            errors: IntCounterVec::new(
                Opts::new(
                    "caracal_bgp_peer_errors_total",
                    "What has gone wrong with BGP peers, by kind, over all peers there are",
                ),
                &["kind"],
            )?,
            refused: IntCounter::new(
                "caracal_bgp_refused_connections_total",
                "Connections closed at once: from unknown addresses, or not wanted then",
            )?,
        };
        let registry = &metrics.registry;
        registry.register(Box::new(metrics.info.clone()))?;
        registry.register(Box::new(metrics.ready.clone()))?;
        registry.register(Box::new(metrics.uptime.clone()))?;
        registry.register(Box::new(metrics.in_sync.clone()))?;
        registry.register(Box::new(metrics.peers.clone()))?;
        registry.register(Box::new(metrics.prefixes.clone()))?;
        registry.register(Box::new(metrics.conditions.clone()))?;
        registry.register(Box::new(metrics.messages.clone()))?;
        registry.register(Box::new(metrics.encoded.clone()))?;
        registry.register(Box::new(metrics.flaps.clone()))?;
        registry.register(Box::new(metrics.errors.clone()))?;
        registry.register(Box::new(metrics.refused.clone()))?;
        Ok(metrics)
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
        bfd: &BfdView,
        monitoring: &MonitorView,
        refused: u64,
    ) -> Result<String, prometheus::Error> {
        self.info.reset();
        self.info
            .with_label_values(&[&status.node, &status.version])
            .set(1);
        self.ready.set(status.ready.into());
        self.uptime
            .set(i64::try_from(status.uptime_seconds).unwrap_or(i64::MAX));
        self.in_sync.set(status.datastore_in_sync.into());
        for state in [
            "Idle",
            "Connect",
            "Active",
            "OpenSent",
            "OpenConfirm",
            "Established",
        ] {
            let there = peers.iter().filter(|peer| peer.state == state).count();
            self.peers.with_label_values(&[state]).set(count(there));
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
        self.conditions.reset();
        for condition in &status.conditions {
            self.conditions.with_label_values(&[&condition.name]).inc();
        }
        self.messages.reset();
        let received = peers.iter().map(|peer| peer.messages_received).sum();
        self.messages
            .with_label_values(&["received"])
            .inc_by(received);
        let sent = peers.iter().map(|peer| peer.messages_sent).sum();
        self.messages.with_label_values(&["sent"]).inc_by(sent);
        self.flaps.reset();
        self.flaps.inc_by(peers.iter().map(|peer| peer.flaps).sum());
        self.errors.reset();
        for (kind, figure) in PeerErrors::sum(peers.iter().map(|peer| &peer.errors)) {
            self.errors.with_label_values(&[kind]).inc_by(figure);
        }
        self.bfd.set(bfd);
        self.monitoring.set(monitoring);
        self.refused.reset();
        self.refused.inc_by(refused);
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

fn count(figure: usize) -> i64 {
    i64::try_from(figure).unwrap_or(i64::MAX)
}
