//! How fast the FIB is, beside others who write routes, in one run.
//!
//! ```text
//!   for each run, for each family:                                 N host routes by 200 gateways
//!     in → replace → out → multipath in → multipath out
//!       in rounds, a part of the routes each: raw, fib, …          each in a network namespace of its own
//!     the same as a whole: ip -batch, bird
//!   then the FIB alone: latency of one change, memory of a route
//! ```
//!
//! The last table says of each target whether it is met. Whoever is not installed is skipped; when anyone fails, the program
//! says so and does too.
//!
//! A rate is the median of the runs, and a ratio to a raw writer is the median of those of all rounds: what the machine does
//! besides meets all of one round. Absolute figures belong to the machine. Where others use the machine too, the ratios of
//! processor time are the steadier ones.

mod contestants;
mod latency;
mod memory;
mod namespace;
mod pairs;
mod report;
mod rounds;
mod stopwatch;
mod targets;
mod work;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use contestants::Contestant;
use report::Report;
use work::{Family, Work};

/// Measures Caracal's FIB beside a raw netlink writer, `ip -batch` and BIRD.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// Routes in the table.
    #[arg(long, default_value_t = 100_000)]
    routes: u32,
    /// Runs of each contestant; the median is shown.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Rounds of a step in each run.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Messages a send of the raw writer.
    #[arg(long, default_value_t = 256)]
    batch: usize,
    /// Only these contestants.
    #[arg(long, value_delimiter = ',', value_enum)]
    only: Vec<Contestant>,
    /// Only these families.
    #[arg(long, value_delimiter = ',', value_enum)]
    family: Vec<Family>,
    /// Only these parts.
    #[arg(long, value_delimiter = ',', value_enum)]
    part: Vec<Part>,
    /// Writes all figures into this file, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Writes what is printed into this file as well: tables in Markdown.
    #[arg(long)]
    markdown: Option<PathBuf>,
    /// Prints this process's memory with so many routes, and ends. Memory is measured in a process of its own.
    #[arg(long, hide = true)]
    memory_of: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Routes a second.
    Rates,
    /// One change while the table is full, and while it is being filled.
    Latency,
    /// Octets a route.
    Memory,
}

fn main() -> anyhow::Result<ExitCode> {
    namespace::become_able()?;
    let options = Options::parse();
    // What the FIB warns of belongs to the result.
    tracing_subscriber::fmt()
        .with_env_filter("warn")
        .with_writer(std::io::stderr)
        .init();
    if let Some(routes) = options.memory_of {
        memory::measure_here(routes)?;
        return Ok(ExitCode::SUCCESS);
    }
    let wanted = |part| options.part.is_empty() || options.part.contains(&part);
    let families = match options.family.as_slice() {
        [] => &[Family::V4, Family::V6],
        some => some,
    };
    let mut report = Report::new(options.routes, options.runs, options.rounds, options.batch);
    if wanted(Part::Rates) {
        measure_rates(&options, families, &mut report);
    }
    if wanted(Part::Latency) {
        for family in families {
            eprintln!("latency: {family}");
            match latency::measure(*family, options.routes) {
                Ok(some) => report.latency.extend(some),
                Err(error) => report.fail(format!("latency, {family}"), &error),
            }
        }
    }
    if wanted(Part::Memory) {
        for routes in [options.routes, options.routes.saturating_mul(5)] {
            eprintln!("memory: {routes} routes");
            match memory::measure(routes) {
                Ok(one) => report.memory.push(one),
                Err(error) => report.fail(format!("memory of {routes} routes"), &error),
            }
        }
    }
    report.judge();
    let text = report.text()?;
    std::io::stdout().write_all(text.as_bytes())?;
    if let Some(path) = &options.markdown {
        std::fs::write(path, &text)?;
    }
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_string_pretty(&report)?)?;
    }
    Ok(match report.failed.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn measure_rates(options: &Options, families: &[Family], report: &mut Report) {
    let contestants: Vec<Contestant> = Contestant::ALL
        .into_iter()
        .filter(|one| options.only.is_empty() || options.only.contains(one))
        .collect();
    for run in 0..options.runs {
        for family in families {
            let work = Work {
                family: *family,
                routes: options.routes,
                batch: options.batch,
            };
            let ready: Vec<Contestant> = contestants
                .iter()
                .filter(|contestant| !report.is_out(**contestant, *family))
                .copied()
                .collect();
            let (in_turns, whole): (Vec<Contestant>, Vec<Contestant>) =
                ready.into_iter().partition(|one| one.takes_turns());
            eprintln!("run {} of {}: {family}, rounds", run + 1, options.runs);
            let mut outcomes = rounds::run(&in_turns, work, options.rounds);
            for contestant in whole {
                eprintln!("run {} of {}: {family} {contestant}", run + 1, options.runs);
                let outcome = namespace::within(move || contestant.compete(work));
                outcomes.push((contestant, outcome));
            }
            for (contestant, outcome) in outcomes {
                match outcome {
                    Ok(times) => report.add(contestant, *family, &times),
                    Err(error) => report.leave_out(contestant, *family, &error),
                }
            }
        }
    }
}
