//! One session (RFC 5880 §6.8): what it says, when, and what it makes of what it hears.
//!
//! Two intervals are ours and are told to the other side: Desired Min TX, never below one second unless Up, and
//! Required Min RX. When one of them changes, a Poll Sequence (§6.5) makes sure that the other side knows. Until
//! it does, a change that could end a good session is *held*: we do not yet send slower, nor expect packets sooner
//! (§6.8.3). Everything else takes effect at once.

use std::time::Duration;

use crate::Time;
use crate::config::SessionConfig;
use crate::event::{DownReason, SessionId};
use crate::packet::{Diagnostic, Packet};
use crate::rng::Rng;
use crate::state::{self, State};

/// A session with one neighbour.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) config: SessionConfig,
    pub(crate) source_port: u16,
    pub(crate) state: State,
    /// Since when it is in this state.
    pub(crate) since: Time,
    pub(crate) diagnostic: Diagnostic,
    /// What the last packet said; `None`: none came for a detection time.
    pub(crate) remote: Option<Remote>,
    pub(crate) counters: Counters,
    poll: Poll,
    /// A shorter interval to send with, while the other side does not know that it grew.
    held_tx: Option<Duration>,
    /// A longer interval to detect with, while the other side does not know that it shrank.
    held_rx: Option<Duration>,
    /// A packet with P came and is not answered.
    final_pending: bool,
    /// The transmission timer went off.
    due: bool,
    next_transmit: Option<Time>,
    /// What `next_transmit` was drawn from.
    drawn_from: Option<Duration>,
    last_transmit: Option<Time>,
    /// Without P and F.
    last_sent: Option<Packet>,
    /// It is removed, and says so until then.
    pub(crate) forget_at: Option<Time>,
    rng: Rng,
    /// It is in the set's list of sessions that may have something to send.
    pub(crate) ready: bool,
    /// Where it is in the set's timer queue.
    pub(crate) queued: Option<Time>,
}

/// The other side, as of its last packet.
#[derive(Debug, Clone)]
pub(crate) struct Remote {
    pub(crate) heard_at: Time,
    pub(crate) packet: Packet,
}

/// Since the session was configured.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counters {
    pub(crate) packets_received: u64,
    pub(crate) packets_sent: u64,
    /// How often it left Up.
    pub(crate) flaps: u64,
    pub(crate) last_down: Option<DownReason>,
}

/// A Poll Sequence (§6.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Poll {
    Idle,
    /// P goes out with the next packet. A Final that comes before answers an older question.
    Wanted,
    /// P is out: a Final ends it.
    Sent,
}

/// What others want to know at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Up,
    Down(DownReason),
}

impl Session {
    pub(crate) fn new(
        now: Time,
        id: SessionId,
        config: SessionConfig,
        source_port: u16,
        mut rng: Rng,
    ) -> Session {
        let (state, diagnostic) = match config.admin_down {
            true => (State::AdminDown, Diagnostic::ADMINISTRATIVELY_DOWN),
            false => (State::Down, Diagnostic::NONE),
        };
        // Many sessions made at once shall not send at once.
        let first = SLOW_START - rng.jitter(SLOW_START, config.multiplier);
        let mut session = Session {
            id,
            config,
            source_port,
            state,
            since: now,
            diagnostic,
            remote: None,
            counters: Counters::default(),
            poll: Poll::Idle,
            held_tx: None,
            held_rx: None,
            final_pending: false,
            due: false,
            next_transmit: Some(now + first),
            drawn_from: None,
            last_transmit: None,
            last_sent: None,
            forget_at: None,
            rng,
            ready: false,
            queued: None,
        };
        session.drawn_from = session.transmit_interval();
        session
    }

    /// §6.8.6, from the line on where the packet belongs to this session.
    pub(crate) fn handle_packet(&mut self, now: Time, packet: Packet) -> Option<Change> {
        self.counters.packets_received += 1;
        if packet.finale && self.poll == Poll::Sent {
            self.end_poll();
        }
        let (received, poll, diagnostic) = (packet.state, packet.poll, packet.diagnostic);
        self.remote = Some(Remote {
            heard_at: now,
            packet,
        });
        let mut change = None;
        // In AdminDown the rest is not for us, not even the question.
        if self.state != State::AdminDown {
            self.final_pending |= poll;
            let next = state::next(self.state, received);
            let reason = match received {
                State::AdminDown => DownReason::RemoteAdminDown,
                _ => DownReason::RemoteDown(diagnostic),
            };
            if next != self.state {
                let diagnostic = match next {
                    State::Up => Diagnostic::NONE,
                    State::Down => Diagnostic::NEIGHBOR_SIGNALED_DOWN,
                    // Init is on the way up: the other side may not yet have read why we were down.
                    _ => self.diagnostic,
                };
                change = self.enter(now, next, diagnostic, reason);
            }
        }
        self.reschedule(now);
        change
    }

    /// The clock has moved: the detection time may be over, a packet may be due.
    pub(crate) fn handle_timeout(&mut self, now: Time) -> Option<Change> {
        let mut change = None;
        if self.detection_deadline().is_some_and(|at| at <= now) {
            // §6.8.1: what it told us is void.
            self.remote = None;
            self.end_poll();
            if matches!(self.state, State::Init | State::Up) {
                let diagnostic = Diagnostic::DETECTION_TIME_EXPIRED;
                let reason = DownReason::DetectionTimeExpired;
                change = self.enter(now, State::Down, diagnostic, reason);
            }
            self.reschedule(now);
        }
        if self.next_transmit.is_some_and(|at| at <= now) {
            self.next_transmit = None;
            self.due = true;
        }
        change
    }

    /// Takes a new configuration of the same two ends.
    pub(crate) fn configure(&mut self, now: Time, config: SessionConfig) -> Option<Change> {
        let (tx, rx) = (self.tx_in_force(), self.rx_in_force());
        let told = (self.desired_min_tx(), self.config.min_rx);
        self.config = config;
        let tells = (self.desired_min_tx(), self.config.min_rx);
        if told != tells {
            self.start_poll();
            if self.state == State::Up {
                self.held_tx = (tells.0 > tx).then_some(tx);
                self.held_rx = (tells.1 < rx).then_some(rx);
            }
        }
        let change = match (self.state, self.config.admin_down) {
            (State::AdminDown, false) => {
                self.enter(now, State::Down, Diagnostic::NONE, DownReason::AdminDown)
            }
            (State::Down | State::Init | State::Up, true) => {
                let diagnostic = Diagnostic::ADMINISTRATIVELY_DOWN;
                self.enter(now, State::AdminDown, diagnostic, DownReason::AdminDown)
            }
            _ => None,
        };
        self.reschedule(now);
        change
    }

    /// Says AdminDown for a detection time of the other side (§6.8.16). False: there is nobody to tell.
    pub(crate) fn retire(&mut self, now: Time) -> bool {
        if self.remote.is_none() {
            return false;
        }
        if self.forget_at.is_some() {
            return true;
        }
        let config = SessionConfig {
            admin_down: true,
            ..self.config.clone()
        };
        self.configure(now, config);
        let remote_min_rx = self.remote_min_rx();
        let interval = self.desired_min_tx().max(remote_min_rx).min(RETIRE_MAX);
        self.forget_at = Some(now + interval * u32::from(self.config.multiplier));
        true
    }

    /// The next packet, if one is to go now: an answer, one whose time has come, or one that tells
    /// what has changed (§6.8.7).
    pub(crate) fn transmit(&mut self, now: Time) -> Option<Packet> {
        let contents = self.contents();
        if self.final_pending {
            self.final_pending = false;
            self.counters.packets_sent += 1;
            self.last_sent = Some(contents.clone());
            return Some(Packet {
                finale: true,
                ..contents
            });
        }
        if !self.wants_transmit() {
            return None;
        }
        let poll = self.poll != Poll::Idle;
        if poll {
            self.poll = Poll::Sent;
        }
        self.due = false;
        self.last_transmit = Some(now);
        self.drawn_from = self.transmit_interval();
        self.next_transmit = self.drawn_from.map(|interval| now + self.jitter(interval));
        self.counters.packets_sent += 1;
        self.last_sent = Some(contents.clone());
        Some(Packet { poll, ..contents })
    }

    pub(crate) fn wants_transmit(&self) -> bool {
        let changed = match &self.last_sent {
            Some(last) => *last != self.contents(),
            // Who hears us before we spoke gets an answer, not silence until the first timer.
            None => self.remote.is_some(),
        };
        self.final_pending || self.due || changed
    }

    /// When [`Session::handle_timeout`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Time> {
        [
            self.next_transmit,
            self.detection_deadline(),
            self.forget_at,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// bfd.DesiredMinTxInterval, §6.8.3: at least one second unless Up.
    pub(crate) fn desired_min_tx(&self) -> Duration {
        match self.state {
            State::Up => self.config.min_tx,
            _ => self.config.min_tx.max(SLOW_START),
        }
    }

    /// Between our packets, before jitter (§6.8.2); `None`: we send none unasked.
    pub(crate) fn transmit_interval(&self) -> Option<Duration> {
        let remote_min_rx = self.remote_min_rx();
        // §6.6: the other side relies on something else than our periodic packets.
        let demand = self.remote.as_ref().is_some_and(|remote| {
            remote.packet.demand && remote.packet.state == State::Up && self.state == State::Up
        });
        let silent = remote_min_rx.is_zero() || demand && self.poll == Poll::Idle;
        (!silent).then(|| self.tx_in_force().max(remote_min_rx))
    }

    /// How long the other side may be silent (§6.8.4); `None`: it is.
    pub(crate) fn detection_time(&self) -> Option<Duration> {
        let packet = &self.remote.as_ref()?.packet;
        let interval = self.rx_in_force().max(packet.desired_min_tx);
        Some(interval * u32::from(packet.detect_multiplier))
    }

    fn detection_deadline(&self) -> Option<Time> {
        Some(self.remote.as_ref()?.heard_at + self.detection_time()?)
    }

    /// The one place where the state changes.
    fn enter(
        &mut self,
        now: Time,
        state: State,
        diagnostic: Diagnostic,
        reason: DownReason,
    ) -> Option<Change> {
        let told = self.desired_min_tx();
        let was = std::mem::replace(&mut self.state, state);
        self.since = now;
        self.diagnostic = diagnostic;
        if self.desired_min_tx() != told {
            self.start_poll();
        }
        if was == State::Up {
            // Nothing good is left that a change could end.
            self.held_tx = None;
            self.held_rx = None;
            self.counters.flaps += 1;
            self.counters.last_down = Some(reason);
            return Some(Change::Down(reason));
        }
        (state == State::Up).then_some(Change::Up)
    }

    fn start_poll(&mut self) {
        // Nobody could answer; its first packet is answered with the new values anyway.
        if self.remote.is_some() {
            self.poll = Poll::Wanted;
        }
    }

    fn end_poll(&mut self) {
        self.poll = Poll::Idle;
        self.held_tx = None;
        self.held_rx = None;
    }

    /// Moves the next transmission when the interval is another one (§6.8.7).
    fn reschedule(&mut self, now: Time) {
        let interval = self.transmit_interval();
        if interval == self.drawn_from {
            return;
        }
        self.drawn_from = interval;
        let Some(interval) = interval else {
            self.next_transmit = None;
            self.due = false;
            return;
        };
        let after = self.jitter(interval);
        match self.last_transmit {
            Some(last) => self.next_transmit = Some((last + after).max(now)),
            None if self.next_transmit.is_none() => self.next_transmit = Some(now + after),
            None => {}
        }
    }

    fn contents(&self) -> Packet {
        let remote = self.remote.as_ref();
        Packet {
            diagnostic: self.diagnostic,
            state: self.state,
            poll: false,
            finale: false,
            control_plane_independent: false,
            demand: false,
            detect_multiplier: self.config.multiplier,
            my_discriminator: self.id,
            your_discriminator: remote.map(|remote| remote.packet.my_discriminator),
            desired_min_tx: self.desired_min_tx(),
            required_min_rx: self.config.min_rx,
            required_min_echo_rx: Duration::ZERO,
        }
    }

    fn tx_in_force(&self) -> Duration {
        self.held_tx.unwrap_or(self.desired_min_tx())
    }

    fn rx_in_force(&self) -> Duration {
        self.held_rx.unwrap_or(self.config.min_rx)
    }

    /// bfd.RemoteMinRxInterval, §6.8.1: one microsecond until it is known.
    fn remote_min_rx(&self) -> Duration {
        let remote = self.remote.as_ref();
        remote.map_or(Duration::from_micros(1), |r| r.packet.required_min_rx)
    }

    fn jitter(&mut self, interval: Duration) -> Duration {
        self.rng.jitter(interval, self.config.multiplier)
    }
}

/// §6.8.3.
const SLOW_START: Duration = Duration::from_secs(1);

/// Nobody makes a removed session stay longer than this times its multiplier.
const RETIRE_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
