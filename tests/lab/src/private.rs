//! The private world: own user, network, mount and process namespaces, by `unshare` of util-linux.
//!
//! [`Entrance`] starts a program again inside; [`settle`] is what that program calls first. The world works for an ordinary
//! user, who is root in it, and for root, who gets it without a user namespace.
//!
//! The leash: the inside has the read end of a pipe as its stdin. When the outside ends, by whatever signal, the pipe ends,
//! the first process inside exits, and the kernel takes everything else with it.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};
use rustix::mount::{MountFlags, mount};

/// Set in the environment of everything inside.
const INSIDE: &str = "CARACAL_LAB_INSIDE";

/// Where a lab keeps its files: on a file system of its own that ends with it.
pub const FOLDER: &str = "/run/lab";

/// Whether this process is inside already.
pub fn inside() -> bool {
    env::var_os(INSIDE).is_some()
}

/// A way in, known to work.
#[derive(Debug)]
pub struct Entrance {
    unshare: PathBuf,
    flags: Vec<&'static str>,
}

/// Keeps the inside alive; when it goes, the inside goes.
#[derive(Debug)]
pub struct Leash(#[allow(dead_code)] Option<std::process::ChildStdin>);

impl Entrance {
    /// Looks for the programs that a lab needs and tries the namespaces. The error is one sentence that says what to do.
    pub fn find() -> Result<Entrance> {
        let unshare = program("unshare", "util-linux")?;
        program("ip", "iproute2")?;
        let common = [
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ];
        let with_user: Vec<_> = ["--user", "--map-root-user"]
            .into_iter()
            .chain(common)
            .collect();
        let ways = if rustix::process::geteuid().is_root() {
            vec![common.to_vec(), with_user]
        } else {
            vec![with_user]
        };
        let mut why = String::new();
        for flags in ways {
            let tried = Command::new(&unshare)
                .args(&flags)
                .args(["--", "true"])
                .env("PATH", path())
                .output();
            let tried = tried.with_context(|| format!("{} cannot be run", unshare.display()))?;
            if tried.status.success() {
                return Ok(Entrance { unshare, flags });
            }
            why = String::from_utf8_lossy(&tried.stderr).trim().to_owned();
        }
        bail!("{}", forbidden(&why, |file| fs::read_to_string(file).ok()))
    }

    /// Starts `program` inside. stdout and stderr are the caller's to choose; stdin is the leash.
    pub fn start(
        &self,
        program: &Path,
        args: &[OsString],
        choose: impl FnOnce(&mut Command),
    ) -> Result<(Child, Leash)> {
        let mut command = Command::new(&self.unshare);
        command.args(&self.flags).arg("--").arg(program).args(args);
        let kind = if self.flags.contains(&"--user") {
            "user"
        } else {
            "root"
        };
        command
            .env(INSIDE, kind)
            .env("PATH", path())
            .stdin(Stdio::piped());
        choose(&mut command);
        let mut child = command
            .spawn()
            .with_context(|| format!("{} cannot be run", self.unshare.display()))?;
        let mut leash = child.stdin.take();
        if let (Some(pipe), Some(first)) = (&mut leash, first_child_of(child.id())) {
            // If it is gone already, its exit status says more than a broken pipe.
            let _ = writeln!(pipe, "{first}");
        }
        Ok((child, Leash(leash)))
    }
}

static NUMBER_OUTSIDE: OnceLock<u32> = OnceLock::new();

/// The process number by which the outside knows the first process inside.
pub fn number_outside() -> Option<u32> {
    NUMBER_OUTSIDE.get().copied()
}

/// Makes the inside habitable, and ends this process when the outside ends. To be called once, before anything else.
pub fn settle() -> Result<()> {
    let mut leash = BufReader::new(std::io::stdin());
    let mut line = String::new();
    leash
        .read_line(&mut line)
        .context("the leash is not there")?;
    if let Ok(number) = line.trim().parse() {
        let _ = NUMBER_OUTSIDE.set(number);
    }
    std::thread::spawn(move || {
        let mut rest = String::new();
        while leash.read_line(&mut rest).is_ok_and(|octets| octets > 0) {}
        std::process::exit(130);
    });
    mount(
        c"lab",
        c"/run",
        c"tmpfs",
        MountFlags::NOSUID | MountFlags::NODEV,
        c"mode=755",
    )
    .context("no private /run")?;
    fs::create_dir_all("/run/netns").context("/run/netns")?;
    fs::create_dir_all(FOLDER).context(FOLDER)?;
    fs::set_permissions(FOLDER, fs::Permissions::from_mode(0o755)).context(FOLDER)
}

/// The caller's PATH and the folders that an ordinary user's may lack.
pub fn path() -> OsString {
    let mut path = env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/usr/bin:/sbin:/bin");
    path
}

/// Where a program is, or which Debian package brings it.
pub fn program(name: &str, package: &str) -> Result<PathBuf> {
    env::split_paths(&path())
        .map(|folder| folder.join(name))
        .find(|file| executable(file))
        .with_context(|| {
            format!("the program {name} is missing; on Debian: apt-get install {package}")
        })
}

fn executable(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

/// `unshare` with `--fork` has one child: the first process inside. It appears within a moment, or `unshare` has failed.
fn first_child_of(unshare: u32) -> Option<u32> {
    let file = format!("/proc/{unshare}/task/{unshare}/children");
    let found = crate::wait::until("the first process inside", || {
        let children = fs::read_to_string(&file).map_err(|error| error.to_string())?;
        let stat = fs::read_to_string(format!("/proc/{unshare}/stat"))
            .map_err(|error| error.to_string())?;
        match children.split_whitespace().next() {
            Some(child) => child.parse().map(Some).map_err(|_| children.clone()),
            None if stat.contains(") Z ") => Ok(None),
            None => Err("none yet".to_owned()),
        }
    });
    found.ok().flatten()
}

/// Why namespaces are refused, as far as the kernel's settings tell.
fn forbidden(said: &str, setting: impl Fn(&str) -> Option<String>) -> String {
    let is = |file: &str, value: &str| setting(file).is_some_and(|text| text.trim() == value);
    let (reason, remedy) = if is("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        (
            "kernel.unprivileged_userns_clone is 0",
            "as root: sysctl kernel.unprivileged_userns_clone=1",
        )
    } else if is(
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
    ) {
        (
            "kernel.apparmor_restrict_unprivileged_userns is 1",
            "as root: sysctl kernel.apparmor_restrict_unprivileged_userns=0",
        )
    } else if is("/proc/sys/user/max_user_namespaces", "0") {
        (
            "user.max_user_namespaces is 0",
            "as root: sysctl user.max_user_namespaces=10000",
        )
    } else {
        (said, "run as root, or in a container with CAP_SYS_ADMIN")
    };
    format!("this user may not make namespaces here ({reason}); {remedy}")
}

/// Runs a program in a network namespace of a lab that stays up, by `nsenter`. `number` is [`number_outside`] of that lab.
pub fn visit(number: u32, netns: &str, words: &[impl AsRef<OsStr>]) -> Result<Command> {
    let own_user = fs::read_link("/proc/self/ns/user").ok()
        == fs::read_link(format!("/proc/{number}/ns/user")).ok();
    let mut command = Command::new(program("nsenter", "util-linux")?);
    command
        .args(visit_words(number, netns, !own_user))
        .args(words)
        .env("PATH", path());
    Ok(command)
}

/// The words after `nsenter` that lead into a network namespace of a lab.
pub fn visit_words(number: u32, netns: &str, other_user_namespace: bool) -> Vec<String> {
    let user = if other_user_namespace {
        "--user --preserve-credentials "
    } else {
        ""
    };
    let line = format!(
        "--target={number} {user}--mount --pid --net=/proc/{number}/root/run/netns/{netns}"
    );
    line.split_whitespace().map(str::to_owned).collect()
}

/// Whether this inside has a user namespace of its own.
pub fn has_user_namespace() -> bool {
    env::var_os(INSIDE).is_some_and(|value| value == "user")
}

#[cfg(test)]
mod tests;
