//! Which routes that nobody desires may go (invariant 3), and what of Calico's is taken over (invariant 2). Pure.

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::net::IpAddr;

use crate::device_prefixes::DevicePrefixes;
use crate::kernel::{Hop, Kind, Spec};
use crate::plan::is_workload;
use crate::resolve::{IPIP_DEVICE, VXLAN_DEVICE, VXLAN_V6_DEVICE};
use crate::world::World;

/// The gate as it applies to routes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Rule {
    #[default]
    Closed,
    LocalOnly,
    /// All may go but what leads to one of these: absent peers, and the gateways by which they are reached.
    Except(HashSet<IpAddr>),
    Open,
}

impl Rule {
    /// May a route of ours be deleted that is desired by nobody, and was not in this run? `hops` are its ways; `None`: it leads
    /// to a nexthop object that is not known, and so it may be anyone's.
    pub(crate) fn may_delete(&self, spec: &Spec, hops: Option<&[Hop]>) -> bool {
        self.decides(spec, hops, || is_workload(spec))
    }

    /// May a leftover go that nobody desires? As ours; but without a gateway it need not be a workload's.
    pub(crate) fn may_delete_leftover(
        &self,
        spec: &Spec,
        world: &World,
        device_prefixes: &DevicePrefixes,
    ) -> bool {
        let hops = spec.object().is_none().then(|| spec.hops());
        self.decides(spec, hops, || on_workload(spec, world, device_prefixes))
    }

    fn decides(
        &self,
        spec: &Spec,
        hops: Option<&[Hop]>,
        of_workload: impl FnOnce() -> bool,
    ) -> bool {
        match self {
            Rule::Closed => false,
            Rule::Open => true,
            Rule::LocalOnly => spec.kind == Kind::Blackhole || of_workload(),
            Rule::Except(protected) => hops.is_some_and(|hops| {
                let mut vias = hops.iter().filter_map(|hop| hop.via);
                !vias.any(|via| protected.contains(&via))
            }),
        }
    }
}

/// What a route that is not ours is to us. Each goes when we have our own for the same prefix, except the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Foreign {
    /// Felix's, or of Calico's BIRD on devices that only Calico and we use: goes as ours go.
    Leftover,
    /// Of anyone on a workload's device: goes as ours go, after a grace period, where the device is one that we serve. A
    /// CNI plugin of others may write its route before we hear of the workload.
    External,
    /// Of a BIRD that may be Calico's or the operator's: stays until we have our own.
    Replaceable,
    /// None of our business.
    Untouchable,
}

/// Classifies a route that does not carry our signature.
pub(crate) fn foreign(spec: &Spec, world: &World, device_prefixes: &DevicePrefixes) -> Foreign {
    if spec.protocol == RTPROT_KERNEL {
        return Foreign::Untouchable;
    }
    let on_workload = on_workload(spec, world, device_prefixes);
    let tunnels = [IPIP_DEVICE, VXLAN_DEVICE, VXLAN_V6_DEVICE];
    let on_tunnel = on(spec, world, |name| tunnels.contains(&name));
    match spec.protocol {
        // Felix takes every route with this number for its own, on whatever device.
        RTPROT_CALICO => Foreign::Leftover,
        RTPROT_BIRD if on_workload || on_tunnel || spec.kind == Kind::Blackhole => {
            Foreign::Leftover
        }
        RTPROT_BIRD => Foreign::Replaceable,
        _ if on_workload => Foreign::External,
        _ => Foreign::Untouchable,
    }
}

fn on_workload(spec: &Spec, world: &World, device_prefixes: &DevicePrefixes) -> bool {
    on(spec, world, |name| device_prefixes.fit(name))
}

fn on(spec: &Spec, world: &World, meant: impl Fn(&str) -> bool) -> bool {
    !spec.hops().is_empty()
        && spec
            .hops()
            .iter()
            .all(|hop| world.name(hop.device).is_some_and(&meant))
}

/// `ip route`'s names for protocols, for people.
pub(crate) fn protocol_name(protocol: u8) -> String {
    match protocol {
        RTPROT_KERNEL => "kernel".into(),
        3 => "boot".into(),
        4 => "static".into(),
        RTPROT_BIRD => "bird".into(),
        RTPROT_CALICO => "80 (Felix)".into(),
        16 => "dhcp".into(),
        186 => "bgp".into(),
        other => other.to_string(),
    }
}

/// Routes that come with addresses.
pub(crate) const RTPROT_KERNEL: u8 = 2;
const RTPROT_BIRD: u8 = 12;
const RTPROT_CALICO: u8 = 80;
