//! Calico's kinds: names, fields and meaning as in `projectcalico.org/v3`; and some of Kubernetes. One file a kind.
//!
//! Every spec keeps unknown fields (`extra`), and `validate` says what is wrong with which field.

mod bgp_configuration;
mod bgp_filter;
mod bgp_peer;
mod block_affinity;
mod calico_node_status;
mod cluster_information;
mod felix_configuration;
mod fields;
mod host_endpoint;
mod ip_pool;
mod ip_reservation;
mod ipam_block;
mod ipam_config;
mod ipam_handle;
mod kubernetes;
mod live_migration;
mod metadata;
mod network_policy;
mod network_set;
mod node;
mod policy_rule;
mod port;
mod secret;
mod timestamp;
mod workload_endpoint;

use std::collections::BTreeMap;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::store::{Kind, Metadata, Object, StoreError, Stored};

pub use bgp_configuration::{
    BGPConfiguration, BindMode, CidrEntry, Community, PrefixAdvertisement, ProgramClusterRoutes,
    Toggle,
};
pub use bgp_filter::{
    BGPFilter, BGPFilterRule, FilterAction, FilterCommunities, MatchOperator, PrefixLength,
};
pub use bgp_peer::{
    BGPPeer, NextHopMode, Password, PeerAddress, ReversePeering, SecretKeyRef, SourceAddress,
};
pub use block_affinity::{AffinityState, AffinityType, BlockAffinity};
pub use calico_node_status::{
    AgentAnswer, BgpAnswer, CalicoNodeStatus, DaemonAnswer, LearnedFrom, NodeStatusAnswer,
    NodeStatusClass, NodeStatusQuestion, PeerAnswer, RouteAnswer, RoutesAnswer,
};
pub use cluster_information::ClusterInformation;
pub use felix_configuration::{
    FelixConfiguration, NatOutgoingExclusions, PortRange, ServiceLoopPrevention,
    WorkloadSourceSpoofing,
};
pub use host_endpoint::{HostEndpoint, NamedPort};
pub(crate) use ip_pool::overlap;
pub use ip_pool::{AllowedUse, AssignmentMode, Encapsulation, IPPool, overlaps};
pub use ip_reservation::IPReservation;
pub use ipam_block::{Attribute, IPAMBlock};
pub use ipam_config::IPAMConfig;
pub use ipam_handle::IPAMHandle;
pub use kubernetes::{
    EndpointSlice, LoadBalancerIngress, LoadBalancerStatus, Namespace, SERVICE_NAME_LABEL, Service,
    ServiceSpec, ServiceStatus, SliceConditions, SliceEndpoint, SlicePort,
};
pub use live_migration::{LiveMigration, MigrationSource, MigrationTarget, WorkloadIdentifier};
pub use network_policy::{GlobalNetworkPolicy, NetworkPolicy, PolicyType, types_of};
pub use network_set::{GlobalNetworkSet, NetworkSet};
pub use node::{Node, NodeAddress, NodeBgp};
pub use policy_rule::{
    Action, EntityRule, HttpMatch, HttpPath, IcmpMatch, Rule, RuleMetadata, ServiceAccountMatch,
    ServiceMatch,
};
pub use port::{Port, Protocol};
pub(crate) use secret::fold_string_data;
pub use secret::{Secret, SecretValue};
pub use timestamp::Timestamp;
pub use workload_endpoint::{EndpointPort, IpNat, WorkloadEndpoint};

/// Fields that we do not know, kept so that a read-modify-write loses nothing.
pub type Extra = BTreeMap<String, Value>;

/// A kind of resource.
pub trait Resource: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// Its kind.
    const KIND: Kind;
    /// What is wrong with it: `spec.cidr: 10.0.0.1/16 has host bits set`. Empty: fine.
    fn validate(&self, metadata: &Metadata) -> Vec<String>;
}

/// What is wrong with an object of any kind that is read, one sentence a fault, field path first. Empty: fine.
pub fn faults_of(object: &Object) -> Vec<String> {
    match object.key.kind {
        Kind::Node => faults_as::<Node>(object),
        Kind::IPPool => faults_as::<IPPool>(object),
        Kind::BGPConfiguration => faults_as::<BGPConfiguration>(object),
        Kind::BGPPeer => faults_as::<BGPPeer>(object),
        Kind::BGPFilter => faults_as::<BGPFilter>(object),
        Kind::IPAMBlock => faults_as::<IPAMBlock>(object),
        Kind::BlockAffinity => faults_as::<BlockAffinity>(object),
        Kind::IPAMHandle => faults_as::<IPAMHandle>(object),
        Kind::IPAMConfig => faults_as::<IPAMConfig>(object),
        Kind::WorkloadEndpoint => faults_as::<WorkloadEndpoint>(object),
        Kind::FelixConfiguration => faults_as::<FelixConfiguration>(object),
        Kind::LiveMigration => faults_as::<LiveMigration>(object),
        Kind::Secret => faults_as::<Secret>(object),
        Kind::IPReservation => faults_as::<IPReservation>(object),
        Kind::ClusterInformation => faults_as::<ClusterInformation>(object),
        Kind::CalicoNodeStatus => faults_as::<CalicoNodeStatus>(object),
        Kind::HostEndpoint => faults_as::<HostEndpoint>(object),
        Kind::NetworkPolicy => faults_as::<NetworkPolicy>(object),
        Kind::GlobalNetworkPolicy => faults_as::<GlobalNetworkPolicy>(object),
        Kind::NetworkSet => faults_as::<NetworkSet>(object),
        Kind::GlobalNetworkSet => faults_as::<GlobalNetworkSet>(object),
        Kind::Namespace => faults_as::<Namespace>(object),
        Kind::Service => faults_as::<Service>(object),
        Kind::EndpointSlice => faults_as::<EndpointSlice>(object),
    }
}

/// The same of one that is to be written.
pub fn faults_of_written(object: &Object) -> Vec<String> {
    let mut faults = faults_of(object);
    faults.extend(metadata::faults(&object.metadata));
    if object.key.kind == Kind::FelixConfiguration
        && let Ok(felix) = Stored::<FelixConfiguration>::read_spec(object)
    {
        faults.extend(felix.faults_when_written());
    }
    if object.key.kind == Kind::BGPConfiguration
        && let Ok(bgp) = Stored::<BGPConfiguration>::read_spec(object)
    {
        faults.extend(bgp.faults_when_written());
    }
    faults
}

/// `Invalid` with all faults of one that is to be written, if it has any.
pub(crate) fn check_written(object: &Object) -> Result<(), StoreError> {
    let faults = faults_of_written(object);
    if faults.is_empty() {
        return Ok(());
    }
    Err(StoreError::invalid(&object.key, faults.join("; ")))
}

fn faults_as<R: Resource>(object: &Object) -> Vec<String> {
    match Stored::<R>::read_spec(object) {
        Ok(spec) => {
            let mut faults = fields::name_faults(&object.key);
            faults.extend(spec.validate(&object.metadata));
            faults
        }
        Err(fault) => vec![fault],
    }
}

#[cfg(test)]
mod tests;
