//! ```text
//!        rack 1                         rack 2
//!   node1    node2    BIRD 2            node3
//!     │ .1     │ .2     │ .100            │ .1
//!   ──┴────────┴────────┴───── router ────┴──
//! ```
//! BIRD is one more router in the cluster's AS (or another one), a global BGPPeer of all nodes. Expectations:
//!  1. Its session with each node is Established.
//!  2. It learns each node's blocks from that node, with that node's address as next hop, origin IGP.
//!  3. Each node learns the prefix that BIRD announces, and has it in its kernel: through BIRD where BIRD is in its rack,
//!     through its gateway where not.
//!  4. When BIRD withdraws the prefix, no kernel has it any more; when it announces it again, all have it.
//!  5. A block that appears while the session is up arrives, too.

use std::net::IpAddr;

use anyhow::{Result, ensure};
use caracal_interop_tests::Bird;
use caracal_lab::topology::{self, ASN};
use caracal_lab::{Binaries, Lab, Options, lab_tests, manifests, wait};

const PREFIX: &str = "198.51.100.0/24";
const PREFIX_IPV6: &str = "2001:db8:1::/48";

/// A lab with BIRD; its agents are converged with each other and with BIRD.
fn lab_with_bird(ipv6: bool, asn: u32) -> Result<(Lab, Bird)> {
    let mut lab = Lab::build(
        Options {
            ipv6,
            ..Options::default()
        },
        Binaries::find()?,
    )?;
    lab.start()?;
    let site = topology::site("bird", 1, 100);
    let announced = if ipv6 {
        vec![PREFIX, PREFIX_IPV6]
    } else {
        vec![PREFIX]
    };
    let mut bird = Bird::start(&lab, &site, asn, &announced)?;
    manifests::write(
        &lab.store,
        "bird.yaml",
        &manifests::global_peer("bird", site.ipv4.addr(), asn),
    )?;
    if ipv6 {
        let peer = manifests::global_peer("bird-ipv6", site.ipv6.addr(), asn);
        manifests::write(&lab.store, "bird-ipv6.yaml", &peer)?;
    }
    bird.wait_established()?;
    let sessions = lab.sessions_of_a_node() + if ipv6 { 2 } else { 1 };
    for node in &mut lab.nodes {
        node.wait_established(sessions)?;
    }
    Ok((lab, bird))
}

/// Expectation 2.
fn bird_has_all_blocks(lab: &Lab, bird: &Bird) -> Result<()> {
    for node in &lab.nodes {
        for block in node.status()?.blocks {
            let v6 = matches!(block.addr(), IpAddr::V6(_));
            let owner = if v6 {
                node.site.ipv6.addr()
            } else {
                node.site.ipv4.addr()
            };
            wait::until(&format!("BIRD to have {block} of {}", node.name()), || {
                let learned = bird.learned().map_err(|error| error.to_string())?;
                let paths: Vec<_> = learned
                    .iter()
                    .filter(|route| route.prefix == block.to_string())
                    .collect();
                let good = paths.len() == 1
                    && paths[0].next_hop == owner.to_string()
                    && paths[0].origin == "IGP"
                    && paths[0].protocol.trim_end_matches("_6") == node.name();
                if good {
                    Ok(())
                } else {
                    Err(format!("{paths:?}"))
                }
            })?;
        }
    }
    Ok(())
}

/// Whether the kernels of all nodes have the way to a prefix of BIRD that expectation 3 asks for.
fn kernels_lead_to_bird(lab: &Lab, prefix: &str) -> Result<(), String> {
    let bird = topology::site("bird", 1, 100);
    for node in &lab.nodes {
        let ipv6 = prefix.contains(':');
        let address = |site: topology::Site| {
            if ipv6 {
                site.ipv6.addr()
            } else {
                site.ipv4.addr()
            }
        };
        let gateway = if node.site.rack == 1 {
            address(bird.clone())
        } else {
            address(topology::router(node.site.rack))
        };
        let routes = node
            .kernel_routes(ipv6)
            .map_err(|error| error.to_string())?;
        let wanted = format!("{prefix} via {gateway} dev eth0");
        if !routes.iter().any(|route| route.starts_with(&wanted)) {
            return Err(format!(
                "{} has no route \"{wanted}\" among {routes:?}",
                node.name()
            ));
        }
    }
    Ok(())
}

fn kernels_do_not_have(lab: &Lab, prefix: &str) -> Result<(), String> {
    for node in &lab.nodes {
        if node
            .kernel_prefixes()
            .map_err(|error| error.to_string())?
            .contains(prefix)
        {
            return Err(format!("{} still has {prefix}", node.name()));
        }
    }
    Ok(())
}

fn announce_withdraw_announce(lab: &Lab, bird: &Bird, number: usize, prefix: &str) -> Result<()> {
    wait::until(&format!("all nodes to have {prefix}"), || {
        kernels_lead_to_bird(lab, prefix)
    })?;
    bird.ask(&format!("disable announced{number}"))?;
    wait::until(&format!("all nodes to lose {prefix}"), || {
        kernels_do_not_have(lab, prefix)
    })?;
    bird.ask(&format!("enable announced{number}"))?;
    wait::until(&format!("all nodes to have {prefix} again"), || {
        kernels_lead_to_bird(lab, prefix)
    })
}

lab_tests! {
    fn bird_in_the_same_as_learns_all_blocks_and_its_prefix_comes_and_goes() {
        let (lab, bird) = lab_with_bird(false, ASN)?;
        bird_has_all_blocks(&lab, &bird)?;
        announce_withdraw_announce(&lab, &bird, 0, PREFIX)?;
        // Calico's neighbours expect this number (metric 1024 below the largest).
        let learned = bird.learned()?;
        ensure!(!learned.is_empty(), "BIRD has learned nothing");
        let strange = learned.iter().find(|route| !route.as_path.is_empty() || route.local_pref.is_empty());
        ensure!(strange.is_none(), "inside one AS the path is empty and LOCAL_PREF is there: {strange:?}");
        Ok(())
    }

    fn bird_in_another_as_learns_all_blocks_and_its_prefix_comes_and_goes() {
        let (lab, bird) = lab_with_bird(false, 64999)?;
        for node in &lab.nodes {
            let (block, owner) = (node.status()?.blocks[0].to_string(), node.site.ipv4.addr().to_string());
            wait::until(&format!("BIRD to have {block} from its owner"), || {
                let learned = bird.learned().map_err(|error| error.to_string())?;
                let own = learned.iter().find(|route| route.prefix == block && route.protocol == node.name());
                let good = own.is_some_and(|route| route.next_hop == owner && route.as_path == ASN.to_string());
                if good { Ok(()) } else { Err(format!("{own:?}")) }
            })?;
        }
        wait::until("all nodes to have BIRD's prefix", || kernels_lead_to_bird(&lab, PREFIX))?;
        bird.ask("disable announced0")?;
        wait::until("all nodes to lose BIRD's prefix", || kernels_do_not_have(&lab, PREFIX))
    }

    fn bird_over_ipv6_learns_all_blocks_and_its_prefix_comes_and_goes() {
        let (lab, bird) = lab_with_bird(true, ASN)?;
        bird_has_all_blocks(&lab, &bird)?;
        announce_withdraw_announce(&lab, &bird, 0, PREFIX)?;
        announce_withdraw_announce(&lab, &bird, 1, PREFIX_IPV6)
    }

    fn a_block_that_a_node_claims_while_the_session_is_up_reaches_bird() {
        let (lab, bird) = lab_with_bird(false, ASN)?;
        let before = lab.nodes[0].status()?.blocks;
        // One block has 64 addresses, and one more is kept ahead.
        for number in 0..70 {
            lab.add_pod(0, &format!("pod-{number}"))?;
        }
        wait::until("node1 to claim another block", || {
            let now = lab.nodes[0].status().map_err(|error| error.to_string())?.blocks;
            if now.len() > before.len() { Ok(()) } else { Err(format!("{now:?}")) }
        })?;
        bird_has_all_blocks(&lab, &bird)
    }

    fn the_end_of_bird_takes_its_prefix_out_of_all_kernels() {
        let (lab, mut bird) = lab_with_bird(false, ASN)?;
        wait::until("all nodes to have BIRD's prefix", || kernels_lead_to_bird(&lab, PREFIX))?;
        bird.daemon.terminate()?;
        wait::until("all nodes to lose BIRD's prefix", || kernels_do_not_have(&lab, PREFIX))?;
        wait::until("the peer to be named as down", || {
            let peers = lab.nodes[0].peers().map_err(|error| error.to_string())?;
            let bird = peers.iter().find(|peer| peer.address.to_string() == "172.31.1.100");
            match bird {
                Some(peer) if peer.state != "Established" && peer.last_error.is_some() => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
    }
}
