//! Local workloads: the CNI plugin's requests, from the address to the kernel's acknowledgement.
//!
//! Requests of different containers run side by side; those of one container wait for each other. The durable record
//! of a workload is its WorkloadEndpoint; of an address without one, its handle. So whatever a crash cuts short, the
//! runtime's DEL (or GC) finds and releases it.
//!
//! Invariant: an endpoint enters the FIB only with addresses that IPAM gave to its handle.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use caracal_agent_api::EndpointView;
use caracal_datastore::ipam::Ipam;
use caracal_datastore::resources::LiveMigration;
use caracal_datastore::{Datastore, Key, Stored};
use caracal_fib::{Change, Endpoint};
use ipnet::IpNet;
use tokio::sync::Notify;

use crate::filtering::AllowedSources;
use crate::migration::question::Question;
use crate::migration::{Identity, Phase};
use crate::ways::Pool;

mod assign;
pub(crate) mod dataplane;
mod gone;
mod moves;
mod reading;
mod record;
mod report;
mod requests;
mod wishes;

use dataplane::Dataplane;
use gone::Gone;
use report::Unclear;
pub(crate) use requests::Refusal;
use requests::{device_name, handle};

/// What the loop knows and the requests need.
#[derive(Debug, Clone, Default)]
pub(crate) struct Circumstances {
    pub(crate) datastore_in_sync: bool,
    pub(crate) pools: Vec<Pool>,
    /// What the tunnel devices of this node have.
    pub(crate) tunnel_addresses: Vec<IpAddr>,
    /// Octets, both ends of a pod's veth pair.
    pub(crate) mtu: u32,
}

/// What decides how the routes of workloads stand.
#[derive(Debug, Clone, Default)]
pub(crate) struct Surroundings {
    /// Workloads get the sources that they ask for (`workloadSourceSpoofing`).
    pub(crate) may_spoof: bool,
    pub(crate) migrations: Vec<Stored<LiveMigration>>,
    /// For how long after a migration nodes may not know the new way.
    pub(crate) convergence: Duration,
    /// Workloads that speak are heard.
    pub(crate) hears: bool,
}

/// The workloads of this node.
#[derive(Debug)]
pub(crate) struct Workloads {
    node: String,
    store: Arc<dyn Datastore>,
    ipam: Arc<Ipam>,
    dataplane: Arc<dyn Dataplane>,
    state: Mutex<State>,
    changed: tokio::sync::watch::Sender<u64>,
    /// Something is to be read.
    asked: Notify,
    /// Nothing is to be read any more.
    read_through: Notify,
}

#[derive(Debug, Default)]
struct State {
    circumstances: Circumstances,
    /// `None` until the datastore has been read.
    surroundings: Option<Surroundings>,
    /// Devices and addresses of routes that the kernel had before the start, of workloads that the FIB was not told of yet.
    routed_before: BTreeSet<(String, IpAddr)>,
    /// By host-side device.
    known: BTreeMap<String, Workload>,
    /// Between the two halves of ADD, by container and interface.
    promised: HashMap<(String, String), Workload>,
    /// Interfaces deleted in this run: a late report of the datastore does not bring them back.
    gone: Gone,
    /// Of these nothing is left in the datastore either: runtimes repeat a DEL.
    finished: Gone,
    /// Forgotten by a DEL that has not come to its end: the next one finishes it, by container and interface.
    leaving: HashMap<(String, String), Workload>,
    /// Of workloads that arrive, by device.
    phases: HashMap<String, Phase>,
    /// Whom to ask whether it runs here.
    questions: Vec<Question>,
    /// Their devices, and others on which somebody has announced himself in their name.
    doubted: BTreeSet<(String, String)>,
    /// Addresses that other nodes announce as those of workloads that have just come there.
    outranked: BTreeSet<IpAddr>,
    /// Records that are not in force.
    unclear: Unclear,
    /// What the FIB knows, by device.
    told: HashMap<String, Endpoint>,
    locks: HashMap<String, Arc<tokio::sync::Mutex<()>>>,
}

/// One attached, or promised, workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Workload {
    /// Object in the datastore.
    pub(crate) key: Key,
    /// The CNI network; `None` for one that Calico attached.
    pub(crate) network: Option<String>,
    pub(crate) container_id: String,
    pub(crate) ifname: String,
    pub(crate) namespace: Option<String>,
    pub(crate) pod: Option<String>,
    pub(crate) device: String,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) mac: [u8; 6],
    /// Sources that it asks for beside its addresses.
    pub(crate) allowed_sources: Vec<IpNet>,
    /// What migrations know it by.
    pub(crate) identity: Identity,
    /// The datastore has it; until then a report that it is not there means nothing.
    pub(crate) recorded: bool,
}

impl Workload {
    /// The kernel's own check of sources is off where the filter lets more of them through than the pod's addresses.
    fn endpoint(&self, may_spoof: bool) -> Endpoint {
        Endpoint {
            addresses: self.addresses.clone(),
            mac: self.mac,
            may_spoof: may_spoof && !self.allowed_sources.is_empty(),
            ..Endpoint::default()
        }
    }

    /// Of two that name one device: it is called after its workload, and else their names decide, so that it is no matter
    /// which came first.
    fn precedes(&self, other: &Workload) -> bool {
        let rank = |one: &Workload| (one.device != one.named_device(), one.key.clone());
        rank(self) < rank(other)
    }

    fn named_device(&self) -> String {
        let pod = self.namespace.as_deref().zip(self.pod.as_deref());
        device_name(pod, &self.container_id, &self.ifname)
    }

    /// Container and interface.
    fn place(&self) -> (String, String) {
        (self.container_id.clone(), self.ifname.clone())
    }

    fn name(&self) -> String {
        match (&self.namespace, &self.pod) {
            (Some(namespace), Some(pod)) => format!("{namespace}/{pod}"),
            _ => self.container_id.clone(),
        }
    }
}

impl Workloads {
    pub(crate) fn new(
        node: String,
        store: Arc<dyn Datastore>,
        ipam: Arc<Ipam>,
        dataplane: Arc<dyn Dataplane>,
    ) -> Workloads {
        let changed = tokio::sync::watch::Sender::new(0);
        Workloads {
            node,
            store,
            ipam,
            dataplane,
            state: Mutex::default(),
            changed,
            asked: Notify::new(),
            read_through: Notify::new(),
        }
    }

    /// Rises whenever the set of local addresses has changed.
    pub(crate) fn changes(&self) -> tokio::sync::watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// The loop tells what has changed around us.
    pub(crate) fn set_circumstances(&self, circumstances: Circumstances) {
        self.state().circumstances = circumstances;
    }

    /// The loop tells what decides about routes.
    pub(crate) fn set_surroundings(&self, surroundings: Surroundings, now: Instant) {
        self.state().surroundings = Some(surroundings);
        self.move_on(now);
    }

    /// Before anything else: which routes the kernel has of workloads, by device.
    pub(crate) fn begin_with(&self, routes: impl IntoIterator<Item = (String, IpAddr)>) {
        self.state().routed_before.extend(routes);
    }

    /// Every address of a local workload that runs here.
    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        let state = self.state();
        state
            .known
            .values()
            .filter(|workload| state.phase(workload) != Phase::Awaited)
            .flat_map(|workload| workload.addresses.iter().copied())
            .collect()
    }

    /// Every address that a local workload is recorded with, whether it runs or not.
    pub(crate) fn recorded_addresses(&self) -> Vec<IpAddr> {
        let state = self.state();
        let known = state.known.values();
        known
            .flat_map(|workload| workload.addresses.iter().copied())
            .collect()
    }

    /// Whether a local workload has an address of these.
    pub(crate) fn has_address_in(&self, cidr: &IpNet) -> bool {
        let state = self.state();
        let mut addresses = state.known.values().flat_map(|w| &w.addresses);
        addresses.any(|address| cidr.contains(address))
    }

    /// What local workloads ask for, by device.
    pub(crate) fn allowed_sources(&self) -> AllowedSources {
        let state = self.state();
        let asking = state
            .known
            .values()
            .filter(|workload| !workload.allowed_sources.is_empty());
        asking
            .map(|workload| {
                let sources = workload.allowed_sources.iter().copied().collect();
                (workload.device.clone(), sources)
            })
            .collect()
    }

    /// For people.
    pub(crate) fn view(&self) -> Vec<EndpointView> {
        let view = |workload: &Workload| EndpointView {
            workload: workload.name(),
            container_id: workload.container_id.clone(),
            device: workload.device.clone(),
            addresses: workload.addresses.clone(),
        };
        self.state().known.values().map(view).collect()
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.state().known.len()
    }

    fn insert(&self, workload: Workload) {
        {
            let mut state = self.state();
            state.gone.remove(&workload.place());
            state.finished.remove(&workload.place());
            state.leaving.remove(&workload.place());
            let device = workload.device.clone();
            if let Some(before) = state.known.insert(device.clone(), workload) {
                state.replaced(&before);
            }
            // Told while nobody else can tell the FIB what was true before.
            let change = state.tell(&self.node, &device, Instant::now());
            self.dataplane.apply(change.into_iter().collect());
        }
        self.tell_changed();
    }

    /// The device is nobody's any more. Whoever holds the state is before anyone who tells the FIB of a new workload of it.
    fn remove(&self, state: &mut State, device: &str, now: Instant) -> Option<Workload> {
        let workload = state.known.remove(device)?;
        state.untell(&workload);
        state.unclear.freed(device, now);
        self.dataplane
            .apply(vec![Change::RemoveEndpoint(device.to_owned())]);
        self.tell_changed();
        Some(workload)
    }

    fn tell_changed(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let octets: Vec<u8> = text
        .split(':')
        .map(|part| u8::from_str_radix(part, 16))
        .collect::<Result<_, _>>()
        .ok()?;
    octets.try_into().ok()
}

fn mac_text(mac: &[u8; 6]) -> String {
    mac.map(|octet| format!("{octet:02x}")).join(":")
}

#[cfg(test)]
mod tests;
