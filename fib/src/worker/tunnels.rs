//! Tunnel devices: `tunl0`, `vxlan.calico`, `vxlan-v6.calico`: which shall be there, which go when, and how they stand.

mod devices;

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use tracing::{info, warn};

use super::Worker;
use super::walks::Pace;
use crate::kernel::{Kernel, Link};
use crate::model::{TunnelStatus, Tunnels};
use crate::resolve::{IPIP_DEVICE, VXLAN_DEVICE, VXLAN_V6_DEVICE, Waiting};

#[derive(Debug, Default)]
pub(super) struct TunnelState {
    /// By device name.
    problems: BTreeMap<&'static str, Problem>,
    /// A device that no pool asks for is still used by routes.
    in_use: bool,
    usage: Option<Usage>,
    /// Whether it still is.
    look: Pace,
    /// Others may still send to a device that is not desired: since when it is not, and until when it stays.
    retiring: [Option<Retiring>; 3],
    statuses: Vec<TunnelStatus>,
    /// By us, and nobody has told yet that they are gone.
    deleted: HashSet<u32>,
    /// How often somebody deleted one that is wished for.
    pub(super) deleted_by_others: u64,
    /// Index and whether it is up, as routes were last resolved with.
    devices: [Option<(u32, bool)>; 3],
}

/// What the last walk has found.
#[derive(Debug, Clone, Copy)]
struct Usage {
    /// By index.
    links: [Option<u32>; 3],
    used: [bool; 3],
}

#[derive(Debug, Clone, Copy)]
struct Retiring {
    since: Instant,
    /// Nothing but time can end it.
    until: Option<Instant>,
}

#[derive(Debug)]
struct Problem {
    reason: String,
    attempts: u32,
    since: Instant,
    retry: Instant,
}

impl TunnelState {
    /// Other devices are desired: try all at once.
    pub(super) fn reset(&mut self) {
        self.problems.clear();
    }

    pub(super) fn next_due(&self, now: Instant) -> Option<Instant> {
        let look = self.look.next_due(now);
        self.next_retry().into_iter().chain(look).min()
    }

    fn next_retry(&self) -> Option<Instant> {
        let retries = self.problems.values().map(|problem| problem.retry);
        let ends = self.retiring.iter().flatten().filter_map(|r| r.until);
        retries.chain(ends).min()
    }

    pub(super) fn statuses(&self) -> &[TunnelStatus] {
        &self.statuses
    }

    /// Some device is there for the sake of others only.
    pub(super) fn any_retires(&self) -> bool {
        let meant = |status: &TunnelStatus| ["leaving", "retiring"].contains(&&*status.state);
        self.statuses.iter().any(meant)
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
        let look = self.dirty.unresolved() == 0 && self.tunnels.look.take(now);
        if look {
            self.tunnels.usage = None;
        }
        if !std::mem::take(&mut self.dirty.tunnels) && !retry && !look {
            return;
        }
        let Some(tunnels) = self.wishes.tunnels.clone() else {
            return;
        };
        self.tunnels.in_use = false;
        let awaited = [
            tunnels.awaited.ipip,
            tunnels.awaited.vxlan,
            tunnels.awaited.vxlan_v6,
        ];
        let wanted = [
            tunnels.ipip.is_some(),
            tunnels.vxlan.is_some(),
            tunnels.vxlan_v6.is_some(),
        ];
        let vxlan = [None, tunnels.vxlan.as_ref(), tunnels.vxlan_v6.as_ref()];
        for (at, name) in DEVICES.into_iter().enumerate() {
            if self.is_early(name, now) {
                continue;
            }
            if wanted[at] {
                self.tunnels.retiring[at] = None;
            } else if self.stays(at, awaited[at], now) {
                self.note_tunnel(name, Ok(()), now);
                continue;
            }
            let outcome = match (name, &tunnels.ipip, vxlan[at]) {
                (IPIP_DEVICE, Some(device), _) => self.tend_ipip(device, now).await,
                (IPIP_DEVICE, None, _) => self.retire_ipip(now).await,
                (_, _, Some(device)) => self.tend_vxlan(name, device, now).await,
                (_, _, None) => self.retire_vxlan(name, now).await,
            };
            self.note_tunnel(name, outcome, now);
        }
        self.tunnels.statuses = self.tunnel_statuses(&tunnels, now);
    }

    /// By its index.
    pub(super) fn note_deleted(&mut self, device: u32) {
        self.tunnels.deleted.insert(device);
    }

    /// Says so when it was neither us nor for want of a wish.
    pub(super) fn tunnel_gone(&mut self, link: &Link) {
        let by_us = self.tunnels.deleted.remove(&link.index);
        let wished = self
            .wishes
            .tunnels
            .as_ref()
            .is_some_and(|tunnels| match link.name.as_str() {
                IPIP_DEVICE => tunnels.ipip.is_some(),
                VXLAN_DEVICE => tunnels.vxlan.is_some(),
                VXLAN_V6_DEVICE => tunnels.vxlan_v6.is_some(),
                _ => false,
            });
        if wished && !by_us {
            self.tunnels.deleted_by_others += 1;
            warn!(
                device = link.name,
                "someone deleted the tunnel device; making it anew"
            );
        }
    }

    /// Whether a device that is not desired any more stays as it is: routes of ours use it, or others may still send to it.
    fn stays(&mut self, at: usize, awaited: bool, now: Instant) -> bool {
        let Some(link) = self.world.named(DEVICES[at]).cloned() else {
            self.tunnels.retiring[at] = None;
            return false;
        };
        // A `tunl0` that came with the module, and that nobody has ever used.
        if at == 0 && !link.up && self.world.addresses(link.index).is_empty() {
            return false;
        }
        let retiring = self.tunnels.retiring[at].get_or_insert(Retiring {
            since: now,
            until: None,
        });
        let until = retiring.since + RETIREMENT;
        let awaited = awaited && now < until;
        retiring.until = awaited.then_some(until);
        awaited || self.is_in_use(at, true, now)
    }

    /// What is there before anybody has said what is desired.
    pub(super) fn look_at_tunnels(&mut self, now: Instant) {
        self.tunnels.statuses = self.tunnel_statuses(&Tunnels::default(), now);
    }

    fn tunnel_statuses(&mut self, tunnels: &Tunnels, now: Instant) -> Vec<TunnelStatus> {
        let devices = [
            (
                tunnels.ipip.as_ref().map(|d| IpAddr::V4(d.address)),
                tunnels.leaving.ipip,
            ),
            (
                tunnels.vxlan.as_ref().map(|d| d.address),
                tunnels.leaving.vxlan,
            ),
            (
                tunnels.vxlan_v6.as_ref().map(|d| d.address),
                tunnels.leaving.vxlan_v6,
            ),
        ];
        let mut statuses = Vec::new();
        for (at, (wanted, leaving)) in devices.into_iter().enumerate() {
            let name = DEVICES[at];
            let link = self.world.named(name).cloned();
            let addresses = link
                .as_ref()
                .map_or(&[][..], |link| self.world.addresses(link.index));
            let address = match wanted {
                Some(wanted) => addresses.contains(&IpNet::from(wanted)).then_some(wanted),
                None => addresses.first().map(IpNet::addr),
            };
            // A bare `tunl0` that is down is nothing that we keep.
            let there = link.as_ref().is_some_and(|l| l.up || address.is_some());
            if wanted.is_none() && !there {
                continue;
            }
            let used = match &link {
                Some(_) if leaving || wanted.is_none() => self.is_in_use(at, false, now),
                _ => wanted.is_some() && !leaving,
            };
            let problem = self.tunnels.problems.get(name);
            let broken = problem.is_some_and(|problem| problem.since + PATIENCE <= now);
            let reason = problem.map(|problem| problem.reason.clone());
            let up = link.is_some_and(|link| link.up);
            let state = match (wanted, address) {
                _ if broken => "broken",
                _ if reason.is_some() => "failed",
                (None, _) => "retiring",
                (Some(_), Some(_)) if up && !self.drops_returning(name) => match leaving {
                    true => "leaving",
                    false => "ready",
                },
                (Some(_), _) => "making",
            };
            statuses.push(TunnelStatus {
                device: name.into(),
                state: state.into(),
                address,
                used,
                reason,
            });
        }
        statuses
    }

    /// The kernel drops what comes in here when its answer would leave elsewhere (strict rp_filter), as far as is known.
    fn drops_returning(&self, device: &str) -> bool {
        let read = |name: &str| {
            let text = self
                .sysctls
                .read(&format!("net/ipv4/conf/{name}/rp_filter"))?;
            text.parse::<u8>().ok()
        };
        device != VXLAN_V6_DEVICE && read("all").max(read(device)) == Some(1)
    }

    /// In a change of encapsulation packets come by one way while ours go by another: host devices that would drop them.
    pub(super) fn strict_host_devices(&self) -> Vec<&str> {
        let v4 = |subnet: &&crate::egress::Subnet| subnet.prefix.addr().is_ipv4();
        let devices = self.subnets.iter().filter(v4);
        let mut names: Vec<&str> = devices
            .filter_map(|subnet| self.world.name(subnet.device))
            .filter(|name| self.drops_returning(name))
            .collect();
        names.dedup();
        names
    }

    /// The device could not be made a moment ago, and asking the kernel for it means running modprobe: not at each event.
    fn is_early(&self, name: &str, now: Instant) -> bool {
        let problem = self.tunnels.problems.get(name);
        self.world.named(name).is_none() && problem.is_some_and(|problem| problem.retry > now)
    }

    /// Routes to a device that is to go may be gone now.
    pub(super) fn look_at_retired_tunnels(&mut self) {
        if self.tunnels.in_use {
            self.tunnels.look.want();
        }
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
                let since = before.map_or(now, |p| p.since);
                if before.is_none_or(|p| p.reason != reason) {
                    warn!(device = name, reason, "tunnel device does not work");
                }
                let pause = RETRY_MIN * 2u32.saturating_pow(attempts.min(8));
                self.tunnels.problems.insert(
                    name,
                    Problem {
                        reason,
                        attempts,
                        since,
                        retry: now + pause.min(RETRY_MAX),
                    },
                );
            }
        }
    }

    /// Whether routes of ours use a device, or will use it: it goes after them. `fresh`: a no is true now, else it may be a
    /// second old, as a yes may be.
    fn is_in_use(&mut self, at: usize, fresh: bool, now: Instant) -> bool {
        let links = DEVICES.map(|name| self.world.named(name).map(|link| link.index));
        let known = self.tunnels.usage.filter(|usage| {
            usage.links == links && !self.tunnels.look.may_ask(now) && (usage.used[at] || !fresh)
        });
        let used = match known {
            // It is looked at again when they are resolved.
            _ if self.dirty.unresolved() > 0 => true,
            Some(usage) => usage.used[at],
            None => {
                let used = self.walk_for(links);
                self.tunnels.look.asked(now);
                self.tunnels.usage = Some(Usage { links, used });
                used[at]
            }
        };
        self.tunnels.in_use |= used;
        used
    }

    fn walk_for(&mut self, links: [Option<u32>; 3]) -> [bool; 3] {
        let mut used = links.map(|link| link.is_some_and(|index| self.sharing.uses(index)));
        // The host routes of VTEPs are there for other routes.
        let vteps: HashSet<IpNet> = self.wishes.vteps.host_prefixes().collect();
        self.each_way(|key, hops| {
            for (at, link) in links.iter().enumerate() {
                let uses = hops.iter().any(|hop| Some(hop.device) == *link);
                used[at] |= uses && !vteps.contains(&key.prefix);
            }
        });
        used
    }

    /// Looks whether subnets or tunnels have changed, and what routes follow from that.
    pub(super) fn look_around(&mut self) {
        if !std::mem::take(&mut self.dirty.surroundings) {
            return;
        }
        self.dirty.tunnels = true;
        self.dirty.status = true;
        let subnets = self.world.own_subnets(&self.config.device_prefixes);
        let tunnels = DEVICES.map(|name| {
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
        let vteps: Vec<IpNet> = self.wishes.vteps.host_prefixes().collect();
        self.dirty.prefixes.extend(&vteps);
    }
}

impl Waiting {
    /// It waits for this device.
    pub(super) fn is_for(&self, device: &str) -> bool {
        matches!(self, Waiting::NoDevice(name) | Waiting::DeviceDown(name) if name == device)
    }
}

const DEVICES: [&str; 3] = [IPIP_DEVICE, VXLAN_DEVICE, VXLAN_V6_DEVICE];
/// How long what nobody desires any more stays for those who may not know yet. Whoever is heard of is heard within
/// seconds; this is for the dead.
pub(super) const RETIREMENT: Duration = Duration::from_secs(300);
/// What does not work for so long is not about to: nobody shall send to it.
const PATIENCE: Duration = Duration::from_secs(30);
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);
