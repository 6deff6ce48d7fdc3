//! `caracal-agent cleanup`: a node is as if no agent had ever been there.

use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use caracal_lab::{Binaries, Encapsulation, Lab, Node, Options, lab_tests, wait};

/// Everything that could be touched, as the usual programs print it.
fn snapshot(node: &Node) -> Result<Vec<(String, Vec<String>)>> {
    let mut seen = Vec::new();
    for line in [
        "ip -d -4 route show table all",
        "ip -d -6 route show table all",
        "ip -d link show",
        "ip -d addr show",
        "ip -d neigh show nud permanent",
        "ip rule show",
        "ip -6 rule show",
        "ip nexthop show",
        "nft list ruleset",
        "sysctl -a --pattern ^net[.]ipv[46][.](conf|neigh|ip_forward)",
    ] {
        let mut words = line.split_whitespace();
        let mut command = Command::new(words.next().context("a program")?);
        let output = node.netns.output(command.args(words))?;
        let text = String::from_utf8_lossy(&output.stdout);
        // Routes and neighbours are printed in the order of a hash.
        let mut lines: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
        lines.sort();
        seen.push((line.to_owned(), lines));
    }
    Ok(seen)
}

/// Lines that are there before or after only; all are sorted.
fn difference(before: &[(String, Vec<String>)], after: &[(String, Vec<String>)]) -> Vec<String> {
    let mut found = Vec::new();
    for ((command, before), (_, after)) in before.iter().zip(after) {
        let missing = before
            .iter()
            .filter(|line| after.binary_search(line).is_err());
        found.extend(missing.map(|line| format!("{command}: gone: {line}")));
        let new = after
            .iter()
            .filter(|line| before.binary_search(line).is_err());
        found.extend(new.map(|line| format!("{command}: new: {line}")));
    }
    found
}

/// Objects of somebody else, of each kind that we remove.
fn add_foreign(node: &Node) -> Result<()> {
    // So that addresses are there at once.
    node.netns.sysctl("ipv6/conf/default/accept_dad", "0")?;
    for line in [
        "link add other type veth peer name other-end",
        "link set other-end up",
        "link set other up",
        "addr add 192.0.2.1/24 dev other",
        "route add 10.77.0.0/16 via 192.0.2.2 proto static",
        "route add blackhole 10.78.0.0/16 proto 99",
        "route add 10.79.0.0/16 via 192.0.2.2 proto 66 table 100",
        "-6 route add blackhole fd00:77::/64 proto 68",
        "rule add from 192.0.2.7 table 100",
        "neigh add 192.0.2.2 lladdr 02:00:00:00:00:02 nud permanent dev other",
        "link add other-vx type vxlan id 77 dstport 4790 local 192.0.2.1 nolearning",
        "link set other-vx up",
    ] {
        let words: Vec<&str> = line.split_whitespace().collect();
        node.netns.ip(&words).with_context(|| line.to_owned())?;
    }
    // Somebody's tunl0, where there is one.
    if node.netns.ip(&["link", "show", "dev", "tunl0"]).is_ok() {
        for line in [
            "addr add 192.0.2.99/32 dev tunl0",
            "link set tunl0 mtu 1400",
            "link set tunl0 up",
        ] {
            let words: Vec<&str> = line.split_whitespace().collect();
            node.netns.ip(&words).with_context(|| line.to_owned())?;
        }
    }
    let mut nft = Command::new("nft");
    nft.arg(
        "add table inet other; add chain inet other input { type filter hook input priority 0; }",
    );
    // Where there is no nft, there is nothing of it to be left alone either.
    node.netns.output(&mut nft).ok();
    wait::until("duplicate address detection to be over", || {
        match node.netns.ip(&["-6", "addr", "show", "tentative"]) {
            Ok(none) if none.trim().is_empty() => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
}

fn cleanup(node: &Node, binaries: &Binaries, more: &[&str]) -> Result<Output> {
    let mut command = Command::new(&binaries.agent);
    command.arg("cleanup").arg("--config");
    command.arg(node.folder.join("agent.yaml")).args(more);
    node.netns.output(&mut command)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs an agent on a node, ends it by `end`, cleans up, and compares the node with what it was.
fn comes_and_goes(options: Options, end: impl FnOnce(&mut Node) -> Result<()>) -> Result<String> {
    let binaries = Binaries::find()?;
    let mut lab = Lab::build(options, binaries.clone())?;
    add_foreign(&lab.nodes[0])?;
    let before = snapshot(&lab.nodes[0])?;
    lab.start()?;
    let during = snapshot(&lab.nodes[0])?;
    ensure!(
        difference(&before, &during).len() > 10,
        "the agent has done nothing"
    );

    let refused = cleanup(&lab.nodes[0], &binaries, &[])?;
    ensure!(refused.status.code() == Some(3), "{refused:?}");
    ensure!(
        text(&refused.stderr).contains("an agent is running"),
        "{refused:?}"
    );
    let dry = cleanup(&lab.nodes[0], &binaries, &["--dry-run"])?;
    ensure!(dry.status.success(), "{dry:?}");
    let changed = difference(&during, &snapshot(&lab.nodes[0])?);
    ensure!(
        changed.is_empty(),
        "a refused or dry run changed {changed:#?}"
    );

    end(&mut lab.nodes[0])?;
    let node = &lab.nodes[0];
    let done = cleanup(node, &binaries, &[])?;
    ensure!(done.status.success(), "{done:?}");
    let would = text(&dry.stdout).replace("would be ", "");
    let did: Vec<String> = text(&done.stdout).lines().map(str::to_owned).collect();
    for line in would.lines() {
        ensure!(
            did.iter().any(|done| done == line),
            "not done: {line}; done: {did:#?}"
        );
    }
    let changed = difference(&before, &snapshot(node)?);
    ensure!(changed.is_empty(), "{changed:#?}; done: {did:#?}");
    let again = cleanup(node, &binaries, &[])?;
    ensure!(
        again.status.success() && text(&again.stdout) == "nothing of Caracal is here\n",
        "{again:?}"
    );
    for file in ["agent.sock", "kernel.json"] {
        ensure!(!node.folder.join(file).exists(), "{file} is left");
    }
    Ok(did.join("\n"))
}

lab_tests! {
    fn after_cleanup_a_node_is_as_it_was_and_what_others_made_is_untouched() {
        let done = comes_and_goes(
            Options { encapsulation: Encapsulation::Vxlan, ipv6: true, ..Options::default() },
            |node| node.agent.terminate().map(drop),
        )?;
        println!("{done}");
        for kind in ["routes", "vxlan.calico", "vxlan-v6.calico", "net.ipv4.ip_forward = 0"] {
            ensure!(done.contains(kind), "nothing about {kind}: {done}");
        }
        Ok(())
    }

    fn a_killed_agent_that_was_started_anew_is_cleaned_up_after_as_well() {
        comes_and_goes(Options { encapsulation: Encapsulation::Vxlan, ..Options::default() }, |node| {
            node.agent.kill()?;
            // The second one finds everything changed, and knows what it was from the file.
            node.agent.start()?;
            node.wait_ready()?;
            node.agent.kill()
        })
        .map(drop)
    }

    #[ignore = "needs a kernel with ipip: ./tests/run guest"]
    fn after_cleanup_tunl0_is_as_it_was() {
        let done = comes_and_goes(
            Options { encapsulation: Encapsulation::Ipip, ..Options::default() },
            |node| node.agent.kill(),
        )?;
        ensure!(done.contains("tunl0"), "nothing about tunl0: {done}");
        Ok(())
    }

    fn pods_stay_and_are_spoken_of() {
        let binaries = Binaries::find()?;
        let mut lab = Lab::build(Options { nodes: 2, ..Options::default() }, binaries.clone())?;
        lab.start()?;
        let pod = lab.add_pod(0, "pod")?;
        lab.nodes[0].agent.terminate()?;
        let done = cleanup(&lab.nodes[0], &binaries, &[])?;
        ensure!(done.status.success(), "{done:?}");
        ensure!(text(&done.stdout).contains("1 devices of pods stay"), "{done:?}");
        ensure!(lab.nodes[0].kernel_routes(false)?.is_empty(), "routes are left");
        // An agent that comes back makes everything again.
        lab.nodes[0].agent.start()?;
        lab.wait_converged()?;
        caracal_kernel_tests::kernel_equals_state(&lab, &lab.nodes[0], &[&pod])
    }
}
