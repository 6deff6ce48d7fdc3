//! Routes to remote blocks and blackholes.

use caracal_fib::{Change, Gate, Route};

use crate::harness::*;

#[test]
fn a_remote_block_goes_directly_through_the_subnet_of_its_next_hop() {
    in_namespace(|| async {
        let fib = start().await;
        fib.apply(vec![
            remote("10.233.2.0/26", &["172.18.0.2"]),
            remote("fd00:233:2::/122", &["2001:db8:18::2"]),
            blackhole("10.233.1.0/26"),
            blackhole("fd00:233:1::/122"),
        ]);
        let status = settle(&fib).await;
        assert_eq!((status.desired, status.actual), (4, 4));
        assert_eq!(
            ours("-4"),
            [
                "blackhole 10.233.1.0/26",
                "10.233.2.0/26 via 172.18.0.2 dev eth0"
            ]
        );
        assert_eq!(
            ours("-6"),
            [
                "blackhole fd00:233:1::/122 dev lo metric 1024 pref medium",
                "fd00:233:2::/122 via 2001:db8:18::2 dev eth0 metric 1024 pref medium"
            ]
        );
        let ways: Vec<_> = fib
            .routes()
            .await
            .unwrap()
            .into_iter()
            .map(|r| r.way)
            .collect();
        assert_eq!(
            ways,
            [
                "blackhole",
                "via 172.18.0.2 dev eth0",
                "blackhole",
                "via 2001:db8:18::2 dev eth0"
            ]
        );

        fib.apply(vec![
            Change::RemoveRoute(net("10.233.2.0/26")),
            Change::RemoveRoute(net("fd00:233:2::/122")),
            Change::RemoveRoute(net("10.233.1.0/26")),
            Change::RemoveRoute(net("fd00:233:1::/122")),
        ]);
        settle(&fib).await;
        assert_eq!(ours("-4"), [""; 0], "a wish taken back needs no gate");
        assert_eq!(ours("-6"), [""; 0]);
    });
}

#[test]
fn a_next_hop_behind_a_router_is_reached_through_the_router_and_follows_it() {
    in_namespace(|| async {
        ip("route add default via 172.18.0.254");
        let fib = start().await;
        fib.apply(vec![remote("10.233.2.0/26", &["172.19.0.2"])]);
        settle(&fib).await;
        assert_eq!(ours("-4"), ["10.233.2.0/26 via 172.18.0.254 dev eth0"]);

        ip("route add 172.19.0.0/24 via 172.18.0.253");
        until_kernel("follows the longer route", || {
            ours("-4") == ["10.233.2.0/26 via 172.18.0.253 dev eth0"]
        })
        .await;
        ip("route del 172.19.0.0/24 via 172.18.0.253");
        until_kernel("goes back to the default route", || {
            ours("-4") == ["10.233.2.0/26 via 172.18.0.254 dev eth0"]
        })
        .await;
    });
}

#[test]
fn a_next_hop_that_nothing_leads_to_waits_and_hold_nobody_back() {
    in_namespace(|| async {
        let fib = start().await;
        fib.apply(vec![
            remote("10.233.2.0/26", &["172.19.0.2"]),
            remote("10.233.3.0/26", &["172.18.0.3"]),
        ]);
        let status = until(&fib, "one waits", |s| s.failed == 1 && s.actual == 1).await;
        assert_eq!(status.pending, 1);
        let routes = fib.routes().await.unwrap();
        let reason = routes[0].reason.clone().unwrap();
        assert!(
            reason.contains("next hop 172.19.0.2 is unreachable"),
            "{reason}"
        );
        ip("addr add 172.19.0.1/24 dev eth0");
        settle(&fib).await;
        assert!(ours("-4").contains(&"10.233.2.0/26 via 172.19.0.2 dev eth0".into()));
    });
}

#[test]
fn several_next_hops_are_one_multipath_route() {
    in_namespace(|| async {
        let fib = start().await;
        fib.apply(vec![
            remote("10.233.2.0/26", &["172.18.0.3", "172.18.0.2"]),
            remote("fd00:2::/122", &["2001:db8:18::3", "2001:db8:18::2"]),
        ]);
        settle(&fib).await;
        assert_eq!(
            ours("-4").join(" "),
            "10.233.2.0/26 nexthop via 172.18.0.2 dev eth0 weight 1 nexthop via 172.18.0.3 dev eth0 weight 1"
        );
        let v6 = ours("-6").join(" ");
        assert!(
            v6.contains("nexthop via 2001:db8:18::2 dev eth0 weight 1"),
            "{v6}"
        );
        assert!(
            v6.contains("nexthop via 2001:db8:18::3 dev eth0 weight 1"),
            "{v6}"
        );

        fib.apply(vec![
            remote("10.233.2.0/26", &["172.18.0.3"]),
            remote("fd00:2::/122", &["2001:db8:18::3"]),
        ]);
        let status = settle(&fib).await;
        assert_eq!(ours("-4"), ["10.233.2.0/26 via 172.18.0.3 dev eth0"]);
        assert_eq!(
            ours("-6"),
            ["fd00:2::/122 via 2001:db8:18::3 dev eth0 metric 1024 pref medium"]
        );
        assert_eq!(status.writes, 4);
        fib.apply(vec![
            Change::RemoveRoute(net("10.233.2.0/26")),
            Change::RemoveRoute(net("fd00:2::/122")),
        ]);
        settle(&fib).await;
        assert_eq!(ours("-4"), [""; 0]);
        assert_eq!(ours("-6"), [""; 0]);
    });
}

#[test]
fn a_route_of_someone_else_is_neither_overwritten_nor_deleted() {
    in_namespace(|| async {
        ip("route add 10.233.2.0/26 via 172.18.0.9 proto static");
        let fib = start().await;
        fib.apply(vec![remote("10.233.2.0/26", &["172.18.0.2"]), open()]);
        let status = until(&fib, "refused with a name", |s| {
            s.conditions.iter().any(|(name, sentence)| {
                name == "RouteRefused" && sentence.contains("protocol static")
            })
        })
        .await;
        assert_eq!((status.failed, status.actual), (1, 0));
        let route = ip("route show 10.233.2.0/26");
        assert!(route.contains("via 172.18.0.9"), "{route}");
        ip("route del 10.233.2.0/26");
        let status = settle(&fib).await;
        assert_eq!(status.conditions, []);
        assert_eq!(ours("-4"), ["10.233.2.0/26 via 172.18.0.2 dev eth0"]);
    });
}

#[test]
fn an_ipv4_block_may_have_an_ipv6_next_hop() {
    in_namespace(|| async {
        let fib = start().await;
        let wishes = vec![remote("10.233.2.0/26", &["2001:db8:18::2"]), open()];
        fib.apply(wishes.clone());
        settle(&fib).await;
        let expected = ["10.233.2.0/26 via inet6 2001:db8:18::2 dev eth0"];
        assert_eq!(ours("-4"), expected);
        drop(fib);
        let fib = start().await;
        fib.apply(wishes);
        assert_eq!(settle(&fib).await.writes, 0);
        assert_eq!(ours("-4"), expected);
    });
}

#[test]
fn a_router_on_a_link_is_reached_by_its_link_local_address_in_both_families() {
    in_namespace(|| async {
        ip("link add eth1 type veth peer name peer1");
        let fib = start().await;
        let links = |prefix: &str, hops: &[(&str, &str)]| {
            let hops = hops.iter();
            let next_hops = hops.map(|(hop, device)| (address(hop), (*device).to_owned()));
            let next_hops = next_hops.collect();
            Change::SetRoute(net(prefix), Route::Links { next_hops })
        };
        // The same address behind two devices; one of them is down.
        let both = [("fe80::7", "eth0"), ("fe80::7", "eth1")];
        fib.apply(vec![
            links("198.51.100.0/24", &both),
            links("2001:db8:7::/48", &both),
            links("203.0.113.0/24", &both[1..]),
        ]);
        until(&fib, "two routes", |s| s.actual == 2).await;
        assert_eq!(ours("-4"), ["198.51.100.0/24 via inet6 fe80::7 dev eth0"]);
        let v6 = ours("-6").join(" ");
        assert!(v6.contains("2001:db8:7::/48"), "{v6}");
        assert!(v6.contains("via fe80::7 dev eth0"), "{v6}");
        assert!(!v6.contains("eth1"), "{v6}");

        // It comes up: more ways, and the route that has waited for it.
        ip("link set peer1 up");
        ip("link set eth1 up");
        settle(&fib).await;
        until(&fib, "three routes", |s| s.actual == 3).await;
        let v4 = ours("-4").join(" ");
        for wanted in [
            "198.51.100.0/24 nexthop via inet6 fe80::7 dev eth0 weight 1 nexthop via inet6 fe80::7 dev eth1 weight 1",
            "203.0.113.0/24 via inet6 fe80::7 dev eth1",
        ] {
            assert!(v4.contains(wanted), "{v4}");
        }
        // What is right already is not written again.
        let written = settle(&fib).await.writes;
        drop(fib);
        let fib = start().await;
        fib.apply(vec![
            links("198.51.100.0/24", &both),
            links("2001:db8:7::/48", &both),
            links("203.0.113.0/24", &both[1..]),
            Change::SetGate(Gate::Open),
        ]);
        assert_eq!(settle(&fib).await.writes, 0, "after {written}");
    });
}
