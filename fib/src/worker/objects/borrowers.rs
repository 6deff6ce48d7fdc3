//! What others lead by nexthop objects of ours: to delete such an object, or to lead it elsewhere, would do the same to
//! them. Known is what the main table shows.

use std::collections::HashMap;

use smallvec::SmallVec;

use crate::gate;
use crate::kernel::{Key, Object, ObjectId, Spec};

#[derive(Debug, Default)]
pub(super) struct Borrowers {
    /// By key and protocol.
    routes: HashMap<(Key, u8), ObjectId>,
    /// Groups and their members.
    groups: HashMap<ObjectId, SmallVec<[ObjectId; 4]>>,
}

impl Borrowers {
    /// Someone has this route. `known`: whether an object is one of those that are looked after here.
    pub(super) fn note_route(&mut self, key: Key, spec: &Spec, known: impl Fn(ObjectId) -> bool) {
        let key = (key, spec.protocol);
        match spec.object().filter(|id| known(*id)) {
            Some(id) => {
                self.routes.insert(key, id);
            }
            // Most often there are none.
            None if self.routes.is_empty() => {}
            None => {
                self.routes.remove(&key);
            }
        }
    }

    /// Returns whether it was one.
    pub(super) fn forget_route(&mut self, key: Key, protocol: u8) -> bool {
        self.routes.remove(&(key, protocol)).is_some()
    }

    pub(super) fn retain_routes(&mut self, kept: impl Fn(&Key) -> bool) {
        self.routes.retain(|(key, _), _| kept(key));
    }

    /// Someone has this object.
    pub(super) fn note_object(&mut self, id: ObjectId, object: &Object) {
        let members = object.members().iter().map(|member| member.id);
        let members: SmallVec<[ObjectId; 4]> = members.collect();
        if members.is_empty() {
            self.groups.remove(&id);
        } else {
            self.groups.insert(id, members);
        }
    }

    /// With the routes on it. Returns whether it was a group.
    pub(super) fn forget_object(&mut self, id: ObjectId) -> bool {
        self.routes.retain(|_, on| *on != id);
        self.groups.remove(&id).is_some()
    }

    pub(super) fn retain_groups(&mut self, kept: impl Fn(&ObjectId) -> bool) {
        self.groups.retain(|id, _| kept(id));
    }

    /// Somebody who uses this object, in words.
    pub(super) fn user(&self, id: ObjectId) -> Option<String> {
        let route = self.routes.iter().find(|(_, on)| **on == id);
        let group = || self.groups.iter().find(|(_, on)| on.contains(&id));
        match route {
            Some(((key, protocol), _)) => {
                let protocol = gate::protocol_name(*protocol);
                Some(format!("the route to {}, protocol {protocol}", key.prefix))
            }
            None => group().map(|(id, _)| format!("the group {id}")),
        }
    }
}
