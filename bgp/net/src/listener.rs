//! Accepts connections and hands them to the driver. Whose they are is not decided here.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::Socket;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use crate::driver::Input;
use crate::options::{OptionsError, OptionsTable};
use crate::socket;

/// Why the shell cannot start.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// A listening socket could not be made.
    #[error("cannot listen on {address}: {}", socket::in_words(.why))]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        why: io::Error,
    },
    /// The thread of the speaker could not be started.
    #[error("cannot start the thread of the speaker: {0}")]
    Thread(io::Error),
    /// It could not be given the keys of the peers.
    #[error(transparent)]
    Options(#[from] OptionsError),
}

/// Listens; accepting starts with [`accept`].
pub(crate) fn listen(address: SocketAddr, options: &OptionsTable) -> Result<Socket, NetError> {
    let failed = |why| NetError::Listen { address, why };
    let socket = socket::bound(address).map_err(failed)?;
    // Before it listens, so that nobody slips in unsigned.
    options.arm(&socket, address.ip())?;
    socket::listen(&socket).map_err(failed)?;
    Ok(socket)
}

/// Accepts until the driver is gone. An error never ends it.
pub(crate) async fn accept(
    listener: Arc<TcpListener>,
    address: SocketAddr,
    inputs: mpsc::Sender<Input>,
) {
    let mut patience = Patience::default();
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => {
                if patience.is_over() {
                    info!(%address, "accepting connections again");
                }
                match stream.local_addr() {
                    Ok(local) => {
                        // While the driver has no time, the others wait in the kernel's queue.
                        if inputs
                            .send(Input::Incoming {
                                stream,
                                local,
                                remote,
                            })
                            .await
                            .is_err()
                        {
                            return;
                        }
                    }
                    Err(error) => debug!(%remote, %error, "connection was over before it began"),
                }
            }
            Err(error) => {
                let is_new = patience.is_fresh();
                if let Some(pause) = patience.after(&error) {
                    if is_new {
                        let error = socket::in_words(&error);
                        warn!(%address, %error, "cannot accept connections for now");
                    }
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }
}

/// How long to wait after errors. Without descriptors, each one that comes free lets one connection in, so that
/// the trouble is over only when many were accepted without an error between.
#[derive(Debug, Default)]
struct Patience {
    pause: Duration,
    accepted: u32,
}

impl Patience {
    fn is_fresh(&self) -> bool {
        self.pause.is_zero()
    }

    /// After a connection that was accepted: true when that ends the trouble.
    fn is_over(&mut self) -> bool {
        if self.is_fresh() {
            return false;
        }
        self.accepted += 1;
        if self.accepted < ACCEPTED_MIN {
            return false;
        }
        *self = Patience::default();
        true
    }

    /// Out of files or memory the kernel would answer at once, again and again.
    fn after(&mut self, error: &io::Error) -> Option<Duration> {
        if is_about_one_connection(error) {
            return None;
        }
        self.accepted = 0;
        self.pause = (self.pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
        Some(self.pause)
    }
}

/// The errors that the next connection does not share (accept(2), "Error handling").
fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
    )
}

/// In a row, until a shortage is over.
const ACCEPTED_MIN: u32 = 16;
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn out_of_files_it_waits_longer_and_longer_but_not_for_ever() {
        let out_of_files = io::Error::from_raw_os_error(24);
        let mut patience = Patience::default();
        let pauses: Vec<_> = (0..8)
            .filter_map(|_| patience.after(&out_of_files))
            .collect();
        assert_eq!(pauses.len(), 8);
        assert_eq!(pauses[0], PAUSE_MIN);
        assert!(pauses.is_sorted());
        assert_eq!(pauses[7], PAUSE_MAX);
    }

    #[test]
    fn a_shortage_is_named_once_although_a_connection_comes_in_now_and_then() {
        let out_of_files = io::Error::from_raw_os_error(24);
        let mut patience = Patience::default();
        let mut named = 0;
        for _ in 0..100 {
            named += usize::from(patience.is_fresh());
            assert!(patience.after(&out_of_files).is_some());
            assert!(!patience.is_over());
        }
        assert_eq!(named, 1);
        assert_eq!((0..100).filter(|_| patience.is_over()).count(), 1);
        assert!(patience.is_fresh());
    }

    #[test]
    fn a_connection_that_was_aborted_costs_the_others_nothing() {
        let mut patience = Patience::default();
        assert_eq!(
            patience.after(&io::ErrorKind::ConnectionAborted.into()),
            None
        );
        assert!(patience.is_fresh());
    }
}
