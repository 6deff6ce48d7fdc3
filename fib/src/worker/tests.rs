//! The worker on a kernel in memory. Tests own the time.

mod ahead;
mod costs;
mod gate;
mod gateways;
mod losses;
mod model;
mod object_orders;
mod objects;
mod orders;
mod reading;
mod refusals;
mod repair;
mod settings;
mod sharing;
mod stages;
mod stories;
mod tunnels;
mod vteps;
mod waiters;
mod wishes;

use std::collections::BTreeMap;

use smallvec::smallvec;

use super::*;
use crate::kernel::fake::{FakeKernel, refusal, through};
use crate::kernel::{DeviceChange, Event, LinkKind, Write};
use crate::model::{Encapsulation, Endpoint, Gate, Route, Tunnels};

/// A worker, its kernel, and the time.
struct Bench {
    kernel: FakeKernel,
    worker: Worker<FakeKernel>,
    status: watch::Receiver<FibStatus>,
    now: Instant,
}

impl Bench {
    /// A node with `eth0` 172.18.0.1/16.
    fn run(test: impl AsyncFnOnce(&mut Bench)) {
        let kernel = FakeKernel::default();
        let eth0 = kernel.add_link("eth0", LinkKind::Ordinary);
        kernel.add_address(eth0, "172.18.0.1/16");
        Bench::run_on(kernel, test);
    }

    fn run_on<T>(kernel: FakeKernel, test: impl AsyncFnOnce(&mut Bench) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(Bench::restart(kernel, test))
    }

    /// A new worker on a kernel as it is.
    async fn restart<T>(kernel: FakeKernel, test: impl AsyncFnOnce(&mut Bench) -> T) -> T {
        let now = Instant::now();
        kernel.with(|kernel| kernel.events.clear());
        let config = Config {
            // Sysctls are the business of other tests.
            sysctl_root: "/dev/null".into(),
            proc_root: "/dev/null".into(),
            ..Config::default()
        };
        let started = Worker::start(kernel.clone(), config, now).await;
        let (worker, status) = started.unwrap();
        let mut bench = Bench {
            kernel,
            worker,
            status,
            now,
        };
        test(&mut bench).await
    }

    fn apply(&mut self, changes: Vec<Change>) {
        self.worker
            .handle_command(Command::Apply(changes), self.now);
    }

    /// The conditions of sysctls are left out: there is no /proc/sys here.
    fn status(&mut self) -> FibStatus {
        // It is published now and then only.
        self.worker.publish(self.now);
        let mut status = self.status.borrow().clone();
        status
            .conditions
            .retain(|(name, _)| name != "SysctlReadOnly");
        status
    }

    fn deliver(&mut self) {
        let events = self
            .kernel
            .with(|kernel| std::mem::take(&mut kernel.events));
        for event in events {
            self.worker.handle_event(event, self.now);
        }
    }

    /// Turns until nothing is left to do at this moment. Returns when there will be.
    async fn settle(&mut self) -> Instant {
        for _ in 0..TURNS_MAX {
            self.deliver();
            let next = self.worker.turn(self.now).await;
            // What the turn did may come back as events.
            let events = self.kernel.with(|kernel| !kernel.events.is_empty());
            match next {
                Next::At(_) if self.worker.dirty.status => self.worker.publish(self.now),
                Next::At(when) if !events && when > self.now => return when,
                _ => {}
            }
        }
        panic!("not quiet after {TURNS_MAX} turns: {:?}", self.status());
    }

    /// Lets so much time pass, from deadline to deadline.
    async fn wait_out(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let next = self.settle().await;
            if next > end {
                self.now = end;
                self.settle().await;
                return;
            }
            self.now = next;
        }
    }
}

fn remote(block: u32, host: u8) -> Change {
    Change::SetRoute(
        net(&format!("10.{}.{}.0/26", 64 + block / 256, block % 256)),
        Route::Remote {
            next_hops: smallvec![[172, 18, 0, host].into()],
            encapsulation: Encapsulation::None,
        },
    )
}

fn workload(device: &str, address: &str) -> Change {
    Change::SetEndpoint(
        device.into(),
        Endpoint {
            addresses: vec![address.parse().unwrap()],
            mac: [2, 0, 0, 0, 0, 7],
            ..Endpoint::default()
        },
    )
}

fn key(prefix: &str) -> Key {
    Key::new(net(prefix), 0)
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

const TURNS_MAX: usize = 2000;
