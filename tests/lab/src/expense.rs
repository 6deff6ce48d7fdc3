//! What a running program costs, as `/proc` says.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

/// At one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expense {
    /// Resident memory in KiB, with what is shared with others.
    pub resident_kib: u64,
    /// Its share of it in KiB: what is shared is divided by how many share it.
    pub proportional_kib: u64,
    /// Memory in KiB that is nobody else's.
    pub private_kib: u64,
    /// Threads.
    pub threads: usize,
    /// Open files and sockets.
    pub descriptors: usize,
    /// Processor time of all threads since the start, of those that have ended without.
    pub processor: Duration,
    /// How often its threads have gone to sleep since the start, and so been woken.
    pub sleeps: u64,
}

impl Expense {
    /// Of a process.
    pub fn of(process: u32) -> Result<Expense> {
        let folder = PathBuf::from(format!("/proc/{process}"));
        let read = |file: &str| {
            let file = folder.join(file);
            fs::read_to_string(&file).with_context(|| format!("{}", file.display()))
        };
        let memory = read("smaps_rollup")?;
        let mut expense = Expense {
            resident_kib: field(&memory, "Rss:"),
            proportional_kib: field(&memory, "Pss:"),
            private_kib: field(&memory, "Private_Clean:") + field(&memory, "Private_Dirty:"),
            threads: 0,
            descriptors: fs::read_dir(folder.join("fd"))?.count(),
            processor: Duration::ZERO,
            sleeps: 0,
        };
        for thread in fs::read_dir(folder.join("task"))? {
            // A thread may end meanwhile.
            let Ok(thread) = thread.map(|thread| thread.path()) else {
                continue;
            };
            let text = |file| fs::read_to_string(thread.join(file)).unwrap_or_default();
            // Nanoseconds that it ran, that it waited for a processor, and how often it ran.
            let ran = text("schedstat");
            let ran = ran.split_whitespace().next().and_then(|ns| ns.parse().ok());
            expense.processor += Duration::from_nanos(ran.unwrap_or(0));
            expense.sleeps += field(&text("status"), "voluntary_ctxt_switches:");
            expense.threads += 1;
        }
        Ok(expense)
    }
}

/// The number after a name at the beginning of a line; 0 where there is none.
fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests;
