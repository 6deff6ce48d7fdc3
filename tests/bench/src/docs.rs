//! Puts what was measured into a document, between two marks.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Replaces what stands between the marks.
pub(crate) fn write(file: &Path, section: &str) -> Result<()> {
    let name = file.display();
    let old = fs::read_to_string(file).with_context(|| format!("{name}"))?;
    let (front, rest) = old
        .split_once(BEGIN)
        .with_context(|| format!("{name} has no line {BEGIN}"))?;
    let (_, back) = rest
        .split_once(END)
        .with_context(|| format!("{name} has no line {END}"))?;
    let new = format!("{front}{BEGIN}\n{section}\n{END}{back}");
    fs::write(file, new).with_context(|| format!("{name}"))
}

/// The machine, in one line.
pub(crate) fn machine() -> String {
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.split([':', '=']).nth(1));
        value.unwrap_or("?").trim().trim_matches('"').to_owned()
    };
    let kernel = read("/proc/sys/kernel/osrelease");
    let system = field(&read("/etc/os-release"), "PRETTY_NAME");
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let model = field(&read("/proc/cpuinfo"), "model name");
    let load = read("/proc/loadavg");
    let load = load.split_whitespace().next().unwrap_or("?");
    format!(
        "Linux {}, {system}, {processors} processors ({model}), load before the first round {load}",
        kernel.trim()
    )
}

const BEGIN: &str = "<!-- bench-peers: begin -->";
const END: &str = "<!-- bench-peers: end -->";

#[cfg(test)]
mod tests;
