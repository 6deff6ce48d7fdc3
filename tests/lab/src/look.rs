//! Looking around in a lab that stays up.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use caracal_lab::{Lab, Pod, private};
use clap::Args;

use crate::terminal::Terminal;

/// What `exec` is asked for.
#[derive(Args)]
pub(crate) struct Exec {
    /// Process number of the lab, where there is more than one.
    #[arg(long, value_name = "NUMBER")]
    lab: Option<u32>,
    /// A node (`node1`), a pod (`pod-1-1`) or the `fabric`.
    place: String,
    /// What to run there; `caracalctl` is given the node's socket.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    words: Vec<String>,
}

pub(crate) fn exec(exec: &Exec) -> Result<ExitCode> {
    let number = exec.lab.map_or_else(only_lab, Ok)?;
    let place = format!("/proc/{number}/root/run/netns/{}", exec.place);
    fs::metadata(&place).with_context(|| format!("lab {number} has no {}", exec.place))?;
    let words = from_here(words_for(&exec.words)?)?;
    let mut command = private::visit(number, &exec.place, &words)?;
    // What `caracalctl` would otherwise have to be told.
    command
        .env(
            "CARACAL_SOCKET",
            format!("{}/{}/agent.sock", private::FOLDER, exec.place),
        )
        .env("CARACAL_DATASTORE", format!("{}/store", private::FOLDER));
    Err(command.exec()).with_context(|| format!("{} in lab {number}", exec.words.join(" ")))
}

/// In the folder that its user is in: nsenter begins in the root of the lab's world, which has the same folders.
fn from_here(words: Vec<String>) -> Result<Vec<String>> {
    let here = std::env::current_dir().context("the folder that this is started in")?;
    let shell = ["sh", "-c", r#"cd "$1"; shift; exec "$@""#, "sh"];
    let shell = shell.into_iter().map(str::to_owned);
    let here = here.display().to_string();
    Ok(shell.chain([here]).chain(words).collect())
}

/// `caracalctl` stands beside this program.
fn words_for(words: &[String]) -> Result<Vec<String>> {
    match words.split_first() {
        Some((first, rest)) if first == "caracalctl" => {
            let beside = std::env::current_exe()?.with_file_name("caracalctl");
            Ok([&[beside.display().to_string()], rest].concat())
        }
        _ => Ok(words.to_vec()),
    }
}

/// The first process of a lab is number 1 in its own world, and has our name.
fn only_lab() -> Result<u32> {
    let is_lab = |number: &u32| {
        let read =
            |name: &str| fs::read_to_string(format!("/proc/{number}/{name}")).unwrap_or_default();
        let status = read("status");
        let numbers = status
            .lines()
            .find_map(|line| line.strip_prefix("NSpid:"))
            .unwrap_or_default();
        let numbers: Vec<_> = numbers.split_whitespace().collect();
        read("comm").trim() == "caracal-lab" && numbers.len() > 1 && numbers.last() == Some(&"1")
    };
    let entries = fs::read_dir("/proc").context("/proc")?.flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let labs: Vec<u32> = numbers.filter(is_lab).collect();
    match labs[..] {
        [lab] => Ok(lab),
        [] => bail!("no lab is up; start one with: cargo demo --keep"),
        _ => bail!("several labs are up: say which with --lab, one of {labs:?}"),
    }
}

/// Says how to look around, and stays until the caller ends.
pub(crate) fn stay(terminal: &Terminal, lab: &Lab, pods: &[Pod]) -> Result<ExitCode> {
    let number = private::number_outside().context("the number of this lab is not known")?;
    let own = std::env::current_exe()?.display().to_string();
    terminal.heading(
        "The lab stays up",
        "until Ctrl-C; from another terminal of the same user:",
    );
    let first = &lab.nodes[0];
    let node = first.name();
    let mut lines = vec![
        format!("{own} exec {node} caracalctl node status"),
        format!("{own} exec {node} caracalctl routes"),
        format!("{own} exec {node} ip route"),
        format!("{own} exec fabric ip neighbour"),
    ];
    if let [one, .., other] = pods {
        lines.push(format!("{own} exec {} ping {}", one.name, other.ipv4()?));
    }
    lines.push(format!("ls /proc/{number}/root{}", lab.store.display()));
    lines.push(format!(
        "tail -f /proc/{number}/root{}/agent.log",
        first.folder.display()
    ));
    terminal.lines(&lines.join("\n"));
    let words = private::visit_words(number, node, private::has_user_namespace()).join(" ");
    terminal.heading("By hand", "the same, for any program:");
    terminal.lines(&format!("nsenter {words} COMMAND"));
    if !Path::new("/usr/bin/ping").exists() && !Path::new("/bin/ping").exists() {
        terminal.lines("(ping is not installed here; on Debian: apt-get install iputils-ping)");
    }
    // The leash ends this process.
    loop {
        std::thread::park();
    }
}

#[cfg(test)]
mod tests;
