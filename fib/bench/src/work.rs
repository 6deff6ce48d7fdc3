//! What everybody has to do: the same routes, in the same steps.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use ipnet::IpNet;
use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Family {
    V4,
    V6,
}

/// In this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Step {
    /// All routes, of which the kernel has none.
    In,
    /// All routes move to other gateways.
    Replace,
    /// All routes go.
    Out,
    /// All routes, each by two gateways.
    MultipathIn,
    MultipathOut,
}

/// How many routes of which kind.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Work {
    pub family: Family,
    pub routes: u32,
    pub batch: usize,
}

impl Step {
    pub(crate) const ALL: [Step; 5] = [
        Step::In,
        Step::Replace,
        Step::Out,
        Step::MultipathIn,
        Step::MultipathOut,
    ];
}

impl Work {
    /// The i-th host route.
    pub(crate) fn prefix(&self, i: u32) -> IpNet {
        IpNet::from(self.address(i))
    }

    pub(crate) fn address(&self, i: u32) -> IpAddr {
        match self.family {
            Family::V4 => Ipv4Addr::from(0x0a00_0000 + i).into(),
            Family::V6 => Ipv6Addr::from((0xfd00_0010_u128 << 96) + u128::from(i)).into(),
        }
    }

    /// The gateways of the i-th route after a step. None: the route is gone.
    pub(crate) fn gateways(&self, step: Step, i: u32) -> Vec<IpAddr> {
        let gateway = |group| self.gateway(group, i % GATEWAYS);
        match step {
            Step::In => vec![gateway(1)],
            Step::Replace => vec![gateway(2)],
            Step::MultipathIn => vec![gateway(1), gateway(2)],
            Step::Out | Step::MultipathOut => vec![],
        }
    }

    /// One of 200 in each group; they are on `eth0`.
    pub(crate) fn gateway(&self, group: u8, i: u32) -> IpAddr {
        match self.family {
            Family::V4 => Ipv4Addr::new(172, 18, group, (i + 1) as u8).into(),
            Family::V6 => {
                Ipv6Addr::new(0x2001, 0xdb8, 0x18, 0, 0, 0, group.into(), (i + 1) as u16).into()
            }
        }
    }

    /// How many routes the kernel has now in this thread's namespace; a few are its own.
    pub(crate) fn in_kernel(&self) -> anyhow::Result<usize> {
        match self.family {
            Family::V4 => {
                let text = read("/proc/thread-self/net/fib_triestat")?;
                let count = text
                    .lines()
                    .find_map(|line| line.trim().strip_prefix("Prefixes:"))
                    .context("fib_triestat: no line Prefixes")?;
                Ok(count.trim().parse()?)
            }
            Family::V6 => {
                let text = read("/proc/thread-self/net/rt6_stats")?;
                let entries = text.split_whitespace().nth(3).context("rt6_stats: short")?;
                Ok(usize::from_str_radix(entries, 16)?)
            }
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Step::In => "in",
            Step::Replace => "replace",
            Step::Out => "out",
            Step::MultipathIn => "multipath in",
            Step::MultipathOut => "multipath out",
        })
    }
}

fn read(path: &str) -> anyhow::Result<String> {
    std::fs::read_to_string(Path::new(path)).context(path.to_owned())
}

/// As many nodes as a large mesh has.
pub(crate) const GATEWAYS: u32 = 200;
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
