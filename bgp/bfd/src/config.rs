//! What the operator says of a session.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// How far away the other side is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// On the same link (RFC 5881): TTL 255 is required.
    SingleHop,
    /// Behind routers, or perhaps so (RFC 5883).
    MultiHop,
}

impl Kind {
    /// The UDP destination port.
    pub const fn port(self) -> u16 {
        match self {
            Kind::SingleHop => 3784,
            Kind::MultiHop => 4784,
        }
    }

    pub(crate) fn from_port(port: u16) -> Option<Kind> {
        [Kind::SingleHop, Kind::MultiHop]
            .into_iter()
            .find(|kind| kind.port() == port)
    }
}

/// A session as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionConfig {
    /// The other side.
    pub remote: IpAddr,
    /// Our address, source of what we send and destination of what we hear.
    pub local: IpAddr,
    /// The interface's index when `remote` is link-local; not looked at otherwise.
    pub interface: u32,
    /// Single-hop or multihop.
    pub kind: Kind,
    /// Desired Min TX Interval: we do not send faster.
    pub min_tx: Duration,
    /// Required Min RX Interval: nobody shall send to us faster.
    pub min_rx: Duration,
    /// Detect Mult: after how many missing packets of ours the other side gives up.
    pub multiplier: u8,
    /// The operator holds the session down (RFC 5880 §6.8.16). The other side is told so.
    pub admin_down: bool,
}

/// A configuration that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// Shorter than a process can keep up with, or more than the 32 bits of microseconds on the wire.
    #[error(
        "bfd session with {remote}: {name} of {micros} µs is not within {INTERVAL_MICROS_MIN} and {INTERVAL_MICROS_MAX}"
    )]
    Interval {
        /// The other side.
        remote: IpAddr,
        /// `min_tx` or `min_rx`.
        name: &'static str,
        /// Its value.
        micros: u128,
    },
    /// Detect Mult of zero is discarded.
    #[error("bfd session with {0}: multiplier is zero")]
    Multiplier(IpAddr),
    /// One is IPv4, the other IPv6.
    #[error("bfd session with {remote}: {local} is of the other family")]
    Family {
        /// The other side.
        remote: IpAddr,
        /// Ours.
        local: IpAddr,
    },
}

impl SessionConfig {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let remote = self.remote;
        for (name, interval) in [("min_tx", self.min_tx), ("min_rx", self.min_rx)] {
            let micros = interval.as_micros();
            if !(INTERVAL_MICROS_MIN..=INTERVAL_MICROS_MAX).contains(&micros) {
                return Err(ConfigError::Interval {
                    remote,
                    name,
                    micros,
                });
            }
        }
        if self.multiplier == 0 {
            return Err(ConfigError::Multiplier(remote));
        }
        if remote.to_canonical().is_ipv4() != self.local.to_canonical().is_ipv4() {
            return Err(ConfigError::Family {
                remote,
                local: self.local,
            });
        }
        Ok(())
    }

    pub(crate) fn key(&self) -> Key {
        Key {
            kind: self.kind,
            remote: self.remote.to_canonical(),
            local: self.local.to_canonical(),
            interface: match is_link_local(self.remote) {
                true => self.interface,
                false => 0,
            },
        }
    }
}

/// What makes a session another session, and finds it while the other side does not know our discriminator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) kind: Kind,
    pub(crate) remote: IpAddr,
    pub(crate) local: IpAddr,
    pub(crate) interface: u32,
}

impl Key {
    /// Of a packet's two ends.
    pub(crate) fn of_packet(kind: Kind, source: SocketAddr, destination: SocketAddr) -> Key {
        let interface = match source {
            SocketAddr::V6(source) if is_link_local((*source.ip()).into()) => source.scope_id(),
            _ => 0,
        };
        Key {
            kind,
            remote: source.ip().to_canonical(),
            local: destination.ip().to_canonical(),
            interface,
        }
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// Ten milliseconds: a typing error shall not become a packet cannon.
const INTERVAL_MICROS_MIN: u128 = 10_000;
const INTERVAL_MICROS_MAX: u128 = u32::MAX as u128;
