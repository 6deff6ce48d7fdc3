//! Arithmetic on a block: no store, no clock.
//!
//! *Invariant:* every ordinal is either in `unallocated` or has an allocation, never both, and every
//! allocation points to an attribute.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ipnet::IpNet;

use crate::resources::{Attribute, Extra, IPAMBlock, Timestamp};

/// A new block of a node, or of nobody.
pub fn new(cidr: IpNet, node: Option<&str>, now: SystemTime) -> IPAMBlock {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let count = size(&cidr);
    IPAMBlock {
        cidr,
        affinity: node.map(affinity),
        affinity_claim_time: node.map(|_| Timestamp::of(now)),
        allocations: vec![None; count],
        unallocated: (0..count).collect(),
        attributes: Vec::new(),
        sequence_number: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX / 2),
        sequence_number_for_allocation: BTreeMap::new(),
        deleted: false,
        strict_affinity: false,
        extra: Extra::new(),
    }
}

/// `host:<node>`.
pub fn affinity(node: &str) -> String {
    format!("host:{node}")
}

/// The node that the block is affine to, if it is a node.
pub fn node_of(block: &IPAMBlock) -> Option<&str> {
    block.affinity.as_deref()?.strip_prefix("host:")
}

/// How many addresses a block has; 0 for a prefix too short for any block.
pub fn size(cidr: &IpNet) -> usize {
    match cidr.max_prefix_len() - cidr.prefix_len() {
        bits if bits <= HOST_BITS_MAX => 1 << bits,
        _ => 0,
    }
}

/// Blocks of /20 and /116 are the largest.
const HOST_BITS_MAX: u8 = 12;

/// The address at a position.
pub fn address(cidr: &IpNet, ordinal: usize) -> IpAddr {
    // An ordinal is below 2^12, so neither sum leaves the block.
    match cidr.network() {
        IpAddr::V4(base) => Ipv4Addr::from_bits(base.to_bits().wrapping_add(ordinal as u32)).into(),
        IpAddr::V6(base) => {
            Ipv6Addr::from_bits(base.to_bits().wrapping_add(ordinal as u128)).into()
        }
    }
}

/// The position of an address.
pub fn ordinal(cidr: &IpNet, address: IpAddr) -> Option<usize> {
    if !cidr.contains(&address) {
        return None;
    }
    let offset = match (cidr.network(), address) {
        (IpAddr::V4(base), IpAddr::V4(address)) => u128::from(address.to_bits() - base.to_bits()),
        (IpAddr::V6(base), IpAddr::V6(address)) => address.to_bits() - base.to_bits(),
        _ => return None,
    };
    usize::try_from(offset).ok()
}

/// How many addresses can be given at once.
pub fn free(block: &IPAMBlock) -> usize {
    block.unallocated.len()
}

/// Whether nobody has an address of it. One that cools down counts as had.
pub fn is_empty(block: &IPAMBlock) -> bool {
    block.allocations.iter().all(Option::is_none)
}

/// The same when addresses whose cooldown is over count as free.
pub fn is_free_of_owners(block: &IPAMBlock, now: SystemTime, cooldown: Duration) -> bool {
    let allocated = block.allocations.iter();
    allocated
        .flatten()
        .all(|index| is_rested(block, *index, now, cooldown))
}

/// Whether an attribute stands for an address that was released, and has cooled down since.
fn is_rested(block: &IPAMBlock, index: usize, now: SystemTime, cooldown: Duration) -> bool {
    block.attributes.get(index).is_some_and(|attribute| {
        attribute.handle_id.is_none()
            && attribute
                .released_at
                .is_some_and(|at| at.age(now) >= cooldown)
    })
}

/// How many addresses can be given without being asked for by name: free, or rested, and not reserved.
pub fn available(
    block: &IPAMBlock,
    reserved: &[IpNet],
    now: SystemTime,
    cooldown: Duration,
) -> usize {
    let may = |ordinal: usize| !is_reserved(&address(&block.cidr, ordinal), reserved);
    let free = block.unallocated.iter().filter(|ordinal| may(**ordinal));
    let rested = block
        .allocations
        .iter()
        .enumerate()
        .filter(|(ordinal, index)| {
            index.is_some_and(|index| is_rested(block, index, now, cooldown)) && may(*ordinal)
        });
    free.count() + rested.count()
}

fn is_reserved(address: &IpAddr, reserved: &[IpNet]) -> bool {
    reserved.iter().any(|range| range.contains(address))
}

/// Gives the next free address.
pub fn assign_next(block: &mut IPAMBlock, attribute: Attribute) -> Option<IpAddr> {
    assign_next_outside(block, &[], attribute)
}

/// Gives the next free address that is not reserved.
pub fn assign_next_outside(
    block: &mut IPAMBlock,
    reserved: &[IpNet],
    attribute: Attribute,
) -> Option<IpAddr> {
    let cidr = block.cidr;
    let mut free = block.unallocated.iter();
    let at = free.position(|ordinal| !is_reserved(&address(&cidr, *ordinal), reserved))?;
    let ordinal = block.unallocated.remove(at);
    if block.allocations.get(ordinal)?.is_some() {
        // Validation has refused such a block; never give an address twice all the same.
        return None;
    }
    Some(allocate(block, ordinal, attribute))
}

/// Gives one certain address. The error says who has it.
pub fn assign_address(
    block: &mut IPAMBlock,
    address: IpAddr,
    attribute: Attribute,
) -> Result<(), String> {
    let cidr = block.cidr;
    let ordinal = ordinal(&cidr, address)
        .filter(|ordinal| *ordinal < block.allocations.len())
        .ok_or_else(|| format!("it is not in block {cidr}"))?;
    match block.allocations[ordinal] {
        None => {}
        Some(index) => match block.attributes.get(index) {
            // It cools down, which keeps it from being given to just anyone, not from who asks for it.
            Some(had) if had.released_at.is_some() && had.handle_id.is_none() => {
                block.allocations[ordinal] = None;
                reindex(block);
            }
            Some(had) => {
                let owner = had.handle_id.as_deref().unwrap_or("nobody known");
                return Err(format!("it is taken by {owner}"));
            }
            None => return Err("it is taken".to_owned()),
        },
    }
    block.unallocated.retain(|free| *free != ordinal);
    allocate(block, ordinal, attribute);
    Ok(())
}

fn allocate(block: &mut IPAMBlock, ordinal: usize, attribute: Attribute) -> IpAddr {
    let index = attribute_index(block, attribute);
    block.allocations[ordinal] = Some(index);
    block
        .sequence_number_for_allocation
        .insert(ordinal.to_string(), block.sequence_number);
    address(&block.cidr, ordinal)
}

/// Equal attributes are kept once.
fn attribute_index(block: &mut IPAMBlock, attribute: Attribute) -> usize {
    match block
        .attributes
        .iter()
        .position(|known| *known == attribute)
    {
        Some(index) => index,
        None => {
            block.attributes.push(attribute);
            block.attributes.len() - 1
        }
    }
}

/// Each allocated address with its attribute.
pub fn allocated(block: &IPAMBlock) -> impl Iterator<Item = (IpAddr, &Attribute)> {
    block
        .allocations
        .iter()
        .enumerate()
        .filter_map(|(ordinal, index)| {
            let attribute = block.attributes.get((*index)?)?;
            Some((address(&block.cidr, ordinal), attribute))
        })
}

/// The addresses that a handle has.
pub fn addresses_of(block: &IPAMBlock, handle: &str) -> Vec<IpAddr> {
    allocated(block)
        .filter(|(_, attribute)| has_handle(attribute, handle))
        .map(|(address, _)| address)
        .collect()
}

/// Everybody who has addresses of it, without tails.
pub(crate) fn handles(block: &IPAMBlock) -> BTreeSet<String> {
    let attributes = block.attributes.iter();
    attributes
        .filter_map(|attribute| attribute.handle_id.as_deref())
        .map(|handle| plain(handle).to_owned())
        .collect()
}

/// Some stored handles carry a stray tail that begins with a carriage return.
pub(crate) fn plain(handle: &str) -> &str {
    handle.split('\r').next().unwrap_or_default()
}

fn has_handle(attribute: &Attribute, handle: &str) -> bool {
    attribute
        .handle_id
        .as_deref()
        .is_some_and(|owner| plain(owner) == plain(handle))
}

/// Takes back those of these addresses that the handle has. Returns what was taken back.
pub fn release(
    block: &mut IPAMBlock,
    handle: &str,
    addresses: &[IpAddr],
    now: SystemTime,
    cooldown: Duration,
) -> Vec<IpAddr> {
    let owned: BTreeSet<IpAddr> = addresses_of(block, handle).into_iter().collect();
    let mut released = Vec::new();
    for address in addresses.iter().filter(|address| owned.contains(address)) {
        let Some(ordinal) = ordinal(&block.cidr, *address) else {
            continue;
        };
        let rest = Attribute {
            released_at: Some(Timestamp::of(now)),
            ..Attribute::default()
        };
        block.allocations[ordinal] = Some(attribute_index(block, rest));
        block
            .sequence_number_for_allocation
            .remove(&ordinal.to_string());
        released.push(*address);
    }
    collect(block, now, cooldown);
    reindex(block);
    released
}

/// Frees the addresses whose cooldown is over; they go to the end of the queue. Returns whether there were any.
pub fn collect(block: &mut IPAMBlock, now: SystemTime, cooldown: Duration) -> bool {
    let rested =
        |index: &Option<usize>| index.is_some_and(|index| is_rested(block, index, now, cooldown));
    let freed: Vec<usize> = (0..block.allocations.len())
        .filter(|ordinal| rested(&block.allocations[*ordinal]))
        .collect();
    for ordinal in &freed {
        block.allocations[*ordinal] = None;
        block.unallocated.push(*ordinal);
    }
    if !freed.is_empty() {
        reindex(block);
    }
    !freed.is_empty()
}

/// Drops attributes that nothing points to.
fn reindex(block: &mut IPAMBlock) {
    let old = std::mem::take(&mut block.attributes);
    let mut moved: BTreeMap<usize, usize> = BTreeMap::new();
    for allocation in block.allocations.iter_mut().flatten() {
        let Some(attribute) = old.get(*allocation) else {
            continue;
        };
        let index = *moved.entry(*allocation).or_insert_with(|| {
            block.attributes.push(attribute.clone());
            block.attributes.len() - 1
        });
        *allocation = index;
    }
}

/// What can be wrong with a block by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Defect {
    HostBits { cidr: IpNet },
    PrefixLength { cidr: IpNet },
    Length { expected: usize, found: usize },
    OutOfRange { ordinal: usize },
    FreeTwice { ordinal: usize },
    FreeAndAllocated { ordinal: usize },
    NoAttribute { ordinal: usize, index: usize },
    NeitherFreeNorAllocated { ordinal: usize },
    UnusedAttribute { index: usize },
}

impl Defect {
    /// Whether the block cannot be used as it stands. The others only waste something.
    pub fn is_fatal(&self) -> bool {
        !matches!(
            self,
            Defect::NeitherFreeNorAllocated { .. } | Defect::UnusedAttribute { .. }
        )
    }
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Defect::HostBits { cidr } => write!(f, "spec.cidr: {cidr} has host bits set"),
            Defect::PrefixLength { cidr } => {
                write!(f, "spec.cidr: {cidr} is too large for a block")
            }
            Defect::Length { expected, found } => write!(
                f,
                "spec.allocations: has {found} entries, its CIDR has {expected} addresses"
            ),
            Defect::OutOfRange { ordinal } => {
                write!(f, "spec.unallocated: {ordinal} is outside the block")
            }
            Defect::FreeTwice { ordinal } => {
                write!(f, "spec.unallocated: {ordinal} stands there twice")
            }
            Defect::FreeAndAllocated { ordinal } => {
                write!(f, "spec.unallocated: {ordinal} is allocated as well")
            }
            Defect::NoAttribute { ordinal, index } => write!(
                f,
                "spec.allocations[{ordinal}]: points to attribute {index}, which is not there"
            ),
            Defect::NeitherFreeNorAllocated { ordinal } => {
                write!(
                    f,
                    "spec.unallocated: {ordinal} is neither free nor allocated"
                )
            }
            Defect::UnusedAttribute { index } => {
                write!(f, "spec.attributes[{index}]: nothing points to it")
            }
        }
    }
}

/// All that is wrong with a block by itself.
pub fn defects(block: &IPAMBlock) -> Vec<Defect> {
    let cidr = block.cidr;
    let mut defects = Vec::new();
    if cidr.addr() != cidr.network() {
        defects.push(Defect::HostBits { cidr });
    }
    let count = size(&cidr);
    if count == 0 {
        defects.push(Defect::PrefixLength { cidr });
        return defects;
    }
    if block.allocations.len() != count {
        defects.push(Defect::Length {
            expected: count,
            found: block.allocations.len(),
        });
        return defects;
    }
    let mut free = BTreeSet::new();
    for &ordinal in &block.unallocated {
        if ordinal >= count {
            defects.push(Defect::OutOfRange { ordinal });
        } else if !free.insert(ordinal) {
            defects.push(Defect::FreeTwice { ordinal });
        }
    }
    let mut used = vec![false; block.attributes.len()];
    for (ordinal, allocation) in block.allocations.iter().enumerate() {
        match (allocation, free.contains(&ordinal)) {
            (None, true) => {}
            (None, false) => defects.push(Defect::NeitherFreeNorAllocated { ordinal }),
            (Some(_), true) => defects.push(Defect::FreeAndAllocated { ordinal }),
            (Some(_), false) => {}
        }
        if let Some(index) = *allocation {
            match used.get_mut(index) {
                Some(used) => *used = true,
                None => defects.push(Defect::NoAttribute { ordinal, index }),
            }
        }
    }
    for (index, used) in used.into_iter().enumerate() {
        if !used {
            defects.push(Defect::UnusedAttribute { index });
        }
    }
    defects
}

/// The defects with which a block cannot be used, in words.
pub(crate) fn faults(block: &IPAMBlock) -> Vec<String> {
    let defects = defects(block);
    defects
        .iter()
        .filter(|defect| defect.is_fatal())
        .map(ToString::to_string)
        .collect()
}

#[cfg(test)]
mod tests;
