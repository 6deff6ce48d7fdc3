//! A blocking netlink socket for nfnetlink: requests, dumps, transactions.

use std::io;
use std::time::Duration;

use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};
use socket2::SockRef;
use tracing::debug;

use crate::message::{
    AttributesOf, Message, Messages, NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_DUMP,
    NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR, NLMSG_HEADER_BYTES, NLMSGERR_ATTR_MSG, Received,
    u32_at,
};

/// Belongs to the network namespace of the thread that opens it.
#[derive(Debug)]
pub(crate) struct Netfilter {
    socket: Socket,
    port: u32,
    sequence: u32,
    send_buffer_bytes: usize,
}

/// Why something is not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// The kernel says no.
    #[error("{reason}")]
    Refused {
        /// Which message of a transaction; `None` is all of it.
        place: Option<usize>,
        errno: i32,
        /// Its own words, if it has any, and those for the number.
        reason: String,
    },
    /// Somebody changed something since the generation that the transaction was made for, or while a dump ran.
    #[error("changed meanwhile")]
    Stale,
    /// The socket itself.
    #[error("{0}")]
    Socket(String),
}

impl Failure {
    pub(crate) fn errno(&self) -> Option<i32> {
        match self {
            Failure::Refused { errno, .. } => Some(*errno),
            _ => None,
        }
    }
}

impl Netfilter {
    pub(crate) fn open() -> io::Result<Netfilter> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        let port = socket.bind_auto()?.port_number();
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_ext_ack(true)?;
        socket.set_cap_ack(true)?;
        set_receive_buffer(&socket, RECEIVE_BUFFER_BYTES);
        let shared = SockRef::from(&socket);
        // The kernel answers inside of send; this is for a kernel that does not answer at all.
        shared.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        let send_buffer_bytes = shared.send_buffer_size()?;
        Ok(Netfilter {
            socket,
            port,
            sequence: 0,
            send_buffer_bytes,
        })
    }

    /// By this number our own changes are told from those of others in events.
    pub(crate) fn port(&self) -> u32 {
        self.port
    }

    /// One request with one answer of this kind.
    pub(crate) fn ask<T>(
        &mut self,
        message: &Message,
        read: impl Fn(Received<'_>) -> Option<T>,
    ) -> Result<T, Failure> {
        let sequence = self.send_one(message, 0)?;
        let mut answer = None;
        self.receive(|received| {
            if received.sequence != sequence {
                return Ok(false);
            }
            if received.kind == NLMSG_ERROR {
                refusal(&received, None).map_or(Ok(()), Err)?;
            }
            answer = read(received);
            Ok(true)
        })?;
        answer.ok_or_else(|| Failure::Socket("an answer that cannot be read".into()))
    }

    /// One request that is only acknowledged.
    pub(crate) fn order(&mut self, message: &Message) -> Result<(), Failure> {
        let sequence = self.send_one(message, NLM_F_ACK)?;
        self.receive(|received| {
            if received.sequence != sequence || received.kind != NLMSG_ERROR {
                return Ok(false);
            }
            refusal(&received, None).map_or(Ok(true), Err)
        })
    }

    /// Everything of one kind. `Stale` when it changed while it was read.
    pub(crate) fn dump(
        &mut self,
        message: &Message,
        mut each: impl FnMut(Received<'_>),
    ) -> Result<(), Failure> {
        let sequence = self.send_one(message, NLM_F_DUMP)?;
        let mut interrupted = false;
        self.receive(|received| {
            if received.sequence != sequence {
                return Ok(false);
            }
            interrupted |= received.flags & NLM_F_DUMP_INTR != 0;
            match received.kind {
                NLMSG_DONE => return Ok(true),
                NLMSG_ERROR => refusal(&received, None).map_or(Ok(()), Err)?,
                _ => each(received),
            }
            Ok(false)
        })?;
        if interrupted {
            return Err(Failure::Stale);
        }
        Ok(())
    }

    /// All of these or none, if nobody has changed anything since `generation`. `begin` and `end` frame them.
    pub(crate) fn transaction(
        &mut self,
        begin: &Message,
        messages: &[Message],
        end: &Message,
    ) -> Result<(), Failure> {
        let Some(last_place) = messages.len().checked_sub(1) else {
            return Ok(());
        };
        let first = self.sequence.wrapping_add(1);
        let mut outgoing = Vec::new();
        begin.encode(&mut outgoing, 0, first);
        for (place, message) in messages.iter().enumerate() {
            // The kernel answers to a message that it refuses, asked or not; the last one's acknowledgement ends it.
            let flags = if place == last_place { NLM_F_ACK } else { 0 };
            message.encode(&mut outgoing, flags, first.wrapping_add(1 + place as u32));
        }
        let last = first.wrapping_add(1 + last_place as u32);
        self.sequence = last.wrapping_add(1);
        end.encode(&mut outgoing, 0, self.sequence);
        self.send(&outgoing)?;
        let mut refused: Option<Failure> = None;
        self.receive(|received| {
            let offset = received.sequence.wrapping_sub(first) as usize;
            if received.kind != NLMSG_ERROR || offset > messages.len() {
                return Ok(false);
            }
            if let Some(failure) = refusal(&received, offset.checked_sub(1)) {
                refused.get_or_insert(failure);
            }
            // A refused frame has no answers behind it.
            let over = received.sequence == last || (offset == 0 && refused.is_some());
            Ok(over)
        })?;
        match refused {
            None => Ok(()),
            Some(failure) if failure.errno() == Some(ERESTART) => Err(Failure::Stale),
            Some(failure) => Err(failure),
        }
    }

    fn send_one(&mut self, message: &Message, flags: u16) -> Result<u32, Failure> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut outgoing = Vec::new();
        message.encode(&mut outgoing, flags, self.sequence);
        self.send(&outgoing)?;
        Ok(self.sequence)
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.drain();
        // The kernel takes no message that is larger than the send buffer, and a transaction is one message to it.
        let wanted = bytes.len() + SEND_OVERHEAD_BYTES;
        if wanted > self.send_buffer_bytes {
            let shared = SockRef::from(&self.socket);
            let forced =
                rustix::net::sockopt::set_socket_send_buffer_size_force(&self.socket, wanted);
            if forced.is_err() {
                shared.set_send_buffer_size(wanted).ok();
            }
            self.send_buffer_bytes = shared.send_buffer_size().unwrap_or(wanted);
        }
        self.socket
            .send(bytes, 0)
            .map(drop)
            .map_err(|error| Failure::Socket(format!("send of {} octets: {error}", bytes.len())))
    }

    /// Reads until `each` says that it was the last.
    fn receive(
        &mut self,
        mut each: impl FnMut(Received<'_>) -> Result<bool, Failure>,
    ) -> Result<(), Failure> {
        let mut incoming = Vec::with_capacity(INCOMING_BYTES);
        loop {
            incoming.clear();
            match self.socket.recv(&mut incoming, 0) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failure::Socket(format!("receive: {error}"))),
            }
            for received in Messages(&incoming) {
                if each(received)? {
                    return Ok(());
                }
            }
        }
    }

    /// Throws away answers to what was given up, so that the buffer has room.
    fn drain(&mut self) {
        let mut incoming = Vec::with_capacity(INCOMING_BYTES);
        loop {
            incoming.clear();
            match self.socket.recv(&mut incoming, libc::MSG_DONTWAIT) {
                Ok(_) => {}
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
                Err(_) => return,
            }
        }
    }
}

/// What an NLMSG_ERROR refuses; it may also say that all is well.
fn refusal(received: &Received<'_>, place: Option<usize>) -> Option<Failure> {
    let errno = -(u32_at(received.body, 0)? as i32);
    if errno == 0 {
        return None;
    }
    // The header of the refused message follows, and all of it unless capped.
    let echoed = match received.flags & NLM_F_CAPPED {
        0 => (u32_at(received.body, 4).unwrap_or(0) as usize).next_multiple_of(4),
        _ => NLMSG_HEADER_BYTES,
    };
    let text = match received.flags & NLM_F_ACK_TLVS {
        0 => None,
        _ => received
            .body
            .get(4 + echoed..)
            .and_then(|rest| AttributesOf(rest).text(NLMSGERR_ATTR_MSG)),
    };
    let error = io::Error::from_raw_os_error(errno);
    Some(Failure::Refused {
        place,
        errno,
        reason: match text {
            Some(text) => format!("{text} ({error})"),
            None => error.to_string(),
        },
    })
}

/// Makes the receive buffer this large, or as large as we may.
pub(crate) fn set_receive_buffer(socket: &Socket, bytes: usize) {
    // Past rmem_max only with CAP_NET_ADMIN in the first user namespace.
    let forced = rustix::net::sockopt::set_socket_recv_buffer_size_force(socket, bytes);
    if forced.is_err()
        && let Err(error) = SockRef::from(socket).set_recv_buffer_size(bytes)
    {
        debug!(%error, bytes, "nfnetlink: receive buffer stays as it is");
    }
}

const RECEIVE_BUFFER_BYTES: usize = 1 << 20;
const INCOMING_BYTES: usize = 64 << 10;
const SEND_OVERHEAD_BYTES: usize = 4096;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Of the kernel's own numbers, which it shows to no one else: the generation is another.
const ERESTART: i32 = 85;
