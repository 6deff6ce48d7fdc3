//! What the datastore reports of WorkloadEndpoints: what was there before this run, and what others change.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use caracal_agent_api::Condition;
use caracal_datastore::{Key, Object, StoreError};
use tracing::{info, warn};

use super::reading::Asked;
use super::{Workload, Workloads, record};
use crate::plan::condition;

/// The first retry comes after this, each further one after twice the time of the one before.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_LAST: Duration = Duration::from_secs(30);

/// WorkloadEndpoints of this node that are not in force as the datastore has them.
#[derive(Debug, Default)]
pub(super) struct Unclear {
    /// Reports that were not looked into yet.
    pub(super) asked: BTreeMap<Key, Asked>,
    /// The datastore did not answer.
    unread: BTreeMap<Key, Retry>,
    /// They make no sense. What was known of them stands.
    invalid: BTreeMap<Key, Invalid>,
}

#[derive(Debug)]
struct Invalid {
    why: String,
    /// This device is another's, and they would make sense if it were not.
    wants: Option<String>,
}

#[derive(Debug)]
struct Retry {
    at: Instant,
    wait: Duration,
    fault: String,
}

impl Unclear {
    /// Whether it was there.
    fn settle(&mut self, key: &Key) -> bool {
        let unread = self.unread.remove(key).is_some();
        self.invalid.remove(key).is_some() || unread
    }

    /// What was looked into and is not in force; `None` while there are reports that were not looked into.
    pub(super) fn put_aside(&self) -> Option<Vec<Key>> {
        let keys = self.unread.keys().chain(self.invalid.keys());
        self.asked.is_empty().then(|| keys.cloned().collect())
    }

    /// A device is free: those that want it are read again at once.
    pub(super) fn freed(&mut self, device: &str, now: Instant) {
        let Unclear {
            unread, invalid, ..
        } = self;
        invalid.retain(|key, invalid| {
            let stays = invalid.wants.as_deref() != Some(device);
            if !stays {
                let retry = Retry {
                    at: now,
                    wait: RETRY_FIRST,
                    fault: invalid.why.clone(),
                };
                unread.insert(key.clone(), retry);
            }
            stays
        });
    }
}

impl Workloads {
    /// The datastore reports a WorkloadEndpoint of a node (`None`: it does not say of which). Those of other nodes are many
    /// and none of our business.
    pub(crate) fn handle_report(&self, key: &Key, node: Option<&str>) {
        let ours = match node {
            Some(node) => node == self.node || self.concerns(key),
            None => record::names_node(key, &self.node) || self.concerns(key),
        };
        if ours {
            self.ask_for([key.clone()], true);
        }
    }

    /// The datastore reports that a WorkloadEndpoint is gone.
    pub(crate) fn handle_deletion(&self, key: &Key) {
        if record::names_node(key, &self.node) || self.concerns(key) {
            self.ask_for([key.clone()], false);
        }
    }

    /// Deletions were missed: everything that is known is looked up.
    pub(crate) fn read_everything(&self) {
        let keys: Vec<Key> = {
            let state = self.state();
            let recorded = state.known.values().filter(|known| known.recorded);
            let known = recorded.map(|known| &known.key);
            let unclear = &state.unclear;
            let all = known
                .chain(unclear.unread.keys())
                .chain(unclear.invalid.keys());
            all.cloned().collect()
        };
        self.ask_for(keys, true);
    }

    /// Tries again what could not be read and is due.
    pub(crate) fn read_again(&self, now: Instant) {
        let due: Vec<Key> = {
            let state = self.state();
            let unread = state.unclear.unread.iter();
            unread
                .filter(|(_, retry)| retry.at <= now)
                .map(|(key, _)| key.clone())
                .collect()
        };
        self.ask_for(due, true);
    }

    /// When something is to be read again.
    pub(crate) fn next_read(&self) -> Option<Instant> {
        let state = self.state();
        let Unclear { unread, asked, .. } = &state.unclear;
        let waiting = unread.iter().filter(|(key, _)| !asked.contains_key(key));
        waiting.map(|(_, retry)| retry.at).min()
    }

    /// Nothing is unknown of which a route may be wished for.
    pub(crate) fn complete(&self) -> bool {
        let state = self.state();
        let known = |key: &Key| state.known.values().any(|known| known.key == *key);
        let unclear = &state.unclear;
        let unread = unclear.unread.keys();
        let asked = unclear.asked.iter().filter(|(_, asked)| asked.counts);
        let invalid = unclear.invalid.iter();
        let invalid = invalid.filter(|(_, invalid)| invalid.wants.is_none());
        let mut unknown = unread
            .chain(asked.map(|(key, _)| key))
            .chain(invalid.map(|(key, _)| key));
        unknown.all(known)
    }

    /// What an operator should know.
    pub(crate) fn conditions(&self) -> Vec<Condition> {
        let state = self.state();
        let Unclear {
            unread, invalid, ..
        } = &state.unclear;
        let invalid = invalid.values();
        let invalid = invalid.map(|invalid| condition("InvalidResource", &invalid.why));
        let unread = unread.iter().map(|(key, retry)| {
            let message = format!("{key}: cannot be read: {}; trying again", retry.fault);
            condition("WorkloadUnread", &message)
        });
        invalid.chain(unread).collect()
    }

    fn concerns(&self, key: &Key) -> bool {
        let state = self.state();
        state.known.values().any(|known| known.key == *key)
            || state.unclear.unread.contains_key(key)
            || state.unclear.invalid.contains_key(key)
    }

    /// What the store answers, and not what a report said then.
    pub(super) fn take_answer(&self, key: &Key, answer: Result<Option<Object>, StoreError>) {
        match answer {
            Ok(Some(object)) => match record::read(&object) {
                Ok((node, workload)) if node == self.node => self.take_over(workload),
                Ok(_) => self.drop_unrecorded_by_store(key),
                Err(fault) => self.name_invalid(key, fault.to_string(), None),
            },
            Ok(None) => self.drop_unrecorded_by_store(key),
            Err(fault @ StoreError::Invalid { .. }) => {
                self.name_invalid(key, fault.to_string(), None)
            }
            Err(fault) => {
                // It would be no better with the others: each would take as long to fail.
                let waiting = self.state().unclear.stop_asking();
                for key in waiting.iter().chain([key]) {
                    self.put_off(key, fault.to_string());
                }
            }
        }
    }

    fn put_off(&self, key: &Key, fault: String) {
        let mut state = self.state();
        let before = state.unclear.unread.get(key);
        let wait = before.map_or(RETRY_FIRST, |retry| RETRY_LAST.min(retry.wait * 2));
        if before.is_none_or(|retry| retry.fault != fault) {
            warn!("{key}: cannot be read: {fault}; trying again");
        }
        let at = Instant::now() + wait;
        let retry = Retry { at, wait, fault };
        state.unclear.unread.insert(key.clone(), retry);
        self.tell_changed();
    }

    fn name_invalid(&self, key: &Key, why: String, wants: Option<String>) {
        let mut state = self.state();
        let known = state.unclear.invalid.get(key);
        if known.is_none_or(|known| known.why != why) {
            warn!("{why}");
        }
        state.unclear.unread.remove(key);
        let invalid = Invalid { why, wants };
        state.unclear.invalid.insert(key.clone(), invalid);
        self.tell_changed();
    }

    fn take_over(&self, workload: Workload) {
        let mut state = self.state();
        if state.unclear.settle(&workload.key) {
            self.tell_changed();
        }
        if state.gone.contains(&workload.place()) {
            return;
        }
        let key = workload.key.clone();
        if workload.device.is_empty() {
            let why = format!("{key}: spec.interfaceName: is empty; it has no route");
            drop(state);
            return self.name_invalid(&key, why, None);
        }
        let mut others = state.known.values();
        let moved = others.find(|known| known.key == key && known.device != workload.device);
        if let Some(before) = moved.map(|known| known.device.clone()) {
            self.remove(&mut state, &before, Instant::now());
        }
        let known = state.known.get(&workload.device).cloned();
        drop(state);
        match known {
            Some(known) if !known.recorded || known == workload => {}
            Some(known) if known.key != key => {
                let (loser, winner) = match known.precedes(&workload) {
                    true => (&key, &known.key),
                    false => (&known.key, &key),
                };
                let device = &workload.device;
                let why = format!("{loser}: spec.interfaceName: {device} belongs to {winner}");
                self.name_invalid(loser, why, Some(device.clone()));
                if *winner == key {
                    self.insert(workload);
                }
            }
            _ => self.insert(workload),
        }
    }

    fn drop_unrecorded_by_store(&self, key: &Key) {
        let mut state = self.state();
        if state.unclear.settle(key) {
            self.tell_changed();
        }
        let mut recorded = state.known.values().filter(|known| known.recorded);
        let device = recorded.find(|known| known.key == *key);
        if let Some(device) = device.map(|known| known.device.clone()) {
            info!("{key}: gone from the datastore; its routes are removed");
            self.remove(&mut state, &device, Instant::now());
        }
    }
}
