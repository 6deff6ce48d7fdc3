//! What the cluster says, as far as the garbage collector needs it; kept from a watch, and fed event by event.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::resources::{BlockAffinity, IPAMBlock, IPAMHandle, IPPool, Node, WorkloadEndpoint};
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
    /// What the datastore itself cannot read; but for Nodes, whose names are known.
    faults: Vec<String>,
    /// Nodes that the datastore itself cannot read, with its words.
    faulty_nodes: BTreeMap<String, String>,
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
                self.faulty_nodes.clear();
                self.note(faults);
            }
        }
    }

    fn note(&mut self, faults: Vec<StoreError>) {
        for fault in faults {
            match node_of(&fault) {
                Some(node) => drop(self.faulty_nodes.insert(node, fault.to_string())),
                None => self.faults.push(fault.to_string()),
            }
        }
    }

    /// Nodes that are there and cannot be read, each with the reason. What may be theirs is left alone.
    pub fn doubtful_nodes(&self) -> impl Iterator<Item = (&str, &str)> {
        let told = self.unreadable.iter();
        let told = told.filter(|(key, _)| key.kind == Kind::Node);
        let told = told.map(|(key, why)| (key.name.as_str(), why.as_str()));
        let faulty = self.faulty_nodes.iter();
        told.chain(faulty.map(|(node, why)| (node.as_str(), why.as_str())))
    }

    /// Everything that there was when the watch began has been told.
    pub fn is_in_sync(&self) -> bool {
        self.in_sync
    }

    /// Why this is not everything, if it is not. A cluster without nodes, or one in which something cannot be read that
    /// may be a workload's record, proves of nothing that it is not used. A Node that cannot be read is there, and
    /// concerns what is its own.
    pub fn incomplete(&self) -> Option<String> {
        if !self.in_sync {
            return Some("the datastore has not told everything yet".to_owned());
        }
        let decides = |key: &&Key| key.kind == Kind::WorkloadEndpoint;
        let mut unreadable = self.unreadable.iter().filter(|(key, _)| decides(key));
        if let Some(why) = self.faults.first() {
            return Some(why.clone());
        }
        if let Some((_, why)) = unreadable.next() {
            return Some(why.clone());
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
        let of_store = self.faults.iter().chain(self.faulty_nodes.values());
        of_store.chain(self.unreadable.values()).map(String::as_str)
    }

    fn set(&mut self, object: &Object) {
        let outcome = self.take(object);
        match outcome {
            Ok(()) => drop(self.unreadable.remove(&object.key)),
            Err(fault) => {
                self.forget(&object.key);
                self.unreadable
                    .insert(object.key.clone(), fault.to_string());
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

    /// Whether the node's Node cannot be read.
    pub(super) fn is_doubtful(&self, node: &str) -> bool {
        self.doubtful.contains(node)
    }

    /// Whether workloads say that they are on the node.
    pub(super) fn is_busy(&self, node: &str) -> bool {
        self.busy.contains(node)
    }
}

/// The Node that a fault names: `Node NAME`, behind the file's name and line perhaps.
fn node_of(fault: &StoreError) -> Option<String> {
    let StoreError::Invalid { what, .. } = fault else {
        return None;
    };
    let key = what.rsplit_once(": ").map_or(what.as_str(), |(_, key)| key);
    let named = key.strip_prefix("Node ")?;
    let name = named.split_once(" (").map_or(named, |(name, _)| name);
    let one_word = !name.is_empty() && !name.contains(char::is_whitespace);
    one_word.then(|| name.to_owned())
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
