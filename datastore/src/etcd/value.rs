//! What stands under a key: the JSON that Calico writes there, and our objects.
//!
//! The kinds that people write are whole manifests, with `uid` and `creationTimestamp`, without which `calicoctl`
//! refuses to update them. IPAM's kinds are Calico's older structures: other field names, and what the key says
//! does not stand in the value.

use std::time::SystemTime;

use serde_json::{Map, Value, json};

use super::layout::{self, Located};
use super::wire::KeyValue;
use crate::ipam::names;
use crate::manifest;
use crate::resources::{AffinityType, Timestamp};
use crate::store::{Key, Kind, Metadata, Object, Revision, StoreError};
use crate::uuid;

/// An entry of etcd as far as it can be read.
#[derive(Debug)]
pub(super) enum Reading {
    Good(Object),
    /// The key is an object's, the value makes no sense: an object whose spec is the beginning of the text, so
    /// that who lists sees it, and can delete it.
    Unreadable(Object, StoreError),
    /// The key is nothing's.
    Foreign(StoreError),
}

impl Reading {
    pub(super) fn object(self) -> Option<Object> {
        match self {
            Reading::Good(object) | Reading::Unreadable(object, _) => Some(object),
            Reading::Foreign(_) => None,
        }
    }

    pub(super) fn fault(&self) -> Option<&StoreError> {
        match self {
            Reading::Good(_) => None,
            Reading::Unreadable(_, fault) | Reading::Foreign(fault) => Some(fault),
        }
    }
}

/// Reads an entry in the range of a kind.
pub(super) fn read(kind: Kind, found: &KeyValue) -> Reading {
    let path = String::from_utf8_lossy(&found.key);
    let invalid = |what: String, why: String| StoreError::Invalid { what, why };
    let located = match layout::locate(kind, &found.key) {
        Ok(located) => located,
        Err(why) => return Reading::Foreign(invalid(format!("etcd {path}"), why)),
    };
    let revision = Some(Revision(found.mod_revision.to_string()));
    match decode(&located, &found.value) {
        Ok(object) => Reading::Good(Object { revision, ..object }),
        Err(why) => {
            let key = located.key();
            // A Secret's text is not told.
            let text = match kind {
                Kind::Secret => String::new(),
                _ => beginning(&found.value),
            };
            let fault = invalid(format!("{key} (etcd {path})"), format!("{why}: {text:?}"));
            let object = Object {
                metadata: metadata_of(&key),
                key,
                spec: Value::String(text),
                revision,
            };
            Reading::Unreadable(object, fault)
        }
    }
}

/// Fills in what Calico's clients expect of every object: who made it when.
pub(super) fn complete(object: &mut Object) -> Result<(), StoreError> {
    if is_ipams(object.key.kind) || object.key.kind.is_of_kubernetes() {
        return Ok(());
    }
    let extra = &mut object.metadata.extra;
    if !extra.contains_key("uid") {
        extra.insert("uid".to_owned(), Value::String(uuid::random()?));
    }
    if !extra.contains_key("creationTimestamp") {
        let now = Timestamp::of(SystemTime::now());
        extra.insert("creationTimestamp".to_owned(), json!(now.to_string()));
    }
    Ok(())
}

/// Whether the value is a manifest in which others' fields may stand beside `spec`.
pub(super) fn has_siblings(kind: Kind) -> bool {
    !is_ipams(kind) && !kind.is_whole()
}

/// Whether the value is one of Calico's older structures.
fn is_ipams(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::IPAMBlock | Kind::BlockAffinity | Kind::IPAMHandle | Kind::IPAMConfig
    )
}

/// The value of an object; `before` is the value that it replaces.
pub(super) fn encode(object: &Object, before: Option<&[u8]>) -> Result<Vec<u8>, String> {
    let value = match object.key.kind {
        kind if is_ipams(kind) => ipam_value(object)?,
        _ => {
            let mut fields = match before.map(serde_json::from_slice) {
                Some(Ok(Value::Object(fields))) if has_siblings(object.key.kind) => fields,
                _ => Map::new(),
            };
            if let Value::Object(own) = manifest::to_value(object) {
                fields.extend(own);
            }
            Value::Object(fields)
        }
    };
    serde_json::to_vec(&value).map_err(|error| error.to_string())
}

/// The object that a value is.
pub(super) fn decode(located: &Located, bytes: &[u8]) -> Result<Object, String> {
    // Before version 3.0.7 an affinity had no value.
    let bytes = match located {
        Located::Affinity { .. } if bytes.is_empty() => b"{}",
        _ => bytes,
    };
    let value: Value =
        serde_json::from_slice(bytes).map_err(|error| format!("is not JSON ({error})"))?;
    let Value::Object(mut fields) = value else {
        return Err("is not a JSON object".to_owned());
    };
    let key = located.key();
    if let Located::Resource(_) = located {
        return manifest_object(key, fields);
    }
    let mut metadata = metadata_of(&key);
    if let Some(kept) = fields.remove("metadata") {
        let kept: Metadata =
            serde_json::from_value(kept).map_err(|error| format!("metadata: {error}"))?;
        metadata.labels = kept.labels;
        metadata.annotations = kept.annotations;
        metadata.extra = kept.extra;
    }
    match located {
        Located::Resource(_) => {}
        Located::Block(cidr) => {
            rename(&mut fields, &BLOCK, Way::Ours);
            each_attribute(&mut fields, Way::Ours);
            fields
                .entry("cidr")
                .or_insert_with(|| json!(cidr.to_string()));
            // Before `affinity` there was a field with the node alone.
            if let Some(Value::String(node)) = fields.remove("hostAffinity")
                && !fields.get("affinity").is_some_and(Value::is_string)
            {
                fields.insert("affinity".to_owned(), json!(format!("host:{node}")));
            }
        }
        Located::Affinity {
            node,
            affinity_type,
            cidr,
        } => {
            fields.insert("node".to_owned(), json!(node));
            fields.insert("cidr".to_owned(), json!(cidr.to_string()));
            match affinity_type {
                AffinityType::Host => {
                    let derived = names::affinity_labels(node, cidr);
                    metadata.labels.extend(derived);
                }
                AffinityType::Virtual => {
                    fields.insert("type".to_owned(), json!("virtual"));
                }
            }
        }
        Located::Handle(handle) => {
            fields.insert("handleID".to_owned(), json!(handle));
        }
        Located::Config => {
            rename(&mut fields, &CONFIG, Way::Ours);
            // Calico does not write what is false.
            for field in ["strictAffinity", "autoAllocateBlocks"] {
                fields.entry(field.to_owned()).or_insert(Value::Bool(false));
            }
        }
    }
    Ok(Object {
        key,
        metadata,
        spec: Value::Object(fields),
        revision: None,
    })
}

/// A manifest, whose name and namespace are what its key says.
fn manifest_object(key: Key, mut fields: Map<String, Value>) -> Result<Object, String> {
    let metadata = fields
        .entry("metadata")
        .or_insert_with(|| Value::Object(Map::new()));
    let Value::Object(metadata) = metadata else {
        return Err("metadata: is not an object".to_owned());
    };
    metadata.insert("name".to_owned(), json!(key.name));
    match &key.namespace {
        Some(namespace) => metadata.insert("namespace".to_owned(), json!(namespace)),
        None => metadata.remove("namespace"),
    };
    // Go writes an empty time as null.
    metadata.retain(|_, value| !value.is_null());
    let (object, _) = manifest::object_of(key.kind, Value::Object(fields), "default")?;
    Ok(object)
}

fn ipam_value(object: &Object) -> Result<Value, String> {
    let Value::Object(mut fields) = object.spec.clone() else {
        return Err("spec: is not an object".to_owned());
    };
    match object.key.kind {
        Kind::IPAMBlock => {
            rename(&mut fields, &BLOCK, Way::Calicos);
            each_attribute(&mut fields, Way::Calicos);
            // Only the schema of the custom resource has it.
            if fields.get("strictAffinity") == Some(&Value::Bool(false)) {
                fields.remove("strictAffinity");
            }
        }
        Kind::BlockAffinity => {
            for field in ["node", "cidr", "type"] {
                fields.remove(field);
            }
            // A string in the custom resource, a boolean here.
            let deleted = match fields.get("deleted") {
                Some(Value::String(text)) => text == "true",
                Some(Value::Bool(deleted)) => *deleted,
                _ => false,
            };
            fields.insert("deleted".to_owned(), json!(deleted));
        }
        Kind::IPAMHandle => drop(fields.remove("handleID")),
        _ => rename(&mut fields, &CONFIG, Way::Calicos),
    }
    if let Some(metadata) = own_metadata(object) {
        fields.insert("metadata".to_owned(), metadata);
    }
    Ok(Value::Object(fields))
}

/// Metadata that the key does not say; usually none.
fn own_metadata(object: &Object) -> Option<Value> {
    let mut metadata = Metadata {
        name: String::new(),
        namespace: None,
        ..object.metadata.clone()
    };
    if object.key.kind == Kind::BlockAffinity {
        metadata
            .labels
            .retain(|label, _| !DERIVED_LABELS.contains(&label.as_str()));
    }
    if metadata == Metadata::default() {
        return None;
    }
    let mut value = serde_json::to_value(metadata).ok()?;
    value.as_object_mut()?.remove("name");
    Some(value)
}

fn metadata_of(key: &Key) -> Metadata {
    Metadata {
        name: key.name.clone(),
        namespace: key.namespace.clone(),
        ..Metadata::default()
    }
}

/// What of a text is told in a fault.
fn beginning(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4 * SHOWN)]);
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}… ({} octets)", &text[..at], bytes.len()),
        None => text.into_owned(),
    }
}

/// Into which language field names are changed.
#[derive(Clone, Copy)]
enum Way {
    Ours,
    Calicos,
}

fn each_attribute(block: &mut Map<String, Value>, way: Way) {
    let attributes = block.get_mut("attributes").and_then(Value::as_array_mut);
    for attribute in attributes.into_iter().flatten() {
        if let Value::Object(attribute) = attribute {
            rename(attribute, &ATTRIBUTE, way);
        }
    }
}

fn rename(fields: &mut Map<String, Value>, names: &[(&str, &str)], way: Way) {
    for (calicos, ours) in names {
        let (from, to) = match way {
            Way::Ours => (calicos, ours),
            Way::Calicos => (ours, calicos),
        };
        if let Some(value) = fields.remove(*from) {
            fields.insert((*to).to_owned(), value);
        }
    }
}

/// Calico's names in etcd, and those of the custom resource, which are ours.
const BLOCK: [(&str, &str); 1] = [("affinity_claim_time", "affinityClaimTime")];
const ATTRIBUTE: [(&str, &str); 1] = [("alternate", "alternateOwnerAttrs")];
const CONFIG: [(&str, &str); 2] = [
    ("strict_affinity", "strictAffinity"),
    ("auto_allocate_blocks", "autoAllocateBlocks"),
];
/// As [`names::affinity_labels`] makes them.
const DERIVED_LABELS: [&str; 3] = [
    "projectcalico.org/hostname-hash",
    "projectcalico.org/affinity-type",
    "projectcalico.org/ip-version",
];
/// So many characters of a text that makes no sense.
const SHOWN: usize = 120;

#[cfg(test)]
mod tests;
