//! Speakers, the pipes between them, and one heap of everything that is going to happen.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use caracal_bgp::{Action, ConnectionId, Event, LocalPath, PeerConfig, Speaker, Time};
use ipnet::IpNet;

use crate::Outcome;
use crate::pipes::{Cargo, End, Node, Pipe};
use crate::plan::{Plan, Step};
use crate::rng::Rng;
use crate::speakers::{self, Manners};
use crate::topology::Topology;

/// All of it.
#[derive(Debug)]
pub struct World {
    now: Time,
    topology: Topology,
    hold_time: Duration,
    rng: Rng,
    nodes: Vec<Node>,
    pipes: Vec<Pipe>,
    partitions: Vec<Partition>,
    agenda: BinaryHeap<Reverse<Entry>>,
    entries: u64,
    /// Happenings that are not in use, by index from `Entry`.
    happenings: Vec<Option<Happening>>,
    free: Vec<usize>,
    outcome: Outcome,
}

/// When, in which order, and the index of what.
type Entry = (Time, u64, usize);

#[derive(Debug)]
enum Happening {
    Step(Step),
    Wake(usize),
    Unclog(usize),
    Heal(usize),
    /// A connection attempt reaches the other side, or fails.
    Knock {
        from: usize,
        generation: u32,
        connection: ConnectionId,
        to: usize,
    },
    Refused {
        node: usize,
        generation: u32,
        connection: ConnectionId,
    },
    /// Something comes out of a pipe at this side.
    Arrival {
        pipe: usize,
        side: usize,
        what: Cargo,
    },
}

#[derive(Debug)]
struct Partition {
    from: Vec<usize>,
    until: Time,
}

impl World {
    /// The world at the beginning of a plan.
    pub fn new(plan: &Plan) -> World {
        let mut world = World {
            now: Time::ZERO,
            topology: plan.topology,
            hold_time: plan.hold_time,
            rng: Rng::new(plan.seed),
            nodes: Vec::new(),
            pipes: Vec::new(),
            partitions: Vec::new(),
            agenda: BinaryHeap::new(),
            entries: 0,
            happenings: Vec::new(),
            free: Vec::new(),
            outcome: Outcome {
                trace: 0,
                sessions: 0,
                flaps: 0,
                lost: 0,
                deliveries: 0,
            },
        };
        for _ in 0..plan.topology.speakers() {
            world.nodes.push(Node {
                speaker: None,
                generation: 0,
                originated: BTreeMap::new(),
                manners: Manners::Open,
                followed: BTreeMap::new(),
                wake_at: None,
                clogged_until: Time::ZERO,
                waiting: Vec::new(),
                connections: Vec::new(),
            });
        }
        for (at, step) in &plan.steps {
            world.schedule(*at, Happening::Step(step.clone()));
        }
        for node in 0..world.nodes.len() {
            world.start(node, false);
        }
        world
    }

    /// Lets everything happen up to `end`.
    pub fn run_until(&mut self, end: Time) {
        while let Some(&Reverse((at, _, index))) = self.agenda.peek()
            && at <= end
        {
            self.agenda.pop();
            self.now = at;
            if let Some(happening) = self.happenings[index].take() {
                self.free.push(index);
                self.happen(happening);
            }
        }
        self.now = end;
    }

    /// The present.
    pub fn now(&self) -> Time {
        self.now
    }

    /// Who is there.
    pub fn topology(&self) -> Topology {
        self.topology
    }

    /// A speaker. Panics when its process is dead, which no plan leaves it.
    pub fn speaker(&self, node: usize) -> &Speaker {
        match &self.nodes[node].speaker {
            Some(speaker) => speaker,
            None => unreachable!("speaker {node} is dead"),
        }
    }

    /// What it originates now.
    pub fn originated(&self, node: usize) -> &BTreeMap<IpNet, LocalPath> {
        &self.nodes[node].originated
    }

    /// How it treats its external peers now.
    pub fn manners(&self, node: usize) -> Manners {
        self.nodes[node].manners
    }

    /// All that it was ever told of, with the next hops as it was last told.
    pub fn all_followed(&self, node: usize) -> &BTreeMap<IpNet, Vec<IpAddr>> {
        &self.nodes[node].followed
    }

    /// The next hops that it was last told of for a prefix.
    pub fn followed(&self, node: usize, prefix: &IpNet) -> Vec<IpAddr> {
        self.nodes[node]
            .followed
            .get(prefix)
            .cloned()
            .unwrap_or_default()
    }

    /// What has come of it so far.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    fn schedule(&mut self, at: Time, happening: Happening) {
        let index = match self.free.pop() {
            Some(index) => {
                self.happenings[index] = Some(happening);
                index
            }
            None => {
                self.happenings.push(Some(happening));
                self.happenings.len() - 1
            }
        };
        self.entries += 1;
        self.agenda.push(Reverse((at, self.entries, index)));
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Step(step) => self.step(step),
            Happening::Wake(node) => {
                if self.nodes[node].wake_at == Some(self.now) {
                    self.nodes[node].wake_at = None;
                    let now = self.now;
                    if let Some(speaker) = &mut self.nodes[node].speaker {
                        speaker.handle_timeout(now);
                    }
                    self.drain(node);
                }
            }
            Happening::Unclog(node) => self.drain(node),
            Happening::Heal(partition) => {
                self.partitions[partition].until = Time::ZERO;
                self.release_held();
            }
            Happening::Knock {
                from,
                generation,
                connection,
                to,
            } => {
                self.knock(from, generation, connection, to);
            }
            Happening::Refused {
                node,
                generation,
                connection,
            } => {
                let (now, node_state) = (self.now, &mut self.nodes[node]);
                if node_state.generation == generation
                    && let Some(speaker) = &mut node_state.speaker
                {
                    speaker.handle_connect_failed(now, connection, "connection refused");
                    self.drain(node);
                }
            }
            Happening::Arrival { pipe, side, what } => self.arrive(pipe, side, what),
        }
    }

    fn step(&mut self, step: Step) {
        let now = self.now;
        match step {
            Step::Originate(node, prefix, path) => {
                let state = &mut self.nodes[node];
                state.originated.insert(prefix, path.clone());
                if let Some(speaker) = &mut state.speaker {
                    speaker.originate(now, prefix, path);
                }
                self.drain(node);
            }
            Step::Withdraw(node, prefix) => {
                let state = &mut self.nodes[node];
                state.originated.remove(&prefix);
                if let Some(speaker) = &mut state.speaker {
                    speaker.withdraw(now, prefix);
                }
                self.drain(node);
            }
            Step::Reset(a, b) => {
                for pipe in self.pipes_between(a, b) {
                    self.close_end(pipe, 0);
                    self.close_end(pipe, 1);
                }
            }
            Step::HalfOpen(a, b) => {
                for pipe in self.pipes_between(a, b) {
                    let silent = usize::from(self.pipes[pipe].ends[1].node == b);
                    self.pipes[pipe].broken_for = Some(silent);
                    self.close_end(pipe, 1 - silent);
                }
            }
            Step::Partition { from, until } => {
                self.schedule(until, Happening::Heal(self.partitions.len()));
                self.partitions.push(Partition { from, until });
            }
            Step::Clog(node, until) => {
                self.nodes[node].clogged_until = until;
                self.schedule(until, Happening::Unclog(node));
            }
            Step::Kill(node) => self.kill(node),
            Step::Start {
                speaker,
                restarting,
            } => {
                if self.nodes[speaker].speaker.is_none() {
                    self.start(speaker, restarting);
                }
            }
            Step::ShutDown {
                speaker,
                keep_forwarding,
            } => {
                if let Some(alive) = &mut self.nodes[speaker].speaker {
                    alive.shut_down(now, keep_forwarding, "");
                }
                self.nodes[speaker].clogged_until = Time::ZERO;
                self.drain(speaker);
                self.kill(speaker);
            }
            Step::Policies(node, manners) => {
                self.nodes[node].manners = manners;
                for config in self.peer_configs(node) {
                    if let Some(speaker) = &mut self.nodes[node].speaker {
                        speaker.set_peer(now, config);
                    }
                }
                self.drain(node);
            }
        }
    }

    fn start(&mut self, node: usize, restarting: bool) {
        let now = self.now;
        let seed = self.rng.next();
        let peers = self.peer_configs(node);
        let config = speakers::speaker_config(self.topology, node, seed, restarting);
        let state = &mut self.nodes[node];
        let mut speaker = Speaker::new(config, now);
        let local = state
            .originated
            .iter()
            .map(|(prefix, path)| (*prefix, path.clone()));
        local.for_each(|(prefix, path)| speaker.originate(now, prefix, path));
        for peer in peers {
            speaker.set_peer(now, peer);
        }
        speaker.finish_restart(now);
        state.speaker = Some(speaker);
        state.clogged_until = Time::ZERO;
        state.followed.clear();
        self.drain(node);
    }

    fn peer_configs(&self, node: usize) -> Vec<PeerConfig> {
        let (topology, hold_time) = (self.topology, self.hold_time);
        let manners = self.nodes[node].manners;
        let peers = topology.peers(node).into_iter();
        peers
            .map(|other| speakers::peer_config(topology, hold_time, manners, node, other))
            .collect()
    }

    /// The process is gone; its kernel resets its connections.
    fn kill(&mut self, node: usize) {
        let state = &mut self.nodes[node];
        state.speaker = None;
        state.generation += 1;
        state.wake_at = None;
        state.waiting.clear();
        let connections = std::mem::take(&mut state.connections);
        for (pipe, side) in connections.into_iter().flatten() {
            self.pipes[pipe].ends[side].connection = None;
            self.send(pipe, 1 - side, Cargo::Closed);
        }
    }

    fn knock(&mut self, from: usize, generation: u32, connection: ConnectionId, to: usize) {
        if self.nodes[from].generation != generation {
            return;
        }
        let (now, local, remote) = (
            self.now,
            speakers::endpoint(to, 179),
            speakers::endpoint(from, 40000),
        );
        let answer = match &mut self.nodes[to].speaker {
            Some(speaker) => speaker.handle_incoming(now, local, remote),
            None => Err("connection refused".to_owned()),
        };
        match answer {
            Ok(incoming) => {
                let end = |node, connection, generation| End {
                    node,
                    generation,
                    connection: Some(connection),
                    last_arrival: Time::ZERO,
                };
                let pipe = self.pipes.len();
                let ends = [
                    end(from, connection, generation),
                    end(to, incoming, self.nodes[to].generation),
                ];
                self.pipes.push(Pipe {
                    ends,
                    held: Vec::new(),
                    broken_for: None,
                });
                self.nodes[from].attach(connection, pipe, 0);
                self.nodes[to].attach(incoming, pipe, 1);
                self.send(pipe, 0, Cargo::Connected);
                self.drain(to);
            }
            Err(_) => {
                let at = self.now + self.latency();
                self.schedule(
                    at,
                    Happening::Refused {
                        node: from,
                        generation,
                        connection,
                    },
                );
                self.drain(to);
            }
        }
    }

    fn arrive(&mut self, pipe: usize, side: usize, what: Cargo) {
        let end = &self.pipes[pipe].ends[side];
        let (node, Some(connection)) = (end.node, end.connection) else {
            return;
        };
        if self.nodes[node].generation != end.generation {
            return;
        }
        if self.is_cut(end.node, self.pipes[pipe].ends[1 - side].node) {
            self.pipes[pipe].held.push((side, what));
            return;
        }
        self.trace(node, &what);
        let now = self.now;
        if matches!(what, Cargo::Closed) {
            self.pipes[pipe].ends[side].connection = None;
            self.nodes[node].detach(connection);
        }
        let Some(speaker) = &mut self.nodes[node].speaker else {
            return;
        };
        match what {
            Cargo::Connected => {
                speaker.handle_connected(now, connection, speakers::endpoint(node, 40000))
            }
            Cargo::Bytes(bytes) => speaker.handle_bytes(now, connection, &bytes),
            Cargo::Closed => speaker.handle_closed(now, connection, "connection reset by peer"),
        }
        self.drain(node);
    }

    /// Does what the speaker wants, as a driver would.
    fn drain(&mut self, node: usize) {
        let now = self.now;
        loop {
            let Some(speaker) = &mut self.nodes[node].speaker else {
                return;
            };
            let Some(action) = speaker.poll_action() else {
                break;
            };
            match action {
                Action::Connect {
                    connection, remote, ..
                } => self.dial(node, connection, remote),
                Action::Close { connection } => {
                    self.transmit(node, connection);
                    if let Some((pipe, side)) = self.nodes[node].detach(connection) {
                        self.pipes[pipe].ends[side].connection = None;
                        self.send(pipe, 1 - side, Cargo::Closed);
                    }
                }
            }
        }
        let state = &mut self.nodes[node];
        if let Some(speaker) = &mut state.speaker {
            while let Some(connection) = speaker.poll_ready() {
                state.waiting.push(connection);
            }
        }
        if state.clogged_until <= now {
            for connection in std::mem::take(&mut self.nodes[node].waiting) {
                self.transmit(node, connection);
            }
        }
        let state = &mut self.nodes[node];
        let Some(speaker) = &mut state.speaker else {
            return;
        };
        while let Some(event) = speaker.poll_event() {
            match event {
                Event::Up { .. } => self.outcome.sessions += 1,
                Event::Down { .. } => self.outcome.flaps += 1,
                _ => {}
            }
        }
        while let Some(prefix) = speaker.poll_route_change() {
            let next_hops = speaker.next_hops(&prefix);
            let is_reached = !next_hops.is_empty() || state.originated.contains_key(&prefix);
            let before = state.followed.insert(prefix, next_hops);
            if !is_reached && before.is_some_and(|before| !before.is_empty()) {
                self.outcome.lost += 1;
            }
        }
        if let Some(due) = speaker.poll_timeout() {
            let due = due.max(now);
            if state.wake_at.is_none_or(|wake_at| due < wake_at) {
                state.wake_at = Some(due);
                self.schedule(due, Happening::Wake(node));
            }
        }
    }

    fn dial(&mut self, from: usize, connection: ConnectionId, remote: SocketAddr) {
        let generation = self.nodes[from].generation;
        let to = speakers::index_of(remote.ip()).filter(|&to| to < self.nodes.len());
        // A lost SYN is answered by nobody; the speaker has its own patience.
        if let Some(to) = to.filter(|&to| !self.is_cut(from, to)) {
            let at = self.now + self.latency();
            self.schedule(
                at,
                Happening::Knock {
                    from,
                    generation,
                    connection,
                    to,
                },
            );
        }
    }

    fn transmit(&mut self, node: usize, connection: ConnectionId) {
        loop {
            let Some(speaker) = &mut self.nodes[node].speaker else {
                return;
            };
            let mut bytes = Vec::new();
            let more = speaker.poll_transmit(self.now, connection, &mut bytes, PIECE_OCTETS);
            if let Some((pipe, side)) = self.nodes[node].attached(connection)
                && !bytes.is_empty()
            {
                if self.pipes[pipe].broken_for == Some(side) {
                    // TCP answers with a reset.
                    self.send(pipe, side, Cargo::Closed);
                } else {
                    self.send(pipe, 1 - side, Cargo::Bytes(bytes));
                }
            }
            if !more {
                return;
            }
        }
    }

    /// Puts something into the pipe, to come out at `side`.
    fn send(&mut self, pipe: usize, side: usize, what: Cargo) {
        let arrival = self.now + self.latency();
        let end = &mut self.pipes[pipe].ends[side];
        end.last_arrival = end.last_arrival.max(arrival);
        let at = end.last_arrival;
        self.schedule(at, Happening::Arrival { pipe, side, what });
    }

    /// This end is told that the connection is gone.
    fn close_end(&mut self, pipe: usize, side: usize) {
        self.schedule(
            self.now,
            Happening::Arrival {
                pipe,
                side,
                what: Cargo::Closed,
            },
        );
    }

    fn release_held(&mut self) {
        for pipe in 0..self.pipes.len() {
            if self.pipes[pipe].held.is_empty() {
                continue;
            }
            for (side, what) in std::mem::take(&mut self.pipes[pipe].held) {
                self.send(pipe, side, what);
            }
        }
    }

    fn pipes_between(&self, a: usize, b: usize) -> Vec<usize> {
        let of_a = self.nodes[a].connections.iter().flatten();
        let other = |&&(pipe, side): &&(usize, usize)| self.pipes[pipe].ends[1 - side].node == b;
        of_a.filter(other).map(|(pipe, _)| *pipe).collect()
    }

    fn is_cut(&self, a: usize, b: usize) -> bool {
        let cuts = |partition: &Partition| {
            self.now < partition.until && partition.from.contains(&a) != partition.from.contains(&b)
        };
        self.partitions.iter().any(cuts)
    }

    fn latency(&mut self) -> Duration {
        Duration::from_micros(self.rng.within(50..2_000))
    }

    fn trace(&mut self, node: usize, what: &Cargo) {
        let words = [self.now.as_micros(), node as u64].into_iter();
        for word in words.chain(what.words()) {
            let mixed = (self.outcome.trace ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            self.outcome.trace = mixed ^ (mixed >> 29);
        }
        self.outcome.deliveries += 1;
    }
}

/// What is asked of `poll_transmit` at a time.
const PIECE_OCTETS: usize = 65_536;
