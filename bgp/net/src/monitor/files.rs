//! MRT files. A file has its name when it is complete; until then it is `NAME.part`. One directory is for one process.

use std::fs::{File, create_dir_all, read_dir, remove_file, rename};
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use caracal_monitor::config::MrtConfig;
use caracal_monitor::{MrtFile, MrtOutput};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::warn;

/// A thread that writes, since disks may be slow.
#[derive(Debug)]
pub(super) struct Files {
    outputs: mpsc::Sender<MrtOutput>,
    counters: Arc<Counters>,
    thread: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Counters {
    octets: AtomicU64,
    errors: AtomicU64,
}

impl Files {
    /// `None`: there are none to write.
    pub(super) fn start(config: &MrtConfig) -> Option<Files> {
        if *config == MrtConfig::default() {
            return None;
        }
        let (outputs, mut outputs_in) = mpsc::channel(OUTPUTS_MAX);
        let counters = Arc::new(Counters::default());
        let mut writer = Writer::new(config, counters.clone());
        let thread = tokio::task::spawn_blocking(move || {
            writer.complete_left();
            while let Some(output) = outputs_in.blocking_recv() {
                writer.write(output);
            }
            writer.finish();
        });
        Some(Files {
            outputs,
            counters,
            thread,
        })
    }

    pub(super) fn has_room(&self) -> bool {
        self.outputs.capacity() > 0
    }

    /// Returns when there is room.
    pub(super) async fn room(&self) {
        if self.outputs.reserve().await.is_err() {
            std::future::pending().await
        }
    }

    pub(super) fn write(&self, output: MrtOutput) {
        if self.outputs.try_send(output).is_err() {
            self.counters.errors.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Octets written, and errors.
    pub(super) fn counters(&self) -> (u64, u64) {
        let octets = self.counters.octets.load(Ordering::Relaxed);
        (octets, self.counters.errors.load(Ordering::Relaxed))
    }

    /// Returns when everything is on its way to the disk.
    pub(super) async fn finish(self) {
        drop(self.outputs);
        let _ = self.thread.await;
    }
}

/// What the thread does.
struct Writer {
    updates: Option<Series>,
    rib: Option<Series>,
    counters: Arc<Counters>,
}

/// Files of one kind, one after the other.
struct Series {
    directory: PathBuf,
    name: &'static str,
    rotate_after: Option<Duration>,
    rotate_octets: u64,
    open: Option<Open>,
}

struct Open {
    file: BufWriter<File>,
    part: PathBuf,
    path: PathBuf,
    since: Instant,
    octets: u64,
}

impl Writer {
    fn new(config: &MrtConfig, counters: Arc<Counters>) -> Writer {
        let updates = config.updates.as_ref().map(|updates| Series {
            directory: updates.directory.clone(),
            name: "updates",
            rotate_after: Some(Duration::from_secs(updates.rotate_seconds)),
            rotate_octets: updates.rotate_octets,
            open: None,
        });
        let rib = config.rib.as_ref().map(|rib| Series {
            directory: rib.directory.clone(),
            name: "rib",
            rotate_after: None,
            rotate_octets: u64::MAX,
            open: None,
        });
        Writer {
            updates,
            rib,
            counters,
        }
    }

    /// Gives the files of messages that an earlier process left when it was killed their names. A table that it left is
    /// none, and stays as it is.
    fn complete_left(&self) {
        if let Some(updates) = &self.updates
            && let Err(error) = updates.complete_left()
        {
            let directory = updates.directory.display();
            warn!(%directory, %error, "cannot complete the MRT files of an earlier process");
            self.counters.errors.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn write(&mut self, output: MrtOutput) {
        let (of, octets) = match &output {
            MrtOutput::Octets(of, octets) => (*of, octets.len()),
            MrtOutput::End(of) | MrtOutput::Abandon(of) => (*of, 0),
        };
        let Some(series) = self.series(of) else {
            return;
        };
        let done = match output {
            MrtOutput::Octets(_, octets) => series.append(&octets),
            MrtOutput::End(_) => series.complete(),
            MrtOutput::Abandon(_) => {
                series.abandon();
                Ok(())
            }
        };
        match done {
            Ok(()) => {
                let octets = u64::try_from(octets).unwrap_or(u64::MAX);
                self.counters.octets.fetch_add(octets, Ordering::Relaxed);
            }
            Err(error) => {
                warn!(file = %series.directory.join(series.name).display(), %error, "cannot write MRT");
                series.abandon();
                self.counters.errors.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn series(&mut self, of: MrtFile) -> Option<&mut Series> {
        match of {
            MrtFile::Updates => self.updates.as_mut(),
            MrtFile::Rib => self.rib.as_mut(),
        }
    }

    /// Messages are complete at any point, tables are not.
    fn finish(&mut self) {
        if let Some(updates) = &mut self.updates {
            let _ = updates.complete();
        }
        if let Some(rib) = &mut self.rib {
            rib.abandon();
        }
    }
}

impl Series {
    fn complete_left(&self) -> std::io::Result<()> {
        let entries = match read_dir(&self.directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let part = entry?.path();
            let path = part.with_extension("");
            if self.is_part(&part) && !path.exists() {
                rename(&part, &path)?;
            }
        }
        Ok(())
    }

    fn is_part(&self, path: &Path) -> bool {
        let seconds = path
            .file_name()
            .and_then(|name| name.to_str()?.strip_prefix(self.name)?.strip_prefix('.'))
            .and_then(|rest| rest.strip_suffix(".mrt.part"));
        seconds.is_some_and(|seconds| seconds.parse::<u64>().is_ok())
    }

    fn append(&mut self, octets: &[u8]) -> std::io::Result<()> {
        let rotate = self.open.as_ref().is_some_and(|open| {
            let is_old = |after: Duration| open.since.elapsed() >= after;
            self.rotate_after.is_some_and(is_old) || open.octets >= self.rotate_octets
        });
        if rotate {
            self.complete()?;
        }
        let open = match &mut self.open {
            Some(open) => open,
            None => self.open.insert(Open::create(&self.directory, self.name)?),
        };
        open.file.write_all(octets)?;
        open.octets += u64::try_from(octets.len()).unwrap_or(u64::MAX);
        // A crash should cost little.
        open.file.flush()
    }

    fn complete(&mut self) -> std::io::Result<()> {
        match self.open.take() {
            Some(mut open) => {
                open.file.flush()?;
                rename(&open.part, &open.path)
            }
            None => Ok(()),
        }
    }

    fn abandon(&mut self) {
        if let Some(open) = self.open.take() {
            let _ = remove_file(&open.part);
        }
    }
}

impl Open {
    fn create(directory: &Path, name: &str) -> std::io::Result<Open> {
        create_dir_all(directory)?;
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
        let mut seconds = since_1970.unwrap_or_default().as_secs();
        // Two in a second: the second waits for nobody, and takes the next name.
        let path = loop {
            let path = directory.join(format!("{name}.{seconds}.mrt"));
            if !path.exists() {
                break path;
            }
            seconds += 1;
        };
        let part = path.with_extension("mrt.part");
        Ok(Open {
            file: BufWriter::new(File::create(&part)?),
            part,
            path,
            since: Instant::now(),
            octets: 0,
        })
    }
}

const OUTPUTS_MAX: usize = 16;

#[cfg(test)]
mod tests;
