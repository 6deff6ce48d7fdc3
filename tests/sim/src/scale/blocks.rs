//! Blocks of addresses as numbers, and sets of them.

use std::net::Ipv4Addr;

use ipnet::{IpNet, Ipv4Net};

/// The block of this number: a /26.
pub fn prefix(block: usize) -> IpNet {
    let address = FIRST + block as u32 * SIZE;
    Ipv4Net::new_assert(Ipv4Addr::from(address), LENGTH).into()
}

/// The number of a block; `None`: it is none of `0..blocks`.
pub fn number(prefix: &IpNet, blocks: usize) -> Option<usize> {
    let IpNet::V4(prefix) = prefix else {
        return None;
    };
    let offset = u32::from(prefix.network()).checked_sub(FIRST)?;
    let block = (offset / SIZE) as usize;
    let is_block = prefix.prefix_len() == LENGTH && offset % SIZE == 0 && block < blocks;
    is_block.then_some(block)
}

/// A set of blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockSet {
    words: Vec<u64>,
    len: usize,
}

impl BlockSet {
    /// An empty set with room for blocks below `blocks`.
    pub fn new(blocks: usize) -> BlockSet {
        BlockSet {
            words: vec![0; blocks.div_ceil(64)],
            len: 0,
        }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.len
    }

    /// None.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether it is in the set.
    pub fn contains(&self, block: usize) -> bool {
        self.words[block / 64] & (1 << (block % 64)) != 0
    }

    /// False when it was there already.
    pub fn insert(&mut self, block: usize) -> bool {
        let is_new = !self.contains(block);
        self.words[block / 64] |= 1 << (block % 64);
        self.len += usize::from(is_new);
        is_new
    }

    /// False when it was not there.
    pub fn remove(&mut self, block: usize) -> bool {
        let was = self.contains(block);
        self.words[block / 64] &= !(1 << (block % 64));
        self.len -= usize::from(was);
        was
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.words.len() * 64).filter(|&block| self.contains(block))
    }

    /// Takes everything out.
    pub fn clear(&mut self) {
        self.words.fill(0);
        self.len = 0;
    }
}

/// 10.233.0.0.
const FIRST: u32 = 0x0ae9_0000;
const LENGTH: u8 = 26;
/// Addresses of a block.
const SIZE: u32 = 64;
