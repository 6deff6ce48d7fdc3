//! What every backend can do: get, list, watch, create, update and delete by revision.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::resources::Resource;

/// The kinds of this datastore, by their Calico names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Kind {
    Node,
    IPPool,
    BGPConfiguration,
    BGPPeer,
    IPAMBlock,
    BlockAffinity,
    IPAMHandle,
    IPAMConfig,
    WorkloadEndpoint,
}

/// Names one object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace, for kinds that have one (WorkloadEndpoint).
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

/// An opaque version of one object: equal means unchanged.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Revision(pub String);

/// `metadata` of a manifest. Unknown fields survive a read-modify-write.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// The object's name.
    #[serde(default)]
    pub name: String,
    /// Its namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

/// An object as stored, its spec not yet typed.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// Which.
    pub key: Key,
    /// Metadata, name and namespace included.
    pub metadata: Metadata,
    /// `spec` as it stands.
    pub spec: Value,
    /// `None` on an object that was not stored yet.
    pub revision: Option<Revision>,
}

/// What a datastore cannot do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Created already.
    #[error("{0:?} exists already")]
    Exists(Key),
    /// Not there.
    #[error("{0:?} does not exist")]
    NotFound(Key),
    /// Changed by someone else since it was read.
    #[error("{0:?} was changed by someone else meanwhile")]
    Conflict(Key),
    /// Its content is wrong: which field, which value, and for files which line.
    #[error("{what}: {why}")]
    Invalid {
        /// File with line, or key.
        what: String,
        /// The fault.
        why: String,
    },
    /// The datastore cannot be reached or used.
    #[error("datastore {what}: {why}")]
    Unavailable {
        /// Path or address.
        what: String,
        /// Why.
        why: String,
    },
}

/// News from a watch.
#[derive(Debug, Clone)]
pub enum WatchEvent {
    /// New or changed.
    Set(Object),
    /// Gone.
    Deleted(Key),
    /// Everything that existed when the watch began has been delivered. Comes once, and again after a
    /// resynchronisation (in which deletions that were missed have been delivered).
    InSync,
    /// Something in the store cannot be read; the last good state of everything else stands. An empty
    /// list: all is well again.
    Faults(Vec<StoreError>),
}

/// A running watch. Ends when dropped.
pub struct Watcher {
    /// In order. `None`: the datastore is closed.
    pub events: tokio::sync::mpsc::Receiver<WatchEvent>,
}

/// A place where the cluster's resources are kept.
#[async_trait]
pub trait Datastore: Send + Sync + std::fmt::Debug {
    /// One object.
    async fn get(&self, key: &Key) -> Result<Option<Object>, StoreError>;
    /// All of a kind, in order of key.
    async fn list(&self, kind: Kind) -> Result<Vec<Object>, StoreError>;
    /// Creates; `Exists` if there is one.
    async fn create(&self, object: Object) -> Result<Object, StoreError>;
    /// Replaces the object of that revision; `Conflict` if it is another by now, `NotFound` if it is gone.
    async fn update(&self, object: Object) -> Result<Object, StoreError>;
    /// Deletes; with a revision only that one (`Conflict` otherwise).
    async fn delete(&self, key: &Key, revision: Option<&Revision>) -> Result<(), StoreError>;
    /// Watches kinds: a complete set, in sync, changes.
    async fn watch(&self, kinds: &[Kind]) -> Result<Watcher, StoreError>;
}

/// Typed access to any datastore.
#[derive(Debug, Clone)]
pub struct TypedStore(pub Arc<dyn Datastore>);

/// A typed object.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored<R> {
    /// Metadata.
    pub metadata: Metadata,
    /// The resource itself.
    pub spec: R,
    /// As read.
    pub revision: Option<Revision>,
}

impl TypedStore {
    /// One resource.
    pub async fn get<R: Resource>(&self, name: &str) -> Result<Option<Stored<R>>, StoreError> {
        todo!()
    }
    /// All of a kind that can be read; those that cannot are in the second list.
    pub async fn list<R: Resource>(&self) -> Result<(Vec<Stored<R>>, Vec<StoreError>), StoreError> {
        todo!()
    }
    /// Creates.
    pub async fn create<R: Resource>(&self, stored: Stored<R>) -> Result<Stored<R>, StoreError> {
        todo!()
    }
    /// Replaces by revision.
    pub async fn update<R: Resource>(&self, stored: Stored<R>) -> Result<Stored<R>, StoreError> {
        todo!()
    }
}

impl<R: Resource> Stored<R> {
    /// Reads and validates an untyped object; the error names the field.
    pub fn from_object(object: &Object) -> Result<Stored<R>, StoreError> {
        todo!()
    }
    /// The other way.
    pub fn into_object(self) -> Object {
        todo!()
    }
}
