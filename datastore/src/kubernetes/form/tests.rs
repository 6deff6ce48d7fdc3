//! Objects as Calico and Kubernetes write them, both ways.

mod crd;
mod metadata;
mod node;
mod others;
mod pod;

use serde_json::{Value, json};

use super::metadata::METADATA;
use super::*;

const V1: Form = Form {
    calico: CalicoApi::CrdV1,
    slices_v1: true,
    kubevirt: true,
};
const V3: Form = Form {
    calico: CalicoApi::V3,
    slices_v1: true,
    kubevirt: true,
};

/// Reads what must be there.
fn there(form: Form, kind: Kind, value: &Value) -> Object {
    let reading = form.read(kind, value.clone());
    let object = reading.object.unwrap().expect("it is there");
    assert_eq!(reading.key.as_ref(), Some(&object.key));
    assert_eq!(
        crate::resources::faults_of(&object),
        [""; 0],
        "{value}: our types read it"
    );
    object
}

/// What a write makes of an object that is there, with what the API server keeps.
fn replaced(form: Form, object: &Object, current: &Value) -> Value {
    match form.write(object, Some(current)).unwrap() {
        Write::Replace { mut value, .. } => {
            if let Some(made) = current["metadata"].get("creationTimestamp") {
                value["metadata"]["creationTimestamp"] = made.clone();
            }
            value
        }
        other => panic!("{other:?} replaces nothing"),
    }
}

/// Without what the API server keeps for itself, and without the text of JSON in an annotation.
fn meaning(value: &Value) -> Value {
    let mut value = value.clone();
    let metadata = value["metadata"].as_object_mut().unwrap();
    for field in [
        "managedFields",
        "generation",
        "creationTimestamp",
        "selfLink",
    ] {
        metadata.remove(field);
    }
    if let Some(Value::Object(annotations)) = metadata.get_mut("annotations")
        && let Some(Value::String(text)) = annotations.get(METADATA)
    {
        let mut kept: Value = serde_json::from_str(text).unwrap();
        kept.as_object_mut()
            .unwrap()
            .retain(|_, value| !value.is_null());
        annotations.insert(METADATA.to_owned(), kept);
    }
    value
}

/// What a merge patch makes of an object, as the API server does it (RFC 7386), with another version.
fn patched(value: &Value, patch: &Value) -> Value {
    fn merge(target: &mut Value, patch: &Value) {
        let Value::Object(patch) = patch else {
            *target = patch.clone();
            return;
        };
        if !target.is_object() {
            *target = json!({});
        }
        let fields = target.as_object_mut().unwrap();
        for (field, value) in patch {
            match value {
                Value::Null => drop(fields.remove(field)),
                value => merge(fields.entry(field.clone()).or_insert(Value::Null), value),
            }
        }
    }
    for field in ["uid", "resourceVersion"] {
        assert_eq!(
            patch["metadata"][field], value["metadata"][field],
            "a patch is for one object"
        );
    }
    let mut value = value.clone();
    merge(&mut value, patch);
    let version: u64 = value["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    value["metadata"]["resourceVersion"] = json!((version + 1).to_string());
    value
}

#[test]
fn a_kind_has_its_place() {
    for (form, kind, path) in [
        (V1, Kind::IPPool, "/apis/crd.projectcalico.org/v1/ippools"),
        (
            V1,
            Kind::IPAMConfig,
            "/apis/crd.projectcalico.org/v1/ipamconfigs",
        ),
        (
            V3,
            Kind::IPAMConfig,
            "/apis/projectcalico.org/v3/ipamconfigurations",
        ),
        (
            V1,
            Kind::BlockAffinity,
            "/apis/crd.projectcalico.org/v1/blockaffinities",
        ),
        (
            V1,
            Kind::CalicoNodeStatus,
            "/apis/crd.projectcalico.org/v1/caliconodestatuses",
        ),
        (
            V1,
            Kind::NetworkPolicy,
            "/apis/crd.projectcalico.org/v1/namespaces/red/networkpolicies",
        ),
        (V1, Kind::Node, "/api/v1/nodes"),
        (V1, Kind::WorkloadEndpoint, "/api/v1/namespaces/red/pods"),
        (V3, Kind::Secret, "/api/v1/namespaces/red/secrets"),
        (
            V3,
            Kind::EndpointSlice,
            "/apis/discovery.k8s.io/v1/namespaces/red/endpointslices",
        ),
        (
            V1,
            Kind::LiveMigration,
            "/apis/kubevirt.io/v1/namespaces/red/virtualmachineinstancemigrations",
        ),
    ] {
        let place = form.place(kind).unwrap();
        assert_eq!(place.path(Some("red")), path);
        let name = Name {
            namespace: place.namespaced.then(|| "red".to_owned()),
            name: "a".to_owned(),
        };
        assert_eq!(place.path_of(&name), format!("{path}/a"));
    }
    let old = Form {
        slices_v1: false,
        kubevirt: false,
        ..V1
    };
    assert_eq!(old.place(Kind::LiveMigration), None);
    assert_eq!(old.place(Kind::EndpointSlice).unwrap().version, "v1beta1");
    for kind in Kind::all() {
        assert!(V1.place(*kind).is_some(), "{kind}");
    }
}

#[test]
fn a_key_has_its_name_and_others_are_refused_with_a_sentence() {
    let name = |form: Form, kind, name: &str| {
        let key = match kind {
            Kind::WorkloadEndpoint | Kind::NetworkPolicy => Key::in_namespace(kind, "red", name),
            _ => Key::new(kind, name),
        };
        form.name(&key).map(|name| name.name)
    };
    for (form, kind, ours, theirs) in [
        (
            V1,
            Kind::IPPool,
            "default-ipv4-ippool",
            "default-ipv4-ippool",
        ),
        (
            V1,
            Kind::IPAMHandle,
            "k8s-pod-network.AbC",
            "k8s-pod-network.abc",
        ),
        (
            V1,
            Kind::BlockAffinity,
            "node-1-fd00-1--40-122",
            "node-1-fd00-1--40-122",
        ),
        (V1, Kind::NetworkPolicy, "allow-dns", "default.allow-dns"),
        (
            V1,
            Kind::NetworkPolicy,
            "security.allow-dns",
            "security.allow-dns",
        ),
        (V3, Kind::NetworkPolicy, "allow-dns", "allow-dns"),
        (
            V1,
            Kind::WorkloadEndpoint,
            "node--1-k8s-web--0-eth0",
            "web-0",
        ),
        (V1, Kind::WorkloadEndpoint, "n-k8s-my.pod-eth0", "my.pod"),
    ] {
        assert_eq!(name(form, kind, ours).unwrap(), theirs, "{kind} {ours}");
    }
    for (kind, bad) in [
        (Kind::IPPool, "Pool"),
        (Kind::IPPool, "../secrets"),
        (Kind::IPPool, ""),
        (Kind::IPPool, "a..b"),
        (Kind::IPAMHandle, "k8s-pod-network.a\r"),
        (Kind::WorkloadEndpoint, "node-k8s-pod"),
        (Kind::WorkloadEndpoint, "node-cni-0123-eth0"),
        (Kind::WorkloadEndpoint, "node-k8s-pod-net1"),
        (Kind::WorkloadEndpoint, "a-node-k8s-pod-eth0"),
    ] {
        let why = name(V1, kind, bad).unwrap_err().to_string();
        assert!(why.contains(&format!("{bad:?}")), "{why}");
    }
}
