//! One speaker, its clients, and the steps of a case. What a step took counts only after it was found valid: every client
//! has every prefix that it should have and no other, and the speaker says the same number.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use caracal_lab::private;

use crate::client::Client;
use crate::feed::{Feeds, Octets};
use crate::network::{self, Network};
use crate::prefixes::Prefixes;
use crate::process;
use crate::report::{Figures, Unit};
use crate::speakers::{Name, Role, Setup, Speaker};
use crate::swarm::Swarm;

/// Who announces how much.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    pub(crate) prefixes: Prefixes,
    pub(crate) role: Role,
    /// How many prefixes each client announces.
    pub(crate) own: Vec<u32>,
    /// How many share their attributes.
    pub(crate) a_set: u32,
}

/// A speaker with all sessions up.
pub(crate) struct Scene<'a> {
    pub(crate) speaker: Box<dyn Speaker>,
    pub(crate) swarm: Swarm,
    pub(crate) feeds: Vec<Feeds>,
    pub(crate) total: u32,
    pub(crate) network: &'a Network,
    figures: &'a mut Figures,
}

/// What a step took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Took {
    pub(crate) time: Duration,
    /// Of the speaker.
    pub(crate) processor: Duration,
    /// Of the load generator.
    pub(crate) own: Duration,
}

impl Shape {
    /// One sender, one receiver.
    pub(crate) fn pair(prefixes: Prefixes, count: u32, a_set: u32) -> Shape {
        Shape {
            prefixes,
            role: Role::Reflector,
            own: vec![count, 0],
            a_set,
        }
    }

    /// Everyone announces as many blocks, with attributes of his own.
    pub(crate) fn everyone(clients: usize, blocks: u32) -> Shape {
        Shape {
            prefixes: Prefixes {
                ipv6: false,
                mixed: false,
            },
            role: Role::Reflector,
            own: vec![blocks; clients],
            a_set: blocks,
        }
    }
}

/// Makes a network and a speaker, waits for all sessions, and works with them. What was measured until an error is in
/// `figures`.
pub(crate) fn with_scene(
    name: Name,
    shape: &Shape,
    patience: Duration,
    figures: &mut Figures,
    work: impl FnOnce(&mut Scene<'_>) -> Result<()> + Send,
) -> Result<()> {
    let network = Network::create(shape.own.len())?;
    // The sockets of a thread are in its namespace.
    network.generator.enter(|| -> Result<()> {
        let mut scene = Scene::start(name, shape, &network, patience, figures)?;
        let outcome = work(&mut scene);
        // If the speaker has ended, that is what went wrong.
        scene.speaker.check_running()?;
        outcome
    })?
}

impl<'a> Scene<'a> {
    fn start(
        name: Name,
        shape: &Shape,
        network: &'a Network,
        patience: Duration,
        figures: &'a mut Figures,
    ) -> Result<Scene<'a>> {
        let ipv6 = shape.prefixes.ipv6;
        let total: u32 = shape.own.iter().sum();
        let (mut clients, mut feeds, mut at) = (Vec::new(), Vec::new(), 0);
        for (i, count) in shape.own.iter().enumerate() {
            let (address, own) = (network::client(i, ipv6), at..at + count);
            at += count;
            clients.push(Client::new(
                address,
                network::client_id(i),
                own.clone(),
                total,
            ));
            feeds.push(Feeds {
                prefixes: shape.prefixes,
                own,
                next_hop: address,
                a_set: shape.a_set,
            });
        }
        // It stays until the private world ends: some speakers lay files of theirs over the system's.
        let number = SCENES.fetch_add(1, Ordering::Relaxed);
        let folder = Path::new(private::FOLDER).join(format!("speaker{number}"));
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let setup = Setup {
            netns: network.speaker.clone(),
            folder,
            clients: clients.iter().map(|client| client.address).collect(),
            ipv6,
            role: shape.role,
        };
        let speaker = name.start(&setup)?;
        let server = SocketAddr::new(network::speaker(ipv6), 179);
        let mut swarm = Swarm::new(clients, shape.prefixes, server, patience)?;
        swarm.establish().context("sessions")?;
        swarm.idle(SETTLE)?;
        Ok(Scene {
            speaker,
            swarm,
            feeds,
            total,
            network,
            figures,
        })
    }

    /// Does something and waits until everyone has what he then waits for.
    pub(crate) fn step(
        &mut self,
        what: &str,
        act: impl FnOnce(&mut Swarm) -> Result<()>,
    ) -> Result<Took> {
        self.measure(act, Swarm::run)
            .with_context(|| what.to_owned())
    }

    /// The same; sessions may be lost on the way.
    pub(crate) fn step_through_losses(
        &mut self,
        what: &str,
        act: impl FnOnce(&mut Swarm) -> Result<()>,
    ) -> Result<Took> {
        let took = self.measure(act, Swarm::run_through_losses);
        took.with_context(|| what.to_owned())
    }

    /// Everyone announces all he has.
    pub(crate) fn announce(&mut self, what: &str, round: u32, feeds: &[Octets]) -> Result<Took> {
        let total = self.total;
        self.swarm
            .expect(round, true, |client| total - client.own.len() as u32);
        self.step(what, |swarm| {
            for (i, octets) in feeds.iter().enumerate() {
                swarm.send(i, octets.clone())?;
            }
            Ok(())
        })
    }

    /// Everyone withdraws all he has.
    pub(crate) fn withdraw(&mut self, what: &str, round: u32) -> Result<Took> {
        let feeds: Vec<_> = self.feeds.iter().map(Feeds::withdraw).collect();
        self.swarm.expect(round, false, |_| 0);
        self.step(what, |swarm| {
            for (i, octets) in feeds.iter().enumerate() {
                swarm.send(i, octets.clone())?;
            }
            Ok(())
        })
    }

    /// What everyone sends in a round, with End-of-RIB behind.
    pub(crate) fn whole_feeds(&self, round: u32) -> Vec<Octets> {
        self.feeds.iter().map(|feed| feed.whole(round)).collect()
    }

    /// What everyone sends in a round.
    pub(crate) fn feeds(&self, round: u32) -> Vec<Octets> {
        self.feeds.iter().map(|feed| feed.announce(round)).collect()
    }

    /// The speaker's own count is to be this.
    pub(crate) fn check_count(&mut self, expected: u64) -> Result<()> {
        let start = Instant::now();
        loop {
            let count = self.speaker.prefixes().context("the speaker's own count")?;
            if count == expected {
                return Ok(());
            }
            if start.elapsed() > COUNT_PATIENCE {
                bail!(
                    "every client has its prefixes, but the speaker counts {count}, not {expected}"
                );
            }
            self.swarm.idle(Duration::from_millis(100))?;
        }
    }

    /// The most memory that its processes have had so far.
    pub(crate) fn peak_memory_mib(&self) -> Result<f64> {
        process::peak_memory_mib(&self.processes())
    }

    /// Notes a figure.
    pub(crate) fn note(&mut self, what: &str, unit: Unit, value: f64) {
        self.figures.push((what.to_owned(), unit, value));
    }

    /// Notes a time in milliseconds.
    pub(crate) fn note_time(&mut self, what: &str, time: Duration) {
        self.note(what, Unit::Milliseconds, time.as_secs_f64() * 1e3);
    }

    /// Notes processor times, the speaker's and our own.
    pub(crate) fn note_processor(&mut self, what: &str, took: Took) {
        let (speaker, own) = (took.processor.as_secs_f64(), took.own.as_secs_f64());
        self.note(&format!("{what}, CPU"), Unit::Seconds, speaker);
        self.note(&format!("{what}, CPU of the generator"), Unit::Seconds, own);
    }

    /// Does something, and runs until it is done.
    pub(crate) fn measure(
        &mut self,
        act: impl FnOnce(&mut Swarm) -> Result<()>,
        run: impl FnOnce(&mut Swarm, Instant) -> Result<Duration>,
    ) -> Result<Took> {
        let processes = self.processes();
        let processor = process::processor_time(&processes)?;
        let own = Swarm::processor_time();
        let start = Instant::now();
        act(&mut self.swarm)?;
        let time = run(&mut self.swarm, start)?;
        let own = Swarm::processor_time() - own;
        // What the speaker still does for it counts too.
        self.swarm.idle(TRAIL)?;
        let processor = process::processor_time(&processes)?.saturating_sub(processor);
        Ok(Took {
            time,
            processor,
            own,
        })
    }

    /// One of the speaker's processes.
    pub(crate) fn process(&self) -> Result<u32> {
        let processes = self.speaker.processes();
        processes
            .first()
            .copied()
            .context("the speaker has no process")
    }

    fn processes(&self) -> Vec<u32> {
        process::family_of(&self.speaker.processes())
    }
}

static SCENES: AtomicU32 = AtomicU32::new(0);

/// Between the last session and the first step.
const SETTLE: Duration = Duration::from_millis(300);
const TRAIL: Duration = Duration::from_millis(50);
/// Some count in the background.
const COUNT_PATIENCE: Duration = Duration::from_secs(10);
