//! From Loc-RIB and pools to what the FIB shall have. Pure.

use std::net::IpAddr;

use caracal_fib::{Change, Encapsulation, Mode, NextHops, Route};
use ipnet::IpNet;

/// What a route needs to know of an IPPool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pool {
    pub(crate) name: String,
    pub(crate) cidr: IpNet,
    pub(crate) encapsulation: Encapsulation,
    pub(crate) disable_bgp_export: bool,
    /// Nothing new is assigned from it; what it gave lives on.
    pub(crate) disabled: bool,
    /// It may not be used on this node (it overlaps the node's own network); why, in words.
    pub(crate) unusable: Option<String>,
}

impl Pool {
    /// New addresses may come from it on this node.
    pub(crate) fn may_assign(&self) -> bool {
        !self.disabled && self.unusable.is_none()
    }
}

/// The pool that holds a prefix: the longest, should pools be nested.
pub(crate) fn pool_of<'a>(pools: &'a [Pool], prefix: &IpNet) -> Option<&'a Pool> {
    pools
        .iter()
        .filter(|pool| pool.cidr.contains(prefix))
        .max_by_key(|pool| pool.cidr.prefix_len())
}

/// The change for one prefix whose chosen learned paths have these next hops (none: no learned route).
///
/// Next hops with a device are neighbours there. Nodes, which have addresses that mean something everywhere, go before
/// them: one route cannot have both kinds, since encapsulation is a matter of nodes.
///
/// A prefix outside every pool came from a router, not from a node: it is reached as the fabric reaches it.
pub(crate) fn change<'a>(
    prefix: IpNet,
    learned: impl IntoIterator<Item = (IpAddr, Option<&'a str>)>,
    pools: &[Pool],
    own: &[IpAddr],
) -> Change {
    let (mut next_hops, mut on_links) = (NextHops::new(), Vec::new());
    for (hop, device) in learned {
        match device {
            _ if own.contains(&hop) => {}
            None => next_hops.push(hop),
            Some(device) => on_links.push((hop, device.to_owned())),
        }
    }
    let pool = pool_of(pools, &prefix);
    if pool.is_some_and(|pool| pool.unusable.is_some()) {
        return Change::RemoveRoute(prefix);
    }
    if next_hops.is_empty() {
        return match on_links.is_empty() {
            true => Change::RemoveRoute(prefix),
            false => Change::SetRoute(
                prefix,
                Route::Links {
                    next_hops: on_links,
                },
            ),
        };
    }
    let encapsulation = pool.map_or(Encapsulation::None, |pool| pool.encapsulation);
    Change::SetRoute(
        prefix,
        Route::Remote {
            next_hops,
            encapsulation,
        },
    )
}

/// `ipipMode` and `vxlanMode` as one word. IPIP carries IPv4 only; a pool that asks for both gets IPIP, as in Calico.
pub(crate) fn encapsulation(
    ipip: Option<Mode>,
    vxlan: Option<Mode>,
    cidr: &IpNet,
) -> Encapsulation {
    match (ipip, vxlan, cidr) {
        (Some(mode), _, IpNet::V4(_)) => Encapsulation::Ipip(mode),
        (_, Some(mode), _) => Encapsulation::Vxlan(mode),
        _ => Encapsulation::None,
    }
}

#[cfg(test)]
mod tests;
