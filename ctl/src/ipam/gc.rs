//! `ipam gc`: one round of the garbage collector.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use caracal_datastore::Datastore;
use caracal_datastore::ipam::Ipam;
use caracal_datastore::ipam::collect::{Collector, Doubt, Plan, Round, Snapshot, Suspect};

use super::args::Gc;
use crate::failure::{Failure, Sort};
use crate::outcome::Outcome;
use crate::table::{Table, duration};

/// The command.
pub(crate) async fn gc(store: &Arc<dyn Datastore>, args: &Gc) -> Result<Outcome, Failure> {
    let ipam = Ipam::new(Arc::clone(store), String::new());
    let first = look(store, &ipam).await?;
    if args.dry_run {
        return Ok(Outcome {
            text: suspected(&first, args),
            notes: notes(&first),
            failure: None,
        });
    }
    let mut collector = Collector::default();
    collector.ripe(&first.suspects, Duration::ZERO, Duration::ZERO);
    let old_enough = |suspect: &Suspect| age(suspect).is_none_or(|age| age >= args.grace_seconds);
    if first.suspects.iter().any(old_enough) {
        tokio::time::sleep(Duration::from_secs(args.pause_seconds)).await;
    }
    let second = look(store, &ipam).await?;
    let mut ripe = collector.ripe(&second.suspects, Duration::ZERO, Duration::ZERO);
    ripe.retain(old_enough);
    let mut round = Round {
        left: ripe.len().saturating_sub(args.limit),
        waiting: second.suspects.len() - ripe.len(),
        ..Round::default()
    };
    ripe.truncate(args.limit);
    ipam.carry_out(&ripe, &|| true, &mut round).await;
    let mut outcome = Outcome {
        text: done(&round),
        notes: notes(&second),
        failure: None,
    };
    if let Some(error) = round.error {
        outcome.fails(error.into());
    }
    if let Some(why) = round.held {
        outcome.fails(held(&why));
    }
    Ok(outcome)
}

async fn look(store: &Arc<dyn Datastore>, ipam: &Ipam) -> Result<Plan, Failure> {
    let snapshot = Snapshot::load(&**store).await?;
    let plan = ipam.look(&snapshot).await?;
    match &plan.held {
        Some(why) => Err(held(why)),
        None => Ok(plan),
    }
}

fn held(why: &str) -> Failure {
    let words = format!("nothing is collected while not everything can be read: {why}");
    Failure::new(Sort::Failed, words)
}

/// Since when it may be so, by what the store says.
fn age(suspect: &Suspect) -> Option<u64> {
    let age = suspect.since?.age(SystemTime::now());
    Some(age.as_secs())
}

fn suspected(plan: &Plan, args: &Gc) -> String {
    if plan.suspects.is_empty() {
        return "Nothing looks wrong.\n".to_owned();
    }
    let mut table = Table::new(["REPAIR", "BECAUSE", "AGE"]);
    for suspect in &plan.suspects {
        let age = match age(suspect) {
            None => "-".to_owned(),
            Some(age) if age < args.grace_seconds => format!("{} (too young)", duration(age)),
            Some(age) => duration(age),
        };
        table.row([suspect.repair.to_string(), suspect.why.clone(), age]);
    }
    table.columns()
}

fn done(round: &Round) -> String {
    let mut out = String::new();
    for (repair, why) in &round.done {
        out.push_str(&format!("{repair} ({why})\n"));
    }
    out.push_str(&format!(
        "{} repairs done; {} spared, because a fresh read speaks for them; {} not old enough or changed between two looks; {} left for \
         the next round\n",
        round.done.len(),
        round.spared,
        round.waiting,
        round.left
    ));
    out
}

fn notes(plan: &Plan) -> Vec<String> {
    let mut notes: Vec<String> = plan.duplicates.iter().map(ToString::to_string).collect();
    let doubtful = plan.doubtful.iter().map(|Doubt { whose, why }| {
        format!("nothing of {whose} is collected while this cannot be read: {why}")
    });
    notes.extend(doubtful);
    if plan.unknown > 0 {
        notes.push(format!(
            "{} addresses are of kinds that are not judged (virtual machines, load balancers, others)",
            plan.unknown
        ));
    }
    notes
}
