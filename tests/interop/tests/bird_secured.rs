//! ```text
//!        rack 1                         rack 2
//!   node1    node2    BIRD 2            node3
//!     │ .1     │ .2     │ .100            │ .1
//!   ──┴────────┴────────┴───── router ────┴──
//! ```
//! BIRD is a router of another AS, over TCP MD5 (RFC 2385) or with TTL security (RFC 5082). Expectations:
//!  1. While only BIRD signs, no node gets a connection to BIRD, and BIRD learns nothing.
//!  2. A BGPPeer whose Secret is missing has no session, and the condition names peer and Secret.
//!  3. When both sides ask for the same, all nodes have a session, and prefixes pass in both directions.
//!  4. When the key changes on both sides, this is so again.
//!  5. With one hop allowed, the nodes of BIRD's rack have a session, and node3 gets no connection.

use anyhow::{Context, Result, ensure};
use caracal_interop_tests::Bird;
use caracal_lab::topology::{self, Site};
use caracal_lab::{Binaries, Lab, Node, Options, lab_tests, manifests, wait};

const ASN: u32 = 64999;
const PREFIX: &str = "198.51.100.0/24";

/// A lab with BIRD and unsigned sessions.
fn lab_with_bird() -> Result<(Lab, Bird, Site)> {
    let mut lab = Lab::build(Options::default(), Binaries::find()?)?;
    lab.start()?;
    let site = topology::site("bird", 1, 100);
    let bird = Bird::start(&lab, &site, ASN, &[PREFIX])?;
    peer(&lab, &site, "")?;
    established(&mut lab)?;
    Ok((lab, bird, site))
}

/// Writes the BGPPeer, with these lines in its spec.
fn peer(lab: &Lab, site: &Site, more: &str) -> Result<()> {
    let text = manifests::global_peer("bird", site.ipv4.addr(), ASN);
    manifests::write(&lab.store, "bird.yaml", &format!("{text}{more}"))
}

fn secret(lab: &Lab, key: &str) -> Result<()> {
    let text = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: bgp, namespace: kube-system}}\nstringData: {{bird: {key}}}\n"
    );
    manifests::write(&lab.store, "secret.yaml", &text)
}

/// Replaces words in BIRD's configuration and has it read again.
fn reconfigure(lab: &Lab, bird: &Bird, from: &str, to: &str) -> Result<()> {
    let folder = lab.folder.join("bird");
    let file = folder.join("bird.conf");
    let old = std::fs::read_to_string(&file).with_context(|| format!("{}", file.display()))?;
    ensure!(old.contains(from), "no {from:?} in {old}");
    manifests::write(&folder, "bird.conf", &old.replace(from, to))?;
    let answer = bird.ask("configure")?;
    // Or "in progress", while sessions end.
    ensure!(answer.contains("Reconfigur"), "{answer}");
    Ok(())
}

/// The session with BIRD, beside those of the mesh.
fn established(lab: &mut Lab) -> Result<()> {
    let sessions = lab.sessions_of_a_node() + 1;
    lab.nodes
        .iter_mut()
        .try_for_each(|node| node.wait_established(sessions))
}

/// Expectations 1 and 5: TCP itself does not come about, on either side's initiative.
fn gets_no_connection(node: &Node, site: &Site) -> Result<()> {
    wait::until(&format!("{} to get no connection", node.name()), || {
        let peers = node.peers().map_err(|error| error.to_string())?;
        let peer = peers
            .iter()
            .find(|peer| peer.address == site.ipv4.addr())
            .ok_or("no such peer")?;
        let error = peer.last_error.as_deref().unwrap_or_default();
        if peer.state != "Established" && error.contains("TCP did not come up in time") {
            Ok(())
        } else {
            Err(format!("{peer:?}"))
        }
    })
}

/// Expectation 3.
fn prefixes_pass_both_ways(lab: &mut Lab, bird: &Bird) -> Result<()> {
    established(lab)?;
    for node in &lab.nodes {
        let block = node.status()?.blocks[0].to_string();
        wait::until(&format!("BIRD to have {block} of {}", node.name()), || {
            let learned = bird.learned().map_err(|error| error.to_string())?;
            let own = learned
                .iter()
                .any(|route| route.prefix == block && route.protocol == node.name());
            if own {
                Ok(())
            } else {
                Err(format!("{learned:?}"))
            }
        })?;
        wait::until(&format!("{} to have BIRD's prefix", node.name()), || {
            let prefixes = node.kernel_prefixes().map_err(|error| error.to_string())?;
            if prefixes.contains(PREFIX) {
                Ok(())
            } else {
                Err(format!("{prefixes:?}"))
            }
        })?;
    }
    Ok(())
}

lab_tests! {
    fn bird_with_tcp_md5_speaks_with_who_has_the_key_of_the_secret() {
        let (mut lab, bird, site) = lab_with_bird()?;
        reconfigure(&lab, &bird, "multihop;", "multihop; password \"old\";")?;
        for node in &lab.nodes {
            gets_no_connection(node, &site)?;
        }
        let learned = bird.learned()?;
        ensure!(learned.is_empty(), "BIRD has learned {learned:?}");

        peer(&lab, &site, "  password: {secretKeyRef: {name: bgp, key: bird}}\n")?;
        wait::until("the missing secret to be named", || {
            let status = lab.nodes[0].status().map_err(|error| error.to_string())?;
            let found = status.conditions.iter().any(|condition| {
                condition.name == "PasswordMissing"
                    && condition.message.contains("172.31.1.100")
                    && condition.message.contains("no Secret bgp")
            });
            if found { Ok(()) } else { Err(format!("{:?}", status.conditions)) }
        })?;
        secret(&lab, "old")?;
        prefixes_pass_both_ways(&mut lab, &bird)?;

        reconfigure(&lab, &bird, "password \"old\"", "password \"new\"")?;
        secret(&lab, "new")?;
        wait::until("BIRD's sessions with the new key", || {
            let text = bird.ask("show protocols").map_err(|error| error.to_string())?;
            let lines: Vec<_> = text.lines().filter(|line| line.contains(" BGP ")).collect();
            let all = lines.iter().all(|line| line.contains("Established"));
            if all { Ok(()) } else { Err(lines.join("; ")) }
        })?;
        prefixes_pass_both_ways(&mut lab, &bird)
    }

    fn bird_with_ttl_security_speaks_with_who_sends_ttl_255() {
        let (mut lab, bird, site) = lab_with_bird()?;
        // The node of the other rack is behind one router.
        reconfigure(&lab, &bird, "multihop;", "multihop 2; ttl security on;")?;
        peer(&lab, &site, "  ttlSecurity: 1\n")?;
        gets_no_connection(&lab.nodes[2], &site)?;
        let sessions = lab.sessions_of_a_node() + 1;
        for node in &mut lab.nodes[..2] {
            node.wait_established(sessions)?;
        }
        peer(&lab, &site, "  ttlSecurity: 2\n")?;
        prefixes_pass_both_ways(&mut lab, &bird)
    }
}
