//! Which routes that nobody desires may go (invariant 3), and what of Calico's is taken over (invariant 2). Pure.

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::net::IpAddr;

use crate::kernel::{Kind, Spec};
use crate::model::Gate;
use crate::plan::is_workload;
use crate::resolve::{IPIP_DEVICE, VXLAN_DEVICE, VXLAN_V6_DEVICE};
use crate::world::World;

/// May a route of ours be deleted that is desired by nobody, and was not in this run? `protected` are the gateways by
/// which the peers of [`Gate::OpenExcept`] are reached, beside these peers themselves.
pub(crate) fn may_delete(gate: &Gate, protected: &HashSet<IpAddr>, spec: &Spec) -> bool {
    match gate {
        Gate::Closed => false,
        Gate::Open => true,
        Gate::LocalOnly => spec.kind == Kind::Blackhole || is_workload(spec),
        Gate::OpenExcept(peers) => !spec
            .hops()
            .iter()
            .filter_map(|hop| hop.via)
            .any(|via| peers.contains(&via) || protected.contains(&via)),
    }
}

/// What a route that is not ours is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Foreign {
    /// Calico's, on devices that only Calico and we use: goes when the gate is open.
    Leftover,
    /// Calico's or of its CNI plugin: goes when we have our own for the same prefix.
    Replaceable,
    /// None of our business.
    Untouchable,
}

/// Classifies a route that does not carry our signature.
pub(crate) fn foreign(spec: &Spec, world: &World, device_prefix: &str) -> Foreign {
    if spec.protocol == RTPROT_KERNEL {
        return Foreign::Untouchable;
    }
    let on = |meant: &dyn Fn(&str) -> bool| {
        !spec.hops().is_empty()
            && spec
                .hops()
                .iter()
                .all(|hop| world.name(hop.device).is_some_and(meant))
    };
    let on_workload = on(&|name| name.starts_with(device_prefix));
    let on_tunnel = on(&|name| [IPIP_DEVICE, VXLAN_DEVICE, VXLAN_V6_DEVICE].contains(&name));
    match spec.protocol {
        RTPROT_BIRD | RTPROT_CALICO => {
            if on_workload || on_tunnel || spec.kind == Kind::Blackhole {
                Foreign::Leftover
            } else {
                Foreign::Replaceable
            }
        }
        _ if on_workload => Foreign::Replaceable,
        _ => Foreign::Untouchable,
    }
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

const RTPROT_KERNEL: u8 = 2;
const RTPROT_BIRD: u8 = 12;
const RTPROT_CALICO: u8 = 80;
