//! DELs that could not be told to the agent, kept for it.
//!
//! A DEL must not fail because the agent is away: the runtime would keep the dead pod and try for ever. The
//! plugin removes the device, writes what it would have said into the spool folder, and reports success.
//!
//! **Format.** One file for each container and interface, `<containerID>-<ifname>.json`, in the folder `spool` of
//! the network configuration (`/var/lib/caracal/cni` unless it says otherwise). Its content is the body of
//! `POST /v1/cni/del`, one JSON object as [`CniDel`]:
//!
//! ```json
//! {"containerId":"0c1f…","ifname":"eth0","network":"k8s-pod-network"}
//! ```
//!
//! A file appears whole (written under another name that begins with a dot, then renamed). Writing it twice is
//! the same as once. Whoever finds a file does what it says and then removes it: the agent, once its datastore is
//! in sync; and an ADD of the same container and interface (a runtime that restarts a container keeps its ID),
//! before it asks for an address, so that an old DEL never takes a new address away. For the same reason the agent
//! looks, when it is the container's turn, whether the file is still there.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use caracal_agent_api::CniDel;

use crate::error::{CniError, Code};
use crate::netns::plain;

/// Keeps a DEL.
pub(crate) fn keep(folder: &Path, del: &CniDel) -> Result<(), CniError> {
    let path = path_of(folder, del);
    write(folder, &path, del).map_err(|error| {
        CniError::new(
            Code::Io,
            format!(
                "cannot keep the DEL of container {} in {}: {}",
                del.container_id,
                path.display(),
                plain(&error)
            ),
        )
        .details(error)
    })
}

/// Whether a DEL of this container and interface waits.
pub(crate) fn waits(folder: &Path, del: &CniDel) -> bool {
    path_of(folder, del).exists()
}

/// Forgets a DEL that has been done.
pub(crate) fn forget(folder: &Path, del: &CniDel) -> Result<(), CniError> {
    let path = path_of(folder, del);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(CniError::new(
            Code::Io,
            format!("cannot remove {}: {}", path.display(), plain(&error)),
        )),
        _ => Ok(()),
    }
}

fn path_of(folder: &Path, del: &CniDel) -> PathBuf {
    folder.join(format!("{}-{}.json", del.container_id, del.ifname))
}

fn write(folder: &Path, path: &Path, del: &CniDel) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let draft = folder.join(format!(
        ".{}-{}.{}",
        del.container_id,
        del.ifname,
        std::process::id()
    ));
    let mut file = File::create(&draft)?;
    file.write_all(&serde_json::to_vec(del)?)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    // The name must survive a crash of the machine as well as the content.
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests;
