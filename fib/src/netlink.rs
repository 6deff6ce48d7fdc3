//! The real kernel. No policy here.
//!
//! ```text
//!   writer      1 blocking socket   routes and objects out, in batches netlink-sys; large ones on a thread of its own
//!   requests    2 connections       devices, neighbours, lookups       rtnetlink, netlink-proto
//!   reads       2 connections       all tables, on a thread a read     the same
//!   events      1 socket            what others did                    netlink-sys, multicast, a bounded queue
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
mod writer_thread;

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use futures::{Stream, StreamExt, TryStreamExt};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::{RouteAttribute, RouteFlags, RouteHeader, RouteMessage};
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use crate::handle::{FibError, Interface};
use crate::kernel::{
    Answer, DeviceChange, Devices, Event, Kernel, Key, NeighbourKey, NeighbourValue, Refusal,
    Resolution, Spec, Tables, Write, WriteError, Written,
};
use requests::{Open, Requests};
use writer::Writer;
use writer_thread::WriterThread;

/// Netlink in one network namespace.
#[derive(Debug)]
pub(crate) struct Netlink {
    writer: WriterThread,
    requests: Requests,
}

impl Netlink {
    /// Opens all sockets. Events are subscribed to first, so that nothing is missed between a read and the first event.
    /// Must be called within a tokio runtime; ends with it.
    pub(crate) fn open() -> io::Result<(Netlink, Events)> {
        let writer = Writer::open()?;
        let (sender, news) = mpsc::channel(NEWS_MAX);
        events::subscribe(writer.port(), sender)?;
        let (sender, of_requests) = mpsc::unbounded_channel();
        let requests = Requests::open(sender)?;
        let writer = WriterThread::start(writer)?;
        Ok((Netlink { writer, requests }, Events { news, of_requests }))
    }
}

/// What happened, in its order, but for what became of our own sockets for requests.
#[derive(Debug)]
pub(crate) struct Events {
    /// Whoever writes here waits for room.
    news: mpsc::Receiver<Event>,
    /// Written by the very worker that reads them: it cannot wait for itself. There are two for each socket that is lost.
    of_requests: mpsc::UnboundedReceiver<Event>,
}

impl Events {
    /// `None`: the kernel is followed no more.
    pub(crate) async fn recv(&mut self) -> Option<Event> {
        tokio::select! {
            biased;
            Some(event) = self.of_requests.recv() => Some(event),
            event = self.news.recv() => event,
        }
    }

    pub(crate) fn try_recv(&mut self) -> Option<Event> {
        let event = self.of_requests.try_recv();
        event.or_else(|_| self.news.try_recv()).ok()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.of_requests.is_empty() && self.news.is_empty()
    }
}

impl Open {
    async fn devices(&self) -> Result<Devices, Refusal> {
        let links = self.dump(self.handle.link().get().execute()).await?;
        let addresses = self.dump(self.handle.address().get().execute()).await?;
        Ok(Devices {
            links: links.iter().filter_map(convert::link).collect(),
            addresses: addresses.iter().filter_map(convert::address).collect(),
        })
    }

    async fn tables(&self) -> Result<Tables, Refusal> {
        let objects = self.ask(self.objects.all(), DUMP_TIMEOUT).await?;
        let mut routes = self.routes(AddressFamily::Inet).await?;
        routes.extend(self.routes(AddressFamily::Inet6).await?);
        let mut neighbours = self.neighbours(AddressFamily::Inet).await?;
        neighbours.extend(self.neighbours(AddressFamily::Inet6).await?);
        neighbours.extend(self.neighbours(AddressFamily::Bridge).await?);
        Ok(Tables {
            objects,
            routes,
            neighbours,
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
    async fn read_devices(&mut self) -> Result<Devices, Refusal> {
        let devices = self.requests.sockets()?.devices().await?;
        self.requests.works();
        Ok(devices)
    }

    fn begin_read(&mut self) -> Answer {
        let (reply, answer) = oneshot::channel();
        // It has the network namespace of the thread that makes it.
        let thread = std::thread::Builder::new().name("caracal-fib-read".into());
        let read = move || {
            // Nobody waits for it any more when the worker has ended.
            reply.send(read_tables()).ok();
        };
        if let Err(error) = thread.spawn(read) {
            // The answer is that there is none.
            warn!(%error, "netlink: no thread to read the kernel");
        }
        answer
    }

    fn write(&mut self, batch: &[Write]) -> Result<Vec<Result<(), Refusal>>, WriteError> {
        self.writer.write(batch)
    }

    fn begin_write(&mut self, batch: Vec<Write>) {
        self.writer.begin_write(batch);
    }

    async fn written(&mut self) -> Written {
        self.writer.written().await
    }

    fn try_written(&mut self) -> Option<Written> {
        self.writer.try_written()
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

/// On sockets of its own, which end with it.
fn read_tables() -> Result<Tables, Refusal> {
    let failed = |error: io::Error| Refusal {
        errno: 0,
        reason: format!("open a socket: {error}"),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    runtime.block_on(async { Open::new().map_err(failed)?.tables().await })
}

/// The devices of the current network namespace, with their addresses.
pub(crate) async fn interfaces() -> Result<Vec<Interface>, FibError> {
    let failed = |refusal: Refusal| FibError::Netlink(refusal.reason);
    let sockets = Open::new().map_err(|error| FibError::Netlink(error.to_string()))?;
    let devices = sockets.devices().await.map_err(failed)?;
    let mut by_device: HashMap<u32, Vec<ipnet::IpNet>> = HashMap::new();
    for (device, address) in devices.addresses {
        by_device.entry(device).or_default().push(address);
    }
    Ok(devices
        .links
        .into_iter()
        .map(|link| Interface {
            addresses: by_device.remove(&link.index).unwrap_or_default(),
            name: link.name,
            up: link.up,
            mtu: link.mtu,
        })
        .collect())
}

/// A few megabytes. More is in the socket's buffer, which the kernel bounds.
const NEWS_MAX: usize = 16 << 10;
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
