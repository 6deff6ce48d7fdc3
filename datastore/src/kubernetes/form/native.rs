//! Kubernetes' own kinds that are kinds of ours as they are: Secret, Namespace, Service, EndpointSlice.
//!
//! A Secret is read and written. The others belong to Kubernetes: they are read, and nobody writes them through us.

use serde_json::{Map, Value};

use super::{Name, Place, Reading, Version, Write, metadata, take_metadata, text_of};
use crate::store::{Key, Kind, Metadata, Object};

/// What of a kind that is only read is of use to nobody here, and large.
const UNUSED: [&str; 2] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    "endpoints.kubernetes.io/last-change-trigger-time",
];

pub(super) fn read(kind: Kind, value: Value) -> Reading {
    let Value::Object(mut fields) = value else {
        return Reading::unreadable(kind, None, "is not a JSON object".to_owned());
    };
    let own = match take_metadata(&mut fields) {
        Ok(own) => own,
        Err(why) => return Reading::unreadable(kind, None, why),
    };
    let Some(name) = text_of(&own, "name").map(str::to_owned) else {
        return Reading::unreadable(kind, None, "metadata.name: is missing".to_owned());
    };
    let namespace = text_of(&own, "namespace").map(str::to_owned);
    let key = Key {
        kind,
        namespace: namespace.filter(|_| kind.namespaced()),
        name,
    };
    let revision = Version::of_metadata(&own).map(|version| version.revision());
    let mut metadata = match metadata::read(own) {
        Ok(metadata) => metadata,
        Err(why) => return Reading::unreadable(kind, Some(key), why),
    };
    fields.remove("apiVersion");
    fields.remove("kind");
    if kind != Kind::Secret {
        slim(&mut metadata);
    }
    if kind == Kind::EndpointSlice {
        endpoints_as_v1(&mut fields);
    }
    Reading::there(Object {
        key,
        metadata,
        spec: Value::Object(fields),
        revision,
    })
}

pub(super) fn write(
    object: &Object,
    current: Option<&Value>,
    place: Place,
    name: &Name,
) -> Result<Write, String> {
    let kind = object.key.kind;
    if kind != Kind::Secret {
        return Ok(Write::Refused(not_ours(kind)));
    }
    let version = object.revision.as_ref().and_then(Version::of_revision);
    let mut fields = match &object.spec {
        Value::Object(fields) => fields.clone(),
        Value::Null => Map::new(),
        _ => return Err("is not an object".to_owned()),
    };
    // What cannot change after the creation.
    let old_type = current.and_then(|current| current.get("type"));
    if let Some(old_type) = old_type
        && !fields.contains_key("type")
    {
        fields.insert("type".to_owned(), old_type.clone());
    }
    fields.insert("apiVersion".to_owned(), place.api_version().into());
    fields.insert("kind".to_owned(), place.kind.into());
    let own = metadata::write(&object.metadata, name, version.as_ref());
    fields.insert("metadata".to_owned(), Value::Object(own));
    let value = Value::Object(fields);
    Ok(match version {
        None => Write::Create {
            value,
            status: false,
        },
        Some(_) => Write::Replace {
            value,
            main: true,
            status: false,
        },
    })
}

/// Why nobody writes or deletes one here.
pub(super) fn not_ours(kind: Kind) -> String {
    format!("a {kind} is Kubernetes' own here: kubectl writes and deletes it")
}

fn slim(metadata: &mut Metadata) {
    for unused in UNUSED {
        metadata.annotations.remove(unused);
    }
    let kept = ["creationTimestamp", "uid"];
    metadata
        .extra
        .retain(|field, _| kept.contains(&field.as_str()));
}

/// Before `discovery.k8s.io/v1` an endpoint's node and zone stood in its topology.
fn endpoints_as_v1(fields: &mut Map<String, Value>) {
    let endpoints = fields.get_mut("endpoints").and_then(Value::as_array_mut);
    let endpoints = endpoints
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut);
    for endpoint in endpoints {
        let Some(Value::Object(mut topology)) = endpoint.remove("topology") else {
            continue;
        };
        for (label, field) in [
            ("kubernetes.io/hostname", "nodeName"),
            ("topology.kubernetes.io/zone", "zone"),
        ] {
            if let Some(value) = topology.remove(label) {
                endpoint.entry(field).or_insert(value);
            }
        }
    }
}
