//! Workloads that announce themselves on a device of this node: ARP of any kind (RFC 826, RFC 5227), and the RARP that a
//! virtual machine's host sends for it when the machine has come (RFC 903).
//!
//! Only ARP from a machine that runs comes in by its device, since nothing between nodes is bridged.

use std::io;
use std::net::Ipv4Addr;
use std::num::NonZeroU32;

use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType};
use tokio::net::UdpSocket;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Announcement {
    pub(crate) mac: [u8; 6],
    /// Nobody speaks of it in RARP and in probes.
    pub(crate) address: Option<Ipv4Addr>,
}

/// Hears all devices of the node.
#[derive(Debug)]
pub(crate) struct Listener {
    arp: UdpSocket,
    rarp: UdpSocket,
}

impl Listener {
    /// Needs CAP_NET_RAW.
    pub(crate) fn open() -> io::Result<Listener> {
        Ok(Listener {
            arp: socket(ETHERTYPE_ARP)?,
            rarp: socket(ETHERTYPE_RARP)?,
        })
    }

    /// The next one.
    pub(crate) async fn next(&self) -> io::Result<Announcement> {
        loop {
            let heard = tokio::select! {
                heard = read(&self.arp) => heard?,
                heard = read(&self.rarp) => heard?,
            };
            if let Some(announcement) = heard {
                return Ok(announcement);
            }
        }
    }
}

const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_RARP: u16 = 0x8035;

fn socket(ethertype: u16) -> io::Result<UdpSocket> {
    let protocol = NonZeroU32::new(u32::from(ethertype.to_be())).map(Protocol::from_raw);
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    // Without the link's header.
    let socket =
        rustix::net::socket_with(AddressFamily::PACKET, SocketType::DGRAM, flags, protocol)?;
    // Nothing but `recv` is done with it, which is the same for all sockets of datagrams.
    UdpSocket::from_std(socket.into())
}

async fn read(socket: &UdpSocket) -> io::Result<Option<Announcement>> {
    let mut octets = [0; 64];
    match socket.recv(&mut octets).await {
        Ok(length) => Ok(parse(&octets[..length])),
        // A device went down: the socket hears the others.
        Err(error) if error.kind() == io::ErrorKind::NetworkDown => Ok(None),
        Err(error) => Err(error),
    }
}

/// ARP and RARP have one format: hardware and protocol (Ethernet, IPv4) with the lengths of their addresses, an
/// operation, and sender and target with both addresses.
fn parse(octets: &[u8]) -> Option<Announcement> {
    let (head, rest) = octets.split_at_checked(8)?;
    if head[..6] != [0, 1, 8, 0, 6, 4] {
        return None;
    }
    let mac = *rest.first_chunk::<6>()?;
    let address = Ipv4Addr::from(*rest.get(6..)?.first_chunk::<4>()?);
    Some(Announcement {
        mac,
        address: (!address.is_unspecified()).then_some(address),
    })
}

#[cfg(test)]
mod tests;
