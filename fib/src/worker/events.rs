//! What others did: the world is brought up to date, and what is ours is put right.

use std::collections::BTreeSet;
use std::time::Instant;

use ipnet::IpNet;
use tracing::{info, warn};

use super::Worker;
use crate::kernel::{Event, Kernel, Key, Link, LinkKind, NeighbourKey};
use crate::plan::Mark;
use crate::resolve::{IPIP_DEVICE, VXLAN_DEVICE, VXLAN_V6_DEVICE};
use crate::world::is_host_device;

impl<K: Kernel> Worker<K> {
    pub(crate) fn handle_event(&mut self, event: Event, now: Instant) {
        self.note_event(&event);
        match event {
            Event::Link(link) => self.link_changed(link, now),
            Event::LinkGone(index) => {
                if let Some(link) = self.world.remove_link(index) {
                    self.tunnel_gone(&link);
                    self.flushed(&link, now);
                    self.carrier_returned(index);
                    self.dropped.remove(&index);
                    self.touch_link(&link);
                    self.gateways.ask_over_again(index, now);
                }
            }
            Event::Address(device, address) => {
                if self.world.add_address(device, address) {
                    self.touch_address(device, &address, now);
                }
            }
            Event::AddressGone(device, address) => {
                if self.world.remove_address(device, address) {
                    // With the last IPv4 address of a device its routes go, and the kernel does not say so.
                    let hosts = self.world.link(device);
                    let prefixes = &self.config.device_prefixes;
                    if hosts.is_some_and(|link| !prefixes.fit(&link.name)) {
                        self.dirty.lost = true;
                        self.read_again(now);
                    }
                    self.touch_address(device, &address, now);
                }
            }
            Event::Route {
                key,
                spec,
                replaced,
                by,
            } => self.route_changed(key, spec, replaced, by, now),
            Event::RouteGone { key, spec, by } => self.route_gone(key, &spec, by, now),
            Event::Object { id, object, by } => self.object_changed(id, object, by, now),
            Event::ObjectGone { id, by } => self.object_gone(id, by, now),
            Event::Neighbour(key, value) => self.report_neighbour(key, Some(value), now),
            Event::NeighbourGone(key) => self.report_neighbour(key, None, now),
            Event::Overrun => {
                warn!("kernel events were lost; reading everything");
                self.counters.overruns += 1;
                self.read_again(now);
            }
            Event::SocketLost(lane, reason) => {
                self.repairs.counters.lost_sockets += 1;
                self.lost_sockets.insert(lane, reason);
            }
            Event::SocketBack(lane) => {
                self.lost_sockets.remove(&lane);
                self.read_again(now);
            }
        }
        self.dirty.status = true;
    }

    fn link_changed(&mut self, link: Link, now: Instant) {
        let before = self.world.set_link(link.clone());
        if before.as_ref() == Some(&link) {
            return;
        }
        let lost_carrier = before.as_ref().is_some_and(|b| b.carrier) && !link.carrier;
        if let Some(before) = &before {
            if before.up && !link.up {
                self.flushed(&link, now);
            }
            if lost_carrier {
                self.flush_objects(link.index);
            }
            if link.carrier && !before.carrier {
                self.carrier_returned(link.index);
            }
            if before.name != link.name {
                info!(from = before.name, to = link.name, "device renamed");
                self.touch_link(before);
            }
        }
        if link.up {
            let index = link.index;
            if !lost_carrier && self.dropped.remove(&index) {
                // It may have been up again already when routes were last written, or it was read: then they are still there.
                self.read_again(now);
            }
            self.routes.retry(now, |_, spec| spec.uses(index));
            self.retry_objects_on(index, now);
        }
        self.touch_link(&link);
        self.ask_gateways_over(before.as_ref(), &link, now);
    }

    /// The kernel drops routes and neighbours of a device that goes down, most of them without a word.
    fn flushed(&mut self, link: &Link, now: Instant) {
        let index = link.index;
        self.flush_objects(index);
        // Each once: of a second look at the same route nothing would be left.
        let keys: BTreeSet<Key> = if self.is_of_workload(link) {
            let marked = self.routes.tagged(Mark::Device(index));
            let uses = |key: &&Key| self.routes.actual(key).is_some_and(|s| s.uses(index));
            marked.filter(uses).copied().collect()
        } else {
            self.note_walk();
            let uses = self.routes.all_actual().filter(|(_, s)| s.uses(index));
            uses.map(|(key, _)| *key).collect()
        };
        for key in keys {
            let whole = self
                .routes
                .actual(&key)
                .is_some_and(|spec| spec.hops().iter().all(|hop| hop.device == index));
            if whole {
                self.routes.report(key, None);
                self.dropped.insert(index);
            } else {
                // What is left of a multipath route, the kernel knows.
                self.dirty.lost = true;
                self.read_again(now);
            }
        }
        // Thousands, and all on devices of that kind.
        let vteps = match link.kind {
            LinkKind::Vxlan(_) => Some(&mut self.vtep_neighbours),
            _ => None,
        };
        for neighbours in vteps.into_iter().chain([&mut self.neighbours]) {
            let gone: Vec<NeighbourKey> = neighbours
                .all_actual()
                .map(|(key, _)| *key)
                .filter(|key| key.device() == index)
                .collect();
            for key in gone {
                neighbours.report(key, None);
                self.dropped.insert(index);
            }
        }
    }

    fn touch_link(&mut self, link: &Link) {
        self.touch_routes_over(&link.name);
        if self.wishes.endpoints.contains_key(&link.name) {
            self.dirty.endpoints.insert(link.name.clone());
            return;
        }
        if self.config.device_prefixes.fit(&link.name) {
            return;
        }
        self.dirty.surroundings = true;
        self.dirty.tunnels = true;
        self.dirty.vteps = true;
    }

    /// Whose routes are those of one workload: there are many, and they come and go.
    fn is_of_workload(&self, link: &Link) -> bool {
        self.wishes.endpoints.contains_key(&link.name)
            || self.config.device_prefixes.fit(&link.name)
    }

    /// Next hops that were reached by this device are asked for again, and those that may be from now on.
    fn ask_gateways_over(&mut self, before: Option<&Link>, link: &Link, now: Instant) {
        let works = |link: &Link| (link.up, link.carrier);
        if self.is_of_workload(link) || before.map(works) == Some(works(link)) {
            return;
        }
        if works(link) == (true, true) {
            return self.gateways.ask_all_again(now);
        }
        self.gateways.ask_over_again(link.index, now);
        for address in self.world.addresses(link.index) {
            self.gateways.ask_within_again(address, now);
        }
    }

    /// Routes whose next hops are neighbours on this device.
    fn touch_routes_over(&mut self, device: &str) {
        let prefixes = self.wishes.over_links.get(device);
        self.dirty.prefixes.extend(prefixes.into_iter().flatten());
    }

    fn touch_address(&mut self, device: u32, address: &IpNet, now: Instant) {
        let Some(link) = self.world.link(device) else {
            return;
        };
        if self.settings.source_v4.is_some() || self.settings.source_v6.is_some() {
            // It may be the source of packets to workloads.
            self.dirty.workloads.extend(self.wishes.workloads.keys());
        }
        if is_host_device(link, &self.config.device_prefixes) {
            self.dirty.surroundings = true;
            // With a device's last address go the routes by it.
            self.gateways.ask_over_again(device, now);
            self.gateways.ask_within_again(address, now);
        } else if [IPIP_DEVICE, VXLAN_DEVICE, VXLAN_V6_DEVICE].contains(&link.name.as_str()) {
            self.dirty.tunnels = true;
        } else if self.wishes.endpoints.contains_key(&link.name) {
            self.dirty.endpoints.insert(link.name.clone());
        }
    }

    /// Whose table a neighbour belongs to, by its device.
    pub(super) fn neighbour_owner(&self, key: &NeighbourKey) -> Option<Owner> {
        let name = self.world.name(key.device())?;
        if self.config.device_prefixes.fit(name) {
            matches!(key, NeighbourKey::Address(..)).then_some(Owner::Workload)
        } else if [VXLAN_DEVICE, VXLAN_V6_DEVICE].contains(&name) {
            Some(Owner::Vtep)
        } else {
            None
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Workload,
    Vtep,
}
