//! What the kernel knows of the way to a neighbour.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::sys::socket::SockaddrStorage;

/// Our address for what goes to `remote`: connecting a UDP socket sends nothing, and asks the routing table.
///
/// The answer holds for now; a session that lasts should be told when it becomes another one.
pub fn source_towards(remote: SocketAddr) -> io::Result<IpAddr> {
    let any = match remote {
        SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(remote)?;
    Ok(socket.local_addr()?.ip())
}

/// `remote` is in a subnet of one of our interfaces, or at the other end of one, so nothing is between us.
pub fn is_on_link(remote: IpAddr) -> io::Result<bool> {
    if let IpAddr::V6(remote) = remote
        && remote.is_unicast_link_local()
    {
        return Ok(true);
    }
    Ok(getifaddrs()?.any(|interface| reaches(&interface, remote)))
}

fn reaches(interface: &InterfaceAddress, remote: IpAddr) -> bool {
    let ip = |address: &Option<SockaddrStorage>| address.as_ref().and_then(ip);
    if ip(&interface.destination) == Some(remote) {
        return true;
    }
    match (ip(&interface.address), ip(&interface.netmask)) {
        (Some(own), Some(mask)) => in_subnet(own, mask, remote),
        _ => false,
    }
}

fn in_subnet(own: IpAddr, mask: IpAddr, remote: IpAddr) -> bool {
    match (own, mask, remote) {
        (IpAddr::V4(own), IpAddr::V4(mask), IpAddr::V4(remote)) => own & mask == remote & mask,
        (IpAddr::V6(own), IpAddr::V6(mask), IpAddr::V6(remote)) => own & mask == remote & mask,
        _ => false,
    }
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| v4.ip().into());
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| v6.ip().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_loopback_we_speak_from_loopback() {
        let there = SocketAddr::from((Ipv4Addr::new(127, 1, 2, 3), 3784));
        let here = source_towards(there).unwrap();
        assert!(here.is_loopback(), "{here}");
    }

    #[test]
    fn loopback_is_near_and_what_nobody_has_is_not() {
        let near = |remote: &str| is_on_link(remote.parse().unwrap()).unwrap();
        assert!(near("127.1.2.3"));
        assert!(near("fe80::1"));
        assert!(!near("240.0.0.1"));
        assert!(!near("100::1"));
    }

    #[test]
    fn a_subnet_ends_where_its_mask_says() {
        let test = |own: &str, mask: &str, remote: &str| {
            in_subnet(
                own.parse().unwrap(),
                mask.parse().unwrap(),
                remote.parse().unwrap(),
            )
        };
        assert!(test("10.1.0.1", "255.255.0.0", "10.1.255.255"));
        assert!(!test("10.1.0.1", "255.255.0.0", "10.2.0.0"));
        assert!(test("fd00::1", "ffff:ffff:ffff:ffff::", "fd00::ffff:0:0:1"));
        assert!(!test("fd00::1", "ffff:ffff:ffff:ffff::", "fd00:0:0:1::1"));
        assert!(!test("10.1.0.1", "255.255.0.0", "fd00::1"));
    }
}
