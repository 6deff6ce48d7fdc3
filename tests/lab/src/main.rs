//! `caracal-lab`: the virtual cluster as a program. `cargo demo` is `caracal-lab demo`.

#![allow(clippy::print_stdout, clippy::print_stderr)] // Talking to a person is what this program is for.

mod demo;
mod look;
mod many;
mod terminal;

use std::process::ExitCode;

use anyhow::{Context, Result};
use caracal_lab::{Binaries, private};
use clap::{Parser, Subcommand};

/// A virtual cluster of network namespaces on this machine, with real agents and real pods. Needs no root, and leaves
/// nothing behind.
#[derive(Parser)]
#[command(name = "caracal-lab", version)]
struct Arguments {
    #[command(subcommand)]
    command: Do,
}

#[derive(Subcommand)]
enum Do {
    /// Builds a cluster, and shows that its pods reach one another, how, and what a restart costs.
    Demo(demo::Wishes),
    /// Builds a large cluster, lets it be idle, and says what its agents cost.
    Many(many::Wishes),
    /// Runs a command on a node or pod of a lab that stays up (`caracal-lab demo --keep`).
    Exec(look::Exec),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Do::Demo(wishes) if private::inside() => demo::run(&wishes),
        Do::Many(wishes) if private::inside() => many::run(&wishes),
        Do::Demo(_) | Do::Many(_) => outside(),
        Do::Exec(exec) => look::exec(&exec),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("caracal-lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Builds the programs, and starts this one again in its private world.
fn outside() -> Result<ExitCode> {
    let entrance = private::Entrance::find()?;
    Binaries::build()?;
    let program = std::env::current_exe().context("where this program is")?;
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    let (mut child, _leash) = entrance.start(&program, &args, |_| {})?;
    let code = child
        .wait()?
        .code()
        .and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
