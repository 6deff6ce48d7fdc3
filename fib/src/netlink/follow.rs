//! Reads what the kernel multicasts, and notices when something was lost.
//!
//! A socket that has overrun says so once, before its queue, and takes nothing more until the queue is empty. So what
//! is read of the kernel before then may be followed by changes of which nobody hears: the overrun is passed on when
//! the queue is empty, and what was left in it is thrown away, since the read that follows knows better.
//!
//! A worker that is busy is waited for, and the kernel's buffer fills meanwhile: so there is one place where too much is lost,
//! and one way to make it good.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};

use netlink_packet_core::{NetlinkBuffer, NetlinkDeserializable, NetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{AsyncSocket, SocketAddr, TokioSocket};
use rtnetlink::MulticastGroup;
use tokio::sync::mpsc;
use tracing::{debug, warn};

use super::own::OwnPort;
use super::socket::{self, Pauses};
use crate::kernel::{Event, Lane};

/// A socket on which datagrams arrive.
pub(super) trait Receive {
    /// The next datagram, when there is one.
    fn poll_receive(&self, context: &mut Context<'_>) -> Poll<io::Result<Vec<u8>>>;

    /// A datagram that is there, and how long it really is.
    fn receive(&self, buffer: &mut Vec<u8>) -> io::Result<usize>;
}

impl Receive for TokioSocket {
    fn poll_receive(&self, context: &mut Context<'_>) -> Poll<io::Result<Vec<u8>>> {
        let received = self.poll_recv_from_full(context);
        received.map_ok(|(datagram, _)| datagram)
    }

    fn receive(&self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        self.socket_ref().recv(buffer, libc::MSG_TRUNC)
    }
}

/// A socket that hears the groups, but nothing of what we did ourselves.
pub(super) fn open(groups: &[MulticastGroup], own: &OwnPort) -> io::Result<TokioSocket> {
    let mut asynchronous = TokioSocket::new(NETLINK_ROUTE)?;
    let socket = asynchronous.socket_mut();
    // Before there is anything to hear.
    socket::set_receive_buffer(socket, RECEIVE_BUFFER_BYTES);
    own.ignored_by(socket)?;
    socket.bind(&SocketAddr::new(0, 0))?;
    for group in groups {
        socket.add_membership(*group as u32)?;
    }
    Ok(asynchronous)
}

/// Passes on what messages mean, until nobody listens. A socket that fails is opened again.
pub(super) async fn follow<M: NetlinkDeserializable, S: Receive>(
    mut socket: S,
    mut open: impl FnMut() -> io::Result<S>,
    own: OwnPort,
    translate: impl Fn(NetlinkMessage<M>) -> Option<Event>,
    events: mpsc::Sender<Event>,
) {
    loop {
        let Err(error) = hear(&socket, &own, &translate, &events).await else {
            return;
        };
        warn!(%error, "netlink: no more events; opening the socket again");
        let lost = |error: &io::Error| Event::SocketLost(Lane::Events, error.to_string());
        events.send(lost(&error)).await.ok();
        drop(socket);
        let mut pauses = Pauses::default();
        socket = loop {
            tokio::time::sleep(pauses.next()).await;
            if events.is_closed() {
                return;
            }
            match open() {
                Ok(socket) => break socket,
                Err(error) => warn!(%error, "netlink: the socket for events does not open"),
            }
        };
        events.send(Event::SocketBack(Lane::Events)).await.ok();
    }
}

/// Until nobody listens, or the socket fails.
async fn hear<M: NetlinkDeserializable>(
    socket: &impl Receive,
    own: &OwnPort,
    translate: &impl Fn(NetlinkMessage<M>) -> Option<Event>,
    events: &mpsc::Sender<Event>,
) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(DATAGRAM_BYTES_MAX);
    let mut lost = false;
    while !events.is_closed() {
        // The first is waited for, the others are there or are not.
        let first = poll_fn(|context| socket.poll_receive(context)).await;
        let mut received = first.map(|datagram| buffer = datagram);
        for count in 1u32.. {
            match received {
                Ok(()) if lost => {}
                Ok(()) => {
                    for message in Messages(&buffer) {
                        match NetlinkMessage::<M>::deserialize(message) {
                            Ok(message) if message.header.port_number == own.number() => {}
                            Ok(message) => {
                                if let Some(event) = translate(message) {
                                    // Whoever does not listen any more ends the loop.
                                    events.send(event).await.ok();
                                }
                            }
                            Err(error) => debug!(%error, "netlink: an event does not decode"),
                        }
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => lost = true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if count.is_multiple_of(DATAGRAMS_A_TURN) {
                // The worker runs on the same thread.
                tokio::task::yield_now().await;
            }
            received = next(socket, &mut buffer);
        }
        if std::mem::take(&mut lost) {
            events.send(Event::Overrun).await.ok();
        }
    }
    Ok(())
}

/// A datagram that is there. One that is longer than the buffer is lost.
fn next(socket: &impl Receive, buffer: &mut Vec<u8>) -> io::Result<()> {
    buffer.clear();
    buffer.reserve(DATAGRAM_BYTES_MAX);
    let room = buffer.capacity();
    match socket.receive(buffer) {
        Ok(length) if length > room => Err(io::Error::from_raw_os_error(libc::ENOBUFS)),
        Ok(_) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The messages of a datagram. A broken length ends it.
struct Messages<'a>(&'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let length = NetlinkBuffer::new_checked(self.0).ok()?.length() as usize;
        let message = self.0.get(..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some(message)
    }
}

/// About 10,000 notifications.
const RECEIVE_BUFFER_BYTES: usize = 8 << 20;
/// A multicast message is one datagram, and seldom more than a page.
const DATAGRAM_BYTES_MAX: usize = 32 << 10;
const DATAGRAMS_A_TURN: u32 = 256;
