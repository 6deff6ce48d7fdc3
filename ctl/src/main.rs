//! caracalctl: looks at a node through its agent, and at the cluster's resources in their datastore.
//!
//! ```text
//!   node, peers, routes, fib, endpoints, version ──▶ agent's socket      (node.rs, orders.rs, routes.rs)
//!   get, apply, patch, label, …, ipam, datastore ──▶ datastore, no agent (get.rs, resources.rs, edit.rs, ipam.rs, …)
//!   diags                                        ──▶ all of these, and the kernel's tools (diags.rs)
//!   bgp                                          ──▶ datastore, no agent (bgp.rs)
//!   validate, completion                         ──▶ nobody
//! ```
//!
//! A command puts its whole output together ([`outcome`]) and it is written once ([`output`]). What a failure
//! means to a script is in [`failure`].

mod bgp;
mod cli;
mod columns;
mod conflict;
mod custom_columns;
mod datastore;
mod diags;
mod edit;
mod explain;
mod failure;
mod get;
mod ipam;
mod jsonpath;
mod manifests;
mod node;
mod orders;
mod outcome;
mod output;
mod resources;
mod routes;
mod split;
mod store;
mod table;
mod validate;

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use caracal_agent_api::{Client, Explained, Peer, Route, Status};
use clap::{CommandFactory, Parser};
use serde::Serialize;

use crate::cli::{
    Cli, Command, DatastoreCommand, NodeCommand, PeersArgs, ResourceCommand, RoutesArgs,
    VersionArgs,
};
use crate::failure::{Failure, Sort};
use crate::node::NodeStatus;
use crate::outcome::Outcome;
use crate::resources::{How, Verb, Writing};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to standard output, which may be closed.
            let _ = error.print();
            return match error.exit_code() {
                0 => ExitCode::SUCCESS,
                _ => ExitCode::from(Sort::Usage as u8),
            };
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let mut outcome = match runtime {
        Ok(runtime) => runtime
            .block_on(run(&cli))
            .unwrap_or_else(|failure| Outcome {
                failure: Some(failure),
                ..Outcome::default()
            }),
        Err(error) => Outcome {
            failure: Some(Failure::new(Sort::Failed, format!("cannot start: {error}"))),
            ..Outcome::default()
        },
    };
    if let Err(failure) = output::print(&outcome.text) {
        outcome.fails(failure);
    }
    // Nobody reading standard error is no reason to change the exit code.
    let mut err = std::io::stderr().lock();
    for note in &outcome.notes {
        let _ = writeln!(err, "caracalctl: note: {note}");
    }
    match outcome.failure {
        None => ExitCode::SUCCESS,
        Some(failure) => {
            let _ = write!(err, "{failure}");
            ExitCode::from(failure.sort as u8)
        }
    }
}

async fn run(cli: &Cli) -> Result<Outcome, Failure> {
    let agent = Client::new(&cli.places.socket, PATIENCE);
    let text = match &cli.command {
        Command::Node(NodeCommand::Status(view)) => {
            let report = NodeStatus {
                status: agent.get("/v1/status").await?,
                peers: agent.get("/v1/peers").await?,
            };
            output::report(&report, view.output, node::status)?
        }
        Command::Node(NodeCommand::GracefulShutdown { switch }) => {
            orders::graceful_shutdown(&agent, *switch).await?
        }
        Command::Node(NodeCommand::Diags(args)) | Command::Diags(args) => {
            return diags::run(&agent, &cli.places, args).await;
        }
        Command::Peers(PeersArgs {
            order: Some(order), ..
        }) => orders::peer(&agent, order).await?,
        Command::Peers(args) => {
            let peers: Vec<Peer> = agent.get("/v1/peers").await?;
            output::report(&peers, args.view.output, node::peers)?
        }
        Command::Routes(args) if args.to.is_some() || args.from.is_some() => {
            let (path, question) = explain::question(args)?;
            let answer: Vec<Explained> = agent.post(path, &question).await?;
            output::report(&answer, args.view.output, explain::table)?
        }
        Command::Routes(RoutesArgs {
            policy: Some(_), ..
        }) => {
            let words = "--policy needs --to or --from: a policy is for a peer";
            return Err(Failure::new(Sort::Usage, words));
        }
        Command::Routes(args) => {
            let mut found: Vec<Route> = agent.get("/v1/routes").await?;
            if let Some(prefix) = &args.prefix {
                found = routes::select(found, prefix)?;
            }
            output::report(&found, args.view.output, routes::routes)?
        }
        Command::Fib(view) => {
            output::report(&agent.get("/v1/fib").await?, view.output, routes::fib)?
        }
        Command::Endpoints(view) => output::report(
            &agent.get("/v1/endpoints").await?,
            view.output,
            routes::endpoints,
        )?,
        Command::Version(args) => return version(&agent, args).await,
        Command::Ipam(command) => {
            return ipam::run(&store::open(&cli.places).await?, command).await;
        }
        Command::Bgp(command) => return bgp::run(&cli.places, command).await,
        Command::Resources(command) => return about_resources(cli, command).await,
        Command::Datastore(
            DatastoreCommand::Transfer(transfer) | DatastoreCommand::Migrate(transfer),
        ) => return datastore::run(&cli.places, transfer).await,
        Command::Completion { shell } => completion(*shell),
    };
    Ok(Outcome::text(text))
}

async fn about_resources(cli: &Cli, command: &ResourceCommand) -> Result<Outcome, Failure> {
    if let ResourceCommand::Validate(args) = command {
        return Ok(validate::validate(&args.sources));
    }
    let store = store::open(&cli.places).await?;
    let (verb, args, lenient) = match command {
        ResourceCommand::Get(args) => return get::get(&store, args).await,
        ResourceCommand::Delete(args) => return resources::delete(&store, args).await,
        ResourceCommand::Patch(args) => return edit::patch(&store, args).await,
        ResourceCommand::Label(args) => return edit::label(&store, args).await,
        ResourceCommand::Validate(args) => return Ok(validate::validate(&args.sources)),
        ResourceCommand::Apply(args) => (Verb::Apply, args, false),
        ResourceCommand::Create(args) => (Verb::Create, &args.write, args.skip_exists),
        ResourceCommand::Replace(args) => (Verb::Replace, &args.write, args.skip_not_exists),
    };
    let writing = Writing {
        sources: &args.sources,
        how: How {
            verb,
            dry_run: args.dry_run,
            lenient,
        },
    };
    resources::write(&store, &writing).await
}

/// The script that teaches a shell our words.
fn completion(shell: clap_complete::Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "caracalctl", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// What `version` shows.
#[derive(Debug, Serialize)]
struct Versions {
    client: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
}

async fn version(agent: &Client, args: &VersionArgs) -> Result<Outcome, Failure> {
    let mut versions = Versions {
        client: env!("CARGO_PKG_VERSION"),
        agent: None,
        node: None,
    };
    let mut failure = None;
    if !args.client {
        match agent.get::<Status>("/v1/status").await {
            Ok(status) => {
                versions.agent = Some(status.version);
                versions.node = Some(status.node);
            }
            Err(error) => failure = Some(error.into()),
        }
    }
    let text = output::report(&versions, args.view.output, |versions, _| {
        let mut out = format!("Client version: {}\n", versions.client);
        if let (Some(agent), Some(node)) = (&versions.agent, &versions.node) {
            out.push_str(&format!("Agent version:  {agent} (node {node})\n"));
        }
        out
    })?;
    Ok(Outcome {
        text,
        notes: Vec::new(),
        failure,
    })
}

/// For a question that the agent answers out of memory.
const PATIENCE: Duration = Duration::from_secs(10);
