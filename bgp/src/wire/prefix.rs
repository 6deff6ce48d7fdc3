//! Prefixes as NLRI (RFC 4271 §4.3): a length in bits, and as many octets as it needs.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::Family;
use super::cursor::Cursor;

/// Why a field of prefixes cannot be walked (RFC 7606 §5.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum PrefixError {
    /// Longer than an address.
    #[error("prefix length {length} is over {length_max}")]
    Length { length: u8, length_max: u8 },
    /// The field ends inside a prefix.
    #[error("prefix of length {length} needs {wanted} octets, {left} are left")]
    Overrun {
        length: u8,
        wanted: usize,
        left: usize,
    },
}

/// All prefixes of `field`, host bits zeroed, appended to `prefixes`: all or, on `Err`, none.
///
/// Two walks, so that `prefixes` grows once and to what it needs.
pub(super) fn decode(
    field: &[u8],
    family: Family,
    prefixes: &mut Vec<IpNet>,
) -> Result<(), PrefixError> {
    if field.is_empty() {
        return Ok(());
    }
    prefixes.reserve_exact(count(field, family)?);
    match family {
        Family::Ipv4Unicast => walk(field, prefixes, prefix_v4),
        Family::Ipv6Unicast => walk(field, prefixes, prefix_v6),
    }
    Ok(())
}

/// The second walk, over what `count` has found good.
fn walk(field: &[u8], prefixes: &mut Vec<IpNet>, prefix: impl Fn(u8, &[u8]) -> Option<IpNet>) {
    let mut cursor = Cursor::new(field);
    while let Some(length) = cursor.u8() {
        let octets = cursor.take(octets_of(length)).unwrap_or(&[]);
        prefixes.extend(prefix(length, octets));
    }
}

/// How many prefixes `field` holds, each checked.
fn count(field: &[u8], family: Family) -> Result<usize, PrefixError> {
    let length_max = family.address_bits();
    let mut cursor = Cursor::new(field);
    let mut count = 0;
    while let Some(length) = cursor.u8() {
        if length > length_max {
            return Err(PrefixError::Length { length, length_max });
        }
        let wanted = octets_of(length);
        if cursor.take(wanted).is_none() {
            let left = cursor.rest().len();
            return Err(PrefixError::Overrun {
                length,
                wanted,
                left,
            });
        }
        count += 1;
    }
    Ok(count)
}

/// RFC 4271 §4.3: "the value of trailing bits is irrelevant". Here they become zero.
fn prefix_v4(length: u8, octets: &[u8]) -> Option<IpNet> {
    let bits = octets
        .iter()
        .fold(0, |bits, &octet| bits << 8 | u64::from(octet));
    let bits = bits << (32 - 8 * octets.len().min(4));
    let mask = u64::from(u32::MAX) << (32 - length.min(32));
    let address = u32::try_from(bits & mask & u64::from(u32::MAX)).ok()?;
    let prefix = Ipv4Net::new(Ipv4Addr::from(address), length).ok()?;
    Some(IpNet::V4(prefix))
}

/// As [`prefix_v4`].
fn prefix_v6(length: u8, octets: &[u8]) -> Option<IpNet> {
    let mut address = [0; 16];
    address.get_mut(..octets.len())?.copy_from_slice(octets);
    let mask = u128::MAX.checked_shl(128 - u32::from(length.min(128)));
    let address = u128::from_be_bytes(address) & mask.unwrap_or(0);
    let prefix = Ipv6Net::new(Ipv6Addr::from(address), length).ok()?;
    Some(IpNet::V6(prefix))
}

/// Appends one prefix, host bits zeroed.
pub(super) fn encode(prefix: &IpNet, out: &mut Vec<u8>) {
    out.push(prefix.prefix_len());
    match prefix {
        IpNet::V4(prefix) => {
            let address = prefix.network().octets();
            out.extend_from_slice(&address[..octets_of(prefix.prefix_len())]);
        }
        IpNet::V6(prefix) => {
            let address = prefix.network().octets();
            out.extend_from_slice(&address[..octets_of(prefix.prefix_len())]);
        }
    }
}

/// How many octets [`encode`] appends.
pub(super) fn encoded_octets(prefix: &IpNet) -> usize {
    1 + octets_of(prefix.prefix_len())
}

fn octets_of(length_bits: u8) -> usize {
    usize::from(length_bits).div_ceil(8)
}

#[cfg(test)]
mod tests;
