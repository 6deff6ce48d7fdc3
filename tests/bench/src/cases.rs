//! What is measured.

use std::time::Duration;

use anyhow::Result;

use crate::prefixes::Prefixes;
use crate::report::{Figures, Unit};
use crate::scene::{Scene, Shape, with_scene};
use crate::speakers::Name;

mod changes;
mod fan_out;
mod feeds;
mod node;

/// A case, by the name that `--case` takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    run: fn(&mut Run<'_>) -> Result<()>,
}

/// One speaker in one case.
pub(crate) struct Run<'a> {
    pub(crate) speaker: Name,
    /// How much of the work: 1 is what the tables name.
    pub(crate) scale: f64,
    pub(crate) patience: Duration,
    pub(crate) figures: &'a mut Figures,
}

/// All, in the order of the tables.
pub(crate) const ALL: &[Case] = &[
    Case {
        name: "s1-100k",
        run: |run| feeds::feed(run, "S1", 100_000, 100, false),
    },
    Case {
        name: "s1-500k",
        run: |run| feeds::feed(run, "S1", 500_000, 100, false),
    },
    Case {
        name: "s1-unique",
        run: |run| feeds::feed(run, "S1 unique", 100_000, 1, false),
    },
    Case {
        name: "s1-ipv6",
        run: |run| feeds::feed(run, "S1 IPv6", 100_000, 100, true),
    },
    Case {
        name: "s2-200x100",
        run: |run| fan_out::everyone(run, 200, 100),
    },
    Case {
        name: "s2-500x20",
        run: |run| fan_out::everyone(run, 500, 20),
    },
    Case {
        name: "s2-storm",
        run: |run| fan_out::storm(run, 200, 100),
    },
    Case {
        name: "s2-one",
        run: |run| fan_out::one_route(run, 200, 100),
    },
    Case {
        name: "s3",
        run: |run| node::mesh(run, 200, 5),
    },
    Case {
        name: "s4-ipv4",
        run: |run| node::table(run, 100_000, false),
    },
    Case {
        name: "s4-ipv6",
        run: |run| node::table(run, 100_000, true),
    },
    Case {
        name: "s5",
        run: |run| changes::resets(run, 100_000),
    },
    Case {
        name: "s6",
        run: |run| changes::flaps(run, 100_000),
    },
];

impl Case {
    /// `s1` means all of S1.
    pub(crate) fn is_named(&self, name: &str) -> bool {
        self.name == name || self.name.starts_with(&format!("{name}-"))
    }

    /// A node is the agent; a reflector is a program of its own.
    pub(crate) fn needs_agent(&self) -> bool {
        self.name.starts_with("s3") || self.name.starts_with("s4")
    }

    /// Whether a speaker can do it: not all put routes into the kernel.
    pub(crate) fn suits(&self, speaker: Name) -> bool {
        !self.needs_agent() || speaker.has_kernel_table()
    }

    /// Whether a target of Caracal is by this speaker in this case. BIRD 2 is what the tables compare with.
    pub(crate) fn is_compared(&self, speaker: Name) -> bool {
        let kind = self.name.split('-').next().unwrap_or(self.name);
        match speaker {
            Name::Caracal | Name::Bird2 => true,
            Name::Bird1 => !matches!(self.name, "s2-200x100" | "s2-500x20" | "s1-ipv6"),
            Name::FrrTuned => kind == "s2",
            Name::Openbgpd => matches!(self.name, "s2-storm" | "s2-one" | "s5"),
            Name::Frr | Name::Gobgp => false,
        }
    }

    pub(crate) fn run(&self, run: &mut Run<'_>) -> Result<()> {
        (self.run)(run)
    }
}

impl Run<'_> {
    /// So much of this number, at least `least`.
    fn scaled(&self, number: u32, least: u32) -> u32 {
        ((f64::from(number) * self.scale) as u32).max(least)
    }

    fn with_scene(
        &mut self,
        shape: &Shape,
        work: impl FnOnce(&mut Scene<'_>) -> Result<()> + Send,
    ) -> Result<()> {
        with_scene(self.speaker, shape, self.patience, self.figures, work)
    }
}

/// `100k`, `1500`.
fn thousands(number: u32) -> String {
    match number {
        0 => "0".to_owned(),
        _ if number.is_multiple_of(1000) => format!("{}k", number / 1000),
        _ => number.to_string(),
    }
}

/// Percentiles of samples, in microseconds.
fn note_latencies(scene: &mut Scene<'_>, what: &str, mut samples: Vec<Duration>) {
    samples.sort_unstable();
    for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
        let place = (samples.len() as f64 * share) as usize;
        let sample = samples.get(place.min(samples.len().saturating_sub(1)));
        if let Some(sample) = sample {
            let value = sample.as_secs_f64() * 1e6;
            scene.note(&format!("{what}, {name}"), Unit::Microseconds, value);
        }
    }
}

fn mixed(ipv6: bool) -> Prefixes {
    Prefixes { ipv6, mixed: true }
}
