//! The BFD Control packet (RFC 5880 §4.1), and why one is discarded (§6.8.6).

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use thiserror::Error;

use crate::event::SessionId;
use crate::state::State;

/// A BFD Control packet without Authentication Section.
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-----+---------+---+-+-+-+-+-+-+---------------+---------------+
/// |Vers |  Diag   |Sta|P|F|C|A|D|M|  Detect Mult  |    Length     |
/// +-----+---------+---+-+-+-+-+-+-+---------------+---------------+
/// |                       My Discriminator                        |
/// |                      Your Discriminator                       |
/// |              Desired Min TX Interval, microseconds            |
/// |             Required Min RX Interval, microseconds            |
/// |          Required Min Echo RX Interval, microseconds          |
/// +---------------------------------------------------------------+
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Why the sender's state changed last.
    pub diagnostic: Diagnostic,
    /// The sender's state.
    pub state: State,
    /// Asks for a packet with `finale`.
    pub poll: bool,
    /// Answers a packet with `poll`.
    pub finale: bool,
    /// The sender's BFD does not share fate with its control plane.
    pub control_plane_independent: bool,
    /// The sender is in Demand mode and does not want periodic packets.
    pub demand: bool,
    /// How many packets may be missing; never zero.
    pub detect_multiplier: u8,
    /// The sender's name for the session.
    pub my_discriminator: SessionId,
    /// The receiver's name for it; `None` (zero on the wire): not known yet.
    pub your_discriminator: Option<SessionId>,
    /// The sender would not send faster than this.
    pub desired_min_tx: Duration,
    /// The sender cannot receive faster than this; zero: it wants no periodic packets.
    pub required_min_rx: Duration,
    /// The sender cannot reflect Echo packets faster than this; zero: it does not reflect.
    pub required_min_echo_rx: Duration,
}

impl Packet {
    /// Octets of each packet that we send.
    pub const OCTETS: usize = 24;

    /// The octets on the wire. Spans beyond 32 bits of microseconds are cut to these.
    pub fn encode(&self) -> [u8; Packet::OCTETS] {
        let flags = [
            (self.poll, flag::POLL),
            (self.finale, flag::FINAL),
            (
                self.control_plane_independent,
                flag::CONTROL_PLANE_INDEPENDENT,
            ),
            (self.demand, flag::DEMAND),
        ];
        let set = flags.iter().filter(|(set, _)| *set);
        let flags = set.fold(0, |flags, (_, flag)| flags | flag);
        let words = [
            self.my_discriminator.number(),
            self.your_discriminator.map_or(0, SessionId::number),
            micros(self.desired_min_tx),
            micros(self.required_min_rx),
            micros(self.required_min_echo_rx),
        ];
        let mut out = [0; Packet::OCTETS];
        out[0] = VERSION << 5 | self.diagnostic.0;
        out[1] = self.state.bits() << 6 | flags;
        out[2] = self.detect_multiplier;
        out[3] = Packet::OCTETS as u8;
        for (place, word) in out[4..].chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_be_bytes());
        }
        out
    }

    /// RFC 5880 §6.8.6, all that can be judged without knowing a session, in its order.
    pub fn decode(payload: &[u8]) -> Result<Packet, Discard> {
        let Some((mandatory, _)) = payload.split_first_chunk::<{ Packet::OCTETS }>() else {
            return Err(Discard::TooShort(payload.len()));
        };
        let [first, flags, detect_multiplier, length, words @ ..] = mandatory;
        let version = first >> 5;
        if version != VERSION {
            return Err(Discard::Version(version));
        }
        let authenticated = flags & flag::AUTHENTICATION != 0;
        let octets_min = Packet::OCTETS + if authenticated { 2 } else { 0 };
        if usize::from(*length) < octets_min || usize::from(*length) > payload.len() {
            return Err(Discard::Length {
                length: *length,
                octets_min,
                payload: payload.len(),
            });
        }
        if *detect_multiplier == 0 {
            return Err(Discard::DetectMultiplierZero);
        }
        if flags & flag::MULTIPOINT != 0 {
            return Err(Discard::Multipoint);
        }
        let mut words = words
            .as_chunks::<4>()
            .0
            .iter()
            .map(|w| u32::from_be_bytes(*w));
        let mut word = || words.next().unwrap_or_default();
        let my_discriminator = NonZeroU32::new(word())
            .map(SessionId)
            .ok_or(Discard::MyDiscriminatorZero)?;
        let your_discriminator = NonZeroU32::new(word()).map(SessionId);
        let state = State::from_bits(flags >> 6);
        if your_discriminator.is_none() && !matches!(state, State::Down | State::AdminDown) {
            return Err(Discard::YourDiscriminatorZero(state));
        }
        if authenticated {
            return Err(Discard::Authenticated);
        }
        let mut interval = || Duration::from_micros(word().into());
        Ok(Packet {
            diagnostic: Diagnostic(first & 0x1f),
            state,
            poll: flags & flag::POLL != 0,
            finale: flags & flag::FINAL != 0,
            control_plane_independent: flags & flag::CONTROL_PLANE_INDEPENDENT != 0,
            demand: flags & flag::DEMAND != 0,
            detect_multiplier: *detect_multiplier,
            my_discriminator,
            your_discriminator,
            desired_min_tx: interval(),
            required_min_rx: interval(),
            required_min_echo_rx: interval(),
        })
    }
}

/// Why a packet is discarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Discard {
    /// Shorter than the mandatory section.
    #[error("packet of {0} octets is shorter than 24")]
    TooShort(usize),
    /// Another version of BFD.
    #[error("version {0} is not 1")]
    Version(u8),
    /// The Length field does not fit.
    #[error("length {length} is not within {octets_min} and the payload's {payload}")]
    Length {
        /// The field.
        length: u8,
        /// What the flags ask for.
        octets_min: usize,
        /// What UDP brought.
        payload: usize,
    },
    /// Detect Mult is zero.
    #[error("detect mult is zero")]
    DetectMultiplierZero,
    /// The M bit, reserved for multipoint BFD, is set.
    #[error("multipoint bit is set")]
    Multipoint,
    /// My Discriminator is zero.
    #[error("my discriminator is zero")]
    MyDiscriminatorZero,
    /// Who is in this state knows our discriminator.
    #[error("your discriminator is zero in state {0}")]
    YourDiscriminatorZero(State),
    /// It has an Authentication Section; we have no keys.
    #[error("authentication is not in use")]
    Authenticated,
    /// Not a port of BFD.
    #[error("destination port {0} is neither 3784 nor 4784")]
    Port(u16),
    /// It came from farther away than one hop (RFC 5881 §5).
    #[error("ttl {0} is not 255")]
    Ttl(u8),
    /// Nobody has this discriminator.
    #[error("no session has discriminator {0}")]
    UnknownDiscriminator(SessionId),
    /// Nobody is configured for these addresses.
    #[error("no session from {remote} to {local}")]
    UnknownAddresses {
        /// Source.
        remote: IpAddr,
        /// Destination.
        local: IpAddr,
    },
    /// It came to the port of the other kind, around that kind's checks.
    #[error("session {0} is of the other kind")]
    Kind(SessionId),
    /// A session over several hops is with one address.
    #[error("source {source_address} is not that of session {session}")]
    Source {
        /// The session that it names.
        session: SessionId,
        /// Where it came from.
        source_address: IpAddr,
    },
}

impl Discard {
    /// A word without values, to count by.
    pub fn label(&self) -> &'static str {
        match self {
            Discard::TooShort(_) => "too_short",
            Discard::Version(_) => "version",
            Discard::Length { .. } => "length",
            Discard::DetectMultiplierZero => "detect_multiplier_zero",
            Discard::Multipoint => "multipoint",
            Discard::MyDiscriminatorZero => "my_discriminator_zero",
            Discard::YourDiscriminatorZero(_) => "your_discriminator_zero",
            Discard::Authenticated => "authenticated",
            Discard::Port(_) => "port",
            Discard::Ttl(_) => "ttl",
            Discard::UnknownDiscriminator(_) => "unknown_discriminator",
            Discard::UnknownAddresses { .. } => "unknown_addresses",
            Discard::Kind(_) => "kind",
            Discard::Source { .. } => "source",
        }
    }
}

/// Why a session's state changed last (RFC 5880 §4.1): a number of five bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Diagnostic(u8);

impl Diagnostic {
    /// No Diagnostic.
    pub const NONE: Diagnostic = Diagnostic(0);
    /// Control Detection Time Expired.
    pub const DETECTION_TIME_EXPIRED: Diagnostic = Diagnostic(1);
    /// Neighbor Signaled Session Down.
    pub const NEIGHBOR_SIGNALED_DOWN: Diagnostic = Diagnostic(3);
    /// Administratively Down.
    pub const ADMINISTRATIVELY_DOWN: Diagnostic = Diagnostic(7);

    /// The number.
    pub fn number(self) -> u8 {
        self.0
    }
}

/// `control detection time expired`; numbers without a name as `diagnostic 9`.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match DIAGNOSTIC_NAMES.get(usize::from(self.0)) {
            Some(name) => f.write_str(name),
            None => write!(f, "diagnostic {}", self.0),
        }
    }
}

fn micros(interval: Duration) -> u32 {
    u32::try_from(interval.as_micros()).unwrap_or(u32::MAX)
}

const VERSION: u8 = 1;

/// Bits of the second octet, below the state.
mod flag {
    pub(super) const POLL: u8 = 0x20;
    pub(super) const FINAL: u8 = 0x10;
    pub(super) const CONTROL_PLANE_INDEPENDENT: u8 = 0x08;
    pub(super) const AUTHENTICATION: u8 = 0x04;
    pub(super) const DEMAND: u8 = 0x02;
    pub(super) const MULTIPOINT: u8 = 0x01;
}

/// RFC 5880 §4.1, by number.
const DIAGNOSTIC_NAMES: [&str; 9] = [
    "no diagnostic",
    "control detection time expired",
    "echo function failed",
    "neighbor signaled session down",
    "forwarding plane reset",
    "path down",
    "concatenated path down",
    "administratively down",
    "reverse concatenated path down",
];

#[cfg(test)]
mod tests;
