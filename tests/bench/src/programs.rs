//! Our own programs, and what any program says.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use caracal_lab::binaries::FOLDER_VARIABLE;

/// Ours stand beside this one, or where [`FOLDER_VARIABLE`] says.
pub(crate) fn ours(name: &str) -> Result<PathBuf> {
    let own = env::current_exe().context("where this program is")?;
    let folder = own.parent().context("the folder of this program")?;
    // A test program is one folder deeper.
    let given = env::var_os(FOLDER_VARIABLE).map(PathBuf::from);
    let folders = [given.as_deref(), Some(folder), folder.parent()];
    let mut files = folders
        .into_iter()
        .flatten()
        .map(|folder| folder.join(name));
    files
        .find(|file| file.is_file())
        .with_context(|| format!("the program {name} is missing beside {}", own.display()))
}

/// Builds ours with cargo, in the profile and target folder that this program was built in. Does nothing where a folder was given.
pub(crate) fn build(packages: &[&str]) -> Result<()> {
    if env::var_os(FOLDER_VARIABLE).is_some() {
        return Ok(());
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let own = env::current_exe().context("where this program is")?;
    let folder = own.parent().context("the folder of this program")?;
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug" | "deps") | None => "dev",
        Some(other) => other,
    };
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.arg("build").args(["--profile", profile]);
    command.args(packages.iter().flat_map(|package| ["--package", package]));
    command.current_dir(&root).stdin(Stdio::null());
    if let Some(target) = folder.parent() {
        command.env("CARGO_TARGET_DIR", target);
    }
    let status = command.status().context("cannot run cargo")?;
    if !status.success() {
        bail!("cargo build {} failed", packages.join(" "));
    }
    Ok(())
}

/// Runs a program to its end. What it prints, or an error with that. What it prints as an error counts when that is all.
pub(crate) fn said(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let done = command
        .output()
        .with_context(|| format!("cannot run {name}"))?;
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    let errors = String::from_utf8_lossy(&done.stderr).into_owned();
    if !done.status.success() {
        bail!("{name}: {}{}", said.trim(), errors.trim());
    }
    Ok(if said.is_empty() { errors } else { said })
}
