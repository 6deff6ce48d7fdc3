//! What the kernel shall have: from the wishes and the devices alone, in the words of `ip`. Nothing of the worker is
//! used here, so that a mistake there is not made twice.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::grounds::Snapshot;
use super::story::vxlan_link;
use super::watched::OURS;
use super::words::{
    Leg, address_is_link_local, addresses, hops, mac, name, neighbours, vxlan_of, way, words,
};
use crate::kernel::{Content, Key, Kind, Link, LinkKind, Object, ObjectId};
use crate::model::{Change, Encapsulation, Endpoint, Gate, Mode, Route, Standing, Tunnels, Vtep};
use crate::settings::Settings;

/// All wishes so far.
#[derive(Debug, Clone)]
pub(super) struct Desired {
    pub(super) routes: BTreeMap<IpNet, Route>,
    pub(super) endpoints: BTreeMap<String, Endpoint>,
    pub(super) tunnels: Option<Tunnels>,
    pub(super) vteps: BTreeMap<IpAddr, Vtep>,
    pub(super) gate: Gate,
    pub(super) settings: Option<Settings>,
}

impl Default for Desired {
    fn default() -> Desired {
        Desired {
            routes: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            tunnels: None,
            vteps: BTreeMap::new(),
            gate: Gate::Closed,
            settings: None,
        }
    }
}

impl Desired {
    pub(super) fn apply(&mut self, change: &Change) {
        match change.clone() {
            Change::SetRoute(prefix, route) => {
                self.routes.insert(prefix, route);
            }
            Change::RemoveRoute(prefix) => {
                self.routes.remove(&prefix);
            }
            Change::SetEndpoint(device, endpoint) => {
                self.endpoints.insert(device, endpoint);
            }
            Change::RemoveEndpoint(device) => {
                self.endpoints.remove(&device);
            }
            Change::SetTunnels(tunnels) => self.tunnels = Some(*tunnels),
            Change::SetVtep(node, vtep) => {
                self.vteps.insert(node, vtep);
            }
            Change::RemoveVtep(node) => {
                self.vteps.remove(&node);
            }
            // A matter of when, and not of what.
            Change::SetIpipEnd(..) => {}
            Change::SetGate(gate) => self.gate = gate,
            Change::SetSettings(settings) => self.settings = Some(*settings),
        }
    }

    /// All of them but the gate, as one would tell a new worker.
    pub(super) fn changes(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        changes.extend(self.settings.clone().map(Box::new).map(Change::SetSettings));
        changes.extend(self.tunnels.clone().map(Box::new).map(Change::SetTunnels));
        for (node, vtep) in &self.vteps {
            changes.push(Change::SetVtep(*node, vtep.clone()));
        }
        for (prefix, route) in &self.routes {
            changes.push(Change::SetRoute(*prefix, route.clone()));
        }
        for (device, endpoint) in &self.endpoints {
            changes.push(Change::SetEndpoint(device.clone(), endpoint.clone()));
        }
        changes
    }

    pub(super) fn wishes(&self, prefix: &IpNet) -> bool {
        self.routes.contains_key(prefix) || self.is_workload(prefix) || self.is_vtep(prefix)
    }

    fn is_vtep(&self, prefix: &IpNet) -> bool {
        let mut addresses = self.vteps.values().map(|vtep| vtep.address);
        addresses.any(|address| address.is_ipv6() && IpNet::from(address) == *prefix)
    }

    pub(super) fn is_workload(&self, prefix: &IpNet) -> bool {
        self.workloads(prefix).next().is_some()
    }

    /// Those that claim this address for themselves.
    fn workloads(&self, prefix: &IpNet) -> impl Iterator<Item = &Endpoint> {
        let here = self.endpoints.values();
        here.filter(|endpoint| {
            let mut addresses = endpoint.addresses.iter();
            endpoint.standing != Standing::Awaited
                && addresses.any(|address| IpNet::from(*address) == *prefix)
        })
    }

    /// Where the route of a prefix stands.
    pub(super) fn key(&self, prefix: IpNet) -> Key {
        let mut workloads = self.workloads(&prefix);
        let elevated = workloads.any(|endpoint| endpoint.standing == Standing::Elevated);
        let settings = self.settings.clone().unwrap_or_default();
        let metric = match (prefix, elevated) {
            (IpNet::V4(_), false) => settings.metric_v4,
            (IpNet::V6(_), false) => settings.metric_v6,
            (IpNet::V4(_), true) => settings.elevated_metric_v4,
            (IpNet::V6(_), true) => settings.elevated_metric_v6,
        };
        Key::new(prefix, metric)
    }
}

/// Says in which points the kernel is not as desired. Prefixes of which someone else holds a route are left out.
pub(super) fn differences(desired: &Desired, kernel: &Snapshot) -> Vec<String> {
    let oracle = Oracle { desired, kernel };
    let mut found = Vec::new();
    let foreign: BTreeSet<IpNet> = kernel
        .routes
        .iter()
        .filter(|(_, spec)| spec.protocol != OURS)
        .map(|(key, _)| key.prefix)
        .collect();
    let open = desired.gate == Gate::Open;
    let wanted = oracle.routes();
    let there: BTreeMap<Key, String> = kernel
        .routes
        .iter()
        .filter(|(_, spec)| spec.protocol == OURS)
        .map(|(key, spec)| (*key, way(spec, kernel)))
        .collect();
    let keys: BTreeSet<&Key> = wanted.keys().chain(there.keys()).collect();
    for key in keys {
        let (wanted, there) = (wanted.get(key), there.get(key));
        // What nobody desires may stay while the gate is not open.
        if wanted == there || foreign.contains(&key.prefix) || (wanted.is_none() && !open) {
            continue;
        }
        let shown = |way: Option<&String>| way.map_or("nothing", String::as_str).to_owned();
        found.push(format!(
            "{} metric {}: {} is desired, {} is there",
            key.prefix,
            key.metric,
            shown(wanted),
            shown(there)
        ));
    }
    if open {
        oracle.objects(&mut found);
    }
    let wanted = oracle.neighbours();
    let there = neighbours(kernel);
    let missing = wanted.difference(&there);
    found.extend(missing.map(|line| format!("neighbour missing: {line}")));
    if open {
        let extra = there.difference(&wanted);
        found.extend(extra.map(|line| format!("neighbour of nobody: {line}")));
    }
    oracle.tunnels(&mut found);
    found
}

struct Oracle<'a> {
    desired: &'a Desired,
    kernel: &'a Snapshot,
}

impl Oracle<'_> {
    fn routes(&self) -> BTreeMap<Key, String> {
        let mut routes = BTreeMap::new();
        // The kernel takes a route by a VTEP only if the VTEP itself is on that device.
        let vteps = self.desired.vteps.values().map(|vtep| vtep.address);
        for address in vteps.filter(|address| address.is_ipv6()) {
            let device = vxlan_of(true);
            if self.up(device) {
                let key = self.desired.key(IpNet::from(address));
                routes.insert(key, format!("dev {device}"));
            }
        }
        for (prefix, route) in &self.desired.routes {
            if !self.desired.is_workload(prefix)
                && let Some(way) = self.route(prefix, route)
            {
                routes.insert(self.desired.key(*prefix), way);
            }
        }
        // Of several devices that claim an address, the first that is up.
        for (device, endpoint) in self.desired.endpoints.iter().rev() {
            if !self.up(device) || endpoint.standing == Standing::Awaited {
                continue;
            }
            for address in &endpoint.addresses {
                let scope = if address.is_ipv4() { " scope link" } else { "" };
                routes.insert(
                    self.desired.key(IpNet::from(*address)),
                    format!("dev {device}{scope}"),
                );
            }
        }
        routes
    }

    fn route(&self, prefix: &IpNet, route: &Route) -> Option<String> {
        if *route == Route::Blackhole {
            return Some("blackhole".into());
        }
        let legs = self.legs(prefix, route);
        (!legs.is_empty()).then(|| words(&legs, false))
    }

    fn legs(&self, prefix: &IpNet, route: &Route) -> Vec<Leg> {
        match route {
            Route::Blackhole => Vec::new(),
            Route::Links { next_hops } => next_hops
                .iter()
                .filter(|(_, device)| self.up(device))
                .map(|(via, device)| (Some(*via), device.clone(), false))
                .collect(),
            Route::Remote {
                next_hops,
                encapsulation,
            } => next_hops
                .iter()
                .filter_map(|next_hop| self.leg(prefix, *next_hop, *encapsulation))
                .collect(),
        }
    }

    fn leg(&self, prefix: &IpNet, next_hop: IpAddr, encapsulation: Encapsulation) -> Option<Leg> {
        let near = self.near(next_hop);
        let mode = match encapsulation {
            Encapsulation::None => None,
            Encapsulation::Ipip(mode) | Encapsulation::Vxlan(mode) => Some(mode),
        };
        match (mode, near) {
            // IPIP carries IPv4 in IPv4 only, and is not left out for that.
            _ if matches!(encapsulation, Encapsulation::Ipip(_)) && next_hop.is_ipv6() => None,
            (None | Some(Mode::CrossSubnet), Some(device)) => Some((Some(next_hop), device, false)),
            (None, None) => self.beyond(next_hop),
            (Some(_), _) => {
                let ipip = matches!(encapsulation, Encapsulation::Ipip(_));
                let (device, via) = match ipip {
                    true => ("tunl0", next_hop),
                    false => {
                        let vtep = self.desired.vteps.get(&next_hop)?;
                        (vxlan_of(prefix.addr().is_ipv6()), vtep.address)
                    }
                };
                self.up(device).then(|| (Some(via), device.into(), true))
            }
        }
    }

    /// The device of the host that has this address on its link.
    fn near(&self, next_hop: IpAddr) -> Option<String> {
        let mut best: Option<(u8, String)> = None;
        for link in &self.kernel.links {
            if !link.up || link.kind != LinkKind::Ordinary || link.name.starts_with("cali") {
                continue;
            }
            for address in addresses(self.kernel, link) {
                let length = address.prefix_len();
                if address.contains(&next_hop)
                    && length < address.max_prefix_len()
                    && !address_is_link_local(&address)
                    && best.as_ref().is_none_or(|(longest, _)| *longest < length)
                {
                    best = Some((length, link.name.clone()));
                }
            }
        }
        best.map(|(_, device)| device)
    }

    /// Behind a gateway that someone else's route names.
    fn beyond(&self, next_hop: IpAddr) -> Option<Leg> {
        let routes = self.kernel.routes.iter();
        let (_, spec) = routes
            .filter(|(key, _)| key.prefix.contains(&next_hop))
            .max_by_key(|(key, _)| (key.prefix.prefix_len(), u32::MAX - key.metric))?;
        let [hop] = hops(spec, self.kernel.objects.as_deref().unwrap_or_default())[..] else {
            return None;
        };
        let device = name(self.kernel, hop.device);
        (spec.kind == Kind::Unicast && spec.protocol != OURS)
            .then(|| (Some(hop.via.unwrap_or(next_hop)), device, hop.onlink))
    }

    /// None of ours is there for nothing. An object that stands ready for a wished route whose place someone else holds
    /// is not.
    fn objects(&self, found: &mut Vec<String>) {
        let held = |prefix: &IpNet| {
            let mut routes = self.kernel.routes.iter();
            routes.any(|(key, spec)| *key == self.desired.key(*prefix) && spec.protocol != OURS)
        };
        let ready: BTreeSet<IpAddr> = self
            .desired
            .routes
            .iter()
            .filter(|(prefix, _)| held(prefix))
            .flat_map(|(prefix, route)| self.legs(prefix, route))
            .filter_map(|(via, ..)| via)
            .collect();
        let objects = || self.kernel.objects.iter().flatten();
        let members = objects().flat_map(|(_, object)| object.members());
        let used: BTreeSet<ObjectId> = self
            .kernel
            .routes
            .iter()
            .filter_map(|(_, spec)| spec.object())
            .chain(members.map(|member| member.id))
            .collect();
        for (id, object) in objects() {
            let leads = |object: &Object| matches!(&object.content, Content::Single(hop) if hop.via.is_some_and(|via| ready.contains(&via)));
            let mut members = object.members().iter();
            let stands_ready = leads(object)
                || (members.len() > 0
                    && members
                        .all(|member| objects().any(|(id, one)| *id == member.id && leads(one))));
            if object.protocol == OURS && !used.contains(id) && !stands_ready {
                found.push(format!("nothing uses nexthop object {id}: {object:?}"));
            }
        }
    }

    fn neighbours(&self) -> BTreeSet<String> {
        let mut lines = BTreeSet::new();
        for (device, endpoint) in &self.desired.endpoints {
            if self.up(device) {
                for address in &endpoint.addresses {
                    lines.insert(format!(
                        "{address} dev {device} lladdr {}",
                        mac(&endpoint.mac)
                    ));
                }
            }
        }
        // Of several nodes that name one tunnel, the first.
        let mut taken = BTreeSet::new();
        for (node, vtep) in &self.desired.vteps {
            let device = vxlan_of(vtep.address.is_ipv6());
            if self.up(device) {
                let octets = mac(&vtep.mac);
                if taken.insert(format!("{octets} dev {device}")) {
                    lines.insert(format!("{octets} dev {device} dst {node}"));
                }
                if taken.insert(format!("{} dev {device}", vtep.address)) {
                    lines.insert(format!("{} dev {device} lladdr {octets}", vtep.address));
                }
            }
        }
        lines
    }

    fn tunnels(&self, found: &mut Vec<String>) {
        let Some(tunnels) = &self.desired.tunnels else {
            return;
        };
        match (&tunnels.ipip, self.link("tunl0")) {
            (Some(device), Some(link)) => {
                let mtu = device.mtu.unwrap_or(self.host_mtu() - 20);
                self.tunnel(link, mtu, IpAddr::V4(device.address).into(), found);
            }
            (None, Some(link)) if link.up && !self.used(link) => {
                found.push("tunl0 is up, and not desired".into());
            }
            // Without the module there is none.
            _ => {}
        }
        for (name, device) in [
            ("vxlan.calico", &tunnels.vxlan),
            ("vxlan-v6.calico", &tunnels.vxlan_v6),
        ] {
            match (device, self.link(name)) {
                (Some(device), Some(link)) => {
                    let overhead = if device.local.is_ipv6() { 70 } else { 50 };
                    let mtu = device.mtu.unwrap_or(self.host_mtu() - overhead);
                    self.tunnel(link, mtu, device.address.into(), found);
                    let kind = LinkKind::Vxlan(vxlan_link(device));
                    if link.kind != kind || link.mac != Some(device.mac) {
                        found.push(format!("{name} shall be {device:?}, is {link:?}"));
                    }
                }
                (Some(_), None) => found.push(format!("{name} is not there")),
                (None, Some(link)) if !self.used(link) => {
                    found.push(format!("{name} is there, and not desired"));
                }
                (None, _) => {}
            }
        }
    }

    fn tunnel(&self, link: &Link, mtu: u32, address: IpNet, found: &mut Vec<String>) {
        let there: BTreeSet<IpNet> = addresses(self.kernel, link).collect();
        if !link.up || link.mtu != mtu || there != BTreeSet::from([address]) {
            found.push(format!(
                "{} shall be up, mtu {mtu}, {address}; is {link:?} with {there:?}",
                link.name
            ));
        }
    }

    /// The smallest MTU of devices with a subnet of ours.
    fn host_mtu(&self) -> u32 {
        let host = |link: &&Link| {
            link.up
                && link.kind == LinkKind::Ordinary
                && !link.name.starts_with("cali")
                && addresses(self.kernel, link).any(|address| !address_is_link_local(&address))
        };
        let links = self.kernel.links.iter().filter(host);
        links.map(|link| link.mtu).min().unwrap_or(1500)
    }

    fn used(&self, link: &Link) -> bool {
        let ours = self.kernel.routes.iter();
        let mut ours = ours.filter(|(_, spec)| spec.protocol == OURS);
        ours.any(|(_, spec)| {
            let hops = hops(spec, self.kernel.objects.as_deref().unwrap_or_default());
            hops.iter().any(|hop| hop.device == link.index)
        })
    }

    fn link(&self, name: &str) -> Option<&Link> {
        self.kernel.links.iter().find(|link| link.name == name)
    }

    fn up(&self, name: &str) -> bool {
        self.link(name).is_some_and(|link| link.up)
    }
}
