//! Prefixes as NLRI (RFC 4271 §4.3): a length in bits, and as many octets as it needs.
//!
//! ```text
//! +---------------------------+  +------------+--------------------------+
//! | Path Identifier (4)       |  | Length (1) | Prefix: Length / 8, up   |  ... next prefix
//! | only with ADD-PATH        |  |            |                          |
//! +---------------------------+  +------------+--------------------------+
//! ```

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::Family;
use super::cursor::Cursor;

/// A prefix as a peer names a path to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nlri {
    /// The prefix.
    pub prefix: IpNet,
    /// Path Identifier (RFC 7911 §3); 0 where ADD-PATH was not agreed for the family.
    pub path_id: u32,
}

/// Without a Path Identifier.
impl From<IpNet> for Nlri {
    fn from(prefix: IpNet) -> Nlri {
        Nlri { prefix, path_id: 0 }
    }
}

/// `198.51.100.0/24`, and where there is a Path Identifier `198.51.100.0/24 path 7`.
impl fmt::Display for Nlri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path_id {
            0 => write!(f, "{}", self.prefix),
            path_id => write!(f, "{} path {path_id}", self.prefix),
        }
    }
}

/// What a field of prefixes consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) family: Family,
    /// A Path Identifier stands before each prefix (RFC 7911 §3).
    pub(super) path_ids: bool,
}

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
    /// The field ends inside a Path Identifier or behind it.
    #[error("a path identifier and a prefix need 5 octets at least, {left} are left")]
    PathId { left: usize },
}

/// All prefixes of `field`, host bits zeroed, appended to `prefixes`: all or, on `Err`, none.
///
/// Two walks, so that `prefixes` grows once and to what it needs.
pub(super) fn decode(
    field: &[u8],
    form: Form,
    prefixes: &mut Vec<Nlri>,
) -> Result<(), PrefixError> {
    if field.is_empty() {
        return Ok(());
    }
    prefixes.reserve_exact(count(field, form)?);
    match form.family {
        Family::Ipv4Unicast => walk(field, form, prefixes, prefix_v4),
        Family::Ipv6Unicast => walk(field, form, prefixes, prefix_v6),
    }
    Ok(())
}

/// The second walk, over what `count` has found good.
fn walk(
    field: &[u8],
    form: Form,
    prefixes: &mut Vec<Nlri>,
    prefix: impl Fn(u8, &[u8]) -> Option<IpNet>,
) {
    let mut cursor = Cursor::new(field);
    while let Some((path_id, length)) = front(&mut cursor, form) {
        let octets = cursor.take(octets_of(length)).unwrap_or(&[]);
        let prefix = prefix(length, octets);
        prefixes.extend(prefix.map(|prefix| Nlri { prefix, path_id }));
    }
}

/// How many prefixes `field` holds, each checked.
fn count(field: &[u8], form: Form) -> Result<usize, PrefixError> {
    let length_max = form.family.address_bits();
    let mut cursor = Cursor::new(field);
    let mut count = 0;
    while !cursor.is_empty() {
        let left = cursor.rest().len();
        let (_, length) = front(&mut cursor, form).ok_or(PrefixError::PathId { left })?;
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

/// Path Identifier and length of the next prefix.
fn front(cursor: &mut Cursor<'_>, form: Form) -> Option<(u32, u8)> {
    let path_id = if form.path_ids { cursor.u32()? } else { 0 };
    Some((path_id, cursor.u8()?))
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
pub(super) fn encode(nlri: &Nlri, path_ids: bool, out: &mut Vec<u8>) {
    if path_ids {
        out.extend_from_slice(&nlri.path_id.to_be_bytes());
    }
    out.push(nlri.prefix.prefix_len());
    match nlri.prefix {
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
pub(super) fn encoded_octets(nlri: &Nlri, path_ids: bool) -> usize {
    path_id_octets(path_ids) + 1 + octets_of(nlri.prefix.prefix_len())
}

/// How many octets [`encode`] appends for the longest prefix.
pub(super) fn encoded_octets_max(form: Form) -> usize {
    path_id_octets(form.path_ids) + 1 + octets_of(form.family.address_bits())
}

fn path_id_octets(path_ids: bool) -> usize {
    if path_ids { size_of::<u32>() } else { 0 }
}

fn octets_of(length_bits: u8) -> usize {
    usize::from(length_bits).div_ceil(8)
}

#[cfg(test)]
mod tests;
