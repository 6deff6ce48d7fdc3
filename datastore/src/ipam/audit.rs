//! What is wrong with a cluster's addresses, each fault with its name. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use super::block::{self, Defect};
use crate::resources::{AffinityState, AffinityType, BlockAffinity, IPAMBlock, IPAMHandle};
use crate::store::Stored;

/// Something wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// A block is wrong by itself.
    Block {
        /// Which.
        cidr: IpNet,
        /// How.
        defect: Defect,
    },
    /// Two nodes have confirmed affinities to one block, or to blocks that overlap. The loser's must not be announced.
    DuplicateAffinity {
        /// The block of the loser.
        cidr: IpNet,
        /// The node that the block says, or else the one that comes first.
        winner: String,
        /// The other.
        loser: String,
    },
    /// A confirmed affinity whose block is missing or says another owner.
    AffinityWithoutBlock {
        /// The block.
        cidr: IpNet,
        /// The node that believes to have it.
        node: String,
        /// What the block says.
        owner: Option<String>,
    },
    /// A block that says a node which has no confirmed affinity to it.
    BlockWithoutAffinity {
        /// The block.
        cidr: IpNet,
        /// Its node.
        node: String,
    },
    /// A handle counts other than the block holds.
    HandleCount {
        /// The handle.
        handle: String,
        /// The block.
        cidr: String,
        /// What the handle counts.
        counted: usize,
        /// What the block holds.
        found: usize,
    },
    /// An address is in two blocks at once.
    TwoOwners {
        /// Which.
        address: IpAddr,
        /// The handles.
        handles: Vec<String>,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::Block { cidr, defect } => write!(f, "block {cidr}: {defect}"),
            Finding::DuplicateAffinity {
                cidr,
                winner,
                loser,
            } => write!(
                f,
                "block {cidr}: nodes {winner} and {loser} both have a confirmed affinity; {loser} must not announce it"
            ),
            Finding::AffinityWithoutBlock { cidr, node, owner } => write!(
                f,
                "block {cidr}: node {node} has a confirmed affinity, but the block {}",
                match owner {
                    Some(owner) => format!("says {owner}"),
                    None => "is missing or nobody's".to_owned(),
                }
            ),
            Finding::BlockWithoutAffinity { cidr, node } => {
                write!(
                    f,
                    "block {cidr}: says host:{node}, which has no confirmed affinity to it"
                )
            }
            Finding::HandleCount {
                handle,
                cidr,
                counted,
                found,
            } => write!(
                f,
                "handle {handle}: counts {counted} addresses in block {cidr}, which holds {found} of it"
            ),
            Finding::TwoOwners { address, handles } => {
                write!(
                    f,
                    "address {address}: has two owners: {}",
                    handles.join(", ")
                )
            }
        }
    }
}

/// Looks through everything.
pub fn audit(
    blocks: &[Stored<IPAMBlock>],
    affinities: &[Stored<BlockAffinity>],
    handles: &[Stored<IPAMHandle>],
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for stored in blocks {
        let cidr = stored.spec.cidr;
        let defects = block::defects(&stored.spec).into_iter();
        findings.extend(defects.map(|defect| Finding::Block { cidr, defect }));
    }
    findings.extend(duplicate_affinities(blocks, affinities));
    findings.extend(broken_promises(blocks, affinities));
    findings.extend(handle_counts(blocks, handles));
    findings.extend(two_owners(blocks));
    findings
}

/// Confirmed affinities that claim the same addresses. The block decides; without one the node that comes
/// first, so that all nodes come to the same answer.
pub fn duplicate_affinities<'a>(
    blocks: impl IntoIterator<Item = &'a Stored<IPAMBlock>>,
    affinities: impl IntoIterator<Item = &'a Stored<BlockAffinity>>,
) -> Vec<Finding> {
    let mut confirmed: Vec<&BlockAffinity> = affinities
        .into_iter()
        .map(|stored| &stored.spec)
        .filter(|affinity| affinity.is_confirmed_for(&affinity.node))
        .collect();
    confirmed.sort_by(|one, other| {
        let key = |affinity: &BlockAffinity| (affinity.cidr.network(), affinity.cidr.prefix_len());
        (key(one), &one.node).cmp(&(key(other), &other.node))
    });
    let owners: HashMap<IpNet, &str> = blocks
        .into_iter()
        .filter_map(|stored| Some((stored.spec.cidr, block::node_of(&stored.spec)?)))
        .collect();
    let says = |affinity: &BlockAffinity| owners.get(&affinity.cidr) == Some(&&*affinity.node);
    let mut findings = Vec::new();
    for (index, one) in confirmed.iter().enumerate() {
        // Sorted by address: what overlaps follows directly.
        for other in confirmed[index + 1..]
            .iter()
            .take_while(|other| one.cidr.contains(&other.cidr))
        {
            if one.node == other.node {
                continue;
            }
            let (winner, loser) = if says(other) && !says(one) {
                (other, one)
            } else {
                (one, other)
            };
            findings.push(Finding::DuplicateAffinity {
                cidr: loser.cidr,
                winner: winner.node.clone(),
                loser: loser.node.clone(),
            });
        }
    }
    findings
}

fn broken_promises(
    blocks: &[Stored<IPAMBlock>],
    affinities: &[Stored<BlockAffinity>],
) -> Vec<Finding> {
    let owners: BTreeMap<IpNet, Option<&String>> = blocks
        .iter()
        .map(|stored| (stored.spec.cidr, stored.spec.affinity.as_ref()))
        .collect();
    let mut findings = Vec::new();
    let mut kept: BTreeSet<(IpNet, &str)> = BTreeSet::new();
    for affinity in affinities.iter().map(|stored| &stored.spec) {
        if affinity.state != AffinityState::Confirmed
            || affinity.affinity_type != AffinityType::Host
            || affinity.deleted
        {
            continue;
        }
        let owner = owners.get(&affinity.cidr).copied().flatten();
        if owner == Some(&block::affinity(&affinity.node)) {
            kept.insert((affinity.cidr, &affinity.node));
        } else {
            findings.push(Finding::AffinityWithoutBlock {
                cidr: affinity.cidr,
                node: affinity.node.clone(),
                owner: owner.cloned(),
            });
        }
    }
    for stored in blocks {
        if let Some(node) = block::node_of(&stored.spec)
            && !kept.contains(&(stored.spec.cidr, node))
        {
            findings.push(Finding::BlockWithoutAffinity {
                cidr: stored.spec.cidr,
                node: node.to_owned(),
            });
        }
    }
    findings
}

fn handle_counts(blocks: &[Stored<IPAMBlock>], handles: &[Stored<IPAMHandle>]) -> Vec<Finding> {
    let mut counts: BTreeMap<(String, String), (usize, usize)> = BTreeMap::new();
    for handle in handles.iter().map(|stored| &stored.spec) {
        for (cidr, count) in &handle.block {
            let key = (plain(&handle.handle_id), cidr.clone());
            counts.entry(key).or_default().0 += count;
        }
    }
    for stored in blocks {
        for (_, attribute) in block::allocated(&stored.spec) {
            if let Some(handle) = &attribute.handle_id {
                let key = (plain(handle), stored.spec.cidr.to_string());
                counts.entry(key).or_default().1 += 1;
            }
        }
    }
    counts
        .into_iter()
        .filter(|(_, (counted, found))| counted != found)
        .map(|((handle, cidr), (counted, found))| Finding::HandleCount {
            handle,
            cidr,
            counted,
            found,
        })
        .collect()
}

/// Some stored handles carry a stray tail that begins with a carriage return.
fn plain(handle: &str) -> String {
    handle.split('\r').next().unwrap_or_default().to_owned()
}

fn two_owners(blocks: &[Stored<IPAMBlock>]) -> Vec<Finding> {
    let mut owners: BTreeMap<IpAddr, Vec<String>> = BTreeMap::new();
    for stored in blocks {
        for (address, attribute) in block::allocated(&stored.spec) {
            if let Some(handle) = &attribute.handle_id {
                owners.entry(address).or_default().push(handle.clone());
            }
        }
    }
    owners
        .into_iter()
        .filter(|(_, handles)| handles.len() > 1)
        .map(|(address, handles)| Finding::TwoOwners { address, handles })
        .collect()
}
