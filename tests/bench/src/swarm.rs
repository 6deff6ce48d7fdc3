//! All clients of a benchmark, on one thread: what they send and receive, and how long it takes until they have it.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use caracal_bgp::wire::Family;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::time::{ClockId, clock_gettime};

use crate::client::{Client, State};
use crate::feed::Octets;
use crate::prefixes::Prefixes;

/// The clients, and what they wait for.
#[derive(Debug)]
pub(crate) struct Swarm {
    pub(crate) clients: Vec<Client>,
    pub(crate) prefixes: Prefixes,
    /// Sessions that were up and ended without our doing, and why.
    pub(crate) lost: Vec<String>,
    /// Attempts that did not become a session, and why the last one did not.
    pub(crate) refused: (usize, String),
    /// How long anything may take.
    pub(crate) patience: Duration,
    server: SocketAddr,
    epoll: OwnedFd,
    buffer: Vec<u8>,
    /// Clients that do not have yet what they wait for.
    undone: usize,
    keep_alive_at: Instant,
}

impl Swarm {
    pub(crate) fn new(
        clients: Vec<Client>,
        prefixes: Prefixes,
        server: SocketAddr,
        patience: Duration,
    ) -> Result<Swarm> {
        Ok(Swarm {
            clients,
            prefixes,
            lost: Vec::new(),
            refused: (0, String::new()),
            patience,
            server,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            buffer: vec![0; BUFFER_OCTETS],
            undone: 0,
            keep_alive_at: Instant::now() + KEEP_ALIVE,
        })
    }

    /// Connects everyone, a few at a time, and waits until all are up. Some speakers have a short queue for those who connect
    /// (BIRD's has 8 places, OpenBGPD's 5): who finds it full waits for TCP to try again, which takes up to a minute, and
    /// none of that is measured here.
    pub(crate) fn establish(&mut self) -> Result<()> {
        let start = Instant::now();
        self.expect(0, true, |_| 0);
        for first in (0..self.clients.len()).step_by(CONNECTING_MAX) {
            let next = self.clients.len().min(first + CONNECTING_MAX);
            for i in first..next {
                self.connect(i)?;
            }
            self.run_until(start, true, next)?;
        }
        Ok(())
    }

    /// From now on everyone waits for `target` prefixes of a round. `forget`: what they have does not count.
    pub(crate) fn expect(&mut self, round: u32, forget: bool, target: impl Fn(&Client) -> u32) {
        for client in &mut self.clients {
            client.round = round;
            client.target = target(client);
            if forget {
                client.there.clear();
            }
        }
    }

    /// Resets a session and connects again.
    pub(crate) fn reset(&mut self, i: usize) -> Result<()> {
        self.clients[i].drop_session();
        self.connect(i)
    }

    /// Resets all sessions at once; then all connect again.
    pub(crate) fn reset_all(&mut self) -> Result<()> {
        for client in &mut self.clients {
            client.drop_session();
        }
        for i in 0..self.clients.len() {
            self.connect(i)?;
        }
        Ok(())
    }

    /// Sends octets from a client.
    pub(crate) fn send(&mut self, i: usize, octets: Octets) -> Result<()> {
        self.clients[i].send(octets)
    }

    /// Until everyone has what he waits for. An error says who has not, or that a session was lost.
    pub(crate) fn run(&mut self, start: Instant) -> Result<Duration> {
        self.run_until(start, true, self.clients.len())
    }

    /// The same, but sessions may be lost on the way: they come back.
    pub(crate) fn run_through_losses(&mut self, start: Instant) -> Result<Duration> {
        self.run_until(start, false, self.clients.len())
    }

    /// Serves the sessions for some time.
    pub(crate) fn idle(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.turn(end.saturating_duration_since(Instant::now()))?;
        }
        Ok(())
    }

    /// Processor time of this thread so far.
    pub(crate) fn processor_time() -> Duration {
        Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
    }

    /// The first `count` clients; the others are not there yet.
    fn run_until(&mut self, start: Instant, strict: bool, count: usize) -> Result<Duration> {
        let clients = self.clients.iter().take(count);
        self.undone = clients.filter(|one| !one.is_done()).count();
        loop {
            if self.undone == 0 {
                return Ok(start.elapsed());
            }
            if strict && let Some(why) = self.lost.first() {
                bail!("{} sessions were lost: {why}", self.lost.len());
            }
            if start.elapsed() > self.patience {
                bail!(
                    "not within {} s: {}",
                    self.patience.as_secs(),
                    self.missing()
                );
            }
            self.turn(Duration::from_secs(1))?;
        }
    }

    /// Waits for the next events and handles them.
    fn turn(&mut self, longest: Duration) -> Result<()> {
        let retry_at = self.clients.iter().filter_map(|one| one.retry_at).min();
        let now = Instant::now();
        let timeout = retry_at.map_or(longest, |at| longest.min(at.saturating_duration_since(now)));
        let timeout = Timespec::try_from(timeout).context("timeout")?;
        let mut events = Vec::with_capacity(EVENTS);
        epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timeout))?;
        for event in events {
            let i = usize::try_from(event.data.u64())?;
            let done = self.clients[i].is_done();
            let flags = event.flags;
            let hung_up = flags.intersects(
                epoll::EventFlags::RDHUP | epoll::EventFlags::HUP | epoll::EventFlags::ERR,
            );
            if let Err(error) = self.serve(i, hung_up) {
                self.drop_failed(i, &error);
            }
            match (done, self.clients[i].is_done()) {
                (false, true) => self.undone -= 1,
                (true, false) => self.undone += 1,
                _ => {}
            }
        }
        if retry_at.is_some() {
            let now = Instant::now();
            for i in 0..self.clients.len() {
                if self.clients[i].retry_at.is_some_and(|at| at <= now) {
                    self.connect(i)?;
                }
            }
        }
        if Instant::now() > self.keep_alive_at {
            self.keep_alive_at = Instant::now() + KEEP_ALIVE;
            self.clients.iter_mut().try_for_each(Client::keep_alive)?;
        }
        Ok(())
    }

    fn serve(&mut self, i: usize, hung_up: bool) -> Result<()> {
        let family = match self.prefixes.ipv6 {
            false => Family::Ipv4Unicast,
            true => Family::Ipv6Unicast,
        };
        let client = &mut self.clients[i];
        if client.state == State::Connect {
            client.finish_connect(family)?;
        }
        client.flush()?;
        client.receive(&mut self.buffer, self.prefixes, hung_up)
    }

    fn connect(&mut self, i: usize) -> Result<()> {
        let client = &mut self.clients[i];
        client.connect(self.server)?;
        let socket = client.socket.as_ref().context("no socket")?;
        let flags = epoll::EventFlags::IN
            | epoll::EventFlags::OUT
            | epoll::EventFlags::RDHUP
            | epoll::EventFlags::ET;
        let data = epoll::EventData::new_u64(i as u64);
        epoll::add(&self.epoll, socket, data, flags)?;
        Ok(())
    }

    fn drop_failed(&mut self, i: usize, error: &anyhow::Error) {
        let client = &mut self.clients[i];
        let why = format!("{}: {error:#}", client.address);
        if client.state == State::Established {
            self.lost.push(why);
        } else {
            self.refused = (self.refused.0 + 1, why);
        }
        client.drop_session();
        client.retry_at = Some(Instant::now() + RETRY);
    }

    /// Who does not have what he waits for.
    fn missing(&self) -> String {
        let undone: Vec<_> = self.clients.iter().filter(|one| !one.is_done()).collect();
        let first = undone.first().map_or(String::new(), |one| {
            format!(
                "{} in {:?} has {} of {}",
                one.address,
                one.state,
                one.there.count(),
                one.target
            )
        });
        let (refused, why) = &self.refused;
        let refused = match refused {
            0 => String::new(),
            count => format!("; {count} attempts were refused, the last: {why}"),
        };
        format!("{} clients wait, {first}{refused}", undone.len())
    }
}

const BUFFER_OCTETS: usize = 256 * 1024;
const EVENTS: usize = 256;
/// Before the clock starts.
const CONNECTING_MAX: usize = 4;
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// After an attempt that was refused.
const RETRY: Duration = Duration::from_millis(20);
