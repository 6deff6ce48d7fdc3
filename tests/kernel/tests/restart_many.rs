//! An agent with 20,000 routes from BGP ends and comes back: the kernel is not touched, and no packet is lost.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use caracal_kernel_tests::{Speakers, add_nodes, block_of};
use caracal_lab::ping::{Pinger, Stream};
use caracal_lab::{Binaries, Encapsulation, Lab, Node, Options, lab_tests, wait};

const PEERS: u8 = 20;
const BLOCKS: u16 = 1000;
const ROUTES: usize = PEERS as usize * BLOCKS as usize;

/// Everything is announced, desired and in the kernel, and the agent awaits nobody any more.
fn complete(node: &mut Node) -> Result<()> {
    wait::until("all routes to be there", || {
        let status = node.status().map_err(|e| e.to_string())?;
        let fib = status.fib.unwrap_or_default();
        let ready = status.ready && fib.desired > ROUTES;
        match ready && fib.stale == 0 && fib.pending == 0 && fib.actual == fib.desired {
            true => Ok(()),
            false => Err(format!("{fib:?}, {:?}", status.not_ready_because)),
        }
    })
}

lab_tests! {
    fn a_restart_with_20_000_routes_writes_none_and_loses_no_packet() {
        let options = Options {
            nodes: 1,
            racks: 1,
            encapsulation: Encapsulation::None,
            ..Options::default()
        };
        let mut lab = Lab::build(options, Binaries::find()?)?;
        let netns = add_nodes(&lab, PEERS, 0)?;
        let router = lab.nodes[0].site.ipv4.addr();
        let _speakers = Speakers::start(&netns, PEERS, BLOCKS, router)?;
        let began = Instant::now();
        lab.nodes[0].agent.start()?;
        complete(&mut lab.nodes[0])?;
        println!("cold start: {ROUTES} routes complete after {:.2?}", began.elapsed());

        // One pod here, and one address in a block of the first speaker.
        let pod = lab.add_pod(0, "pod")?;
        let far = block_of(0, 0).addr();
        netns.ip(&["addr", "add", &format!("{far}/32"), "dev", "lo"])?;
        netns.ip(&["route", "add", "10.233.0.0/16", "via", &router.to_string()])?;
        let near = *pod.addresses.first().context("the pod has no address")?;
        let out = Stream::start(Pinger::open(&pod.netns, far)?, 50);
        let to_pod = Stream::start(Pinger::open(&netns, near)?, 50);
        let before = lab.nodes[0].kernel_prefixes()?;
        for end in ["kill", "terminate"] {
            let node = &mut lab.nodes[0];
            match end {
                "kill" => node.agent.kill()?,
                _ => drop(node.agent.terminate()?),
            }
            let began = Instant::now();
            node.agent.start()?;
            complete(node)?;
            println!("{end}: {ROUTES} routes complete after {:.2?}", began.elapsed());
            let fib = node.status()?.fib.context("no FIB")?;
            ensure!(fib.writes == 0, "after {end}: {} routes were written", fib.writes);
            ensure!(node.kernel_prefixes()? == before, "the routes are others after {end}");
        }
        for stream in [out, to_pod] {
            let tally = stream.finish()?;
            ensure!(tally.sent > 0 && tally.lost.is_empty(), "{tally:?}");
        }
        Ok(())
    }
}
