//! Reads an UPDATE as far as a benchmark needs it, without allocating: where its prefixes are, and of which round it is.
//!
//! The whole codec would cost more than the speakers under test do.

/// The parts of an UPDATE.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scan<'a> {
    /// Withdrawn routes (RFC 4271 §4.3).
    pub(crate) withdrawn: &'a [u8],
    /// The NLRI field.
    pub(crate) announced: &'a [u8],
    /// The prefixes of MP_UNREACH_NLRI (RFC 4760 §4), if it is for IPv6 unicast.
    pub(crate) withdrawn_v6: &'a [u8],
    /// The prefixes of MP_REACH_NLRI (RFC 4760 §3), the same.
    pub(crate) announced_v6: &'a [u8],
    /// MULTI_EXIT_DISC.
    pub(crate) med: Option<u32>,
    /// NEXT_HOP, or the first next hop of MP_REACH_NLRI.
    pub(crate) next_hop: &'a [u8],
}

impl<'a> Scan<'a> {
    /// The body of an UPDATE. `None`: it ends before it should.
    pub(crate) fn read(body: &'a [u8]) -> Option<Scan<'a>> {
        let mut scan = Scan::default();
        let (withdrawn, rest) = field(body)?;
        let (mut attributes, announced) = field(rest)?;
        (scan.withdrawn, scan.announced) = (withdrawn, announced);
        while let [flags, code, ..] = *attributes {
            let front = attributes.get(2..)?;
            let (value, rest) = if flags & EXTENDED_LENGTH != 0 {
                field(front)?
            } else {
                let (&length, rest) = front.split_first()?;
                rest.split_at_checked(length.into())?
            };
            attributes = rest;
            match code {
                NEXT_HOP => scan.next_hop = value,
                MULTI_EXIT_DISC => scan.med = value.try_into().ok().map(u32::from_be_bytes),
                MP_REACH_NLRI if value.starts_with(&IPV6_UNICAST) => {
                    let (&length, rest) = value.get(3..)?.split_first()?;
                    let (next_hop, rest) = rest.split_at_checked(length.into())?;
                    scan.next_hop = next_hop.get(..16)?;
                    // A reserved octet stands between.
                    scan.announced_v6 = rest.get(1..)?;
                }
                MP_UNREACH_NLRI if value.starts_with(&IPV6_UNICAST) => {
                    scan.withdrawn_v6 = value.get(3..)?;
                }
                _ => {}
            }
        }
        Some(scan)
    }
}

/// Two octets of length and as many as they say.
fn field(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = octets.split_first_chunk()?;
    rest.split_at_checked(u16::from_be_bytes(*length).into())
}

const EXTENDED_LENGTH: u8 = 0x10;
const NEXT_HOP: u8 = 3;
const MULTI_EXIT_DISC: u8 = 4;
const MP_REACH_NLRI: u8 = 14;
const MP_UNREACH_NLRI: u8 = 15;
/// AFI 2, SAFI 1.
const IPV6_UNICAST: [u8; 3] = [0, 2, 1];

#[cfg(test)]
mod tests;
