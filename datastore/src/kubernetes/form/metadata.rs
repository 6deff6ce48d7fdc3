//! Metadata. In `crd.projectcalico.org/v1` the metadata that people give an object stands as JSON in an annotation of
//! the custom resource, because the API server of Calico was to look like a store of its own:
//!
//! ```text
//!   custom resource                                   our object
//!   metadata:                                         metadata:
//!     name, namespace, resourceVersion                  name, namespace, revision
//!     uid                    ──── bits reversed ────    uid
//!     labels, annotations of projectcalico.org ─┬───    labels, annotations
//!     annotations:                              │
//!       projectcalico.org/metadata: {labels, annotations,
//!         creationTimestamp, ownerReferences, …} ───    creationTimestamp, ownerReferences, …
//! ```
//!
//! Labels and annotations that somebody gave the custom resource itself are read too, and stay where they stand.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Name, Version, text_of};
use crate::store::Metadata;

/// The annotation.
pub(super) const METADATA: &str = "projectcalico.org/metadata";

/// What the API server says of an object, and nobody else: it is not the object's.
const SERVERS: [&str; 7] = [
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "namespace",
    "resourceVersion",
    "selfLink",
];

/// Reads the metadata of a custom resource of `crd.projectcalico.org/v1`, and the name that the annotation has, which it
/// has of policies.
pub(super) fn read_v1(
    mut fields: Map<String, Value>,
) -> Result<(Metadata, Option<String>), String> {
    let mut labels = take_texts(&mut fields, "labels")?;
    let mut annotations = take_texts(&mut fields, "annotations")?;
    let mut kept = match annotations.remove(METADATA) {
        Some(text) => parse(&text)?,
        None => Map::new(),
    };
    labels.extend(take_texts(&mut kept, "labels")?);
    annotations.extend(take_texts(&mut kept, "annotations")?);
    for server in SERVERS {
        if server != "generation" {
            kept.remove(server);
        }
    }
    kept.retain(|_, value| !value.is_null());
    let name = match kept.remove("name") {
        Some(Value::String(name)) if !name.is_empty() => Some(name),
        _ => None,
    };
    if let Some(uid) = text_of(&fields, "uid") {
        kept.insert("uid".to_owned(), reversed_uid(uid).into());
    }
    if !kept.contains_key("creationTimestamp")
        && let Some(made) = fields
            .remove("creationTimestamp")
            .filter(|made| !made.is_null())
    {
        kept.insert("creationTimestamp".to_owned(), made);
    }
    for owner in owners(&mut kept) {
        turn_owner(owner, &[CRD_V1, V3], V3);
    }
    let metadata = Metadata {
        name: text_of(&fields, "name").unwrap_or_default().to_owned(),
        namespace: text_of(&fields, "namespace").map(str::to_owned),
        labels,
        annotations,
        extra: kept.into_iter().collect(),
    };
    Ok((metadata, name))
}

/// Writes it. `current` is the metadata that the custom resource has; `kept_name` is what the annotation keeps of the
/// name.
pub(super) fn write_v1(
    metadata: &Metadata,
    name: &Name,
    version: Option<&Version>,
    current: Option<&Map<String, Value>>,
    kept_name: Option<&str>,
) -> Map<String, Value> {
    let old = |field: &str| current.and_then(|current| current.get(field)?.as_object());
    let old_kept = old("annotations")
        .and_then(|annotations| annotations.get(METADATA)?.as_str())
        .and_then(|text| parse(text).ok())
        .unwrap_or_default();
    let split = |field: &str, all: &BTreeMap<String, String>| {
        let (mut outside, mut inside) = (Map::new(), Map::new());
        for (key, value) in all.iter().filter(|(key, _)| *key != METADATA) {
            let stays = old(field).is_some_and(|old| old.contains_key(key))
                && old_kept
                    .get(field)
                    .is_none_or(|kept| kept.get(key).is_none());
            if stays || is_ours(key) {
                outside.insert(key.clone(), value.clone().into());
            }
            if !stays {
                inside.insert(key.clone(), value.clone().into());
            }
        }
        (outside, inside)
    };
    let (labels, kept_labels) = split("labels", &metadata.labels);
    let (mut annotations, kept_annotations) = split("annotations", &metadata.annotations);

    let mut kept = Map::new();
    if let Some(name) = kept_name {
        kept.insert("name".to_owned(), name.into());
    }
    // Go writes this field always.
    kept.insert("creationTimestamp".to_owned(), Value::Null);
    for (field, value) in &metadata.extra {
        let same = field == "creationTimestamp"
            && current.is_some_and(|current| current.get(field) == Some(value));
        if !same && field != "uid" && (field == "generation" || !SERVERS.contains(&field.as_str()))
        {
            kept.insert(field.clone(), value.clone());
        }
    }
    insert_some(&mut kept, "labels", kept_labels);
    insert_some(&mut kept, "annotations", kept_annotations);
    for owner in owners(&mut kept) {
        turn_owner(owner, &[V3], CRD_V1);
    }
    annotations.insert(METADATA.to_owned(), Value::Object(kept).to_string().into());

    let mut fields = identity(name, version);
    insert_some(&mut fields, "labels", labels);
    insert_some(&mut fields, "annotations", annotations);
    for field in ["finalizers", "ownerReferences"] {
        if let Some(value) = current.and_then(|current| current.get(field)) {
            fields.insert(field.to_owned(), value.clone());
        }
    }
    fields
}

/// Reads metadata that stands as it is.
pub(super) fn read(mut fields: Map<String, Value>) -> Result<Metadata, String> {
    let labels = take_texts(&mut fields, "labels")?;
    let annotations = take_texts(&mut fields, "annotations")?;
    let take = |fields: &mut Map<String, Value>, field| match fields.remove(field) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    };
    let name = take(&mut fields, "name").unwrap_or_default();
    let namespace = take(&mut fields, "namespace");
    for server in SERVERS {
        fields.remove(server);
    }
    fields.retain(|_, value| !value.is_null());
    Ok(Metadata {
        name,
        namespace,
        labels,
        annotations,
        extra: fields.into_iter().collect(),
    })
}

/// Writes it so.
pub(super) fn write(
    metadata: &Metadata,
    name: &Name,
    version: Option<&Version>,
) -> Map<String, Value> {
    let texts = |all: &BTreeMap<String, String>| {
        all.iter()
            .map(|(key, value)| (key.clone(), value.clone().into()))
            .collect::<Map<String, Value>>()
    };
    let mut fields: Map<String, Value> = metadata
        .extra
        .iter()
        .filter(|(field, _)| *field != "uid" && !SERVERS.contains(&field.as_str()))
        .map(|(field, value)| (field.clone(), value.clone()))
        .collect();
    fields.append(&mut identity(name, version));
    insert_some(&mut fields, "labels", texts(&metadata.labels));
    insert_some(&mut fields, "annotations", texts(&metadata.annotations));
    fields
}

/// What says which object, and which state of it is replaced.
fn identity(name: &Name, version: Option<&Version>) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert("name".to_owned(), name.name.clone().into());
    if let Some(namespace) = &name.namespace {
        fields.insert("namespace".to_owned(), namespace.clone().into());
    }
    if let Some(version) = version {
        fields.insert("uid".to_owned(), version.uid.clone().into());
        let resource_version = version.resource_version.clone();
        fields.insert("resourceVersion".to_owned(), resource_version.into());
    }
    fields
}

/// Whether a label or an annotation is Calico's, which stand on the custom resource itself.
fn is_ours(key: &str) -> bool {
    key.contains("projectcalico.org/") || key.contains("operator.tigera.io/")
}

/// The UID that Calico shows for a custom resource's, and the other way: two objects with one UID would confuse
/// Kubernetes' garbage collection. The bits of each octet are reversed, but for the two octets with version and variant.
pub(super) fn reversed_uid(uid: &str) -> String {
    let hex: String = uid.chars().filter(|c| *c != '-').collect();
    let octets: Option<Vec<u8>> = (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok())
        .collect();
    let Some(octets) = octets.filter(|octets| octets.len() == 16) else {
        return uid.to_owned();
    };
    let mut text = String::with_capacity(36);
    for (at, octet) in octets.into_iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let octet = match at {
            6 | 8 => octet,
            _ => octet.reverse_bits(),
        };
        text.push_str(&format!("{octet:02x}"));
    }
    text
}

fn owners(fields: &mut Map<String, Value>) -> impl Iterator<Item = &mut Map<String, Value>> {
    let owners = fields
        .get_mut("ownerReferences")
        .and_then(Value::as_array_mut);
    owners
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
}

/// A reference to an object of Calico's, with the UID that is right where it stands.
fn turn_owner(owner: &mut Map<String, Value>, from: &[&str], to: &str) {
    if !text_of(owner, "apiVersion").is_some_and(|api| from.contains(&api)) {
        return;
    }
    owner.insert("apiVersion".to_owned(), to.into());
    if let Some(uid) = text_of(owner, "uid").map(reversed_uid) {
        owner.insert("uid".to_owned(), uid.into());
    }
}

fn parse(text: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text)
        .map_err(|error| format!("metadata.annotations: {METADATA} {text:?}: {error}"))
}

pub(super) fn take_texts(
    fields: &mut Map<String, Value>,
    field: &str,
) -> Result<BTreeMap<String, String>, String> {
    match fields.remove(field) {
        None | Some(Value::Null) => Ok(BTreeMap::new()),
        Some(value) => {
            serde_json::from_value(value).map_err(|error| format!("metadata.{field}: {error}"))
        }
    }
}

fn insert_some(fields: &mut Map<String, Value>, field: &str, map: Map<String, Value>) {
    if !map.is_empty() {
        fields.insert(field.to_owned(), Value::Object(map));
    }
}

const CRD_V1: &str = "crd.projectcalico.org/v1";
const V3: &str = "projectcalico.org/v3";
