//! `CalicoNodeStatus`: a question about one node, asked in `spec`, and the node's answer in `status`.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::fields::string_enum;
use super::{Extra, Resource, fields};
use crate::store::{Kind, Metadata};

/// A CalicoNodeStatus without its metadata.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CalicoNodeStatus {
    /// The question.
    pub spec: NodeStatusQuestion,
    /// The answer; absent until there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<NodeStatusAnswer>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// What is asked of whom, and how often.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeStatusQuestion {
    /// The node that is to answer.
    pub node: String,
    /// What is asked for.
    #[serde(deserialize_with = "fields::null_is_default")]
    pub classes: Vec<NodeStatusClass>,
    /// Seconds between answers, a day at most; 0: no (further) answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_period_seconds: Option<u32>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

string_enum! {
    /// A part of the answer.
    NodeStatusClass {
        /// Whether the node's BGP works, for each family.
        #[default]
        Agent = "Agent",
        /// Its sessions.
        BGP = "BGP",
        /// Its routes.
        Routes = "Routes",
    }
}

/// What the node answers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeStatusAnswer {
    /// When, in RFC 3339 and UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_updated: Option<String>,
    /// For the class `Agent`.
    #[serde(deserialize_with = "fields::null_is_default")]
    pub agent: AgentAnswer,
    /// For the class `BGP`.
    #[serde(deserialize_with = "fields::null_is_default")]
    pub bgp: BgpAnswer,
    /// For the class `Routes`.
    #[serde(deserialize_with = "fields::null_is_default")]
    pub routes: RoutesAnswer,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Whether BGP works. The two daemons of Calico are one process here, which answers for both.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AgentAnswer {
    /// For IPv4.
    pub bird_v4: DaemonAnswer,
    /// For IPv6.
    pub bird_v6: DaemonAnswer,
}

/// The state of a BGP daemon.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DaemonAnswer {
    /// `Ready` or `NotReady`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub state: String,
    /// Its version.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Its BGP identifier.
    #[serde(rename = "routerID", skip_serializing_if = "String::is_empty")]
    pub router_id: String,
    /// When it started.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub last_boot_time: String,
    /// When its configuration last changed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub last_reconfiguration_time: String,
}

/// Sessions by family.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BgpAnswer {
    /// IPv4 sessions that are established.
    pub number_established_v4: usize,
    /// Those that are not.
    pub number_not_established_v4: usize,
    /// IPv6 sessions that are established.
    pub number_established_v6: usize,
    /// Those that are not.
    pub number_not_established_v6: usize,
    /// Peers with an IPv4 address.
    #[serde(
        deserialize_with = "fields::null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub peers_v4: Vec<PeerAnswer>,
    /// Peers with an IPv6 address.
    #[serde(
        deserialize_with = "fields::null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub peers_v6: Vec<PeerAnswer>,
}

/// One session.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PeerAnswer {
    /// The peer's address.
    #[serde(rename = "peerIP", skip_serializing_if = "String::is_empty")]
    pub peer_ip: String,
    /// `NodeMesh`, `NodePeer` or `GlobalPeer`.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub peer_type: String,
    /// `Idle`, `Connect`, `Active`, `OpenSent`, `OpenConfirm`, `Established`, `Close`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub state: String,
    /// Since when.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub since: String,
}

/// Routes by family.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RoutesAnswer {
    /// IPv4 routes.
    #[serde(
        deserialize_with = "fields::null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub routes_v4: Vec<RouteAnswer>,
    /// IPv6 routes.
    #[serde(
        deserialize_with = "fields::null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub routes_v6: Vec<RouteAnswer>,
}

/// One route.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteAnswer {
    /// `FIB` when packets follow it, else `RIB`.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub route_type: String,
    /// The prefix.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub destination: String,
    /// The next hop, or `N/A`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub gateway: String,
    /// The device.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub interface: String,
    /// Where it comes from.
    pub learned_from: LearnedFrom,
}

/// Where a route comes from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LearnedFrom {
    /// `Kernel`, `Static`, `Direct`, `NodeMesh` or `BGPPeer`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source_type: String,
    /// For the last two, which peer.
    #[serde(rename = "peerIP", skip_serializing_if = "String::is_empty")]
    pub peer_ip: String,
}

/// A day.
const UPDATE_PERIOD_SECONDS_MAX: u32 = 86_400;

impl Resource for CalicoNodeStatus {
    const KIND: Kind = Kind::CalicoNodeStatus;

    fn validate(&self, _metadata: &Metadata) -> Vec<String> {
        let mut faults = Vec::new();
        let question = &self.spec;
        if question.node.is_empty() {
            faults.push("spec.node: is missing".to_owned());
        } else {
            fields::name("spec.node", &question.node, &mut faults);
        }
        if question.classes.is_empty() {
            faults.push("spec.classes: is missing: Agent, BGP, Routes".to_owned());
        }
        let mut seen = BTreeSet::new();
        for (index, class) in question.classes.iter().enumerate() {
            if !seen.insert(class) {
                faults.push(format!("spec.classes[{index}]: {class} is there twice"));
            }
        }
        match question.update_period_seconds {
            None => faults.push("spec.updatePeriodSeconds: is missing".to_owned()),
            Some(seconds) if seconds > UPDATE_PERIOD_SECONDS_MAX => faults.push(format!(
                "spec.updatePeriodSeconds: {seconds} is not between 0 and {UPDATE_PERIOD_SECONDS_MAX}"
            )),
            Some(_) => {}
        }
        faults
    }
}
