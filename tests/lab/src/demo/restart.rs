//! An agent is killed and started again while pods of its node talk to pods elsewhere.

use std::time::{Duration, Instant};

use anyhow::Result;
use caracal_lab::ping::Stream;
use caracal_lab::{Lab, Pod};

use crate::terminal::Terminal;

const PER_SECOND: u32 = 50;
const STREAMS_MAX: usize = 6;
/// Before the kill, between kill and start, and after convergence.
const CALM: Duration = Duration::from_secs(1);

/// Shows what was lost; false when anything was.
pub(crate) fn show(terminal: &Terminal, lab: &mut Lab, pods: &[Pod]) -> Result<bool> {
    let streams = start_streams(lab, pods)?;
    let count = streams.len();
    std::thread::sleep(CALM);
    lab.nodes[0].agent.kill()?;
    std::thread::sleep(CALM);
    let restarted = Instant::now();
    lab.nodes[0].agent.start()?;
    lab.wait_converged()?;
    let converged = restarted.elapsed();
    std::thread::sleep(CALM);
    let (mut sent, mut lost, mut slowest) = (0, 0, Duration::ZERO);
    for stream in streams {
        let tally = stream.finish()?;
        sent += tally.sent;
        lost += tally.lost.len();
        slowest = slowest.max(tally.slowest);
    }
    let writes = lab.nodes[0].status()?.fib.map_or(0, |fib| fib.writes);
    let name = lab.nodes[0].name();
    let remark = format!(
        "kill -9 of {name}'s agent, {} s without, then started again",
        CALM.as_secs()
    );
    terminal.heading("A restart", &remark);
    let words = format!("{lost} of {sent} packets lost");
    println!(
        "  {} in {count} streams of {PER_SECOND} a second through {name}; slowest answer {:.1} ms",
        terminal.judged(lost == 0, &words),
        slowest.as_secs_f64() * 1e3
    );
    terminal.lines(&format!(
        "converged {:.1} s after the start; routes written to the kernel since: {writes}",
        converged.as_secs_f64()
    ));
    Ok(lost == 0)
}

/// From the restarted node to every other and back; within the node where there is no other.
fn start_streams(lab: &Lab, pods: &[Pod]) -> Result<Vec<Stream>> {
    let Some(own) = pods.iter().find(|pod| pod.node == 0) else {
        return Ok(Vec::new());
    };
    let mut seen = vec![0];
    let mut streams = Vec::new();
    for pod in pods.iter().rev() {
        if seen.contains(&pod.node) || streams.len() >= STREAMS_MAX {
            continue;
        }
        seen.push(pod.node);
        streams.push(Stream::start(lab.pinger(own, pod, false)?, PER_SECOND));
        streams.push(Stream::start(
            lab.pinger(pod, own, lab.options.ipv6)?,
            PER_SECOND,
        ));
    }
    if let (true, Some(other)) = (
        streams.is_empty(),
        pods.iter().find(|pod| pod.name != own.name),
    ) {
        streams.push(Stream::start(lab.pinger(own, other, false)?, PER_SECOND));
    }
    Ok(streams)
}
