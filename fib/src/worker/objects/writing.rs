//! Nexthop objects on their way to the kernel, and the routes that wait for them.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use tracing::warn;

use crate::delta::Action;
use crate::kernel::{Kernel, Key, Object, ObjectId, Refusal, Spec, Write};
use crate::plan;
use crate::worker::Worker;

impl<K: Kernel> Worker<K> {
    /// What became of a message about an object.
    pub(in crate::worker) fn object_written(
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
            self.vteps.note_written();
            self.look_at_retired_tunnels();
            if let Action::Set { value, .. } = &action {
                self.sharing.written.push(id);
                if !value.members().is_empty() {
                    // Members that it had before may not be needed any more.
                    self.sharing.sweep_soon(now);
                }
            }
            self.sharing.objects.done(id, action);
            return;
        };
        let setting = matches!(action, Action::Set { .. });
        if setting && refusal.errno == libc::EOPNOTSUPP {
            warn!(reason = %refusal, "this kernel takes no nexthop objects: each route gets its own next hops");
            self.sharing.refused = true;
            self.sharing.on = false;
            self.sharing.objects.requeue(id);
            self.sharing.objects.unset(id, false);
            self.dirty.prefixes.extend(self.wishes.routes.keys());
            return;
        }
        if self.is_of_other_kind(id) {
            self.sharing.objects.requeue(id);
            self.give_up_object(id);
            return;
        }
        if setting && refusal.errno == libc::EEXIST {
            self.look_whose(id, &action, now);
            return;
        }
        let missing = self.missing_member(id);
        if refusal.misses_object() && missing.is_none() {
            // It is not as believed.
            self.read_again(now);
        }
        // What a member lacks is the true reason.
        let of_member = missing.and_then(|member| self.sharing.objects.reason(&member));
        let reason = match of_member.filter(|_| refusal.misses_object()) {
            Some(reason) => reason.to_owned(),
            None => format!("nexthop object {id}: {refusal}"),
        };
        if self.sharing.objects.failed(id, now, reason) {
            warn!(id, reason = %refusal, "nexthop object is refused; trying again");
        }
    }

    /// An object that we do not know has the number: ours, if the kernel did not drop it when an old event said so, or
    /// somebody's. A read tells; if it does not, it is somebody's.
    fn look_whose(&mut self, id: ObjectId, action: &Action<Object>, now: Instant) {
        let objects = &mut self.sharing.objects;
        let never_ours = matches!(action, Action::Set { owned: false, .. });
        if never_ours && objects.reason(&id).is_some() {
            objects.requeue(id);
            self.give_up_object(id);
            return;
        }
        let reason = format!("nexthop object {id} is there already; looking whose it is");
        objects.hold(id, now + LOOK, reason);
        self.read_again(now);
    }

    /// One that is not there, as far as is believed.
    fn missing_member(&self, id: ObjectId) -> Option<ObjectId> {
        let objects = &self.sharing.objects;
        let members = objects.desired(&id).into_iter().flat_map(Object::members);
        let mut ids = members.map(|member| member.id);
        ids.find(|id| objects.actual(id).is_none())
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
    pub(in crate::worker) fn hold_back(
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
                // It moves to another metric, and is not looked at under this one any more.
                None if self.sharing.objects.desired(&id).is_none()
                    && self.key(key.prefix) != key =>
                {
                    let reason = format!("there is no nexthop object {id} any more");
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
    pub(in crate::worker) fn object_writes(
        &self,
        batch: &[(ObjectId, Action<Object>)],
    ) -> Vec<Write> {
        let is_there = |id| self.sharing.objects.actual(id).is_some();
        let writes = batch.iter();
        writes
            .map(|(id, action)| plan::write_object(*id, action, is_there(id)))
            .collect()
    }

    /// What was refused before, while an object was not there or was another, need not wait out its pause.
    pub(in crate::worker) fn retry_users_of_written(&mut self, now: Instant) {
        let written = std::mem::take(&mut self.sharing.written);
        if written.is_empty() {
            return;
        }
        let written: HashSet<ObjectId> = written.into_iter().collect();
        self.sharing.objects.retry(now, |_, object| {
            let mut members = object.members().iter();
            members.any(|member| written.contains(&member.id))
        });
        self.routes.retry(now, |_, spec| {
            spec.object().is_some_and(|id| written.contains(&id))
        });
    }
}

/// Until an object that was not known is tried again, if no read has said what it is.
const LOOK: Duration = Duration::from_secs(1);
