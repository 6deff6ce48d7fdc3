//! Every BGP socket is made here, with its options.
//!
//! Keys for TCP MD5 (RFC 2385) and the TTL of GTSM (RFC 5082) have to be on a socket before it listens or
//! connects, so a listener is made in two steps, and an attempt is told its options.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpSocket, TcpStream};

use crate::options::SessionOptions;
use crate::sockopt;

/// A socket that will listen on `address`.
pub(crate) fn bound(address: SocketAddr) -> io::Result<Socket> {
    let socket = stream(address)?;
    // Connections of our predecessor in TIME_WAIT must not keep us from starting.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // The IPv4 wildcard is a listener of its own; a peer's address is then never an IPv4-mapped one.
        socket.set_only_v6(true)?;
    }
    // The answer to a SYN has the listener's TTL, and peers with TTL security want 255 (RFC 5082 §3).
    sockopt::set_ttl(&socket, address.is_ipv6(), Some(u8::MAX))?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Begins to listen.
pub(crate) fn listen(socket: &Socket) -> io::Result<()> {
    socket.listen(BACKLOG)
}

/// A connection to `remote`, from `local` when that is given.
pub(crate) async fn connecting(
    remote: SocketAddr,
    local: Option<IpAddr>,
    interface: Option<String>,
    options: Option<SessionOptions>,
) -> io::Result<TcpStream> {
    let socket = stream(remote)?;
    if let Some(name) = interface {
        // Also says on which link a link-local address is meant.
        let bound = socket.bind_device(Some(name.as_bytes()));
        bound.map_err(|error| about_device(&name, error))?;
    }
    if let Some(options) = &options {
        options.apply(&socket, remote.ip())?;
    }
    let signed = options.is_some_and(|options| options.key.is_some());
    if let Some(local) = local {
        socket.bind(&SocketAddr::new(local, 0).into())?;
    }
    let socket = TcpSocket::from_std_stream(socket.into());
    let patience = if signed {
        SIGNED_PATIENCE
    } else {
        CONNECT_PATIENCE
    };
    match tokio::time::timeout(patience, socket.connect(remote)).await {
        Ok(connected) => connected.and_then(|stream| prepare(&stream).map(|()| stream)),
        Err(_) => {
            let mut words = format!("no answer within {} s", patience.as_secs());
            if signed {
                words += "; we sign (TCP MD5), and who has another key or none does not answer";
            }
            Err(io::Error::new(io::ErrorKind::TimedOut, words))
        }
    }
}

/// Options of a connection, whoever opened it.
pub(crate) fn prepare(stream: &TcpStream) -> io::Result<()> {
    // We write whole buffers; waiting for more (Nagle) would only add its 40 ms to single changes.
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    // A writable socket then means that the peer really reads, so superseded routes are caught in time.
    socket.set_tcp_notsent_lowat(UNSENT_OCTETS_MAX)?;
    // Routing traffic goes first where links are full (RFC 4594 §3.2). Not vital: a refusal is no error.
    let _ = match stream.peer_addr()? {
        SocketAddr::V4(_) => socket.set_tos_v4(CLASS_SELECTOR_6),
        SocketAddr::V6(_) => socket.set_tclass_v6(CLASS_SELECTOR_6),
    };
    Ok(())
}

/// The name of a network device, as any socket of its namespace can tell.
pub(crate) fn device_name(socket: &impl AsFd, index: u32) -> io::Result<String> {
    Ok(rustix::net::netdevice::index_to_name(socket, index)?)
}

/// The index of a network device.
pub(crate) fn device_index(socket: &impl AsFd, name: &str) -> io::Result<u32> {
    let index = rustix::net::netdevice::name_to_index(socket, name);
    index.map_err(|error| about_device(name, error.into()))
}

fn about_device(name: &str, error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::ENODEV) => {
            io::Error::new(io::ErrorKind::NotFound, format!("no network device {name}"))
        }
        _ => error,
    }
}

/// The system's words without its numbers and capitals, and with what helps.
pub(crate) fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "address in use".to_owned(),
        io::ErrorKind::AddrNotAvailable => "no interface has this address".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "permission denied (a port below 1024 needs CAP_NET_BIND_SERVICE)".to_owned()
        }
        _ => {
            let words = error.to_string();
            let words = words
                .split_once(" (os error ")
                .map_or(words.as_str(), |(words, _)| words);
            let mut letters = words.chars();
            letters.next().map_or_else(String::new, |first| {
                first.to_lowercase().chain(letters).collect()
            })
        }
    }
}

fn stream(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// A cluster's nodes come back all at once; a short queue would cost them SYN time-outs.
const BACKLOG: i32 = 4096;
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// Shorter than the speaker's own (of its ConnectRetryTimer), because here we can say what it may be.
const SIGNED_PATIENCE: Duration = Duration::from_secs(3);
const UNSENT_OCTETS_MAX: u32 = 128 * 1024;
const CLASS_SELECTOR_6: u32 = 0xc0;
