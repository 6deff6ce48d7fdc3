//! `datastore lock` and `unlock`: `datastoreReady` of the ClusterInformation `default`, at which everybody looks who gives
//! addresses.

use std::sync::Arc;

use caracal_datastore::{Datastore, Key, Kind, Metadata, Object, StoreError};
use serde_json::{Value, json};

use crate::conflict;
use crate::failure::Failure;
use crate::resources::TRIES;

/// Locks, or unlocks; says so.
pub(crate) async fn set(store: &Arc<dyn Datastore>, ready: bool) -> Result<String, Failure> {
    let said = if ready {
        "Datastore unlocked.\n"
    } else {
        "Datastore locked.\n"
    };
    for _ in 0..TRIES {
        let current = store.get(&key()).await?;
        let result = match &current {
            None => store.create(fresh(ready)).await,
            Some(object) if object.spec["datastoreReady"] == ready => return Ok(said.to_owned()),
            Some(object) => store.update(marked(object, ready)).await,
        };
        match result {
            Err(StoreError::Conflict(_) | StoreError::Exists(_) | StoreError::NotFound(_)) => {}
            result => return Ok(result.map(|_| said.to_owned())?),
        }
    }
    let now = store.get(&key()).await?;
    Err(conflict::failure(None, now.as_ref()))
}

/// Whether it says so itself; where nothing is said, nobody has locked.
pub(crate) async fn is_locked(store: &Arc<dyn Datastore>) -> Result<bool, Failure> {
    let object = store.get(&key()).await?;
    Ok(object.is_some_and(|object| object.spec["datastoreReady"] == false))
}

/// The object with another mark, all else as it was.
pub(crate) fn marked(object: &Object, ready: bool) -> Object {
    let mut object = object.clone();
    match &mut object.spec {
        Value::Object(fields) => drop(fields.insert("datastoreReady".to_owned(), json!(ready))),
        spec => *spec = json!({ "datastoreReady": ready }),
    }
    object
}

fn fresh(ready: bool) -> Object {
    let key = key();
    Object {
        metadata: Metadata {
            name: key.name.clone(),
            ..Metadata::default()
        },
        key,
        spec: json!({ "datastoreReady": ready }),
        revision: None,
    }
}

/// Which object.
pub(crate) fn key() -> Key {
    Key::new(Kind::ClusterInformation, "default")
}
