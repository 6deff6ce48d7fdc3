//! Pods, made and unmade as a container runtime does: a namespace, environment variables, and JSON on the plugin's stdin.

use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use ipnet::IpNet;
use serde_json::{Value, json};

use crate::netns::Netns;

/// Name of the network, as in a conflist.
pub const NETWORK: &str = "k8s-pod-network";

/// What a runtime on one node needs to know.
#[derive(Debug, Clone)]
pub struct Runtime {
    /// Where the plugin runs.
    pub netns: Netns,
    /// The plugin.
    pub plugin: PathBuf,
    /// The agent's socket.
    pub socket: PathBuf,
    /// Where the plugin notes what the agent could not be told.
    pub spool: PathBuf,
}

/// What the plugin answered.
#[derive(Debug, Clone, PartialEq)]
pub struct CniAnswer {
    /// Exit status 0.
    pub succeeded: bool,
    /// Its stdout, as JSON (`null`: empty).
    pub json: Value,
    /// Its stdout, as it was.
    pub stdout: String,
    /// Its stderr.
    pub stderr: String,
}

/// A pod that is attached.
#[derive(Debug, Clone)]
pub struct Pod {
    /// `pod-1-1`.
    pub name: String,
    /// The index of its node.
    pub node: usize,
    /// Its container ID.
    pub container: String,
    /// Its namespace.
    pub netns: Netns,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

impl Pod {
    /// Its IPv4 address.
    pub fn ipv4(&self) -> Result<IpAddr> {
        self.addresses
            .iter()
            .copied()
            .find(IpAddr::is_ipv4)
            .with_context(|| format!("{} has no IPv4 address", self.name))
    }

    /// Its IPv6 address.
    pub fn ipv6(&self) -> Result<IpAddr> {
        self.addresses
            .iter()
            .copied()
            .find(IpAddr::is_ipv6)
            .with_context(|| format!("{} has no IPv6 address", self.name))
    }
}

impl CniAnswer {
    /// The CNI error code, if it is an error as the specification has it.
    pub fn code(&self) -> Option<u64> {
        self.json.get("code")?.as_u64()
    }

    /// The message of an error.
    pub fn message(&self) -> String {
        let part = |name: &str| {
            self.json
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        format!("{} {}", part("msg"), part("details"))
            .trim()
            .to_owned()
    }

    fn into_success(self, what: &str) -> Result<Value> {
        if !self.succeeded {
            bail!("{what}: {}{}", self.stdout.trim(), self.stderr.trim());
        }
        Ok(self.json)
    }
}

impl Runtime {
    /// The network configuration that the plugin gets on stdin.
    pub fn configuration(&self) -> Value {
        json!({
            "cniVersion": "1.1.0",
            "name": NETWORK,
            "type": "caracal-cni",
            "socket": self.socket,
            "spool": self.spool,
        })
    }

    /// Runs the plugin with this text on stdin.
    pub fn call(
        &self,
        command: &str,
        container: &str,
        netns: &str,
        pod: &str,
        stdin: &str,
    ) -> Result<CniAnswer> {
        let mut plugin = Command::new(&self.plugin);
        plugin
            .env("CNI_COMMAND", command)
            .env("CNI_CONTAINERID", container)
            .env("CNI_NETNS", netns)
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", self.plugin.parent().unwrap_or(&self.plugin))
            .env("CNI_ARGS", arguments(container, pod))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = self.netns.spawn(&mut plugin)?;
        if let Some(mut pipe) = child.stdin.take() {
            // A plugin that answers without having read everything closes the pipe: its answer counts.
            let _ = pipe.write_all(stdin.as_bytes());
        }
        let done = child.wait_with_output().context("caracal-cni")?;
        let stdout = String::from_utf8_lossy(&done.stdout).into_owned();
        let json = serde_json::from_str(&stdout).unwrap_or(Value::Null);
        let stderr = String::from_utf8_lossy(&done.stderr).into_owned();
        Ok(CniAnswer {
            succeeded: done.status.success(),
            json,
            stdout,
            stderr,
        })
    }

    /// Makes a namespace for a pod. `container` tells this pod from an earlier one of the same name.
    pub fn prepare(&self, node: usize, name: &str, container: &str) -> Result<Pod> {
        let netns = Netns::create(name)?;
        let (name, container) = (name.to_owned(), container.to_owned());
        Ok(Pod {
            name,
            node,
            container,
            netns,
            addresses: Vec::new(),
        })
    }

    /// ADD. The pod then has its addresses.
    pub fn add(&self, pod: &mut Pod) -> Result<Value> {
        self.add_with(pod, &self.configuration())
    }

    /// ADD with these addresses, whoever's block they are in.
    pub fn add_at(&self, pod: &mut Pod, addresses: &[IpAddr]) -> Result<Value> {
        let mut configuration = self.configuration();
        configuration["args"] = json!({ "cni": { "ips": addresses } });
        self.add_with(pod, &configuration)
    }

    fn add_with(&self, pod: &mut Pod, configuration: &Value) -> Result<Value> {
        let answer = self
            .call_with(pod, "ADD", configuration)?
            .into_success(&format!("ADD of {}", pod.name))?;
        let addresses = answer
            .get("ips")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        let texts = addresses.filter_map(|entry| entry.get("address")?.as_str());
        pod.addresses = texts
            .map(|text| {
                Ok(text
                    .parse::<IpNet>()
                    .with_context(|| format!("address {text} of {}", pod.name))?
                    .addr())
            })
            .collect::<Result<_>>()?;
        if pod.addresses.is_empty() {
            bail!("ADD of {} answered without an address: {answer}", pod.name);
        }
        Ok(answer)
    }

    /// DEL, and the end of the pod's namespace.
    pub fn remove(&self, pod: &Pod) -> Result<()> {
        self.call_for(pod, "DEL")?
            .into_success(&format!("DEL of {}", pod.name))?;
        pod.netns.remove()
    }

    /// Any command with the usual words for a pod.
    pub fn call_for(&self, pod: &Pod, command: &str) -> Result<CniAnswer> {
        self.call_with(pod, command, &self.configuration())
    }

    fn call_with(&self, pod: &Pod, command: &str, configuration: &Value) -> Result<CniAnswer> {
        let netns = pod.netns.path().display().to_string();
        self.call(
            command,
            &pod.container,
            &netns,
            &pod.name,
            &configuration.to_string(),
        )
    }
}

fn arguments(container: &str, pod: &str) -> String {
    format!(
        "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={pod};K8S_POD_INFRA_CONTAINER_ID={container}"
    )
}
