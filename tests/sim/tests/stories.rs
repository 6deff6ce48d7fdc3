//! A hundred seeds where the world is large, sixty where it is largest, else a thousand: a few minutes of two processors (the lane
//! `long` takes ten thousand of each). `CARACAL_SIM_SEEDS` says how many instead,
//! `CARACAL_SIM_FIRST_SEED` where to begin, `CARACAL_SIM_SPEAKERS` how many speakers a mesh has.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests fail as tests do, and say how much there was to see"
)]

use std::panic::catch_unwind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use caracal_sim::plan::Step;
use caracal_sim::{Outcome, Plan, Topology, run};

#[test]
fn a_mesh_with_faults_ends_in_the_state_that_its_prefixes_say() {
    run_all(100, |seed| {
        Plan::new(
            seed,
            Topology::Mesh {
                speakers: mesh_size(seed),
            },
        )
    });
}

#[test]
fn clients_of_two_reflectors_with_faults_end_in_the_state_that_their_prefixes_say() {
    run_all(1000, |seed| {
        let clients = if is_small(seed, 20) {
            3 + seed as usize % 6
        } else {
            20
        };
        Plan::new(
            seed,
            Topology::Reflectors {
                reflectors: 2,
                clients,
            },
        )
    });
}

#[test]
fn reflectors_over_reflectors_with_faults_end_in_the_state_that_their_prefixes_say() {
    run_all(300, |seed| {
        let topology = Topology::Hierarchy {
            tops: 1 + seed as usize % 2,
            clusters: 2 + seed as usize % 3,
            clients: 1 + seed as usize % 4,
        };
        Plan::new(seed, topology)
    });
}

#[test]
fn clusters_joined_by_their_borders_end_in_the_state_that_prefixes_and_policies_say() {
    run_all(1000, |seed| {
        let (clusters, nodes) = (2 + seed as usize % 8, 2 + seed as usize % 5);
        Plan::new(seed, Topology::Clusters { clusters, nodes })
    });
}

#[test]
fn a_thousand_speakers_in_clusters_end_in_the_state_that_prefixes_and_policies_say() {
    let stories = if cfg!(debug_assertions) { 2 } else { 60 };
    run_all(stories, |seed| {
        let (clusters, nodes) = (50, 20);
        Plan::new(seed, Topology::Clusters { clusters, nodes })
    });
}

#[test]
fn restarts_with_forwarding_kept_cost_nobody_a_route() {
    for seed in 0..50 {
        for topology in [
            Topology::Mesh { speakers: 10 },
            Topology::Reflectors {
                reflectors: 2,
                clients: 8,
            },
        ] {
            let outcome = run(&Plan::rolling_restart(seed, topology)).unwrap();
            assert!(outcome.flaps > 0);
            assert_eq!(outcome.lost, 0, "seed {seed}, {topology:?}");
        }
    }
}

#[test]
fn shutdowns_that_are_meant_cost_routes() {
    let mut plan = Plan::rolling_restart(1, Topology::Mesh { speakers: 10 });
    for (_, step) in &mut plan.steps {
        if let Step::Kill(speaker) | Step::ShutDown { speaker, .. } = *step {
            let keep_forwarding = false;
            *step = Step::ShutDown {
                speaker,
                keep_forwarding,
            };
        }
    }
    assert!(run(&plan).unwrap().lost > 0);
}

/// Invariant 7 of docs/architecture.md.
#[test]
fn the_same_seed_is_the_same_story_to_the_octet() {
    for seed in 0..5 {
        let plan = Plan::new(seed, Topology::Mesh { speakers: 20 });
        let (first, second) = (run(&plan).unwrap(), run(&plan).unwrap());
        assert_eq!(first, second, "seed {seed}");
        let other = run(&Plan::new(seed + 100, plan.topology)).unwrap();
        assert_ne!(first.trace, other.trace);
    }
}

fn run_all(stories: u64, plan_of: impl Fn(u64) -> Plan + Sync) {
    let (first, count) = (
        number("CARACAL_SIM_FIRST_SEED", 0),
        number("CARACAL_SIM_SEEDS", stories),
    );
    let next = AtomicU64::new(first);
    let failures = Mutex::new(Vec::new());
    let total = Mutex::new((0, 0, 0));
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    let plan = plan_of(seed);
                    let lived = catch_unwind(|| run(&plan));
                    match lived.unwrap_or_else(|_| Err(format!("seed {seed} panics"))) {
                        Ok(Outcome {
                            sessions,
                            flaps,
                            deliveries,
                            ..
                        }) => {
                            let mut total = total.lock().unwrap();
                            *total = (total.0 + sessions, total.1 + flaps, total.2 + deliveries);
                        }
                        Err(wrong) => failures.lock().unwrap().push(wrong),
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    let (sessions, flaps, deliveries) = total.into_inner().unwrap();
    println!("{count} seeds: {sessions} sessions up, {flaps} down again, {deliveries} deliveries");
    assert!(
        failures.is_empty(),
        "{} of {count} seeds fail, first: {}",
        failures.len(),
        failures[0]
    );
}

/// A hundred; fewer in most of the stories that are small.
fn mesh_size(seed: u64) -> usize {
    let default = if is_small(seed, 50) {
        3 + seed % 10
    } else {
        100
    };
    number("CARACAL_SIM_SPEAKERS", default) as usize
}

/// Without optimisation the full size takes too long, and only one story in `one_in` has it.
fn is_small(seed: u64, one_in: u64) -> bool {
    cfg!(debug_assertions) && !seed.is_multiple_of(one_in)
}

fn number(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{variable} is no number: {text:?}")),
        Err(_) => default,
    }
}
