//! Values under `/proc/sys`: read first, written only when different, and what cannot be written is remembered.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

/// The tree, and what could not be written to it.
#[derive(Debug)]
pub(crate) struct Sysctls {
    root: PathBuf,
    refused: BTreeMap<String, String>,
}

impl Sysctls {
    pub(crate) fn new(root: PathBuf) -> Sysctls {
        Sysctls {
            root,
            refused: BTreeMap::new(),
        }
    }

    /// Makes `path` (with slashes, below the root) equal to `value`. Returns whether it is.
    pub(crate) fn set(&mut self, path: &str, value: &str) -> bool {
        let file = self.root.join(path);
        if fs::read_to_string(&file).is_ok_and(|now| now.trim() == value) {
            self.refused.remove(path);
            return true;
        }
        match fs::write(&file, value) {
            Ok(()) => {
                self.refused.remove(path);
                true
            }
            Err(error) => {
                self.refused
                    .insert(path.into(), format!("{path} = {value}: {error}"));
                false
            }
        }
    }

    /// What is there; `None` when it cannot be read.
    pub(crate) fn read(&self, path: &str) -> Option<String> {
        let text = fs::read_to_string(self.root.join(path)).ok()?;
        Some(text.trim().to_owned())
    }

    /// The device is gone, and what was refused of it too.
    pub(crate) fn forget_device(&mut self, device: &str) {
        let part = format!("/{device}/");
        self.refused.retain(|path, _| !path.contains(&part));
    }

    /// One sentence on what was refused, if anything was.
    pub(crate) fn condition(&self) -> Option<String> {
        let first = self.refused.values().next()?;
        let more = match self.refused.len() - 1 {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        Some(format!(
            "cannot set {root}/{first}{more}; workloads may be unreachable until someone sets it: \
             is {root} mounted read-only, or the kernel without this protocol?",
            root = self.root.display(),
        ))
    }
}
