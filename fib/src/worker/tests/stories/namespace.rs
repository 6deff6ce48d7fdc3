//! The kernel of this machine, in a network namespace of its own.

use std::net::IpAddr;
use std::time::Duration;

use netlink_packet_route::link::InfoKind;
use rtnetlink::{Handle, LinkMessageBuilder, LinkUnspec};
use tokio::sync::oneshot;

use super::grounds::{Ground, Has, Snapshot, kind_of};
use crate::kernel::{
    Answer, DeviceChange, Devices, Event, Kernel, Key, Link, Refusal, Resolution, Spec, Write,
    WriteError, Written,
};
use crate::netlink::{Events, Netlink};

pub(super) struct Namespace {
    /// Someone else.
    other: Netlink,
    handle: Handle,
    events: Events,
    has: Has,
    marks: u8,
}

impl Namespace {
    /// Of the thread that calls.
    pub(super) fn new(has: Has) -> Namespace {
        // Link-local addresses come by themselves and later; what is made of them is for other tests.
        std::fs::write("/proc/sys/net/ipv6/conf/default/addr_gen_mode", "1").unwrap();
        let (other, events) = Netlink::open().unwrap();
        let (connection, handle, _) = rtnetlink::new_connection().unwrap();
        tokio::spawn(connection);
        Namespace {
            other,
            handle,
            events,
            has,
            marks: 0,
        }
    }

    /// A route that comes and goes: when its event is here, so are all events of what was done before.
    fn mark(&mut self) -> Key {
        self.marks = self.marks.wrapping_add(1);
        let address = IpAddr::from([198, 51, 100, self.marks]);
        let key = Key::new(address.into(), 0);
        let spec = Spec::blackhole(RTPROT_BOOT);
        let set = Write::Set {
            key,
            spec: spec.clone(),
            replace: false,
        };
        let outcomes = self.other.write(&[set, Write::Delete { key, spec }]);
        assert_eq!(outcomes, Ok(vec![Ok(()), Ok(())]));
        key
    }
}

impl Ground for Namespace {
    type Kernel = Disguised;

    async fn open(&mut self) -> Disguised {
        let (netlink, events) = Netlink::open().unwrap();
        self.events = events;
        Disguised {
            netlink,
            handle: self.handle.clone(),
            has: self.has,
        }
    }

    async fn events(&mut self) -> Vec<Event> {
        let mut found = Vec::new();
        let mut mark = self.mark();
        loop {
            let event = tokio::time::timeout(PATIENCE, self.events.recv()).await;
            match event.expect("the kernel tells its events").unwrap() {
                Event::RouteGone { key, .. } if key == mark => return found,
                Event::Route { key, .. } if key == mark => {}
                Event::Overrun => {
                    found.push(Event::Overrun);
                    mark = self.mark();
                }
                Event::Link(link) => found.push(Event::Link(disguise(link))),
                other => found.push(other),
            }
        }
    }

    async fn snapshot(&mut self) -> Snapshot {
        let mut snapshot = Snapshot::of(&mut self.other).await;
        snapshot.links = snapshot.links.into_iter().map(disguise).collect();
        snapshot
    }

    async fn write(&mut self, write: Write) -> Result<(), Refusal> {
        self.other.write(&[write]).unwrap().remove(0)
    }

    async fn change(&mut self, change: DeviceChange) -> Result<(), Refusal> {
        self.other.change(&change).await
    }

    async fn add_link(&mut self, name: &str) {
        add_link(&self.handle, name, true).await.unwrap();
    }

    async fn rename_link(&mut self, index: u32, name: &str) {
        let message = LinkUnspec::new_with_index(index).name(name).build();
        self.handle.link().change(message).execute().await.unwrap();
    }
}

/// This kernel may have no ipip: then another device goes by the name of `tunl0`. And it may act as an older one.
#[derive(Debug)]
pub(super) struct Disguised {
    netlink: Netlink,
    handle: Handle,
    has: Has,
}

impl Kernel for Disguised {
    async fn read_devices(&mut self) -> Result<Devices, Refusal> {
        let mut devices = self.netlink.read_devices().await?;
        devices.links = devices.links.into_iter().map(disguise).collect();
        Ok(devices)
    }

    fn begin_read(&mut self) -> Answer {
        let (reply, answer) = oneshot::channel();
        let (read, has) = (self.netlink.begin_read(), self.has);
        tokio::spawn(async move {
            let mut tables = read.await.unwrap_or_else(|_| Err(Refusal::lost()));
            if let Ok(tables) = &mut tables
                && !has.objects
            {
                tables.objects = None;
            }
            // The worker may have ended.
            reply.send(tables).ok();
        });
        answer
    }

    fn write(&mut self, batch: &[Write]) -> Result<Vec<Result<(), Refusal>>, WriteError> {
        let object =
            |write: &Write| matches!(write, Write::SetObject { .. } | Write::DeleteObject { .. });
        if self.has.objects || !batch.iter().any(object) {
            return self.netlink.write(batch);
        }
        let refusal = Refusal {
            errno: libc::EOPNOTSUPP,
            reason: "Operation not supported".into(),
        };
        batch
            .iter()
            .map(|write| match object(write) {
                true => Ok(Err(refusal.clone())),
                false => Ok(self.netlink.write(std::slice::from_ref(write))?.remove(0)),
            })
            .collect()
    }

    fn begin_write(&mut self, batch: Vec<Write>) {
        self.netlink.begin_write(batch);
    }

    async fn written(&mut self) -> Written {
        self.netlink.written().await
    }

    fn try_written(&mut self) -> Option<Written> {
        self.netlink.try_written()
    }

    async fn resolve(&mut self, to: IpAddr) -> Result<Resolution, Refusal> {
        self.netlink.resolve(to).await
    }

    async fn change(&mut self, change: &DeviceChange) -> Result<(), Refusal> {
        let DeviceChange::AddIpip(name) = change else {
            return self.netlink.change(change).await;
        };
        if !self.has.ipip {
            return Err(Refusal {
                errno: libc::EOPNOTSUPP,
                reason: "Operation not supported".into(),
            });
        }
        let added = add_link(&self.handle, name, false).await;
        added.map_err(|error| Refusal {
            errno: libc::EEXIST,
            reason: error.to_string(),
        })
    }
}

async fn add_link(handle: &Handle, name: &str, up: bool) -> Result<(), rtnetlink::Error> {
    let builder = LinkMessageBuilder::<LinkUnspec>::new_with_info_kind(InfoKind::Ifb).name(name);
    let builder = if up { builder.up() } else { builder };
    handle.link().add(builder.build()).execute().await
}

fn disguise(mut link: Link) -> Link {
    link.kind = kind_of(&link.name, link.kind);
    link
}

const RTPROT_BOOT: u8 = 3;
const PATIENCE: Duration = Duration::from_secs(20);
