//! Tunnel addresses of this node: taken from IPAM when a pool needs the tunnel, written to the Node resource when the kernel
//! can receive, taken off it when no route uses the tunnel any more, released when the device is gone
//! (docs/adr/0009-staged-encapsulation.md).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use caracal_agent_api::Condition;
use caracal_datastore::ipam::{AssignRequest, Ipam, IpamError, Purpose};
use caracal_datastore::resources::Node;
use caracal_datastore::{StoreError, Stored, TypedStore};
use caracal_fib::{Encapsulation, TunnelStatus};
use ipnet::IpNet;
use sha1::{Digest, Sha1};
use tracing::{info, warn};

use crate::ways::Pool;

/// One of Calico's tunnels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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

    /// The device of it.
    pub(crate) fn device(self) -> &'static str {
        match self {
            Tunnel::Ipip => "tunl0",
            Tunnel::Vxlan => "vxlan.calico",
            Tunnel::VxlanV6 => "vxlan-v6.calico",
        }
    }

    /// Those that the kernel has: desired, or there for the sake of others.
    pub(crate) fn there(devices: &[TunnelStatus]) -> BTreeSet<Tunnel> {
        let has = |tunnel: &Tunnel| devices.iter().any(|there| there.device == tunnel.device());
        Tunnel::ALL.into_iter().filter(has).collect()
    }

    /// What it takes of every packet.
    pub(crate) fn overhead_octets(self) -> u32 {
        match self {
            Tunnel::Ipip => 20,
            Tunnel::Vxlan => 50,
            Tunnel::VxlanV6 => 70,
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
    #[error("{0}")]
    Ipam(#[from] IpamError),
    #[error("tunnel addresses: {0}")]
    Store(#[from] StoreError),
    /// IPAM's records have been lost under our feet, and it has given what a pod has.
    #[error("IPAM gave {0}, which a pod of this node has")]
    Held(IpAddr),
}

/// Addresses that IPAM has given for tunnels that pools need.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Assigned([Option<IpAddr>; 3]);

impl Assigned {
    /// Of one tunnel.
    pub(crate) fn of(&self, tunnel: Tunnel) -> Option<IpAddr> {
        self.0[tunnel as usize]
    }
}

impl FromIterator<(Tunnel, IpAddr)> for Assigned {
    fn from_iter<I: IntoIterator<Item = (Tunnel, IpAddr)>>(pairs: I) -> Assigned {
        let mut assigned = Assigned::default();
        for (tunnel, address) in pairs {
            assigned.0[tunnel as usize] = Some(address);
        }
        assigned
    }
}

/// What has become of the tunnels' addresses.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Tended {
    pub(crate) assigned: Assigned,
    /// Of tunnels that have none.
    pub(crate) conditions: Vec<Condition>,
}

/// Takes steps, again and again.
#[derive(Debug, Default)]
pub(crate) struct Tending {
    tended: Tended,
    /// Tunnels of which IPAM has everything back, as far as this run knows.
    released: [bool; 3],
    /// IPAM gave what a pod has.
    met_a_pod: bool,
}

/// What is to be done about one tunnel's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Nothing, for now.
    Rest,
    /// The Node resource shall name it.
    Name(IpAddr),
    /// The Node resource shall name none.
    Withdraw,
    /// IPAM shall have it back.
    Release,
}

/// `given`: by IPAM, when a pool needs the tunnel. `named`: in the Node resource. `device`: as the FIB has it.
fn step(
    needed: bool,
    given: Option<IpAddr>,
    named: Option<IpAddr>,
    device: Option<&TunnelStatus>,
) -> Step {
    match (needed, given, named, device) {
        // Others send as soon as they read this: not before the kernel can receive.
        (true, Some(address), _, Some(device))
            if named != given && device.state == "ready" && device.address == given =>
        {
            Step::Name(address)
        }
        // Nor when it cannot any more. What is given is named again when it can.
        (true, Some(_), Some(_), Some(device)) if device.state == "broken" => Step::Withdraw,
        (false, _, Some(_), Some(device)) if !device.used => Step::Withdraw,
        (false, _, None, None) => Step::Release,
        _ => Step::Rest,
    }
}

/// What the steps are taken with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) node: &'a str,
    pub(crate) pools: &'a [Pool],
    pub(crate) ipam: &'a Ipam,
    pub(crate) store: &'a TypedStore,
    /// IPAM's records have been lost: the node keeps the addresses that its resource records.
    pub(crate) records_lost: bool,
    /// What pods of this node have, whatever IPAM knows of it.
    pub(crate) held: &'a [IpAddr],
    /// As the FIB has them now.
    pub(crate) devices: &'a [TunnelStatus],
}

impl Tending {
    /// Takes the next step of each tunnel, and says what IPAM has given. A tunnel that gets no address holds no other back,
    /// and keeps what it had.
    pub(crate) async fn tend(&mut self, place: Place<'_>) -> Result<&Tended, TunnelFault> {
        self.met_a_pod = false;
        let stored = place.store.get::<Node>(place.node).await?;
        let mut given = Vec::new();
        let mut conditions = Vec::new();
        let mut changes = Vec::new();
        for tunnel in Tunnel::ALL {
            let named = stored.as_ref().and_then(|node| recorded(node, tunnel));
            let needing = needing(place.pools, tunnel);
            let before = named.filter(|_| place.records_lost);
            let address = match address(place, tunnel, &needing, before).await {
                Ok(address) => address,
                Err(fault) => {
                    self.met_a_pod |= matches!(fault, TunnelFault::Held(_));
                    conditions.push(no_address(tunnel, &needing, &fault));
                    self.tended.assigned.of(tunnel)
                }
            };
            given.extend(address.map(|address| (tunnel, address)));
            let mut devices = place.devices.iter();
            let device = devices.find(|at| at.device == tunnel.device());
            let step = step(!needing.is_empty(), address, named, device);
            let released = &mut self.released[tunnel as usize];
            *released &= step == Step::Release;
            match step {
                Step::Rest => {}
                Step::Name(address) => changes.push((tunnel, Some(address))),
                Step::Withdraw => changes.push((tunnel, None)),
                Step::Release if *released => {}
                Step::Release => {
                    match place.ipam.release_handle(&tunnel.handle(place.node)).await {
                        Ok(_) => *released = true,
                        Err(fault) => warn!(
                            "{}: its address is not given back yet: {fault}",
                            tunnel.device()
                        ),
                    }
                }
            }
        }
        self.tended = Tended {
            assigned: given.into_iter().collect(),
            conditions,
        };
        if let Err(fault) = record(stored, &changes, place.store).await {
            warn!("node {}: {fault}; trying again", place.node);
        }
        Ok(&self.tended)
    }

    /// What has become of the addresses, as of the last step that could be taken.
    pub(crate) fn tended(&self) -> &Tended {
        &self.tended
    }

    /// The last step found that IPAM does not know what pods have: their records are to be mended before the next.
    pub(crate) fn met_a_pod(&self) -> bool {
        self.met_a_pod
    }
}

/// Pools whose packets may need the tunnel.
fn needing(pools: &[Pool], tunnel: Tunnel) -> Vec<&Pool> {
    let usable = pools.iter().filter(|pool| pool.unusable.is_none());
    usable
        .filter(|pool| Tunnel::of_pool(pool) == Some(tunnel))
        .collect()
}

async fn address(
    place: Place<'_>,
    tunnel: Tunnel,
    needing: &[&Pool],
    before: Option<IpAddr>,
) -> Result<Option<IpAddr>, TunnelFault> {
    let assigning = needing.iter().copied().filter(|pool| pool.may_assign());
    let assigning: Vec<&Pool> = assigning.collect();
    if assigning.is_empty() {
        // What lives on in disabled pools keeps the address that the node has.
        return Ok(None);
    }
    assign(place, tunnel, &assigning, before).await
}

fn no_address(tunnel: Tunnel, needing: &[&Pool], fault: &TunnelFault) -> Condition {
    let pools: Vec<&str> = needing.iter().map(|pool| pool.name.as_str()).collect();
    Condition {
        name: "NoTunnelAddress".to_owned(),
        message: format!(
            "{} gets no address: {fault}. IPPool {} asked for it; see `caracalctl ipam show --show-blocks`. A pool of the same \
             encapsulation whose `allowedUses` has Tunnel can give it",
            tunnel.device(),
            pools.join(", ")
        ),
    }
}

/// The same address again, if there is one already, and never one that a pod has. `before`: what the node had, should IPAM have
/// forgotten it.
async fn assign(
    place: Place<'_>,
    tunnel: Tunnel,
    pools: &[&Pool],
    before: Option<IpAddr>,
) -> Result<Option<IpAddr>, TunnelFault> {
    let Place {
        node, ipam, held, ..
    } = place;
    let before = before.filter(|address| pools.iter().any(|pool| pool.cidr.contains(address)));
    let attributes = BTreeMap::from([
        ("node".to_owned(), node.to_owned()),
        ("type".to_owned(), tunnel.attribute().to_owned()),
    ]);
    let v4 = tunnel != Tunnel::VxlanV6;
    let names: Vec<String> = pools.iter().map(|pool| pool.name.clone()).collect();
    let wish = AssignRequest {
        handle: tunnel.handle(node),
        attributes,
        ipv4: v4,
        ipv6: !v4,
        ipv4_pools: names.clone(),
        ipv6_pools: names,
        addresses: before.into_iter().collect(),
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
    let address = assigned.first().map(|assigned| assigned.address);
    if let Some(address) = address.filter(|address| held.contains(address)) {
        // What is given back is the last to be given again.
        ipam.release_handle(&tunnel.handle(node)).await?;
        return Err(TunnelFault::Held(address));
    }
    Ok(address)
}

/// Writes what differs; a conflict means that somebody else wrote, so it is read again.
async fn record(
    mut stored: Option<Stored<Node>>,
    changes: &[(Tunnel, Option<IpAddr>)],
    store: &TypedStore,
) -> Result<(), TunnelFault> {
    while let Some(read) = stored {
        let mut wanted = read.clone();
        for (tunnel, address) in changes {
            set(&mut wanted, *tunnel, *address);
        }
        if wanted.spec == read.spec {
            return Ok(());
        }
        for (tunnel, address) in changes {
            match address {
                Some(address) => info!(
                    "{}: can receive; the Node resource names {address} now",
                    tunnel.device()
                ),
                None => info!(
                    "{}: nothing is sent through it any more; the Node resource names no address of it now",
                    tunnel.device()
                ),
            }
        }
        match store.update(wanted).await {
            Err(StoreError::Conflict(_)) => stored = store.get(&read.metadata.name).await?,
            outcome => return outcome.map(drop).map_err(TunnelFault::from),
        }
    }
    Ok(())
}

/// The address that a Node resource names.
pub(crate) fn recorded(node: &Stored<Node>, tunnel: Tunnel) -> Option<IpAddr> {
    let spec = &node.spec;
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

#[cfg(test)]
mod tests;
