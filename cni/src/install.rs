//! `caracal-cni install` and `uninstall`: puts the plugin and the network's configuration where the runtime looks for them, for an
//! init container whose image has no shell.
//!
//! The order is the point: a runtime that sees the configuration uses it in the same moment, so it is written last,
//! when each plugin that it names is there, and removed first. Each file appears whole or not at all, and one that is as it
//! should be is not touched.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::config::Config;

/// Under this name runtimes start it.
const PLUGIN: &str = "caracal-cni";
/// As in the runtimes' own configurations.
const BIN_DIR: &str = "/opt/cni/bin";
const CONF_DIR: &str = "/etc/cni/net.d";
const CONFLIST: &str = "/etc/caracal/05-caracal.conflist";

/// What `--help` says.
pub(crate) const HELP: &str = "  caracal-cni install [--conflist FILE] [--bin-dir DIR] [--conf-dir DIR]
      copies this program into DIR [/opt/cni/bin], then FILE [/etc/caracal/05-caracal.conflist] into DIR
      [/etc/cni/net.d], if each plugin that it names is there; of several files there the runtime takes the first by name
  caracal-cni uninstall [--conflist FILE] [--bin-dir DIR] [--conf-dir DIR]
      removes what install has put there, the configuration first; of FILE only the name is looked at";

/// What shall be where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Places {
    conflist: PathBuf,
    bin_dir: PathBuf,
    conf_dir: PathBuf,
}

/// What was done, a sentence each, and what somebody should look at.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) done: Vec<String>,
    pub(crate) warnings: Vec<String>,
}

impl Places {
    /// Reads the command line after the command.
    pub(crate) fn read(mut words: impl Iterator<Item = String>) -> Result<Places, String> {
        let mut places = Places {
            conflist: CONFLIST.into(),
            bin_dir: BIN_DIR.into(),
            conf_dir: CONF_DIR.into(),
        };
        while let Some(word) = words.next() {
            let (option, value) = match word.split_once('=') {
                Some((option, value)) => (option.to_owned(), Some(value.to_owned())),
                None => (word, None),
            };
            let place = match option.as_str() {
                "--conflist" => &mut places.conflist,
                "--bin-dir" => &mut places.bin_dir,
                "--conf-dir" => &mut places.conf_dir,
                _ => return Err(format!("{option}: there is no such option")),
            };
            let value = value
                .or_else(|| words.next())
                .filter(|path| !path.is_empty());
            *place = value
                .ok_or_else(|| format!("{option}: the path is missing"))?
                .into();
        }
        Ok(places)
    }

    fn plugin(&self) -> PathBuf {
        self.bin_dir.join(PLUGIN)
    }

    fn network(&self) -> Result<PathBuf, String> {
        let name = self.conflist.file_name().and_then(OsStr::to_str);
        let name = name.filter(|name| name.ends_with(".conflist") && !name.starts_with('.'));
        let name = name.ok_or_else(|| {
            format!(
                "{}: the name must end with .conflist",
                self.conflist.display()
            )
        })?;
        Ok(self.conf_dir.join(name))
    }
}

/// Installs `program` as the plugin, and the configuration.
pub(crate) fn install(places: &Places, program: &Path) -> Result<Report, String> {
    let network = places.network()?;
    let text = fs::read(&places.conflist).map_err(|why| at(&places.conflist, why))?;
    let plugins = plugins_of(&text).map_err(|why| at(&places.conflist, why))?;
    for folder in [&places.bin_dir, &places.conf_dir] {
        fs::create_dir_all(folder).map_err(|why| at(folder, why))?;
    }
    let mut report = Report::default();
    let binary = fs::read(program).map_err(|why| at(program, why))?;
    report.put(&places.plugin(), &binary, 0o755)?;
    let missing: Vec<_> = plugins
        .iter()
        .filter(|plugin| !places.bin_dir.join(plugin).is_file())
        .cloned()
        .collect();
    if !missing.is_empty() {
        return Err(format!(
            "{}: names the plugin {}, which is not in {}: every pod would fail (Debian has it in containernetworking-plugins, \
             others in kubernetes-cni)",
            places.conflist.display(),
            missing.join(", "),
            places.bin_dir.display()
        ));
    }
    report.put(&network, &text, 0o644)?;
    report.warn_of_others(&network);
    Ok(report)
}

/// Removes both.
pub(crate) fn uninstall(places: &Places) -> Result<Report, String> {
    let mut report = Report::default();
    for file in [places.network()?, places.plugin()] {
        match fs::remove_file(&file) {
            Ok(()) => report.done.push(format!("{}: removed", file.display())),
            Err(why) if why.kind() == ErrorKind::NotFound => {
                report
                    .done
                    .push(format!("{}: is not there", file.display()));
            }
            Err(why) => return Err(at(&file, why)),
        }
    }
    Ok(report)
}

impl Report {
    /// Makes the file what it should be, in one step for whoever reads it.
    fn put(&mut self, file: &Path, content: &[u8], mode: u32) -> Result<(), String> {
        if is_already(file, content, mode) {
            self.done
                .push(format!("{}: is as it should be", file.display()));
            return Ok(());
        }
        replace(file, content, mode).map_err(|why| at(file, why))?;
        self.done.push(format!("{}: written", file.display()));
        Ok(())
    }

    /// Runtimes take the first file by name.
    fn warn_of_others(&mut self, ours: &Path) {
        let Some(entries) = ours.parent().and_then(|folder| fs::read_dir(folder).ok()) else {
            return;
        };
        let read_by_runtimes = |file: &PathBuf| {
            let ending = file.extension().and_then(OsStr::to_str);
            matches!(ending, Some("conf" | "conflist" | "json"))
        };
        let files = entries.flatten().map(|entry| entry.path());
        let mut before: Vec<_> = files
            .filter(|file| read_by_runtimes(file) && file.file_name() < ours.file_name())
            .collect();
        before.sort();
        if let Some(first) = before.first() {
            self.warnings.push(format!(
                "{}: comes before {}, so the runtime uses it and not Caracal",
                first.display(),
                ours.display()
            ));
        }
    }
}

/// The plugins' names, if it is a list with our plugin in it that our plugin understands.
fn plugins_of(text: &[u8]) -> Result<Vec<String>, String> {
    let list: Value = serde_json::from_slice(text).map_err(|why| format!("is not JSON: {why}"))?;
    let plugins = list["plugins"].as_array().ok_or("has no list of plugins")?;
    let mut names = Vec::new();
    for plugin in plugins {
        let name = plugin["type"].as_str().unwrap_or_default();
        if name.is_empty() || name.contains('/') {
            return Err(format!(
                "plugins[{}].type: {} is no name",
                names.len(),
                plugin["type"]
            ));
        }
        if name == PLUGIN {
            // As the runtime hands it over.
            let mut handed = plugin.clone();
            handed["name"] = list["name"].clone();
            handed["cniVersion"] = list["cniVersion"].clone();
            Config::parse(handed.to_string().as_bytes()).map_err(|fault| fault.msg)?;
        }
        names.push(name.to_owned());
    }
    if !names.iter().any(|name| name == PLUGIN) {
        return Err(format!("has no plugin of type {PLUGIN}"));
    }
    Ok(names)
}

fn is_already(file: &Path, content: &[u8], mode: u32) -> bool {
    let Ok(mut found) = File::open(file) else {
        return false;
    };
    let Ok(data) = found.metadata() else {
        return false;
    };
    let same_mode = data.permissions().mode() & 0o777 == mode;
    let mut text = Vec::new();
    data.is_file()
        && same_mode
        && data.len() == content.len() as u64
        && found.read_to_end(&mut text).is_ok()
        && text == content
}

/// A plugin that runs keeps the file that it was started from.
fn replace(file: &Path, content: &[u8], mode: u32) -> std::io::Result<()> {
    let name = file.file_name().and_then(OsStr::to_str).unwrap_or(PLUGIN);
    let draft = file.with_file_name(format!(".{name}.new"));
    match fs::remove_file(&draft) {
        Err(why) if why.kind() != ErrorKind::NotFound => return Err(why),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(mode);
    let mut new = options.open(&draft)?;
    new.write_all(content)?;
    // Whatever the umask is.
    new.set_permissions(fs::Permissions::from_mode(mode))?;
    new.sync_all()?;
    fs::rename(&draft, file)?;
    if let Some(folder) = file.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

fn at(file: &Path, why: impl std::fmt::Display) -> String {
    format!("{}: {why}", file.display())
}

#[cfg(test)]
mod tests;
