//! `validate`: everything that is wrong with manifests, and nothing is changed.

use std::collections::BTreeMap;

use caracal_datastore::{IPPool, Key, Kind, Stored, resources};

use crate::cli::Sources;
use crate::failure::{Failure, Sort};
use crate::manifests::{self, Found};
use crate::outcome::Outcome;

/// The command.
pub(crate) fn validate(sources: &Sources) -> Outcome {
    let mut read = manifests::look(sources);
    let mut faults = std::mem::take(&mut read.faults);
    faults.extend(twice(&read.objects));
    faults.extend(read.objects.iter().flat_map(faults_when_written));
    faults.extend(overlapping(&read.objects));
    let counted = |count: usize, what: &str| match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    };
    let text = format!(
        "{} in {}: {}\n",
        counted(read.objects.len(), "valid object"),
        counted(read.texts, "text"),
        match faults.len() {
            0 => "no faults".to_owned(),
            n => counted(n, "fault"),
        }
    );
    let failure = (!faults.is_empty()).then_some(Failure {
        sort: Sort::Failed,
        words: faults,
    });
    Outcome {
        text,
        notes: read.notes,
        failure,
    }
}

/// The same object a second time.
pub(crate) fn twice(objects: &[Found]) -> Vec<String> {
    let mut first: BTreeMap<&Key, &str> = BTreeMap::new();
    let mut faults = Vec::new();
    for found in objects {
        let key = &found.object.key;
        match first.get(key) {
            Some(place) => faults.push(format!("{}: {key} stands in {place} already", found.place)),
            None => drop(first.insert(key, &found.place)),
        }
    }
    faults
}

/// What a datastore would refuse although it can be read.
fn faults_when_written(found: &Found) -> Vec<String> {
    let faults = resources::faults_of_written(&found.object).into_iter();
    let at = format!("{}: {}", found.place, found.object.key);
    faults.map(|why| format!("{at}: {why}")).collect()
}

fn overlapping(objects: &[Found]) -> Vec<String> {
    let pools = objects
        .iter()
        .filter(|found| found.object.key.kind == Kind::IPPool);
    // One that stands there twice overlaps itself, which has been said.
    let pools: BTreeMap<&Key, Stored<IPPool>> = pools
        .filter_map(|found| {
            let pool = Stored::from_object(&found.object).ok()?;
            Some((&found.object.key, pool))
        })
        .collect();
    resources::overlaps(pools.values())
}
