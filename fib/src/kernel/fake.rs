//! A kernel in memory: routes, links, addresses and neighbours as the real one would keep them, and failures when a
//! test asks for them. What "others" do comes out as events, as from the real one.

mod objects;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use ipnet::IpNet;

use super::{
    DeviceChange, Event, Hop, Kernel, Key, Kind, Link, LinkKind, NeighbourKey, NeighbourValue,
    Nexthops, Object, ObjectId, Refusal, Resolution, Snapshot, Spec, Write, WriteError,
};

/// Shared by the test and the worker.
#[derive(Clone, Default)]
pub(crate) struct FakeKernel(Arc<Mutex<State>>);

#[derive(Default)]
pub(crate) struct State {
    pub links: BTreeMap<u32, Link>,
    pub addresses: Vec<(u32, IpNet)>,
    pub routes: BTreeMap<Key, Spec>,
    pub neighbours: HashMap<NeighbourKey, NeighbourValue>,
    pub objects: BTreeMap<ObjectId, Object>,
    /// A kernel before Linux 5.3.
    pub no_objects: bool,
    pub gateways: HashMap<IpAddr, Resolution>,
    /// What happened and was not yet told.
    pub events: Vec<Event>,
    /// Every batch, in order.
    pub batches: Vec<Vec<Write>>,
    pub changes: Vec<DeviceChange>,
    /// Called on each write; says how it fails, if it does.
    pub refuse: Option<Refuse>,
    /// The next batches are carried out, but their answers are lost.
    pub lose_answers: usize,
    /// The next batches fail before they reach the kernel, as on a socket that is lost.
    pub fail_writes: usize,
    /// The next reads fail.
    pub fail_reads: usize,
    pub reads: usize,
    /// Questions for a way.
    pub lookups: usize,
    /// What others do in the middle of the next read: when devices and objects were read, and routes were not.
    pub amid_read: Option<Deed>,
    pub has_ipip: bool,
    /// Next hops of multipath routes whose device went down or lost its last IPv4 address since, by index of the device.
    dead: BTreeSet<(Key, u32)>,
    next_index: u32,
}

type Deed = Box<dyn FnOnce(&FakeKernel) + Send>;
type Refuse = Box<dyn FnMut(&Write) -> Option<Refusal> + Send>;

impl FakeKernel {
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.0.lock().unwrap())
    }

    /// Someone makes a device, which is up.
    pub(crate) fn add_link(&self, name: &str, kind: LinkKind) -> u32 {
        self.with(|state| state.add_link(name, kind))
    }

    /// Someone adds an address.
    pub(crate) fn add_address(&self, device: u32, address: &str) {
        let address: IpNet = address.parse().unwrap();
        self.with(|state| state.add_address(device, address));
    }

    /// Someone sets a device up or down.
    pub(crate) fn set_up(&self, device: u32, up: bool) {
        self.with(|state| state.set_up(device, up));
    }

    /// Someone deletes a device.
    pub(crate) fn delete_link(&self, device: u32) {
        self.with(|state| state.delete_link(device));
    }

    /// Someone gives a device another name.
    pub(crate) fn rename_link(&self, device: u32, name: &str) {
        self.with(|state| {
            if let Some(link) = state.links.get_mut(&device) {
                link.name = name.into();
                state.events.push(Event::Link(link.clone()));
            }
        });
    }

    /// Someone else writes a route, replacing what has its key. The kernel does not look at it.
    pub(crate) fn foreign_set(&self, key: Key, spec: Spec) {
        self.with(|state| state.set(key, spec, FOREIGN_PORT));
    }

    /// Someone else writes a route, and is refused as we would be.
    pub(crate) fn foreign_write(&self, write: &Write) -> Result<(), Refusal> {
        self.with(|state| {
            state.check(write)?;
            match write {
                Write::Set { key, spec, .. } => state.set(*key, spec.clone(), FOREIGN_PORT),
                Write::Delete { key, .. } => state.delete(key, FOREIGN_PORT),
                Write::SetObject { id, object, .. } => {
                    state.set_object(*id, object, true)?;
                    state.events.push(Event::Object {
                        id: *id,
                        object: object.clone(),
                        by: FOREIGN_PORT,
                    });
                }
                Write::DeleteObject { id } => state.foreign_delete_object(*id),
            }
            Ok(())
        })
    }

    /// Someone else deletes a route.
    pub(crate) fn foreign_delete(&self, key: Key) {
        self.with(|state| state.delete(&key, FOREIGN_PORT));
    }

    /// With the hops that nexthop objects stand for, whose numbers nobody cares about.
    pub(crate) fn routes(&self) -> BTreeMap<Key, Spec> {
        self.with(|state| {
            let routes = state.routes.iter();
            let shown = routes.map(|(key, spec)| (*key, state.expanded(key, spec)));
            shown.collect()
        })
    }
}

impl State {
    fn add_link(&mut self, name: &str, kind: LinkKind) -> u32 {
        self.next_index += 1;
        let link = Link {
            index: self.next_index,
            name: name.into(),
            up: true,
            carrier: true,
            mtu: 1500,
            mac: None,
            kind,
        };
        self.links.insert(link.index, link.clone());
        self.events.push(Event::Link(link));
        self.next_index
    }

    fn set_up(&mut self, device: u32, up: bool) {
        let Some(link) = self.links.get_mut(&device) else {
            return;
        };
        if std::mem::replace(&mut link.up, up) == up {
            return;
        }
        link.carrier = up;
        let link = link.clone();
        if up {
            self.revive(device);
        } else {
            self.go_down(device);
        }
        self.events.push(Event::Link(link));
    }

    /// Routes and neighbours go with it, and its IPv6 addresses.
    fn go_down(&mut self, device: u32) {
        self.kill_hops(device, |_| true);
        self.flush_objects(device);
        let gone: Vec<NeighbourKey> = self
            .neighbours
            .keys()
            .copied()
            .filter(|key| matches!(key, NeighbourKey::Address(index, _) if *index == device))
            .collect();
        for key in gone {
            self.neighbours.remove(&key);
            self.events.push(Event::NeighbourGone(key));
        }
        let addresses = self.addresses.clone();
        for (index, address) in addresses {
            if index == device && address.addr().is_ipv6() {
                self.remove_address(device, address);
            }
        }
    }

    /// A route goes when all its next hops are dead: for IPv4 without a word.
    fn kill_hops(&mut self, device: u32, meant: impl Fn(&Key) -> bool) {
        let users = self
            .routes
            .iter()
            .filter(|(key, spec)| meant(key) && spec.uses(device));
        self.dead.extend(users.map(|(key, _)| (*key, device)));
        let dead = &self.dead;
        let is_dead = |key: &Key, spec: &Spec| {
            let mut hops = spec.hops().iter();
            !spec.hops().is_empty() && hops.all(|hop| dead.contains(&(*key, hop.device)))
        };
        let gone: Vec<Key> = self
            .routes
            .iter()
            .filter(|(key, spec)| is_dead(key, spec))
            .map(|(key, _)| *key)
            .collect();
        for key in gone {
            self.delete(&key, THE_KERNEL);
            if key.prefix.addr().is_ipv4() {
                self.events.pop();
            }
        }
    }

    fn revive(&mut self, device: u32) {
        self.dead.retain(|(_, dead)| *dead != device);
    }

    fn delete_link(&mut self, device: u32) {
        self.set_up(device, false);
        // What is left of a multipath route: IPv6 keeps the other next hops, IPv4 nothing.
        let rest: Vec<(Key, Spec)> = self
            .routes
            .iter()
            .filter(|(_, spec)| spec.uses(device))
            .map(|(key, spec)| (*key, spec.clone()))
            .collect();
        for (key, spec) in rest {
            if key.prefix.addr().is_ipv4() {
                self.routes.remove(&key);
                continue;
            }
            let hops = spec.hops().iter().copied();
            let (gone, left): (Vec<Hop>, Vec<Hop>) = hops.partition(|hop| hop.device == device);
            let with = |hops: Vec<Hop>| Spec {
                nexthops: Nexthops::Own(hops.into()),
                ..spec.clone()
            };
            self.routes.insert(key, with(left));
            self.events.push(Event::RouteGone {
                key,
                spec: with(gone),
                by: THE_KERNEL,
            });
        }
        self.neighbours.retain(|key, _| match key {
            NeighbourKey::Address(index, _) | NeighbourKey::Mac(index, _) => *index != device,
        });
        for (index, address) in self.addresses.clone() {
            if index == device {
                self.remove_address(device, address);
            }
        }
        self.links.remove(&device);
        self.revive(device);
        self.events.push(Event::LinkGone(device));
    }

    fn add_address(&mut self, device: u32, address: IpNet) {
        if !self.addresses.contains(&(device, address)) {
            self.addresses.push((device, address));
        }
        let up = self.links.get(&device).is_some_and(|link| link.up);
        if up && address.addr().is_ipv4() {
            self.revive(device);
        }
        self.events.push(Event::Address(device, address));
    }

    /// With the last IPv4 address of a device its IPv4 routes die.
    fn remove_address(&mut self, device: u32, address: IpNet) {
        let before = self.addresses.len();
        self.addresses.retain(|have| *have != (device, address));
        if self.addresses.len() == before {
            return;
        }
        let v4 = |(index, left): &(u32, IpNet)| *index == device && left.addr().is_ipv4();
        if address.addr().is_ipv4() && !self.addresses.iter().any(v4) {
            self.kill_hops(device, |key| key.prefix.addr().is_ipv4());
        }
        self.events.push(Event::AddressGone(device, address));
    }

    fn set(&mut self, key: Key, spec: Spec, by: u32) {
        let replaced = self.insert(key, spec.clone());
        self.events.push(Event::Route {
            key,
            spec,
            replaced,
            by,
        });
    }

    /// Returns whether there was one.
    fn insert(&mut self, key: Key, spec: Spec) -> bool {
        self.dead.retain(|(route, _)| *route != key);
        self.routes.insert(key, spec).is_some()
    }

    fn delete(&mut self, key: &Key, by: u32) {
        if let Some(spec) = self.routes.remove(key) {
            let key = *key;
            self.events.push(Event::RouteGone { key, spec, by });
        }
    }

    /// Says no where the kernel does.
    fn check(&self, write: &Write) -> Result<(), Refusal> {
        match write {
            Write::Set { key, spec, replace } => {
                for hop in spec.hops() {
                    self.check_way(key, hop)?;
                }
                if let Some(id) = spec.object() {
                    self.check_object(key, id)?;
                }
                if !replace && self.routes.contains_key(key) {
                    return Err(refusal(libc::EEXIST, "File exists"));
                }
            }
            Write::Delete { key, spec } => {
                if self.routes.get(key) != Some(spec) {
                    return Err(refusal(libc::ESRCH, "No such process"));
                }
            }
            // They are looked at when they are carried out.
            Write::SetObject { .. } | Write::DeleteObject { .. } => {}
        }
        Ok(())
    }

    fn check_way(&self, key: &Key, hop: &Hop) -> Result<(), Refusal> {
        let up = self.links.get(&hop.device).is_some_and(|link| link.up);
        if !up {
            return Err(refusal(libc::ENETDOWN, "Nexthop device is not up"));
        }
        let Some(via) = hop.via else {
            return Ok(());
        };
        if key.prefix.addr().is_ipv6() && via.is_ipv4() {
            return Err(refusal(
                libc::EINVAL,
                "IPv6 does not support RTA_VIA attribute",
            ));
        }
        if hop.onlink && self.leads_elsewhere(via, hop.device) {
            return Err(refusal(
                libc::EINVAL,
                "Nexthop has invalid gateway or device mismatch",
            ));
        }
        let mut subnets = self.addresses.iter();
        let near = subnets.any(|(device, subnet)| *device == hop.device && subnet.contains(&via));
        let link_local = matches!(via, IpAddr::V6(v6) if v6.is_unicast_link_local());
        if near || link_local || hop.onlink {
            return Ok(());
        }
        Err(refusal(libc::ENETUNREACH, "Nexthop has invalid gateway"))
    }

    /// IPv6 looks where the route to an onlink gateway leads.
    fn leads_elsewhere(&self, via: IpAddr, device: u32) -> bool {
        let link_local = matches!(via, IpAddr::V6(v6) if v6.is_unicast_link_local());
        if via.is_ipv4() || link_local {
            return false;
        }
        let found = self.lookup(via);
        found.is_some_and(|way| way.hops.iter().any(|hop| hop.device != device))
    }

    fn carry_out(&mut self, write: &Write) -> Result<(), Refusal> {
        if let Some(refuse) = &mut self.refuse
            && let Some(refusal) = refuse(write)
        {
            return Err(refusal);
        }
        self.check(write)?;
        match write {
            Write::Set { key, spec, .. } => {
                self.insert(*key, spec.clone());
            }
            Write::Delete { key, .. } => {
                self.routes.remove(key);
            }
            Write::SetObject {
                id,
                object,
                replace,
            } => self.set_object(*id, object, *replace)?,
            Write::DeleteObject { id } => self.delete_object(*id)?,
        }
        Ok(())
    }

    /// The route to an address: that of the longest prefix, of these the one with the least metric.
    fn lookup(&self, to: IpAddr) -> Option<Resolution> {
        if self.addresses.iter().any(|(_, own)| own.addr() == to) {
            return Some(Resolution {
                protocol: RTPROT_KERNEL,
                kind: Kind::Other(RTN_LOCAL),
                hops: Default::default(),
            });
        }
        let up = |device: &u32| self.links.get(device).is_some_and(|link| link.up);
        let connected = self
            .addresses
            .iter()
            .filter(|(device, subnet)| up(device) && subnet.contains(&to))
            .map(|(device, subnet)| {
                let hop = Hop {
                    via: None,
                    device: *device,
                    onlink: false,
                    weight: 0,
                };
                let way = Resolution {
                    protocol: RTPROT_KERNEL,
                    kind: Kind::Unicast,
                    hops: [hop].into_iter().collect(),
                };
                ((subnet.prefix_len(), std::cmp::Reverse(0)), way)
            });
        let routes = self.routes.iter();
        let written = routes
            .filter(|(key, _)| key.prefix.contains(&to))
            .map(|(key, spec)| {
                let way = Resolution {
                    protocol: spec.protocol,
                    kind: spec.kind,
                    hops: self.hops_of(spec).into(),
                };
                let metric = std::cmp::Reverse(key.metric);
                ((key.prefix.prefix_len(), metric), way)
            });
        let best = connected.chain(written).max_by_key(|(rank, _)| *rank);
        best.map(|(_, way)| way)
            .filter(|way| way.kind != Kind::Blackhole)
    }
}

impl Kernel for FakeKernel {
    async fn read(&mut self) -> Result<Snapshot, Refusal> {
        let mut snapshot = self.with(|state| {
            state.reads += 1;
            if state.fail_reads > 0 {
                state.fail_reads -= 1;
                return Err(refusal(libc::EINTR, "dump interrupted"));
            }
            Ok(Snapshot {
                links: state.links.values().cloned().collect(),
                addresses: state.addresses.clone(),
                objects: (!state.no_objects)
                    .then(|| state.objects.iter().map(|(k, o)| (*k, o.clone())).collect()),
                ..Snapshot::default()
            })
        })?;
        if let Some(deed) = self.with(|state| state.amid_read.take()) {
            deed(self);
        }
        self.with(|state| {
            let routes = state.routes.iter();
            snapshot.routes = routes.map(|(k, s)| (*k, s.clone())).collect();
            let neighbours = state.neighbours.iter();
            snapshot.neighbours = neighbours.map(|(k, v)| (*k, *v)).collect();
        });
        Ok(snapshot)
    }

    fn write(&mut self, batch: &[Write]) -> Result<Vec<Result<(), Refusal>>, WriteError> {
        self.with(|state| {
            if state.fail_writes > 0 {
                state.fail_writes -= 1;
                return Err(WriteError::Failed("send: Bad file descriptor".into()));
            }
            state.batches.push(batch.to_vec());
            let outcomes = batch.iter().map(|write| state.carry_out(write)).collect();
            if state.lose_answers > 0 {
                state.lose_answers -= 1;
                return Err(WriteError::Overrun);
            }
            Ok(outcomes)
        })
    }

    async fn resolve(&mut self, to: IpAddr) -> Result<Resolution, Refusal> {
        let found = self.with(|state| {
            state.lookups += 1;
            let Some(found) = state.gateways.get(&to) else {
                return state.lookup(to);
            };
            let up = |hop: &Hop| state.links.get(&hop.device).is_some_and(|link| link.up);
            found.hops.iter().all(up).then(|| found.clone())
        });
        found.ok_or_else(|| refusal(libc::ENETUNREACH, "Network is unreachable"))
    }

    async fn change(&mut self, change: &DeviceChange) -> Result<(), Refusal> {
        self.with(|state| {
            state.changes.push(change.clone());
            match change {
                DeviceChange::AddIpip(name) if state.has_ipip => {
                    // There is one such device, whatever its name is.
                    if state.links.values().any(|link| link.kind == LinkKind::Ipip) {
                        return Err(refusal(libc::EEXIST, "File exists"));
                    }
                    let index = state.add_link(name, LinkKind::Ipip);
                    state.set_up(index, false);
                }
                DeviceChange::AddIpip(_) => {
                    return Err(refusal(libc::EOPNOTSUPP, "Operation not supported"));
                }
                DeviceChange::AddVxlan {
                    name,
                    link,
                    mac,
                    mtu,
                } => {
                    if state.links.values().any(|there| there.name == *name) {
                        return Err(refusal(libc::EEXIST, "File exists"));
                    }
                    let index = state.add_link(name, LinkKind::Vxlan(link.clone()));
                    if let Some(link) = state.links.get_mut(&index) {
                        link.mac = Some(*mac);
                        link.mtu = *mtu;
                        state.events.push(Event::Link(link.clone()));
                    }
                }
                DeviceChange::DeleteLink(device) => {
                    state.delete_link(*device);
                }
                DeviceChange::SetUp(device, up) => state.set_up(*device, *up),
                DeviceChange::SetMtu(device, mtu) => {
                    if let Some(link) = state.links.get_mut(device) {
                        link.mtu = *mtu;
                        state.events.push(Event::Link(link.clone()));
                    }
                }
                DeviceChange::AddAddress(device, address) => {
                    if !state.links.contains_key(device) {
                        return Err(refusal(libc::ENODEV, "No such device"));
                    }
                    state.add_address(*device, *address);
                }
                DeviceChange::DeleteAddress(device, address) => {
                    state.remove_address(*device, *address);
                }
                DeviceChange::SetNeighbour(key, value) => {
                    let (NeighbourKey::Address(device, _) | NeighbourKey::Mac(device, _)) = key;
                    if !state.links.contains_key(device) {
                        return Err(refusal(libc::ENODEV, "No such device"));
                    }
                    state.neighbours.insert(*key, *value);
                    state.events.push(Event::Neighbour(*key, *value));
                }
                DeviceChange::DeleteNeighbour(key, _) => {
                    state.neighbours.remove(key);
                    state.events.push(Event::NeighbourGone(*key));
                }
            }
            Ok(())
        })
    }
}

/// A way through one gateway.
pub(crate) fn through(gateway: &str, device: u32) -> Resolution {
    Resolution {
        protocol: 3,
        kind: Kind::Unicast,
        hops: [Hop {
            via: Some(gateway.parse().unwrap()),
            device,
            onlink: false,
            weight: 0,
        }]
        .into_iter()
        .collect(),
    }
}

pub(crate) fn refusal(errno: i32, reason: &str) -> Refusal {
    Refusal {
        errno,
        reason: reason.into(),
    }
}

const FOREIGN_PORT: u32 = 4242;
/// What the kernel does of its own accord.
const THE_KERNEL: u32 = 0;
const RTPROT_KERNEL: u8 = 2;
const RTN_LOCAL: u8 = 2;
