//! What netlink-sys has no words for.

use std::time::Duration;

use netlink_sys::Socket;
use socket2::SockRef;
use tracing::debug;

/// Makes the receive buffer this large, or as large as we may.
pub(super) fn set_receive_buffer(socket: &Socket, bytes: usize) {
    // Past rmem_max only with CAP_NET_ADMIN in the first user namespace.
    let forced = rustix::net::sockopt::set_socket_recv_buffer_size_force(socket, bytes);
    if forced.is_err()
        && let Err(error) = SockRef::from(socket).set_recv_buffer_size(bytes)
    {
        debug!(%error, bytes, "netlink: receive buffer stays as it is");
    }
}

/// How long to wait before a lost socket is opened, each time that it fails.
#[derive(Debug, Default)]
pub(super) struct Pauses(u32);

impl Pauses {
    pub(super) fn next(&mut self) -> Duration {
        let pause = PAUSE_MIN * 2u32.saturating_pow(self.0);
        self.0 = (self.0 + 1).min(16);
        pause.min(PAUSE_MAX)
    }
}

const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(10);
