//! `Node`: Kubernetes' own Node, with what BGP and tunnels need in annotations, as Calico writes them.
//!
//! Kubernetes makes and removes Nodes. Their labels are labels of ours; labels of ours that they have not, and
//! annotations, stand as JSON in an annotation.

use serde_json::{Map, Value, json};

use super::{Reading, Version, Write, metadata, take_metadata, text_of};
use crate::store::{Key, Kind, Metadata, Object};

/// Why nobody creates or deletes a Node here.
pub(super) const NOT_OURS: &str =
    "a Node is Kubernetes' own here: it comes with its kubelet, and kubectl delete node removes it";

const PREFIX: &str = "projectcalico.org/";
const LABELS: &str = "projectcalico.org/labels";
const ANNOTATIONS: &str = "projectcalico.org/annotations";
/// A JSON list, the others are texts.
const INTERFACES: &str = "Interfaces";

/// Annotation (behind [`PREFIX`]), and the field of the spec.
const FIELDS: [(&str, &[&str]); 12] = [
    ("ASNumber", &["bgp", "asNumber"]),
    ("IPv4Address", &["bgp", "ipv4Address"]),
    ("IPv4IPIPTunnelAddr", &["bgp", "ipv4IPIPTunnelAddr"]),
    ("IPv4VXLANTunnelAddr", &["ipv4VXLANTunnelAddr"]),
    (
        "IPv4WireguardInterfaceAddr",
        &["wireguard", "interfaceIPv4Address"],
    ),
    ("IPv6Address", &["bgp", "ipv6Address"]),
    ("IPv6VXLANTunnelAddr", &["ipv6VXLANTunnelAddr"]),
    (
        "IPv6WireguardInterfaceAddr",
        &["wireguard", "interfaceIPv6Address"],
    ),
    (
        "RouteReflectorClusterID",
        &["bgp", "routeReflectorClusterID"],
    ),
    ("VXLANTunnelMACAddr", &["vxlanTunnelMACAddr"]),
    ("VXLANTunnelMACAddrV6", &["vxlanTunnelMACAddrV6"]),
    (INTERFACES, &["interfaces"]),
];

/// Fields that are what Kubernetes says, and are not written.
const DERIVED: [&str; 2] = ["addresses", "orchRefs"];

pub(super) fn read(value: Value) -> Reading {
    let Value::Object(mut fields) = value else {
        return Reading::unreadable(Kind::Node, None, "is not a JSON object".to_owned());
    };
    let own = match take_metadata(&mut fields) {
        Ok(own) => own,
        Err(why) => return Reading::unreadable(Kind::Node, None, why),
    };
    let Some(name) = text_of(&own, "name") else {
        let why = "metadata.name: is missing".to_owned();
        return Reading::unreadable(Kind::Node, None, why);
    };
    let key = Key::new(Kind::Node, name);
    match object(&key, own, &fields) {
        Ok(object) => Reading::there(object),
        Err(why) => Reading::unreadable(Kind::Node, Some(key), why),
    }
}

fn object(
    key: &Key,
    mut own: Map<String, Value>,
    fields: &Map<String, Value>,
) -> Result<Object, String> {
    let uid = text_of(&own, "uid").unwrap_or_default().to_owned();
    let annotations = metadata::take_texts(&mut own, "annotations")?;
    let kept = |annotation: &str| match annotations.get(annotation) {
        Some(text) => serde_json::from_str(text)
            .map_err(|error| format!("metadata.annotations: {annotation} {text:?}: {error}")),
        None => Ok(Default::default()),
    };
    let mut labels: std::collections::BTreeMap<String, String> = kept(LABELS)?;
    labels.extend(metadata::take_texts(&mut own, "labels")?);

    let mut spec = Map::new();
    for (annotation, path) in FIELDS {
        let Some(text) = annotations.get(&format!("{PREFIX}{annotation}")) else {
            continue;
        };
        if text.is_empty() {
            continue;
        }
        let value = match annotation {
            INTERFACES => serde_json::from_str(text).map_err(|error| {
                format!("metadata.annotations: {PREFIX}{annotation} {text:?}: {error}")
            })?,
            _ => Value::String(text.clone()),
        };
        insert(&mut spec, path, value);
    }
    spec.insert(
        "orchRefs".to_owned(),
        json!([{"nodeName": key.name, "orchestrator": "k8s"}]),
    );
    let addresses = addresses(&spec, fields);
    if !addresses.is_empty() {
        spec.insert("addresses".to_owned(), addresses.into());
    }
    let extra = ["uid", "creationTimestamp"].iter().filter_map(|field| {
        let value = own.get(*field).filter(|value| !value.is_null())?;
        Some(((*field).to_owned(), value.clone()))
    });
    let mut object = Object {
        key: key.clone(),
        metadata: Metadata {
            name: key.name.clone(),
            namespace: None,
            labels,
            annotations: kept(ANNOTATIONS)?,
            extra: extra.collect(),
        },
        spec: Value::Object(spec),
        revision: None,
    };
    object.revision = Some(super::revision_of_projection(&object, &uid));
    Ok(object)
}

fn addresses(spec: &Map<String, Value>, fields: &Map<String, Value>) -> Vec<Value> {
    let bgp = spec.get("bgp");
    let of_bgp = ["ipv4Address", "ipv6Address"]
        .into_iter()
        .filter_map(|field| bgp?.get(field))
        .map(|address| json!({"address": address, "type": "CalicoNodeIP"}));
    let status = fields
        .get("status")
        .and_then(|status| status.get("addresses")?.as_array());
    let of_status = status.into_iter().flatten().filter_map(|address| {
        let kind = address.get("type")?.as_str()?;
        let of_nodes = matches!(kind, "InternalIP" | "ExternalIP");
        of_nodes.then(|| json!({"address": address.get("address"), "type": kind}))
    });
    of_bgp.chain(of_status).collect()
}

/// A patch of the annotations that change. `current` has the projection's revision.
pub(super) fn write(object: &Object, current: &Value) -> Result<Write, String> {
    let version = Version::of(current).ok_or("metadata: has no uid and resourceVersion")?;
    let theirs = current.get("metadata");
    let theirs = |field: &str, key: &str| theirs?.get(field)?.get(key)?.as_str();

    let mut spec = match &object.spec {
        Value::Object(spec) => spec.clone(),
        _ => Map::new(),
    };
    for derived in DERIVED {
        spec.remove(derived);
    }
    let mut wanted: Vec<(String, Option<String>)> = Vec::new();
    for (annotation, path) in FIELDS {
        let text = match remove(&mut spec, path) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text),
            // The same list, which has a text of another hand.
            Some(value)
                if theirs("annotations", &format!("{PREFIX}{annotation}")).is_some_and(
                    |text| serde_json::from_str(text).is_ok_and(|same: Value| same == value),
                ) =>
            {
                continue;
            }
            Some(value) => Some(value.to_string()),
        };
        let text = text.filter(|text| !text.is_empty());
        wanted.push((format!("{PREFIX}{annotation}"), text));
    }
    if let Some(field) = first_left(&spec) {
        return Ok(Write::Refused(format!(
            "spec.{field}: has no place among the annotations of Kubernetes' Node"
        )));
    }
    let mut labels = Map::new();
    for (label, value) in &object.metadata.labels {
        match theirs("labels", label) {
            None => drop(labels.insert(label.clone(), value.clone().into())),
            Some(same) if same == value => {}
            Some(other) => {
                return Ok(Write::Refused(format!(
                    "metadata.labels: {label} is {other:?} and Kubernetes' own: kubectl label node changes it"
                )));
            }
        }
    }
    let annotations = &object.metadata.annotations;
    let annotations = annotations
        .iter()
        .map(|(key, value)| (key.clone(), value.clone().into()));
    for (annotation, map) in [(LABELS, labels), (ANNOTATIONS, annotations.collect())] {
        let text = (!map.is_empty()).then(|| Value::Object(map).to_string());
        wanted.push((annotation.to_owned(), text));
    }
    let changes = wanted
        .into_iter()
        .filter(|(key, text)| theirs("annotations", key) != text.as_deref())
        // What is removed is null in a merge patch.
        .map(|(key, text)| (key, text.map_or(Value::Null, Value::String)));
    Ok(Write::PatchStatus(super::patch(
        &version,
        changes.collect(),
    )))
}

fn insert(fields: &mut Map<String, Value>, path: &[&str], value: Value) {
    match path {
        [] => {}
        [field] => drop(fields.insert((*field).to_owned(), value)),
        [field, rest @ ..] => {
            let inner = fields.entry(*field).or_insert_with(|| json!({}));
            if let Value::Object(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

fn remove(fields: &mut Map<String, Value>, path: &[&str]) -> Option<Value> {
    match path {
        [] => None,
        [field] => fields.remove(*field),
        [field, rest @ ..] => remove(fields.get_mut(*field)?.as_object_mut()?, rest),
    }
}

/// A field that says something and was not written.
fn first_left(fields: &Map<String, Value>) -> Option<String> {
    fields.iter().find_map(|(field, value)| match value {
        Value::Null => None,
        Value::Object(inner) => first_left(inner).map(|inner| format!("{field}.{inner}")),
        _ => Some(field.clone()),
    })
}
