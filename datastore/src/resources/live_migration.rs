//! `LiveMigration`: a pod or virtual machine is moving from one node to another, and keeps its addresses.
//!
//! The object is there while the migration is under way. Calico writes the fields of this kind with a capital letter.

use serde::{Deserialize, Serialize};

use super::{Extra, Resource};
use crate::Selector;
use crate::store::{Kind, Metadata};

/// The spec of a LiveMigration.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LiveMigration {
    /// Where it comes from; may be unknown at first.
    #[serde(default, alias = "Source", skip_serializing_if = "Option::is_none")]
    pub source: Option<MigrationSource>,
    /// Where it goes.
    #[serde(default, alias = "Target", skip_serializing_if = "Option::is_none")]
    pub target: Option<MigrationTarget>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// What moves, exactly one of both.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MigrationSource {
    /// With all its interfaces.
    #[serde(default, alias = "Workload", skip_serializing_if = "Option::is_none")]
    pub workload: Option<WorkloadIdentifier>,
    /// One interface.
    #[serde(
        default,
        alias = "WorkloadEndpoint",
        skip_serializing_if = "Option::is_none"
    )]
    pub workload_endpoint: Option<WorkloadIdentifier>,
}

/// What it becomes, exactly one of both.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MigrationTarget {
    /// WorkloadEndpoints with these labels.
    #[serde(default, alias = "Selector", skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// One interface.
    #[serde(
        default,
        alias = "WorkloadEndpoint",
        skip_serializing_if = "Option::is_none"
    )]
    pub workload_endpoint: Option<WorkloadIdentifier>,
}

/// A workload, or one interface of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadIdentifier {
    /// Its node; of no account for `k8s`, where the workload says enough.
    #[serde(default, alias = "Hostname", skip_serializing_if = "String::is_empty")]
    pub hostname: String,
    /// `k8s`, `openstack`.
    #[serde(rename = "orchestratorID", alias = "OrchestratorID")]
    pub orchestrator_id: String,
    /// Of a pod `<namespace>/<pod>`.
    #[serde(rename = "workloadID", alias = "WorkloadID")]
    pub workload_id: String,
    /// The interface, where one is meant.
    #[serde(
        default,
        rename = "endpointID",
        alias = "EndpointID",
        skip_serializing_if = "String::is_empty"
    )]
    pub endpoint_id: String,
}

impl Resource for LiveMigration {
    const KIND: Kind = Kind::LiveMigration;

    fn validate(&self, _metadata: &Metadata) -> Vec<String> {
        let mut faults = Vec::new();
        if let Some(source) = &self.source {
            if source.workload.is_some() == source.workload_endpoint.is_some() {
                faults.push(
                    "spec.source: has not exactly one of workload and workloadEndpoint".to_owned(),
                );
            }
            check(&source.workload, "spec.source.workload", false, &mut faults);
            let endpoint = &source.workload_endpoint;
            check(endpoint, "spec.source.workloadEndpoint", true, &mut faults);
        }
        if let Some(target) = &self.target {
            if target.selector.is_some() == target.workload_endpoint.is_some() {
                faults.push(
                    "spec.target: has not exactly one of selector and workloadEndpoint".to_owned(),
                );
            }
            if let Some(selector) = &target.selector
                && let Err(why) = Selector::parse(selector)
            {
                faults.push(format!("spec.target.selector: {selector:?}: {why}"));
            }
            let endpoint = &target.workload_endpoint;
            check(endpoint, "spec.target.workloadEndpoint", true, &mut faults);
        }
        faults
    }
}

fn check(named: &Option<WorkloadIdentifier>, path: &str, one: bool, faults: &mut Vec<String>) {
    let Some(named) = named else {
        return;
    };
    let mut needed = vec![
        ("orchestratorID", &named.orchestrator_id),
        ("workloadID", &named.workload_id),
    ];
    if one {
        needed.push(("endpointID", &named.endpoint_id));
    }
    if named.orchestrator_id != "k8s" {
        needed.push(("hostname", &named.hostname));
    }
    for (field, value) in needed {
        if value.is_empty() {
            faults.push(format!("{path}.{field}: is empty"));
        }
    }
}
