//! `apply`, `create`, `replace` and `delete`.

use std::sync::Arc;

use caracal_datastore::{Datastore, IPPool, Key, Kind, Object, StoreError, Stored};

use crate::cli::{DeleteArgs, Sources};
use crate::conflict;
use crate::failure::{Failure, Sort};
use crate::manifests::{self, Found};
use crate::outcome::Outcome;

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

/// What to write, and how.
#[derive(Debug)]
pub(crate) struct Writing<'a> {
    /// Where the manifests are.
    pub(crate) sources: &'a Sources,
    /// How.
    pub(crate) how: How,
}

/// How to write.
#[derive(Debug, Clone, Copy)]
pub(crate) struct How {
    /// The verb.
    pub(crate) verb: Verb,
    /// Say what would happen, and write nothing.
    pub(crate) dry_run: bool,
    /// Existence, for `create`, and absence, for `replace`, are success.
    pub(crate) lenient: bool,
}

/// What became of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Created,
    Configured,
    Unchanged,
    Skipped,
}

impl Change {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Change::Created => "created",
            Change::Configured => "configured",
            Change::Unchanged => "unchanged",
            Change::Skipped => "skipped",
        }
    }
}

/// `apply`, `create` and `replace`: everything is checked before the first write.
pub(crate) async fn write(
    store: &Arc<dyn Datastore>,
    order: &Writing<'_>,
) -> Result<Outcome, Failure> {
    let read = manifests::read(order.sources)?;
    check_pools(store, &read.objects).await?;
    let mut outcome = Outcome {
        notes: read.notes,
        ..Outcome::default()
    };
    let dry = if order.how.dry_run { " (dry run)" } else { "" };
    let all = read.objects.len();
    for (done, found) in read.objects.into_iter().enumerate() {
        let key = found.object.key.clone();
        match write_one(store, order.how, found.object).await {
            Ok(change) => {
                let word = change.word();
                outcome.text.push_str(&format!("{key} {word}{dry}\n"));
            }
            Err(failure) => {
                let gone = failure.sort == Sort::Unavailable;
                outcome.fails(failure.at(&found.place));
                if gone {
                    outcome.fails(not_done(all - done, &key));
                    break;
                }
            }
        }
    }
    Ok(outcome)
}

/// A datastore that went away is not asked for each of ten thousand objects.
fn not_done(rest: usize, first: &Key) -> Failure {
    let words = format!("{rest} objects were not reached, from {first} on");
    Failure::new(Sort::Unavailable, words)
}

/// Writes one object, whoever else writes.
pub(crate) async fn write_one(
    store: &Arc<dyn Datastore>,
    how: How,
    wanted: Object,
) -> Result<Change, Failure> {
    let key = wanted.key.clone();
    let mut first = None;
    for _ in 0..TRIES {
        let current = store.get(&key).await?;
        let seen = current.clone();
        let result = match (how.verb, current) {
            (Verb::Create, Some(_)) | (Verb::Replace, None) if how.lenient => {
                return Ok(Change::Skipped);
            }
            (Verb::Create, Some(_)) => return Err(StoreError::Exists(key).into()),
            (Verb::Replace, None) => return Err(StoreError::NotFound(key).into()),
            (_, None) if how.dry_run => return Ok(Change::Created),
            (_, None) => store.create(wanted.clone()).await.map(|_| Change::Created),
            (_, Some(current)) => {
                let merged = merged(&current, &wanted);
                if merged == current {
                    return Ok(Change::Unchanged);
                }
                if how.dry_run {
                    return Ok(Change::Configured);
                }
                store.update(merged).await.map(|_| Change::Configured)
            }
        };
        match result {
            // Somebody was faster: look again.
            Err(StoreError::Conflict(_)) => {}
            Err(StoreError::Exists(_) | StoreError::NotFound(_)) if how.verb == Verb::Apply => {}
            other => return Ok(other?),
        }
        first.get_or_insert(seen);
    }
    let now = store.get(&key).await?;
    Err(conflict::failure(first.flatten().as_ref(), now.as_ref()))
}

/// The current object with what the manifest says. What the manifest does not speak of (`uid`,
/// `creationTimestamp`, a status) stays; what belongs to one version of one store (`resourceVersion`) is not taken over.
pub(crate) fn merged(current: &Object, wanted: &Object) -> Object {
    let mut merged = current.clone();
    merged.spec = wanted.spec.clone();
    // The `spec` of a kind that is whole has the status in it.
    if wanted.key.kind.is_whole()
        && let (Some(fields), Some(status)) =
            (merged.spec.as_object_mut(), current.spec.get("status"))
    {
        fields.entry("status").or_insert_with(|| status.clone());
    }
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
pub(crate) async fn check_pools(
    store: &Arc<dyn Datastore>,
    wanted: &[Found],
) -> Result<(), Failure> {
    let is_pool = |found: &&Found| found.object.key.kind == Kind::IPPool;
    if !wanted.iter().any(|found| is_pool(&found)) {
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
    for Found { object, place } in wanted.iter().filter(is_pool) {
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
                "{place}: {}: spec.cidr: {} cannot become {}: make another pool",
                object.key, old.spec.cidr, new.spec.cidr
            ));
        } else if sizes[0] != sizes[1] {
            faults.push(format!(
                "{place}: {}: spec.blockSize: {} cannot become {}: make another pool",
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
            let names = args.names.iter();
            names
                .map(|name| key(kind, name, args.namespace.as_deref()))
                .collect()
        }
        None => {
            let read = manifests::read(&Sources {
                filename: args.filename.clone(),
                recursive: args.recursive,
                skip_empty: args.skip_empty,
                namespace: args.namespace.clone(),
            })?;
            outcome.notes = read.notes;
            let found = read.objects.into_iter();
            found.map(|found| found.object.key).collect()
        }
    };
    for (done, key) in keys.iter().enumerate() {
        let (result, word) = match args.dry_run {
            true => (would_delete(store, key).await, "deleted (dry run)"),
            false => (store.delete(key, None).await, "deleted"),
        };
        match result {
            Ok(()) => outcome.text.push_str(&format!("{key} {word}\n")),
            Err(StoreError::NotFound(_)) if args.skip_not_exists => {}
            Err(error) => {
                let gone = matches!(error, StoreError::Unavailable { .. });
                outcome.fails(error.into());
                if gone {
                    outcome.fails(not_done(keys.len() - done, key));
                    break;
                }
            }
        }
    }
    Ok(outcome)
}

async fn would_delete(store: &Arc<dyn Datastore>, key: &Key) -> Result<(), StoreError> {
    match store.get(key).await? {
        Some(_) => Ok(()),
        None => Err(StoreError::NotFound(key.clone())),
    }
}

/// The kind that a word on the command line means.
pub(crate) fn kind(word: &str) -> Result<Kind, Failure> {
    word.parse()
        .map_err(|why: String| Failure::new(Sort::Usage, why))
}

/// The key of a name on the command line.
pub(crate) fn key(kind: Kind, name: &str, namespace: Option<&str>) -> Key {
    if kind.namespaced() {
        Key::in_namespace(kind, namespace.unwrap_or("default"), name)
    } else {
        Key::new(kind, name)
    }
}

/// Others write too, but not all the time.
pub(crate) const TRIES: usize = 5;

#[cfg(test)]
mod tests;
