//! A network namespace by name, as `ip netns` keeps them.
//!
//! A namespace belongs to a thread: [`Netns::enter`] runs work on a thread that has moved there, and what that thread
//! opens or starts (sockets, processes) stays there.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, anyhow, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A named network namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Netns {
    name: String,
}

impl Netns {
    /// Makes one. Its loopback device is up.
    pub fn create(name: &str) -> Result<Netns> {
        ip(None, &["netns", "add", name])?;
        ip(Some(name), &["link", "set", "lo", "up"])?;
        Ok(Netns {
            name: name.to_owned(),
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that stands for it.
    pub fn path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.name)
    }

    /// Removes it. Devices and routes in it go when the last process in it has gone.
    pub fn remove(&self) -> Result<()> {
        ip(None, &["netns", "delete", &self.name]).map(|_| ())
    }

    /// Runs `work` on a thread inside.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let file =
            File::open(self.path()).with_context(|| format!("network namespace {}", self.name))?;
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                    .with_context(|| format!("cannot enter network namespace {}", self.name))?;
                Ok(work())
            });
            thread
                .join()
                .map_err(|_| anyhow!("the thread in network namespace {} panicked", self.name))?
        })
    }

    /// Starts a process inside.
    pub fn spawn(&self, command: &mut Command) -> Result<Child> {
        let program = command.get_program().to_owned();
        self.enter(|| command.spawn())?
            .with_context(|| format!("cannot run {}", program.display()))
    }

    /// Runs a process inside to its end.
    pub fn output(&self, command: &mut Command) -> Result<std::process::Output> {
        let program = command.get_program().to_owned();
        self.enter(|| command.output())?
            .with_context(|| format!("cannot run {}", program.display()))
    }

    /// `ip ARGS` inside; what it prints.
    pub fn ip(&self, args: &[&str]) -> Result<String> {
        ip(Some(&self.name), args)
    }

    /// Several lines for `ip` inside, in one process.
    pub fn ip_batch(&self, lines: &[String]) -> Result<()> {
        let mut command = Command::new("ip");
        command.args(["-n", &self.name, "-batch", "-"]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run ip (Debian package iproute2)")?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin
                .write_all(lines.join("\n").as_bytes())
                .context("ip -batch")?;
        }
        let done = child.wait_with_output().context("ip -batch")?;
        if !done.status.success() {
            let (said, lines) = (String::from_utf8_lossy(&done.stderr), lines.join("\n"));
            bail!("ip -n {} -batch: {}\n{lines}", self.name, said.trim());
        }
        Ok(())
    }

    /// Sets `/proc/sys/net/KEY` inside; dots or slashes.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        let file = Path::new("/proc/sys/net").join(key.replace('.', "/"));
        self.enter(|| fs::write(&file, value))?.with_context(|| {
            format!(
                "network namespace {}: {} = {value}",
                self.name,
                file.display()
            )
        })
    }
}

/// `ip ARGS`, in a namespace or where we are; what it prints.
fn ip(netns: Option<&str>, args: &[&str]) -> Result<String> {
    let mut command = Command::new("ip");
    if let Some(name) = netns {
        command.args(["-n", name]);
    }
    let done = command
        .args(args)
        .stdin(Stdio::null())
        .output()
        .context("cannot run ip (Debian package iproute2)")?;
    if !done.status.success() {
        let words = netns
            .into_iter()
            .chain(args.iter().copied())
            .collect::<Vec<_>>()
            .join(" ");
        bail!(
            "ip {words}: {}",
            String::from_utf8_lossy(&done.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Whether the kernel can make devices of this kind (`ipip`, `vxlan`): it is tried on one.
pub fn kernel_has(kind: &str) -> bool {
    let Ok(netns) = Netns::create("kernel-probe") else {
        return false;
    };
    let line: &[&str] = match kind {
        "vxlan" => &[
            "link", "add", "probe", "type", "vxlan", "id", "1", "dstport", "4789",
        ],
        "ipip" => &[
            "link",
            "add",
            "probe",
            "type",
            "ipip",
            "local",
            "127.0.0.1",
            "remote",
            "127.0.0.2",
        ],
        other => &["link", "add", "probe", "type", other],
    };
    let has = netns.ip(line).is_ok();
    let _ = netns.remove();
    has
}
