//! The route writer: one send a batch, acknowledged on its last message only. Messages may be made elsewhere
//! ([`Encoder`]), while the writer waits for the kernel.
//!
//! The kernel goes on after a message that it refuses, and says so with the message's sequence number, asked or not.
//! So one acknowledgement at the end means that everything without an error before it is done.

#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use socket2::SockRef;

use super::own::OwnPort;
use super::{encode, socket};
use crate::kernel::{Refusal, Write, WriteError};

/// A blocking netlink socket of its own. One that fails is replaced at the next batch by one with another port: the
/// former is closed last, so that nobody else writes by the port that is taken for ours.
#[derive(Debug)]
pub(super) struct Writer {
    socket: Socket,
    failed: bool,
    own: OwnPort,
    encoder: Encoder,
    outgoing: Messages,
    incoming: Vec<u8>,
}

/// Makes messages of one writer. Its clones number them together.
#[derive(Debug, Clone, Default)]
pub(super) struct Encoder {
    /// The number of the next message.
    sequence: Arc<AtomicU32>,
}

/// A batch as the kernel reads it.
#[derive(Debug, Default)]
pub(super) struct Messages {
    octets: Vec<u8>,
    /// The number of the first one; the others follow.
    first: u32,
    /// What is sent at once: where its octets end, and how many messages they are.
    parts: Vec<(usize, usize)>,
}

impl Encoder {
    /// Makes the messages of a batch, in place of what is there.
    pub(super) fn encode(&self, batch: &[Write], messages: &mut Messages) {
        let Messages {
            octets,
            first,
            parts,
        } = messages;
        octets.clear();
        parts.clear();
        *first = self
            .sequence
            .fetch_add(batch.len() as u32, Ordering::Relaxed);
        let (mut start, mut count, mut last) = (0, 0, 0);
        for (write, place) in batch.iter().zip(0u32..) {
            if octets.len() - start > OUTGOING_OCTETS_MAX {
                encode::ask_for_ack(octets, last);
                parts.push((octets.len(), count));
                (start, count) = (octets.len(), 0);
            }
            last = encode::message(octets, write, first.wrapping_add(place));
            count += 1;
        }
        if count > 0 {
            encode::ask_for_ack(octets, last);
            parts.push((octets.len(), count));
        }
    }
}

impl Writer {
    pub(super) fn open() -> io::Result<Writer> {
        let (socket, port) = open()?;
        Ok(Writer {
            socket,
            failed: false,
            own: OwnPort::new(port),
            encoder: Encoder::default(),
            outgoing: Messages::default(),
            incoming: Vec::with_capacity(INCOMING_BYTES),
        })
    }

    /// By this number our own writes are told from those of others in events.
    pub(super) fn port(&self) -> &OwnPort {
        &self.own
    }

    /// Makes what [`Writer::send`] sends.
    pub(super) fn encoder(&self) -> Encoder {
        self.encoder.clone()
    }

    /// Nobody is there to send to.
    #[cfg(test)]
    pub(super) fn lose(&mut self) {
        let nobody = netlink_sys::SocketAddr::new(self.port().number() + 1, 0);
        self.socket.connect(&nobody).unwrap();
    }

    /// Writes a batch and waits for its answers.
    pub(super) fn write(
        &mut self,
        batch: &[Write],
    ) -> Result<Vec<Result<(), Refusal>>, WriteError> {
        let mut messages = std::mem::take(&mut self.outgoing);
        self.encoder.encode(batch, &mut messages);
        let outcomes = self.send(&messages);
        self.outgoing = messages;
        outcomes
    }

    /// The same with a batch that is encoded already.
    pub(super) fn send(
        &mut self,
        messages: &Messages,
    ) -> Result<Vec<Result<(), Refusal>>, WriteError> {
        if self.failed {
            let again = open().map_err(|e| WriteError::Failed(format!("open: {e}")));
            let (socket, port) = again?;
            self.own.set(port);
            self.socket = socket;
        }
        let outcomes = self.send_all(messages);
        self.failed = matches!(outcomes, Err(WriteError::Failed(_)));
        outcomes
    }

    fn send_all(&mut self, messages: &Messages) -> Result<Vec<Result<(), Refusal>>, WriteError> {
        let mut outcomes = Vec::new();
        let (mut start, mut first) = (0, messages.first);
        for (end, count) in &messages.parts {
            if let Err(error) = self.socket.send(&messages.octets[start..*end], 0) {
                return Err(WriteError::Failed(format!("send: {error}")));
            }
            self.receive(first, *count, &mut outcomes)?;
            first = first.wrapping_add(*count as u32);
            start = *end;
        }
        Ok(outcomes)
    }

    /// Reads answers until that to the last of the `count` messages just sent, which are numbered from `first`.
    fn receive(
        &mut self,
        first: u32,
        count: usize,
        outcomes: &mut Vec<Result<(), Refusal>>,
    ) -> Result<(), WriteError> {
        let socket = &self.socket;
        let base = outcomes.len();
        outcomes.resize(base + count, Ok(()));
        loop {
            self.incoming.clear();
            self.incoming.reserve(INCOMING_BYTES);
            match socket.recv(&mut self.incoming, 0) {
                Ok(_) => {}
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    drain(socket, &mut self.incoming);
                    return Err(WriteError::Overrun);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(WriteError::Failed(format!("receive: {error}"))),
            }
            for answer in Answers(&self.incoming) {
                // Answers to an earlier batch that was given up have another number.
                let place = answer.sequence.wrapping_sub(first) as usize;
                if place >= count {
                    continue;
                }
                if answer.errno != 0 {
                    outcomes[base + place] = Err(answer.refusal());
                }
                if place == count - 1 {
                    return Ok(());
                }
            }
        }
    }
}

fn open() -> io::Result<(Socket, u32)> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    let port = socket.bind_auto()?.port_number();
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.set_ext_ack(true)?;
    socket.set_cap_ack(true)?;
    socket::set_receive_buffer(&socket, RECEIVE_BUFFER_BYTES);
    // The kernel answers inside of send; this is for a kernel that does not answer at all.
    SockRef::from(&socket).set_read_timeout(Some(ANSWER_TIMEOUT))?;
    Ok((socket, port))
}

/// Throws away what is queued. The kernel answers nothing more on a socket that overran until it is empty.
fn drain(socket: &Socket, incoming: &mut Vec<u8>) {
    loop {
        incoming.clear();
        incoming.reserve(INCOMING_BYTES);
        match socket.recv(incoming, libc::MSG_DONTWAIT) {
            Ok(_) => {}
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
            Err(_) => return,
        }
    }
}

/// One NLMSG_ERROR, which may also say that all is well.
#[derive(Debug, PartialEq, Eq)]
struct Answer<'a> {
    sequence: u32,
    errno: i32,
    /// NLMSGERR_ATTR_MSG of the extended acknowledgement.
    text: Option<&'a str>,
}

impl Answer<'_> {
    fn refusal(&self) -> Refusal {
        let error = io::Error::from_raw_os_error(self.errno);
        Refusal {
            errno: self.errno,
            reason: match self.text {
                Some(text) => format!("{text} ({error})"),
                None => error.to_string(),
            },
        }
    }
}

/// The answers in one datagram. Other kinds of message are passed over; a broken one ends it.
struct Answers<'a>(&'a [u8]);

impl<'a> Iterator for Answers<'a> {
    type Item = Answer<'a>;

    fn next(&mut self) -> Option<Answer<'a>> {
        loop {
            let length = u32_at(self.0, 0)? as usize;
            let kind = u16_at(self.0, 4)?;
            let flags = u16_at(self.0, 6)?;
            let sequence = u32_at(self.0, 8)?;
            if length < HEADER_BYTES {
                return None;
            }
            let body = self.0.get(HEADER_BYTES..length)?;
            self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or(&[]);
            if kind != NLMSG_ERROR {
                continue;
            }
            let errno = -(u32_at(body, 0)? as i32);
            // The header of the refused message follows, and all of it unless capped.
            let echoed = match flags & NLM_F_CAPPED {
                0 => (u32_at(body, 4)? as usize).next_multiple_of(4),
                _ => HEADER_BYTES,
            };
            let text = match flags & NLM_F_ACK_TLVS {
                0 => None,
                _ => body.get(4 + echoed..).and_then(message_text),
            };
            return Some(Answer {
                sequence,
                errno,
                text,
            });
        }
    }
}

fn message_text(mut attributes: &[u8]) -> Option<&str> {
    loop {
        let length = u16_at(attributes, 0)? as usize;
        let kind = u16_at(attributes, 2)? & NLA_TYPE_MASK;
        let value = attributes.get(4..length)?;
        if kind == NLMSGERR_ATTR_MSG {
            let text = value.split(|byte| *byte == 0).next()?;
            return std::str::from_utf8(text).ok();
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Room for about a thousand errors with text; an ordinary user gets what `rmem_max` allows, which is more than 256.
const RECEIVE_BUFFER_BYTES: usize = 1 << 20;
const INCOMING_BYTES: usize = 32 << 10;
/// Half of the default send buffer.
const OUTGOING_OCTETS_MAX: usize = 96 << 10;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

// linux/netlink.h
const HEADER_BYTES: usize = 16;
const NLMSG_ERROR: u16 = 2;
const NLM_F_CAPPED: u16 = 0x100;
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLMSGERR_ATTR_MSG: u16 = 1;
const NLA_TYPE_MASK: u16 = 0x3fff;
