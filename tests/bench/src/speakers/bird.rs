//! BIRD 2, and BIRD 1.6 (a program a family), from which Calico's comes.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use caracal_interop_tests::bird1;
use caracal_lab::daemon::Daemon;
use caracal_lab::manifests;
use caracal_lab::private::program;

use super::{Role, Setup, Speaker};
use crate::network::{ASN, speaker};
use crate::programs;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Major {
    One,
    Two,
}

pub(crate) struct Bird {
    daemon: Daemon,
    birdc: PathBuf,
    socket: PathBuf,
}

impl Bird {
    pub(crate) fn start(setup: &Setup, major: Major) -> Result<Bird> {
        let (bird, birdc) = programs_of(major, setup.ipv6)?;
        manifests::write(&setup.folder, "bird.conf", &configuration(setup, major))?;
        let file = |name: &str| setup.folder.join(name).display().to_string();
        let (file, socket) = (file("bird.conf"), file("bird.ctl"));
        let args = ["-f", "-c", &file, "-s", &socket];
        let mut daemon = Daemon::new(&setup.netns, &bird, &args, &setup.folder.join("log"));
        daemon.start()?;
        Ok(Bird {
            daemon,
            birdc,
            socket: socket.into(),
        })
    }

    fn ask(&self, words: &str) -> Result<String> {
        let mut command = Command::new(&self.birdc);
        let words = words.split_whitespace();
        command.arg("-s").arg(&self.socket).args(words);
        programs::said(&mut command)
    }
}

impl Speaker for Bird {
    fn processes(&self) -> Vec<u32> {
        self.daemon.id().into_iter().collect()
    }

    /// `100000 of 100000 routes for 100000 networks in table master4`
    fn prefixes(&mut self) -> Result<u64> {
        let said = self.ask("show route where source = RTS_BGP count")?;
        let mut sum = None;
        for line in said.lines().filter(|line| line.contains(" routes for ")) {
            // BIRD 2 adds up its tables in a line of its own.
            if line.starts_with("Total:") {
                continue;
            }
            let count = line.split_whitespace().next();
            let count = count.and_then(|word| word.parse::<u64>().ok());
            sum = Some(sum.unwrap_or(0) + count.with_context(|| said.clone())?);
        }
        match sum {
            Some(sum) => Ok(sum),
            None => bail!("birdc does not say how many routes it has: {said}"),
        }
    }

    fn check_running(&mut self) -> Result<()> {
        self.daemon.check_running()
    }
}

/// `BIRD version 2.0.12`
pub(crate) fn version(major: Major) -> Result<String> {
    let (bird, _) = programs_of(major, false)?;
    let said = programs::said(Command::new(bird).arg("--version"))?;
    let version = said.split_whitespace().last();
    Ok(version.unwrap_or_default().to_owned())
}

fn programs_of(major: Major, ipv6: bool) -> Result<(PathBuf, PathBuf)> {
    Ok(match (major, ipv6) {
        (Major::One, false) => (bird1::program("bird")?, bird1::program("birdc")?),
        (Major::One, true) => (bird1::program("bird6")?, bird1::program("birdc6")?),
        (Major::Two, _) => (program("bird", "bird2")?, program("birdc", "bird2")?),
    })
}

/// Every client is on the speaker's own link: `direct`, so that nothing but the peers' routes is in its table, and no filter
/// has to say so.
fn configuration(setup: &Setup, major: Major) -> String {
    let family = if setup.ipv6 { "ipv6" } else { "ipv4" };
    // BIRD 1 has one family, and no channels.
    let channel = |words: &str| match major {
        Major::One => words.to_owned(),
        Major::Two => format!("{family} {{ {words} }};"),
    };
    let (id, own) = (speaker(false), speaker(setup.ipv6));
    let mut text = format!(
        "router id {id};
log stderr {{ warning, error, fatal, bug }};
protocol device {{ scan time 3600; }}
"
    );
    let client = match setup.role {
        Role::Reflector => "rr client; rr cluster id 1.0.0.1;",
        Role::Node => {
            let export = channel("export all;");
            let _ = writeln!(text, "protocol kernel {{ scan time 3600; {export} }}");
            ""
        }
    };
    let routes = channel("import all; export all;");
    for (number, address) in setup.clients.iter().enumerate() {
        let _ = writeln!(
            text,
            "protocol bgp c{number} {{ local {own} as {ASN}; neighbor {address} as {ASN}; {client} direct; passive; hold time 90; {routes} }}"
        );
    }
    text
}
