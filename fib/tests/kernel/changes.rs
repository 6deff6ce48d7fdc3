//! What others do to the kernel while we run.

use crate::harness::*;

#[test]
fn a_route_deleted_or_replaced_by_someone_else_is_repaired() {
    in_namespace(|| async {
        let fib = start().await;
        fib.apply(vec![
            remote("10.233.2.0/26", &["172.18.0.2"]),
            remote("fd00:2::/122", &["2001:db8:18::2"]),
        ]);
        settle(&fib).await;

        ip("route del 10.233.2.0/26");
        let status = until(&fib, "repaired", |s| s.repairs == 1 && s.pending == 0).await;
        assert_eq!(status.actual, 2);
        assert_eq!(ours("-4"), ["10.233.2.0/26 via 172.18.0.2 dev eth0"]);

        ip("route replace 10.233.2.0/26 via 172.18.0.66");
        until(&fib, "repaired", |s| s.repairs == 2 && s.pending == 0).await;
        assert_eq!(ours("-4"), ["10.233.2.0/26 via 172.18.0.2 dev eth0"]);

        ip("route replace 10.233.2.0/26 via 172.18.0.66 proto 67");
        until(&fib, "repaired", |s| s.repairs == 3 && s.pending == 0).await;
        assert_eq!(ours("-4"), ["10.233.2.0/26 via 172.18.0.2 dev eth0"]);

        ip("-6 route del fd00:2::/122");
        until(&fib, "repaired", |s| s.repairs == 4 && s.pending == 0).await;
        ip("-6 route replace fd00:2::/122 via 2001:db8:18::66");
        until(&fib, "repaired", |s| s.repairs == 5 && s.pending == 0).await;
        let routes = ip("-6 route show fd00:2::/122");
        assert_eq!(routes.lines().count(), 1, "{routes}");
        assert!(
            routes.contains("via 2001:db8:18::2 dev eth0 proto 67"),
            "{routes}"
        );
        let status = fib.status().borrow().clone();
        assert_eq!(status.resyncs, 1, "events are enough");
    });
}

#[test]
fn a_flush_of_all_our_routes_is_repaired() {
    in_namespace(|| async {
        let fib = start().await;
        let wishes: Vec<_> = (0..200)
            .map(|i| remote(&format!("10.234.{i}.0/26"), &["172.18.0.2"]))
            .collect();
        fib.apply(wishes);
        settle(&fib).await;
        show_objects_only();
        // It stops where a route that it deletes has been written anew meanwhile.
        try_ip("route flush proto 67").ok();
        until(&fib, "repaired", |s| s.repairs > 0).await;
        until_kernel("all are there", || ours("-4").len() == 200).await;
        settle(&fib).await;
    });
}

#[test]
fn routes_are_back_after_the_link_of_the_host_was_down() {
    in_namespace(|| async {
        let fib = start().await;
        fib.apply(vec![
            remote("10.233.2.0/26", &["172.18.0.2"]),
            remote("fd00:2::/122", &["2001:db8:18::2"]),
            blackhole("10.233.1.0/26"),
        ]);
        settle(&fib).await;
        ip("link set eth0 down");
        until(&fib, "waits", |s| s.failed == 2).await;
        assert_eq!(ours("-4"), ["blackhole 10.233.1.0/26"]);
        ip("link set eth0 up");
        // IPv6 addresses go with the link.
        ip("addr add 2001:db8:18::1/64 dev eth0 nodad");
        settle(&fib).await;
        assert_eq!(ours("-4").len(), 2);
        assert_eq!(ours("-6").len(), 1);
        assert_eq!(fib.status().borrow().repairs, 0, "nobody meddled");
    });
}

#[test]
fn a_link_that_flaps_ends_with_all_routes() {
    in_namespace(|| async {
        add_cali("cali1");
        let fib = start().await;
        fib.apply(vec![workload("cali1", &["10.233.1.7"])]);
        fib.endpoint_settled("cali1", PATIENCE).await.unwrap();
        for _ in 0..20 {
            ip("link set cali1 down");
            ip("link set cali1 up");
        }
        until_kernel("route and neighbour are there", || {
            ours("-4") == ["10.233.1.7 dev cali1 scope link"]
                && ip("neigh show dev cali1 nud permanent").contains("10.233.1.7")
        })
        .await;
        settle(&fib).await;
    });
}

#[test]
fn a_renumbered_host_moves_its_routes() {
    in_namespace(|| async {
        let fib = start().await;
        fib.apply(vec![remote("10.233.2.0/26", &["172.20.0.2"])]);
        until(&fib, "waits", |s| s.failed == 1).await;
        ip("link add eth1 type veth peer name peer1");
        ip("link set peer1 up");
        ip("link set eth1 up");
        ip("addr add 172.20.0.1/24 dev eth1");
        settle(&fib).await;
        assert_eq!(ours("-4"), ["10.233.2.0/26 via 172.20.0.2 dev eth1"]);
        ip("addr del 172.20.0.1/24 dev eth1");
        ip("addr add 172.20.0.1/24 dev eth0");
        until_kernel("on the other device", || {
            ours("-4") == ["10.233.2.0/26 via 172.20.0.2 dev eth0"]
        })
        .await;
    });
}

#[test]
fn a_neighbour_entry_deleted_by_someone_else_is_repaired() {
    in_namespace(|| async {
        add_cali("cali1");
        let fib = start().await;
        fib.apply(vec![workload("cali1", &["10.233.1.7"])]);
        fib.endpoint_settled("cali1", PATIENCE).await.unwrap();
        ip("neigh del 10.233.1.7 dev cali1");
        until_kernel("the neighbour is back", || {
            ip("neigh show dev cali1 nud permanent").contains("10.233.1.7")
        })
        .await;
        ip("neigh replace 10.233.1.7 lladdr 02:00:00:00:00:99 dev cali1 nud permanent");
        until_kernel("the neighbour has its MAC again", || {
            ip("neigh show dev cali1 nud permanent").contains("02:00:00:00:00:07")
        })
        .await;
    });
}

#[test]
fn twenty_thousand_routes_arrive_and_a_workload_passes_them() {
    in_namespace(|| async {
        add_cali("cali1");
        let fib = start().await;
        let wishes: Vec<_> = (0..20_000u32)
            .map(|i| {
                let block = format!("10.{}.{}.{}/26", 64 + i / 1024, i / 4 % 256, i % 4 * 64);
                remote(&block, &["172.18.0.2"])
            })
            .collect();
        fib.apply(wishes.clone());
        fib.apply(vec![workload("cali1", &["10.233.1.7"]), open()]);
        fib.endpoint_settled("cali1", PATIENCE).await.unwrap();
        let status = settle(&fib).await;
        assert_eq!((status.actual, status.writes), (20_001, 20_001));
        assert_eq!(ours("-4").len(), 20_001);
        assert_eq!((status.overruns, status.resyncs), (0, 1));
        drop(fib);

        let fib = start().await;
        fib.apply(wishes);
        fib.apply(vec![workload("cali1", &["10.233.1.7"]), open()]);
        let status = settle(&fib).await;
        assert_eq!((status.actual, status.stale, status.writes), (20_001, 0, 0));
    });
}
