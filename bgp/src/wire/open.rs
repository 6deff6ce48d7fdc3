//! OPEN (RFC 4271 §4.2) and capabilities (RFC 5492).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |  Version (4)  |     My Autonomous System      |   Hold Time
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//!                 |             BGP Identifier
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//!                 | Params Length |  parameters: type, length, value
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! parameter type 2, Capabilities:  code, length, value;  code, length, value; ...
//!
//! More than 255 octets of parameters (RFC 9072):
//! +---------------+---------------+-------------------------------+
//! |      255      |  type 255     |   Extended Params Length (2)  |  type, length (2), value ...
//! +---------------+---------------+-------------------------------+
//! ```

use std::net::Ipv4Addr;

use super::cursor::Cursor;
use super::family::Family;
use super::iana::{AS_TRANS, UNSPECIFIC, capability_code, open_error, open_parameter};
use super::message::fill_length;
use super::notification::Notification;

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
        /// Families, with F: forwarding state preserved. Those that we do not know are left out.
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

impl Open {
    /// The body of an OPEN, checked as far as it can be without knowing who should send it (RFC 4271
    /// §6.2): the AS number and an identifier equal to ours are the connection's business.
    pub(super) fn decode(body: &[u8]) -> Result<Open, Notification> {
        let mut cursor = Cursor::new(body);
        let mut fixed = || {
            let (version, asn, hold_time) = (cursor.u8()?, cursor.u16()?, cursor.u16()?);
            Some((version, asn, hold_time, cursor.u32()?))
        };
        let Some((version, asn, hold_time_seconds, router_id)) = fixed() else {
            return Err(malformed());
        };
        if version != VERSION {
            let data = u16::from(VERSION).to_be_bytes();
            let subcode = open_error::UNSUPPORTED_VERSION_NUMBER;
            return Err(Notification::open(subcode, &data));
        }
        let capabilities = decode_parameters(cursor.rest())?;
        // RFC 7607 §2: nobody is AS 0, in either place.
        if asn == 0 || capabilities.contains(&Capability::FourOctetAs(0)) {
            return Err(Notification::open(open_error::BAD_PEER_AS, &[]));
        }
        let four_octet = capabilities.iter().find_map(|capability| match capability {
            Capability::FourOctetAs(asn) => Some(*asn),
            _ => None,
        });
        let open = Open {
            asn: four_octet.unwrap_or(u32::from(asn)),
            hold_time_seconds,
            router_id: Ipv4Addr::from(router_id),
            capabilities,
        };
        open.check()?;
        Ok(open)
    }

    fn check(&self) -> Result<(), Notification> {
        // RFC 4271 §6.2: one second and two are refused, zero means no keepalives at all.
        if matches!(self.hold_time_seconds, 1 | 2) {
            let subcode = open_error::UNACCEPTABLE_HOLD_TIME;
            return Err(Notification::open(subcode, &[]));
        }
        // RFC 6286 §2.2: any number but zero.
        if self.router_id.is_unspecified() {
            return Err(Notification::open(open_error::BAD_BGP_IDENTIFIER, &[]));
        }
        Ok(())
    }

    /// All capabilities in one parameter, as many as fit into `octets_max`.
    pub(super) fn encode(&self, octets_max: usize, out: &mut Vec<u8>) {
        let start = out.len();
        out.push(VERSION);
        let asn = u16::try_from(self.asn).unwrap_or(AS_TRANS); // RFC 6793 §4.2.2
        out.extend_from_slice(&asn.to_be_bytes());
        out.extend_from_slice(&self.hold_time_seconds.to_be_bytes());
        out.extend_from_slice(&self.router_id.octets());
        if self.capabilities.is_empty() {
            out.push(0);
            return;
        }

        // RFC 9072 §2 where it is needed: first as if it were, and taken back when it was not.
        let length_at = out.len();
        out.extend_from_slice(&[u8::MAX, open_parameter::EXTENDED_LENGTH, 0, 0]);
        out.extend_from_slice(&[open_parameter::CAPABILITIES, 0, 0]);
        let value_at = out.len();
        for capability in &self.capabilities {
            capability.encode(octets_max - (out.len() - start), out);
        }
        let value_octets = out.len() - value_at;
        match u8::try_from(value_octets + 2) {
            Ok(parameters_octets) => {
                let front = [
                    parameters_octets,
                    open_parameter::CAPABILITIES,
                    parameters_octets - 2,
                ];
                out.splice(length_at..value_at, front);
            }
            Err(_) => {
                fill_length(out, length_at + 2, value_octets + 3);
                fill_length(out, value_at - 2, value_octets);
            }
        }
    }
}

/// Optional parameters, with their length in front.
fn decode_parameters(octets: &[u8]) -> Result<Vec<Capability>, Notification> {
    let mut cursor = Cursor::new(octets);
    let length = cursor.u8().ok_or_else(malformed)?;
    // RFC 9072 §2: an extended form is one whose first type is 255, whatever the length says.
    let extended = length != 0 && cursor.rest().first() == Some(&open_parameter::EXTENDED_LENGTH);
    let length = if extended {
        cursor
            .u8()
            .and_then(|_| cursor.u16())
            .ok_or_else(malformed)?
    } else {
        u16::from(length)
    };
    if usize::from(length) != cursor.rest().len() {
        return Err(malformed());
    }

    let mut capabilities = Vec::new();
    while let Some(kind) = cursor.u8() {
        let length = if extended {
            cursor.u16()
        } else {
            cursor.u8().map(u16::from)
        };
        let value = length.and_then(|length| cursor.take(usize::from(length)));
        let value = value.ok_or_else(malformed)?;
        if kind != open_parameter::CAPABILITIES {
            let subcode = open_error::UNSUPPORTED_OPTIONAL_PARAMETER;
            return Err(Notification::open(subcode, &[]));
        }
        let mut value = Cursor::new(value);
        while !value.is_empty() {
            let capability = Capability::decode(&mut value);
            capabilities.push(capability.ok_or_else(malformed)?);
        }
    }
    Ok(capabilities)
}

/// RFC 4271 §6.2: a parameter that we know but that is malformed.
fn malformed() -> Notification {
    Notification::open(UNSPECIFIC, &[])
}

impl Capability {
    /// Its Capability Code.
    pub fn code(&self) -> u8 {
        match self {
            Capability::Multiprotocol(_) => capability_code::MULTIPROTOCOL,
            Capability::RouteRefresh => capability_code::ROUTE_REFRESH,
            Capability::FourOctetAs(_) => capability_code::FOUR_OCTET_AS,
            Capability::GracefulRestart { .. } => capability_code::GRACEFUL_RESTART,
            Capability::Unknown { code, .. } => *code,
        }
    }

    /// The next one; `None`: it overruns, or one that we know has a length that it cannot have.
    fn decode(cursor: &mut Cursor<'_>) -> Option<Capability> {
        let (code, length) = (cursor.u8()?, cursor.u8()?);
        let octets = cursor.take(usize::from(length))?;
        let mut value = Cursor::new(octets);
        let unknown = || Capability::Unknown {
            code,
            value: octets.to_vec(),
        };
        let capability = match code {
            capability_code::MULTIPROTOCOL => {
                let (afi, _reserved, safi) = (value.u16()?, value.u8()?, value.u8()?);
                let family = Family::from_numbers(afi, safi);
                (value.is_empty())
                    .then(|| family.map_or_else(unknown, Capability::Multiprotocol))?
            }
            capability_code::ROUTE_REFRESH => {
                value.is_empty().then_some(Capability::RouteRefresh)?
            }
            capability_code::FOUR_OCTET_AS => {
                let asn = value.u32()?;
                value.is_empty().then_some(Capability::FourOctetAs(asn))?
            }
            capability_code::GRACEFUL_RESTART => decode_graceful_restart(value)?,
            _ => unknown(),
        };
        Some(capability)
    }

    /// Nothing where it does not fit into `octets_max`, or has more than an octet's length can say.
    fn encode(&self, octets_max: usize, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[self.code(), 0]);
        match self {
            Capability::Multiprotocol(family) => {
                let (afi, safi) = family.numbers();
                out.extend_from_slice(&afi.to_be_bytes());
                out.extend_from_slice(&[0, safi]);
            }
            Capability::RouteRefresh => {}
            Capability::FourOctetAs(asn) => out.extend_from_slice(&asn.to_be_bytes()),
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

/// RFC 4271 §4.2.
const VERSION: u8 = 4;
/// RFC 4724 §3.
const RESTART_STATE: u16 = 0x8000;
/// RFC 8538 §2.
const NOTIFICATION_SUPPORT: u16 = 0x4000;
/// RFC 4724 §3.
const RESTART_TIME_SECONDS_MAX: u16 = 0x0fff;
/// RFC 4724 §3.
const FORWARDING_STATE: u8 = 0x80;

#[cfg(test)]
mod tests;
