//! Writers take turns: within the process by a mutex, between processes by `flock` on `<folder>/.lock`.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::unavailable;
use crate::store::StoreError;

#[derive(Debug)]
pub(crate) struct FolderLock {
    file: Mutex<File>,
    path: PathBuf,
    timeout: Duration,
}

/// A writer's turn; over when dropped.
pub(crate) struct Turn<'a> {
    file: MutexGuard<'a, File>,
}

impl FolderLock {
    /// Opens the lock file, which also tells whether the folder can be written to.
    pub(crate) fn open(folder: &Path, timeout: Duration) -> Result<FolderLock, StoreError> {
        let metadata = std::fs::metadata(folder).map_err(|error| unavailable(folder, &error))?;
        if !metadata.is_dir() {
            return Err(StoreError::Unavailable {
                what: folder.display().to_string(),
                why: "it is not a folder".to_owned(),
            });
        }
        let path = folder.join(".lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|error| unavailable(folder, &error))?;
        Ok(FolderLock {
            file: Mutex::new(file),
            path,
            timeout,
        })
    }

    /// Waits for its turn, and not for ever: a process that was stopped in the middle of a write must not
    /// hang the others without a word.
    pub(crate) fn take(&self) -> Result<Turn<'_>, StoreError> {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let deadline = Instant::now() + self.timeout;
        let mut pause = Duration::from_micros(50);
        loop {
            match flock(&*file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Turn { file }),
                Err(Errno::WOULDBLOCK | Errno::INTR) => {}
                Err(errno) => return Err(unavailable(&self.path, &errno.into())),
            }
            if Instant::now() >= deadline {
                return Err(StoreError::Unavailable {
                    what: self.path.display().to_string(),
                    why: format!("another process has held the lock for {:?}", self.timeout),
                });
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(5));
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // Closing the file would give the lock back too; nothing can be done about an error here.
        let _ = flock(&*self.file, FlockOperation::Unlock);
    }
}
