//! From octets to inputs of the machine.

use super::{Connection, Input, Outcome, State};
use crate::time::Time;
use crate::wire::iana::message_type;
use crate::wire::{Codec, Message};

impl Connection {
    /// Bytes have arrived. [`Connection::poll`] looks at them.
    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        if self.state != State::Closed {
            self.received.extend_from_slice(bytes);
        }
    }

    /// Takes the next whole message out of what has arrived; `None`: there is none.
    pub(crate) fn poll(&mut self, now: Time, taken: &mut usize) -> Option<Outcome> {
        let bytes = self
            .received
            .get(*taken..)
            .filter(|_| self.state != State::Closed)?;
        let mut message: &[u8] = &[];
        let decoded = match self.codec.frame(bytes) {
            Ok(Some(octets)) => {
                message = bytes.get(..octets)?;
                if self.is_held() && self.is_established_there(message) {
                    return Some(self.step(now, Input::Proceed));
                }
                *taken += octets;
                self.codec.decode_framed(message)
            }
            Ok(None) => return None,
            Err(notification) => Err(notification),
        };
        self.traffic.messages_received += 1;
        let input = match decoded {
            Ok(Message::Open(open)) => {
                if self.state < State::OpenConfirm {
                    self.received_open = message.into();
                }
                Input::Open(open)
            }
            Ok(Message::Keepalive) => Input::Keepalive,
            Ok(Message::Update(update)) => {
                self.traffic.updates_received += 1;
                Input::Update(Box::new(update))
            }
            Ok(Message::Notification(notification)) => Input::Notification(notification),
            Ok(Message::RouteRefresh(refresh)) => Input::RouteRefresh(refresh),
            Err(notification) => Input::Malformed(notification),
        };
        Some(self.step(now, input))
    }

    /// The message that `poll` takes next, if the session is up.
    pub(crate) fn peek(&self, taken: usize) -> Option<&[u8]> {
        let established = self.state == State::Established;
        let bytes = self.received.get(taken..).filter(|_| established)?;
        bytes.get(..self.codec.frame(bytes).ok()??)
    }

    /// Our OPEN, a whole message.
    pub(crate) fn sent_open(&self) -> Box<[u8]> {
        let mut octets = Vec::new();
        Codec::initial().encode(&Message::Open(self.offer.open()), &mut octets);
        octets.into()
    }

    /// Forgets what `poll` has taken. A connection that has nothing left keeps no large buffer: most are idle.
    pub(crate) fn discard(&mut self, taken: usize) {
        self.received.drain(..taken.min(self.received.len()));
        if self.received.is_empty() && self.received.capacity() > IDLE_OCTETS_MAX {
            self.received = Vec::new();
        }
    }

    /// The message can only come from a peer for which the connection is Established: it has chosen.
    fn is_established_there(&self, message: &[u8]) -> bool {
        let both = self.confirmed.by_us && self.confirmed.by_peer;
        let kind = message.get(MESSAGE_TYPE_OFFSET);
        both && matches!(
            kind,
            Some(&(message_type::UPDATE | message_type::ROUTE_REFRESH))
        )
    }
}

/// Enough for keepalives and a small UPDATE.
const IDLE_OCTETS_MAX: usize = 256;
/// RFC 4271 §4.1: after the marker and the length.
const MESSAGE_TYPE_OFFSET: usize = 18;
