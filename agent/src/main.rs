//! `caracal-agent`: the node daemon.
//!
//! It introduces the parts to one another and owns no algorithm:
//!
//! ```text
//!   datastore ──watch──▶ cluster ──plan──▶ speaker (1 task, bgp/net) ◀──▶ peers
//!       ▲                    │                  │ Loc-RIB changes
//!       │ IPAM, endpoints    ├──plan──▶ fib ◀───┘            (1 task, netlink)
//!   workloads ◀── socket ◀── caracal-cni, caracalctl
//! ```
//!
//! `node::Node::run` is the one loop. `plan` and `ways` are pure.

mod address;
mod announcements;
mod cleanup;
mod cluster;
mod config;
mod filtering;
mod gc;
mod metrics;
mod migration;
mod mtu_file;
mod node;
mod node_status;
mod plan;
mod server;
mod settings;
mod shared;
mod spool;
mod tunnels;
mod ways;
mod workloads;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use tracing::error;

use crate::config::{Config, LogFormat};

/// Caracal's node agent: writes the routes of a node's pods, speaks BGP with the other nodes, and answers
/// the CNI plugin and caracalctl.
#[derive(Debug, Parser)]
#[command(version, about, after_help = config::HELP)]
struct Arguments {
    /// The configuration file (YAML). Every key can be overridden by the environment, see below.
    #[arg(long, env = "CARACAL_CONFIG", value_name = "FILE", global = true)]
    config: Option<PathBuf>,

    /// Only read the configuration, say what is wrong with it, and end.
    #[arg(long)]
    check: bool,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Leaves the node as it was before the agent: routes, devices, sysctls, files. The agent must not run.
    #[command(after_help = cleanup::HELP)]
    Cleanup(cleanup::Orders),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let config = match Config::load(arguments.config.as_deref(), &|key| std::env::var(key).ok()) {
        Ok(config) => config,
        Err(fault) => {
            eprintln!("caracal-agent: {fault}");
            return ExitCode::from(2);
        }
    };
    if arguments.check {
        return ExitCode::SUCCESS;
    }
    if let Err(fault) = start_logging(&config) {
        eprintln!("caracal-agent: {fault}");
        return ExitCode::from(2);
    }
    if let Some(Command::Cleanup(orders)) = arguments.command {
        return cleanup::run(&config, orders);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(2)
        .build()
    {
        Ok(runtime) => runtime,
        Err(fault) => {
            eprintln!("caracal-agent: cannot start threads: {fault}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(node::run(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            error!("cannot go on: {fault:#}");
            ExitCode::FAILURE
        }
    }
}

fn start_logging(config: &Config) -> Result<(), String> {
    let filter = caracal_agent_api::log::filter(&config.log.level)?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match config.log.format {
        LogFormat::Text => subscriber.with_target(false).with_ansi(false).init(),
        LogFormat::Json => subscriber.json().flatten_event(true).init(),
    }
    Ok(())
}
