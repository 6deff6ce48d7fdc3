//! What comes out of the machine: sessions that come and go, and packets to send.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use crate::packet::{Diagnostic, Packet};

/// A session's name, which is also its discriminator on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionId(pub(crate) NonZeroU32);

impl SessionId {
    /// The discriminator.
    pub fn number(self) -> u32 {
        self.0.get()
    }
}

/// The number.
impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Something a protocol that relies on the session wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Both sides hear each other.
    Up {
        /// Which.
        session: SessionId,
        /// With whom.
        remote: IpAddr,
    },
    /// No longer.
    Down {
        /// Which.
        session: SessionId,
        /// With whom.
        remote: IpAddr,
        /// As we tell the other side.
        diagnostic: Diagnostic,
        /// What happened.
        reason: DownReason,
    },
}

/// Why a session left Up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DownReason {
    /// Nothing came for the detection time.
    DetectionTimeExpired,
    /// The other side left Up, for this reason of its own.
    RemoteDown(Diagnostic),
    /// The other side's operator wants it so. RFC 5882 §3.2: this is no failure of the path.
    RemoteAdminDown,
    /// Our operator wants it so.
    AdminDown,
}

/// `remote is down: control detection time expired`.
impl fmt::Display for DownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DownReason::DetectionTimeExpired => f.write_str("detection time expired"),
            DownReason::RemoteDown(diagnostic) => write!(f, "remote is down: {diagnostic}"),
            DownReason::RemoteAdminDown => f.write_str("remote is administratively down"),
            DownReason::AdminDown => f.write_str("administratively down"),
        }
    }
}

/// A datagram to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// Of which session. A session keeps its source port.
    pub session: SessionId,
    /// From where.
    pub source: SocketAddr,
    /// To where.
    pub destination: SocketAddr,
    /// The IP TTL or hop limit.
    pub ttl: u8,
    /// The payload.
    pub bytes: [u8; Packet::OCTETS],
}
