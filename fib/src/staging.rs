//! Changes of encapsulation in stages, so that no packet is lost (docs/adr/0009-staged-encapsulation.md). Pure.
//!
//! A node sends in a new encapsulation to another one only when that one has said that it can receive it. Until then the
//! route keeps the way that it has. There is no memory of ways: what is kept is the kernel's own route, if it is one of
//! those by which the same next hops can be reached under some encapsulation.
//!
//! | what the wanted way lacks | the kernel's route leads there in another way | it does not, or there is none |
//! |---|---|---|
//! | nothing | take | take |
//! | our device, or the far end's VTEP | keep; after [`PATIENCE_KEPT`] wait | wait |
//! | a node that can receive IPIP | keep; after [`PATIENCE_KEPT`] take unconfirmed | wait; after [`PATIENCE_NEW`] take unconfirmed |
//! | anything else | wait | wait |

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use crate::kernel::Spec;
use crate::model::{Encapsulation, Mode, Route};
use crate::resolve::{Surroundings, Waiting};

/// What a route gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Choice {
    /// What is wanted.
    Take(Spec),
    /// What is wanted, though the far end has not said that it can receive it: it has had its time.
    Unconfirmed(Spec, Waiting),
    /// What the kernel has, until the reason is gone.
    Keep(Spec, Waiting),
    /// Nothing leads there yet.
    Wait(Waiting),
}

/// Chooses for one prefix. `there`: the kernel's route, if there is one, with ways of its own. `kept_since`: it has been kept
/// since then.
pub(crate) fn choose(
    around: &Surroundings<'_>,
    prefix: &IpNet,
    route: &Route,
    there: Option<&dyn Fn() -> Spec>,
    kept_since: Option<Instant>,
    now: Instant,
) -> Choice {
    let (found, missing) = around.found(prefix, route);
    let staged = missing.clone().filter(Waiting::is_staged);
    let (Some(reason), Route::Remote { next_hops, .. }) = (staged, route) else {
        return take_or_wait(found, missing);
    };
    let there = there.map(|there| there());
    let lenient = around.lenient(there.as_ref().map_or(&[], Spec::hops));
    let silent_since = reason
        .silent_end()
        .and_then(|node| around.without_ipip.get(&node));
    let over = |since: Option<Instant>, patience| {
        since.is_some_and(|since| now.saturating_duration_since(since) >= patience)
    };
    let silent_since = silent_since.copied();
    let kept_over = over(silent_since.or(kept_since), PATIENCE_KEPT);
    let new_over = over(silent_since, PATIENCE_NEW);
    let unconfirmed = |reason| match lenient.route(prefix, route) {
        Ok(wanted) => Choice::Unconfirmed(wanted, reason),
        Err(_) => take_or_wait(found.clone(), Some(reason)),
    };
    let mut unasked = None;
    let same = |spec: &Spec| {
        let there = there.as_ref();
        there.is_some_and(|there| there.kind == spec.kind && there.hops() == spec.hops())
    };
    for encapsulation in there.iter().flat_map(|_| ENCAPSULATIONS) {
        let other = Route::Remote {
            next_hops: next_hops.clone(),
            encapsulation,
        };
        match lenient.route(prefix, &other) {
            Ok(spec) if same(&spec) => {
                return match (kept_over, silent_since) {
                    (false, _) => Choice::Keep(spec, reason),
                    (true, Some(_)) => unconfirmed(reason),
                    (true, None) => take_or_wait(found, Some(reason)),
                };
            }
            Err(waiting @ Waiting::Unasked(_)) => unasked = Some(waiting),
            _ => {}
        }
    }
    if let Some(unasked) = unasked {
        // It may be what the kernel has.
        return Choice::Wait(unasked);
    }
    if new_over {
        return unconfirmed(reason);
    }
    take_or_wait(found, Some(reason))
}

/// When it is to be looked again whether a node that cannot receive IPIP since then has had its time.
pub(crate) fn deadlines(since: Instant) -> [Instant; 2] {
    [since + PATIENCE_NEW, since + PATIENCE_KEPT]
}

fn take_or_wait(found: Option<Spec>, missing: Option<Waiting>) -> Choice {
    match found {
        Some(spec) => Choice::Take(spec),
        None => Choice::Wait(missing.unwrap_or(Waiting::NoNextHop)),
    }
}

impl Waiting {
    /// It is a matter of time in a change of encapsulation.
    fn is_staged(&self) -> bool {
        matches!(
            self,
            Waiting::NoDevice(_)
                | Waiting::DeviceDown(_)
                | Waiting::NoVtep(_)
                | Waiting::VtepUnwritten(_)
                | Waiting::NoIpipEnd(_)
        )
    }

    /// The node that does not say that it can receive what could be sent.
    fn silent_end(&self) -> Option<IpAddr> {
        match self {
            Waiting::NoIpipEnd(node) => Some(*node),
            _ => None,
        }
    }
}

/// Every one that a route may have been made for.
const ENCAPSULATIONS: [Encapsulation; 5] = [
    Encapsulation::None,
    Encapsulation::Ipip(Mode::CrossSubnet),
    Encapsulation::Ipip(Mode::Always),
    Encapsulation::Vxlan(Mode::CrossSubnet),
    Encapsulation::Vxlan(Mode::Always),
];
/// A route that has no way yet waits so long for a node to say that it can receive IPIP: then it is sent to all the same,
/// as BIRD and Felix do, who never ask.
const PATIENCE_NEW: Duration = Duration::from_secs(10);
/// A route that has a way keeps it so long.
pub(crate) const PATIENCE_KEPT: Duration = Duration::from_secs(300);
