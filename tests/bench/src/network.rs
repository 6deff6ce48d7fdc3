//! Two network namespaces, joined by a veth pair: the speaker under test in one, the load generator in the other.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Result;
use caracal_lab::netns::Netns;

/// Everyone's AS number.
pub(crate) const ASN: u32 = 64_512;

/// The two namespaces; they go when this does.
#[derive(Debug)]
pub(crate) struct Network {
    /// The speaker's.
    pub(crate) speaker: Netns,
    /// The load generator's.
    pub(crate) generator: Netns,
}

impl Network {
    /// With addresses for so many clients.
    pub(crate) fn create(clients: usize) -> Result<Network> {
        let network = Network {
            speaker: Netns::create("speaker")?,
            generator: Netns::create("generator")?,
        };
        // A node forwards. The kernel adds routes of its own when that begins, which is not to be in the middle of a count.
        network.speaker.sysctl("ipv4.ip_forward", "1")?;
        network.speaker.sysctl("ipv6.conf.all.forwarding", "1")?;
        let link = "link add eth0 type veth peer name eth0 netns generator";
        network.speaker.ip(&words(link))?;
        for (netns, own) in [(&network.speaker, true), (&network.generator, false)] {
            // No address that is still being looked for by others (DAD).
            let mut lines = vec![
                "link set eth0 addrgenmode none".to_owned(),
                "link set eth0 up".to_owned(),
            ];
            let addresses: Vec<(IpAddr, IpAddr)> = match own {
                true => vec![(speaker(false), speaker(true))],
                false => (0..clients)
                    .map(|i| (client(i, false), client(i, true)))
                    .collect(),
            };
            for (ipv4, ipv6) in addresses {
                lines.push(format!("addr add {ipv4}/16 dev eth0"));
                lines.push(format!("addr add {ipv6}/64 dev eth0 nodad"));
            }
            if own {
                // FRR has no IPv6 sessions over a device without a link-local address.
                lines.push("addr add fe80::1/64 dev eth0 nodad".to_owned());
            }
            netns.ip_batch(&lines)?;
        }
        Ok(network)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // Both are gone with the private world at the latest.
        let _ = self.speaker.remove();
        let _ = self.generator.remove();
    }
}

/// The speaker's address.
pub(crate) fn speaker(ipv6: bool) -> IpAddr {
    match ipv6 {
        false => Ipv4Addr::new(172, 31, 0, 1).into(),
        true => Ipv6Addr::new(0xfd00, 0x31, 0, 0, 0, 0, 0, 1).into(),
    }
}

/// The i-th client's address.
pub(crate) fn client(i: usize, ipv6: bool) -> IpAddr {
    match ipv6 {
        false => client_id(i).into(),
        true => Ipv6Addr::new(0xfd00, 0x31, 0, 0, 0, 0, 1, (i + 1) as u16).into(),
    }
}

/// The i-th client's BGP Identifier: its IPv4 address.
pub(crate) fn client_id(i: usize) -> Ipv4Addr {
    Ipv4Addr::new(172, 31, (1 + i / 250) as u8, (1 + i % 250) as u8)
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}
