//! Address families: AFI and SAFI together (RFC 4760), and their names.

use std::fmt;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::iana::{afi, safi};

/// An address family that a session may carry (RFC 4760): AFI and SAFI together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// AFI 1, SAFI 1.
    Ipv4Unicast,
    /// AFI 2, SAFI 1.
    Ipv6Unicast,
}

impl Family {
    /// All that we know.
    pub const ALL: [Family; 2] = [Family::Ipv4Unicast, Family::Ipv6Unicast];

    /// The family of a prefix.
    pub fn of(prefix: &IpNet) -> Family {
        match prefix {
            IpNet::V4(_) => Family::Ipv4Unicast,
            IpNet::V6(_) => Family::Ipv6Unicast,
        }
    }

    /// The family of these numbers; `None`: not one that we know.
    pub fn from_numbers(afi: u16, safi: u8) -> Option<Family> {
        Family::ALL
            .into_iter()
            .find(|family| family.numbers() == (afi, safi))
    }

    /// AFI and SAFI.
    pub fn numbers(self) -> (u16, u8) {
        match self {
            Family::Ipv4Unicast => (afi::IPV4, safi::UNICAST),
            Family::Ipv6Unicast => (afi::IPV6, safi::UNICAST),
        }
    }

    /// The length of an address.
    pub(super) fn address_bits(self) -> u8 {
        match self {
            Family::Ipv4Unicast => 32,
            Family::Ipv6Unicast => 128,
        }
    }

    /// AFI and SAFI as octets.
    pub(super) fn encode(self, out: &mut Vec<u8>) {
        let (afi, safi) = self.numbers();
        out.extend_from_slice(&afi.to_be_bytes());
        out.push(safi);
    }

    fn name(self) -> &'static str {
        match self {
            Family::Ipv4Unicast => "ipv4-unicast",
            Family::Ipv6Unicast => "ipv6-unicast",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A text that names no family.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown address family {0:?} (known: ipv4-unicast, ipv6-unicast)")]
pub struct ParseFamilyError(String);

impl FromStr for Family {
    type Err = ParseFamilyError;

    fn from_str(text: &str) -> Result<Family, ParseFamilyError> {
        Family::ALL
            .into_iter()
            .find(|family| family.name() == text)
            .ok_or_else(|| ParseFamilyError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests;
