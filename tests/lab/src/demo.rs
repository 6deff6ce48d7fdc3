//! `cargo demo`: a cluster in a minute, and what a person wants to see of it.

mod pings;
mod restart;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use caracal_lab::netns::kernel_has;
use caracal_lab::{Binaries, Encapsulation, Lab, Mode, Options, Pod, private};
use clap::Args;

use crate::look;
use crate::terminal::Terminal;

/// What the demo is asked for.
#[derive(Args)]
pub(crate) struct Wishes {
    /// Nodes.
    #[arg(long, default_value_t = 3)]
    nodes: u16,
    /// Racks: subnets with a router between them [default: 2, or 1 for a single node].
    #[arg(long)]
    racks: Option<u8>,
    /// Pods on each node.
    #[arg(long, default_value_t = 2)]
    pods: u8,
    /// How nodes learn each other's routes.
    #[arg(long, value_enum, default_value_t = Mode::Mesh)]
    mode: Mode,
    /// Route reflectors, where there are any.
    #[arg(long, default_value_t = 1)]
    reflectors: u8,
    /// How packets travel between racks [default: ipip, or vxlan where the kernel has no ipip].
    #[arg(long, value_enum)]
    encapsulation: Option<Encapsulation>,
    /// Pods have IPv6 addresses as well.
    #[arg(long)]
    ipv6: bool,
    /// Stay up afterwards, and say how to look around.
    #[arg(long)]
    keep: bool,
}

/// Runs inside the private world.
pub(crate) fn run(wishes: &Wishes) -> Result<ExitCode> {
    private::settle()?;
    let outcome = show(wishes);
    if outcome.is_err() {
        caracal_lab::show_logs();
    }
    outcome
}

fn show(wishes: &Wishes) -> Result<ExitCode> {
    let terminal = Terminal::new();
    ensure!(
        wishes.pods >= 1,
        "--pods {}: at least 1 is needed",
        wishes.pods
    );
    let options = options(wishes, &terminal);
    println!("{}", terminal.bold(&title(&options, wishes.pods)));
    println!();
    let mut lab = terminal.step("network", || {
        let lab = Lab::build(options.clone(), Binaries::find()?)?;
        let words = format!(
            "{} nodes, {} in {}",
            options.nodes,
            "bridges and a router",
            plural(options.racks.into(), "rack")
        );
        Ok((lab, words))
    })?;
    terminal.step("agents", || {
        lab.start()?;
        let sessions = lab.sessions_of_a_node();
        Ok((
            (),
            format!("ready, {sessions} BGP sessions a node Established, all blocks in all kernels"),
        ))
    })?;
    let pods = terminal.step("pods", || {
        let pods = add_pods(&lab, wishes.pods)?;
        let words = format!("{} added by caracal-cni", plural(pods.len(), "pod"));
        Ok((pods, words))
    })?;

    show_node(&terminal, &lab)?;
    let mut good = pings::show(&terminal, &lab, &pods, false)?;
    if options.ipv6 {
        good &= pings::show(&terminal, &lab, &pods, true)?;
    }
    good &= show_new_pod(&terminal, &lab, &pods)?;
    good &= restart::show(&terminal, &mut lab, &pods)?;

    println!();
    let words = if good {
        "Everything answered, and no packet was lost."
    } else {
        "Something failed: see above."
    };
    println!("{}", terminal.judged(good, words));
    if wishes.keep {
        return look::stay(&terminal, &lab, &pods);
    }
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn options(wishes: &Wishes, terminal: &Terminal) -> Options {
    let wanted = wishes.encapsulation.unwrap_or(Encapsulation::Ipip);
    let mut encapsulation = wanted;
    if wanted == Encapsulation::Ipip && !kernel_has("ipip") {
        encapsulation = Encapsulation::Vxlan;
        let line = "This kernel has no ipip, so VXLAN is used across racks; to see tunl0 for real: ./tests/run guest";
        println!("{}", terminal.dim(line));
    }
    let Wishes {
        nodes,
        racks,
        mode,
        reflectors,
        ipv6,
        ..
    } = *wishes;
    let racks = racks.unwrap_or(if nodes == 1 { 1 } else { 2 });
    Options {
        nodes,
        racks,
        mode,
        reflectors,
        encapsulation,
        ipv6,
    }
}

fn title(options: &Options, pods: u8) -> String {
    let nodes = plural(options.nodes.into(), "node");
    let racks = plural(options.racks.into(), "rack");
    let mode = match options.mode {
        Mode::Mesh => "full mesh".to_owned(),
        Mode::Reflector => plural(options.reflectors.into(), "route reflector"),
    };
    let across = match options.encapsulation {
        Encapsulation::None => "no encapsulation",
        Encapsulation::Ipip => "IPIP across racks (CrossSubnet)",
        Encapsulation::Vxlan => "VXLAN across racks (CrossSubnet)",
    };
    format!(
        "Caracal: {nodes} in {racks}, {} a node, {mode}, {across}",
        plural(pods.into(), "pod")
    )
}

fn plural(number: usize, word: &str) -> String {
    if number == 1 {
        format!("1 {word}")
    } else {
        format!("{number} {word}s")
    }
}

fn add_pods(lab: &Lab, each: u8) -> Result<Vec<Pod>> {
    let mut pods = Vec::new();
    for node in 0..lab.nodes.len() {
        for number in 1..=each {
            pods.push(lab.add_pod(node, &format!("pod-{}-{number}", node + 1))?);
        }
    }
    Ok(pods)
}

fn show_node(terminal: &Terminal, lab: &Lab) -> Result<()> {
    let node = lab.nodes.first().context("no node")?;
    terminal.heading(
        &format!("Peers of {}", node.name()),
        "caracalctl node status",
    );
    let status = node.ctl(&["node", "status"])?;
    let (stdout, stderr) = (
        String::from_utf8_lossy(&status.stdout),
        String::from_utf8_lossy(&status.stderr),
    );
    ensure!(
        status.status.success(),
        "caracalctl node status: {}",
        stderr.trim()
    );
    terminal.lines(&stdout);
    terminal.heading(
        &format!("Routes of {}", node.name()),
        "ip route, the lines with proto 67",
    );
    terminal.lines(&node.kernel_routes(false)?.join("\n"));
    if lab.options.ipv6 {
        terminal.lines(&node.kernel_routes(true)?.join("\n"));
    }
    Ok(())
}

/// A pod on the last node is asked by one on the first, from the moment when it has an address.
fn show_new_pod(terminal: &Terminal, lab: &Lab, pods: &[Pod]) -> Result<bool> {
    let last = lab.nodes.len() - 1;
    let asker = pods.first().context("no pod")?;
    let start = Instant::now();
    let pod = lab.add_pod(last, &format!("pod-{}-new", last + 1))?;
    let added = start.elapsed();
    let mut pinger = lab.pinger(asker, &pod, false)?;
    let patience = Duration::from_secs(5);
    let mut answered = None;
    while answered.is_none() && start.elapsed() < patience {
        answered = pinger
            .ask(Duration::from_millis(20))
            .map(|_| start.elapsed());
    }
    lab.remove_pod(&pod)?;
    let (name, node) = (&pod.name, lab.nodes[last].name());
    terminal.heading("A new pod", "from the runtime's ADD to its first answer");
    match answered {
        Some(time) => terminal.lines(&format!(
            "{name} on {node} answered {} on node1 after {:.0} ms, of which the ADD took {:.0} ms",
            asker.name,
            time.as_secs_f64() * 1e3,
            added.as_secs_f64() * 1e3,
        )),
        None => terminal.lines(&format!(
            "{name} on {node} did not answer {} within {patience:?}",
            asker.name
        )),
    }
    Ok(answered.is_some())
}
