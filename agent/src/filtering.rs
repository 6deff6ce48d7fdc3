//! From pools, nodes, services and FelixConfiguration to what the packet filter shall do. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use caracal_datastore::resources::{
    FelixConfiguration, NatOutgoingExclusions, ServiceLoopPrevention, WorkloadSourceSpoofing,
};
use caracal_fib::{Tunnels, VxlanDevice};
use caracal_filter::{Masquerade, Rules, ServiceLoops, SpoofProtection, TunnelProtection};
use caracal_peering::View;
use ipnet::IpNet;

use crate::settings;
use crate::tunnels::Tunnel;
use crate::ways::Pool;

mod leaving;

pub(crate) use leaving::Leaving;

/// Sources that local workloads ask for beside their own, by their devices.
pub(crate) type AllowedSources = BTreeMap<String, BTreeSet<IpNet>>;

/// Names of the devices that `caracal-cni` makes begin so.
const DEVICE_PREFIX: &str = "cali";

/// What the filter of this node shall do. `tunnels`: those that shall end here; `there`: those whose devices are there, and
/// take what comes, whether they shall or not.
pub(crate) fn rules(
    view: &View,
    pools: &[Pool],
    tunnels: &Tunnels,
    there: &BTreeSet<Tunnel>,
    felix: &FelixConfiguration,
    allowed: &AllowedSources,
) -> Rules {
    Rules {
        masquerade: Masquerade {
            own_through: devices(tunnels),
            ..masquerade(view, pools, felix)
        },
        spoofing: Some(spoof_protection(felix, allowed)),
        tunnels: tunnel_protection(view, tunnels, there, felix),
        service_loops: service_loops(view, felix),
    }
}

/// Whether workloads get the sources that they ask for.
pub(crate) fn may_spoof(felix: &FelixConfiguration) -> bool {
    felix.workload_source_spoofing == Some(WorkloadSourceSpoofing::Any)
}

/// All pools count, disabled ones too: what they gave lives on, and a disabled pool is how one says what is not to be
/// masqueraded. One that overlaps the node's own network does not: its addresses are those of hosts here, which know no
/// way back to pods and are not to get another source either.
fn masquerade(view: &View, pools: &[Pool], felix: &FelixConfiguration) -> Masquerade {
    let unusable = |name: &str| {
        let pool = pools.iter().find(|pool| pool.name == name);
        pool.is_some_and(|pool| pool.unusable.is_some())
    };
    let usable = || view.pools.iter().filter(|(name, _)| !unusable(name));
    let pools = || usable().map(|(_, pool)| &pool.spec);
    let hosts = match felix.nat_outgoing_exclusions.unwrap_or_default() {
        NatOutgoingExclusions::IPPoolsAndHostIPs => nodes(view),
        NatOutgoingExclusions::IPPoolsOnly => BTreeSet::new(),
    };
    let filter = felix.iptables_nat_outgoing_interface_filter.as_deref();
    Masquerade {
        sources: pools()
            .filter(|pool| pool.nat_outgoing)
            .map(|pool| pool.cidr)
            .collect(),
        except_to: pools().map(|pool| pool.cidr).collect(),
        except_to_hosts: hosts,
        ports: felix.nat_port_range.map(|range| (range.first, range.last)),
        address: felix.nat_outgoing_address.map(IpAddr::V4),
        // The resource was checked when it was read: what it lets in is a pattern, or the one of all devices.
        output: filter.and_then(|filter| filter.parse().ok()),
        own_through: BTreeSet::new(),
    }
}

/// Names of the devices of tunnels.
fn devices(tunnels: &Tunnels) -> BTreeSet<String> {
    let there = [
        (Tunnel::Ipip, tunnels.ipip.is_some()),
        (Tunnel::Vxlan, tunnels.vxlan.is_some()),
        (Tunnel::VxlanV6, tunnels.vxlan_v6.is_some()),
    ];
    let there = there.into_iter().filter(|(_, there)| *there);
    there
        .map(|(tunnel, _)| tunnel.device().to_owned())
        .collect()
}

/// Nodes may send from every address that their resources name.
fn tunnel_protection(
    view: &View,
    tunnels: &Tunnels,
    there: &BTreeSet<Tunnel>,
    felix: &FelixConfiguration,
) -> Option<TunnelProtection> {
    let port = |tunnel, device: &Option<VxlanDevice>| {
        let is_there = there.contains(&tunnel);
        let port = device.as_ref().map(|device| device.port);
        port.or_else(|| is_there.then(|| settings::vxlan_port(felix)))
    };
    let protection = TunnelProtection {
        ipip: tunnels.ipip.is_some() || there.contains(&Tunnel::Ipip),
        vxlan: port(Tunnel::Vxlan, &tunnels.vxlan),
        vxlan_v6: port(Tunnel::VxlanV6, &tunnels.vxlan_v6),
        ends: BTreeSet::new(),
    };
    if protection == TunnelProtection::default() {
        return None;
    }
    let of_nodes = view.nodes.values().flat_map(|node| &node.spec.addresses);
    let others = of_nodes.filter_map(|at| {
        let address = at.address.split('/').next()?;
        address.parse().ok()
    });
    let ends = nodes(view).into_iter().chain(others).map(IpNet::from);
    Some(TunnelProtection {
        ends: ends.chain(felix.external_nodes()).collect(),
        ..protection
    })
}

fn nodes(view: &View) -> BTreeSet<IpAddr> {
    let of_bgp = view
        .nodes
        .values()
        .filter_map(|node| node.spec.bgp.as_ref());
    of_bgp
        .flat_map(|bgp| {
            let v4 = bgp.ipv4_address.map(|net| IpAddr::from(net.addr()));
            let v6 = bgp.ipv6_address.map(|net| IpAddr::from(net.addr()));
            [v4, v6]
        })
        .flatten()
        .collect()
}

/// Felix's prefixes, and that of our own plugin.
fn spoof_protection(felix: &FelixConfiguration, allowed: &AllowedSources) -> SpoofProtection {
    let configured = felix.interface_prefix.as_deref().unwrap_or(DEVICE_PREFIX);
    let configured = configured.split(',').map(str::trim);
    let prefixes = configured
        .chain([DEVICE_PREFIX])
        .filter(|prefix| !prefix.is_empty());
    SpoofProtection {
        device_prefixes: prefixes.map(str::to_owned).collect(),
        allowed: match may_spoof(felix) {
            true => allowed.clone(),
            false => AllowedSources::new(),
        },
        may_send_ipip: felix.allow_ipip_packets_from_workloads == Some(true),
        vxlan_port: match felix.allow_vxlan_packets_from_workloads {
            Some(true) => None,
            Some(false) | None => Some(settings::vxlan_port(felix)),
        },
    }
}

fn service_loops(view: &View, felix: &FelixConfiguration) -> Option<ServiceLoops> {
    let prevention = felix.service_loop_prevention.unwrap_or_default();
    if prevention == ServiceLoopPrevention::Disabled {
        return None;
    }
    let services = &view.configurations.get("default")?.spec;
    let entries = [
        &services.service_cluster_ips,
        &services.service_external_ips,
        &services.service_load_balancer_ips,
    ];
    Some(ServiceLoops {
        services: entries
            .into_iter()
            .flatten()
            .map(|entry| entry.cidr)
            .collect(),
        reject: prevention == ServiceLoopPrevention::Reject,
    })
}

#[cfg(test)]
mod tests;
