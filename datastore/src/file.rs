//! A folder of YAML manifests that a person may edit while it runs.
//!
//! ```text
//!   folder/
//!     .lock                                writers of all processes take turns (flock)
//!     anything.yaml, deeper/more.yml       written by people, one or several documents each
//!     ippool/default-ipv4-ippool.yaml      written by us, one object each
//!     workloadendpoint/default/<name>.yaml
//! ```
//!
//! An `Index` in memory mirrors the files, those of ours that nobody watches or asks for excepted. Reads compare the file's stamp and re-read it when it
//! differs; writes replace files atomically; inotify (or a look each second where there is none) brings in
//! what others did. The revision of an object is a hash of its content, so an editor's change counts and a
//! mere reformatting does not.
//!
//! *Invariant:* a file that cannot be read is named as a fault, its last good objects stay, and no other
//! file is affected.

mod index;
mod layout;
mod lock;
mod notify;
mod write;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::AbortHandle;

use crate::lead::Election;
use crate::lead::file::FileElection;
use crate::resources;
use crate::store::{Datastore, Key, Kind, Object, Revision, StoreError, Watcher};
use index::Index;
use lock::FolderLock;

/// The `file` backend.
#[derive(Debug)]
pub struct FileDatastore {
    inner: Arc<Inner>,
    follower: AbortHandle,
}

/// How the backend behaves.
#[derive(Debug, Clone)]
pub struct FileOptions {
    /// Wait for the disk with each write, so that a loss of power loses nothing that was answered.
    pub durable: bool,
    /// Follow changes by inotify; by looking each `poll_interval` otherwise, or when there is none to be had.
    pub inotify: bool,
    /// How often to look without inotify.
    pub poll_interval: Duration,
    /// How long a writer waits for the others.
    pub lock_timeout: Duration,
}

impl Default for FileOptions {
    fn default() -> FileOptions {
        FileOptions {
            durable: true,
            inotify: true,
            poll_interval: Duration::from_secs(1),
            lock_timeout: Duration::from_secs(10),
        }
    }
}

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    options: FileOptions,
    /// What the files say. Never held while the disk is waited for.
    index: Mutex<Index>,
    /// Taken for the whole of a write, in this process and against others.
    lock: FolderLock,
}

impl FileDatastore {
    /// Opens the folder, which must exist and be writable (`Unavailable` names path and reason).
    pub async fn open(folder: &Path) -> Result<FileDatastore, StoreError> {
        FileDatastore::open_with(folder, FileOptions::default()).await
    }

    /// Opens the folder with options.
    pub async fn open_with(
        folder: &Path,
        options: FileOptions,
    ) -> Result<FileDatastore, StoreError> {
        let folder = folder.to_owned();
        let inner = blocking(move || {
            let lock = FolderLock::open(&folder, options.lock_timeout)?;
            let turn = lock.take()?;
            write::remove_leftovers(&folder);
            drop(turn);
            let mut index = Index::new(folder.clone());
            index.rescan();
            Ok(Arc::new(Inner {
                folder,
                options,
                index: Mutex::new(index),
                lock,
            }))
        })
        .await?;
        let follower = notify::follow(&inner).await;
        Ok(FileDatastore { inner, follower })
    }

    async fn run<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Inner) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let inner = Arc::clone(&self.inner);
        blocking(move || act(&inner)).await
    }
}

impl Drop for FileDatastore {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

impl Inner {
    fn index(&self) -> MutexGuard<'_, Index> {
        // The index is made of whole files: a panic cannot leave half a file in it.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The object as the files say at this moment. The caller has the lock, or reads only.
    fn current(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        let mut index = self.index();
        index.refresh_key(key);
        index.check_folder()?;
        Ok(index.object(key).cloned())
    }

    fn create(&self, object: Object) -> Result<Object, StoreError> {
        resources::check_written(&object)?;
        let _turn = self.lock.take()?;
        if self.current(&object.key)?.is_some() {
            return Err(StoreError::Exists(object.key));
        }
        let plan = write::plan_create(&self.index(), &self.folder, &object)?;
        self.carry_out(plan)?;
        self.written(&object.key)
    }

    fn update(&self, object: Object) -> Result<Object, StoreError> {
        resources::check_written(&object)?;
        let _turn = self.lock.take()?;
        let Some(old) = self.current(&object.key)? else {
            return Err(StoreError::NotFound(object.key));
        };
        if old.revision != object.revision {
            return Err(StoreError::Conflict(object.key));
        }
        if index::revision_of(&object) == index::revision_of(&old) {
            return Ok(old);
        }
        let plan = write::plan_update(&self.index(), &object)?;
        self.carry_out(plan)?;
        self.written(&object.key)
    }

    fn delete(&self, key: &Key, revision: Option<&Revision>) -> Result<(), StoreError> {
        let _turn = self.lock.take()?;
        let Some(old) = self.current(key)? else {
            return Err(StoreError::NotFound(key.clone()));
        };
        if revision.is_some() && old.revision.as_ref() != revision {
            return Err(StoreError::Conflict(key.clone()));
        }
        let plan = write::plan_delete(&self.index(), key)?;
        self.carry_out(plan)
    }

    fn carry_out(&self, plan: write::Plan) -> Result<(), StoreError> {
        plan.carry_out(&self.folder, self.options.durable)?;
        self.index().accept(plan);
        Ok(())
    }

    fn written(&self, key: &Key) -> Result<Object, StoreError> {
        let index = self.index();
        index
            .object(key)
            .cloned()
            .ok_or_else(|| StoreError::Conflict(key.clone()))
    }
}

#[async_trait]
impl Datastore for FileDatastore {
    fn election(&self) -> Option<Box<dyn Election>> {
        Some(Box::new(FileElection::new(self.inner.folder.clone())))
    }

    async fn get(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        let key = key.clone();
        self.run(move |inner| inner.current(&key)).await
    }

    async fn list(&self, kind: Kind) -> Result<Vec<Object>, StoreError> {
        self.run(move |inner| {
            let mut index = inner.index();
            index.refresh_kind(kind);
            index.check_folder()?;
            Ok(index.objects(kind))
        })
        .await
    }

    async fn create(&self, object: Object) -> Result<Object, StoreError> {
        self.run(move |inner| inner.create(object)).await
    }

    async fn update(&self, object: Object) -> Result<Object, StoreError> {
        self.run(move |inner| inner.update(object)).await
    }

    async fn delete(&self, key: &Key, revision: Option<&Revision>) -> Result<(), StoreError> {
        let (key, revision) = (key.clone(), revision.cloned());
        self.run(move |inner| inner.delete(&key, revision.as_ref()))
            .await
    }

    async fn watch(&self, kinds: &[Kind]) -> Result<Watcher, StoreError> {
        let kinds = kinds.to_vec();
        self.run(move |inner| {
            let mut index = inner.index();
            index.rescan_for(&kinds);
            Ok(index.subscribe(&kinds))
        })
        .await
    }
}

/// The disk is waited for on a thread that nobody else needs.
async fn blocking<T: Send + 'static>(
    act: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(act).await {
        Ok(result) => result,
        Err(stopped) => Err(StoreError::Unavailable {
            what: "file".to_owned(),
            why: stopped.to_string(),
        }),
    }
}

/// One clear sentence for what the operating system says.
fn unavailable(path: &Path, error: &io::Error) -> StoreError {
    let why = match error.kind() {
        io::ErrorKind::NotFound => "it does not exist".to_owned(),
        io::ErrorKind::PermissionDenied => "no permission to read and write it".to_owned(),
        io::ErrorKind::ReadOnlyFilesystem => "its file system is read-only".to_owned(),
        io::ErrorKind::StorageFull => "no space is left on its file system".to_owned(),
        io::ErrorKind::NotADirectory => "it is not a folder".to_owned(),
        _ => error.to_string(),
    };
    StoreError::Unavailable {
        what: path.display().to_string(),
        why,
    }
}

#[cfg(test)]
mod tests;
