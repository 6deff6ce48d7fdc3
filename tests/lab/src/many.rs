//! `caracal-lab many`: hundreds of agents on one machine, and what each costs when nothing happens.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use caracal_lab::expense::Expense;
use caracal_lab::{Binaries, Encapsulation, Lab, Mode, Node, Options, private};
use clap::Args;
use tabled::builder::Builder;
use tabled::settings::Style;

/// What is asked for.
#[derive(Args)]
pub(crate) struct Wishes {
    /// Nodes, each with an agent that writes its routes into a kernel's tables of its own.
    #[arg(long, default_value_t = 300)]
    nodes: u16,
    /// Racks: subnets with a router between them, and VXLAN across them.
    #[arg(long, default_value_t = 10)]
    racks: u8,
    /// How nodes learn each other's routes.
    #[arg(long, value_enum, default_value_t = Mode::Reflector)]
    mode: Mode,
    /// Route reflectors, where there are any.
    #[arg(long, default_value_t = 2)]
    reflectors: u8,
    /// How many agents start at a time: the next begin when these are ready.
    #[arg(long, default_value_t = 10)]
    at_once: usize,
    /// Seconds of rest before agents are measured.
    #[arg(long, default_value_t = 30)]
    settle: u64,
    /// Seconds for which they are measured.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

/// Runs inside the private world.
pub(crate) fn run(wishes: &Wishes) -> Result<ExitCode> {
    private::settle()?;
    let outcome = show(wishes);
    if outcome.is_err() {
        caracal_lab::show_logs();
    }
    outcome.map(|()| ExitCode::SUCCESS)
}

fn show(wishes: &Wishes) -> Result<()> {
    let options = Options {
        nodes: wishes.nodes,
        racks: wishes.racks,
        mode: wishes.mode,
        reflectors: wishes.reflectors,
        encapsulation: Encapsulation::Vxlan,
        ipv6: false,
    };
    let start = Instant::now();
    let mut lab = Lab::build(options, Binaries::find()?)?;
    println!(
        "{} nodes made after {} s",
        wishes.nodes,
        start.elapsed().as_secs()
    );
    lab.start_by(wishes.at_once)?;
    println!(
        "all ready, {} sessions a node Established and all blocks in all kernels after {} s",
        lab.sessions_of_a_node(),
        start.elapsed().as_secs()
    );
    std::thread::sleep(Duration::from_secs(wishes.settle));
    let before = Census::take(&lab)?;
    std::thread::sleep(Duration::from_secs(wishes.seconds));
    let after = Census::take(&lab)?;
    // Everybody is still there and has everything.
    lab.wait_converged()?;
    println!("{}", table(&before, &after));
    Ok(())
}

struct Census {
    at: Instant,
    agents: Vec<Expense>,
    reflectors: Vec<Expense>,
}

impl Census {
    fn take(lab: &Lab) -> Result<Census> {
        let of = |nodes: &[Node]| -> Result<Vec<Expense>> {
            let expenses = nodes.iter().map(|node| {
                let process = node.agent.id();
                Expense::of(process.with_context(|| format!("{} does not run", node.name()))?)
            });
            expenses.collect()
        };
        Ok(Census {
            at: Instant::now(),
            agents: of(&lab.nodes)?,
            reflectors: of(&lab.reflectors)?,
        })
    }
}

fn table(before: &Census, after: &Census) -> String {
    let minutes = (after.at - before.at).as_secs_f64() / 60.0;
    let mut table = Builder::default();
    table.push_record([
        "of one process, median (most)",
        "resident MiB",
        "proportional MiB",
        "private MiB",
        "CPU ms a minute, idle",
        "wakeups a second, idle",
        "threads",
        "descriptors",
    ]);
    for (name, before, after) in [
        ("agent", &before.agents, &after.agents),
        ("reflector", &before.reflectors, &after.reflectors),
    ] {
        if after.is_empty() {
            continue;
        }
        let of = |value: fn(&Expense) -> f64| after.iter().map(value).collect();
        let pairs = || before.iter().zip(after);
        let processor = |(b, a): (&Expense, &Expense)| {
            a.processor.saturating_sub(b.processor).as_secs_f64() * 1000.0 / minutes
        };
        let sleeps = |(b, a): (&Expense, &Expense)| {
            a.sleeps.saturating_sub(b.sleeps) as f64 / minutes / 60.0
        };
        table.push_record([
            format!("{} of {name}", after.len()),
            spread(of(|e| e.resident_kib as f64 / 1024.0), 1),
            spread(of(|e| e.proportional_kib as f64 / 1024.0), 1),
            spread(of(|e| e.private_kib as f64 / 1024.0), 1),
            spread(pairs().map(processor).collect(), 1),
            spread(pairs().map(sleeps).collect(), 1),
            spread(of(|e| e.threads as f64), 0),
            spread(of(|e| e.descriptors as f64), 0),
        ]);
    }
    table.build().with(Style::markdown()).to_string()
}

/// The median, and the most.
fn spread(mut values: Vec<f64>, digits: usize) -> String {
    values.sort_by(f64::total_cmp);
    let median = values.get(values.len() / 2).copied().unwrap_or_default();
    let most = values.last().copied().unwrap_or_default();
    format!("{median:.digits$} ({most:.digits$})")
}
