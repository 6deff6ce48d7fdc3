//! The encapsulation of a pool changes under running pings, and no packet is lost.
//!
//! ```text
//!   node1, node2 ── rack 1 ── router ── rack 2 ── node3
//!     pod1 ──► pod2 (same rack)   pod1 ──► pod3 (across)      50 requests a second each, from the first to the last stage
//! ```
//!
//! Expected of each stage: 1. one agent, another each time, stands still while the pool changes, and so sees it two seconds after
//! the others; 2. then the way on the wires is that of the new encapsulation, there and back. Expected of all: 3. every
//! request is answered; 4. of the tunnels that no pool asks for any more nothing is left.
//!
//! The nodes filter reverse paths as strictly as they may: loosely on `eth0`, and strictly where nothing else is said.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use caracal_lab::ping::Stream;
use caracal_lab::wire::Way;
use caracal_lab::{
    Binaries, Encapsulation, Lab, Options, Pod, lab_tests, manifests, topology, wait,
};
use rustix::process::Signal;

/// What a pool asks for, in its own words.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Stage {
    ipip: &'static str,
    vxlan: &'static str,
}

const NEVER: Stage = stage("Never", "Never");
const VXLAN_CROSS: Stage = stage("Never", "CrossSubnet");
const VXLAN: Stage = stage("Never", "Always");
const IPIP_CROSS: Stage = stage("CrossSubnet", "Never");
const IPIP: Stage = stage("Always", "Never");

const fn stage(ipip: &'static str, vxlan: &'static str) -> Stage {
    Stage { ipip, vxlan }
}

impl Stage {
    /// The way between two pods of different nodes.
    fn way(self, lab: &Lab, from: &Pod, to: &Pod, ipv6: bool) -> Way {
        let address = |pod: &Pod| -> IpAddr {
            let site = &lab.nodes[pod.node].site;
            if ipv6 {
                site.ipv6.addr()
            } else {
                site.ipv4.addr()
            }
        };
        let wraps = |mode| {
            mode == "Always" || (mode == "CrossSubnet" && !lab.same_rack(from.node, to.node))
        };
        match self {
            _ if wraps(self.ipip) => Way::Ipip(address(from), address(to)),
            _ if wraps(self.vxlan) => Way::Vxlan(address(from), address(to)),
            _ => Way::Direct,
        }
    }

    fn pool(self, ipv6: bool) -> (&'static str, String) {
        let (name, file, cidr, size) = match ipv6 {
            false => ("pods-ipv4", "pods-ipv4.yaml", topology::POOL_IPV4, 26),
            true => ("pods-ipv6", "pods-ipv6.yaml", topology::POOL_IPV6, 122),
        };
        let Stage { ipip, vxlan } = self;
        let text = format!(
            "apiVersion: projectcalico.org/v3
kind: IPPool
metadata:
  name: {name}
spec:
  cidr: {cidr}
  blockSize: {size}
  ipipMode: {ipip}
  vxlanMode: {vxlan}
  natOutgoing: false
  nodeSelector: all()
"
        );
        (file, text)
    }
}

/// From no encapsulation through these stages.
fn no_packet_is_lost(stages: &[Stage], ipv6: bool) -> Result<()> {
    let options = Options {
        encapsulation: Encapsulation::None,
        ipv6,
        ..Options::default()
    };
    let mut lab = Lab::build(options, Binaries::find()?)?;
    for node in &lab.nodes {
        for (device, value) in [("eth0", "2"), ("default", "1"), ("all", "1")] {
            node.netns
                .sysctl(&format!("ipv4/conf/{device}/rp_filter"), value)?;
        }
    }
    lab.start()?;
    let mut pods = Vec::new();
    for node in 0..3 {
        pods.push(lab.add_pod(node, &format!("pod-{}", node + 1))?);
    }
    reach(&lab, &pods, NEVER, ipv6)?;
    let streams = [1, 2].map(|to| Ok(Stream::start(lab.pinger(&pods[0], &pods[to], ipv6)?, 50)));
    let streams = streams.into_iter().collect::<Result<Vec<_>>>()?;
    let mut road = Vec::new();
    for (number, stage) in stages.iter().enumerate() {
        road.push((*stage, streams[1].sent()));
        let late = number % lab.nodes.len();
        lab.nodes[late].agent.signal(Signal::STOP)?;
        let (file, text) = stage.pool(ipv6);
        manifests::write(&lab.store, file, &text)?;
        std::thread::sleep(LATE);
        lab.nodes[late].agent.signal(Signal::CONT)?;
        reach(&lab, &pods, *stage, ipv6)?;
    }
    // What was kept for others goes as well, and that loses nothing either.
    let last = stages.last().copied().unwrap_or(NEVER);
    let gone = [
        (last.ipip, "tunl0"),
        (last.vxlan, "vxlan.calico"),
        (last.vxlan, "vxlan-v6.calico"),
    ];
    for (_, device) in gone.iter().filter(|(mode, _)| *mode == "Never") {
        without(&lab, device)?;
    }
    for (pod, stream) in pods[1..].iter().zip(streams) {
        let tally = stream.finish()?;
        ensure!(
            tally.sent > 100 && tally.lost.is_empty(),
            "to {}: lost {:?} of {}, the slowest answer took {:?}; {road:?}",
            pod.name,
            tally.lost,
            tally.sent,
            tally.slowest
        );
    }
    Ok(())
}

/// Waits until every pair of nodes uses this way, there and back.
fn reach(lab: &Lab, pods: &[Pod], stage: Stage, ipv6: bool) -> Result<()> {
    for (from, to) in [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2)] {
        let (from, to) = (&pods[from], &pods[to]);
        let expected = stage.way(lab, from, to, ipv6);
        wait::until_or(
            &format!("{} to {}: {expected:?}", from.name, to.name),
            || {
                let mut pinger = lab.pinger(from, to, ipv6)?;
                let answered = pinger.ask(Duration::from_secs(5)).is_some();
                let way = lab.watcher.way_of(pinger.probe())?;
                Ok(if answered && way == expected {
                    Ok(())
                } else {
                    Err(format!("{way:?}, answered: {answered}"))
                })
            },
        )?;
    }
    Ok(())
}

/// Waits until no node has this device any more (of `tunl0`, which never goes: an address or its being up).
fn without(lab: &Lab, device: &str) -> Result<()> {
    for node in &lab.nodes {
        wait::until_or(&format!("{} to be without {device}", node.name()), || {
            let shown = node
                .netns
                .ip(&["addr", "show", "dev", device])
                .unwrap_or_default();
            let used = shown.contains("inet ")
                || shown.contains(",UP")
                || (device != "tunl0" && !shown.is_empty());
            let named = std::fs::read_to_string(lab.store.join(format!("{}.yaml", node.name())))?;
            let field = match device {
                "tunl0" => "ipv4IPIPTunnelAddr",
                "vxlan.calico" => "ipv4VXLANTunnelAddr",
                _ => "ipv6VXLANTunnelAddr",
            };
            Ok(if used || named.contains(field) {
                Err(format!("{shown} {named}"))
            } else {
                Ok(())
            })
        })?;
    }
    Ok(())
}

lab_tests! {
    fn a_pool_goes_from_never_to_vxlan_and_back_without_a_lost_packet() {
        no_packet_is_lost(&[VXLAN_CROSS, VXLAN, NEVER, VXLAN, VXLAN_CROSS, NEVER], false)
    }

    fn an_ipv6_pool_goes_from_never_to_vxlan_and_back_without_a_lost_packet() {
        no_packet_is_lost(&[VXLAN_CROSS, VXLAN, NEVER], true)
    }

    #[ignore = "needs a kernel with ipip: ./tests/run guest"]
    fn a_pool_goes_through_ipip_and_vxlan_and_back_without_a_lost_packet() {
        no_packet_is_lost(&[IPIP_CROSS, IPIP, VXLAN, IPIP_CROSS, NEVER], false)
    }
}

/// How much later the slowest agent sees the change.
const LATE: Duration = Duration::from_secs(2);
