//! How fast Caracal speaks BGP, beside others, in one run.
//!
//! ```text
//!   for each round, for each case, for each speaker:        a network, a process and sessions of its own
//!
//!     namespace "generator"                     veth            namespace "speaker"
//!     Swarm: K clients on one thread  ◄──────────────────►  172.31.0.1, the speaker under test
//!       Feeds   octets that are ready before the clock        speakers::{caracal, bird, ...}
//!       Scan    what comes back, ticked off in bitmaps          configuration, processes, own count
//! ```
//!
//! `cases` says what is done and measured, `scene` how, `report` makes the table. All of it happens in a private world
//! (`caracal_lab::private`) that ends with the program.
//!
//! Speakers take turns within each round, so that what the machine does besides meets all of them; a figure is the median of
//! the rounds. Absolute figures belong to the machine; ratios within one run may be compared.

#![allow(clippy::print_stdout, clippy::print_stderr)] // Talking to a person is what this program is for.

mod cases;
mod client;
mod docs;
mod feed;
mod kernel;
mod network;
mod prefixes;
mod process;
mod programs;
mod report;
mod scan;
mod scene;
mod speakers;
mod swarm;
mod targets;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use caracal_lab::private;
use clap::Parser;

use cases::{Case, Run};
use report::{Figures, Report};
use speakers::Name;

/// Measures Caracal's BGP beside other people's: convergence, latency, memory and processor time under the load of many
/// clients. Needs no root, and leaves nothing behind.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// Only these cases; `s1` stands for all whose names begin so. Without: all. `--list` names them.
    #[arg(long, value_delimiter = ',')]
    case: Vec<String>,
    /// Only these speakers.
    #[arg(long, value_delimiter = ',', value_enum)]
    only: Vec<Name>,
    /// Rounds; the median is shown.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Share of the work: prefixes, or clients where there are many.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Seconds that a step may take.
    #[arg(long, default_value_t = 60)]
    patience: u64,
    /// In each case only those whom a target of Caracal names.
    #[arg(long)]
    targets: bool,
    /// Work at 1, 2 and 4 times the scale, to see how it grows.
    #[arg(long)]
    growth: bool,
    /// Writes the result into this document too, between its marks.
    #[arg(long, value_name = "FILE")]
    docs: Option<PathBuf>,
    /// Builds nothing: our programs stand beside this one.
    #[arg(long)]
    built: bool,
    /// Names the cases and ends.
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if options.list {
        cases::ALL.iter().for_each(|case| println!("{}", case.name));
        return ExitCode::SUCCESS;
    }
    let outcome = if private::inside() {
        private::settle().and_then(|()| inside(&options))
    } else {
        outside(&options)
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("caracal-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Builds our programs, and starts this one again in its private world.
fn outside(options: &Options) -> Result<ExitCode> {
    options.cases()?;
    let entrance = private::Entrance::find()?;
    if options.speakers().contains(&Name::Caracal) && !options.built {
        let cases = options.cases()?;
        let mut packages = vec!["caracal-route-reflector"];
        if cases.iter().any(Case::needs_agent) {
            packages.push("caracal-agent");
        }
        programs::build(&packages)?;
    }
    let program = std::env::current_exe().context("where this program is")?;
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    let (mut child, _leash) = entrance.start(&program, &args, |_| {})?;
    let code = child.wait()?.code();
    let code = code.and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

fn inside(options: &Options) -> Result<ExitCode> {
    let (cases, speakers) = (options.cases()?, options.speakers());
    let mut text = format!("{}\n\n", docs::machine());
    for speaker in &speakers {
        // Who is not installed is an error of each of its runs.
        let version = speaker
            .version()
            .unwrap_or_else(|error| format!("{error:#}"));
        let _ = writeln!(text, "- {speaker}: {version}");
    }
    let scales: &[f64] = if options.growth {
        &[1.0, 2.0, 4.0]
    } else {
        &[1.0]
    };
    let mut report = Report::default();
    let begin = Instant::now();
    for round in 1..=options.runs {
        for case in &cases {
            for scale in scales {
                let takes_part =
                    |one: Name| case.suits(one) && (!options.targets || case.is_compared(one));
                for &speaker in speakers.iter().filter(|&&one| takes_part(one)) {
                    let mut figures = Figures::new();
                    let outcome = case.run(&mut Run {
                        speaker,
                        scale: options.scale * scale,
                        patience: Duration::from_secs(options.patience),
                        figures: &mut figures,
                    });
                    let seconds = begin.elapsed().as_secs();
                    eprint!("[{seconds:>4} s] round {round}: {} {speaker}", case.name);
                    for (what, _, value) in &figures {
                        eprint!("; {} {value:.3}", what.rsplit(": ").next().unwrap_or(what));
                    }
                    eprintln!();
                    report.add(case.name, speaker, figures);
                    if let Err(error) = outcome {
                        eprintln!("    invalid: {error:#}");
                        report.fail(case.name, speaker, &format!("{error:#}"));
                    }
                }
            }
        }
    }
    let minutes = begin.elapsed().as_secs_f64() / 60.0;
    let _ = writeln!(
        text,
        "\n{} rounds in {minutes:.0} minutes; medians, in brackets the ratio to bird2\n",
        options.runs
    );
    text += &report.text(&speakers);
    let targets = targets::text(&report);
    if !targets.is_empty() {
        let _ = write!(
            text,
            "\nTargets for Caracal, by these medians:\n\n{targets}"
        );
    }
    print!("{text}");
    if let Some(file) = &options.docs {
        docs::write(file, text.trim_end())?;
    }
    Ok(match report.failures() {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

impl Options {
    fn cases(&self) -> Result<Vec<Case>> {
        for name in &self.case {
            if !cases::ALL.iter().any(|case| case.is_named(name)) {
                bail!("no case {name}; --list names them");
            }
        }
        let wanted = |case: &Case| self.case.iter().any(|name| case.is_named(name));
        let chosen = cases::ALL.iter().copied();
        Ok(chosen
            .filter(|case| self.case.is_empty() || wanted(case))
            .collect())
    }

    fn speakers(&self) -> Vec<Name> {
        let wanted = |name: &Name| self.only.is_empty() || self.only.contains(name);
        Name::ALL.into_iter().filter(wanted).collect()
    }
}
