//! `kill -9` at random moments while pods come and go. The seed is printed; `CARACAL_SEED` repeats a run.

use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result};
use caracal_kernel_tests::{addresses_equal_pods, kernel_equals_state};
use caracal_lab::seed::{self, Seeded};
use caracal_lab::{Binaries, Lab, Options, Pod, Runtime, lab_tests, wait};

const ROUNDS: u32 = 20;
const OPERATIONS_A_ROUND: u32 = 8;
const PODS_MAX: usize = 12;

/// A container runtime that adds and removes pods. A failed ADD is followed by DEL, as kubelet does, and forgotten.
struct Churn {
    runtime: Runtime,
    random: Seeded,
    alive: Vec<Pod>,
    count: u32,
}

impl Churn {
    fn work(&mut self) -> Result<()> {
        for _ in 0..OPERATIONS_A_ROUND {
            let remove =
                self.alive.len() >= PODS_MAX || !self.alive.is_empty() && self.random.below(5) < 2;
            if remove {
                let index = self.random.below(self.alive.len() as u64);
                let pod = self.alive.swap_remove(usize::try_from(index)?);
                self.runtime.remove(&pod)?;
            } else {
                self.add()?;
            }
        }
        Ok(())
    }

    fn add(&mut self) -> Result<()> {
        self.count += 1;
        let name = format!("pod-{}", self.count);
        let mut pod = self
            .runtime
            .prepare(0, &name, &format!("container-{}", self.count))?;
        match self.runtime.add(&mut pod) {
            Ok(_) => self.alive.push(pod),
            // The agent is away just now: DEL has to succeed all the same, and nothing may be left of it.
            Err(_) => self
                .runtime
                .remove(&pod)
                .with_context(|| format!("DEL after a failed ADD of {name}"))?,
        }
        Ok(())
    }
}

lab_tests! {
    fn an_agent_killed_at_20_random_moments_leaves_kernel_and_addresses_equal_to_the_state() {
        let seed = seed::of_this_run(2026);
        println!("seed {seed}");
        let mut random = Seeded::new(seed);
        let mut lab = Lab::build(Options { nodes: 2, ..Options::default() }, Binaries::find()?)?;
        lab.start()?;
        let far = lab.add_pod(1, "far")?;
        let churn = Mutex::new(Churn {
            runtime: lab.nodes[0].runtime(),
            random: Seeded::new(seed + 1),
            alive: Vec::new(),
            count: 0,
        });
        for round in 1..=ROUNDS {
            let (moment, pause) = (random.below(400), random.below(100));
            println!("round {round}: killed after {moment} ms, started {pause} ms later");
            std::thread::scope(|scope| -> Result<()> {
                let working = scope.spawn(|| churn.lock().map_err(|_| anyhow::anyhow!("poisoned"))?.work());
                std::thread::sleep(Duration::from_millis(moment));
                lab.nodes[0].agent.kill()?;
                std::thread::sleep(Duration::from_millis(pause));
                lab.nodes[0].agent.start()?;
                working.join().map_err(|_| anyhow::anyhow!("the runtime panicked"))?
            })?;
            lab.wait_converged()?;
            let churn = churn.lock().map_err(|_| anyhow::anyhow!("poisoned"))?;
            let all: Vec<_> = churn.alive.iter().chain([&far]).collect();
            kernel_equals_state(&lab, &lab.nodes[0], &all).with_context(|| format!("round {round}"))?;
            kernel_equals_state(&lab, &lab.nodes[1], &all).with_context(|| format!("round {round}"))?;
            addresses_equal_pods(&lab, &all).with_context(|| format!("round {round}"))?;
            for pod in &churn.alive {
                let mut pinger = lab.pinger(&far, pod, false)?;
                wait::until(&format!("{} to answer in round {round}", pod.name), || {
                    pinger.ask(Duration::from_secs(1)).map(|_| ()).ok_or_else(|| "no answer".to_owned())
                })?;
            }
        }
        let mut churn = churn.lock().map_err(|_| anyhow::anyhow!("poisoned"))?;
        let last: Vec<_> = churn.alive.drain(..).chain([far]).collect();
        for pod in &last {
            lab.remove_pod(pod)?;
        }
        kernel_equals_state(&lab, &lab.nodes[0], &[])?;
        addresses_equal_pods(&lab, &[])
    }
}
