//! The hosts, and one heap of everything that is going to happen. What is between them: `pipes.rs`.

mod pipes;

use std::time::Duration;

use caracal_bgp::{Action, ConnectionId, Event, LocalPath, Speaker, Time};
use rustix::time::{ClockId, clock_gettime};

use self::pipes::{Cargo, Pipe};
use super::agenda::Agenda;
use super::blocks;
use super::book::Book;
use super::host::Host;
use super::reading::Reader;
use super::shape::{RESTART_TIME, Shape};
use crate::rng::Rng;
use crate::speakers::{index_of, next_hop};

/// Octets of heap in use, where somebody counts them.
pub type Gauge = fn() -> usize;

/// All of it.
#[derive(Debug)]
pub struct World {
    pub(super) shape: Shape,
    pub(super) now: Time,
    pub(super) hosts: Vec<Host>,
    /// When anybody last learned something: a path came or went, a session or a first exchange was complete.
    pub(super) settled_at: Time,
    /// Sessions that came up and that went down, counted at both ends.
    pub(super) sessions: (u64, u64),
    pipes: Vec<Pipe>,
    agenda: Agenda<Happening>,
    rng: Rng,
    reader: Reader,
    gauge: Gauge,
    /// Filled and emptied again and again.
    piece: Vec<u8>,
}

#[derive(Debug)]
enum Happening {
    Wake(usize),
    Start {
        host: usize,
        restarting: bool,
    },
    Kill(usize),
    /// A connection attempt reaches the other side.
    Knock {
        from: usize,
        generation: u32,
        connection: ConnectionId,
        to: usize,
    },
    Refused {
        host: usize,
        generation: u32,
        connection: ConnectionId,
    },
    /// Something comes out of a pipe at this side.
    Arrival {
        pipe: usize,
        side: usize,
        what: Cargo,
    },
    /// There is room again at this side for what is to be sent.
    Room {
        pipe: usize,
        side: usize,
    },
    /// A light node's patience with a peer's stale paths is over.
    TimeOver {
        host: usize,
        generation: u32,
        peer: usize,
        session: u32,
    },
}

impl World {
    /// Hosts without processes.
    pub fn new(shape: Shape, gauge: Gauge) -> World {
        let mut hosts: Vec<Host> = Vec::new();
        for host in 0..shape.hosts() {
            let mut one = Host::new(shape.blocks());
            for block in shape.blocks_of(host) {
                one.originated.insert(block);
            }
            hosts.push(one);
        }
        World {
            shape,
            now: Time::ZERO,
            hosts,
            settled_at: Time::ZERO,
            sessions: (0, 0),
            pipes: Vec::new(),
            agenda: Agenda::new(),
            rng: Rng::new(shape.seed),
            reader: Reader::new(shape),
            gauge,
            piece: Vec::new(),
        }
    }

    /// The present.
    pub fn now(&self) -> Time {
        self.now
    }

    /// Its shape.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Lets everything happen for so long.
    pub fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some((at, happening)) = self.agenda.next_until(end) {
            self.now = at;
            self.happen(happening);
        }
        self.now = end;
    }

    /// The process shall start so long from now; `restarting`: with its forwarding state kept (RFC 4724).
    pub fn plan_start(&mut self, host: usize, after: Duration, restarting: bool) {
        let at = self.now + after;
        self.agenda.plan(at, Happening::Start { host, restarting });
    }

    /// The process shall die so long from now, and its kernel close its connections.
    pub fn plan_kill(&mut self, host: usize, after: Duration) {
        self.agenda.plan(self.now + after, Happening::Kill(host));
    }

    /// A node announces one of its blocks.
    pub fn announce(&mut self, block: usize) {
        let (host, now) = (self.shape.owner(block), self.now);
        self.hosts[host].originated.insert(block);
        self.attend(host, |speaker| {
            speaker.originate(now, blocks::prefix(block), LocalPath::default());
        });
    }

    /// A node takes one of its blocks back.
    pub fn withdraw(&mut self, block: usize) {
        let (host, now) = (self.shape.owner(block), self.now);
        self.hosts[host].originated.remove(block);
        self.attend(host, |speaker| {
            speaker.withdraw(now, blocks::prefix(block));
        });
    }

    /// From now on nothing passes between hosts of different sides.
    pub fn part(&mut self, side_of: impl Fn(usize) -> u8) {
        for (index, host) in self.hosts.iter_mut().enumerate() {
            host.side = side_of(index);
        }
    }

    /// Everything passes again, what was held back first.
    pub fn heal(&mut self) {
        self.part(|_| 0);
        for pipe in 0..self.pipes.len() {
            for (side, what) in std::mem::take(&mut self.pipes[pipe].held) {
                self.send(pipe, side, what);
            }
        }
    }

    fn happen(&mut self, happening: Happening) {
        let now = self.now;
        match happening {
            Happening::Wake(host) => {
                if self.hosts[host].wake_at == Some(now) {
                    self.hosts[host].wake_at = None;
                    self.attend(host, |speaker| speaker.handle_timeout(now));
                }
            }
            Happening::Start { host, restarting } => self.start(host, restarting),
            Happening::Kill(host) => self.kill(host),
            Happening::Knock {
                from,
                generation,
                connection,
                to,
            } => self.knock(from, generation, connection, to),
            Happening::Refused {
                host,
                generation,
                connection,
            } => {
                if self.hosts[host].generation == generation {
                    self.attend(host, |speaker| {
                        speaker.handle_connect_failed(now, connection, "connection refused");
                    });
                }
            }
            Happening::Arrival { pipe, side, what } => self.arrive(pipe, side, what),
            Happening::Room { pipe, side } => {
                let end = &mut self.pipes[pipe].ends[side];
                end.waits = false;
                let (host, generation) = (end.host, end.generation);
                if let Some(connection) = end.connection
                    && self.hosts[host].generation == generation
                {
                    self.transmit(host, connection);
                }
            }
            Happening::TimeOver {
                host,
                generation,
                peer,
                session,
            } => {
                let state = &mut self.hosts[host];
                if state.generation == generation
                    && let Some(book) = &mut state.book
                    && book.time_over(peer, session)
                {
                    self.settled_at = now;
                }
            }
        }
    }

    fn start(&mut self, host: usize, restarting: bool) {
        let (shape, now, seed) = (self.shape, self.now, self.rng.next());
        let state = &mut self.hosts[host];
        if state.speaker.is_some() {
            return;
        }
        state.connections.clear();
        state.followed.clear();
        let is_light = !shape.is_whole(host);
        state.book = is_light.then(|| Book::new(shape.reflectors, shape.blocks()));
        let own: Vec<usize> = state.originated.iter().collect();
        let before = (self.gauge)();
        let mut speaker = Speaker::new(shape.speaker_config(host, seed, restarting), now);
        for block in own {
            speaker.originate(now, blocks::prefix(block), LocalPath::default());
        }
        for other in shape.peers(host).filter(|&other| other != host) {
            speaker.set_peer(now, shape.peer_config(host, other));
        }
        speaker.finish_restart(now);
        let state = &mut self.hosts[host];
        state.speaker = Some(speaker);
        state.meter.heap = ((self.gauge)() as isize).saturating_sub_unsigned(before);
        self.attend(host, |_| {});
    }

    fn kill(&mut self, host: usize) {
        let state = &mut self.hosts[host];
        state.speaker = None;
        if let Some(book) = state.book.take() {
            state.lost += book.lost;
            state.wrong += book.wrong;
        }
        state.generation += 1;
        state.wake_at = None;
        state.meter.heap = 0;
        let connections = std::mem::take(&mut state.connections);
        for (pipe, side) in connections.into_iter().flatten() {
            self.pipes[pipe].ends[side].connection = None;
            self.send(pipe, 1 - side, Cargo::Closed);
        }
    }

    /// Gives the speaker something to do, and does what it then wants, as a driver would.
    fn attend(&mut self, host: usize, input: impl FnOnce(&mut Speaker)) {
        let is_metered = self.shape.is_metered(host);
        let (mut actions, mut ready, mut downs) = (Vec::new(), Vec::new(), Vec::new());
        let state = &mut self.hosts[host];
        let Some(speaker) = &mut state.speaker else {
            return;
        };
        let before = is_metered.then(|| (self.gauge)());
        let begin = is_metered.then(busy);
        input(speaker);
        while let Some(action) = speaker.poll_action() {
            actions.push(action);
        }
        while let Some(connection) = speaker.poll_ready() {
            ready.push(connection);
        }
        while let Some(event) = speaker.poll_event() {
            match event {
                Event::Up { peer, .. } => {
                    self.sessions.0 += 1;
                    self.settled_at = self.now;
                    if let Some(book) = &mut state.book
                        && let Some(peer) = peer_index(speaker, peer)
                    {
                        book.up(peer);
                    }
                }
                Event::Down {
                    peer, stale_kept, ..
                } => {
                    self.sessions.1 += 1;
                    if let Some(book) = &mut state.book
                        && let Some(peer) = peer_index(speaker, peer)
                    {
                        downs.push((peer, book.down(peer, stale_kept)));
                    }
                }
                Event::EndOfRib { .. } => self.settled_at = self.now,
                _ => {}
            }
        }
        while let Some(prefix) = speaker.poll_route_change() {
            self.settled_at = self.now;
            let Some(block) = blocks::number(&prefix, self.shape.blocks()) else {
                continue;
            };
            let owner = self.shape.owner(block);
            let is_there = match owner == host {
                true => state.originated.contains(block),
                false => speaker.next_hops(&prefix) == [next_hop(owner, &prefix)],
            };
            match is_there {
                true => state.followed.insert(block),
                false => {
                    let was = state.followed.remove(block);
                    state.lost += u64::from(was && owner != host);
                    was
                }
            };
        }
        let due = speaker.poll_timeout();
        if let (Some(before), Some(begin)) = (before, begin) {
            let meter = &mut state.meter;
            meter.busy += busy().saturating_sub(begin);
            let scratch = actions.capacity() * size_of::<Action>()
                + ready.capacity() * size_of::<ConnectionId>();
            let after = (self.gauge)() as isize;
            meter.heap += after.saturating_sub_unsigned(before + scratch);
            meter.heap_peak = meter.heap_peak.max(meter.heap);
        }
        let generation = state.generation;
        if let Some(due) = due {
            let due = due.max(self.now);
            if state.wake_at.is_none_or(|wake_at| due < wake_at) {
                state.wake_at = Some(due);
                self.agenda.plan(due, Happening::Wake(host));
            }
        }
        for (peer, session) in downs {
            let over = Happening::TimeOver {
                host,
                generation,
                peer,
                session,
            };
            self.agenda.plan(self.now + RESTART_TIME, over);
        }
        for action in actions {
            self.act(host, action);
        }
        for connection in ready {
            self.transmit(host, connection);
        }
    }

    fn act(&mut self, host: usize, action: Action) {
        match action {
            Action::Connect {
                connection, remote, ..
            } => {
                let to = index_of(remote.ip()).filter(|&to| to < self.hosts.len());
                // A lost SYN is answered by nobody; the speaker has its own patience.
                if let Some(to) = to.filter(|&to| !self.is_cut(host, to)) {
                    let at = self.now + self.latency();
                    let knock = Happening::Knock {
                        from: host,
                        generation: self.hosts[host].generation,
                        connection,
                        to,
                    };
                    self.agenda.plan(at, knock);
                }
            }
            Action::Close { connection } => {
                if let Some((pipe, side)) = self.hosts[host].attached(connection) {
                    // Its last words wait for nobody.
                    self.pipes[pipe].ends[side].room_at = self.now;
                    self.transmit(host, connection);
                    self.hosts[host].detach(connection);
                    self.pipes[pipe].ends[side].connection = None;
                    self.send(pipe, 1 - side, Cargo::Closed);
                }
            }
        }
    }

    fn is_cut(&self, a: usize, b: usize) -> bool {
        self.hosts[a].side != self.hosts[b].side
    }

    fn latency(&mut self) -> Duration {
        Duration::from_micros(self.rng.within(100..500))
    }
}

fn peer_index(speaker: &Speaker, peer: caracal_bgp::PeerId) -> Option<usize> {
    let (_, address) = speaker.peer_identity(peer)?;
    index_of(address)
}

/// Processor time of this thread.
pub(super) fn busy() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        time.tv_nsec.unsigned_abs() as u32,
    )
}
