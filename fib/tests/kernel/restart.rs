//! What a new start does with what is there: ours, Calico's, and everyone else's.

use caracal_fib::{Change, Fib, Gate};

use crate::harness::*;

#[test]
fn a_restart_with_an_equal_state_writes_nothing() {
    in_namespace(|| async {
        add_cali("cali1");
        let wishes = vec![
            workload("cali1", &["10.233.1.7", "fd00:1::7"]),
            blackhole("10.233.1.0/26"),
            blackhole("fd00:1::/122"),
            remote("10.233.2.0/26", &["172.18.0.2"]),
            remote("10.233.3.0/26", &["172.18.0.2", "172.18.0.3"]),
            remote("fd00:2::/122", &["2001:db8:18::2"]),
            remote("fd00:3::/122", &["2001:db8:18::2", "2001:db8:18::3"]),
            open(),
        ];
        let fib = start().await;
        fib.apply(wishes.clone());
        let status = settle(&fib).await;
        assert_eq!((status.desired, status.actual, status.writes), (8, 8, 8));
        drop(fib);

        let before = (ours("-4"), ours("-6"));
        let fib = start().await;
        let status = fib.status().borrow().clone();
        assert_eq!((status.in_sync, status.actual, status.stale), (true, 8, 8));
        fib.apply(wishes);
        let status = settle(&fib).await;
        assert_eq!((status.desired, status.actual, status.stale), (8, 8, 0));
        assert_eq!(status.writes, 0);
        assert_eq!((ours("-4"), ours("-6")), before);
    });
}

#[test]
fn stale_routes_go_only_as_the_gate_allows() {
    in_namespace(|| async {
        add_cali("cali1");
        let fib = start_with_stale_routes().await;
        assert_eq!(fib.status().borrow().stale, 4);

        fib.apply(vec![Change::SetGate(Gate::LocalOnly)]);
        until(&fib, "local ones are gone", |s| s.actual == 2).await;
        assert_eq!(
            ours("-4"),
            [
                "10.233.2.0/26 via 172.18.0.2 dev eth0",
                "10.233.3.0/26 via 172.18.0.3 dev eth0"
            ]
        );
        fib.apply(vec![Change::SetGate(Gate::OpenExcept(vec![address(
            "172.18.0.3",
        )]))]);
        until(&fib, "one peer is absent", |s| s.actual == 1).await;
        assert_eq!(ours("-4"), ["10.233.3.0/26 via 172.18.0.3 dev eth0"]);
        fib.apply(vec![open()]);
        until(&fib, "all are gone", |s| s.actual == 0).await;
        assert_eq!(ours("-4"), [""; 0]);
    });
}

#[test]
fn the_gateway_of_an_absent_peer_protects_its_routes() {
    in_namespace(|| async {
        ip("route add default via 172.18.0.254");
        let fib = start().await;
        fib.apply(vec![
            remote("10.233.2.0/26", &["172.19.0.2"]),
            remote("10.233.3.0/26", &["172.18.0.3"]),
        ]);
        settle(&fib).await;
        drop(fib);
        let fib = start().await;
        fib.apply(vec![Change::SetGate(Gate::OpenExcept(vec![address(
            "172.19.0.2",
        )]))]);
        until(&fib, "the other is gone", |s| s.actual == 1).await;
        settle(&fib).await;
        assert_eq!(ours("-4"), ["10.233.2.0/26 via 172.18.0.254 dev eth0"]);
    });
}

#[test]
fn a_wish_for_a_stale_route_needs_no_write_and_a_wish_that_differs_replaces_it() {
    in_namespace(|| async {
        add_cali("cali1");
        let fib = start_with_stale_routes().await;
        fib.apply(vec![
            remote("10.233.2.0/26", &["172.18.0.2"]),
            remote("10.233.3.0/26", &["172.18.0.4"]),
        ]);
        let status = settle(&fib).await;
        assert_eq!((status.writes, status.stale), (1, 2));
        assert!(ours("-4").contains(&"10.233.3.0/26 via 172.18.0.4 dev eth0".into()));
    });
}

#[test]
fn routes_of_calico_are_replaced_first_and_deleted_last() {
    in_namespace(|| async {
        add_cali("cali1");
        add_cali("cali2");
        for line in [
            // Felix: equal prefix and metric; another metric; not desired.
            "route add 10.233.1.7 dev cali1 scope link proto 80",
            "route add 10.233.1.8 dev cali2 scope link proto 80 metric 1024",
            "route add blackhole 10.233.9.0/26 proto 80",
            // The plugin's, without a protocol of its own.
            "route add 10.233.1.9 dev cali2 scope link",
            // BIRD: desired, and not.
            "route add 10.233.2.0/26 via 172.18.0.2 proto bird",
            "route add blackhole 10.233.1.0/26 proto bird",
            "route add 10.233.8.0/26 via 172.18.0.2 proto bird",
            // Not ours to touch.
            "route add 10.77.0.0/16 via 172.18.0.2 proto static",
            "route add 10.233.1.99 dev cali2 scope link proto static",
        ] {
            ip(line);
        }
        let fib = start().await;
        fib.apply(vec![
            workload("cali1", &["10.233.1.7"]),
            workload("cali2", &["10.233.1.8", "10.233.1.9"]),
            remote("10.233.2.0/26", &["172.18.0.2"]),
            blackhole("10.233.1.0/26"),
        ]);
        settle(&fib).await;
        assert_eq!(
            ours("-4"),
            [
                "blackhole 10.233.1.0/26",
                "10.233.1.7 dev cali1 scope link",
                "10.233.1.8 dev cali2 scope link",
                "10.233.1.9 dev cali2 scope link",
                "10.233.2.0/26 via 172.18.0.2 dev eth0"
            ]
        );
        until_kernel("the one beside ours is gone", || {
            !ip("route show proto 80").contains("10.233.1.8")
        })
        .await;
        let all = ip("route show");
        assert!(all.contains("blackhole 10.233.9.0/26 proto 80"), "{all}");

        fib.apply(vec![open()]);
        until_kernel("what nobody needs is gone", || {
            !ip("route show").contains("10.233.9.0/26")
        })
        .await;
        let all = ip("route show");
        for kept in [
            "10.77.0.0/16 via 172.18.0.2 dev eth0 proto static",
            "10.233.1.99 dev cali2 proto static scope link",
            "10.233.8.0/26 via 172.18.0.2 dev eth0 proto bird",
        ] {
            assert!(all.contains(kept), "{kept} is gone: {all}");
        }
        let routes = all
            .lines()
            .filter(|line| line.contains("10.233.1.8"))
            .count();
        assert_eq!(routes, 1);
    });
}

#[test]
fn ipv6_routes_of_calico_are_taken_over_too() {
    in_namespace(|| async {
        add_cali("cali1");
        for line in [
            "-6 route add fd00:1::7 dev cali1 proto 80",
            "-6 route add fd00:1::8 dev cali1",
            "-6 route add fd00:1::9 dev cali1 proto 80 metric 512",
            "-6 route add blackhole fd00:1::/122 proto bird",
            "-6 route add fd00:2::/122 via 2001:db8:18::66 proto bird",
            "-6 route add fd00:3::/122 via 2001:db8:18::66 proto static",
        ] {
            ip(line);
        }
        let fib = start().await;
        fib.apply(vec![
            workload("cali1", &["fd00:1::7", "fd00:1::8", "fd00:1::9"]),
            blackhole("fd00:1::/122"),
            remote("fd00:2::/122", &["2001:db8:18::2"]),
            open(),
        ]);
        settle(&fib).await;
        until_kernel("the one beside ours is gone", || {
            !ip("-6 route show").contains("metric 512")
        })
        .await;
        assert_eq!(
            ours("-6"),
            [
                "fd00:1::7 dev cali1 metric 1024 pref medium",
                "fd00:1::8 dev cali1 metric 1024 pref medium",
                "fd00:1::9 dev cali1 metric 1024 pref medium",
                "blackhole fd00:1::/122 dev lo metric 1024 pref medium",
                "fd00:2::/122 via 2001:db8:18::2 dev eth0 metric 1024 pref medium"
            ]
        );
        let all = ip("-6 route show");
        assert!(all.contains("fd00:3::/122 via 2001:db8:18::66 dev eth0 proto static"));
        let ours_and_theirs = all.lines().filter(|line| line.starts_with("fd00:1::"));
        assert_eq!(ours_and_theirs.count(), 3, "{all}");
    });
}

async fn start_with_stale_routes() -> Fib {
    let fib = start().await;
    fib.apply(vec![
        workload("cali1", &["10.233.1.7"]),
        blackhole("10.233.1.0/26"),
        remote("10.233.2.0/26", &["172.18.0.2"]),
        remote("10.233.3.0/26", &["172.18.0.3"]),
    ]);
    settle(&fib).await;
    drop(fib);
    start().await
}
