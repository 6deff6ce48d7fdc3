//! The pod's network namespace, and how to do something inside it.
//!
//! A namespace belongs to a thread. What must happen inside runs on a thread of its own that enters the
//! namespace and ends there, so the plugin itself never leaves the node's.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::fs::MetadataExt;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::error::{CniError, Code};

/// An open namespace: it stays as long as this does.
#[derive(Debug)]
pub(crate) struct Netns {
    path: String,
    file: File,
}

impl Netns {
    /// Opens `CNI_NETNS`.
    pub(crate) fn open(path: &str) -> Result<Netns, CniError> {
        let file = File::open(path).map_err(|error| {
            CniError::new(
                Code::InvalidEnvironment,
                format!("CNI_NETNS {path} cannot be opened: {}", plain(&error)),
            )
            .details(error)
        })?;
        let netns = Netns {
            path: path.to_owned(),
            file,
        };
        // A runtime that hands us the node's own namespace would have us rebuild the node's eth0.
        if netns.is_ours() {
            return Err(CniError::new(
                Code::InvalidEnvironment,
                format!("CNI_NETNS {path} is the node's own network namespace"),
            ));
        }
        Ok(netns)
    }

    /// As it was given.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// For netlink, which places a device by descriptor.
    pub(crate) fn fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    /// Runs `work` inside.
    pub(crate) fn run<T: Send>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send,
    ) -> Result<T, CniError> {
        let done = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network))
                    .map_err(|errno| {
                        let why = match errno {
                            rustix::io::Errno::INVAL => "it is not a network namespace".to_owned(),
                            other => plain(&other.into()),
                        };
                        CniError::new(
                            Code::InvalidEnvironment,
                            format!("CNI_NETNS {} cannot be entered: {why}", self.path),
                        )
                    })?;
                work().map_err(|error| {
                    CniError::new(
                        Code::Kernel,
                        format!("netns {}: {}", self.path, plain(&error)),
                    )
                    .details(error)
                })
            });
            thread.join()
        });
        done.unwrap_or_else(|_| {
            Err(CniError::new(
                Code::Kernel,
                format!("netns {}: the thread inside died", self.path),
            ))
        })
    }

    fn is_ours(&self) -> bool {
        let ours = std::fs::metadata("/proc/thread-self/ns/net");
        let theirs = self.file.metadata();
        matches!((ours, theirs), (Ok(ours), Ok(theirs))
            if (ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino()))
    }
}

/// The system's words without the number that Rust appends.
pub(crate) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" (os error") {
        Some((words, _)) => words.to_lowercase(),
        None => text,
    }
}
