//! Nexthop objects: which are desired, what others did to them, and which are not needed any more.
//!
//! An object is written before the routes on it, and deleted when the last of them has left the kernel: that is looked
//! for now and then, and not kept count of, since whoever deletes an object deletes its routes.

mod others;
mod sweep;
mod writing;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use smallvec::SmallVec;

use super::Worker;
use crate::fights::Fights;
use crate::kernel::{Content, Hop, Kernel, Key, Nexthops, Object, ObjectId, Spec};
use crate::model::Route;
use crate::nexthops::{self, Allocation, Legs, Objects};
use crate::resolve::{self, Waiting};
use crate::staging::Choice;

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

    /// The same, if every object on its way is known.
    pub(super) fn known_hops(&self, spec: &Spec) -> Option<Hops> {
        match spec.object() {
            Some(id) if !nexthops::is_known(id, &self.objects) => None,
            _ => Some(self.hops_of(spec)),
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
}

fn is_on(object: &Object, device: u32) -> bool {
    matches!(&object.content, Content::Single(hop) if hop.device == device)
}

/// An object that is not needed stays for this long: most changes come in groups.
const LINGER: Duration = Duration::from_secs(1);
