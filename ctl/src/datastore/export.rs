//! `datastore export`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use caracal_datastore::{Datastore, Kind, Object, WatchEvent, resources};
use serde_json::Value;

use super::{FIRST_LINE, counted, kinds_in_order, lock, portable};
use crate::cli::ExportArgs;
use crate::failure::{Failure, Sort};
use crate::outcome::Outcome;
use crate::output;
use crate::resources::kind;
use crate::store::Place;

/// The command.
pub(crate) async fn export(
    store: &Arc<dyn Datastore>,
    place: &Place,
    args: &ExportArgs,
) -> Result<Outcome, Failure> {
    let kinds = chosen(place, &args.kinds)?;
    if !args.unlocked && !lock::is_locked(store).await? {
        return Err(Failure::new(
            Sort::Failed,
            format!(
                "datastore {place} is not locked: `caracalctl datastore lock` first, or --unlocked for a copy in which what \
                 is written meanwhile may be half there"
            ),
        ));
    }
    let mut outcome = Outcome::default();
    let objects = gather(store, &kinds, &mut outcome).await?;
    let said = format!(
        "{} objects: {}",
        objects.len(),
        counted(objects.iter().map(|object| object.key.kind))
    );
    match (&args.filename, &args.directory) {
        (Some(file), _) => {
            write_file(file, text(&objects)?.as_bytes())?;
            outcome.text = format!("Exported to {}: {said}\n", file.display());
        }
        (None, Some(folder)) => {
            write_folder(folder, &kinds, &objects)?;
            outcome.text = format!("Exported to {}: {said}\n", folder.display());
        }
        (None, None) => {
            outcome.text = text(&objects)?;
            outcome.notes.push(format!("exported {said}"));
        }
    }
    Ok(outcome)
}

/// Which kinds. What Kubernetes has for itself moves by Kubernetes' own means.
fn chosen(place: &Place, words: &[String]) -> Result<Vec<Kind>, Failure> {
    let mut kinds = kinds_in_order();
    if words.is_empty() {
        kinds.retain(|kind| !(place.is_kubernetes && kind.is_of_kubernetes()));
        return Ok(kinds);
    }
    let wanted: Vec<Kind> = words
        .iter()
        .map(|word| kind(word))
        .collect::<Result<_, _>>()?;
    kinds.retain(|kind| wanted.contains(kind));
    Ok(kinds)
}

/// All objects that can be read, in order; what cannot fails the export, which goes on.
async fn gather(
    store: &Arc<dyn Datastore>,
    kinds: &[Kind],
    outcome: &mut Outcome,
) -> Result<Vec<Object>, Failure> {
    let mut objects = Vec::new();
    for kind in kinds {
        for object in store.list(*kind).await? {
            // A text in place of a spec is what a backend shows of a value that makes no sense.
            if matches!(object.spec, Value::String(_)) {
                let words = format!("{}: left out: it cannot be read", object.key);
                outcome.fails(Failure::new(Sort::Failed, words));
                continue;
            }
            for fault in resources::faults_of_written(&object) {
                let words = format!(
                    "{}: {fault} (exported as it is; an import refuses it)",
                    object.key
                );
                outcome.fails(Failure::new(Sort::Failed, words));
            }
            objects.push(portable(&object));
        }
    }
    for fault in faults(store, kinds).await? {
        // Of a kind that an API server does not know there is nothing to leave out.
        if fault.ends_with(NO_SUCH_KIND) {
            continue;
        }
        outcome.fails(Failure::new(Sort::Failed, format!("left out: {fault}")));
    }
    Ok(objects)
}

/// What a list does not show: files and values that cannot be read.
async fn faults(store: &Arc<dyn Datastore>, kinds: &[Kind]) -> Result<Vec<String>, Failure> {
    let unavailable = |why: &str| Failure::new(Sort::Unavailable, why);
    let mut watcher = store.watch(kinds).await?;
    let mut faults = Vec::new();
    loop {
        let event = tokio::time::timeout(PATIENCE, watcher.events.recv());
        match event.await {
            Ok(Some(WatchEvent::InSync)) => return Ok(faults),
            Ok(Some(WatchEvent::Faults(found))) => {
                faults = found.iter().map(ToString::to_string).collect();
            }
            Ok(Some(WatchEvent::Set(_) | WatchEvent::Deleted(_))) => {}
            Ok(None) => return Err(unavailable("the datastore ended while it was read")),
            Err(_) => {
                return Err(unavailable(
                    "the datastore does not say whether all of it can be read",
                ));
            }
        }
    }
}

/// The manifests, below a line that says how many there are.
fn text(objects: &[Object]) -> Result<String, Failure> {
    let documents = output::documents(objects)?;
    Ok(format!(
        "{FIRST_LINE}{} objects\n{documents}",
        objects.len()
    ))
}

/// A whole file, or none: readable for its owner only, because there may be passwords in it.
pub(crate) fn write_file(path: &Path, octets: &[u8]) -> Result<(), Failure> {
    let bad = |error: io::Error| {
        Failure::new(
            Sort::Failed,
            format!("cannot write {}: {error}", path.display()),
        )
    };
    let mut beside = path.as_os_str().to_owned();
    beside.push(".part");
    let write = || -> io::Result<()> {
        let mut file: File = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside)?;
        file.write_all(octets)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().map_err(|error| {
        let _ = fs::remove_file(&beside);
        bad(error)
    })
}

fn write_folder(folder: &Path, kinds: &[Kind], objects: &[Object]) -> Result<(), Failure> {
    let bad =
        |why: String| Failure::new(Sort::Failed, format!("folder {}: {why}", folder.display()));
    fs::create_dir_all(folder).map_err(|error| bad(error.to_string()))?;
    let mut entries = fs::read_dir(folder).map_err(|error| bad(error.to_string()))?;
    if entries.next().is_some() {
        return Err(bad(
            "is not empty, and what is there would be taken for a part of the export".to_owned(),
        ));
    }
    for kind in kinds {
        let of_kind = objects.iter().filter(|object| object.key.kind == *kind);
        let of_kind: Vec<Object> = of_kind.cloned().collect();
        if !of_kind.is_empty() {
            let file = folder.join(format!("{}.yaml", kind.plural()));
            write_file(&file, text(&of_kind)?.as_bytes())?;
        }
    }
    Ok(())
}

/// How the Kubernetes backend ends the fault of a kind that is not served.
const NO_SUCH_KIND: &str = "the CustomResourceDefinition is not installed";

/// Longer than any read that still makes progress.
const PATIENCE: Duration = Duration::from_secs(30);
