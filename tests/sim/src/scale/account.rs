//! What a story has cost.

use std::time::Duration;

use caracal_bgp::Time;

use super::host::Tally;
use super::world::World;

/// Of one story, from its beginning to its end.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its name.
    pub story: &'static str,
    /// Virtual time from the last thing that was done to the cluster to the last that anybody learned.
    pub convergence: Duration,
    /// Sessions that came up and went down, counted once.
    pub sessions: (u64, u64),
    /// UPDATEs of everybody.
    pub updates: u64,
    /// Octets of everybody.
    pub octets: u64,
    /// Messages that a node received: the mean, and the most.
    pub node_messages: (u64, u64),
    /// Octets that a node received: the mean, and the most.
    pub node_octets: (u64, u64),
    /// UPDATEs that a reflector sent, and octets, in the mean.
    pub reflector_sent: (u64, u64),
    /// Processor time of the first reflector's speaker.
    pub reflector_busy: Duration,
    /// Processor time of one whole node's speaker, the most.
    pub node_busy: Duration,
    /// Octets of heap of the first reflector's speaker at their most.
    pub reflector_heap: usize,
    /// Octets of heap of a whole node's speaker at their most, and at the end.
    pub node_heap: (usize, usize),
    /// UPDATEs that reflectors, or in a mesh nodes, have encoded to be shared by their peers.
    pub encodings: u64,
    /// How often a node lost its last way to a block.
    pub lost: u64,
    /// Processor time of all of the simulation.
    pub processor: Duration,
}

impl World {
    /// From here on things are counted.
    pub(super) fn begin_account(&mut self) {
        for host in &mut self.hosts {
            host.tally = Tally::default();
            host.meter.busy = Duration::ZERO;
            host.meter.heap_peak = host.meter.heap;
            host.lost = 0;
            if let Some(book) = &mut host.book {
                book.lost = 0;
            }
            host.encodings = host.speaker.as_ref().map_or(0, |s| s.updates_encoded());
        }
        self.sessions = (0, 0);
        self.settled_at = self.now;
    }

    /// What has been counted; `since`: the last thing that was done to the cluster.
    pub(super) fn end_account(
        &self,
        story: &'static str,
        since: Time,
        processor: Duration,
    ) -> Account {
        let shape = self.shape;
        let (reflectors, nodes) = self.hosts.split_at(shape.reflectors);
        let whole = &nodes[..shape.whole];
        let sum = |of: fn(&Tally) -> u64| self.hosts.iter().map(|host| of(&host.tally)).sum();
        let node = |of: fn(&Tally) -> u64| {
            let all = nodes.iter().map(|host| of(&host.tally));
            let most = all.clone().max().unwrap_or_default();
            (all.sum::<u64>() / nodes.len().max(1) as u64, most)
        };
        let reflector = |of: fn(&Tally) -> u64| {
            let all = reflectors.iter().map(|host| of(&host.tally));
            all.sum::<u64>() / reflectors.len().max(1) as u64
        };
        let octets = |heap: isize| usize::try_from(heap).unwrap_or(0);
        let most = |hosts: &[super::host::Host]| {
            let peaks = hosts.iter().map(|host| octets(host.meter.heap_peak));
            peaks.max().unwrap_or_default()
        };
        let busy = |hosts: &[super::host::Host]| {
            let all = hosts.iter().map(|host| host.meter.busy);
            all.max().unwrap_or_default()
        };
        let encoders = if reflectors.is_empty() {
            nodes
        } else {
            reflectors
        };
        let encoded = encoders.iter().map(|host| {
            let now = host.speaker.as_ref().map_or(0, |s| s.updates_encoded());
            now.saturating_sub(host.encodings)
        });
        let lost = nodes.iter().map(|host| {
            let in_book = host.book.as_ref().map_or(0, |book| book.lost);
            host.lost + in_book
        });
        Account {
            story,
            convergence: self.settled_at.since(since),
            sessions: (self.sessions.0 / 2, self.sessions.1 / 2),
            updates: sum(|tally| tally.updates_sent),
            octets: sum(|tally| tally.octets_sent),
            node_messages: node(|tally| tally.messages_received),
            node_octets: node(|tally| tally.octets_received),
            reflector_sent: (
                reflector(|tally| tally.updates_sent),
                reflector(|tally| tally.octets_sent),
            ),
            reflector_busy: busy(reflectors),
            node_busy: busy(whole),
            reflector_heap: most(reflectors),
            node_heap: (
                most(whole),
                whole
                    .iter()
                    .map(|host| octets(host.meter.heap))
                    .max()
                    .unwrap_or_default(),
            ),
            encodings: encoded.sum(),
            lost: lost.sum(),
            processor,
        }
    }
}
