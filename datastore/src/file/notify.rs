//! Follows what others do to the folder: inotify on every folder below it, or a look at everything now and
//! then where inotify is not to be had.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::StreamExt;
use inotify::{Event, EventMask, EventStream, Inotify, WatchDescriptor, WatchMask};
use tokio::task::AbortHandle;

use super::{Inner, layout};

/// Some editors move the old file away before they write the new one. Objects do not vanish for that long.
const RENAME_GRACE: Duration = Duration::from_millis(100);

/// How long after events got lost, or the folder went away, everything is looked at again.
const RETRY: Duration = Duration::from_secs(1);

/// Starts following. What happened since the first scan is seen, too.
pub(crate) async fn follow(inner: &Arc<Inner>) -> AbortHandle {
    let weak = Arc::downgrade(inner);
    let mut watches = None;
    if inner.options.inotify {
        match Watches::begin(inner) {
            Ok(begun) => watches = Some(begun),
            Err(error) => tracing::warn!(
                folder = %inner.folder.display(),
                interval = ?inner.options.poll_interval,
                %error,
                "cannot follow the folder by inotify, looking at it at intervals instead"
            ),
        }
    }
    let interval = inner.options.poll_interval;
    let task = match watches {
        Some(watches) => tokio::spawn(watches.run(weak)),
        None => tokio::spawn(poll(weak, interval)),
    };
    task.abort_handle()
}

async fn poll(inner: Weak<Inner>, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        if act(&inner, |inner| {
            inner.index().rescan();
        })
        .await
        .is_none()
        {
            return;
        }
    }
}

/// Runs on a thread that may wait for the disk. `None`: the store is closed.
async fn act<T: Send + 'static>(
    inner: &Weak<Inner>,
    act: impl FnOnce(&Arc<Inner>) -> T + Send + 'static,
) -> Option<T> {
    let inner = inner.upgrade()?;
    tokio::task::spawn_blocking(move || act(&inner)).await.ok()
}

struct Watches {
    stream: EventStream<Vec<u8>>,
    folders: HashMap<WatchDescriptor, PathBuf>,
}

/// What a batch of events asks for.
#[derive(Debug, Default)]
struct Batch {
    changed: BTreeSet<PathBuf>,
    /// Changed, and their writer is done.
    closed: BTreeSet<PathBuf>,
    /// Moved away; perhaps to be replaced at once.
    moved: BTreeSet<PathBuf>,
    /// Folders came or went, or events were lost.
    rescan: bool,
}

impl Watches {
    fn begin(inner: &Arc<Inner>) -> io::Result<Watches> {
        let inotify = Inotify::init()?;
        let stream = inotify.into_event_stream(vec![0; 64 * 1024])?;
        let mut watches = Watches {
            stream,
            folders: HashMap::new(),
        };
        // First the watches, then the scan: nothing falls between.
        watches.add(layout::walk(&inner.folder).folders)?;
        inner.index().rescan();
        Ok(watches)
    }

    fn add(&mut self, folders: Vec<PathBuf>) -> io::Result<()> {
        let mask = WatchMask::CLOSE_WRITE
            | WatchMask::MOVED_TO
            | WatchMask::MOVED_FROM
            | WatchMask::DELETE
            | WatchMask::CREATE
            | WatchMask::ATTRIB
            | WatchMask::DELETE_SELF
            | WatchMask::MOVE_SELF
            | WatchMask::ONLYDIR;
        for folder in folders {
            match self.stream.watches().add(&folder, mask) {
                Ok(descriptor) => {
                    self.folders.insert(descriptor, folder);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn run(mut self, inner: Weak<Inner>) {
        while let Some(event) = self.stream.next().await {
            let mut batch = Batch::default();
            self.note(event, &mut batch);
            // Whatever else has happened by now belongs to the same batch.
            while let Some(Some(event)) = futures::FutureExt::now_or_never(self.stream.next()) {
                self.note(event, &mut batch);
            }
            if !self.handle(batch, &inner).await {
                return;
            }
        }
    }

    fn note(&mut self, event: io::Result<Event<std::ffi::OsString>>, batch: &mut Batch) {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                tracing::warn!(%error, "lost events of the folder, looking at everything");
                batch.rescan = true;
                return;
            }
        };
        if event.mask.contains(EventMask::Q_OVERFLOW) {
            batch.rescan = true;
            return;
        }
        let Some(folder) = self.folders.get(&event.wd).cloned() else {
            return;
        };
        if event.mask.contains(EventMask::IGNORED) {
            self.folders.remove(&event.wd);
            batch.rescan = true;
            return;
        }
        let Some(name) = event.name else {
            batch.rescan |= event
                .mask
                .intersects(EventMask::DELETE_SELF | EventMask::MOVE_SELF | EventMask::ATTRIB);
            return;
        };
        let path = folder.join(name);
        if event.mask.contains(EventMask::ISDIR) {
            batch.rescan |= !layout::is_hidden(&path);
        } else if layout::is_manifest(&path) {
            if event.mask.contains(EventMask::MOVED_FROM) {
                batch.moved.insert(path);
            } else if event.mask.contains(EventMask::CLOSE_WRITE) {
                batch.closed.insert(path);
            } else if !event.mask.contains(EventMask::CREATE) || path.is_symlink() {
                batch.changed.insert(path);
            }
        } else if event.mask.contains(EventMask::MOVED_TO) && path.is_symlink() {
            // The files of a mounted ConfigMap are links through `..data`, which is replaced as a whole.
            batch.rescan = true;
        }
    }

    /// Returns false when the store is closed.
    async fn handle(&mut self, batch: Batch, inner: &Weak<Inner>) -> bool {
        let closed: Vec<PathBuf> = batch.closed.into_iter().collect();
        let changed: Vec<PathBuf> = batch.changed.into_iter().collect();
        if !(closed.is_empty() && changed.is_empty())
            && act(inner, move |inner| {
                inner.index().refresh_closed(&closed);
                inner.index().refresh(&changed);
            })
            .await
            .is_none()
        {
            return false;
        }
        if !batch.moved.is_empty() {
            let moved: Vec<PathBuf> = batch.moved.into_iter().collect();
            let inner = inner.clone();
            tokio::spawn(async move {
                tokio::time::sleep(RENAME_GRACE).await;
                act(&inner, move |inner| inner.index().refresh(&moved)).await;
            });
        }
        !batch.rescan || self.rescan(inner).await
    }

    /// Looks at everything, and at new folders from now on. A folder that went away as a whole may come back.
    async fn rescan(&mut self, inner: &Weak<Inner>) -> bool {
        loop {
            let Some(folders) = act(inner, |inner| layout::walk(&inner.folder).folders).await
            else {
                return false;
            };
            let there = !folders.is_empty();
            if let Err(error) = self.add(folders) {
                tracing::warn!(%error, "cannot follow all folders by inotify, looking at them at intervals");
                let Some(interval) = inner.upgrade().map(|inner| inner.options.poll_interval)
                else {
                    return false;
                };
                poll(inner.clone(), interval).await;
                return false;
            }
            if act(inner, |inner| {
                inner.index().rescan();
            })
            .await
            .is_none()
            {
                return false;
            }
            if there {
                return true;
            }
            tokio::time::sleep(RETRY).await;
        }
    }
}
