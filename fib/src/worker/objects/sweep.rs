//! Which nexthop objects nobody needs any more.

use std::collections::HashSet;
use std::time::Instant;

use tracing::info;

use super::LINGER;
use crate::kernel::{GROUPS, Kernel, Object, ObjectId};
use crate::model::Gate;
use crate::plan::Mark;
use crate::worker::Worker;

impl<K: Kernel> Worker<K> {
    /// Says what others did to objects, looks for those that nobody needs, and lets those go that the gate lets go.
    pub(in crate::worker) fn tend_objects(&mut self, now: Instant) {
        self.sharing.news.tell();
        if self.sharing.sweep.is_none_or(|when| now < when) {
            return;
        }
        // What is not resolved or written yet may need them.
        let written = !self.routes.has_due() && self.ahead.is_empty();
        if self.dirty.unresolved() > 0 || !written || self.sharing.objects.has_due() {
            self.sharing.sweep = Some(now + LINGER);
            return;
        }
        self.sharing.sweep = None;
        self.sharing.fights.end_quiet(now);
        let sharing = &mut self.sharing;
        let objects = &mut sharing.objects;
        let of_routes = self.routes.tags().filter_map(Mark::object);
        let mut used: HashSet<ObjectId> = of_routes.collect();
        let groups: Vec<ObjectId> = objects.tagged(GROUPS).copied().collect();
        for id in &groups {
            let desired = objects.desired(id).filter(|_| used.contains(id));
            // A group that is in the kernel has its members, though nobody may need it.
            let both = desired.into_iter().chain(objects.actual(id));
            let members: Vec<ObjectId> = both
                .flat_map(Object::members)
                .map(|member| member.id)
                .collect();
            used.extend(members);
        }
        for id in sharing.allocation.keep(&used) {
            objects.unset(id, false);
            sharing.released.insert(id);
        }
        let there: HashSet<ObjectId> = objects.all_actual().map(|(id, _)| *id).collect();
        sharing.released.retain(|id| there.contains(id));
        let open = self.wishes.gate == Gate::Open;
        for id in there {
            if objects.desired(&id).is_some() {
                continue;
            }
            let theirs = objects.actual(&id).cloned();
            if let Some(theirs) = theirs.filter(|object| object.protocol != self.config.protocol) {
                // Someone took the place of ours, and nothing leads there any more.
                if !used.contains(&id) {
                    sharing.others.note_object(id, &theirs);
                    sharing.allocation.take(id);
                    objects.report(id, None);
                    self.dirty.status = true;
                }
                continue;
            }
            let left = sharing.released.contains(&id);
            let mut may_go = !used.contains(&id) && (open || left);
            if may_go && let Some(borrower) = sharing.others.user(id) {
                may_go = false;
                if sharing.lent.insert(id) {
                    info!(
                        id,
                        borrower,
                        "others use a nexthop object that nothing of ours needs; it stays"
                    );
                }
            }
            objects.permit(id, may_go);
        }
        sharing.lent.retain(|id| objects.actual(id).is_some());
    }
}
