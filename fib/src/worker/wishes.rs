//! What is desired, in the words of the caller.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Instant;

use ipnet::IpNet;

use super::tunnels::RETIREMENT;
use super::{BATCH, Worker};
use crate::hash::{Map, PrefixMap};
use crate::kernel::{Kernel, Key};
use crate::model::{Change, Endpoint, Gate, Route, Standing, Tunnels};
use crate::vteps::Vteps;

#[derive(Debug)]
pub(super) struct Wishes {
    pub(super) routes: PrefixMap<Route>,
    pub(super) endpoints: BTreeMap<String, Endpoint>,
    /// Devices that claim an address. More than one only while a workload moves from one device to another.
    pub(super) workloads: Map<IpNet, BTreeSet<String>>,
    /// `None` until somebody says: nothing is done to tunnel devices before.
    pub(super) tunnels: Option<Tunnels>,
    pub(super) vteps: Vteps,
    pub(super) gate: Gate,
    /// Prefixes whose next hops are on these devices by name ([`Route::Links`]).
    pub(super) over_links: HashMap<String, BTreeSet<IpNet>>,
}

impl Default for Wishes {
    fn default() -> Wishes {
        Wishes {
            routes: PrefixMap::default(),
            endpoints: BTreeMap::new(),
            workloads: Map::default(),
            tunnels: None,
            vteps: Vteps::default(),
            gate: Gate::Closed,
            over_links: HashMap::new(),
        }
    }
}

impl Wishes {
    fn set_route(&mut self, prefix: IpNet, route: Route) -> Option<Route> {
        if let Route::Links { next_hops } = &route {
            for (_, device) in next_hops {
                let over = self.over_links.entry(device.clone());
                over.or_default().insert(prefix);
            }
        }
        let before = self.routes.insert(prefix, route);
        self.forget_links(&prefix, before.as_ref());
        before
    }

    fn remove_route(&mut self, prefix: &IpNet) -> Option<Route> {
        let before = self.routes.remove(prefix);
        self.forget_links(prefix, before.as_ref());
        before
    }

    /// Those by which the prefix is reached no more.
    fn forget_links(&mut self, prefix: &IpNet, before: Option<&Route>) {
        let Some(Route::Links { next_hops }) = before else {
            return;
        };
        for (_, device) in next_hops {
            let still = self.routes.get(prefix).is_some_and(|route| match route {
                Route::Links { next_hops } => next_hops.iter().any(|(_, one)| one == device),
                _ => false,
            });
            if let Some(prefixes) = self.over_links.get_mut(device).filter(|_| !still) {
                prefixes.remove(prefix);
                if prefixes.is_empty() {
                    self.over_links.remove(device);
                }
            }
        }
    }
}

/// Changes of commands, in their order, that are read in portions. None of them is of a workload.
#[derive(Debug, Default)]
pub(super) struct Unread {
    commands: VecDeque<std::vec::IntoIter<Change>>,
    left: usize,
    /// Since the last turn.
    read: usize,
    /// What was read of it leads routes elsewhere that share nexthop objects.
    moves: bool,
}

impl Unread {
    pub(super) fn len(&self) -> usize {
        self.left
    }

    /// Routes move from one next hop to another, and more of them may be unread.
    pub(super) fn moves(&self) -> bool {
        self.moves && self.left > 0
    }

    /// The next one takes an IPv4 route away.
    pub(super) fn removes_v4(&self) -> bool {
        matches!(self.next(1), [Change::RemoveRoute(IpNet::V4(_))])
    }

    /// Those of them to which something will lead that is not read yet.
    pub(super) fn will_set(&self, prefixes: &BTreeSet<IpNet>) -> BTreeSet<IpNet> {
        if prefixes.is_empty() {
            return BTreeSet::new();
        }
        let all = self.commands.iter().flat_map(std::vec::IntoIter::as_slice);
        let routes = all.filter_map(|change| match change {
            Change::SetRoute(prefix, _) => Some(prefix.trunc()),
            _ => None,
        });
        routes.filter(|unread| prefixes.contains(unread)).collect()
    }

    fn push(&mut self, changes: Vec<Change>) {
        self.left += changes.len();
        self.commands.push_back(changes.into_iter());
    }

    /// Of the first command, at most so many.
    fn next(&self, most: usize) -> &[Change] {
        let first = self.commands.front();
        let left = first.map_or(&[][..], std::vec::IntoIter::as_slice);
        &left[..left.len().min(most)]
    }

    fn pop(&mut self) -> Option<Change> {
        loop {
            if let Some(change) = self.commands.front_mut()?.next() {
                self.left -= 1;
                return Some(change);
            }
            self.commands.pop_front();
        }
    }
}

impl<K: Kernel> Worker<K> {
    /// Takes a command's changes: at once, as far as that is not too much for one turn; the others are read in the next
    /// turns, but for those of workloads: no pod waits for the routes of others.
    pub(super) fn take_in(&mut self, mut changes: Vec<Change>, now: Instant) {
        let unread = &mut self.dirty.unread;
        if unread.left == 0 && unread.read + changes.len() <= READ_A_TURN {
            unread.read += changes.len();
            for change in changes {
                self.wish(change, now);
            }
            return;
        }
        if changes.iter().any(is_of_workload) {
            for change in changes.extract_if(.., |change| is_of_workload(change)) {
                self.wish(change, now);
            }
        }
        self.dirty.unread.push(changes);
    }

    /// Reads a portion of what was taken in and is unread.
    pub(super) fn read_changes(&mut self, now: Instant) {
        let read = std::mem::take(&mut self.dirty.unread.read);
        if self.dirty.unread.left == 0 {
            self.dirty.unread.moves = false;
            return;
        }
        let portion = self.portion();
        self.fetch(self.dirty.unread.next(portion.saturating_sub(read)));
        for _ in read..portion {
            let Some(change) = self.dirty.unread.pop() else {
                return;
            };
            self.wish(change, now);
        }
    }

    /// Looks for what is known of these prefixes, only so that it is in the processor's cache. Each look has to wait for
    /// memory, and looks that nothing else is between wait together.
    fn fetch(&self, changes: &[Change]) {
        let prefixes = changes.iter().filter_map(|change| match change {
            Change::SetRoute(prefix, _) | Change::RemoveRoute(prefix) => Some(prefix.trunc()),
            _ => None,
        });
        let wished = prefixes.clone();
        let wished = wished.filter(|prefix| self.wishes.routes.contains_key(prefix));
        std::hint::black_box(wished.count());
        let there = prefixes.filter(|prefix| self.routes.actual(&self.key(*prefix)).is_some());
        std::hint::black_box(there.count());
    }

    /// Takes one change; an equal one costs nothing.
    pub(super) fn wish(&mut self, change: Change, now: Instant) {
        match change {
            Change::SetRoute(prefix, route) => {
                let prefix = prefix.trunc();
                if self.wishes.routes.get(&prefix) != Some(&route) {
                    self.enable_forwarding(&prefix.addr());
                    if self.wishes.set_route(prefix, route).is_some() {
                        self.dirty.unread.moves |= self.sharing.is_on();
                    }
                    self.dirty.prefixes.insert(prefix);
                }
            }
            Change::RemoveRoute(prefix) => {
                let prefix = prefix.trunc();
                if self.wishes.remove_route(&prefix).is_some() {
                    self.dirty.prefixes.insert(prefix);
                }
            }
            Change::SetEndpoint(device, endpoint) => {
                if self.wishes.endpoints.get(&device) != Some(&endpoint) {
                    self.replace_endpoint(device, Some(endpoint));
                }
            }
            Change::RemoveEndpoint(device) => {
                self.sysctls.forget_device(&device);
                self.replace_endpoint(device, None);
            }
            Change::SetSettings(settings) => self.set_settings(*settings, now),
            Change::SetTunnels(tunnels) => {
                if self.wishes.tunnels.as_ref() != Some(&*tunnels) {
                    self.wishes.tunnels = Some(*tunnels);
                    self.tunnels.reset();
                    self.dirty.tunnels = true;
                }
            }
            Change::SetVtep(node, vtep) => self.wishes.vteps.set(node, vtep, now + RETIREMENT),
            Change::RemoveVtep(node) => self.wishes.vteps.remove(node, now + RETIREMENT),
            Change::SetIpipEnd(node, ready) => self.set_ipip_end(node, ready, now),
            Change::SetGate(gate) => {
                if self.wishes.gate != gate {
                    self.wishes.gate = gate;
                    self.dirty.gate = true;
                    self.dirty.leftovers = true;
                }
            }
        }
    }

    /// The routes of both, the old one and the new one, are looked at again, under whatever metric they stood.
    fn replace_endpoint(&mut self, device: String, endpoint: Option<Endpoint>) {
        let both = self.wishes.endpoints.get(&device).into_iter();
        let prefixes: BTreeSet<IpNet> = both
            .chain(&endpoint)
            .flat_map(|endpoint| endpoint.addresses.iter().copied().map(IpNet::from))
            .collect();
        let before: Vec<Key> = prefixes.iter().map(|prefix| self.key(*prefix)).collect();
        self.wishes.endpoints.remove(&device);
        for prefix in &prefixes {
            if let Some(holders) = self.wishes.workloads.get_mut(prefix) {
                holders.remove(&device);
                if holders.is_empty() {
                    self.wishes.workloads.remove(prefix);
                }
            }
        }
        if let Some(endpoint) = endpoint {
            for address in &endpoint.addresses {
                self.enable_forwarding(address);
                if endpoint.standing != Standing::Awaited {
                    let holders = self.wishes.workloads.entry(IpNet::from(*address));
                    holders.or_default().insert(device.clone());
                }
            }
            self.wishes.endpoints.insert(device.clone(), endpoint);
        }
        for key in before {
            self.moved_from(key);
        }
        self.endpoints.forget(&device);
        self.dirty.workloads.extend(prefixes);
        self.dirty.endpoints.insert(device);
    }
}

fn is_of_workload(change: &Change) -> bool {
    matches!(change, Change::SetEndpoint(..) | Change::RemoveEndpoint(_))
}

/// A command that comes alone is read at once up to here: a fraction of a millisecond, and about the time that the kernel
/// needs for a batch.
const READ_A_TURN: usize = BATCH + BATCH / 4;
