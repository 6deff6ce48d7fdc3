//! Tunnel devices of this node, and what is known of the other ends (docs/adr/0009-staged-encapsulation.md).
//!
//! | a pool asks for it | our Node resource names its address | the device |
//! |---|---|---|
//! | yes | no matter | is desired, with the address that IPAM has given (at a start: that of the resource) |
//! | no | yes | is desired, and leaves: when no route uses it, its address leaves the resource |
//! | no | no | stays as it is while another node's resource names one of this kind |

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use caracal_datastore::Stored;
use caracal_datastore::resources::{FelixConfiguration, Node};
use caracal_fib::model::IpipDevice;
use caracal_fib::{TunnelSet, Tunnels, Vtep, VxlanDevice};

use super::Own;
use crate::cluster::Cluster;
use crate::settings;
use crate::tunnels::{Tunnel, derived_mac, recorded};
use crate::ways::Pool;

/// Calico's VXLAN network identifier.
const VXLAN_VNI: u32 = 4096;

/// What a plan says of tunnels.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Ends {
    pub(super) tunnels: Tunnels,
    /// By node address.
    pub(super) vteps: BTreeMap<IpAddr, Vtep>,
    /// Addresses of nodes whose resource names no IPIP address, while that matters.
    pub(super) without_ipip: BTreeSet<IpAddr>,
}

pub(super) fn ends(
    cluster: &Cluster,
    own: Own<'_>,
    pools: &[Pool],
    felix: &FelixConfiguration,
) -> Ends {
    let usable = pools.iter().filter(|pool| pool.unusable.is_none());
    let needed: Vec<Tunnel> = usable.filter_map(Tunnel::of_pool).collect();
    let node = cluster.view.nodes.get(own.node);
    let others = || {
        let nodes = cluster.view.nodes.iter();
        nodes.filter(|(name, _)| *name != own.node)
    };
    let mut ends = Ends::default();
    for tunnel in Tunnel::ALL {
        let named = node.and_then(|node| recorded(node, tunnel));
        let is_needed = needed.contains(&tunnel);
        let given = own.assigned.of(tunnel).filter(|_| is_needed);
        let address = given.or(named);
        let leaving = address.is_some() && !is_needed;
        if let Some(address) = address {
            set_device(&mut ends.tunnels, tunnel, address, own, node, felix);
        }
        *member(&mut ends.tunnels.leaving, tunnel) = leaving;
        *member(&mut ends.tunnels.awaited, tunnel) =
            !is_needed && others().any(|(_, node)| recorded(node, tunnel).is_some());
        if !is_needed && !leaving {
            continue;
        }
        for (name, node) in others() {
            let Some(at) = node_address(node, tunnel == Tunnel::VxlanV6) else {
                continue;
            };
            match (tunnel, recorded(node, tunnel)) {
                (Tunnel::Ipip, None) => {
                    ends.without_ipip.insert(at);
                }
                (Tunnel::Vxlan | Tunnel::VxlanV6, Some(address)) => {
                    let mac = mac(name, Some(node), tunnel);
                    ends.vteps.insert(at, Vtep { address, mac });
                }
                _ => {}
            }
        }
    }
    ends
}

/// Addresses of the devices.
pub(super) fn addresses(tunnels: &Tunnels) -> impl Iterator<Item = IpAddr> + use<> {
    let ipip = tunnels.ipip.as_ref();
    let addresses = [
        ipip.map(|tunnel| IpAddr::V4(tunnel.address)),
        tunnels.vxlan.as_ref().map(|tunnel| tunnel.address),
        tunnels.vxlan_v6.as_ref().map(|tunnel| tunnel.address),
    ];
    addresses.into_iter().flatten()
}

/// Addresses of those that pools ask for.
pub(super) fn staying(tunnels: &Tunnels) -> impl Iterator<Item = IpAddr> + use<> {
    let leaving = tunnels.leaving;
    let ipip = tunnels.ipip.as_ref().filter(|_| !leaving.ipip);
    let vxlan = tunnels.vxlan.as_ref().filter(|_| !leaving.vxlan);
    let vxlan_v6 = tunnels.vxlan_v6.as_ref().filter(|_| !leaving.vxlan_v6);
    let addresses = [
        ipip.map(|tunnel| IpAddr::V4(tunnel.address)),
        vxlan.map(|tunnel| tunnel.address),
        vxlan_v6.map(|tunnel| tunnel.address),
    ];
    addresses.into_iter().flatten()
}

fn set_device(
    tunnels: &mut Tunnels,
    tunnel: Tunnel,
    address: IpAddr,
    own: Own<'_>,
    node: Option<&Stored<Node>>,
    felix: &FelixConfiguration,
) {
    let mtu = configured_mtu(tunnel, felix);
    let vxlan = || {
        Some(VxlanDevice {
            vni: felix.vxlan_vni.unwrap_or(VXLAN_VNI),
            port: settings::vxlan_port(felix),
            address,
            mac: mac(own.node, node, tunnel),
            local: own.addresses.of_family(tunnel == Tunnel::Vxlan)?,
            mtu,
        })
    };
    match (tunnel, address) {
        (Tunnel::Ipip, IpAddr::V4(address)) => {
            tunnels.ipip = Some(IpipDevice { address, mtu });
        }
        // Such an address can be neither given nor named.
        (Tunnel::Ipip, IpAddr::V6(_)) => {}
        (Tunnel::Vxlan, _) => tunnels.vxlan = vxlan(),
        (Tunnel::VxlanV6, _) => tunnels.vxlan_v6 = vxlan(),
    }
}

fn member(set: &mut TunnelSet, tunnel: Tunnel) -> &mut bool {
    match tunnel {
        Tunnel::Ipip => &mut set.ipip,
        Tunnel::Vxlan => &mut set.vxlan,
        Tunnel::VxlanV6 => &mut set.vxlan_v6,
    }
}

/// What FelixConfiguration says of the MTU in a tunnel, in octets. 0 is as if it said nothing: as the host's devices are.
pub(super) fn configured_mtu(tunnel: Tunnel, felix: &FelixConfiguration) -> Option<u32> {
    let configured = match tunnel {
        Tunnel::Ipip => felix.ipip_mtu,
        Tunnel::Vxlan => felix.vxlan_mtu,
        Tunnel::VxlanV6 => felix.vxlan_mtu_v6,
    };
    configured.filter(|mtu| *mtu > 0)
}

/// The name of that field.
pub(super) fn mtu_field(tunnel: Tunnel) -> &'static str {
    match tunnel {
        Tunnel::Ipip => "ipipMTU",
        Tunnel::Vxlan => "vxlanMTU",
        Tunnel::VxlanV6 => "vxlanMTUV6",
    }
}

/// What the resource says, else what follows from the name.
fn mac(name: &str, node: Option<&Stored<Node>>, tunnel: Tunnel) -> [u8; 6] {
    let v6 = tunnel == Tunnel::VxlanV6;
    let said = node.and_then(|node| match v6 {
        false => node.spec.vxlan_tunnel_mac_addr.as_deref(),
        true => node.spec.vxlan_tunnel_mac_addr_v6.as_deref(),
    });
    said.and_then(crate::workloads::parse_mac)
        .unwrap_or_else(|| derived_mac(name, v6))
}

fn node_address(node: &Stored<Node>, v6: bool) -> Option<IpAddr> {
    let bgp = node.spec.bgp.as_ref()?;
    if v6 {
        Some(bgp.ipv6_address?.addr().into())
    } else {
        Some(bgp.ipv4_address?.addr().into())
    }
}
