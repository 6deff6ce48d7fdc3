//! `ipam show`: how full pools and blocks are, and who has an address. The other verbs have files of their own.

pub(crate) mod args;
mod check;
mod gc;
mod release;
mod report;
mod settings;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use caracal_datastore::ipam::usage::{Borrowed, summarise};
use caracal_datastore::resources::Attribute;
use caracal_datastore::{Datastore, IPAMBlock, IPPool, Stored, TypedStore};
use ipnet::IpNet;
use serde::Serialize;

use crate::cli::{IpamCommand, IpamShow};
use crate::failure::{Failure, Sort};
use crate::outcome::Outcome;
use crate::output;
use crate::split;
use crate::table::{Table, or_dash};

/// How full everything is.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Usage {
    /// Pools in order of name.
    pub(crate) pools: Vec<PoolUsage>,
    /// Blocks that are in no pool (any more).
    pub(crate) blocks_outside_pools: Vec<BlockUsage>,
}

/// A pool.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PoolUsage {
    /// Its name.
    pub(crate) name: String,
    /// Its prefix.
    pub(crate) cidr: IpNet,
    /// Addresses in it.
    pub(crate) total: u128,
    /// Of these, given to somebody.
    pub(crate) in_use: u128,
    /// Of these, not.
    pub(crate) free: u128,
    /// Its blocks, in order.
    pub(crate) blocks: Vec<BlockUsage>,
}

/// A block.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BlockUsage {
    /// Its prefix.
    pub(crate) cidr: IpNet,
    /// `host:n1`, or nobody's.
    pub(crate) affinity: Option<String>,
    /// Addresses in it.
    pub(crate) total: u128,
    /// Of these, given to somebody.
    pub(crate) in_use: u128,
    /// Of these, not.
    pub(crate) free: u128,
}

/// Who has an address.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Holder {
    /// The address.
    pub(crate) address: IpAddr,
    /// Its pool.
    pub(crate) pool: Option<String>,
    /// Its block, if there is one.
    pub(crate) block: Option<IpNet>,
    /// The node of that block.
    pub(crate) affinity: Option<String>,
    /// Given to somebody.
    pub(crate) in_use: bool,
    /// The handle.
    pub(crate) handle: Option<String>,
    /// node, namespace, pod, timestamp.
    pub(crate) attributes: BTreeMap<String, String>,
}

/// All of them.
pub(crate) async fn run(
    store: &Arc<dyn Datastore>,
    command: &IpamCommand,
) -> Result<Outcome, Failure> {
    match command {
        IpamCommand::Show(args) if args.show_configuration => settings::show(store).await,
        IpamCommand::Show(args) => show(store, args).await,
        IpamCommand::Check(args) => check::check(store, args).await,
        IpamCommand::Release(args) => release::release(store, args).await,
        IpamCommand::Gc(args) => gc::gc(store, args).await,
        IpamCommand::Configure(args) => settings::configure(store, args).await,
        IpamCommand::Split(args) => split::split(store, args).await,
    }
}

/// The command.
async fn show(store: &Arc<dyn Datastore>, args: &IpamShow) -> Result<Outcome, Failure> {
    let store = TypedStore(Arc::clone(store));
    let (pools, mut faults) = store.list::<IPPool>().await?;
    let (blocks, more) = store.list::<IPAMBlock>().await?;
    faults.extend(more);
    let text = match args.ip {
        Some(address) => {
            let holder = holder(address, &pools, &blocks)?;
            output::report(&holder, args.view.output, |holder, _| words(holder))?
        }
        None if args.show_borrowed => {
            let usage = summarise(&pools, &blocks);
            output::report(&usage.borrowed, args.view.output, |all, _| borrowed(all))?
        }
        None => {
            let usage = usage(&pools, &blocks);
            let show_blocks = args.show_blocks;
            output::report(&usage, args.view.output, |usage, wide| {
                table(usage, show_blocks, wide)
            })?
        }
    };
    Ok(Outcome {
        text,
        notes: faults
            .iter()
            .map(|fault| format!("left out: {fault}"))
            .collect(),
        failure: None,
    })
}

fn usage(pools: &[Stored<IPPool>], blocks: &[Stored<IPAMBlock>]) -> Usage {
    let mut pools: Vec<PoolUsage> = pools
        .iter()
        .map(|pool| PoolUsage {
            name: pool.metadata.name.clone(),
            cidr: pool.spec.cidr,
            total: size(pool.spec.cidr),
            in_use: 0,
            free: size(pool.spec.cidr),
            blocks: Vec::new(),
        })
        .collect();
    let mut outside = Vec::new();
    let mut blocks: Vec<&IPAMBlock> = blocks.iter().map(|block| &block.spec).collect();
    blocks.sort_by_key(|block| block.cidr);
    for block in blocks {
        let total = size(block.cidr);
        let in_use = taken(block);
        let block = BlockUsage {
            cidr: block.cidr,
            affinity: block.affinity.clone(),
            total,
            in_use,
            free: total.saturating_sub(in_use),
        };
        match pools
            .iter_mut()
            .find(|pool| pool.cidr.contains(&block.cidr))
        {
            Some(pool) => {
                pool.in_use += in_use;
                pool.free = pool.total.saturating_sub(pool.in_use);
                pool.blocks.push(block);
            }
            None => outside.push(block),
        }
    }
    Usage {
        pools,
        blocks_outside_pools: outside,
    }
}

/// Addresses that somebody has. One that cools down after its release is nobody's.
fn taken(block: &IPAMBlock) -> u128 {
    let taken = block
        .allocations
        .iter()
        .flatten()
        .filter(|index| {
            block
                .attributes
                .get(**index)
                .is_none_or(|attribute| attribute.released_at.is_none())
        })
        .count();
    taken as u128
}

fn size(cidr: IpNet) -> u128 {
    let bits = u32::from(cidr.max_prefix_len() - cidr.prefix_len());
    1_u128.checked_shl(bits).unwrap_or(u128::MAX)
}

fn holder(
    address: IpAddr,
    pools: &[Stored<IPPool>],
    blocks: &[Stored<IPAMBlock>],
) -> Result<Holder, Failure> {
    let pool = pools.iter().find(|pool| pool.spec.cidr.contains(&address));
    let block = blocks
        .iter()
        .map(|block| &block.spec)
        .find(|block| block.cidr.contains(&address));
    if pool.is_none() && block.is_none() {
        return Err(Failure::new(
            Sort::NotFound,
            format!("{address} is in no pool and in no block"),
        ));
    }
    let attribute: Option<&Attribute> = block.and_then(|block| {
        let ordinal = ordinal(block.cidr, address)?;
        let index = (*block.allocations.get(ordinal)?)?;
        block
            .attributes
            .get(index)
            .filter(|attribute| attribute.released_at.is_none())
    });
    Ok(Holder {
        address,
        pool: pool.map(|pool| pool.metadata.name.clone()),
        block: block.map(|block| block.cidr),
        affinity: block.and_then(|block| block.affinity.clone()),
        in_use: attribute.is_some(),
        handle: attribute.and_then(|attribute| attribute.handle_id.clone()),
        attributes: attribute
            .map(|attribute| attribute.secondary.clone())
            .unwrap_or_default(),
    })
}

/// The position of an address in its block.
fn ordinal(block: IpNet, address: IpAddr) -> Option<usize> {
    let position = match (block.network(), address) {
        (IpAddr::V4(first), IpAddr::V4(address)) => {
            u128::from(u32::from(address).checked_sub(u32::from(first))?)
        }
        (IpAddr::V6(first), IpAddr::V6(address)) => {
            u128::from(address).checked_sub(u128::from(first))?
        }
        _ => return None,
    };
    position.try_into().ok()
}

/// As `calicoctl ipam show`.
fn table(usage: &Usage, show_blocks: bool, wide: bool) -> String {
    let mut heading = vec!["GROUPING", "CIDR", "IPS TOTAL", "IPS IN USE", "IPS FREE"];
    if wide {
        heading.extend(["NAME", "AFFINITY"]);
    }
    let mut table = Table::new(heading);
    let mut row = |grouping: &str, cidr: IpNet, numbers: [u128; 3], more: [&str; 2]| {
        let [total, in_use, free] = numbers;
        let mut cells = vec![
            grouping.to_owned(),
            cidr.to_string(),
            number(total),
            share(in_use, total),
            share(free, total),
        ];
        if wide {
            cells.extend(more.map(str::to_owned));
        }
        table.row(cells);
    };
    for pool in &usage.pools {
        let numbers = [pool.total, pool.in_use, pool.free];
        row("IP Pool", pool.cidr, numbers, [&pool.name, ""]);
        if show_blocks {
            for block in &pool.blocks {
                let affinity = block.affinity.as_deref().unwrap_or("-");
                let numbers = [block.total, block.in_use, block.free];
                row("Block", block.cidr, numbers, ["", affinity]);
            }
        }
    }
    for block in &usage.blocks_outside_pools {
        let affinity = block.affinity.as_deref().unwrap_or("-");
        let numbers = [block.total, block.in_use, block.free];
        row("Block, no pool", block.cidr, numbers, ["", affinity]);
    }
    if usage.pools.is_empty() && usage.blocks_outside_pools.is_empty() {
        return "No IP pools.\n".to_owned();
    }
    table.framed()
}

/// As `calicoctl ipam show --show-borrowed`.
fn borrowed(all: &[Borrowed]) -> String {
    let mut table = Table::new([
        "IP",
        "BORROWING-NODE",
        "BLOCK",
        "BLOCK OWNER",
        "ALLOCATED-TO",
    ]);
    for one in all {
        table.row([
            one.address.to_string(),
            one.node.clone(),
            one.block.to_string(),
            or_dash(one.owner.as_deref()),
            or_dash(one.handle.as_deref()),
        ]);
    }
    table.framed()
}

fn words(holder: &Holder) -> String {
    let mut out = if holder.in_use {
        format!("IP {} is in use\n", holder.address)
    } else {
        format!("IP {} is not assigned\n", holder.address)
    };
    let block = holder.block.map(|block| block.to_string());
    let fields = [
        ("pool", &holder.pool),
        ("block", &block),
        ("affinity", &holder.affinity),
        ("handle", &holder.handle),
    ];
    for (name, value) in fields {
        if let Some(value) = value {
            out.push_str(&format!("  {name}: {value}\n"));
        }
    }
    if !holder.attributes.is_empty() {
        out.push_str("Attributes:\n");
        for (name, value) in &holder.attributes {
            out.push_str(&format!("  {name}: {value}\n"));
        }
    }
    out
}

/// An IPv6 pool has more addresses than a table has room for digits.
fn number(count: u128) -> String {
    if count < 1_000_000_000_000 {
        count.to_string()
    } else {
        format!("{:.4e}", count as f64)
    }
}

fn share(part: u128, whole: u128) -> String {
    let percent = if whole == 0 {
        0.0
    } else {
        100.0 * part as f64 / whole as f64
    };
    format!("{} ({percent:.0}%)", number(part))
}

#[cfg(test)]
mod tests;
