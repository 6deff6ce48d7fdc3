//! Who meddles with our routes, as far as the kernel tells: a netlink port, which most often is a process id. And how
//! much of it is logged: the first few lines of a burst, then a sum.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Names the programs behind netlink ports and follows their bursts.
#[derive(Debug)]
pub(crate) struct Culprits {
    /// `/proc`, or a folder of a test.
    root: PathBuf,
    /// By program, so that a script that starts `ip` a thousand times is one culprit.
    bursts: HashMap<String, Burst>,
    /// Whom we asked last: the next message is most often of the same.
    last: Option<(u32, Instant, Who)>,
}

#[derive(Debug)]
struct Burst {
    since: Instant,
    last: Instant,
    acts: u64,
}

#[derive(Debug, Clone)]
struct Who {
    /// What its burst is called.
    program: String,
    /// For people, with the process id.
    name: String,
}

/// One act of a culprit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Act {
    /// `ip (process 4242)`; `the kernel`; `process 4242, which has ended`; `netlink port 4294963199`.
    pub by: String,
    /// It is one of the first of a burst, and worth a line.
    pub tell: bool,
    /// It is part of something larger than a person's single command.
    pub mass: bool,
}

/// A burst that is over, or goes on for long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sum {
    pub program: String,
    /// That had no line of their own.
    pub untold: u64,
    pub took: Duration,
}

impl Culprits {
    pub(crate) fn new(root: PathBuf) -> Culprits {
        Culprits {
            root,
            bursts: HashMap::new(),
            last: None,
        }
    }

    /// Someone did something to a route of ours.
    pub(crate) fn act(&mut self, port: u32, now: Instant) -> Act {
        let who = self.who(port, now);
        let burst = self.bursts.entry(who.program).or_insert(Burst {
            since: now,
            last: now,
            acts: 0,
        });
        burst.last = now;
        burst.acts += 1;
        Act {
            by: who.name,
            tell: burst.acts <= LINES_MAX,
            mass: burst.acts > LINES_MAX,
        }
    }

    /// For people.
    pub(crate) fn name(&mut self, port: u32, now: Instant) -> String {
        self.who(port, now).name
    }

    /// Bursts that have been quiet, and long ones now and then.
    pub(crate) fn sums(&mut self, now: Instant) -> Vec<Sum> {
        let mut sums = Vec::new();
        self.bursts.retain(|program, burst| {
            let over = now >= burst.last + QUIET;
            let long = now >= burst.since + LONG;
            if (over || long) && burst.acts > LINES_MAX {
                sums.push(Sum {
                    program: program.clone(),
                    untold: burst.acts - LINES_MAX,
                    took: burst.last - burst.since,
                });
                // What follows in the same burst is in the next sum.
                burst.acts = LINES_MAX;
                burst.since = now;
            }
            !over
        });
        sums
    }

    /// When to ask for sums.
    pub(crate) fn next_sum(&self) -> Option<Instant> {
        let ends = self.bursts.values();
        ends.map(|burst| (burst.last + QUIET).min(burst.since + LONG))
            .min()
    }

    fn who(&mut self, port: u32, now: Instant) -> Who {
        if let Some((last, until, who)) = &self.last
            && *last == port
            && now < *until
        {
            return who.clone();
        }
        let who = self.look_up(port);
        self.last = Some((port, now + QUIET, who.clone()));
        who
    }

    /// The kernel gives a process's first netlink socket the process's id as port, and others numbers that are no
    /// process ids.
    fn look_up(&self, port: u32) -> Who {
        let (program, name) = match port {
            0 => ("the kernel".into(), "the kernel".into()),
            PID_MAX.. => (
                "programs without a name".into(),
                format!("netlink port {port}"),
            ),
            pid => match fs::read_to_string(self.root.join(format!("{pid}/comm"))) {
                Ok(comm) => {
                    let comm = comm.trim().to_owned();
                    let name = format!("{comm} (process {pid})");
                    (comm, name)
                }
                Err(_) => (
                    "processes that have ended".into(),
                    format!("process {pid}, which has ended"),
                ),
            },
        };
        Who { program, name }
    }
}

/// Lines of log in a burst; of what is more, only the sum.
const LINES_MAX: u64 = 3;
/// A burst is over after so much quiet.
const QUIET: Duration = Duration::from_secs(1);
/// A sum of a burst that does not end.
const LONG: Duration = Duration::from_secs(60);
/// PID_MAX_LIMIT of 64-bit kernels.
const PID_MAX: u32 = 1 << 22;
