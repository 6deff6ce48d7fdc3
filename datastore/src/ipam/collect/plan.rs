//! What a snapshot shows to be wrong, each with how it would be put right. Pure: no store, and the time is given.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use ipnet::IpNet;

use super::doubt::Doubt;
use super::judge::{Verdict, judge};
use super::snapshot::{Handle, Snapshot, Users};
use super::{Repair, Suspect};
use crate::ipam::audit::{Finding, duplicate_affinities};
use crate::ipam::{block, names};
use crate::resources::{AffinityState, AffinityType, BlockAffinity, IPAMBlock, Timestamp};
use crate::store::Stored;

/// What a look came to.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// In the order in which they are put right: what frees most comes first.
    pub suspects: Vec<Suspect>,
    /// Addresses of kinds that are not judged.
    pub unknown: usize,
    /// Two nodes that claim the same addresses.
    pub duplicates: Vec<Finding>,
    /// Whose Node or record cannot be read: of what is theirs nothing is suspected.
    pub doubtful: Vec<Doubt>,
    /// Why nothing was suspected that depends on everything being known.
    pub held: Option<String>,
}

/// Looks through a snapshot. `cooldown`: of released addresses, as IPAMConfig has it.
pub fn look(snapshot: &Snapshot, now: SystemTime, cooldown: Duration) -> Plan {
    let blocks: Vec<&Stored<IPAMBlock>> = snapshot.blocks.values().collect();
    let mut plan = Plan {
        duplicates: duplicate_affinities(snapshot.blocks.values(), snapshot.affinities.values()),
        held: snapshot.incomplete(),
        doubtful: snapshot.doubts(),
        ..Plan::default()
    };
    if plan.held.is_some() {
        return plan;
    }
    let users = snapshot.users();
    addresses(&blocks, &users, &mut plan);
    gone_nodes(snapshot, &users, &mut plan);
    handles(snapshot, &mut plan);
    claims(snapshot, &users, &mut plan);
    empty_blocks(snapshot, &users, (now, cooldown), &mut plan);
    plan
}

/// The addresses of each handle, over all blocks.
pub fn siblings<'a>(
    blocks: impl IntoIterator<Item = &'a Stored<IPAMBlock>>,
) -> HashMap<&'a str, Vec<IpAddr>> {
    let mut siblings: HashMap<&str, Vec<IpAddr>> = HashMap::new();
    for stored in blocks {
        for (address, attribute) in block::allocated(&stored.spec) {
            if let Some(handle) = &attribute.handle_id {
                siblings.entry(handle).or_default().push(address);
            }
        }
    }
    siblings
}

fn addresses(blocks: &[&Stored<IPAMBlock>], users: &Users, plan: &mut Plan) {
    let siblings = siblings(blocks.iter().copied());
    for stored in blocks.iter().filter(|stored| !stored.spec.deleted) {
        for (address, attribute) in block::allocated(&stored.spec) {
            let Some(handle) = &attribute.handle_id else {
                continue;
            };
            let siblings = siblings.get(handle.as_str()).map_or(&[][..], Vec::as_slice);
            let why = match judge(address, attribute, siblings, users) {
                Verdict::InUse(_) => continue,
                Verdict::Unknown => {
                    plan.unknown += 1;
                    continue;
                }
                Verdict::Leaked(why) => why,
            };
            plan.suspects.push(Suspect {
                repair: Repair::Address {
                    address,
                    block: stored.spec.cidr,
                    handle: handle.clone(),
                },
                why,
                since: timestamp(attribute),
                proof: allocation(&stored.spec, address),
                siblings: siblings.to_vec(),
            });
        }
    }
}

/// When the address was given.
pub(super) fn timestamp(attribute: &crate::resources::Attribute) -> Option<Timestamp> {
    attribute.secondary.get("timestamp")?.parse().ok()
}

/// What is another when the address has been given anew, or taken up again.
pub(super) fn allocation(spec: &IPAMBlock, address: IpAddr) -> String {
    let Some(ordinal) = block::ordinal(&spec.cidr, address) else {
        return String::new();
    };
    let sequence = spec
        .sequence_number_for_allocation
        .get(&ordinal.to_string());
    let attribute = spec.allocations.get(ordinal).copied().flatten();
    let said = attribute.and_then(|index| spec.attributes.get(index));
    let since = said.and_then(|said| said.secondary.get("timestamp"));
    format!("{sequence:?} {since:?}")
}

/// What belongs to nodes that have no resource and no workload any more.
fn gone_nodes(snapshot: &Snapshot, users: &Users, plan: &mut Plan) {
    let is_gone = |node: &str| !users.has_node(node) && !users.is_busy(node);
    let mut found: BTreeMap<(String, IpNet), Option<Timestamp>> = BTreeMap::new();
    let claims = snapshot.affinities.values().map(|stored| &stored.spec);
    for claim in claims.filter(|claim| claim.affinity_type == AffinityType::Host) {
        if is_gone(&claim.node) {
            found.insert((claim.node.clone(), claim.cidr), None);
        }
    }
    for stored in snapshot.blocks.values() {
        if let Some(node) = block::node_of(&stored.spec).filter(|node| is_gone(node)) {
            let key = (node.to_owned(), stored.spec.cidr);
            found.insert(key, stored.spec.affinity_claim_time);
        }
    }
    let suspects = found.into_iter().map(|((node, cidr), since)| Suspect {
        why: format!("node {node} is gone"),
        repair: Repair::Node { node, cidr },
        since,
        proof: String::new(),
        siblings: Vec::new(),
    });
    plan.suspects.extend(suspects);
}

/// Handles that count other than blocks hold. What stands in a block that cannot be read is not known.
fn handles(snapshot: &Snapshot, plan: &mut Plan) {
    let mut held: HashMap<&str, BTreeMap<String, usize>> = HashMap::new();
    for stored in snapshot.blocks.values() {
        for (_, attribute) in block::allocated(&stored.spec) {
            if let Some(handle) = &attribute.handle_id {
                let counts = held.entry(plain(handle)).or_default();
                *counts.entry(stored.spec.cidr.to_string()).or_default() += 1;
            }
        }
    }
    let unclear = |cidr: &String| {
        let cidr = cidr.parse::<IpNet>();
        cidr.is_ok_and(|cidr| snapshot.is_unreadable_block(&names::block(&cidr)))
    };
    let mut counted: HashSet<&str> = HashSet::new();
    for handle in snapshot.handles.values() {
        counted.insert(plain(&handle.handle));
        let found = held.get(plain(&handle.handle));
        let right = match found {
            Some(found) => *found == handle.counts,
            // Even one that counts nothing is of no use.
            None => false,
        };
        if (right && !handle.deleted) || handle.counts.keys().any(unclear) {
            continue;
        }
        let why = match found {
            _ if handle.deleted => "it is marked for deletion".to_owned(),
            None => "no block holds anything of it".to_owned(),
            Some(found) => format!("it counts {:?}, blocks hold {found:?}", handle.counts),
        };
        plan.suspects
            .push(of_handle(&handle.handle, why, Some(handle)));
    }
    for (handle, found) in held {
        if !counted.contains(handle) {
            let why = format!("it does not exist, and blocks hold {found:?} of it");
            plan.suspects.push(of_handle(handle, why, None));
        }
    }
}

fn of_handle(handle: &str, why: String, stored: Option<&Handle>) -> Suspect {
    Suspect {
        repair: Repair::Handle {
            handle: handle.to_owned(),
        },
        why,
        since: None,
        proof: format!("{:?}", stored.map(|stored| &stored.revision)),
        siblings: Vec::new(),
    }
}

/// Some stored handles carry a stray tail that begins with a carriage return.
pub(super) fn plain(handle: &str) -> &str {
    handle.split('\r').next().unwrap_or_default()
}

/// Claims of living nodes that stopped half way, or that the block does not know of.
fn claims(snapshot: &Snapshot, users: &Users, plan: &mut Plan) {
    for stored in snapshot.affinities.values() {
        let claim = &stored.spec;
        let gone = !users.has_node(&claim.node) && !users.is_busy(&claim.node);
        if claim.affinity_type != AffinityType::Host
            || gone
            || snapshot.is_unreadable_block(&names::block(&claim.cidr))
        {
            continue;
        }
        let found = snapshot.blocks.get(&names::block(&claim.cidr));
        let owner = found.and_then(|found| found.spec.affinity.as_deref());
        let (node, cidr) = (claim.node.clone(), claim.cidr);
        let of = |repair, why| Suspect {
            repair,
            why,
            since: None,
            proof: format!("{:?}", stored.revision),
            siblings: Vec::new(),
        };
        let suspect = match (found, owner) {
            (None, _) => of(
                Repair::Claim { node, cidr },
                "there is no such block".to_owned(),
            ),
            (Some(_), Some(owner)) if owner == block::affinity(&claim.node) => {
                match half_done(claim) {
                    Some(why) => of(Repair::Confirm { node, cidr }, why),
                    None => continue,
                }
            }
            (Some(_), owner) => {
                let owner = owner.unwrap_or("nobody's");
                let why = format!("the block is {owner}");
                of(Repair::Claim { node, cidr }, why)
            }
        };
        plan.suspects.push(suspect);
    }
}

fn half_done(claim: &BlockAffinity) -> Option<String> {
    match claim.state {
        _ if claim.deleted => None,
        AffinityState::Confirmed => None,
        AffinityState::Pending => Some("it is pending, and the block is its node's".to_owned()),
        AffinityState::PendingDeletion => {
            Some("it is to be deleted, and the block is its node's all the same".to_owned())
        }
    }
}

/// Blocks without an address that nobody has, that no pool covers, or of which their node has another.
fn empty_blocks(
    snapshot: &Snapshot,
    users: &Users,
    (now, cooldown): (SystemTime, Duration),
    plan: &mut Plan,
) {
    let pools_known = !snapshot.is_any_pool_unreadable();
    let mut spare: HashSet<(&str, IpNet)> = HashSet::new();
    for stored in snapshot.blocks.values() {
        let spec = &stored.spec;
        let mut cooled = spec.clone();
        block::collect(&mut cooled, now, cooldown);
        let pool = snapshot
            .pools
            .values()
            .find(|pool| pool.contains(&spec.cidr));
        let node = block::node_of(spec);
        let why = match (node, pool) {
            _ if spec.deleted => "it is marked for deletion".to_owned(),
            _ if !block::is_empty(&cooled) => continue,
            _ if spec.affinity.is_none() => "it is empty and nobody's".to_owned(),
            // A virtual owner's, or a dead node's, which is another repair.
            (None, _) => continue,
            (Some(node), _) if !users.has_node(node) => continue,
            (Some(_), None) if pools_known => "it is empty, and no IPPool covers it".to_owned(),
            (Some(_), None) => continue,
            (Some(node), Some(pool)) => match spare.insert((node, *pool)) {
                true => continue,
                false => format!("it is empty, and node {node} has another empty one"),
            },
        };
        plan.suspects.push(Suspect {
            repair: Repair::Block { cidr: spec.cidr },
            why,
            since: spec.affinity_claim_time,
            proof: format!("{:?}", stored.revision),
            siblings: Vec::new(),
        });
    }
}
