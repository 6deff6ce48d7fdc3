//! The lock of the whole datastore: while `datastoreReady` of ClusterInformation `default` is false (a migration or an
//! upgrade is under way, `calicoctl datastore migrate lock`), nobody may write, and everybody may read.
//!
//! Calico asks before each ADD of its plugin. Here every write is asked about, at no cost: who has a watch says what
//! it tells.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;

use crate::lead::Election;
use crate::resources::ClusterInformation;
use crate::store::{
    Datastore, Key, Kind, Metadata, Object, Revision, StoreError, Stored, Visit, Watcher,
};
use crate::uuid;

/// A datastore that refuses writes while it is locked, with [`StoreError::Locked`]. The lock itself may be written.
#[derive(Debug)]
pub struct LockableDatastore {
    inner: Arc<dyn Datastore>,
    locked: AtomicBool,
}

impl LockableDatastore {
    /// Begins with what the datastore says now. Later [`LockableDatastore::set_locked`] has to be told.
    pub async fn new(inner: Arc<dyn Datastore>) -> Result<LockableDatastore, StoreError> {
        let object = inner.get(&lock_key()).await?;
        Ok(LockableDatastore {
            inner,
            locked: AtomicBool::new(object.is_some_and(|object| is_locked(&object))),
        })
    }

    /// What a watch has told of the lock.
    pub fn set_locked(&self, locked: bool) {
        self.locked.store(locked, Ordering::Release);
    }

    /// Whether writes are refused.
    pub fn is_locked(&self) -> bool {
        self.locked.load(Ordering::Acquire)
    }

    fn check(&self, key: &Key) -> Result<(), StoreError> {
        match self.is_locked() && key.kind != Kind::ClusterInformation {
            true => Err(StoreError::Locked(key.clone())),
            false => Ok(()),
        }
    }
}

/// The object that says whether the datastore is locked.
pub fn lock_key() -> Key {
    Key::new(Kind::ClusterInformation, "default")
}

/// Whether this is that object, and says that the datastore is locked. Field by field: what else makes no sense in it does
/// not matter.
pub fn is_locked(object: &Object) -> bool {
    object.key == lock_key()
        && object.spec.get("datastoreReady") == Some(&serde_json::Value::Bool(false))
}

/// What became of ClusterInformation `default`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Introduced {
    /// There was none.
    Made,
    /// It did not name all of what the cluster is made of, or lacked what it always has.
    Completed,
    /// It was complete already, or the datastore is locked.
    AsItWas,
}

/// Creates ClusterInformation `default` where there is none, and adds to `clusterType` what is not in it yet, as Calico's
/// node does when it starts. Without `calicoVersion`, which `calicoctl` would compare with its own.
pub async fn ensure_cluster_information(
    store: &dyn Datastore,
    cluster_types: &[&str],
) -> Result<Introduced, StoreError> {
    let mut tries = 0;
    loop {
        tries += 1;
        match introduce(store, cluster_types).await {
            // The agents of other nodes do the same.
            Err(StoreError::Exists(_) | StoreError::Conflict(_) | StoreError::NotFound(_))
                if tries < INTRODUCTION_TRIES => {}
            done => return done,
        }
    }
}

async fn introduce(
    store: &dyn Datastore,
    cluster_types: &[&str],
) -> Result<Introduced, StoreError> {
    let Some(object) = store.get(&lock_key()).await? else {
        let mut information = ClusterInformation::default();
        complete(&mut information, cluster_types)?;
        let made = store.create(Stored::new("default", information).into_object());
        return made.await.map(|_| Introduced::Made);
    };
    if is_locked(&object) {
        return Ok(Introduced::AsItWas);
    }
    let mut stored = Stored::<ClusterInformation>::from_object(&object)?;
    let before = stored.spec.clone();
    complete(&mut stored.spec, cluster_types)?;
    if stored.spec == before {
        return Ok(Introduced::AsItWas);
    }
    let written = store.update(stored.into_object()).await;
    written.map(|_| Introduced::Completed)
}

/// Adds what is missing; what is there stays as it is.
fn complete(information: &mut ClusterInformation, types: &[&str]) -> Result<(), StoreError> {
    if information
        .cluster_guid
        .as_deref()
        .is_none_or(str::is_empty)
    {
        information.cluster_guid = Some(uuid::random()?.replace('-', ""));
    }
    information.datastore_ready.get_or_insert(true);
    let known = information.cluster_type.take().unwrap_or_default();
    let mut all: Vec<&str> = known.split(',').filter(|one| !one.is_empty()).collect();
    for one in types {
        if !all.iter().any(|known| known.trim() == *one) {
            all.push(one);
        }
    }
    information.cluster_type = Some(all.join(","));
    Ok(())
}

const INTRODUCTION_TRIES: usize = 10;

#[async_trait]
impl Datastore for LockableDatastore {
    async fn get(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        self.inner.get(key).await
    }

    async fn list(&self, kind: Kind) -> Result<Vec<Object>, StoreError> {
        self.inner.list(kind).await
    }

    async fn list_here(&self, kind: Kind) -> Result<Vec<Object>, StoreError> {
        self.inner.list_here(kind).await
    }

    async fn pod(&self, namespace: &str, name: &str) -> Result<Option<Metadata>, StoreError> {
        self.inner.pod(namespace, name).await
    }

    async fn create(&self, object: Object) -> Result<Object, StoreError> {
        self.check(&object.key)?;
        self.inner.create(object).await
    }

    async fn update(&self, object: Object) -> Result<Object, StoreError> {
        self.check(&object.key)?;
        self.inner.update(object).await
    }

    async fn delete(&self, key: &Key, revision: Option<&Revision>) -> Result<(), StoreError> {
        self.check(key)?;
        self.inner.delete(key, revision).await
    }

    async fn watch(&self, kinds: &[Kind]) -> Result<Watcher, StoreError> {
        self.inner.watch(kinds).await
    }

    async fn watch_all(&self, kinds: &[Kind]) -> Result<Watcher, StoreError> {
        self.inner.watch_all(kinds).await
    }

    async fn pass_over(&self, kind: Kind, visit: Visit<'_>) -> Result<(), StoreError> {
        self.inner.pass_over(kind, visit).await
    }

    fn election(&self) -> Option<Box<dyn Election>> {
        self.inner.election()
    }
}

#[cfg(test)]
mod tests;
