//! Workloads that move from node to node with their addresses: what part one of ours has in it, and how its routes stand
//! meanwhile. Pure.
//!
//! ```text
//!            is a target                announces itself              the migration ends              convergence time
//! Settled ─┬─────────────► Awaited ─────────────────┬─────► Live ───────────────────────► Settling ────────────────► Settled
//!   ▲      │ and has its     ▲ │                    │        │                              ▲  │
//!   │      │ route already   │ └────────────────────┼────────┼── the migration ends ────────┘  │
//!   │      └───► Asked ──────┘ no answer            │        │                                 │
//!   │              └────────────────────────────────┘        │                                 │
//!   └───────────────────────────── is a source: it moves on ─┴─────────────────────────────────┘
//! ```
//!
//! *Asked* is not Calico's. There a workload loses its route when a migration names it, though it may run here already: at each
//! restart of the agent during a migration, or when the object is made anew.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use caracal_datastore::resources::{LiveMigration, WorkloadIdentifier};
use caracal_datastore::{Selector, Stored};
use caracal_fib::Standing;

pub(crate) mod question;

/// Calico's.
pub(crate) const CONVERGENCE: Duration = Duration::from_secs(30);

/// Ten years.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

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
    // Calico's driver for OpenStack puts the namespace in front.
    let is_workload = |named: &str| {
        let rest = named.strip_prefix(namespace);
        let rest = rest.and_then(|rest| rest.strip_prefix('/'));
        named == who.workload || rest == Some(who.workload.as_str())
    };
    let is = |named: &WorkloadIdentifier| {
        named.orchestrator_id == who.orchestrator
            && is_workload(&named.workload_id)
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
    /// It may run here, since it had its route (`elevated`: as one that has just come) before a migration named it. `until`:
    /// it has been asked, and answers by then.
    Asked {
        until: Option<Instant>,
        elevated: bool,
    },
    /// It runs elsewhere still.
    Awaited,
    /// It runs here, and the migration is not over.
    Live,
    /// The migration is over, but not every node may know the new way.
    Settling { until: Instant },
}

/// What is known of a workload beside its phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Its part in a migration now.
    pub(crate) role: Option<Role>,
    pub(crate) route: Routed,
    /// It has an IPv4 address, and it would be heard.
    pub(crate) can_answer: bool,
}

/// Whether the kernel has a workload's route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Routed {
    No,
    Yes,
    /// From before the agent's start. One that a migration names then had come already.
    Before,
}

impl Phase {
    /// What follows from the present facts.
    pub(crate) fn next(self, facts: Facts, now: Instant, convergence: Duration) -> Phase {
        let settling = Phase::Settling {
            // Without an end where a clock cannot count so far.
            until: now.checked_add(convergence).unwrap_or(now + FOREVER),
        };
        let asked = facts.can_answer.then(|| now + question::PATIENCE);
        match (self, facts.role) {
            (_, Some(Role::Source)) => Phase::Settled,
            (Phase::Settled, Some(Role::Target)) if facts.route != Routed::No => Phase::Asked {
                until: asked,
                elevated: facts.route == Routed::Before,
            },
            (Phase::Asked { until, elevated }, Some(Role::Target)) => match (until, asked) {
                // Whether it is there cannot be known: it keeps what it has.
                (_, None) => Phase::Asked {
                    until: None,
                    elevated,
                },
                (Some(until), Some(_)) if now >= until => Phase::Awaited,
                (until, asked) => Phase::Asked {
                    until: until.or(asked),
                    elevated,
                },
            },
            (Phase::Settled | Phase::Awaited, Some(Role::Target)) => Phase::Awaited,
            (Phase::Live | Phase::Settling { .. }, Some(Role::Target)) => Phase::Live,
            // Its announcement may have been missed (Awaited), as in Calico.
            (Phase::Live | Phase::Awaited | Phase::Asked { elevated: true, .. }, None) => settling,
            (Phase::Settling { until }, None) if now < until => self,
            (_, None) => Phase::Settled,
        }
    }

    /// It is asked now, or not yet: its patience begins now.
    pub(crate) fn asked_at(self, now: Instant) -> Phase {
        match self {
            Phase::Asked {
                until: Some(_),
                elevated,
            } => Phase::Asked {
                until: Some(now + question::PATIENCE),
                elevated,
            },
            phase => phase,
        }
    }

    /// The workload has announced itself here.
    pub(crate) fn heard(self) -> Phase {
        match self {
            Phase::Awaited | Phase::Asked { .. } => Phase::Live,
            phase => phase,
        }
    }

    /// It is to come, or may be here.
    pub(crate) fn is_expected(self) -> bool {
        matches!(self, Phase::Awaited | Phase::Asked { .. })
    }

    /// It has just come.
    pub(crate) fn is_elevated(self) -> bool {
        self.standing(false) == Standing::Elevated
    }

    /// When time alone changes it.
    pub(crate) fn until(self) -> Option<Instant> {
        match self {
            Phase::Settling { until } => Some(until),
            Phase::Asked { until, .. } => until,
            Phase::Settled | Phase::Awaited | Phase::Live => None,
        }
    }

    /// How its routes stand. `outranked`: another node announces the same address as one that has just come there.
    pub(crate) fn standing(self, outranked: bool) -> Standing {
        match self {
            Phase::Awaited => Standing::Awaited,
            Phase::Live | Phase::Settling { .. } | Phase::Asked { elevated: true, .. } => {
                Standing::Elevated
            }
            Phase::Settled | Phase::Asked { .. } if outranked => Standing::Awaited,
            Phase::Settled | Phase::Asked { .. } => Standing::Normal,
        }
    }
}

#[cfg(test)]
mod tests;
