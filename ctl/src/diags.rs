//! `diags`: what support needs of a node, in one archive.
//!
//! ```text
//!   agent's socket ──▶ agent/      status, peers, routes, fib, endpoints, metrics
//!   files          ──▶ agent/      configuration; the end of a log
//!   ip, nft, /proc ──▶ kernel/     devices, routes, rules, neighbours, nexthop objects, filter, sysctls
//!   datastore      ──▶ datastore/  one file a kind
//!                      contents.txt: what there is, and what is missing and why
//! ```
//!
//! It is for nodes on which something is wrong: what cannot be had is missing, and the rest is there. No secret is in it
//! ([`blank`]).

mod archive;
mod blank;
mod kernel;

use std::io::{IsTerminal, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use caracal_agent_api::{Client, Peer, Status};
use caracal_datastore::resources::Timestamp;
use serde_json::Value;

use crate::cli::{DiagsArgs, Places};
use crate::datastore::{kinds_in_order, write_file};
use crate::failure::{Failure, Sort};
use crate::node::{self, NodeStatus};
use crate::outcome::Outcome;
use crate::{output, store};

/// What was found, by its name in the archive, and what was not, with the reason.
#[derive(Debug, Default)]
struct Findings {
    files: Vec<(String, String)>,
    missing: Vec<(String, String)>,
}

impl Findings {
    fn take(&mut self, name: &str, found: Result<String, String>) {
        match found {
            Ok(text) => self.files.push((name.to_owned(), text)),
            Err(why) => self.missing.push((name.to_owned(), why)),
        }
    }
}

/// The command.
pub(crate) async fn run(
    agent: &Client,
    places: &Places,
    args: &DiagsArgs,
) -> Result<Outcome, Failure> {
    let to_stdout = args.file.as_deref() == Some(Path::new("-"));
    if to_stdout && std::io::stdout().is_terminal() {
        let words = "--file -: an archive is not for a terminal: redirect it into a file";
        return Err(Failure::new(Sort::Usage, words));
    }
    let mut findings = Findings::default();
    let status = ask_agent(agent, &mut findings).await;
    findings.take("agent/config.yaml", configuration(&args.config));
    if let Some(log) = &args.log {
        findings.take("agent/log.txt", end_of(log));
    }
    kernel::look(&mut findings).await;
    if !args.no_datastore {
        read_datastore(places, &mut findings).await;
    }
    findings.take("versions.txt", Ok(versions(status.as_ref())));

    let now = SystemTime::now();
    let time = Timestamp::of(now).to_string().replace([':', '-'], "");
    let node = status.map_or_else(host_name, |status| status.node);
    let name = format!("caracal-diags-{node}-{time}");
    findings
        .files
        .push(("contents.txt".to_owned(), contents(&name, &findings)));
    let octets = archive::pack(&name, &findings.files, now)
        .map_err(|error| Failure::new(Sort::Failed, format!("cannot make the archive: {error}")))?;
    let mut outcome = Outcome::default();
    if to_stdout {
        output::print_octets(&octets)?;
    } else {
        let file = args.file.clone();
        let file = file.unwrap_or_else(|| PathBuf::from(format!("{name}.tar.gz")));
        write_file(&file, &octets)?;
        outcome.text = format!(
            "Wrote {}: {} files, {} octets. It has no passwords in it; addresses and names it has.\n",
            file.display(),
            findings.files.len(),
            octets.len()
        );
    }
    let missing = findings.missing.iter();
    outcome.notes = missing
        .map(|(name, why)| format!("missing: {name}: {why}"))
        .collect();
    Ok(outcome)
}

/// As the agent says it, and once more as people read it.
async fn ask_agent(agent: &Client, findings: &mut Findings) -> Option<Status> {
    let mut answers = Vec::new();
    for what in ["status", "peers", "routes", "fib", "endpoints"] {
        let answer: Result<Value, _> = agent.get(&format!("/v1/{what}")).await;
        let answer = answer.map_err(|error| error.to_string());
        let text = answer
            .as_ref()
            .map_err(String::clone)
            .and_then(|value| output::json(value).map_err(|failure| failure.words.join("; ")));
        findings.take(&format!("agent/{what}.json"), text);
        answers.push(answer.ok());
    }
    let metrics = agent.text("/v1/metrics").await;
    findings.take(
        "agent/metrics.txt",
        metrics.map_err(|error| error.to_string()),
    );
    let mut answers = answers.into_iter();
    let status: Status = serde_json::from_value(answers.next()??).ok()?;
    let peers: Option<Vec<Peer>> = answers
        .next()
        .flatten()
        .and_then(|peers| serde_json::from_value(peers).ok());
    let report = NodeStatus {
        status,
        peers: peers.unwrap_or_default(),
    };
    findings.take("agent/status.txt", Ok(node::status(&report, true)));
    Some(report.status)
}

/// The agent's file, without what is nobody's business.
fn configuration(file: &Path) -> Result<String, String> {
    let named = |why: String| format!("{}: {why} (--config names another)", file.display());
    let text = std::fs::read_to_string(file).map_err(|error| named(error.to_string()))?;
    // The text itself is not repeated: there may be a password in it.
    let mut value: Value =
        serde_saphyr::from_str(&text).map_err(|_| named("is not YAML".to_owned()))?;
    blank::blank(&mut value);
    output::yaml(&value).map_err(|failure| failure.words.join("; "))
}

/// The last lines of a file.
fn end_of(file: &Path) -> Result<String, String> {
    let read = || -> std::io::Result<String> {
        let mut log = std::fs::File::open(file)?;
        let length = log.seek(SeekFrom::End(0))?;
        let start = length.saturating_sub(LOG_OCTETS_MAX);
        log.seek(SeekFrom::Start(start))?;
        let mut end = Vec::new();
        log.take(LOG_OCTETS_MAX).read_to_end(&mut end)?;
        let text = String::from_utf8_lossy(&end);
        Ok(match start {
            0 => text.into_owned(),
            // From the first whole line on.
            _ => text
                .split_once('\n')
                .map_or("", |(_, rest)| rest)
                .to_owned(),
        })
    };
    read().map_err(|error| format!("{}: {error}", file.display()))
}

async fn read_datastore(places: &Places, findings: &mut Findings) {
    let opened = tokio::time::timeout(PATIENCE, store::open(places)).await;
    let late = || format!("no answer within {} s", PATIENCE.as_secs());
    let store = match opened {
        Ok(Ok(store)) => store,
        Ok(Err(failure)) => {
            findings.take("datastore/", Err(failure.words.join("; ")));
            return;
        }
        Err(_) => return findings.take("datastore/", Err(late())),
    };
    for kind in kinds_in_order() {
        let name = format!("datastore/{}.yaml", kind.plural());
        let Ok(listed) = tokio::time::timeout(PATIENCE, store.list_here(kind)).await else {
            // It would be no better with the others.
            findings.take(&name, Err(late()));
            let why = "was not asked for: the datastore does not answer".to_owned();
            findings.take("datastore/ (the rest)", Err(why));
            return;
        };
        let text = match listed {
            Ok(objects) if objects.is_empty() => continue,
            Ok(mut objects) => {
                objects.iter_mut().for_each(blank::blank_object);
                output::documents(&objects).map_err(|failure| failure.words.join("; "))
            }
            Err(fault) => Err(fault.to_string()),
        };
        findings.take(&name, text);
    }
}

fn versions(status: Option<&Status>) -> String {
    let agent = status.map_or_else(
        || "not known: it does not answer".to_owned(),
        |status| format!("{} (node {})", status.version, status.node),
    );
    let kernel = std::fs::read_to_string("/proc/version").unwrap_or_default();
    format!(
        "caracalctl: {}\nagent:      {agent}\nkernel:     {}\n",
        env!("CARGO_PKG_VERSION"),
        kernel.trim()
    )
}

fn contents(name: &str, findings: &Findings) -> String {
    let mut text = format!("{name}\n\nThere is:\n");
    for (file, content) in &findings.files {
        text.push_str(&format!("  {file} ({} octets)\n", content.len()));
    }
    if !findings.missing.is_empty() {
        text.push_str("\nMissing:\n");
    }
    for (file, why) in &findings.missing {
        text.push_str(&format!("  {file}: {why}\n"));
    }
    text
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name: String = name
        .trim()
        .chars()
        .filter(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-'))
        .collect();
    match name.is_empty() {
        true => "unknown".to_owned(),
        false => name,
    }
}

/// For the datastore to answer one question.
const PATIENCE: Duration = Duration::from_secs(30);
const LOG_OCTETS_MAX: u64 = 4 << 20;

#[cfg(test)]
mod tests;
