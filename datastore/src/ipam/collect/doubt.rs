//! What is there and cannot be read, and whose it may be: it holds what may be its own, and nothing else.
//!
//! A record of a workload says twice whose it is: in its name, `<node>-<orchestrator>-<workload>-<device>`, and in its
//! fields, of which those count that can be made out. Who was given an address stands beside the address: a pod, or a
//! container.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use super::judge::Owner;
use crate::resources::{Attribute, WorkloadEndpoint};
use crate::store::{Key, Kind, Object, StoreError};

/// Of whom nothing is freed, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// `node n`, `pod default/p`.
    pub whose: String,
    /// What cannot be read.
    pub why: String,
}

impl Doubt {
    pub(super) fn new(whose: String, why: &str) -> Doubt {
        let why = why.to_owned();
        Doubt { whose, why }
    }
}

/// Whose a record is that cannot be read. Name and fields may say different things: then it is both's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// Where the workload is; one at least.
    pub(super) nodes: BTreeSet<String>,
    pods: BTreeSet<(String, String)>,
    containers: BTreeSet<String>,
    /// Addresses that it has in a readable field.
    pub(super) addresses: BTreeSet<IpAddr>,
    /// It says no more than its node.
    vague: bool,
}

impl Record {
    /// As far as its name says.
    pub(super) fn of_name(key: &Key) -> Option<Record> {
        let [node, orchestrator, workload, _] = WorkloadEndpoint::parts_of_name(&key.name)?;
        let mut record = Record {
            nodes: [node].into(),
            ..Record::default()
        };
        match orchestrator.as_str() {
            "k8s" => drop(record.pods.insert((namespace(key), workload))),
            "cni" => drop(record.containers.insert(workload)),
            _ => record.vague = true,
        }
        Some(record)
    }

    /// As far as its name or its fields say; `None` when neither says where it is.
    pub(super) fn of_object(object: &Object) -> Option<Record> {
        let key = &object.key;
        let mut record = Record::of_name(key).unwrap_or_default();
        let field = |name: &str| {
            let text = object.spec.get(name).and_then(Value::as_str);
            text.filter(|text| !text.is_empty()).map(str::to_owned)
        };
        record.nodes.extend(field("node"));
        record
            .pods
            .extend(field("pod").map(|pod| (namespace(key), pod)));
        record.containers.extend(field("containerID"));
        note_addresses(&object.spec, &mut record.addresses);
        record.vague |= record.pods.is_empty() && record.containers.is_empty();
        (!record.nodes.is_empty()).then_some(record)
    }

    /// Whether what was given with these attributes may be this workload's. Who is given one writes beside it which
    /// container and, in Kubernetes, which pod he is; where that is not written, the node must do.
    pub(super) fn may_have(&self, attribute: &Attribute) -> bool {
        let said = &attribute.secondary;
        let pod = said.get("namespace").zip(said.get("pod"));
        let pod = pod.map(|(namespace, pod)| (namespace.clone(), pod.clone()));
        if pod.as_ref().is_some_and(|pod| self.pods.contains(pod)) {
            return true;
        }
        match Owner::of(attribute) {
            Some(Owner::Container { container, .. }) if self.containers.contains(container) => {
                return true;
            }
            Some(Owner::Tunnel { .. }) => return false,
            _ => {}
        }
        let is_here = said
            .get("node")
            .is_some_and(|node| self.nodes.contains(node));
        is_here && (self.vague || (pod.is_none() && !self.pods.is_empty()))
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pods = self.pods.iter();
        let pods = pods.map(|(namespace, pod)| format!("pod {namespace}/{pod}"));
        let containers = self.containers.iter();
        let containers = containers.map(|container| format!("container {container}"));
        let nodes = self.nodes.iter();
        let nodes = nodes.map(|node| format!("a workload of node {node}"));
        let all: Vec<String> = match self.vague {
            true => nodes.collect(),
            false if !self.pods.is_empty() => pods.collect(),
            false => containers.collect(),
        };
        f.write_str(&all.join(" or "))
    }
}

/// The Node or the record of a workload that a fault names: `Node NAME`, `WorkloadEndpoint NAMESPACE/NAME`, behind the
/// file's name and line perhaps. `None` also for a record whose name does not say whose it is.
pub(super) fn named(fault: &StoreError) -> Option<Key> {
    let StoreError::Invalid { what, .. } = fault else {
        return None;
    };
    let key = what.rsplit_once(": ").map_or(what.as_str(), |(_, key)| key);
    let named = key.split_once(" (").map_or(key, |(key, _)| key);
    let (kind, name) = named.split_once(' ')?;
    if name.is_empty() || name.contains(char::is_whitespace) {
        return None;
    }
    match kind {
        "Node" => Some(Key::new(Kind::Node, name)),
        "WorkloadEndpoint" => {
            let (namespace, name) = name.split_once('/')?;
            let key = Key::in_namespace(Kind::WorkloadEndpoint, namespace, name);
            Record::of_name(&key).map(|_| key)
        }
        _ => None,
    }
}

fn namespace(key: &Key) -> String {
    key.namespace.clone().unwrap_or_default()
}

/// Each text that is an address, alone or with a prefix length, wherever it stands.
fn note_addresses(value: &Value, addresses: &mut BTreeSet<IpAddr>) {
    match value {
        Value::String(text) => {
            let text = text.trim();
            let network = || text.parse::<IpNet>().ok().map(|network| network.addr());
            addresses.extend(text.parse().ok().or_else(network));
        }
        Value::Array(all) => all.iter().for_each(|one| note_addresses(one, addresses)),
        Value::Object(fields) => fields
            .values()
            .for_each(|one| note_addresses(one, addresses)),
        _ => {}
    }
}
