//! What has happened since the start, by cause.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Counters of the FIB that only ever grow.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FibCounters {
    /// Routes of ours that were written again, by cause.
    pub repairs: RepairCounters,
    /// Routes that someone else kept changing until repairing paused: each time that this began.
    pub fights: u64,
    /// Neighbour and forwarding entries of ours that someone else changed or deleted.
    pub neighbour_repairs: u64,
    /// Routes with our protocol number that someone else wrote and nobody desired: removed.
    pub intruders_removed: u64,
    /// Routes of Calico, or of others on devices of workloads, removed after ours were there or nobody needed them.
    pub leftovers_removed: u64,
    /// Batches of routes that failed as a whole, as with a socket that was lost. Each time the socket is opened again.
    pub lost_batches: u64,
    /// Reads of the whole that failed. Each time it is read again, after a pause.
    pub failed_reads: u64,
    /// Sockets for events or requests that failed. Each is opened again, and everything is read.
    pub lost_sockets: u64,
    /// Refusals of the kernel, by kind.
    pub refused: BTreeMap<Refused, u64>,
}

/// Why routes had to be written again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RepairCounters {
    /// Someone changed it and left our protocol number on it.
    pub changed: u64,
    /// Someone put a route of another protocol in its place.
    pub replaced: u64,
    /// Someone deleted it.
    pub deleted: u64,
    /// Someone deleted it among many others within a second, as `ip route flush` does.
    pub flushed: u64,
    /// A read of the kernel showed it missing or changed, and no event had told.
    pub unseen: u64,
    /// The kernel dropped it with a link or an address: nobody meddled.
    pub link_lost: u64,
}

/// What the kernel means by a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Refused {
    /// No room in the table, or no memory (ENOSPC, ENOMEM, ENOBUFS).
    Full,
    /// The gateway is not reachable by this device (ENETUNREACH, EHOSTUNREACH).
    Unreachable,
    /// The device is down or gone (ENETDOWN, ENODEV, ENXIO).
    Device,
    /// Another route has the prefix and metric (EEXIST).
    Taken,
    /// We may not (EPERM, EACCES).
    Permission,
    /// The kernel does not take such a route (EINVAL, EOPNOTSUPP, …).
    Invalid,
}

impl RepairCounters {
    /// With the names of the metric, in the order of the fields.
    pub fn by_cause(&self) -> [(&'static str, u64); 6] {
        [
            ("changed", self.changed),
            ("replaced", self.replaced),
            ("deleted", self.deleted),
            ("flushed", self.flushed),
            ("unseen", self.unseen),
            ("link_lost", self.link_lost),
        ]
    }
}

impl Refused {
    /// All of them.
    pub const ALL: [Refused; 6] = [
        Refused::Full,
        Refused::Unreachable,
        Refused::Device,
        Refused::Taken,
        Refused::Permission,
        Refused::Invalid,
    ];

    pub(crate) fn of(errno: i32) -> Refused {
        match errno {
            libc::ENOSPC | libc::ENOMEM | libc::ENOBUFS => Refused::Full,
            libc::ENETUNREACH | libc::EHOSTUNREACH => Refused::Unreachable,
            libc::ENETDOWN | libc::ENODEV | libc::ENXIO => Refused::Device,
            libc::EEXIST => Refused::Taken,
            libc::EPERM | libc::EACCES => Refused::Permission,
            _ => Refused::Invalid,
        }
    }

    /// As the metric names it.
    pub fn name(self) -> &'static str {
        match self {
            Refused::Full => "full",
            Refused::Unreachable => "unreachable",
            Refused::Device => "device",
            Refused::Taken => "taken",
            Refused::Permission => "permission",
            Refused::Invalid => "invalid",
        }
    }

    /// What a person can do about it.
    pub(crate) fn advice(self) -> &'static str {
        match self {
            Refused::Full => {
                "the kernel has no room: look at `dmesg`, the memory limit of the agent's container and, for IPv6 on \
                 kernels before 6.3, `sysctl net.ipv6.route.max_size`"
            }
            Refused::Unreachable => {
                "the gateway is not on this link: compare the node's addresses with `ip address`"
            }
            Refused::Device => "the device is down or gone: see `ip link`",
            Refused::Taken => {
                "another program has this prefix and metric: see `ip route show` and remove its route"
            }
            Refused::Permission => "the agent needs the capability NET_ADMIN",
            Refused::Invalid => "the kernel does not take such a route: see `caracalctl fib`",
        }
    }
}
