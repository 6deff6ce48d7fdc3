//! Pods of all nodes reach one another, in each way that a cluster can be set up.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use caracal_kernel_tests::{add_pods, addresses_equal_pods, all_pairs_answer, kernel_equals_state};
use caracal_lab::{Binaries, Encapsulation, Lab, Mode, Options, Pod, lab_tests, wait};
use ipnet::IpNet;

fn started(options: Options) -> Result<Lab> {
    let mut lab = Lab::build(options, Binaries::find()?)?;
    lab.start()?;
    Ok(lab)
}

fn at_rest(lab: &Lab, pods: &[Pod]) -> Result<()> {
    let pods: Vec<_> = pods.iter().collect();
    for node in &lab.nodes {
        kernel_equals_state(lab, node, &pods)?;
    }
    addresses_equal_pods(lab, &pods)
}

/// The whole check of one setting.
fn pods_reach_one_another(options: Options) -> Result<Lab> {
    let ipv6 = options.ipv6;
    let lab = started(options)?;
    let pods = add_pods(&lab, 2)?;
    all_pairs_answer(&lab, &pods, false)?;
    if ipv6 {
        all_pairs_answer(&lab, &pods, true)?;
    }
    at_rest(&lab, &pods)?;
    Ok(lab)
}

lab_tests! {
    fn pods_reach_one_another_over_vxlan_across_racks_and_directly_within() {
        let lab = pods_reach_one_another(Options { encapsulation: Encapsulation::Vxlan, ..Options::default() })?;
        let routes = lab.nodes[0].kernel_routes(false)?;
        let within = routes.iter().any(|route| route.contains("via 172.31.1.2 dev eth0 proto 67"));
        let across = routes.iter().any(|route| route.contains("dev vxlan.calico proto 67 metric 1024 onlink"));
        ensure!(within && across, "{routes:?}");
        Ok(())
    }

    fn pods_reach_one_another_without_encapsulation_where_the_router_learns_the_routes() {
        let lab = pods_reach_one_another(Options { encapsulation: Encapsulation::None, ..Options::default() })?;
        let routes = lab.nodes[0].kernel_routes(false)?;
        let across = routes.iter().any(|route| route.contains("via 172.31.1.254 dev eth0 proto 67"));
        ensure!(across, "the block of the other rack is reached through the gateway: {routes:?}");
        Ok(())
    }

    fn pods_reach_one_another_over_ipv4_and_ipv6() {
        pods_reach_one_another(Options { ipv6: true, ..Options::default() }).map(|_| ())
    }

    fn pods_reach_one_another_over_ipv4_and_ipv6_without_encapsulation() {
        let options = Options { ipv6: true, encapsulation: Encapsulation::None, ..Options::default() };
        pods_reach_one_another(options).map(|_| ())
    }

    fn pods_reach_one_another_by_way_of_a_route_reflector() {
        let lab = pods_reach_one_another(Options { mode: Mode::Reflector, ..Options::default() })?;
        for node in &lab.nodes {
            let peers = node.peers()?;
            ensure!(peers.len() == 1, "{} peers with the reflector only: {peers:?}", node.name());
        }
        // A reflected path says who originated it and which cluster it went through.
        let routes = lab.nodes[0].routes()?;
        let reflected = routes.iter().flat_map(|route| &route.paths).filter(|path| path.peer.is_some());
        for path in reflected {
            ensure!(path.originator_id.is_some() && !path.cluster_list.is_empty(), "{path:?}");
        }
        Ok(())
    }

    fn a_pod_added_while_bgp_runs_is_reached_and_a_removed_one_leaves_nothing() {
        let lab = started(Options::default())?;
        let mut pods = add_pods(&lab, 1)?;
        let late = lab.add_pod(2, "pod-3-late")?;
        let mut pinger = lab.pinger(&pods[0], &late, false)?;
        ensure!(pinger.ask(wait::patience()).is_some(), "the late pod does not answer");
        pods.push(late);
        at_rest(&lab, &pods)?;
        for pod in pods.drain(..) {
            lab.remove_pod(&pod)?;
        }
        at_rest(&lab, &[])?;
        for node in &lab.nodes {
            let links = node.netns.ip(&["-o", "link", "show"])?;
            ensure!(!links.contains(": cali"), "a device is left on {}: {links}", node.name());
        }
        Ok(())
    }

    fn an_address_borrowed_from_another_nodes_block_is_reached_where_it_is() {
        let lab = started(Options { ipv6: true, encapsulation: Encapsulation::None, ..Options::default() })?;
        let mut pods = add_pods(&lab, 1)?;
        // The last of the block: nobody else gets it meanwhile.
        let borrowed: Vec<IpAddr> = lab.nodes[0].status()?.blocks.iter().map(IpNet::broadcast).collect();
        ensure!(borrowed.len() == 2, "a block of each family: {borrowed:?}");
        let runtime = lab.nodes[1].runtime();
        let mut guest = runtime.prepare(1, "guest", "guest-container")?;
        runtime.add_at(&mut guest, &borrowed)?;
        let given: BTreeSet<_> = guest.addresses.iter().copied().collect();
        ensure!(given == borrowed.iter().copied().collect(), "asked for {borrowed:?}, got {given:?}");
        pods.push(guest);
        // Its own /32 and /128 are in all kernels, beside the block that leads to the owner.
        at_rest(&lab, &pods)?;
        for node in &lab.nodes {
            let have = node.kernel_prefixes()?;
            for address in &borrowed {
                ensure!(have.contains(&IpNet::from(*address).to_string()), "{} lacks {address}: {have:?}", node.name());
            }
        }
        all_pairs_answer(&lab, &pods, false)?;
        all_pairs_answer(&lab, &pods, true)?;
        let guest = pods.pop().context("the guest")?;
        lab.remove_pod(&guest)?;
        at_rest(&lab, &pods)
    }

    fn a_block_claimed_while_bgp_runs_is_in_all_kernels_and_its_pods_are_reached() {
        let lab = started(Options { nodes: 2, ..Options::default() })?;
        let asker = lab.add_pod(1, "asker")?;
        let mut pods = Vec::new();
        // A block has 64 addresses.
        for number in 0..70 {
            pods.push(lab.add_pod(0, &format!("pod-{number}"))?);
        }
        let mut pinger = lab.pinger(&asker, &pods[69], false)?;
        ensure!(pinger.ask(wait::patience()).is_some(), "a pod of the second block does not answer");
        pods.push(asker);
        at_rest(&lab, &pods)
    }

    fn a_route_that_someone_deletes_or_changes_comes_back() {
        let lab = started(Options { nodes: 2, racks: 1, ..Options::default() })?;
        let pods = add_pods(&lab, 1)?;
        let node = &lab.nodes[0];
        let before = node.kernel_routes(false)?;
        let prefixes: Vec<_> = before.iter().map(|route| caracal_lab::node::prefix_of(route)).collect();
        for prefix in &prefixes {
            node.netns.ip(&["route", "delete", prefix])?;
            wait::until(&format!("{prefix} to come back"), || {
                let now = node.kernel_routes(false).map_err(|error| error.to_string())?;
                if now == before { Ok(()) } else { Err(format!("{now:?}")) }
            })?;
        }
        let block = lab.nodes[1].status()?.blocks[0].to_string();
        node.netns.ip(&["route", "replace", "blackhole", &block, "proto", "67"])?;
        let mut pinger = lab.pinger(&pods[0], &pods[1], false)?;
        wait::until("the other pod to answer again", || {
            pinger.ask(Duration::from_millis(100)).map(|_| ()).ok_or_else(|| "no answer".to_owned())
        })?;
        at_rest(&lab, &pods)
    }

    fn a_node_that_leaves_the_cluster_is_forgotten_by_the_others() {
        let mut lab = started(Options::default())?;
        let left = lab.nodes[2].status()?.blocks;
        lab.nodes[2].agent.terminate()?;
        std::fs::remove_file(lab.store.join("node3.yaml"))?;
        for node in &mut lab.nodes[..2] {
            node.wait_established(1)?;
            wait::until(&format!("{} to forget node3", node.name()), || {
                let have = node.kernel_prefixes().map_err(|error| error.to_string())?;
                let kept: Vec<_> = left.iter().filter(|block| have.contains(&block.to_string())).collect();
                if kept.is_empty() { Ok(()) } else { Err(format!("{kept:?}")) }
            })?;
        }
        Ok(())
    }
}
