//! What the kernel has, in the words of its own tools.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::Findings;

/// A file of the archive, and the command whose output it is.
const COMMANDS: [(&str, &[&str]); 13] = [
    ("links", &["ip", "-details", "-statistics", "link", "show"]),
    ("addresses", &["ip", "address", "show"]),
    (
        "routes-ipv4",
        &["ip", "-4", "-details", "route", "show", "table", "all"],
    ),
    (
        "routes-ipv6",
        &["ip", "-6", "-details", "route", "show", "table", "all"],
    ),
    ("rules-ipv4", &["ip", "-4", "rule", "show"]),
    ("rules-ipv6", &["ip", "-6", "rule", "show"]),
    ("neighbours", &["ip", "-details", "neighbour", "show"]),
    ("proxy-neighbours", &["ip", "neighbour", "show", "proxy"]),
    ("nexthops", &["ip", "-details", "nexthop", "show"]),
    ("fdb", &["bridge", "-details", "fdb", "show"]),
    ("filter", &["nft", "list", "table", "inet", "caracal"]),
    ("conntrack-counters", &["conntrack", "-S"]),
    (
        "sockets",
        &["ss", "-tani", "( sport = :179 or dport = :179 )"],
    ),
];

/// Below `/proc/sys`: what decides whether and where packets go.
const SYSCTLS: [&str; 10] = [
    "net/ipv4/ip_forward",
    "net/ipv4/conf/all/forwarding",
    "net/ipv4/conf/all/rp_filter",
    "net/ipv4/conf/default/rp_filter",
    "net/ipv4/fib_multipath_hash_policy",
    "net/ipv4/neigh/default/gc_thresh3",
    "net/ipv6/conf/all/disable_ipv6",
    "net/ipv6/conf/all/forwarding",
    "net/ipv6/neigh/default/gc_thresh3",
    "net/ipv6/route/max_size",
];

/// Asks all.
pub(super) async fn look(findings: &mut Findings) {
    for (name, command) in COMMANDS {
        let output = said_by(command).await;
        findings.take(&format!("kernel/{name}.txt"), output);
    }
    let lines = SYSCTLS.iter().map(|path| {
        let value = std::fs::read_to_string(format!("/proc/sys/{path}"));
        let value = value.map_or_else(|error| format!("({error})"), |text| text.trim().to_owned());
        format!("{} = {value}\n", path.replace('/', "."))
    });
    findings.take("kernel/sysctls.txt", Ok(lines.collect()));
}

pub(super) async fn said_by(command: &[&str]) -> Result<String, String> {
    let Some((program, arguments)) = command.split_first() else {
        return Err("no command".to_owned());
    };
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = match tokio::time::timeout(PATIENCE, child).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(format!("there is no program {program} here"));
        }
        Ok(Err(error)) => return Err(format!("{program}: {error}")),
        Err(_) => {
            let seconds = PATIENCE.as_secs();
            return Err(format!(
                "{} did not end within {seconds} s",
                command.join(" ")
            ));
        }
    };
    let stdout = String::from_utf8_lossy(&output.stdout);
    match output.status.success() || !stdout.is_empty() {
        true => Ok(format!("$ {}\n{stdout}", command.join(" "))),
        false => {
            let why = String::from_utf8_lossy(&output.stderr);
            // Below it nft repeats what was asked.
            let why = why.trim().lines().next().unwrap_or("it says nothing");
            Err(format!("{}: {why}", command.join(" ")))
        }
    }
}

/// For one command.
const PATIENCE: Duration = Duration::from_secs(15);
