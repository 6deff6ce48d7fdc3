//! Routes of others that take the packets of a prefix of ours: with a lower metric, or put before ours under the same key.
//! They are left alone, and named.

use std::collections::BTreeMap;

use super::Worker;
use crate::gate::{self, Foreign, RTPROT_KERNEL};
use crate::kernel::{Kernel, Key, Spec};
use crate::model::Standing;

/// Of others' routes those that would win over one of ours, if there is one: protocol by key.
#[derive(Debug, Default)]
pub(super) struct Shadows(BTreeMap<Key, u8>);

impl Shadows {
    pub(super) fn retain(&mut self, kept: impl Fn(&Key) -> bool) {
        self.0.retain(|key, _| kept(key));
    }

    pub(super) fn remove(&mut self, key: &Key) {
        self.0.remove(key);
    }

    fn insert(&mut self, key: Key, protocol: u8) {
        if self.0.len() < SHADOWS_MAX || self.0.contains_key(&key) {
            self.0.insert(key, protocol);
        }
    }
}

impl<K: Kernel> Worker<K> {
    /// Someone else has this route. It is kept in mind if its metric is lower than ours are; one that comes with an address
    /// of this node is meant.
    pub(super) fn note_shadow(&mut self, key: Key, spec: &Spec) {
        let metric = self.settings.metric(&key.prefix.addr(), Standing::Normal);
        let lower = key.metric < Key::new(key.prefix, metric).metric;
        // The others go when ours are there.
        let stays = || {
            let class = gate::foreign(spec, &self.world, &self.config.device_prefixes);
            class == Foreign::Untouchable && spec.protocol != RTPROT_KERNEL
        };
        if lower && stays() {
            self.repairs.shadows.insert(key, spec.protocol);
        }
    }

    /// A read shows this route of someone else before ours, under the same key.
    pub(super) fn note_prepended(&mut self, key: Key, protocol: u8) {
        self.repairs.shadows.insert(key, protocol);
    }

    /// One sentence on what takes packets of ours, if anything does.
    pub(super) fn shadow_condition(&self) -> Option<String> {
        let mut shadowing = self.repairs.shadows.0.iter().filter(|(key, _)| {
            let ours = self.key(key.prefix);
            key.metric <= ours.metric && self.routes.installed(&ours)
        });
        let (key, protocol) = shadowing.next()?;
        let more = match shadowing.count() {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        let ours = self.key(key.prefix).metric;
        let protocol = gate::protocol_name(*protocol);
        Some(format!(
            "{prefix}: a route of protocol {protocol} with metric {metric} comes before ours with metric {ours} and takes its \
             packets{more}. Caracal leaves it alone; unless it is meant, `ip route del {prefix} metric {metric} proto {number}`",
            prefix = key.prefix,
            metric = key.metric,
            number = protocol.split_whitespace().next().unwrap_or_default(),
        ))
    }
}

/// A node that has more such routes of others is a router, whose own daemon decides.
const SHADOWS_MAX: usize = 4096;
