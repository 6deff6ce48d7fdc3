//! What others, and the kernel of its own accord, did to nexthop objects.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use tracing::{debug, info, warn};

use super::is_on;
use crate::fights::Round;
use crate::kernel::{Kernel, Key, Link, Object, ObjectId};
use crate::worker::Worker;
use crate::world::World;

impl<K: Kernel> Worker<K> {
    /// What a read found.
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
        for (id, object) in read.unwrap_or_default() {
            if object.protocol == self.config.protocol
                || self.sharing.objects.desired(&id).is_some()
            {
                ours.insert(id, object);
            } else {
                taken.insert(id);
            }
        }
        self.sharing.allocation.set_taken(taken);
        for id in self.sharing.objects.report_all(ours) {
            if self.sharing.objects.desired(&id).is_some() && !self.sharing.objects.installed(&id) {
                self.sharing.repairs += 1;
                self.wronged_object(id, "someone unknown", now);
            }
        }
        self.sharing.sweep_soon(now);
    }

    /// Someone added or replaced an object.
    pub(in crate::worker) fn object_changed(
        &mut self,
        id: ObjectId,
        object: Object,
        by: u32,
        now: Instant,
    ) {
        let objects = &mut self.sharing.objects;
        let known = objects.desired(&id).is_some() || objects.actual(&id).is_some();
        if !known && object.protocol != self.config.protocol {
            return;
        }
        let installed = objects.installed(&id);
        objects.report(id, Some(object));
        if installed && !objects.installed(&id) {
            self.repair_object(id, "changed", by, now);
        }
        self.sharing.sweep_soon(now);
    }

    /// Someone deleted an object, and so the routes on it.
    pub(in crate::worker) fn object_gone(&mut self, id: ObjectId, by: u32, now: Instant) {
        if self.sharing.objects.actual(&id).is_none() {
            return;
        }
        let installed = self.sharing.objects.installed(&id);
        self.drop_objects(&[id]);
        if installed {
            self.repair_object(id, "deleted", by, now);
        }
    }

    fn repair_object(&mut self, id: ObjectId, what: &str, by: u32, now: Instant) {
        if by == 0 {
            debug!(
                id,
                "the kernel dropped a nexthop object of ours; writing it again"
            );
            return;
        }
        self.sharing.repairs += 1;
        let by = self.culprit(by, now);
        warn!(
            id,
            by, "a nexthop object of ours was {what}; repairing, with the routes on it"
        );
        self.wronged_object(id, &by, now);
    }

    fn wronged_object(&mut self, id: ObjectId, by: &str, now: Instant) {
        if let Round::After { pause, first } = self.sharing.fights.again(id, by, now) {
            if first {
                warn!(
                    id,
                    by,
                    "others change this nexthop object again and again; repairing more and more slowly"
                );
            }
            let reason = format!("contested: {by} keeps changing it");
            self.sharing.objects.hold(id, now + pause, reason);
        }
    }

    /// The kernel drops the objects on a device that goes down or loses its carrier, and what hangs on them, without a
    /// word.
    pub(in crate::worker) fn flush_objects(&mut self, device: u32) {
        let objects = &mut self.sharing.objects;
        let on_device = objects.all_actual().filter(|(_, o)| is_on(o, device));
        let gone: Vec<ObjectId> = on_device.map(|(id, _)| *id).collect();
        if !gone.is_empty() {
            self.dropped.insert(device);
        }
        // They cannot be written before there is another way.
        for id in &gone {
            objects.unset(*id, false);
        }
        self.drop_objects(&gone);
        if self.sharing.on {
            self.dirty.prefixes.extend(self.wishes.routes.keys());
        }
    }

    /// A device may have got or lost its carrier while events were lost: others of the ways can be used now.
    pub(in crate::worker) fn compare_carriers(&mut self, before: &World) {
        let carrier = |link: &Link| before.link(link.index).map(|before| before.carrier);
        let changed = |link: &Link| carrier(link) != Some(link.carrier);
        if self.sharing.on && self.world.links().any(changed) {
            self.dirty.prefixes.extend(self.wishes.routes.keys());
        }
    }

    /// They are not there any more: nor are they in groups, nor groups without members, nor the routes on any of them.
    fn drop_objects(&mut self, gone: &[ObjectId]) {
        if gone.is_empty() {
            return;
        }
        let mut gone: HashSet<ObjectId> = gone.iter().copied().collect();
        let objects = &mut self.sharing.objects;
        let groups: Vec<(ObjectId, Object)> = objects
            .all_actual()
            .filter(|(_, object)| object.members().iter().any(|m| gone.contains(&m.id)))
            .map(|(id, object)| (*id, object.clone()))
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
        for id in &gone {
            objects.report(*id, None);
        }
        let routes = self.routes.all_actual();
        let on_them = routes.filter(|(_, spec)| spec.object().is_some_and(|id| gone.contains(&id)));
        let keys: Vec<Key> = on_them.map(|(key, _)| *key).collect();
        for key in keys {
            self.routes.report(key, None);
        }
    }
}
