//! Tests that run in a private world of their own.
//!
//! [`lab_tests!`](crate::lab_tests) makes an ordinary `#[test]` of each function. Outside, it starts the same test program
//! again in a private world, with that one test; inside, the body runs. What it prints is shown when it fails, with the last
//! lines of all agents' logs.

use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, anyhow};

use crate::{Binaries, daemon, private};

/// Makes tests of functions that return [`anyhow::Result`] and build labs. With `without programs;` in front, for tests that
/// run none of ours, nothing is built first.
#[macro_export]
macro_rules! lab_tests {
    (without programs; $($rest:tt)*) => { $crate::lab_tests! { @ false; $($rest)* } };
    (@ $programs:literal; $($(#[$attribute:meta])* fn $name:ident() $body:block)*) => {
        $(
            #[test]
            $(#[$attribute])*
            fn $name() {
                fn body() -> anyhow::Result<()> $body
                $crate::run_test(concat!(module_path!(), "::", stringify!($name)), $programs, body);
            }
        )*
    };
    ($($rest:tt)*) => { $crate::lab_tests! { @ true; $($rest)* } };
}

/// The other half of [`lab_tests!`](crate::lab_tests).
#[allow(clippy::panic)] // This is a test.
pub fn run_test(path: &str, programs: bool, body: fn() -> Result<()>) {
    let outcome = if private::inside() {
        run_inside(body)
    } else {
        run_outside(path, programs)
    };
    if let Err(error) = outcome {
        panic!("{error:#}");
    }
}

#[allow(clippy::print_stdout)] // Numbers, for whoever runs it with --nocapture.
fn run_outside(path: &str, programs: bool) -> Result<()> {
    let entrance = private::Entrance::find()?;
    if programs {
        Binaries::build()?;
    }
    let program = std::env::current_exe().context("where this test is")?;
    // libtest's name of a test has no crate in front.
    let name = path.split_once("::").map_or(path, |(_, name)| name);
    let args: Vec<OsString> = [name, "--exact", "--nocapture", "--include-ignored"]
        .map(Into::into)
        .into();
    let (child, leash) = entrance.start(&program, &args, |command| {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
    })?;
    let done = child.wait_with_output()?;
    drop(leash);
    let stdout = String::from_utf8_lossy(&done.stdout);
    if done.status.success() && stdout.contains("1 passed") {
        stdout.lines().for_each(|line| println!("    {line}"));
        return Ok(());
    }
    let said = [done.stdout, done.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    // Indented, so that nobody counts the inner result as one more.
    let lines: Vec<_> = said.lines().map(|line| format!("    {line}")).collect();
    let status = done.status;
    Err(anyhow!(
        "in its private world ({status}):\n{}",
        lines.join("\n")
    ))
}

fn run_inside(body: fn() -> Result<()>) -> Result<()> {
    private::settle()?;
    let outcome =
        catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|_| Err(anyhow!("the test panicked")));
    if outcome.is_err() {
        show_logs();
    }
    outcome
}

/// The last lines of every log in the lab, on stderr.
#[allow(clippy::print_stderr)] // For whoever looks for the cause.
pub fn show_logs() {
    let Ok(folders) = std::fs::read_dir(Path::new(private::FOLDER)) else {
        return;
    };
    let mut logs: Vec<_> = folders
        .flatten()
        .map(|entry| entry.path().join("agent.log"))
        .collect();
    logs.sort();
    for log in logs.iter().filter(|log| log.is_file()) {
        eprintln!(
            "--- the end of {}\n{}",
            log.display(),
            daemon::tail(log, 15)
        );
    }
}
