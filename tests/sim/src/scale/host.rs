//! A host: its process, its ends of connections, its link, and what it has used.

use std::time::Duration;

use caracal_bgp::{ConnectionId, Speaker, Time};

use super::blocks::BlockSet;
use super::book::Book;

/// A reflector or a node, dead or alive.
#[derive(Debug)]
pub struct Host {
    pub(super) speaker: Option<Speaker>,
    /// Counts processes, so that what was meant for an older one is not given to the next.
    pub(super) generation: u32,
    /// Blocks that it announces.
    pub(super) originated: BlockSet,
    /// The paths of a light node.
    pub(super) book: Option<Book>,
    /// Blocks that a whole node has a way to, as it was told by `poll_route_change`.
    pub(super) followed: BlockSet,
    /// How often it lost its last way to a block, without what is in its book.
    pub(super) lost: u64,
    /// As [`Book::wrong`], in books that are gone.
    pub(super) wrong: u64,
    /// Pipe and side of each connection, by number.
    pub(super) connections: Vec<Option<(usize, usize)>>,
    pub(super) wake_at: Option<Time>,
    /// Its link is busy until then.
    pub(super) link_free: Time,
    /// The side of the partition that it is on.
    pub(super) side: u8,
    /// What its speaker had encoded when that was last asked.
    pub(super) encodings: u64,
    pub(super) tally: Tally,
    pub(super) meter: Meter,
}

/// What a host has sent and received since it was last asked.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    /// UPDATEs.
    pub updates_sent: u64,
    /// Messages of all kinds.
    pub messages_sent: u64,
    /// Octets of these, without TCP's.
    pub octets_sent: u64,
    /// UPDATEs.
    pub updates_received: u64,
    /// Messages of all kinds.
    pub messages_received: u64,
    /// Octets of these, without TCP's.
    pub octets_received: u64,
}

/// What the speaker of a host has used.
#[derive(Debug, Clone, Copy, Default)]
pub struct Meter {
    /// Octets of heap that it holds.
    pub heap: isize,
    /// Most since it was last asked, as seen between two calls.
    pub heap_peak: isize,
    /// Processor time in the speaker since it was last asked.
    pub busy: Duration,
}

impl Host {
    pub(super) fn new(blocks: usize) -> Host {
        Host {
            speaker: None,
            generation: 0,
            originated: BlockSet::new(blocks),
            book: None,
            followed: BlockSet::new(blocks),
            lost: 0,
            wrong: 0,
            connections: Vec::new(),
            wake_at: None,
            link_free: Time::ZERO,
            side: 0,
            encodings: 0,
            tally: Tally::default(),
            meter: Meter::default(),
        }
    }

    pub(super) fn attach(&mut self, connection: ConnectionId, pipe: usize, side: usize) {
        let index = connection.0 as usize;
        if index >= self.connections.len() {
            self.connections.resize(index + 1, None);
        }
        self.connections[index] = Some((pipe, side));
    }

    pub(super) fn attached(&self, connection: ConnectionId) -> Option<(usize, usize)> {
        let index = connection.0 as usize;
        self.connections.get(index).copied().flatten()
    }

    pub(super) fn detach(&mut self, connection: ConnectionId) -> Option<(usize, usize)> {
        self.connections.get_mut(connection.0 as usize)?.take()
    }
}

impl Tally {
    /// Whole messages that went out.
    pub(super) fn sent(&mut self, bytes: &[u8]) {
        let (messages, updates) = count(bytes);
        self.messages_sent += messages;
        self.updates_sent += updates;
        self.octets_sent += bytes.len() as u64;
    }

    /// Whole messages that came in.
    pub(super) fn received(&mut self, bytes: &[u8]) {
        let (messages, updates) = count(bytes);
        self.messages_received += messages;
        self.updates_received += updates;
        self.octets_received += bytes.len() as u64;
    }
}

fn count(bytes: &[u8]) -> (u64, u64) {
    let kinds = messages(bytes).map(|message| u64::from(is_update(message)));
    kinds.fold((0, 0), |(all, updates), update| (all + 1, updates + update))
}

/// A piece of a stream, which is whole messages, one by one (RFC 4271 §4.1).
pub(super) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_be_bytes([*bytes.get(16)?, *bytes.get(17)?]));
        let (message, rest) = bytes.split_at_checked(length)?;
        bytes = rest;
        Some(message)
    })
}

pub(super) fn is_update(message: &[u8]) -> bool {
    message.get(18) == Some(&UPDATE)
}

/// RFC 4271 §4.1.
const UPDATE: u8 = 2;
