//! The speakers under test: how each is configured and started, and what it says of itself.

mod bird;
mod caracal;
mod frr;
mod gobgp;
mod openbgpd;

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::Result;
use caracal_lab::netns::Netns;

use bird::{Bird, Major};

/// Who can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Name {
    /// caracal-route-reflector, and caracal-agent where routes go into the kernel.
    Caracal,
    /// BIRD 2.
    Bird2,
    /// BIRD 1.6.
    Bird1,
    /// FRR as it is by default.
    Frr,
    /// FRR that holds nothing back.
    FrrTuned,
    Openbgpd,
    Gobgp,
}

/// What a speaker is to be.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    /// Where it lives.
    pub(crate) netns: Netns,
    /// For its files.
    pub(crate) folder: PathBuf,
    /// Who will connect.
    pub(crate) clients: Vec<IpAddr>,
    /// Which family, for sessions and prefixes.
    pub(crate) ipv6: bool,
    pub(crate) role: Role,
}

/// What it does with routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// It passes them on to everyone else; its kernel gets none.
    Reflector,
    /// It puts them into its kernel.
    Node,
}

/// One that runs. It ends when it is dropped.
pub(crate) trait Speaker {
    /// Its processes, without those that they have started.
    fn processes(&self) -> Vec<u32>;

    /// How many prefixes it has from its peers, as it says itself.
    fn prefixes(&mut self) -> Result<u64>;

    /// An error when it has ended by itself, with the end of its log.
    fn check_running(&mut self) -> Result<()>;
}

impl Name {
    /// In the order of the tables. BIRD 2 is what others are compared with.
    pub(crate) const ALL: [Name; 7] = [
        Name::Caracal,
        Name::Bird2,
        Name::Bird1,
        Name::Frr,
        Name::FrrTuned,
        Name::Openbgpd,
        Name::Gobgp,
    ];

    /// Starts it.
    pub(crate) fn start(self, setup: &Setup) -> Result<Box<dyn Speaker>> {
        Ok(match self {
            Name::Caracal => Box::new(caracal::Caracal::start(setup)?),
            Name::Bird2 => Box::new(Bird::start(setup, Major::Two)?),
            Name::Bird1 => Box::new(Bird::start(setup, Major::One)?),
            Name::Frr => Box::new(frr::Frr::start(setup, false)?),
            Name::FrrTuned => Box::new(frr::Frr::start(setup, true)?),
            Name::Openbgpd => Box::new(openbgpd::OpenBgpd::start(setup)?),
            Name::Gobgp => Box::new(gobgp::GoBgp::start(setup)?),
        })
    }

    /// Whether it puts routes into Linux's kernel by itself.
    pub(crate) fn has_kernel_table(self) -> bool {
        !matches!(self, Name::Openbgpd | Name::Gobgp)
    }

    /// Its version, as it says.
    pub(crate) fn version(self) -> Result<String> {
        match self {
            Name::Caracal => Ok(env!("CARGO_PKG_VERSION").to_owned()),
            Name::Bird2 => bird::version(Major::Two),
            Name::Bird1 => bird::version(Major::One),
            Name::Frr | Name::FrrTuned => frr::version(),
            Name::Openbgpd => openbgpd::version(),
            Name::Gobgp => gobgp::version(),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Name::Caracal => "caracal",
            Name::Bird2 => "bird2",
            Name::Bird1 => "bird1",
            Name::Frr => "frr",
            Name::FrrTuned => "frr-tuned",
            Name::Openbgpd => "openbgpd",
            Name::Gobgp => "gobgp",
        })
    }
}
