//! The socket options that no safe crate offers: TCP MD5 (RFC 2385, tcp(7)) and GTSM (RFC 5082, ip(7), ipv6(7)).
//!
//! Linux keeps keys per socket, by the other end's address: a listener has many, and what it accepts inherits
//! the one that fits. A key may be replaced at any time, also on an established connection; there is one at a
//! time. All keys of a socket together are limited by `net.core.optmem_max`.

// `setsockopt` and `getsockopt` take pointers; the two calls are in `set` and `read` below, and whatever is
// passed to them is a whole value of ours.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};

use ipnet::IpNet;

/// Signs everything to and from `peers`, on a listener or before connecting; a single address or a prefix.
pub(crate) fn set_key(socket: &impl AsFd, peers: IpNet, key: &[u8]) -> io::Result<()> {
    let (option, value) = md5_signature(peers, key)?;
    set(socket, libc::IPPROTO_TCP, option, &value)
}

/// The opposite. That there was no key is no error.
pub(crate) fn remove_key(socket: &impl AsFd, peers: IpNet) -> io::Result<()> {
    let (option, value) = md5_signature(peers, &[])?;
    match set(socket, libc::IPPROTO_TCP, option, &value) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOPROTOOPT)) => {
            Ok(())
        }
        other => other,
    }
}

/// The TTL, or hop limit, of what we send; `None`: the system's.
pub(crate) fn set_ttl(socket: &impl AsFd, ipv6: bool, ttl: Option<u8>) -> io::Result<()> {
    let (level, option) = if ipv6 {
        (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS)
    } else {
        (libc::IPPROTO_IP, libc::IP_TTL)
    };
    set(
        socket,
        level,
        option,
        &ttl.map_or(-1, c_int::from).to_ne_bytes(),
    )
}

/// What arrives with less is dropped by the kernel; 0: nothing is.
pub(crate) fn set_ttl_min(socket: &impl AsFd, ipv6: bool, ttl: u8) -> io::Result<()> {
    let (level, option) = if ipv6 {
        (libc::IPPROTO_IPV6, libc::IPV6_MINHOPCOUNT)
    } else {
        (libc::IPPROTO_IP, libc::IP_MINTTL)
    };
    set(socket, level, option, &c_int::from(ttl).to_ne_bytes())
}

/// With which TTL the other end completed the handshake of an accepted connection. `None`: the kernel does
/// not say.
pub(crate) fn handshake_ttl(socket: &impl AsFd, ipv6: bool) -> io::Result<Option<u8>> {
    let (level, ask, options, wanted) = if ipv6 {
        (
            libc::IPPROTO_IPV6,
            libc::IPV6_RECVHOPLIMIT,
            libc::IPV6_2292PKTOPTIONS,
            libc::IPV6_HOPLIMIT,
        )
    } else {
        (
            libc::IPPROTO_IP,
            libc::IP_RECVTTL,
            libc::IP_PKTOPTIONS,
            libc::IP_TTL,
        )
    };
    let messages = handshake(socket, level, ask, options)?;
    Ok(control_message(&messages, level, wanted, 0).and_then(|ttl| u8::try_from(ttl).ok()))
}

/// The index of the network device over which the other end completed the handshake of an accepted connection.
/// `None`: the kernel does not say.
pub(crate) fn handshake_device(socket: &impl AsFd, ipv6: bool) -> io::Result<Option<u32>> {
    // `struct in6_pktinfo` begins with an address, `struct in_pktinfo` with the index.
    let (level, ask, options, wanted, at) = if ipv6 {
        (
            libc::IPPROTO_IPV6,
            libc::IPV6_RECVPKTINFO,
            libc::IPV6_2292PKTOPTIONS,
            libc::IPV6_PKTINFO,
            16,
        )
    } else {
        (
            libc::IPPROTO_IP,
            libc::IP_PKTINFO,
            libc::IP_PKTOPTIONS,
            libc::IP_PKTINFO,
            0,
        )
    };
    let messages = handshake(socket, level, ask, options)?;
    let index = control_message(&messages, level, wanted, at);
    Ok(index.and_then(|index| u32::try_from(index).ok().filter(|index| *index != 0)))
}

/// What the kernel has kept of the handshake, where it is asked to.
fn handshake(socket: &impl AsFd, level: c_int, ask: c_int, options: c_int) -> io::Result<Vec<u8>> {
    set(socket, level, ask, &ON.to_ne_bytes())?;
    let mut messages = vec![0; CONTROL_OCTETS_MAX];
    let length = read(socket, level, options, &mut messages);
    // Left on, the kernel would keep a copy of every segment.
    set(socket, level, ask, &OFF.to_ne_bytes())?;
    messages.truncate(length?);
    Ok(messages)
}

/// `struct tcp_md5sig` of linux/tcp.h and the option that takes it:
///
/// ```text
///   0   sockaddr_storage   128   family, port, address
/// 128   flags                1   1: the prefix length counts
/// 129   prefix length        1
/// 130   key length           2   0: remove
/// 132   interface            4
/// 136   key                 80
/// ```
fn md5_signature(peers: IpNet, key: &[u8]) -> io::Result<(c_int, [u8; SIGNATURE_OCTETS])> {
    let mut value = [0; SIGNATURE_OCTETS];
    let mut put = |at: usize, octets: &[u8]| {
        if let Some(place) = value.get_mut(at..at + octets.len()) {
            place.copy_from_slice(octets);
        }
    };
    match peers.network() {
        IpAddr::V4(address) => {
            put(0, &family(libc::AF_INET)?);
            put(4, &address.octets());
        }
        IpAddr::V6(address) => {
            put(0, &family(libc::AF_INET6)?);
            put(8, &address.octets());
        }
    }
    let length = u16::try_from(key.len()).ok().filter(|length| *length <= 80);
    let length = length.ok_or(io::ErrorKind::InvalidInput)?;
    put(130, &length.to_ne_bytes());
    put(136, key);
    let option = if peers.prefix_len() == peers.max_prefix_len() {
        libc::TCP_MD5SIG
    } else {
        put(128, &[1, peers.prefix_len()]);
        libc::TCP_MD5SIG_EXT
    };
    Ok((option, value))
}

fn family(family: c_int) -> io::Result<[u8; 2]> {
    libc::sa_family_t::try_from(family)
        .map(libc::sa_family_t::to_ne_bytes)
        .map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// The number in the control message of that level and type (cmsg(3)), so many octets behind the beginning of its
/// data: length, level, type, data, each message aligned.
fn control_message(mut messages: &[u8], level: c_int, kind: c_int, at: usize) -> Option<c_int> {
    const WORD: usize = size_of::<usize>();
    const DATA: usize = (WORD + 8).next_multiple_of(WORD);
    let number = |octets: &[u8], at: usize| {
        let octets = octets.get(at..at + 4)?;
        Some(c_int::from_ne_bytes(octets.try_into().ok()?))
    };
    loop {
        let length = usize::from_ne_bytes(messages.get(..WORD)?.try_into().ok()?);
        if number(messages, WORD)? == level && number(messages, WORD + 4)? == kind {
            return number(messages.get(..length)?, DATA + at);
        }
        // A length of nothing would have us here for ever.
        messages = messages.get(length.max(DATA).checked_next_multiple_of(WORD)?..)?;
    }
}

fn set(socket: &impl AsFd, level: c_int, option: c_int, value: &[u8]) -> io::Result<()> {
    let length = libc::socklen_t::try_from(value.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the kernel reads `length` octets from a slice that has as many, and keeps no pointer.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            option,
            value.as_ptr().cast(),
            length,
        )
    };
    if outcome == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Returns how many octets there are.
fn read(socket: &impl AsFd, level: c_int, option: c_int, value: &mut [u8]) -> io::Result<usize> {
    let length = libc::socklen_t::try_from(value.len());
    let mut length = length.map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the kernel writes at most `length` octets to a slice that has as many, and keeps no pointer.
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            option,
            value.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if outcome == 0 {
        Ok(usize::try_from(length).unwrap_or(0))
    } else {
        Err(io::Error::last_os_error())
    }
}

const ON: c_int = 1;
const OFF: c_int = 0;
const SIGNATURE_OCTETS: usize = 136 + libc::TCP_MD5SIG_MAXKEYLEN;
const CONTROL_OCTETS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn message(level: c_int, kind: c_int, value: c_int) -> Vec<u8> {
        let word = size_of::<usize>();
        let data = (word + 8).next_multiple_of(word);
        let mut octets = (data + 4).to_ne_bytes().to_vec();
        octets.extend(level.to_ne_bytes());
        octets.extend(kind.to_ne_bytes());
        octets.resize(data, 0);
        octets.extend(value.to_ne_bytes());
        octets.resize(octets.len().next_multiple_of(word), 0);
        octets
    }

    #[test]
    fn a_control_message_is_found_behind_others_and_a_cut_one_is_none() {
        let both = [
            message(1, 2, 3),
            message(libc::IPPROTO_IP, libc::IP_TTL, 64),
        ]
        .concat();
        assert_eq!(control_message(&both, 0, libc::IP_TTL, 0), Some(64));
        assert_eq!(control_message(&both, 1, 2, 0), Some(3));
        assert_eq!(control_message(&both, 1, 4, 0), None);
        for length in 0..message(1, 2, 3).len() - 4 {
            assert_eq!(control_message(&both[..length], 1, 2, 0), None);
        }
        assert_eq!(control_message(&[0; 64], 1, 2, 0), None);
        assert_eq!(control_message(&[0xff; 64], 1, 2, 0), None);
    }

    #[test]
    fn a_key_stands_where_the_kernel_reads_it() {
        let (option, value) = md5_signature("10.1.0.0/16".parse().unwrap(), b"hush").unwrap();
        assert_eq!(option, libc::TCP_MD5SIG_EXT);
        assert_eq!(value.len(), 216);
        assert_eq!(value[..8], [2, 0, 0, 0, 10, 1, 0, 0]);
        assert_eq!(value[128..136], [1, 16, 4, 0, 0, 0, 0, 0]);
        assert_eq!(&value[136..141], b"hush\0");
        let (option, value) = md5_signature("fd00::1/128".parse().unwrap(), b"x").unwrap();
        assert_eq!(option, libc::TCP_MD5SIG);
        assert_eq!(
            (value[0], value[8], value[23], value[128]),
            (10, 0xfd, 1, 0)
        );
        assert!(md5_signature("fd00::1/128".parse().unwrap(), &[b'x'; 81]).is_err());
    }
}
