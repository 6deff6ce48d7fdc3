//! OpenBGPD: three processes, and on Linux no kernel table.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use caracal_interop_tests::openbgpd::become_somebody;
use caracal_lab::daemon::Daemon;
use caracal_lab::manifests;
use caracal_lab::private::program;

use super::{Role, Setup, Speaker};
use crate::network::{ASN, speaker};
use crate::programs;

pub(crate) struct OpenBgpd {
    daemon: Daemon,
    bgpctl: PathBuf,
    family: &'static str,
}

impl OpenBgpd {
    pub(crate) fn start(setup: &Setup) -> Result<OpenBgpd> {
        if setup.role == Role::Node {
            bail!("OpenBGPD writes no routes into Linux's kernel");
        }
        become_somebody(&setup.folder)?;
        manifests::write(&setup.folder, "bgpd.conf", &configuration(setup))?;
        let file = setup.folder.join("bgpd.conf");
        // It insists that nobody else reads its file, for passwords may be in it.
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
        let file = file.display().to_string();
        let bgpd = program("bgpd", "openbgpd")?;
        let log = setup.folder.join("log");
        let mut daemon = Daemon::new(&setup.netns, &bgpd, &["-d", "-f", &file], &log);
        daemon.start()?;
        Ok(OpenBgpd {
            daemon,
            bgpctl: program("bgpctl", "openbgpd")?,
            family: if setup.ipv6 { "IPv6" } else { "IPv4" },
        })
    }
}

impl Speaker for OpenBgpd {
    fn processes(&self) -> Vec<u32> {
        self.daemon.id().into_iter().collect()
    }

    /// `    100000 IPv4 unicast network entries using 3.8M of memory`
    fn prefixes(&mut self) -> Result<u64> {
        let said = programs::said(Command::new(&self.bgpctl).args(["show", "rib", "memory"]))?;
        let entries = format!("{} unicast network entries", self.family);
        let line = said.lines().find(|line| line.contains(&entries));
        // A family without routes has no line.
        let Some(line) = line else {
            return Ok(0);
        };
        let count = line.split_whitespace().next().unwrap_or_default();
        count.parse().with_context(|| line.to_owned())
    }

    fn check_running(&mut self) -> Result<()> {
        self.daemon.check_running()
    }
}

/// `OpenBGPD 7.7`
pub(crate) fn version() -> Result<String> {
    let said = programs::said(Command::new(program("bgpd", "openbgpd")?).arg("-V"))?;
    let version = said.split_whitespace().nth(1);
    Ok(version.unwrap_or_default().to_owned())
}

fn configuration(setup: &Setup) -> String {
    let (yes, no) = match setup.ipv6 {
        false => ("IPv4", "IPv6"),
        true => ("IPv6", "IPv4"),
    };
    let (id, own) = (speaker(false), speaker(setup.ipv6));
    let mut text = format!(
        "AS {ASN}
router-id {id}
fib-update no
nexthop qualify via default
listen on {own}
holdtime 90
"
    );
    for client in &setup.clients {
        let _ = writeln!(
            text,
            "neighbor {client} {{
  remote-as {ASN}
  local-address {own}
  passive
  route-reflector 1.0.0.1
  announce {yes} unicast
  announce {no} none
}}"
        );
    }
    text + "allow from any\nallow to any\n"
}
