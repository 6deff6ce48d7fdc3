//! The two kinds of socket (RFC 5881 §4 and §5, RFC 5883 §5).

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd;
use std::task::{Context, Poll};

use nix::libc::c_int;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt,
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Hears what is sent to one of our addresses and one of BFD's ports.
#[derive(Debug)]
pub(crate) struct Receiver {
    socket: UdpSocket,
    local: SocketAddr,
    /// Room for the control message that carries the TTL.
    control: Vec<u8>,
}

/// A datagram's place in the caller's buffer and what IP said of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Datagram {
    pub(crate) source: SocketAddr,
    pub(crate) ttl: u8,
    pub(crate) octets: usize,
}

impl Receiver {
    /// `local` is an address of ours, with its scope when it is link-local.
    pub(crate) fn open(local: SocketAddr) -> io::Result<Receiver> {
        let socket = open(local)?;
        match local {
            SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4RecvTtl, &true)?,
            SocketAddr::V6(_) => socket.set_recv_hoplimit_v6(true)?,
        }
        // No SO_REUSEADDR: whoever else speaks BFD for this address must be noticed.
        socket.bind(&local.into())?;
        Ok(Receiver {
            socket: UdpSocket::from_std(socket.into())?,
            local,
            control: nix::cmsg_space!(c_int),
        })
    }

    /// Where it hears.
    pub(crate) fn local(&self) -> SocketAddr {
        self.local
    }

    /// Something has arrived, as far as tokio knows.
    pub(crate) fn poll_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_recv_ready(context)
    }

    /// The next datagram; `WouldBlock`: the kernel has none, whatever tokio believes.
    pub(crate) fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Datagram> {
        let Receiver {
            socket, control, ..
        } = self;
        let mut receive = || receive(socket, control, buffer);
        match socket.try_io(Interest::READABLE, &mut receive) {
            // Either tokio asked the kernel, or it has not heard of the datagram yet.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => receive(),
            other => other,
        }
    }
}

fn receive(socket: &impl AsRawFd, control: &mut [u8], buffer: &mut [u8]) -> io::Result<Datagram> {
    let mut buffers = [IoSliceMut::new(buffer)];
    let message = recvmsg::<SockaddrStorage>(
        socket.as_raw_fd(),
        &mut buffers,
        Some(control),
        MsgFlags::MSG_DONTWAIT,
    )?;
    let source = message.address.as_ref().and_then(address);
    let source = source.ok_or_else(|| io::Error::other("datagram without a source"))?;
    let ttl = message.cmsgs()?.find_map(|message| match message {
        ControlMessageOwned::Ipv4Ttl(ttl) | ControlMessageOwned::Ipv6HopLimit(ttl) => Some(ttl),
        _ => None,
    });
    Ok(Datagram {
        source,
        // Without a TTL nobody can say that it came from the link.
        ttl: ttl.and_then(|ttl| u8::try_from(ttl).ok()).unwrap_or(0),
        octets: message.bytes,
    })
}

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = storage
        .as_sockaddr_in()
        .map(|v4| SocketAddrV4::from(*v4).into());
    v4.or_else(|| {
        storage
            .as_sockaddr_in6()
            .map(|v6| SocketAddrV6::from(*v6).into())
    })
}

/// Speaks for one session, from a port of its own.
#[derive(Debug)]
pub(crate) struct Sender {
    socket: Socket,
}

impl Sender {
    /// `source` is what the session would like; when somebody has the port, it is another one of the range.
    pub(crate) fn open(source: SocketAddr, ttl: u8) -> io::Result<Sender> {
        let socket = open(source)?;
        match source {
            SocketAddr::V4(_) => {
                socket.set_ttl_v4(ttl.into())?;
                socket.set_tos_v4(NETWORK_CONTROL)?;
            }
            SocketAddr::V6(_) => {
                socket.set_unicast_hops_v6(ttl.into())?;
                socket.set_tclass_v6(NETWORK_CONTROL)?;
            }
        }
        // Nothing is read from it, so what is sent to it shall find no room.
        socket.set_recv_buffer_size(0)?;
        for port in ports_from(source.port()) {
            let mut source = source;
            source.set_port(port);
            match socket.bind(&source.into()) {
                Ok(()) => return Ok(Sender { socket }),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }

    /// A full buffer loses the packet like any other link would.
    pub(crate) fn send(&self, destination: SocketAddr, bytes: &[u8]) -> io::Result<()> {
        self.socket.send_to(bytes, &destination.into()).map(|_| ())
    }

    #[cfg(test)]
    pub(crate) fn local(&self) -> SocketAddr {
        self.socket.local_addr().unwrap().as_socket().unwrap()
    }
}

/// RFC 5881 §4: 49152 to 65535. A few tries; the rest of the system does not use them all.
fn ports_from(first: u16) -> impl Iterator<Item = u16> {
    (0..PORT_TRIES).map(move |step| first.checked_add(step).unwrap_or(PORT_FIRST + step))
}

fn open(address: SocketAddr) -> io::Result<Socket> {
    let kind = Type::DGRAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

/// A packet is 24 octets, with authentication a few more. What is longer is cut, and judged by its beginning.
pub(crate) const DATAGRAM_OCTETS_MAX: usize = 512;

/// DSCP CS6 (RFC 2474 §4.2.2.1, RFC 4594 §3.2), as routers mark what keeps the network together.
const NETWORK_CONTROL: u32 = 0xc0;
const PORT_FIRST: u16 = 49152;
const PORT_TRIES: u16 = 64;

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use super::*;

    fn loopback(last: u8) -> IpAddr {
        Ipv4Addr::new(127, 84, 1, last).into()
    }

    async fn heard(receiver: &mut Receiver, buffer: &mut [u8]) -> Datagram {
        std::future::poll_fn(|context| receiver.poll_ready(context))
            .await
            .unwrap();
        receiver.receive(buffer).unwrap()
    }

    #[tokio::test]
    async fn a_datagram_comes_with_its_source_and_ttl() {
        for local in [loopback(1), Ipv6Addr::LOCALHOST.into()] {
            let mut receiver = Receiver::open(SocketAddr::new(local, 0)).unwrap();
            let heard_at = receiver.socket.local_addr().unwrap();
            let mut buffer = [0; DATAGRAM_OCTETS_MAX];
            let nothing = receiver.receive(&mut buffer).unwrap_err();
            assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
            for ttl in [255, 7] {
                let sender = Sender::open(SocketAddr::new(local, 50000), ttl).unwrap();
                sender.send(heard_at, b"hello").unwrap();
                let datagram = heard(&mut receiver, &mut buffer).await;
                assert_eq!(datagram.source, sender.local());
                assert!(datagram.source.port() >= PORT_FIRST);
                assert_eq!((datagram.ttl, datagram.octets), (ttl, 5));
                assert_eq!(&buffer[..5], b"hello");
            }
        }
    }

    #[tokio::test]
    async fn what_tokio_has_not_heard_of_is_read_all_the_same() {
        let mut receiver = Receiver::open(SocketAddr::new(loopback(2), 0)).unwrap();
        let heard_at = receiver.socket.local_addr().unwrap();
        let sender = Sender::open(SocketAddr::new(loopback(2), 50000), 255).unwrap();
        sender.send(heard_at, b"hello").unwrap();
        // No await since, so the reactor had no turn.
        let datagram = receiver.receive(&mut [0; 8]).unwrap();
        assert_eq!(datagram.octets, 5);
    }

    #[tokio::test]
    async fn a_long_datagram_is_cut() {
        let mut receiver = Receiver::open(SocketAddr::new(loopback(3), 0)).unwrap();
        let heard_at = receiver.socket.local_addr().unwrap();
        let sender = Sender::open(SocketAddr::new(loopback(3), 50000), 255).unwrap();
        sender.send(heard_at, &[1; 9000]).unwrap();
        let datagram = receiver.receive(&mut [0; 8]).unwrap();
        assert_eq!(datagram.octets, 8);
    }

    #[test]
    fn a_source_port_that_is_taken_makes_way_for_the_next() {
        let first = Sender::open(SocketAddr::new(loopback(4), 65535), 255).unwrap();
        let second = Sender::open(SocketAddr::new(loopback(4), 65535), 255).unwrap();
        assert_eq!(first.local().port(), 65535);
        assert!((PORT_FIRST..65535).contains(&second.local().port()));
    }

    #[tokio::test]
    async fn a_second_daemon_does_not_get_the_port() {
        let first = Receiver::open(SocketAddr::new(loopback(5), 0)).unwrap();
        let taken = first.socket.local_addr().unwrap();
        let error = Receiver::open(taken).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
