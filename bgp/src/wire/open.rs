//! OPEN (RFC 4271 §4.2), with capabilities in its parameters (RFC 5492).
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

use super::capability::Capability;
use super::cursor::Cursor;
use super::iana::{AS_TRANS, UNSPECIFIC, open_error, open_parameter};
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

/// RFC 4271 §4.2.
const VERSION: u8 = 4;
#[cfg(test)]
mod tests;
