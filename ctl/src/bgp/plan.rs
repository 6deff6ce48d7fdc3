//! `bgp plan`: a forecast for the manifests of a change.

use caracal_datastore::Key;
use caracal_peering::{Defaults, Fate, Forecast, More, View, forecast};

use super::{KINDS, Objects};
use crate::cli::{Format, PlanArgs, Sources};
use crate::failure::{Failure, Sort};
use crate::outcome::Outcome;
use crate::table::Table;
use crate::{manifests, output, resources, validate};

/// The command, given what there is.
pub(super) fn run(
    objects: &Objects,
    args: &PlanArgs,
    mut notes: Vec<String>,
) -> Result<Outcome, Failure> {
    let after = changed(objects, args, &mut notes)?;
    let (old, _) = View::of(objects.values());
    let (new, faults) = View::of(after.values());
    let listed = match args.view.output {
        Format::Table => LISTED,
        _ => usize::MAX,
    };
    let mut forecast = forecast(&old, &new, &Defaults::default(), listed);
    let unread = faults.into_iter().filter(|fault| !notes.contains(fault));
    forecast.faults.extend(unread);
    let text = output::report(&forecast, args.view.output, table)?;
    let count = forecast.warnings.len() + forecast.faults.len();
    let failure = forecast.is_worrying().then(|| {
        let words = match count {
            1 => "1 warning: look at it before the change is made".to_owned(),
            _ => format!("{count} warnings: look at them before the change is made"),
        };
        Failure::new(Sort::Worrying, words)
    });
    Ok(Outcome {
        text,
        notes,
        failure,
    })
}

/// What there will be.
fn changed(
    objects: &Objects,
    args: &PlanArgs,
    notes: &mut Vec<String>,
) -> Result<Objects, Failure> {
    let mut after = objects.clone();
    for named in &args.delete {
        let key = key(named)?;
        if after.remove(&key).is_none() {
            let words = format!("{key} is not in the datastore");
            return Err(Failure::new(Sort::NotFound, words));
        }
    }
    if args.filename.is_empty() {
        return Ok(after);
    }
    let sources = Sources {
        filename: args.filename.clone(),
        recursive: args.recursive,
        skip_empty: false,
        namespace: None,
    };
    let read = manifests::read(&sources)?;
    let twice = validate::twice(&read.objects);
    if !twice.is_empty() {
        return Err(Failure {
            sort: Sort::Failed,
            words: twice,
        });
    }
    notes.extend(read.notes);
    for found in read.objects {
        let (key, wanted) = (found.object.key.clone(), found.object);
        if !KINDS.contains(&key.kind) {
            notes.push(format!("{}: {key} has no part in sessions", found.place));
            continue;
        }
        let merged = match after.get(&key) {
            Some(current) => resources::merged(current, &wanted),
            None => wanted,
        };
        after.insert(key, merged);
    }
    Ok(after)
}

/// So many sessions of one reason are in a table for people.
const LISTED: usize = 100;

/// `KIND/NAME`.
fn key(named: &str) -> Result<Key, Failure> {
    let wrong = || {
        let words = format!("--delete {named}: KIND/NAME is meant");
        Failure::new(Sort::Usage, words)
    };
    let (kind, name) = named.split_once('/').ok_or_else(wrong)?;
    let kind = resources::kind(kind)?;
    if !KINDS.contains(&kind) {
        let words = format!("--delete {named}: it has no part in sessions");
        return Err(Failure::new(Sort::Usage, words));
    }
    Ok(Key::new(kind, name))
}

fn table(forecast: &Forecast, _wide: bool) -> String {
    let mut out = String::new();
    if !forecast.sessions.is_empty() {
        let mut table = Table::new(["SESSION", "NODE", "PEER", "ADDRESS", "TYPE", "WHY"]);
        for session in &forecast.sessions {
            table.row([
                session.fate.to_string(),
                session.node.clone(),
                session.peer.clone(),
                session.address.to_string(),
                session.kind.clone(),
                session.why.clone(),
            ]);
        }
        out.push_str(&table.columns());
        for More { count, fate, why } in &forecast.more {
            out.push_str(&format!("... and {count} more {fate}: {why}\n"));
        }
        if !forecast.more.is_empty() {
            out.push_str("-o wide lists them all.\n");
        }
        out.push('\n');
    }
    let counted: Vec<String> = forecast
        .counts
        .iter()
        .map(|(fate, count)| format!("{count} {fate}"))
        .collect();
    match counted.is_empty() {
        true => out.push_str("No sessions.\n"),
        false => out.push_str(&format!("Sessions: {}.\n", counted.join(", "))),
    }
    if forecast.counts.contains_key(&Fate::Replaced) {
        out.push_str(
            "Those that are replaced go on until what they bring has come over others; nothing is lost.\n",
        );
    }
    for restart in &forecast.restarts {
        out.push_str(&format!("Restart: {restart}\n"));
    }
    for warning in forecast.warnings.iter().chain(&forecast.faults) {
        out.push_str(&format!("Warning: {warning}\n"));
    }
    out
}
