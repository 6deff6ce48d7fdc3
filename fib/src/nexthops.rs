//! Which nexthop object stands for which way, so that routes of one way share it. Pure.
//!
//! ```text
//!   10.233.2.0/26 ─┐
//!   10.233.7.0/26 ─┴─► 670000001  via 172.18.0.2 dev eth0      a leg: node 172.18.0.2, not encapsulated, IPv4
//!   198.51.100.0/24 ─► 670000003  group 670000002/670000004    several legs; members are the ways of now
//! ```
//!
//! A [`Leg`] is what the wish says, not where it leads: when a node's way changes, its object is replaced and its routes
//! stay as they are. An object keeps its number when all routes on it wish for other legs, the same ones: to give it these
//! moves every route that is on it. It is found again after a restart by the routes that are on it.

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::ops::RangeInclusive;

use smallvec::SmallVec;

use crate::delta::Delta;
use crate::hash::Map;
use crate::kernel::{Content, Hop, Member, Object, ObjectId};
use crate::resolve::Leg;

/// Who has which number.
#[derive(Debug)]
pub(crate) struct Allocation {
    protocol: u8,
    numbers: RangeInclusive<ObjectId>,
    owners: Map<ObjectId, Owner>,
    ids: Ids,
    /// Numbers in our range that others have.
    taken: HashSet<ObjectId>,
    last: ObjectId,
}

pub(crate) type Legs = SmallVec<[Leg; 1]>;

/// Desired and actual objects.
pub(crate) type Objects = Delta<ObjectId, Object>;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Owner {
    /// Of one way: replaced when the way changes.
    Single(Legs),
    /// Of several: its members are.
    Group(Legs),
    /// In groups, and never replaced.
    Member(Hop),
}

/// Who has which number, the other way round.
#[derive(Debug, Default)]
struct Ids {
    singles: Map<Legs, ObjectId>,
    groups: Map<Legs, ObjectId>,
    members: Map<Hop, ObjectId>,
}

impl Ids {
    fn get(&self, owner: &Owner) -> Option<&ObjectId> {
        match owner {
            Owner::Single(legs) => self.singles.get(legs),
            Owner::Group(legs) => self.groups.get(legs),
            Owner::Member(hop) => self.members.get(hop),
        }
    }

    fn insert(&mut self, owner: Owner, id: ObjectId) {
        match owner {
            Owner::Single(legs) => self.singles.insert(legs, id),
            Owner::Group(legs) => self.groups.insert(legs, id),
            Owner::Member(hop) => self.members.insert(hop, id),
        };
    }

    fn remove(&mut self, owner: &Owner) {
        match owner {
            Owner::Single(legs) => self.singles.remove(legs),
            Owner::Group(legs) => self.groups.remove(legs),
            Owner::Member(hop) => self.members.remove(hop),
        };
    }
}

impl Allocation {
    pub(crate) fn new(protocol: u8) -> Allocation {
        Allocation::among(NUMBERS, protocol)
    }

    fn among(numbers: RangeInclusive<ObjectId>, protocol: u8) -> Allocation {
        Allocation {
            last: numbers.start() - 1,
            numbers,
            protocol,
            owners: Map::default(),
            ids: Ids::default(),
            taken: HashSet::new(),
        }
    }

    /// The object that leads to these legs by these ways, which is desired from now on. `there` is the one that the route
    /// is on now, and `may_move` says of an object whether all routes on it wish for just these legs. `None`: a way without
    /// a gateway is not shared, nor is any when there is no number left.
    pub(crate) fn lead(
        &mut self,
        legs: &Legs,
        hops: &[Hop],
        there: Option<ObjectId>,
        may_move: impl Fn(ObjectId) -> bool,
        objects: &mut Objects,
    ) -> Option<ObjectId> {
        if hops.is_empty() || hops.iter().any(|hop| hop.via.is_none()) {
            return None;
        }
        // A group stays one when there is one way left, so that its routes can stay on it.
        let is_group_already = self.ids.groups.contains_key(legs);
        let single = self.ids.singles.get(legs).copied();
        let stays_group = is_group_already
            || there
                .is_some_and(|id| single.is_none() && is_group(id, objects) && self.is_free(id));
        if let [hop] = hops
            && legs.len() == 1
            && !stays_group
        {
            let wanted = Object::single(self.protocol, *hop);
            if single.is_some_and(|id| objects.desired(&id) == Some(&wanted)) {
                return single;
            }
            let single = Owner::Single(legs.clone());
            return self.find(single, wanted, there, may_move, objects);
        }
        if let Some(id) = there.filter(|_| !is_group_already) {
            self.adopt_members(id, hops, objects);
        }
        let group = Owner::Group(legs.clone());
        let members = hops.iter().map(|hop| {
            let way = Hop { weight: 0, ..*hop };
            let wanted = Object::single(self.protocol, way);
            let id = self.find(Owner::Member(way), wanted, None, |_| false, objects)?;
            let weight = hop.weight;
            Some(Member { id, weight })
        });
        let members: SmallVec<[Member; 4]> = members.collect::<Option<_>>()?;
        let wanted = Object::group(self.protocol, members);
        self.find(group, wanted, there, may_move, objects)
    }

    /// The number of this owner: its own, or that of the object that is there if that is just as wanted and nobody's, or
    /// if it may be another one from now on; or a new one.
    fn find(
        &mut self,
        owner: Owner,
        wanted: Object,
        there: Option<ObjectId>,
        may_move: impl Fn(ObjectId) -> bool,
        objects: &mut Objects,
    ) -> Option<ObjectId> {
        let id = match self.ids.get(&owner) {
            Some(id) => *id,
            None => {
                let same_kind =
                    |id: &ObjectId| is_group(*id, objects) != wanted.members().is_empty();
                let there = there.filter(|id| {
                    (self.is_free(*id) && objects.actual(id) == Some(&wanted))
                        || (self.is_of_routes(*id) && same_kind(id) && may_move(*id))
                });
                let id = there.or_else(|| self.allocate(objects))?;
                self.claim(id, owner);
                id
            }
        };
        if objects.desired(&id) != Some(&wanted) {
            objects.set(id, wanted);
        }
        Some(id)
    }

    /// The group that the route is on may be one of an earlier run: its members are taken for ours.
    fn adopt_members(&mut self, id: ObjectId, hops: &[Hop], objects: &Objects) {
        let Some(actual) = objects.actual(&id).filter(|_| self.is_free(id)) else {
            return;
        };
        for hop in hops {
            let way = Hop { weight: 0, ..*hop };
            let owner = Owner::Member(way);
            let wanted = Object::single(self.protocol, way);
            let mut members = actual.members().iter().map(|member| member.id);
            let same = members.find(|id| objects.actual(id) == Some(&wanted) && self.is_free(*id));
            if let Some(id) = same.filter(|_| !self.ids.members.contains_key(&way)) {
                self.claim(id, owner);
            }
        }
    }

    /// The number belongs to somebody else: another one will be found.
    pub(crate) fn give_up(&mut self, id: ObjectId) {
        self.taken.insert(id);
        self.forget(id);
    }

    /// Others have these numbers, and no more.
    pub(crate) fn set_taken(&mut self, taken: HashSet<ObjectId>) {
        self.taken = taken;
        self.taken.retain(|id| self.numbers.contains(id));
    }

    /// Somebody else has this number.
    pub(crate) fn take(&mut self, id: ObjectId) {
        if self.numbers.contains(&id) {
            self.taken.insert(id);
        }
    }

    /// Nobody else has it any more.
    pub(crate) fn free(&mut self, id: ObjectId) {
        self.taken.remove(&id);
    }

    /// Forgets what is not needed. Returns it.
    pub(crate) fn keep(&mut self, needed: &HashSet<ObjectId>) -> Vec<ObjectId> {
        let owned = self.owners.keys().copied();
        let unneeded: Vec<ObjectId> = owned.filter(|id| !needed.contains(id)).collect();
        for id in &unneeded {
            self.forget(*id);
        }
        unneeded
    }

    fn forget(&mut self, id: ObjectId) {
        if let Some(owner) = self.owners.remove(&id) {
            self.ids.remove(&owner);
        }
    }

    fn claim(&mut self, id: ObjectId, owner: Owner) {
        self.forget(id);
        self.ids.insert(owner.clone(), id);
        self.owners.insert(id, owner);
    }

    /// Ours from an earlier run, perhaps, and not claimed yet.
    fn is_free(&self, id: ObjectId) -> bool {
        !self.owners.contains_key(&id) && !self.taken.contains(&id)
    }

    /// Ours, and no group's member.
    fn is_of_routes(&self, id: ObjectId) -> bool {
        let owner = self.owners.get(&id);
        matches!(owner, Some(Owner::Single(_) | Owner::Group(_)))
    }

    fn allocate(&mut self, objects: &Objects) -> Option<ObjectId> {
        let (first, last) = (*self.numbers.start(), *self.numbers.end());
        let after = (self.last + 1).clamp(first, last)..=last;
        let id = after.chain(first..=self.last).find(|id| {
            let known = objects.desired(id).is_some() || objects.actual(id).is_some();
            !known && self.is_free(*id)
        })?;
        self.last = id;
        Some(id)
    }
}

/// The ways out of an object, as they are, else as desired: those of its members if it is a group.
pub(crate) fn hops(id: ObjectId, objects: &Objects) -> SmallVec<[Hop; 1]> {
    let object = |id: &ObjectId| objects.actual(id).or_else(|| objects.desired(id));
    let Some(object_there) = object(&id) else {
        return SmallVec::new();
    };
    match &object_there.content {
        Content::Single(hop) => SmallVec::from_slice(&[*hop]),
        Content::Group(members) => {
            let mut hops: SmallVec<[Hop; 1]> = SmallVec::new();
            for member in members {
                if let Some(Object {
                    content: Content::Single(hop),
                    ..
                }) = object(&member.id)
                {
                    hops.push(Hop {
                        weight: member.weight,
                        ..*hop
                    });
                }
            }
            hops.sort_unstable();
            hops
        }
        Content::Other => SmallVec::new(),
    }
}

/// All of its ways out are known.
pub(crate) fn is_known(id: ObjectId, objects: &Objects) -> bool {
    let object = |id: &ObjectId| objects.actual(id).or_else(|| objects.desired(id));
    object(&id).is_some_and(|found| match &found.content {
        Content::Single(_) => true,
        Content::Group(members) => members.iter().all(|member| object(&member.id).is_some()),
        Content::Other => false,
    })
}

fn is_group(id: ObjectId, objects: &Objects) -> bool {
    let object = objects.desired(&id).or_else(|| objects.actual(&id));
    object.is_some_and(|object| !object.members().is_empty())
}

/// Our numbers begin with our protocol number, so that people see in `ip route` whose they are. The kernel's own numbers
/// and those of FRR's zebra count from 1, and FRR's per protocol from multiples of 2³² / 33 or so: whoever has a
/// number in between keeps it.
const NUMBERS: RangeInclusive<ObjectId> = 670_000_001..=679_999_999;
