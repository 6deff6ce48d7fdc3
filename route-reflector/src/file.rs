//! Follows the configuration file by content, not by inotify: a ConfigMap changes by a symbolic link two folders up.
//!
//! Many editors, and `cp`, empty a file before they write it anew, so a text counts only when two looks in a row have
//! found the same.

use std::io;
use std::path::{Path, PathBuf};

/// The file and what it said.
#[derive(Debug)]
pub(crate) struct ConfigFile {
    path: PathBuf,
    /// What was last taken. `None`: it could not be read.
    taken: Option<String>,
    /// What the last look has found, when that was something else.
    found: Option<Option<String>>,
}

impl ConfigFile {
    /// As it is now.
    pub(crate) fn new(path: PathBuf) -> ConfigFile {
        let taken = std::fs::read_to_string(&path).ok();
        ConfigFile {
            path,
            taken,
            found: None,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes what the file says at this moment.
    pub(crate) fn take(&mut self) -> io::Result<String> {
        let text = std::fs::read_to_string(&self.path);
        self.taken = text.as_ref().ok().cloned();
        self.found = None;
        text
    }

    /// Looks. Returns what the file says, or why it cannot be read, when that is news and has been the same at the
    /// look before.
    pub(crate) fn look(&mut self) -> Option<io::Result<String>> {
        let text = std::fs::read_to_string(&self.path);
        let now = text.as_ref().ok().cloned();
        if now == self.taken {
            self.found = None;
            return None;
        }
        if self.found.as_ref() != Some(&now) {
            self.found = Some(now);
            return None;
        }
        self.taken = now;
        self.found = None;
        Some(text)
    }
}

#[cfg(test)]
mod tests;
