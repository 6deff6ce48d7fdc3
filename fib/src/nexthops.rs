//! Which nexthop object stands for which way, so that routes of one way share it. Pure.
//!
//! ```text
//!   10.233.2.0/26 ─┐
//!   10.233.7.0/26 ─┴─► 670000001  via 172.18.0.2 dev eth0      a leg: node 172.18.0.2, not encapsulated, IPv4
//!   198.51.100.0/24 ─► 670000003  group 670000002/670000004    several legs; members are the ways of now
//! ```
//!
//! A [`Leg`] is what the wish says, not where it leads: when a node's way changes, its object is replaced and its routes
//! stay as they are. An object keeps its number when everybody who wished for its leg wishes for another one, and is
//! found again after a restart by the routes that are on it.

use std::collections::{HashMap, HashSet};

use smallvec::SmallVec;

use crate::delta::Delta;
use crate::kernel::{Content, Hop, Member, Object, ObjectId};
use crate::resolve::Leg;

/// Who has which number.
#[derive(Debug)]
pub(crate) struct Allocation {
    protocol: u8,
    owners: HashMap<ObjectId, Owner>,
    ids: HashMap<Owner, ObjectId>,
    /// How many wishes there are for these legs.
    wanted: HashMap<Legs, usize>,
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

impl Allocation {
    pub(crate) fn new(protocol: u8) -> Allocation {
        Allocation {
            protocol,
            owners: HashMap::new(),
            ids: HashMap::new(),
            wanted: HashMap::new(),
            taken: HashSet::new(),
            last: FIRST - 1,
        }
    }

    /// One more wish leads there.
    pub(crate) fn want(&mut self, legs: &Legs) {
        *self.wanted.entry(legs.clone()).or_default() += 1;
    }

    /// One wish less.
    pub(crate) fn unwant(&mut self, legs: &Legs) {
        if let Some(count) = self.wanted.get_mut(legs) {
            *count -= 1;
            if *count == 0 {
                self.wanted.remove(legs);
            }
        }
    }

    /// The object that leads to these legs by these ways, which is desired from now on. `there` is the one that the route
    /// is on now. `None`: a way without a gateway is not shared.
    pub(crate) fn lead(
        &mut self,
        legs: &Legs,
        hops: &[Hop],
        there: Option<ObjectId>,
        objects: &mut Objects,
    ) -> Option<ObjectId> {
        if hops.is_empty() || hops.iter().any(|hop| hop.via.is_none()) {
            return None;
        }
        let group = Owner::Group(legs.clone());
        let single = Owner::Single(legs.clone());
        // A group stays one when there is one way left, so that its routes can stay on it.
        let stays_group = self.ids.contains_key(&group)
            || there.is_some_and(|id| {
                !self.ids.contains_key(&single) && is_group(id, objects) && self.is_free(id)
            });
        if let [hop] = hops
            && legs.len() == 1
            && !stays_group
        {
            let wanted = Object::single(self.protocol, *hop);
            return Some(self.find(single, wanted, there, objects));
        }
        if let Some(id) = there.filter(|_| !self.ids.contains_key(&group)) {
            self.adopt_members(id, hops, objects);
        }
        let members = hops.iter().map(|hop| {
            let way = Hop { weight: 0, ..*hop };
            let wanted = Object::single(self.protocol, way);
            let id = self.find(Owner::Member(way), wanted, None, objects);
            let weight = hop.weight;
            Member { id, weight }
        });
        let members: SmallVec<[Member; 4]> = members.collect();
        let wanted = Object::group(self.protocol, members);
        Some(self.find(group, wanted, there, objects))
    }

    /// The number of this owner: its own, or that of the object that is there if that is just as wanted and nobody's, or
    /// somebody's who is wished for no more; or a new one.
    fn find(
        &mut self,
        owner: Owner,
        wanted: Object,
        there: Option<ObjectId>,
        objects: &mut Objects,
    ) -> ObjectId {
        let id = match self.ids.get(&owner) {
            Some(id) => *id,
            None => {
                let same_kind =
                    |id: &ObjectId| is_group(*id, objects) != wanted.members().is_empty();
                let there = there.filter(|id| {
                    (self.is_free(*id) && objects.actual(id) == Some(&wanted))
                        || (self.is_left(*id) && same_kind(id))
                });
                let id = there.unwrap_or_else(|| self.allocate(objects));
                self.claim(id, owner);
                id
            }
        };
        if objects.desired(&id) != Some(&wanted) {
            objects.set(id, wanted);
        }
        id
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
            if let Some(id) = same.filter(|_| !self.ids.contains_key(&owner)) {
                self.claim(id, owner);
            }
        }
    }

    /// The number belongs to somebody else: another one will be found.
    pub(crate) fn give_up(&mut self, id: ObjectId) {
        self.taken.insert(id);
        self.forget(id);
    }

    /// Others have these numbers.
    pub(crate) fn set_taken(&mut self, taken: HashSet<ObjectId>) {
        self.taken = taken;
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

    /// Nobody wishes for it any more.
    fn is_left(&self, id: ObjectId) -> bool {
        match self.owners.get(&id) {
            Some(Owner::Single(legs) | Owner::Group(legs)) => !self.wanted.contains_key(legs),
            Some(Owner::Member(_)) | None => false,
        }
    }

    fn allocate(&mut self, objects: &Objects) -> ObjectId {
        loop {
            self.last = if self.last < LAST {
                self.last + 1
            } else {
                FIRST
            };
            let id = self.last;
            let known = objects.desired(&id).is_some() || objects.actual(&id).is_some();
            if !known && self.is_free(id) {
                return id;
            }
        }
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
const FIRST: ObjectId = 670_000_001;
const LAST: ObjectId = 679_999_999;
