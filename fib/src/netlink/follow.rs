//! Reads what the kernel multicasts, and notices when something was lost.
//!
//! A socket that has overrun says so once, before its queue, and takes nothing more until the queue is empty. So what
//! is read of the kernel before then may be followed by changes of which nobody hears: the overrun is passed on when
//! the queue is empty, and what was left in it is thrown away, since the read that follows knows better.

use std::future::poll_fn;
use std::io;

use netlink_packet_core::{NetlinkBuffer, NetlinkDeserializable, NetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{AsyncSocket, SocketAddr, TokioSocket};
use rtnetlink::MulticastGroup;
use tokio::sync::mpsc;
use tracing::{debug, warn};

use super::socket;
use crate::kernel::Event;

/// A socket that hears the groups, but nothing of what `writer` did.
pub(super) fn open(groups: &[MulticastGroup], writer: u32) -> io::Result<TokioSocket> {
    let mut asynchronous = TokioSocket::new(NETLINK_ROUTE)?;
    let socket = asynchronous.socket_mut();
    // Before there is anything to hear.
    socket::set_receive_buffer(socket, RECEIVE_BUFFER_BYTES);
    socket::ignore_port(socket, writer);
    socket.bind(&SocketAddr::new(0, 0))?;
    for group in groups {
        socket.add_membership(*group as u32)?;
    }
    Ok(asynchronous)
}

/// Passes on what messages mean, until nobody listens or the socket fails.
pub(super) async fn follow<M: NetlinkDeserializable>(
    socket: TokioSocket,
    writer: u32,
    translate: impl Fn(NetlinkMessage<M>) -> Option<Event>,
    events: mpsc::UnboundedSender<Event>,
) {
    let mut buffer = Vec::with_capacity(DATAGRAM_BYTES_MAX);
    let mut lost = false;
    while !events.is_closed() {
        // The first is waited for, the others are there or are not.
        let first = poll_fn(|context| socket.poll_recv_from_full(context)).await;
        let mut received = first.map(|(datagram, _)| buffer = datagram);
        for count in 1u32.. {
            match received {
                Ok(()) if lost => {}
                Ok(()) => {
                    for message in Messages(&buffer) {
                        match NetlinkMessage::<M>::deserialize(message) {
                            Ok(message) if message.header.port_number == writer => {}
                            Ok(message) => {
                                if let Some(event) = translate(message) {
                                    // Whoever does not listen any more ends the loop.
                                    events.send(event).ok();
                                }
                            }
                            Err(error) => debug!(%error, "netlink: an event does not decode"),
                        }
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => lost = true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    warn!(%error, "netlink: no more events");
                    return;
                }
            }
            if count.is_multiple_of(DATAGRAMS_A_TURN) {
                // The worker runs on the same thread.
                tokio::task::yield_now().await;
            }
            received = next(&socket, &mut buffer);
        }
        if std::mem::take(&mut lost) {
            events.send(Event::Overrun).ok();
        }
    }
}

/// A datagram that is there. One that is longer than the buffer is lost.
fn next(socket: &TokioSocket, buffer: &mut Vec<u8>) -> io::Result<()> {
    buffer.clear();
    buffer.reserve(DATAGRAM_BYTES_MAX);
    let room = buffer.capacity();
    match socket.socket_ref().recv(buffer, libc::MSG_TRUNC) {
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
