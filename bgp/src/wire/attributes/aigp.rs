//! AIGP (RFC 7311): the distance to the next hop, added up by those who pass a path on within one
//! administration.
//!
//! ```text
//! +----------+---------------------------------+------------------------+
//! | Type (1) | Length (2), of the whole TLV    | Value, Length - 3      |  ... next TLV
//! +----------+---------------------------------+------------------------+
//! ```

use crate::wire::cursor::Cursor;

/// AIGP: a list of TLVs, well formed, one of which is the metric.
///
/// What else is in it is passed along unchanged (RFC 7311 §3).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Aigp(Box<[u8]>);

/// Why an AIGP is malformed (RFC 7311 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum AigpError {
    #[error("a TLV ends too early")]
    Overrun,
    #[error("a TLV of length {0}")]
    Length(u16),
    #[error("no AIGP TLV")]
    NoMetric,
    #[error("the metric is the largest that there is")]
    MetricMax,
}

impl Aigp {
    /// With this metric and nothing else. The largest number is none (RFC 7311 §3): it becomes the next
    /// smaller one.
    pub fn new(metric: u64) -> Aigp {
        let metric = metric.min(u64::MAX - 1).to_be_bytes();
        let [high, low] = METRIC_LENGTH.to_be_bytes();
        let tlv = [&[METRIC_TYPE, high, low], metric.as_slice()].concat();
        Aigp(tlv.into())
    }

    /// The value of the first AIGP TLV (RFC 7311 §3).
    pub fn metric(&self) -> u64 {
        metric_of(&self.0).unwrap_or(u64::MAX)
    }

    pub(super) fn decode(value: &[u8]) -> Result<Aigp, AigpError> {
        metric_of(value)?;
        Ok(Aigp(value.into()))
    }

    pub(super) fn octets(&self) -> &[u8] {
        &self.0
    }
}

/// Walks all TLVs, and takes the first that is a metric.
fn metric_of(value: &[u8]) -> Result<u64, AigpError> {
    let mut cursor = Cursor::new(value);
    let mut first = None;
    while let Some(kind) = cursor.u8() {
        let length = cursor.u16().ok_or(AigpError::Overrun)?;
        let octets = length
            .checked_sub(FRONT_OCTETS)
            .ok_or(AigpError::Length(length))?;
        let value = cursor.take(octets.into()).ok_or(AigpError::Overrun)?;
        if kind == METRIC_TYPE {
            let metric = value.try_into().map_err(|_| AigpError::Length(length))?;
            first.get_or_insert(u64::from_be_bytes(metric));
        }
    }
    match first {
        Some(u64::MAX) => Err(AigpError::MetricMax),
        first => first.ok_or(AigpError::NoMetric),
    }
}

/// RFC 7311 §3: the AIGP TLV.
const METRIC_TYPE: u8 = 1;
/// RFC 7311 §3: of the AIGP TLV.
const METRIC_LENGTH: u16 = 11;
/// Type and length.
const FRONT_OCTETS: u16 = 3;

#[cfg(test)]
mod tests;
