//! Caracal itself: the route reflector from one file, every client named in it; as a node, the agent with a store of files and
//! a BGPPeer for each client.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
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
        let (program, text) = match setup.role {
            Role::Reflector => ("caracal-route-reflector", reflector(setup)),
            Role::Node => {
                write_store(setup)?;
                ("caracal-agent", agent(setup))
            }
        };
        manifests::write(&setup.folder, "caracal.yaml", &text)?;
        let file = setup.folder.join("caracal.yaml").display().to_string();
        let program = programs::ours(program)?;
        let log = setup.folder.join("log");
        let mut daemon = Daemon::new(&setup.netns, &program, &["--config", &file], &log);
        daemon.start()?;
        let socket = setup.folder.join("caracal.sock");
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
socket: {}/caracal.sock
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

/// It has no pods, and its address is the only one that it may choose.
fn agent(setup: &Setup) -> String {
    format!(
        "nodename: speaker
datastore: {{type: file, path: {folder}/store}}
socket: {folder}/caracal.sock
http: {{listen: none}}
cni: {{spool: {folder}/cni, mtuFile: none}}
filter: {{enabled: false}}
ipam: {{gc: false}}
log: {{level: warn}}
",
        folder = setup.folder.display()
    )
}

/// The node and its peers. No pool: of a pool it would claim a block of its own, and announce it.
fn write_store(setup: &Setup) -> Result<()> {
    let store = setup.folder.join("store");
    std::fs::create_dir_all(&store).with_context(|| store.display().to_string())?;
    let (ipv4, ipv6) = (speaker(false), speaker(true));
    let mut text = format!(
        "apiVersion: projectcalico.org/v3
kind: BGPConfiguration
metadata: {{name: default}}
spec: {{asNumber: {ASN}, nodeToNodeMeshEnabled: false}}
---
apiVersion: projectcalico.org/v3
kind: Node
metadata: {{name: speaker}}
spec: {{bgp: {{ipv4Address: {ipv4}/16, ipv6Address: \"{ipv6}/64\"}}}}
"
    );
    for (number, client) in setup.clients.iter().enumerate() {
        let _ = write!(
            text,
            "---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: {{name: peer{number}, annotations: {{bgp.caracal.network/session: \"passive: true\"}}}}
spec: {{peerIP: \"{client}\", asNumber: {ASN}}}
"
        );
    }
    manifests::write(&store, "cluster.yaml", &text)
}
