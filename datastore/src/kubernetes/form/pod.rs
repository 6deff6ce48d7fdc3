//! `WorkloadEndpoint`: what a Pod says of itself, with the addresses that the CNI plugin wrote into annotations.
//!
//! ```text
//!   Pod                                             WorkloadEndpoint <node>-k8s-<pod>-eth0
//!   metadata.labels                                 labels, with projectcalico.org/namespace, …/orchestrator
//!   cni.projectcalico.org/podIP, podIPs             ipNetworks; empty: the address is released
//!   cni.projectcalico.org/containerID               containerID
//!   cni.projectcalico.org/allowedSourcePrefixes     allowSpoofedSourcePrefixes
//!   cni.projectcalico.org/floatingIPs               ipNATs
//!   caracal.network/mac, caracal.network/interface  mac; interfaceName where it is not the usual one
//!   caracal.network/*                               annotations
//!   spec.nodeName, serviceAccountName, ports        node, serviceAccountName, profiles, ports
//!   status.podIPs, podIP                            ipNetworks where there is no annotation
//! ```
//!
//! No endpoints: a pod on no node, one in its node's network, one without address, one that has ended.

mod slim;

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha1::{Digest, Sha1};

use self::slim::Pod;
use super::{Deletion, Reading, Version, Write};
use crate::resources::WorkloadEndpoint;
use crate::store::{Key, Kind, Metadata, Object};

const POD_IP: &str = "cni.projectcalico.org/podIP";
const POD_IPS: &str = "cni.projectcalico.org/podIPs";
const CONTAINER_ID: &str = "cni.projectcalico.org/containerID";
const FLOATING_IPS: &str = "cni.projectcalico.org/floatingIPs";
const ALLOWED_SOURCES: &str = "cni.projectcalico.org/allowedSourcePrefixes";
/// Calico has no place for these two: the MAC address inside the pod, and a device that is not named after the pod.
const MAC: &str = "caracal.network/mac";
const INTERFACE: &str = "caracal.network/interface";
/// Annotations of ours, which an endpoint has as they are.
const OWN: &str = "caracal.network/";

const ORCHESTRATOR: &str = "k8s";
/// The only interface of a pod that Kubernetes knows.
const ENDPOINT: &str = "eth0";

/// What the spec has of the pod's own, and a write does not change.
const DERIVED: [&str; 5] = [
    "serviceAccountName",
    "profiles",
    "ports",
    "ipNATs",
    "allowSpoofedSourcePrefixes",
];
/// What a write writes.
const WRITTEN: [&str; 8] = [
    "orchestrator",
    "node",
    "pod",
    "endpoint",
    "containerID",
    "ipNetworks",
    "interfaceName",
    "mac",
];

/// The pod of an endpoint of that name.
pub(super) fn pod_name(name: &str) -> Result<String, String> {
    match WorkloadEndpoint::parts_of_name(name) {
        Some([_, orchestrator, pod, endpoint])
            if orchestrator == ORCHESTRATOR && endpoint == ENDPOINT =>
        {
            Ok(pod)
        }
        _ => Err(format!(
            "metadata.name: {name:?} is not <node>-k8s-<pod>-eth0, which endpoints in Kubernetes are called"
        )),
    }
}

pub(super) fn read(value: Value) -> Reading {
    match Pod::deserialize(value) {
        Ok(pod) => read_pod(pod),
        Err(error) => unreadable(&error.to_string()),
    }
}

pub(super) fn read_text(text: &str) -> Reading {
    match serde_json::from_str(text) {
        Ok(pod) => read_pod(pod),
        Err(error) => unreadable(&error.to_string()),
    }
}

fn unreadable(why: &str) -> Reading {
    Reading::unreadable(Kind::WorkloadEndpoint, None, format!("a Pod: {why}"))
}

fn read_pod(pod: Pod) -> Reading {
    if pod.spec.node_name.is_empty() || pod.spec.host_network {
        return Reading::absent(None);
    }
    let name = WorkloadEndpoint::name_for_pod(&pod.spec.node_name, &pod.metadata.name, ENDPOINT);
    let key = Key::in_namespace(Kind::WorkloadEndpoint, &pod.metadata.namespace, name);
    match addresses(&pod).and_then(|addresses| object(&key, pod, &addresses)) {
        Ok(object) => Reading {
            key: Some(key),
            object: Ok(object),
            marked: false,
        },
        Err(why) => Reading::unreadable(Kind::WorkloadEndpoint, Some(key), why),
    }
}

/// What the CNI plugin wrote; where it wrote nothing, what the kubelet reports.
fn addresses(pod: &Pod) -> Result<Vec<IpAddr>, String> {
    if matches!(
        pod.status.phase.as_str(),
        "Succeeded" | "Failed" | "Completed"
    ) {
        return Ok(Vec::new());
    }
    let annotation = |key| pod.metadata.annotations.get(key).map(String::as_str);
    let texts: Vec<&str> = match (annotation(POD_IP), annotation(POD_IPS)) {
        // Released: the kubelet may not know it yet.
        (Some(""), None | Some("")) | (None, Some("")) => Vec::new(),
        (_, Some(list)) if !list.is_empty() => list.split(',').collect(),
        (Some(one), _) => vec![one],
        (None, _) if !pod.status.pod_ips.is_empty() => {
            let all = pod.status.pod_ips.iter();
            all.map(|one| one.ip.as_str()).collect()
        }
        (None, _) => vec![pod.status.pod_ip.as_str()],
    };
    texts
        .into_iter()
        .map(str::trim)
        .filter(|text| !text.is_empty())
        .map(|text| {
            let address = text.parse().ok();
            let network = || text.parse::<IpNet>().ok().map(|network| network.addr());
            address
                .or_else(network)
                .ok_or_else(|| format!("the pod's address {text:?} is not an address"))
        })
        .collect()
}

fn object(key: &Key, pod: Pod, addresses: &[IpAddr]) -> Result<Option<Object>, String> {
    if addresses.is_empty() {
        return Ok(None);
    }
    let Pod {
        metadata: own,
        spec: pod_spec,
        ..
    } = pod;
    let annotation = |key: &str| own.annotations.get(key).filter(|text| !text.is_empty());
    let mut spec = Map::new();
    let mut say = |field: &str, value: Value| drop(spec.insert(field.to_owned(), value));
    let usual = device_name(&own.namespace, &own.name);
    say(
        "interfaceName",
        annotation(INTERFACE).map_or(usual, Clone::clone).into(),
    );
    if let Some(container) = annotation(CONTAINER_ID) {
        say("containerID", container.clone().into());
    }
    if let Some(mac) = annotation(MAC) {
        say("mac", mac.clone().into());
    }
    let networks = addresses.iter().map(|one| IpNet::from(*one).to_string());
    say("ipNetworks", networks.collect());
    if let Some(text) = annotation(ALLOWED_SOURCES) {
        say("allowSpoofedSourcePrefixes", allowed_sources(text)?);
    }
    if let Some(text) = annotation(FLOATING_IPS) {
        say("ipNATs", floating_addresses(text, addresses)?);
    }
    let ports = pod_spec.ports();
    if !ports.is_empty() {
        say("ports", ports.into());
    }
    let mut profiles = vec![format!("kns.{}", own.namespace)];
    let mut labels = own.labels.unwrap_or_default();
    let account = pod_spec.service_account_name;
    if !account.is_empty() {
        profiles.push(format!("ksa.{}.{account}", own.namespace));
        // A longer one is not a label's value.
        if account.len() < LABEL_MAX {
            labels.insert(
                "projectcalico.org/serviceaccount".to_owned(),
                account.clone(),
            );
        }
        say("serviceAccountName", account.into());
    }
    say("profiles", profiles.into());
    say("orchestrator", ORCHESTRATOR.into());
    say("endpoint", ENDPOINT.into());
    say("node", pod_spec.node_name.into());
    say("pod", own.name.into());
    labels.insert("projectcalico.org/namespace".to_owned(), own.namespace);
    labels.insert(
        "projectcalico.org/orchestrator".to_owned(),
        ORCHESTRATOR.to_owned(),
    );
    let annotations = own.annotations.into_iter();
    let annotations = annotations.filter(|(key, _)| is_own(key)).collect();
    let mut object = Object {
        key: key.clone(),
        metadata: Metadata {
            name: key.name.clone(),
            namespace: key.namespace.clone(),
            labels,
            annotations,
            extra: BTreeMap::new(),
        },
        spec: Value::Object(spec),
        revision: None,
    };
    object.revision = Some(super::revision_of_projection(&object, &own.uid));
    Ok(Some(object))
}

fn is_own(annotation: &str) -> bool {
    annotation.starts_with(OWN) && annotation != MAC && annotation != INTERFACE
}

fn allowed_sources(text: &str) -> Result<Value, String> {
    let fault = |why: &dyn std::fmt::Display| {
        format!("metadata.annotations: {ALLOWED_SOURCES} {text:?}: {why}")
    };
    let prefixes: Vec<String> = serde_json::from_str(text).map_err(|error| fault(&error))?;
    let prefixes = prefixes.into_iter().map(|prefix| {
        let network: IpNet = prefix
            .parse()
            .map_err(|_| fault(&format!("{prefix:?} is not a CIDR")))?;
        Ok(Value::String(network.trunc().to_string()))
    });
    prefixes.collect()
}

/// Each goes to the pod's last address of its family, as in Calico.
fn floating_addresses(text: &str, addresses: &[IpAddr]) -> Result<Value, String> {
    let fault = |why: &dyn std::fmt::Display| {
        format!("metadata.annotations: {FLOATING_IPS} {text:?}: {why}")
    };
    let outside: Vec<IpAddr> = serde_json::from_str(text).map_err(|error| fault(&error))?;
    let nats = outside.into_iter().filter_map(|external| {
        let mut inside = addresses.iter().rev();
        let internal = inside.find(|one| one.is_ipv4() == external.is_ipv4())?;
        Some(json!({"internalIP": internal, "externalIP": external}))
    });
    Ok(nats.collect())
}

/// Puts an endpoint's addresses on the pod that is there.
pub(super) fn write(
    object: &Object,
    current: &Value,
    there: Option<&Object>,
) -> Result<Write, String> {
    let version = Version::of(current).ok_or("metadata: has no uid and resourceVersion")?;
    let pod = Pod::deserialize(current).map_err(|error| format!("a Pod: {error}"))?;
    let refused = |why: String| Ok(Write::Refused(why));
    if pod.spec.host_network {
        return refused(format!(
            "Pod {} is in its node's network",
            pod.metadata.name
        ));
    }
    let spec = object.spec.as_object().cloned().unwrap_or_default();
    let text = |field: &str| spec.get(field).and_then(Value::as_str).unwrap_or_default();
    for (field, needed) in [
        ("orchestrator", ORCHESTRATOR),
        ("endpoint", ENDPOINT),
        ("pod", &pod.metadata.name),
        ("node", &pod.spec.node_name),
    ] {
        if text(field) != needed {
            return refused(format!(
                "spec.{field}: {:?} is not {needed:?}, as the Pod says",
                text(field)
            ));
        }
    }
    let networks = spec.get("ipNetworks").and_then(Value::as_array);
    let networks: Vec<&str> = networks
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let Some(first) = networks.first() else {
        return refused(
            "spec.ipNetworks: is empty; an endpoint in Kubernetes is its addresses".to_owned(),
        );
    };
    for (field, value) in spec
        .iter()
        .filter(|(field, _)| !WRITTEN.contains(&field.as_str()))
    {
        let says = !(value.is_null() || value == "" || *value == json!([]) || *value == json!({}));
        let same = there.is_some_and(|there| there.spec.get(field) == Some(value));
        if says && !same {
            let why = match DERIVED.contains(&field.as_str()) {
                true => "is the Pod's own here, and not changed with its endpoint",
                false => "has no place on a Pod",
            };
            return refused(format!("spec.{field}: {why}"));
        }
    }
    if let Some(foreign) = object.metadata.annotations.keys().find(|key| !is_own(key)) {
        return refused(format!(
            "metadata.annotations: {foreign} has no place on a Pod (only {OWN}... has)"
        ));
    }
    if let Some((label, _)) = object.metadata.labels.iter().find(|(label, value)| {
        there.is_some_and(|there| there.metadata.labels.get(*label) != Some(*value))
    }) {
        return refused(format!(
            "metadata.labels: {label}: labels are the Pod's own here: kubectl label pod changes them"
        ));
    }

    let mut annotations = removed(&pod);
    annotations.insert(POD_IP.to_owned(), (*first).into());
    annotations.insert(POD_IPS.to_owned(), networks.join(",").into());
    let interface = text("interfaceName");
    let usual = device_name(&pod.metadata.namespace, &pod.metadata.name);
    let interface = Some(interface).filter(|one| !one.is_empty() && *one != usual);
    for (key, value) in [
        (
            CONTAINER_ID,
            Some(text("containerID")).filter(|id| !id.is_empty()),
        ),
        (MAC, Some(text("mac")).filter(|mac| !mac.is_empty())),
        (INTERFACE, interface),
    ] {
        if let Some(value) = value {
            annotations.insert(key.to_owned(), value.into());
        }
    }
    for (key, value) in &object.metadata.annotations {
        annotations.insert(key.clone(), value.clone().into());
    }
    Ok(Write::PatchStatus(super::patch(&version, annotations)))
}

/// Empties the addresses. The container's ID stays, by which a repeated DEL knows whose pod it sees.
pub(super) fn deletion(current: &Value, version: &Version) -> Result<Deletion, String> {
    let pod = Pod::deserialize(current).map_err(|error| format!("a Pod: {error}"))?;
    let mut annotations = removed(&pod);
    for key in [POD_IP, POD_IPS] {
        annotations.insert(key.to_owned(), "".into());
    }
    Ok(Deletion::PatchStatus(super::patch(version, annotations)))
}

/// Null, which removes it, for each annotation of ours.
fn removed(pod: &Pod) -> Map<String, Value> {
    let own = pod.metadata.annotations.keys();
    let own = own.filter(|key| key.starts_with(OWN));
    own.map(|key| (key.clone(), Value::Null)).collect()
}

/// `cali` and the first 11 hex digits of SHA-1 of `namespace.pod`, as Calico names the host's end.
pub(super) fn device_name(namespace: &str, pod: &str) -> String {
    let digest = Sha1::digest(format!("{namespace}.{pod}").as_bytes());
    let hex: String = digest.iter().map(|octet| format!("{octet:02x}")).collect();
    format!("cali{}", &hex[..11])
}

const LABEL_MAX: usize = 63;
