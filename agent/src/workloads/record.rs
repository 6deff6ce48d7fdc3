//! The durable record of a workload: its WorkloadEndpoint, as Calico names and fills it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::SystemTime;

use caracal_agent_api::CniAdd;
use caracal_datastore::resources::{Timestamp, WorkloadEndpoint};
use caracal_datastore::{Datastore, Key, Kind, Metadata, Object, StoreError, Stored};
use ipnet::IpNet;

use super::{Workload, mac_text, parse_mac};
use crate::migration::Identity;

/// Where workloads without Kubernetes are kept.
const NAMESPACE_DEFAULT: &str = "default";

/// Annotation: the CNI network by which the container was attached, and so the name of its handle.
const NETWORK: &str = "caracal.network/network";

/// How often others may be faster before a write is given up; the runtime asks for the pod again.
const WRITE_TRIES: usize = 10;

/// The key of the WorkloadEndpoint of this request.
pub(super) fn key(node: &str, request: &CniAdd) -> Key {
    let name = match &request.pod {
        Some(pod) => WorkloadEndpoint::name_for_pod(node, pod, &request.ifname),
        None => WorkloadEndpoint::name_for_container(node, &request.container_id, &request.ifname),
    };
    let namespace = request
        .namespace
        .as_deref()
        .unwrap_or(NAMESPACE_DEFAULT)
        .to_owned();
    Key {
        kind: Kind::WorkloadEndpoint,
        namespace: Some(namespace),
        name,
    }
}

/// What migrations will know the workload of this request by; nobody has given it labels yet.
pub(super) fn identity_of(request: &CniAdd) -> Identity {
    let (orchestrator, workload) = match &request.pod {
        Some(pod) => {
            let namespace = request.namespace.as_deref().unwrap_or(NAMESPACE_DEFAULT);
            ("k8s", format!("{namespace}/{pod}"))
        }
        None => ("cni", request.container_id.clone()),
    };
    Identity {
        orchestrator: orchestrator.to_owned(),
        workload,
        ..Identity::default()
    }
}

fn identity(spec: &WorkloadEndpoint, metadata: &Metadata, key: &Key) -> Identity {
    let namespace = key.namespace.as_deref().unwrap_or(NAMESPACE_DEFAULT);
    Identity {
        orchestrator: spec.orchestrator.clone(),
        workload: match spec.orchestrator.as_str() {
            "k8s" => format!("{namespace}/{}", spec.pod),
            "cni" => spec.container_id.clone(),
            _ => spec.workload.clone(),
        },
        labels: metadata.labels.clone(),
    }
}

/// What IPAM keeps with the addresses.
pub(super) fn attributes(node: &str, request: &CniAdd) -> BTreeMap<String, String> {
    attributes_of(node, request.namespace.as_deref(), request.pod.as_deref())
}

/// The same for a workload that is known already.
pub(super) fn attributes_of(
    node: &str,
    namespace: Option<&str>,
    pod: Option<&str>,
) -> BTreeMap<String, String> {
    let now = Timestamp::of(SystemTime::now()).to_string();
    let mut attributes = BTreeMap::from([
        ("node".to_owned(), node.to_owned()),
        ("timestamp".to_owned(), now),
    ]);
    if let (Some(namespace), Some(pod)) = (namespace, pod) {
        attributes.insert("namespace".to_owned(), namespace.to_owned());
        attributes.insert("pod".to_owned(), pod.to_owned());
    }
    attributes
}

/// Creates the record, or replaces that of an earlier container of the same pod.
pub(super) async fn write(
    store: &dyn Datastore,
    node: &str,
    workload: &Workload,
) -> Result<(), StoreError> {
    let spec = WorkloadEndpoint {
        orchestrator: if workload.pod.is_some() { "k8s" } else { "cni" }.to_owned(),
        node: node.to_owned(),
        container_id: workload.container_id.clone(),
        pod: workload.pod.clone().unwrap_or_default(),
        endpoint: workload.ifname.clone(),
        ip_networks: workload
            .addresses
            .iter()
            .map(|address| IpNet::from(*address))
            .collect(),
        interface_name: workload.device.clone(),
        mac: mac_text(&workload.mac),
        ..WorkloadEndpoint::default()
    };
    let network = workload.network.iter();
    let metadata = Metadata {
        name: workload.key.name.clone(),
        namespace: workload.key.namespace.clone(),
        annotations: network
            .map(|network| (NETWORK.to_owned(), network.clone()))
            .collect(),
        ..Metadata::default()
    };
    let wanted = Stored {
        metadata,
        spec,
        revision: None,
    }
    .into_object();
    for _ in 0..WRITE_TRIES {
        let outcome = match store.get(&workload.key).await? {
            None => store.create(wanted.clone()).await,
            Some(old) => {
                let mut new = old.clone();
                new.spec = wanted.spec.clone();
                new.metadata
                    .annotations
                    .extend(wanted.metadata.annotations.clone());
                if new == old {
                    return Ok(());
                }
                store.update(new).await
            }
        };
        match outcome {
            Err(StoreError::Exists(_) | StoreError::Conflict(_) | StoreError::NotFound(_)) => {
                continue;
            }
            outcome => return outcome.map(drop),
        }
    }
    Err(StoreError::Unavailable {
        what: workload.key.to_string(),
        why: format!("others changed it {WRITE_TRIES} times meanwhile"),
    })
}

/// What the records of a container say when that of one of its interfaces is removed.
#[derive(Debug, Default)]
pub(super) struct Removed {
    /// What the record said.
    pub(super) removed: Option<Workload>,
    /// Another interface has this network's addresses. Looked for only if the agent did not know the interface.
    pub(super) has_sibling: bool,
}

/// Deletes the record, if it is still this container's. It is looked for at these keys, and else among all of the node's.
pub(super) async fn remove(
    store: &dyn Datastore,
    node: &str,
    container_id: &str,
    ifname: &str,
    network: &str,
    keys: Option<Vec<Key>>,
) -> Result<Removed, StoreError> {
    let mut candidates = Vec::new();
    match keys {
        None => candidates = store.list_here(Kind::WorkloadEndpoint).await?,
        Some(keys) => {
            for key in keys {
                match store.get(&key).await {
                    Ok(found) => candidates.extend(found),
                    // It names no container.
                    Err(StoreError::Invalid { .. }) => {}
                    Err(fault) => return Err(fault),
                }
            }
        }
    }
    // Field by field: a record of which something else makes no sense goes too.
    let says = |object: &Object, field: &str, value: &str| {
        object.spec.get(field).and_then(|field| field.as_str()) == Some(value)
    };
    let mut outcome = Removed::default();
    for object in candidates {
        if !says(&object, "node", node) || !says(&object, "containerID", container_id) {
            continue;
        }
        if !says(&object, "endpoint", ifname) {
            let on = object.metadata.annotations.get(NETWORK);
            outcome.has_sibling |= on.is_some_and(|on| on == network);
            continue;
        }
        outcome.removed = read(&object).ok().map(|(_, workload)| workload);
        match store.delete(&object.key, object.revision.as_ref()).await {
            // Somebody replaced or removed it: then it is not this container's any more.
            Ok(()) | Err(StoreError::NotFound(_) | StoreError::Conflict(_)) => {}
            Err(fault) => return Err(fault),
        }
    }
    Ok(outcome)
}

/// Whether a WorkloadEndpoint of this name is one of the node's, by Calico's names: a hyphen within the node's name is
/// doubled, and a single one ends it.
pub(super) fn names_node(key: &Key, node: &str) -> bool {
    let rest = key.name.strip_prefix(&node.replace('-', "--"));
    let rest = rest.and_then(|rest| rest.strip_prefix('-'));
    rest.is_some_and(|rest| !rest.starts_with('-'))
}

/// A stored WorkloadEndpoint and the node it is on.
pub(super) fn read(object: &Object) -> Result<(String, Workload), StoreError> {
    let stored = Stored::<WorkloadEndpoint>::from_object(object)?;
    let spec = stored.spec;
    let identity = identity(&spec, &stored.metadata, &object.key);
    let workload = Workload {
        key: object.key.clone(),
        network: stored.metadata.annotations.get(NETWORK).cloned(),
        container_id: spec.container_id,
        ifname: spec.endpoint,
        namespace: (spec.orchestrator == "k8s")
            .then(|| object.key.namespace.clone())
            .flatten(),
        pod: (!spec.pod.is_empty()).then_some(spec.pod),
        device: spec.interface_name,
        addresses: spec
            .ip_networks
            .iter()
            .map(|network| network.addr())
            .collect::<Vec<IpAddr>>(),
        mac: parse_mac(&spec.mac).unwrap_or_default(),
        allowed_sources: spec.allow_spoofed_source_prefixes,
        identity,
        recorded: true,
    };
    Ok((spec.node, workload))
}
