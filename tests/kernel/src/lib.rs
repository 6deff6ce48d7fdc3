//! What must be true of a cluster at rest, whatever happened before.
//!
//! Three sources are compared that do not know of one another: the kernel as `ip route` prints it, the manifests in the
//! folder as they lie there, and the pods that the runtime believes in. The tests are in `tests/`.

mod allocations;
mod pairs;
mod speakers;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use caracal_lab::{Lab, Node, Pod, wait};

pub use allocations::{Allocations, HANDLE_OF_PODS};
pub use pairs::{all_pairs_answer, expected_way};
pub use speakers::{Speakers, add_nodes, address_of, block_of};

/// The kernel's routes of ours are exactly those of the agent's desired state, which are exactly what the pods and the blocks
/// of this node and the others ask for. Waits until it is so.
pub fn kernel_equals_state(lab: &Lab, node: &Node, pods: &[&Pod]) -> Result<()> {
    wait::until(
        &format!("the kernel of {} to equal the state", node.name()),
        || compare(lab, node, pods).map_err(|error| format!("{error:#}")),
    )
}

fn compare(lab: &Lab, node: &Node, pods: &[&Pod]) -> Result<()> {
    let status = node.status()?;
    ensure!(
        status.ready,
        "not ready: {}",
        status.not_ready_because.join("; ")
    );
    let kernel = node.kernel_prefixes()?;
    let desired: BTreeSet<_> = node
        .fib()?
        .iter()
        .map(|route| route.prefix.to_string())
        .collect();
    ensure!(
        kernel == desired,
        "kernel {kernel:?}, agent's FIB {desired:?}"
    );
    let unwritten: Vec<_> = node
        .fib()?
        .into_iter()
        .filter(|route| route.state != "installed")
        .collect();
    ensure!(unwritten.is_empty(), "not installed: {unwritten:?}");
    let wanted = wanted(lab, node, pods)?;
    ensure!(
        kernel == wanted,
        "kernel {kernel:?}, pods and blocks ask for {wanted:?}"
    );
    Ok(())
}

/// A route for each pod here, each block of anyone, each address that lies in another node's block, and the address of each
/// other node's IPv6 VXLAN device.
fn wanted(lab: &Lab, node: &Node, pods: &[&Pod]) -> Result<BTreeSet<String>> {
    let mut wanted = BTreeSet::new();
    let whole =
        |address: &IpAddr| format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 });
    for pod in pods
        .iter()
        .filter(|pod| lab.nodes[pod.node].name() == node.name())
    {
        wanted.extend(pod.addresses.iter().map(whole));
    }
    let allocations = Allocations::read(&lab.store)?;
    for (block, owner) in &allocations.blocks {
        ensure!(owner.is_some(), "block {block} belongs to nobody");
        wanted.insert(block.to_string());
    }
    for (address, (handle, block)) in &allocations.addresses {
        let place = pods
            .iter()
            .find(|pod| handle.ends_with(&pod.container))
            .map(|pod| lab.nodes[pod.node].name());
        let owner = allocations.blocks.get(block).and_then(Option::as_deref);
        let far_end = handle
            .strip_prefix("vxlan-v6-tunnel-addr-")
            .is_some_and(|of| of != node.name());
        if far_end || (place.is_some() && place != owner) {
            wanted.insert(whole(address));
        }
    }
    Ok(wanted)
}

/// No address has two owners, none is kept for a pod that is gone, and each pod that lives has what it was given.
pub fn addresses_equal_pods(lab: &Lab, pods: &[&Pod]) -> Result<()> {
    let mut owners: BTreeMap<IpAddr, &str> = BTreeMap::new();
    for pod in pods {
        for address in &pod.addresses {
            if let Some(other) = owners.insert(*address, &pod.name) {
                anyhow::bail!("{address} was given to {other} and to {}", pod.name);
            }
        }
    }
    wait::until("the stored allocations to equal the pods", || {
        let stored = Allocations::read(&lab.store).map_err(|error| format!("{error:#}"))?;
        let given: BTreeMap<IpAddr, String> = pods
            .iter()
            .flat_map(|pod| {
                pod.addresses
                    .iter()
                    .map(|address| (*address, format!("{HANDLE_OF_PODS}{}", pod.container)))
            })
            .collect();
        let kept: BTreeMap<IpAddr, String> = stored.of_pods().collect();
        if kept == given {
            Ok(())
        } else {
            Err(format!("stored {kept:?}, given {given:?}"))
        }
    })
}

/// Each route of ours, word by word as the kernel has it.
pub fn snapshot(node: &Node) -> Result<Vec<String>> {
    let routes = [node.kernel_routes(false)?, node.kernel_routes(true)?].concat();
    ensure!(!routes.is_empty(), "{} has no route of ours", node.name());
    Ok(routes)
}

/// Pods on all nodes, `each` on each.
pub fn add_pods(lab: &Lab, each: usize) -> Result<Vec<Pod>> {
    let mut pods = Vec::new();
    for node in 0..lab.nodes.len() {
        for number in 1..=each {
            let name = format!("pod-{}-{number}", node + 1);
            pods.push(lab.add_pod(node, &name).with_context(|| name.clone())?);
        }
    }
    Ok(pods)
}
