//! The worker on a kernel in memory. Tests own the time.

mod ahead;
mod gate;
mod gateways;
mod model;
mod object_orders;
mod objects;
mod orders;
mod reading;
mod repair;
mod settings;
mod sharing;
mod stages;
mod stories;
mod vteps;

use std::collections::BTreeMap;

use super::*;
use crate::kernel::fake::{FakeKernel, refusal, through};
use crate::kernel::{DeviceChange, LinkKind, Write};
use crate::model::{Encapsulation, Endpoint, Gate, Route, Tunnels};

#[test]
fn lost_answers_are_settled_by_reading() {
    Bench::run(async |bench| {
        bench.kernel.with(|kernel| kernel.lose_answers = 1);
        bench.apply((0..600).map(|i| remote(i, 2)).collect());
        bench.wait_out(Duration::from_secs(1)).await;
        assert_eq!(bench.kernel.routes().len(), 600);
        let status = bench.status();
        assert_eq!((status.overruns, status.resyncs, status.pending), (1, 2, 0));
        assert_eq!(status.writes, 600, "what had arrived was not written again");
    });
}

#[test]
fn a_lost_writer_is_a_condition_until_it_writes_again() {
    Bench::run(async |bench| {
        bench.kernel.with(|kernel| kernel.fail_writes = 2);
        bench.apply((0..600).map(|i| remote(i, 2)).collect());
        bench.settle().await;
        let (name, sentence) = &bench.status().conditions[0];
        assert_eq!(name, "WriterLost");
        assert!(sentence.contains("send: Bad file descriptor"), "{sentence}");
        bench.wait_out(Duration::from_secs(1)).await;
        assert_eq!(bench.kernel.routes().len(), 600);
        let status = bench.status();
        assert_eq!(status.counters.lost_batches, 2);
        assert_eq!((status.pending, status.overruns), (0, 0));
        assert_eq!(status.conditions, []);
    });
}

#[test]
fn a_lost_writer_is_no_condition_when_there_is_nothing_left_to_write() {
    Bench::run(async |bench| {
        bench.worker.config.nexthop_objects = false;
        bench.worker.resync(bench.now).await.unwrap();
        bench.kernel.with(|kernel| kernel.fail_writes = 1);
        bench.apply(vec![remote(1, 2)]);
        bench.settle().await;
        assert_eq!(bench.status().conditions[0].0, "WriterLost");
        bench.apply(vec![Change::RemoveRoute(net("10.64.1.0/26"))]);
        // The next whole read shows that.
        bench.wait_out(Duration::from_secs(301)).await;
        let status = bench.status();
        assert_eq!((status.writes, status.conditions), (1, vec![]));
    });
}

#[test]
fn a_lost_writer_is_no_condition_after_it_has_removed_what_others_left() {
    Bench::run(async |bench| {
        bench
            .kernel
            .foreign_set(key("10.233.4.0/26"), Spec::blackhole(80));
        bench.settle().await;
        bench.kernel.with(|kernel| kernel.fail_writes = 1);
        bench.apply(vec![Change::SetGate(Gate::Open)]);
        bench.settle().await;
        assert_eq!(bench.status().conditions[0].0, "WriterLost");
        bench.wait_out(Duration::from_secs(5)).await;
        assert_eq!(bench.kernel.routes().len(), 0);
        assert_eq!(bench.status().conditions, []);
    });
}

#[test]
fn a_kernel_that_cannot_be_read_is_still_written_and_not_asked_without_pause() {
    Bench::run(async |bench| {
        bench.kernel.with(|kernel| {
            kernel.fail_reads = 3;
            kernel.events = vec![Event::Overrun];
        });
        bench.deliver();
        // Reads that events ask for have a distance.
        bench.now += Duration::from_secs(1);
        bench.apply((0..600).map(|i| remote(i, 2)).collect());
        let first = bench.settle().await;
        assert_eq!(bench.kernel.routes().len(), 600);
        let status = bench.status();
        assert_eq!(status.counters.failed_reads, 1);
        let (name, sentence) = &status.conditions[0];
        assert_eq!(name, "KernelUnread");
        assert!(sentence.contains("dump interrupted"), "{sentence}");
        assert_eq!(first, bench.now + Duration::from_millis(200));
        bench.now = first;
        assert_eq!(bench.settle().await, first + Duration::from_millis(400));
        bench.wait_out(Duration::from_secs(2)).await;
        let status = bench.status();
        assert_eq!((status.resyncs, status.counters.failed_reads), (2, 3));
        assert_eq!(status.conditions, []);
    });
}

#[test]
fn a_lost_socket_is_a_condition_until_it_is_back_and_everything_is_read() {
    Bench::run(async |bench| {
        bench.apply(vec![remote(1, 2)]);
        bench.settle().await;
        bench.kernel.foreign_delete(key("10.64.1.0/26"));
        let lost = Event::SocketLost(Lane::Events, "Bad file descriptor".into());
        bench.kernel.with(|kernel| kernel.events = vec![lost]);
        bench.wait_out(Duration::from_secs(2)).await;
        let status = bench.status();
        let (name, sentence) = &status.conditions[0];
        assert_eq!(name, "SocketLost");
        assert!(
            sentence.contains("for events has failed: Bad file"),
            "{sentence}"
        );
        assert_eq!((bench.kernel.routes().len(), status.resyncs), (0, 1));
        bench
            .kernel
            .with(|kernel| kernel.events = vec![Event::SocketBack(Lane::Events)]);
        bench.settle().await;
        assert_eq!(bench.kernel.routes().len(), 1);
        let status = bench.status();
        assert_eq!(
            (status.counters.lost_sockets, status.conditions),
            (1, vec![])
        );
    });
}

#[test]
fn nothing_is_deleted_after_a_batch_without_answers_until_the_kernel_is_read() {
    Bench::run(async |bench| {
        bench.apply((0..10).map(|i| remote(i, 2)).collect());
        bench.settle().await;
        bench.kernel.with(|kernel| {
            kernel.lose_answers = 1;
            kernel.fail_reads = 2;
            kernel.batches.clear();
        });
        bench.apply(vec![remote(10, 2)]);
        bench.settle().await;
        bench.apply(vec![
            remote(11, 2),
            Change::RemoveRoute(net("10.64.3.0/26")),
        ]);
        bench.wait_out(HOLD).await;
        let there = |bench: &Bench, prefix| bench.kernel.routes().contains_key(&key(prefix));
        assert!(there(bench, "10.64.11.0/26"), "others go on");
        assert!(there(bench, "10.64.3.0/26"));
        bench.wait_out(Duration::from_secs(1)).await;
        assert!(!there(bench, "10.64.3.0/26"));
        assert_eq!(bench.status().counters.failed_reads, 2);
    });
}

#[test]
fn one_refused_among_ten_thousand_costs_only_its_own_repetitions() {
    Bench::run(async |bench| {
        let bad = key("10.64.7.0/26");
        bench.kernel.with(|kernel| {
            kernel.refuse = Some(Box::new(move |write| {
                let is_bad = matches!(write, Write::Set { key, .. } if *key == bad);
                is_bad.then(|| refusal(libc::EINVAL, "Nexthop has invalid gateway"))
            }));
        });
        bench.apply((0..10_000).map(|i| remote(i, 2)).collect());
        bench.settle().await;
        assert_eq!(bench.kernel.routes().len(), 9_999);
        assert_eq!(bench.status().writes, 10_000);
        bench.wait_out(Duration::from_secs(10)).await;
        let repeated = bench.status().writes - 10_000;
        // After 0.1, 0.3, 0.7, 1.5, 3.1 and 6.3 seconds.
        assert!((1..=6).contains(&repeated), "{repeated}");
    });
}

#[test]
fn a_refused_route_holds_nobody_back_and_is_tried_again() {
    Bench::run(async |bench| {
        let bad = key("10.64.7.0/26");
        let mut left = 3;
        bench.kernel.with(|kernel| {
            kernel.refuse = Some(Box::new(move |write| {
                let Write::Set { key, .. } = write else {
                    return None;
                };
                (*key == bad && left > 0).then(|| {
                    left -= 1;
                    refusal(libc::EINVAL, "Nexthop has invalid gateway")
                })
            }));
        });
        bench.apply((0..20).map(|i| remote(i, 2)).collect());
        bench.settle().await;
        assert_eq!(bench.kernel.routes().len(), 19);
        let status = bench.status();
        assert_eq!((status.pending, status.failed, status.actual), (1, 1, 19));
        let (name, sentence) = &status.conditions[0];
        assert_eq!(name, "RouteRefused");
        assert!(
            sentence.contains("10.64.7.0/26: Nexthop has invalid gateway"),
            "{sentence}"
        );
        bench.wait_out(Duration::from_secs(5)).await;
        assert_eq!(bench.kernel.routes().len(), 20);
        assert_eq!(bench.status().conditions, []);
        assert_eq!(bench.status().writes, 23);
    });
}

#[test]
fn events_that_were_lost_are_made_good_by_reading() {
    Bench::run(async |bench| {
        bench.apply((0..10).map(|i| remote(i, 2)).collect());
        bench.settle().await;
        bench.kernel.foreign_delete(key("10.64.3.0/26"));
        bench.kernel.with(|kernel| {
            kernel.events = vec![Event::Overrun];
            kernel.fail_reads = 2;
        });
        bench.settle().await;
        bench.wait_out(Duration::from_secs(2)).await;
        assert_eq!(bench.kernel.routes().len(), 10);
        let status = bench.status();
        assert_eq!((status.overruns, status.repairs), (1, 1));
        assert_eq!(bench.kernel.with(|kernel| kernel.reads), 4);
    });
}

#[test]
fn a_deletion_that_no_event_told_is_found_by_the_slow_read() {
    Bench::run(async |bench| {
        bench.apply(vec![remote(1, 2)]);
        bench.settle().await;
        bench.kernel.foreign_delete(key("10.64.1.0/26"));
        bench.kernel.with(|kernel| kernel.events.clear());
        bench.settle().await;
        assert_eq!(bench.kernel.routes().len(), 0);
        bench.wait_out(Duration::from_secs(301)).await;
        assert_eq!(bench.kernel.routes().len(), 1);
    });
}

/// Invariant 8 of docs/architecture.md.
#[test]
fn a_workload_waits_for_one_batch_at_most() {
    Bench::run(async |bench| {
        let device = bench.kernel.add_link("cali1", LinkKind::Ordinary);
        bench.deliver();
        bench.apply((0..2000).map(|i| remote(i, 2)).collect());
        assert_eq!(bench.worker.turn(bench.now).await, Next::Again);
        bench.apply(vec![workload("cali1", "10.233.1.7")]);
        assert_eq!(bench.worker.turn(bench.now).await, Next::Again);
        let batches = bench.kernel.with(|kernel| kernel.batches.clone());
        assert_eq!(batches.len(), 2);
        let sizes: Vec<usize> = batches.iter().map(Vec::len).collect();
        assert_eq!(sizes, [BATCH, BATCH_HURRIED]);
        let Write::Set {
            key: first, spec, ..
        } = &batches[1][0]
        else {
            panic!("{:?}", batches[1][0]);
        };
        assert_eq!(*first, key("10.233.1.7/32"));
        assert!(spec.uses(device));
        bench.settle().await;
        assert_eq!(bench.kernel.routes().len(), 2001);
    });
}

#[test]
fn a_workload_overtakes_changes_that_are_not_read_yet_and_the_last_word_on_it_counts() {
    Bench::run(async |bench| {
        bench.kernel.add_link("cali0", LinkKind::Ordinary);
        bench.kernel.add_link("cali1", LinkKind::Ordinary);
        bench.deliver();
        let mut changes: Vec<Change> = (0..10_000).map(|i| remote(i, 2)).collect();
        changes.push(workload("cali0", "10.233.1.6"));
        changes.push(workload("cali1", "10.233.1.7"));
        bench.apply(changes);
        bench.apply(vec![Change::RemoveEndpoint("cali0".into())]);
        bench.worker.turn(bench.now).await;
        let written = bench.kernel.routes();
        assert!(written.contains_key(&key("10.233.1.7/32")), "{written:?}");
        assert!(written.len() <= BATCH_HURRIED, "{}", written.len());
        bench.settle().await;
        assert_eq!(bench.kernel.routes().len(), 10_001);
        assert!(!bench.kernel.routes().contains_key(&key("10.233.1.6/32")));
    });
}

#[test]
fn changes_that_are_read_in_portions_keep_their_order() {
    Bench::run(async |bench| {
        bench.apply((0..2000).map(|i| remote(i, 2)).collect());
        bench.apply((0..2000).map(|i| remote(i, 3)).collect());
        bench.apply(vec![Change::RemoveRoute(net("10.64.7.0/26"))]);
        bench.settle().await;
        assert_eq!(bench.kernel.routes().len(), 1999);
        let gateways = bench.kernel.routes().into_values();
        let third: Option<IpAddr> = Some([172, 18, 0, 3].into());
        assert!(
            gateways
                .flat_map(|spec| spec.hops().to_vec())
                .all(|hop| hop.via == third)
        );
    });
}

#[test]
fn what_is_wished_for_is_not_deleted_while_there_is_still_much_to_look_at() {
    Bench::run(async |bench| {
        let wishes: Vec<Change> = (0..5000).map(|i| remote(i, 2)).collect();
        bench.apply(wishes.clone());
        bench.settle().await;
        let kernel = bench.kernel.clone();
        kernel.with(|kernel| kernel.batches.clear());
        Bench::restart(kernel, async |bench| {
            bench.apply(vec![Change::SetGate(Gate::Open)]);
            bench.apply(wishes);
            bench.settle().await;
            assert_eq!(bench.status().writes, 0);
            assert_eq!(bench.status().actual, 5000);
        })
        .await;
    });
}

#[test]
fn a_route_that_others_write_is_not_deleted_while_a_wish_for_it_may_be_unread() {
    Bench::run(async |bench| {
        let all: Vec<Change> = (0..9_000).map(|i| remote(i, 2)).collect();
        bench.apply(vec![Change::SetGate(Gate::Open)]);
        bench.apply(all.clone());
        bench.settle().await;
        let spec = bench.kernel.routes().into_values().next().unwrap();
        // Nothing that would be written first.
        bench.apply(all);
        let last = key("10.66.49.128/25");
        let prefix = last.prefix;
        let route = Route::Remote {
            next_hops: vec![[172, 18, 0, 2].into()],
            encapsulation: Encapsulation::None,
        };
        bench.apply(vec![Change::SetRoute(prefix, route)]);
        bench.kernel.foreign_set(last, spec);
        bench.settle().await;
        let deletions = bench.kernel.with(|kernel| {
            let all = kernel.batches.iter().flatten();
            all.filter(|write| matches!(write, Write::Delete { .. }))
                .count()
        });
        assert_eq!(deletions, 0);
        assert_eq!(bench.kernel.routes().len(), 9_001);
    });
}

#[test]
fn a_route_behind_a_gateway_is_not_deleted_while_the_kernel_is_asked_for_the_gateway() {
    Bench::run(async |bench| {
        let behind: IpAddr = [172, 19, 0, 9].into();
        bench.kernel.with(|kernel| {
            let way = through("172.18.0.254", 1);
            kernel.gateways.insert(behind, way);
        });
        let wish = Change::SetRoute(
            net("10.64.9.0/26"),
            Route::Remote {
                next_hops: vec![behind],
                encapsulation: Encapsulation::None,
            },
        );
        bench.apply(vec![wish.clone()]);
        bench.settle().await;
        assert_eq!(bench.kernel.routes().len(), 1);
        let kernel = bench.kernel.clone();
        Bench::restart(kernel, async |bench| {
            bench.apply(vec![wish, Change::SetGate(Gate::Open)]);
            bench.settle().await;
            assert_eq!(bench.status().writes, 0);
            assert_eq!(bench.kernel.routes().len(), 1);
        })
        .await;
    });
}

#[test]
fn a_wish_that_changes_while_it_waits_is_written_once() {
    Bench::run(async |bench| {
        bench.apply(vec![remote(1, 2), remote(1, 3), remote(1, 4)]);
        bench.apply(vec![remote(2, 2), Change::RemoveRoute(net("10.64.2.0/26"))]);
        bench.settle().await;
        let batches = bench.kernel.with(|kernel| kernel.batches.clone());
        let routes = batches.concat().into_iter();
        let routes =
            routes.filter(|write| matches!(write, Write::Set { .. } | Write::Delete { .. }));
        assert_eq!(routes.count(), 1);
        let spec = bench.kernel.routes().into_values().next().unwrap();
        assert_eq!(spec.hops()[0].via, Some("172.18.0.4".parse().unwrap()));
    });
}

#[test]
fn equal_wishes_cost_nothing() {
    Bench::run(async |bench| {
        bench.apply(vec![remote(1, 2)]);
        bench.settle().await;
        bench.apply(vec![remote(1, 2), Change::SetGate(Gate::Closed)]);
        assert_ne!(bench.worker.turn(bench.now).await, Next::Again);
        assert_eq!(bench.status().writes, 1);
    });
}

#[test]
fn a_writer_that_keeps_undoing_is_not_fought_without_pause() {
    Bench::run(async |bench| {
        bench.apply(vec![remote(1, 2)]);
        bench.settle().await;
        let mut writes = 0;
        for _ in 0..50 {
            bench.kernel.foreign_delete(key("10.64.1.0/26"));
            bench.settle().await;
            writes = bench.status().writes;
        }
        assert!(writes < 10, "{writes} writes in no time");
        assert_eq!(bench.status().failed, 1);
        bench.wait_out(Duration::from_secs(1)).await;
        assert_eq!(bench.kernel.routes().len(), 1, "nor is it given up");
    });
}

#[test]
fn a_neighbour_that_nobody_desires_goes_while_the_gate_is_open() {
    Bench::run(async |bench| {
        let device = bench.kernel.add_link("cali1", LinkKind::Ordinary);
        bench.apply(vec![Change::SetGate(Gate::Open)]);
        bench.settle().await;
        let key = NeighbourKey::Address(device, [10, 233, 1, 9].into());
        let set = DeviceChange::SetNeighbour(key, NeighbourValue::Mac([2; 6]));
        bench.kernel.clone().change(&set).await.unwrap();
        bench.settle().await;
        assert_eq!(bench.kernel.with(|kernel| kernel.neighbours.len()), 0);
    });
}

#[test]
fn a_tunnel_that_comes_later_releases_the_routes_that_wait_for_it() {
    Bench::run(async |bench| {
        let tunnels = Tunnels {
            ipip: Some(crate::model::IpipDevice {
                address: "10.233.1.1".parse().unwrap(),
                mtu: None,
            }),
            ..Tunnels::default()
        };
        let route = Route::Remote {
            next_hops: vec!["172.18.0.2".parse().unwrap()],
            encapsulation: Encapsulation::Ipip(crate::model::Mode::Always),
        };
        bench.apply(vec![
            Change::SetTunnels(tunnels),
            Change::SetRoute(net("10.233.2.0/26"), route),
        ]);
        bench.settle().await;
        let status = bench.status();
        assert_eq!((status.failed, status.pending), (1, 1));
        assert_eq!(status.conditions[0].0, "NoIpip");

        bench.kernel.with(|kernel| kernel.has_ipip = true);
        bench.wait_out(Duration::from_secs(60)).await;
        assert_eq!(bench.kernel.routes().len(), 1);
        let status = bench.status();
        assert_eq!((status.failed, status.conditions), (0, vec![]));
    });
}

#[test]
fn an_endpoint_is_settled_when_route_and_neighbour_are_acknowledged() {
    Bench::run(async |bench| {
        let (reply, mut answer) = oneshot::channel();
        bench.apply(vec![workload("cali1", "10.233.1.7")]);
        let ask = Command::Settled {
            device: "cali1".into(),
            patience: Duration::from_secs(60),
            reply,
        };
        bench.worker.handle_command(ask, bench.now);
        bench.settle().await;
        assert!(answer.try_recv().is_err(), "the device is not there");
        bench.kernel.add_link("cali1", LinkKind::Ordinary);
        bench.settle().await;
        assert!(answer.try_recv().unwrap().is_ok());
        assert_eq!(bench.kernel.with(|kernel| kernel.neighbours.len()), 1);

        let (reply, mut answer) = oneshot::channel();
        let ask = Command::Settled {
            device: "cali2".into(),
            patience: Duration::from_secs(1),
            reply,
        };
        bench.worker.handle_command(ask, bench.now);
        bench.wait_out(Duration::from_secs(2)).await;
        let error = answer.try_recv().unwrap().unwrap_err();
        assert_eq!(
            error.to_string(),
            "cali2: not in the kernel after 1s: nobody asked for this endpoint"
        );
    });
}

#[test]
fn an_address_is_gone_when_its_route_is_deleted_or_belongs_to_another() {
    Bench::run(async |bench| {
        let gone = |patience| {
            let (reply, answer) = oneshot::channel();
            let addresses = vec!["10.233.1.7".parse().unwrap()];
            let ask = Command::Gone {
                addresses,
                patience: Duration::from_secs(patience),
                reply,
            };
            (ask, answer)
        };
        bench.kernel.add_link("cali1", LinkKind::Ordinary);
        bench.kernel.add_link("cali2", LinkKind::Ordinary);
        bench.apply(vec![workload("cali1", "10.233.1.7")]);
        bench.settle().await;
        let (ask, mut answer) = gone(1);
        bench.worker.handle_command(ask, bench.now);
        bench.apply(vec![Change::RemoveEndpoint("cali1".into())]);
        bench.settle().await;
        assert!(answer.try_recv().unwrap().is_ok());
        let (ask, mut answer) = gone(1);
        bench.apply(vec![workload("cali2", "10.233.1.7")]);
        bench.worker.handle_command(ask, bench.now);
        bench.settle().await;
        assert!(answer.try_recv().unwrap().is_ok());
    });
}

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
    fn status(&self) -> FibStatus {
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
            next_hops: vec![[172, 18, 0, host].into()],
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
