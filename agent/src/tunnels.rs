//! Tunnel addresses of this node: taken from IPAM when a pool needs the tunnel, written to the Node resource,
//! released when no pool does.

use std::collections::BTreeMap;
use std::net::IpAddr;

use caracal_datastore::ipam::{AssignRequest, Ipam, IpamError, Purpose};
use caracal_datastore::resources::Node;
use caracal_datastore::{StoreError, Stored, TypedStore};
use caracal_fib::Encapsulation;
use ipnet::IpNet;
use sha1::{Digest, Sha1};

use crate::ways::Pool;

/// One of Calico's tunnels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tunnel {
    Ipip,
    Vxlan,
    VxlanV6,
}

impl Tunnel {
    pub(crate) const ALL: [Tunnel; 3] = [Tunnel::Ipip, Tunnel::Vxlan, Tunnel::VxlanV6];

    /// Which tunnel a pool's packets may need.
    pub(crate) fn of_pool(pool: &Pool) -> Option<Tunnel> {
        match (pool.encapsulation, pool.cidr) {
            (Encapsulation::None, _) => None,
            (Encapsulation::Ipip(_), _) => Some(Tunnel::Ipip),
            (Encapsulation::Vxlan(_), IpNet::V4(_)) => Some(Tunnel::Vxlan),
            (Encapsulation::Vxlan(_), IpNet::V6(_)) => Some(Tunnel::VxlanV6),
        }
    }

    fn handle(self, node: &str) -> String {
        match self {
            Tunnel::Ipip => format!("ipip-tunnel-addr-{node}"),
            Tunnel::Vxlan => format!("vxlan-tunnel-addr-{node}"),
            Tunnel::VxlanV6 => format!("vxlan-v6-tunnel-addr-{node}"),
        }
    }

    fn attribute(self) -> &'static str {
        match self {
            Tunnel::Ipip => "ipipTunnelAddress",
            Tunnel::Vxlan => "vxlanTunnelAddress",
            Tunnel::VxlanV6 => "vxlanV6TunnelAddress",
        }
    }
}

/// Why a tunnel address could not be had or given back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TunnelFault {
    #[error("tunnel address: {0}")]
    Ipam(#[from] IpamError),
    #[error("tunnel address: {0}")]
    Store(#[from] StoreError),
}

/// Makes IPAM and the Node resource agree with what the pools need. When IPAM's records have been lost, the node keeps the
/// addresses that its resource records.
pub(crate) async fn tend(
    node: &str,
    pools: &[Pool],
    ipam: &Ipam,
    store: &TypedStore,
    records_lost: bool,
) -> Result<(), TunnelFault> {
    let stored = store.get::<Node>(node).await?;
    let mut addresses = Vec::new();
    for tunnel in Tunnel::ALL {
        let needing = || {
            pools
                .iter()
                .filter(|pool| pool.unusable.is_none() && Tunnel::of_pool(pool) == Some(tunnel))
        };
        let handle = tunnel.handle(node);
        if needing().next().is_none() {
            ipam.release_handle(&handle).await?;
            addresses.push((tunnel, None));
            continue;
        }
        let assigning: Vec<&Pool> = needing().filter(|pool| pool.may_assign()).collect();
        if assigning.is_empty() {
            // What lives on in disabled pools keeps the address that the node has.
            continue;
        }
        // The address that the node has already, should IPAM's records have been lost.
        let recorded = recorded(&stored, tunnel)
            .filter(|_| records_lost)
            .filter(|address| assigning.iter().any(|pool| pool.cidr.contains(address)));
        let attributes = BTreeMap::from([
            ("node".to_owned(), node.to_owned()),
            ("type".to_owned(), tunnel.attribute().to_owned()),
        ]);
        let v4 = tunnel != Tunnel::VxlanV6;
        let wish = AssignRequest {
            handle,
            attributes,
            ipv4: v4,
            ipv6: !v4,
            pools: assigning.iter().map(|pool| pool.name.clone()).collect(),
            addresses: recorded.into_iter().collect(),
            purpose: Purpose::Tunnel,
        };
        let assigned = match ipam.assign(wish.clone()).await {
            Err(IpamError::NotAvailable { .. }) if !wish.addresses.is_empty() => {
                ipam.assign(AssignRequest {
                    addresses: Vec::new(),
                    ..wish
                })
                .await?
            }
            outcome => outcome?,
        };
        addresses.push((tunnel, assigned.first().map(|assigned| assigned.address)));
    }
    record(node, &addresses, store).await
}

/// Writes what differs; a conflict means that somebody else wrote, so it is read again.
async fn record(
    node: &str,
    addresses: &[(Tunnel, Option<IpAddr>)],
    store: &TypedStore,
) -> Result<(), TunnelFault> {
    loop {
        let Some(stored) = store.get::<Node>(node).await? else {
            return Ok(());
        };
        let mut wanted = stored.clone();
        for (tunnel, address) in addresses {
            set(&mut wanted, *tunnel, *address);
        }
        if wanted.spec == stored.spec {
            return Ok(());
        }
        match store.update(wanted).await {
            Err(StoreError::Conflict(_)) => continue,
            outcome => return outcome.map(drop).map_err(TunnelFault::from),
        }
    }
}

fn recorded(node: &Option<Stored<Node>>, tunnel: Tunnel) -> Option<IpAddr> {
    let spec = &node.as_ref()?.spec;
    Some(match tunnel {
        Tunnel::Ipip => spec.bgp.as_ref()?.ipv4_ipip_tunnel_addr?.into(),
        Tunnel::Vxlan => spec.ipv4_vxlan_tunnel_addr?.into(),
        Tunnel::VxlanV6 => spec.ipv6_vxlan_tunnel_addr?.into(),
    })
}

fn set(node: &mut Stored<Node>, tunnel: Tunnel, address: Option<IpAddr>) {
    let v4 = |address| match address {
        IpAddr::V4(v4) => Some(v4),
        IpAddr::V6(_) => None,
    };
    let v6 = |address| match address {
        IpAddr::V6(v6) => Some(v6),
        IpAddr::V4(_) => None,
    };
    match tunnel {
        Tunnel::Ipip => {
            if let Some(bgp) = &mut node.spec.bgp {
                bgp.ipv4_ipip_tunnel_addr = address.and_then(v4);
            }
        }
        Tunnel::Vxlan => node.spec.ipv4_vxlan_tunnel_addr = address.and_then(v4),
        Tunnel::VxlanV6 => node.spec.ipv6_vxlan_tunnel_addr = address.and_then(v6),
    }
}

/// The MAC of a node's VXLAN device when its resource names none: `f` and the first five octets of SHA-1 of the node's
/// name (IPv6: of the name and `-v6`), as Calico derives it.
pub(crate) fn derived_mac(node: &str, v6: bool) -> [u8; 6] {
    let text = if v6 {
        format!("{node}-v6")
    } else {
        node.to_owned()
    };
    let digest = Sha1::digest(text.as_bytes());
    let mut mac = [b'f', 0, 0, 0, 0, 0];
    for (octet, source) in mac[1..].iter_mut().zip(digest.iter()) {
        *octet = *source;
    }
    mac
}
