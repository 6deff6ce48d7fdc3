//! How each kind of tunnel device is made, put right and taken away.

use std::net::IpAddr;
use std::time::Instant;

use ipnet::IpNet;
use tracing::info;

use super::DEVICES;
use crate::before::FormerIpip;
use crate::kernel::{DeviceChange, Kernel, Link, LinkKind, VxlanLink};
use crate::model::{IpipDevice, VxlanDevice};
use crate::resolve::IPIP_DEVICE;
use crate::worker::Worker;

impl<K: Kernel> Worker<K> {
    /// `tunl0` is the kernel's own: it comes with the module, which comes when such a device is asked for.
    pub(super) async fn tend_ipip(
        &mut self,
        device: &IpipDevice,
        now: Instant,
    ) -> Result<(), String> {
        let Some(link) = self.world.named(IPIP_DEVICE).cloned() else {
            let add = DeviceChange::AddIpip(IPIP_DEVICE.into());
            return match self.kernel.change(&add).await {
                // Then it is there, and its event is on its way.
                Ok(()) => Ok(()),
                Err(refusal) if refusal.errno == libc::EEXIST => self.look_for_ipip(now),
                Err(refusal) => Err(format!(
                    "this kernel makes no {IPIP_DEVICE} ({refusal}), perhaps for want of the module ipip"
                )),
            };
        };
        if ![LinkKind::Ipip, LinkKind::Tunnel].contains(&link.kind) {
            return Err(format!("{IPIP_DEVICE} is there, but is no IPIP device"));
        }
        self.note_ipip(&link);
        let mtu = self.tunnel_mtu(device.mtu, IPIP_OVERHEAD);
        let address = IpNet::from(IpAddr::V4(device.address));
        self.tend_device(&link, mtu, address, now).await
    }

    /// The kernel has its IPIP device, and we have not seen `tunl0`: either we shall soon, or it has another name.
    fn look_for_ipip(&mut self, now: Instant) -> Result<(), String> {
        let found = self.world.links().find(|link| link.kind == LinkKind::Ipip);
        if let Some(other) = found {
            return Err(format!(
                "the kernel's IPIP device has been renamed to {name}: `ip link set {name} down; ip link set {name} name \
                 {IPIP_DEVICE}` gives it its name back",
                name = other.name
            ));
        }
        // Its event may have been lost.
        self.read_again(now);
        Ok(())
    }

    /// The name of another device that has what makes a VXLAN device one of its kind.
    fn vxlan_like(&self, wanted: &VxlanLink) -> String {
        let mut links = self.world.links();
        let found = links.find_map(|link| match &link.kind {
            LinkKind::Vxlan(kind)
                if !DEVICES.contains(&link.name.as_str())
                    && (kind.vni, kind.port) == (wanted.vni, wanted.port) =>
            {
                Some(format!("device {}", link.name))
            }
            _ => None,
        });
        found.unwrap_or_else(|| "another VXLAN device".into())
    }

    pub(super) async fn retire_ipip(&mut self, now: Instant) -> Result<(), String> {
        let Some(link) = self.world.named(IPIP_DEVICE).cloned() else {
            return Ok(());
        };
        let addresses = self.world.addresses(link.index).to_vec();
        if !link.up && addresses.is_empty() {
            return Ok(());
        }
        self.note_ipip(&link);
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

    /// The device is the kernel's: what it was like is to be put back some day.
    fn note_ipip(&mut self, link: &Link) {
        let addresses = self.world.addresses(link.index);
        self.sysctls.before.note_ipip(|| FormerIpip {
            mtu: link.mtu,
            up: link.up,
            addresses: addresses.to_vec(),
        });
    }

    pub(super) async fn tend_vxlan(
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
        // It is ours, by its MAC, and the kernel makes no second one.
        let is_ours = |link: &&Link| {
            let same = link.kind == LinkKind::Vxlan(wanted.clone()) && link.mac == Some(device.mac);
            same && !DEVICES.contains(&link.name.as_str())
        };
        let ours = self.world.links().find(is_ours).cloned();
        if let Some(link) = ours {
            info!(
                device = name,
                under = link.name,
                "tunnel device was renamed; making it anew"
            );
            let delete = DeviceChange::DeleteLink(link.index);
            self.change_device(delete, name, now).await?;
        }
        let add = DeviceChange::AddVxlan {
            name: name.into(),
            link: wanted.clone(),
            mac: device.mac,
            mtu,
        };
        // Its address follows with the event that says that it is there.
        match self.kernel.change(&add).await {
            Ok(()) => Ok(()),
            Err(refusal) if refusal.errno == libc::EEXIST => Err(format!(
                "{name} cannot be made: {} has its VNI and port",
                self.vxlan_like(&wanted)
            )),
            Err(refusal) => Err(format!("{name} cannot be made: {refusal}")),
        }
    }

    pub(super) async fn retire_vxlan(
        &mut self,
        name: &'static str,
        now: Instant,
    ) -> Result<(), String> {
        let Some(link) = self.world.named(name).cloned() else {
            return Ok(());
        };
        if !matches!(link.kind, LinkKind::Vxlan(_)) {
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
        if address.addr().is_ipv4() {
            // What comes through the tunnel may be answered by another way while the encapsulation of a pool changes.
            let path = format!("net/ipv4/conf/{}/rp_filter", link.name);
            self.sysctls.set(&path, LOOSE);
        }
        // A tunnel with another MTU is better than none: what is refused here holds nothing back.
        let with_mtu = match link.mtu == mtu {
            true => Ok(()),
            false => {
                let set = DeviceChange::SetMtu(index, mtu);
                self.change_device(set, &link.name, now).await
            }
        };
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
        with_mtu.map_err(|reason| format!("its MTU cannot be {mtu}: {reason}"))
    }

    fn tunnel_mtu(&self, configured: Option<u32>, overhead: u32) -> u32 {
        configured.unwrap_or_else(|| {
            let host = self
                .world
                .host_mtu(&self.config.device_prefixes, &self.settings.mtu_devices);
            host.unwrap_or(HOST_MTU_DEFAULT).saturating_sub(overhead)
        })
    }
}

/// rp_filter: the source must be reachable, no matter by which device.
const LOOSE: &str = "2";
const IPIP_OVERHEAD: u32 = 20;
const VXLAN_OVERHEAD: u32 = 50;
const VXLAN_V6_OVERHEAD: u32 = 70;
/// Where the host has no device that we could ask.
const HOST_MTU_DEFAULT: u32 = 1500;
