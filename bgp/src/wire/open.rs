//! OPEN (RFC 4271 §4.2) and capabilities (RFC 5492).

use std::net::Ipv4Addr;

use super::Family;

/// OPEN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// My Autonomous System: the 4-octet number when the capability is there (RFC 6793).
    pub asn: u32,
    /// Proposed hold time in seconds.
    pub hold_time_seconds: u16,
    /// BGP Identifier.
    pub router_id: Ipv4Addr,
    /// In the order sent.
    pub capabilities: Vec<Capability>,
}

/// A capability.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Capability {
    /// Code 1 (RFC 4760) for a family we know.
    Multiprotocol(Family),
    /// Code 2 (RFC 2918).
    RouteRefresh,
    /// Code 65 (RFC 6793).
    FourOctetAs(u32),
    /// Code 64 (RFC 4724, RFC 8538).
    GracefulRestart {
        /// R: the sender has restarted.
        restarted: bool,
        /// N: NOTIFICATIONs are graceful too (RFC 8538).
        notification: bool,
        /// Restart Time in seconds, at most 4,095.
        time_seconds: u16,
        /// Families, with F: forwarding state preserved.
        families: Vec<(Family, bool)>,
    },
    /// Any other, as it came.
    Unknown {
        /// Capability Code.
        code: u8,
        /// Capability Value.
        value: Vec<u8>,
    },
}
