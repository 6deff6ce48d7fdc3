//! Nexthop objects: which are desired, what others did to them, and which are not needed any more.
//!
//! An object is written before the routes on it, and deleted when the last of them has left the kernel: that is looked
//! for now and then, and not kept count of, since whoever deletes an object deletes its routes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use smallvec::SmallVec;
use tracing::{debug, info, warn};

use super::Worker;
use crate::delta::Action;
use crate::fights::{Fights, Round};
use crate::kernel::{
    Content, Hop, Kernel, Key, Link, Nexthops, Object, ObjectId, Refusal, Spec, Write,
};
use crate::model::{Gate, Route};
use crate::nexthops::{self, Allocation, Legs, Objects};
use crate::resolve::{self, Waiting};
use crate::staging::Choice;
use crate::world::World;

/// The ways of a route, in ascending order.
pub(super) type Hops = Arc<[Hop]>;

#[derive(Debug)]
pub(super) struct Sharing {
    /// The kernel has nexthop objects, and we are to use them.
    on: bool,
    /// It refused one although it seemed to have them.
    refused: bool,
    allocation: Allocation,
    pub(super) objects: Objects,
    /// Ours in this run, and needed no more: they go without asking the gate.
    released: HashSet<ObjectId>,
    /// When what is not needed is looked for.
    sweep: Option<Instant>,
    fights: Fights<ObjectId>,
    /// Messages about objects since the start.
    pub(super) writes: u64,
    /// Objects of ours that others changed or deleted.
    pub(super) repairs: u64,
}

impl Sharing {
    pub(super) fn new(protocol: u8) -> Sharing {
        Sharing {
            on: false,
            refused: false,
            allocation: Allocation::new(protocol),
            objects: Objects::new(crate::plan::object),
            released: HashSet::new(),
            sweep: None,
            fights: Fights::default(),
            writes: 0,
            repairs: 0,
        }
    }

    pub(super) fn is_on(&self) -> bool {
        self.on
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        let dues = [self.objects.next_retry(), self.sweep];
        dues.into_iter().flatten().min()
    }

    /// Objects to be written. One that was never there and is refused counts with the routes that wait for it.
    pub(super) fn pending(&self) -> usize {
        let counts = self.objects.counts();
        counts.pending - counts.failed + self.failed()
    }

    /// Objects that are there and cannot be changed.
    pub(super) fn failed(&self) -> usize {
        if self.objects.counts().failed == 0 {
            return 0;
        }
        let there = self.objects.all_actual();
        there
            .filter(|(id, _)| self.objects.reason(id).is_some())
            .count()
    }

    pub(super) fn sweep_soon(&mut self, now: Instant) {
        self.sweep.get_or_insert(now + LINGER);
    }

    /// One more wish for these routes.
    pub(super) fn want(&mut self, prefix: &IpNet, route: &Route) {
        self.allocation.want(&resolve::legs(prefix, route));
    }

    /// One wish less.
    pub(super) fn unwant(&mut self, prefix: &IpNet, route: &Route) {
        self.allocation.unwant(&resolve::legs(prefix, route));
    }

    pub(super) fn legs(&self, prefix: &IpNet, route: &Route) -> Legs {
        if self.on {
            resolve::legs(prefix, route)
        } else {
            Legs::new()
        }
    }

    /// Where a route leads.
    pub(super) fn hops_of(&self, spec: &Spec) -> Hops {
        match &spec.nexthops {
            Nexthops::Own(hops) => hops.clone(),
            Nexthops::Object(id) => Arc::from(nexthops::hops(*id, &self.objects).as_slice()),
        }
    }

    /// A route with the hops that its object stands for, in place of the object.
    pub(super) fn expanded(&self, spec: &Spec) -> Spec {
        Spec {
            nexthops: Nexthops::Own(self.hops_of(spec)),
            ..spec.clone()
        }
    }

    /// Some object in the kernel leads through this device.
    pub(super) fn uses(&self, device: u32) -> bool {
        self.objects
            .all_actual()
            .any(|(_, object)| is_on(object, device))
    }
}

impl<K: Kernel> Worker<K> {
    /// What was chosen, by an object where there can be objects.
    pub(super) fn share(&mut self, prefix: &IpNet, legs: &Legs, choice: Choice) -> Choice {
        if !self.sharing.on || legs.is_empty() {
            return choice;
        }
        let key = self.key(*prefix);
        let actual = self.routes.actual(&key).and_then(Spec::object);
        match choice {
            Choice::Take(spec) => match self.shared(key, legs, actual, spec) {
                Ok(spec) => Choice::Take(spec),
                Err(waiting) => Choice::Wait(waiting),
            },
            Choice::Unconfirmed(spec, why) => match self.shared(key, legs, actual, spec) {
                Ok(spec) => Choice::Unconfirmed(spec, why),
                Err(waiting) => Choice::Wait(waiting),
            },
            // As it is in the kernel.
            Choice::Keep(spec, why) => match actual {
                Some(id) => Choice::Keep(Spec::by_object(self.config.protocol, id), why),
                None => Choice::Keep(spec, why),
            },
            Choice::Wait(waiting) => Choice::Wait(waiting),
        }
    }

    fn shared(
        &mut self,
        key: Key,
        legs: &Legs,
        actual: Option<ObjectId>,
        spec: Spec,
    ) -> Result<Spec, Waiting> {
        // The kernel keeps no objects on a device without a carrier.
        let mut alive: SmallVec<[Hop; 4]> = SmallVec::new();
        let mut dead = None;
        for hop in spec.hops() {
            match self.world.link(hop.device) {
                Some(link) if !link.carrier => dead = Some(link.name.clone()),
                _ => alive.push(*hop),
            }
        }
        if let Some(name) = dead.filter(|_| alive.is_empty()) {
            return Err(Waiting::NoCarrier(name));
        }
        let there = self.routes.desired(&key).and_then(Spec::object).or(actual);
        let sharing = &mut self.sharing;
        let lead = sharing
            .allocation
            .lead(legs, &alive, there, &mut sharing.objects);
        Ok(lead.map_or(spec, |id| Spec::by_object(self.config.protocol, id)))
    }

    /// What a read found.
    pub(super) fn sort_objects(&mut self, read: Option<Vec<(ObjectId, Object)>>, now: Instant) {
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
    pub(super) fn object_changed(&mut self, id: ObjectId, object: Object, by: u32, now: Instant) {
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
    pub(super) fn object_gone(&mut self, id: ObjectId, by: u32, now: Instant) {
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
    pub(super) fn flush_objects(&mut self, device: u32) {
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
    pub(super) fn compare_carriers(&mut self, before: &World) {
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

    /// Looks for objects that nobody needs, and lets those go that the gate lets go.
    pub(super) fn sweep_objects(&mut self, now: Instant) {
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

    /// What became of a message about an object.
    pub(super) fn object_written(
        &mut self,
        id: ObjectId,
        action: Action<Object>,
        outcome: Result<(), Refusal>,
        now: Instant,
    ) {
        let refusal = match outcome {
            Ok(()) => None,
            Err(refusal)
                if matches!(action, Action::Delete(_)) && refusal.errno == libc::ENOENT =>
            {
                None
            }
            Err(refusal) => Some(refusal),
        };
        let Some(refusal) = refusal else {
            if matches!(action, Action::Delete(_)) {
                // The members of a group that is gone may follow, and a device that was in use.
                self.sharing.sweep = Some(now);
            }
            // Its routes have moved.
            self.staging.note_written();
            self.look_at_retired_tunnels();
            let failed_before = self.sharing.objects.reason(&id).is_some();
            self.sharing.objects.done(id, action);
            if failed_before {
                self.routes.retry(now, |_, spec| spec.object() == Some(id));
            }
            return;
        };
        let setting = matches!(action, Action::Set { .. });
        if setting && refusal.errno == libc::EOPNOTSUPP {
            warn!(reason = %refusal, "this kernel takes no nexthop objects: each route gets its own next hops");
            self.sharing.refused = true;
            self.sharing.on = false;
            self.sharing.objects.unset(id, false);
            self.dirty.prefixes.extend(self.wishes.routes.keys());
            return;
        }
        let taken =
            matches!(action, Action::Set { owned: false, .. }) && refusal.errno == libc::EEXIST;
        if taken || self.is_of_other_kind(id) {
            info!(
                id,
                "someone else has this number of a nexthop object; taking another"
            );
            self.sharing.allocation.give_up(id);
            self.sharing.objects.unset(id, false);
            self.dirty.prefixes.extend(self.wishes.routes.keys());
            return;
        }
        let reason = format!("nexthop object {id}: {refusal}");
        if self.sharing.objects.failed(id, now, reason) {
            warn!(id, reason = %refusal, "nexthop object is refused; trying again");
        }
    }

    /// The kernel makes no group of an object, nor an object of a group.
    fn is_of_other_kind(&self, id: ObjectId) -> bool {
        let objects = &self.sharing.objects;
        match (objects.desired(&id), objects.actual(&id)) {
            (Some(desired), Some(actual)) => {
                desired.members().is_empty() != actual.members().is_empty()
            }
            _ => false,
        }
    }

    /// Takes from the batch the routes whose object is not there: those wait for it.
    pub(super) fn hold_back(
        &mut self,
        batch: &mut Vec<(Key, Action<Spec>)>,
        objects: &[(ObjectId, Action<Object>)],
        now: Instant,
    ) {
        if !self.sharing.on {
            return;
        }
        let mut held = Vec::new();
        batch.retain(|(key, action)| {
            let Action::Set { value, .. } = action else {
                return true;
            };
            let Some(id) = value.object() else {
                return true;
            };
            let there = self.sharing.objects.actual(&id).is_some();
            let ready = there || objects.iter().any(|(set, _)| *set == id);
            if !ready {
                held.push((*key, id));
            }
            ready
        });
        for (key, id) in held {
            match self.sharing.objects.reason(&id) {
                Some(reason) => {
                    let reason = reason.to_owned();
                    self.routes.failed(key, now, reason);
                }
                None => {
                    if self.sharing.objects.desired(&id).is_none() {
                        self.dirty.prefixes.insert(key.prefix);
                    }
                    self.routes.requeue(key);
                }
            }
        }
    }

    /// The messages for these objects.
    pub(super) fn object_writes(batch: &[(ObjectId, Action<Object>)]) -> Vec<Write> {
        let writes = batch.iter();
        writes
            .map(|(id, action)| crate::plan::write_object(*id, action))
            .collect()
    }
}

fn is_on(object: &Object, device: u32) -> bool {
    matches!(&object.content, Content::Single(hop) if hop.device == device)
}

/// An object that is not needed stays for this long: most changes come in groups.
const LINGER: Duration = Duration::from_secs(1);
