//! Which nexthop objects nobody needs any more.

use std::collections::HashSet;
use std::time::Instant;

use super::LINGER;
use crate::kernel::{Kernel, Object, ObjectId};
use crate::model::Gate;
use crate::nexthops::Objects;
use crate::worker::Worker;

impl<K: Kernel> Worker<K> {
    /// Looks for objects that nobody needs, and lets those go that the gate lets go.
    pub(in crate::worker) fn sweep_objects(&mut self, now: Instant) {
        if self.sharing.sweep.is_none_or(|when| now < when) {
            return;
        }
        // What is not resolved or written yet may need them.
        if self.dirty.unresolved() > 0 || self.routes.has_due() || self.sharing.objects.has_due() {
            self.sharing.sweep = Some(now + LINGER);
            return;
        }
        self.sharing.sweep = None;
        self.sharing.fights.end_quiet(now);
        let mut needed = HashSet::new();
        for (_, _, spec, _) in self.routes.iter() {
            needed.extend(spec.object());
        }
        let mut used = needed.clone();
        used.extend(
            self.routes
                .all_actual()
                .filter_map(|(_, spec)| spec.object()),
        );
        let members_of = |ids: &HashSet<ObjectId>, objects: &Objects| {
            let groups = ids
                .iter()
                .flat_map(|id| [objects.desired(id), objects.actual(id)]);
            let members = groups.flatten().flat_map(Object::members);
            members.map(|member| member.id).collect::<Vec<_>>()
        };
        needed.extend(members_of(&needed, &self.sharing.objects));
        for id in self.sharing.allocation.keep(&needed) {
            self.sharing.objects.unset(id, false);
            self.sharing.released.insert(id);
        }
        // A group that is in the kernel still has its members.
        let there: HashSet<ObjectId> = self
            .sharing
            .objects
            .all_actual()
            .map(|(id, _)| *id)
            .collect();
        used.extend(members_of(&there, &self.sharing.objects));
        self.sharing.released.retain(|id| there.contains(id));
        let open = self.wishes.gate == Gate::Open;
        let undesired: Vec<ObjectId> = there
            .into_iter()
            .filter(|id| self.sharing.objects.desired(id).is_none())
            .collect();
        for id in undesired {
            let ours = self
                .sharing
                .objects
                .actual(&id)
                .is_some_and(|object| object.protocol == self.config.protocol);
            let left = self.sharing.released.contains(&id);
            let may_go = ours && !used.contains(&id) && (open || left);
            self.sharing.objects.permit(id, may_go);
        }
    }
}
