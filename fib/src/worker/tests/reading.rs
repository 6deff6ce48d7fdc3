//! Reads that go on while others write, and we do.

use super::*;
use crate::kernel::{Hop, Spec};

/// Invariant 8 of docs/architecture.md.
#[test]
fn a_workload_does_not_wait_for_a_read() {
    Bench::run(async |bench| {
        bench.kernel.add_link("cali1", LinkKind::Ordinary);
        bench.apply((0..10).map(|i| remote(i, 2)).collect());
        bench.settle().await;
        begin(bench).await;
        bench.apply(vec![workload("cali1", "10.233.1.7")]);
        bench.worker.turn(bench.now).await;
        assert_eq!(bench.kernel.routes().len(), 11);
        bench.settle().await;
        let before = bench.status();
        assert_eq!(before.resyncs, 1, "it is still under way");
        bench.kernel.let_reads_arrive();
        bench.settle().await;
        let after = bench.status();
        assert_eq!((after.resyncs, after.actual), (2, 11));
        assert_eq!((after.writes, after.repairs), (before.writes, 0));
    });
}

#[test]
fn what_is_written_while_the_kernel_is_read_is_not_taken_back_by_the_read() {
    Bench::run(async |bench| {
        bench.apply((0..10).map(|i| remote(i, 2)).collect());
        bench.settle().await;
        begin(bench).await;
        let mut changes: Vec<Change> = (10..20).map(|i| remote(i, 2)).collect();
        changes.extend((0..5).map(|i| Change::RemoveRoute(net(&format!("10.64.{i}.0/26")))));
        changes.push(remote(5, 3));
        bench.apply(changes);
        bench.settle().await;
        let before = bench.status();
        assert_eq!((before.actual, before.resyncs), (15, 1));
        bench.kernel.let_reads_arrive();
        bench.wait_out(Duration::from_secs(5)).await;
        let after = bench.status();
        assert_eq!((after.actual, after.resyncs), (15, 2));
        assert_eq!((after.writes, after.repairs), (before.writes, 0));
        assert_eq!(after.object_writes, before.object_writes);
        let moved = &bench.kernel.routes()[&key("10.64.5.0/26")];
        assert_eq!(moved.hops()[0].via, Some([172, 18, 0, 3].into()));
    });
}

#[test]
fn what_is_heard_while_the_kernel_is_read_is_newer_than_the_read() {
    Bench::run(async |bench| {
        bench.apply((0..10).map(|i| remote(i, 2)).collect());
        bench.apply(vec![Change::SetGate(Gate::Open)]);
        bench.settle().await;
        // The read shows an intruder that is gone when it arrives.
        let intruder = key("10.99.0.0/24");
        bench.kernel.with(|kernel| {
            kernel.late_reads = Some(Vec::new());
            kernel.events = vec![Event::Overrun];
            let spec = Spec::blackhole(67);
            kernel.routes.insert(intruder, spec);
        });
        bench.deliver();
        bench.now += Duration::from_secs(1);
        bench.worker.turn(bench.now).await;
        bench.kernel.foreign_delete(intruder);
        bench.kernel.foreign_delete(key("10.64.3.0/26"));
        bench.settle().await;
        assert_eq!(bench.kernel.routes().len(), 10, "repaired meanwhile");
        let writes = bench.status().writes;
        bench.kernel.let_reads_arrive();
        bench.settle().await;
        let status = bench.status();
        assert_eq!((status.actual, status.writes), (10, writes));
    });
}

#[test]
fn what_a_device_lost_while_the_kernel_was_read_is_written_again() {
    Bench::run(async |bench| {
        bench.apply((0..10).map(|i| remote(i, 2)).collect());
        let device = bench.kernel.add_link("cali1", LinkKind::Ordinary);
        bench.apply(vec![workload("cali1", "10.233.1.7")]);
        bench.settle().await;
        begin(bench).await;
        for up in [false, true] {
            bench.kernel.set_up(device, up);
            bench.kernel.set_up(1, up);
        }
        bench.settle().await;
        bench.kernel.let_reads_arrive();
        bench.wait_out(Duration::from_secs(2)).await;
        assert_eq!(bench.kernel.routes().len(), 11);
        let status = bench.status();
        assert_eq!((status.actual, status.pending, status.repairs), (11, 0, 0));
    });
}

#[test]
fn a_read_that_began_before_a_batch_was_lost_does_not_settle_it() {
    Bench::run(async |bench| {
        bench.apply((0..10).map(|i| remote(i, 2)).collect());
        bench.settle().await;
        begin(bench).await;
        bench.kernel.with(|kernel| kernel.lose_answers = 1);
        bench.apply(vec![remote(10, 2)]);
        bench.settle().await;
        let old = bench.kernel.with(|kernel| kernel.late_reads.take());
        bench
            .kernel
            .with(|kernel| kernel.late_reads = Some(Vec::new()));
        bench.apply(vec![Change::RemoveRoute(net("10.64.3.0/26"))]);
        for (reply, tables) in old.into_iter().flatten() {
            reply.send(Ok(tables)).unwrap();
        }
        bench.wait_out(Duration::from_secs(1)).await;
        assert_eq!(bench.status().resyncs, 2);
        let there = |bench: &Bench| bench.kernel.routes().contains_key(&key("10.64.3.0/26"));
        assert!(there(bench), "the next read is under way");
        bench.kernel.let_reads_arrive();
        bench.settle().await;
        assert!(!there(bench));
        assert!(bench.status().resyncs >= 3);
    });
}

#[test]
fn a_read_that_ends_without_an_answer_is_tried_again() {
    Bench::run(async |bench| {
        bench.apply((0..10).map(|i| remote(i, 2)).collect());
        bench.settle().await;
        begin(bench).await;
        bench.kernel.with(|kernel| kernel.late_reads = None);
        bench.settle().await;
        let status = bench.status();
        assert_eq!(status.counters.failed_reads, 1);
        assert_eq!(status.conditions[0].0, "KernelUnread");
        bench.kernel.foreign_delete(key("10.64.3.0/26"));
        bench.kernel.with(|kernel| kernel.events.clear());
        bench.wait_out(Duration::from_secs(1)).await;
        assert_eq!(bench.kernel.routes().len(), 10);
        let status = bench.status();
        assert_eq!((status.resyncs, status.conditions), (2, vec![]));
    });
}

/// Linux goes on with a dump of IPv6 routes by counting: others are passed over when some are deleted meanwhile.
#[test]
fn an_ipv6_route_that_a_read_has_passed_over_is_not_taken_for_deleted() {
    Bench::run(async |bench| {
        bench.kernel.add_address(1, "2001:db8:18::1/64");
        let wish = |i: u32| {
            let route = Route::Remote {
                next_hops: smallvec!["2001:db8:18::2".parse().unwrap()],
                encapsulation: Encapsulation::None,
            };
            Change::SetRoute(net(&format!("fd00:{i}::/64")), route)
        };
        bench.apply((1..10).map(wish).collect());
        bench.settle().await;
        begin(bench).await;
        let passed_over = Key::new(net("fd00:9::/64"), 0);
        bench.kernel.with(|kernel| {
            let (_, tables) = &mut kernel.late_reads.as_mut().unwrap()[0];
            tables.routes.retain(|(key, _)| *key != passed_over);
        });
        bench.apply(vec![Change::RemoveRoute(net("fd00:1::/64"))]);
        bench.settle().await;
        let before = bench.status();
        bench.kernel.let_reads_arrive();
        bench.settle().await;
        let after = bench.status();
        assert_eq!((after.actual, after.writes), (8, before.writes));
        assert_eq!(after.repairs, 0);
        bench.wait_out(Duration::from_secs(1)).await;
        assert_eq!(bench.status().resyncs, 3, "another read tells");
    });
}

/// A read that does not arrive yet.
async fn begin(bench: &mut Bench) {
    bench.kernel.with(|kernel| {
        kernel.late_reads = Some(Vec::new());
        kernel.events = vec![Event::Overrun];
    });
    bench.deliver();
    // Reads that events ask for have a distance.
    bench.now += Duration::from_secs(1);
    bench.worker.turn(bench.now).await;
    let begun = bench
        .kernel
        .with(|kernel| kernel.late_reads.as_ref().map(Vec::len));
    assert_eq!(begun, Some(1));
}

/// The kernel's own routes of a new device, and what is read of them before it is told.
#[test]
fn a_route_that_is_none_of_our_business_leaves_no_doubt() {
    Bench::run(async |bench| {
        bench.apply((0..10).map(|i| remote(i, 2)).collect());
        bench.settle().await;
        let device = bench.kernel.add_link("cali1", LinkKind::Ordinary);
        begin(bench).await;
        doubtful_route(bench, device, 2);
        bench.wait_out(Duration::from_secs(60)).await;
        assert_eq!(bench.status().resyncs, 2);
    });
}

#[test]
fn reads_that_leave_doubts_come_to_an_end() {
    Bench::run(async |bench| {
        bench.apply((0..10).map(|i| remote(i, 2)).collect());
        bench.settle().await;
        let device = bench.kernel.add_link("cali1", LinkKind::Ordinary);
        begin(bench).await;
        let mut reads = 0;
        while bench.kernel.with(|kernel| {
            let late = kernel.late_reads.as_ref();
            late.is_some_and(|late| !late.is_empty())
        }) {
            reads += 1;
            assert!(reads < 10, "one read after the other");
            doubtful_route(bench, device, 67);
            bench
                .kernel
                .with(|kernel| kernel.late_reads = Some(Vec::new()));
            bench.wait_out(Duration::from_secs(2)).await;
        }
        assert_eq!(reads, 4);
        assert_eq!(bench.status().actual, 10);
    });
}

/// The read that is under way shows a route on a device of which the kernel said something meanwhile.
fn doubtful_route(bench: &mut Bench, device: u32, protocol: u8) {
    for up in [false, true] {
        bench.kernel.set_up(device, up);
    }
    bench.deliver();
    let hop = Hop {
        via: None,
        device,
        onlink: false,
        weight: 0,
    };
    let prefix = net("fe80::/64");
    let spec = Spec::unicast(protocol, &prefix, [hop].into_iter().collect());
    bench.kernel.with(|kernel| {
        let (_, tables) = &mut kernel.late_reads.as_mut().unwrap()[0];
        tables.routes.push((Key::new(prefix, 256), spec));
    });
    bench.kernel.let_reads_arrive();
}
