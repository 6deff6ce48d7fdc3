//! The mark: messages are made and sent in batches, the last of each is acknowledged, and there is nothing else.

use std::net::IpAddr;
use std::ops::Range;

use anyhow::{Context, bail};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

use crate::namespace;
use crate::rounds::Turns;
use crate::stopwatch::Stopwatch;
use crate::work::{GATEWAYS, Step, Work};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Gateway,
    Device,
    Nexthop,
}

pub(crate) fn take_turns(work: Work, way: Way, turns: &Turns) -> anyhow::Result<()> {
    let mut raw = Raw {
        socket: Socket::new(NETLINK_ROUTE)?,
        work,
        way,
        device: namespace::device("eth0")?,
        other_device: namespace::device("peer0")?,
        sequence: 0,
    };
    raw.socket.bind_auto()?;
    raw.socket.connect(&SocketAddr::new(0, 0))?;
    if way == Way::Nexthop {
        raw.make_nexthops()?;
    }
    let mut before = None;
    while let Some((step, part)) = turns.next(before) {
        let start = Stopwatch::of_this_process()?;
        raw.run(step, part)?;
        before = Some(start.took()?);
    }
    Ok(())
}

struct Raw {
    socket: Socket,
    work: Work,
    way: Way,
    device: u32,
    other_device: u32,
    sequence: u32,
}

impl Raw {
    fn run(&mut self, step: Step, part: Range<u32>) -> anyhow::Result<()> {
        let mut buffer = Vec::new();
        let mut i = part.start;
        while i < part.end {
            buffer.clear();
            let end = part.end.min(i + self.work.batch as u32);
            while i < end {
                self.route(&mut buffer, step, i, i + 1 == end);
                i += 1;
            }
            self.exchange(&buffer)
                .with_context(|| format!("{step}, before route {end}"))?;
        }
        Ok(())
    }

    /// Nexthop objects: each gateway of both groups, and a group of two.
    fn make_nexthops(&mut self) -> anyhow::Result<()> {
        for i in 0..GATEWAYS {
            for group in [1u8, 2] {
                let mut buffer = Vec::new();
                let address = octets(self.work.gateway(group, i));
                let device = self.device;
                self.message(&mut buffer, RTM_NEWNEXTHOP, NLM_F_CREATE, true, |buffer| {
                    buffer.extend([family(&address), 0, PROTOCOL, 0, 0, 0, 0, 0]);
                    attribute(buffer, NHA_ID, &nexthop(u32::from(group), i).to_ne_bytes());
                    attribute(buffer, NHA_OIF, &device.to_ne_bytes());
                    attribute(buffer, NHA_GATEWAY, &address);
                });
                self.exchange(&buffer).context("nexthop object")?;
            }
            let mut buffer = Vec::new();
            self.message(&mut buffer, RTM_NEWNEXTHOP, NLM_F_CREATE, true, |buffer| {
                buffer.extend([0, 0, PROTOCOL, 0, 0, 0, 0, 0]);
                attribute(buffer, NHA_ID, &nexthop(3, i).to_ne_bytes());
                let members = [1u32, 2].map(|group| {
                    let mut member = [0; 8];
                    member[..4].copy_from_slice(&nexthop(group, i).to_ne_bytes());
                    member
                });
                attribute(buffer, NHA_GROUP, members.as_flattened());
            });
            self.exchange(&buffer).context("nexthop group")?;
        }
        Ok(())
    }

    fn route(&mut self, buffer: &mut Vec<u8>, step: Step, i: u32, last: bool) {
        let (kind, flags, scope) = match step {
            Step::In | Step::MultipathIn => (RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, 0),
            Step::Replace => (RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, 0),
            Step::Out | Step::MultipathOut => (RTM_DELROUTE, 0, SCOPE_NOWHERE),
        };
        let destination = octets(self.work.address(i));
        let gateways = self.work.gateways(step, i);
        let (way, device, other_device) = (self.way, self.device, self.other_device);
        self.message(buffer, kind, flags, last, |buffer| {
            let scope = match (way, family(&destination)) {
                (Way::Device, AF_INET) if kind == RTM_NEWROUTE => SCOPE_LINK,
                _ => scope,
            };
            let length = destination.len() as u8 * 8;
            buffer.extend([family(&destination), length, 0, 0]);
            buffer.extend([TABLE_MAIN, PROTOCOL, scope, RTN_UNICAST, 0, 0, 0, 0]);
            attribute(buffer, RTA_DST, &destination);
            match (way, gateways.as_slice()) {
                (_, []) => {}
                (Way::Device, _) => {
                    let device = if step == Step::In {
                        device
                    } else {
                        other_device
                    };
                    attribute(buffer, RTA_OIF, &device.to_ne_bytes());
                }
                (Way::Nexthop, _) => {
                    let group = match step {
                        Step::In => 1,
                        Step::Replace => 2,
                        _ => 3,
                    };
                    let id = nexthop(group, i % GATEWAYS);
                    attribute(buffer, RTA_NH_ID, &id.to_ne_bytes());
                }
                (Way::Gateway, [gateway]) => {
                    attribute(buffer, RTA_OIF, &device.to_ne_bytes());
                    attribute(buffer, RTA_GATEWAY, &octets(*gateway));
                }
                (Way::Gateway, many) => {
                    let mut hops = Vec::new();
                    for gateway in many {
                        let mut hop = vec![0, 0, 0, 0];
                        hop.extend(device.to_ne_bytes());
                        attribute(&mut hop, RTA_GATEWAY, &octets(*gateway));
                        let length = hop.len() as u16;
                        hop[..2].copy_from_slice(&length.to_ne_bytes());
                        hops.extend(hop);
                    }
                    attribute(buffer, RTA_MULTIPATH, &hops);
                }
            }
        });
    }

    fn message(
        &mut self,
        buffer: &mut Vec<u8>,
        kind: u16,
        flags: u16,
        ack: bool,
        body: impl FnOnce(&mut Vec<u8>),
    ) {
        self.sequence += 1;
        let start = buffer.len();
        let flags = NLM_F_REQUEST | flags | if ack { NLM_F_ACK } else { 0 };
        buffer.extend([0; 4]);
        buffer.extend(kind.to_ne_bytes());
        buffer.extend(flags.to_ne_bytes());
        buffer.extend(self.sequence.to_ne_bytes());
        buffer.extend([0; 4]);
        body(buffer);
        let length = (buffer.len() - start) as u32;
        buffer[start..start + 4].copy_from_slice(&length.to_ne_bytes());
    }

    /// Sends, and waits for the acknowledgement of the last message. Any error ends the measurement.
    fn exchange(&mut self, messages: &[u8]) -> anyhow::Result<()> {
        self.socket.send(messages, 0).context("send")?;
        let (answer, _) = self.socket.recv_from_full().context("receive")?;
        let field = |at: usize| -> anyhow::Result<u32> {
            let octets = answer.get(at..at + 4).context("short answer")?;
            Ok(u32::from_ne_bytes(octets.try_into()?))
        };
        let errno = -(field(16)? as i32);
        if errno != 0 || field(8)? != self.sequence {
            bail!("{}", std::io::Error::from_raw_os_error(errno));
        }
        Ok(())
    }
}

fn nexthop(group: u32, i: u32) -> u32 {
    group * 1000 + i
}

pub(crate) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

fn family(octets: &[u8]) -> u8 {
    if octets.len() == 4 { AF_INET } else { AF_INET6 }
}

fn attribute(buffer: &mut Vec<u8>, kind: u16, value: &[u8]) {
    buffer.extend((value.len() as u16 + 4).to_ne_bytes());
    buffer.extend(kind.to_ne_bytes());
    buffer.extend(value);
    buffer.resize(buffer.len().next_multiple_of(4), 0);
}

/// As the FIB signs its routes.
const PROTOCOL: u8 = 67;

// linux/netlink.h, linux/rtnetlink.h, linux/nexthop.h
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_REPLACE: u16 = 0x100;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_NEWNEXTHOP: u16 = 104;
const TABLE_MAIN: u8 = 254;
const SCOPE_LINK: u8 = 253;
const SCOPE_NOWHERE: u8 = 255;
const RTN_UNICAST: u8 = 1;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_MULTIPATH: u16 = 9;
const RTA_NH_ID: u16 = 30;
const NHA_ID: u16 = 1;
const NHA_GROUP: u16 = 2;
const NHA_OIF: u16 = 5;
const NHA_GATEWAY: u16 = 6;
