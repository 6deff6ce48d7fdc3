//! What is cheap, however much there is.

use super::*;

/// Twenty thousand routes of others and two hundred pods, which all go.
#[test]
fn a_pods_device_that_goes_costs_no_walk_over_all_routes() {
    Bench::run(async |bench| {
        let devices: Vec<u32> = (0..200)
            .map(|i| {
                bench
                    .kernel
                    .add_link(&format!("cali{i}"), LinkKind::Ordinary)
            })
            .collect();
        bench.deliver();
        bench.apply((0..20_000).map(|i| remote(i, 2)).collect());
        let pods = (0..200).map(|i| workload(&format!("cali{i}"), &format!("10.233.1.{i}")));
        bench.apply(pods.collect());
        bench.settle().await;
        assert_eq!(bench.kernel.routes().len(), 20_200);
        let walks = bench.worker.walks;
        for (i, device) in devices.iter().enumerate() {
            // The endpoint goes before its device, after it, or stays.
            let remove = vec![Change::RemoveEndpoint(format!("cali{i}"))];
            match i % 3 {
                0 => {
                    bench.apply(remove);
                    bench.kernel.set_up(*device, false);
                    bench.kernel.delete_link(*device);
                    bench.deliver();
                }
                1 => {
                    bench.kernel.set_up(*device, false);
                    bench.kernel.delete_link(*device);
                    bench.deliver();
                    bench.apply(remove);
                }
                _ => {
                    bench.kernel.set_up(*device, false);
                    bench.kernel.delete_link(*device);
                }
            }
            bench.settle().await;
        }
        assert_eq!(bench.worker.walks, walks);
        assert_eq!(bench.kernel.routes().len(), 20_000);
        let status = bench.status();
        assert_eq!((status.actual, status.repairs), (20_000, 0));
    });
}

/// Its route has been elsewhere meanwhile.
#[test]
fn nor_does_one_that_had_come_back_cost_a_read() {
    Bench::run(async |bench| {
        let device = bench.kernel.add_link("cali1", LinkKind::Ordinary);
        bench.deliver();
        let there = Route::Remote {
            next_hops: smallvec![[172, 18, 0, 9].into()],
            encapsulation: Encapsulation::None,
        };
        bench.apply(vec![
            workload("cali1", "10.233.1.7"),
            Change::SetRoute(net("10.233.1.7/32"), there),
        ]);
        bench.settle().await;
        for _ in 0..3 {
            bench.apply(vec![Change::RemoveEndpoint("cali1".into())]);
            bench.settle().await;
            bench.apply(vec![workload("cali1", "10.233.1.7")]);
            bench.settle().await;
        }
        let reads = bench.kernel.with(|kernel| kernel.reads);
        bench.kernel.set_up(device, false);
        bench.kernel.delete_link(device);
        bench.wait_out(Duration::from_secs(2)).await;
        assert_eq!(bench.kernel.with(|kernel| kernel.reads), reads);
    });
}

#[test]
fn the_status_is_told_now_and_then_and_not_at_each_event() {
    Bench::run(async |bench| {
        bench.apply(vec![remote(1, 2)]);
        bench.wait_out(Duration::from_secs(1)).await;
        let before = bench.status.borrow_and_update().resyncs;
        for i in 0..100 {
            let lost = Event::SocketLost(Lane::Events, format!("attempt {i}"));
            bench.worker.handle_event(lost, bench.now);
            let next = bench.worker.turn(bench.now).await;
            // The first is told at once, the others when their time has come.
            let told = bench.status.has_changed().unwrap();
            assert_eq!(told, i == 0, "{i}");
            if told {
                bench.status.mark_unchanged();
            } else {
                assert_eq!(next, Next::At(bench.now + PUBLISH_INTERVAL));
            }
        }
        bench.now += PUBLISH_INTERVAL;
        bench.worker.turn(bench.now).await;
        let status = bench.status.borrow_and_update().clone();
        assert_eq!(
            (status.counters.lost_sockets, status.resyncs),
            (100, before)
        );
        let condition = status
            .conditions
            .iter()
            .find(|(name, _)| name == "SocketLost");
        assert!(condition.unwrap().1.contains("attempt 99"));
    });
}

/// One end of its trie after the other is dear for the kernel: see [`plan::SCATTERED`].
#[test]
fn very_many_routes_go_from_all_over_the_table_and_each_once() {
    Bench::run(async |bench| {
        bench.apply((0..20_000).map(|i| remote(i, 2)).collect());
        bench.settle().await;
        bench.kernel.with(|kernel| kernel.batches.clear());
        let removed = (0..20_000).map(|i| match remote(i, 2) {
            Change::SetRoute(prefix, _) => Change::RemoveRoute(prefix),
            other => other,
        });
        bench.apply(removed.collect());
        bench.settle().await;
        assert!(bench.kernel.routes().is_empty());
        let batches = bench.kernel.with(|kernel| kernel.batches.clone());
        let deleted: Vec<Key> = batches.iter().flatten().filter_map(Write::key).collect();
        assert_eq!(deleted.len(), 20_000);
        let mut sorted = deleted.clone();
        sorted.sort_unstable();
        let upper = deleted[..10_000]
            .iter()
            .filter(|key| **key > sorted[10_000]);
        let upper = upper.count();
        assert!(
            upper > 2_500,
            "{upper} of the first 10,000 are of the upper half"
        );
    });
}
