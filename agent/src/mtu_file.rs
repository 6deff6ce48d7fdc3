//! The file in which Calico's CNI plugin looks for the MTU of pods' devices, and the note of what was there before, with
//! which `cleanup` leaves the node as it was.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What stands in the note, which is beside the socket: a reboot empties that folder.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    file: PathBuf,
    /// What we wrote last.
    wrote: String,
    /// What was there before our first write. `None`: there was no file.
    before: Option<String>,
}

/// Makes the file say so, in one step, if it does not, and notes what was there before. A folder that is not there means
/// that nobody looks, unless the file is `required`. The error is a sentence.
pub(crate) fn write(file: &Path, mtu: u32, required: bool, note: &Path) -> Result<(), String> {
    let text = mtu.to_string();
    let there = fs::read_to_string(file).ok();
    if there.as_ref().is_some_and(|there| there.trim() == text) {
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
    let before = match read(note) {
        Some(known) if known.file == file => known.before,
        _ => there,
    };
    fs::write(&new, &text)
        .and_then(|()| fs::rename(&new, file))
        .map_err(|fault| format!("{}: cannot write MTU {mtu}: {fault}", file.display()))?;
    let known = Note {
        file: file.into(),
        wrote: text,
        before,
    };
    let noted = serde_json::to_vec(&known)
        .map_err(Into::into)
        .and_then(|json| fs::write(note, json));
    if let Err(error) = noted {
        tracing::warn!(%error, note = %note.display(), "cleanup will leave the MTU file, because it cannot be noted");
    }
    Ok(())
}

/// For `cleanup`: the file is as it was before us, if nobody else has written to it since. Returns which file that is, and
/// what it says again, if it was there. The error is a sentence.
pub(crate) fn undo(
    note: &Path,
    dry_run: bool,
) -> Result<Option<(PathBuf, Option<String>)>, String> {
    let Some(Note {
        file,
        wrote,
        before,
    }) = read(note)
    else {
        return Ok(None);
    };
    let ours = fs::read_to_string(&file).is_ok_and(|there| there.trim() == wrote);
    if !dry_run {
        let outcome = match &before {
            _ if !ours => Ok(()),
            Some(before) => fs::write(&file, before),
            None => fs::remove_file(&file),
        };
        outcome
            .and_then(|()| fs::remove_file(note))
            .or_else(|fault| match fault.kind() {
                ErrorKind::NotFound => Ok(()),
                _ => Err(format!(
                    "MTU file {}: cannot be put back: {fault}",
                    file.display()
                )),
            })?;
    }
    Ok(ours.then_some((file, before)))
}

/// One that cannot be read is none.
fn read(note: &Path) -> Option<Note> {
    serde_json::from_slice(&fs::read(note).ok()?).ok()
}

#[cfg(test)]
mod tests;
