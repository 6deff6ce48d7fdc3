//! A seat in a folder: `flock` on `.lead-<name>`. The kernel frees it as soon as the process is gone, however it went.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use async_trait::async_trait;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::{Attempt, Clock, Election, Seat};
use crate::store::StoreError;

/// Elections in a folder.
#[derive(Debug, Clone)]
pub struct FileElection {
    folder: PathBuf,
}

impl FileElection {
    /// In a folder that exists.
    pub fn new(folder: PathBuf) -> FileElection {
        FileElection { folder }
    }
}

impl Election for FileElection {
    fn seat(&self, name: &str, who: &str) -> Box<dyn Seat> {
        Box::new(FileSeat {
            path: self.folder.join(format!(".lead-{name}")),
            who: who.to_owned(),
            locked: None,
        })
    }
}

#[derive(Debug)]
struct FileSeat {
    path: PathBuf,
    who: String,
    /// Open and locked.
    locked: Option<File>,
}

#[async_trait]
impl Seat for FileSeat {
    async fn take(&mut self, _clock: Clock<'_>) -> Result<Attempt, StoreError> {
        // These take no time on any file system that has locks; and if they do, tenure ends.
        self.try_take().map_err(|error| StoreError::Unavailable {
            what: self.path.display().to_string(),
            why: error.to_string(),
        })
    }

    async fn leave(&mut self) {
        self.locked = None;
    }
}

impl FileSeat {
    fn try_take(&mut self) -> std::io::Result<Attempt> {
        if let Some(file) = self.locked.take() {
            if self.is_in_place(&file)? {
                self.locked = Some(file);
                return Ok(Attempt::Ours);
            }
            // Somebody removed the file, and another may have made and locked a new one.
            return Ok(Attempt::Others("another file".to_owned()));
        }
        let mut file = self.open(false)?;
        let mut taken = flock(&file, FlockOperation::NonBlockingLockExclusive);
        if taken == Err(Errno::BADF) {
            // NFS, where an exclusive lock is for those who may write.
            file = self.open(true)?;
            taken = flock(&file, FlockOperation::NonBlockingLockExclusive);
        }
        match taken {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK | Errno::INTR) => {
                let mut who = String::new();
                file.take(1024).read_to_string(&mut who)?;
                return Ok(Attempt::Others(who.trim().to_owned()));
            }
            Err(errno) => return Err(errno.into()),
        }
        if !self.is_in_place(&file)? {
            return Ok(Attempt::Others("another file".to_owned()));
        }
        // For people, and for candidates to say who leads.
        std::fs::write(&self.path, format!("{}\n", self.who))?;
        self.locked = Some(file);
        Ok(Attempt::Ours)
    }

    /// To read, if that is enough: what was open for writing tells everybody who follows the folder when it is closed, and
    /// each candidate would wake all others.
    fn open(&self, to_write: bool) -> std::io::Result<File> {
        let mut options = OpenOptions::new();
        let reading = options.read(true).write(to_write).open(&self.path);
        match reading {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let mut making = OpenOptions::new();
                let making = making.create(true).truncate(false).read(true).write(true);
                making.open(&self.path)
            }
            other => other,
        }
    }

    /// Whether the path still leads to this file.
    fn is_in_place(&self, file: &File) -> std::io::Result<bool> {
        let ours = file.metadata()?;
        match std::fs::metadata(&self.path) {
            Ok(there) => Ok((there.dev(), there.ino()) == (ours.dev(), ours.ino())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}
