//! What the cluster says, as far as the garbage collector needs it; kept from a watch, and fed event by event.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::doubt::{Doubt, Record, named};
use crate::resources::{
    Attribute, BlockAffinity, IPAMBlock, IPAMHandle, IPPool, Node, WorkloadEndpoint,
};
use crate::store::{
    Datastore, Key, Kind, Object, Revision, StoreError, Stored, WatchEvent, Watcher,
};

/// The kinds that a snapshot is made from.
pub const WATCHED: [Kind; 6] = [
    Kind::Node,
    Kind::IPPool,
    Kind::IPAMBlock,
    Kind::BlockAffinity,
    Kind::IPAMHandle,
    Kind::WorkloadEndpoint,
];

/// Those of them that say who uses an address.
const USERS: [Kind; 2] = [Kind::Node, Kind::WorkloadEndpoint];

/// The cluster at a moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Everything that there was has been told.
    in_sync: bool,
    /// Tunnel addresses that each Node resource names.
    nodes: BTreeMap<String, Vec<IpAddr>>,
    pub(super) pools: BTreeMap<String, IpNet>,
    pub(super) blocks: BTreeMap<String, Stored<IPAMBlock>>,
    pub(super) affinities: BTreeMap<String, Stored<BlockAffinity>>,
    pub(super) handles: BTreeMap<String, Handle>,
    endpoints: HashMap<Key, Endpoint>,
    /// Objects whose newest state makes no sense.
    unreadable: BTreeMap<Key, String>,
    /// Of those of them that are records of workloads, what can be made out all the same.
    records: BTreeMap<Key, Record>,
    /// What the datastore itself cannot read; but for what is known to concern one node or workload.
    faults: Vec<String>,
    /// Nodes and records of workloads that the datastore itself cannot read, with its words.
    faulty: BTreeMap<Key, String>,
}

/// A handle's counts, and the object in which they stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Handle {
    pub(super) handle: String,
    pub(super) counts: BTreeMap<String, usize>,
    pub(super) deleted: bool,
    pub(super) revision: Option<Revision>,
}

#[derive(Debug, Clone)]
struct Endpoint {
    node: Box<str>,
    pod: Option<(Box<str>, Box<str>)>,
    container: Box<str>,
    addresses: Box<[IpAddr]>,
}

/// Who uses addresses, by what is asked for.
#[derive(Debug, Clone, Default)]
pub struct Users {
    pub(super) nodes: BTreeSet<String>,
    /// The workload or node that has the address.
    addresses: HashMap<IpAddr, String>,
    /// IDs of containers that have a record.
    containers: HashSet<String>,
    /// Namespaces and names of pods that have one.
    pods: HashSet<(String, String)>,
    /// Nodes with workloads on them.
    busy: HashSet<String>,
    /// Nodes that are there, of which nobody knows what they use.
    doubtful: HashSet<String>,
    /// Whose records cannot be read.
    records: Vec<Record>,
}

impl Snapshot {
    /// Everything that a store has at this moment. Ends in an error when the watch ends before it is in sync.
    pub async fn load(store: &dyn Datastore) -> Result<Snapshot, StoreError> {
        Snapshot::load_kinds(store, &WATCHED).await
    }

    /// Only who uses addresses, at this moment. Whoever is passed over counts; no more is held of each than is needed.
    pub(super) async fn load_users(store: &dyn Datastore) -> Result<Snapshot, StoreError> {
        let mut snapshot = Snapshot::default();
        for kind in USERS {
            let mut faults = Vec::new();
            let mut visit = |passed: Result<Object, StoreError>| match passed {
                Ok(object) => snapshot.set(&object),
                Err(fault) => faults.push(fault),
            };
            store.pass_over(kind, &mut visit).await?;
            snapshot.note(faults);
        }
        snapshot.in_sync = true;
        Ok(snapshot)
    }

    async fn load_kinds(store: &dyn Datastore, kinds: &[Kind]) -> Result<Snapshot, StoreError> {
        let Watcher { mut events } = store.watch_all(kinds).await?;
        let mut snapshot = Snapshot::default();
        while let Some(event) = events.recv().await {
            snapshot.handle(event);
            if snapshot.in_sync {
                return Ok(snapshot);
            }
        }
        Err(StoreError::Unavailable {
            what: "watch".to_owned(),
            why: "it ended before everything was told".to_owned(),
        })
    }

    /// Takes one event in.
    pub fn handle(&mut self, event: WatchEvent) {
        match event {
            WatchEvent::Set(object) => self.set(&object),
            WatchEvent::Deleted(key) => self.forget(&key),
            WatchEvent::InSync => self.in_sync = true,
            WatchEvent::Faults(faults) => {
                self.faults.clear();
                self.faulty.clear();
                self.note(faults);
            }
        }
    }

    fn note(&mut self, faults: Vec<StoreError>) {
        for fault in faults {
            match named(&fault) {
                Some(key) => drop(self.faulty.insert(key, fault.to_string())),
                None => self.faults.push(fault.to_string()),
            }
        }
    }

    /// Nodes that are there and cannot be read, each with the reason. What may be theirs is left alone.
    pub fn doubtful_nodes(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.of_kind(Kind::Node);
        all.map(|(key, why)| (key.name.as_str(), why))
    }

    /// Objects of a kind that are there and cannot be read, each with the reason.
    fn of_kind(&self, kind: Kind) -> impl Iterator<Item = (&Key, &str)> {
        let all = self.unreadable.iter().chain(&self.faulty);
        let all = all.filter(move |(key, _)| key.kind == kind);
        all.map(|(key, why)| (key, why.as_str()))
    }

    /// Records of workloads that cannot be read, with what can be made out of whose they are, and the reason.
    fn unreadable_records(&self) -> impl Iterator<Item = (Option<Record>, &str)> {
        self.of_kind(Kind::WorkloadEndpoint).map(|(key, why)| {
            let told = self.records.get(key).cloned();
            (told.or_else(|| Record::of_name(key)), why)
        })
    }

    /// Of whom nothing is freed, because a Node or a record of theirs cannot be read.
    pub fn doubts(&self) -> Vec<Doubt> {
        let nodes = self.doubtful_nodes();
        let nodes = nodes.map(|(node, why)| Doubt::new(format!("node {node}"), why));
        let records = self.unreadable_records();
        let records =
            records.filter_map(|(record, why)| Some(Doubt::new(record?.to_string(), why)));
        nodes.chain(records).collect()
    }

    /// Everything that there was when the watch began has been told.
    pub fn is_in_sync(&self) -> bool {
        self.in_sync
    }

    /// Why this is not everything, if it is not. A cluster without nodes, or one in which something cannot be read that
    /// may be anybody's record, proves of nothing that it is not used. A Node that cannot be read is there, and concerns
    /// what is its own; so does the record of a workload that says whose it is.
    pub fn incomplete(&self) -> Option<String> {
        if !self.in_sync {
            return Some("the datastore has not told everything yet".to_owned());
        }
        if let Some(why) = self.faults.first() {
            return Some(why.clone());
        }
        let mut records = self.unreadable_records();
        if let Some((_, why)) = records.find(|(record, _)| record.is_none()) {
            return Some(why.to_owned());
        }
        let empty = self.nodes.is_empty();
        empty.then(|| "the datastore has no Node at all".to_owned())
    }

    pub(super) fn is_unreadable_block(&self, name: &str) -> bool {
        let key = Key::new(Kind::IPAMBlock, name);
        self.unreadable.contains_key(&key)
    }

    pub(super) fn is_any_pool_unreadable(&self) -> bool {
        self.unreadable.keys().any(|key| key.kind == Kind::IPPool)
    }

    /// Who uses addresses.
    pub fn users(&self) -> Users {
        let mut users = Users {
            nodes: self.nodes.keys().cloned().collect(),
            ..Users::default()
        };
        let all = self.tunnel_addresses().chain(self.workload_addresses());
        users.addresses = all.collect();
        for endpoint in self.endpoints.values() {
            if !endpoint.container.is_empty() {
                users.containers.insert(endpoint.container.to_string());
            }
            if let Some((namespace, pod)) = &endpoint.pod {
                users.pods.insert((namespace.to_string(), pod.to_string()));
            }
            users.busy.insert(endpoint.node.to_string());
        }
        for (node, _) in self.doubtful_nodes() {
            users.nodes.insert(node.to_owned());
            users.doubtful.insert(node.to_owned());
        }
        for record in self.unreadable_records().filter_map(|(record, _)| record) {
            let user = || format!("{record}, whose record cannot be read");
            let addresses = record.addresses.iter();
            users
                .addresses
                .extend(addresses.map(|address| (*address, user())));
            users.busy.extend(record.nodes.iter().cloned());
            users.records.push(record);
        }
        users
    }

    /// All blocks.
    pub fn blocks(&self) -> impl Iterator<Item = &Stored<IPAMBlock>> {
        self.blocks.values()
    }

    /// Pools by name.
    pub fn pools(&self) -> impl Iterator<Item = (&str, IpNet)> {
        self.pools.iter().map(|(name, cidr)| (name.as_str(), *cidr))
    }

    /// Handles with the number of addresses that each counts.
    pub fn handles(&self) -> impl Iterator<Item = (&str, usize)> {
        let all = self.handles.values();
        all.map(|handle| (handle.handle.as_str(), handle.counts.values().sum()))
    }

    /// Addresses of workloads, each with who says that he has it. One may stand there twice.
    pub fn workload_addresses(&self) -> impl Iterator<Item = (IpAddr, String)> {
        self.endpoints.iter().flat_map(|(key, endpoint)| {
            let name = endpoint.name(key);
            let addresses = endpoint.addresses.iter();
            addresses.map(move |address| (*address, name.clone()))
        })
    }

    /// Addresses of tunnels, as Node resources name them.
    pub fn tunnel_addresses(&self) -> impl Iterator<Item = (IpAddr, String)> {
        self.nodes.iter().flat_map(|(node, addresses)| {
            let name = format!("a tunnel of node {node}");
            let addresses = addresses.iter();
            addresses.map(move |address| (*address, name.clone()))
        })
    }

    /// Everything that cannot be read, a sentence each.
    pub fn unreadable(&self) -> impl Iterator<Item = &str> {
        let of_store = self.faults.iter().chain(self.faulty.values());
        of_store.chain(self.unreadable.values()).map(String::as_str)
    }

    fn set(&mut self, object: &Object) {
        let outcome = self.take(object);
        match outcome {
            Ok(()) => {
                self.unreadable.remove(&object.key);
                self.records.remove(&object.key);
            }
            Err(fault) => {
                self.forget(&object.key);
                let key = object.key.clone();
                if key.kind == Kind::WorkloadEndpoint
                    && let Some(record) = Record::of_object(object)
                {
                    self.records.insert(key.clone(), record);
                }
                self.unreadable.insert(key, fault.to_string());
            }
        }
    }

    fn take(&mut self, object: &Object) -> Result<(), StoreError> {
        let name = object.key.name.clone();
        match object.key.kind {
            Kind::Node => {
                let node = Stored::<Node>::from_object(object)?;
                self.nodes.insert(name, tunnel_addresses(&node.spec));
            }
            Kind::IPPool => {
                let pool = Stored::<IPPool>::from_object(object)?;
                self.pools.insert(name, pool.spec.cidr);
            }
            Kind::IPAMBlock => {
                self.blocks.insert(name, Stored::from_object(object)?);
            }
            Kind::BlockAffinity => {
                self.affinities.insert(name, Stored::from_object(object)?);
            }
            Kind::IPAMHandle => {
                let stored = Stored::<IPAMHandle>::from_object(object)?;
                let handle = Handle {
                    handle: stored.spec.handle_id,
                    counts: stored.spec.block,
                    deleted: stored.spec.deleted,
                    revision: stored.revision,
                };
                self.handles.insert(name, handle);
            }
            Kind::WorkloadEndpoint => {
                let stored = Stored::<WorkloadEndpoint>::from_object(object)?;
                let endpoint = Endpoint::of(&object.key, &stored.spec);
                self.endpoints.insert(object.key.clone(), endpoint);
            }
            _ => {}
        }
        Ok(())
    }

    fn forget(&mut self, key: &Key) {
        self.unreadable.remove(key);
        self.records.remove(key);
        match key.kind {
            Kind::Node => drop(self.nodes.remove(&key.name)),
            Kind::IPPool => drop(self.pools.remove(&key.name)),
            Kind::IPAMBlock => drop(self.blocks.remove(&key.name)),
            Kind::BlockAffinity => drop(self.affinities.remove(&key.name)),
            Kind::IPAMHandle => drop(self.handles.remove(&key.name)),
            Kind::WorkloadEndpoint => drop(self.endpoints.remove(key)),
            _ => {}
        }
    }
}

impl Endpoint {
    fn name(&self, key: &Key) -> String {
        match &self.pod {
            Some((namespace, pod)) => format!("pod {namespace}/{pod}"),
            None => {
                let namespace = key.namespace.as_deref().unwrap_or_default();
                format!("WorkloadEndpoint {namespace}/{}", key.name)
            }
        }
    }

    fn of(key: &Key, spec: &WorkloadEndpoint) -> Endpoint {
        let pod = (spec.orchestrator == "k8s" && !spec.pod.is_empty()).then(|| {
            let namespace = key.namespace.as_deref().unwrap_or_default();
            (namespace.into(), spec.pod.as_str().into())
        });
        // What is translated to it belongs to it, too.
        let outside = spec.ip_nats.iter().map(|nat| nat.external_ip);
        let own = spec.ip_networks.iter().map(IpNet::addr);
        Endpoint {
            node: spec.node.as_str().into(),
            pod,
            container: spec.container_id.as_str().into(),
            addresses: own.chain(outside).collect(),
        }
    }
}

impl Users {
    /// Who has the address.
    pub fn of_address(&self, address: &IpAddr) -> Option<&str> {
        self.addresses.get(address).map(String::as_str)
    }

    pub(super) fn has_container(&self, container: &str) -> bool {
        self.containers.contains(container)
    }

    pub(super) fn has_pod(&self, namespace: &str, pod: &str) -> bool {
        self.pods.contains(&(namespace.to_owned(), pod.to_owned()))
    }

    /// Whether there is a Node resource of that name.
    pub fn has_node(&self, node: &str) -> bool {
        self.nodes.contains(node)
    }

    /// Who may use what was given with these attributes, as far as nobody can read what he uses.
    pub(super) fn perhaps(&self, attribute: &Attribute) -> Option<String> {
        let node = attribute.secondary.get("node");
        if let Some(node) = node.filter(|node| self.doubtful.contains(*node)) {
            return Some(format!("node {node}, perhaps: its Node cannot be read"));
        }
        let mut records = self.records.iter();
        let record = records.find(|record| record.may_have(attribute))?;
        Some(format!("{record}, perhaps: its record cannot be read"))
    }

    /// Whether workloads say that they are on the node.
    pub(super) fn is_busy(&self, node: &str) -> bool {
        self.busy.contains(node)
    }
}

fn tunnel_addresses(node: &Node) -> Vec<IpAddr> {
    let ipip = node.bgp.as_ref().and_then(|bgp| bgp.ipv4_ipip_tunnel_addr);
    // WireGuard's is not a field that we know, and counts all the same.
    let wireguard = node.extra.get("wireguard").map(|it| {
        let fields = ["interfaceIPv4Address", "interfaceIPv6Address"];
        fields.map(|field| it.get(field)?.as_str()?.parse::<IpAddr>().ok())
    });
    let v4 = ipip.into_iter().chain(node.ipv4_vxlan_tunnel_addr);
    v4.map(IpAddr::V4)
        .chain(node.ipv6_vxlan_tunnel_addr.map(IpAddr::V6))
        .chain(wireguard.into_iter().flatten().flatten())
        .collect()
}
