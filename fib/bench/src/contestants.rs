//! Who takes part. Each one is started, does the steps, and is ended, in a namespace of its own.

mod batch;
mod bird;
pub(crate) mod raw;
pub(crate) mod whole;

use std::fmt;

use serde::Serialize;

use crate::rounds::Turns;
use crate::stopwatch::Took;
use crate::work::{Step, Work};

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Contestant {
    /// A batch writer with nothing around it; routes by gateways.
    Raw,
    /// The same with routes straight to a device, which is the cheapest kind.
    RawDevice,
    /// The same with routes by kernel nexthop objects.
    RawNexthop,
    /// The whole of caracal-fib, from `Fib::apply` until its status says that all is in the kernel; routes by gateways.
    Fib,
    /// The same as it is by default: with nexthop objects.
    FibNexthop,
    /// iproute2's `ip -batch`, from the start of the program to its end.
    IpBatch,
    /// BIRD 2: a static protocol is enabled, until the kernel has its routes.
    Bird,
    /// FRR's zebra: nobody feeds it fast enough.
    Frr,
}

/// Why somebody cannot take part, which is no failure.
#[derive(Debug)]
pub(crate) struct Absent(pub(crate) String);

/// How long each step took, or each part of it. Steps that a contestant cannot do are left out.
pub(crate) type Times = Vec<(Step, Took)>;

impl Contestant {
    pub(crate) const ALL: [Contestant; 8] = [
        Contestant::Raw,
        Contestant::RawDevice,
        Contestant::RawNexthop,
        Contestant::Fib,
        Contestant::FibNexthop,
        Contestant::IpBatch,
        Contestant::Bird,
        Contestant::Frr,
    ];

    /// Those that take part in rounds; the others do each step as a whole.
    pub(crate) fn takes_turns(self) -> bool {
        match self {
            Contestant::Raw
            | Contestant::RawDevice
            | Contestant::RawNexthop
            | Contestant::Fib
            | Contestant::FibNexthop => true,
            Contestant::IpBatch | Contestant::Bird | Contestant::Frr => false,
        }
    }

    /// Does what it is told in its turns.
    pub(crate) fn take_turns(self, work: Work, turns: &Turns) -> anyhow::Result<()> {
        match self {
            Contestant::Raw => raw::take_turns(work, raw::Way::Gateway, turns),
            Contestant::RawDevice => raw::take_turns(work, raw::Way::Device, turns),
            Contestant::RawNexthop => raw::take_turns(work, raw::Way::Nexthop, turns),
            Contestant::Fib => whole::take_turns(work, false, turns),
            Contestant::FibNexthop => whole::take_turns(work, true, turns),
            Contestant::IpBatch | Contestant::Bird | Contestant::Frr => {
                Err(Absent("it does whole steps only".into()).into())
            }
        }
    }

    /// Does all steps, each as a whole.
    pub(crate) fn compete(self, work: Work) -> anyhow::Result<Times> {
        match self {
            Contestant::IpBatch => batch::compete(work),
            Contestant::Bird => bird::compete(work),
            Contestant::Frr => Err(Absent(NO_FRR.into()).into()),
            in_rounds => Err(Absent(format!("{in_rounds} takes part in rounds only")).into()),
        }
    }

    /// A route straight to a device has one.
    pub(crate) fn can(self, step: Step) -> bool {
        self != Contestant::RawDevice || !matches!(step, Step::MultipathIn | Step::MultipathOut)
    }
}

impl Contestant {
    /// The bare writer of the same kind of routes, to which it is compared.
    pub(crate) fn mark(self) -> Contestant {
        match self {
            Contestant::FibNexthop => Contestant::RawNexthop,
            _ => Contestant::Raw,
        }
    }
}

impl fmt::Display for Contestant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Contestant::Raw => "raw",
            Contestant::RawDevice => "raw device",
            Contestant::RawNexthop => "raw nexthop",
            Contestant::Fib => "fib",
            Contestant::FibNexthop => "fib nexthop",
            Contestant::IpBatch => "ip -batch",
            Contestant::Bird => "bird",
            Contestant::Frr => "frr",
        })
    }
}

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Absent {}

const NO_FRR: &str = "Debian's package has no sharpd, which makes routes for zebra, and staticd needs minutes to read \
                      20,000 of them";
