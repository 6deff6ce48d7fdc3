//! `Fib` against a real kernel: each test in a network namespace of its own. Needs root (or CAP_SYS_ADMIN); without,
//! every test prints `skipped`.

#[cfg(test)]
mod changes;
#[cfg(test)]
mod cleanup;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod interfaces;
#[cfg(test)]
mod kinds;
#[cfg(test)]
mod meddling;
#[cfg(test)]
mod nexthops;
#[cfg(test)]
mod remote;
#[cfg(test)]
mod restart;
#[cfg(test)]
mod restart_many;
#[cfg(test)]
mod settings;
#[cfg(test)]
mod sharing;
#[cfg(test)]
mod takeover;
#[cfg(test)]
mod tunnels;
#[cfg(test)]
mod workloads;
