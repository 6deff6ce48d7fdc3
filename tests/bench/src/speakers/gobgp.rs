//! GoBGP.

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

pub(crate) struct GoBgp {
    daemon: Daemon,
    gobgp: PathBuf,
    socket: String,
    family: &'static str,
}

impl GoBgp {
    pub(crate) fn start(setup: &Setup) -> Result<GoBgp> {
        if setup.role == Role::Node {
            bail!("GoBGP writes no routes into the kernel itself");
        }
        manifests::write(&setup.folder, "gobgpd.toml", &configuration(setup))?;
        let file = setup.folder.join("gobgpd.toml").display().to_string();
        let socket = format!("unix://{}", setup.folder.join("gobgpd.sock").display());
        let args = ["-f", &file, "--api-hosts", &socket, "--pprof-disable", "-p"];
        let gobgpd = program("gobgpd", "gobgpd")?;
        let mut daemon = Daemon::new(&setup.netns, &gobgpd, &args, &setup.folder.join("log"));
        daemon.start()?;
        Ok(GoBgp {
            daemon,
            gobgp: program("gobgp", "gobgpd")?,
            socket,
            family: if setup.ipv6 { "ipv6" } else { "ipv4" },
        })
    }
}

impl Speaker for GoBgp {
    fn processes(&self) -> Vec<u32> {
        self.daemon.id().into_iter().collect()
    }

    /// `Destination: 100000, Path: 100000`
    fn prefixes(&mut self) -> Result<u64> {
        let mut command = Command::new(&self.gobgp);
        command.args(["--target", &self.socket, "global", "rib", "summary"]);
        command.args(["-a", self.family]);
        let said = programs::said(&mut command)?;
        let (_, rest) = said.split_once("Destination: ").context(said.clone())?;
        let count = rest.split(',').next().unwrap_or_default();
        count.trim().parse().context(said)
    }

    fn check_running(&mut self) -> Result<()> {
        self.daemon.check_running()
    }
}

/// `gobgpd version 3.10.0`
pub(crate) fn version() -> Result<String> {
    let said = programs::said(Command::new(program("gobgpd", "gobgpd")?).arg("--version"))?;
    let version = said.split_whitespace().last();
    Ok(version.unwrap_or_default().to_owned())
}

fn configuration(setup: &Setup) -> String {
    let family = if setup.ipv6 { "ipv6" } else { "ipv4" };
    let (id, own) = (speaker(false), speaker(setup.ipv6));
    let mut text = format!(
        "[global.config]
as = {ASN}
router-id = \"{id}\"
local-address-list = [\"{own}\"]
"
    );
    for client in &setup.clients {
        let _ = write!(
            text,
            "[[neighbors]]
[neighbors.config]
neighbor-address = \"{client}\"
peer-as = {ASN}
[neighbors.timers.config]
hold-time = 90
keepalive-interval = 30
idle-hold-time-after-reset = 1
[neighbors.transport.config]
passive-mode = true
[neighbors.route-reflector.config]
route-reflector-client = true
route-reflector-cluster-id = \"1.0.0.1\"
[[neighbors.afi-safis]]
[neighbors.afi-safis.config]
afi-safi-name = \"{family}-unicast\"
"
        );
    }
    text
}
