//! The speaker's kernel: how many routes it has, and the moment at which one comes or goes.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use caracal_lab::netns::Netns;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use socket2::SockRef;

/// How many routes the namespace of a process has; a few are the kernel's own.
pub(crate) fn routes(process: u32, ipv6: bool) -> Result<u64> {
    let file = match ipv6 {
        false => format!("/proc/{process}/net/fib_triestat"),
        true => format!("/proc/{process}/net/rt6_stats"),
    };
    let text = std::fs::read_to_string(&file).with_context(|| file.clone())?;
    if ipv6 {
        let entries = text.split_whitespace().nth(3);
        let entries = entries.with_context(|| format!("{file}: {text}"))?;
        return u64::from_str_radix(entries, 16).context(file);
    }
    // The table of local addresses stands there too, or shows the same once more.
    let (_, main) = text.split_once("Main:").with_context(|| file.clone())?;
    let mut lines = main.lines().map(str::trim);
    let count = lines.find_map(|line| line.strip_prefix("Prefixes:"));
    let count = count.with_context(|| format!("{file}: no Prefixes"))?;
    count.trim().parse().context(file)
}

/// Hears of routes as the kernel takes them.
pub(crate) struct Listener {
    socket: Socket,
    patience: Duration,
}

impl Listener {
    pub(crate) fn open(netns: &Netns, ipv6: bool, patience: Duration) -> Result<Listener> {
        let group = match ipv6 {
            false => RTNLGRP_IPV4_ROUTE,
            true => RTNLGRP_IPV6_ROUTE,
        };
        let socket = netns.enter(|| -> Result<Socket> {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind(&SocketAddr::new(0, 0))?;
            socket.add_membership(group)?;
            Ok(socket)
        })??;
        SockRef::from(&socket).set_read_timeout(Some(patience))?;
        Ok(Listener { socket, patience })
    }

    /// Blocks until the kernel says that a route to this address has come, or gone.
    pub(crate) fn wait_for(&self, address: IpAddr, comes: bool) -> Result<()> {
        let wanted = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        let kind = if comes { RTM_NEWROUTE } else { RTM_DELROUTE };
        let start = Instant::now();
        while start.elapsed() < self.patience {
            let (message, _) = self.socket.recv_from_full().context("route events")?;
            let is_kind = message.get(4..6) == Some(&kind.to_ne_bytes()[..]);
            if is_kind && destination(&message) == Some(&wanted) {
                return Ok(());
            }
        }
        bail!("the kernel does not say that the route to {address} has changed");
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

// linux/netlink.h, linux/rtnetlink.h
const NLMSG_HDRLEN: usize = 16;
const RTMSG_LEN: usize = 12;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTA_DST: u16 = 1;
const RTNLGRP_IPV4_ROUTE: u32 = 7;
const RTNLGRP_IPV6_ROUTE: u32 = 11;
