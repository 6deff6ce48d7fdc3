//! Writes down what is done to a speaker (see [`caracal_bgp::record`]).

use std::ffi::OsString;
use std::fs::{File, rename};
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use caracal_bgp::record::Record;
use caracal_bgp::{Speaker, Time};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::{error, warn};

/// The driver's end. Dropped, the record is complete.
#[derive(Debug)]
pub(crate) struct Recorder {
    out: mpsc::Sender<Vec<Record>>,
    thread: JoinHandle<()>,
}

/// Records everything that is done to the new speaker from here on into this file. Give the speaker to
/// [`crate::Shell::start`] then, and the recording to [`crate::Shell::record`]. A record that is there is kept as
/// `FILE.1`, those before it as `FILE.2` to `FILE.5`: the process that wrote it may have crashed, and it tells why.
pub fn begin(speaker: &mut Speaker, now: Time, path: &Path) -> std::io::Result<Recording> {
    keep_earlier(path)?;
    let file = BufWriter::new(File::create(path)?);
    speaker.set_recording(now, true);
    Ok(Recording(file))
}

/// Files without anything in them, and what is no file (`/dev/null`, a pipe), are not kept.
fn keep_earlier(path: &Path) -> std::io::Result<()> {
    match path.metadata() {
        Ok(found) if found.is_file() && found.len() > 0 => {}
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    for age in (1..EARLIER_MAX).rev() {
        match rename(earlier(path, age), earlier(path, age + 1)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    rename(path, earlier(path, 1))
}

fn earlier(path: &Path, age: usize) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{age}"));
    PathBuf::from(name)
}

/// A record that has begun.
#[derive(Debug)]
pub struct Recording(BufWriter<File>);

impl Recorder {
    pub(crate) fn start(recording: Recording) -> Recorder {
        let (out, mut records) = mpsc::channel::<Vec<Record>>(BATCHES_MAX);
        let Recording(mut file) = recording;
        let thread = tokio::task::spawn_blocking(move || {
            while let Some(batch) = records.blocking_recv() {
                let written = batch
                    .iter()
                    .try_for_each(|record| caracal_monitor::record::write(record, &mut file))
                    .and_then(|()| file.flush());
                if let Err(error) = written {
                    error!(%error, "cannot write the record: it ends here");
                    return;
                }
            }
        });
        Recorder { out, thread }
    }

    /// Returns when everything is written.
    pub(crate) async fn finish(self) {
        drop(self.out);
        let _ = self.thread.await;
    }

    /// False: it has ended. A record with a hole could not be replayed, so one that does not keep up ends.
    pub(crate) fn take(&self, speaker: &mut Speaker) -> bool {
        let batch: Vec<Record> = std::iter::from_fn(|| speaker.poll_record()).collect();
        if batch.is_empty() {
            return true;
        }
        let kept = self.out.try_send(batch).is_ok();
        if !kept {
            warn!("the record is written more slowly than things happen: it ends here");
        }
        kept
    }
}

/// Turns of the driver.
const BATCHES_MAX: usize = 1024;
/// Records of earlier processes.
const EARLIER_MAX: usize = 5;

#[cfg(test)]
mod tests;
