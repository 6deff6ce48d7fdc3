//! BIRD 2 with three static protocols: one for each set of gateways. A step enables or disables one of them.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::Times;
use crate::namespace;
use crate::stopwatch::Stopwatch;
use crate::work::{Family, PATIENCE, Step, Work};

pub(crate) fn compete(work: Work) -> anyhow::Result<Times> {
    let program = namespace::program("bird", "bird2")?;
    let folder = tempfile::tempdir()?;
    let configuration = folder.path().join("bird.conf");
    std::fs::write(&configuration, text(&work)?)?;
    let socket = folder.path().join("bird.ctl");
    let child = Command::new(program)
        .arg("-f")
        .arg("-c")
        .arg(&configuration)
        .arg("-s")
        .arg(&socket)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("bird")?;
    let pid = child.id();
    let _running = Running(child);
    let mut control = Control::open(&socket)?;
    let own = work.in_kernel()?;
    let all = work.routes as usize;
    let mut times = Times::new();

    let start = Stopwatch::of(pid)?;
    control.ask("enable ones")?;
    times.push((Step::In, start.until_in_kernel(&work, own + all)?));

    // The number of routes stays as it is, so BIRD is asked how many it has written. It writes before it answers.
    let before = control.exported()?;
    let start = Stopwatch::of(pid)?;
    control.ask("enable twos")?;
    while control.exported()? < before + all {
        if start.elapsed() > PATIENCE {
            bail!("replace: not within {PATIENCE:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    times.push((Step::Replace, start.took()?));

    // Unseen by the kernel: the routes of `twos` are preferred.
    control.ask("disable ones")?;
    let start = Stopwatch::of(pid)?;
    control.ask("disable twos")?;
    times.push((Step::Out, start.until_in_kernel(&work, own)?));

    let hops = match work.family {
        Family::V4 => 1,
        Family::V6 => 2,
    };
    let start = Stopwatch::of(pid)?;
    control.ask("enable pairs")?;
    let time = start.until_in_kernel(&work, own + hops * all)?;
    times.push((Step::MultipathIn, time));
    let start = Stopwatch::of(pid)?;
    control.ask("disable pairs")?;
    times.push((Step::MultipathOut, start.until_in_kernel(&work, own)?));
    Ok(times)
}

fn text(work: &Work) -> anyhow::Result<String> {
    let channel = match work.family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    };
    let mut text = format!(
        "router id 172.18.0.1;\nprotocol device {{ scan time 3600; }}\n\
         protocol kernel kernel1 {{ {channel} {{ export all; }}; scan time 3600; merge paths off; }}\n"
    );
    // No words of BIRD's own language.
    let statics = [
        ("ones", Step::In, 100),
        ("twos", Step::Replace, 200),
        ("pairs", Step::MultipathIn, 100),
    ];
    for (name, step, preference) in statics {
        writeln!(
            text,
            "protocol static {name} {{ disabled; {channel} {{ preference {preference}; }};"
        )?;
        for i in 0..work.routes {
            write!(text, "route {}", work.prefix(i))?;
            for gateway in work.gateways(step, i) {
                write!(text, " via {gateway}")?;
            }
            text.push_str(";\n");
        }
        text.push_str("}\n");
    }
    Ok(text)
}

/// Its control socket, as birdc speaks to it.
struct Control(BufReader<UnixStream>);

impl Control {
    fn open(socket: &Path) -> anyhow::Result<Control> {
        let start = Instant::now();
        let stream = loop {
            match UnixStream::connect(socket) {
                Ok(stream) => break stream,
                Err(error) if start.elapsed() > PATIENCE => {
                    return Err(error).context("bird does not answer");
                }
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        let mut control = Control(BufReader::new(stream));
        control.answer().context("greeting")?;
        Ok(control)
    }

    fn ask(&mut self, command: &str) -> anyhow::Result<String> {
        writeln!(self.0.get_mut(), "{command}")?;
        self.answer().with_context(|| command.to_owned())
    }

    /// Lines until one that begins with four digits and a space; 8 and 9 are errors.
    fn answer(&mut self) -> anyhow::Result<String> {
        let mut text = String::new();
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line)? == 0 {
                bail!("bird has ended: {text}");
            }
            text.push_str(&line);
            let code = line.get(..4).unwrap_or_default();
            if code.parse::<u16>().is_ok() && line.as_bytes().get(4) == Some(&b' ') {
                if code.starts_with(['8', '9']) {
                    bail!("{}", line.trim());
                }
                return Ok(text);
            }
        }
    }

    /// Routes that the kernel protocol has written so far.
    fn exported(&mut self) -> anyhow::Result<usize> {
        let text = self.ask("show protocols all kernel1")?;
        let line = text
            .lines()
            .find_map(|line| line.trim().strip_prefix("Export updates:"))
            .context("no line Export updates")?;
        let accepted = line.split_whitespace().nth(4).context("short line")?;
        Ok(accepted.parse()?)
    }
}

/// Ends with the measurement.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
