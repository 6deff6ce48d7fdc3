//! A network namespace for each measurement, which ends with the thread that made it.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread::JoinHandle;

use anyhow::{Context, bail};

use crate::contestants::Absent;

/// An ordinary user continues as root of a user namespace of its own.
pub(crate) fn become_able() -> anyhow::Result<()> {
    if rustix::process::geteuid().is_root() || std::env::var_os(MARK).is_some() {
        return Ok(());
    }
    let myself = std::env::current_exe().context("where is this program?")?;
    let error = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "--"])
        .arg(myself)
        .args(std::env::args_os().skip(1))
        .env(MARK, "1")
        .exec();
    bail!("unshare: {error}; without it, run as root")
}

/// Runs on a thread of its own in a fresh namespace, and waits for it.
pub(crate) fn within<T: Send + 'static>(
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    join(begin(work))
}

/// Waits for what was begun.
pub(crate) fn join<T>(thread: JoinHandle<anyhow::Result<T>>) -> anyhow::Result<T> {
    match thread.join() {
        Ok(outcome) => outcome,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Begins to run on a thread of its own in a fresh namespace: `eth0` with 172.18.0.1/16 and 2001:db8:18::1/64, and its other
/// end `peer0`, both up. Programs that the thread starts are in the namespace too.
pub(crate) fn begin<T: Send + 'static>(
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> JoinHandle<anyhow::Result<T>> {
    std::thread::spawn(move || {
        // NEWNET concerns this thread only; the files of other threads are not touched.
        #[expect(
            deprecated,
            reason = "the replacement is unsafe for the sake of other flags"
        )]
        rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNET)
            .context("no network namespace")?;
        for line in [
            "link set lo up",
            "link add eth0 type veth peer name peer0",
            // No link-local addresses: their routes come when nobody answers to them, in the middle of a count.
            "link set peer0 addrgenmode none",
            "link set eth0 addrgenmode none",
            "link set peer0 up",
            "link set eth0 up",
            "addr add 172.18.0.1/16 dev eth0",
            "addr add 2001:db8:18::1/64 dev eth0 nodad",
        ] {
            ip(line)?;
        }
        work()
    })
}

/// `ip …`, which must succeed.
pub(crate) fn ip(line: &str) -> anyhow::Result<()> {
    let output = Command::new("ip")
        .args(line.split_whitespace())
        .output()
        .context("cannot run ip (Debian: iproute2)")?;
    if !output.status.success() {
        bail!(
            "ip {line}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

/// The index of a device of this thread's namespace.
pub(crate) fn device(name: &str) -> anyhow::Result<u32> {
    let path = "/proc/thread-self/net/dev_mcast";
    let text = std::fs::read_to_string(path).context(path)?;
    let line = text.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let index = words.next()?;
        (words.next()? == name).then_some(index)
    });
    let index = line.with_context(|| format!("{path}: no device {name}"))?;
    Ok(index.parse()?)
}

/// Programs of the system are often in folders that are not in an ordinary user's path.
pub(crate) fn program(name: &str, package: &str) -> anyhow::Result<std::path::PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders)
        .chain(["/usr/sbin", "/sbin", "/usr/lib/frr"].map(Into::into))
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .ok_or_else(|| Absent(format!("no program {name} (Debian: {package})")).into())
}

const MARK: &str = "CARACAL_FIB_BENCH_USER";
