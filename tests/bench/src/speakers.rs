//! The speakers under test: how each is configured and started, and what it says of itself.

mod bird;
mod caracal;

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::Result;
use caracal_lab::netns::Netns;

/// Who can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Name {
    /// caracal-route-reflector, and caracal-agent where routes go into the kernel.
    Caracal,
    /// BIRD 2.
    Bird2,
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
    pub(crate) const ALL: [Name; 2] = [Name::Caracal, Name::Bird2];

    /// Starts it.
    pub(crate) fn start(self, setup: &Setup) -> Result<Box<dyn Speaker>> {
        Ok(match self {
            Name::Caracal => Box::new(caracal::Caracal::start(setup)?),
            Name::Bird2 => Box::new(bird::Bird::start(setup)?),
        })
    }

    /// Its version, as it says.
    pub(crate) fn version(self) -> Result<String> {
        match self {
            Name::Caracal => Ok(env!("CARGO_PKG_VERSION").to_owned()),
            Name::Bird2 => bird::version(),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Name::Caracal => "caracal",
            Name::Bird2 => "bird2",
        })
    }
}
