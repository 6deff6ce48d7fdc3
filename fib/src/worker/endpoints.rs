//! Local workloads: their devices' sysctls, their static neighbours, and who waits for them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Instant;

use ipnet::{IpNet, Ipv6Net};
use tracing::{debug, warn};

use super::{Awaited, Worker};
use crate::delta::{Action, Delta};
use crate::handle::FibError;
use crate::kernel::{DeviceChange, Kernel, Link, NeighbourKey, NeighbourValue};
use crate::model::{Endpoint, Standing};
use crate::world::World;

/// What was done for endpoints that are desired.
#[derive(Debug, Default)]
pub(super) struct Endpoints {
    /// The device, by index, that was set up. One of the same name that comes later has another index.
    prepared: HashMap<String, u32>,
    neighbours: HashMap<String, Vec<NeighbourKey>>,
    /// Forwarding was asked for.
    forwarding_v4: bool,
    forwarding_v6: bool,
}

impl Endpoints {
    pub(super) fn forget(&mut self, device: &str) {
        self.prepared.remove(device);
    }
}

impl<K: Kernel> Worker<K> {
    /// Does what new wishes or events ask for at the devices of workloads.
    pub(super) async fn tend_endpoints(&mut self, now: Instant) {
        for device in std::mem::take(&mut self.dirty.endpoints) {
            let endpoint = self.wishes.endpoints.get(&device).cloned();
            if let Some(endpoint) = &endpoint {
                self.prepare_device(&device, endpoint, now).await;
                let prefixes = endpoint.addresses.iter().map(|a| IpNet::from(*a));
                self.dirty.workloads.extend(prefixes);
            }
            self.desire_neighbours(device, endpoint);
            self.dirty.leftovers = true;
        }
    }

    async fn prepare_device(&mut self, device: &str, endpoint: &Endpoint, now: Instant) {
        let Some(link) = self.world.named(device).cloned() else {
            self.endpoints.prepared.remove(device);
            return;
        };
        // With each event: there is none of its own when somebody else sets one, and what is right is only read.
        let v4 = endpoint.addresses.iter().any(IpAddr::is_ipv4);
        let v6 = endpoint.addresses.iter().any(IpAddr::is_ipv6);
        self.set_device_sysctls(device, v4, v6);
        if v4 {
            self.set_rp_filter(device, endpoint.may_spoof);
        }
        if self.endpoints.prepared.get(device) != Some(&link.index) {
            // Once: whoever takes it down later has a reason.
            if !link.up {
                let up = DeviceChange::SetUp(link.index, true);
                if let Err(reason) = self.change_device(up, device, now).await {
                    warn!(device, reason, "cannot set the workload's device up");
                }
            }
            self.endpoints.prepared.insert(device.into(), link.index);
        }
        self.ensure_link_local(&link, endpoint, now).await;
    }

    /// What a host-side veth needs so that 169.254.1.1 and the pod's address work: the same that Felix
    /// sets.
    fn set_device_sysctls(&mut self, device: &str, v4: bool, v6: bool) {
        if v4 {
            for (name, value) in DEVICE_SYSCTLS_V4 {
                self.sysctls
                    .set(&format!("net/ipv4/{}", name.replace('*', device)), value);
            }
        }
        if v6 {
            for (name, value) in DEVICE_SYSCTLS_V6 {
                self.sysctls
                    .set(&format!("net/ipv6/{}", name.replace('*', device)), value);
            }
            return;
        }
        // A workload without IPv6 could still make itself the host's router by an advertisement. There is nothing to
        // set where the kernel has no IPv6.
        let accept_ra = format!("net/ipv6/conf/{device}/accept_ra");
        if self.sysctls.read(&accept_ra).is_some() {
            self.sysctls.set(&accept_ra, "0");
        }
    }

    /// Off for a workload that may send from addresses of others; else as the host has it for new devices. The kernel takes
    /// the larger of this and `conf/all/rp_filter`, which is the host's.
    fn set_rp_filter(&mut self, device: &str, may_spoof: bool) {
        let path = format!("net/ipv4/conf/{device}/rp_filter");
        let value = match may_spoof {
            true => Some("0".to_owned()),
            false => self.sysctls.read("net/ipv4/conf/default/rp_filter"),
        };
        if let Some(value) = value {
            self.sysctls.set(&path, &value);
        }
    }

    /// The pod's IPv6 default route goes to the link-local address of the host side. The kernel makes it from the MAC,
    /// unless `addr_gen_mode` says otherwise.
    async fn ensure_link_local(&mut self, link: &Link, endpoint: &Endpoint, now: Instant) {
        let wanted = endpoint.addresses.iter().any(IpAddr::is_ipv6);
        let up = self.world.link(link.index).is_some_and(|link| link.up);
        let has_one =
            self.world.addresses(link.index).iter().any(
                |address| matches!(address, IpNet::V6(v6) if v6.addr().is_unicast_link_local()),
            );
        if wanted && up && !has_one {
            let address = Ipv6Net::new(HOST_LINK_LOCAL, 64).map(IpNet::V6);
            if let Ok(address) = address {
                let add = DeviceChange::AddAddress(link.index, address);
                if let Err(reason) = self.change_device(add, &link.name, now).await {
                    warn!(
                        device = link.name,
                        reason, "cannot add fe80::ecee:eeff:feee:eeee"
                    );
                }
            }
        }
    }

    /// Applies a change of a device, and takes it as done without waiting for the event.
    pub(super) async fn change_device(
        &mut self,
        change: DeviceChange,
        device: &str,
        now: Instant,
    ) -> Result<(), String> {
        if matches!(change, DeviceChange::SetUp(_, false)) {
            // Routes that go with the device are forgotten after it: none of them may be answered later.
            self.catch_up(now).await;
        }
        if let Err(refusal) = self.kernel.change(&change).await {
            debug!(device, ?change, reason = %refusal, "device cannot be changed");
            return Err(refusal.reason);
        }
        match change {
            DeviceChange::SetUp(index, up) => {
                if let Some(mut link) = self.world.link(index).cloned() {
                    link.up = up;
                    self.handle_event(crate::kernel::Event::Link(link), now);
                }
            }
            DeviceChange::SetMtu(index, mtu) => {
                if let Some(link) = self.world.link_mut(index) {
                    link.mtu = mtu;
                }
            }
            DeviceChange::AddAddress(index, address) => {
                self.world.add_address(index, address);
            }
            DeviceChange::DeleteAddress(index, address) => {
                self.world.remove_address(index, address);
            }
            DeviceChange::DeleteLink(index) => self.note_deleted(index),
            _ => {}
        }
        Ok(())
    }

    fn desire_neighbours(&mut self, device: String, endpoint: Option<Endpoint>) {
        let link = self.world.named(&device).filter(|link| link.up);
        let mut wanted = Vec::new();
        if let (Some(endpoint), Some(link)) = (endpoint, link) {
            for address in &endpoint.addresses {
                let key = NeighbourKey::Address(link.index, *address);
                self.neighbours.set(key, NeighbourValue::Mac(endpoint.mac));
                wanted.push(key);
            }
        }
        let before = self.endpoints.neighbours.remove(&device);
        for key in before.unwrap_or_default() {
            if !wanted.contains(&key) {
                self.neighbours.unset(key, true);
            }
        }
        if !wanted.is_empty() {
            self.endpoints.neighbours.insert(device, wanted);
        }
    }

    /// Writes some neighbours. Returns whether there are more.
    pub(super) async fn write_neighbours(&mut self, now: Instant) -> bool {
        write_some(&mut self.kernel, &mut self.neighbours, &self.world, now).await;
        write_some(
            &mut self.kernel,
            &mut self.vtep_neighbours,
            &self.world,
            now,
        )
        .await;
        self.neighbours.has_due() || self.vtep_neighbours.has_due()
    }

    /// Forwarding as a whole, for the family that is used.
    pub(super) fn enable_forwarding(&mut self, address: &IpAddr) {
        let (used, path) = match address {
            IpAddr::V4(_) => (&mut self.endpoints.forwarding_v4, FORWARDING_V4),
            IpAddr::V6(_) => (&mut self.endpoints.forwarding_v6, FORWARDING_V6),
        };
        if self.settings.forwarding && !std::mem::replace(used, true) {
            self.sysctls.set(path, "1");
        }
    }

    /// Whoever switched it off took all workloads off the network, and there is no event of it: it is looked at with each whole
    /// read.
    pub(super) fn look_at_forwarding(&mut self) {
        let used = [
            (self.endpoints.forwarding_v4, FORWARDING_V4),
            (self.endpoints.forwarding_v6, FORWARDING_V6),
        ];
        for (used, path) in used {
            let is_ours = used && self.settings.forwarding;
            if is_ours && self.sysctls.read(path).is_some_and(|now| now == "0") {
                warn!(
                    sysctl = path,
                    "someone switched forwarding off; switching it on again"
                );
                self.sysctls.set(path, "1");
            }
        }
    }

    /// Answers those whose endpoint is settled, or whose patience is over.
    pub(super) fn answer_waiters(&mut self, now: Instant) {
        for waiter in std::mem::take(&mut self.waiters) {
            let missing = match &waiter.awaited {
                Awaited::Endpoint(device) => self.missing(device),
                Awaited::Gone(addresses) => self.still_there(addresses),
            };
            match missing {
                None => {
                    waiter.reply.send(Ok(())).ok();
                }
                Some(reason) if now >= waiter.deadline => {
                    let what = match waiter.awaited {
                        Awaited::Endpoint(device) => device,
                        Awaited::Gone(addresses) => format!("removal of {addresses:?}"),
                    };
                    warn!(endpoint = what, reason, "endpoint is not settled");
                    let error = FibError::Unsettled {
                        what,
                        waited: waiter.patience,
                        reason,
                    };
                    waiter.reply.send(Err(error)).ok();
                }
                Some(_) => self.waiters.push(waiter),
            }
        }
    }

    /// What the kernel still has of workloads that had these addresses. A route that somebody else desires by now is none of
    /// theirs as soon as it is written.
    fn still_there(&self, addresses: &[IpAddr]) -> Option<String> {
        addresses.iter().find_map(|address| {
            let prefix = IpNet::from(*address);
            let key = self.key(prefix);
            let unresolved =
                self.dirty.workloads.contains(&prefix) || self.dirty.prefixes.contains(&prefix);
            let gone = match self.routes.desired(&key) {
                Some(_) => self.routes.installed(&key),
                None => self.routes.actual(&key).is_none(),
            };
            (unresolved || !gone).then(|| format!("route {prefix} is still there"))
        })
    }

    /// What an endpoint still lacks.
    fn missing(&self, device: &str) -> Option<String> {
        let Some(endpoint) = self.wishes.endpoints.get(device) else {
            return Some("nobody asked for this endpoint".into());
        };
        let routed = endpoint.standing != Standing::Awaited;
        for address in endpoint.addresses.iter().filter(|_| routed) {
            let prefix = IpNet::from(*address);
            if let Some(waiting) = self.waiting.get(&prefix) {
                return Some(waiting.to_string());
            }
            let key = self.key(prefix);
            let here = self.world.named(device).map(|link| link.index);
            let leads_here = self
                .routes
                .desired(&key)
                .is_some_and(|spec| here.is_some_and(|index| spec.uses(index)));
            if !leads_here {
                return Some(format!("{address} belongs to another endpoint"));
            }
            if !self.routes.installed(&key) {
                let reason = self.routes.reason(&key).unwrap_or("being written");
                return Some(format!("route {prefix}: {reason}"));
            }
        }
        let keys = self.endpoints.neighbours.get(device)?;
        let key = keys.iter().find(|key| !self.neighbours.installed(key))?;
        let reason = self.neighbours.reason(key).unwrap_or("being written");
        Some(format!("neighbour entry: {reason}"))
    }
}

async fn write_some<K: Kernel>(
    kernel: &mut K,
    neighbours: &mut Delta<NeighbourKey, NeighbourValue>,
    world: &World,
    now: Instant,
) {
    for (key, action) in neighbours.take(NEIGHBOURS_A_TURN, now) {
        let change = match &action {
            Action::Set { value, .. } => DeviceChange::SetNeighbour(key, *value),
            Action::Delete(value) => DeviceChange::DeleteNeighbour(key, *value),
        };
        let is_delete = matches!(action, Action::Delete(_));
        match kernel.change(&change).await {
            Ok(()) => {
                neighbours.done(key, action);
            }
            Err(refusal) if is_delete && refusal.is_absence() => {
                neighbours.done(key, action);
            }
            Err(refusal) => {
                let first = neighbours.failed(key, now, refusal.reason.clone());
                let neighbour = || key.describe(|index| world.name(index));
                if refusal.errno == libc::ENODEV {
                    // It went a moment ago, and all its entries with it: that is told once.
                    debug!(neighbour = neighbour(), "no such device for a neighbour");
                } else if first {
                    warn!(neighbour = neighbour(), reason = %refusal, "neighbour is refused; trying again");
                }
            }
        }
    }
}

const NEIGHBOURS_A_TURN: usize = 64;
/// EUI-64 of ee:ee:ee:ee:ee:ee.
const HOST_LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0xecee, 0xeeff, 0xfeee, 0xeeee);
/// Below `net/ipv4`, `*` is the device.
const DEVICE_SYSCTLS_V4: [(&str, &str); 4] = [
    ("conf/*/route_localnet", "1"),
    ("neigh/*/proxy_delay", "0"),
    ("conf/*/proxy_arp", "1"),
    ("conf/*/forwarding", "1"),
];
/// Below `net/ipv6`.
const DEVICE_SYSCTLS_V6: [(&str, &str); 3] = [
    ("conf/*/proxy_ndp", "1"),
    ("conf/*/forwarding", "1"),
    ("conf/*/accept_ra", "0"),
];
const FORWARDING_V4: &str = "net/ipv4/ip_forward";
const FORWARDING_V6: &str = "net/ipv6/conf/all/forwarding";
