//! Workloads that announce themselves on a device of this node: ARP of any kind (RFC 826, RFC 5227), and the RARP that a
//! virtual machine's host sends for it when the machine has come (RFC 903).
//!
//! Only ARP from a machine that runs comes in by its device, since nothing between nodes is bridged. What comes in by
//! another device is not from it, whatever it says: frames are written by pods.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::os::fd::AsRawFd;

use nix::sys::socket::{LinkAddr, recvfrom};
use rustix::net::netdevice::index_to_name;
use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Who speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Announcement {
    /// By which device of the host it came in.
    pub(crate) device: String,
    /// Who the speaker says that it is.
    pub(crate) sender: Sender,
}

/// What a frame says of its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sender {
    pub(crate) mac: [u8; 6],
    /// Nobody speaks of it in RARP and in probes.
    pub(crate) address: Option<Ipv4Addr>,
}

impl Announcement {
    /// Whether it is of a workload with this MAC and these addresses, and from where else it came if not from its device.
    pub(crate) fn is_of(
        &self,
        device: &str,
        mac: [u8; 6],
        addresses: &[IpAddr],
    ) -> Option<Result<(), &str>> {
        let own = |address| addresses.contains(&IpAddr::V4(address));
        if self.sender.mac != mac || !self.sender.address.is_none_or(own) {
            return None;
        }
        Some(match self.device == device {
            true => Ok(()),
            false => Err(&self.device),
        })
    }
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
    // Nothing but waiting for it is done by this type, which is the same for all sockets of datagrams.
    UdpSocket::from_std(socket.into())
}

async fn read(socket: &UdpSocket) -> io::Result<Option<Announcement>> {
    let mut octets = [0; 64];
    let received = socket.async_io(Interest::READABLE, || {
        Ok(recvfrom::<LinkAddr>(socket.as_raw_fd(), &mut octets)?)
    });
    match received.await {
        Ok((length, from)) => {
            // A device that is gone by now is nobody's.
            let device = from
                .and_then(|from| u32::try_from(from.ifindex()).ok())
                .and_then(|index| index_to_name(socket, index).ok());
            let announcement = device.zip(parse(&octets[..length]));
            Ok(announcement.map(|(device, sender)| Announcement { device, sender }))
        }
        // A device went down: the socket hears the others.
        Err(error) if error.kind() == io::ErrorKind::NetworkDown => Ok(None),
        Err(error) => Err(error),
    }
}

/// ARP and RARP have one format: hardware and protocol (Ethernet, IPv4) with the lengths of their addresses, an
/// operation, and sender and target with both addresses.
fn parse(octets: &[u8]) -> Option<Sender> {
    let (head, rest) = octets.split_at_checked(8)?;
    if head[..6] != [0, 1, 8, 0, 6, 4] {
        return None;
    }
    let mac = *rest.first_chunk::<6>()?;
    let address = Ipv4Addr::from(*rest.get(6..)?.first_chunk::<4>()?);
    Some(Sender {
        mac,
        address: (!address.is_unspecified()).then_some(address),
    })
}

#[cfg(test)]
mod tests;
