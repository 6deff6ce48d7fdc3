//! `patch` and `label`: read, change, write by revision, and once more when somebody else was faster.

use std::sync::Arc;

use caracal_datastore::{Datastore, Key, Object, StoreError, manifest};
use serde_json::Value;

use crate::cli::{LabelArgs, PatchArgs, PatchType};
use crate::conflict;
use crate::failure::{Failure, Sort};
use crate::manifests::Found;
use crate::outcome::Outcome;
use crate::output;
use crate::resources::{TRIES, check_pools, key, kind};

/// `patch`.
pub(crate) async fn patch(
    store: &Arc<dyn Datastore>,
    args: &PatchArgs,
) -> Result<Outcome, Failure> {
    let patch = Patch::parse(args)?;
    let key = key(kind(&args.kind)?, &args.name, args.namespace.as_deref());
    let (changed, object) =
        revise(store, &key, args.dry_run, |object| patch.applied(object)).await?;
    Ok(Outcome::text(match (args.dry_run, changed) {
        (true, _) => output::documents(&[object])?,
        (false, true) => format!("{key} patched\n"),
        (false, false) => format!("{key} unchanged\n"),
    }))
}

/// `label`.
pub(crate) async fn label(
    store: &Arc<dyn Datastore>,
    args: &LabelArgs,
) -> Result<Outcome, Failure> {
    let usage = |why: String| Failure::new(Sort::Usage, why);
    let changes = args.labels.iter().map(|text| wish(text, args.remove));
    let changes: Vec<Wish> = changes.collect::<Result<_, _>>().map_err(usage)?;
    let key = key(kind(&args.kind)?, &args.name, args.namespace.as_deref());
    let relabelled = |object: &Object| labelled(object, &changes, args.overwrite);
    let (changed, _) = revise(store, &key, false, relabelled).await?;
    let word = if changed { "labeled" } else { "unchanged" };
    Ok(Outcome::text(format!("{key} {word}\n")))
}

/// Changes an object; whether there was something to change, and what it is then.
async fn revise(
    store: &Arc<dyn Datastore>,
    key: &Key,
    dry_run: bool,
    change: impl Fn(&Object) -> Result<Object, Failure>,
) -> Result<(bool, Object), Failure> {
    let mut first: Option<Object> = None;
    for _ in 0..TRIES {
        let Some(current) = store.get(key).await? else {
            return Err(match first {
                Some(before) => conflict::failure(Some(&before), None),
                None => StoreError::NotFound(key.clone()).into(),
            });
        };
        let changed = change(&current)?;
        if changed == current || dry_run {
            return Ok((changed != current, changed));
        }
        let found = Found {
            object: changed,
            place: "as it would be".to_owned(),
        };
        check_pools(store, std::slice::from_ref(&found)).await?;
        match store.update(found.object).await {
            Ok(written) => return Ok((true, written)),
            Err(StoreError::Conflict(_) | StoreError::NotFound(_)) => {}
            Err(error) => return Err(error.into()),
        }
        first.get_or_insert(current);
    }
    let now = store.get(key).await?;
    Err(conflict::failure(first.as_ref(), now.as_ref()))
}

/// A patch that was understood.
enum Patch {
    Merge(Value),
    Json(json_patch::Patch),
}

impl Patch {
    fn parse(args: &PatchArgs) -> Result<Patch, Failure> {
        let usage = |why: String| Failure::new(Sort::Usage, why);
        let value: Value = match args.patch.trim_start().starts_with(['{', '[']) {
            true => serde_json::from_str(&args.patch)
                .map_err(|error| usage(format!("--patch is not JSON: {error}")))?,
            false => serde_saphyr::from_str(&args.patch)
                .map_err(|error| usage(format!("--patch is neither JSON nor YAML: {error}")))?,
        };
        match args.patch_type {
            PatchType::Merge if value.is_object() => Ok(Patch::Merge(value)),
            PatchType::Merge => Err(usage(
                "--patch is not an object; a list of operations is --type json".to_owned(),
            )),
            PatchType::Json => serde_json::from_value(value)
                .map(Patch::Json)
                .map_err(|error| usage(format!("--patch is no list of operations (RFC 6902): {error}"))),
            PatchType::Strategic => Err(usage(
                "--type strategic: lists of these kinds have no merge keys, so that it would be a merge patch: --type merge"
                    .to_owned(),
            )),
        }
    }

    fn applied(&self, object: &Object) -> Result<Object, Failure> {
        let failed = |why: String| Failure::new(Sort::Failed, format!("{}: {why}", object.key));
        let before = manifest::to_value(object);
        let mut value = before.clone();
        match self {
            Patch::Merge(patch) => json_patch::merge(&mut value, patch),
            Patch::Json(patch) => json_patch::patch(&mut value, patch)
                .map_err(|error| failed(format!("the patch does not fit: {error}")))?,
        }
        for field in ["apiVersion", "kind"] {
            if value[field] != before[field] {
                return Err(failed(format!("{field}: cannot be changed")));
            }
        }
        let fields = value.as_object().into_iter().flatten();
        for (field, _) in fields {
            let known = object.key.kind.is_whole() || before.get(field).is_some();
            if !known && field != "spec" {
                return Err(failed(format!(
                    "{field}: cannot be patched, only metadata and spec can"
                )));
            }
        }
        let read = manifest::parse("", &value.to_string());
        if let Some(fault) = read.faults.first() {
            return Err(failed(match &fault.error {
                StoreError::Invalid { why, .. } => why.clone(),
                other => other.to_string(),
            }));
        }
        let Some(patched) = read.manifests.into_iter().next() else {
            return Err(failed("the patch leaves nothing of it".to_owned()));
        };
        let mut patched = patched.object;
        if patched.key != object.key {
            return Err(failed(format!(
                "metadata: it would become {}, and an object keeps its name",
                patched.key
            )));
        }
        patched.revision.clone_from(&object.revision);
        Ok(patched)
    }
}

/// What is to become of a label.
#[derive(Debug, PartialEq, Eq)]
enum Wish {
    Set(String, String),
    Remove(String),
}

fn wish(text: &str, remove: bool) -> Result<Wish, String> {
    if remove {
        return Ok(Wish::Remove(text.trim_end_matches('-').to_owned()));
    }
    if let Some((key, value)) = text.split_once('=') {
        is_key(key)?;
        is_value(value)?;
        return Ok(Wish::Set(key.to_owned(), value.to_owned()));
    }
    match text.strip_suffix('-') {
        Some(key) if !key.is_empty() => Ok(Wish::Remove(key.to_owned())),
        _ => Err(format!(
            "{text:?} is neither KEY=VALUE, which sets a label, nor KEY-, which removes it"
        )),
    }
}

fn labelled(object: &Object, wishes: &[Wish], overwrite: bool) -> Result<Object, Failure> {
    let mut changed = object.clone();
    let labels = &mut changed.metadata.labels;
    for wish in wishes {
        match wish {
            Wish::Remove(key) => drop(labels.remove(key)),
            Wish::Set(key, value) => match labels.insert(key.clone(), value.clone()) {
                Some(before) if before != *value && !overwrite => {
                    return Err(Failure::new(
                        Sort::Failed,
                        format!(
                            "{}: label {key} is {before:?} already; --overwrite makes it {value:?}",
                            object.key
                        ),
                    ));
                }
                _ => {}
            },
        }
    }
    Ok(changed)
}

/// Kubernetes' rule: `[prefix/]name`, the prefix a DNS name, the name up to 63 letters, digits, `-`, `_`, `.`.
fn is_key(key: &str) -> Result<(), String> {
    let (prefix, name) = match key.rsplit_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let dns = |prefix: &str| {
        let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        prefix.len() <= 253
            && prefix.split('.').all(|label| {
                label.starts_with(letter)
                    && label.ends_with(letter)
                    && label.chars().all(|c| letter(c) || c == '-')
            })
    };
    match !name.is_empty() && is_word(name) && prefix.is_none_or(dns) {
        true => Ok(()),
        false => Err(format!(
            "{key:?} is no key of a label: [prefix/]name, with letters, digits, -, _ and . and at most 63 of them"
        )),
    }
}

fn is_value(value: &str) -> Result<(), String> {
    match is_word(value) {
        true => Ok(()),
        false => Err(format!(
            "{value:?} is no value of a label: letters, digits, -, _ and ., at most 63 of them"
        )),
    }
}

fn is_word(text: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphanumeric();
    text.is_empty()
        || text.len() <= 63
            && text.starts_with(letter)
            && text.ends_with(letter)
            && text
                .chars()
                .all(|c| letter(c) || matches!(c, '-' | '_' | '.'))
}

#[cfg(test)]
mod tests;
