//! A kernel in memory: routes, links, addresses and neighbours as the real one would keep them, and failures when a
//! test asks for them. What "others" do comes out as events, as from the real one.

mod devices;
mod objects;
mod routes;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use ipnet::IpNet;
use tokio::sync::oneshot;

use super::{
    Answer, DeviceChange, Devices, Event, Hop, Kernel, Key, Kind, Link, LinkKind, NeighbourKey,
    NeighbourValue, Object, ObjectId, Refusal, Resolution, Spec, Tables, Write, WriteError,
    Written,
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
    /// Answers to batches that were begun come only when they are waited for.
    pub late_answers: bool,
    answers: VecDeque<Written>,
    /// The next reads fail.
    pub fail_reads: usize,
    pub reads: usize,
    /// Questions for a way.
    pub lookups: usize,
    /// What others do in the middle of the next read: when devices and objects were read, and routes were not.
    pub amid_read: Option<Deed>,
    /// Reads that are kept back until a test lets them arrive; `None`: they arrive at once.
    pub late_reads: Option<Vec<LateRead>>,
    pub has_ipip: bool,
    /// Larger ones are refused.
    pub mtu_max: Option<u32>,
    /// Next hops of multipath routes whose device went down or lost its last IPv4 address since, by index of the device.
    dead: BTreeSet<(Key, u32)>,
    next_index: u32,
}

type Deed = Box<dyn FnOnce(&FakeKernel) + Send>;
type LateRead = (oneshot::Sender<Result<Tables, Refusal>>, Tables);
type Refuse = Box<dyn FnMut(&Write) -> Option<Refusal> + Send>;

impl FakeKernel {
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.0.lock().unwrap())
    }

    /// Reads that were kept back arrive.
    pub(crate) fn let_reads_arrive(&self) {
        let late = self.with(|state| state.late_reads.take());
        for (reply, tables) in late.into_iter().flatten() {
            // The worker may have ended.
            reply.send(Ok(tables)).ok();
        }
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

impl Kernel for FakeKernel {
    async fn read_devices(&mut self) -> Result<Devices, Refusal> {
        self.with(|state| {
            state.reads += 1;
            if state.fail_reads > 0 {
                state.fail_reads -= 1;
                return Err(refusal(libc::EINTR, "dump interrupted"));
            }
            Ok(Devices {
                links: state.links.values().cloned().collect(),
                addresses: state.addresses.clone(),
            })
        })
    }

    fn begin_read(&mut self) -> Answer {
        let mut tables = self.with(|state| Tables {
            objects: (!state.no_objects)
                .then(|| state.objects.iter().map(|(k, o)| (*k, o.clone())).collect()),
            ..Tables::default()
        });
        if let Some(deed) = self.with(|state| state.amid_read.take()) {
            deed(self);
        }
        let (reply, answer) = oneshot::channel();
        self.with(|state| {
            let routes = state.routes.iter();
            tables.routes = routes.map(|(k, s)| (*k, s.clone())).collect();
            let neighbours = state.neighbours.iter();
            tables.neighbours = neighbours.map(|(k, v)| (*k, *v)).collect();
            match &mut state.late_reads {
                Some(late) => late.push((reply, tables)),
                // The worker may have ended.
                None => drop(reply.send(Ok(tables))),
            }
        });
        answer
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

    fn begin_write(&mut self, batch: Vec<Write>) {
        let lost = |state: &mut State| state.answers.iter().any(|a| a.outcomes.is_err());
        let outcomes = match self.with(lost) {
            true => Err(WriteError::Behind),
            false => self.write(&batch),
        };
        let writes = batch;
        self.with(|state| state.answers.push_back(Written { writes, outcomes }));
    }

    async fn written(&mut self) -> Written {
        let answer = self.with(|state| state.answers.pop_front());
        answer.expect("somebody waits for an answer that nobody will give")
    }

    fn try_written(&mut self) -> Option<Written> {
        self.with(|state| {
            let late = state.late_answers;
            state.answers.pop_front_if(|_| !late)
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
                DeviceChange::SetMtu(_, mtu) if state.mtu_max.is_some_and(|max| *mtu > max) => {
                    return Err(refusal(libc::EINVAL, "Invalid argument"));
                }
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
                    if !state.links.contains_key(&key.device()) {
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
