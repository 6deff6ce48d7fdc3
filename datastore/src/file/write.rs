//! Changes of files: planned as whole texts, then carried out atomically.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::index::{Content, Index, Stamp};
use super::{layout, unavailable};
use crate::manifest;
use crate::store::{Key, Object, StoreError};

/// What becomes of one file.
#[derive(Debug)]
pub(crate) struct Plan {
    path: PathBuf,
    origin: String,
    /// The new text; `None` removes the file.
    text: Option<String>,
    /// The object, when the text is its manifest and nothing else, so that it need not be read back.
    only: Option<Object>,
}

/// A new object goes to a file of its own; where something else stands in that file already, behind it.
pub(crate) fn plan_create(
    index: &Index,
    folder: &Path,
    object: &Object,
) -> Result<Plan, StoreError> {
    let path = layout::path_of(folder, &object.key);
    let body = manifest::to_yaml(object)?;
    let Some(content) = index.content(&path) else {
        return Ok(Plan::whole(folder, path, body, object));
    };
    refuse_broken(content, &object.key)?;
    let old = read(&path)?;
    if old.trim().is_empty() {
        return Ok(Plan::whole(folder, path, body, object));
    }
    let gap = if old.ends_with('\n') { "" } else { "\n" };
    let text = format!("{old}{gap}---\n{body}");
    Ok(Plan::new(folder, path, Some(text)))
}

/// Only the object's own document is rewritten.
pub(crate) fn plan_update(index: &Index, object: &Object) -> Result<Plan, StoreError> {
    plan_splice(index, &object.key, Some(object))
}

/// A file in which nothing is left is removed.
pub(crate) fn plan_delete(index: &Index, key: &Key) -> Result<Plan, StoreError> {
    plan_splice(index, key, None)
}

fn plan_splice(index: &Index, key: &Key, object: Option<&Object>) -> Result<Plan, StoreError> {
    let Some((path, content)) = index.holder(key) else {
        return Err(StoreError::NotFound(key.clone()));
    };
    refuse_broken(content, key)?;
    if content.plain {
        let path = path.to_owned();
        return Ok(match object {
            None => Plan::new(index.folder(), path, None),
            Some(object) => Plan::whole(index.folder(), path, manifest::to_yaml(object)?, object),
        });
    }
    let text = read(path)?;
    let parsed = manifest::parse(&path.display().to_string(), &text);
    let Some(found) = parsed
        .manifests
        .iter()
        .find(|manifest| manifest.object.key == *key)
    else {
        return Err(StoreError::Conflict(key.clone()));
    };
    let text = manifest::splice(&text, found, object).map_err(|why| StoreError::Invalid {
        what: format!("{}: {key}", path.display()),
        why,
    })?;
    let text = (object.is_some() || !manifest::is_empty(&text)).then_some(text);
    Ok(Plan::new(index.folder(), path.to_owned(), text))
}

/// What a person is in the middle of is left alone.
fn refuse_broken(content: &Content, key: &Key) -> Result<(), StoreError> {
    let stale = content.entries.get(key).is_some_and(|entry| entry.stale);
    match content.faults.first() {
        Some(fault) if content.broken || stale => Err(StoreError::Invalid {
            what: format!("{key} cannot be written while its file has a fault"),
            why: fault.to_string(),
        }),
        _ => Ok(()),
    }
}

fn read(path: &Path) -> Result<String, StoreError> {
    fs::read_to_string(path).map_err(|error| unavailable(path, &error))
}

impl Plan {
    fn new(folder: &Path, path: PathBuf, text: Option<String>) -> Plan {
        let origin = path
            .strip_prefix(folder)
            .unwrap_or(&path)
            .display()
            .to_string();
        Plan {
            path,
            origin,
            text,
            only: None,
        }
    }

    /// A file with one object and nothing else.
    fn whole(folder: &Path, path: PathBuf, text: String, object: &Object) -> Plan {
        Plan {
            only: Some(object.clone()),
            ..Plan::new(folder, path, Some(text))
        }
    }

    /// Writes a temporary file beside the old one and renames it over it, so that a reader sees the old
    /// text or the new one whatever happens.
    pub(crate) fn carry_out(&self, folder: &Path, durable: bool) -> Result<(), StoreError> {
        // Behind a symbolic link it is the file that is replaced, not the link.
        let path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let parent = path.parent().unwrap_or(folder);
        let done = match &self.text {
            None => fs::remove_file(&path),
            Some(text) => replace(folder, parent, &path, text, durable),
        };
        done.and_then(|()| if durable { sync(parent) } else { Ok(()) })
            .map_err(|error| unavailable(&path, &error))
    }

    /// What the file says now.
    pub(crate) fn into_outcome(self) -> (PathBuf, Option<Content>) {
        let content = self.text.map(|text| {
            let stamp = Stamp::of(&self.path).ok();
            match self.only {
                Some(object) => Content::of_object(&text, object, stamp),
                None => Content::of_text(&self.origin, &text, stamp, None),
            }
        });
        (self.path, content)
    }
}

const TEMPORARY: &str = ".caracal-";

fn replace(folder: &Path, parent: &Path, path: &Path, text: &str, durable: bool) -> io::Result<()> {
    if !parent.is_dir() {
        // A missing store is not made anew by writing into it.
        fs::metadata(folder)?;
        fs::create_dir_all(parent)?;
        if durable && let Some(above) = parent.parent() {
            sync(above)?;
        }
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let short: String = name.chars().take(60).collect();
    let temporary = parent.join(format!("{TEMPORARY}{}-{short}", std::process::id()));
    let mut file = File::create(&temporary)?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| keep_mode(&file, path))
        .and_then(|()| if durable { file.sync_all() } else { Ok(()) })
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// A person's file keeps who may read it.
fn keep_mode(file: &File, path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(old) => file.set_permissions(old.permissions()),
        Err(_) => Ok(()),
    }
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Temporary files of a writer that crashed. The caller has the lock, so no writer is at work.
pub(crate) fn remove_leftovers(folder: &Path) {
    for folder in layout::walk(folder).folders {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}
