//! A story before it is lived: who is there, and what will happen to them.

use std::time::Duration;

use caracal_bgp::{LocalPath, Time};
use ipnet::IpNet;

use crate::rng::Rng;
use crate::speakers::{Manners, own_prefix, shared_prefix};
use crate::topology::Topology;

/// All that will happen.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where everything comes from.
    pub seed: u64,
    /// Who is there.
    pub topology: Topology,
    /// What all propose. Short ones run out in partitions, long ones are TCP's to break.
    pub hold_time: Duration,
    /// What happens when, in order.
    pub steps: Vec<(Time, Step)>,
    /// From here on nothing is broken any more.
    pub quiet_at: Time,
}

/// Something happens. Speakers are indices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A prefix is there or has other attributes.
    Originate(usize, IpNet, LocalPath),
    /// A prefix is gone.
    Withdraw(usize, IpNet),
    /// A connection between the two, if there is one, is reset, and both are told.
    Reset(usize, usize),
    /// The same, but the second learns it only when it says something.
    HalfOpen(usize, usize),
    /// Nothing passes between `from` and the others until `until`.
    Partition {
        /// One side.
        from: Vec<usize>,
        /// When it heals.
        until: Time,
    },
    /// Nothing leaves the speaker's sockets until then: its peers do not read.
    Clog(usize, Time),
    /// The process dies.
    Kill(usize),
    /// The process is back; `restarting`: with its forwarding state kept (RFC 4724).
    Start {
        /// Who.
        speaker: usize,
        /// As `SpeakerConfig::restarting`.
        restarting: bool,
    },
    /// The process ends in peace, with or without NOTIFICATION.
    ShutDown {
        /// Who.
        speaker: usize,
        /// As the argument of `Speaker::shut_down`.
        keep_forwarding: bool,
    },
    /// A border has other policies towards its external peers than before.
    Policies(usize, Manners),
}

impl Plan {
    /// Nothing goes wrong, but speakers restart one after the other with their forwarding state kept:
    /// killed, or ended without NOTIFICATION.
    pub fn rolling_restart(seed: u64, topology: Topology) -> Plan {
        let mut author = Author {
            rng: Rng::new(seed),
            topology,
            speakers: topology.speakers(),
            steps: Vec::new(),
        };
        author.prefixes();
        let mut when = at(Duration::from_secs(10));
        for _ in 0..4 {
            let speaker = author.speaker();
            let end = match author.rng.chance(50) {
                true => Step::Kill(speaker),
                false => Step::ShutDown {
                    speaker,
                    keep_forwarding: true,
                },
            };
            author.steps.push((when, end));
            when = when + Duration::from_millis(author.rng.within(1..5_000));
            let restarting = true;
            author.steps.push((
                when,
                Step::Start {
                    speaker,
                    restarting,
                },
            ));
            when = when + Duration::from_millis(author.rng.within(6_000..10_000));
        }
        Plan {
            seed,
            topology,
            hold_time: HOLD_TIMES[0],
            steps: author.steps,
            quiet_at: when,
        }
    }

    /// The story of a seed: half a minute in which things come and go and break, and some time for
    /// the rest to mend.
    pub fn new(seed: u64, topology: Topology) -> Plan {
        let mut author = Author {
            rng: Rng::new(seed ^ 0x0123_4567_89ab_cdef),
            topology,
            speakers: topology.speakers(),
            steps: Vec::new(),
        };
        author.prefixes();
        author.churn();
        author.policies();
        author.faults();
        let hold_time = HOLD_TIMES[author.rng.index(HOLD_TIMES.len())];
        let mut steps = author.steps;
        // Stable: what happens at the same instant happens in the order written.
        steps.sort_by_key(|(at, _)| *at);
        Plan {
            seed,
            topology,
            hold_time,
            steps,
            quiet_at: at(FAULTS_END),
        }
    }
}

struct Author {
    rng: Rng,
    topology: Topology,
    speakers: usize,
    steps: Vec<(Time, Step)>,
}

impl Author {
    /// Everybody's own, before anything else.
    fn prefixes(&mut self) {
        // In a large world a few speak for all.
        let every = (self.speakers / 100).max(1);
        for speaker in (0..self.speakers).step_by(every) {
            for number in 0..self.rng.within(1..3) {
                let path = self.path();
                self.steps.push((
                    Time::ZERO,
                    Step::Originate(speaker, own_prefix(speaker, number), path),
                ));
            }
        }
    }

    /// Prefixes come, go, change, and some of them are originated by several.
    fn churn(&mut self) {
        let changes = self.rng.within(10..60);
        for _ in 0..changes {
            let (when, speaker) = (self.time(), self.speaker());
            let prefix = match self.rng.below(3) {
                0 => shared_prefix(self.rng.below(4)),
                _ => own_prefix(speaker, self.rng.below(4)),
            };
            let step = if self.rng.chance(40) {
                Step::Withdraw(speaker, prefix)
            } else {
                Step::Originate(speaker, prefix, self.path())
            };
            self.steps.push((when, step));
        }
    }

    /// Borders change their minds.
    fn policies(&mut self) {
        let borders: Vec<usize> = (0..self.speakers)
            .filter(|&speaker| self.topology.is_border(speaker))
            .collect();
        if borders.is_empty() {
            return;
        }
        for _ in 0..self.rng.within(5..30) {
            let when = match self.rng.chance(30) {
                true => Time::ZERO,
                false => self.time(),
            };
            let border = borders[self.rng.index(borders.len())];
            let manners = match self.rng.below(5) {
                0 => Manners::Open,
                1 => Manners::KeepsShared,
                2 => Manners::TakesNoShared,
                3 => Manners::Prefers(200),
                _ => Manners::Prefers(50),
            };
            self.steps.push((when, Step::Policies(border, manners)));
        }
    }

    fn faults(&mut self) {
        let faults = self.rng.within(2..12);
        for _ in 0..faults {
            let (when, speaker) = (self.time(), self.speaker());
            match self.rng.below(9) {
                0..3 => self
                    .steps
                    .push((when, Step::Reset(speaker, self.rng.index(self.speakers)))),
                3 => self
                    .steps
                    .push((when, Step::HalfOpen(speaker, self.rng.index(self.speakers)))),
                4 => {
                    let many = self.rng.chance(30);
                    let size = if many { self.speakers / 2 } else { 1 };
                    let from = (0..size).map(|_| self.speaker()).collect();
                    let until = self.later(when, 100..45_000);
                    self.steps.push((when, Step::Partition { from, until }));
                }
                5 => {
                    let until = self.later(when, 100..20_000);
                    self.steps.push((when, Step::Clog(speaker, until)));
                }
                _ => self.restart(when, speaker),
            }
        }
    }

    fn restart(&mut self, when: Time, speaker: usize) {
        let restarting = self.rng.chance(70);
        self.steps.push((
            when,
            match self.rng.below(4) {
                0 => Step::ShutDown {
                    speaker,
                    keep_forwarding: restarting,
                },
                _ => Step::Kill(speaker),
            },
        ));
        // Sometimes longer than its helpers wait.
        let pause = if self.rng.chance(80) {
            50..3_000
        } else {
            10_000..30_000
        };
        let back = self.later(when, pause);
        self.steps.push((
            back,
            Step::Start {
                speaker,
                restarting,
            },
        ));
    }

    fn path(&mut self) -> LocalPath {
        LocalPath {
            local_pref: self
                .rng
                .chance(30)
                .then(|| 100 + 100 * self.rng.below(2) as u32),
            med: self.rng.chance(20).then(|| self.rng.below(2) as u32),
            communities: if self.rng.chance(20) {
                vec![self.rng.below(4) as u32]
            } else {
                Vec::new()
            },
        }
    }

    fn speaker(&mut self) -> usize {
        self.rng.index(self.speakers)
    }

    /// Most of what happens, happens after the sessions are up, and some before.
    fn time(&mut self) -> Time {
        at(Duration::from_millis(
            self.rng.within(0..FAULTS_BEGIN_MAX.as_millis() as u64),
        ))
    }

    fn later(&mut self, than: Time, millis: std::ops::Range<u64>) -> Time {
        let later = than + Duration::from_millis(self.rng.within(millis));
        later.min(at(FAULTS_END))
    }
}

fn at(since_start: Duration) -> Time {
    Time::ZERO + since_start
}

const HOLD_TIMES: [Duration; 8] = {
    let long = Duration::from_secs(90);
    [
        long,
        long,
        long,
        long,
        long,
        long,
        long,
        Duration::from_secs(20),
    ]
};
const FAULTS_BEGIN_MAX: Duration = Duration::from_secs(30);
const FAULTS_END: Duration = Duration::from_secs(40);
