//! One TCP connection with a peer: (DelayOpen →) OpenSent → OpenConfirm → Established, and nothing else
//! (RFC 4271 §8.2.2).
//!
//! Idle, Connect and Active are about having no connection, and belong to the [`Peer`](crate::peer). A
//! peer may have two connections for a moment, each with its own state, as RFC 4271 §8.2.1 has it.
//!
//! A connection may wait for the peer's OPEN before it sends ours (DelayOpen, §8.1.1). The RFC calls that Connect or
//! Active with a running DelayOpenTimer, and so does what people see.
//!
//! [`Connection::step`] is the machine. What it wants to send is queued in `transmit`; what the peer must
//! act on is its [`Outcome`].

mod end;
mod io;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

pub(crate) use end::{Cause, End};

use crate::collision::Initiator;
use crate::event::ConnectionId;
use crate::negotiated::{Negotiated, Offer};
use crate::rng::Rng;
use crate::time::Time;
use crate::wire::iana::{UNSPECIFIC, error_code, fsm_error};
use crate::wire::{Codec, Family, Message, Notification, Open, RouteRefresh, Update};

/// The states of RFC 4271 §8.2.2 that have a connection, and the one after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum State {
    /// It is over: nothing that arrives counts any more.
    Closed,
    /// TCP is there, and we wait for the peer to speak first.
    DelayOpen,
    OpenSent,
    OpenConfirm,
    Established,
}

/// What may happen to a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    Open(Open),
    Keepalive,
    Update(Box<Update>),
    Notification(Notification),
    RouteRefresh(Option<RouteRefresh>),
    /// What arrived is no message; the decoder says what to answer.
    Malformed(Notification),
    DelayOpenTimerExpires,
    HoldTimerExpires,
    KeepaliveTimerExpires,
    /// TCP says so.
    Lost(String),
    /// No other connection with the peer stands in the way (any more): it may become Established.
    Proceed,
    /// The peer wants to end it: with a NOTIFICATION, or without a word (RFC 4724 §4).
    Stop(Option<Notification>, String),
}

/// What the peer must know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Nothing,
    /// OPENs agree. Look for collisions, and let it [`Proceed`](Input::Proceed).
    Opened,
    /// Established.
    Up,
    Update(Box<Update>),
    /// RFC 2918, RFC 7313; `None`: not understood.
    Refresh(Option<RouteRefresh>),
    /// Closed.
    Ended(End),
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) id: ConnectionId,
    pub(crate) initiator: Initiator,
    /// Our end.
    pub(crate) local: SocketAddr,
    /// The other end, for monitors.
    pub(crate) remote: SocketAddr,
    /// Encoded, and not yet taken by the driver.
    pub(crate) transmit: Vec<u8>,
    /// The driver has been told that there is something to send.
    pub(crate) announced_ready: bool,
    pub(crate) established_at: Option<Time>,
    pub(crate) traffic: Traffic,
    /// The peer's OPEN, a whole message, for monitors.
    pub(crate) received_open: Box<[u8]>,
    state: State,
    offer: Offer,
    negotiated: Option<Negotiated>,
    /// The peer's OPEN, in OpenConfirm.
    opened_with: Option<Box<Open>>,
    /// How we read what the peer writes.
    codec: Codec,
    received: Vec<u8>,
    /// In DelayOpen.
    open_deadline: Option<Time>,
    hold_deadline: Option<Time>,
    keepalive_deadline: Option<Time>,
    /// In OpenConfirm: whether our KEEPALIVE, and the peer's, have confirmed it.
    confirmed: Confirmed,
    /// Another connection with the peer will take its place, if that comes to life before then.
    held_until: Option<Time>,
    rng: Rng,
}

/// Who has sent the KEEPALIVE that answers OPEN (RFC 4271 §4.2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Confirmed {
    by_us: bool,
    by_peer: bool,
}

/// What went over a connection since it was last asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) messages_received: u64,
    pub(crate) updates_received: u64,
    pub(crate) messages_sent: u64,
}

impl Connection {
    /// TCP is there: OPEN is sent at once, or when the peer has sent its own, or after `delay_open`.
    pub(crate) fn new(
        now: Time,
        id: ConnectionId,
        initiator: Initiator,
        local: SocketAddr,
        (offer, delay_open): (Offer, Option<Duration>),
        rng: Rng,
    ) -> Connection {
        let mut connection = Connection {
            id,
            initiator,
            local,
            remote: UNKNOWN,
            received_open: Box::default(),
            transmit: Vec::new(),
            announced_ready: false,
            established_at: None,
            traffic: Traffic::default(),
            state: State::DelayOpen,
            codec: Codec::initial(),
            negotiated: None,
            opened_with: None,
            received: Vec::new(),
            open_deadline: None,
            hold_deadline: None,
            keepalive_deadline: None,
            confirmed: Confirmed::default(),
            held_until: None,
            offer,
            rng,
        };
        match delay_open {
            Some(delay) => connection.open_deadline = Some(now + delay),
            None => connection.open(now),
        }
        connection
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// What both agreed on, from OpenConfirm on.
    pub(crate) fn negotiated(&self) -> Option<&Negotiated> {
        self.negotiated.as_ref()
    }

    /// The family is not heard any more (RFC 7606 §2).
    pub(crate) fn is_disabled(&self, family: Family) -> bool {
        self.codec.disabled.contains(&family)
    }

    /// The machine.
    pub(crate) fn step(&mut self, now: Time, input: Input) -> Outcome {
        use State::{Closed, DelayOpen, Established, OpenConfirm, OpenSent};
        match (self.state, input) {
            (Closed, _) => Outcome::Nothing,

            // RFC 4271 §8.2.2, Connect and Active, events 12 and 20.
            (DelayOpen, Input::DelayOpenTimerExpires) => {
                self.open(now);
                Outcome::Nothing
            }
            (_, Input::DelayOpenTimerExpires) => Outcome::Nothing,
            (DelayOpen, Input::Open(open)) => match self.offer.negotiate(&open) {
                Ok(negotiated) => {
                    self.open(now);
                    self.opened_with = Some(Box::new(open));
                    self.agree(now, negotiated)
                }
                // SendNOTIFICATIONwithoutOPEN: the peer shall know why.
                Err(refusal) => self.end_with(refusal.notification, Some(refusal.reason)),
            },

            (OpenSent, Input::Open(open)) => match self.offer.negotiate(&open) {
                Ok(negotiated) => {
                    self.opened_with = Some(Box::new(open));
                    self.agree(now, negotiated)
                }
                Err(refusal) => self.end_with(refusal.notification, Some(refusal.reason)),
            },
            // RFC 4271 §8.2.2, OpenConfirm, event 19: an OPEN that causes no collision changes nothing. RFC 6608 calls it
            // unexpected; so do we, unless it repeats the first one word for word. OpenBGPD 7.7 sends it twice where it
            // accepts a connection while it makes one, and an error would take the routes that it keeps over our restart.
            (OpenConfirm, Input::Open(open)) if self.opened_with.as_deref() == Some(&open) => {
                Outcome::Nothing
            }
            (OpenConfirm, Input::Keepalive) => {
                self.confirmed.by_peer = true;
                self.restart_hold_timer(now);
                self.establish(now)
            }
            (OpenConfirm, Input::Proceed) => {
                self.held_until = None;
                self.confirm(now);
                self.establish(now)
            }
            (DelayOpen | OpenSent | Established, Input::Proceed) => {
                self.held_until = None;
                Outcome::Nothing
            }
            (Established, Input::Keepalive) => {
                self.restart_hold_timer(now);
                Outcome::Nothing
            }
            (Established, Input::Update(update)) => {
                self.restart_hold_timer(now);
                self.codec.disabled.extend(update.disable_family);
                Outcome::Update(update)
            }
            (Established, Input::RouteRefresh(refresh)) => {
                self.restart_hold_timer(now);
                Outcome::Refresh(refresh)
            }

            // RFC 6608: everything else that is a message.
            (
                DelayOpen | OpenSent | OpenConfirm | Established,
                Input::Open(_) | Input::Keepalive | Input::Update(_) | Input::RouteRefresh(_),
            ) => self.end_with(self.unexpected(), None),

            (_, Input::Notification(notification)) => {
                let reason = format!("received {notification}");
                self.close(Cause::Received(notification), reason)
            }
            (_, Input::Malformed(notification)) => self.end_with(notification, None),

            (_, Input::HoldTimerExpires) => {
                let notification =
                    Notification::new(error_code::HOLD_TIMER_EXPIRED, UNSPECIFIC, &[]);
                self.send(&Message::Notification(notification.clone()));
                self.close(Cause::HoldTimer, format!("sent {notification}"))
            }
            (DelayOpen | OpenSent, Input::KeepaliveTimerExpires) => Outcome::Nothing,
            (OpenConfirm | Established, Input::KeepaliveTimerExpires) => {
                self.send(&Message::Keepalive);
                self.restart_keepalive_timer(now);
                Outcome::Nothing
            }

            (_, Input::Lost(reason)) => self.close(Cause::Lost, reason),
            (_, Input::Stop(Some(notification), reason)) => {
                self.end_with(notification, Some(reason))
            }
            (_, Input::Stop(None, reason)) => self.close(Cause::Lost, reason),
        }
    }

    /// The timer that is due, if one is.
    pub(crate) fn due(&self, now: Time) -> Option<Input> {
        let is_due = |deadline: Option<Time>| deadline.is_some_and(|deadline| deadline <= now);
        if is_due(self.hold_deadline) {
            Some(Input::HoldTimerExpires)
        } else if is_due(self.open_deadline) {
            Some(Input::DelayOpenTimerExpires)
        } else if is_due(self.held_until) {
            Some(Input::Proceed)
        } else if is_due(self.keepalive_deadline) {
            Some(Input::KeepaliveTimerExpires)
        } else {
            None
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.hold_deadline
            .into_iter()
            .chain(self.keepalive_deadline)
            .chain(self.open_deadline)
            .chain(self.held_until)
            .min()
    }

    /// Asks the peer to send the family once more (RFC 2918 §3).
    pub(crate) fn request_refresh(&mut self, family: Family) {
        self.send(&Message::RouteRefresh(Some(RouteRefresh::request(family))));
    }

    /// Asks the other end whether it is still there: TCP answers for a process that has gone.
    pub(crate) fn probe(&mut self) {
        self.send(&Message::Keepalive);
    }

    /// It is not to become Established before then, or before [`Input::Proceed`].
    pub(crate) fn hold(&mut self, until: Time) {
        if self.state != State::Established && self.held_until.is_none() {
            self.held_until = Some(until);
        }
    }

    pub(crate) fn is_held(&self) -> bool {
        self.held_until.is_some()
    }

    /// We have sent the KEEPALIVE that says: from here on it may be Established at the other end.
    pub(crate) fn is_confirmed(&self) -> bool {
        self.confirmed.by_us
    }

    fn open(&mut self, now: Time) {
        self.state = State::OpenSent;
        self.open_deadline = None;
        self.hold_deadline = Some(now + OPEN_SENT_HOLD_TIME);
        self.send(&Message::Open(self.offer.open()));
    }

    /// RFC 4271 §8.2.2, OpenSent, event 19. Our KEEPALIVE follows when no collision forbids it.
    fn agree(&mut self, now: Time, negotiated: Negotiated) -> Outcome {
        self.codec = Codec {
            message_octets_max: negotiated.receive_octets_max,
            ..negotiated.codec.clone()
        };
        self.state = State::OpenConfirm;
        self.negotiated = Some(negotiated);
        self.restart_hold_timer(now);
        Outcome::Opened
    }

    fn confirm(&mut self, now: Time) {
        if !self.confirmed.by_us {
            self.confirmed.by_us = true;
            self.send(&Message::Keepalive);
            self.restart_keepalive_timer(now);
        }
    }

    fn establish(&mut self, now: Time) -> Outcome {
        let both = self.confirmed.by_us && self.confirmed.by_peer;
        if !both || self.is_held() {
            return Outcome::Nothing;
        }
        self.state = State::Established;
        self.opened_with = None;
        self.established_at = Some(now);
        self.restart_hold_timer(now);
        Outcome::Up
    }

    fn unexpected(&self) -> Notification {
        let subcode = match self.state {
            State::OpenSent => fsm_error::UNEXPECTED_MESSAGE_IN_OPEN_SENT,
            State::OpenConfirm => fsm_error::UNEXPECTED_MESSAGE_IN_OPEN_CONFIRM,
            State::Established => fsm_error::UNEXPECTED_MESSAGE_IN_ESTABLISHED,
            // RFC 6608 has no number for Connect and Active.
            State::DelayOpen | State::Closed => UNSPECIFIC,
        };
        Notification::new(error_code::FINITE_STATE_MACHINE, subcode, &[])
    }

    fn end_with(&mut self, notification: Notification, why: Option<String>) -> Outcome {
        self.send(&Message::Notification(notification.clone()));
        let reason = match why.filter(|why| !why.is_empty()) {
            Some(why) => format!("sent {notification} ({why})"),
            None => format!("sent {notification}"),
        };
        self.close(Cause::Sent(notification), reason)
    }

    fn close(&mut self, cause: Cause, reason: String) -> Outcome {
        self.state = State::Closed;
        self.open_deadline = None;
        self.hold_deadline = None;
        self.keepalive_deadline = None;
        self.held_until = None;
        self.received = Vec::new();
        Outcome::Ended(End { cause, reason })
    }

    fn send(&mut self, message: &Message) {
        let agreed = self.negotiated.as_ref();
        let codec = agreed.map_or(&self.codec, |agreed| &agreed.codec);
        codec.encode(message, &mut self.transmit);
        self.traffic.messages_sent += 1;
    }

    fn restart_hold_timer(&mut self, now: Time) {
        let hold_time = self
            .negotiated
            .as_ref()
            .map_or(Duration::ZERO, |agreed| agreed.hold_time);
        self.hold_deadline = (!hold_time.is_zero()).then(|| now + hold_time);
    }

    fn restart_keepalive_timer(&mut self, now: Time) {
        let time = self
            .negotiated
            .as_ref()
            .map_or(Duration::ZERO, Negotiated::keepalive_time);
        self.keepalive_deadline = (!time.is_zero()).then(|| now + self.rng.jitter(time));
    }
}

const UNKNOWN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
/// RFC 4271 §8.2.2: a large value, four minutes.
const OPEN_SENT_HOLD_TIME: Duration = Duration::from_secs(4 * 60);

#[cfg(test)]
mod tests;
