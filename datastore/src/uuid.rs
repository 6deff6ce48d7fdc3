//! Random names for what must be unlike everything else.

use crate::store::StoreError;

/// A random UUID, of the kernel.
pub(crate) fn random() -> Result<String, StoreError> {
    const SOURCE: &str = "/proc/sys/kernel/random/uuid";
    let text = std::fs::read_to_string(SOURCE).map_err(|error| StoreError::Unavailable {
        what: SOURCE.to_owned(),
        why: error.to_string(),
    })?;
    Ok(text.trim().to_owned())
}
