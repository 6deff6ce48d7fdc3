//! The port of our writer, by which our own writes are told from those of others.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use netlink_sys::Socket;
use socket2::{SockFilter, SockRef};
use tracing::debug;

/// Shared by the writer, which may get another port, and whoever hears events.
#[derive(Debug, Clone)]
pub(super) struct OwnPort(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    port: AtomicU32,
    /// The socket that hears events, once more.
    hearing: Mutex<Option<OwnedFd>>,
}

impl OwnPort {
    pub(super) fn new(port: u32) -> OwnPort {
        OwnPort(Arc::new(Shared {
            port: AtomicU32::new(port),
            hearing: Mutex::default(),
        }))
    }

    pub(super) fn number(&self) -> u32 {
        self.0.port.load(Ordering::Acquire)
    }

    /// We write by another port from now on. Whoever gets the former one is heard.
    pub(super) fn set(&self, port: u32) {
        self.0.port.store(port, Ordering::Release);
        let hearing = self.0.hearing.lock();
        if let Some(socket) = hearing.unwrap_or_else(PoisonError::into_inner).as_ref() {
            ignore_port(SockRef::from(socket), port);
        }
    }

    /// Keeps notifications about what we wrote from being queued here. They would be most of all that arrives, and would
    /// say only what the acknowledgements have said.
    pub(super) fn ignored_by(&self, socket: &Socket) -> io::Result<()> {
        let mut hearing = self
            .0
            .hearing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *hearing = Some(socket.as_fd().try_clone_to_owned()?);
        ignore_port(SockRef::from(socket), self.number());
        Ok(())
    }
}

fn ignore_port(socket: SockRef<'_>, port: u32) {
    let load_port = SockFilter::new(BPF_LD_W_ABS, 0, 0, NLMSG_PID_OFFSET);
    // Packet loads are in network order, the field is in that of the host.
    let is_ours = SockFilter::new(BPF_JEQ_K, 0, 1, port.to_be());
    let drop = SockFilter::new(BPF_RET_K, 0, 0, 0);
    let accept = SockFilter::new(BPF_RET_K, 0, 0, u32::MAX);
    if let Err(error) = socket.attach_filter(&[load_port, is_ours, drop, accept]) {
        debug!(%error, "netlink: no filter; own writes are told apart after reading");
    }
}

const NLMSG_PID_OFFSET: u32 = 12;
const BPF_LD_W_ABS: u16 = 0x20;
const BPF_JEQ_K: u16 = 0x15;
const BPF_RET_K: u16 = 0x06;
