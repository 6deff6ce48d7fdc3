//! Workloads that move from node to node with their addresses: what part one of ours has in it, and how its routes stand
//! meanwhile. Pure.
//!
//! ```text
//!            is a target                announces itself              the migration ends              convergence time
//! Settled ───────────────► Awaited ───────────────────────► Live ───────────────────────► Settling ────────────────► Settled
//!   ▲  ▲                      │                              │                               │
//!   │  └── the migration ends ┘                              │                               │
//!   └───────────────────────────── is a source: it moves on ─┴───────────────────────────────┘
//! ```

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use caracal_datastore::resources::{LiveMigration, WorkloadIdentifier};
use caracal_datastore::{Selector, Stored};
use caracal_fib::Standing;

/// Calico's.
pub(crate) const CONVERGENCE: Duration = Duration::from_secs(30);

/// What migrations know a workload by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    /// `k8s`, `cni`, `openstack`.
    pub(crate) orchestrator: String,
    /// Of a pod `<namespace>/<pod>`.
    pub(crate) workload: String,
    pub(crate) labels: BTreeMap<String, String>,
}

/// A workload's part in a migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Source,
    Target,
}

/// The part that this node's workload has. One that has come and already moves on is a source.
pub(crate) fn role<'a>(
    migrations: impl IntoIterator<Item = &'a Stored<LiveMigration>>,
    node: &str,
    namespace: &str,
    endpoint: &str,
    who: &Identity,
) -> Option<Role> {
    let is = |named: &WorkloadIdentifier| {
        named.orchestrator_id == who.orchestrator
            && named.workload_id == who.workload
            && (named.orchestrator_id == "k8s" || named.hostname == node)
    };
    let is_endpoint = |named: &WorkloadIdentifier| is(named) && named.endpoint_id == endpoint;
    let mut found = None;
    for migration in migrations {
        if let Some(source) = &migration.spec.source
            && (source.workload.as_ref().is_some_and(is)
                || source.workload_endpoint.as_ref().is_some_and(is_endpoint))
        {
            return Some(Role::Source);
        }
        let Some(target) = &migration.spec.target else {
            continue;
        };
        let selected = target.selector.as_deref().is_some_and(|selector| {
            migration.metadata.namespace.as_deref() == Some(namespace)
                // Validation let in none that does not parse.
                && Selector::parse(selector).is_ok_and(|selector| selector.matches(&who.labels))
        });
        if selected || target.workload_endpoint.as_ref().is_some_and(is_endpoint) {
            found = Some(Role::Target);
        }
    }
    found
}

/// How far a workload's arrival is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It does not arrive.
    #[default]
    Settled,
    /// It runs elsewhere still.
    Awaited,
    /// It runs here, and the migration is not over.
    Live,
    /// The migration is over, but not every node may know the new way.
    Settling { until: Instant },
}

impl Phase {
    /// What follows from the part that it has now.
    pub(crate) fn next(self, role: Option<Role>, now: Instant, convergence: Duration) -> Phase {
        match (self, role) {
            (_, Some(Role::Source)) => Phase::Settled,
            (Phase::Settled | Phase::Awaited, Some(Role::Target)) => Phase::Awaited,
            (Phase::Live | Phase::Settling { .. }, Some(Role::Target)) => Phase::Live,
            (Phase::Live, None) => Phase::Settling {
                until: now + convergence,
            },
            (Phase::Settling { until }, None) if now < until => self,
            (_, None) => Phase::Settled,
        }
    }

    /// The workload has announced itself here.
    pub(crate) fn heard(self) -> Phase {
        match self {
            Phase::Awaited => Phase::Live,
            phase => phase,
        }
    }

    /// How its routes stand. `outranked`: another node announces the same address as one that has just come there.
    pub(crate) fn standing(self, outranked: bool) -> Standing {
        match self {
            Phase::Awaited => Standing::Awaited,
            Phase::Live | Phase::Settling { .. } => Standing::Elevated,
            Phase::Settled if outranked => Standing::Awaited,
            Phase::Settled => Standing::Normal,
        }
    }
}

#[cfg(test)]
mod tests;
