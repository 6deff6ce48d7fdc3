//! Nexthop objects of the kernel in memory, as Linux 6 treats them ([`crate::kernel::nexthop`] says how).

use super::{FOREIGN_PORT, FakeKernel, State, refusal};
use crate::kernel::{Content, Event, Hop, Key, Object, ObjectId, Refusal, Spec};

impl FakeKernel {
    /// Someone else adds or replaces an object, which the kernel must take.
    pub(crate) fn foreign_set_object(&self, id: ObjectId, object: Object) {
        self.with(|state| {
            let there = state.objects.contains_key(&id);
            let outcome = state.set_object(id, &object, there);
            assert_eq!(outcome, Ok(()), "{id}: {object:?}");
            let by = FOREIGN_PORT;
            state.events.push(Event::Object { id, object, by });
        });
    }

    /// Someone else deletes an object.
    pub(crate) fn foreign_delete_object(&self, id: ObjectId) {
        self.with(|state| state.foreign_delete_object(id));
    }

    /// The other end of a device comes or goes.
    pub(crate) fn set_carrier(&self, device: u32, carrier: bool) {
        self.with(|state| {
            let Some(link) = state.links.get_mut(&device) else {
                return;
            };
            link.carrier = carrier;
            let link = link.clone();
            if !carrier {
                state.flush_objects(device);
            }
            state.events.push(Event::Link(link));
        });
    }
}

impl State {
    pub(super) fn foreign_delete_object(&mut self, id: ObjectId) {
        if self.objects.contains_key(&id) {
            let by = FOREIGN_PORT;
            self.events.push(Event::ObjectGone { id, by });
            self.remove_object(id, true);
        }
    }

    /// The ways of a route, its own or those of its object.
    pub(super) fn hops_of(&self, spec: &Spec) -> Vec<Hop> {
        let Some(object) = spec.object().and_then(|id| self.objects.get(&id)) else {
            return spec.hops().to_vec();
        };
        let members = object.members().iter();
        let members = members.filter_map(|member| self.objects.get(&member.id));
        let singles = std::iter::once(object).chain(members);
        singles
            .filter_map(|single| match &single.content {
                Content::Single(hop) => Some(*hop),
                _ => None,
            })
            .collect()
    }

    /// The route with the hops that its object stands for, as `ip route` shows it.
    pub(super) fn expanded(&self, key: &Key, spec: &Spec) -> Spec {
        if spec
            .object()
            .is_none_or(|id| !self.objects.contains_key(&id))
        {
            return spec.clone();
        }
        Spec::unicast(spec.protocol, &key.prefix, self.hops_of(spec).into())
    }

    /// May a route lead to this object?
    pub(super) fn check_object(&self, key: &Key, id: ObjectId) -> Result<(), Refusal> {
        let Some(object) = self.objects.get(&id) else {
            return Err(invalid("Nexthop id does not exist"));
        };
        if key.prefix.addr().is_ipv6() && self.has_ipv4(object) {
            return Err(invalid("IPv6 routes can not use an IPv4 nexthop."));
        }
        Ok(())
    }

    pub(super) fn set_object(
        &mut self,
        id: ObjectId,
        object: &Object,
        replace: bool,
    ) -> Result<(), Refusal> {
        if self.no_objects {
            return Err(refusal(libc::EOPNOTSUPP, "Operation not supported"));
        }
        match &object.content {
            Content::Single(hop) => self.check_hop(hop)?,
            Content::Group(_) => self.check_group(object)?,
            Content::Other => {}
        }
        if let Some(there) = self.objects.get(&id) {
            if !replace {
                return Err(refusal(libc::EEXIST, "File exists"));
            }
            match (&there.content, &object.content) {
                (Content::Single(_), Content::Group(_)) => {
                    return Err(invalid("Can not replace a nexthop with a nexthop group."));
                }
                (Content::Group(_), Content::Single(_)) => {
                    return Err(invalid("Can not replace a nexthop group with a nexthop."));
                }
                _ => {}
            }
            if self.has_ipv4(object) && self.has_ipv6_routes(id) {
                return Err(invalid("IPv6 routes can not use an IPv4 nexthop."));
            }
        }
        self.objects.insert(id, object.clone());
        Ok(())
    }

    fn check_hop(&self, hop: &Hop) -> Result<(), Refusal> {
        match self.links.get(&hop.device) {
            None => Err(refusal(libc::ENODEV, "Nexthop device is not there")),
            Some(link) if !link.up => Err(refusal(libc::ENETDOWN, "Nexthop device is not up")),
            Some(link) if !link.carrier => Err(refusal(
                libc::ENETDOWN,
                "Carrier for nexthop device is down",
            )),
            Some(_) => Ok(()),
        }
    }

    fn check_group(&self, object: &Object) -> Result<(), Refusal> {
        let members = object.members();
        if members.is_empty() {
            return Err(invalid("Invalid length for nexthop group attribute"));
        }
        for (place, member) in members.iter().enumerate() {
            match self.objects.get(&member.id) {
                None => return Err(invalid("Invalid nexthop id")),
                Some(there) if !there.members().is_empty() => {
                    return Err(invalid(
                        "Hash-threshold group can not be a nexthop within a group.",
                    ));
                }
                Some(_) => {}
            }
            if members[..place].iter().any(|other| other.id == member.id) {
                return Err(invalid("Nexthop id can not be used twice in a group."));
            }
        }
        Ok(())
    }

    pub(super) fn delete_object(&mut self, id: ObjectId) -> Result<(), Refusal> {
        if self.no_objects {
            return Err(refusal(libc::EOPNOTSUPP, "Operation not supported"));
        }
        if !self.objects.contains_key(&id) {
            return Err(refusal(libc::ENOENT, "No such file or directory"));
        }
        self.remove_object(id, false);
        Ok(())
    }

    /// A device went down, or lost its carrier: nothing of this is told.
    pub(super) fn flush_objects(&mut self, device: u32) {
        let on_device = self.objects.iter().filter(
            |(_, object)| matches!(&object.content, Content::Single(hop) if hop.device == device),
        );
        let gone: Vec<ObjectId> = on_device.map(|(id, _)| *id).collect();
        for id in gone {
            self.remove_object(id, false);
        }
    }

    /// With its routes and its places in groups. `told`: by someone else, so that there are events.
    fn remove_object(&mut self, id: ObjectId, told: bool) {
        self.objects.remove(&id);
        let on_it: Vec<(Key, Spec)> = self
            .routes
            .iter()
            .filter(|(_, spec)| spec.object() == Some(id))
            .map(|(key, spec)| (*key, spec.clone()))
            .collect();
        for (key, spec) in on_it {
            self.routes.remove(&key);
            if told && key.prefix.addr().is_ipv6() {
                let by = FOREIGN_PORT;
                self.events.push(Event::RouteGone { key, spec, by });
            }
        }
        let groups: Vec<ObjectId> = self
            .objects
            .iter()
            .filter(|(_, object)| object.members().iter().any(|member| member.id == id))
            .map(|(group, _)| *group)
            .collect();
        for group in groups {
            let Some(object) = self.objects.get_mut(&group) else {
                continue;
            };
            let rest = object.members().iter().filter(|member| member.id != id);
            let smaller = Object::group(object.protocol, rest.copied());
            let by = FOREIGN_PORT;
            if smaller.members().is_empty() {
                if told {
                    self.events.push(Event::ObjectGone { id: group, by });
                }
                self.remove_object(group, told);
            } else {
                *object = smaller.clone();
                if told {
                    self.events.push(Event::Object {
                        id: group,
                        object: smaller,
                        by,
                    });
                }
            }
        }
    }

    fn has_ipv4(&self, object: &Object) -> bool {
        match &object.content {
            Content::Single(hop) => hop.via.is_none_or(|via| via.is_ipv4()),
            Content::Group(members) => members.iter().any(|member| {
                let there = self.objects.get(&member.id);
                there.is_some_and(|object| self.has_ipv4(object))
            }),
            Content::Other => false,
        }
    }

    /// On it, or on a group that it is in.
    fn has_ipv6_routes(&self, id: ObjectId) -> bool {
        let mut ids = vec![id];
        let groups = self
            .objects
            .iter()
            .filter(|(_, object)| object.members().iter().any(|member| member.id == id));
        ids.extend(groups.map(|(group, _)| *group));
        self.routes.iter().any(|(key, spec)| {
            key.prefix.addr().is_ipv6() && spec.object().is_some_and(|on| ids.contains(&on))
        })
    }
}

fn invalid(reason: &str) -> Refusal {
    refusal(libc::EINVAL, reason)
}
