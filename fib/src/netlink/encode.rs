//! Route messages as bytes: `nlmsghdr`, `rtmsg`, attributes. Many of them stand in one buffer.
//!
//! The crate netlink-packet-route could do it too; this is several times faster, and the writer needs only this one
//! kind of message.

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use crate::kernel::{Hop, Key, Kind, Spec, Write};

/// Appends one message and returns its position, for [`ask_for_ack`].
pub(super) fn route(buffer: &mut Vec<u8>, write: &Write, sequence: u32) -> usize {
    let start = buffer.len();
    let (kind, flags, key, spec) = match write {
        Write::Set { key, spec, replace } => {
            let exclusive = if *replace { NLM_F_REPLACE } else { NLM_F_EXCL };
            (RTM_NEWROUTE, NLM_F_CREATE | exclusive, key, spec)
        }
        Write::Delete { key, spec } => (RTM_DELROUTE, 0, key, spec),
    };
    buffer.extend_from_slice(&0u32.to_ne_bytes());
    buffer.extend_from_slice(&kind.to_ne_bytes());
    buffer.extend_from_slice(&(NLM_F_REQUEST | flags).to_ne_bytes());
    buffer.extend_from_slice(&sequence.to_ne_bytes());
    buffer.extend_from_slice(&0u32.to_ne_bytes());
    header(buffer, key, spec, kind == RTM_DELROUTE);
    attributes(buffer, key, spec, kind == RTM_DELROUTE);
    let length = (buffer.len() - start) as u32;
    buffer[start..start + 4].copy_from_slice(&length.to_ne_bytes());
    start
}

/// Sets NLM_F_ACK on the message at this position.
pub(super) fn ask_for_ack(buffer: &mut [u8], position: usize) {
    let flags = &mut buffer[position + 6..position + 8];
    let with_ack = u16::from_ne_bytes([flags[0], flags[1]]) | NLM_F_ACK;
    flags.copy_from_slice(&with_ack.to_ne_bytes());
}

fn header(buffer: &mut Vec<u8>, key: &Key, spec: &Spec, delete: bool) {
    let onlink = match spec.hops.as_slice() {
        [one] if one.onlink => u32::from(RTNH_F_ONLINK),
        _ => 0,
    };
    let kind = match spec.kind {
        Kind::Unicast => RTN_UNICAST,
        Kind::Blackhole => RTN_BLACKHOLE,
        Kind::Other(number) => number,
    };
    buffer.push(family(&key.prefix.addr()));
    buffer.push(key.prefix.prefix_len());
    buffer.push(0); // source prefix
    buffer.push(0); // type of service
    buffer.push(RT_TABLE_MAIN);
    buffer.push(spec.protocol);
    buffer.push(if delete { RT_SCOPE_NOWHERE } else { spec.scope });
    buffer.push(kind);
    buffer.extend_from_slice(&onlink.to_ne_bytes());
}

fn attributes(buffer: &mut Vec<u8>, key: &Key, spec: &Spec, delete: bool) {
    address(buffer, RTA_DST, &key.prefix.network());
    if key.metric != 0 {
        attribute(buffer, RTA_PRIORITY, &key.metric.to_ne_bytes());
    }
    match spec.hops.as_slice() {
        [] => {}
        [one] => {
            attribute(buffer, RTA_OIF, &one.device.to_ne_bytes());
            gateway(buffer, key, one);
        }
        // A deletion without next hops takes the route with all of them.
        _ if delete => {}
        many => nested(buffer, RTA_MULTIPATH, |buffer| {
            for hop in many {
                let start = buffer.len();
                buffer.extend_from_slice(&0u16.to_ne_bytes());
                buffer.push(if hop.onlink { RTNH_F_ONLINK } else { 0 });
                buffer.push(hop.weight);
                buffer.extend_from_slice(&hop.device.to_ne_bytes());
                gateway(buffer, key, hop);
                let length = (buffer.len() - start) as u16;
                buffer[start..start + 2].copy_from_slice(&length.to_ne_bytes());
            }
        }),
    }
}

fn gateway(buffer: &mut Vec<u8>, key: &Key, hop: &Hop) {
    match hop.via {
        None => {}
        Some(via) if via.is_ipv4() == key.prefix.addr().is_ipv4() => {
            address(buffer, RTA_GATEWAY, &via)
        }
        // RFC 5549: an IPv4 route by an IPv6 next hop.
        Some(via) => nested(buffer, RTA_VIA, |buffer| {
            buffer.extend_from_slice(&u16::from(family(&via)).to_ne_bytes());
            octets(buffer, &via);
        }),
    }
}

fn address(buffer: &mut Vec<u8>, kind: u16, address: &IpAddr) {
    nested(buffer, kind, |buffer| octets(buffer, address));
}

fn octets(buffer: &mut Vec<u8>, address: &IpAddr) {
    match address {
        IpAddr::V4(v4) => buffer.extend_from_slice(&v4.octets()),
        IpAddr::V6(v6) => buffer.extend_from_slice(&v6.octets()),
    }
}

fn attribute(buffer: &mut Vec<u8>, kind: u16, value: &[u8]) {
    nested(buffer, kind, |buffer| buffer.extend_from_slice(value));
}

fn nested(buffer: &mut Vec<u8>, kind: u16, value: impl FnOnce(&mut Vec<u8>)) {
    let start = buffer.len();
    buffer.extend_from_slice(&0u16.to_ne_bytes());
    buffer.extend_from_slice(&kind.to_ne_bytes());
    value(buffer);
    let length = (buffer.len() - start) as u16;
    buffer[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    buffer.resize(buffer.len().next_multiple_of(4), 0);
}

fn family(address: &IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => AF_INET,
        IpAddr::V6(_) => AF_INET6,
    }
}

// linux/netlink.h, linux/rtnetlink.h
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_REPLACE: u16 = 0x100;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RT_TABLE_MAIN: u8 = 254;
const RT_SCOPE_NOWHERE: u8 = 255;
const RTN_UNICAST: u8 = 1;
const RTN_BLACKHOLE: u8 = 6;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_MULTIPATH: u16 = 9;
const RTA_VIA: u16 = 18;
const RTNH_F_ONLINK: u8 = 4;
