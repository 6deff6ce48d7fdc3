//! Each speaker once through each case, with little work: what is measured has to be valid. How fast it was does not matter.
//!
//! 1. All sessions come up, and every client gets every prefix of the others, of the round that it waits for, and no other.
//! 2. The speaker's own count is the same, after announcing and after withdrawing.
//! 3. Where a speaker has a kernel table, the kernel has as many routes.
//! 4. All of that ends in a row of the table; a case that does not is named, and the program fails.

use std::io;
use std::process::Command;

#[test]
fn caracal() -> io::Result<()> {
    run("caracal", ALL)
}

#[test]
fn bird2() -> io::Result<()> {
    run("bird2", ALL)
}

#[test]
fn bird1() -> io::Result<()> {
    run("bird1", ALL)
}

#[test]
fn frr() -> io::Result<()> {
    run("frr-tuned", ALL)
}

#[test]
fn openbgpd() -> io::Result<()> {
    run("openbgpd", WITHOUT_KERNEL)
}

#[test]
fn gobgp() -> io::Result<()> {
    run("gobgp", WITHOUT_KERNEL)
}

fn run(speaker: &str, cases: &str) -> io::Result<()> {
    let program = env!("CARGO_BIN_EXE_caracal-bench");
    let args = [
        "--runs=1",
        "--scale=0.02",
        "--only",
        speaker,
        "--case",
        cases,
    ];
    let done = Command::new(program).args(args).output()?;
    let (said, errors) = (
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr),
    );
    assert!(done.status.success(), "{said}\n{errors}");
    for row in ROWS {
        assert!(said.contains(row), "no row {row} in\n{said}");
    }
    assert!(!said.contains("invalid"), "{said}");
    Ok(())
}

const ALL: &str = "s1-100k,s1-ipv6,s2-200x100,s2-storm,s2-one,s3,s4-ipv4,s5,s6";
const WITHOUT_KERNEL: &str = "s1-100k,s1-ipv6,s2-200x100,s2-storm,s2-one,s5,s6";
const ROWS: &[&str] = &[
    "S1 2k: first load",
    "S1 IPv6 2k: withdraw",
    "S2 4 x 100: re-announce, CPU",
    "S2 4 x 100: storm",
    "S2 one route to 3 clients, p99",
    "S5 2k: sender's reset",
    "S6 flap, 2k loaded, p50",
];
