//! An agent ends, in whatever way, and comes back: forwarding does not notice.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use caracal_kernel_tests::{
    add_pods, addresses_equal_pods, all_pairs_answer, kernel_equals_state, snapshot,
};
use caracal_lab::ping::Stream;
use caracal_lab::{Binaries, Lab, Mode, Node, Options, Pod, lab_tests};

fn started(options: Options) -> Result<(Lab, Vec<Pod>)> {
    let mut lab = Lab::build(options, Binaries::find()?)?;
    lab.start()?;
    let pods = add_pods(&lab, 2)?;
    Ok((lab, pods))
}

/// Follows the kernel's own report of route changes in a node; what it saw of our routes is returned by [`Monitor::end`].
struct Monitor(std::process::Child);

impl Monitor {
    fn start(node: &Node) -> Result<Monitor> {
        let mut command = Command::new("ip");
        command
            .args(["monitor", "route"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        Ok(Monitor(node.netns.spawn(&mut command)?))
    }

    /// A route of another protocol marks the end, so that everything before it has been seen.
    fn end(mut self, node: &Node) -> Result<Vec<String>> {
        use std::io::{BufRead, BufReader};
        let lines = BufReader::new(self.0.stdout.take().context("ip monitor")?).lines();
        node.netns
            .ip(&["route", "add", "blackhole", "203.0.113.1", "proto", "99"])?;
        let ours = lines
            .map_while(Result::ok)
            .take_while(|line| !line.contains("203.0.113.1"));
        let ours = ours.filter(|line| line.contains("proto 67")).collect();
        self.0.kill()?;
        self.0.wait()?;
        node.netns
            .ip(&["route", "delete", "blackhole", "203.0.113.1", "proto", "99"])?;
        Ok(ours)
    }
}

/// Ends the first node's agent by `end`, starts it again, and checks that the kernel's routes were not touched.
fn restart(options: Options, end: impl FnOnce(&mut Node) -> Result<()>) -> Result<()> {
    let (mut lab, pods) = started(options)?;
    let all: Vec<_> = pods.iter().collect();
    kernel_equals_state(&lab, &lab.nodes[0], &all)?;
    let before = snapshot(&lab.nodes[0])?;
    let monitor = Monitor::start(&lab.nodes[0])?;
    end(&mut lab.nodes[0])?;
    ensure!(
        snapshot(&lab.nodes[0])? == before,
        "the end of the agent took routes with it"
    );
    lab.nodes[0].agent.start()?;
    lab.wait_converged()?;
    kernel_equals_state(&lab, &lab.nodes[0], &all)?;
    let touched = monitor.end(&lab.nodes[0])?;
    ensure!(
        touched.is_empty(),
        "the kernel reported changes: {touched:?}"
    );
    ensure!(
        snapshot(&lab.nodes[0])? == before,
        "the routes are others now"
    );
    let fib = lab.nodes[0].status()?.fib.context("no FIB")?;
    ensure!(fib.writes == 0, "{} routes were written", fib.writes);
    addresses_equal_pods(&lab, &all)?;
    all_pairs_answer(&lab, &pods, false)
}

fn kill(node: &mut Node) -> Result<()> {
    node.agent.kill()
}

fn terminate(node: &mut Node) -> Result<()> {
    let status = node.agent.terminate()?;
    ensure!(status.success(), "{} ended with {status}", node.name());
    Ok(())
}

lab_tests! {
    fn a_restart_after_sigterm_writes_no_route_when_nothing_has_changed() {
        restart(Options::default(), terminate)
    }

    fn a_restart_after_sigkill_writes_no_route_when_nothing_has_changed() {
        restart(Options::default(), kill)
    }

    fn a_restart_with_a_route_reflector_writes_no_route_when_nothing_has_changed() {
        restart(Options { mode: Mode::Reflector, ..Options::default() }, kill)
    }

    fn a_restart_with_ipv6_writes_no_route_when_nothing_has_changed() {
        restart(Options { ipv6: true, ..Options::default() }, kill)
    }

    fn no_packet_is_lost_by_killing_and_starting_an_agent() {
        let (mut lab, pods) = started(Options::default())?;
        let own = pods.iter().find(|pod| pod.node == 0).context("no pod")?;
        let others: Vec<_> = pods.iter().filter(|pod| pod.name != own.name).collect();
        let mut streams = Vec::new();
        for other in others {
            streams.push(Stream::start(lab.pinger(own, other, false)?, 50));
            streams.push(Stream::start(lab.pinger(other, own, false)?, 50));
        }
        let mut restarts = 0;
        while restarts < 3 || streams.iter().any(|stream| stream.sent() < 100) {
            lab.nodes[0].agent.kill()?;
            lab.nodes[0].agent.start()?;
            lab.wait_converged()?;
            restarts += 1;
        }
        for stream in streams {
            let tally = stream.finish()?;
            ensure!(tally.lost.is_empty(), "after {restarts} restarts: {tally:?}");
        }
        Ok(())
    }

    fn what_changed_while_the_agent_was_away_is_made_good() {
        let (mut lab, mut pods) = started(Options::default())?;
        lab.nodes[0].agent.kill()?;
        // Elsewhere a pod comes; here a route is lost, a foreign one with our signature appears, and a pod goes.
        pods.push(lab.add_pod(2, "pod-3-late")?);
        let block = lab.nodes[1].status()?.blocks[0].to_string();
        lab.nodes[0].netns.ip(&["route", "delete", &block])?;
        lab.nodes[0].netns.ip(&["route", "add", "blackhole", "192.0.2.0/24", "proto", "67"])?;
        let gone = pods.remove(0);
        lab.remove_pod(&gone)?;
        lab.nodes[0].agent.start()?;
        lab.wait_converged()?;
        let all: Vec<_> = pods.iter().collect();
        kernel_equals_state(&lab, &lab.nodes[0], &all)?;
        addresses_equal_pods(&lab, &all)?;
        all_pairs_answer(&lab, &pods, false)
    }

    fn all_agents_may_be_killed_at_once() {
        let (mut lab, pods) = started(Options::default())?;
        let before: Vec<_> = lab.nodes.iter().map(snapshot).collect::<Result<_>>()?;
        for node in &mut lab.nodes {
            node.agent.kill()?;
        }
        all_pairs_answer(&lab, &pods, false)?;
        for node in &mut lab.nodes {
            node.agent.start()?;
        }
        lab.wait_converged()?;
        let all: Vec<_> = pods.iter().collect();
        for (node, before) in lab.nodes.iter().zip(before) {
            kernel_equals_state(&lab, node, &all)?;
            ensure!(snapshot(node)? == before, "the routes of {} are others now", node.name());
        }
        all_pairs_answer(&lab, &pods, false)
    }
}
