//! The programs under test: where they are, and how they get there.

use std::env;
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

/// The folder with the programs, instead of cargo's. Then nothing is built.
pub const FOLDER_VARIABLE: &str = "CARACAL_LAB_BIN";

const PACKAGES: [&str; 4] = [
    "caracal-agent",
    "caracal-cni",
    "caracal-ctl",
    "caracal-route-reflector",
];

/// The programs, each there.
#[derive(Debug, Clone)]
pub struct Binaries {
    /// Their folder.
    pub folder: PathBuf,
    /// `caracal-agent`.
    pub agent: PathBuf,
    /// `caracal-cni`.
    pub cni: PathBuf,
    /// `caracalctl`.
    pub ctl: PathBuf,
    /// `caracal-route-reflector`.
    pub reflector: PathBuf,
}

impl Binaries {
    /// Finds what [`Binaries::build`] has built.
    pub fn find() -> Result<Binaries> {
        let folder = folder()?;
        let find = |name: &str| {
            let file = folder.join(name);
            if !file.is_file() {
                bail!(
                    "{} is missing; build it with: cargo build --workspace --bins",
                    file.display()
                );
            }
            Ok(file)
        };
        Ok(Binaries {
            agent: find("caracal-agent")?,
            cni: find("caracal-cni")?,
            ctl: find("caracalctl")?,
            reflector: find("caracal-route-reflector")?,
            folder: folder.clone(),
        })
    }

    /// Builds them with cargo, in the profile and target folder that this program was built in. Does nothing where there
    /// is no source, or a folder was given.
    pub fn build() -> Result<()> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        if env::var_os(FOLDER_VARIABLE).is_some() || !root.join("Cargo.toml").is_file() {
            return Ok(());
        }
        let folder = folder()?;
        let profile = match folder.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => "dev",
            Some(other) => other,
        };
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command
            .arg("build")
            .args(["--profile", profile])
            .current_dir(&root);
        command.args(PACKAGES.iter().flat_map(|package| ["--package", package]));
        if let Some(target) = folder.parent() {
            command.env("CARGO_TARGET_DIR", target);
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().context("cannot run cargo")?;
        let said = child.stderr.take().map(show_progress).unwrap_or_default();
        if !child.wait()?.success() {
            bail!("cargo build failed:\n{}", said.join("\n"));
        }
        Ok(())
    }
}

/// Shows cargo's newest line in place while it works; returns all of them.
fn show_progress(stderr: impl std::io::Read) -> Vec<String> {
    let (start, terminal) = (Instant::now(), std::io::stderr().is_terminal());
    let mut said = Vec::new();
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        if terminal && !line.trim().is_empty() {
            let _ = write!(
                std::io::stderr(),
                "\r\x1b[K{:>4} s  {}",
                start.elapsed().as_secs(),
                line.trim()
            );
        }
        said.push(line);
    }
    if terminal {
        let _ = write!(std::io::stderr(), "\r\x1b[K");
    }
    said
}

/// The folder of this program; of a test, the one above `deps`.
fn folder() -> Result<PathBuf> {
    if let Some(given) = env::var_os(FOLDER_VARIABLE) {
        return Ok(given.into());
    }
    let own = env::current_exe().context("where this program is")?;
    let folder = own.parent().context("the folder of this program")?;
    let above = if folder.ends_with("deps") {
        folder.parent().unwrap_or(folder)
    } else {
        folder
    };
    Ok(above.to_owned())
}
