//! Settings that change while everything runs, and routes that change their metric with them.
//!
//! The metric is a part of the kernel's key, so a route with another metric is another route. The new one is written
//! first, and the old one is deleted when the kernel has the new one: there is no moment without either.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ipnet::IpNet;

use super::Worker;
use super::wishes::Wishes;
use crate::kernel::{Kernel, Key};
use crate::model::Standing;
use crate::settings::Settings;

/// Routes of ours under metrics that are not theirs any more, by prefix.
#[derive(Debug, Default)]
pub(super) struct Superseded(BTreeMap<IpNet, BTreeSet<u32>>);

impl Superseded {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn insert(&mut self, key: Key) {
        self.0.entry(key.prefix).or_default().insert(key.metric);
    }

    fn keys_of(&self, prefix: IpNet) -> Vec<Key> {
        let metrics = self.0.get(&prefix).into_iter().flatten();
        metrics.map(|&metric| Key { prefix, metric }).collect()
    }
}

impl<K: Kernel> Worker<K> {
    /// Under which key the route of a prefix stands.
    pub(super) fn key(&self, prefix: IpNet) -> Key {
        key(&self.settings, &self.wishes, prefix)
    }

    pub(super) fn set_settings(&mut self, settings: Settings, now: Instant) {
        if self.settings == settings {
            return;
        }
        let prefixes: Vec<IpNet> = self
            .wishes
            .routes
            .keys()
            .chain(self.wishes.workloads.keys())
            .copied()
            .chain(self.wishes.vteps.host_prefixes())
            .collect();
        let keys: Vec<Key> = prefixes.iter().map(|prefix| self.key(*prefix)).collect();
        let before = std::mem::replace(&mut self.settings, settings);
        for key in keys {
            self.moved_from(key);
        }
        self.find_superseded();
        self.config.device_prefixes = self.settings.device_prefixes.clone();
        self.sysctls.passing = self.settings.device_prefixes.clone();
        self.config.verify_interval = self.settings.verify_interval;
        self.timing.verify = self.next_verification(now);
        if self.settings.device_prefixes != before.device_prefixes {
            // Everything is sorted by it.
            self.dirty.resync = true;
        }
        if self.settings.mtu_devices != before.mtu_devices {
            self.dirty.tunnels = true;
        }
        if self.settings.forwarding && !before.forwarding {
            for prefix in &prefixes {
                self.enable_forwarding(&prefix.addr());
            }
        }
        self.dirty
            .workloads
            .extend(self.wishes.workloads.keys().copied());
        self.dirty.leftovers = true;
        self.dirty.status = true;
    }

    /// When the kernel is read whole, if nothing happens before.
    pub(super) fn next_verification(&self, now: Instant) -> Instant {
        verification(self.settings.verify_interval, now)
    }

    /// The route of this prefix stood under this key. If that has changed, it moves.
    pub(super) fn moved_from(&mut self, before: Key) {
        if self.key(before.prefix) != before {
            self.superseded.insert(before);
            if self.routes.actual(&before).is_none() {
                // There is nothing to be kept, as far as is known.
                self.routes.unset(before, false);
            }
            match self.wishes.workloads.contains_key(&before.prefix) {
                true => self.dirty.workloads.insert(before.prefix),
                false => self.dirty.prefixes.insert(before.prefix),
            };
        }
    }

    /// Routes of ours that the kernel has under another metric than they should have, as after a restart with others.
    pub(super) fn find_superseded(&mut self) {
        let mine = self.routes.all_actual().map(|(key, _)| *key);
        let moved: Vec<Key> = mine.filter(|key| self.key(key.prefix) != *key).collect();
        for key in moved {
            self.superseded.insert(key);
        }
        // The kernel may have the new ones already: then no acknowledgement will say so.
        let prefixes: Vec<IpNet> = self.superseded.0.keys().copied().collect();
        for prefix in prefixes {
            self.delete_superseded(prefix);
        }
    }

    /// The kernel has the route of this prefix: what it replaces may go.
    pub(super) fn delete_superseded(&mut self, prefix: IpNet) {
        if self.superseded.0.is_empty() {
            return;
        }
        let key = self.key(prefix);
        if !self.routes.installed(&key) {
            return;
        }
        for old in self.superseded.keys_of(prefix) {
            if old != key {
                self.routes.discard(old);
            }
        }
        self.superseded.0.remove(&prefix);
    }

    /// Nobody wants the prefix any more, or there is no way (`withdrawn` false): its old route goes with it.
    pub(super) fn unset_superseded(&mut self, prefix: IpNet, withdrawn: bool) {
        if self.superseded.0.is_empty() {
            return;
        }
        let key = self.key(prefix);
        for old in self.superseded.keys_of(prefix) {
            if old != key {
                self.routes.unset(old, withdrawn);
                self.ask_gate_about(old);
            }
        }
        if withdrawn {
            self.superseded.0.remove(&prefix);
        }
    }
}

/// The same, of parts of the worker. A prefix is elevated as soon as one of the devices that claim it says so.
pub(super) fn key(settings: &Settings, wishes: &Wishes, prefix: IpNet) -> Key {
    let devices = wishes.workloads.get(&prefix).into_iter().flatten();
    let elevated = devices
        .filter_map(|device| wishes.endpoints.get(device))
        .any(|endpoint| endpoint.standing == Standing::Elevated);
    let standing = match elevated {
        true => Standing::Elevated,
        false => Standing::Normal,
    };
    Key::new(prefix, settings.metric(&prefix.addr(), standing))
}

/// When the kernel is read whole that was read now: seldom enough that other work is done, and at some time that a clock can
/// tell.
pub(super) fn verification(interval: Duration, now: Instant) -> Instant {
    let interval = match interval.is_zero() {
        true => NEVER,
        false => interval.clamp(VERIFY_MIN, NEVER),
    };
    now + interval
}

/// Whole reads of large tables take a good part of it.
const VERIFY_MIN: Duration = Duration::from_secs(1);
/// Ten years.
const NEVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
