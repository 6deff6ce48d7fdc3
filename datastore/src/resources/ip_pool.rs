//! `IPPool`: where pods' addresses come from, and how they are reached.

use std::collections::BTreeMap;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::fields::string_enum;
use super::{Extra, Resource, fields};
use crate::selector::Selector;
use crate::store::{Kind, Metadata, Stored};

/// The spec of an IPPool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IPPool {
    /// Its addresses.
    #[serde(with = "fields::text")]
    pub cidr: IpNet,
    /// Prefix length of its blocks: 26 or 122 when absent; see [`IPPool::block_prefix_length`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_size: Option<u8>,
    /// When packets to it travel in IPIP.
    #[serde(default, deserialize_with = "fields::null_is_default")]
    pub ipip_mode: Encapsulation,
    /// When packets to it travel in VXLAN.
    #[serde(default, deserialize_with = "fields::null_is_default")]
    pub vxlan_mode: Encapsulation,
    /// Packets that leave all pools are masqueraded.
    #[serde(default, skip_serializing_if = "fields::is_false")]
    pub nat_outgoing: bool,
    /// Nothing new is assigned from it.
    #[serde(default, skip_serializing_if = "fields::is_false")]
    pub disabled: bool,
    /// Its prefixes are not announced.
    #[serde(
        default,
        rename = "disableBGPExport",
        skip_serializing_if = "fields::is_false"
    )]
    pub disable_bgp_export: bool,
    /// Which nodes may take blocks of it.
    #[serde(default = "all", deserialize_with = "selector_or_all")]
    pub node_selector: String,
    /// Which namespaces' pods may have its addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<String>,
    /// What its addresses are for.
    #[serde(
        default = "default_uses",
        deserialize_with = "uses_or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub allowed_uses: Vec<AllowedUse>,
    /// Whether it is used without being asked for by name.
    #[serde(default, deserialize_with = "fields::null_is_default")]
    pub assignment_mode: AssignmentMode,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

string_enum! {
    /// When a pool's packets are encapsulated.
    Encapsulation {
        /// Never.
        #[default]
        Never = "Never",
        /// Always.
        Always = "Always",
        /// Only to nodes outside the own subnets.
        CrossSubnet = "CrossSubnet",
    }
}

string_enum! {
    /// What a pool's addresses may be used for.
    AllowedUse {
        /// Pods.
        #[default]
        Workload = "Workload",
        /// Tunnel devices of nodes.
        Tunnel = "Tunnel",
        /// Services of type LoadBalancer.
        LoadBalancer = "LoadBalancer",
    }
}

string_enum! {
    /// Whether a pool is used without being named.
    AssignmentMode {
        /// It is.
        #[default]
        Automatic = "Automatic",
        /// Only when asked for by name.
        Manual = "Manual",
    }
}

impl IPPool {
    /// A pool with Calico's defaults.
    pub fn new(cidr: IpNet) -> IPPool {
        IPPool {
            cidr,
            block_size: None,
            ipip_mode: Encapsulation::Never,
            vxlan_mode: Encapsulation::Never,
            nat_outgoing: false,
            disabled: false,
            disable_bgp_export: false,
            node_selector: all(),
            namespace_selector: None,
            allowed_uses: default_uses(),
            assignment_mode: AssignmentMode::Automatic,
            extra: Extra::new(),
        }
    }

    /// Prefix length of its blocks.
    pub fn block_prefix_length(&self) -> u8 {
        self.block_size.unwrap_or(match self.cidr {
            IpNet::V4(_) => 26,
            IpNet::V6(_) => 122,
        })
    }

    /// Whether `nodeSelector` selects a node with these labels. A selector that does not parse selects none.
    pub fn selects_node(&self, labels: &BTreeMap<String, String>) -> bool {
        Selector::parse(&self.node_selector).is_ok_and(|selector| selector.matches(labels))
    }

    /// Whether its addresses may be used for that.
    pub fn allows(&self, wanted: AllowedUse) -> bool {
        self.allowed_uses.contains(&wanted)
    }
}

impl Resource for IPPool {
    const KIND: Kind = Kind::IPPool;

    fn validate(&self, _metadata: &Metadata) -> Vec<String> {
        let mut faults = Vec::new();
        fields::host_bits("spec.cidr", &self.cidr, &mut faults);
        let size = self.block_prefix_length();
        let (low, high, link_local) = match self.cidr {
            IpNet::V4(_) => (20, 32, "169.254.0.0/16"),
            IpNet::V6(_) => (116, 128, "fe80::/10"),
        };
        if !(low..=high).contains(&size) {
            faults.push(format!(
                "spec.blockSize: {size} is not between {low} and {high}"
            ));
        } else if size < self.cidr.prefix_len() && !self.disabled {
            faults.push(format!(
                "spec.blockSize: a block of /{size} is larger than the pool {}",
                self.cidr
            ));
        }
        if let Ok(link_local) = link_local.parse::<IpNet>()
            && overlap(&self.cidr, &link_local)
        {
            faults.push(format!(
                "spec.cidr: {} overlaps the link-local range {link_local}",
                self.cidr
            ));
        }
        if self.cidr.addr().is_multicast() || self.cidr.addr().is_loopback() {
            faults.push(format!(
                "spec.cidr: {} is no range of unicast addresses",
                self.cidr
            ));
        }
        if matches!(self.cidr, IpNet::V6(_)) && self.ipip_mode != Encapsulation::Never {
            faults.push(format!(
                "spec.ipipMode: {} on the IPv6 pool {}: IPIP carries IPv4 only",
                self.ipip_mode, self.cidr
            ));
        }
        if self.ipip_mode != Encapsulation::Never && self.vxlan_mode != Encapsulation::Never {
            faults.push(format!(
                "spec.vxlanMode: {} together with ipipMode {}: one of them must be Never",
                self.vxlan_mode, self.ipip_mode
            ));
        }
        fields::selector("spec.nodeSelector", Some(&self.node_selector), &mut faults);
        fields::selector(
            "spec.namespaceSelector",
            self.namespace_selector.as_deref(),
            &mut faults,
        );
        if self.allows(AllowedUse::LoadBalancer) {
            if self.allowed_uses.len() > 1 {
                faults.push(
                    "spec.allowedUses: LoadBalancer cannot stand beside other uses".to_owned(),
                );
            }
            for (field, mode) in [("ipipMode", self.ipip_mode), ("vxlanMode", self.vxlan_mode)] {
                if mode != Encapsulation::Never {
                    faults.push(format!(
                        "spec.{field}: {mode} on a pool for LoadBalancer, whose addresses are on no tunnel's other end"
                    ));
                }
            }
            if self.disable_bgp_export {
                faults.push("spec.disableBGPExport: true on a pool for LoadBalancer".to_owned());
            }
            if self.node_selector != "all()" {
                faults.push(format!(
                    "spec.nodeSelector: {:?} on a pool for LoadBalancer, which needs all()",
                    self.node_selector
                ));
            }
        }
        faults
    }
}

/// Pools that overlap one another, one sentence a pair. Calico refuses to create such a pool.
pub fn overlaps<'a>(pools: impl IntoIterator<Item = &'a Stored<IPPool>>) -> Vec<String> {
    let pools: Vec<&Stored<IPPool>> = pools.into_iter().collect();
    let mut faults = Vec::new();
    for (index, one) in pools.iter().enumerate() {
        for other in &pools[index + 1..] {
            if overlap(&one.spec.cidr, &other.spec.cidr) {
                faults.push(format!(
                    "IPPool {}: spec.cidr: {} overlaps {} of IPPool {}",
                    other.metadata.name, other.spec.cidr, one.spec.cidr, one.metadata.name
                ));
            }
        }
    }
    faults
}

pub(crate) fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(&other.network()) || other.contains(&one.network())
}

fn all() -> String {
    "all()".to_owned()
}

fn selector_or_all<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
    Ok(if text.trim().is_empty() { all() } else { text })
}

fn default_uses() -> Vec<AllowedUse> {
    vec![AllowedUse::Workload, AllowedUse::Tunnel]
}

fn uses_or_default<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<AllowedUse>, D::Error> {
    let uses = Option::<Vec<AllowedUse>>::deserialize(deserializer)?.unwrap_or_default();
    Ok(if uses.is_empty() {
        default_uses()
    } else {
        uses
    })
}
