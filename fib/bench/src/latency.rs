//! How long one change takes: from `Fib::apply` until the kernel tells a listener of it.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use caracal_fib::{Change, Config, Endpoint, Fib};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use serde::Serialize;
use socket2::SockRef;

use crate::contestants::raw::octets;
use crate::contestants::whole::{changes, settled};
use crate::namespace::{self, ip};
use crate::work::{Family, PATIENCE, Step, Work};

/// One line of the table of latencies.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Latency {
    pub what: String,
    /// While many others change.
    pub busy: bool,
    pub samples: usize,
    pub p50_us: f64,
    pub p99_us: f64,
    pub max_us: f64,
}

pub(crate) fn measure(family: Family, routes: u32) -> anyhow::Result<Vec<Latency>> {
    namespace::within(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(measure_here(family, routes))
    })
}

async fn measure_here(family: Family, routes: u32) -> anyhow::Result<Vec<Latency>> {
    let work = Work {
        family,
        routes,
        batch: 0,
    };
    ip("link add cali0 type veth peer name pod0")?;
    ip("link set pod0 up")?;
    ip("link set cali0 up")?;
    let fib = Fib::start(Config::default()).await?;
    fib.apply(changes(&work, Step::In, 0..routes));
    settled(&fib, |status| status.writes >= u64::from(routes)).await?;

    let mut listener = Listener::open(family)?;
    let mut remote = Vec::new();
    for i in 0..SAMPLES {
        // In, to another gateway, and out again.
        for step in [Step::In, Step::Replace, Step::Out] {
            let at = routes + i;
            let change = changes(&work, step, at..at + 1);
            let start = Instant::now();
            fib.apply(change);
            listener.wait_for(work.address(at), step)?;
            remote.push(start.elapsed());
        }
    }
    let mut workload = Vec::new();
    for i in 0..SAMPLES {
        // Each one takes the place of the one before.
        let address = work.address(routes + SAMPLES + i);
        let start = Instant::now();
        fib.apply(vec![endpoint(address)]);
        listener.wait_for(address, Step::In)?;
        workload.push(start.elapsed());
    }

    // The same while half as many routes move to other gateways, again and again.
    drop(listener);
    let half = routes / 2;
    let mut busy = Vec::new();
    let mut step = Step::Replace;
    while busy.len() < SAMPLES_BUSY {
        let written = fib.status().borrow().writes;
        let burst = changes(&work, step, 0..half);
        fib.apply(burst);
        loop {
            // Some of the routes are on their way, and most are still to be written.
            tokio::time::sleep(Duration::from_millis(7)).await;
            if fib.status().borrow().writes >= written + u64::from(half) * 9 / 10 {
                break;
            }
            let address = work.address(routes + busy.len() as u32);
            let start = Instant::now();
            fib.apply(vec![endpoint(address)]);
            fib.endpoint_settled("cali0", PATIENCE).await?;
            let took = start.elapsed();
            if fib.status().borrow().pending > 0 {
                busy.push(took);
            }
        }
        settled(&fib, |status| status.writes >= written + u64::from(half)).await?;
        step = match step {
            Step::In => Step::Replace,
            _ => Step::In,
        };
    }
    Ok(vec![
        summary(
            format!("{family}: a remote route, {routes} in the table"),
            false,
            remote,
        ),
        summary(
            format!("{family}: a workload's route, {routes} in the table"),
            false,
            workload,
        ),
        summary(
            format!("{family}: a workload (route and neighbour answered), {half} being moved"),
            true,
            busy,
        ),
    ])
}

fn endpoint(address: IpAddr) -> Change {
    Change::SetEndpoint(
        "cali0".into(),
        Endpoint {
            addresses: vec![address],
            mac: [2, 0, 0, 0, 0, 7],
            ..Endpoint::default()
        },
    )
}

fn summary(what: String, busy: bool, mut samples: Vec<Duration>) -> Latency {
    samples.sort_unstable();
    let at = |share: f64| {
        let place = ((samples.len() as f64 * share) as usize).min(samples.len().saturating_sub(1));
        samples
            .get(place)
            .map_or(f64::NAN, |time| time.as_secs_f64() * 1e6)
    };
    Latency {
        what,
        busy,
        samples: samples.len(),
        p50_us: at(0.5),
        p99_us: at(0.99),
        max_us: at(1.0),
    }
}

/// Hears of routes as the kernel takes them.
struct Listener {
    socket: Socket,
}

impl Listener {
    fn open(family: Family) -> anyhow::Result<Listener> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind(&SocketAddr::new(0, 0))?;
        socket.add_membership(match family {
            Family::V4 => RTNLGRP_IPV4_ROUTE,
            Family::V6 => RTNLGRP_IPV6_ROUTE,
        })?;
        SockRef::from(&socket).set_read_timeout(Some(PATIENCE))?;
        Ok(Listener { socket })
    }

    /// Blocks until the kernel says that the route to this address is there (a new one, or one that is replaced), or gone.
    fn wait_for(&mut self, address: IpAddr, step: Step) -> anyhow::Result<()> {
        let wanted = octets(address);
        let start = Instant::now();
        loop {
            let (message, _) = self.socket.recv_from_full().context("route events")?;
            let kind = match message.get(4..6) {
                Some(&[low, high]) => u16::from_ne_bytes([low, high]),
                _ => bail!("a short event"),
            };
            let replaces = message.get(7).is_some_and(|flags| flags & 1 != 0);
            let meant = match step {
                Step::In | Step::MultipathIn => kind == RTM_NEWROUTE && !replaces,
                Step::Replace => kind == RTM_NEWROUTE && replaces,
                Step::Out | Step::MultipathOut => kind == RTM_DELROUTE,
            };
            if meant && destination(&message) == Some(wanted.as_slice()) {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                bail!("no event about {address}");
            }
        }
    }
}

/// RTA_DST of a route message.
fn destination(message: &[u8]) -> Option<&[u8]> {
    let mut attributes = message.get(NLMSG_HDRLEN + RTMSG_LEN..)?;
    loop {
        let [a, b, c, d] = *attributes.first_chunk()?;
        let length = usize::from(u16::from_ne_bytes([a, b]));
        if u16::from_ne_bytes([c, d]) == RTA_DST {
            return attributes.get(4..length);
        }
        attributes = attributes.get(length.max(4).next_multiple_of(4)..)?;
    }
}

const SAMPLES: u32 = 500;
const SAMPLES_BUSY: usize = 200;

// linux/netlink.h, linux/rtnetlink.h
const NLMSG_HDRLEN: usize = 16;
const RTMSG_LEN: usize = 12;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTA_DST: u16 = 1;
const RTNLGRP_IPV4_ROUTE: u32 = 7;
const RTNLGRP_IPV6_ROUTE: u32 = 11;
