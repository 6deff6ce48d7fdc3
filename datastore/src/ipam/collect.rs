//! The garbage collector: what crashes, deleted nodes and other writers left behind is put right.
//!
//! ```text
//!   watch ──► Snapshot ──► plan::look (pure): Suspects ──► Collector::ripe: seen twice, unchanged, for the grace time
//!                                                             │
//!             store ◄── compare-and-swap ◄── repair::carry_out: read again, asked again who uses it ◄┘
//! ```
//!
//! A suspect is put right only when it has been seen in two looks at least a grace time apart without a change, and
//! when a fresh read of the store says the same. What is read is read in this order: the block, then who uses its
//! addresses, then the block is written if it is still as it was read. Who takes an address up again writes the block
//! before he writes down that he uses it (see [`super::Ipam::assign`]), so one of the two notices.
//!
//! *Invariant:* no address of a workload that has a record is freed: not by an old snapshot, not when the list of
//! workloads fails, or has something in it of which nobody can say whose it is (then nothing is freed at all). Of a node
//! whose Node cannot be read, and of a workload whose record cannot be read, nothing is freed.

mod by_hand;
mod doubt;
mod judge;
mod plan;
mod repair;
mod snapshot;
mod take_up;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::audit::Finding;
use crate::resources::Timestamp;
use crate::store::StoreError;

pub use by_hand::{Outcome, Wish};
pub use doubt::Doubt;
pub use judge::{Verdict, judge};
pub use plan::{Plan, look, siblings};
pub use snapshot::{Snapshot, Users, WATCHED};
pub use take_up::GRACE_MIN;

/// How the collector works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// A suspect must have been seen for so long.
    pub grace: Duration,
    /// So many repairs are made in a round; the others wait for the next.
    pub repairs_max: usize,
}

impl Default for Settings {
    /// Calico's grace time.
    fn default() -> Settings {
        Settings {
            grace: Duration::from_secs(900),
            repairs_max: 256,
        }
    }
}

/// What can be put right.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Repair {
    /// Nobody uses the address: it is freed.
    Address {
        /// Which.
        address: IpAddr,
        /// Its block.
        block: IpNet,
        /// Who had it.
        handle: String,
    },
    /// The node is gone: its claim is given up, and the block deleted if it is empty, else nobody's.
    Node {
        /// Which.
        node: String,
        /// The block.
        cidr: IpNet,
    },
    /// The claim promises a block that is missing or another's: it is deleted.
    Claim {
        /// Whose.
        node: String,
        /// On what.
        cidr: IpNet,
    },
    /// The block says the node, and its claim stopped half way: it is confirmed.
    Confirm {
        /// Whose.
        node: String,
        /// On what.
        cidr: IpNet,
    },
    /// The handle counts other than blocks hold: it counts what they hold, or is deleted.
    Handle {
        /// Which.
        handle: String,
    },
    /// The block is empty and of no use: it is deleted, with the claim on it.
    Block {
        /// Which.
        cidr: IpNet,
    },
}

impl Repair {
    /// All values of [`Repair::kind`].
    pub const KINDS: [&str; 6] = ["address", "node", "claim", "confirm", "handle", "block"];

    /// One word, for counters.
    pub fn kind(&self) -> &'static str {
        match self {
            Repair::Address { .. } => "address",
            Repair::Node { .. } => "node",
            Repair::Claim { .. } => "claim",
            Repair::Confirm { .. } => "confirm",
            Repair::Handle { .. } => "handle",
            Repair::Block { .. } => "block",
        }
    }
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Repair::Address {
                address, handle, ..
            } => write!(f, "address {address} of handle {handle}: free it"),
            Repair::Node { node, cidr } => {
                write!(f, "block {cidr} of node {node}: take it from the node")
            }
            Repair::Claim { node, cidr } => {
                write!(f, "claim of node {node} on block {cidr}: delete it")
            }
            Repair::Confirm { node, cidr } => {
                write!(f, "claim of node {node} on block {cidr}: confirm it")
            }
            Repair::Handle { handle } => write!(f, "handle {handle}: count anew"),
            Repair::Block { cidr } => write!(f, "block {cidr}: delete it"),
        }
    }
}

/// Something that looks wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspect {
    /// How it would be put right.
    pub repair: Repair,
    /// Why.
    pub why: String,
    /// Since when it may be so at the earliest, if the store says; by its writer's clock.
    pub since: Option<Timestamp>,
    /// What must not change between two looks.
    pub(super) proof: String,
    /// Of an address: the handle's others.
    pub(super) siblings: Vec<IpAddr>,
}

/// What a round came to.
#[derive(Debug, Clone, Default)]
pub struct Round {
    /// Put right, with the reason.
    pub done: Vec<(Repair, String)>,
    /// Ripe, but changed or in use by what was read at last.
    pub spared: usize,
    /// Suspects that have not been seen for long enough.
    pub waiting: usize,
    /// Ripe ones for the next round: this one had enough.
    pub left: usize,
    /// Addresses of kinds that are not judged.
    pub unknown: usize,
    /// Addresses that nobody seems to use, and that an earlier look has found so, too; those that were freed included.
    pub leaks: usize,
    /// Why nothing was looked at.
    pub held: Option<String>,
    /// Of whom nothing is freed, because a Node or the record of a workload cannot be read.
    pub doubtful: Vec<Doubt>,
    /// Two nodes that claim the same addresses.
    pub duplicates: Vec<Finding>,
    /// What ended the round early.
    pub error: Option<StoreError>,
}

/// Remembers suspects from one look to the next. It has no clock: `now` is any time that only goes forward.
#[derive(Debug, Default)]
pub struct Collector {
    seen: BTreeMap<Repair, Seen>,
}

impl Collector {
    /// Which of these an earlier look has found as they are, in their order, with the time of the first that did.
    fn known<'a>(
        &'a self,
        suspects: &'a [Suspect],
    ) -> impl Iterator<Item = (&'a Suspect, Duration)> {
        suspects.iter().filter_map(|suspect| {
            let seen = self.seen.get(&suspect.repair)?;
            (seen.proof == suspect.proof).then_some((suspect, seen.since))
        })
    }
}

#[derive(Debug)]
struct Seen {
    since: Duration,
    proof: String,
}

impl Collector {
    /// Takes note of a look's suspects and forgets all others. Those that have been seen unchanged for the grace
    /// time, in this look and an earlier one, come back, in order.
    pub fn ripe(&mut self, suspects: &[Suspect], now: Duration, grace: Duration) -> Vec<Suspect> {
        let known: Vec<(&Suspect, Duration)> = self.known(suspects).collect();
        let ripe = known
            .iter()
            .filter(|(_, since)| now.saturating_sub(*since) >= grace);
        let ripe = ripe.map(|(suspect, _)| (*suspect).clone()).collect();
        let since: BTreeMap<&Repair, Duration> = known
            .iter()
            .map(|(suspect, since)| (&suspect.repair, *since))
            .collect();
        let seen = |suspect: &Suspect| Seen {
            since: since.get(&suspect.repair).copied().unwrap_or(now),
            proof: suspect.proof.clone(),
        };
        let seen = suspects
            .iter()
            .map(|suspect| (suspect.repair.clone(), seen(suspect)))
            .collect();
        self.seen = seen;
        ripe
    }

    /// How many addresses of these an earlier look has found, too.
    fn leaks(&self, suspects: &[Suspect]) -> usize {
        let is_leak = |suspect: &Suspect| matches!(suspect.repair, Repair::Address { .. });
        self.known(suspects)
            .filter(|(suspect, _)| is_leak(suspect))
            .count()
    }

    /// As after a start: what was seen before counts no more.
    pub fn forget(&mut self) {
        self.seen.clear();
    }
}

#[cfg(test)]
pub(super) mod tests;
