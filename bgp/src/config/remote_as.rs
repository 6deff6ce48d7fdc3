//! Which AS a peer may be of.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The AS number that a peer must have. Written as the number, or as `external` or `internal`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub enum RemoteAs {
    /// This one. Equal to `PeerConfig::local_asn`: internal (iBGP), else external (eBGP).
    Number(u32),
    /// Any but our own, for peers of which only the place is known: the OPEN says which.
    External,
    /// Our own towards it, whatever that is.
    Internal,
}

impl RemoteAs {
    /// The number where it is known before the peer says it.
    pub fn number(self, local_asn: u32) -> Option<u32> {
        match self {
            RemoteAs::Number(asn) => Some(asn),
            RemoteAs::External => None,
            RemoteAs::Internal => Some(local_asn),
        }
    }

    /// A peer of it is an external one.
    pub fn is_external(self, local_asn: u32) -> bool {
        self.number(local_asn) != Some(local_asn)
    }

    /// A peer that says this may be it.
    pub(crate) fn admits(self, asn: u32, local_asn: u32) -> bool {
        match self.number(local_asn) {
            Some(number) => asn == number,
            None => asn != local_asn,
        }
    }
}

impl From<u32> for RemoteAs {
    fn from(asn: u32) -> RemoteAs {
        RemoteAs::Number(asn)
    }
}

impl PartialEq<u32> for RemoteAs {
    fn eq(&self, asn: &u32) -> bool {
        *self == RemoteAs::Number(*asn)
    }
}

/// `64512`, `external`, `internal`.
impl fmt::Display for RemoteAs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RemoteAs::Number(asn) => write!(f, "{asn}"),
            RemoteAs::External => f.write_str("external"),
            RemoteAs::Internal => f.write_str("internal"),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "neither an AS number nor `external` nor `internal`"
)]
enum Written {
    Number(u32),
    Kind(Kind),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Kind {
    External,
    Internal,
}

impl From<Written> for RemoteAs {
    fn from(written: Written) -> RemoteAs {
        match written {
            Written::Number(asn) => RemoteAs::Number(asn),
            Written::Kind(Kind::External) => RemoteAs::External,
            Written::Kind(Kind::Internal) => RemoteAs::Internal,
        }
    }
}

impl From<RemoteAs> for Written {
    fn from(remote: RemoteAs) -> Written {
        match remote {
            RemoteAs::Number(asn) => Written::Number(asn),
            RemoteAs::External => Written::Kind(Kind::External),
            RemoteAs::Internal => Written::Kind(Kind::Internal),
        }
    }
}

#[cfg(test)]
mod tests;
