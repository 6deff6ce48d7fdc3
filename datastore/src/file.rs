//! A folder of YAML manifests that a person may edit while it runs.

use std::path::Path;

use crate::store::StoreError;

/// The `file` backend.
#[derive(Debug)]
pub struct FileDatastore {}

impl FileDatastore {
    /// Opens the folder, which must exist and be writable (`Unavailable` names path and reason).
    pub async fn open(folder: &Path) -> Result<FileDatastore, StoreError> {
        todo!()
    }
}
