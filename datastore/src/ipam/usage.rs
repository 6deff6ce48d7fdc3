//! How full pools and blocks are, for `caracalctl ipam show`. Pure.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;

use super::block;
use crate::resources::{IPAMBlock, IPPool};
use crate::store::Stored;

/// How full everything is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// In order of name.
    pub pools: Vec<PoolUsage>,
    /// Blocks that are in no pool.
    pub stray_blocks: Vec<BlockUsage>,
    /// Addresses that a node uses out of another's block.
    pub borrowed: Vec<Borrowed>,
}

/// How full a pool is. Addresses are counted in 128 bits: an IPv6 pool may have more than 2^64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PoolUsage {
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub cidr: IpNet,
    /// How many it has.
    pub capacity: u128,
    /// How many are assigned, or cool down.
    pub used: u128,
    /// The rest.
    pub free: u128,
    /// Its blocks, in order.
    pub blocks: Vec<BlockUsage>,
}

/// How full a block is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BlockUsage {
    /// Its addresses.
    pub cidr: IpNet,
    /// `host:<node>`, or nobody's.
    pub affinity: Option<String>,
    /// How many it has.
    pub capacity: usize,
    /// How many are assigned.
    pub used: usize,
    /// How many were released and cool down.
    pub cooling: usize,
    /// How many can be given.
    pub free: usize,
}

/// An address that a node uses out of a block that is not its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Borrowed {
    /// The address.
    pub address: IpAddr,
    /// Its block.
    pub block: IpNet,
    /// The block's owner, if it has one.
    pub owner: Option<String>,
    /// Who uses it.
    pub node: String,
    /// For whom.
    pub handle: Option<String>,
}

/// Sums up.
pub fn summarise(pools: &[Stored<IPPool>], blocks: &[Stored<IPAMBlock>]) -> Usage {
    let mut usage = Usage::default();
    for pool in pools {
        let capacity = capacity(&pool.spec.cidr);
        usage.pools.push(PoolUsage {
            name: pool.metadata.name.clone(),
            cidr: pool.spec.cidr,
            capacity,
            used: 0,
            free: capacity,
            blocks: Vec::new(),
        });
    }
    usage.pools.sort_by(|one, other| one.name.cmp(&other.name));
    let mut sorted: Vec<&IPAMBlock> = blocks.iter().map(|stored| &stored.spec).collect();
    sorted.sort_by_key(|block| block.cidr);
    for one in sorted {
        let summary = block_usage(one);
        usage.borrowed.extend(borrowed(one));
        let pool = usage
            .pools
            .iter_mut()
            .filter(|pool| pool.cidr.contains(&one.cidr))
            .max_by_key(|pool| pool.cidr.prefix_len());
        match pool {
            None => usage.stray_blocks.push(summary),
            Some(pool) => {
                let taken = (summary.used + summary.cooling) as u128;
                pool.used += taken;
                pool.free = pool.free.saturating_sub(taken);
                pool.blocks.push(summary);
            }
        }
    }
    usage
}

fn capacity(cidr: &IpNet) -> u128 {
    let bits = u32::from(cidr.max_prefix_len() - cidr.prefix_len());
    1_u128.checked_shl(bits).unwrap_or(u128::MAX)
}

fn block_usage(one: &IPAMBlock) -> BlockUsage {
    let (mut used, mut cooling) = (0, 0);
    for (_, attribute) in block::allocated(one) {
        if attribute.handle_id.is_none() && attribute.released_at.is_some() {
            cooling += 1;
        } else {
            used += 1;
        }
    }
    BlockUsage {
        cidr: one.cidr,
        affinity: one.affinity.clone(),
        capacity: block::size(&one.cidr),
        used,
        cooling,
        free: block::free(one),
    }
}

fn borrowed(one: &IPAMBlock) -> Vec<Borrowed> {
    let owner = block::node_of(one);
    block::allocated(one)
        .filter_map(|(address, attribute)| {
            let node = attribute.secondary.get("node")?;
            (Some(node.as_str()) != owner).then(|| Borrowed {
                address,
                block: one.cidr,
                owner: one.affinity.clone(),
                node: node.clone(),
                handle: attribute.handle_id.clone(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests;
