//! Reflectors die and come back while packets flow.

use anyhow::{Context, Result, ensure};
use caracal_kernel_tests::{add_pods, all_pairs_answer};
use caracal_lab::ping::Stream;
use caracal_lab::{Binaries, Lab, Mode, Options, lab_tests, wait};

/// Every node has so many sessions, and no more.
fn wait_for_sessions(lab: &Lab, count: usize) -> Result<()> {
    for node in &lab.nodes {
        wait::until(&format!("{} to have {count} sessions", node.name()), || {
            let peers = node.peers().map_err(|error| error.to_string())?;
            let up = peers.iter().filter(|peer| peer.state == "Established");
            match up.count() {
                up if up == count => Ok(()),
                up => Err(format!("{up} are Established")),
            }
        })?;
    }
    Ok(())
}

lab_tests! {
    fn the_loss_and_the_return_of_each_of_two_reflectors_cost_no_packet_and_no_route() {
        let options = Options { mode: Mode::Reflector, reflectors: 2, ..Options::default() };
        let mut lab = Lab::build(options, Binaries::find()?)?;
        lab.start()?;
        let mut pods = add_pods(&lab, 1)?;
        all_pairs_answer(&lab, &pods, false)?;
        let mut streams = Vec::new();
        for from in &pods {
            for to in pods.iter().filter(|to| to.name != from.name) {
                streams.push(Stream::start(lab.pinger(from, to, false)?, 50));
            }
        }
        let kernels = |lab: &Lab| -> Result<Vec<Vec<String>>> {
            lab.nodes.iter().map(|node| node.kernel_routes(false)).collect()
        };
        for (reflector, late) in [(0, BLOCK), (1, 1)] {
            let before = kernels(&lab)?;
            lab.reflectors[reflector].agent.kill()?;
            wait_for_sessions(&lab, 1)?;
            let sent: Vec<u64> = streams.iter().map(Stream::sent).collect();
            // One second of packets without it.
            wait::until("packets without the reflector", || {
                match streams.iter().zip(&sent).all(|(stream, sent)| stream.sent() >= sent + 50) {
                    true => Ok(()),
                    false => Err("too few".to_owned()),
                }
            })?;
            ensure!(kernels(&lab)? == before, "routes before {before:?}, without reflector {reflector} {:?}", kernels(&lab)?);
            // What is new reaches everybody by the other one.
            let runtime = lab.nodes[0].runtime();
            for number in 0..late {
                let name = format!("late-{reflector}-{number}");
                let mut pod = runtime.prepare(0, &name, &format!("{name}-container"))?;
                runtime.add(&mut pod)?;
                pods.push(pod);
            }
            let late = pods.last().context("a late pod")?;
            let mut pinger = lab.pinger(&pods[2], late, false)?;
            ensure!(pinger.ask(wait::patience()).is_some(), "{} does not answer", late.name);
            lab.reflectors[reflector].agent.start()?;
            lab.wait_converged()?;
        }
        for stream in streams {
            let tally = stream.finish()?;
            ensure!(tally.lost.is_empty(), "{tally:?}");
        }
        Ok(())
    }
}

/// More pods than are left in a block of 64 addresses and a spare one.
const BLOCK: usize = 70;
