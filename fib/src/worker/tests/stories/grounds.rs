//! Where a story may play: a kernel, and someone else who does things to it.

use ipnet::IpNet;

use crate::kernel::{
    DeviceChange, Event, Kernel, Key, Link, LinkKind, NeighbourKey, NeighbourValue, Object,
    ObjectId, Refusal, Spec, Write,
};

/// Everything that a kernel has.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    pub(super) links: Vec<Link>,
    pub(super) addresses: Vec<(u32, IpNet)>,
    pub(super) routes: Vec<(Key, Spec)>,
    pub(super) neighbours: Vec<(NeighbourKey, NeighbourValue)>,
    pub(super) objects: Option<Vec<(ObjectId, Object)>>,
}

impl Snapshot {
    pub(super) async fn of(kernel: &mut impl Kernel) -> Snapshot {
        let devices = kernel.read_devices().await.unwrap();
        let tables = kernel.read_tables().await.unwrap();
        Snapshot {
            links: devices.links,
            addresses: devices.addresses,
            routes: tables.routes,
            neighbours: tables.neighbours,
            objects: tables.objects,
        }
    }
}

/// What this kernel can do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Has {
    pub(super) ipip: bool,
    /// Nexthop objects.
    pub(super) objects: bool,
}

pub(super) trait Ground {
    type Kernel: Kernel;

    /// A kernel for a new worker. Events are those from now on.
    async fn open(&mut self) -> Self::Kernel;

    /// All events of what was done until now.
    async fn events(&mut self) -> Vec<Event>;

    /// Reads the kernel beside the worker.
    async fn snapshot(&mut self) -> Snapshot;

    /// Someone else writes a route.
    async fn write(&mut self, write: Write) -> Result<(), Refusal>;

    /// Someone else changes something.
    async fn change(&mut self, change: DeviceChange) -> Result<(), Refusal>;

    /// Someone makes an ordinary device, which is up.
    async fn add_link(&mut self, name: &str);

    async fn rename_link(&mut self, index: u32, name: &str);

    /// The index of a device.
    async fn link(&mut self, name: &str) -> Option<u32> {
        let links = self.snapshot().await.links;
        let found = links.iter().find(|link| link.name == name);
        found.map(|link| link.index)
    }
}

/// `tunl0` is one whatever it is made of.
pub(super) fn kind_of(name: &str, kind: LinkKind) -> LinkKind {
    match name {
        "tunl0" => LinkKind::Ipip,
        _ => kind,
    }
}
