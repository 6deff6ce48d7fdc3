//! What our objects look like in Kubernetes. Pure: no client, no clock.
//!
//! ```text
//!   Key, Object ──► Place, Name, Write, Deletion ──► client ──► API server
//!   Object      ◄── Reading ◄─────────────── JSON of an answer or a watch
//!
//!   crd        Calico's kinds: custom resources of crd.projectcalico.org/v1, or of projectcalico.org/v3
//!   node       Node: annotations of Kubernetes' Node
//!   pod        WorkloadEndpoint: annotations of a Pod, and what its spec and status say
//!   migration  LiveMigration: KubeVirt's VirtualMachineInstanceMigration, to be read only
//!   native     Secret, Namespace, Service, EndpointSlice: themselves
//! ```
//!
//! Invariant: what somebody else keeps on an object (his labels, annotations, finalizers, status, fields that are new
//! to us) is there after our write as it was before.

mod crd;
mod metadata;
mod migration;
mod native;
mod node;
mod pod;

use std::fmt;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::store::{Key, Kind, Object, Revision, StoreError};

/// What this cluster serves of what we read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Form {
    /// Where Calico's resources are.
    pub(crate) calico: CalicoApi,
    /// `discovery.k8s.io/v1` is served; before Kubernetes 1.21 there is `v1beta1` only.
    pub(crate) slices_v1: bool,
    /// KubeVirt's `VirtualMachineInstanceMigration` is served.
    pub(crate) kubevirt: bool,
}

/// The group in which Calico's resources are custom resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CalicoApi {
    /// `crd.projectcalico.org/v1`, which nearly every installation has.
    CrdV1,
    /// `projectcalico.org/v3`, not of an aggregated API server.
    V3,
}

/// Where the objects of a kind are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// Empty: the core group.
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    /// What Kubernetes calls the kind.
    pub(crate) kind: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) namespaced: bool,
}

/// What Kubernetes calls one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
}

/// Which object of a name, and which state of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) uid: String,
    pub(crate) resource_version: String,
}

/// What an object of Kubernetes is to us.
#[derive(Debug)]
pub(crate) struct Reading {
    /// Whose news it is. `None`: of no object of ours, as of a pod that is on no node.
    pub(crate) key: Option<Key>,
    /// Ok(None): it is not there for us, as a pod without address; whoever knew it may forget it.
    pub(crate) object: Result<Option<Object>, StoreError>,
    /// Somebody began to delete it and may not have come to the end: [`Form::deletion`] says how to go on.
    pub(crate) marked: bool,
}

/// How an object is written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Write {
    /// POST it. Where `status`, PUT it to `/status` then, with the version of the answer.
    Create { value: Value, status: bool },
    /// Where `main`, PUT it; it carries the version that it replaces. Where `status`, PUT it to `/status` (then, with
    /// the version of the answer).
    Replace {
        value: Value,
        main: bool,
        status: bool,
    },
    /// PATCH `/status` with it, as a strategic merge patch; it carries the UID, and the version where there is one.
    PatchStatus(Value),
    /// Nobody can do this through us.
    Refused(String),
}

/// How an object is deleted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Deletion {
    /// DELETE with this version's UID and resourceVersion as preconditions.
    Delete(Version),
    /// PUT this, which marks it as deleted for all readers; then DELETE with the version of the answer.
    MarkFirst(Value),
    /// PATCH `/status` with it, as a strategic merge patch: the object of Kubernetes stays, ours is gone.
    PatchStatus(Value),
    /// Nobody can do this through us.
    Refused(String),
}

impl Form {
    /// Where a kind's objects are. `None`: this cluster serves no such resource, so there are none.
    pub(crate) fn place(&self, kind: Kind) -> Option<Place> {
        let place = |group, version, kind, plural, namespaced| Place {
            group,
            version,
            kind,
            plural,
            namespaced,
        };
        Some(match kind {
            Kind::Node => place("", "v1", "Node", "nodes", false),
            Kind::WorkloadEndpoint => place("", "v1", "Pod", "pods", true),
            Kind::LiveMigration if !self.kubevirt => return None,
            Kind::LiveMigration => migration::PLACE,
            Kind::EndpointSlice => {
                let version = if self.slices_v1 { "v1" } else { "v1beta1" };
                let group = "discovery.k8s.io";
                place(group, version, "EndpointSlice", "endpointslices", true)
            }
            kind if kind.is_of_kubernetes() => {
                place("", "v1", kind.as_str(), kind.plural(), kind.namespaced())
            }
            kind => crd::place(self.calico, kind),
        })
    }

    /// What an object is called there. The error is a sentence: no object can be called so.
    pub(crate) fn name(&self, key: &Key) -> Result<Name, StoreError> {
        let name = match key.kind {
            Kind::WorkloadEndpoint => {
                pod::pod_name(&key.name).map_err(|why| StoreError::invalid(key, why))?
            }
            kind if is_custom(kind) => crd::name(self.calico, key),
            _ => key.name.clone(),
        };
        let namespace = key.namespace.clone().filter(|_| key.kind.namespaced());
        for part in [Some(&name), namespace.as_ref()].into_iter().flatten() {
            if !is_subdomain(part) {
                let why = format!(
                    "metadata.name: {part:?} is not a name in Kubernetes (small letters, digits, '-' and '.')"
                );
                return Err(StoreError::invalid(key, why));
            }
        }
        Ok(Name { namespace, name })
    }

    /// `None`: nothing can have such a name.
    pub(crate) fn path_of_pod(&self, namespace: &str, name: &str) -> Option<String> {
        let valid = is_subdomain(namespace) && is_subdomain(name);
        valid.then(|| format!("/api/v1/namespaces/{namespace}/pods/{name}"))
    }

    /// Reads what an answer or a watch brings.
    pub(crate) fn read(&self, kind: Kind, value: Value) -> Reading {
        match kind {
            Kind::Node => node::read(value),
            Kind::WorkloadEndpoint => pod::read(value),
            Kind::LiveMigration => migration::read(value),
            kind if kind.is_of_kubernetes() => native::read(kind, value),
            kind => crd::read(self.calico, kind, value),
        }
    }

    /// The same of text: of a Pod no more is kept on the way than what is used.
    pub(crate) fn read_text(&self, kind: Kind, text: &str) -> Reading {
        if kind == Kind::WorkloadEndpoint {
            return pod::read_text(text);
        }
        match serde_json::from_str(text) {
            Ok(value) => self.read(kind, value),
            Err(error) => Reading::unreadable(kind, None, format!("is not JSON ({error})")),
        }
    }

    /// Whether [`Form::write`] must know what is there when an object is replaced: others' fields stand beside ours.
    /// All of IPAM's kinds are ours, so that no address costs a read before the write.
    pub(crate) fn needs_current(&self, kind: Kind) -> bool {
        !crd::is_ipams(kind)
    }

    /// Writes an object over `current`, what is there now (`None`: nothing; or, where [`Form::needs_current`] says no, it
    /// was not looked at, and the API server compares the version that the value carries).
    ///
    /// # Errors
    /// `Conflict` when `current` is not of the object's revision, `Exists` when it has none and there is one, `NotFound`
    /// when there is none any more; `Invalid` when no object can look so.
    pub(crate) fn write(
        &self,
        object: &Object,
        current: Option<&Value>,
    ) -> Result<Write, StoreError> {
        let key = &object.key;
        let name = self.name(key)?;
        let there = match current {
            Some(current) => self.read(key.kind, current.clone()).object?,
            None => None,
        };
        match (&object.revision, &there) {
            (None, Some(_)) => return Err(StoreError::Exists(key.clone())),
            (Some(known), Some(there)) if there.revision.as_ref() != Some(known) => {
                return Err(StoreError::Conflict(key.clone()));
            }
            (Some(_), None) if current.is_some() || self.needs_current(key.kind) => {
                return Err(StoreError::NotFound(key.clone()));
            }
            _ => {}
        }
        let write = match (key.kind, self.place(key.kind), current) {
            (Kind::Node, _, None) => Ok(Write::Refused(node::NOT_OURS.to_owned())),
            (Kind::Node, _, Some(current)) => node::write(object, current),
            (Kind::WorkloadEndpoint, _, None) => Ok(Write::Refused(format!(
                "an endpoint is a Pod's here, and there is no Pod {:?}",
                name.name
            ))),
            (Kind::WorkloadEndpoint, _, Some(current)) => {
                pod::write(object, current, there.as_ref())
            }
            (Kind::LiveMigration, ..) | (_, None, _) => {
                Ok(Write::Refused(migration::READ_ONLY.to_owned()))
            }
            (kind, Some(place), current) if kind.is_of_kubernetes() => {
                native::write(object, current, place, &name)
            }
            (_, _, current) => crd::write(self.calico, object, current, &name),
        };
        write.map_err(|why| StoreError::invalid(key, why))
    }

    /// How the object that is there now is deleted; with a revision, only that.
    ///
    /// # Errors
    /// `Conflict` when it is of another revision; `NotFound` when it is none of ours.
    pub(crate) fn deletion(
        &self,
        key: &Key,
        revision: Option<&Revision>,
        current: &Value,
    ) -> Result<Deletion, StoreError> {
        let version = Version::of(current).ok_or_else(|| {
            StoreError::invalid(key, "metadata: has no uid and resourceVersion".to_owned())
        })?;
        let reading = self.read(key.kind, current.clone());
        match reading.object {
            Ok(None) if !reading.marked => return Err(StoreError::NotFound(key.clone())),
            Ok(Some(there))
                if revision.is_some_and(|known| there.revision.as_ref() != Some(known)) =>
            {
                return Err(StoreError::Conflict(key.clone()));
            }
            _ => {}
        }
        match key.kind {
            Kind::Node => Ok(Deletion::Refused(node::NOT_OURS.to_owned())),
            Kind::WorkloadEndpoint => {
                pod::deletion(current, &version).map_err(|why| StoreError::invalid(key, why))
            }
            Kind::LiveMigration => Ok(Deletion::Refused(migration::READ_ONLY.to_owned())),
            _ if reading.marked => Ok(Deletion::Delete(version)),
            kind if kind.is_of_kubernetes() && kind != Kind::Secret => {
                Ok(Deletion::Refused(native::not_ours(kind)))
            }
            kind => Ok(crd::marked(self.calico, kind, current)
                .map_or(Deletion::Delete(version), Deletion::MarkFirst)),
        }
    }
}

impl Place {
    /// As it stands in manifests.
    pub(crate) fn api_version(&self) -> String {
        match self.group {
            "" => self.version.to_owned(),
            group => format!("{group}/{}", self.version),
        }
    }

    /// Path of all objects, or of those of a namespace.
    pub(crate) fn path(&self, namespace: Option<&str>) -> String {
        let root = match self.group {
            "" => "/api",
            _ => "/apis",
        };
        let api = self.api_version();
        match namespace.filter(|_| self.namespaced) {
            Some(namespace) => format!("{root}/{api}/namespaces/{namespace}/{}", self.plural),
            None => format!("{root}/{api}/{}", self.plural),
        }
    }

    /// Path of one object.
    pub(crate) fn path_of(&self, name: &Name) -> String {
        format!("{}/{}", self.path(name.namespace.as_deref()), name.name)
    }
}

impl Version {
    /// Of an object of Kubernetes.
    pub(crate) fn of(value: &Value) -> Option<Version> {
        Self::of_metadata(value.get("metadata")?.as_object()?)
    }

    fn of_metadata(metadata: &Map<String, Value>) -> Option<Version> {
        let text = |field| metadata.get(field).and_then(Value::as_str);
        Some(Version {
            uid: text("uid")?.to_owned(),
            resource_version: text("resourceVersion")?.to_owned(),
        })
    }

    /// Of an object of ours that was read.
    pub(crate) fn of_revision(revision: &Revision) -> Option<Version> {
        let (resource_version, uid) = revision.0.split_once('/')?;
        Some(Version {
            uid: uid.to_owned(),
            resource_version: resource_version.to_owned(),
        })
    }

    pub(crate) fn revision(&self) -> Revision {
        Revision(self.to_string())
    }

    /// The body of a DELETE that deletes this and nothing else.
    pub(crate) fn delete_options(&self) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": self.uid, "resourceVersion": self.resource_version},
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.resource_version, self.uid)
    }
}

impl Reading {
    fn there(object: Object) -> Reading {
        Reading {
            key: Some(object.key.clone()),
            object: Ok(Some(object)),
            marked: false,
        }
    }

    fn absent(key: Option<Key>) -> Reading {
        Reading {
            key,
            object: Ok(None),
            marked: false,
        }
    }

    fn unreadable(kind: Kind, key: Option<Key>, why: String) -> Reading {
        let what = key
            .as_ref()
            .map_or_else(|| format!("a {kind}"), Key::to_string);
        Reading {
            key,
            object: Err(StoreError::Invalid {
                what,
                why: shortened(why),
            }),
            marked: false,
        }
    }
}

/// The revision of an object that is a part of another: it changes with that part only, and not with every heartbeat of
/// a kubelet.
fn revision_of_projection(object: &Object, uid: &str) -> Revision {
    let Object { metadata, spec, .. } = object;
    let said = json!([metadata.labels, metadata.annotations, spec]).to_string();
    let digest = Sha256::digest(said.as_bytes());
    let hex: String = digest
        .iter()
        .take(8)
        .map(|octet| format!("{octet:02x}"))
        .collect();
    Revision(format!("{hex}/{uid}"))
}

/// A patch of annotations that is refused for another object, or another version, than this.
fn patch(version: &Version, annotations: Map<String, Value>) -> Value {
    json!({"metadata": {
        "uid": version.uid,
        "resourceVersion": version.resource_version,
        "annotations": annotations,
    }})
}

/// A fault carries the value, of which the beginning is enough where it is long.
pub(crate) fn shortened(why: String) -> String {
    match why.char_indices().nth(FAULT_MAX) {
        None => why,
        Some((at, _)) => format!("{}... ({} octets)", &why[..at], why.len()),
    }
}

/// Characters of a fault.
const FAULT_MAX: usize = 500;

/// Whether the kind is one of Calico's custom resources.
fn is_custom(kind: Kind) -> bool {
    !kind.is_of_kubernetes()
        && !matches!(
            kind,
            Kind::Node | Kind::WorkloadEndpoint | Kind::LiveMigration
        )
}

/// RFC 1123, as Kubernetes checks names (which also keeps them harmless in a path).
fn is_subdomain(name: &str) -> bool {
    let part = |part: &str| {
        let allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        !part.is_empty()
            && part.bytes().all(allowed)
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(part)
}

/// The metadata of an object of Kubernetes, taken out of it.
fn take_metadata(fields: &mut Map<String, Value>) -> Result<Map<String, Value>, String> {
    match fields.remove("metadata") {
        Some(Value::Object(metadata)) => Ok(metadata),
        _ => Err("metadata: is missing".to_owned()),
    }
}

fn text_of<'a>(fields: &'a Map<String, Value>, field: &str) -> Option<&'a str> {
    fields.get(field).and_then(Value::as_str)
}

#[cfg(test)]
mod tests;
