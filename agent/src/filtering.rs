//! From pools, nodes, services and FelixConfiguration to what the packet filter shall do. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use caracal_datastore::resources::{
    FelixConfiguration, NatOutgoingExclusions, ServiceLoopPrevention, WorkloadSourceSpoofing,
};
use caracal_filter::{Masquerade, Rules, ServiceLoops, SpoofProtection};
use caracal_peering::View;
use ipnet::IpNet;

/// Sources that local workloads ask for beside their own, by their devices.
pub(crate) type AllowedSources = BTreeMap<String, BTreeSet<IpNet>>;

/// Names of the devices that `caracal-cni` makes begin so.
const DEVICE_PREFIX: &str = "cali";

/// What the filter of this node shall do.
pub(crate) fn rules(view: &View, felix: &FelixConfiguration, allowed: &AllowedSources) -> Rules {
    Rules {
        masquerade: masquerade(view, felix),
        spoofing: Some(spoof_protection(felix, allowed)),
        service_loops: service_loops(view, felix),
    }
}

/// Whether workloads get the sources that they ask for.
pub(crate) fn may_spoof(felix: &FelixConfiguration) -> bool {
    felix.workload_source_spoofing == Some(WorkloadSourceSpoofing::Any)
}

/// All pools count, disabled ones too: what they gave lives on.
fn masquerade(view: &View, felix: &FelixConfiguration) -> Masquerade {
    let pools = || view.pools.values().map(|pool| &pool.spec);
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
        // The resource was checked when it was read.
        output: filter.and_then(|filter| filter.parse().ok()),
    }
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
    let prefixes = configured.split(',').chain([DEVICE_PREFIX]);
    SpoofProtection {
        device_prefixes: prefixes.map(str::to_owned).collect(),
        allowed: match may_spoof(felix) {
            true => allowed.clone(),
            false => AllowedSources::new(),
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
