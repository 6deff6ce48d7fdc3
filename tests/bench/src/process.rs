//! What the processes of a speaker have used, from /proc.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// These processes and all that they have started.
pub(crate) fn family_of(roots: &[u32]) -> Vec<u32> {
    let mut found = roots.to_vec();
    let mut next = 0;
    while let Some(&process) = found.get(next) {
        next += 1;
        let Ok(tasks) = fs::read_dir(format!("/proc/{process}/task")) else {
            continue;
        };
        for task in tasks.flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            let children = children
                .split_whitespace()
                .filter_map(|one| one.parse::<u32>().ok());
            found.extend(children);
        }
    }
    found
}

/// Processor time of all their threads, in user space and in the kernel.
pub(crate) fn processor_time(processes: &[u32]) -> Result<Duration> {
    let mut nanoseconds = 0;
    for process in processes {
        let folder = format!("/proc/{process}/task");
        for task in fs::read_dir(&folder).with_context(|| folder.clone())? {
            // Finer than the ticks of `stat`. A thread may end while we look.
            let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else {
                continue;
            };
            let first = text.split_whitespace().next().context("schedstat")?;
            nanoseconds += first.parse::<u64>().context("schedstat")?;
        }
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// The sum of the most memory that each of them has had (VmHWM), in MiB.
pub(crate) fn peak_memory_mib(processes: &[u32]) -> Result<f64> {
    let mut kibibytes = 0;
    for process in processes {
        let file = format!("/proc/{process}/status");
        let text = fs::read_to_string(&file).with_context(|| file.clone())?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let line = line.with_context(|| format!("{file}: no VmHWM"))?;
        let number = line.split_whitespace().next().context("VmHWM")?;
        kibibytes += number.parse::<u64>().context("VmHWM")?;
    }
    Ok(kibibytes as f64 / 1024.0)
}
