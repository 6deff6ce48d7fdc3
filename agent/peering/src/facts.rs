//! What matters about a node and about the whole cluster, defaults applied.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use caracal_datastore::Stored;
use caracal_datastore::resources::{BGPConfiguration, BGPPeer, Node};
use caracal_datastore::selector::Selector;

use crate::{Defaults, View};

/// A node as its peers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeFacts<'a> {
    pub(crate) name: &'a str,
    pub(crate) labels: &'a BTreeMap<String, String>,
    pub(crate) asn: u32,
    pub(crate) ipv4: Option<IpNet>,
    pub(crate) ipv6: Option<IpNet>,
    pub(crate) cluster_id: Option<Ipv4Addr>,
    pub(crate) listen_port: u16,
}

impl NodeFacts<'_> {
    /// Its address in the family of `other`.
    pub(crate) fn address_like(&self, other: IpAddr) -> Option<IpAddr> {
        if other.is_ipv4() {
            self.ipv4
        } else {
            self.ipv6
        }
        .map(|net| net.addr())
    }

    /// Its addresses, IPv4 first.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.ipv4.into_iter().chain(self.ipv6).map(|net| net.addr())
    }

    pub(crate) fn has(&self, address: IpAddr) -> bool {
        self.addresses().any(|own| own == address)
    }
}

/// The facts of every node that has BGP, in order of name.
pub(crate) fn nodes<'a>(view: &'a View, defaults: &Defaults) -> Vec<NodeFacts<'a>> {
    view.nodes
        .iter()
        .filter_map(|(name, node)| node_facts(name, node, view, defaults))
        .collect()
}

/// `None`: the node takes no part in BGP (no `spec.bgp`, or no address in it).
pub(crate) fn node_facts<'a>(
    name: &'a str,
    node: &'a Stored<Node>,
    view: &View,
    defaults: &Defaults,
) -> Option<NodeFacts<'a>> {
    let bgp = node.spec.bgp.as_ref()?;
    let cluster_asn = cluster(view).and_then(|configuration| configuration.as_number);
    let facts = NodeFacts {
        name,
        labels: &node.metadata.labels,
        asn: bgp.as_number.or(cluster_asn).unwrap_or(defaults.asn),
        ipv4: bgp.ipv4_address.map(IpNet::V4),
        ipv6: bgp.ipv6_address.map(IpNet::V6),
        cluster_id: bgp.route_reflector_cluster_id,
        listen_port: listen_port(view, name, defaults),
    };
    (facts.ipv4.is_some() || facts.ipv6.is_some()).then_some(facts)
}

/// The BGPConfiguration of the whole cluster.
pub(crate) const DEFAULT: &str = "default";

/// BGPConfiguration `default`.
pub(crate) fn cluster(view: &View) -> Option<&BGPConfiguration> {
    view.configurations.get(DEFAULT).map(|stored| &stored.spec)
}

fn listen_port(view: &View, node: &str, defaults: &Defaults) -> u16 {
    let own = view
        .configurations
        .get(&format!("node.{node}"))
        .and_then(|stored| stored.spec.listen_port);
    own.or_else(|| cluster(view).and_then(|configuration| configuration.listen_port))
        .unwrap_or(defaults.listen_port)
}

/// The nodes that a BGPPeer is about, parsed once.
#[derive(Debug)]
pub(crate) enum Scope<'a> {
    Everyone,
    Named(&'a str),
    Selected(Selector),
}

impl<'a> Scope<'a> {
    /// Whose peer it is.
    pub(crate) fn local(peer: &'a BGPPeer) -> Result<Scope<'a>, String> {
        match (text(&peer.node), text(&peer.node_selector)) {
            (Some(node), _) => Ok(Scope::Named(node)),
            (None, Some(selector)) => Scope::selected("spec.nodeSelector", selector),
            (None, None) => Ok(Scope::Everyone),
        }
    }

    pub(crate) fn selected(field: &str, selector: &str) -> Result<Scope<'a>, String> {
        Selector::parse(selector)
            .map(Scope::Selected)
            .map_err(|why| format!("{field}: `{selector}`: {why}"))
    }

    pub(crate) fn contains(&self, node: &NodeFacts<'_>) -> bool {
        match self {
            Scope::Everyone => true,
            Scope::Named(name) => *name == node.name,
            Scope::Selected(selector) => selector.matches(node.labels),
        }
    }
}

/// What a field says; an empty string is absent, as in Calico.
pub(crate) fn text(field: &Option<String>) -> Option<&str> {
    field.as_deref().filter(|text| !text.is_empty())
}
