//! A long-running program in a network namespace, with its output in a file.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::netns::Netns;
use crate::wait;

/// A program that can be started, killed and started again. Killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    netns: Netns,
    program: PathBuf,
    args: Vec<String>,
    environment: Vec<(String, String)>,
    log: PathBuf,
    child: Option<Child>,
}

impl Daemon {
    /// Not started yet.
    pub fn new(netns: &Netns, program: &Path, args: &[&str], log: &Path) -> Daemon {
        let args = args.iter().map(|&arg| arg.to_owned()).collect();
        Daemon {
            netns: netns.clone(),
            program: program.to_owned(),
            args,
            environment: Vec::new(),
            log: log.to_owned(),
            child: None,
        }
    }

    /// It shall have these variables in its environment.
    pub fn with_environment(mut self, variables: Vec<(String, String)>) -> Daemon {
        self.environment = variables;
        self
    }

    /// Starts it; its output is added to the log.
    pub fn start(&mut self) -> Result<()> {
        if self.child.is_some() {
            bail!("{} runs already", self.program.display());
        }
        let log = self.open_log()?;
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .envs(self.environment.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .env("RUST_BACKTRACE", "0")
            .stdout(log.try_clone()?)
            .stderr(log);
        self.child = Some(self.netns.spawn(&mut command)?);
        Ok(())
    }

    /// SIGKILL, and waits for its end.
    pub fn kill(&mut self) -> Result<()> {
        let mut child = self
            .child
            .take()
            .with_context(|| format!("{} does not run", self.program.display()))?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// SIGTERM, and waits for its end.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.ended()
    }

    /// Sends it a signal.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        let child = self
            .child
            .as_ref()
            .with_context(|| format!("{} does not run", self.program.display()))?;
        let pid = i32::try_from(child.id())
            .ok()
            .and_then(Pid::from_raw)
            .context("process number")?;
        kill_process(pid, signal).with_context(|| format!("signal to {}", self.program.display()))
    }

    /// Waits for its end by itself.
    pub fn ended(&mut self) -> Result<ExitStatus> {
        let program = self.program.display().to_string();
        let child = self
            .child
            .as_mut()
            .with_context(|| format!("{program} does not run"))?;
        let status = wait::until(&format!("the end of {program}"), || {
            match child.try_wait() {
                Ok(Some(status)) => Ok(status),
                Ok(None) => Err("it still runs".to_owned()),
                Err(error) => Err(error.to_string()),
            }
        })?;
        self.child = None;
        Ok(status)
    }

    /// An error with the end of the log if it has ended by itself.
    pub fn check_running(&mut self) -> Result<()> {
        let Some(child) = self.child.as_mut() else {
            bail!("{} does not run", self.program.display())
        };
        let Some(status) = child.try_wait()? else {
            return Ok(());
        };
        bail!(
            "{} in {} ended with {status}:\n{}",
            self.program.display(),
            self.netns.name(),
            self.log_tail(10)
        );
    }

    /// Its process number, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// The last lines of its log.
    pub fn log_tail(&self, lines: usize) -> String {
        tail(&self.log, lines)
    }

    /// Everything it has said.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn open_log(&self) -> Result<File> {
        let open = OpenOptions::new().create(true).append(true).open(&self.log);
        open.with_context(|| format!("log {}", self.log.display()))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The last lines of a file; nothing when it cannot be read.
pub fn tail(file: &Path, lines: usize) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let all: Vec<_> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
