//! What stands in a table of nf_tables, as values that can be compared: the same for what we want and what was read.

use std::collections::{BTreeMap, BTreeSet};

use crate::expression::Expression;

/// A table of family `inet`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Table {
    /// NFT_TABLE_F_…; a foreign hand can make a table dormant.
    pub(crate) flags: u32,
    pub(crate) sets: BTreeMap<String, Set>,
    /// Kind (NFT_OBJECT_…) and name.
    pub(crate) objects: BTreeSet<(u32, String)>,
    pub(crate) chains: BTreeMap<String, Chain>,
}

/// A named set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Set {
    pub(crate) key: Key,
    pub(crate) elements: BTreeSet<Element>,
}

/// What the elements of a set are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key {
    /// NFT_SET_….
    pub(crate) flags: u32,
    /// A number that only `nft` gives a meaning to; how it prints elements.
    pub(crate) kind: u32,
    pub(crate) octets: u32,
}

/// All keys between two, both of them included.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Element {
    pub(crate) first: Vec<u8>,
    pub(crate) last: Vec<u8>,
}

/// A chain on a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) hook: Option<Hook>,
    pub(crate) rules: Vec<Vec<Expression>>,
}

/// Where packets come to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hook {
    /// `filter`, `nat`.
    pub(crate) kind: String,
    /// NF_INET_….
    pub(crate) number: u32,
    pub(crate) priority: i32,
    /// NF_ACCEPT, NF_DROP.
    pub(crate) policy: u32,
}

impl Set {
    /// Whether elements are given as first and last in one, as in sets of several fields.
    pub(crate) fn is_concatenation(&self) -> bool {
        self.key.flags & NFT_SET_CONCAT != 0
    }
}

/// The key after this one; `None` after the last.
pub(crate) fn next(key: &[u8]) -> Option<Vec<u8>> {
    let mut next = key.to_vec();
    for octet in next.iter_mut().rev() {
        *octet = octet.wrapping_add(1);
        if *octet != 0 {
            return Some(next);
        }
    }
    None
}

/// The key before this one; `None` before the first.
pub(crate) fn previous(key: &[u8]) -> Option<Vec<u8>> {
    let mut previous = key.to_vec();
    for octet in previous.iter_mut().rev() {
        *octet = octet.wrapping_sub(1);
        if *octet != u8::MAX {
            return Some(previous);
        }
    }
    None
}

pub(crate) const NFT_SET_INTERVAL: u32 = 0x4;
pub(crate) const NFT_SET_CONCAT: u32 = 0x80;
pub(crate) const NFT_OBJECT_COUNTER: u32 = 1;
pub(crate) const NF_ACCEPT: u32 = 1;
pub(crate) const NF_DROP: u32 = 0;
