//! What a command prints: put together first, written once.

use std::io::{self, Write};

use caracal_datastore::{Object, manifest};
use serde::Serialize;

use crate::cli::Format;
use crate::failure::{Failure, Sort};

/// A report in the format that was asked for; `people` makes the table, wide or not.
pub(crate) fn report<T: Serialize>(
    report: &T,
    format: Format,
    people: impl FnOnce(&T, bool) -> String,
) -> Result<String, Failure> {
    match format {
        Format::Table => Ok(people(report, false)),
        Format::Wide => Ok(people(report, true)),
        Format::Json => json(report),
        Format::Yaml => yaml(report),
    }
}

/// Indented, for eyes as well as for programs.
pub(crate) fn json<T: Serialize>(value: &T) -> Result<String, Failure> {
    serde_json::to_string_pretty(value)
        .map(|text| text + "\n")
        .map_err(|error| Failure::new(Sort::Failed, format!("cannot print as JSON: {error}")))
}

/// As JSON, in YAML; words that an older reader of YAML takes for something else (`no`, `12:30`) are quoted.
pub(crate) fn yaml<T: Serialize>(value: &T) -> Result<String, Failure> {
    serde_saphyr::to_string(value)
        .map_err(|error| Failure::new(Sort::Failed, format!("cannot print as YAML: {error}")))
}

/// One document an object: what `apply` takes, and what a person cuts pieces out of.
pub(crate) fn documents(objects: &[Object]) -> Result<String, Failure> {
    let mut text = String::new();
    for object in objects {
        if !text.is_empty() {
            text.push_str("---\n");
        }
        text.push_str(&manifest::to_yaml(object)?);
    }
    Ok(text)
}

/// Writes. A reader that has gone (`caracalctl routes | head`) has seen what it wanted.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    print_octets(text.as_bytes())
}

/// The same of what is no text.
pub(crate) fn print_octets(octets: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(octets).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::new(
            Sort::Failed,
            format!("cannot write to standard output: {error}"),
        )),
        _ => Ok(()),
    }
}
