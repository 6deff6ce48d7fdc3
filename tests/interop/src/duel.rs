//! A router and a speaker of ours on one link, without a cluster around them.
//!
//! ```text
//!    ours (a network namespace)             theirs
//!   speakers, feeders: .1 .2 .3 … ─ veth ─ .100 a router, configured by hand
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use caracal_bgp::{Speaker, Time};
use caracal_bgp_net::Shell;
use caracal_lab::{Netns, private};
use tokio::runtime::Runtime;

/// Two network namespaces with a link between them.
#[derive(Debug)]
pub struct Duel {
    /// Where speakers and feeders are.
    pub ours: Netns,
    /// Where the router is.
    pub theirs: Netns,
    /// The router's files; what it says goes to `agent.log` there, which is shown when a test fails.
    pub folder: PathBuf,
}

impl Duel {
    /// Makes them. Inside a private world only (`lab_tests!`).
    pub fn new() -> Result<Duel> {
        let (ours, theirs) = (Netns::create("ours")?, Netns::create("theirs")?);
        ours.ip(&[
            "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", "theirs",
        ])?;
        let mut lines = vec!["link set eth0 up".to_owned()];
        for number in 1..=OURS_MAX {
            lines.push(format!("addr add {}/24 dev eth0", v4(number)));
            lines.push(format!("addr add {}/64 dev eth0 nodad", v6(number)));
        }
        ours.ip_batch(&lines)?;
        theirs.ip_batch(&[
            "link set eth0 up".to_owned(),
            format!("addr add {}/24 dev eth0", v4(THEIRS)),
            format!("addr add {}/64 dev eth0 nodad", v6(THEIRS)),
        ])?;
        let folder = Path::new(private::FOLDER).join("theirs");
        std::fs::create_dir_all(&folder).with_context(|| format!("{}", folder.display()))?;
        Ok(Duel {
            ours,
            theirs,
            folder,
        })
    }

    /// Lets a speaker speak, from our side of the link.
    pub fn speak(&self, speaker: Speaker, listen: &[SocketAddr]) -> Result<Voice> {
        let runtime = self.runtime()?;
        let shell = {
            let _inside = runtime.enter();
            // The listening sockets are made on the calling thread.
            let start = || {
                let _inside = runtime.enter();
                Shell::start(speaker, listen)
            };
            self.ours.enter(start)??
        };
        Ok(Voice { runtime, shell })
    }

    /// A runtime whose thread, and so whose sockets, are on our side of the link.
    pub fn runtime(&self) -> Result<Runtime> {
        let netns = std::fs::File::open(self.ours.path())?;
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(1)
            .enable_all()
            .on_thread_start(move || enter(&netns))
            .build()
            .context("a tokio runtime")
    }
}

/// A thread that stays where it should not be would make a test pass or fail for the wrong reason.
#[expect(clippy::panic, reason = "this is a test's world")]
fn enter(netns: &std::fs::File) {
    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
    use std::os::fd::AsFd;
    if let Err(error) = move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network)) {
        panic!("a thread of tokio's cannot enter the namespace: {error}");
    }
}

/// A speaker that speaks.
#[derive(Debug)]
pub struct Voice {
    /// Where it runs.
    pub runtime: Runtime,
    /// To ask and tell it.
    pub shell: Shell,
}

impl Voice {
    /// Runs a change or a question where the speaker is.
    pub fn with<R: Send + 'static>(
        &self,
        closure: impl FnOnce(&mut Speaker, Time) -> R + Send + 'static,
    ) -> Result<R> {
        let answer = self.runtime.block_on(self.shell.with(closure));
        answer.map_err(|stopped| anyhow!("{stopped}"))
    }
}

/// Address `number` of the link.
pub fn v4(number: u8) -> IpAddr {
    Ipv4Addr::new(10, 9, 0, number).into()
}

/// The same in IPv6.
pub fn v6(number: u8) -> IpAddr {
    Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, number.into()).into()
}

/// The router's number on the link.
pub const THEIRS: u8 = 100;
/// Our numbers are 1 to this.
pub const OURS_MAX: u8 = 20;
