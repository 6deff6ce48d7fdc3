//! What tells a peer from the others.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::config::PeerConfig;

/// The address of a peer and, where that means something on one link only (RFC 4291 §2.5.6), the link: our network
/// device there. In words as RFC 4007 §11 has it: `192.0.2.7`, `fe80::1%eth0`.
///
/// An address alone is enough wherever a peer is asked for, unless several peers have the same link-local one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PeerKey {
    address: IpAddr,
    /// Of a link-local address only.
    interface: Option<String>,
}

impl PeerKey {
    /// A link-local address on this device; of any other address the device is not part.
    pub fn on(address: IpAddr, interface: Option<&str>) -> PeerKey {
        PeerKey {
            address,
            interface: interface
                .filter(|_| is_link_local(&address))
                .map(str::to_owned),
        }
    }

    /// Of the peer with this configuration.
    pub fn of(config: &PeerConfig) -> PeerKey {
        PeerKey::on(config.remote_address, config.interface.as_deref())
    }

    /// The peer's address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The link of a link-local address, if it is said.
    pub fn interface(&self) -> Option<&str> {
        self.interface.as_deref()
    }

    /// A link-local address of which the link is not said.
    pub(crate) fn is_vague(&self) -> bool {
        self.interface.is_none() && is_link_local(&self.address)
    }
}

impl From<IpAddr> for PeerKey {
    fn from(address: IpAddr) -> PeerKey {
        PeerKey::on(address, None)
    }
}

impl From<&PeerKey> for PeerKey {
    fn from(key: &PeerKey) -> PeerKey {
        key.clone()
    }
}

impl fmt::Display for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.interface {
            Some(interface) => write!(f, "{}%{interface}", self.address),
            None => write!(f, "{}", self.address),
        }
    }
}

impl From<PeerKey> for String {
    fn from(key: PeerKey) -> String {
        key.to_string()
    }
}

impl TryFrom<String> for PeerKey {
    type Error = String;

    fn try_from(text: String) -> Result<PeerKey, String> {
        text.parse()
    }
}

impl FromStr for PeerKey {
    type Err = String;

    fn from_str(text: &str) -> Result<PeerKey, String> {
        let wrong =
            |_| format!("{text:?} is no address of a peer, such as 192.0.2.7 or fe80::1%eth0");
        match text.split_once('%') {
            Some((address, interface)) if !interface.is_empty() => {
                let address: Ipv6Addr = address.parse().map_err(wrong)?;
                Ok(PeerKey::on(address.into(), Some(interface)))
            }
            _ => text
                .parse()
                .map(|address: IpAddr| address.into())
                .map_err(wrong),
        }
    }
}

/// An address that means something on one link only (RFC 4291 §2.5.6).
pub(crate) fn is_link_local(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_part_of_a_link_local_address_and_of_no_other() {
        for text in ["192.0.2.7", "2001:db8::1", "fe80::1", "fe80::1%eth0"] {
            let key: PeerKey = text.parse().unwrap();
            assert_eq!(key.to_string(), text);
            assert_eq!(serde_json::to_string(&key).unwrap(), format!("{text:?}"));
        }
        let global: PeerKey = "2001:db8::1%eth0".parse().unwrap();
        assert_eq!(global.interface(), None);
        for text in ["", "eth0", "192.0.2.7%eth0", "fe80::1%", "%eth0"] {
            let error = text.parse::<PeerKey>().unwrap_err();
            assert!(
                error.starts_with(&format!("{text:?} is no address")),
                "{error}"
            );
        }
    }
}
