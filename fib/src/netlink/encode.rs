//! Messages about routes and nexthop objects as bytes: `nlmsghdr`, `rtmsg` or `nhmsg`, attributes. Many of them stand
//! in one buffer.
//!
//! The crate netlink-packet-route could do it too; this is several times faster, and knows nexthop objects, which that
//! crate does not.

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use crate::kernel::{Content, Hop, Key, Kind, Nexthops, Object, ObjectId, Spec, Write};

/// Appends one message and returns its position, for [`ask_for_ack`].
pub(super) fn message(buffer: &mut Vec<u8>, write: &Write, sequence: u32) -> usize {
    let start = buffer.len();
    let (kind, flags) = match write {
        Write::Set { replace, .. } => (RTM_NEWROUTE, creation(*replace)),
        Write::Delete { .. } => (RTM_DELROUTE, 0),
        Write::SetObject { replace, .. } => (RTM_NEWNEXTHOP, creation(*replace)),
        Write::DeleteObject { .. } => (RTM_DELNEXTHOP, 0),
    };
    buffer.extend_from_slice(&0u32.to_ne_bytes());
    buffer.extend_from_slice(&kind.to_ne_bytes());
    buffer.extend_from_slice(&(NLM_F_REQUEST | flags).to_ne_bytes());
    buffer.extend_from_slice(&sequence.to_ne_bytes());
    buffer.extend_from_slice(&0u32.to_ne_bytes());
    match write {
        Write::Set { key, spec, .. } => route(buffer, key, spec, false),
        Write::Delete { key, spec } => route(buffer, key, spec, true),
        Write::SetObject { id, object, .. } => set_object(buffer, *id, object),
        Write::DeleteObject { id } => {
            buffer.extend_from_slice(&[0; NHMSG_BYTES]);
            attribute(buffer, NHA_ID, &id.to_ne_bytes());
        }
    }
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

fn creation(replace: bool) -> u16 {
    NLM_F_CREATE | if replace { NLM_F_REPLACE } else { NLM_F_EXCL }
}

/// `nhmsg` has family, scope, protocol, a hole, and flags.
fn set_object(buffer: &mut Vec<u8>, id: ObjectId, object: &Object) {
    let hop = match &object.content {
        Content::Single(hop) => Some(hop),
        Content::Group(_) | Content::Other => None,
    };
    // A group has no family. An object without a gateway has one all the same.
    let family = hop.map_or(AF_UNSPEC, |hop| hop.via.as_ref().map_or(AF_INET, family));
    let onlink = hop.is_some_and(|hop| hop.onlink);
    buffer.extend_from_slice(&[family, 0, object.protocol, 0]);
    let flags = if onlink { u32::from(RTNH_F_ONLINK) } else { 0 };
    buffer.extend_from_slice(&flags.to_ne_bytes());
    attribute(buffer, NHA_ID, &id.to_ne_bytes());
    if let Some(hop) = hop {
        attribute(buffer, NHA_OIF, &hop.device.to_ne_bytes());
        if let Some(via) = &hop.via {
            address(buffer, NHA_GATEWAY, via);
        }
    } else {
        nested(buffer, NHA_GROUP, |buffer| {
            for member in object.members() {
                buffer.extend_from_slice(&member.id.to_ne_bytes());
                buffer.extend_from_slice(&[member.weight, 0, 0, 0]);
            }
        });
    }
}

fn route(buffer: &mut Vec<u8>, key: &Key, spec: &Spec, delete: bool) {
    header(buffer, key, spec, delete);
    attributes(buffer, key, spec, delete);
}

fn header(buffer: &mut Vec<u8>, key: &Key, spec: &Spec, delete: bool) {
    let onlink = match spec.hops() {
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
    if let Some(source) = &spec.source {
        address(buffer, RTA_PREFSRC, source);
    }
    if let Nexthops::Object(id) = spec.nexthops {
        attribute(buffer, RTA_NH_ID, &id.to_ne_bytes());
    }
    match spec.hops() {
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

// linux/netlink.h, linux/rtnetlink.h, linux/nexthop.h
const AF_UNSPEC: u8 = 0;
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
const RTM_DELNEXTHOP: u16 = 105;
const RT_TABLE_MAIN: u8 = 254;
const RT_SCOPE_NOWHERE: u8 = 255;
const RTN_UNICAST: u8 = 1;
const RTN_BLACKHOLE: u8 = 6;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;
const RTA_MULTIPATH: u16 = 9;
const RTA_VIA: u16 = 18;
const RTA_NH_ID: u16 = 30;
const NHMSG_BYTES: usize = 8;
const NHA_ID: u16 = 1;
const NHA_GROUP: u16 = 2;
const NHA_OIF: u16 = 5;
const NHA_GATEWAY: u16 = 6;
const RTNH_F_ONLINK: u8 = 4;
