//! What an operator asks of the TCP connections with a peer, beside what BGP itself negotiates: that they are
//! signed (TCP MD5, RFC 2385), and that they come from near (GTSM, RFC 5082).
//!
//! The options of a peer are set before the peer is, and taken back after it: an address that has none is
//! spoken with unsigned. A change holds at once, in this order: first for the listeners, so that a new
//! connection is judged by the new key; then for the connections that are there. The kernel knows one key at a
//! time, so the two sides of a session have as long as the hold time to change theirs, and less is better:
//! meanwhile segments are dropped, TCP repeats them, and the session stays.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::num::NonZeroU8;
use std::os::fd::AsFd;

use ipnet::IpNet;

use crate::shell::Stopped;
use crate::{socket, sockopt};

/// Of the connections with a peer, whoever opens them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionOptions {
    /// Sign every segment, and take none without the same signature (RFC 2385).
    pub key: Option<Md5Key>,
    /// Take only what has come over at most so many hops, and send with TTL 255, so that the other side can do
    /// the same (RFC 5082). `None`: from anywhere.
    pub ttl_security: Option<NonZeroU8>,
}

/// The secret of TCP MD5. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Md5Key(Box<[u8]>);

/// Not a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a TCP MD5 key has 1 to {} octets, and this one has {octets}",
    Md5Key::OCTETS_MAX
)]
pub struct BadKey {
    /// So many there are.
    pub octets: usize,
}

/// Why session options cannot hold.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// Nobody is there to hold them.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// The kernel does not take the key.
    #[error("cannot sign the sessions with {}: {}", Peers(.peers), key_words(.why))]
    Key {
        /// With whom.
        peers: IpNet,
        /// What the system said.
        why: io::Error,
    },
}

impl Md5Key {
    /// As many octets as the kernel takes.
    pub const OCTETS_MAX: usize = libc::TCP_MD5SIG_MAXKEYLEN;

    /// These octets as they are, without regard to line ends or character sets.
    pub fn new(octets: &[u8]) -> Result<Md5Key, BadKey> {
        if (1..=Md5Key::OCTETS_MAX).contains(&octets.len()) {
            Ok(Md5Key(octets.into()))
        } else {
            Err(BadKey {
                octets: octets.len(),
            })
        }
    }
}

impl fmt::Debug for Md5Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Md5Key(…)")
    }
}

impl SessionOptions {
    /// For a connection with `remote`: one that will be opened, or one that is there.
    pub(crate) fn apply(&self, socket: &impl AsFd, remote: IpAddr) -> io::Result<()> {
        match &self.key {
            Some(key) => sockopt::set_key(socket, remote.into(), &key.0)?,
            None => sockopt::remove_key(socket, remote.into())?,
        }
        let ipv6 = remote.is_ipv6();
        sockopt::set_ttl(socket, ipv6, self.ttl_security.map(|_| u8::MAX))?;
        sockopt::set_ttl_min(socket, ipv6, self.ttl_min().unwrap_or(0))
    }

    /// For a connection that was accepted: also looks at how far the handshake came, because whoever completed
    /// it from farther away than allowed may have sent more than that already.
    pub(crate) fn admit(&self, socket: &impl AsFd, remote: IpAddr) -> Result<(), String> {
        self.apply(socket, remote).map_err(|error| {
            format!(
                "peer {remote}: cannot prepare its connection: {}",
                key_words(&error)
            )
        })?;
        let Some(ttl_min) = self.ttl_min() else {
            return Ok(());
        };
        match sockopt::handshake_ttl(socket, remote.is_ipv6()) {
            Ok(Some(ttl)) if ttl < ttl_min => Err(format!(
                "peer {remote}: TTL {ttl} is below {ttl_min}, which TTL security asks for (RFC 5082)"
            )),
            Ok(_) => Ok(()),
            Err(error) => Err(format!(
                "peer {remote}: cannot learn the TTL of its connection: {}",
                socket::in_words(&error)
            )),
        }
    }

    fn ttl_min(&self) -> Option<u8> {
        // 256 less the number of hops: 255 from a neighbour.
        self.ttl_security.map(|hops| 0u8.wrapping_sub(hops.get()))
    }
}

/// The options of all peers: of single addresses, and of prefixes for those that have none themselves.
#[derive(Debug, Default)]
pub(crate) struct OptionsTable {
    hosts: BTreeMap<IpAddr, SessionOptions>,
    prefixes: BTreeMap<IpNet, SessionOptions>,
}

impl OptionsTable {
    /// The options of an address; the longest prefix decides.
    pub(crate) fn of(&self, remote: IpAddr) -> Option<&SessionOptions> {
        let longest = || {
            let holding = self
                .prefixes
                .iter()
                .filter(|(prefix, _)| prefix.contains(&remote));
            holding.max_by_key(|(prefix, _)| prefix.prefix_len())
        };
        self.hosts.get(&remote).or_else(|| Some(longest()?.1))
    }

    /// True when that changes something.
    pub(crate) fn replace(&mut self, peers: IpNet, options: Option<SessionOptions>) -> bool {
        let old = match (host(&peers), &options) {
            (Some(host), Some(new)) => self.hosts.insert(host, new.clone()),
            (Some(host), None) => self.hosts.remove(&host),
            (None, Some(new)) => self.prefixes.insert(peers.trunc(), new.clone()),
            (None, None) => self.prefixes.remove(&peers.trunc()),
        };
        old != options
    }

    /// Gives a new listener all keys that concern it.
    pub(crate) fn arm(&self, listener: &impl AsFd, local: IpAddr) -> Result<(), OptionsError> {
        let hosts = self
            .hosts
            .iter()
            .map(|(host, options)| (IpNet::from(*host), options));
        let prefixes = self
            .prefixes
            .iter()
            .map(|(prefix, options)| (*prefix, options));
        hosts
            .chain(prefixes)
            .try_for_each(|(peers, options)| arm(listener, local, peers, options.key.as_ref()))
    }
}

/// Gives a listener the key of these peers, or takes it away. Nothing if it is not of their family.
pub(crate) fn arm(
    listener: &impl AsFd,
    local: IpAddr,
    peers: IpNet,
    key: Option<&Md5Key>,
) -> Result<(), OptionsError> {
    if local.is_ipv4() != peers.addr().is_ipv4() {
        return Ok(());
    }
    match key {
        Some(key) => sockopt::set_key(listener, peers, &key.0),
        None => sockopt::remove_key(listener, peers),
    }
    .map_err(|why| OptionsError::Key { peers, why })
}

fn host(peers: &IpNet) -> Option<IpAddr> {
    (peers.prefix_len() == peers.max_prefix_len()).then(|| peers.addr())
}

/// A single address without its length.
struct Peers<'a>(&'a IpNet);

impl fmt::Display for Peers<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match host(self.0) {
            Some(host) => host.fmt(formatter),
            None => self.0.fmt(formatter),
        }
    }
}

fn key_words(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ENOPROTOOPT) => "this kernel has no TCP MD5 (CONFIG_TCP_MD5SIG)".to_owned(),
        Some(libc::ENOMEM) => {
            "no room for another key on this socket; raise the sysctl net.core.optmem_max"
                .to_owned()
        }
        _ => socket::in_words(error),
    }
}

#[cfg(test)]
mod tests;
