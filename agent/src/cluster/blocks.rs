//! The address blocks of the cluster, as far as a node needs to know: there may be twenty thousand, and they change with
//! every pod anywhere. Nothing here walks all of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use caracal_datastore::ipam::block;
use caracal_datastore::resources::IPAMBlock;
use ipnet::IpNet;

/// All blocks, by what they are asked for.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    by_cidr: HashMap<IpNet, Block>,
    /// The CIDR that an object had last.
    by_name: HashMap<String, IpNet>,
    /// Those that say they are the node's.
    own: BTreeSet<IpNet>,
    /// How many blocks have such a length of prefix (IPv6 or not).
    lengths: BTreeMap<(bool, u8), usize>,
    #[cfg(test)]
    pub(crate) looked_at: std::cell::Cell<usize>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Block {
    /// The node that it says it belongs to.
    pub(crate) node: Option<Box<str>>,
    /// A bit for each address that somebody has.
    taken: Box<[u64]>,
}

impl Blocks {
    /// Takes in what an object says now, for the node of that name. Returns what of it is new.
    pub(super) fn set(&mut self, name: &str, stored: &IPAMBlock, node: &str) -> News {
        let cidr = stored.cidr;
        let block = Block::of(stored);
        if self.by_name.get(name).is_some_and(|before| *before != cidr) {
            self.remove(name);
        }
        let own = block.node.as_deref() == Some(node);
        let before = self.by_cidr.insert(cidr, block);
        let now = &self.by_cidr[&cidr];
        match before {
            Some(before) if before.node == now.node => match before.taken == now.taken {
                true => News::None,
                false => News::Addresses(cidr),
            },
            before => {
                if before.is_none() {
                    self.by_name.insert(name.to_owned(), cidr);
                    *self.lengths.entry(length(&cidr)).or_default() += 1;
                }
                match own {
                    true => self.own.insert(cidr),
                    false => self.own.remove(&cidr),
                };
                News::Owner(cidr)
            }
        }
    }

    /// The object is gone.
    pub(super) fn remove(&mut self, name: &str) -> News {
        let Some(cidr) = self.by_name.remove(name) else {
            return News::None;
        };
        self.by_cidr.remove(&cidr);
        self.own.remove(&cidr);
        if let Some(count) = self.lengths.get_mut(&length(&cidr)) {
            *count -= 1;
            if *count == 0 {
                self.lengths.remove(&length(&cidr));
            }
        }
        News::Owner(cidr)
    }

    /// Names of the objects.
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.by_name.keys()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    pub(crate) fn get(&self, cidr: &IpNet) -> Option<&Block> {
        #[cfg(test)]
        self.looked_at.set(self.looked_at.get() + 1);
        self.by_cidr.get(cidr)
    }

    /// Those that say they are the node's.
    pub(crate) fn own(&self) -> &BTreeSet<IpNet> {
        &self.own
    }

    /// The block in which an address lies: the longest, should there be several.
    pub(crate) fn around(&self, address: IpAddr) -> Option<(IpNet, &Block)> {
        let lengths = self.lengths.keys().rev();
        let of_family = lengths.filter(|(v6, _)| *v6 == address.is_ipv6());
        let cidrs = of_family.filter_map(|(_, length)| IpNet::new(address, *length).ok());
        cidrs
            .map(|net| net.trunc())
            .find_map(|cidr| Some((cidr, self.get(&cidr)?)))
    }

    /// Whether somebody has the address, by the records.
    pub(crate) fn is_taken(&self, address: IpAddr) -> bool {
        self.around(address)
            .is_some_and(|(cidr, block)| block.is_taken(&cidr, address))
    }
}

/// What is new of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    /// Nothing that matters here.
    None,
    /// Who has which of its addresses.
    Addresses(IpNet),
    /// It belongs to somebody else, or is new, or gone.
    Owner(IpNet),
}

impl Block {
    fn of(stored: &IPAMBlock) -> Block {
        let mut taken = vec![0; stored.allocations.len().div_ceil(64)];
        let all = stored.allocations.iter().enumerate();
        for (ordinal, _) in all.filter(|(_, entry)| entry.is_some()) {
            taken[ordinal / 64] |= 1 << (ordinal % 64);
        }
        let node = stored.affinity.as_deref();
        Block {
            node: node.and_then(|affinity| Some(affinity.strip_prefix("host:")?.into())),
            taken: taken.into(),
        }
    }

    fn is_taken(&self, cidr: &IpNet, address: IpAddr) -> bool {
        let ordinal = block::ordinal(cidr, address);
        ordinal.is_some_and(|ordinal| {
            let word = self.taken.get(ordinal / 64).copied().unwrap_or(0);
            word >> (ordinal % 64) & 1 == 1
        })
    }
}

fn length(cidr: &IpNet) -> (bool, u8) {
    (cidr.addr().is_ipv6(), cidr.prefix_len())
}

#[cfg(test)]
mod tests;
