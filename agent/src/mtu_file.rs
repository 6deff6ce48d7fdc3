//! The file in which Calico's CNI plugin looks for the MTU of pods' devices.

use std::fs;
use std::path::Path;

/// Makes the file say so, in one step, if it does not. A folder that is not there means that nobody looks, unless the
/// file is `required`. The error is a sentence.
pub(crate) fn write(file: &Path, mtu: u32, required: bool) -> Result<(), String> {
    let text = mtu.to_string();
    if fs::read_to_string(file).is_ok_and(|there| there.trim() == text) {
        return Ok(());
    }
    let Some(folder) = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    else {
        return Err(format!("{}: has no folder", file.display()));
    };
    if !required && !folder.is_dir() {
        return Ok(());
    }
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let new = folder.join(format!(".{name}.new"));
    fs::write(&new, &text)
        .and_then(|()| fs::rename(&new, file))
        .map_err(|fault| format!("{}: cannot write MTU {mtu}: {fault}", file.display()))
}

#[cfg(test)]
mod tests;
