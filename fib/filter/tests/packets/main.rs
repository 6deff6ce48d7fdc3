//! `Filter` against a real kernel, with real packets: each test in network namespaces of its own. Needs root (or
//! CAP_SYS_ADMIN); without, every test prints `skipped`.

#[cfg(test)]
mod conntrack;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod loops;
#[cfg(test)]
mod masquerade;
#[cfg(test)]
mod ownership;
#[cfg(test)]
mod permission;
#[cfg(test)]
mod spoofing;
#[cfg(test)]
mod table;
#[cfg(test)]
mod tunnels;
