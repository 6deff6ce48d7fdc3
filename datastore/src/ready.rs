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
use crate::store::{Datastore, Key, Kind, Object, Revision, StoreError, Stored, Watcher};
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

/// Creates ClusterInformation `default` where there is none, as Calico's node does when it starts; what there is stays
/// as it is. Without `calicoVersion`, which `calicoctl` would compare with its own. Says whether it was created.
pub async fn ensure_cluster_information(
    store: &dyn Datastore,
    cluster_type: &str,
) -> Result<bool, StoreError> {
    if store.get(&lock_key()).await?.is_some() {
        return Ok(false);
    }
    let information = ClusterInformation {
        cluster_guid: Some(uuid::random()?.replace('-', "")),
        cluster_type: Some(cluster_type.to_owned()),
        datastore_ready: Some(true),
        ..ClusterInformation::default()
    };
    let object = Stored::new("default", information).into_object();
    match store.create(object).await {
        Ok(_) => Ok(true),
        Err(StoreError::Exists(_)) => Ok(false),
        Err(fault) => Err(fault),
    }
}

#[async_trait]
impl Datastore for LockableDatastore {
    async fn get(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        self.inner.get(key).await
    }

    async fn list(&self, kind: Kind) -> Result<Vec<Object>, StoreError> {
        self.inner.list(kind).await
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

    fn election(&self) -> Option<Box<dyn Election>> {
        self.inner.election()
    }
}

#[cfg(test)]
mod tests;
