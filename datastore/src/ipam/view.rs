//! What decisions about addresses need to know, followed by a watch: pools, reservations, rules, and which blocks are
//! claimed. With it an assignment reads nothing but its handle, and the walk for a free block lists nothing.
//!
//! What is seen here may be a moment old. Nothing is written because of it without a compare-and-swap on the block and
//! the affinity themselves.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;
use tokio::task::AbortHandle;

use crate::resources::{BlockAffinity, IPAMConfig, IPPool, IPReservation, Resource};
use crate::store::{Datastore, Key, Kind, Object, StoreError, Stored, WatchEvent, Watcher};

/// Changed seldom, all of them: blocks and handles, which change with each pod of the cluster, are not watched.
const KINDS: [Kind; 4] = [
    Kind::IPPool,
    Kind::IPReservation,
    Kind::IPAMConfig,
    Kind::BlockAffinity,
];

/// A view that a watch keeps.
#[derive(Debug)]
pub(super) struct View {
    state: Arc<Mutex<State>>,
    follower: AbortHandle,
}

#[derive(Debug, Default)]
pub(super) struct State {
    in_sync: bool,
    /// What the datastore cannot read at the moment; its last good state stands.
    faults: Vec<StoreError>,
    /// Objects whose newest state makes no sense, with the reason; their last good state stands.
    invalid: BTreeMap<Key, String>,
    pub(super) pools: BTreeMap<String, Stored<IPPool>>,
    pub(super) config: IPAMConfig,
    reservations: BTreeMap<String, Stored<IPReservation>>,
    pub(super) affinities: BTreeMap<String, Stored<BlockAffinity>>,
}

impl View {
    /// Begins to watch.
    pub(super) async fn follow(store: &dyn Datastore) -> Result<View, StoreError> {
        let watcher = store.watch(&KINDS).await?;
        let state = Arc::default();
        let follower = tokio::spawn(follow(watcher, Arc::clone(&state))).abort_handle();
        Ok(View { state, follower })
    }

    /// As [`State::unread_and_unreadable`], in sync or not.
    pub(super) fn unread_and_unreadable(&self) -> (Vec<String>, Vec<String>) {
        lock(&self.state).unread_and_unreadable()
    }

    /// The state, once it is complete.
    pub(super) fn state(&self) -> Option<MutexGuard<'_, State>> {
        Some(lock(&self.state)).filter(|state| state.in_sync)
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

async fn follow(mut watcher: Watcher, state: Arc<Mutex<State>>) {
    while let Some(event) = watcher.events.recv().await {
        lock(&state).handle(event);
    }
    // Nobody keeps it any more: all is read again.
    *lock(&state) = State::default();
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// Whether every pool could be read.
    pub(super) fn is_complete(&self) -> bool {
        self.faults.is_empty()
    }

    /// What cannot be followed now, and what is there and makes no sense, one sentence each.
    pub(super) fn unread_and_unreadable(&self) -> (Vec<String>, Vec<String>) {
        let (unread, mut unreadable) = StoreError::unread_and_unreadable(&self.faults);
        unreadable.extend(self.invalid.values().cloned());
        (unread, unreadable)
    }

    pub(super) fn reserved(&self) -> Vec<IpNet> {
        let all = self.reservations.values();
        all.flat_map(|stored| stored.spec.reserved_cidrs.iter().copied())
            .collect()
    }

    pub(super) fn handle(&mut self, event: WatchEvent) {
        match event {
            WatchEvent::InSync => self.in_sync = true,
            WatchEvent::Faults(faults) => self.faults = faults,
            WatchEvent::Deleted(key) => {
                self.invalid.remove(&key);
                match key.kind {
                    Kind::IPPool => drop(self.pools.remove(&key.name)),
                    Kind::IPReservation => drop(self.reservations.remove(&key.name)),
                    Kind::BlockAffinity => drop(self.affinities.remove(&key.name)),
                    _ if key == config_key() => self.config = IPAMConfig::default(),
                    _ => {}
                }
            }
            WatchEvent::Set(object) => match self.set(&object) {
                Ok(()) => drop(self.invalid.remove(&object.key)),
                Err(fault) => drop(self.invalid.insert(object.key, fault.to_string())),
            },
        }
    }

    /// What cannot be read does not replace what could.
    fn set(&mut self, object: &Object) -> Result<(), StoreError> {
        match object.key.kind {
            Kind::IPPool => keep(&mut self.pools, object),
            Kind::IPReservation => keep(&mut self.reservations, object),
            Kind::BlockAffinity => keep(&mut self.affinities, object),
            _ if object.key == config_key() => {
                self.config = Stored::from_object(object)?.spec;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn keep<R: Resource>(
    known: &mut BTreeMap<String, Stored<R>>,
    object: &Object,
) -> Result<(), StoreError> {
    let stored = Stored::from_object(object)?;
    known.insert(object.key.name.clone(), stored);
    Ok(())
}

fn config_key() -> Key {
    Key::new(Kind::IPAMConfig, "default")
}
