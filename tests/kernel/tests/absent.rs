//! One of fifty peers is away when an agent starts: everyone else's routes are written at once. BIRD, started as Calico does,
//! writes none for 240 s.

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::{Result, ensure};
use caracal_kernel_tests::{Speakers, add_nodes, address_of, block_of};
use caracal_lab::{Binaries, Encapsulation, Lab, Node, Options, lab_tests, wait};

const PEERS: u8 = 50;
const ABSENT: u8 = PEERS - 1;
const BLOCKS: u16 = 20;

fn alone() -> Result<Lab> {
    let options = Options {
        nodes: 1,
        racks: 1,
        encapsulation: Encapsulation::None,
        ..Options::default()
    };
    Lab::build(options, Binaries::find()?)
}

/// What the speakers that are there announce.
fn announced() -> BTreeSet<String> {
    let blocks = (0..ABSENT).flat_map(|s| (0..BLOCKS).map(move |n| block_of(s, n)));
    blocks.map(|block| block.to_string()).collect()
}

/// A route of ours from before, as an earlier agent has left it.
fn stale(speaker: u8, number: u16) -> String {
    let (block, via) = (block_of(speaker, number), address_of(speaker));
    format!("route add {block} via {via} dev eth0 proto 67 metric 1024")
}

/// Starts the agent, and says how long it takes until the kernel has everything that is announced.
fn start_and_measure(node: &mut Node) -> Result<String> {
    let began = Instant::now();
    node.agent.start()?;
    let wanted = announced();
    wait::until("the routes of all that are there", || {
        let kernel = node.kernel_prefixes().map_err(|e| format!("{e:#}"))?;
        match wanted.difference(&kernel).count() {
            0 => Ok(()),
            missing => Err(format!("{missing} of {} are missing", wanted.len())),
        }
    })?;
    Ok(format!(
        "{ABSENT} of {PEERS} peers are there: {} routes in the kernel {:.2} s after the start (BIRD -R: 241 s)",
        wanted.len(),
        began.elapsed().as_secs_f64()
    ))
}

fn awaits_one(node: &Node) -> Result<()> {
    let down: Vec<_> = node
        .peers()?
        .into_iter()
        .filter(|peer| peer.state != "Established")
        .map(|peer| peer.address)
        .collect();
    ensure!(down == [address_of(ABSENT)], "not up: {down:?}");
    Ok(())
}

lab_tests! {
    fn one_absent_peer_of_50_delays_no_route_of_the_others_after_a_restart_and_keeps_its_own() {
        let mut lab = alone()?;
        let netns = add_nodes(&lab, PEERS, 1)?;
        let node = &mut lab.nodes[0];
        let mut before = Vec::new();
        // Half of what will be announced, what nobody announces any more, and what only the absent one knows.
        for speaker in 0..ABSENT {
            before.extend((0..BLOCKS / 2).map(|number| stale(speaker, number)));
            before.push(stale(speaker, BLOCKS));
        }
        before.extend((0..BLOCKS).map(|number| stale(ABSENT, number)));
        node.netns.ip_batch(&before)?;
        let _speakers = Speakers::start(&netns, ABSENT, BLOCKS, node.site.ipv4.addr())?;
        println!("restart: {}", start_and_measure(node)?);

        let gone: Vec<String> = (0..ABSENT).map(|s| block_of(s, BLOCKS).to_string()).collect();
        let kept: Vec<String> = (0..BLOCKS).map(|n| block_of(ABSENT, n).to_string()).collect();
        wait::until("what nobody announces any more to go", || {
            let kernel = node.kernel_prefixes().map_err(|e| format!("{e:#}"))?;
            match gone.iter().filter(|block| kernel.contains(*block)).count() {
                0 => Ok(()),
                left => Err(format!("{left} are left")),
            }
        })?;
        awaits_one(node)?;
        let kernel = node.kernel_prefixes()?;
        ensure!(
            kept.iter().all(|block| kernel.contains(block)),
            "a route that only the absent peer could bring is gone"
        );
        let fib = node.status()?.fib.unwrap_or_default();
        ensure!(fib.stale == usize::from(BLOCKS), "{} stale routes", fib.stale);
        Ok(())
    }

    fn one_absent_peer_of_50_delays_no_route_of_the_others_after_a_cold_start() {
        let mut lab = alone()?;
        let netns = add_nodes(&lab, PEERS, 1)?;
        let node = &mut lab.nodes[0];
        let _speakers = Speakers::start(&netns, ABSENT, BLOCKS, node.site.ipv4.addr())?;
        println!("cold start: {}", start_and_measure(node)?);
        awaits_one(node)
    }
}
