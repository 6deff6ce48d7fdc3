//! BIRD 2.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use caracal_lab::daemon::Daemon;
use caracal_lab::manifests;
use caracal_lab::private::program;

use super::{Role, Setup, Speaker};
use crate::network::{ASN, speaker};
use crate::programs;

pub(crate) struct Bird {
    daemon: Daemon,
    birdc: PathBuf,
    socket: PathBuf,
}

impl Bird {
    pub(crate) fn start(setup: &Setup) -> Result<Bird> {
        let (bird, birdc) = (program("bird", "bird2")?, program("birdc", "bird2")?);
        manifests::write(&setup.folder, "bird.conf", &configuration(setup))?;
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
        command
            .arg("-s")
            .arg(&self.socket)
            .args(words.split_whitespace());
        programs::said(&mut command)
    }
}

impl Speaker for Bird {
    fn processes(&self) -> Vec<u32> {
        self.daemon.id().into_iter().collect()
    }

    /// `100000 of 100001 routes for 100001 networks in table master4`
    fn prefixes(&mut self) -> Result<u64> {
        let said = self.ask("show route where source = RTS_BGP count")?;
        let mut sum = None;
        for line in said.lines().filter(|line| line.contains(" routes for ")) {
            // BIRD 2 adds up its tables in a line of its own.
            if line.starts_with("Total:") {
                continue;
            }
            let count = line
                .split_whitespace()
                .next()
                .and_then(|word| word.parse::<u64>().ok());
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
pub(crate) fn version() -> Result<String> {
    let said = programs::said(Command::new(program("bird", "bird2")?).arg("--version"))?;
    let version = said.split_whitespace().last();
    Ok(version.unwrap_or_default().to_owned())
}

/// Every client is on the speaker's own link: `direct`, so that nothing but the peers' routes is in its table, and no filter has to
/// say so.
fn configuration(setup: &Setup) -> String {
    let family = if setup.ipv6 { "ipv6" } else { "ipv4" };
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
            let kernel =
                format!("protocol kernel {{ {family} {{ export where source = RTS_BGP; }}; }}");
            let _ = writeln!(text, "{kernel}");
            ""
        }
    };
    for (number, address) in setup.clients.iter().enumerate() {
        let line = format!(
            "protocol bgp c{number} {{ local {own} as {ASN}; neighbor {address} as {ASN}; {client} direct; passive; hold time 90;
  {family} {{ import all; export all; }}; }}"
        );
        let _ = writeln!(text, "{line}");
    }
    text
}
