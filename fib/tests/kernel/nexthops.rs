//! Routes that share a nexthop object: what is one write, and what survives.

use caracal_fib::{Change, Config, Encapsulation, Fib, FibStatus, Mode, Route};

use crate::harness::*;

#[test]
fn a_node_that_moved_is_one_write_for_a_thousand_routes() {
    for (family, next_hop, moved, way) in [
        ("-4", "172.19.0.2", "172.18.0.253", "172.18.0.254"),
        (
            "-6",
            "2001:db8:19::2",
            "2001:db8:18::253",
            "2001:db8:18::254",
        ),
    ] {
        in_namespace(move || async move {
            let everywhere = if family == "-4" { "0.0.0.0/0" } else { "::/0" };
            ip(&format!("{family} route add {everywhere} via {way}"));
            let fib = start().await;
            fib.apply((0..1000).map(|i| block(family, i, next_hop)).collect());
            let before = settle(&fib).await;
            assert_eq!((before.writes, before.object_writes), (1000, 1));
            assert!(all_through(family, way));

            // The routers say that the node is behind another one now.
            let host = format!("{next_hop}{}", if family == "-4" { "/32" } else { "/128" });
            ip(&format!("{family} route add {host} via {moved}"));
            until_kernel("moved", || all_through(family, moved)).await;
            let after = settle(&fib).await;
            assert_eq!(after.writes, 1000, "no route was written");
            assert_eq!(after.object_writes, 2, "and one object");
        });
    }
}

#[test]
fn all_routes_to_a_node_change_their_encapsulation_by_one_write() {
    in_namespace(|| async {
        let fib = start().await;
        let to = |encapsulation| {
            (0..1000)
                .map(|i| encapsulated(&prefix("-4", i), &["172.18.0.2"], encapsulation))
                .collect::<Vec<_>>()
        };
        ip("route add default via 172.18.0.254");
        fib.apply(to(Encapsulation::None));
        settle(&fib).await;
        // Direct, but wished for in other words: nothing to write.
        fib.apply(to(Encapsulation::Vxlan(Mode::CrossSubnet)));
        let status = settle(&fib).await;
        assert_eq!((status.writes, status.object_writes), (1000, 1));
        fib.apply(vec![
            Change::SetTunnels(Box::new(caracal_fib::Tunnels {
                vxlan: Some(caracal_fib::VxlanDevice {
                    vni: 4096,
                    port: 4789,
                    address: address("10.233.1.0"),
                    mac: [0x66; 6],
                    local: address("172.18.0.1"),
                    mtu: None,
                }),
                ..caracal_fib::Tunnels::default()
            })),
            Change::SetVtep(
                address("172.18.0.2"),
                caracal_fib::Vtep {
                    address: address("10.233.2.0"),
                    mac: [0x68; 6],
                },
            ),
        ]);
        until_kernel("the device is up", || {
            try_ip("link show dev vxlan.calico up").is_ok_and(|out| !out.is_empty())
        })
        .await;
        settle(&fib).await;
        fib.apply(to(Encapsulation::Vxlan(Mode::Always)));
        until_kernel("tunnelled", || {
            let routes = ours("-4");
            routes.len() == 1000
                && routes
                    .iter()
                    .all(|route| route.ends_with("via 10.233.2.0 dev vxlan.calico onlink"))
        })
        .await;
        let status = settle(&fib).await;
        assert_eq!((status.writes, status.object_writes), (1000, 2));
    });
}

#[test]
fn a_group_loses_the_link_that_is_down_and_gets_it_back() {
    for (family, prefix) in [("-4", "198.51.100.0/24"), ("-6", "2001:db8:7::/48")] {
        in_namespace(move || async move {
            ip("link add eth1 type veth peer name peer1");
            ip("link set peer1 up");
            ip("link set eth1 up");
            let fib = start().await;
            fib.apply(vec![links(prefix, &["eth0", "eth1"])]);
            let before = settle(&fib).await;
            assert_eq!((before.writes, before.object_writes), (1, 3));
            let through = |device: &str| ours(family).join(" ").contains(device);
            assert!(through("eth0") && through("eth1"), "{:?}", ours(family));

            // Its carrier, and then itself.
            for [down, up] in [
                ["link set peer1 down", "link set peer1 up"],
                ["link set eth1 down", "link set eth1 up"],
            ] {
                ip(down);
                assert!(through("eth0"), "the kernel itself goes on");
                until_kernel("one is left", || through("eth0") && !through("eth1")).await;
                settle(&fib).await;
                ip(up);
                until_kernel("both again", || through("eth0") && through("eth1")).await;
            }
            let after = settle(&fib).await;
            assert_eq!(after.writes, 1, "the route is as it was: {after:?}");
            // A member and the group, twice. Each read after a link came up is ahead of events that were still on their
            // way, and may cost one more.
            let writes = after.object_writes - before.object_writes;
            assert!((4..=6).contains(&writes), "{after:?}");
        });
    }
}

#[test]
fn a_restart_adopts_the_objects_and_writes_nothing() {
    for compat in ["1", "0"] {
        in_namespace(move || async move {
            std::fs::write("/proc/sys/net/ipv4/nexthop_compat_mode", compat).unwrap();
            ip("link add eth1 type veth peer name peer1");
            ip("link set peer1 up");
            ip("link set eth1 up");
            ip("route add default via 172.18.0.254");
            let wishes: Vec<_> = (0..500)
                .flat_map(|i| {
                    [
                        block("-4", i, &format!("172.18.0.{}", 2 + i % 7)),
                        block("-6", i, &format!("2001:db8:18::{}", 2 + i % 7)),
                        // Behind the gateway, all of them: equal objects.
                        block("-4", 1000 + i, &format!("172.19.0.{}", 2 + i % 7)),
                    ]
                })
                .chain([
                    links("198.51.100.0/24", &["eth0", "eth1"]),
                    links("2001:db8:7::/48", &["eth0", "eth1"]),
                    remote("10.233.3.0/26", &["172.18.0.2", "172.18.0.3"]),
                    remote("10.233.4.0/26", &["2001:db8:18::2"]),
                    blackhole("10.233.1.0/26"),
                    open(),
                ])
                .collect();
            let fib = start().await;
            fib.apply(wishes.clone());
            let first = settle(&fib).await;
            assert_eq!(first.failed, 0);
            let routes = (ours("-4"), ours("-6"));
            let objects = ip("nexthop show");
            drop(fib);
            let fib = start().await;
            fib.apply(wishes.into_iter().rev().collect());
            let status = settle(&fib).await;
            assert_eq!((status.writes, status.object_writes), (0, 0), "{status:?}");
            assert_eq!((ours("-4"), ours("-6")), routes);
            assert_eq!(ip("nexthop show"), objects);
            assert_eq!(status.objects, first.objects);
        });
    }
}

#[test]
fn an_object_that_someone_deletes_or_changes_is_repaired_with_its_routes() {
    in_namespace(|| async {
        let fib = start().await;
        let mut wishes: Vec<_> = (0..100).map(|i| block("-4", i, "172.18.0.2")).collect();
        wishes.extend((0..100).map(|i| block("-6", i, "2001:db8:18::2")));
        fib.apply(wishes);
        settle(&fib).await;
        ip("nexthop flush proto 67");
        let repaired = |count| {
            move |s: &FibStatus| s.object_repairs == count && s.pending == 0 && s.actual == 200
        };
        until(&fib, "all back", repaired(2)).await;
        assert!(all_of("-4", 100, "172.18.0.2") && all_of("-6", 100, "2001:db8:18::2"));

        ip("nexthop replace id 670000001 via 172.18.0.66 dev eth0 proto 67");
        until(&fib, "led back", repaired(3)).await;
        ip("nexthop replace id 670000001 via 172.18.0.66 dev eth0");
        until(&fib, "ours again", repaired(4)).await;
        assert!(all_of("-4", 100, "172.18.0.2") && all_of("-6", 100, "2001:db8:18::2"));
        assert_eq!(fib.status().borrow().resyncs, 1, "events are enough");
    });
}

#[test]
fn numbers_of_others_are_left_alone_and_what_nobody_needs_goes() {
    in_namespace(|| async {
        ip("nexthop add id 670000001 via 172.18.0.77 dev eth0");
        ip("nexthop add id 670000005 via 172.18.0.78 dev eth0 proto 67");
        let fib = start().await;
        // Made after our first look.
        ip("nexthop add id 670000002 via 172.18.0.79 dev eth0");
        fib.apply(vec![remote("10.233.2.0/26", &["172.18.0.2"])]);
        settle(&fib).await;
        // Where we have not heard of it yet, the kernel refuses our object and takes the route: whose the number is, is looked up then.
        until_kernel("the route by an object of ours", || {
            ours("-4") == ["10.233.2.0/26 via 172.18.0.2 dev eth0"]
        })
        .await;
        assert!(
            ip("nexthop show").contains("670000005"),
            "the gate is closed"
        );
        fib.apply(vec![
            open(),
            Change::RemoveRoute(net("10.233.2.0/26")),
            remote("10.233.3.0/26", &["172.18.0.3"]),
        ]);
        until_kernel("only those in use are left", || {
            let all = ip("nexthop show");
            all.lines().count() == 3
                && all.contains("id 670000001 via 172.18.0.77")
                && all.contains("id 670000002 via 172.18.0.79")
                && all.contains("via 172.18.0.3 dev eth0 scope link proto 67")
        })
        .await;
    });
}

#[test]
fn routes_change_over_from_own_hops_to_objects_and_back_without_a_gap() {
    in_namespace(|| async {
        let wishes: Vec<_> = (0..200)
            .flat_map(|i| {
                [
                    block("-4", i, "172.18.0.2"),
                    block("-6", i, "2001:db8:18::2"),
                ]
            })
            .chain([
                remote("10.233.3.0/26", &["172.18.0.2", "172.18.0.3"]),
                remote("fd00:3::/122", &["2001:db8:18::2", "2001:db8:18::3"]),
                open(),
            ])
            .collect();
        let mut shown = Vec::new();
        for objects in [false, true, false] {
            let config = Config {
                nexthop_objects: objects,
                ..Config::default()
            };
            let fib = Fib::start(config).await.unwrap();
            assert_eq!(
                fib.status().borrow().actual,
                if shown.is_empty() { 0 } else { 402 }
            );
            fib.apply(wishes.clone());
            let status = settle(&fib).await;
            assert_eq!(status.nexthop_objects, objects);
            assert_eq!(status.writes, 402, "each is replaced in place, once");
            assert_eq!((status.actual, status.failed), (402, 0));
            assert_eq!(
                ip("route show proto 67").contains("nhid"),
                objects,
                "{status:?}"
            );
            let mut hops: Vec<_> = [ours("-4"), ours("-6")].concat();
            hops.retain(|line| !line.contains("nexthop"));
            shown.push(hops);
            if !objects {
                until_kernel("no object is left", || ip("nexthop show").is_empty()).await;
            }
        }
        assert_eq!(
            shown[0].len(),
            shown[1].len() - usize::from(shown[1].len() > shown[0].len())
        );
    });
}

fn block(family: &str, i: usize, next_hop: &str) -> Change {
    remote(&prefix(family, i), &[next_hop])
}

fn prefix(family: &str, i: usize) -> String {
    match family {
        "-4" => format!("10.{}.{}.0/26", 64 + i / 256, i % 256),
        _ => format!("fd00:{i:x}::/64"),
    }
}

fn all_through(family: &str, way: &str) -> bool {
    all_of(family, 1000, way)
}

fn all_of(family: &str, count: usize, way: &str) -> bool {
    let routes = ours(family);
    let way = format!(" via {way} dev eth0");
    routes.len() == count && routes.iter().all(|route| route.contains(&way))
}

fn links(prefix: &str, devices: &[&str]) -> Change {
    let next_hops = devices.iter();
    let next_hops = next_hops.map(|device| (address("fe80::7"), (*device).to_owned()));
    Change::SetRoute(
        net(prefix),
        Route::Links {
            next_hops: next_hops.collect(),
        },
    )
}
