//! Which pools serve a request, and in which order a node looks for blocks in them. Pure.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::{AssignRequest, IpamError, Purpose};
use crate::resources::{AllowedUse, AssignmentMode, IPPool};
use crate::selector::Selector;
use crate::store::Stored;

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    pub(crate) fn of(cidr: &IpNet) -> Family {
        match cidr {
            IpNet::V4(_) => Family::V4,
            IpNet::V6(_) => Family::V6,
        }
    }

    pub(crate) fn of_address(address: &IpAddr) -> Family {
        if address.is_ipv4() {
            Family::V4
        } else {
            Family::V6
        }
    }

    fn name(self) -> &'static str {
        match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        }
    }
}

/// The pools that serve a request, in order; `node` with its labels, and the labels of the request's namespace. The error says for each pool why it does not.
pub(crate) fn select<'a>(
    pools: &'a [Stored<IPPool>],
    request: &AssignRequest,
    family: Family,
    node: (&str, &BTreeMap<String, String>),
    namespace: &BTreeMap<String, String>,
) -> Result<Vec<&'a Stored<IPPool>>, IpamError> {
    let asked_for = match family {
        Family::V4 => &request.ipv4_pools,
        Family::V6 => &request.ipv6_pools,
    };
    if asked_for.is_empty() {
        return automatic(pools, request, family, node, namespace);
    }
    let mut chosen = Vec::new();
    let mut unfit = Vec::new();
    for wanted in asked_for {
        let found = pools.iter().find(|pool| {
            pool.metadata.name == *wanted || wanted.parse().ok() == Some(pool.spec.cidr)
        });
        match found {
            None => unfit.push(format!("there is no pool {wanted}")),
            Some(pool) if Family::of(&pool.spec.cidr) != family => {
                unfit.push(format!("{wanted} is not of that family"));
            }
            Some(pool) if pool.spec.disabled => unfit.push(format!("{wanted} is disabled")),
            Some(pool) if !pool.spec.allows(allowed_use(request.purpose)) => {
                unfit.push(format!(
                    "{wanted} is not for {}",
                    allowed_use(request.purpose)
                ));
            }
            Some(pool) => chosen.push(pool),
        }
    }
    none_is_an_error(chosen, family, &unfit)
}

fn automatic<'a>(
    pools: &'a [Stored<IPPool>],
    request: &AssignRequest,
    family: Family,
    (node, labels): (&str, &BTreeMap<String, String>),
    namespace: &BTreeMap<String, String>,
) -> Result<Vec<&'a Stored<IPPool>>, IpamError> {
    let mut chosen = Vec::new();
    let mut unfit = Vec::new();
    for pool in pools {
        let name = &pool.metadata.name;
        if Family::of(&pool.spec.cidr) != family {
            continue;
        }
        if pool.spec.disabled {
            unfit.push(format!("{name} is disabled"));
        } else if pool.spec.assignment_mode == AssignmentMode::Manual {
            unfit.push(format!("{name} must be asked for by name"));
        } else if !pool.spec.allows(allowed_use(request.purpose)) {
            unfit.push(format!(
                "{name} is not for {}",
                allowed_use(request.purpose)
            ));
        } else if !pool.spec.selects_node(labels) {
            unfit.push(format!("{name} does not select node {node}"));
        } else if !selects_namespace(&pool.spec, namespace) {
            unfit.push(format!(
                "{name} does not select namespace {}",
                request
                    .attributes
                    .get("namespace")
                    .map_or("(none)", String::as_str)
            ));
        } else {
            chosen.push(pool);
        }
    }
    none_is_an_error(chosen, family, &unfit)
}

fn none_is_an_error<'a>(
    chosen: Vec<&'a Stored<IPPool>>,
    family: Family,
    unfit: &[String],
) -> Result<Vec<&'a Stored<IPPool>>, IpamError> {
    if !chosen.is_empty() {
        return Ok(chosen);
    }
    let why = match unfit {
        [] => "none exists".to_owned(),
        unfit => unfit.join(", "),
    };
    Err(IpamError::NoPool(format!("{}: {why}", family.name())))
}

pub(crate) fn allowed_use(purpose: Purpose) -> AllowedUse {
    match purpose {
        Purpose::Workload => AllowedUse::Workload,
        Purpose::Tunnel => AllowedUse::Tunnel,
    }
}

fn selects_namespace(pool: &IPPool, labels: &BTreeMap<String, String>) -> bool {
    let Some(text) = pool.namespace_selector.as_deref() else {
        return true;
    };
    Selector::parse(text).is_ok_and(|selector| selector.matches(labels))
}

/// Whether a pool serves a node's workloads without being asked for by name.
pub(crate) fn serves(pool: &IPPool, labels: &BTreeMap<String, String>) -> bool {
    !pool.disabled
        && pool.assignment_mode == AssignmentMode::Automatic
        && pool.allows(AllowedUse::Workload)
        && pool.selects_node(labels)
}

/// The pool that an address or a block is in; the smallest if several are.
pub(crate) fn containing<'a>(
    pools: &'a [Stored<IPPool>],
    address: &IpAddr,
) -> Option<&'a Stored<IPPool>> {
    let all = pools.iter().filter(|pool| pool.spec.cidr.contains(address));
    all.max_by_key(|pool| pool.spec.cidr.prefix_len())
}

/// The block of a pool that holds an address.
pub(crate) fn block_of(pool: &IPPool, address: IpAddr) -> Option<IpNet> {
    IpNet::new(address, pool.block_prefix_length())
        .ok()
        .map(|cidr| cidr.trunc())
}

/// The first block of a pool, from a start and around, that overlaps no existing block and has an address that is not
/// reserved. It takes at most as many steps as there are blocks and reservations.
pub(crate) fn first_unclaimed(
    pool: &IPPool,
    start: u128,
    existing: &BTreeMap<IpAddr, IpNet>,
    reserved: &[IpNet],
) -> Option<IpNet> {
    let length = pool.block_prefix_length();
    let bits = u32::from(length.checked_sub(pool.cidr.prefix_len())?);
    // A pool of 2^128 single addresses does not exist: blocks are at least /116 apart from that.
    let count = 1_u128.checked_shl(bits)?;
    let start = start % count;
    let inside = existing
        .values()
        .filter(|block| crate::resources::overlap(block, &pool.cidr));
    let tries: u128 = inside
        .map(|block| 1_u128 << length.saturating_sub(block.prefix_len()).min(64))
        .sum::<u128>()
        .saturating_add(1);
    let (mut step, mut tried) = (0, 0);
    while step < count && tried < tries {
        let candidate = nth_block(pool, (start + step) % count)?;
        if let Some(range) = reserved.iter().find(|range| range.contains(&candidate)) {
            step = step.saturating_add(blocks_to_the_end(range, &candidate));
            continue;
        }
        if !overlaps_any(&candidate, existing) {
            return Some(candidate);
        }
        step += 1;
        tried += 1;
    }
    None
}

/// How many blocks of that size there are in a range from one of them on.
fn blocks_to_the_end(range: &IpNet, from: &IpNet) -> u128 {
    let bits = u32::from(from.max_prefix_len() - from.prefix_len());
    let left = match (range.broadcast(), from.network()) {
        (IpAddr::V4(last), IpAddr::V4(first)) => u128::from(last.to_bits() - first.to_bits()),
        (IpAddr::V6(last), IpAddr::V6(first)) => last.to_bits() - first.to_bits(),
        _ => 0,
    };
    (left >> bits).saturating_add(1)
}

fn nth_block(pool: &IPPool, index: u128) -> Option<IpNet> {
    let length = pool.block_prefix_length();
    let shift = u32::from(pool.cidr.max_prefix_len() - length);
    let offset = index.checked_shl(shift)?;
    let address: IpAddr = match pool.cidr.network() {
        IpAddr::V4(base) => {
            Ipv4Addr::from_bits(base.to_bits().checked_add(u32::try_from(offset).ok()?)?).into()
        }
        IpAddr::V6(base) => Ipv6Addr::from_bits(base.to_bits().checked_add(offset)?).into(),
    };
    IpNet::new(address, length).ok()
}

/// Blocks do not overlap one another, so only the neighbours can.
fn overlaps_any(candidate: &IpNet, existing: &BTreeMap<IpAddr, IpNet>) -> bool {
    let network = candidate.network();
    let before = existing.range(..=network).next_back();
    let after = existing.range(network..).next();
    before.is_some_and(|(_, block)| block.contains(&network))
        || after.is_some_and(|(_, block)| candidate.contains(&block.network()))
}
