//! The whole crate, from `Fib::apply` until its status says that the kernel has everything.

use anyhow::{Context, bail};
use caracal_fib::{Change, Config, Encapsulation, Fib, FibStatus, Route};

use crate::rounds::Turns;
use crate::stopwatch::Stopwatch;
use crate::work::{PATIENCE, Step, Work};

pub(crate) fn take_turns(work: Work, nexthop_objects: bool, turns: &Turns) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let config = Config {
            nexthop_objects,
            ..Config::default()
        };
        let fib = Fib::start(config).await?;
        if nexthop_objects && !fib.status().borrow().nexthop_objects {
            bail!("this kernel has no nexthop objects");
        }
        let mut before = None;
        while let Some((step, part)) = turns.next(before) {
            let changes = changes(&work, step, part.clone());
            let done = work_done(&fib.status().borrow());
            let start = Stopwatch::of_this_process()?;
            fib.apply(changes);
            // By nexthop objects, routes move without being written.
            settled(&fib, |status| work_done(status) > done)
                .await
                .with_context(|| step.to_string())?;
            before = Some(start.took()?);
            let count = work.in_kernel()?;
            let expected = match step {
                Step::In | Step::MultipathIn => part.end,
                Step::Replace => work.routes,
                Step::Out | Step::MultipathOut => work.routes - part.end,
            } as usize;
            // The kernel's own are a dozen; of IPv6 it counts each next hop.
            let multipath = matches!(step, Step::MultipathIn | Step::MultipathOut);
            let hops = if multipath { 2 } else { 1 };
            if count < expected || count > expected * hops + 20 {
                bail!("{step}: the kernel has {count} routes, not {expected}");
            }
        }
        Ok(())
    })
}

/// Whatever was written so far.
fn work_done(status: &FibStatus) -> u64 {
    status.writes + status.object_writes
}

/// What is to be wished for so that the routes are as after this step.
pub(crate) fn changes(work: &Work, step: Step, range: std::ops::Range<u32>) -> Vec<Change> {
    let change = |i| {
        let next_hops = work.gateways(step, i);
        match next_hops.is_empty() {
            true => Change::RemoveRoute(work.prefix(i)),
            false => Change::SetRoute(
                work.prefix(i),
                Route::Remote {
                    next_hops: next_hops.into(),
                    encapsulation: Encapsulation::None,
                },
            ),
        }
    };
    range.map(change).collect()
}

/// Waits until nothing is pending, and what was wished for has been seen.
pub(crate) async fn settled(
    fib: &Fib,
    seen: impl Fn(&FibStatus) -> bool,
) -> anyhow::Result<FibStatus> {
    let mut status = fib.status();
    let wanted = |now: &FibStatus| now.pending == 0 && seen(now);
    match tokio::time::timeout(PATIENCE, status.wait_for(wanted)).await {
        Ok(status) => Ok(status?.clone()),
        Err(_) => bail!("not within {PATIENCE:?}: {:?}", fib.status().borrow()),
    }
}
