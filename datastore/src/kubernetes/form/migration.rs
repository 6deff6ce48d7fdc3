//! `LiveMigration`: KubeVirt's `VirtualMachineInstanceMigration`, for as long as it is under way.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Place, Reading};
use crate::store::{Key, Kind, Metadata, Object};

/// Why nobody writes one.
pub(super) const READ_ONLY: &str =
    "a LiveMigration is KubeVirt's VirtualMachineInstanceMigration here, which is only read";

pub(super) const PLACE: Place = Place {
    group: "kubevirt.io",
    version: "v1",
    kind: "VirtualMachineInstanceMigration",
    plural: "virtualmachineinstancemigrations",
    namespaced: true,
};

/// From the target's scheduling, so that its node knows what it is before the pod is there, to the end. A failed one is
/// told too, as Calico tells it: the source goes on.
const UNDER_WAY: [&str; 6] = [
    "Scheduling",
    "Scheduled",
    "PreparingTarget",
    "TargetReady",
    "Running",
    "Failed",
];

#[derive(Deserialize)]
struct Migration {
    metadata: Own,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Own {
    name: String,
    namespace: String,
    #[serde(default)]
    uid: String,
    #[serde(default)]
    labels: Option<std::collections::BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(default)]
    vmi_name: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(default)]
    phase: String,
    #[serde(default)]
    migration_state: Option<State>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct State {
    #[serde(default)]
    source_pod: String,
}

pub(super) fn read(value: Value) -> Reading {
    let migration: Migration = match serde_json::from_value(value) {
        Ok(migration) => migration,
        Err(error) => return Reading::unreadable(Kind::LiveMigration, None, error.to_string()),
    };
    let Migration {
        metadata,
        spec,
        status,
    } = migration;
    let key = Key::in_namespace(Kind::LiveMigration, &metadata.namespace, &metadata.name);
    let under_way = UNDER_WAY.contains(&status.phase.as_str());
    if !under_way || spec.vmi_name.is_empty() || metadata.uid.is_empty() {
        return Reading::absent(Some(key));
    }
    // The target's pod has the migration's UID, and its machine in one of two labels: the first since KubeVirt 1.7.
    let (machine, uid) = (&spec.vmi_name, &metadata.uid);
    let selector = format!(
        "(vmi.kubevirt.io/id == '{machine}' || vm.kubevirt.io/name == '{machine}') && kubevirt.io/migrationJobUID == '{uid}'"
    );
    let mut own = json!({"target": {"selector": selector}});
    let source = status.migration_state.map(|state| state.source_pod);
    if let Some(pod) = source.filter(|pod| !pod.is_empty()) {
        let workload = format!("{}/{pod}", metadata.namespace);
        own["source"] = json!({"workload": {"orchestratorID": "k8s", "workloadID": workload}});
    }
    let mut object = Object {
        metadata: Metadata {
            name: key.name.clone(),
            namespace: key.namespace.clone(),
            labels: metadata.labels.unwrap_or_default(),
            ..Metadata::default()
        },
        key,
        spec: own,
        revision: None,
    };
    object.revision = Some(super::revision_of_projection(&object, &metadata.uid));
    Reading::there(object)
}
