//! TCP connections between the speakers, and a speaker's process with its ends of them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use caracal_bgp::{ConnectionId, LocalPath, Speaker, Time};
use ipnet::IpNet;

use crate::speakers::Manners;

/// What comes out of a pipe.
#[derive(Debug)]
pub(crate) enum Cargo {
    Connected,
    Bytes(Vec<u8>),
    Closed,
}

/// A speaker, dead or alive, and what is left when it dies.
#[derive(Debug)]
pub(crate) struct Node {
    /// `None` while the process is dead.
    pub(crate) speaker: Option<Speaker>,
    /// Counts processes, so that what was meant for an older one is not given to the next.
    pub(crate) generation: u32,
    pub(crate) originated: BTreeMap<IpNet, LocalPath>,
    pub(crate) manners: Manners,
    /// What a FIB that listens to `poll_route_change` has.
    pub(crate) followed: BTreeMap<IpNet, Vec<IpAddr>>,
    pub(crate) wake_at: Option<Time>,
    pub(crate) clogged_until: Time,
    pub(crate) waiting: Vec<ConnectionId>,
    /// Pipe and side of each connection, by number.
    pub(crate) connections: Vec<Option<(usize, usize)>>,
}

/// A TCP connection.
#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) ends: [End; 2],
    /// What must not pass before the partition heals.
    pub(crate) held: Vec<(usize, Cargo)>,
    /// Reset, but this side does not know.
    pub(crate) broken_for: Option<usize>,
}

#[derive(Debug)]
pub(crate) struct End {
    pub(crate) node: usize,
    pub(crate) generation: u32,
    pub(crate) connection: Option<ConnectionId>,
    /// When the last thing arrives here: nothing overtakes it.
    pub(crate) last_arrival: Time,
}

impl Cargo {
    /// All that it is, as numbers.
    pub(crate) fn words(&self) -> Vec<u64> {
        let word = |chunk: &[u8]| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            u64::from_le_bytes(word)
        };
        match self {
            Cargo::Connected => vec![1],
            Cargo::Closed => vec![2],
            Cargo::Bytes(bytes) => bytes.chunks(8).map(word).collect(),
        }
    }
}

impl Node {
    pub(crate) fn attach(&mut self, connection: ConnectionId, pipe: usize, side: usize) {
        let index = connection.0 as usize;
        if index >= self.connections.len() {
            self.connections.resize(index + 1, None);
        }
        self.connections[index] = Some((pipe, side));
    }

    pub(crate) fn attached(&self, connection: ConnectionId) -> Option<(usize, usize)> {
        self.connections
            .get(connection.0 as usize)
            .copied()
            .flatten()
    }

    pub(crate) fn detach(&mut self, connection: ConnectionId) -> Option<(usize, usize)> {
        self.connections.get_mut(connection.0 as usize)?.take()
    }
}
