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
use crate::store::{Datastore, Key, Kind, StoreError, Stored, WatchEvent, Watcher};

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
    /// Something cannot be read at the moment; its last good state stands.
    faulty: bool,
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
        !self.faulty
    }

    pub(super) fn reserved(&self) -> Vec<IpNet> {
        let all = self.reservations.values();
        all.flat_map(|stored| stored.spec.reserved_cidrs.iter().copied())
            .collect()
    }

    fn handle(&mut self, event: WatchEvent) {
        match event {
            WatchEvent::InSync => self.in_sync = true,
            WatchEvent::Faults(faults) => self.faulty = !faults.is_empty(),
            WatchEvent::Deleted(key) => match key.kind {
                Kind::IPPool => drop(self.pools.remove(&key.name)),
                Kind::IPReservation => drop(self.reservations.remove(&key.name)),
                Kind::BlockAffinity => drop(self.affinities.remove(&key.name)),
                _ => self.config = IPAMConfig::default(),
            },
            WatchEvent::Set(object) => match object.key.kind {
                Kind::IPPool => keep(&mut self.pools, &object),
                Kind::IPReservation => keep(&mut self.reservations, &object),
                Kind::BlockAffinity => keep(&mut self.affinities, &object),
                _ if object.key == Key::new(Kind::IPAMConfig, "default") => {
                    if let Ok(stored) = Stored::from_object(&object) {
                        self.config = stored.spec;
                    }
                }
                _ => {}
            },
        }
    }
}

/// What cannot be read does not replace what could; the watch tells of it.
fn keep<R: Resource>(known: &mut BTreeMap<String, Stored<R>>, object: &crate::store::Object) {
    if let Ok(stored) = Stored::from_object(object) {
        known.insert(object.key.name.clone(), stored);
    }
}
