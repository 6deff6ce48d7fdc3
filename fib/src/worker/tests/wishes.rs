//! In which order wishes are read, looked at and written.

use super::*;

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

/// The workload has moved to another node, and is reached there at once.
#[test]
fn a_workloads_route_stays_until_the_unread_one_that_replaces_it_is_written() {
    Bench::run(async |bench| {
        bench.kernel.add_link("cali0", LinkKind::Ordinary);
        bench.kernel.add_link("cali1", LinkKind::Ordinary);
        bench.deliver();
        let all: Vec<Change> = (0..5_000).map(|i| remote(i, 2)).collect();
        bench.apply(all.clone());
        bench.apply(vec![
            Change::SetGate(Gate::Open),
            workload("cali0", "10.233.1.6"),
            workload("cali1", "10.233.1.7"),
        ]);
        bench.settle().await;
        let moved = key("10.233.1.7/32");
        let there = Route::Remote {
            next_hops: smallvec![[172, 18, 0, 9].into()],
            encapsulation: Encapsulation::None,
        };
        // Nothing that would be written first.
        let mut changes = all;
        changes.push(Change::SetRoute(moved.prefix, there));
        changes.push(Change::RemoveEndpoint("cali0".into()));
        changes.push(Change::RemoveEndpoint("cali1".into()));
        bench.apply(changes);
        bench.worker.turn(bench.now).await;
        let routes = bench.kernel.routes();
        assert!(!routes.contains_key(&key("10.233.1.6/32")), "it hurries");
        while bench.worker.turn(bench.now).await == Next::Again {
            assert!(bench.kernel.routes().contains_key(&moved));
            bench.deliver();
        }
        let routes = bench.kernel.routes();
        let via: Option<IpAddr> = Some([172, 18, 0, 9].into());
        assert_eq!(routes[&moved].hops()[0].via, via);
        assert_eq!(routes.len(), 5_001);

        // One that was to replace it, and then was not.
        let mut changes: Vec<Change> = (0..5_000).map(|i| remote(i, 3)).collect();
        changes.push(Change::SetRoute(net("10.233.1.8/32"), Route::Blackhole));
        changes.push(Change::RemoveRoute(net("10.233.1.8/32")));
        bench.apply(vec![workload("cali1", "10.233.1.8")]);
        bench.settle().await;
        changes.push(Change::RemoveEndpoint("cali1".into()));
        bench.apply(changes);
        bench.settle().await;
        assert!(!bench.kernel.routes().contains_key(&key("10.233.1.8/32")));
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
            next_hops: smallvec![[172, 18, 0, 2].into()],
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
                next_hops: smallvec![behind],
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
