//! Capabilities (RFC 5492): what a speaker says in its OPEN that it can do.
//!
//! ```text
//! +----------------+------------------+-----------------------+
//! | Code (1)       | Length (1)       | Value, Length octets  |  ... next capability
//! +----------------+------------------+-----------------------+
//! ```
//!
//! One that we know but that has a length that it cannot have makes the OPEN malformed; one that we do not
//! know is kept as it came. Texts for people (names, versions) never end a session.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::cursor::Cursor;
use super::family::Family;
use super::iana::{afi, capability_code};
use super::text;

/// A capability.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Capability {
    /// Code 1 (RFC 4760) for a family we know.
    Multiprotocol(Family),
    /// Code 2 (RFC 2918).
    RouteRefresh,
    /// Code 5 (RFC 8950 §4): families whose next hop may be of another AFI, with that AFI. Families
    /// that we do not know are left out.
    ExtendedNextHop(Vec<(Family, NextHopAfi)>),
    /// Code 6 (RFC 8654 §3).
    ExtendedMessage,
    /// Code 9 (RFC 9234 §4.1); a number that has no meaning is an [`Capability::Unknown`].
    Role(Role),
    /// Code 64 (RFC 4724, RFC 8538).
    GracefulRestart {
        /// R: the sender has restarted.
        restarted: bool,
        /// N: NOTIFICATIONs are graceful too (RFC 8538).
        notification: bool,
        /// Restart Time in seconds, at most 4,095.
        time_seconds: u16,
        /// Families, with F: forwarding state preserved. Those that we do not know are left out.
        families: Vec<(Family, bool)>,
    },
    /// Code 65 (RFC 6793).
    FourOctetAs(u32),
    /// Code 69 (RFC 7911 §4). Families that we do not know are left out.
    AddPath(Vec<(Family, AddPathMode)>),
    /// Code 70 (RFC 7313 §3.1).
    EnhancedRouteRefresh,
    /// Code 71 (RFC 9494 §4.1). Families that we do not know are left out.
    LongLivedGracefulRestart(Vec<LongLivedFamily>),
    /// Code 73 (draft-walton-bgp-hostname-capability): the name of the speaker's host. Printable, at
    /// most 253 octets together; the encoder cuts what is longer.
    Hostname {
        /// Without domain.
        host: String,
        /// May be empty.
        domain: String,
    },
    /// Code 75 (draft-abraitis-bgp-version-capability): the name and version of its software.
    /// Printable, at most 64 octets; the encoder cuts what is longer.
    SoftwareVersion(String),
    /// Any other, as it came.
    Unknown {
        /// Capability Code.
        code: u8,
        /// Capability Value.
        value: Vec<u8>,
    },
}

/// The AFI of a next hop (RFC 8950 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NextHopAfi {
    /// AFI 1.
    Ipv4,
    /// AFI 2.
    Ipv6,
}

/// Send/Receive of ADD-PATH (RFC 7911 §4), from the speaker's view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AddPathMode {
    /// 1: it understands several paths to a prefix.
    Receive,
    /// 2: it would send them.
    Send,
    /// 3.
    Both,
}

/// What a speaker is to the other one (RFC 9234 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// 0: it provides transit.
    Provider,
    /// 1: a route server.
    RouteServer,
    /// 2: a client of a route server.
    RouteServerClient,
    /// 3: it gets transit.
    Customer,
    /// 4: a lateral peer.
    Peer,
}

/// A family's part of long-lived graceful restart (RFC 9494 §4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LongLivedFamily {
    /// Which family.
    pub family: Family,
    /// F: forwarding state preserved.
    pub forwarding: bool,
    /// Long-lived Stale Time in seconds, at most 16,777,215.
    pub stale_time_seconds: u32,
}

impl Capability {
    /// Its Capability Code.
    pub fn code(&self) -> u8 {
        match self {
            Capability::Multiprotocol(_) => capability_code::MULTIPROTOCOL,
            Capability::RouteRefresh => capability_code::ROUTE_REFRESH,
            Capability::ExtendedNextHop(_) => capability_code::EXTENDED_NEXT_HOP,
            Capability::ExtendedMessage => capability_code::EXTENDED_MESSAGE,
            Capability::Role(_) => capability_code::ROLE,
            Capability::GracefulRestart { .. } => capability_code::GRACEFUL_RESTART,
            Capability::FourOctetAs(_) => capability_code::FOUR_OCTET_AS,
            Capability::AddPath(_) => capability_code::ADD_PATH,
            Capability::EnhancedRouteRefresh => capability_code::ENHANCED_ROUTE_REFRESH,
            Capability::LongLivedGracefulRestart(_) => capability_code::LONG_LIVED_GRACEFUL_RESTART,
            Capability::Hostname { .. } => capability_code::HOSTNAME,
            Capability::SoftwareVersion(_) => capability_code::SOFTWARE_VERSION,
            Capability::Unknown { code, .. } => *code,
        }
    }

    /// The next one; `None`: it overruns, or one that we know has a length that it cannot have.
    pub(super) fn decode(cursor: &mut Cursor<'_>) -> Option<Capability> {
        let (code, length) = (cursor.u8()?, cursor.u8()?);
        let octets = cursor.take(usize::from(length))?;
        let mut value = Cursor::new(octets);
        let unknown = || Capability::Unknown {
            code,
            value: octets.to_vec(),
        };
        let empty = |capability: Capability| octets.is_empty().then_some(capability);
        let capability = match code {
            capability_code::MULTIPROTOCOL => {
                let (afi, _reserved, safi) = (value.u16()?, value.u8()?, value.u8()?);
                let family = Family::from_numbers(afi, safi);
                (value.is_empty())
                    .then(|| family.map_or_else(unknown, Capability::Multiprotocol))?
            }
            capability_code::ROUTE_REFRESH => empty(Capability::RouteRefresh)?,
            capability_code::EXTENDED_NEXT_HOP => decode_extended_next_hop(value)?,
            capability_code::EXTENDED_MESSAGE => empty(Capability::ExtendedMessage)?,
            capability_code::ROLE => {
                let [number] = value.array()?;
                let role = Role::from_number(number);
                (value.is_empty()).then(|| role.map_or_else(unknown, Capability::Role))?
            }
            capability_code::GRACEFUL_RESTART => decode_graceful_restart(value)?,
            capability_code::FOUR_OCTET_AS => {
                let asn = value.u32()?;
                value.is_empty().then_some(Capability::FourOctetAs(asn))?
            }
            // RFC 7911 §4: with any other Send/Receive it is not understood.
            capability_code::ADD_PATH => decode_add_path(value)?.unwrap_or_else(unknown),
            capability_code::ENHANCED_ROUTE_REFRESH => empty(Capability::EnhancedRouteRefresh)?,
            capability_code::LONG_LIVED_GRACEFUL_RESTART => decode_long_lived(value)?,
            capability_code::HOSTNAME => decode_hostname(value).unwrap_or_else(unknown),
            capability_code::SOFTWARE_VERSION => decode_version(value).unwrap_or_else(unknown),
            _ => unknown(),
        };
        Some(capability)
    }

    /// Nothing where it does not fit into `octets_max`, or has more than an octet's length can say.
    pub(super) fn encode(&self, octets_max: usize, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[self.code(), 0]);
        match self {
            Capability::Multiprotocol(family) => {
                let (afi, safi) = family.numbers();
                out.extend_from_slice(&afi.to_be_bytes());
                out.extend_from_slice(&[0, safi]);
            }
            Capability::RouteRefresh
            | Capability::ExtendedMessage
            | Capability::EnhancedRouteRefresh => {}
            Capability::ExtendedNextHop(families) => {
                for (family, next_hop) in families {
                    let (afi, safi) = family.numbers();
                    let numbers = [afi, u16::from(safi), next_hop.number()];
                    out.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
                }
            }
            Capability::Role(role) => out.push(role.number()),
            Capability::GracefulRestart {
                restarted,
                notification,
                time_seconds,
                families,
            } => {
                let mut first = (*time_seconds).min(RESTART_TIME_SECONDS_MAX);
                first |= if *restarted { RESTART_STATE } else { 0 };
                first |= if *notification {
                    NOTIFICATION_SUPPORT
                } else {
                    0
                };
                out.extend_from_slice(&first.to_be_bytes());
                for (family, forwarding) in families {
                    family.encode(out);
                    out.push(if *forwarding { FORWARDING_STATE } else { 0 });
                }
            }
            Capability::FourOctetAs(asn) => out.extend_from_slice(&asn.to_be_bytes()),
            Capability::AddPath(families) => {
                for (family, mode) in families {
                    family.encode(out);
                    out.push(mode.number());
                }
            }
            Capability::LongLivedGracefulRestart(families) => {
                for one in families {
                    one.family.encode(out);
                    let flags = if one.forwarding { FORWARDING_STATE } else { 0 };
                    let time = one.stale_time_seconds.min(STALE_TIME_SECONDS_MAX);
                    out.extend_from_slice(&(u32::from(flags) << 24 | time).to_be_bytes());
                }
            }
            Capability::Hostname { host, domain } => {
                let host = text::cut(host, HOSTNAME_OCTETS_MAX);
                let domain = text::cut(domain, HOSTNAME_OCTETS_MAX - host.len());
                text::encode_short(host, out);
                text::encode_short(domain, out);
            }
            Capability::SoftwareVersion(version) => {
                text::encode_short(text::cut(version, VERSION_OCTETS_MAX), out);
            }
            Capability::Unknown { value, .. } => out.extend_from_slice(value),
        }
        match u8::try_from(out.len() - start - 2) {
            Ok(length) if out.len() - start <= octets_max => out[start + 1] = length,
            _ => out.truncate(start),
        }
    }
}

/// ```text
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+    +-------+------+-+-+-+-+-+-+-+-+
/// |R|N|   |  Restart Time (12)    |    |  AFI  | SAFI |F|             |  ...
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+    +-------+------+-+-+-+-+-+-+-+-+
/// ```
fn decode_graceful_restart(mut value: Cursor<'_>) -> Option<Capability> {
    let first = value.u16()?;
    let mut families = Vec::new();
    while !value.is_empty() {
        let (afi, safi, flags) = (value.u16()?, value.u8()?, value.u8()?);
        let family = Family::from_numbers(afi, safi);
        families.extend(family.map(|family| (family, flags & FORWARDING_STATE != 0)));
    }
    Some(Capability::GracefulRestart {
        restarted: first & RESTART_STATE != 0,
        notification: first & NOTIFICATION_SUPPORT != 0,
        time_seconds: first & RESTART_TIME_SECONDS_MAX,
        families,
    })
}

/// ```text
/// +---------------+---------------+---------------+
/// | NLRI AFI (2)  | NLRI SAFI (2) | next hop AFI  |  ...
/// +---------------+---------------+---------------+
/// ```
fn decode_extended_next_hop(mut value: Cursor<'_>) -> Option<Capability> {
    let mut families = Vec::new();
    while !value.is_empty() {
        let (afi, safi, next_hop) = (value.u16()?, value.u16()?, value.u16()?);
        let safi = u8::try_from(safi).ok();
        let family = safi.and_then(|safi| Family::from_numbers(afi, safi));
        families.extend(family.zip(NextHopAfi::from_number(next_hop)));
    }
    Some(Capability::ExtendedNextHop(families))
}

/// ```text
/// +---------+----------+------------------+
/// | AFI (2) | SAFI (1) | Send/Receive (1) |  ...
/// +---------+----------+------------------+
/// ```
///
/// `Some(None)`: a Send/Receive that is none.
fn decode_add_path(mut value: Cursor<'_>) -> Option<Option<Capability>> {
    let mut families = Vec::new();
    let mut understood = true;
    while !value.is_empty() {
        let (afi, safi, mode) = (value.u16()?, value.u8()?, value.u8()?);
        let mode = AddPathMode::from_number(mode);
        understood &= mode.is_some();
        families.extend(Family::from_numbers(afi, safi).zip(mode));
    }
    Some(understood.then_some(Capability::AddPath(families)))
}

/// ```text
/// +---------+----------+-+-+-+-+-+-+-+-+----------------------------+
/// | AFI (2) | SAFI (1) |F|             | Long-lived Stale Time (3)  |  ...
/// +---------+----------+-+-+-+-+-+-+-+-+----------------------------+
/// ```
fn decode_long_lived(mut value: Cursor<'_>) -> Option<Capability> {
    let mut families = Vec::new();
    while !value.is_empty() {
        let (afi, safi, last) = (value.u16()?, value.u8()?, value.u32()?);
        let family = Family::from_numbers(afi, safi);
        families.extend(family.map(|family| LongLivedFamily {
            family,
            forwarding: last >> 24 & u32::from(FORWARDING_STATE) != 0,
            stale_time_seconds: last & STALE_TIME_SECONDS_MAX,
        }));
    }
    Some(Capability::LongLivedGracefulRestart(families))
}

/// Length and text of the host, then of the domain. `None`: not so.
fn decode_hostname(mut value: Cursor<'_>) -> Option<Capability> {
    let host = text::decode_short(&mut value)?;
    let domain = text::decode_short(&mut value)?;
    (value.is_empty()).then_some(Capability::Hostname { host, domain })
}

/// Length and text. `None`: not so.
fn decode_version(mut value: Cursor<'_>) -> Option<Capability> {
    let version = text::decode_short(&mut value)?;
    let version = text::cut(&version, VERSION_OCTETS_MAX).to_owned();
    (value.is_empty()).then_some(Capability::SoftwareVersion(version))
}

impl NextHopAfi {
    fn number(self) -> u16 {
        match self {
            NextHopAfi::Ipv4 => afi::IPV4,
            NextHopAfi::Ipv6 => afi::IPV6,
        }
    }

    fn from_number(number: u16) -> Option<NextHopAfi> {
        let all = [NextHopAfi::Ipv4, NextHopAfi::Ipv6];
        all.into_iter().find(|afi| afi.number() == number)
    }
}

impl AddPathMode {
    /// The speaker understands several paths to a prefix.
    pub fn receives(self) -> bool {
        self != AddPathMode::Send
    }

    /// The speaker would send several paths to a prefix.
    pub fn sends(self) -> bool {
        self != AddPathMode::Receive
    }

    fn number(self) -> u8 {
        match self {
            AddPathMode::Receive => 1,
            AddPathMode::Send => 2,
            AddPathMode::Both => 3,
        }
    }

    fn from_number(number: u8) -> Option<AddPathMode> {
        let all = [AddPathMode::Receive, AddPathMode::Send, AddPathMode::Both];
        all.into_iter().find(|mode| mode.number() == number)
    }
}

impl Role {
    /// What the other side must be (RFC 9234 §4.2, table 2).
    pub fn counterpart(self) -> Role {
        match self {
            Role::Provider => Role::Customer,
            Role::Customer => Role::Provider,
            Role::RouteServer => Role::RouteServerClient,
            Role::RouteServerClient => Role::RouteServer,
            Role::Peer => Role::Peer,
        }
    }

    fn number(self) -> u8 {
        match self {
            Role::Provider => 0,
            Role::RouteServer => 1,
            Role::RouteServerClient => 2,
            Role::Customer => 3,
            Role::Peer => 4,
        }
    }

    fn from_number(number: u8) -> Option<Role> {
        [
            Role::Provider,
            Role::RouteServer,
            Role::RouteServerClient,
            Role::Customer,
            Role::Peer,
        ]
        .into_iter()
        .find(|role| role.number() == number)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Role::Provider => "provider",
            Role::RouteServer => "route server",
            Role::RouteServerClient => "route server client",
            Role::Customer => "customer",
            Role::Peer => "peer",
        })
    }
}

/// RFC 4724 §3.
const RESTART_STATE: u16 = 0x8000;
/// RFC 8538 §2.
const NOTIFICATION_SUPPORT: u16 = 0x4000;
/// RFC 4724 §3.
const RESTART_TIME_SECONDS_MAX: u16 = 0x0fff;
/// RFC 4724 §3, RFC 9494 §4.1.
const FORWARDING_STATE: u8 = 0x80;
/// RFC 9494 §4.1: 24 bits.
const STALE_TIME_SECONDS_MAX: u32 = 0x00ff_ffff;
/// What a capability of 255 octets has for two texts and their lengths.
const HOSTNAME_OCTETS_MAX: usize = 253;
/// draft-abraitis-bgp-version-capability §3.
const VERSION_OCTETS_MAX: usize = 64;

#[cfg(test)]
mod tests;
