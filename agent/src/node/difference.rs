//! How what the FIB shall do differs between two plans. Pure.

use caracal_fib::{Change, Route};

use crate::plan::Plan;
use crate::settings;

/// The changes from `last` to `plan`, in the order in which they are to be made: what routes stand on comes first.
pub(super) fn of(last: &Plan, plan: &Plan) -> Vec<Change> {
    let mut changes = Vec::new();
    if last.felix != plan.felix {
        changes.push(Change::SetSettings(Box::new(settings::of_fib(&plan.felix))));
    }
    if last.tunnels != plan.tunnels {
        changes.push(Change::SetTunnels(Box::new(plan.tunnels.clone())));
    }
    let new_vteps = plan
        .vteps
        .iter()
        .filter(|(address, vtep)| last.vteps.get(address) != Some(vtep));
    changes.extend(new_vteps.map(|(address, vtep)| Change::SetVtep(*address, vtep.clone())));
    let gone = last
        .vteps
        .keys()
        .filter(|address| !plan.vteps.contains_key(address));
    changes.extend(gone.map(|address| Change::RemoveVtep(*address)));
    let silent = plan.without_ipip.difference(&last.without_ipip);
    changes.extend(silent.map(|node| Change::SetIpipEnd(*node, false)));
    let no_longer = last.without_ipip.difference(&plan.without_ipip);
    changes.extend(no_longer.map(|node| Change::SetIpipEnd(*node, true)));
    changes.extend(
        plan.blackholes
            .difference(&last.blackholes)
            .map(|block| Change::SetRoute(*block, Route::Blackhole)),
    );
    changes.extend(
        last.blackholes
            .difference(&plan.blackholes)
            .map(|block| Change::RemoveRoute(*block)),
    );
    changes
}

#[cfg(test)]
mod tests;
