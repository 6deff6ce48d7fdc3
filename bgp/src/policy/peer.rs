//! What a rule may ask of the session, and of where a path comes from.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use super::text::{BadText, serde_as_text};
use crate::rib::{PeerFacts, SessionKind};

/// The peer of the session that the policy is for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SessionPeer<'a> {
    pub(crate) address: IpAddr,
    pub(crate) kind: SessionKind,
    /// The interface that the session is bound to.
    pub(crate) interface: Option<&'a str>,
}

/// Where a path comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PathSource {
    Local,
    Peer { address: IpAddr, kind: SessionKind },
}

impl PathSource {
    /// Of what a peer has sent; `None`: of what we originate.
    pub(crate) fn of(sender: Option<&PeerFacts>) -> PathSource {
        sender.map_or(PathSource::Local, |facts| PathSource::Peer {
            address: facts.address,
            kind: facts.kind,
        })
    }
}

/// An address or the addresses of a prefix: `192.0.2.1`, `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressRange(IpNet);

impl AddressRange {
    /// Whether the address is one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }
}

impl From<IpNet> for AddressRange {
    fn from(net: IpNet) -> AddressRange {
        AddressRange(net.trunc())
    }
}

impl From<IpAddr> for AddressRange {
    fn from(address: IpAddr) -> AddressRange {
        AddressRange(address.into())
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() {
            self.0.addr().fmt(f)
        } else {
            self.0.fmt(f)
        }
    }
}

impl FromStr for AddressRange {
    type Err = BadText;

    fn from_str(text: &str) -> Result<AddressRange, BadText> {
        let address = text.parse::<IpAddr>().map(AddressRange::from);
        address
            .or_else(|_| text.parse::<IpNet>().map(AddressRange::from))
            .map_err(|_| BadText::new("address", text, "wanted: 192.0.2.1 or 192.0.2.0/24"))
    }
}

serde_as_text!(AddressRange);

/// A kind of peer, as sessions have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerPattern {
    /// Of another AS.
    External,
    /// Of our AS; our clients too.
    Internal,
    /// Our client (RFC 4456 §4).
    Client,
    /// With one of these addresses.
    Address(AddressRange),
}

impl PeerPattern {
    fn names(&self, address: IpAddr, kind: SessionKind) -> bool {
        match self {
            PeerPattern::External => !kind.is_internal(),
            PeerPattern::Internal => kind.is_internal(),
            PeerPattern::Client => kind == SessionKind::Client,
            PeerPattern::Address(range) => range.contains(address),
        }
    }

    pub(super) fn holds(&self, peer: &SessionPeer<'_>) -> bool {
        self.names(peer.address, peer.kind)
    }
}

impl fmt::Display for PeerPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PeerPattern::External => f.write_str("external"),
            PeerPattern::Internal => f.write_str("internal"),
            PeerPattern::Client => f.write_str("client"),
            PeerPattern::Address(range) => range.fmt(f),
        }
    }
}

impl FromStr for PeerPattern {
    type Err = BadText;

    fn from_str(text: &str) -> Result<PeerPattern, BadText> {
        match text {
            "external" => Ok(PeerPattern::External),
            "internal" => Ok(PeerPattern::Internal),
            "client" => Ok(PeerPattern::Client),
            _ => text.parse().map(PeerPattern::Address).map_err(|_| {
                let why = "wanted: external, internal, client, an address or a prefix";
                BadText::new("peer", text, why)
            }),
        }
    }
}

serde_as_text!(PeerPattern);

/// Where a path may come from: `local`, `learned`, or a peer as [`PeerPattern`] writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourcePattern {
    /// We originate it.
    Local,
    /// Some peer sent it.
    Learned,
    /// Such a peer sent it.
    Peer(PeerPattern),
}

impl SourcePattern {
    pub(super) fn holds(&self, source: PathSource) -> bool {
        match (self, source) {
            (SourcePattern::Local, PathSource::Local)
            | (SourcePattern::Learned, PathSource::Peer { .. }) => true,
            (SourcePattern::Peer(pattern), PathSource::Peer { address, kind }) => {
                pattern.names(address, kind)
            }
            _ => false,
        }
    }
}

impl fmt::Display for SourcePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SourcePattern::Local => f.write_str("local"),
            SourcePattern::Learned => f.write_str("learned"),
            SourcePattern::Peer(pattern) => pattern.fmt(f),
        }
    }
}

impl FromStr for SourcePattern {
    type Err = BadText;

    fn from_str(text: &str) -> Result<SourcePattern, BadText> {
        match text {
            "local" => Ok(SourcePattern::Local),
            "learned" => Ok(SourcePattern::Learned),
            _ => text.parse().map(SourcePattern::Peer).map_err(|_| {
                let why =
                    "wanted: local, learned, external, internal, client, an address or a prefix";
                BadText::new("source", text, why)
            }),
        }
    }
}

serde_as_text!(SourcePattern);

/// Names of interfaces: `eth0`, `eth*`, `*.100`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Glob(String);

impl Glob {
    /// Whether the name is one of them.
    pub fn is_match(&self, name: &str) -> bool {
        let mut pieces = self.0.split('*');
        let Some(mut rest) = pieces.next().and_then(|first| name.strip_prefix(first)) else {
            return false;
        };
        let mut last = None;
        for piece in pieces {
            if let Some(between) = last.replace(piece) {
                let Some(at) = rest.find(between) else {
                    return false;
                };
                rest = &rest[at + between.len()..];
            }
        }
        last.map_or(rest.is_empty(), |last| rest.ends_with(last))
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Glob {
    type Err = BadText;

    fn from_str(text: &str) -> Result<Glob, BadText> {
        if text.is_empty() || text.len() > GLOB_OCTETS_MAX {
            return Err(BadText::new(
                "interface",
                text,
                "wanted: a name, as eth0 or eth*",
            ));
        }
        Ok(Glob(text.to_owned()))
    }
}

serde_as_text!(Glob);

/// A name has at most 15 octets on Linux; stars come on top.
const GLOB_OCTETS_MAX: usize = 64;
