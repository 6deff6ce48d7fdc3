//! `caracal-agent cleanup`: leaves the node as it was before the first agent of this boot. What there is of ours, and how
//! each of it is found, stands in docs/operation/kernel.md.

use std::fmt::Write as _;
use std::io::{ErrorKind, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;

use caracal_fib::{Cleaned, FibError};

use crate::config::Config;
use crate::mtu_file;

/// What it is told on the command line.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Orders {
    /// Only say what would be done.
    #[arg(long)]
    dry_run: bool,

    /// Work although an agent answers on the socket. It puts back what is removed here, until it is ended.
    #[arg(long)]
    force: bool,
}

/// What `--help` says below.
pub(crate) const HELP: &str = "\
Removes from the kernel what the agent has made (routes of protocol 67, neighbours of pods, VXLAN devices, table inet caracal), puts back the
sysctls and the tunl0 that it has changed, and removes its files in the folder of its socket. Everything else stays: devices of pods, the
datastore, the configuration, and DELs that wait in the spool. Pods of this node reach nobody afterwards, until an
agent or Calico writes their routes again. docs/operation/kernel.md has the details.

EXIT CODE: 0 the node is as it was; 1 something is left, it is named; 2 wrong configuration; 3 an agent is running.";

/// Does it, and says what it did, a line for each kind of object.
pub(crate) fn run(config: &Config, orders: Orders) -> ExitCode {
    let answers = UnixStream::connect(&config.socket).is_ok();
    if answers && !orders.force && !orders.dry_run {
        eprintln!(
            "caracal-agent: socket {}: an agent is running and answers there; end it first (or --force)",
            config.socket.display()
        );
        return ExitCode::from(3);
    }
    let (cleaned, pods) = match look_or_clean(config, orders) {
        Ok(outcome) => outcome,
        Err(fault) => {
            eprintln!("caracal-agent: {fault}");
            return ExitCode::FAILURE;
        }
    };
    let mut failures = cleaned.failures.clone();
    let mut text = describe(&cleaned, orders.dry_run);
    if !answers {
        match remove_socket(&config.socket, orders.dry_run) {
            Ok(true) => line(
                &mut text,
                "socket",
                &config.socket.display().to_string(),
                removed(orders.dry_run),
            ),
            Ok(false) => {}
            Err(fault) => failures.push(fault),
        }
    }
    match mtu_file::undo(&config.mtu_note(), orders.dry_run) {
        Ok(Some((file, former))) => line(
            &mut text,
            "MTU file",
            &file.display().to_string(),
            match former {
                Some(_) => put_back(orders.dry_run),
                None => removed(orders.dry_run),
            },
        ),
        Ok(None) => {}
        Err(fault) => failures.push(fault),
    }
    let filter = match orders.dry_run {
        true => caracal_filter::is_present(),
        false => caracal_filter::remove(),
    };
    match filter {
        Ok(true) => line(
            &mut text,
            "packet filter",
            "table inet caracal",
            removed(orders.dry_run),
        ),
        Ok(false) => {}
        Err(fault) => failures.push(format!("table inet caracal: {fault}")),
    }
    if text.is_empty() {
        text.push_str("nothing of Caracal is here\n");
    }
    if pods > 0 && !orders.dry_run {
        text.push_str(&format!(
            "{pods} devices of pods stay; these pods reach nobody until an agent or Calico writes their routes again\n"
        ));
    }
    // Whoever does not read it does not miss it.
    let _ = std::io::stdout().write_all(text.as_bytes());
    for failure in &failures {
        eprintln!("caracal-agent: {failure}");
    }
    match failures.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// With the number of devices of pods.
fn look_or_clean(config: &Config, orders: Orders) -> Result<(Cleaned, usize), FibError> {
    let no_threads = |fault: std::io::Error| FibError::Netlink(fault.to_string());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(no_threads)?;
    let fib = config.fib();
    runtime.block_on(async {
        let cleaned = caracal_fib::cleanup(&fib, orders.dry_run).await?;
        let interfaces = caracal_fib::interfaces().await?;
        let pods = interfaces
            .iter()
            .filter(|interface| fib.device_prefixes.fit(&interface.name))
            .count();
        Ok((cleaned, pods))
    })
}

fn describe(cleaned: &Cleaned, dry_run: bool) -> String {
    let (gone, back) = (removed(dry_run), put_back(dry_run));
    let mut text = String::new();
    if cleaned.routes_v4 + cleaned.routes_v6 > 0 {
        let counts = format!("{} IPv4, {} IPv6", cleaned.routes_v4, cleaned.routes_v6);
        line(&mut text, "routes", &counts, gone);
    }
    if cleaned.nexthops > 0 {
        let count = cleaned.nexthops.to_string();
        line(&mut text, "nexthop objects", &count, gone);
    }
    if cleaned.neighbours > 0 {
        let count = cleaned.neighbours.to_string();
        line(&mut text, "neighbours of pods", &count, gone);
    }
    for (device, entries) in &cleaned.devices {
        let count = format!("{entries} entries and neighbours");
        line(&mut text, device, &count, gone);
    }
    if let Some(former) = &cleaned.ipip {
        line(&mut text, "tunl0", former, back);
    }
    // What the kernel changes on each device when forwarding as a whole is switched: there may be many.
    let with_it = |path: &str| path.ends_with("/forwarding") && !path.contains("/all/");
    let (devices, others): (Vec<_>, Vec<_>) =
        cleaned.sysctls.iter().partition(|(path, _)| with_it(path));
    if !devices.is_empty() {
        let count = format!("{} of conf.*.forwarding", devices.len());
        line(&mut text, "sysctls of devices", &count, back);
    }
    for (path, value) in others {
        let name = path.replace('/', ".");
        line(&mut text, "sysctl", &format!("{name} = {value}"), back);
    }
    text
}

fn line(text: &mut String, kind: &str, what: &str, verb: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{kind:<20} {what:<40} {verb}");
}

fn removed(dry_run: bool) -> &'static str {
    match dry_run {
        true => "would be removed",
        false => "removed",
    }
}

fn put_back(dry_run: bool) -> &'static str {
    match dry_run {
        true => "would be put back",
        false => "put back",
    }
}

/// Of an agent that was killed. Returns whether there is one.
fn remove_socket(socket: &Path, dry_run: bool) -> Result<bool, String> {
    if dry_run {
        return Ok(socket.exists());
    }
    match std::fs::remove_file(socket) {
        Ok(()) => Ok(true),
        Err(fault) if fault.kind() == ErrorKind::NotFound => Ok(false),
        Err(fault) => Err(format!(
            "socket {}: cannot be removed: {fault}",
            socket.display()
        )),
    }
}
