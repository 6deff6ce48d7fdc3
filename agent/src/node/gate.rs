//! Which routes of the kernel that nobody desires may be deleted (invariant 3 of docs/architecture.md). Pure.

use std::net::IpAddr;

use caracal_fib::Gate;
use caracal_peering::PeerKind;

use crate::plan::Plan;

/// `known`: the datastore is in sync, and all that follows from it is desired. `awaited`: peers whose paths from before our
/// restart are still expected. One absent mesh peer protects only the routes through itself, one absent reflector or router all
/// remote ones; none holds back what is new.
pub(super) fn now(known: bool, awaited: &[IpAddr], plan: &Plan) -> Gate {
    if !known {
        return Gate::Closed;
    }
    if awaited.is_empty() {
        return Gate::Open;
    }
    let mut protected = Vec::new();
    for address in awaited {
        let peer = plan.peer(*address);
        if peer.is_none_or(|peer| peer.kind != PeerKind::Mesh) {
            return Gate::LocalOnly;
        }
        protected.push(*address);
        protected.extend(plan.vteps.get(address).map(|vtep| vtep.address));
    }
    protected.sort();
    Gate::OpenExcept(protected)
}

#[cfg(test)]
mod tests;
