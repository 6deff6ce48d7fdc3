//! What Prometheus gets of a speaker's surroundings, from agent and route reflector alike.

mod bfd;
mod monitoring;

pub use bfd::BfdMetrics;
pub use monitoring::MonitoringMetrics;
