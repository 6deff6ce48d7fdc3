//! What a route costs in memory: in a process of its own, which does nothing else.

use std::process::Command;

use anyhow::{Context, bail};
use caracal_fib::{Config, Fib};
use serde::Serialize;

use crate::contestants::whole::{changes, settled};
use crate::namespace;
use crate::work::{Family, Step, Work};

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Memory {
    pub routes: u32,
    /// Resident set with the routes, less that of the process before.
    pub octets: u64,
}

/// Starts a process that measures itself.
pub(crate) fn measure(routes: u32) -> anyhow::Result<Memory> {
    let myself = std::env::current_exe().context("where is this program?")?;
    let output = Command::new(myself)
        .args(["--memory-of", &routes.to_string()])
        .output()?;
    if !output.status.success() {
        bail!("memory: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let octets = String::from_utf8_lossy(&output.stdout).trim().parse()?;
    Ok(Memory { routes, octets })
}

/// Prints by how much the process grows.
pub(crate) fn measure_here(routes: u32) -> anyhow::Result<()> {
    let grown = namespace::within(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let work = Work {
                family: Family::V4,
                routes,
                batch: 0,
            };
            let fib = Fib::start(Config::default()).await?;
            let before = resident()?;
            // In pieces, so that the wishes themselves are not counted twice.
            let mut at = 0;
            while at < routes {
                let end = routes.min(at + PIECE);
                fib.apply(changes(&work, Step::In, at..end));
                settled(&fib, |status| status.writes >= u64::from(end)).await?;
                at = end;
            }
            Ok(resident()?.saturating_sub(before))
        })
    })?;
    use std::io::Write;
    writeln!(std::io::stdout(), "{grown}")?;
    Ok(())
}

/// Octets of this process in memory.
fn resident() -> anyhow::Result<u64> {
    let text = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = text
        .split_whitespace()
        .nth(1)
        .context("statm: short")?
        .parse()?;
    Ok(pages * rustix::param::page_size() as u64)
}

const PIECE: u32 = 1000;
