//! What an operator, or another program, takes away by mistake: pods keep their network, and what can be made good is.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use caracal_kernel_tests::{add_pods, addresses_equal_pods, all_pairs_answer, kernel_equals_state};
use caracal_lab::{Binaries, Encapsulation, Lab, Options, Pod, lab_tests, wait};
use serde_json::json;

fn started() -> Result<(Lab, Vec<Pod>)> {
    let options = Options {
        encapsulation: Encapsulation::Vxlan,
        ..Options::default()
    };
    let mut lab = Lab::build(options, Binaries::find()?)?;
    lab.start()?;
    let pods = add_pods(&lab, 1)?;
    Ok((lab, pods))
}

fn all_well(lab: &Lab, pods: &[Pod]) -> Result<()> {
    let all: Vec<_> = pods.iter().collect();
    for node in &lab.nodes {
        kernel_equals_state(lab, node, &all)?;
    }
    addresses_equal_pods(lab, &all)?;
    all_pairs_answer(lab, pods, false)
}

/// The only file of this kind whose name begins so.
fn manifest(lab: &Lab, kind: &str, beginning: &str) -> Result<PathBuf> {
    let folder = lab.store.join(kind);
    let entries = fs::read_dir(&folder).with_context(|| format!("{}", folder.display()))?;
    entries
        .flatten()
        .map(|entry| entry.path())
        .find(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with(beginning))
        })
        .with_context(|| format!("{}: nothing begins with {beginning}", folder.display()))
}

fn has_condition(lab: &Lab, node: usize, name: &str) -> Result<()> {
    wait::until(
        &format!("condition {name} of {}", lab.nodes[node].name()),
        || {
            let status = lab.nodes[node]
                .status()
                .map_err(|error| error.to_string())?;
            let known: Vec<_> = status
                .conditions
                .iter()
                .map(|condition| condition.name.clone())
                .collect();
            if known.iter().any(|known| known == name) {
                Ok(())
            } else {
                Err(format!("{known:?}"))
            }
        },
    )
}

lab_tests! {
    fn a_deleted_node_resource_is_made_again() {
        let (lab, pods) = started()?;
        let file = lab.store.join("node1.yaml");
        ensure!(file.exists(), "the lab keeps the nodes elsewhere now");
        fs::remove_file(&file)?;
        wait::until("node1 to be registered again", || {
            let there = lab.store.join("node").join("node1.yaml").exists();
            if there { Ok(()) } else { Err("no manifest".to_owned()) }
        })?;
        wait::until("node1 to have its peers again", || {
            let status = lab.nodes[0].status().map_err(|error| error.to_string())?;
            match status.peers_established {
                2 => Ok(()),
                some => Err(format!("{some} are established")),
            }
        })?;
        all_well(&lab, &pods)
    }

    fn a_deleted_affinity_is_claimed_again() {
        let (lab, pods) = started()?;
        let file = manifest(&lab, "blockaffinity", "node1-")?;
        fs::remove_file(&file)?;
        wait::until("the affinity to be back", || {
            if file.exists() { Ok(()) } else { Err("not there".to_owned()) }
        })?;
        all_well(&lab, &pods)
    }

    fn the_pods_of_a_deleted_pool_keep_their_network() {
        let (lab, pods) = started()?;
        fs::remove_file(lab.store.join("pods-ipv4.yaml"))?;
        has_condition(&lab, 0, "BlockWithoutPool")?;
        // Within a rack; across racks nothing says any more how to get there.
        let mut pinger = lab.pinger(&pods[0], &pods[1], false)?;
        wait::until("pod-1-1 to reach pod-2-1", || {
            let answer = pinger.ask(std::time::Duration::from_secs(1));
            answer.map(drop).ok_or_else(|| "no answer".to_owned())
        })
    }

    fn an_address_that_a_pod_has_is_not_given_again_when_its_block_was_deleted() {
        let (lab, mut pods) = started()?;
        pods.push(lab.add_pod(0, "pod-1-2")?);
        fs::remove_file(manifest(&lab, "ipamblock", &block_of(&lab, &pods[0])?)?)?;
        pods.push(lab.add_pod(0, "pod-1-3")?);
        pods.push(lab.add_pod(0, "pod-1-4")?);
        let addresses: BTreeSet<IpAddr> = pods.iter().flat_map(|pod| pod.addresses.clone()).collect();
        ensure!(addresses.len() == pods.len(), "an address was given twice: {pods:?}");
        all_well(&lab, &pods)
    }

    fn gc_of_one_network_leaves_the_pods_of_another_alone() {
        let (lab, pods) = started()?;
        let runtime = lab.nodes[0].runtime();
        let mut configuration = runtime.configuration();
        configuration["name"] = json!("another-network");
        configuration["cni.dev/valid-attachments"] = json!([]);
        let answer = runtime.call("GC", "", "", "", &configuration.to_string())?;
        ensure!(answer.succeeded, "{}", answer.message());
        ensure!(lab.nodes[0].endpoints()?.len() == 1, "the pod's endpoint is gone");
        all_well(&lab, &pods)?;
        // Of its own network, what the runtime does not know goes.
        configuration["name"] = runtime.configuration()["name"].clone();
        let answer = runtime.call("GC", "", "", "", &configuration.to_string())?;
        ensure!(answer.succeeded, "{}", answer.message());
        ensure!(lab.nodes[0].endpoints()?.is_empty(), "the pod's endpoint is still there");
        Ok(())
    }
}

/// How the file of a pod's block begins.
fn block_of(lab: &Lab, pod: &Pod) -> Result<String> {
    let address = pod.ipv4()?;
    let status = lab.nodes[pod.node].status()?;
    let block = status.blocks.iter().find(|block| block.contains(&address));
    let block = block.with_context(|| format!("no block of {} has {address}", pod.name))?;
    Ok(block.to_string().replace(['.', '/'], "-"))
}
