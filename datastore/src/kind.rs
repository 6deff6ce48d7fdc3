//! The kinds of objects, and what is known of each of them without looking at one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The kinds of this datastore, by their names in Calico and Kubernetes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Kind {
    Node,
    IPPool,
    IPReservation,
    BGPConfiguration,
    BGPPeer,
    BGPFilter,
    IPAMBlock,
    BlockAffinity,
    IPAMHandle,
    IPAMConfig,
    WorkloadEndpoint,
    FelixConfiguration,
    ClusterInformation,
    CalicoNodeStatus,
    HostEndpoint,
    NetworkPolicy,
    GlobalNetworkPolicy,
    NetworkSet,
    GlobalNetworkSet,
    LiveMigration,
    Secret,
    Namespace,
    Service,
    EndpointSlice,
}

/// What is known of a kind.
struct Facts {
    /// As it stands in manifests.
    name: &'static str,
    /// The resource's name in paths of Kubernetes, and in Calico's keys of etcd.
    plural: &'static str,
    /// What else it is called on a command line, in singular and without case.
    short: &'static [&'static str],
    api: Api,
    scope: Scope,
    shape: Shape,
}

/// Whose kind it is.
#[derive(PartialEq, Eq)]
enum Api {
    Calico,
    Core,
    Discovery,
}

enum Scope {
    Cluster,
    Namespaced,
}

enum Shape {
    /// What an object says is its `spec`.
    Spec,
    /// What an object says stands beside its metadata: a status that somebody reads, or no `spec` at all.
    Whole,
}

impl Kind {
    fn facts(self) -> Facts {
        use Api::{Calico, Core, Discovery};
        use Scope::{Cluster, Namespaced};
        use Shape::{Spec, Whole};
        let row = |name, plural, short, api, scope, shape| Facts {
            name,
            plural,
            short,
            api,
            scope,
            shape,
        };
        match self {
            Kind::Node => row("Node", "nodes", &["no"], Calico, Cluster, Spec),
            Kind::IPPool => row("IPPool", "ippools", &["ipp", "pool"], Calico, Cluster, Spec),
            Kind::IPReservation => row(
                "IPReservation",
                "ipreservations",
                &["reservation"],
                Calico,
                Cluster,
                Spec,
            ),
            Kind::BGPConfiguration => row(
                "BGPConfiguration",
                "bgpconfigurations",
                &["bgpconfig"],
                Calico,
                Cluster,
                Spec,
            ),
            Kind::BGPPeer => row(
                "BGPPeer",
                "bgppeers",
                &["bgpp", "bp", "peer"],
                Calico,
                Cluster,
                Spec,
            ),
            Kind::BGPFilter => row(
                "BGPFilter",
                "bgpfilters",
                &["filter"],
                Calico,
                Cluster,
                Spec,
            ),
            Kind::IPAMBlock => row("IPAMBlock", "ipamblocks", &["block"], Calico, Cluster, Spec),
            Kind::BlockAffinity => row(
                "BlockAffinity",
                "blockaffinities",
                &["affinity", "affinitie"],
                Calico,
                Cluster,
                Spec,
            ),
            Kind::IPAMHandle => row(
                "IPAMHandle",
                "ipamhandles",
                &["handle"],
                Calico,
                Cluster,
                Spec,
            ),
            // So it is called in the group projectcalico.org/v3 served as CRDs.
            Kind::IPAMConfig => row(
                "IPAMConfig",
                "ipamconfigs",
                &["ipamconfiguration"],
                Calico,
                Cluster,
                Spec,
            ),
            Kind::WorkloadEndpoint => row(
                "WorkloadEndpoint",
                "workloadendpoints",
                &["wep", "endpoint"],
                Calico,
                Namespaced,
                Spec,
            ),
            Kind::FelixConfiguration => row(
                "FelixConfiguration",
                "felixconfigurations",
                &["felixconfig"],
                Calico,
                Cluster,
                Spec,
            ),
            Kind::ClusterInformation => row(
                "ClusterInformation",
                "clusterinformations",
                &["clusterinfo"],
                Calico,
                Cluster,
                Spec,
            ),
            Kind::CalicoNodeStatus => row(
                "CalicoNodeStatus",
                "caliconodestatuses",
                &["nodestatus", "nodestatuse", "caliconodestatuse"],
                Calico,
                Cluster,
                Whole,
            ),
            Kind::HostEndpoint => row(
                "HostEndpoint",
                "hostendpoints",
                &["hep"],
                Calico,
                Cluster,
                Spec,
            ),
            Kind::NetworkPolicy => row(
                "NetworkPolicy",
                "networkpolicies",
                &["policy", "policie", "np", "pol"],
                Calico,
                Namespaced,
                Spec,
            ),
            Kind::GlobalNetworkPolicy => row(
                "GlobalNetworkPolicy",
                "globalnetworkpolicies",
                &["gnp"],
                Calico,
                Cluster,
                Spec,
            ),
            Kind::NetworkSet => row(
                "NetworkSet",
                "networksets",
                &["netset"],
                Calico,
                Namespaced,
                Spec,
            ),
            Kind::GlobalNetworkSet => row(
                "GlobalNetworkSet",
                "globalnetworksets",
                &["gns", "globalnetset"],
                Calico,
                Cluster,
                Spec,
            ),
            Kind::LiveMigration => row(
                "LiveMigration",
                "livemigrations",
                &["migration"],
                Calico,
                Namespaced,
                Spec,
            ),
            Kind::Secret => row("Secret", "secrets", &[], Core, Namespaced, Whole),
            Kind::Namespace => row("Namespace", "namespaces", &["ns"], Core, Cluster, Whole),
            Kind::Service => row("Service", "services", &["svc"], Core, Namespaced, Whole),
            Kind::EndpointSlice => row(
                "EndpointSlice",
                "endpointslices",
                &["epslice", "slice"],
                Discovery,
                Namespaced,
                Whole,
            ),
        }
    }

    /// All of them, in the order in which they are declared.
    pub fn all() -> &'static [Kind] {
        &[
            Kind::Node,
            Kind::IPPool,
            Kind::IPReservation,
            Kind::BGPConfiguration,
            Kind::BGPPeer,
            Kind::BGPFilter,
            Kind::IPAMBlock,
            Kind::BlockAffinity,
            Kind::IPAMHandle,
            Kind::IPAMConfig,
            Kind::WorkloadEndpoint,
            Kind::FelixConfiguration,
            Kind::ClusterInformation,
            Kind::CalicoNodeStatus,
            Kind::HostEndpoint,
            Kind::NetworkPolicy,
            Kind::GlobalNetworkPolicy,
            Kind::NetworkSet,
            Kind::GlobalNetworkSet,
            Kind::LiveMigration,
            Kind::Secret,
            Kind::Namespace,
            Kind::Service,
            Kind::EndpointSlice,
        ]
    }

    /// As it stands in manifests.
    pub fn as_str(self) -> &'static str {
        self.facts().name
    }

    /// The resource's name in paths of Kubernetes' custom resources `crd.projectcalico.org/v1`, and in Calico's keys
    /// of etcd: lower case.
    pub fn plural(self) -> &'static str {
        self.facts().plural
    }

    /// `apiVersion` of a manifest that is written.
    pub fn api_version(self) -> &'static str {
        match self.facts().api {
            Api::Calico => "projectcalico.org/v3",
            Api::Core => "v1",
            Api::Discovery => "discovery.k8s.io/v1",
        }
    }

    /// Whether it is Kubernetes' own: there it is written by others, in the other backends it may be written through us.
    pub fn is_of_kubernetes(self) -> bool {
        self.facts().api != Api::Calico
    }

    /// Whether its objects live in namespaces.
    pub fn namespaced(self) -> bool {
        matches!(self.facts().scope, Scope::Namespaced)
    }

    /// Whether [`Object::spec`](crate::Object::spec) holds everything beside the metadata (`spec` and `status` where
    /// there are such), and not `spec` alone.
    pub fn is_whole(self) -> bool {
        matches!(self.facts().shape, Shape::Whole)
    }

    /// Where the faults of a typed object's fields begin.
    pub(crate) fn fields_path(self) -> &'static str {
        if self.is_whole() { "" } else { "spec" }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = String;

    /// As tolerant as `calicoctl`: any case, singular or plural, short names.
    fn from_str(text: &str) -> Result<Kind, String> {
        let wanted = text.to_ascii_lowercase();
        let singular = wanted.strip_suffix('s').unwrap_or(&wanted);
        Kind::all()
            .iter()
            .copied()
            .find(|kind| {
                let Facts {
                    name,
                    plural,
                    short,
                    ..
                } = kind.facts();
                let name = name.to_ascii_lowercase();
                name == wanted
                    || name == singular
                    || plural == wanted
                    || short.contains(&singular)
                    || short.contains(&wanted.as_str())
            })
            .ok_or_else(|| {
                let known: Vec<&str> = Kind::all().iter().map(|kind| kind.as_str()).collect();
                format!("there is no kind {text:?}; known are {}", known.join(", "))
            })
    }
}

#[cfg(test)]
mod tests;
