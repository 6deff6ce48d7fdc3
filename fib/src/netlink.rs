//! The real kernel. No policy here.
//!
//! ```text
//!   writer      1 blocking socket   routes and objects out, in batches netlink-sys
//!   requests    2 connections       reads, devices, neighbours         rtnetlink, netlink-proto
//!   events      1 socket            what others did                    netlink-sys, multicast
//! ```
//!
//! Requests and events have sockets of their own: on one socket a notification could be taken for an answer.
//! One that fails is opened again. All belong to the network namespace of the thread that opens them.

mod convert;
mod devices;
mod encode;
mod events;
mod follow;
mod nexthop;
mod own;
mod requests;
mod socket;
mod writer;

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use futures::{Stream, StreamExt, TryStreamExt};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::{RouteAttribute, RouteFlags, RouteHeader, RouteMessage};
use tokio::sync::mpsc;

use crate::handle::{FibError, Interface};
use crate::kernel::{
    DeviceChange, Event, Kernel, Key, NeighbourKey, NeighbourValue, Refusal, Resolution, Snapshot,
    Spec, Write, WriteError,
};
use requests::{Open, Requests};
use writer::Writer;

/// Netlink in one network namespace.
#[derive(Debug)]
pub(crate) struct Netlink {
    writer: Writer,
    requests: Requests,
}

impl Netlink {
    /// Opens all sockets. Events are subscribed to first, so that nothing is missed between a read and the first event.
    /// Must be called within a tokio runtime; ends with it.
    pub(crate) fn open() -> io::Result<(Netlink, mpsc::UnboundedReceiver<Event>)> {
        let writer = Writer::open()?;
        let (sender, events) = mpsc::unbounded_channel();
        events::subscribe(writer.port(), sender.clone())?;
        let requests = Requests::open(sender)?;
        Ok((Netlink { writer, requests }, events))
    }
}

impl Open {
    async fn read(&self) -> Result<Snapshot, Refusal> {
        let links = self.dump(self.handle.link().get().execute()).await?;
        let links = links.iter().filter_map(convert::link).collect();
        let addresses = self.dump(self.handle.address().get().execute()).await?;
        let addresses = addresses.iter().filter_map(convert::address).collect();
        // Before the routes, since an object that goes takes its routes along: with one that is missed here, its routes
        // might be believed for ever.
        let objects = self.ask(self.objects.all(), DUMP_TIMEOUT).await?;
        let mut routes = self.routes(AddressFamily::Inet).await?;
        routes.extend(self.routes(AddressFamily::Inet6).await?);
        let mut neighbours = self.neighbours(AddressFamily::Inet).await?;
        neighbours.extend(self.neighbours(AddressFamily::Inet6).await?);
        neighbours.extend(self.neighbours(AddressFamily::Bridge).await?);
        Ok(Snapshot {
            links,
            addresses,
            routes,
            neighbours,
            objects,
        })
    }

    async fn routes(&self, family: AddressFamily) -> Result<Vec<(Key, Spec)>, Refusal> {
        let mut request = RouteMessage::default();
        request.header = RouteHeader {
            address_family: family,
            table: RouteHeader::RT_TABLE_MAIN,
            ..RouteHeader::default()
        };
        let dump = self
            .dump(self.handle.route().get(request).execute())
            .await?;
        Ok(dump.iter().filter_map(convert::route).collect())
    }

    async fn neighbours(
        &self,
        family: AddressFamily,
    ) -> Result<Vec<(NeighbourKey, NeighbourValue)>, Refusal> {
        let request = self.handle.neighbours().get().set_address_family(family);
        let dump = self.dump(request.execute()).await?;
        Ok(dump.iter().filter_map(convert::neighbour).collect())
    }

    async fn dump<T>(
        &self,
        answers: impl Stream<Item = Result<T, rtnetlink::Error>>,
    ) -> Result<Vec<T>, Refusal> {
        self.ask(answers.try_collect(), DUMP_TIMEOUT).await
    }

    /// The route to an address.
    async fn resolve(&self, to: IpAddr) -> Result<Resolution, Refusal> {
        let mut request = RouteMessage::default();
        request.header.address_family = match to {
            IpAddr::V4(_) => AddressFamily::Inet,
            IpAddr::V6(_) => AddressFamily::Inet6,
        };
        request.header.destination_prefix_length = if to.is_ipv4() { 32 } else { 128 };
        // The entry of the table, not the outcome for one packet: all next hops, and who wrote it.
        request.header.flags = RouteFlags::FibMatch;
        request
            .attributes
            .push(RouteAttribute::Destination(to.into()));
        let mut answers = Box::pin(self.handle.route().get(request).execute());
        let first = async { answers.next().await.transpose() };
        let answer = self.ask(first, REQUEST_TIMEOUT).await?;
        let mut found = answer.as_ref().and_then(convert::lookup);
        // Without `net.ipv4.nexthop_compat_mode` the kernel names the object, and not what it stands for.
        if let Some((resolution, Some(object))) = &mut found
            && resolution.hops.is_empty()
        {
            let hops = self.objects.hops(*object);
            resolution.hops = self.ask(hops, REQUEST_TIMEOUT).await?;
        }
        found
            .map(|(resolution, _)| resolution)
            .ok_or_else(|| Refusal {
                errno: libc::ENETUNREACH,
                reason: format!("no route to {to}"),
            })
    }
}

impl Kernel for Netlink {
    async fn read(&mut self) -> Result<Snapshot, Refusal> {
        let snapshot = self.requests.sockets()?.read().await?;
        self.requests.works();
        Ok(snapshot)
    }

    fn write(&mut self, batch: &[Write]) -> Result<Vec<Result<(), Refusal>>, WriteError> {
        self.writer.write(batch)
    }

    async fn resolve(&mut self, to: IpAddr) -> Result<Resolution, Refusal> {
        self.requests.sockets()?.resolve(to).await
    }

    async fn change(&mut self, change: &DeviceChange) -> Result<(), Refusal> {
        let sockets = self.requests.sockets()?;
        let request = devices::change(&sockets.handle, change);
        sockets.ask(request, REQUEST_TIMEOUT).await
    }
}

/// The devices of the current network namespace, with their addresses.
pub(crate) async fn interfaces() -> Result<Vec<Interface>, FibError> {
    let failed = |refusal: Refusal| FibError::Netlink(refusal.reason);
    let sockets = Open::new().map_err(|error| FibError::Netlink(error.to_string()))?;
    let links = sockets.dump(sockets.handle.link().get().execute());
    let links: Vec<_> = links.await.map_err(failed)?;
    let addresses = sockets.dump(sockets.handle.address().get().execute());
    let addresses: Vec<_> = addresses.await.map_err(failed)?;
    let mut by_device: HashMap<u32, Vec<ipnet::IpNet>> = HashMap::new();
    for (device, address) in addresses.iter().filter_map(convert::address) {
        by_device.entry(device).or_default().push(address);
    }
    Ok(links
        .iter()
        .filter_map(convert::link)
        .map(|link| Interface {
            addresses: by_device.remove(&link.index).unwrap_or_default(),
            name: link.name,
            up: link.up,
            mtu: link.mtu,
        })
        .collect())
}

const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
const DUMP_TIMEOUT: Duration = Duration::from_secs(30);

/// Runs a test on a thread of its own in a fresh network namespace with `lo` up, or says that it cannot.
#[cfg(test)]
pub(crate) fn in_namespace(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(|| {
        // NEWNET concerns this thread only; the files of other threads are not touched.
        #[expect(
            deprecated,
            reason = "the replacement is unsafe for the sake of other flags"
        )]
        let entered = rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNET);
        if let Err(error) = entered {
            println!("skipped: no network namespace: {error}");
            return;
        }
        let up = std::process::Command::new("ip")
            .args(["link", "set", "lo", "up"])
            .status();
        assert!(up.unwrap().success());
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Whether [`in_namespace`] can.
#[cfg(test)]
pub(crate) fn can_make_namespaces() -> bool {
    let (sender, receiver) = std::sync::mpsc::channel();
    in_namespace(move || sender.send(()).unwrap());
    receiver.recv().is_ok()
}
