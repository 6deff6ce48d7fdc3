//! What others did to routes and neighbours of ours, told by events or found by a read: put right, counted, and named in
//! the log. Someone who keeps undoing is not fought without pause.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use super::Worker;
use super::events::Owner;
use super::shadows::Shadows;
use crate::counters::FibCounters;
use crate::culprits::{Act, Culprits};
use crate::fights::{Fights, Round};
use crate::gate::{self, Foreign};
use crate::kernel::{Kernel, Key, NeighbourKey, NeighbourValue, Spec};
use crate::model::{Config, Gate};

#[derive(Debug)]
pub(super) struct Repairs {
    pub(super) counters: FibCounters,
    culprits: Culprits,
    route_fights: Fights<Key>,
    neighbour_fights: Fights<NeighbourKey>,
    /// Routes with our protocol number that someone else wrote and nobody desires, as long as the kernel has them.
    pub(super) intruders: HashSet<Key>,
    /// When a route was last deleted by us.
    deleted: Option<Instant>,
    pub(super) shadows: Shadows,
    /// Routes of others on devices of workloads, and when they were first seen.
    pub(super) externals: HashMap<Key, Instant>,
    /// When the first of these has been seen long enough.
    pub(super) external_due: Option<Instant>,
}

/// How a route of ours came to be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Changed,
    /// By a route of this protocol.
    Replaced(u8),
    Deleted,
}

impl Repairs {
    pub(super) fn new(config: &Config) -> Repairs {
        Repairs {
            counters: FibCounters::default(),
            culprits: Culprits::new(config.proc_root.clone()),
            route_fights: Fights::default(),
            neighbour_fights: Fights::default(),
            intruders: HashSet::new(),
            deleted: None,
            shadows: Shadows::default(),
            externals: HashMap::new(),
            external_due: None,
        }
    }

    /// When [`Worker::tend_repairs`] has something to do.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let ends = [
            self.culprits.next_sum(),
            self.route_fights.next_end(),
            self.neighbour_fights.next_end(),
            self.external_due,
        ];
        ends.into_iter().flatten().min()
    }

    /// How many routes others keep changing.
    pub(super) fn contested(&self) -> usize {
        self.route_fights.ongoing()
    }

    /// One sentence on what others keep changing, if they do.
    pub(super) fn condition(&self) -> Option<String> {
        let (key, rounds) = self.route_fights.iter().min_by_key(|(key, _)| **key)?;
        let more = match self.contested() - 1 {
            0 => String::new(),
            more => format!(" (and {more} more routes are contested)"),
        };
        Some(format!(
            "{}: changed or deleted {} times by others, the last time by {}{more}; Caracal repairs it more and more \
             slowly. Find out why that program writes routes with protocol 67 or prefixes of Caracal's pools, and stop \
             it; this clears by itself when it is quiet",
            key.prefix, rounds.count, rounds.by
        ))
    }
}

impl<K: Kernel> Worker<K> {
    pub(super) fn route_changed(
        &mut self,
        key: Key,
        spec: Spec,
        replaced: bool,
        by: u32,
        now: Instant,
    ) {
        if spec.protocol == self.config.protocol {
            if self.routes.actual(&key) == Some(&spec) {
                return;
            }
            if self.routes.desired(&key).is_none() && !self.is_wished(&key) {
                self.intruded(key, spec, by, now);
            } else {
                self.repairs.intruders.remove(&key);
                self.repair(key, Some(spec), by, Cause::Changed, now);
                self.ask_gate_about(key);
            }
            return;
        }
        if replaced && self.routes.actual(&key).is_some() {
            self.repair(key, None, by, Cause::Replaced(spec.protocol), now);
        } else if self.routes.actual(&key).is_some() {
            // Beside ours, before it or behind it: only a read tells.
            self.read_again(now);
        }
        self.note_shadow(key, &spec);
        self.note_borrower(key, &spec);
        self.foreign_changed(&key, &spec, now);
        self.leftover_appeared(key, spec, by, now);
    }

    pub(super) fn route_gone(&mut self, key: Key, spec: &Spec, by: u32, now: Instant) {
        if spec.protocol == self.config.protocol {
            match self.routes.actual(&key) {
                Some(actual) if actual == spec => {
                    self.repairs.intruders.remove(&key);
                    self.repair(key, None, by, Cause::Deleted, now);
                }
                // A part of a multipath route, or news that have been overtaken.
                Some(_) => self.read_again(now),
                None => {}
            }
            return;
        }
        self.repairs.shadows.remove(&key);
        self.forget_borrower(key, spec, now);
        if self.leftovers.actual(&key) == Some(spec) {
            self.leftovers.report(key, None);
            self.repairs.externals.remove(&key);
        }
        if self.holders.remove(&key).is_some() {
            self.routes.retry(now, |failed, _| *failed == key);
        }
        self.foreign_changed(&key, spec, now);
    }

    /// Somebody wrote a route as Calico or its plugin writes them.
    fn leftover_appeared(&mut self, key: Key, spec: Spec, by: u32, now: Instant) {
        let class = gate::foreign(&spec, &self.world, &self.config.device_prefixes);
        if class == Foreign::Untouchable {
            return;
        }
        // Where it took the place of ours, that was counted as a repair.
        if by != 0 && self.leftovers.actual(&key).is_none() && self.routes.desired(&key).is_none() {
            let Act { by, tell, .. } = self.repairs.culprits.act(by, now);
            if tell {
                let protocol = gate::protocol_name(spec.protocol);
                info!(prefix = %key.prefix, metric = key.metric, protocol, by, "someone writes routes where only Caracal should");
            }
            // It is left alone while it comes back again and again.
            self.repairs.route_fights.again(key, &by, now);
        }
        if class == Foreign::External {
            self.repairs.externals.insert(key, now);
        }
        self.leftovers.report(key, Some(spec));
        self.dirty.leftovers = true;
    }

    /// Which leftovers may be deleted now.
    pub(super) fn permit_leftovers(&mut self, now: Instant) {
        let (routes, world, config) = (&self.routes, &self.world, &self.config);
        let rule = &self.gateways.rule;
        let (repairs, wishes, settings) = (&self.repairs, &self.wishes, &self.settings);
        let may_go =
            |key: &Key, spec: &Spec| match gate::foreign(spec, world, &config.device_prefixes) {
                Foreign::Leftover => true,
                Foreign::External if settings.remove_external_routes => {
                    let serves = |name| wishes.endpoints.contains_key(name);
                    let mut devices = spec.hops().iter().map(|hop| world.name(hop.device));
                    let since = repairs.externals.get(key).copied().unwrap_or(now);
                    devices.all(|name| name.is_some_and(serves))
                        && now >= since + config.external_grace
                }
                _ => false,
            };
        self.leftovers.permit_all(|key, spec| {
            let ours = super::settings::key(settings, wishes, key.prefix);
            if ours != *key && routes.installed(&ours) {
                return true;
            }
            // A wish that waits for its way is better served by what is there.
            let wished = wishes.routes.contains_key(&key.prefix)
                || wishes.workloads.contains_key(&key.prefix);
            !wished
                && routes.desired(&ours).is_none()
                && !repairs.route_fights.is_fight(key)
                && rule.may_delete_leftover(spec, world, &config.device_prefixes)
                && may_go(key, spec)
        });
        let ends = repairs
            .externals
            .values()
            .map(|since| *since + config.external_grace);
        self.repairs.external_due = ends.filter(|end| *end > now).min();
    }

    /// Routes of the host decide where gateways are.
    fn foreign_changed(&mut self, key: &Key, spec: &Spec, now: Instant) {
        let on_workload = spec.object().is_none()
            && spec.hops().iter().all(|hop| {
                self.world
                    .name(hop.device)
                    .is_some_and(|name| self.config.device_prefixes.fit(name))
            });
        if !on_workload {
            self.gateways.ask_within_again(&key.prefix, now);
        }
    }

    /// Somebody wishes for this key, and there is no way yet, or it has not been looked for.
    fn is_wished(&self, key: &Key) -> bool {
        *key == self.key(key.prefix)
            && (self.wishes.routes.contains_key(&key.prefix)
                || self.wishes.workloads.contains_key(&key.prefix))
    }

    /// Someone changed what is at one of our keys. The route becomes pending, and so is written again: at once, unless
    /// others keep changing it.
    fn repair(&mut self, key: Key, found: Option<Spec>, by: u32, cause: Cause, now: Instant) {
        let ours = self.routes.installed(&key);
        self.believe(key, found, by, now);
        if !ours || self.routes.installed(&key) {
            return;
        }
        // The kernel itself, as at the loss of a link, has no port.
        if by == 0 {
            debug!(prefix = %key.prefix, "the kernel dropped a route of ours; writing it again");
            self.repairs.counters.repairs.link_lost += 1;
            return;
        }
        let act = self.repairs.culprits.act(by, now);
        self.counters.repairs += 1;
        let causes = &mut self.repairs.counters.repairs;
        let (counter, what) = match cause {
            Cause::Changed => (&mut causes.changed, "changed".to_owned()),
            Cause::Replaced(protocol) => (
                &mut causes.replaced,
                format!(
                    "replaced by one of protocol {}",
                    gate::protocol_name(protocol)
                ),
            ),
            Cause::Deleted if act.mass => (&mut causes.flushed, "deleted".to_owned()),
            Cause::Deleted => (&mut causes.deleted, "deleted".to_owned()),
        };
        *counter += 1;
        if act.tell {
            warn!(prefix = %key.prefix, by = act.by, "a route of ours was {what}; repairing");
        }
        let by = match cause {
            Cause::Replaced(protocol) => {
                format!("{}, protocol {}", act.by, gate::protocol_name(protocol))
            }
            Cause::Changed | Cause::Deleted => act.by,
        };
        self.wronged(key, &by, now);
    }

    /// Takes news for what they are: what we have written since may have overtaken them.
    fn believe(&mut self, key: Key, found: Option<Spec>, by: u32, now: Instant) {
        let kept = self.routes.desired(&key).is_some() || self.routes.is_withdrawn(&key);
        match found {
            // What the kernel drops of its own accord it does not have.
            None if by == 0 || !kept => self.routes.report(key, None),
            None => self.routes.doubt(key),
            Some(found) => {
                self.routes.report(key, Some(found));
                self.routes.doubt(key);
                // It may have been there before ours was deleted, and have gone with it.
                let deleted = self.repairs.deleted;
                if self.routes.desired(&key).is_none()
                    && deleted.is_some_and(|at| now < at + OVERTAKEN)
                {
                    self.read_again(now);
                }
            }
        }
    }

    /// A read shows other than what we left, and no event told.
    pub(super) fn repair_unseen(&mut self, keys: Vec<Key>, now: Instant) {
        let mut wronged = 0;
        let lost = std::mem::take(&mut self.dirty.lost);
        for key in keys {
            if self.routes.desired(&key).is_none() || self.routes.installed(&key) {
                continue;
            }
            // The kernel does not say which IPv4 routes go with an address or a link.
            if lost {
                self.repairs.counters.repairs.link_lost += 1;
                continue;
            }
            wronged += 1;
            self.counters.repairs += 1;
            self.repairs.counters.repairs.unseen += 1;
            if wronged <= UNSEEN_LINES {
                warn!(prefix = %key.prefix, "a route of ours is not as we left it; repairing");
            }
            self.wronged(key, "someone unknown", now);
        }
        if wronged > UNSEEN_LINES {
            warn!(
                routes = wronged,
                "so many routes of ours in all are not as we left them; repairing"
            );
        }
    }

    /// Repairing pauses when the same is undone again and again.
    fn wronged(&mut self, key: Key, by: &str, now: Instant) {
        let Round::After { pause, first } = self.repairs.route_fights.again(key, by, now) else {
            return;
        };
        if first {
            self.repairs.counters.fights += 1;
            warn!(prefix = %key.prefix, by, "others change this route again and again; repairing more and more slowly");
        }
        let reason = format!("contested: {by} keeps changing it");
        self.routes.hold(key, now + pause, reason);
    }

    /// The writer's name, for logs.
    pub(super) fn culprit(&mut self, by: u32, now: Instant) -> String {
        self.repairs.culprits.name(by, now)
    }

    /// A route that carries our signature, and is not ours.
    fn intruded(&mut self, key: Key, spec: Spec, by: u32, now: Instant) {
        let way = self
            .sharing
            .expanded(&spec)
            .describe(|index| self.world.name(index));
        self.believe(key, Some(spec), by, now);
        self.repairs.intruders.insert(key);
        let Act { by, tell, .. } = self.repairs.culprits.act(by, now);
        if tell {
            warn!(
                prefix = %key.prefix, metric = key.metric, way, by,
                "someone else wrote a route with our protocol number that nobody desires; it is removed as soon as \
                 nothing of ours can be meant"
            );
        }
        self.ask_gate_about(key);
        self.wronged(key, &by, now);
    }

    /// A read has told which routes there are.
    pub(super) fn forget_intruders(&mut self) {
        let routes = &self.routes;
        let intrudes = |key: &Key| routes.actual(key).is_some() && routes.desired(key).is_none();
        self.repairs.intruders.retain(intrudes);
    }

    /// A route that nobody desired is gone.
    pub(super) fn removed(&mut self, key: &Key, now: Instant) {
        self.repairs.deleted = Some(now);
        if !self.repairs.intruders.is_empty() && self.repairs.intruders.remove(key) {
            self.repairs.counters.intruders_removed += 1;
        }
    }

    pub(super) fn report_neighbour(
        &mut self,
        key: NeighbourKey,
        value: Option<NeighbourValue>,
        now: Instant,
    ) {
        let neighbours = match self.neighbour_owner(&key) {
            Some(Owner::Workload) => &mut self.neighbours,
            Some(Owner::Vtep) => &mut self.vtep_neighbours,
            None => return,
        };
        let ours = neighbours.installed(&key);
        neighbours.report(key, value);
        // What nobody desires goes now, or it would stay until the gate is asked about all.
        if value.is_some() && neighbours.desired(&key).is_none() {
            neighbours.permit(key, self.wishes.gate == Gate::Open);
        }
        if !ours || neighbours.installed(&key) {
            return;
        }
        self.repairs.counters.neighbour_repairs += 1;
        let round = self
            .repairs
            .neighbour_fights
            .again(key, "someone else", now);
        if let Round::After { pause, first } = round {
            if first {
                let neighbour = key.describe(|index| self.world.name(index));
                warn!(
                    neighbour,
                    "others change this entry again and again; repairing more and more slowly"
                );
            }
            neighbours.hold(key, now + pause, "someone else keeps changing it".into());
        }
    }

    /// Says what is over.
    pub(super) fn tend_repairs(&mut self, now: Instant) {
        self.look_for_room(now);
        if self.repairs.next_due().is_none_or(|due| now < due) {
            return;
        }
        for sum in self.repairs.culprits.sums(now) {
            warn!(
                by = sum.program,
                changes = sum.untold,
                milliseconds = sum.took.as_millis(),
                "changed or deleted so many more routes of ours; repaired"
            );
        }
        for key in self.repairs.route_fights.end_quiet(now) {
            info!(prefix = %key.prefix, "nobody contests this route any more");
        }
        self.repairs.neighbour_fights.end_quiet(now);
        self.repairs.external_due = None;
        self.dirty.leftovers = true;
        self.dirty.status = true;
    }
}

/// News that take longer are taken for lost.
const OVERTAKEN: Duration = Duration::from_secs(2);
/// Of a read.
const UNSEEN_LINES: usize = 5;
