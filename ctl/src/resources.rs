//! `get`, `apply`, `create`, `replace` and `delete`.

use std::sync::Arc;

use caracal_datastore::{Datastore, IPPool, Key, Kind, Object, StoreError, Stored, manifest};
use serde_json::{Value, json};

use crate::cli::{DeleteArgs, GetArgs, GetFormat};
use crate::columns;
use crate::failure::{Failure, Sort};
use crate::manifests;
use crate::outcome::Outcome;
use crate::output;

/// Which of the three writing verbs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    /// Create or change.
    Apply,
    /// Create only.
    Create,
    /// Change only.
    Replace,
}

/// What became of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Created,
    Configured,
    Unchanged,
}

/// `get`.
pub(crate) async fn get(store: &Arc<dyn Datastore>, args: &GetArgs) -> Result<Outcome, Failure> {
    let kind = kind(&args.kind)?;
    let mut outcome = Outcome::default();
    let mut objects = Vec::new();
    if args.names.is_empty() {
        objects = store.list(kind).await?;
        if let Some(namespace) = &args.namespace {
            objects.retain(|object| object.key.namespace.as_ref() == Some(namespace));
        }
    }
    for name in &args.names {
        let key = key(kind, name, args.namespace.as_deref());
        match store.get(&key).await? {
            Some(object) => objects.push(object),
            None => outcome.fails(StoreError::NotFound(key).into()),
        }
    }
    if objects.is_empty() && outcome.failure.is_some() {
        return Ok(outcome);
    }
    // A single object that was asked for by name is itself; everything else is a list.
    let single = args.names.len() == 1;
    outcome.text = match args.output {
        GetFormat::Table => columns::table(kind, &objects, false),
        GetFormat::Wide => columns::table(kind, &objects, true),
        GetFormat::Name => objects
            .iter()
            .map(|object| path(&object.key) + "\n")
            .collect(),
        GetFormat::Json => match objects.as_slice() {
            [object] if single => output::json(&manifest::to_value(object))?,
            objects => output::json(&list(kind, objects))?,
        },
        GetFormat::Yaml => documents(&objects)?,
    };
    Ok(outcome)
}

/// `apply`, `create` and `replace`: everything is checked before the first write.
pub(crate) async fn write(
    store: &Arc<dyn Datastore>,
    verb: Verb,
    sources: &[std::path::PathBuf],
) -> Result<Outcome, Failure> {
    let read = manifests::read(sources)?;
    check_pools(store, &read.objects).await?;
    let mut outcome = Outcome {
        notes: read.notes,
        ..Outcome::default()
    };
    for object in read.objects {
        let key = object.key.clone();
        match write_one(store, verb, object).await {
            Ok(change) => {
                let word = match change {
                    Change::Created => "created",
                    Change::Configured => "configured",
                    Change::Unchanged => "unchanged",
                };
                outcome.text.push_str(&format!("{key} {word}\n"));
            }
            Err(failure) => outcome.fails(failure),
        }
    }
    Ok(outcome)
}

async fn write_one(
    store: &Arc<dyn Datastore>,
    verb: Verb,
    wanted: Object,
) -> Result<Change, Failure> {
    let key = wanted.key.clone();
    for _ in 0..TRIES {
        let current = store.get(&key).await?;
        let result = match (verb, current) {
            (Verb::Create, Some(_)) => return Err(StoreError::Exists(key).into()),
            (Verb::Replace, None) => return Err(StoreError::NotFound(key).into()),
            (_, None) => store.create(wanted.clone()).await.map(|_| Change::Created),
            (_, Some(current)) => {
                let merged = merged(&current, &wanted);
                if merged == current {
                    return Ok(Change::Unchanged);
                }
                store.update(merged).await.map(|_| Change::Configured)
            }
        };
        match result {
            // Somebody was faster: look again.
            Err(StoreError::Conflict(_)) => {}
            Err(StoreError::Exists(_) | StoreError::NotFound(_)) if verb == Verb::Apply => {}
            other => return Ok(other?),
        }
    }
    Err(StoreError::Conflict(key).into())
}

/// The current object with what the manifest says. What the manifest does not speak of (`uid`,
/// `creationTimestamp`) stays; what belongs to one version of one store (`resourceVersion`) is not taken over.
fn merged(current: &Object, wanted: &Object) -> Object {
    let mut merged = current.clone();
    merged.spec = wanted.spec.clone();
    merged.metadata.labels = wanted.metadata.labels.clone();
    merged.metadata.annotations = wanted.metadata.annotations.clone();
    for (field, value) in &wanted.metadata.extra {
        if field != "resourceVersion" {
            merged.metadata.extra.insert(field.clone(), value.clone());
        }
    }
    merged
}

/// What only shows when pools are looked at together, or before and after.
async fn check_pools(store: &Arc<dyn Datastore>, wanted: &[Object]) -> Result<(), Failure> {
    if !wanted.iter().any(|object| object.key.kind == Kind::IPPool) {
        return Ok(());
    }
    let before: Vec<Stored<IPPool>> = store
        .list(Kind::IPPool)
        .await?
        .iter()
        .filter_map(|object| Stored::from_object(object).ok())
        .collect();
    let mut after = before.clone();
    let mut faults = Vec::new();
    for object in wanted
        .iter()
        .filter(|object| object.key.kind == Kind::IPPool)
    {
        let new = Stored::<IPPool>::from_object(object)?;
        let Some(old) = after
            .iter_mut()
            .find(|pool| pool.metadata.name == new.metadata.name)
        else {
            after.push(new);
            continue;
        };
        let sizes = [&old.spec, &new.spec].map(IPPool::block_prefix_length);
        if old.spec.cidr != new.spec.cidr {
            faults.push(format!(
                "{}: spec.cidr: {} cannot become {}: make another pool",
                object.key, old.spec.cidr, new.spec.cidr
            ));
        } else if sizes[0] != sizes[1] {
            faults.push(format!(
                "{}: spec.blockSize: {} cannot become {}: make another pool",
                object.key, sizes[0], sizes[1]
            ));
        }
        *old = new;
    }
    // An overlap that was there before is not this change's fault.
    let known = caracal_datastore::resources::overlaps(&before);
    faults.extend(
        caracal_datastore::resources::overlaps(&after)
            .into_iter()
            .filter(|overlap| !known.contains(overlap)),
    );
    if faults.is_empty() {
        return Ok(());
    }
    Err(Failure {
        sort: Sort::Failed,
        words: faults,
    })
}

/// `delete`.
pub(crate) async fn delete(
    store: &Arc<dyn Datastore>,
    args: &DeleteArgs,
) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::default();
    let keys: Vec<Key> = match &args.kind {
        Some(word) => {
            let kind = kind(word)?;
            args.names
                .iter()
                .map(|name| key(kind, name, args.namespace.as_deref()))
                .collect()
        }
        None => {
            let read = manifests::read(&args.filename)?;
            outcome.notes = read.notes;
            read.objects.into_iter().map(|object| object.key).collect()
        }
    };
    for key in keys {
        match store.delete(&key, None).await {
            Ok(()) => outcome.text.push_str(&format!("{key} deleted\n")),
            Err(StoreError::NotFound(_)) if args.skip_not_exists => {}
            Err(error) => outcome.fails(error.into()),
        }
    }
    Ok(outcome)
}

fn kind(word: &str) -> Result<Kind, Failure> {
    word.parse()
        .map_err(|why: String| Failure::new(Sort::Usage, why))
}

fn key(kind: Kind, name: &str, namespace: Option<&str>) -> Key {
    if kind.namespaced() {
        Key::in_namespace(kind, namespace.unwrap_or("default"), name)
    } else {
        Key::new(kind, name)
    }
}

/// `IPPool/default-ipv4-ippool`.
fn path(key: &Key) -> String {
    match &key.namespace {
        Some(namespace) => format!("{}/{namespace}/{}", key.kind, key.name),
        None => format!("{}/{}", key.kind, key.name),
    }
}

fn list(kind: Kind, objects: &[Object]) -> Value {
    json!({
        "apiVersion": manifest::API_VERSION,
        "kind": format!("{kind}List"),
        "items": objects.iter().map(manifest::to_value).collect::<Vec<_>>(),
    })
}

/// One document an object: what `apply` takes, and what a person cuts pieces out of.
fn documents(objects: &[Object]) -> Result<String, Failure> {
    let texts: Vec<String> = objects
        .iter()
        .map(manifest::to_yaml)
        .collect::<Result<_, _>>()?;
    Ok(texts.join("---\n"))
}

/// Others write too, but not all the time.
const TRIES: usize = 5;

#[cfg(test)]
mod tests;
