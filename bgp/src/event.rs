//! What the speaker asks of its driver, and what it tells.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::time::Time;
use crate::wire::{Family, Nlri};

/// A peer, for as long as it is configured. Never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u32);

/// One TCP connection. Never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ConnectionId(pub u64);

/// The state of a BFD session (RFC 5880 §6.8.1), as far as it concerns us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BfdState {
    /// An operator, ours or the peer's, wants no BFD.
    AdminDown,
    /// The path has failed.
    Down,
    /// The path works.
    Up,
}

/// As it is written.
impl fmt::Display for BfdState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What the driver shall do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Open a TCP connection and report `handle_connected` or `handle_connect_failed`.
    Connect {
        /// To report with.
        connection: ConnectionId,
        /// On whose behalf.
        peer: PeerId,
        /// Where to.
        remote: std::net::SocketAddr,
        /// Bind to this address.
        local: Option<IpAddr>,
        /// Bind to this network device.
        interface: Option<String>,
    },
    /// Send what is pending for it, then close it (or stop connecting). No report is expected.
    Close {
        /// Which.
        connection: ConnectionId,
    },
}

/// A state change, for logs, metrics and waiting code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Entered Established.
    Up {
        /// Who.
        peer: PeerId,
        /// When.
        at: Time,
    },
    /// Left Established.
    Down {
        /// Who.
        peer: PeerId,
        /// When.
        at: Time,
        /// In words for people, with the NOTIFICATION's code and subcode names when there was one.
        reason: String,
        /// Its routes are kept as stale (RFC 4724 §4.2).
        stale_kept: bool,
    },
    /// A connection ended before Established, or could not be made or accepted.
    ConnectionFailed {
        /// On whose behalf; `None`: from an address that is no peer.
        peer: Option<PeerId>,
        /// Who.
        remote: IpAddr,
        /// In words for people.
        reason: String,
    },
    /// The peer has sent everything it had (RFC 4724 §2), for all negotiated families.
    EndOfRib {
        /// Who.
        peer: PeerId,
    },
    /// A restarting speaker no longer waits for this peer (RFC 4724 §4.1), because its End-of-RIB
    /// came, its deferral time is over, or it was removed.
    DeferralOver {
        /// Who.
        peer: PeerId,
    },
    /// The peer sends nearly too many prefixes, or too many (RFC 4271 §6.7). Said once until they are fewer again.
    PrefixLimit {
        /// Who.
        peer: PeerId,
        /// Of which family.
        family: Family,
        /// How many there are.
        received: usize,
        /// How many there may be.
        max: usize,
    },
    /// The paths that were kept beyond the peer's Restart Time are now the least preferred (RFC 9494 §4.2).
    LongLivedStale {
        /// Who.
        peer: PeerId,
        /// Of which family.
        family: Family,
    },
    /// The peer has said all paths of a family once more (RFC 7313 §4).
    Refreshed {
        /// Who.
        peer: PeerId,
        /// Which.
        family: Family,
        /// How many paths it did not say again: they are gone.
        swept: usize,
        /// It said so; else its time was over.
        complete: bool,
    },
    /// A ROUTE-REFRESH had no effect (RFC 7313 §4, §5).
    RefreshIgnored {
        /// Who.
        peer: PeerId,
        /// In words for people.
        detail: String,
    },
    /// An UPDATE had something wrong that did not cost the session (RFC 7606).
    UpdateError {
        /// Who.
        peer: PeerId,
        /// Which attribute, what value, what was done.
        detail: String,
    },
    /// Prefixes of a family could not be read: all that the peer has sent of it is gone, and what it sends is not
    /// heard until the session's end (RFC 7606 §2, AFI/SAFI disable). Its other families go on.
    FamilyDisabled {
        /// Who.
        peer: PeerId,
        /// Which.
        family: Family,
    },
    /// The peer has sent more paths of a prefix than `AddPath::receive_max` (RFC 7911). They are not kept:
    /// when others go, the peer is asked for them (RFC 2918), if it can be.
    PathsRefused {
        /// Who.
        peer: PeerId,
        /// How many in this UPDATE.
        count: usize,
        /// The first of them.
        first: Nlri,
        /// The limit.
        paths_max: usize,
    },
    /// The peer has as much as it may have (`PeerConfig::prefix_limits_out`), and more is held back. Told
    /// once, until there has been room for everything.
    PrefixLimitOut {
        /// Who.
        peer: PeerId,
        /// Of which family.
        family: Family,
        /// The limit.
        limit: usize,
    },
}
