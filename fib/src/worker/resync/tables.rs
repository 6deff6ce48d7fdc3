//! What a read says, and where it says nothing new.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use tracing::debug;

use super::Reading;
use crate::gate::{self, Foreign};
use crate::kernel::{
    Content, Kernel, Key, NeighbourKey, NeighbourValue, Object, ObjectId, Spec, Tables,
};
use crate::worker::Worker;
use crate::worker::events::Owner;
use crate::world::World;

/// Objects and devices that were not the same all the time.
struct Unsure<'a> {
    /// Nexthop objects that were read; `None`: there are no such things.
    read: Option<HashSet<ObjectId>>,
    /// They came, changed or went meanwhile, or are on disturbed devices.
    objects: HashSet<ObjectId>,
    disturbed: &'a HashSet<u32>,
}

impl Unsure<'_> {
    /// The kernel may have dropped the route since it was read. `None`: it has not. Inside `Some`: nor is that certain.
    fn route(&self, spec: &Spec, world: &World) -> Option<bool> {
        if let Some(id) = spec.object() {
            // One that came while the kernel was read: what is told of both is still on its way.
            let missed = self.read.as_ref().is_some_and(|read| !read.contains(&id));
            return (missed || self.objects.contains(&id)).then_some(true);
        }
        let up = |device| world.link(device).is_some_and(|link| link.up);
        let hops = spec.hops();
        if !hops.is_empty() && hops.iter().all(|hop| !up(hop.device)) {
            return Some(false);
        }
        let mut hops = hops.iter();
        let disturbed = hops.any(|hop| self.disturbed.contains(&hop.device));
        disturbed.then_some(true)
    }
}

impl<K: Kernel> Worker<K> {
    pub(super) fn believe_tables(&mut self, tables: Tables, reading: &Reading, now: Instant) {
        let unsure = self.unsure(tables.objects.as_deref(), reading);
        self.sort_objects(tables.objects, now);
        let since = std::mem::take(&mut self.dirty.lost);
        self.dirty.lost = since || reading.lost;
        self.sort_routes(tables.routes, &unsure, now);
        // The next read may tell more of it.
        self.dirty.lost = since;
        self.sort_neighbours(tables.neighbours, &reading.disturbed);
        self.dirty.gate = true;
        self.dirty.leftovers = true;
        self.dirty.status = true;
    }

    fn unsure<'a>(
        &mut self,
        read: Option<&[(ObjectId, Object)]>,
        reading: &'a Reading,
    ) -> Unsure<'a> {
        let mut objects: HashSet<ObjectId> = self.sharing.objects.kept().copied().collect();
        for (id, object) in read.unwrap_or_default() {
            if let Content::Single(hop) = &object.content
                && reading.disturbed.contains(&hop.device)
            {
                objects.insert(*id);
            }
        }
        for (id, object) in read.unwrap_or_default() {
            let mut members = object.members().iter();
            if members.any(|member| objects.contains(&member.id)) {
                objects.insert(*id);
            }
        }
        for id in &objects {
            self.sharing.objects.keep(*id);
        }
        let ids = |read: &[(ObjectId, Object)]| read.iter().map(|(id, _)| *id).collect();
        Unsure {
            read: read.map(ids),
            objects,
            disturbed: &reading.disturbed,
        }
    }

    /// Linux goes on with a dump of IPv6 routes by counting, and so passes some over when others are deleted meanwhile.
    fn keep_missed(&mut self, read: &[(Key, Spec)]) -> usize {
        let is_v6 = |key: &&Key| key.prefix.addr().is_ipv6();
        if self.doubtful_reads >= DOUBTFUL_READS_MAX || self.routes.kept().find(is_v6).is_none() {
            return 0;
        }
        let mut missed = 0;
        let there: HashSet<&Key> = read.iter().map(|(key, _)| key).filter(is_v6).collect();
        for routes in [&mut self.routes, &mut self.leftovers] {
            let believed = routes.all_actual().map(|(key, _)| key).filter(is_v6);
            let unseen = believed.filter(|key| !there.contains(key) && !routes.is_kept(key));
            let unseen: Vec<Key> = unseen.copied().collect();
            missed += unseen.len();
            for key in unseen {
                routes.keep(key);
            }
        }
        missed
    }

    /// What was left in doubt another read may tell, unless this goes on and on: then news or the next whole read will.
    fn doubt(&mut self, doubts: usize, now: Instant) {
        if doubts == 0 || self.doubtful_reads >= DOUBTFUL_READS_MAX {
            self.doubtful_reads = 0;
            return;
        }
        debug!(
            doubts,
            "routes have changed while they were read; reading again"
        );
        self.doubtful_reads += 1;
        self.read_again(now);
    }

    /// It is ours, or has the place of ours, or we may have to remove it.
    fn concerns_us(&self, key: &Key, spec: &Spec) -> bool {
        spec.protocol == self.config.protocol
            || self.routes.desired(key).is_some()
            || gate::foreign(spec, &self.world, &self.config.device_prefixes)
                != Foreign::Untouchable
    }

    /// Those that the read says nothing new of are kept as they are believed to be.
    fn sort_routes(&mut self, routes: Vec<(Key, Spec)>, unsure: &Unsure, now: Instant) {
        let mut doubts = 0;
        for (key, spec) in &routes {
            if self.routes.is_kept(key) {
                self.leftovers.keep(*key);
            } else if self.leftovers.is_kept(key) {
                self.routes.keep(*key);
            } else if let Some(doubt) = unsure.route(spec, &self.world) {
                let believed = self.routes.actual(key).or(self.leftovers.actual(key));
                // A route of others that is none of our business, as the kernel's own of a new device, is no news to us.
                let concerns_us = believed.is_some() || self.concerns_us(key, spec);
                doubts += usize::from(doubt && concerns_us && believed != Some(spec));
                self.routes.keep(*key);
                self.leftovers.keep(*key);
                if spec.protocol != self.config.protocol {
                    self.note_borrower(*key, spec);
                }
            }
        }
        doubts += self.keep_missed(&routes);
        self.doubt(doubts, now);
        let mut ours = HashMap::new();
        let mut leftovers = HashMap::new();
        let mut before_ours = HashMap::new();
        let kept = |key: &Key| self.routes.is_kept(key);
        let mut externals = std::mem::take(&mut self.repairs.externals);
        let externals_before = externals.clone();
        externals.retain(|key, _| kept(key));
        self.holders.retain(|key, _| kept(key));
        self.repairs.shadows.retain(kept);
        for (key, spec) in routes {
            if self.routes.is_kept(&key) {
                continue;
            }
            if spec.protocol == self.config.protocol {
                if let Some(protocol) = before_ours.get(&key) {
                    self.note_prepended(key, *protocol);
                }
                // Of two with one key, the first is the one that the kernel uses and would replace.
                ours.entry(key).or_insert(spec);
                continue;
            }
            self.note_shadow(key, &spec);
            self.note_borrower(key, &spec);
            match gate::foreign(&spec, &self.world, &self.config.device_prefixes) {
                class @ (Foreign::Leftover | Foreign::External | Foreign::Replaceable) => {
                    if class == Foreign::External {
                        let since = externals_before.get(&key).copied();
                        externals.insert(key, since.unwrap_or(now));
                    }
                    leftovers.entry(key).or_insert(spec);
                }
                Foreign::Untouchable => {
                    before_ours.insert(key, spec.protocol);
                    if self.routes.desired(&key).is_some() {
                        self.holders.insert(key, spec.protocol);
                    }
                }
            }
        }
        let wrong = self.routes.report_all(ours);
        self.repair_unseen(wrong, now);
        self.forget_intruders();
        self.leftovers.report_all(leftovers);
        self.find_superseded();
        self.repairs.externals = externals;
    }

    fn sort_neighbours(
        &mut self,
        read: Vec<(NeighbourKey, NeighbourValue)>,
        disturbed: &HashSet<u32>,
    ) {
        let mut workloads = HashMap::new();
        let mut vteps = HashMap::new();
        for (key, value) in read {
            if disturbed.contains(&key.device()) {
                self.neighbours.keep(key);
                self.vtep_neighbours.keep(key);
            }
            match self.neighbour_owner(&key) {
                Some(Owner::Workload) => workloads.insert(key, value),
                Some(Owner::Vtep) => vteps.insert(key, value),
                None => None,
            };
        }
        self.neighbours.report_all(workloads);
        self.vtep_neighbours.report_all(vteps);
    }
}

/// In a row: others may change something all the time.
const DOUBTFUL_READS_MAX: u32 = 3;
