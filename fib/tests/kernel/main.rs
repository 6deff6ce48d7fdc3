//! `Fib` against a real kernel: each test in a network namespace of its own. Needs root (or CAP_SYS_ADMIN); without,
//! every test prints `skipped`.

mod changes;
mod harness;
mod remote;
mod restart;
mod tunnels;
mod workloads;
