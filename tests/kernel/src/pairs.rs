//! Every pod asks every other, and the wires are watched.

use std::net::IpAddr;

use anyhow::{Result, ensure};
use caracal_lab::wire::Way;
use caracal_lab::{Encapsulation, Lab, Pod, wait};

/// Every pod answers every other, each on the way that it should take.
pub fn all_pairs_answer(lab: &Lab, pods: &[Pod], ipv6: bool) -> Result<()> {
    for from in pods {
        for to in pods.iter().filter(|to| to.name != from.name) {
            let mut pinger = lab.pinger(from, to, ipv6)?;
            ensure!(
                pinger.ask(wait::patience()).is_some(),
                "{} does not answer {}",
                to.name,
                from.name
            );
            let (way, expected) = (
                lab.watcher.way_of(pinger.probe())?,
                expected_way(lab, from, to, ipv6),
            );
            ensure!(
                way == expected,
                "{} to {}: {way:?}, expected {expected:?}",
                from.name,
                to.name
            );
        }
    }
    Ok(())
}

/// The way between two pods: nothing within a node, bare within a rack, and across racks what the pool says.
pub fn expected_way(lab: &Lab, from: &Pod, to: &Pod, ipv6: bool) -> Way {
    let address = |pod: &Pod| -> IpAddr {
        let site = &lab.nodes[pod.node].site;
        if ipv6 {
            site.ipv6.addr()
        } else {
            site.ipv4.addr()
        }
    };
    match lab.options.encapsulation {
        _ if from.node == to.node => Way::Local,
        _ if lab.same_rack(from.node, to.node) => Way::Direct,
        Encapsulation::None => Way::Direct,
        // IPIP carries IPv4 only.
        Encapsulation::Ipip if !ipv6 => Way::Ipip(address(from), address(to)),
        Encapsulation::Ipip | Encapsulation::Vxlan => Way::Vxlan(address(from), address(to)),
    }
}
