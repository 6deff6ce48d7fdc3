//! `ipam release`: gives addresses back that nobody uses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use caracal_datastore::ipam::Ipam;
use caracal_datastore::ipam::collect::{Outcome as Freed, Wish};
use caracal_datastore::resources::ClusterInformation;
use caracal_datastore::{Datastore, TypedStore};

use super::args::Release;
use super::report::Report;
use crate::failure::{Failure, Sort};
use crate::outcome::Outcome;

/// The command.
pub(crate) async fn release(
    store: &Arc<dyn Datastore>,
    args: &Release,
) -> Result<Outcome, Failure> {
    match args.ip {
        Some(address) => one(store, address, args.force).await,
        None => from_reports(store, &args.from_report, args.force).await,
    }
}

async fn one(store: &Arc<dyn Datastore>, address: IpAddr, force: bool) -> Result<Outcome, Failure> {
    let wish = Wish {
        address,
        handle: None,
        sequence_number: None,
    };
    let freed = ipam(store).free_by_hand(&[wish], force).await?;
    let mut outcome = Outcome::default();
    for freed in freed {
        match tell(address, &freed) {
            Ok(text) => outcome.text.push_str(&text),
            Err(failure) => outcome.fails(failure),
        }
    }
    Ok(outcome)
}

/// Only what all reports say, as with `calicoctl`.
async fn from_reports(
    store: &Arc<dyn Datastore>,
    files: &[PathBuf],
    force: bool,
) -> Result<Outcome, Failure> {
    let information = TypedStore(Arc::clone(store))
        .get::<ClusterInformation>("default")
        .await?;
    let guid = information
        .and_then(|stored| stored.spec.cluster_guid)
        .unwrap_or_default();
    let mut wishes: Option<BTreeMap<IpAddr, Wish>> = None;
    let mut handles: Option<BTreeSet<String>> = None;
    for file in files {
        let report = read(file)?;
        if report.cluster_guid != guid {
            let words = format!(
                "{}: is about cluster {:?}, and this is cluster {guid:?}",
                file.display(),
                report.cluster_guid
            );
            return Err(Failure::new(Sort::Failed, words));
        }
        let mut leaked = BTreeMap::new();
        for one in report.leaked() {
            let Ok(address) = one.ip.parse() else {
                let words = format!("{}: {:?} is no address", file.display(), one.ip);
                return Err(Failure::new(Sort::Failed, words));
            };
            let wish = Wish {
                address,
                handle: one.handle.clone(),
                sequence_number: one.sequence_number,
            };
            leaked.insert(address, wish);
        }
        wishes = Some(match wishes {
            None => leaked,
            // The newest look counts, if it is of the same allocation.
            Some(before) => leaked
                .into_iter()
                .filter(|(address, wish)| before.get(address) == Some(wish))
                .collect(),
        });
        let unmatched: BTreeSet<String> = report.leaked_handles.into_iter().collect();
        handles = Some(match handles {
            None => unmatched,
            Some(before) => before.intersection(&unmatched).cloned().collect(),
        });
    }
    let wishes: Vec<Wish> = wishes.unwrap_or_default().into_values().collect();
    let ipam = ipam(store);
    let mut outcome = Outcome::default();
    let mut count = 0;
    for (wish, freed) in wishes.iter().zip(ipam.free_by_hand(&wishes, force).await?) {
        match tell(wish.address, &freed) {
            Ok(_) => count += 1,
            // Reports are old as soon as they are written.
            Err(failure) => outcome.notes.extend(failure.words),
        }
    }
    let mut recounted = 0;
    for handle in handles.unwrap_or_default() {
        recounted += usize::from(ipam.count_handle(&handle).await?);
    }
    outcome.text = format!(
        "Released {count} of {} IPs, and put {recounted} handles right.\n",
        wishes.len()
    );
    Ok(outcome)
}

fn read(file: &PathBuf) -> Result<Report, Failure> {
    let wrong = |why: String| Failure::new(Sort::Failed, format!("{}: {why}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|fault| wrong(fault.to_string()))?;
    serde_json::from_str(&text)
        .map_err(|fault| wrong(format!("is no report of `ipam check`: {fault}")))
}

fn ipam(store: &Arc<dyn Datastore>) -> Ipam {
    // No node's: nothing is assigned.
    Ipam::new(Arc::clone(store), String::new())
}

fn tell(address: IpAddr, freed: &Freed) -> Result<String, Failure> {
    let failed = |why: String| Err(Failure::new(Sort::Failed, format!("{address}: {why}")));
    match freed {
        Freed::Freed { handle } => Ok(format!(
            "Successfully released IP address {address} of handle {handle}\n"
        )),
        Freed::NotAssigned => {
            let words = format!("IP address {address} is not assigned");
            Err(Failure::new(Sort::NotFound, words))
        }
        Freed::Changed => failed("somebody else has it by now".to_owned()),
        Freed::InUse(user) => failed(format!(
            "{user} uses it; --force releases it all the same, and another may get it"
        )),
        Freed::Unknown(handle) => failed(format!(
            "handle {handle} is of a kind that is not judged; --force releases it if you know that nobody uses it"
        )),
        Freed::NoHandle => failed("it is reserved without a handle".to_owned()),
    }
}
