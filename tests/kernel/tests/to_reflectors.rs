//! From a mesh to route reflectors and back, while pods talk: nothing is lost.

use anyhow::{Result, ensure};
use caracal_kernel_tests::add_pods;
use caracal_lab::ping::Stream;
use caracal_lab::{Binaries, Encapsulation, Lab, Mode, Options, Pod, lab_tests, manifests, wait};

/// The nodes that become reflectors, by index.
const REFLECTORS: [usize; 2] = [2, 3];
const PINGS_A_SECOND: u32 = 100;

/// Who is whose peer, in one step: BGPPeers, reflectors and the end of the mesh, in the order that is hardest.
fn with_reflectors(lab: &Lab) -> Result<()> {
    let configuration = manifests::bgp_configuration(Mode::Reflector);
    manifests::write(&lab.store, "bgp.yaml", &configuration)?;
    for index in REFLECTORS {
        let site = &lab.nodes[index].site;
        let node = manifests::node(site, false)
            .replace("labels: {", "labels: {reflects: \"yes\", ")
            .replace(
                "  bgp:\n",
                "  bgp:\n    routeReflectorClusterID: 244.0.0.1\n",
            );
        manifests::write(&lab.store, &format!("{}.yaml", site.name), &node)?;
    }
    manifests::write(&lab.store, "peers.yaml", PEERS)
}

const PEERS: &str = "\
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: {name: to-reflectors}
spec: {nodeSelector: \"!has(reflects)\", peerSelector: has(reflects)}
---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: {name: between-reflectors}
spec: {nodeSelector: has(reflects), peerSelector: has(reflects)}
";

fn until_sessions(lab: &Lab, index: usize, count: usize) -> Result<()> {
    let node = &lab.nodes[index];
    wait::until(&format!("{count} sessions of {}", node.name()), || {
        let peers = node.peers().map_err(|error| error.to_string())?;
        let up = peers
            .iter()
            .filter(|peer| peer.state == "Established")
            .count();
        match (peers.len(), up) == (count, count) {
            true => Ok(()),
            false => Err(format!("{peers:?}")),
        }
    })
}

/// Pings from the first pod to all others.
fn streams(lab: &Lab, pods: &[Pod]) -> Result<Vec<Stream>> {
    let others = pods[1..].iter();
    others
        .map(|pod| {
            Ok(Stream::start(
                lab.pinger(&pods[0], pod, false)?,
                PINGS_A_SECOND,
            ))
        })
        .collect()
}

fn nothing_is_lost(streams: Vec<Stream>) -> Result<()> {
    for stream in streams {
        let tally = stream.finish()?;
        ensure!(tally.sent > 0 && tally.lost.is_empty(), "{tally:?}");
    }
    Ok(())
}

lab_tests! {
    fn a_mesh_becomes_a_cluster_with_reflectors_and_back_and_no_packet_is_lost() {
        let options = Options { nodes: 4, racks: 1, encapsulation: Encapsulation::None, ..Options::default() };
        let mut lab = Lab::build(options, Binaries::find()?)?;
        lab.start()?;
        let pods = add_pods(&lab, 1)?;
        until_sessions(&lab, 0, 3)?;
        for pod in &pods[1..] {
            ensure!(lab.pinger(&pods[0], pod, false)?.ask(wait::patience()).is_some(), "not reached at first");
        }
        let running = streams(&lab, &pods)?;
        with_reflectors(&lab)?;
        for index in [0, 1] {
            until_sessions(&lab, index, 2)?;
        }
        for index in REFLECTORS {
            until_sessions(&lab, index, 3)?;
        }
        nothing_is_lost(running)?;
        let reflected = lab.nodes[0].routes()?.into_iter().flat_map(|route| route.paths);
        ensure!(reflected.clone().any(|path| !path.cluster_list.is_empty()), "nothing is reflected");
        // The session was closed without a word: what is kept of the mesh peer is gone as well.
        for node in &lab.nodes {
            let status = node.status()?;
            ensure!(!status.conditions.iter().any(|condition| condition.name == "SessionsKept"), "{:?}", status.conditions);
        }

        let running = streams(&lab, &pods)?;
        manifests::write(&lab.store, "bgp.yaml", &manifests::bgp_configuration(Mode::Mesh))?;
        until_sessions(&lab, 0, 3)?;
        until_sessions(&lab, 1, 3)?;
        for index in REFLECTORS {
            let site = &lab.nodes[index].site;
            manifests::write(&lab.store, &format!("{}.yaml", site.name), &manifests::node(site, false))?;
        }
        std::fs::remove_file(lab.store.join("peers.yaml"))?;
        for index in 0..4 {
            until_sessions(&lab, index, 3)?;
            wait::until("the mesh", || {
                let peers = lab.nodes[index].peers().map_err(|error| error.to_string())?;
                match peers.iter().all(|peer| peer.peer_type == "node-to-node mesh") {
                    true => Ok(()),
                    false => Err(format!("{peers:?}")),
                }
            })?;
        }
        nothing_is_lost(running)
    }
}
