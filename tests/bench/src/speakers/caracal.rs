//! Caracal itself: the route reflector from one file, every client named in it.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use caracal_agent_api::{Client, Peer};
use caracal_lab::daemon::Daemon;
use caracal_lab::manifests;

use super::{Role, Setup, Speaker};
use crate::network::{ASN, speaker};
use crate::programs;

pub(crate) struct Caracal {
    daemon: Daemon,
    socket: PathBuf,
}

impl Caracal {
    pub(crate) fn start(setup: &Setup) -> Result<Caracal> {
        if setup.role == Role::Node {
            bail!("not yet");
        }
        manifests::write(&setup.folder, "rr.yaml", &reflector(setup))?;
        let file = setup.folder.join("rr.yaml").display().to_string();
        let program = programs::ours("caracal-route-reflector")?;
        let log = setup.folder.join("log");
        let mut daemon = Daemon::new(&setup.netns, &program, &["--config", &file], &log);
        daemon.start()?;
        let socket = setup.folder.join("rr.sock");
        Ok(Caracal { daemon, socket })
    }

    /// Asks the socket that caracalctl asks.
    fn peers(&self) -> Result<Vec<Peer>> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let client = Client::new(&self.socket, Duration::from_secs(30));
        runtime
            .block_on(client.get("/v1/peers"))
            .context("/v1/peers")
    }
}

impl Speaker for Caracal {
    fn processes(&self) -> Vec<u32> {
        self.daemon.id().into_iter().collect()
    }

    fn prefixes(&mut self) -> Result<u64> {
        Ok(self
            .peers()?
            .iter()
            .map(|peer| peer.prefixes_accepted as u64)
            .sum())
    }

    fn check_running(&mut self) -> Result<()> {
        self.daemon.check_running()
    }
}

fn reflector(setup: &Setup) -> String {
    let family = if setup.ipv6 { "ipv6" } else { "ipv4" };
    let (id, own) = (speaker(false), speaker(setup.ipv6));
    let own = std::net::SocketAddr::new(own, 179);
    let mut text = format!(
        "asn: {ASN}
routerId: {id}
clusterId: 1.0.0.1
listen: [\"{own}\"]
holdTime: 90
families: [{family}-unicast]
socket: {}/rr.sock
log: {{level: warn}}
peers:
",
        setup.folder.display()
    );
    for client in &setup.clients {
        let line =
            format!("  - {{address: \"{client}\", asn: {ASN}, client: true, passive: true}}");
        let _ = writeln!(text, "{line}");
    }
    text
}
