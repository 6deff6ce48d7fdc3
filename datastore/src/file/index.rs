//! What the files say: which objects, which faults, and where each object stands.

mod content;
mod own;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) use content::{Content, Stamp, hash128, revision_of};

use super::{layout, unavailable, write};
use crate::hub::{Change, Hub};
use crate::store::{Key, Kind, Object, StoreError, Watcher};

/// A mirror of the files in memory.
#[derive(Debug)]
pub(crate) struct Index {
    folder: PathBuf,
    files: BTreeMap<PathBuf, Content>,
    /// Which files hold a key; the first in order of path wins.
    holders: BTreeMap<Key, BTreeSet<PathBuf>>,
    /// Keys that several files hold.
    contested: BTreeSet<Key>,
    /// Files with faults.
    faulty: BTreeSet<PathBuf>,
    /// What is wrong with folders.
    folder_faults: Vec<StoreError>,
    /// The same as in `files`.
    objects: BTreeMap<Key, Arc<Object>>,
    /// Files that nobody has asked for, as they are by now: their kind.
    unasked: BTreeMap<PathBuf, (Kind, Stamp)>,
    published: Vec<String>,
    hub: Hub,
}

impl Index {
    pub(crate) fn new(folder: PathBuf) -> Index {
        Index {
            folder,
            files: BTreeMap::new(),
            holders: BTreeMap::new(),
            contested: BTreeSet::new(),
            faulty: BTreeSet::new(),
            folder_faults: Vec::new(),
            objects: BTreeMap::new(),
            unasked: BTreeMap::new(),
            published: Vec::new(),
            hub: Hub::default(),
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// An object as last read.
    pub(crate) fn object(&self, key: &Key) -> Option<&Object> {
        self.objects.get(key).map(AsRef::as_ref)
    }

    /// All objects of a kind as last read, in order of key.
    pub(crate) fn objects(&self, kind: Kind) -> Vec<Object> {
        let first = Key {
            kind,
            namespace: None,
            name: String::new(),
        };
        self.objects
            .range(first..)
            .take_while(|(key, _)| key.kind == kind)
            .map(|(_, object)| Object::clone(object))
            .collect()
    }

    /// The file that holds a key, and what is known of it.
    pub(crate) fn holder(&self, key: &Key) -> Option<(&Path, &Content)> {
        let path = self.holders.get(key)?.first()?;
        Some((path, self.files.get(path)?))
    }

    /// What is known of a file.
    pub(crate) fn content(&self, path: &Path) -> Option<&Content> {
        self.files.get(path)
    }

    pub(crate) fn subscribe(&mut self, kinds: &[Kind]) -> Watcher {
        let faults = self.faults();
        let all = self.objects.values().map(AsRef::as_ref);
        self.hub.subscribe(kinds, all, &faults)
    }

    /// The folder must be there for an answer to mean anything.
    pub(crate) fn check_folder(&self) -> Result<(), StoreError> {
        std::fs::metadata(&self.folder)
            .map(|_| ())
            .map_err(|error| unavailable(&self.folder, &error))
    }

    /// Re-reads what may hold a key, when it has changed.
    pub(crate) fn refresh_key(&mut self, key: &Key) {
        let mut paths = vec![layout::path_of(&self.folder, key)];
        if let Some(holders) = self.holders.get(key) {
            paths.extend(holders.iter().cloned());
        }
        self.refresh_each(&paths, Writer::Perhaps, Asked::Now);
    }

    /// Re-reads what holds objects of a kind, and what has appeared where we write them.
    pub(crate) fn refresh_kind(&mut self, kind: Kind) {
        let mut paths: BTreeSet<PathBuf> = BTreeSet::new();
        for (key, holders) in &self.holders {
            if key.kind == kind {
                paths.extend(holders.iter().cloned());
            }
        }
        let folder = layout::folder_of(&self.folder, kind);
        if folder.is_dir() {
            paths.extend(layout::walk(&folder).files);
        }
        let paths: Vec<PathBuf> = paths.into_iter().collect();
        self.refresh_each(&paths, Writer::Perhaps, Asked::Now);
    }

    /// Looks at every file. Returns all folders, which inotify wants to know.
    pub(crate) fn rescan(&mut self) -> Vec<PathBuf> {
        self.rescan_for(&[])
    }

    /// The same, for somebody who is about to watch these kinds.
    pub(crate) fn rescan_for(&mut self, kinds: &[Kind]) -> Vec<PathBuf> {
        let listing = layout::walk(&self.folder);
        self.folder_faults = listing
            .errors
            .iter()
            .map(|(path, error)| unavailable(path, error))
            .collect();
        let unreadable: Vec<&Path> = listing
            .errors
            .iter()
            .map(|(path, _)| path.as_path())
            .collect();
        let mut paths: BTreeSet<PathBuf> = listing.files.into_iter().collect();
        // What lies in a folder that cannot be read at the moment is not gone.
        paths.extend(
            self.files
                .keys()
                .filter(|path| !unreadable.iter().any(|folder| path.starts_with(folder)))
                .cloned(),
        );
        paths.extend(self.unasked.keys().cloned());
        let paths: Vec<PathBuf> = paths.into_iter().collect();
        self.refresh_each(&paths, Writer::Perhaps, Asked::By(kinds));
        listing.folders
    }

    /// Re-reads those of these files that have changed since they were read, as far as anybody watches what they hold,
    /// and tells the watches. A file that someone is writing in place is waited for.
    pub(crate) fn refresh(&mut self, paths: &[PathBuf]) {
        self.refresh_each(paths, Writer::Perhaps, Asked::By(&[]));
    }

    /// The same for files whose writer has closed them.
    pub(crate) fn refresh_closed(&mut self, paths: &[PathBuf]) {
        self.refresh_each(paths, Writer::Done, Asked::By(&[]));
    }

    fn refresh_each(&mut self, paths: &[PathBuf], writer: Writer, asked: Asked) {
        let mut touched = BTreeSet::new();
        for path in paths {
            self.refresh_file(path, writer, asked, &mut touched);
        }
        self.settle(&touched);
    }

    /// Takes over what we ourselves have just written.
    pub(crate) fn accept(&mut self, plan: write::Plan) {
        let (path, content) = plan.into_outcome();
        let mut touched = BTreeSet::new();
        self.put(&path, content, &mut touched);
        self.settle(&touched);
    }

    fn refresh_file(
        &mut self,
        path: &Path,
        writer: Writer,
        asked: Asked,
        touched: &mut BTreeSet<Key>,
    ) {
        let known = self.files.get(path);
        let read_before = known.and_then(|known| known.stamp.as_ref());
        let stamp = match (writer, read_before) {
            (Writer::Perhaps, Some(before)) => Stamp::of_quiet(path, before),
            _ => Stamp::of(path),
        };
        let stamp = match stamp {
            Ok(stamp) => stamp,
            Err(error) if is_absence(&error) => {
                self.unasked.remove(path);
                // A folder that cannot be reached says nothing about its files.
                if known.is_some() && self.folder.is_dir() {
                    self.put(path, None, touched);
                }
                return;
            }
            Err(error) => {
                let fault = unavailable(path, &error);
                let content = Content::unreadable(None, fault, known);
                return self.put(path, Some(content), touched);
            }
        };
        if known.is_some_and(|known| known.is_still(&stamp)) {
            self.unasked.remove(path);
            return;
        }
        let is_asked = |kind: Kind| match asked {
            Asked::Now => true,
            Asked::By(kinds) => kinds.contains(&kind) || self.hub.is_watched(kind),
        };
        if let Some((kind, before)) = self.unasked.get(path)
            && before.is_still(&stamp)
            && !is_asked(*kind)
        {
            return;
        }
        let read = content::read(path, &self.folder, stamp, known, is_asked);
        self.unasked.remove(path);
        match read {
            Ok(content::Reading::Unasked(kind, stamp)) => {
                self.unasked.insert(path.to_owned(), (kind, stamp));
            }
            Ok(content::Reading::Same(stamp)) => {
                if let Some(known) = self.files.get_mut(path) {
                    known.stamp = Some(stamp);
                }
            }
            // That its writer has closed it may be old news, and another one have emptied it since.
            Ok(content::Reading::New(content))
                if writer == Writer::Done
                    && known.is_some_and(|known| content.says_less_than(known)) =>
            {
                self.refresh_file(path, Writer::Perhaps, asked, touched);
            }
            Ok(content::Reading::New(content)) => self.put(path, Some(*content), touched),
            Err(error) if is_absence(&error) => self.put(path, None, touched),
            Err(error) => {
                let fault = unavailable(path, &error);
                let content = Content::unreadable(None, fault, known);
                self.put(path, Some(content), touched);
            }
        }
    }

    /// Replaces what is known of a file.
    fn put(&mut self, path: &Path, content: Option<Content>, touched: &mut BTreeSet<Key>) {
        if let Some(old) = self.files.remove(path) {
            for key in old.entries.keys() {
                touched.insert(key.clone());
                if let Some(holders) = self.holders.get_mut(key) {
                    holders.remove(path);
                    if holders.is_empty() {
                        self.holders.remove(key);
                    }
                }
            }
        }
        self.faulty.remove(path);
        let Some(content) = content else { return };
        for key in content.entries.keys() {
            touched.insert(key.clone());
            self.holders
                .entry(key.clone())
                .or_default()
                .insert(path.to_owned());
        }
        if !content.faults.is_empty() {
            self.faulty.insert(path.to_owned());
        }
        self.files.insert(path.to_owned(), content);
    }

    /// Computes what the touched keys are now, and tells the watches what differs.
    fn settle(&mut self, touched: &BTreeSet<Key>) {
        let mut changes = Vec::new();
        for key in touched {
            let holders = self.holders.get(key);
            if holders.is_some_and(|holders| holders.len() > 1) {
                self.contested.insert(key.clone());
            } else {
                self.contested.remove(key);
            }
            let now = holders
                .and_then(|holders| holders.first())
                .and_then(|path| self.files.get(path))
                .and_then(|content| content.entries.get(key))
                .map(|entry| entry.object.clone());
            let before = self.objects.get(key);
            if now.as_ref().map(|object| &object.revision) == before.map(|object| &object.revision)
            {
                continue;
            }
            changes.push(Change {
                key: key.clone(),
                object: now.as_deref().cloned(),
            });
            match now {
                Some(object) => drop(self.objects.insert(key.clone(), object)),
                None => drop(self.objects.remove(key)),
            }
        }
        self.hub.publish(&changes);
        let faults = self.faults();
        let texts: Vec<String> = faults.iter().map(ToString::to_string).collect();
        if texts != self.published {
            self.published = texts;
            self.hub.publish_faults(&faults);
        }
    }

    /// All that is wrong at the moment.
    fn faults(&self) -> Vec<StoreError> {
        let mut faults = self.folder_faults.clone();
        for path in &self.faulty {
            if let Some(content) = self.files.get(path) {
                faults.extend(content.faults.iter().cloned());
            }
        }
        for key in &self.contested {
            let mut holders = self.holders.get(key).into_iter().flatten();
            let Some(winner) = holders.next() else {
                continue;
            };
            for loser in holders {
                let line = self
                    .files
                    .get(loser)
                    .and_then(|content| content.entries.get(key))
                    .map_or(1, |entry| entry.line);
                faults.push(StoreError::Invalid {
                    what: format!("{}:{line}: {key}", content::shown(loser, &self.folder)),
                    why: format!(
                        "stands in {} too, which counts",
                        content::shown(winner, &self.folder)
                    ),
                });
            }
        }
        faults
    }
}

/// Who wants to know what a file says.
#[derive(Debug, Clone, Copy)]
enum Asked<'a> {
    /// Somebody who waits for the answer.
    Now,
    /// Whoever watches, and somebody who is about to watch these kinds.
    By(&'a [Kind]),
}

/// Whether someone may be writing a file just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writer {
    Perhaps,
    /// It was closed, or moved to its place.
    Done,
}

fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}
