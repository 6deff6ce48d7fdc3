//! What the tests of the plugin share: a node and pods made of network namespaces, a fake agent, and a runtime
//! that calls the plugin as containerd would.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

/// A network namespace, held by a process that ends with the test, however the test ends: it reads from a
/// pipe whose other end is ours.
pub(crate) struct Namespace {
    holder: Child,
}

impl Namespace {
    /// A new one, with loopback up.
    pub(crate) fn new() -> Namespace {
        let mut holder = Command::new("unshare")
            .args([
                "--net",
                "sh",
                "-c",
                "ip link set lo up; echo ready; read end",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "ready\n");
        Namespace { holder }
    }

    /// For `CNI_NETNS`.
    pub(crate) fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.holder.id())
    }

    /// What a command prints there.
    pub(crate) fn run(&self, command: &str) -> String {
        let output = self.enter().args(["sh", "-c", command]).output().unwrap();
        assert!(
            output.status.success(),
            "{command}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// Whether a device is there.
    pub(crate) fn has(&self, device: &str) -> bool {
        let mut command = self.enter();
        command.args(["ip", "link", "show", "dev", device]);
        command.output().unwrap().status.success()
    }

    fn enter(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path()));
        command
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// One call of the plugin.
pub(crate) struct Call<'a> {
    /// Where the plugin runs.
    pub(crate) node: Option<&'a Namespace>,
    /// `CNI_COMMAND`.
    pub(crate) command: &'a str,
    /// `CNI_CONTAINERID`.
    pub(crate) container: &'a str,
    /// `CNI_NETNS`.
    pub(crate) netns: &'a str,
    /// Standard input.
    pub(crate) config: Value,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The exit code.
    pub(crate) exit: i32,
    /// Standard output.
    pub(crate) stdout: String,
}

impl Outcome {
    /// Standard output as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Code and sentence of an error.
    pub(crate) fn error(&self) -> (u64, String) {
        assert_ne!(self.exit, 0, "{self:?}");
        let error = self.json();
        (
            error["code"].as_u64().unwrap(),
            error["msg"].as_str().unwrap().to_owned(),
        )
    }

    /// Nothing but success.
    pub(crate) fn fine(&self) -> &Outcome {
        assert_eq!(self.exit, 0, "{self:?}");
        self
    }
}

impl Call<'_> {
    /// Runs the plugin.
    pub(crate) fn run(&self) -> Outcome {
        let plugin = env!("CARGO_BIN_EXE_caracal-cni");
        let mut command = match self.node {
            Some(node) => node.enter(),
            None => Command::new("env"),
        };
        let mut child = command
            .arg(plugin)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("CNI_COMMAND", self.command)
            .env("CNI_CONTAINERID", self.container)
            .env("CNI_NETNS", self.netns)
            .env("CNI_IFNAME", "eth0")
            .env(
                "CNI_ARGS",
                "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-1",
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        // It may end without reading.
        let _ = child
            .stdin
            .take()
            .unwrap()
            .write_all(self.config.to_string().as_bytes());
        let output = child.wait_with_output().unwrap();
        Outcome {
            exit: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
        }
    }
}

/// A configuration whose socket and spool are in `folder`.
pub(crate) fn config(folder: &Path) -> Value {
    json!({
        "cniVersion": "1.1.0",
        "name": "pods",
        "type": "caracal-cni",
        "socket": folder.join("agent.sock"),
        "spool": spool(folder),
    })
}

/// The spool of [`config`].
pub(crate) fn spool(folder: &Path) -> PathBuf {
    folder.join("spool")
}

/// Tests that make network namespaces need root; without, they say that they were skipped.
pub(crate) fn may_make_namespaces() -> bool {
    let may = Command::new("unshare")
        .args(["--net", "ip", "link"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !may {
        say_skipped("making a network namespace needs root, and iproute2");
    }
    may
}

/// Whether there is a program `ping`. Not every machine has one.
pub(crate) fn may_ping() -> bool {
    let may = Command::new("ping").arg("-V").output().is_ok();
    if !may {
        say_skipped("no program ping (apt-get install iputils-ping)");
    }
    may
}

/// Past the test harness, which shows nothing of tests that pass.
fn say_skipped(why: &str) {
    let _ = std::io::stderr().write_all(format!("skipped: {why}\n").as_bytes());
}
