//! A store in memory, for tests and simulations: several clients on one state, each with faults on demand.
//!
//! A fault comes before an operation (nothing was written) or after it (it was written and the answer was
//! lost), which are the two ways in which a crash between two writes looks to those who come later.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::hub::{Change, Hub};
use crate::resources;
use crate::store::{Datastore, Key, Kind, Metadata, Object, Revision, StoreError, Watcher};

/// A client of a store in memory.
pub struct MemoryDatastore {
    state: Arc<Mutex<State>>,
    plan: Mutex<Option<Plan>>,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<Key, Object>,
    /// By namespace and name.
    pods: BTreeMap<(String, String), Metadata>,
    counter: u64,
    writes: u64,
    hub: Hub,
}

/// Decides about each operation of a client.
pub type Plan = Box<dyn FnMut(&Operation) -> Fault + Send>;

/// What a client is about to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// The verb.
    pub verb: Verb,
    /// The kind.
    pub kind: Kind,
    /// The object's name; empty for lists and watches.
    pub name: String,
}

/// The verbs of [`Datastore`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Delete,
}

impl Verb {
    /// Whether it changes the store.
    pub fn writes(self) -> bool {
        matches!(self, Verb::Create | Verb::Update | Verb::Delete)
    }
}

/// What becomes of an operation.
#[derive(Debug, Clone)]
pub enum Fault {
    /// It happens.
    None,
    /// It does not happen and gives this error.
    Before(StoreError),
    /// It happens, and all the same gives this error.
    After(StoreError),
}

impl MemoryDatastore {
    /// An empty store.
    pub fn new() -> MemoryDatastore {
        MemoryDatastore {
            state: Arc::default(),
            plan: Mutex::default(),
        }
    }

    /// Another client of the same store, without faults.
    pub fn client(&self) -> MemoryDatastore {
        MemoryDatastore {
            state: Arc::clone(&self.state),
            plan: Mutex::default(),
        }
    }

    /// From now on this plan decides about each operation of this client.
    pub fn set_plan(&self, plan: impl FnMut(&Operation) -> Fault + Send + 'static) {
        *self.plan.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(plan));
    }

    /// This client crashes at a write, before it or after it, when so many others have gone well.
    #[cfg(test)]
    pub(crate) fn crash_at(&self, mut left: u64, after: bool) {
        let mut dead = false;
        self.set_plan(move |operation| {
            if dead {
                return Fault::Before(MemoryDatastore::down());
            }
            if !operation.verb.writes() {
                return Fault::None;
            }
            if left > 0 {
                left -= 1;
                return Fault::None;
            }
            dead = true;
            match after {
                true => Fault::After(MemoryDatastore::down()),
                false => Fault::Before(MemoryDatastore::down()),
            }
        });
    }

    /// The error of a client that has crashed or lost its network.
    pub fn down() -> StoreError {
        StoreError::Unavailable {
            what: "in memory".to_owned(),
            why: "fault on demand".to_owned(),
        }
    }

    /// How many writes of all clients have happened.
    pub fn writes(&self) -> u64 {
        self.lock().writes
    }

    /// Stores an object as a foreign writer might have left it: unchecked, whatever was there before.
    pub fn put_unchecked(&self, object: Object) {
        self.lock().put(object);
    }

    /// What a Pod says of itself from now on.
    pub fn put_pod(&self, namespace: &str, name: &str, metadata: Metadata) {
        let place = (namespace.to_owned(), name.to_owned());
        self.lock().pods.insert(place, metadata);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn decide(&self, verb: Verb, kind: Kind, name: &str) -> Fault {
        let mut plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        match plan.as_mut() {
            None => Fault::None,
            Some(plan) => plan(&Operation {
                verb,
                kind,
                name: name.to_owned(),
            }),
        }
    }

    fn run<T>(
        &self,
        verb: Verb,
        kind: Kind,
        name: &str,
        act: impl FnOnce(&mut State) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match self.decide(verb, kind, name) {
            Fault::Before(error) => Err(error),
            Fault::None => act(&mut self.lock()),
            Fault::After(error) => act(&mut self.lock()).and(Err(error)),
        }
    }
}

impl Default for MemoryDatastore {
    fn default() -> Self {
        MemoryDatastore::new()
    }
}

impl fmt::Debug for MemoryDatastore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("MemoryDatastore")
            .field("objects", &state.objects.len())
            .field("writes", &state.writes)
            .finish_non_exhaustive()
    }
}

impl State {
    fn put(&mut self, mut object: Object) -> Object {
        self.counter += 1;
        self.writes += 1;
        object.revision = Some(Revision(self.counter.to_string()));
        self.objects.insert(object.key.clone(), object.clone());
        self.hub.publish(&[Change {
            key: object.key.clone(),
            object: Some(object.clone()),
        }]);
        object
    }
}

#[async_trait]
impl Datastore for MemoryDatastore {
    async fn get(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        self.run(Verb::Get, key.kind, &key.name, |state| {
            Ok(state.objects.get(key).cloned())
        })
    }

    async fn list(&self, kind: Kind) -> Result<Vec<Object>, StoreError> {
        self.run(Verb::List, kind, "", |state| {
            let all = state.objects.values();
            Ok(all
                .filter(|object| object.key.kind == kind)
                .cloned()
                .collect())
        })
    }

    async fn pod(&self, namespace: &str, name: &str) -> Result<Option<Metadata>, StoreError> {
        let place = (namespace.to_owned(), name.to_owned());
        Ok(self.lock().pods.get(&place).cloned())
    }

    async fn create(&self, object: Object) -> Result<Object, StoreError> {
        let (kind, name) = (object.key.kind, object.key.name.clone());
        self.run(Verb::Create, kind, &name, |state| {
            resources::check_written(&object)?;
            if state.objects.contains_key(&object.key) {
                return Err(StoreError::Exists(object.key));
            }
            Ok(state.put(object))
        })
    }

    async fn update(&self, object: Object) -> Result<Object, StoreError> {
        let (kind, name) = (object.key.kind, object.key.name.clone());
        self.run(Verb::Update, kind, &name, |state| {
            resources::check_written(&object)?;
            match state.objects.get(&object.key) {
                None => Err(StoreError::NotFound(object.key)),
                Some(old) if old.revision != object.revision => {
                    Err(StoreError::Conflict(object.key))
                }
                Some(old) if old.spec == object.spec && old.metadata == object.metadata => {
                    Ok(old.clone())
                }
                Some(_) => Ok(state.put(object)),
            }
        })
    }

    async fn delete(&self, key: &Key, revision: Option<&Revision>) -> Result<(), StoreError> {
        self.run(Verb::Delete, key.kind, &key.name, |state| {
            match state.objects.get(key) {
                None => return Err(StoreError::NotFound(key.clone())),
                Some(old) if revision.is_some() && old.revision.as_ref() != revision => {
                    return Err(StoreError::Conflict(key.clone()));
                }
                Some(_) => {}
            }
            state.objects.remove(key);
            state.writes += 1;
            state.hub.publish(&[Change {
                key: key.clone(),
                object: None,
            }]);
            Ok(())
        })
    }

    async fn watch(&self, kinds: &[Kind]) -> Result<Watcher, StoreError> {
        let first = kinds.first().copied().unwrap_or(Kind::Node);
        self.run(Verb::Watch, first, "", |state| {
            Ok(state.hub.subscribe(kinds, state.objects.values(), &[]))
        })
    }
}

#[cfg(test)]
mod tests;
