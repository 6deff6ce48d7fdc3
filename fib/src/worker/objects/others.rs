//! What others did to nexthop objects.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use tracing::info;

use super::news::What;
use crate::fights::Round;
use crate::kernel::{GROUPS, Kernel, Key, Object, ObjectId, Spec};
use crate::plan::Mark;
use crate::worker::Worker;

impl<K: Kernel> Worker<K> {
    /// What a read found. The routes of others follow.
    pub(in crate::worker) fn sort_objects(
        &mut self,
        read: Option<Vec<(ObjectId, Object)>>,
        now: Instant,
    ) {
        let supported = read.is_some();
        let on = self.config.nexthop_objects && supported && !self.sharing.refused;
        if on != self.sharing.on || !self.counters.in_sync {
            self.sharing.on = on;
            match (self.config.nexthop_objects, supported) {
                (true, true) => info!("routes that share a next hop lead to one nexthop object"),
                (true, false) => {
                    info!("this kernel has no nexthop objects: each route has its own next hops")
                }
                (false, _) => {}
            }
            self.dirty.prefixes.extend(self.wishes.routes.keys());
        }
        let mut ours = HashMap::new();
        let mut taken = HashSet::new();
        // Of what was heard meanwhile, more is known than was read.
        let (objects, routes) = (&self.sharing.objects, &self.routes);
        self.sharing.others.retain_groups(|id| objects.is_kept(id));
        self.sharing.others.retain_routes(|key| routes.is_kept(key));
        for (id, object) in read.unwrap_or_default() {
            if self.is_ours(id, &object) {
                ours.insert(id, object);
            } else if self.sharing.objects.is_kept(&id) {
                if self.sharing.objects.desired(&id).is_none() {
                    taken.insert(id);
                }
            } else {
                self.sharing.others.note_object(id, &object);
                taken.insert(id);
            }
        }
        let lost: Vec<ObjectId> = taken
            .iter()
            .copied()
            .filter(|id| self.sharing.objects.desired(id).is_some())
            .collect();
        self.sharing.allocation.set_taken(taken);
        for id in lost {
            self.give_up_object(id);
        }
        for id in self.sharing.objects.report_all(ours) {
            if self.sharing.objects.desired(&id).is_some() && !self.sharing.objects.installed(&id) {
                self.sharing.repairs += 1;
                self.sharing.news.note("", What::Unseen, id, 0);
                self.wronged_object(id, "someone unknown", now);
            }
        }
        self.sharing.sweep_soon(now);
    }

    /// It has our signature, or took the place of one that had it. An object of someone else that stands under a number that
    /// we have not written is his.
    fn is_ours(&self, id: ObjectId, object: &Object) -> bool {
        object.protocol == self.config.protocol || self.sharing.objects.actual(&id).is_some()
    }

    /// Someone added or replaced an object.
    pub(in crate::worker) fn object_changed(
        &mut self,
        id: ObjectId,
        object: Object,
        by: u32,
        now: Instant,
    ) {
        if !self.is_ours(id, &object) {
            self.sharing.others.note_object(id, &object);
            self.sharing.allocation.take(id);
            if self.sharing.objects.desired(&id).is_some() {
                self.give_up_object(id);
                // We may have overwritten it since.
                self.read_again(now);
            }
            return;
        }
        let objects = &mut self.sharing.objects;
        let installed = objects.installed(&id);
        objects.report(id, Some(object));
        let changed = installed && !objects.installed(&id);
        // We may have written it since: it is written again, whatever it is said to be.
        objects.doubt(id);
        if changed {
            self.repair_object(id, What::Changed, 0, by, now);
        }
        self.sharing.sweep_soon(now);
    }

    /// Someone deleted an object, and so the routes on it.
    pub(in crate::worker) fn object_gone(&mut self, id: ObjectId, by: u32, now: Instant) {
        if self.sharing.others.forget_object(id) {
            // Its members may go now.
            self.sharing.sweep_soon(now);
        }
        if self.sharing.objects.actual(&id).is_none() {
            self.sharing.allocation.free(id);
            return;
        }
        if self.sharing.objects.desired(&id).is_none() {
            // We may have written it since, and nobody would look for it again.
            self.read_again(now);
        }
        let installed = self.sharing.objects.installed(&id);
        let routes = self.drop_objects(&[id]);
        if installed {
            self.repair_object(id, What::Deleted, routes, by, now);
        }
    }

    /// The number is somebody else's: the routes that were to lead there get another.
    pub(super) fn give_up_object(&mut self, id: ObjectId) {
        info!(
            id,
            "someone else has this number of a nexthop object; taking another"
        );
        self.touch_users_of(&[id]);
        self.sharing.allocation.give_up(id);
        self.sharing.objects.unset(id, false);
    }

    /// A route of someone else.
    pub(in crate::worker) fn note_borrower(&mut self, key: Key, spec: &Spec) {
        let objects = &self.sharing.objects;
        let known = |id: ObjectId| objects.actual(&id).is_some();
        self.sharing.others.note_route(key, spec, known);
    }

    /// It is gone: the object may follow.
    pub(in crate::worker) fn forget_borrower(&mut self, key: Key, spec: &Spec, now: Instant) {
        if self.sharing.others.forget_route(key, spec.protocol) {
            self.sharing.sweep_soon(now);
        }
    }

    fn repair_object(&mut self, id: ObjectId, what: What, routes: usize, by: u32, now: Instant) {
        if by == 0 {
            self.sharing.news.note("", What::Dropped, id, routes);
            return;
        }
        self.sharing.repairs += 1;
        let by = self.culprit(by, now);
        self.sharing.news.note(&by, what, id, routes);
        self.wronged_object(id, &by, now);
    }

    fn wronged_object(&mut self, id: ObjectId, by: &str, now: Instant) {
        if let Round::After { pause, first } = self.sharing.fights.again(id, by, now) {
            if first {
                self.sharing.news.note(by, What::Contested, id, 0);
            }
            let reason = format!("contested: {by} keeps changing it");
            self.sharing.objects.hold(id, now + pause, reason);
        }
    }

    /// They are not there any more: nor are they in groups, nor groups without members, nor the routes on any of them.
    /// Returns how many routes went.
    pub(super) fn drop_objects(&mut self, gone: &[ObjectId]) -> usize {
        let mut gone: HashSet<ObjectId> = gone.iter().copied().collect();
        let objects = &mut self.sharing.objects;
        let groups: Vec<(ObjectId, Object)> = objects
            .tagged(GROUPS)
            .filter_map(|id| Some((*id, objects.actual(id)?)))
            .filter(|(_, object)| object.members().iter().any(|m| gone.contains(&m.id)))
            .map(|(id, object)| (id, object.clone()))
            .collect();
        for (id, group) in groups {
            let left = group.members().iter().filter(|m| !gone.contains(&m.id));
            let left = Object::group(group.protocol, left.copied());
            if left.members().is_empty() {
                gone.insert(id);
            } else {
                objects.report(id, Some(left));
            }
        }
        let mut routes = 0;
        for id in &gone {
            objects.report(*id, None);
            let on_it: Vec<Key> = self.routes.tagged(Mark::Object(*id)).copied().collect();
            for key in on_it {
                if self.routes.actual(&key).and_then(Spec::object) == Some(*id) {
                    routes += 1;
                    self.routes.report(key, None);
                }
            }
        }
        routes
    }
}
