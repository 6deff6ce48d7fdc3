//! The kernel keeps no nexthop objects on a device that is down or has no carrier. What is looked at again for the sake of
//! a device is what leads through it, and nothing else: pods come and go all the time.

use std::collections::HashSet;
use std::time::Instant;

use crate::kernel::{GROUPS, Kernel, Object, ObjectId};
use crate::plan::Mark;
use crate::worker::Worker;
use crate::world::World;

impl<K: Kernel> Worker<K> {
    /// The kernel drops the objects on a device that goes down or loses its carrier, and what hangs on them, without a
    /// word.
    pub(in crate::worker) fn flush_objects(&mut self, device: u32) {
        self.carrier_lost(device);
        let objects = &self.sharing.objects;
        let is_there = |id: &&ObjectId| objects.actual(id).and_then(Object::device) == Some(device);
        let on_device = objects.tagged(device).filter(is_there);
        let gone: Vec<ObjectId> = on_device.copied().collect();
        if !gone.is_empty() {
            self.dropped.insert(device);
            self.drop_objects(&gone);
        }
    }

    /// No object is desired there before it has been looked for other ways.
    fn carrier_lost(&mut self, device: u32) {
        let objects = &self.sharing.objects;
        let on_device: Vec<ObjectId> = objects.tagged(device).copied().collect();
        let users = self.touch_users_of(&on_device);
        let objects = &mut self.sharing.objects;
        for id in on_device.into_iter().chain(users) {
            let desired = objects.desired(&id).and_then(Object::device);
            if desired.is_some_and(|on| on == device || on == GROUPS) {
                objects.unset(id, false);
            }
        }
    }

    /// Ways that were left out for want of a carrier, or of the device itself, are looked at again.
    pub(in crate::worker) fn carrier_returned(&mut self, device: u32) {
        if let Some(prefixes) = self.sharing.without_carrier.remove(&device) {
            self.dirty.prefixes.extend(&prefixes);
        }
    }

    /// Objects that the kernel refused for the sake of this device need not wait out their pause.
    pub(in crate::worker) fn retry_objects_on(&mut self, device: u32, now: Instant) {
        let objects = &mut self.sharing.objects;
        objects.retry(now, |_, object| object.device() == Some(device));
    }

    /// A device may have got or lost its carrier while events were lost: others of the ways can be used now.
    pub(in crate::worker) fn compare_carriers(&mut self, before: &World) {
        for link in before.links() {
            let carrier = self.world.link(link.index).map(|now| now.carrier);
            if carrier == Some(link.carrier) {
                continue;
            }
            if carrier != Some(true) {
                self.carrier_lost(link.index);
            }
            if carrier != Some(false) {
                self.carrier_returned(link.index);
            }
        }
    }

    /// Routes that lead to one of these objects, or to a group with one of them, are looked at again. Returns these groups.
    pub(super) fn touch_users_of(&mut self, ids: &[ObjectId]) -> Vec<ObjectId> {
        if ids.is_empty() {
            return Vec::new();
        }
        let ids: HashSet<ObjectId> = ids.iter().copied().collect();
        let objects = &self.sharing.objects;
        let has_one = |id: &&ObjectId| {
            let both = [objects.desired(id), objects.actual(id)];
            let mut members = both.into_iter().flatten().flat_map(Object::members);
            members.any(|member| ids.contains(&member.id))
        };
        let groups: Vec<ObjectId> = objects.tagged(GROUPS).filter(has_one).copied().collect();
        for id in ids.iter().chain(&groups) {
            let prefixes = self.routes.tagged(Mark::Object(*id)).map(|key| &key.prefix);
            self.dirty.prefixes.extend(prefixes);
        }
        groups
    }
}
