//! Two sets of sessions, a wire between them that may lose packets, and a clock that jumps.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::config::{Kind, SessionConfig};
use crate::event::{Event, SessionId, Transmit};
use crate::packet::Packet;
use crate::sessions::Sessions;
use crate::view::SessionView;
use crate::{State, Time};

pub(crate) const LATENCY: Duration = Duration::from_millis(1);

pub(crate) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Of node 0 or 1.
pub(crate) fn address(node: usize) -> IpAddr {
    [[10, 0, 0, 1], [10, 0, 0, 2]][node].into()
}

/// 300 ms both ways, three packets.
pub(crate) fn config(node: usize) -> SessionConfig {
    SessionConfig {
        remote: address(1 - node),
        local: address(node),
        interface: 0,
        kind: Kind::SingleHop,
        min_tx: millis(300),
        min_rx: millis(300),
        multiplier: 3,
        admin_down: false,
    }
}

/// Says of a packet of a node whether the wire loses it.
pub(crate) type Loss = Box<dyn FnMut(Time, usize, &Packet) -> bool>;

pub(crate) struct Pair {
    pub(crate) now: Time,
    pub(crate) nodes: [Sessions; 2],
    pub(crate) ids: [SessionId; 2],
    pub(crate) events: [Vec<(Time, Event)>; 2],
    /// All that was sent: when, by whom, lost or not.
    pub(crate) sent: Vec<(Time, usize, Packet)>,
    pub(crate) loss: Loss,
    in_flight: Vec<(Time, usize, Transmit)>,
}

impl Pair {
    pub(crate) fn new(seed: u64, configs: [SessionConfig; 2]) -> Pair {
        let mut nodes = [seed, seed + 1000].map(Sessions::new);
        let ids = [0, 1].map(|node| {
            let config = configs[node].clone();
            nodes[node].set(Time::ZERO, config).unwrap()
        });
        let mut pair = Pair {
            now: Time::ZERO,
            nodes,
            ids,
            events: [Vec::new(), Vec::new()],
            sent: Vec::new(),
            loss: Box::new(|_, _, _| false),
            in_flight: Vec::new(),
        };
        pair.drain();
        pair
    }

    /// Up on both sides, at the negotiated rate, every Poll Sequence over.
    pub(crate) fn up(seed: u64) -> Pair {
        let mut pair = Pair::new(seed, [config(0), config(1)]);
        pair.run_for(Duration::from_secs(10));
        assert_eq!(pair.states(), [State::Up, State::Up]);
        assert!(!pair.sent_since(millis(9000), 0).any(|(_, p)| p.poll));
        pair
    }

    pub(crate) fn run_for(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(at) = self.next().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            let (arrived, still) = std::mem::take(&mut self.in_flight)
                .into_iter()
                .partition(|(at, _, _)| *at <= self.now);
            self.in_flight = still;
            for (_, from, transmit) in arrived {
                self.deliver(1 - from, &transmit);
            }
            for node in &mut self.nodes {
                node.handle_timeout(self.now);
            }
            self.drain();
        }
        self.now = end;
    }

    pub(crate) fn set(&mut self, node: usize, config: SessionConfig) {
        self.ids[node] = self.nodes[node].set(self.now, config).unwrap();
        self.drain();
    }

    /// The node's process starts anew.
    pub(crate) fn restart(&mut self, node: usize, seed: u64) {
        self.nodes[node] = Sessions::new(seed);
        self.set(node, config(node));
    }

    pub(crate) fn view(&self, node: usize) -> SessionView {
        self.nodes[node].view(self.now, self.ids[node]).unwrap()
    }

    pub(crate) fn states(&self) -> [State; 2] {
        [0, 1].map(|node| self.view(node).state)
    }

    pub(crate) fn lose_all_of(&mut self, loser: usize) {
        self.loss = Box::new(move |_, node, _| node == loser);
    }

    pub(crate) fn sent_since(
        &self,
        since: Time,
        by: usize,
    ) -> impl Iterator<Item = (Time, &Packet)> {
        let of_node = move |(at, node, _): &&(Time, usize, Packet)| *node == by && *at >= since;
        let sent = self.sent.iter().filter(of_node);
        sent.map(|(at, _, packet)| (*at, packet))
    }

    /// Between periodic packets.
    pub(crate) fn gaps(&self, since: Time, by: usize) -> Vec<Duration> {
        let periodic = self.sent_since(since, by).filter(|(_, p)| !p.finale);
        let times: Vec<Time> = periodic.map(|(at, _)| at).collect();
        times.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    pub(crate) fn downs(&self, node: usize) -> Vec<(Time, Event)> {
        let events = self.events[node].iter().copied();
        let is_down = |(_, event): &(Time, Event)| matches!(event, Event::Down { .. });
        events.filter(is_down).collect()
    }

    fn next(&self) -> Option<Time> {
        let arrivals = self.in_flight.iter().map(|(at, _, _)| *at);
        let timeouts = self.nodes.iter().filter_map(Sessions::poll_timeout);
        arrivals.chain(timeouts).min()
    }

    fn deliver(&mut self, to: usize, transmit: &Transmit) {
        let (source, destination) = (transmit.source, transmit.destination);
        // A node that restarted hears packets that name its former session: these it may discard.
        let _ = self.nodes[to].handle_packet(
            self.now,
            source,
            destination,
            transmit.ttl,
            &transmit.bytes,
        );
        self.drain();
    }

    pub(crate) fn drain(&mut self) {
        for node in [0, 1] {
            while let Some(transmit) = self.nodes[node].poll_transmit(self.now) {
                let packet = Packet::decode(&transmit.bytes).unwrap();
                let lost = (self.loss)(self.now, node, &packet);
                self.sent.push((self.now, node, packet));
                if !lost {
                    let arrives = self.now + LATENCY;
                    self.in_flight.push((arrives, node, transmit));
                }
            }
            while let Some(event) = self.nodes[node].poll_event() {
                self.events[node].push((self.now, event));
            }
        }
    }
}

/// What `remote` sends to `local`, on the single-hop port.
pub(crate) fn ends(remote: IpAddr, local: IpAddr) -> (SocketAddr, SocketAddr) {
    let port = Kind::SingleHop.port();
    ((remote, 50_000).into(), (local, port).into())
}
