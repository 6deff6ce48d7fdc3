//! Stories: wishes, foreign writers, links that flap, faults and restarts at random, told from one number. Each is played
//! on the kernel in memory and on the real one in a network namespace.
//!
//! ```text
//!   seed ─► story ─┬─► memory     (virtual time) ─┬─► quiet: kernel = oracle(wishes, devices)
//!                  └─► namespace  (virtual time) ─┘   the same on both
//! ```
//!
//! Where the kernel in memory is poorer than Linux, and so what is not compared: it keeps no routes of the kernel's own
//! (connected ones are computed at lookups), no link-local addresses, one route a key (Linux lets others append), and no
//! neighbours but permanent ones. In the namespace `tunl0` is another kind of device by that name, because not every
//! machine has the module, and devices have link-local addresses only where the worker makes them.
//!
//! `CARACAL_FIB_SEEDS` says how many are played on the real kernel, and ten times as many are in memory alone;
//! `CARACAL_FIB_SEED` plays one of them only.

mod grounds;
mod life;
mod memory;
mod namespace;
mod oracle;
mod story;
mod watched;
mod words;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use grounds::Has;
use memory::Memory;
use namespace::Namespace;
use story::Step;

/// What is in the kernel at the end, or what was wrong.
type Outcome = Result<BTreeSet<String>, String>;

#[test]
fn when_quiet_the_kernel_in_memory_is_as_desired() {
    for seed in seeds(10 * count().unwrap_or(SEEDS_IN_MEMORY / 10)) {
        let steps = story::story(seed);
        if let Err(complaint) = in_memory(seed, &steps) {
            panic!(
                "{}",
                explain(seed, steps, &complaint, &|steps| in_memory(seed, steps))
            );
        }
    }
}

#[test]
fn when_quiet_the_real_kernel_is_as_desired_and_as_the_one_in_memory() {
    if !crate::netlink::can_make_namespaces() {
        println!("skipped: no network namespace");
        return;
    }
    for seed in seeds(count().unwrap_or(SEEDS_IN_NAMESPACES)) {
        let steps = story::story(seed);
        if let Err(complaint) = in_both(seed, &steps) {
            panic!(
                "{}",
                explain(seed, steps, &complaint, &|steps| in_both(seed, steps))
            );
        }
    }
}

fn count() -> Option<u64> {
    let count = std::env::var("CARACAL_FIB_SEEDS").ok()?;
    Some(count.parse().unwrap())
}

fn seeds(count: u64) -> std::ops::Range<u64> {
    match std::env::var("CARACAL_FIB_SEED") {
        Ok(seed) => {
            let seed = seed.parse().unwrap();
            seed..seed + 1
        }
        Err(_) => 0..count,
    }
}

/// All kinds of node are met.
fn has(seed: u64) -> Has {
    Has {
        ipip: !seed.is_multiple_of(4),
        objects: !seed.is_multiple_of(5),
    }
}

fn in_memory(seed: u64, steps: &[Step]) -> Outcome {
    caught(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let ground = Memory::new(has(seed));
        runtime.unwrap().block_on(life::play(ground, steps))
    })
}

fn in_namespace(seed: u64, steps: &[Step]) -> Outcome {
    let steps = steps.to_vec();
    let (sender, receiver) = std::sync::mpsc::channel();
    crate::netlink::in_namespace(move || {
        let outcome = caught(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(async {
                let ground = Namespace::new(has(seed));
                Box::pin(life::play(ground, &steps)).await
            })
        });
        sender.send(outcome).unwrap();
    });
    receiver.recv().unwrap()
}

fn in_both(seed: u64, steps: &[Step]) -> Outcome {
    let memory = in_memory(seed, steps).map_err(|c| format!("in memory, {c}"))?;
    let real = in_namespace(seed, steps).map_err(|c| format!("in a namespace, {c}"))?;
    if memory == real {
        return Ok(real);
    }
    let only = |these: &BTreeSet<String>, those: &BTreeSet<String>| {
        let lines: Vec<_> = these.difference(those).cloned().collect();
        lines.join("\n  ")
    };
    Err(format!(
        "the kernels differ; only in memory:\n  {}\nonly in the namespace:\n  {}",
        only(&memory, &real),
        only(&real, &memory)
    ))
}

fn caught(play: impl FnOnce() -> Outcome) -> Outcome {
    catch_unwind(AssertUnwindSafe(play)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        Err(format!("panic: {}", text.unwrap_or_default()))
    })
}

/// The shortest part of the story that still goes wrong, and how.
fn explain(
    seed: u64,
    mut steps: Vec<Step>,
    complaint: &str,
    play: &dyn Fn(&[Step]) -> Outcome,
) -> String {
    let mut complaint = complaint.to_owned();
    let single = |step: Step| match step {
        Step::Wish(changes) => {
            let each = changes.into_iter();
            each.map(|change| Step::Wish(vec![change])).collect()
        }
        other => vec![other],
    };
    let singles: Vec<Step> = steps.iter().cloned().flat_map(single).collect();
    if let Err(other) = play(&singles) {
        (steps, complaint) = (singles, other);
    }
    let mut size = steps.len() / 2;
    while size > 0 {
        let mut at = 0;
        while at < steps.len() {
            let mut fewer = steps.clone();
            fewer.drain(at..(at + size).min(steps.len()));
            match play(&fewer) {
                Ok(_) => at += size,
                Err(other) => (steps, complaint) = (fewer, other),
            }
        }
        size /= 2;
    }
    let shown: Vec<String> = steps.iter().map(|step| format!("  {step:?}")).collect();
    format!(
        "seed {seed} (CARACAL_FIB_SEED={seed}), of its story these steps are enough:\n{}\n{complaint}",
        shown.join("\n")
    )
}

const SEEDS_IN_MEMORY: u64 = 1000;
const SEEDS_IN_NAMESPACES: u64 = 50;
