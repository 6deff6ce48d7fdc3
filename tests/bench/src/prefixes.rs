//! The prefixes of a benchmark: numbered, so that a receiver can tick them off in a bitmap.
//!
//! Number `i` lies in the i-th group of 64 addresses. `Blocks` has a block there (/26, /122) and nothing else;
//! `Mixed` has three blocks and then a host route (/32, /128), again and again.

use std::net::{Ipv4Addr, Ipv6Addr};

use caracal_bgp::wire::Nlri;
use ipnet::IpNet;

/// What the prefixes look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Prefixes {
    pub(crate) ipv6: bool,
    pub(crate) mixed: bool,
}

/// Something that is none of ours, or that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Foreign;

impl Prefixes {
    /// The i-th.
    pub(crate) fn prefix(self, i: u32) -> IpNet {
        let host = self.is_host(i);
        let offset = i * GROUP + if host { HOST } else { 0 };
        let (net, length) = match self.ipv6 {
            false => (
                Ipv4Addr::from(BASE_V4 + offset).into(),
                if host { 32 } else { 26 },
            ),
            true => (
                Ipv6Addr::from(BASE_V6 + u128::from(offset)).into(),
                if host { 128 } else { 122 },
            ),
        };
        IpNet::new_assert(net, length)
    }

    /// As it is announced.
    pub(crate) fn nlri(self, i: u32) -> Nlri {
        self.prefix(i).into()
    }

    /// Calls `each` with the numbers of all prefixes in an NLRI field (RFC 4271 §4.3).
    #[inline]
    pub(crate) fn numbers(self, field: &[u8], mut each: impl FnMut(u32)) -> Result<(), Foreign> {
        let (size, block) = match self.ipv6 {
            false => (4, 26),
            true => (16, 122),
        };
        // All of ours have as many octets as an address.
        let chunks = field.chunks_exact(1 + size);
        if !chunks.remainder().is_empty() {
            return Err(Foreign);
        }
        for chunk in chunks {
            let Some((&length, address)) = chunk.split_first() else {
                return Err(Foreign);
            };
            let number = self.number(address).ok_or(Foreign)?;
            let expected = if self.is_host(number) {
                size as u8 * 8
            } else {
                block
            };
            if length != expected {
                return Err(Foreign);
            }
            each(number);
        }
        Ok(())
    }

    #[inline]
    fn number(self, address: &[u8]) -> Option<u32> {
        let offset = match self.ipv6 {
            false => u32::from_be_bytes(address.try_into().ok()?).checked_sub(BASE_V4)?,
            true => {
                let address = u128::from_be_bytes(address.try_into().ok()?);
                u32::try_from(address.checked_sub(BASE_V6)?).ok()?
            }
        };
        Some(offset / GROUP)
    }

    #[inline]
    fn is_host(self, i: u32) -> bool {
        self.mixed && i % 4 == 3
    }
}

/// Which of the prefixes are there.
#[derive(Debug, Clone)]
pub(crate) struct Bitmap {
    words: Vec<u64>,
    count: u32,
}

impl Bitmap {
    /// Empty, with room for so many.
    pub(crate) fn new(size: u32) -> Bitmap {
        Bitmap {
            words: vec![0; size.div_ceil(64) as usize],
            count: 0,
        }
    }

    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    pub(crate) fn clear(&mut self) {
        self.words.fill(0);
        self.count = 0;
    }

    #[inline]
    pub(crate) fn set(&mut self, i: u32, there: bool) {
        let Some(word) = self.words.get_mut(i as usize / 64) else {
            return;
        };
        let bit = 1 << (i % 64);
        match (*word & bit != 0, there) {
            (false, true) => {
                *word |= bit;
                self.count += 1;
            }
            (true, false) => {
                *word &= !bit;
                self.count -= 1;
            }
            _ => {}
        }
    }
}

const GROUP: u32 = 64;
/// Where in its group a host route is.
const HOST: u32 = 5;
const BASE_V4: u32 = u32::from_be_bytes([10, 0, 0, 0]);
const BASE_V6: u128 = 0xfd00_0010_0244 << 80;

#[cfg(test)]
mod tests;
