//! BFD for Prometheus.

use caracal_bgp_net::bfd_net::BfdView;
use caracal_bgp_net::bfd_net::caracal_bfd::State;
use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};

/// Sessions by state, transitions, discards by reason.
#[derive(Debug)]
pub struct BfdMetrics {
    sessions: IntGaugeVec,
    transitions: IntCounterVec,
    discards: IntCounterVec,
}

impl BfdMetrics {
    /// Registers every name once.
    ///
    /// # Errors
    /// The registry has one of them already.
    pub fn new(registry: &Registry) -> Result<BfdMetrics, prometheus::Error> {
        let metrics = BfdMetrics {
            sessions: IntGaugeVec::new(
                Opts::new("caracal_bfd_sessions", "BFD sessions by state"),
                &["state"],
            )?,
            transitions: IntCounterVec::new(
                Opts::new(
                    "caracal_bfd_transitions_total",
                    "BFD sessions that went up, or left that state",
                ),
                &["to"],
            )?,
            discards: IntCounterVec::new(
                Opts::new(
                    "caracal_bfd_discards_total",
                    "BFD packets that were discarded, by reason",
                ),
                &["reason"],
            )?,
        };
        registry.register(Box::new(metrics.sessions.clone()))?;
        registry.register(Box::new(metrics.transitions.clone()))?;
        registry.register(Box::new(metrics.discards.clone()))?;
        Ok(metrics)
    }

    /// As it is now, for the next scrape.
    pub fn set(&self, view: &BfdView) {
        for state in State::ALL {
            let in_state = view.sessions.iter().filter(|s| s.session.state == state);
            let count = i64::try_from(in_state.count()).unwrap_or(i64::MAX);
            self.sessions
                .with_label_values(&[&state.to_string()])
                .set(count);
        }
        self.transitions.reset();
        for (to, count) in [("up", view.counters.ups), ("down", view.counters.downs)] {
            self.transitions.with_label_values(&[to]).inc_by(count);
        }
        self.discards.reset();
        for (reason, count) in &view.discards {
            self.discards.with_label_values(&[reason]).inc_by(*count);
        }
    }
}
