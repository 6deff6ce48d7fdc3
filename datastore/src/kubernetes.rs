//! Kubernetes, in Calico's form, so that Calico's own components, `calicoctl` and `kubectl` work on the same data.
//!
//! ```text
//!   form      our objects ⇄ custom resources, annotations of Nodes and Pods        (pure)
//!   config    kubeconfig, or the service account of a pod; one HTTP/2 connection
//!   client    what is asked: one object, lists in pages, writes, watches
//!   server    what this API server serves: which group, which kinds
//!   follower  one task a watch and one in it for each kind: list, watch from there; on a loss resume, on 410 list anew
//! ```
//!
//! The revision of an object is its resourceVersion with its UID, and every write and every deletion has both as
//! preconditions. Objects of IPAM are deleted in two steps, as Calico does it: they are marked, from which moment they
//! are gone for all readers, and then deleted; a reader who finds one that is marked carries on with the second step.
//!
//! *Invariant:* an object that cannot be read is a fault with its name; no other object is affected.

mod client;
mod config;
mod follower;
mod form;
mod leases;
mod server;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::lead::Election;
use crate::lead::kubernetes::KubernetesElection;
use crate::resources;
use crate::store::{Datastore, Key, Kind, Metadata, Object, Revision, StoreError, Visit, Watcher};
use client::{Collection, Failure};
use config::Pulse;
pub use config::{CalicoGroup, KubernetesConfig};
use follower::Follower;
use form::{Deletion, Version, Write};
use leases::Leases;
use server::Server;

/// The `kubernetes` backend.
pub struct KubernetesDatastore {
    server: Arc<Server>,
    /// One a watch; they end with the datastore.
    followers: Mutex<JoinSet<()>>,
}

/// What is at the place of a key.
struct Found {
    path: String,
    /// As the API server has it.
    value: Value,
    reading: form::Reading,
}

impl KubernetesDatastore {
    /// Connects, and looks what the API server serves, so that what is wrong with address, certificates or token is known
    /// (`Unavailable` names the API server and the reason; `Invalid` a file that makes no sense).
    pub async fn connect(config: &KubernetesConfig) -> Result<KubernetesDatastore, StoreError> {
        Self::connect_with(config, Pulse::default()).await
    }

    async fn connect_with(
        config: &KubernetesConfig,
        pulse: Pulse,
    ) -> Result<KubernetesDatastore, StoreError> {
        Ok(KubernetesDatastore::on(
            Server::connect(config, pulse).await?,
        ))
    }

    fn on(server: Server) -> KubernetesDatastore {
        KubernetesDatastore {
            server: Arc::new(server),
            followers: Mutex::default(),
        }
    }

    async fn follow(&self, server: &Arc<Server>, kinds: &[Kind]) -> Result<Watcher, StoreError> {
        let (follower, watcher, gone) = Follower::begin(server, kinds).await?;
        let mut followers = self.followers();
        while followers.try_join_next().is_some() {}
        followers.spawn(follower.run(gone));
        Ok(watcher)
    }

    /// The path of an object; `None`: the API server has no place for it.
    fn path(&self, key: &Key) -> Result<Option<String>, StoreError> {
        let form = self.server.form();
        let name = form.name(key)?;
        Ok(form.place(key.kind).map(|place| place.path_of(&name)))
    }

    /// What is there under a key, also when it is nothing to us. What somebody has begun to delete is deleted, and not there.
    async fn find(&self, key: &Key) -> Result<Option<Found>, StoreError> {
        // Nothing can have such a name.
        let Ok(Some(path)) = self.path(key) else {
            return Ok(None);
        };
        let value = self.server.client().get(&path).await;
        let Some(value) = value.map_err(|failure| self.error(key, failure))? else {
            return Ok(None);
        };
        let reading = self.server.form().read(key.kind, value.clone());
        if reading.marked {
            let _ = self.finish(key, &path, &value).await;
            return Ok(None);
        }
        // Names of Kubernetes have small letters only: this one may be that of another.
        if reading.key.as_ref().is_some_and(|found| found != key) {
            return Ok(None);
        }
        Ok(Some(Found {
            path,
            value,
            reading,
        }))
    }

    /// The second step of a deletion. For all readers the object is gone already; if this fails, the next of them does it.
    async fn finish(&self, key: &Key, path: &str, marked: &Value) -> Result<(), Failure> {
        let Some(version) = Version::of(marked) else {
            return Ok(());
        };
        let options = version.delete_options();
        let deleted = self.server.client().delete(path, &options).await;
        match &deleted {
            Ok(_) => {}
            // Nor will the next of us.
            Err(Failure::Forbidden(why)) => {
                tracing::warn!(%key, why, "is marked as deleted, and cannot be deleted");
            }
            Err(failure) => {
                tracing::debug!(%key, ?failure, "is marked as deleted, and not deleted yet");
            }
        }
        deleted.map(drop)
    }

    /// What is in the way of a creation may be one that somebody has begun to delete: that is finished. False: it is another.
    async fn clear_the_way(&self, key: &Key) -> Result<bool, StoreError> {
        let Ok(Some(path)) = self.path(key) else {
            return Ok(false);
        };
        let value = self.server.client().get(&path).await;
        let Some(value) = value.map_err(|failure| self.error(key, failure))? else {
            return Ok(true);
        };
        if !self.server.form().read(key.kind, value.clone()).marked {
            return Ok(false);
        }
        match self.finish(key, &path, &value).await {
            Err(failure @ Failure::Forbidden(_)) => Err(self.error(key, failure)),
            _ => Ok(true),
        }
    }

    async fn create_once(&self, object: &Object) -> Result<Object, StoreError> {
        let key = &object.key;
        let form = self.server.form();
        let Some(place) = form.place(key.kind) else {
            return Err(StoreError::invalid(key, self.server.not_served(key.kind)));
        };
        let name = form.name(key)?;
        let client = self.server.client();
        if is_part(key.kind) {
            let Some(found) = self.find(key).await? else {
                let why = format!("there is no {} of that name in Kubernetes", place.kind);
                return Err(StoreError::invalid(key, why));
            };
            if !matches!(found.reading.object, Ok(None)) {
                return Err(StoreError::Exists(key.clone()));
            }
            let write = form.write(object, Some(&found.value))?;
            let written = self.carry_out(object, &found.path, write).await?;
            return written.ok_or_else(|| StoreError::Conflict(key.clone()));
        }
        match form.write(object, None)? {
            Write::Create { value, status } => {
                let path = place.path(name.namespace.as_deref());
                let made = client
                    .post(&path, &value)
                    .await
                    .map_err(|failure| match failure {
                        Failure::Absent(why)
                            if why.contains("requested resource")
                                || why.contains("page not found") =>
                        {
                            StoreError::invalid(key, self.server.not_served(key.kind))
                        }
                        Failure::Absent(why) => StoreError::invalid(key, why),
                        failure => self.error(key, failure),
                    })?;
                let path = place.path_of(&name);
                let made = match status {
                    true => self.put_status(key, &path, value, &made).await?,
                    false => made,
                };
                self.stored(key, made)
            }
            Write::Refused(why) => Err(StoreError::invalid(key, why)),
            Write::Replace { .. } | Write::PatchStatus(_) => Err(StoreError::Exists(key.clone())),
        }
    }

    /// `None`: it is not as it was when it was read.
    async fn update_once(
        &self,
        object: &Object,
        current: Option<Value>,
    ) -> Result<Option<Object>, StoreError> {
        let key = &object.key;
        let Some(path) = self.path(key)? else {
            return Err(StoreError::NotFound(key.clone()));
        };
        // It was never read here.
        if object
            .revision
            .as_ref()
            .and_then(Version::of_revision)
            .is_none()
        {
            return match self.find(key).await? {
                Some(_) => Err(StoreError::Conflict(key.clone())),
                None => Err(StoreError::NotFound(key.clone())),
            };
        }
        let write = self.server.form().write(object, current.as_ref())?;
        self.carry_out(object, &path, write).await
    }

    /// Writes to an object that is there. `None`: it is not as it was when it was read.
    async fn carry_out(
        &self,
        object: &Object,
        path: &str,
        write: Write,
    ) -> Result<Option<Object>, StoreError> {
        let key = &object.key;
        let client = self.server.client();
        let status_path = format!("{path}/status");
        let written = match write {
            Write::Refused(why) => return Err(StoreError::invalid(key, why)),
            Write::Create { .. } => return Err(StoreError::NotFound(key.clone())),
            Write::PatchStatus(patch) => client.patch(&status_path, &patch).await,
            Write::Replace {
                main: false,
                status: false,
                ..
            } => return Ok(Some(object.clone())),
            Write::Replace {
                value, main: false, ..
            } => client.put(&status_path, &value).await,
            Write::Replace { value, status, .. } => match client.put(path, &value).await {
                Ok(written) if status => {
                    let written = self.put_status(key, path, value, &written).await?;
                    return self.stored(key, written).map(Some);
                }
                written => written,
            },
        };
        match written {
            Ok(written) => self.stored(key, written).map(Some),
            Err(Failure::Absent(_)) => Err(StoreError::NotFound(key.clone())),
            // A UID of something that is gone is a conflict to the API server, too.
            Err(Failure::Conflict(why)) if why.contains("UID") => match self.find(key).await? {
                Some(_) => Ok(None),
                None => Err(StoreError::NotFound(key.clone())),
            },
            Err(Failure::Conflict(_)) => Ok(None),
            Err(failure) => Err(self.error(key, failure)),
        }
    }

    /// After the object itself was written, which the answer shows.
    async fn put_status(
        &self,
        key: &Key,
        path: &str,
        mut value: Value,
        answer: &Value,
    ) -> Result<Value, StoreError> {
        for field in ["resourceVersion", "uid"] {
            value["metadata"][field] = answer["metadata"][field].clone();
        }
        let path = format!("{path}/status");
        let written = self.server.client().put(&path, &value).await;
        written.map_err(|failure| self.error(key, failure))
    }

    /// What the API server says that it has now.
    fn stored(&self, key: &Key, value: Value) -> Result<Object, StoreError> {
        let reading = self.server.form().read(key.kind, value);
        reading
            .object?
            .ok_or_else(|| StoreError::NotFound(key.clone()))
    }

    /// False: it is not as it was when it was read.
    async fn delete_once(
        &self,
        key: &Key,
        revision: Option<&Revision>,
    ) -> Result<bool, StoreError> {
        let Some(found) = self.find(key).await? else {
            return Err(StoreError::NotFound(key.clone()));
        };
        let client = self.server.client();
        let Found { path, value, .. } = found;
        let done = match self.server.form().deletion(key, revision, &value)? {
            Deletion::Refused(why) => return Err(StoreError::invalid(key, why)),
            Deletion::Delete(version) => client.delete(&path, &version.delete_options()).await,
            Deletion::PatchStatus(patch) => {
                let patched = client.patch(&format!("{path}/status"), &patch).await;
                patched.map(drop)
            }
            Deletion::MarkFirst(marked) => match client.put(&path, &marked).await {
                Ok(marked) => {
                    let _ = self.finish(key, &path, &marked).await;
                    Ok(())
                }
                Err(failure) => Err(failure),
            },
        };
        match done {
            Ok(()) => Ok(true),
            Err(Failure::Absent(_)) => Err(StoreError::NotFound(key.clone())),
            Err(Failure::Conflict(_)) => Ok(false),
            Err(failure) => Err(self.error(key, failure)),
        }
    }

    async fn list_collection(
        &self,
        kind: Kind,
        collection: &Collection,
    ) -> Result<Vec<Object>, StoreError> {
        let form = self.server.form();
        let read = |text: &str| {
            let reading = form.read_text(kind, text);
            // What is needed to come to the end of it.
            let value = reading.marked.then(|| serde_json::from_str(text).ok());
            (reading, value.flatten())
        };
        let read = match self.server.client().list(collection, read).await {
            Ok(read) => read,
            Err(Failure::Absent(_)) => return Ok(Vec::new()),
            Err(failure) => return Err(self.server.failed(kind, failure)),
        };
        let mut objects = Vec::with_capacity(read.len());
        for (reading, marked) in read {
            match (reading.object, reading.key, marked) {
                (Ok(Some(object)), _, _) => objects.push(object),
                (_, Some(key), Some(marked)) => {
                    if let Ok(Some(path)) = self.path(&key) {
                        let _ = self.finish(&key, &path, &marked).await;
                    }
                }
                (Ok(None), _, _) => {}
                (Err(fault), _, _) => {
                    tracing::warn!(%fault, "an object of Kubernetes cannot be used");
                }
            }
        }
        objects.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(objects)
    }

    fn error(&self, key: &Key, failure: Failure) -> StoreError {
        match failure {
            Failure::Exists => StoreError::Exists(key.clone()),
            Failure::Conflict(_) => StoreError::Conflict(key.clone()),
            Failure::Invalid(why) => StoreError::invalid(key, why),
            failure => {
                let why = server::words(failure);
                self.server.client().unavailable(format!("{key}: {why}"))
            }
        }
    }

    fn followers(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.followers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for KubernetesDatastore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("KubernetesDatastore")
            .field("server", &self.server.client().what())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Datastore for KubernetesDatastore {
    async fn get(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        match self.find(key).await? {
            Some(found) => found.reading.object,
            None => Ok(None),
        }
    }

    async fn list(&self, kind: Kind) -> Result<Vec<Object>, StoreError> {
        match self.server.all(kind) {
            Ok(collection) => self.list_collection(kind, &collection).await,
            Err(_) => Ok(Vec::new()),
        }
    }

    async fn list_here(&self, kind: Kind) -> Result<Vec<Object>, StoreError> {
        match self.server.watched(kind) {
            Ok(collection) => self.list_collection(kind, &collection).await,
            Err(_) => Ok(Vec::new()),
        }
    }

    async fn pod(&self, namespace: &str, name: &str) -> Result<Option<Metadata>, StoreError> {
        let what = || format!("Pod {namespace}/{name}");
        let invalid = |why: String| StoreError::Invalid { what: what(), why };
        let Some(path) = self.server.form().path_of_pod(namespace, name) else {
            return Err(invalid("no Pod can be called so".to_owned()));
        };
        match self.server.client().get(&path).await {
            Ok(Some(mut pod)) => serde_json::from_value(pod["metadata"].take())
                .map(Some)
                .map_err(|error| invalid(format!("metadata: {error}"))),
            Ok(None) => Err(invalid("does not exist in Kubernetes".to_owned())),
            Err(failure) => {
                let why = server::words(failure);
                let why = format!("{}: {why}", what());
                Err(self.server.client().unavailable(why))
            }
        }
    }

    async fn create(&self, object: Object) -> Result<Object, StoreError> {
        resources::check_written(&object)?;
        let mut tries = 0;
        loop {
            tries += 1;
            match self.create_once(&object).await {
                Err(StoreError::Exists(key))
                    if tries < TRIES && self.clear_the_way(&key).await? => {}
                // A kubelet has written to the same Pod or Node.
                Err(StoreError::Conflict(_)) if tries < TRIES => {}
                done => return done,
            }
        }
    }

    async fn update(&self, object: Object) -> Result<Object, StoreError> {
        resources::check_written(&object)?;
        let mut tries = 0;
        loop {
            tries += 1;
            let current = match self.server.form().needs_current(object.key.kind) {
                true => self.find(&object.key).await?.map(|found| found.value),
                // The API server compares the version that is written.
                false => None,
            };
            let seen = current.is_some();
            match self.update_once(&object, current).await? {
                Some(written) => return Ok(written),
                // Somebody has written to the same Node or Pod; whether that concerns us shows when it is read again.
                None if seen && tries < TRIES => {}
                None => return Err(StoreError::Conflict(object.key)),
            }
        }
    }

    async fn delete(&self, key: &Key, revision: Option<&Revision>) -> Result<(), StoreError> {
        let mut tries = 0;
        while !self.delete_once(key, revision).await? {
            tries += 1;
            if tries == TRIES {
                return Err(StoreError::Conflict(key.clone()));
            }
        }
        Ok(())
    }

    async fn watch(&self, kinds: &[Kind]) -> Result<Watcher, StoreError> {
        self.follow(&self.server, kinds).await
    }

    async fn watch_all(&self, kinds: &[Kind]) -> Result<Watcher, StoreError> {
        self.follow(&Arc::new(self.server.of_all_nodes()), kinds)
            .await
    }

    async fn pass_over(&self, kind: Kind, visit: Visit<'_>) -> Result<(), StoreError> {
        let Ok(collection) = self.server.all(kind) else {
            return Ok(());
        };
        let (form, visit) = (self.server.form(), Mutex::new(visit));
        let read = |text: &str| {
            let reading = form.read_text(kind, text).object;
            let mut visit = visit.lock().unwrap_or_else(PoisonError::into_inner);
            match reading {
                Ok(None) => {}
                Ok(Some(object)) => visit(Ok(object)),
                Err(fault) => visit(Err(fault)),
            }
        };
        match self.server.client().list(&collection, read).await {
            Ok(_) | Err(Failure::Absent(_)) => Ok(()),
            Err(failure) => Err(self.server.failed(kind, failure)),
        }
    }

    fn election(&self) -> Option<Box<dyn Election>> {
        let leases = Leases::new(Arc::clone(&self.server));
        Some(Box::new(KubernetesElection::new(Arc::new(leases))))
    }
}

/// Whether ours is a part of an object that somebody else makes.
fn is_part(kind: Kind) -> bool {
    matches!(kind, Kind::Node | Kind::WorkloadEndpoint)
}

/// How often a write that may lose to others is tried.
const TRIES: usize = 20;

#[cfg(test)]
mod played;
#[cfg(test)]
pub(crate) mod with_kubernetes;
