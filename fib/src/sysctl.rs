//! Values under `/proc/sys`: read first, written only when different, and what cannot be written is remembered.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;

use crate::before::Before;
use crate::device_prefixes::DevicePrefixes;

/// The tree, what could not be written to it, and what was there before.
#[derive(Debug)]
pub(crate) struct Sysctls {
    root: PathBuf,
    refused: BTreeMap<String, String>,
    pub(crate) before: Before,
    /// What is set of devices whose name begins so goes with them, and is not noted.
    pub(crate) passing: DevicePrefixes,
}

impl Sysctls {
    /// Notes former values in `before_file`, except of devices whose name fits `device_prefixes`.
    pub(crate) fn new(
        root: PathBuf,
        before_file: Option<PathBuf>,
        device_prefixes: DevicePrefixes,
    ) -> Sysctls {
        let boot_id = fs::read_to_string(root.join(BOOT_ID)).unwrap_or_default();
        Sysctls {
            before: Before::open(before_file, boot_id.trim().into()),
            root,
            refused: BTreeMap::new(),
            passing: device_prefixes,
        }
    }

    /// Makes `path` (with slashes, below the root) equal to `value`. Returns whether it is.
    pub(crate) fn set(&mut self, path: &str, value: &str) -> bool {
        let file = self.root.join(path);
        let now = fs::read_to_string(&file);
        if now.as_ref().is_ok_and(|now| now.trim() == value) {
            self.refused.remove(path);
            return true;
        }
        if let Ok(now) = now
            && !self.passes(path)
        {
            let with_it = self.changed_with(path);
            let own = (path.to_owned(), now.trim().to_owned());
            self.before.note_sysctls(with_it.into_iter().chain([own]));
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

    /// What differs from what it was before us: path and former value, in an order in which they can be written.
    pub(crate) fn changed(&self) -> Vec<(String, String)> {
        let former = &self.before.former().sysctls;
        let differs = |(path, value): &(&String, &String)| {
            fs::read_to_string(self.root.join(path)).is_ok_and(|now| now.trim() != *value)
        };
        let mut changed: Vec<(String, String)> = former
            .iter()
            .filter(differs)
            .map(|(path, value)| (path.clone(), value.clone()))
            .collect();
        changed.sort_by_key(|(path, _)| !FORWARDING.iter().any(|(whole, _)| whole == path));
        changed
    }

    /// Writes a former value. What is gone with its device is well.
    pub(crate) fn put_back(&self, path: &str, value: &str) -> Result<(), String> {
        match fs::write(self.root.join(path), value) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(format!("{path} = {value}: {error}"))
            }
            _ => Ok(()),
        }
    }

    fn passes(&self, path: &str) -> bool {
        path.split('/').any(|part| self.passing.fit(part))
    }

    /// Forwarding as a whole is written to each device by the kernel.
    fn changed_with(&self, path: &str) -> Vec<(String, String)> {
        let Some((_, folder)) = FORWARDING.iter().find(|(whole, _)| *whole == path) else {
            return Vec::new();
        };
        let Ok(devices) = fs::read_dir(self.root.join(folder)) else {
            return Vec::new();
        };
        let names = devices
            .flatten()
            .filter_map(|device| device.file_name().into_string().ok());
        names
            .filter(|name| name != "all")
            .map(|name| format!("{folder}/{name}/forwarding"))
            .filter(|path| !self.passes(path))
            .filter_map(|path| {
                let value = fs::read_to_string(self.root.join(&path)).ok()?;
                Some((path, value.trim().to_owned()))
            })
            .collect()
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

/// Changes at each boot.
const BOOT_ID: &str = "kernel/random/boot_id";
/// What switches forwarding as a whole, and the folder of the devices that go with it.
const FORWARDING: [(&str, &str); 2] = [
    ("net/ipv4/ip_forward", "net/ipv4/conf"),
    ("net/ipv6/conf/all/forwarding", "net/ipv6/conf"),
];
