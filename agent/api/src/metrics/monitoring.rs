//! BMP and MRT for Prometheus.

use caracal_bgp_net::monitor::MonitorView;
use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};

/// Collectors by state, and what they and the files got.
#[derive(Debug)]
pub struct MonitoringMetrics {
    stations: IntGaugeVec,
    octets: IntCounterVec,
    faults: IntCounterVec,
}

impl MonitoringMetrics {
    /// Registers every name once.
    ///
    /// # Errors
    /// The registry has one of them already.
    pub fn new(registry: &Registry) -> Result<MonitoringMetrics, prometheus::Error> {
        let metrics = MonitoringMetrics {
            stations: IntGaugeVec::new(
                Opts::new("caracal_bmp_stations", "BMP collectors by state"),
                &["state"],
            )?,
            octets: IntCounterVec::new(
                Opts::new(
                    "caracal_monitoring_bytes_total",
                    "Bytes given to BMP collectors and MRT files",
                ),
                &["to"],
            )?,
            faults: IntCounterVec::new(
                Opts::new(
                    "caracal_monitoring_faults_total",
                    "BMP collectors that did not keep up, MRT files that could not be written",
                ),
                &["of"],
            )?,
        };
        registry.register(Box::new(metrics.stations.clone()))?;
        registry.register(Box::new(metrics.octets.clone()))?;
        registry.register(Box::new(metrics.faults.clone()))?;
        Ok(metrics)
    }

    /// As it is now, for the next scrape.
    pub fn set(&self, view: &MonitorView) {
        let stations = view.stations.iter();
        let up = stations.clone().filter(|station| station.up).count();
        for (state, count) in [("up", up), ("down", view.stations.len() - up)] {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.stations.with_label_values(&[state]).set(count);
        }
        let bmp: u64 = stations.clone().map(|station| station.octets).sum();
        let overruns: u64 = stations.map(|station| station.overruns).sum();
        self.octets.reset();
        for (to, octets) in [("bmp", bmp), ("mrt", view.mrt_octets)] {
            self.octets.with_label_values(&[to]).inc_by(octets);
        }
        self.faults.reset();
        let overruns = overruns + view.overruns;
        for (of, count) in [("bmp", overruns), ("mrt", view.mrt_errors)] {
            self.faults.with_label_values(&[of]).inc_by(count);
        }
    }
}
