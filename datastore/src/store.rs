//! What every backend can do: get, list, watch, create, update and delete by revision.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use crate::kind::Kind;
use crate::lead::Election;
use crate::resources::Resource;

/// Names one object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace, for kinds that have one.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl Key {
    /// Names an object of a kind without namespaces.
    pub fn new(kind: Kind, name: impl Into<String>) -> Key {
        Key {
            kind,
            namespace: None,
            name: name.into(),
        }
    }

    /// Names an object in a namespace.
    pub fn in_namespace(kind: Kind, namespace: impl Into<String>, name: impl Into<String>) -> Key {
        Key {
            kind,
            namespace: Some(namespace.into()),
            name: name.into(),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            None => write!(f, "{} {}", self.kind, self.name),
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name),
        }
    }
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
#[derive(Clone, PartialEq)]
pub struct Object {
    /// Which.
    pub key: Key,
    /// Metadata, name and namespace included.
    pub metadata: Metadata,
    /// `spec` as it stands; of a kind that [is whole](Kind::is_whole), everything beside the metadata.
    pub spec: Value,
    /// `None` on an object that was not stored yet.
    pub revision: Option<Revision>,
}

impl fmt::Debug for Object {
    /// Without what a Secret holds.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut object = formatter.debug_struct("Object");
        object.field("key", &self.key);
        if self.key.kind != Kind::Secret {
            // Metadata may repeat it, in the annotation of `kubectl apply`.
            object.field("metadata", &self.metadata);
            object.field("spec", &self.spec);
        }
        object.field("revision", &self.revision).finish()
    }
}

/// What a datastore cannot do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Created already.
    #[error("{0} exists already")]
    Exists(Key),
    /// Not there.
    #[error("{0} does not exist")]
    NotFound(Key),
    /// Changed by someone else since it was read.
    #[error("{0} was changed by someone else meanwhile")]
    Conflict(Key),
    /// Its content is wrong: which field, which value, and for files which line.
    #[error("{what}: {why}")]
    Invalid {
        /// File with line, or key.
        what: String,
        /// The fault.
        why: String,
    },
    /// The whole datastore is locked; see [`crate::ready`]. In the words that users of Calico know.
    #[error(
        "{0} cannot be written: Calico is currently not ready to process requests: datastoreReady of \
         ClusterInformation default is false, as it is during a migration or an upgrade of the datastore"
    )]
    Locked(Key),
    /// The datastore cannot be reached or used.
    #[error("datastore {what}: {why}")]
    Unavailable {
        /// Path or address.
        what: String,
        /// Why.
        why: String,
    },
}

impl StoreError {
    /// What cannot be read now, and what is there and makes no sense, one sentence each.
    pub fn unread_and_unreadable(faults: &[StoreError]) -> (Vec<String>, Vec<String>) {
        let (mut unread, mut unreadable) = (Vec::new(), Vec::new());
        for fault in faults {
            match fault {
                StoreError::Unavailable { .. } => unread.push(fault.to_string()),
                _ => unreadable.push(fault.to_string()),
            }
        }
        (unread, unreadable)
    }

    /// What is wrong with this object.
    pub(crate) fn invalid(key: &Key, why: String) -> StoreError {
        StoreError::Invalid {
            what: key.to_string(),
            why,
        }
    }
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
#[derive(Debug)]
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
    /// As [`Datastore::watch`], of the whole cluster: a backend may tell of some kinds only what concerns this node
    /// otherwise. Of a workload it may tell no more than who it is and which addresses it has.
    async fn watch_all(&self, kinds: &[Kind]) -> Result<Watcher, StoreError> {
        self.watch(kinds).await
    }
    /// As [`Datastore::list`]; of the kinds of which [`Datastore::watch`] tells only what concerns this node, no more than that.
    async fn list_here(&self, kind: Kind) -> Result<Vec<Object>, StoreError> {
        self.list(kind).await
    }
    /// The metadata of a Pod as they are now, asked for anew each time: people say there what its network shall be.
    /// `None`: this store has no Pods. That this one does not exist is `Invalid`.
    async fn pod(&self, _namespace: &str, _name: &str) -> Result<Option<Metadata>, StoreError> {
        Ok(None)
    }
    /// Passes over all of a kind in the whole cluster, as it is now, and over what cannot be read. Some may be passed
    /// twice. A backend need not hold more than a part of it at once.
    async fn pass_over(&self, kind: Kind, visit: Visit<'_>) -> Result<(), StoreError> {
        // A list says nothing of what cannot be read, and a watch may be a moment old.
        let Watcher { mut events } = self.watch_all(&[kind]).await?;
        loop {
            match events.recv().await {
                Some(WatchEvent::InSync) => break,
                Some(WatchEvent::Set(object)) => visit(Ok(object)),
                Some(WatchEvent::Deleted(_)) => {}
                Some(WatchEvent::Faults(faults)) => {
                    faults.into_iter().for_each(|fault| visit(Err(fault)));
                }
                None => {
                    return Err(StoreError::Unavailable {
                        what: "watch".to_owned(),
                        why: "it ended before everything was told".to_owned(),
                    });
                }
            }
        }
        for object in self.list(kind).await? {
            visit(Ok(object));
        }
        Ok(())
    }
    /// Where leaders are elected among those who use this store, if it has a way.
    fn election(&self) -> Option<Box<dyn Election>> {
        None
    }
}

/// Takes objects, and what is wrong with those that cannot be read.
pub type Visit<'a> = &'a mut (dyn FnMut(Result<Object, StoreError>) + Send);

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
    /// One resource of a kind without namespaces.
    pub async fn get<R: Resource>(&self, name: &str) -> Result<Option<Stored<R>>, StoreError> {
        self.read(&Key::new(R::KIND, name)).await
    }

    /// One resource in a namespace.
    pub async fn get_in<R: Resource>(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Stored<R>>, StoreError> {
        self.read(&Key::in_namespace(R::KIND, namespace, name))
            .await
    }

    async fn read<R: Resource>(&self, key: &Key) -> Result<Option<Stored<R>>, StoreError> {
        let object = self.0.get(key).await?;
        object.as_ref().map(Stored::from_object).transpose()
    }

    /// All of a kind that can be read; those that cannot are in the second list.
    pub async fn list<R: Resource>(&self) -> Result<(Vec<Stored<R>>, Vec<StoreError>), StoreError> {
        let mut good = Vec::new();
        let mut faults = Vec::new();
        for object in self.0.list(R::KIND).await? {
            match Stored::from_object(&object) {
                Ok(stored) => good.push(stored),
                Err(fault) => faults.push(fault),
            }
        }
        Ok((good, faults))
    }

    /// Creates. What is invalid is refused here and never reaches the store.
    pub async fn create<R: Resource>(&self, stored: Stored<R>) -> Result<Stored<R>, StoreError> {
        let object = stored.checked()?;
        self.0
            .create(object)
            .await
            .and_then(|object| Stored::from_object(&object))
    }

    /// Replaces by revision. What is invalid is refused here and never reaches the store.
    pub async fn update<R: Resource>(&self, stored: Stored<R>) -> Result<Stored<R>, StoreError> {
        let object = stored.checked()?;
        self.0
            .update(object)
            .await
            .and_then(|object| Stored::from_object(&object))
    }

    /// Deletes that revision of a resource, or whatever is there when it has none.
    pub async fn delete<R: Resource>(&self, stored: &Stored<R>) -> Result<(), StoreError> {
        self.0.delete(&stored.key(), stored.revision.as_ref()).await
    }
}

impl<R: Resource> Stored<R> {
    /// One that was not stored yet.
    pub fn new(name: impl Into<String>, spec: R) -> Stored<R> {
        Stored {
            metadata: Metadata {
                name: name.into(),
                ..Metadata::default()
            },
            spec,
            revision: None,
        }
    }

    /// The same in a namespace.
    pub fn new_in(namespace: impl Into<String>, name: impl Into<String>, spec: R) -> Stored<R> {
        let mut stored = Stored::new(name, spec);
        stored.metadata.namespace = Some(namespace.into());
        stored
    }

    /// Its key.
    pub fn key(&self) -> Key {
        Key {
            kind: R::KIND,
            namespace: self.metadata.namespace.clone(),
            name: self.metadata.name.clone(),
        }
    }

    /// Reads and validates an untyped object; the error names the field.
    pub fn from_object(object: &Object) -> Result<Stored<R>, StoreError> {
        let invalid = |why: String| StoreError::Invalid {
            what: object.key.to_string(),
            why,
        };
        let spec = Self::read_spec(object).map_err(invalid)?;
        let faults = spec.validate(&object.metadata);
        if !faults.is_empty() {
            return Err(invalid(faults.join("; ")));
        }
        Ok(Stored {
            metadata: object.metadata.clone(),
            spec,
            revision: object.revision.clone(),
        })
    }

    /// Only the shape; the fault begins with the field's path.
    pub(crate) fn read_spec(object: &Object) -> Result<R, String> {
        if object.key.kind != R::KIND {
            return Err(format!("kind: {} is not {}", object.key.kind, R::KIND));
        }
        let spec = match &object.spec {
            // `spec:` with nothing below it.
            Value::Null => &Value::Object(serde_json::Map::new()),
            spec => spec,
        };
        serde_path_to_error::deserialize(spec).map_err(|error| {
            let path = error.path().to_string();
            let why = error.into_inner();
            match (R::KIND.fields_path(), path.as_str()) {
                ("", path) => format!("{path}: {why}"),
                (spec, ".") => format!("{spec}: {why}"),
                (spec, path) => format!("{spec}.{path}: {why}"),
            }
        })
    }

    fn checked(self) -> Result<Object, StoreError> {
        let faults = self.spec.validate(&self.metadata);
        if !faults.is_empty() {
            return Err(StoreError::Invalid {
                what: self.key().to_string(),
                why: faults.join("; "),
            });
        }
        self.try_into_object()
    }

    fn try_into_object(self) -> Result<Object, StoreError> {
        let key = self.key();
        match serde_json::to_value(&self.spec) {
            Ok(spec) => Ok(Object {
                key,
                metadata: self.metadata,
                spec,
                revision: self.revision,
            }),
            Err(error) => Err(StoreError::Invalid {
                what: key.to_string(),
                why: error.to_string(),
            }),
        }
    }

    /// The other way.
    pub fn into_object(self) -> Object {
        let (key, metadata, revision) = (self.key(), self.metadata.clone(), self.revision.clone());
        // Specs are structs with string keys, which always have a JSON form; if one ever had none, the
        // null in its place is refused by every reader and writer.
        self.try_into_object().unwrap_or(Object {
            key,
            metadata,
            spec: Value::Null,
            revision,
        })
    }
}

#[cfg(test)]
mod tests;
