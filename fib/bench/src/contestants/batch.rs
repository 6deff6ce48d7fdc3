//! iproute2 reading a file.

use std::fmt::Write;
use std::process::Command;

use anyhow::{Context, bail};

use super::Times;
use crate::namespace;
use crate::stopwatch::Stopwatch;
use crate::work::{Step, Work};

pub(crate) fn compete(work: Work) -> anyhow::Result<Times> {
    let program = namespace::program("ip", "iproute2")?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("routes");
    let mut times = Times::new();
    for step in Step::ALL {
        std::fs::write(&file, lines(&work, step)?)?;
        let start = Stopwatch::of_children()?;
        let output = Command::new(&program)
            .arg("-batch")
            .arg(&file)
            .output()
            .context("ip -batch")?;
        times.push((step, start.took()?));
        if !output.status.success() {
            bail!(
                "ip -batch, {step}: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
    }
    Ok(times)
}

fn lines(work: &Work, step: Step) -> anyhow::Result<String> {
    let verb = match step {
        Step::In | Step::MultipathIn => "add",
        Step::Replace => "replace",
        Step::Out | Step::MultipathOut => "del",
    };
    let mut text = String::new();
    for i in 0..work.routes {
        write!(text, "route {verb} {} proto 67", work.prefix(i))?;
        match work.gateways(step, i).as_slice() {
            [one] => write!(text, " via {one} dev eth0")?,
            many => {
                for gateway in many {
                    write!(text, " nexthop via {gateway} dev eth0")?;
                }
            }
        }
        text.push('\n');
    }
    Ok(text)
}
