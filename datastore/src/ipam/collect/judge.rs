//! Whether an address is in use, by its attributes and by who says that he uses it. Pure.
//!
//! What an allocation says decides who may speak for it: a pod's by the records of pods, whoever attached the pod; a
//! tunnel's by its node. Everything else (virtual machines, load balancers, what a later Calico may write) is nobody's
//! business here and stays.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::snapshot::Users;
use crate::resources::Attribute;

/// What is to be thought of an allocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// This one uses it.
    InUse(String),
    /// Nobody does, and why that is believed.
    Leaked(String),
    /// It is of a kind that is not judged here.
    Unknown,
}

/// Calico's types of tunnel addresses.
const TUNNELS: [&str; 5] = [
    "ipipTunnelAddress",
    "vxlanTunnelAddress",
    "vxlanV6TunnelAddress",
    "wireguardTunnelAddress",
    "wireguardV6TunnelAddress",
];

/// `siblings`: the other addresses of the handle. All of a handle are used, or none.
pub fn judge(
    address: IpAddr,
    attribute: &Attribute,
    siblings: &[IpAddr],
    users: &Users,
) -> Verdict {
    let all = std::iter::once(&address).chain(siblings);
    if let Some(user) = all.filter_map(|address| users.of_address(address)).next() {
        return Verdict::InUse(user.to_owned());
    }
    if let Some(user) = users.perhaps(attribute) {
        return Verdict::InUse(user);
    }
    match Owner::of(attribute) {
        None => Verdict::Unknown,
        Some(Owner::Tunnel { node }) if users.has_node(node) => {
            Verdict::InUse(format!("a tunnel of node {node}"))
        }
        Some(Owner::Tunnel { node }) => Verdict::Leaked(format!("its node {node} is gone")),
        // Its container is not known, so that the pod's name must do.
        Some(Owner::OldPod { namespace, pod }) => match users.has_pod(namespace, pod) {
            true => Verdict::InUse(format!("pod {namespace}/{pod}")),
            false => Verdict::Leaked(format!("there is no pod {namespace}/{pod}")),
        },
        Some(Owner::Container { container, .. }) if users.has_container(container) => {
            Verdict::InUse(format!("container {container}"))
        }
        Some(Owner::Container { node, pod, .. }) => Verdict::Leaked(match pod {
            _ if !users.has_node(node) => format!("its node {node} is gone"),
            None => "there is no record of its container".to_owned(),
            Some((namespace, pod)) if users.has_pod(namespace, pod) => {
                format!("pod {namespace}/{pod} has another container and other addresses")
            }
            Some((namespace, pod)) => format!("there is no pod {namespace}/{pod}"),
        }),
    }
}

/// Who was given an address.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Owner<'a> {
    Tunnel {
        node: &'a str,
    },
    /// With the handle `<namespace>.<pod>` of Calico before 3.0.
    OldPod {
        namespace: &'a str,
        pod: &'a str,
    },
    /// With the handle `<network>.<containerID>`.
    Container {
        node: &'a str,
        container: &'a str,
        pod: Option<(&'a str, &'a str)>,
    },
}

impl<'a> Owner<'a> {
    pub(super) fn of(attribute: &'a Attribute) -> Option<Owner<'a>> {
        let handle = attribute.handle_id.as_deref()?;
        let handle = handle.split('\r').next().unwrap_or_default();
        let said = &attribute.secondary;
        let strange = !attribute.alternate_owner_attrs.is_empty() || !attribute.extra.is_empty();
        if strange || attribute.released_at.is_some() {
            return None;
        }
        let node = said.get("node")?.as_str();
        if has_only(said, &["node", "type"]) {
            let of_tunnel = TUNNELS.contains(&said.get("type")?.as_str());
            return of_tunnel.then_some(Owner::Tunnel { node });
        }
        if !has_only(said, &["node", "namespace", "pod", "timestamp"]) {
            return None;
        }
        let pod = match (said.get("namespace"), said.get("pod")) {
            (Some(namespace), Some(pod)) => Some((namespace.as_str(), pod.as_str())),
            (None, None) => None,
            _ => return None,
        };
        if let Some((namespace, pod)) = pod
            && handle.strip_prefix(namespace) == Some(&format!(".{pod}"))
        {
            return Some(Owner::OldPod { namespace, pod });
        }
        // Without a pod only the time tells that a CNI plugin has written this.
        if pod.is_none() && !said.contains_key("timestamp") {
            return None;
        }
        let (network, container) = handle.rsplit_once('.')?;
        (!network.is_empty() && !container.is_empty()).then_some(Owner::Container {
            node,
            container,
            pod,
        })
    }
}

fn has_only(said: &BTreeMap<String, String>, known: &[&str]) -> bool {
    said.keys().all(|key| known.contains(&key.as_str()))
}
