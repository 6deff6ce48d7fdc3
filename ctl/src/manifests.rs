//! Manifests from files, folders and standard input, all checked before any is used.

use std::io::Read;
use std::path::{Path, PathBuf};

use caracal_datastore::{Object, manifest};

use crate::failure::{Failure, Sort};

/// What was read.
#[derive(Debug)]
pub(crate) struct Manifests {
    /// The objects, in order.
    pub(crate) objects: Vec<Object>,
    /// What was passed over, in words.
    pub(crate) notes: Vec<String>,
}

/// Reads all; if anything is wrong, says everything that is.
pub(crate) fn read(sources: &[PathBuf]) -> Result<Manifests, Failure> {
    let mut read = Manifests {
        objects: Vec::new(),
        notes: Vec::new(),
    };
    let mut faults = Vec::new();
    for (origin, text) in texts(sources)? {
        let parsed = manifest::parse(&origin, &text);
        for (line, kind) in &parsed.passed_over {
            read.notes.push(format!(
                "{origin}:{line}: {kind} is passed over: not used here"
            ));
        }
        faults.extend(parsed.faults.iter().map(|fault| fault.error.to_string()));
        read.objects
            .extend(parsed.manifests.into_iter().map(|manifest| manifest.object));
    }
    if !faults.is_empty() {
        return Err(Failure {
            sort: Sort::Failed,
            words: faults,
        });
    }
    if read.objects.is_empty() && read.notes.is_empty() {
        let names: Vec<String> = sources
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        return Err(Failure::new(
            Sort::Failed,
            format!("no objects in {}", names.join(", ")),
        ));
    }
    Ok(read)
}

/// Name and content of each text.
fn texts(sources: &[PathBuf]) -> Result<Vec<(String, String)>, Failure> {
    let mut texts = Vec::new();
    for source in sources {
        if source == Path::new("-") {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .map_err(|error| unreadable("standard input", &error))?;
            texts.push(("standard input".to_owned(), text));
            continue;
        }
        let files = if source.is_dir() {
            files_of(source)?
        } else {
            vec![source.clone()]
        };
        for file in files {
            let name = file.display().to_string();
            let text = std::fs::read_to_string(&file).map_err(|error| unreadable(&name, &error))?;
            texts.push((name, text));
        }
    }
    Ok(texts)
}

/// The manifests of a folder, in order of name.
fn files_of(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let name = folder.display().to_string();
    let entries = std::fs::read_dir(folder).map_err(|error| unreadable(&name, &error))?;
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.is_file()
                && path
                    .extension()
                    .and_then(|extension| extension.to_str())
                    .is_some_and(|extension| matches!(extension, "yaml" | "yml" | "json"))
        })
        .collect();
    files.sort();
    if files.is_empty() {
        return Err(Failure::new(
            Sort::Failed,
            format!("folder {name} has no .yaml, .yml or .json file"),
        ));
    }
    Ok(files)
}

fn unreadable(name: &str, error: &std::io::Error) -> Failure {
    Failure::new(Sort::Failed, format!("cannot read {name}: {error}"))
}
