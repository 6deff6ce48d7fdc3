//! What the kernel was like before we came, of the things that are not ours to remove: it is written to a file before
//! the first change of each, so that [`crate::cleanup()`] can put it back.
//!
//! The file belongs where a reboot empties it (`/run`), because a reboot empties the kernel too. It names the boot that it is
//! about, should it survive one all the same. A value that is there stays: the first agent of a boot saw the node as it was.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use tracing::warn;

/// The content of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Former {
    boot_id: String,
    /// By path below `/proc/sys`.
    pub(crate) sysctls: BTreeMap<String, String>,
    pub(crate) ipip: Option<FormerIpip>,
}

/// What `tunl0` was like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FormerIpip {
    /// Octets.
    pub(crate) mtu: u32,
    pub(crate) up: bool,
    pub(crate) addresses: Vec<IpNet>,
}

/// `mtu 1480, down, no address`.
impl fmt::Display for FormerIpip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.up { "up" } else { "down" };
        write!(f, "mtu {}, {state}, ", self.mtu)?;
        if self.addresses.is_empty() {
            return f.write_str("no address");
        }
        let addresses: Vec<String> = self.addresses.iter().map(IpNet::to_string).collect();
        f.write_str(&addresses.join(" "))
    }
}

/// The file, and what it says.
#[derive(Debug, Default)]
pub(crate) struct Before {
    file: Option<PathBuf>,
    former: Former,
    /// It cannot be written, which was said.
    lost: bool,
}

impl Before {
    /// Goes on with what the file says, if it is about this boot. Without a file nothing is noted.
    pub(crate) fn open(file: Option<PathBuf>, boot_id: String) -> Before {
        let mut former = Former {
            boot_id,
            ..Former::default()
        };
        match file.as_deref().map(read) {
            Some(Ok(Some(known))) if known.boot_id == former.boot_id => former = known,
            Some(Err(error)) => {
                warn!(%error, "what the kernel was like before us cannot be read; noting it anew");
            }
            _ => {}
        }
        Before {
            file,
            former,
            lost: false,
        }
    }

    pub(crate) fn former(&self) -> &Former {
        &self.former
    }

    /// Notes the values that are about to change.
    pub(crate) fn note_sysctls(&mut self, values: impl IntoIterator<Item = (String, String)>) {
        let mut news = false;
        for (path, value) in values {
            if let std::collections::btree_map::Entry::Vacant(free) =
                self.former.sysctls.entry(path)
            {
                free.insert(value);
                news = true;
            }
        }
        if news {
            self.save();
        }
    }

    /// Notes what `tunl0` is like, before it changes.
    pub(crate) fn note_ipip(&mut self, ipip: impl FnOnce() -> FormerIpip) {
        if self.file.is_some() && self.former.ipip.is_none() {
            self.former.ipip = Some(ipip());
            self.save();
        }
    }

    /// The kernel is as it was.
    pub(crate) fn forget(self) -> io::Result<()> {
        match self.file.as_deref().map(fs::remove_file) {
            Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// A process that ends in the middle leaves the old file. Pods matter more than this file, so a change is made also when
    /// it cannot be written.
    fn save(&mut self) {
        let Some(file) = self.file.as_deref() else {
            return;
        };
        let written = write(file, &self.former);
        if let Err(error) = &written
            && !self.lost
        {
            warn!(
                file = %file.display(), %error,
                "what the kernel was like before us cannot be noted; cleanup will not put it back"
            );
        }
        self.lost = written.is_err();
    }
}

/// `None`: there is no such file.
fn read(file: &Path) -> Result<Option<Former>, String> {
    let text = match fs::read(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{}: {error}", file.display())),
    };
    let former = serde_json::from_slice(&text);
    former
        .map(Some)
        .map_err(|error| format!("{}: {error}", file.display()))
}

fn write(file: &Path, former: &Former) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    let new = file.with_extension("new");
    fs::write(&new, serde_json::to_vec_pretty(former)?)?;
    fs::rename(new, file)
}
