//! Tables in which prefixes that follow one another stand side by side, 16 at a time.
//!
//! ```text
//!   10.0.0.16/32 … 10.0.0.31/32 ─► somewhere:      ████████████████
//!   10.0.0.32/32 … 10.0.0.47/32 ─► somewhere else: ████████████████
//! ```
//!
//! Routes mostly come and go in the order of their prefixes. A hash that scatters them makes each look wait for memory, and
//! for the page tables on the way there: that is most of what a route costs. Here one look in 16 does. Where the 16 stand is as
//! random as anywhere, with a secret of each table: nobody outside can choose prefixes that collide.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash, Hasher};

use ipnet::IpNet;

/// A table by prefix.
#[derive(Debug)]
pub(crate) struct PrefixMap<V>(HashMap<Prefix, V, Nearness>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Prefix(IpNet);

impl Hash for Prefix {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash_near(state, &self.0, 0);
    }
}

impl<V> Default for PrefixMap<V> {
    fn default() -> PrefixMap<V> {
        PrefixMap(HashMap::default())
    }
}

impl<V> PrefixMap<V> {
    pub(crate) fn get(&self, prefix: &IpNet) -> Option<&V> {
        self.0.get(&Prefix(*prefix))
    }

    pub(crate) fn contains_key(&self, prefix: &IpNet) -> bool {
        self.0.contains_key(&Prefix(*prefix))
    }

    pub(crate) fn insert(&mut self, prefix: IpNet, value: V) -> Option<V> {
        self.0.insert(Prefix(prefix), value)
    }

    pub(crate) fn remove(&mut self, prefix: &IpNet) -> Option<V> {
        self.0.remove(&Prefix(*prefix))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&IpNet, &V)> {
        self.0.iter().map(|(prefix, value)| (&prefix.0, value))
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &IpNet> {
        self.0.keys().map(|prefix| &prefix.0)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.0.values()
    }
}

/// Feeds a prefix, which has no bits set behind its length, and whatever else belongs to the key.
pub(crate) fn hash_near<H: Hasher>(state: &mut H, prefix: &IpNet, rest: u32) {
    let length = u64::from(prefix.prefix_len());
    // Both count the prefixes of this length.
    let place = match prefix {
        IpNet::V4(net) => {
            let number = u64::from(u32::from(net.addr())) >> (32 - length);
            state.write_u64(number >> PLACE_BITS);
            number as u8
        }
        IpNet::V6(net) => {
            let number = u128::from(net.addr());
            let number = number.checked_shr(128 - length as u32).unwrap_or(0);
            state.write_u128(number >> PLACE_BITS);
            number as u8
        }
    };
    state.write_u64(u64::from(rest) << 8 | length);
    // Of all that is fed, only a place among neighbours comes this way.
    state.write_i8((place & PLACE_MASK) as i8);
}

/// Makes hashers for any keys; those of [`hash_near`] stand together.
#[derive(Debug, Clone)]
pub(crate) struct Nearness {
    secret: u64,
}

impl Default for Nearness {
    fn default() -> Nearness {
        Nearness {
            secret: RandomState::new().hash_one(0u8),
        }
    }
}

impl BuildHasher for Nearness {
    type Hasher = NearHasher;

    fn build_hasher(&self) -> NearHasher {
        NearHasher {
            state: self.secret,
            place: None,
        }
    }
}

#[derive(Debug)]
pub(crate) struct NearHasher {
    state: u64,
    place: Option<u8>,
}

impl NearHasher {
    fn feed(&mut self, word: u64) {
        self.state = mix(self.state ^ word);
    }
}

impl Hasher for NearHasher {
    /// A table takes the place from the lowest bits, and tells those in one place apart by the highest seven.
    fn finish(&self) -> u64 {
        match self.place {
            None => self.state,
            Some(place) => {
                let apart = mix(self.state.wrapping_add(u64::from(place) + 1));
                let tag = apart & !(u64::MAX >> TAG_BITS);
                let group = self.state & (u64::MAX >> TAG_BITS) & !u64::from(PLACE_MASK);
                tag | group | u64::from(place)
            }
        }
    }

    fn write(&mut self, octets: &[u8]) {
        for chunk in octets.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.feed(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, number: u8) {
        self.feed(number.into());
    }

    fn write_i8(&mut self, place: i8) {
        self.place = Some(place as u8);
    }

    fn write_u32(&mut self, number: u32) {
        self.feed(number.into());
    }

    fn write_u64(&mut self, number: u64) {
        self.feed(number);
    }

    fn write_u128(&mut self, number: u128) {
        self.feed(number as u64);
        self.feed((number >> 64) as u64);
    }

    fn write_usize(&mut self, number: usize) {
        self.feed(number as u64);
    }
}

/// Every bit of the outcome depends on every bit of the word.
fn mix(word: u64) -> u64 {
    let product = u128::from(word ^ FRACTION) * u128::from(MULTIPLIER);
    product as u64 ^ (product >> 64) as u64
}

const PLACE_BITS: u32 = 4;
const PLACE_MASK: u8 = (1 << PLACE_BITS) - 1;
const TAG_BITS: u32 = 7;
/// Of the golden ratio, and of pi: no bits of them are related.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
const FRACTION: u64 = 0x243f_6a88_85a3_08d3;
