//! Accepts connections and hands them to the driver. Whose they are is not decided here.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tracing::{debug, warn};

use crate::driver::Input;
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
}

/// Binds; accepting starts with [`accept`].
pub(crate) fn listen(address: SocketAddr) -> Result<TcpListener, NetError> {
    socket::listening(address).map_err(|why| NetError::Listen { address, why })
}

/// Accepts until the driver is gone. An error never ends it.
pub(crate) async fn accept(
    listener: TcpListener,
    address: SocketAddr,
    inputs: mpsc::Sender<Input>,
) {
    let mut pause = Duration::ZERO;
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => {
                pause = Duration::ZERO;
                let local = socket::prepare(&stream).and_then(|()| stream.local_addr());
                match local {
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
            Err(error) if is_about_one_connection(&error) => {
                debug!(%address, %error, "connection was over before it began");
            }
            Err(error) => {
                if pause.is_zero() {
                    warn!(%address, %error, "cannot accept connections for now");
                }
                // Out of files or memory: the kernel would answer at once and again.
                pause = (pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
                tokio::time::sleep(pause).await;
            }
        }
    }
}

fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);
