//! Nexthop objects: which are desired, what others did to them, and which are not needed any more.
//!
//! ```text
//!   device ──► objects ──► groups ──► routes      what an event may concern is found this way
//! ```
//!
//! An object is written before the routes on it, and deleted when the last of them has left the kernel: that is looked
//! for now and then, since whoever deletes an object deletes its routes.

mod borrowers;
mod carriers;
mod news;
mod others;
mod sweep;
mod writing;

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use smallvec::SmallVec;

use super::{Worker, settings};
use crate::fights::Fights;
use crate::kernel::{Hop, Kernel, Key, Nexthops, Object, ObjectId, Spec, Ways};
use crate::model::Route;
use crate::nexthops::{self, Allocation, Legs, Objects};
use crate::plan::Mark;
use crate::resolve::{self, Waiting};
use crate::staging::Choice;
use borrowers::Borrowers;
use news::News;

#[derive(Debug)]
pub(super) struct Sharing {
    /// The kernel has nexthop objects, and we are to use them.
    on: bool,
    /// It refused one although it seemed to have them.
    refused: bool,
    allocation: Allocation,
    pub(super) objects: Objects,
    others: Borrowers,
    /// Needed by nothing of ours, and used by others.
    lent: HashSet<ObjectId>,
    /// Routes that could lead through these devices, if they had a carrier.
    without_carrier: HashMap<u32, HashSet<IpNet>>,
    /// Of the last batch: what waits for them is tried again.
    written: Vec<ObjectId>,
    news: News,
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

/// The objects that a route is on.
#[derive(Debug, Clone, Copy)]
pub(super) struct OnObjects {
    /// As was desired.
    pub(super) desired: Option<ObjectId>,
    /// In the kernel.
    pub(super) actual: Option<ObjectId>,
}

impl Sharing {
    pub(super) fn new(protocol: u8) -> Sharing {
        Sharing {
            on: false,
            refused: false,
            allocation: Allocation::new(protocol),
            objects: Objects::with_tags(crate::plan::object, Object::device),
            others: Borrowers::default(),
            lent: HashSet::new(),
            without_carrier: HashMap::new(),
            written: Vec::new(),
            news: News::default(),
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

    pub(super) fn legs(&self, prefix: &IpNet, route: &Route) -> Legs {
        if self.on {
            resolve::legs(prefix, route)
        } else {
            Legs::new()
        }
    }

    /// Where a route leads.
    pub(super) fn hops_of(&self, spec: &Spec) -> Ways {
        match &spec.nexthops {
            Nexthops::Own(hops) => hops.clone(),
            Nexthops::Object(id) => nexthops::hops(*id, &self.objects).as_slice().into(),
        }
    }

    /// The same, if every object on its way is known.
    pub(super) fn known_hops(&self, spec: &Spec) -> Option<Ways> {
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
        let mut objects = self.objects.tagged(device);
        objects.any(|id| self.objects.actual(id).and_then(Object::device) == Some(device))
    }
}

impl<K: Kernel> Worker<K> {
    /// What was chosen, by an object where there can be objects.
    pub(super) fn share(
        &mut self,
        key: Key,
        legs: &Legs,
        there: OnObjects,
        choice: Choice,
    ) -> Choice {
        if !self.sharing.on || legs.is_empty() {
            return choice;
        }
        match choice {
            Choice::Take(spec) => match self.shared(key, legs, there, spec) {
                Ok(spec) => Choice::Take(spec),
                Err(waiting) => Choice::Wait(waiting),
            },
            Choice::Unconfirmed(spec, why) => match self.shared(key, legs, there, spec) {
                Ok(spec) => Choice::Unconfirmed(spec, why),
                Err(waiting) => Choice::Wait(waiting),
            },
            // As it is in the kernel.
            Choice::Keep(spec, why) => match there.actual {
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
        there: OnObjects,
        spec: Spec,
    ) -> Result<Spec, Waiting> {
        // The kernel keeps no objects on a device without a carrier.
        let mut alive: SmallVec<[Hop; 4]> = SmallVec::new();
        let mut dead = None;
        for hop in spec.hops() {
            match self.world.link(hop.device) {
                Some(link) if !link.carrier => {
                    dead = Some(link.name.clone());
                    let waiting = self.sharing.without_carrier.entry(hop.device);
                    waiting.or_default().insert(key.prefix);
                }
                _ => alive.push(*hop),
            }
        }
        if let Some(name) = dead.filter(|_| alive.is_empty()) {
            return Err(Waiting::NoCarrier(name));
        }
        let there = there.desired.or(there.actual);
        let (routes, wishes, settings) = (&self.routes, &self.wishes, &self.settings);
        let sharing = &mut self.sharing;
        let others = &sharing.others;
        // Routes that the gate protects, or that are to go, have no wish or another one.
        let wishes_so = |key: &Key| {
            let route = wishes.routes.get(&key.prefix);
            *key == settings::key(settings, wishes, key.prefix)
                && !wishes.workloads.contains_key(&key.prefix)
                && route.is_some_and(|route| resolve::legs(&key.prefix, route) == *legs)
        };
        let may_move =
            |id| routes.tagged(Mark::Object(id)).all(wishes_so) && others.user(id).is_none();
        let lead = sharing
            .allocation
            .lead(legs, &alive, there, may_move, &mut sharing.objects);
        Ok(lead.map_or(spec, |id| Spec::by_object(self.config.protocol, id)))
    }
}

/// An object that is not needed stays for this long: most changes come in groups.
const LINGER: Duration = Duration::from_secs(1);
