//! The words of `ip`: what a kernel has, one thing a line. Both kernels are compared in them, and the oracle speaks them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::IpAddr;

use ipnet::IpNet;

use super::grounds::Snapshot;
use super::story::net;
use crate::kernel::{
    Content, Hop, Kind, Link, LinkKind, NeighbourKey, NeighbourValue, Object, ObjectId, SCOPE_LINK,
    Spec,
};

/// Routes of the main table but the kernel's own, neighbours of our devices, and all devices, one a line.
pub(super) fn listing(kernel: &Snapshot) -> BTreeSet<String> {
    let mut lines = neighbours(kernel);
    for (key, spec) in &kernel.routes {
        if spec.protocol != RTPROT_KERNEL {
            lines.insert(format!(
                "{} metric {} proto {} {}",
                key.prefix,
                key.metric,
                spec.protocol,
                way(spec, kernel)
            ));
        }
    }
    for link in kernel.links.iter().filter(|l| l.kind != LinkKind::Loopback) {
        let addresses: BTreeSet<String> = addresses(kernel, link)
            .map(|address| address.to_string())
            .collect();
        let up = if link.up { "up" } else { "down" };
        lines.insert(format!(
            "link {} {up} mtu {} {:?} {addresses:?}",
            link.name, link.mtu, link.kind
        ));
    }
    lines
}

/// `via`, device, onlink.
pub(super) type Leg = (Option<IpAddr>, String, bool);

/// What a route does, as `ip route` says it.
pub(super) fn way(spec: &Spec, kernel: &Snapshot) -> String {
    match spec.kind {
        Kind::Blackhole => return "blackhole".into(),
        Kind::Other(number) => return format!("type {number}"),
        Kind::Unicast => {}
    }
    let legs: Vec<Leg> = hops(spec, kernel.objects.as_deref().unwrap_or_default())
        .iter()
        .map(|hop| (hop.via, name(kernel, hop.device), hop.onlink))
        .collect();
    let mut text = words(&legs, spec.scope == SCOPE_LINK);
    if spec.foreign_attributes {
        text.push_str(" and more");
    }
    text
}

/// The ways of a route, its own or those of its nexthop object.
pub(super) fn hops(spec: &Spec, objects: &[(ObjectId, Object)]) -> Vec<Hop> {
    let content = |id: ObjectId| {
        let found = objects.iter().find(|(one, _)| *one == id);
        found.map(|(_, object)| &object.content)
    };
    let single = |id: ObjectId| match content(id) {
        Some(Content::Single(hop)) => Some(*hop),
        _ => None,
    };
    match spec.object() {
        None => spec.hops().to_vec(),
        Some(id) => match content(id) {
            Some(Content::Group(members)) => {
                let members = members.iter();
                members.filter_map(|member| single(member.id)).collect()
            }
            _ => single(id).into_iter().collect(),
        },
    }
}

pub(super) fn words(legs: &[Leg], linked: bool) -> String {
    let legs: BTreeSet<&Leg> = legs.iter().collect();
    let mut parts = Vec::new();
    for (via, device, onlink) in legs {
        let mut part = String::new();
        if let Some(via) = via {
            let _ = write!(part, "via {via} ");
        }
        let _ = write!(part, "dev {device}");
        if *onlink {
            part.push_str(" onlink");
        }
        parts.push(part);
    }
    if linked {
        parts.push("scope link".into());
    }
    parts.join(" ")
}

/// Of workloads and VXLAN devices.
pub(super) fn neighbours(kernel: &Snapshot) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for (key, value) in &kernel.neighbours {
        let (index, what) = match key {
            NeighbourKey::Address(index, address) => (*index, address.to_string()),
            NeighbourKey::Mac(index, octets) => (*index, mac(octets)),
        };
        let device = name(kernel, index);
        if !device.starts_with("cali") && !device.starts_with("vxlan") {
            continue;
        }
        lines.insert(match value {
            NeighbourValue::Mac(octets) => format!("{what} dev {device} lladdr {}", mac(octets)),
            NeighbourValue::Remote(node) => format!("{what} dev {device} dst {node}"),
        });
    }
    lines
}

pub(super) fn vxlan_of(v6: bool) -> &'static str {
    if v6 {
        "vxlan-v6.calico"
    } else {
        "vxlan.calico"
    }
}

/// But link-local ones, which the kernel makes as it likes.
pub(super) fn addresses<'a>(
    kernel: &'a Snapshot,
    link: &'a Link,
) -> impl Iterator<Item = IpNet> + 'a {
    kernel
        .addresses
        .iter()
        .filter(|(index, address)| *index == link.index && !address_is_link_local(address))
        .map(|(_, address)| *address)
}

pub(super) fn address_is_link_local(address: &IpNet) -> bool {
    net("fe80::/10").contains(&address.addr())
}

pub(super) fn name(kernel: &Snapshot, index: u32) -> String {
    let link = kernel.links.iter().find(|link| link.index == index);
    link.map_or_else(|| format!("if{index}"), |link| link.name.clone())
}

pub(super) fn mac(octets: &[u8; 6]) -> String {
    octets.map(|octet| format!("{octet:02x}")).join(":")
}

const RTPROT_KERNEL: u8 = 2;
