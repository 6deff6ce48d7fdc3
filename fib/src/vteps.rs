//! Ends of VXLAN tunnels: which node names which, and whose entries the kernel gets where several claim one. Pure.
//!
//! ```text
//!   node 172.18.0.3  names    10.233.2.0, 66:..:02 ─┬─► entry 10.233.2.0 → 66:..:02
//!   node 172.18.0.2  named it while routes led there ┘   entry 66:..:02 → 172.18.0.3
//! ```
//!
//! A node that names an entry goes before one that only did, and of several that name it the one with the lowest address:
//! a node that got another address, or a successor under another name, has the MAC or the tunnel address of the one
//! before. An entry goes when nobody claims it.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::time::Instant;

use ipnet::IpNet;
use smallvec::SmallVec;

use crate::kernel::NeighbourValue;
use crate::model::Vtep;
use crate::resolve::{VXLAN_DEVICE, VXLAN_V6_DEVICE};

#[derive(Debug, Default)]
pub(crate) struct Vteps {
    /// By node.
    named: HashMap<IpAddr, Vtep>,
    /// What nodes named before, while routes lead there.
    former: HashMap<IpAddr, SmallVec<[Former; 1]>>,
    claims: HashMap<Entry, BTreeSet<Claimant>>,
    /// Named by more than one node.
    contested: BTreeSet<Entry>,
    /// When former ones are given up, in order of time. One that is no former one any more is out of date.
    ends: VecDeque<(Instant, IpAddr, Vtep)>,
    changes: Changes,
}

/// What is to be looked at again.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) nodes: HashSet<IpAddr>,
    pub(crate) entries: HashSet<Entry>,
}

/// What tells one permanent entry from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Entry {
    /// MAC → node, in the forwarding database. The families have a device each.
    Mac { mac: [u8; 6], v6: bool },
    /// Tunnel address → MAC.
    Address(IpAddr),
}

#[derive(Debug, Clone)]
struct Former {
    vtep: Vtep,
    until: Instant,
}

/// In order of precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Claimant {
    former: bool,
    node: IpAddr,
    mac: [u8; 6],
}

impl Vteps {
    /// The node names this one. What it named before stays until `until`, or until it is said that no route leads there.
    pub(crate) fn set(&mut self, node: IpAddr, vtep: Vtep, until: Instant) {
        if self.named.get(&node) == Some(&vtep) {
            return;
        }
        self.remove(node, until);
        self.forget(node, &vtep);
        self.claim(node, &vtep, false);
        self.named.insert(node, vtep);
        self.changes.nodes.insert(node);
    }

    /// The node names none any more.
    pub(crate) fn remove(&mut self, node: IpAddr, until: Instant) {
        let Some(vtep) = self.named.remove(&node) else {
            return;
        };
        self.claim(node, &vtep, true);
        self.unclaim(node, &vtep, false);
        self.ends.push_back((until, node, vtep.clone()));
        let former = self.former.entry(node).or_default();
        former.push(Former { vtep, until });
        self.changes.nodes.insert(node);
    }

    /// No route leads to a former one any more, or its time is over.
    pub(crate) fn forget(&mut self, node: IpAddr, vtep: &Vtep) {
        let Some(former) = self.former.get_mut(&node) else {
            return;
        };
        let before = former.len();
        former.retain(|one| one.vtep != *vtep);
        let found = former.len() < before;
        if former.is_empty() {
            self.former.remove(&node);
        }
        if found {
            self.unclaim(node, vtep, true);
            self.changes.nodes.insert(node);
        }
    }

    /// The next former one whose time is over.
    pub(crate) fn pop_over(&mut self, now: Instant) -> Option<(IpAddr, Vtep)> {
        while self.ends.front().is_some_and(|(until, ..)| *until <= now) {
            let (_, node, vtep) = self.ends.pop_front()?;
            let mut former = self.former.get(&node).into_iter().flatten();
            if former.any(|one| one.vtep == vtep && one.until <= now) {
                return Some((node, vtep));
            }
        }
        None
    }

    pub(crate) fn next_end(&self) -> Option<Instant> {
        self.ends.front().map(|(until, ..)| *until)
    }

    pub(crate) fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.changes)
    }

    pub(crate) fn has_changes(&self) -> bool {
        !self.changes.nodes.is_empty() || !self.changes.entries.is_empty()
    }

    /// What the node names.
    pub(crate) fn named(&self, node: &IpAddr) -> Option<&Vtep> {
        self.named.get(node)
    }

    /// All that are named, by node.
    pub(crate) fn all_named(&self) -> impl Iterator<Item = (&IpAddr, &Vtep)> {
        self.named.iter()
    }

    /// All that were named, by node.
    pub(crate) fn all_former(&self) -> impl Iterator<Item = (IpAddr, &Vtep)> {
        let former = self.former.iter();
        former.flat_map(|(node, all)| all.iter().map(|one| (*node, &one.vtep)))
    }

    /// What the node names, and what it named before.
    pub(crate) fn of(&self, node: &IpAddr) -> impl Iterator<Item = &Vtep> + use<'_> {
        let former = self.former.get(node).into_iter().flatten();
        let named = self.named.get(node).into_iter();
        named.chain(former.map(|one| &one.vtep))
    }

    /// What the kernel shall have for it, if anybody claims it.
    pub(crate) fn value(&self, entry: &Entry) -> Option<NeighbourValue> {
        let first = self.claims.get(entry)?.first()?;
        Some(match entry {
            Entry::Mac { .. } => NeighbourValue::Remote(first.node),
            Entry::Address(_) => NeighbourValue::Mac(first.mac),
        })
    }

    /// Some node names this tunnel address.
    pub(crate) fn is_named(&self, address: IpAddr) -> bool {
        let claimants = self.claims.get(&Entry::Address(address));
        claimants.is_some_and(|all| all.first().is_some_and(|first| !first.former))
    }

    /// Every entry that somebody claims.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.claims.keys()
    }

    /// Tunnel addresses that need a host route of their own: the kernel refuses a route by an IPv6 gateway, onlink or not,
    /// while the longest route to that gateway leads through another device.
    pub(crate) fn host_prefixes(&self) -> impl Iterator<Item = IpNet> {
        self.claims.keys().filter_map(Entry::host_prefix)
    }

    /// This is the host route of a VTEP.
    pub(crate) fn has_host_prefix(&self, prefix: &IpNet) -> bool {
        let address = Entry::Address(prefix.addr());
        address.host_prefix() == Some(*prefix) && self.claims.contains_key(&address)
    }

    /// A sentence about what more than one node names.
    pub(crate) fn condition(&self) -> Option<String> {
        let entry = self.contested.first()?;
        let what = match entry {
            Entry::Mac { mac, .. } => {
                let octets: Vec<String> = mac.iter().map(|octet| format!("{octet:02x}")).collect();
                format!("MAC {}", octets.join(":"))
            }
            Entry::Address(address) => format!("address {address}"),
        };
        let claimants = self.claims.get(entry)?.iter();
        let nodes: Vec<String> = claimants
            .filter(|claimant| !claimant.former)
            .map(|claimant| claimant.node.to_string())
            .collect();
        let more = match self.contested.len() {
            1 => String::new(),
            count => format!(" ({} more are named so)", count - 1),
        };
        Some(format!(
            "nodes {} name the same VXLAN tunnel {what}; packets go to {}{more}. Delete the Node resource that is out of date, \
             or give one of them another",
            nodes.join(" and "),
            nodes.first()?
        ))
    }

    fn claim(&mut self, node: IpAddr, vtep: &Vtep, former: bool) {
        for entry in Entry::of(vtep) {
            let claimant = Claimant {
                former,
                node,
                mac: vtep.mac,
            };
            self.claims.entry(entry).or_default().insert(claimant);
            self.changed(entry);
        }
    }

    fn unclaim(&mut self, node: IpAddr, vtep: &Vtep, former: bool) {
        for entry in Entry::of(vtep) {
            let Some(claimants) = self.claims.get_mut(&entry) else {
                continue;
            };
            // Of two former ones of one node that have the MAC in common, the other still claims it.
            let other = former
                && matches!(entry, Entry::Mac { .. })
                && self
                    .former
                    .get(&node)
                    .is_some_and(|all| all.iter().any(|one| Entry::of(&one.vtep).contains(&entry)));
            if !other {
                claimants.remove(&Claimant {
                    former,
                    node,
                    mac: vtep.mac,
                });
            }
            if claimants.is_empty() {
                self.claims.remove(&entry);
            }
            self.changed(entry);
        }
    }

    fn changed(&mut self, entry: Entry) {
        self.changes.entries.insert(entry);
        let claimants = self.claims.get(&entry).into_iter().flatten();
        match claimants.filter(|claimant| !claimant.former).count() {
            0 | 1 => self.contested.remove(&entry),
            _ => self.contested.insert(entry),
        };
    }
}

impl Entry {
    /// MAC first: it is of no use to send to a MAC that leads nowhere.
    pub(crate) fn of(vtep: &Vtep) -> [Entry; 2] {
        let v6 = vtep.address.is_ipv6();
        let mac = vtep.mac;
        [Entry::Mac { mac, v6 }, Entry::Address(vtep.address)]
    }

    /// The name of the device that it is on.
    pub(crate) fn device(&self) -> &'static str {
        match self {
            Entry::Mac { v6: true, .. } | Entry::Address(IpAddr::V6(_)) => VXLAN_V6_DEVICE,
            Entry::Mac { v6: false, .. } | Entry::Address(IpAddr::V4(_)) => VXLAN_DEVICE,
        }
    }

    /// See [`Vteps::host_prefixes`].
    pub(crate) fn host_prefix(&self) -> Option<IpNet> {
        match self {
            Entry::Address(address @ IpAddr::V6(_)) => Some(IpNet::from(*address)),
            _ => None,
        }
    }
}
