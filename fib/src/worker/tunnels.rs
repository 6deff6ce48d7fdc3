//! Tunnel devices: `tunl0`, `vxlan.calico`, `vxlan-v6.calico`, and the neighbours of remote VTEPs.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use tracing::{info, warn};

use super::Worker;
use crate::kernel::{
    DeviceChange, Kernel, Link, LinkKind, NeighbourKey, NeighbourValue, VxlanLink,
};
use crate::model::{IpipDevice, VxlanDevice};
use crate::resolve::{IPIP_DEVICE, VXLAN_DEVICE, VXLAN_V6_DEVICE, Waiting};

#[derive(Debug, Default)]
pub(super) struct TunnelState {
    /// By device name.
    problems: BTreeMap<&'static str, Problem>,
    /// A device that is not desired is still used by routes.
    in_use: bool,
    pub(super) changed_vteps: HashSet<IpAddr>,
    /// Index and whether it is up, as routes were last resolved with.
    devices: [Option<(u32, bool)>; 3],
    /// Entries that were written for a node.
    vteps: HashMap<IpAddr, [NeighbourKey; 2]>,
}

#[derive(Debug)]
struct Problem {
    reason: String,
    attempts: u32,
    retry: Instant,
}

impl TunnelState {
    /// Other devices are desired: try all at once.
    pub(super) fn reset(&mut self) {
        self.problems.clear();
    }

    pub(super) fn next_retry(&self) -> Option<Instant> {
        self.problems.values().map(|problem| problem.retry).min()
    }

    pub(super) fn ipip_problem(&self) -> Option<&str> {
        self.problems.get(IPIP_DEVICE).map(|p| p.reason.as_str())
    }

    pub(super) fn vxlan_problem(&self) -> Option<(&'static str, &str)> {
        [VXLAN_DEVICE, VXLAN_V6_DEVICE]
            .into_iter()
            .find_map(|name| Some((name, self.problems.get(name)?.reason.as_str())))
    }
}

impl<K: Kernel> Worker<K> {
    /// Brings the devices nearer to what is desired of them.
    pub(super) async fn tend_tunnels(&mut self, now: Instant) {
        let retry = self.tunnels.next_retry().is_some_and(|retry| retry <= now);
        if !std::mem::take(&mut self.dirty.tunnels) && !retry {
            return;
        }
        let Some(tunnels) = self.wishes.tunnels.clone() else {
            return;
        };
        self.tunnels.in_use = false;
        if !self.is_early(IPIP_DEVICE, now) {
            let outcome = match &tunnels.ipip {
                Some(device) => self.tend_ipip(device, now).await,
                None => self.retire_ipip(now).await,
            };
            self.note_tunnel(IPIP_DEVICE, outcome, now);
        }
        for (name, device) in [
            (VXLAN_DEVICE, &tunnels.vxlan),
            (VXLAN_V6_DEVICE, &tunnels.vxlan_v6),
        ] {
            if self.is_early(name, now) {
                continue;
            }
            let outcome = match device {
                Some(device) => self.tend_vxlan(name, device, now).await,
                None => self.retire_vxlan(name, now).await,
            };
            self.note_tunnel(name, outcome, now);
        }
    }

    /// The device could not be made a moment ago, and asking the kernel for it means running modprobe: not at each event.
    fn is_early(&self, name: &str, now: Instant) -> bool {
        let problem = self.tunnels.problems.get(name);
        self.world.named(name).is_none() && problem.is_some_and(|problem| problem.retry > now)
    }

    /// Routes to a device that is to go may be gone now.
    pub(super) fn look_at_retired_tunnels(&mut self) {
        self.dirty.tunnels |= self.tunnels.in_use;
    }

    fn note_tunnel(&mut self, name: &'static str, outcome: Result<(), String>, now: Instant) {
        self.dirty.status = true;
        match outcome {
            Ok(()) => {
                if self.tunnels.problems.remove(name).is_some() {
                    info!(device = name, "tunnel device works now");
                }
            }
            Err(reason) => {
                let before = self.tunnels.problems.get(name);
                let attempts = before.map_or(0, |p| p.attempts) + 1;
                if before.is_none_or(|p| p.reason != reason) {
                    warn!(device = name, reason, "tunnel device does not work");
                }
                let pause = RETRY_MIN * 2u32.saturating_pow(attempts.min(8));
                self.tunnels.problems.insert(
                    name,
                    Problem {
                        reason,
                        attempts,
                        retry: now + pause.min(RETRY_MAX),
                    },
                );
            }
        }
    }

    /// `tunl0` is the kernel's own: it comes with the module, which comes when such a device is asked for.
    async fn tend_ipip(&mut self, device: &IpipDevice, now: Instant) -> Result<(), String> {
        let Some(link) = self.world.named(IPIP_DEVICE).cloned() else {
            let add = DeviceChange::AddIpip(IPIP_DEVICE.into());
            return match self.kernel.change(&add).await {
                // Then it is there, and its event is on its way.
                Ok(()) => Ok(()),
                Err(refusal) if refusal.errno == libc::EEXIST => Ok(()),
                Err(refusal) => Err(format!(
                    "this kernel makes no {IPIP_DEVICE} ({refusal}); is the module ipip there?"
                )),
            };
        };
        if link.kind != LinkKind::Tunnel {
            return Err(format!("{IPIP_DEVICE} is there, but is no IPIP device"));
        }
        let mtu = self.tunnel_mtu(device.mtu, IPIP_OVERHEAD);
        let address = IpNet::from(IpAddr::V4(device.address));
        self.tend_device(&link, mtu, address, now).await
    }

    async fn retire_ipip(&mut self, now: Instant) -> Result<(), String> {
        let Some(link) = self.world.named(IPIP_DEVICE).cloned() else {
            return Ok(());
        };
        let addresses = self.world.addresses(link.index).to_vec();
        if (!link.up && addresses.is_empty()) || self.is_in_use(&link) {
            return Ok(());
        }
        for address in addresses {
            let delete = DeviceChange::DeleteAddress(link.index, address);
            self.change_device(delete, IPIP_DEVICE, now).await?;
        }
        if link.up {
            let down = DeviceChange::SetUp(link.index, false);
            self.change_device(down, IPIP_DEVICE, now).await?;
        }
        Ok(())
    }

    async fn tend_vxlan(
        &mut self,
        name: &'static str,
        device: &VxlanDevice,
        now: Instant,
    ) -> Result<(), String> {
        let overhead = match device.local {
            IpAddr::V4(_) => VXLAN_OVERHEAD,
            IpAddr::V6(_) => VXLAN_V6_OVERHEAD,
        };
        let mtu = self.tunnel_mtu(device.mtu, overhead);
        let wanted = VxlanLink {
            vni: device.vni,
            port: device.port,
            local: Some(device.local),
            learning: false,
        };
        if let Some(link) = self.world.named(name).cloned() {
            if link.kind == LinkKind::Vxlan(wanted.clone()) && link.mac == Some(device.mac) {
                let address = IpNet::from(device.address);
                return self.tend_device(&link, mtu, address, now).await;
            }
            info!(
                device = name,
                "tunnel device is another than desired; making it anew"
            );
            let delete = DeviceChange::DeleteLink(link.index);
            self.change_device(delete, name, now).await?;
        }
        let add = DeviceChange::AddVxlan {
            name: name.into(),
            link: wanted,
            mac: device.mac,
            mtu,
        };
        // Its address follows with the event that says that it is there.
        match self.kernel.change(&add).await {
            Ok(()) => Ok(()),
            Err(refusal) if refusal.errno == libc::EEXIST => Err(format!(
                "{name}: another VXLAN device has this VNI and port"
            )),
            Err(refusal) => Err(format!("{name} cannot be made: {refusal}")),
        }
    }

    async fn retire_vxlan(&mut self, name: &'static str, now: Instant) -> Result<(), String> {
        let Some(link) = self.world.named(name).cloned() else {
            return Ok(());
        };
        if !matches!(link.kind, LinkKind::Vxlan(_)) || self.is_in_use(&link) {
            return Ok(());
        }
        self.change_device(DeviceChange::DeleteLink(link.index), name, now)
            .await
    }

    /// One address, this MTU, up.
    async fn tend_device(
        &mut self,
        link: &Link,
        mtu: u32,
        address: IpNet,
        now: Instant,
    ) -> Result<(), String> {
        let index = link.index;
        if link.mtu != mtu {
            self.change_device(DeviceChange::SetMtu(index, mtu), &link.name, now)
                .await?;
        }
        // The new one first, so that the device is never without.
        let there = self.world.addresses(index).to_vec();
        if !there.contains(&address) {
            self.change_device(DeviceChange::AddAddress(index, address), &link.name, now)
                .await?;
        }
        for other in there {
            let same_family = other.addr().is_ipv4() == address.addr().is_ipv4();
            let link_local = matches!(other, IpNet::V6(v6) if v6.addr().is_unicast_link_local());
            if same_family && !link_local && other != address {
                info!(device = link.name, address = %other, "removing an address that is not ours");
                self.change_device(DeviceChange::DeleteAddress(index, other), &link.name, now)
                    .await?;
            }
        }
        if !link.up {
            self.change_device(DeviceChange::SetUp(index, true), &link.name, now)
                .await?;
        }
        Ok(())
    }

    fn tunnel_mtu(&self, configured: Option<u32>, overhead: u32) -> u32 {
        configured.unwrap_or_else(|| {
            let host = self.world.host_mtu(&self.config.device_prefix);
            host.unwrap_or(HOST_MTU_DEFAULT).saturating_sub(overhead)
        })
    }

    /// A device that routes of ours still use goes after them.
    fn is_in_use(&mut self, link: &Link) -> bool {
        let index = link.index;
        let used = self.routes.all_actual().any(|(_, spec)| spec.uses(index));
        self.tunnels.in_use |= used;
        used
    }

    /// Permanent entries for remote VTEPs: MAC → node, and tunnel address → MAC.
    pub(super) fn tend_vteps(&mut self) {
        let changed = std::mem::take(&mut self.tunnels.changed_vteps);
        let mut nodes = changed.clone();
        // A device has changed: all of them.
        if std::mem::take(&mut self.dirty.vteps) {
            nodes.extend(self.wishes.vteps.keys());
        }
        for node in nodes {
            let mut wanted = None;
            if let Some(vtep) = self.wishes.vteps.get(&node) {
                let name = match vtep.address {
                    IpAddr::V4(_) => VXLAN_DEVICE,
                    IpAddr::V6(_) => VXLAN_V6_DEVICE,
                };
                if let Some(link) = self.world.named(name).filter(|link| link.up) {
                    let by_mac = NeighbourKey::Mac(link.index, vtep.mac);
                    let by_address = NeighbourKey::Address(link.index, vtep.address);
                    self.vtep_neighbours
                        .set(by_mac, NeighbourValue::Remote(node));
                    self.vtep_neighbours
                        .set(by_address, NeighbourValue::Mac(vtep.mac));
                    wanted = Some([by_mac, by_address]);
                }
            }
            for key in self.tunnels.vteps.remove(&node).into_iter().flatten() {
                if !wanted.is_some_and(|wanted| wanted.contains(&key)) {
                    self.vtep_neighbours.unset(key, true);
                }
            }
            if let Some(wanted) = wanted {
                self.tunnels.vteps.insert(node, wanted);
            }
        }
        self.touch_next_hops(&changed);
    }

    /// Looks whether subnets or tunnels have changed, and what routes follow from that.
    pub(super) fn look_around(&mut self) {
        if !std::mem::take(&mut self.dirty.surroundings) {
            return;
        }
        self.dirty.tunnels = true;
        self.dirty.status = true;
        let subnets = self.world.own_subnets(&self.config.device_prefix);
        let tunnels = [IPIP_DEVICE, VXLAN_DEVICE, VXLAN_V6_DEVICE].map(|name| {
            let link = self.world.named(name)?;
            Some((link.index, link.up))
        });
        if subnets == self.subnets && tunnels == self.tunnels.devices {
            return;
        }
        self.subnets = subnets;
        self.tunnels.devices = tunnels;
        self.dirty.gate = true;
        self.dirty.prefixes.extend(self.wishes.routes.keys());
    }
}

impl Waiting {
    /// It waits for this device.
    pub(super) fn is_for(&self, device: &str) -> bool {
        matches!(self, Waiting::NoDevice(name) | Waiting::DeviceDown(name) if name == device)
    }
}

const IPIP_OVERHEAD: u32 = 20;
const VXLAN_OVERHEAD: u32 = 50;
const VXLAN_V6_OVERHEAD: u32 = 70;
/// Where the host has no device that we could ask.
const HOST_MTU_DEFAULT: u32 = 1500;
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);
