//! `caracal-route-reflector`: the agent's speaker with clients and without a FIB.
//!
//! ```text
//!   rr.yaml ──────────┐
//!                     ├─► desired ──► roster ──► speaker (bgp/net) ◄──► clients, other reflectors
//!   datastore ──view──┘   (pure)        ▲
//!                                       └── whoever connects from a prefix of dynamicPeers
//!   caracalctl ──► socket ─┐
//!   Prometheus ──► HTTP  ──┴──► status, peers, routes
//! ```
//!
//! [`reflector::run`] is the one loop.

mod cluster;
mod config;
mod desired;
mod dynamic;
mod file;
mod metrics;
mod reflector;
mod server;
mod sessions;
mod shared;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use crate::config::{Config, LogConfig, LogFormat};

/// Caracal's route reflector (RFC 4456): passes routes on between its clients and everyone else, so that nodes
/// need a session with it instead of one with every other node. It forwards no packets.
#[derive(Debug, Parser)]
#[command(version, after_help = config::HELP)]
struct Arguments {
    /// The configuration file (YAML), see below.
    #[arg(long, env = "CARACAL_CONFIG", value_name = "FILE")]
    config: PathBuf,

    /// Only read the configuration, say what is wrong with it, and end.
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let config = match Config::load(&arguments.config) {
        Ok(config) => config,
        Err(fault) => {
            eprintln!("caracal-route-reflector: {fault}");
            return ExitCode::from(2);
        }
    };
    if arguments.check {
        return ExitCode::SUCCESS;
    }
    if let Err(fault) = start_logging(&config.log) {
        eprintln!(
            "caracal-route-reflector: {}: {fault}",
            arguments.config.display()
        );
        return ExitCode::from(2);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(fault) => {
            eprintln!("caracal-route-reflector: cannot start threads: {fault}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(reflector::run(arguments.config, config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("caracal-route-reflector: {fault:#}");
            ExitCode::FAILURE
        }
    }
}

fn start_logging(log: &LogConfig) -> Result<(), String> {
    let filter = caracal_agent_api::log::filter(&log.level)?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match log.format {
        LogFormat::Text => subscriber.with_target(false).with_ansi(false).init(),
        LogFormat::Json => subscriber.json().flatten_event(true).init(),
    }
    Ok(())
}
