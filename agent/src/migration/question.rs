//! A question to a workload that had its route already when a migration named it: does it run here? An ARP probe (RFC 5227
//! §2.1.1: nobody's address as the sender's, so that no table changes by it) goes to its device; whoever runs there answers.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{self, AddressFamily, MsgFlags, SockFlag, SockType};
use tracing::debug;

/// Whom to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) device: String,
    pub(crate) mac: [u8; 6],
    pub(crate) address: Ipv4Addr,
}

/// After this it is taken that nobody is there.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);
const ASKED: u32 = 4;

/// Asks some times. The answer is heard by the one who listens for announcements.
pub(crate) async fn ask(question: Question) {
    for _ in 0..ASKED {
        if let Err(fault) = question.send() {
            debug!("{}: cannot be asked: {fault}", question.device);
        }
        tokio::time::sleep(PATIENCE / (ASKED + 1)).await;
    }
}

impl Question {
    fn send(&self) -> io::Result<()> {
        let mut all = getifaddrs()?.filter(|one| one.interface_name == self.device);
        let link = all.find_map(|one| one.address?.as_link_addr().copied());
        let link = link.ok_or(io::ErrorKind::NotFound)?;
        let own = link.addr().ok_or(io::ErrorKind::NotFound)?;
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket::socket(AddressFamily::Packet, SockType::Raw, flags, None)?;
        socket::bind(socket.as_raw_fd(), &link)?;
        socket::send(socket.as_raw_fd(), &self.frame(own), MsgFlags::MSG_DONTWAIT)?;
        Ok(())
    }

    /// An Ethernet frame with a request of ARP (RFC 826).
    fn frame(&self, from: [u8; 6]) -> Vec<u8> {
        let nobody = [0; 4];
        let parts: [&[u8]; 8] = [
            &self.mac,
            &from,
            &[0x08, 0x06],
            // Ethernet, IPv4, the lengths of their addresses, request.
            &[0, 1, 8, 0, 6, 4, 0, 1],
            &from,
            &nobody,
            &[0; 6],
            &self.address.octets(),
        ];
        parts.concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_an_arp_probe_to_the_workload_alone() {
        let question = Question {
            device: "cali1".into(),
            mac: [2, 0, 0, 0, 0, 7],
            address: Ipv4Addr::new(10, 65, 0, 7),
        };
        let frame = question.frame([0xee; 6]);
        let expected = [
            2, 0, 0, 0, 0, 7, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 8, 6, // Ethernet
            0, 1, 8, 0, 6, 4, 0, 1, // ARP request
            0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0, 0, 0, 0, // from nobody
            0, 0, 0, 0, 0, 0, 10, 65, 0, 7,
        ];
        assert_eq!(frame, expected);
    }
}
