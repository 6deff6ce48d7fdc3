//! A kernel in memory: routes, links, addresses and neighbours as the real one would keep them, and failures when a
//! test asks for them. What "others" do comes out as events, as from the real one.

mod objects;

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use ipnet::IpNet;

use super::{
    DeviceChange, Event, Hop, Kernel, Key, Kind, Link, LinkKind, NeighbourKey, NeighbourValue,
    Object, ObjectId, Refusal, Resolution, Snapshot, Spec, Write, WriteError,
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
    /// The next reads fail.
    pub fail_reads: usize,
    pub reads: usize,
    pub has_ipip: bool,
    next_index: u32,
}

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
        self.with(|state| {
            state.addresses.push((device, address));
            state.events.push(Event::Address(device, address));
        });
    }

    /// Someone sets a device up or down.
    pub(crate) fn set_up(&self, device: u32, up: bool) {
        self.with(|state| state.set_up(device, up));
    }

    /// Someone deletes a device.
    pub(crate) fn delete_link(&self, device: u32) {
        self.with(|state| {
            state.flush(device);
            state.links.remove(&device);
            state.addresses.retain(|(index, _)| *index != device);
            state.events.push(Event::LinkGone(device));
        });
    }

    /// Someone else writes a route, replacing what has its key.
    pub(crate) fn foreign_set(&self, key: Key, spec: Spec) {
        self.with(|state| {
            let replaced = state.routes.insert(key, spec.clone()).is_some();
            state.events.push(Event::Route {
                key,
                spec,
                replaced,
                by: FOREIGN_PORT,
            });
        });
    }

    /// Someone else deletes a route.
    pub(crate) fn foreign_delete(&self, key: Key) {
        self.with(|state| {
            if let Some(spec) = state.routes.remove(&key) {
                state.events.push(Event::RouteGone {
                    key,
                    spec,
                    by: FOREIGN_PORT,
                });
            }
        });
    }

    pub(crate) fn routes(&self) -> BTreeMap<Key, Spec> {
        self.with(|state| state.routes.clone())
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
        link.up = up;
        link.carrier = up;
        let link = link.clone();
        if !up {
            self.flush(device);
        }
        self.events.push(Event::Link(link));
    }

    /// As the kernel does it for IPv4: without a word.
    fn flush(&mut self, device: u32) {
        self.routes.retain(|_, spec| !spec.uses(device));
        self.flush_objects(device);
        self.neighbours.retain(|key, _| match key {
            NeighbourKey::Address(index, _) | NeighbourKey::Mac(index, _) => *index != device,
        });
    }

    fn carry_out(&mut self, write: &Write) -> Result<(), Refusal> {
        if let Some(refuse) = &mut self.refuse
            && let Some(refusal) = refuse(write)
        {
            return Err(refusal);
        }
        match write {
            Write::Set { key, spec, replace } => {
                if !replace && self.routes.contains_key(key) {
                    return Err(refusal(libc::EEXIST, "File exists"));
                }
                if let Some(id) = spec.object() {
                    self.check_object(key, id)?;
                }
                let dead = spec
                    .hops()
                    .iter()
                    .any(|hop| self.links.get(&hop.device).is_none_or(|link| !link.up));
                if dead {
                    return Err(refusal(libc::ENETDOWN, "Nexthop device is not up"));
                }
                self.routes.insert(*key, spec.clone());
            }
            Write::Delete { key, spec } => match self.routes.get(key) {
                Some(there) if there == spec => {
                    self.routes.remove(key);
                }
                _ => return Err(refusal(libc::ESRCH, "No such process")),
            },
            Write::SetObject {
                id,
                object,
                replace,
            } => self.set_object(*id, object, *replace)?,
            Write::DeleteObject { id } => self.delete_object(*id)?,
        }
        Ok(())
    }
}

impl Kernel for FakeKernel {
    async fn read(&mut self) -> Result<Snapshot, Refusal> {
        self.with(|state| {
            state.reads += 1;
            if state.fail_reads > 0 {
                state.fail_reads -= 1;
                return Err(refusal(libc::EINTR, "dump interrupted"));
            }
            Ok(Snapshot {
                links: state.links.values().cloned().collect(),
                addresses: state.addresses.clone(),
                routes: state.routes.iter().map(|(k, s)| (*k, s.clone())).collect(),
                neighbours: state.neighbours.iter().map(|(k, v)| (*k, *v)).collect(),
                objects: (!state.no_objects)
                    .then(|| state.objects.iter().map(|(k, o)| (*k, o.clone())).collect()),
            })
        })
    }

    fn write(&mut self, batch: &[Write]) -> Result<Vec<Result<(), Refusal>>, WriteError> {
        self.with(|state| {
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
            let found = state.gateways.get(&to)?;
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
                    state.add_link(name, LinkKind::Tunnel);
                }
                DeviceChange::AddIpip(_) => {
                    return Err(refusal(libc::EOPNOTSUPP, "Operation not supported"));
                }
                DeviceChange::AddVxlan {
                    name, link, mac, ..
                } => {
                    let index = state.add_link(name, LinkKind::Vxlan(link.clone()));
                    if let Some(link) = state.links.get_mut(&index) {
                        link.mac = Some(*mac);
                        state.events.push(Event::Link(link.clone()));
                    }
                }
                DeviceChange::DeleteLink(device) => {
                    state.flush(*device);
                    state.links.remove(device);
                    state.events.push(Event::LinkGone(*device));
                }
                DeviceChange::SetUp(device, up) => state.set_up(*device, *up),
                DeviceChange::SetMtu(device, mtu) => {
                    if let Some(link) = state.links.get_mut(device) {
                        link.mtu = *mtu;
                    }
                }
                DeviceChange::AddAddress(device, address) => {
                    state.addresses.push((*device, *address));
                    state.events.push(Event::Address(*device, *address));
                }
                DeviceChange::DeleteAddress(device, address) => {
                    state.addresses.retain(|have| have != &(*device, *address));
                    state.events.push(Event::AddressGone(*device, *address));
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
