//! ```text
//!        rack 1                         rack 2
//!   node1    node2    FRR 8.4           node3
//!     │ .1     │ .2     │ .100            │ .1
//!   ──┴────────┴────────┴───── router ────┴──
//! ```
//! FRR (`zebra` and `bgpd`) is one more router in the cluster's AS (or another one), a global BGPPeer of all nodes.
//! Expectations, over IPv4 and IPv6:
//!  1. Its session with each node is Established.
//!  2. Inside the AS it has each node's blocks from that node alone, with that node's address as next hop and with ORIGIN,
//!     LOCAL_PREF, MED and communities as the node itself shows them, and with an empty AS path; in another AS from each
//!     node, with the announcing node as next hop and 64512 as AS path. Its kernel has a route to each block.
//!  3. What it announces arrives at each node with LOCAL_PREF (inside the AS), MED, AS path, community and large community
//!     as it was set, and leads to it in each kernel; when withdrawn it is gone; when announced again it is back.
//!  4. While a node's agent is killed and started again, it keeps the node's blocks: as stale ones, then as fresh ones.
//!  5. No ping is lost, neither from FRR to a pod nor from the pod to a prefix of FRR's, while first the pod's agent and then
//!     FRR's bgpd is killed and started again (RFC 4724, both roles on both sides).

use anyhow::{Result, ensure};
use caracal_interop_tests::features::ANNOUNCED;
use caracal_interop_tests::{Frr, Router, Scene};
use caracal_lab::ping::{Pinger, Stream};
use caracal_lab::{lab_tests, wait};

/// The second half of expectation 2.
fn its_kernel_has_all_blocks(scene: &Scene<Frr>) -> Result<()> {
    for node in &scene.lab.nodes {
        for block in node.status()?.blocks {
            wait::until(&format!("{block} in FRR's kernel"), || {
                let family = if block.addr().is_ipv6() { "-6" } else { "-4" };
                let words = [family, "route", "show", "proto", "bgp", &block.to_string()];
                let said = scene.router.netns.ip(&words);
                let said = said.map_err(|error| error.to_string())?;
                if said.contains(&block.to_string()) {
                    Ok(())
                } else {
                    Err(format!("it has no such route: {said:?}"))
                }
            })?;
        }
    }
    Ok(())
}

/// The node of the pod has FRR's prefix, kept from before its restart or not.
fn the_node_has_its_prefix(scene: &Scene<Frr>, stale: bool) -> Result<()> {
    wait::until(&format!("FRR's prefix, stale: {stale}"), || {
        let routes = scene.lab.nodes[0].routes();
        let routes = routes.map_err(|error| error.to_string())?;
        let mut routes = routes.iter();
        let route = routes.find(|route| route.prefix.to_string() == ANNOUNCED.prefix);
        let is_so = |path: &caracal_agent_api::Path| path.stale == stale;
        match route.filter(|route| route.paths.iter().all(is_so)) {
            Some(_) => Ok(()),
            None => Err(format!("{route:?}")),
        }
    })
}

lab_tests! {
    fn frr_in_the_same_as_learns_all_blocks_and_its_prefixes_come_and_go() {
        let mut scene = Scene::<Frr>::inside_the_as(true)?;
        scene.router_has_all_blocks()?;
        its_kernel_has_all_blocks(&scene)?;
        scene.prefixes_of_the_router_come_and_go()
    }

    fn frr_in_another_as_learns_all_blocks_and_its_prefixes_come_and_go() {
        let mut scene = Scene::<Frr>::in_another_as(true)?;
        scene.router_has_all_blocks()?;
        its_kernel_has_all_blocks(&scene)?;
        scene.prefixes_of_the_router_come_and_go()
    }

    fn frr_keeps_the_blocks_of_a_node_whose_agent_is_killed_and_comes_back() {
        Scene::<Frr>::inside_the_as(true)?.router_helps_a_restart()
    }

    fn frr_and_an_agent_restart_under_pings_both_ways() {
        let mut scene = Scene::<Frr>::inside_the_as(false)?;
        let pod = scene.lab.add_pod(0, "web")?;
        let own = "198.51.100.1";
        scene.router.netns.ip(&["addr", "add", own, "dev", "lo"])?;
        scene.router.announce(&ANNOUNCED)?;
        scene.router_has_all_blocks()?;
        its_kernel_has_all_blocks(&scene)?;
        the_node_has_its_prefix(&scene, false)?;
        scene.router.save()?;
        let ways = [
            Pinger::open(&scene.router.netns, pod.ipv4()?)?,
            Pinger::open(&pod.netns, own.parse()?)?,
        ];
        let streams = ways.map(|way| Stream::start(way, 50));

        scene.router_helps_a_restart()?;
        the_node_has_its_prefix(&scene, false)?;
        scene.router.kill()?;
        the_node_has_its_prefix(&scene, true)?;
        scene.router.start_again()?;
        scene.established()?;
        the_node_has_its_prefix(&scene, false)?;
        scene.router_has_all_blocks()?;
        its_kernel_has_all_blocks(&scene)?;
        for stream in streams {
            let tally = stream.finish()?;
            ensure!(tally.sent > 50 && tally.lost.is_empty(), "{tally:?}");
        }
        Ok(())
    }
}
