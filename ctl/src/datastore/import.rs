//! `datastore import`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use caracal_datastore::{Datastore, Key, Kind, Object, StoreError, resources};

use super::{FIRST_LINE, calicos, counted, is_of_addresses, kinds_in_order, lock, portable, rank};
use crate::cli::{ImportArgs, Sources};
use crate::conflict;
use crate::failure::{Failure, Sort};
use crate::manifests::{self, Found, Manifests};
use crate::outcome::Outcome;
use crate::resources::{Change, How, Verb, write_one};
use crate::store::Place;
use crate::table::Table;
use crate::validate;

/// The command.
pub(crate) async fn import(
    store: &Arc<dyn Datastore>,
    place: &Place,
    args: &ImportArgs,
) -> Result<Outcome, Failure> {
    let read = read(args)?;
    let mut outcome = Outcome {
        notes: read.notes,
        ..Outcome::default()
    };
    let wanted = fitting(store, place, read.objects, &mut outcome).await?;
    if !args.overwrite {
        refuse_unless_empty(store, place).await?;
    }
    if !args.dry_run {
        lock::set(store, false).await?;
    }
    let mut tally = Tally::default();
    let how = How {
        verb: Verb::Apply,
        dry_run: args.dry_run,
        lenient: false,
    };
    for found in &wanted {
        let kind = found.object.key.kind;
        match put(store, how, &found.object).await {
            Ok(change) => tally.add(kind, change),
            Err(failure) => {
                let gone = failure.sort == Sort::Unavailable;
                outcome.fails(failure.at(&found.place));
                if gone {
                    break;
                }
            }
        }
    }
    outcome.text = tally.table();
    if args.dry_run {
        outcome.text.push_str("Nothing was written (dry run).\n");
        return Ok(outcome);
    }
    if outcome.failure.is_some() {
        outcome.fails(Failure::new(
            Sort::Failed,
            format!(
                "the import is not complete: {} of {} objects are there, and the datastore is locked; say it once more with \
                 --overwrite",
                tally.done(),
                wanted.len()
            ),
        ));
        return Ok(outcome);
    }
    verify(store, &wanted, &mut outcome).await?;
    if outcome.failure.is_some() {
        return Ok(outcome);
    }
    let all = wanted.len();
    outcome.text.push_str(&format!(
        "All {all} objects are in {place} as in the file.\n"
    ));
    outcome.text.push_str(&match args.unlock {
        true => lock::set(store, true).await?,
        false => {
            "It is locked: `caracalctl datastore unlock` when all is set for its use.\n".to_owned()
        }
    });
    Ok(outcome)
}

/// Writes it, unless it is there as it is. Of IPAM's kinds each backend writes fields and labels by itself, which are no
/// difference.
async fn put(store: &Arc<dyn Datastore>, how: How, wanted: &Object) -> Result<Change, Failure> {
    if is_of_addresses(wanted.key.kind)
        && let Some(current) = store.get(&wanted.key).await?
        && differences(wanted, &portable(&current)).is_empty()
    {
        return Ok(Change::Unchanged);
    }
    write_one(store, how, wanted.clone()).await
}

/// All that is to be there, in the order of writing; if anything is wrong with it, everything that is.
fn read(args: &ImportArgs) -> Result<Manifests, Failure> {
    let mut read = Manifests::default();
    for source in &args.filename {
        if source.is_dir() {
            let folder = manifests::look(&Sources {
                filename: vec![source.clone()],
                recursive: true,
                skip_empty: false,
                namespace: None,
            });
            read.objects.extend(folder.objects);
            read.notes.extend(folder.notes);
            read.faults.extend(folder.faults);
        } else {
            take(source, &mut read);
        }
    }
    for found in &mut read.objects {
        found.object = portable(&found.object);
        let faults = resources::faults_of_written(&found.object).into_iter();
        let at = format!("{}: {}", found.place, found.object.key);
        read.faults.extend(faults.map(|why| format!("{at}: {why}")));
        if found.object.key == lock::key() {
            found.object = lock::marked(&found.object, false);
        }
    }
    read.faults.extend(validate::twice(&read.objects));
    if read.faults.is_empty() {
        read.objects
            .sort_by_key(|found| rank(found.object.key.kind));
        return Ok(read);
    }
    Err(Failure {
        sort: Sort::Failed,
        words: read.faults,
    })
}

fn take(source: &Path, read: &mut Manifests) {
    let origin = manifests::name_of(source);
    let text = match manifests::text_of(source) {
        Ok(text) => text,
        Err(why) => return read.faults.push(why),
    };
    let before = (read.objects.len(), read.faults.len());
    match calicos::parts(&text) {
        Some(parts) => calicos::take_parts(&origin, &parts, read),
        None => manifests::take(&origin, &text, read),
    }
    let found = read.objects.len() - before.0;
    let first = text
        .lines()
        .next()
        .and_then(|line| line.strip_prefix(FIRST_LINE));
    let told = first.and_then(|rest| rest.split(' ').next()?.parse::<usize>().ok());
    match told {
        // Other faults have been named.
        _ if read.faults.len() > before.1 => {}
        Some(told) if told != found => read.faults.push(format!(
            "{origin}: its first line tells of {told} objects, and there are {found}: it is cut off, or was edited (then remove \
             the line)"
        )),
        None if found == 0 => read.faults.push(format!("no objects in {origin}")),
        _ => {}
    }
}

/// What this datastore can take: in Kubernetes, Node and WorkloadEndpoint are parts of what Kubernetes has itself.
async fn fitting(
    store: &Arc<dyn Datastore>,
    place: &Place,
    objects: Vec<Found>,
    outcome: &mut Outcome,
) -> Result<Vec<Found>, Failure> {
    if !place.is_kubernetes {
        return Ok(objects);
    }
    let mut fitting = Vec::new();
    for found in objects {
        let key = &found.object.key;
        let why = match key.kind {
            kind if kind.is_of_kubernetes() => "Kubernetes has its own",
            Kind::WorkloadEndpoint => "Kubernetes makes it of a pod",
            Kind::Node if store.get(key).await?.is_none() => "Kubernetes has no such node",
            _ => {
                fitting.push(found);
                continue;
            }
        };
        outcome.notes.push(format!("{key}: left out: {why}"));
    }
    Ok(fitting)
}

async fn refuse_unless_empty(store: &Arc<dyn Datastore>, place: &Place) -> Result<(), Failure> {
    let mut there = Vec::new();
    for kind in kinds_in_order() {
        let others = kind == Kind::ClusterInformation
            || place.is_kubernetes
                && (kind.is_of_kubernetes() || matches!(kind, Kind::Node | Kind::WorkloadEndpoint));
        if !others {
            there.extend(store.list(kind).await?.iter().map(|object| object.key.kind));
        }
    }
    if there.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        Sort::Failed,
        format!(
            "datastore {place} is not empty: {}; --overwrite makes objects of the same name as in the file, and leaves others",
            counted(there)
        ),
    ))
}

/// Reads everything back.
async fn verify(
    store: &Arc<dyn Datastore>,
    wanted: &[Found],
    outcome: &mut Outcome,
) -> Result<(), Failure> {
    let mut there: BTreeMap<Key, Object> = BTreeMap::new();
    for kind in kinds_in_order() {
        if wanted.iter().any(|found| found.object.key.kind == kind) {
            let objects = store.list(kind).await?.into_iter();
            there.extend(objects.map(|object| {
                let object = portable(&object);
                (object.key.clone(), object)
            }));
        }
    }
    for Found { object, place } in wanted {
        // A backend may know an object by another spelling of its name.
        let found = match there.get(&object.key) {
            Some(found) => Some(found.clone()),
            None => store.get(&object.key).await?.as_ref().map(portable),
        };
        let Some(found) = found else {
            outcome.fails(Failure::from(StoreError::NotFound(object.key.clone())).at(place));
            continue;
        };
        let differences = differences(object, &found);
        if !differences.is_empty() && object.key.kind != Kind::Node {
            let words = format!(
                "{place}: {} is not as in the file: {differences}",
                object.key
            );
            outcome.fails(Failure::new(Sort::Failed, words));
        }
    }
    Ok(())
}

/// What is other in the store than asked for, in words.
fn differences(object: &Object, found: &Object) -> String {
    conflict::differences(&as_asked(object, found), &as_asked(found, found))
}

/// The object with the labels and annotations that its store adds by itself.
fn as_asked(object: &Object, stored: &Object) -> Object {
    let mut object = object.clone();
    object.key = stored.key.clone();
    object.metadata.name.clone_from(&stored.metadata.name);
    for (label, value) in &stored.metadata.labels {
        let own = object.metadata.labels.entry(label.clone());
        own.or_insert_with(|| value.clone());
    }
    for (annotation, value) in &stored.metadata.annotations {
        let own = object.metadata.annotations.entry(annotation.clone());
        own.or_insert_with(|| value.clone());
    }
    object
}

/// What became of the objects of each kind.
#[derive(Default)]
struct Tally(Vec<(Kind, [usize; 3])>);

impl Tally {
    fn add(&mut self, kind: Kind, change: Change) {
        if self.0.last().is_none_or(|(last, _)| *last != kind) {
            self.0.push((kind, [0; 3]));
        }
        if let Some((_, counts)) = self.0.last_mut() {
            counts[match change {
                Change::Created => 0,
                Change::Configured => 1,
                Change::Unchanged | Change::Skipped => 2,
            }] += 1;
        }
    }

    fn done(&self) -> usize {
        self.0.iter().flat_map(|(_, counts)| counts).sum()
    }

    fn table(&self) -> String {
        let mut table = Table::new(["KIND", "CREATED", "CHANGED", "UNCHANGED"]);
        for (kind, counts) in &self.0 {
            let cells = counts.iter().map(ToString::to_string);
            table.row(std::iter::once(kind.to_string()).chain(cells));
        }
        table.columns()
    }
}
