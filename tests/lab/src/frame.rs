//! Reads a probe packet out of an Ethernet frame, through whatever it is wrapped in. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Names one stream of echo requests: who asks whom, and the ICMP identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Probe {
    /// Who sends.
    pub source: IpAddr,
    /// Who shall answer.
    pub target: IpAddr,
    /// ICMP identifier.
    pub id: u16,
}

/// What a probe was wrapped in when it was seen on a wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wrapping {
    /// Nothing.
    Bare,
    /// IP protocol 4 between these addresses.
    Ipip(IpAddr, IpAddr),
    /// UDP port 4789 between these addresses.
    Vxlan(IpAddr, IpAddr),
}

/// What a frame holds, as far as the watcher cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content<'a> {
    /// An echo request and its wrapping.
    Request(Probe, Wrapping),
    /// A UDP datagram to the discard port.
    Discard(&'a [u8]),
}

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const PROTOCOL_ICMP: u8 = 1;
const PROTOCOL_IPIP: u8 = 4;
const PROTOCOL_UDP: u8 = 17;
const PROTOCOL_ICMPV6: u8 = 58;
const PORT_DISCARD: u16 = 9;
const PORT_VXLAN: u16 = 4789;

/// Reads an Ethernet frame.
pub fn read(frame: &[u8]) -> Option<Content<'_>> {
    ethernet(frame, Wrapping::Bare)
}

fn ethernet(frame: &[u8], wrapping: Wrapping) -> Option<Content<'_>> {
    let packet = frame.get(14..)?;
    match number(frame, 12)? {
        ETHERTYPE_IPV4 => ipv4(packet, wrapping),
        ETHERTYPE_IPV6 => ipv6(packet, wrapping),
        _ => None,
    }
}

fn ipv4(packet: &[u8], wrapping: Wrapping) -> Option<Content<'_>> {
    let octets: [u8; 8] = packet.get(12..20)?.try_into().ok()?;
    let [a, b, c, d, e, f, g, h] = octets;
    let (source, target) = (
        Ipv4Addr::new(a, b, c, d).into(),
        Ipv4Addr::new(e, f, g, h).into(),
    );
    let header_octets = usize::from(packet.first()? & 0x0f) * 4;
    inner(
        packet[9],
        packet.get(header_octets..)?,
        source,
        target,
        wrapping,
    )
}

fn ipv6(packet: &[u8], wrapping: Wrapping) -> Option<Content<'_>> {
    let source: [u8; 16] = packet.get(8..24)?.try_into().ok()?;
    let target: [u8; 16] = packet.get(24..40)?.try_into().ok()?;
    let (source, target) = (Ipv6Addr::from(source).into(), Ipv6Addr::from(target).into());
    inner(packet[6], packet.get(40..)?, source, target, wrapping)
}

fn inner(
    protocol: u8,
    payload: &[u8],
    source: IpAddr,
    target: IpAddr,
    wrapping: Wrapping,
) -> Option<Content<'_>> {
    match protocol {
        PROTOCOL_ICMP if payload.first() == Some(&8) => request(payload, source, target, wrapping),
        PROTOCOL_ICMPV6 if payload.first() == Some(&128) => {
            request(payload, source, target, wrapping)
        }
        PROTOCOL_IPIP => ipv4(payload, Wrapping::Ipip(source, target)),
        PROTOCOL_UDP if number(payload, 2)? == PORT_VXLAN => {
            ethernet(payload.get(16..)?, Wrapping::Vxlan(source, target))
        }
        PROTOCOL_UDP if number(payload, 2)? == PORT_DISCARD => {
            Some(Content::Discard(payload.get(8..)?))
        }
        _ => None,
    }
}

fn request(
    payload: &[u8],
    source: IpAddr,
    target: IpAddr,
    wrapping: Wrapping,
) -> Option<Content<'_>> {
    let id = number(payload, 4)?;
    Some(Content::Request(Probe { source, target, id }, wrapping))
}

fn number(octets: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(octets.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests;
