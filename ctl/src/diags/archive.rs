//! A compressed archive in memory.

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, Header};

/// Texts by name, below one folder.
pub(super) fn pack(
    folder: &str,
    files: &[(String, String)],
    now: SystemTime,
) -> io::Result<Vec<u8>> {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut builder = Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    for (name, text) in files {
        let mut header = Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(since.as_secs());
        builder.append_data(&mut header, format!("{folder}/{name}"), text.as_bytes())?;
    }
    builder.into_inner()?.finish()
}
