//! Calico's kinds as custom resources.
//!
//! The same resources stand in one of two groups. `crd.projectcalico.org/v1` was made to be Calico's private store: see
//! [`metadata`]; an affinity's `deleted` is a text there, and a policy's name begins with its tier's.
//! `projectcalico.org/v3` is what people see, with nothing between.

use serde_json::{Map, Value};

use super::{CalicoApi, Name, Place, Reading, Version, Write, metadata, take_metadata, text_of};
use crate::store::{Key, Kind, Metadata, Object};

/// Where the kind's resources are.
pub(super) fn place(api: CalicoApi, kind: Kind) -> Place {
    let (group, version) = match api {
        CalicoApi::CrdV1 => ("crd.projectcalico.org", "v1"),
        CalicoApi::V3 => ("projectcalico.org", "v3"),
    };
    let (kind_there, plural) = match (api, kind) {
        (CalicoApi::V3, Kind::IPAMConfig) => ("IPAMConfiguration", "ipamconfigurations"),
        _ => (kind.as_str(), kind.plural()),
    };
    Place {
        group,
        version,
        kind: kind_there,
        plural,
        namespaced: kind.namespaced(),
    }
}

/// What the custom resource is called.
pub(super) fn name(api: CalicoApi, key: &Key) -> String {
    match key.kind {
        // Calico's store of handles had case, Kubernetes has none. The handle stands in the spec.
        Kind::IPAMHandle => key.name.to_lowercase(),
        kind if api == CalicoApi::CrdV1 && is_policy(kind) && !key.name.contains('.') => {
            format!("{TIER_DEFAULT}{}", key.name)
        }
        _ => key.name.clone(),
    }
}

/// Whether the kind is one of address management, which only programs write, field by field known.
pub(super) fn is_ipams(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::IPAMBlock | Kind::BlockAffinity | Kind::IPAMHandle
    )
}

pub(super) fn read(api: CalicoApi, kind: Kind, value: Value) -> Reading {
    let Value::Object(mut fields) = value else {
        return Reading::unreadable(kind, None, "is not a JSON object".to_owned());
    };
    let marked = is_marked(kind, &fields);
    let handle = fields
        .get("spec")
        .and_then(|spec| spec.get("handleID")?.as_str())
        .filter(|handle| kind == Kind::IPAMHandle && !handle.is_empty())
        .map(str::to_owned);
    let mut own = match take_metadata(&mut fields) {
        Ok(own) => own,
        Err(why) => return Reading::unreadable(kind, None, why),
    };
    own.remove("managedFields");
    let Some(name) = text_of(&own, "name").map(str::to_owned) else {
        return Reading::unreadable(kind, None, "metadata.name: is missing".to_owned());
    };
    let namespace = text_of(&own, "namespace").map(str::to_owned);
    let revision = Version::of_metadata(&own).map(|version| version.revision());
    let mut key = Key {
        kind,
        namespace: namespace.filter(|_| kind.namespaced()),
        name: handle.unwrap_or(name),
    };
    let read = match api {
        CalicoApi::CrdV1 => metadata::read_v1(own),
        CalicoApi::V3 => metadata::read(own).map(|metadata| (metadata, None)),
    };
    let (metadata, kept_name) = match read {
        Ok(read) => read,
        Err(why) => return Reading::unreadable(kind, Some(key), why),
    };
    if is_policy(kind)
        && let Some(kept) = kept_name.or_else(|| shown_policy(api, &key.name))
    {
        key.name = kept;
    }
    if marked {
        return Reading {
            marked,
            ..Reading::absent(Some(key))
        };
    }
    let spec = match kind.is_whole() {
        true => {
            fields.remove("apiVersion");
            fields.remove("kind");
            Value::Object(fields)
        }
        false => fields.remove("spec").unwrap_or(Value::Null),
    };
    Reading::there(Object {
        metadata: Metadata {
            name: key.name.clone(),
            namespace: key.namespace.clone(),
            ..metadata
        },
        key,
        spec,
        revision,
    })
}

pub(super) fn write(
    api: CalicoApi,
    object: &Object,
    current: Option<&Value>,
    name: &Name,
) -> Result<Write, String> {
    let kind = object.key.kind;
    let place = place(api, kind);
    let version = object.revision.as_ref().and_then(Version::of_revision);
    let current = current.and_then(Value::as_object);
    let current_metadata = current.and_then(|current| current.get("metadata")?.as_object());
    let own = |metadata: &Metadata| match api {
        CalicoApi::CrdV1 => {
            let kept_name = is_policy(kind).then_some(object.key.name.as_str());
            metadata::write_v1(
                metadata,
                name,
                version.as_ref(),
                current_metadata,
                kept_name,
            )
        }
        CalicoApi::V3 => metadata::write(metadata, name, version.as_ref()),
    };
    let mut spec = object.spec.clone();
    let metadata = match is_ipams(kind) {
        true => {
            let mut metadata = object.metadata.clone();
            // It is the custom resource's own.
            metadata.extra.remove("creationTimestamp");
            if kind == Kind::BlockAffinity {
                complete_affinity(&mut spec, &mut metadata.labels);
            }
            let deleted = is_true(spec.get("deleted"));
            mark(api, kind, &mut spec, deleted);
            own(&metadata)
        }
        false => own(&object.metadata),
    };

    // Of a kind that is whole all fields are the object's own.
    let mut fields = match current {
        Some(current) if !kind.is_whole() => current.clone(),
        _ => Map::new(),
    };
    match (kind.is_whole(), spec) {
        (true, Value::Object(whole)) => fields.extend(whole),
        (true, _) => return Err("is not an object".to_owned()),
        (false, spec) => drop(fields.insert("spec".to_owned(), spec)),
    }
    fields.insert("apiVersion".to_owned(), place.api_version().into());
    fields.insert("kind".to_owned(), place.kind.into());
    fields.insert("metadata".to_owned(), Value::Object(metadata));

    let status_changes = kind == Kind::CalicoNodeStatus
        && fields.get("status") != current.and_then(|current| current.get("status"))
        && fields.contains_key("status");
    if version.is_none() {
        return Ok(Write::Create {
            value: Value::Object(fields),
            status: status_changes,
        });
    }
    let metadata_changes = current_metadata.is_none_or(|current| {
        let written = ["labels", "annotations"];
        written
            .iter()
            .any(|field| current.get(*field) != fields["metadata"].get(*field))
    });
    let main = !status_changes
        || metadata_changes
        || current.and_then(|current| current.get("spec")) != fields.get("spec");
    Ok(Write::Replace {
        value: Value::Object(fields),
        main,
        status: status_changes,
    })
}

/// The same custom resource marked as deleted. `None`: its kind has no mark.
pub(super) fn marked(api: CalicoApi, kind: Kind, current: &Value) -> Option<Value> {
    if !is_ipams(kind) || current.get("spec").is_none_or(|spec| !spec.is_object()) {
        return None;
    }
    let mut value = current.clone();
    let fields = value.as_object_mut()?;
    if let Some(Value::Object(metadata)) = fields.get_mut("metadata") {
        metadata.remove("managedFields");
    }
    mark(api, kind, fields.get_mut("spec")?, true);
    Some(value)
}

fn is_marked(kind: Kind, fields: &Map<String, Value>) -> bool {
    is_ipams(kind) && is_true(fields.get("spec").and_then(|spec| spec.get("deleted")))
}

fn is_true(value: Option<&Value>) -> bool {
    match value {
        Some(Value::Bool(value)) => *value,
        Some(Value::String(text)) => text == "true",
        _ => false,
    }
}

fn mark(api: CalicoApi, kind: Kind, spec: &mut Value, deleted: bool) {
    let Value::Object(spec) = spec else {
        return;
    };
    let value = match (api, kind) {
        // Somebody took it for a text once, and the schema has said so since.
        (CalicoApi::CrdV1, Kind::BlockAffinity) => Value::String(deleted.to_string()),
        _ => Value::Bool(deleted),
    };
    spec.insert("deleted".to_owned(), value);
}

/// The type, which our text leaves out where it is a host's, and the labels by which Calico lists affinities.
fn complete_affinity(spec: &mut Value, labels: &mut std::collections::BTreeMap<String, String>) {
    let Value::Object(fields) = spec else {
        return;
    };
    let affinity_type = text_of(fields, "type").filter(|text| !text.is_empty());
    let affinity_type = affinity_type.unwrap_or("host").to_owned();
    if let (Some(node), Some(cidr)) = (text_of(fields, "node"), text_of(fields, "cidr"))
        && let Ok(cidr) = cidr.parse()
    {
        labels.extend(crate::ipam::names::affinity_labels(node, &cidr));
        let label = "projectcalico.org/affinity-type".to_owned();
        labels.insert(label, affinity_type.clone());
    }
    fields.insert("type".to_owned(), affinity_type.into());
}

fn is_policy(kind: Kind) -> bool {
    matches!(kind, Kind::NetworkPolicy | Kind::GlobalNetworkPolicy)
}

/// What people call the policy of a custom resource whose annotation has no name.
fn shown_policy(api: CalicoApi, name: &str) -> Option<String> {
    let shown = name.strip_prefix(TIER_DEFAULT);
    shown.filter(|_| api == CalicoApi::CrdV1).map(str::to_owned)
}

/// What Calico puts before the name of a policy in the tier `default`.
const TIER_DEFAULT: &str = "default.";
