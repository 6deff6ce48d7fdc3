//! Manifests from files, folders and standard input, all checked before any is used.

use std::io::Read;
use std::path::{Path, PathBuf};

use caracal_datastore::{Object, manifest};

use crate::cli::Sources;
use crate::failure::{Failure, Sort};

/// What was read.
#[derive(Debug, Default)]
pub(crate) struct Manifests {
    /// The objects, in order.
    pub(crate) objects: Vec<Found>,
    /// What was passed over, in words.
    pub(crate) notes: Vec<String>,
    /// What is wrong, in words that begin with file and line.
    pub(crate) faults: Vec<String>,
    /// How many texts were read.
    pub(crate) texts: usize,
}

/// An object, and where it was found.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// The object.
    pub(crate) object: Object,
    /// File and line.
    pub(crate) place: String,
}

/// Reads all; if anything is wrong, says everything that is.
pub(crate) fn read(sources: &Sources) -> Result<Manifests, Failure> {
    let read = look(sources);
    match read.faults.is_empty() {
        true => Ok(read),
        false => Err(Failure {
            sort: Sort::Failed,
            words: read.faults,
        }),
    }
}

/// Reads all that can be read.
pub(crate) fn look(sources: &Sources) -> Manifests {
    let mut read = Manifests::default();
    for source in &sources.filename {
        let before = (read.objects.len(), read.notes.len(), read.faults.len());
        look_at(source, sources, &mut read);
        let now = (read.objects.len(), read.notes.len(), read.faults.len());
        if before == now && !sources.skip_empty {
            let words = format!(
                "no objects in {} (--skip-empty lives with that)",
                name_of(source)
            );
            read.faults.push(words);
        }
    }
    read
}

/// Takes in a text whose name is `origin`.
pub(crate) fn take(origin: &str, text: &str, read: &mut Manifests) {
    take_in(None, origin, text, read);
}

/// The same; what has a namespace and names none is in this one, or in `default`.
fn take_in(namespace: Option<&str>, origin: &str, text: &str, read: &mut Manifests) {
    read.texts += 1;
    let parsed = manifest::parse_in(namespace.unwrap_or("default"), origin, text);
    for (line, kind) in &parsed.passed_over {
        read.notes.push(format!(
            "{origin}:{line}: {kind} is passed over: not used here"
        ));
    }
    let faults = parsed.faults.iter().map(|fault| fault.error.to_string());
    read.faults.extend(faults);
    let found = parsed.manifests.into_iter().map(|manifest| Found {
        place: format!("{origin}:{}", manifest.line),
        object: manifest.object,
    });
    read.objects.extend(found);
}

fn look_at(source: &Path, sources: &Sources, read: &mut Manifests) {
    if !source.is_dir() {
        match text_of(source) {
            Ok(text) => take_in(sources.namespace.as_deref(), &name_of(source), &text, read),
            Err(why) => read.faults.push(why),
        }
        return;
    }
    let mut files = Vec::new();
    if let Err(why) = files_of(source, sources.recursive, &mut files) {
        read.faults.push(why);
    }
    for file in files {
        look_at(&file, sources, read);
    }
}

/// A text; `-` is standard input.
pub(crate) fn text_of(source: &Path) -> Result<String, String> {
    let text = if source == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(source)
    };
    text.map_err(|error| unreadable(source, &error))
}

/// Its name for people.
pub(crate) fn name_of(source: &Path) -> String {
    if source == Path::new("-") {
        return "standard input".to_owned();
    }
    source.display().to_string()
}

/// The manifests of a folder, in order of name; a link to a folder is not followed.
fn files_of(folder: &Path, recursive: bool, files: &mut Vec<PathBuf>) -> Result<(), String> {
    let bad = |error: std::io::Error| unreadable(folder, &error);
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(bad)? {
        let entry = entry.map_err(bad)?;
        entries.push((entry.path(), entry.file_type().map_err(bad)?));
    }
    entries.sort_by(|one, other| one.0.cmp(&other.0));
    for (path, file_type) in entries {
        if file_type.is_dir() {
            if recursive {
                files_of(&path, recursive, files)?;
            }
        } else if is_manifest(&path) && path.is_file() {
            files.push(path);
        }
    }
    Ok(())
}

fn is_manifest(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| matches!(extension, "yaml" | "yml" | "json"))
}

fn unreadable(source: &Path, error: &std::io::Error) -> String {
    format!("cannot read {}: {error}", name_of(source))
}
