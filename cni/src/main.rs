//! caracal-cni: the CNI plugin, a thin client of the agent on this node.
//!
//! The runtime starts one process a call, with `CNI_*` in the environment and the network configuration on
//! standard input, and reads one JSON object from standard output. Nothing else is ever written there.
//!
//! ```text
//!   runtime ──ADD──▶ caracal-cni ──1 /v1/cni/add───────▶ agent: takes an address out of its blocks
//!                        │                                      (device, mtu, addresses, gateways)
//!                        ├──2 veth pair, inside of the pod  (plumb.rs, veth.rs)
//!                        └──3 /v1/cni/attached──▶ agent: sysctls, neighbour, the /32 route, as one writer
//! ```
//!
//! | file | what |
//! |---|---|
//! | [`mod@env`], [`config`] | what the runtime says, checked once |
//! | [`version`], [`result`], [`error`] | what it is told, in its own version |
//! | [`add`], [`del`], [`check`] | the commands |
//! | [`plumb`], [`veth`], [`netns`] | the pod's device: what, by netlink, and where |
//! | [`spool`] | DELs that wait for the agent |
//! | [`install`] | puts the plugin where the runtime looks for it |
//!
//! Specification: CNI 1.1.0, <https://www.cni.dev/docs/spec/>.

mod add;
mod agent;
mod check;
mod config;
mod del;
mod env;
mod error;
mod install;
mod netns;
mod plumb;
mod result;
mod spool;
mod version;
mod veth;

use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;

use serde_json::Value;

use crate::config::Config;
use crate::env::{Command, Invocation};
use crate::error::{CniError, Code};
use crate::version::Version;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    // Also behind a command: install --help.
    if let Some(text) = std::env::args().skip(1).find_map(|word| about(&word)) {
        say(&text);
        return ExitCode::SUCCESS;
    }
    match words.next().as_deref() {
        Some("install") => {
            return place(words, |places| {
                install::install(places, Path::new(OURSELVES))
            });
        }
        Some("uninstall") => return place(words, install::uninstall),
        _ => {}
    }
    let mut text = Vec::new();
    let read = std::io::stdin()
        .take(CONFIG_OCTETS_MAX)
        .read_to_end(&mut text);
    let outcome = read
        .map_err(|error| CniError::new(Code::Io, format!("cannot read stdin: {error}")))
        .and_then(|_| obey(&text));
    match outcome {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(result)) => {
            say(&result.to_string());
            ExitCode::SUCCESS
        }
        Err(error) => {
            say(&error.render(&config::version_of(&text)).to_string());
            ExitCode::FAILURE
        }
    }
}

/// Does what the runtime asks; the result, if the command has one.
fn obey(text: &[u8]) -> Result<Option<Value>, CniError> {
    let call = Invocation::read(|name| std::env::var(name).ok())?;
    if call.command == Command::Version {
        return Ok(Some(version::supported(&config::version_of(text))));
    }
    let config = Config::parse(text)?;
    let (since, name) = match call.command {
        Command::Check => (Version::V0_4_0, "CHECK"),
        Command::Status => (Version::V1_1_0, "STATUS"),
        Command::Gc => (Version::V1_1_0, "GC"),
        Command::Add | Command::Del | Command::Version => (Version::V0_3_0, ""),
    };
    if config.version < since {
        return Err(CniError::new(
            Code::IncompatibleVersion,
            format!(
                "{name} does not exist in cniVersion {}, only from {} on",
                config.version.as_str(),
                since.as_str()
            ),
        ));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CniError::new(Code::Io, format!("cannot start: {error}")))?;
    runtime.block_on(async {
        match call.command {
            Command::Add => add::add(&call, &config).await.map(Some),
            Command::Del => del::del(&call, &config).await.map(|()| None),
            Command::Check => check::check(&call, &config).await.map(|()| None),
            Command::Gc => del::gc(&config).await.map(|()| None),
            Command::Status | Command::Version => check::status(&config).await.map(|()| None),
        }
    })
}

/// `install` and `uninstall`, for which no runtime is needed. Exit code 1: it could not be done; 2: wrong words.
fn place(
    words: impl Iterator<Item = String>,
    work: impl FnOnce(&install::Places) -> Result<install::Report, String>,
) -> ExitCode {
    let complain = |why: &str| eprintln!("caracal-cni: {why}");
    let places = match install::Places::read(words) {
        Ok(places) => places,
        Err(why) => {
            complain(&why);
            return ExitCode::from(2);
        }
    };
    match work(&places) {
        Ok(report) => {
            report.done.iter().for_each(|line| say(line));
            report.warnings.iter().for_each(|line| complain(line));
            ExitCode::SUCCESS
        }
        Err(why) => {
            complain(&why);
            ExitCode::FAILURE
        }
    }
}

/// For a person who starts the plugin by hand.
fn about(option: &str) -> Option<String> {
    let name = concat!("caracal-cni ", env!("CARGO_PKG_VERSION"));
    match option {
        "--version" | "-V" => Some(name.to_owned()),
        "--help" | "-h" => Some(format!(
            "{name}, a CNI plugin. Container runtimes start it; by hand:

  echo '{{\"cniVersion\":\"1.1.0\",\"name\":\"pods\",\"type\":\"caracal-cni\"}}' | CNI_COMMAND=STATUS caracal-cni

For those who set a node up:

{}

Configuration and errors: docs/operation/cni.md",
            install::HELP
        )),
        _ => None,
    }
}

/// The one place that writes to standard output. Nobody listening is no reason to fail: the work is done.
fn say(words: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{words}");
    let _ = out.flush();
}

/// This program's own file, also when it was replaced meanwhile.
const OURSELVES: &str = "/proc/self/exe";

/// A configuration is a few kilobytes; a list of attachments for GC may be some hundred.
const CONFIG_OCTETS_MAX: u64 = 16 << 20;
