//! NOTIFICATION (RFC 4271 §4.5): why a session ends, for the wire and in words.

use std::fmt;

use super::cursor::Cursor;
use super::family::Family;
use super::iana::{UNSPECIFIC, cease, error_code, error_name, error_subcode_name};
use super::text;

/// NOTIFICATION: error code, subcode, data.
///
/// ```text
/// +------------+---------------+----------+
/// | error code | error subcode | data ... |
/// +------------+---------------+----------+
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// Error code.
    pub code: u8,
    /// Error subcode.
    pub subcode: u8,
    /// Data.
    pub data: Vec<u8>,
}

impl Notification {
    /// With these data.
    pub fn new(code: u8, subcode: u8, data: &[u8]) -> Notification {
        Notification {
            code,
            subcode,
            data: data.to_vec(),
        }
    }

    /// Cease with a text for the other side's operator (RFC 9003 §2), cut at 255 octets.
    ///
    /// Only [`cease::ADMINISTRATIVE_SHUTDOWN`] and [`cease::ADMINISTRATIVE_RESET`] carry one.
    pub fn cease_with_communication(subcode: u8, text: &str) -> Notification {
        let mut data = Vec::new();
        text::encode_short(text, &mut data);
        Notification {
            code: error_code::CEASE,
            subcode,
            data,
        }
    }

    /// Cease: more prefixes of `family` than `prefixes_max` (RFC 4486 §4: the data are AFI, SAFI and the
    /// upper bound).
    pub fn prefix_limit(family: Family, prefixes_max: usize) -> Notification {
        let bound = u32::try_from(prefixes_max).unwrap_or(u32::MAX);
        let mut data = Vec::new();
        family.encode(&mut data);
        data.extend_from_slice(&bound.to_be_bytes());
        Notification {
            code: error_code::CEASE,
            subcode: cease::MAXIMUM_NUMBER_OF_PREFIXES_REACHED,
            data,
        }
    }

    /// Cease: as `cause`, but no graceful restart shall come of it (RFC 8538 §3.1).
    pub fn hard_reset(cause: &Notification) -> Notification {
        let mut data = vec![cause.code, cause.subcode];
        data.extend_from_slice(&cause.data);
        Notification {
            code: error_code::CEASE,
            subcode: cease::HARD_RESET,
            data,
        }
    }

    /// The text of RFC 9003 §2; `None`: there is none, or it is malformed.
    pub fn communication(&self) -> Option<String> {
        let carries = matches!(
            (self.code, self.subcode),
            (
                error_code::CEASE,
                cease::ADMINISTRATIVE_SHUTDOWN | cease::ADMINISTRATIVE_RESET
            )
        );
        let (length, text) = self.data.split_first().filter(|_| carries)?;
        let text = text
            .get(..usize::from(*length))
            .filter(|text| !text.is_empty())?;
        Some(String::from_utf8_lossy(text).into_owned())
    }

    pub(super) fn header(subcode: u8, data: &[u8]) -> Notification {
        Notification::new(error_code::MESSAGE_HEADER, subcode, data)
    }

    pub(super) fn open(subcode: u8, data: &[u8]) -> Notification {
        Notification::new(error_code::OPEN, subcode, data)
    }

    pub(super) fn update(subcode: u8, data: &[u8]) -> Notification {
        Notification::new(error_code::UPDATE, subcode, data)
    }

    /// `None`: shorter than its two numbers, which the header's check has ruled out.
    pub(super) fn decode(body: &[u8]) -> Option<Notification> {
        let mut cursor = Cursor::new(body);
        Some(Notification {
            code: cursor.u8()?,
            subcode: cursor.u8()?,
            data: cursor.rest().to_vec(),
        })
    }

    /// As much of the data as fits into `octets_max`.
    pub(super) fn encode(&self, octets_max: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.code, self.subcode]);
        let data_octets = self.data.len().min(octets_max.saturating_sub(2));
        out.extend_from_slice(&self.data[..data_octets]);
    }

    /// The data of RFC 4486 §4: AFI, SAFI and the upper bound.
    fn prefixes_max(&self) -> Option<(u16, u8, u32)> {
        let limit = (self.code, self.subcode)
            == (error_code::CEASE, cease::MAXIMUM_NUMBER_OF_PREFIXES_REACHED);
        let mut cursor = Cursor::new(&self.data);
        let data = (cursor.u16()?, cursor.u8()?, cursor.u32()?);
        (limit && cursor.is_empty()).then_some(data)
    }

    /// What RFC 8538 §3.1 packs into a Hard Reset.
    fn hard_reset_cause(&self) -> Option<Notification> {
        let hard = (self.code, self.subcode) == (error_code::CEASE, cease::HARD_RESET);
        Notification::decode(&self.data).filter(|_| hard)
    }
}

/// `UPDATE Message Error: Malformed AS_PATH, data 0x40020102`. What the other side wrote is quoted
/// and escaped, so that it can be logged.
impl fmt::Display for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match error_name(self.code) {
            Some(name) => f.write_str(name)?,
            None => write!(f, "error code {}", self.code)?,
        }
        match error_subcode_name(self.code, self.subcode) {
            Some(name) => write!(f, ": {name}")?,
            None if self.subcode != UNSPECIFIC => write!(f, ": subcode {}", self.subcode)?,
            None => {}
        }
        if let Some(text) = self.communication() {
            return write!(f, " {text:?}");
        }
        if let Some((afi, safi, prefixes_max)) = self.prefixes_max() {
            return match Family::from_numbers(afi, safi) {
                Some(family) => write!(f, " ({family}, at most {prefixes_max})"),
                None => write!(f, " (AFI {afi}, SAFI {safi}, at most {prefixes_max})"),
            };
        }
        // Not Display of the cause: it may again hold one, as deep as a message is long.
        if let Some(cause) = self.hard_reset_cause() {
            match error_subcode_name(cause.code, cause.subcode) {
                Some(name) => write!(f, " ({name}")?,
                None => write!(f, " (code {}, subcode {}", cause.code, cause.subcode)?,
            }
            if let Some(text) = cause.communication() {
                write!(f, " {text:?}")?;
            }
            return f.write_str(")");
        }
        if !self.data.is_empty() {
            write!(f, ", data {}", Hex(&self.data))?;
        }
        Ok(())
    }
}

/// Octets for people: the first few of them, as `0x…`.
pub(super) struct Hex<'a>(pub(super) &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("(none)");
        }
        f.write_str("0x")?;
        for octet in self.0.iter().take(HEX_OCTETS_MAX) {
            write!(f, "{octet:02x}")?;
        }
        if self.0.len() > HEX_OCTETS_MAX {
            write!(f, "... ({} octets)", self.0.len())?;
        }
        Ok(())
    }
}

const HEX_OCTETS_MAX: usize = 24;

#[cfg(test)]
mod tests;
