//! The packet filter of a whole node: pods' packets, pools' settings, and what a restart and a foreign hand leave.

use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use caracal_kernel_tests::add_pods;
use caracal_lab::{Binaries, Encapsulation, Lab, Node, Options, Pod, lab_tests, wait};

fn started() -> Result<(Lab, Vec<Pod>)> {
    let mut lab = Lab::build(Options::default(), Binaries::find()?)?;
    lab.start()?;
    let pods = add_pods(&lab, 1)?;
    Ok((lab, pods))
}

/// What the kernel of this node lists; empty when there is nothing such.
fn nft(node: &Node, words: &str) -> Result<String> {
    let output = node
        .netns
        .output(Command::new("nft").args(words.split_whitespace()))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn until_nft(node: &Node, words: &str, text: &str) -> Result<()> {
    wait::until(&format!("{text:?} in nft {words}"), || {
        let now = nft(node, words).map_err(|error| error.to_string())?;
        if now.contains(text) { Ok(()) } else { Err(now) }
    })
}

/// Whom a pod on the first node seems to be, to a host that knows nothing of pods: the node itself behind its address.
fn seen(lab: &Lab, pod: &Pod) -> Result<IpAddr> {
    let to: SocketAddr = (
        lab.nodes[1].status()?.ipv4.context("no address")?.addr(),
        7000,
    )
        .into();
    let socket = lab.nodes[1].netns.enter(|| UdpSocket::bind(to))??;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    let source = SocketAddr::new(pod.ipv4()?, 0);
    pod.netns.enter(|| {
        let socket = UdpSocket::bind(source)?;
        socket.send_to(b"who am I?", to)
    })??;
    let (_, from) = socket.recv_from(&mut [0; 16])?;
    Ok(from.ip())
}

lab_tests! {
    fn a_pool_with_nat_outgoing_is_masqueraded_at_once() {
        let (lab, pods) = started()?;
        let node = lab.nodes[0].status()?.ipv4.context("no address")?.addr();
        ensure!(seen(&lab, &pods[0])? == pods[0].ipv4()?, "masqueraded without being asked for");
        let manifest = lab.store.join("pods-ipv4.yaml");
        let pool = fs::read_to_string(&manifest)?;
        fs::write(&manifest, pool.replace("natOutgoing: false", "natOutgoing: true"))?;
        until_nft(&lab.nodes[0], "list table inet caracal", "ip saddr @masquerade-v4")?;
        ensure!(seen(&lab, &pods[0])? == node, "not masqueraded");
        let filter = lab.nodes[0].status()?.filter.context("no filter")?;
        ensure!(filter.settled && filter.masqueraded == 1, "{filter:?}");
        fs::write(&manifest, pool)?;
        wait::until("the end of the masquerade", || {
            match nft(&lab.nodes[0], "list table inet caracal") {
                Ok(now) if !now.contains("ip saddr @masquerade-v4") => Ok(()),
                now => Err(format!("{now:?}")),
            }
        })
    }

    fn a_pod_that_spoofs_is_not_heard_and_is_counted() {
        let (lab, pods) = started()?;
        pods[0].netns.ip(&["addr", "add", "10.99.0.1/32", "dev", "eth0"])?;
        let to: SocketAddr = (pods[1].ipv4()?, 7000).into();
        pods[0].netns.enter(|| {
            let socket = UdpSocket::bind("10.99.0.1:0")?;
            socket.send_to(b"I am somebody else", to)
        })??;
        wait::until("the spoofed packet to be counted", || {
            let status = lab.nodes[0].status().map_err(|error| error.to_string())?;
            match status.filter {
                Some(filter) if filter.spoofed > 0 => Ok(()),
                filter => Err(format!("{filter:?}")),
            }
        })
    }

    fn tunnels_are_taken_from_nodes_and_neither_from_pods_nor_from_strangers() {
        let options = Options { encapsulation: Encapsulation::Vxlan, ..Options::default() };
        let mut lab = Lab::build(options, Binaries::find()?)?;
        lab.start()?;
        let pods = add_pods(&lab, 1)?;
        // From rack to rack through VXLAN, in both directions.
        caracal_kernel_tests::all_pairs_answer(&lab, &pods, false)?;
        let node = &lab.nodes[0];
        until_nft(node, "list table inet caracal", "udp dport 4789 ip saddr != @ends-v4")?;
        let target: SocketAddr = (node.status()?.ipv4.context("no address")?.addr(), 4789).into();
        let counted = |what: &str, figure: &dyn Fn() -> Result<u64>| {
            wait::until(what, || match figure() {
                Ok(figure) if figure > 0 => Ok(()),
                other => Err(format!("{other:?}")),
            })
        };
        let filter = || node.status()?.filter.context("no filter");
        let before = filter()?;
        ensure!(before.strangers + before.encapsulated == 0, "{before:?}");
        pods[0].netns.enter(|| UdpSocket::bind("0.0.0.0:0")?.send_to(b"inside a tunnel", target))??;
        counted("a pod's packet in a tunnel to be counted", &|| Ok(filter()?.encapsulated))?;
        // An address that a machine of the same rack has, and no node.
        let other = &lab.nodes[1].netns;
        other.ip(&["addr", "add", "172.31.1.77/24", "dev", "eth0"])?;
        other.enter(|| UdpSocket::bind("172.31.1.77:0")?.send_to(b"inside a tunnel", target))??;
        counted("a stranger's packet in a tunnel to be counted", &|| Ok(filter()?.strangers))?;
        caracal_kernel_tests::all_pairs_answer(&lab, &pods, false)
    }

    fn a_restart_writes_nothing_and_a_flush_is_put_right() {
        let (mut lab, _pods) = started()?;
        until_nft(&lab.nodes[0], "list table inet caracal", "spoofed")?;
        let before = nft(&lab.nodes[0], "-a list table inet caracal")?;
        lab.nodes[0].agent.kill()?;
        lab.nodes[0].agent.start()?;
        lab.wait_converged()?;
        wait::until("the filter to be looked at", || {
            let status = lab.nodes[0].status().map_err(|error| error.to_string())?;
            match status.filter {
                Some(filter) if filter.settled => Ok(()),
                filter => Err(format!("{filter:?}")),
            }
        })?;
        let filter = lab.nodes[0].status()?.filter.context("no filter")?;
        ensure!(filter.transactions == 0, "{filter:?}");
        ensure!(nft(&lab.nodes[0], "-a list table inet caracal")? == before, "written anew");
        nft(&lab.nodes[0], "flush ruleset")?;
        until_nft(&lab.nodes[0], "list table inet caracal", "spoofed")?;
        let filter = lab.nodes[0].status()?.filter.context("no filter")?;
        ensure!(filter.repairs == 1, "{filter:?}");
        Ok(())
    }

    fn a_deleted_pods_connections_are_forgotten() {
        let (lab, pods) = started()?;
        // A pool that is masqueraded makes the kernel track connections.
        let manifest = lab.store.join("pods-ipv4.yaml");
        let pool = fs::read_to_string(&manifest)?;
        fs::write(&manifest, pool.replace("natOutgoing: false", "natOutgoing: true"))?;
        until_nft(&lab.nodes[0], "list table inet caracal", "ip saddr @masquerade-v4")?;
        seen(&lab, &pods[0])?;
        let address = pods[0].ipv4()?;
        let entries = || lab.nodes[0].netns.enter(|| fs::read_to_string("/proc/thread-self/net/nf_conntrack"));
        let before = entries()??;
        ensure!(before.contains(&format!("src={address} ")), "{before}");
        lab.remove_pod(&pods[0])?;
        let after = entries()??;
        ensure!(!after.contains(&format!("={address} ")), "{after}");
        let filter = lab.nodes[0].status()?.filter.context("no filter")?;
        ensure!(filter.conntrack_deleted >= 1 && filter.conntrack_failures == 0, "{filter:?}");
        Ok(())
    }
}
