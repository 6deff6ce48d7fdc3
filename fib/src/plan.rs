//! In which order routes are written. Pure.
//!
//! What a workload waits for comes first, and a pod's `/32` before the blackhole that covers it; deletions are last, so
//! that there is no moment without a route between the old way and the new one.

#[cfg(test)]
mod tests;

use ipnet::IpNet;

use crate::delta::{Action, RANKS};
use crate::kernel::{Key, Kind, NeighbourKey, NeighbourValue, Object, ObjectId, Spec, Write};

/// What routes are found by when something goes on which they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Mark {
    Object(ObjectId),
    /// Of a workload, or else straight there: few routes, of many devices that come and go.
    Device(u32),
}

impl Mark {
    pub(crate) fn object(self) -> Option<ObjectId> {
        match self {
            Mark::Object(id) => Some(id),
            Mark::Device(_) => None,
        }
    }
}

/// Routes by a gateway of their own have no mark: there may be all of them on one device.
pub(crate) fn mark(spec: &Spec) -> Option<Mark> {
    match spec.object() {
        Some(id) => Some(Mark::Object(id)),
        None if is_workload(spec) => spec.hops().first().map(|hop| Mark::Device(hop.device)),
        None => None,
    }
}

/// The place of a route action in the queue.
pub(crate) fn route(key: &Key, action: Action<&Spec>) -> usize {
    match action {
        Action::Set { value, .. } if is_workload(value) => 0,
        Action::Set { value, .. } if value.kind == Kind::Unicast => 1,
        Action::Set { .. } => 2,
        Action::Delete(value) if is_workload(value) => DELETIONS,
        Action::Delete(value) if value.kind == Kind::Unicast => match key.prefix {
            IpNet::V4(_) => SCATTERED,
            IpNet::V6(_) => SCATTERED + 1,
        },
        Action::Delete(_) => LAST,
    }
}

/// The same for neighbours: set, then delete. A MAC leads somewhere before an address leads to it, and as long.
pub(crate) fn neighbour(key: &NeighbourKey, action: Action<&NeighbourValue>) -> usize {
    match (action, key) {
        (Action::Set { .. }, NeighbourKey::Mac(..)) => 0,
        (Action::Set { .. }, NeighbourKey::Address(..)) => 1,
        (Action::Delete(_), NeighbourKey::Address(..)) => LAST - 1,
        (Action::Delete(_), NeighbourKey::Mac(..)) => LAST,
    }
}

/// The same for nexthop objects: members before their groups, and after them when they go.
pub(crate) fn object(_: &ObjectId, action: Action<&Object>) -> usize {
    match action {
        Action::Set { value, .. } => usize::from(!value.members().is_empty()),
        Action::Delete(value) if value.members().is_empty() => LAST,
        Action::Delete(_) => LAST - 1,
    }
}

/// The message that carries out an action on an object. `there`: it is in the kernel. Else the number is taken with
/// NLM_F_EXCL: whoever deleted ours may have another by now, and the routes of others may lead there.
pub(crate) fn write_object(id: ObjectId, action: &Action<Object>, there: bool) -> Write {
    match action {
        Action::Set { value, .. } => Write::SetObject {
            id,
            object: value.clone(),
            replace: there,
        },
        Action::Delete(_) => Write::DeleteObject { id },
    }
}

/// The message that carries out an action. `taken_over`: a route of Calico's has the key now.
///
/// A key that was never ours is taken with NLM_F_EXCL, so that a route of someone else is not overwritten.
pub(crate) fn write(key: Key, action: Action<Spec>, taken_over: bool) -> Write {
    match action {
        Action::Set { value, owned } => Write::Set {
            key,
            spec: value,
            replace: owned || taken_over,
        },
        Action::Delete(value) => Write::Delete { key, spec: value },
    }
}

/// The action that a message about a route carries out.
pub(crate) fn action(write: Write) -> Option<(Key, Action<Spec>)> {
    match write {
        Write::Set { key, spec, replace } => Some((
            key,
            Action::Set {
                value: spec,
                owned: replace,
            },
        )),
        Write::Delete { key, spec } => Some((key, Action::Delete(spec))),
        Write::SetObject { .. } | Write::DeleteObject { .. } => None,
    }
}

/// Straight to a device, with no gateway.
pub(crate) fn is_workload(spec: &Spec) -> bool {
    spec.kind == Kind::Unicast
        && spec.object().is_none()
        && spec.hops().iter().all(|hop| hop.via.is_none())
}

/// The first rank of deletions, of routes and of objects.
pub(crate) const DELETIONS: usize = 3;
/// The rank of most IPv4 deletions. Linux keeps IPv4 routes in a trie whose large nodes it makes anew, tens of thousands of
/// pointers at a time, again and again while they empty from one end; when routes go from all over them it does not, and
/// each takes half the time. IPv6 routes are in another kind of tree, which likes neighbours.
pub(crate) const SCATTERED: usize = DELETIONS + 1;
const LAST: usize = RANKS - 1;
