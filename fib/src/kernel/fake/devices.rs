//! Devices and addresses of the kernel in memory, and what goes with them.

use ipnet::IpNet;

use super::{FakeKernel, State, THE_KERNEL};
use crate::kernel::{Event, Hop, Key, Link, LinkKind, NeighbourKey, Nexthops, Spec};

impl FakeKernel {
    /// Someone makes a device, which is up.
    pub(crate) fn add_link(&self, name: &str, kind: LinkKind) -> u32 {
        self.with(|state| state.add_link(name, kind))
    }

    /// Someone adds an address.
    pub(crate) fn add_address(&self, device: u32, address: &str) {
        let address: IpNet = address.parse().unwrap();
        self.with(|state| state.add_address(device, address));
    }

    /// Someone sets a device up or down.
    pub(crate) fn set_up(&self, device: u32, up: bool) {
        self.with(|state| state.set_up(device, up));
    }

    /// Someone deletes a device.
    pub(crate) fn delete_link(&self, device: u32) {
        self.with(|state| state.delete_link(device));
    }

    /// Someone gives a device another name.
    pub(crate) fn rename_link(&self, device: u32, name: &str) {
        self.with(|state| {
            if let Some(link) = state.links.get_mut(&device) {
                link.name = name.into();
                state.events.push(Event::Link(link.clone()));
            }
        });
    }
}

impl State {
    pub(super) fn add_link(&mut self, name: &str, kind: LinkKind) -> u32 {
        self.next_index += 1;
        let link = Link {
            index: self.next_index,
            name: name.into(),
            up: true,
            carrier: true,
            mtu: 1500,
            mac: None,
            kind,
        };
        self.links.insert(link.index, link.clone());
        self.events.push(Event::Link(link));
        self.next_index
    }

    pub(super) fn set_up(&mut self, device: u32, up: bool) {
        let Some(link) = self.links.get_mut(&device) else {
            return;
        };
        if std::mem::replace(&mut link.up, up) == up {
            return;
        }
        link.carrier = up;
        let link = link.clone();
        if up {
            self.revive(device);
        } else {
            self.go_down(device);
        }
        self.events.push(Event::Link(link));
    }

    /// Routes and neighbours go with it, and its IPv6 addresses.
    pub(super) fn go_down(&mut self, device: u32) {
        self.kill_hops(device, |_| true);
        self.flush_objects(device);
        let gone: Vec<NeighbourKey> = self
            .neighbours
            .keys()
            .copied()
            .filter(|key| matches!(key, NeighbourKey::Address(index, _) if *index == device))
            .collect();
        for key in gone {
            self.neighbours.remove(&key);
            self.events.push(Event::NeighbourGone(key));
        }
        let addresses = self.addresses.clone();
        for (index, address) in addresses {
            if index == device && address.addr().is_ipv6() {
                self.remove_address(device, address);
            }
        }
    }

    /// A route goes when all its next hops are dead: for IPv4 without a word.
    pub(super) fn kill_hops(&mut self, device: u32, meant: impl Fn(&Key) -> bool) {
        let users = self
            .routes
            .iter()
            .filter(|(key, spec)| meant(key) && spec.uses(device));
        self.dead.extend(users.map(|(key, _)| (*key, device)));
        let dead = &self.dead;
        let is_dead = |key: &Key, spec: &Spec| {
            let mut hops = spec.hops().iter();
            !spec.hops().is_empty() && hops.all(|hop| dead.contains(&(*key, hop.device)))
        };
        let gone: Vec<Key> = self
            .routes
            .iter()
            .filter(|(key, spec)| is_dead(key, spec))
            .map(|(key, _)| *key)
            .collect();
        for key in gone {
            self.delete(&key, THE_KERNEL);
            if key.prefix.addr().is_ipv4() {
                self.events.pop();
            }
        }
    }

    pub(super) fn revive(&mut self, device: u32) {
        self.dead.retain(|(_, dead)| *dead != device);
    }

    pub(super) fn delete_link(&mut self, device: u32) {
        self.set_up(device, false);
        // What is left of a multipath route: IPv6 keeps the other next hops, IPv4 nothing.
        let rest: Vec<(Key, Spec)> = self
            .routes
            .iter()
            .filter(|(_, spec)| spec.uses(device))
            .map(|(key, spec)| (*key, spec.clone()))
            .collect();
        for (key, spec) in rest {
            if key.prefix.addr().is_ipv4() {
                self.routes.remove(&key);
                continue;
            }
            let hops = spec.hops().iter().copied();
            let (gone, left): (Vec<Hop>, Vec<Hop>) = hops.partition(|hop| hop.device == device);
            let with = |hops: Vec<Hop>| Spec {
                nexthops: Nexthops::Own(hops.as_slice().into()),
                ..spec.clone()
            };
            self.routes.insert(key, with(left));
            self.events.push(Event::RouteGone {
                key,
                spec: with(gone),
                by: THE_KERNEL,
            });
        }
        self.neighbours.retain(|key, _| match key {
            NeighbourKey::Address(index, _) | NeighbourKey::Mac(index, _) => *index != device,
        });
        for (index, address) in self.addresses.clone() {
            if index == device {
                self.remove_address(device, address);
            }
        }
        self.links.remove(&device);
        self.revive(device);
        self.events.push(Event::LinkGone(device));
    }

    pub(super) fn add_address(&mut self, device: u32, address: IpNet) {
        if !self.addresses.contains(&(device, address)) {
            self.addresses.push((device, address));
        }
        let up = self.links.get(&device).is_some_and(|link| link.up);
        if up && address.addr().is_ipv4() {
            self.revive(device);
        }
        self.events.push(Event::Address(device, address));
    }

    /// With the last IPv4 address of a device its IPv4 routes die.
    pub(super) fn remove_address(&mut self, device: u32, address: IpNet) {
        let before = self.addresses.len();
        self.addresses.retain(|have| *have != (device, address));
        if self.addresses.len() == before {
            return;
        }
        let v4 = |(index, left): &(u32, IpNet)| *index == device && left.addr().is_ipv4();
        if address.addr().is_ipv4() && !self.addresses.iter().any(v4) {
            self.kill_hops(device, |key| key.prefix.addr().is_ipv4());
        }
        self.events.push(Event::AddressGone(device, address));
    }
}
