//! Plays a story on a kernel, with virtual time, and compares whenever it is quiet.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use tokio::sync::watch;

use super::grounds::Ground;
use super::oracle::{self, Desired};
use super::story::{
    DEVICES, Deed, Fault, ForeignWay, LinkDeed, NEVER, Step, WISHABLE, addresses_of, net,
};
use super::watched::{OURS, Watch, Watched};
use super::words;
use crate::kernel::{
    DeviceChange, Event, Hop, Kernel, Key, Lane, NeighbourKey, NeighbourValue, Spec, Write,
};
use crate::model::{Change, Config, FibStatus, Gate, IpipDevice, Standing, Tunnels, VxlanDevice};
use crate::worker::{Command, Next, Worker};

pub(super) struct Life<G: Ground> {
    ground: G,
    worker: Worker<Watched<G::Kernel>>,
    status: watch::Receiver<FibStatus>,
    watch: Arc<Mutex<Watch>>,
    now: Instant,
}

/// Plays it all, and says what is in the kernel at the end.
pub(super) async fn play<G: Ground>(
    mut ground: G,
    steps: &[Step],
) -> Result<BTreeSet<String>, String> {
    for name in DEVICES {
        ground.add_link(name).await;
        add_addresses(&mut ground, name).await;
    }
    let watch = Arc::new(Mutex::new(Watch::default()));
    let now = Instant::now();
    let (worker, status) = start(&mut ground, &watch, now).await;
    let mut life = Life {
        ground,
        worker,
        status,
        watch,
        now,
    };
    for (place, step) in steps.iter().enumerate() {
        let outcome = life.step(step).await;
        outcome.map_err(|complaint| format!("at step {place}, {step:?}: {complaint}"))?;
    }
    life.end().await
}

async fn start<G: Ground>(
    ground: &mut G,
    watch: &Arc<Mutex<Watch>>,
    now: Instant,
) -> (Worker<Watched<G::Kernel>>, watch::Receiver<FibStatus>) {
    loop {
        {
            let mut watch = watch.lock().unwrap();
            watch.starting = true;
            watch.late = None;
        }
        let mut inner = ground.open().await;
        let tables = inner.read_tables().await.unwrap();
        let kernel = Watched {
            inner,
            watch: watch.clone(),
            answers: VecDeque::new(),
        };
        let config = Config {
            // Sysctls are the business of other tests.
            sysctl_root: "/dev/null".into(),
            verify_interval: NEVER,
            ..Config::default()
        };
        // A failed read ends an agent, which is started again.
        if let Ok((mut worker, status)) = Worker::start(kernel, config, now).await {
            let mut watch = watch.lock().unwrap();
            watch.starting = false;
            watch.objects = tables.objects.unwrap_or_default();
            // Stories have few routes.
            worker.ahead.least = 2;
            return (worker, status);
        }
    }
}

impl<G: Ground> Life<G> {
    async fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Wish(changes) => self.wish(changes.clone()),
            Step::Turn => {
                self.deliver().await;
                self.turn().await;
            }
            Step::Settle => {
                self.settle().await?;
            }
            Step::Wait(milliseconds) => {
                self.wait_out(Duration::from_millis(*milliseconds)).await?;
            }
            Step::Deed(deed) => self.deed(deed).await,
            Step::Fault(Fault::LoseEvents) => {
                self.ground.events().await;
                self.worker.catch_up(self.now).await;
                self.worker.handle_event(Event::Overrun, self.now);
            }
            Step::Fault(fault) => {
                self.watch().make_faulty(fault);
                if let Fault::SlowRead(_) = fault {
                    let back = Event::SocketBack(Lane::Events);
                    self.worker.handle_event(back, self.now);
                }
            }
            Step::Restart => self.restart(2).await,
            Step::Quiet => self.quiet().await?,
        }
        self.complaints()
    }

    /// Peace: all workloads' devices up, other writers gone from our prefixes, the gate open; and still nothing is
    /// written when the worker starts again.
    async fn end(mut self) -> Result<BTreeSet<String>, String> {
        self.watch().heal();
        // A start sets a workload's device up, later it is left as it is: that depends on the past.
        for name in DEVICES {
            if let Some(index) = self.ground.link(name).await {
                self.ground
                    .change(DeviceChange::SetUp(index, true))
                    .await
                    .ok();
            }
        }
        for write in self.foreign_on_wishable().await {
            self.ground.write(write).await.ok();
        }
        // A tunnel that is not desired stays while routes use it: another exception, so it is not left so.
        let tunnels = self.watch().desired.tunnels.clone().unwrap_or_default();
        let changes = vec![
            Change::SetTunnels(Box::new(all_tunnels(tunnels))),
            Change::SetGate(Gate::Open),
        ];
        self.wish(changes);
        let complain = |when: &str, complaint: String| format!("at the end, {when}: {complaint}");
        let quiet = self.quiet().await;
        quiet.map_err(|complaint| complain("when quiet", complaint))?;
        self.complaints()?;
        let listing = words::listing(&self.ground.snapshot().await);

        self.watch().taken.clear();
        self.restart(1).await;
        let quiet = self.quiet().await;
        quiet.map_err(|complaint| complain("after a restart", complaint))?;
        self.complaints()?;
        let written = std::mem::take(&mut self.watch().taken);
        if !written.is_empty() {
            return Err(format!("a restart in quiet has written {written:?}"));
        }
        Ok(listing)
    }

    /// A new worker, which is told all in so many parts; the gate opens last.
    async fn restart(&mut self, parts: usize) {
        self.watch().wished.clear();
        self.watch().named_vteps.clear();
        let Desired { gate, .. } = self.watch().desired.clone();
        self.watch().desired.gate = Gate::Closed;
        (self.worker, self.status) = start(&mut self.ground, &self.watch, self.now).await;
        let changes = self.watch().desired.changes();
        let size = changes.len().div_ceil(parts).max(1);
        for part in changes.chunks(size) {
            self.wish(part.to_vec());
            self.deliver().await;
            self.turn().await;
        }
        self.wish(vec![Change::SetGate(gate)]);
    }

    /// No more faults, and more time than any back-off takes, or any way is kept; then the kernel is as desired.
    async fn quiet(&mut self) -> Result<(), String> {
        self.watch().heal();
        self.wait_out(Duration::from_secs(700)).await?;
        let snapshot = self.ground.snapshot().await;
        let desired = self.watch().desired.clone();
        let mut found = oracle::differences(&desired, &snapshot);
        self.worker.publish(self.now);
        let status = self.status.borrow().clone();
        let ours = snapshot.routes.iter();
        let ours = ours.filter(|(_, spec)| spec.protocol == OURS).count();
        if status.actual != ours {
            found.push(format!(
                "the kernel has {ours} routes of ours, status: {status:?}"
            ));
        }
        if found.is_empty() {
            return Ok(());
        }
        let listing: Vec<String> = words::listing(&snapshot).into_iter().collect();
        Err(format!(
            "{}\nkernel:\n  {}\n{desired:?}\n{status:?}",
            found.join("\n"),
            listing.join("\n  "),
        ))
    }

    fn wish(&mut self, changes: Vec<Change>) {
        {
            let mut watch = self.watch();
            for change in &changes {
                watch.desired.apply(change);
                match change {
                    Change::SetRoute(prefix, _) => {
                        watch.wished.insert(*prefix);
                    }
                    Change::SetEndpoint(_, endpoint) if endpoint.standing != Standing::Awaited => {
                        let prefixes = endpoint.addresses.iter().map(|a| IpNet::from(*a));
                        watch.wished.extend(prefixes);
                    }
                    Change::SetVtep(_, vtep) if vtep.address.is_ipv6() => {
                        watch.wished.insert(IpNet::from(vtep.address));
                        watch.named_vteps.insert(IpNet::from(vtep.address));
                    }
                    _ => {}
                }
            }
        }
        self.worker
            .handle_command(Command::Apply(changes), self.now);
    }

    async fn deed(&mut self, deed: &Deed) {
        match deed {
            Deed::SetRoute {
                prefix,
                metric,
                protocol,
                way,
                replace,
            } => {
                let Some(spec) = self.foreign_spec(prefix, *protocol, way).await else {
                    return;
                };
                let key = Key::new(*prefix, *metric);
                let set = Write::Set {
                    key,
                    spec,
                    replace: *replace,
                };
                // It may fail, as it does for anyone.
                self.ground.write(set).await.ok();
            }
            Deed::DeleteRoute { prefix } => {
                self.delete_routes(|key, _| key.prefix == *prefix).await;
            }
            Deed::Flush => self.delete_routes(|_, spec| spec.protocol == OURS).await,
            Deed::DeleteObject(place) => {
                let objects = self.ground.snapshot().await.objects.unwrap_or_default();
                let mut ours = objects.iter().filter(|(_, object)| object.protocol == OURS);
                if let Some((id, _)) = ours.nth(*place) {
                    let delete = Write::DeleteObject { id: *id };
                    self.ground.write(delete).await.ok();
                }
            }
            Deed::Link(name, deed) => self.link_deed(name, *deed).await,
            Deed::Address {
                device,
                address,
                add,
            } => {
                if let Some(index) = self.ground.link(device).await {
                    let change = match add {
                        true => DeviceChange::AddAddress(index, *address),
                        false => DeviceChange::DeleteAddress(index, *address),
                    };
                    self.ground.change(change).await.ok();
                }
            }
            Deed::Neighbour {
                device,
                address,
                mac,
            } => {
                let Some(index) = self.ground.link(device).await else {
                    return;
                };
                let key = NeighbourKey::Address(index, *address);
                let value = NeighbourValue::Mac(mac.unwrap_or_default());
                let change = match mac {
                    Some(_) => DeviceChange::SetNeighbour(key, value),
                    None => DeviceChange::DeleteNeighbour(key, value),
                };
                self.ground.change(change).await.ok();
            }
        }
    }

    async fn link_deed(&mut self, name: &str, deed: LinkDeed) {
        let found = self.ground.link(name).await;
        let change = match (deed, found) {
            (LinkDeed::Add, None) => return self.add_link(name).await,
            (LinkDeed::Renew, Some(index)) => {
                self.ground
                    .change(DeviceChange::DeleteLink(index))
                    .await
                    .ok();
                return self.add_link(name).await;
            }
            (LinkDeed::Rename(to), Some(index)) => {
                if self.ground.link(to).await.is_none() {
                    self.ground.rename_link(index, to).await;
                }
                return;
            }
            (LinkDeed::Delete, Some(index)) => DeviceChange::DeleteLink(index),
            (LinkDeed::Down, Some(index)) => DeviceChange::SetUp(index, false),
            (LinkDeed::Up, Some(index)) => DeviceChange::SetUp(index, true),
            (LinkDeed::Mtu(mtu), Some(index)) => DeviceChange::SetMtu(index, mtu),
            (_, None) | (LinkDeed::Add, Some(_)) => return,
        };
        self.ground.change(change).await.ok();
    }

    /// Only a device of the first ones, and not while another has its addresses.
    async fn add_link(&mut self, name: &str) {
        let renamed = name == "eth1" && self.ground.link("eth2").await.is_some();
        if DEVICES.contains(&name) && !renamed {
            self.ground.add_link(name).await;
            add_addresses(&mut self.ground, name).await;
        }
    }

    async fn foreign_spec(
        &mut self,
        prefix: &IpNet,
        protocol: u8,
        way: &ForeignWay,
    ) -> Option<Spec> {
        let (via, device) = match way {
            ForeignWay::Blackhole => return Some(Spec::blackhole(protocol)),
            ForeignWay::Via(via, device) => (Some(*via), device),
            ForeignWay::Device(device) => (None, device),
        };
        let hop = Hop {
            via,
            device: self.ground.link(device).await?,
            onlink: false,
            weight: 0,
        };
        Some(Spec::unicast(protocol, prefix, [hop].into_iter().collect()))
    }

    async fn delete_routes(&mut self, meant: impl Fn(&Key, &Spec) -> bool) {
        for (key, spec) in self.ground.snapshot().await.routes {
            if meant(&key, &spec) && spec.protocol != RTPROT_KERNEL {
                self.ground.write(Write::Delete { key, spec }).await.ok();
            }
        }
    }

    async fn foreign_on_wishable(&mut self) -> Vec<Write> {
        let wishable: Vec<IpNet> = WISHABLE.iter().map(|text| net(text)).collect();
        let routes = self.ground.snapshot().await.routes;
        let foreign = routes
            .into_iter()
            .filter(|(key, spec)| wishable.contains(&key.prefix) && spec.protocol != OURS);
        foreign
            .map(|(key, spec)| Write::Delete { key, spec })
            .collect()
    }

    /// Returns whether there were events.
    async fn deliver(&mut self) -> bool {
        let events = self.ground.events().await;
        let any = !events.is_empty();
        if any {
            self.worker.catch_up(self.now).await;
        }
        for event in events {
            self.worker.handle_event(event, self.now);
        }
        any
    }

    async fn turn(&mut self) -> Next {
        let next = self.worker.turn(self.now).await;
        let late = self.watch().late.take();
        if let Some(late) = late {
            let kernel = &mut self.worker.kernel.inner;
            let left = late.turn(kernel).await;
            let tables = kernel.read_tables().await.unwrap();
            let mut watch = self.watch();
            watch.late = left;
            watch.objects = tables.objects.unwrap_or_default();
        }
        next
    }

    /// Turns until nothing is left to do at this moment. Returns when there will be.
    async fn settle(&mut self) -> Result<Instant, String> {
        for _ in 0..TURNS_MAX {
            let events = self.deliver().await;
            let next = self.turn().await;
            let reads = self.worker.reading.is_some();
            match next {
                Next::At(when) if !events && !reads && when > self.now => return Ok(when),
                _ => {}
            }
        }
        self.worker.publish(self.now);
        let status = self.status.borrow().clone();
        Err(format!("not quiet after {TURNS_MAX} turns: {status:?}"))
    }

    /// Lets so much time pass, from deadline to deadline.
    async fn wait_out(&mut self, time: Duration) -> Result<(), String> {
        let end = self.now + time;
        loop {
            let next = self.settle().await?;
            if next > end {
                self.now = end;
                self.settle().await?;
                return Ok(());
            }
            self.now = next;
        }
    }

    fn complaints(&self) -> Result<(), String> {
        let violations = std::mem::take(&mut self.watch().violations);
        match violations.is_empty() {
            true => Ok(()),
            false => Err(violations.join("\n")),
        }
    }

    fn watch(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap()
    }
}

async fn add_addresses(ground: &mut impl Ground, name: &str) {
    let index = ground.link(name).await.expect("it was just made");
    for address in addresses_of(name) {
        let add = DeviceChange::AddAddress(index, address);
        ground.change(add).await.unwrap();
    }
}

/// Those that are not desired as well.
fn all_tunnels(tunnels: Tunnels) -> Tunnels {
    let vxlan = |address: &str, local: &str, last: u8| VxlanDevice {
        vni: 4096,
        port: 4789,
        address: address.parse().unwrap(),
        mac: [0x66, 0, 0, 0, 0, last],
        local: local.parse().unwrap(),
        mtu: None,
    };
    Tunnels {
        ipip: tunnels.ipip.or(Some(IpipDevice {
            address: [10, 233, 1, 1].into(),
            mtu: None,
        })),
        vxlan: tunnels
            .vxlan
            .or_else(|| Some(vxlan("10.233.1.2", "172.18.0.1", 1))),
        vxlan_v6: tunnels
            .vxlan_v6
            .or_else(|| Some(vxlan("fd00:10:233:1::2", "2001:db8:18::1", 3))),
        ..Tunnels::default()
    }
}

const TURNS_MAX: usize = 2000;
const RTPROT_KERNEL: u8 = 2;
