//! The ICMPv6 socket of one network device (RFC 3542).

use std::io::{self, IoSliceMut};
use std::net::{Ipv6Addr, SocketAddrV6};
use std::os::fd::AsRawFd;

use nix::libc::c_int;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::advertisement::{self, NoRouter};
use crate::socket;

/// Hears routers on one link, and speaks to them.
#[derive(Debug)]
pub(super) struct Link {
    /// A raw one: tokio has no type for it, and what is called here is the same for both.
    socket: UdpSocket,
    index: u32,
}

impl Link {
    /// Needs CAP_NET_RAW.
    pub(super) fn open(device: &str) -> io::Result<Link> {
        let kind = Type::RAW.nonblocking().cloexec();
        let socket = Socket::new(Domain::IPV6, kind, Some(Protocol::ICMPV6))?;
        let index = socket::device_index(&socket, device)?;
        socket.bind_device(Some(device.as_bytes()))?;
        socket.set_recv_hoplimit_v6(true)?;
        socket.set_multicast_if_v6(index)?;
        socket.set_multicast_hops_v6(u8::MAX.into())?;
        socket.set_multicast_loop_v6(false)?;
        socket.join_multicast_v6(&ALL_NODES, index)?;
        Ok(Link {
            socket: UdpSocket::from_std(socket.into())?,
            index,
        })
    }

    /// The device is still the one that it was opened for.
    pub(super) fn is_of(&self, device: &str) -> bool {
        let index = socket::device_index(&self.socket, device);
        index.is_ok_and(|index| index == self.index)
    }

    /// Says that a router is here.
    pub(super) fn advertise(&self) -> io::Result<()> {
        let to = SocketAddrV6::new(ALL_NODES, 0, 0, self.index);
        let octets = advertisement::encode();
        SockRef::from(&self.socket).send_to(&octets, &to.into())?;
        Ok(())
    }

    /// The next router that is heard. What says nothing of a router is passed over.
    pub(super) async fn hear(&self) -> io::Result<Ipv6Addr> {
        loop {
            self.socket.readable().await?;
            let heard = self
                .socket
                .try_io(Interest::READABLE, || receive(&self.socket));
            match heard {
                Ok(Ok(router)) => return Ok(router),
                // Everybody's neighbour solicitations and echoes come here as well.
                Ok(Err(_)) => tokio::task::consume_budget().await,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn receive(socket: &impl AsRawFd) -> io::Result<Result<Ipv6Addr, NoRouter>> {
    let mut octets = [0; OCTETS_MAX];
    let mut control = nix::cmsg_space!(c_int);
    let mut buffers = [IoSliceMut::new(&mut octets)];
    let message = recvmsg::<SockaddrIn6>(
        socket.as_raw_fd(),
        &mut buffers,
        Some(&mut control),
        MsgFlags::MSG_DONTWAIT,
    )?;
    let source = message.address.map_or(Ipv6Addr::UNSPECIFIED, |a| a.ip());
    let hop_limit = message.cmsgs()?.find_map(|message| match message {
        ControlMessageOwned::Ipv6HopLimit(limit) => u8::try_from(limit).ok(),
        _ => None,
    });
    let length = message.bytes;
    let octets = octets.get(..length).unwrap_or_default();
    // Without a hop limit nobody can say that it came from the link.
    let judged = advertisement::judge(octets, source, hop_limit.unwrap_or(0));
    Ok(judged.map(|()| source))
}

/// All nodes on the link (RFC 4291 §2.7.1).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// The MTU of most links; what is longer is cut, and its last option is wrong then.
const OCTETS_MAX: usize = 1500;
