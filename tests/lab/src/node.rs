//! A node: its namespace, its agent, and the questions that can be asked about it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result};
use caracal_agent_api::{Client, ClientError, EndpointView, FibRoute, Peer, Route, Status};
use serde::de::DeserializeOwned;

use crate::binaries::Binaries;
use crate::daemon::Daemon;
use crate::manifests;
use crate::netns::Netns;
use crate::pod::Runtime;
use crate::topology::Site;
use crate::wait;

/// The signature on our routes.
pub const PROTOCOL: &str = "67";

/// A node of the lab.
#[derive(Debug)]
pub struct Node {
    /// Where it stands.
    pub site: Site,
    /// Its network namespace.
    pub netns: Netns,
    /// Its files: `agent.yaml`, `agent.sock`, `agent.log`, `cni/`.
    pub folder: PathBuf,
    /// Its agent (or route reflector).
    pub agent: Daemon,
    ctl: PathBuf,
    plugin: PathBuf,
}

impl Node {
    /// A node with its folder and configuration file; the agent is not started.
    pub fn prepare(site: Site, netns: Netns, lab: &Path, binaries: &Binaries) -> Result<Node> {
        let folder = lab.join(&site.name);
        let configuration = manifests::agent(&site.name, &folder, &lab.join("store"));
        Node::with_program(
            site,
            netns,
            folder,
            configuration,
            binaries,
            &binaries.agent,
        )
    }

    /// A node that runs another program with a configuration of its own.
    pub fn with_program(
        site: Site,
        netns: Netns,
        folder: PathBuf,
        configuration: String,
        binaries: &Binaries,
        program: &Path,
    ) -> Result<Node> {
        std::fs::create_dir_all(folder.join("cni"))
            .with_context(|| format!("{}", folder.display()))?;
        manifests::write(&folder, "agent.yaml", &configuration)?;
        let file = folder.join("agent.yaml").display().to_string();
        let agent = Daemon::new(
            &netns,
            program,
            &["--config", &file],
            &folder.join("agent.log"),
        );
        Ok(Node {
            site,
            netns,
            folder,
            agent,
            ctl: binaries.ctl.clone(),
            plugin: binaries.cni.clone(),
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.site.name
    }

    /// Where its agent listens.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("agent.sock")
    }

    /// The container runtime on it.
    pub fn runtime(&self) -> Runtime {
        let (netns, plugin) = (self.netns.clone(), self.plugin.clone());
        Runtime {
            netns,
            plugin,
            socket: self.socket(),
            spool: self.folder.join("cni"),
        }
    }

    /// `GET /v1/status`.
    pub fn status(&self) -> Result<Status, ClientError> {
        self.ask("/v1/status")
    }

    /// `GET /v1/peers`.
    pub fn peers(&self) -> Result<Vec<Peer>, ClientError> {
        self.ask("/v1/peers")
    }

    /// `GET /v1/routes`.
    pub fn routes(&self) -> Result<Vec<Route>, ClientError> {
        self.ask("/v1/routes")
    }

    /// `GET /v1/fib`.
    pub fn fib(&self) -> Result<Vec<FibRoute>, ClientError> {
        self.ask("/v1/fib")
    }

    /// `GET /v1/endpoints`.
    pub fn endpoints(&self) -> Result<Vec<EndpointView>, ClientError> {
        self.ask("/v1/endpoints")
    }

    /// Runs `caracalctl` on it.
    pub fn ctl(&self, args: &[&str]) -> Result<Output> {
        let mut command = Command::new(&self.ctl);
        command.arg("--socket").arg(self.socket()).args(args);
        self.netns.output(&mut command)
    }

    /// Routes with our signature in the kernel, as `ip route` prints them, in order, without the numbers of nexthop objects:
    /// where those lead is printed with them.
    pub fn kernel_routes(&self, ipv6: bool) -> Result<Vec<String>> {
        let family = if ipv6 { "-6" } else { "-4" };
        // Not by `show proto 67`: that leaves these words out.
        let text = self.netns.ip(&[family, "route", "show"])?;
        let signature = format!("proto {PROTOCOL}");
        let mut lines: Vec<_> = text
            .lines()
            .map(|line| {
                let mut words: Vec<_> = line.split_whitespace().collect();
                if let Some(place) = words.iter().position(|word| *word == "nhid") {
                    words.drain(place..(place + 2).min(words.len()));
                }
                words.join(" ")
            })
            .filter(|line| format!("{line} ").contains(&format!("{signature} ")))
            .collect();
        lines.sort();
        Ok(lines)
    }

    /// Prefixes with our signature in the kernel, both families; addresses as /32 and /128.
    pub fn kernel_prefixes(&self) -> Result<BTreeSet<String>> {
        let lines = [self.kernel_routes(false)?, self.kernel_routes(true)?].concat();
        Ok(lines.iter().map(|line| prefix_of(line)).collect())
    }

    /// Waits until its agent says that its own work is done.
    pub fn wait_ready(&mut self) -> Result<Status> {
        let what = format!("{} to be ready", self.site.name);
        wait::until_or(&what, || {
            self.agent.check_running()?;
            Ok(match self.status() {
                Ok(status) if status.ready => Ok(status),
                Ok(status) => Err(status.not_ready_because.join("; ")),
                Err(error) => Err(error.to_string()),
            })
        })
    }

    /// Waits until this many sessions, and no others, are Established.
    pub fn wait_established(&mut self, sessions: usize) -> Result<()> {
        let what = format!("{} to have {sessions} sessions Established", self.site.name);
        wait::until_or(&what, || {
            self.agent.check_running()?;
            Ok(self
                .peers()
                .map_err(|error| error.to_string())
                .and_then(|peers| all_established(&peers, sessions)))
        })
    }

    fn ask<Reply: DeserializeOwned>(&self, path: &str) -> Result<Reply, ClientError> {
        let absent = |error: std::io::Error| ClientError::Absent {
            socket: self.socket(),
            why: error.to_string(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(absent)?;
        runtime.block_on(Client::new(self.socket(), Duration::from_secs(5)).get(path))
    }
}

fn all_established(peers: &[Peer], sessions: usize) -> Result<(), String> {
    let up = peers
        .iter()
        .filter(|peer| peer.state == "Established")
        .count();
    if up == sessions && peers.len() == sessions {
        return Ok(());
    }
    let describe = |peer: &Peer| {
        let error = peer.last_error.as_deref().unwrap_or_default();
        format!("{} {} {error}", peer.name, peer.state)
    };
    Err(peers.iter().map(describe).collect::<Vec<_>>().join("; "))
}

/// The prefix of a line of `ip route`: the first word that looks like one, with its length.
pub fn prefix_of(line: &str) -> String {
    let word = line.split_whitespace().find(|word| {
        word.starts_with(|first: char| first.is_ascii_hexdigit()) && word.contains(['.', ':'])
    });
    let word = word.unwrap_or(line);
    match (word.contains('/'), word.contains(':')) {
        (true, _) => word.to_owned(),
        (false, true) => format!("{word}/128"),
        (false, false) => format!("{word}/32"),
    }
}
