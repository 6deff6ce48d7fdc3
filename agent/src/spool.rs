//! Finishes the DELs that the CNI plugin recorded while no agent was there.
//!
//! Each is a file of one [`CniDel`] as JSON; it is removed when the DEL is done.

use std::path::{Path, PathBuf};

use caracal_agent_api::CniDel;
use tracing::{info, warn};

use crate::workloads::Workloads;

/// Does what can be done now; the rest stays for the next time.
pub(crate) async fn finish(folder: &Path, workloads: &Workloads) {
    for file in waiting(folder) {
        let request = match read(&file) {
            Ok(request) => request,
            Err(fault) => {
                warn!(
                    "recorded DEL {} cannot be read: {fault}; set aside as .bad",
                    file.display()
                );
                let _ = std::fs::rename(&file, file.with_extension("bad"));
                continue;
            }
        };
        match workloads.del_if(&request, || file.exists()).await {
            Ok(_) => {
                info!(
                    "container {}: finished the DEL that was recorded while the agent was away",
                    request.container_id
                );
                if let Err(fault) = std::fs::remove_file(&file) {
                    warn!("recorded DEL {} cannot be removed: {fault}", file.display());
                }
            }
            Err(fault) => warn!(
                "container {}: recorded DEL waits: {fault}",
                request.container_id
            ),
        }
    }
}

fn waiting(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
        .collect();
    files.sort();
    files
}

fn read(file: &Path) -> Result<CniDel, String> {
    let text = std::fs::read(file).map_err(|fault| fault.to_string())?;
    serde_json::from_slice(&text).map_err(|fault| fault.to_string())
}
