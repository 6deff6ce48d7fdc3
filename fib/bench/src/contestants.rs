//! Who takes part. Each one is started, does the steps, and is ended, in a namespace of its own.

mod batch;
mod bird;
pub(crate) mod raw;
pub(crate) mod whole;

use std::fmt;

use serde::Serialize;

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

/// How long each step took. Steps that a contestant cannot do are left out.
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

    pub(crate) fn compete(self, work: Work) -> anyhow::Result<Times> {
        match self {
            Contestant::Raw => raw::compete(work, raw::Way::Gateway),
            Contestant::RawDevice => raw::compete(work, raw::Way::Device),
            Contestant::RawNexthop => raw::compete(work, raw::Way::Nexthop),
            Contestant::Fib => whole::compete(work, false),
            Contestant::FibNexthop => whole::compete(work, true),
            Contestant::IpBatch => batch::compete(work),
            Contestant::Bird => bird::compete(work),
            Contestant::Frr => Err(Absent(NO_FRR.into()).into()),
        }
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
