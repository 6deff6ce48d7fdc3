//! Which file an object of ours lives in, and which files count.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::store::{Key, Kind};

/// Longest encoded name before a hash takes the place of the rest; file systems end at 255.
const NAME_MAX: usize = 200;

/// Deeper folders than this are not looked into: a symbolic link may lead back up.
const DEPTH_MAX: usize = 16;

/// Where an object that we create is written.
pub(crate) fn path_of(folder: &Path, key: &Key) -> PathBuf {
    let mut path = folder_of(folder, key.kind);
    if let Some(namespace) = &key.namespace {
        path.push(encode(namespace));
    }
    path.push(format!("{}.yaml", encode(&key.name)));
    path
}

/// Where the objects of a kind are written.
pub(crate) fn folder_of(folder: &Path, kind: Kind) -> PathBuf {
    folder.join(kind.as_str().to_ascii_lowercase())
}

/// A name as a file's name: bytes that mean something to file systems or to us become `%XX`.
pub(crate) fn encode(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for (index, byte) in name.bytes().enumerate() {
        let plain = byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'_' | b':' | b'@' | b'+' | b'=' | b',')
            || (byte == b'.' && index > 0);
        if plain {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    if text.len() > NAME_MAX {
        let hash = super::index::hash128(name.as_bytes());
        text.truncate(NAME_MAX - 34);
        text = format!("{text}%~{hash:032x}");
    }
    text
}

/// Whether a file counts: `*.yaml`, `*.yml`, `*.json`, not hidden.
pub(crate) fn is_manifest(path: &Path) -> bool {
    let named = path
        .extension()
        .and_then(OsStr::to_str)
        .is_some_and(|extension| matches!(extension, "yaml" | "yml" | "json"));
    named && !is_hidden(path)
}

/// Editors' and our own temporary files, and the links inside a mounted ConfigMap.
pub(crate) fn is_hidden(path: &Path) -> bool {
    path.file_name()
        .and_then(OsStr::to_str)
        .is_some_and(|name| name.starts_with('.'))
}

/// What lies below a folder.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) files: Vec<PathBuf>,
    pub(crate) folders: Vec<PathBuf>,
    pub(crate) errors: Vec<(PathBuf, io::Error)>,
}

/// All manifests below a folder, and all folders with itself.
pub(crate) fn walk(folder: &Path) -> Listing {
    let mut listing = Listing::default();
    descend(folder, 0, &mut listing);
    listing.files.sort();
    listing
}

fn descend(folder: &Path, depth: usize, listing: &mut Listing) {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        // It went away meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound && depth > 0 => return,
        Err(error) => {
            listing.errors.push((folder.to_owned(), error));
            return;
        }
    };
    listing.folders.push(folder.to_owned());
    for entry in entries.flatten() {
        let path = entry.path();
        if is_hidden(&path) {
            continue;
        }
        let is_folder = match entry.file_type() {
            Ok(kind) if kind.is_symlink() => path.is_dir(),
            Ok(kind) => kind.is_dir(),
            Err(_) => false,
        };
        if is_folder {
            if depth < DEPTH_MAX {
                descend(&path, depth + 1, listing);
            }
        } else if is_manifest(&path) {
            listing.files.push(path);
        }
    }
}
