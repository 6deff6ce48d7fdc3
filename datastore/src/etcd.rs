//! etcd v3, in Calico's layout, so that Calico's own components and `calicoctl` work on the same data.
//!
//! ```text
//!   layout   a key of ours ⇄ a key of etcd       /calico/ipam/v2/host/node-1/ipv4/block/10.0.0.0-26
//!   value    an object ⇄ the JSON under it       {"state":"confirmed","deleted":false}
//!   client   what is asked: entries, lists in pages, transactions      (link: the connection; wire: the messages)
//!   follower one task a watch: list at a revision, watch from there; on a loss resume, on compaction list anew
//! ```
//!
//! The revision of an object is etcd's mod revision, and every write is one transaction that compares it. No
//! object has a lease: nothing that is kept here vanishes by itself but who leads ([`crate::lead`]).
//!
//! What differs from Calico: Secrets, which Calico keeps in Kubernetes only, stand below `/caracal/`; metadata of
//! IPAM's kinds, which Calico does not keep, are a field `metadata` of the value when there are any.
//!
//! *Invariant:* a value that cannot be read is a fault with its key and its text; no other value is affected.

mod client;
mod config;
mod follower;
mod layout;
mod leases;
mod link;
mod value;
mod wire;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::task::JoinSet;

use crate::lead::Election;
use crate::lead::etcd::EtcdElection;
use crate::resources;
use crate::store::{Datastore, Key, Kind, Object, Revision, StoreError, Watcher};
use client::Client;
pub use config::{EtcdConfig, Password};
use follower::Follower;
use wire::{Compare, DeleteRangeRequest, KeyValue, PutRequest, Request, Response, TxnRequest};

/// An object of IPAM as it stands in etcd, key and value; so it stands in what `calicoctl datastore migrate export` writes,
/// too. `Invalid` names the key.
pub fn ipam_object(path: &str, value: &serde_json::Value) -> Result<Object, StoreError> {
    let invalid = |why: String| StoreError::Invalid {
        what: path.to_owned(),
        why,
    };
    let kinds = [
        Kind::IPAMBlock,
        Kind::BlockAffinity,
        Kind::IPAMHandle,
        Kind::IPAMConfig,
    ];
    let mut located = kinds
        .iter()
        .flat_map(|kind| layout::locate(*kind, path.as_bytes()));
    let located = located
        .next()
        .ok_or_else(|| invalid("this is not a key of IPAM".to_owned()))?;
    let value = serde_json::to_vec(value).map_err(|error| invalid(error.to_string()))?;
    value::decode(&located, &value).map_err(invalid)
}

/// The `etcd` backend.
pub struct EtcdDatastore {
    client: Arc<Client>,
    /// One a watch; they end with the datastore.
    followers: Mutex<JoinSet<()>>,
}

impl EtcdDatastore {
    /// Connects, and asks once, so that what is wrong with address, certificates or password is known
    /// (`Unavailable` names the endpoints and the reason; `Invalid` a file or an address that makes no sense).
    pub async fn connect(config: &EtcdConfig) -> Result<EtcdDatastore, StoreError> {
        let client = Client::new(config)?;
        client.position().await?;
        Ok(EtcdDatastore {
            client: Arc::new(client),
            followers: Mutex::default(),
        })
    }

    /// What stands under a key: of several places where it could be, the first that has it.
    async fn find(&self, key: &Key) -> Result<Option<KeyValue>, StoreError> {
        match layout::places_of(key) {
            layout::Places::Exact(paths) if paths.is_empty() => Ok(None),
            layout::Places::Exact(paths) => Ok(self.client.get(&paths).await?.into_iter().next()),
            layout::Places::Somewhere => {
                let listing = self.client.list(&[key.kind]).await?;
                Ok(listing
                    .values
                    .into_iter()
                    .map(|(_, value)| value)
                    .find(|value| {
                        layout::locate(key.kind, &value.key).is_ok_and(|found| found.key() == *key)
                    }))
            }
        }
    }

    /// A transaction on one object: the write when its revision is as expected, else what is there instead.
    async fn write(
        &self,
        key: &Key,
        path: &str,
        expected: Expected,
        write: Request,
    ) -> Result<Written, StoreError> {
        let size = match &write {
            Request::Put(put) => put.value.len(),
            _ => 0,
        };
        let question = TxnRequest {
            compare: match expected {
                Expected::Nothing => vec![Compare::absent(path)],
                Expected::Revision(revision) => vec![Compare::unchanged(path, revision)],
                Expected::Anything => Vec::new(),
            },
            success: vec![write.into()],
            failure: vec![client::only_if_there(path)],
        };
        let answer = self.client.commit(question, key, size).await?;
        let revision = answer.header.unwrap_or_default().revision;
        let responses = || answer.responses.iter().flat_map(|one| &one.response);
        if answer.succeeded {
            let deleted = responses()
                .any(|one| matches!(one, Response::DeleteRange(gone) if gone.deleted > 0));
            return Ok(Written::Done { revision, deleted });
        }
        let there =
            responses().any(|one| matches!(one, Response::Range(found) if !found.kvs.is_empty()));
        Ok(if there {
            Written::Another
        } else {
            Written::Absent
        })
    }

    fn followers(&self) -> std::sync::MutexGuard<'_, JoinSet<()>> {
        self.followers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// What must be there for a write to happen.
#[derive(Clone, Copy)]
enum Expected {
    Nothing,
    Anything,
    Revision(i64),
}

/// How a transaction ended.
enum Written {
    /// With this revision.
    Done { revision: i64, deleted: bool },
    /// Not: there is something of another revision.
    Another,
    /// Not: there is nothing.
    Absent,
}

impl fmt::Debug for EtcdDatastore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("EtcdDatastore")
            .field("endpoints", &self.client.what())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Datastore for EtcdDatastore {
    fn election(&self) -> Option<Box<dyn Election>> {
        let client: Arc<Client> = Arc::clone(&self.client);
        Some(Box::new(EtcdElection::new(client)))
    }

    async fn get(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        let found = self.find(key).await?;
        Ok(found.and_then(|found| value::read(key.kind, &found).object()))
    }

    async fn list(&self, kind: Kind) -> Result<Vec<Object>, StoreError> {
        let listing = self.client.list(&[kind]).await?;
        let mut objects = Vec::with_capacity(listing.values.len());
        for (kind, found) in &listing.values {
            let reading = value::read(*kind, found);
            if let Some(fault) = reading.fault() {
                tracing::warn!(%fault, "an entry of etcd cannot be used");
            }
            objects.extend(reading.object());
        }
        objects.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(objects)
    }

    async fn create(&self, mut object: Object) -> Result<Object, StoreError> {
        resources::check_written(&object)?;
        let path = layout::path_of(&object).map_err(|why| StoreError::invalid(&object.key, why))?;
        value::complete(&mut object)?;
        let bytes =
            value::encode(&object, None).map_err(|why| StoreError::invalid(&object.key, why))?;
        let written = self
            .write(&object.key, &path, Expected::Nothing, put(&path, bytes))
            .await?;
        match written {
            Written::Done { revision, .. } => Ok(stored(object, revision)),
            Written::Another | Written::Absent => Err(StoreError::Exists(object.key)),
        }
    }

    async fn update(&self, object: Object) -> Result<Object, StoreError> {
        resources::check_written(&object)?;
        let path = layout::path_of(&object).map_err(|why| StoreError::invalid(&object.key, why))?;
        let expected = expected(object.revision.as_ref());
        let mut before = None;
        if value::has_siblings(object.key.kind) {
            // What stands beside `spec`, as `status`, is not in our hands: it is taken over from what is there.
            let found = self.client.get(std::slice::from_ref(&path)).await?;
            let Some(found) = found.into_iter().next() else {
                return Err(StoreError::NotFound(object.key));
            };
            if !matches!(expected, Expected::Revision(revision) if revision == found.mod_revision) {
                return Err(StoreError::Conflict(object.key));
            }
            before = Some(found);
        }
        let before = before.as_ref().map(|found| found.value.as_slice());
        let bytes =
            value::encode(&object, before).map_err(|why| StoreError::invalid(&object.key, why))?;
        let written = self
            .write(&object.key, &path, expected, put(&path, bytes))
            .await?;
        match written {
            Written::Done { revision, .. } => Ok(stored(object, revision)),
            Written::Another => Err(StoreError::Conflict(object.key)),
            Written::Absent => Err(StoreError::NotFound(object.key)),
        }
    }

    async fn delete(&self, key: &Key, revision: Option<&Revision>) -> Result<(), StoreError> {
        let path = match layout::places_of(key) {
            layout::Places::Exact(mut paths) if paths.len() == 1 => paths.pop(),
            _ => match self.find(key).await? {
                Some(found) => Some(String::from_utf8_lossy(&found.key).into_owned()),
                None => None,
            },
        };
        let Some(path) = path else {
            return Err(StoreError::NotFound(key.clone()));
        };
        let expected = match revision {
            None => Expected::Anything,
            revision => expected(revision),
        };
        let delete = Request::DeleteRange(DeleteRangeRequest {
            key: path.clone().into_bytes(),
        });
        match self.write(key, &path, expected, delete).await? {
            Written::Done { deleted: true, .. } => Ok(()),
            Written::Another => Err(StoreError::Conflict(key.clone())),
            Written::Done { .. } | Written::Absent => Err(StoreError::NotFound(key.clone())),
        }
    }

    async fn watch(&self, kinds: &[Kind]) -> Result<Watcher, StoreError> {
        let (follower, watcher, gone) = Follower::begin(Arc::clone(&self.client), kinds).await?;
        let mut followers = self.followers();
        while followers.try_join_next().is_some() {}
        followers.spawn(follower.run(gone));
        Ok(watcher)
    }
}

/// What was read must still be there. What was never read here has a revision that no object has.
fn expected(revision: Option<&Revision>) -> Expected {
    let number = revision.and_then(|revision| revision.0.parse().ok());
    Expected::Revision(number.filter(|number| *number > 0).unwrap_or(-1))
}

fn put(path: &str, value: Vec<u8>) -> Request {
    Request::Put(PutRequest {
        key: path.as_bytes().to_vec(),
        value,
        lease: 0,
    })
}

fn stored(object: Object, revision: i64) -> Object {
    Object {
        revision: Some(Revision(revision.to_string())),
        ..object
    }
}

#[cfg(test)]
pub(crate) mod with_etcd;
