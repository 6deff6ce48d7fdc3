//! Who is masqueraded, and as what.

use std::net::SocketAddr;

use caracal_filter::{Filter, Masquerade, Rules};

use crate::harness::{
    PATIENCE, World, address, ask, ask_here, echo, in_namespace, ip, masqueraded, set,
};

fn only(masquerade: Masquerade) -> Rules {
    Rules {
        masquerade,
        ..Rules::default()
    }
}

/// The address that the world outside sees of pod 1, IPv4 and IPv6.
async fn seen(world: &World, rules: Rules) -> (Filter, [SocketAddr; 2]) {
    let filter = Filter::start().unwrap();
    set(&filter, rules).await;
    (filter, seen_now(world))
}

fn seen_now(world: &World) -> [SocketAddr; 2] {
    let [port_v4, port_v6] = [7, 8].map(|n| 7000 + n);
    static NEXT: std::sync::atomic::AtomicU16 = std::sync::atomic::AtomicU16::new(0);
    let more = 2 * NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let v4 = echo(&world.outside, "192.0.2.9", port_v4 + more);
    let v6 = echo(&world.outside, "2001:db8::9", port_v6 + more);
    [
        ask(&world.pods[0], "10.65.0.1", v4).expect("an answer over IPv4"),
        ask(&world.pods[0], "fd65::1", v6).expect("an answer over IPv6"),
    ]
}

#[test]
fn a_pod_is_masqueraded_to_the_world_and_not_to_a_pod() {
    in_namespace(|| async {
        let world = World::build();
        let before = seen_now(&world);
        assert_eq!(before.map(|seen| seen.ip()), pod_1(), "without rules");
        let (filter, seen) = seen(&world, only(masqueraded())).await;
        assert_eq!(seen.map(|seen| seen.ip()), node());
        let v4 = echo(&world.pods[1], "10.65.0.2", 7001);
        let v6 = echo(&world.pods[1], "fd65::2", 7001);
        let to_pod = [
            ask(&world.pods[0], "10.65.0.1", v4).unwrap(),
            ask(&world.pods[0], "fd65::1", v6).unwrap(),
        ];
        assert_eq!(to_pod.map(|seen| seen.ip()), pod_1());
        assert_eq!(filter.counters().await.unwrap().masqueraded, 2);
    });
}

#[test]
fn a_pool_that_is_not_masqueraded_is_left_alone_and_still_none_masquerades_to_it() {
    in_namespace(|| async {
        let world = World::build();
        let mut masquerade = masqueraded();
        masquerade.sources = ["10.77.0.0/16".parse().unwrap()].into();
        masquerade.except_to.insert("192.0.2.0/24".parse().unwrap());
        let (_filter, seen) = seen(&world, only(masquerade)).await;
        assert_eq!(seen.map(|seen| seen.ip()), pod_1());
    });
}

#[test]
fn nodes_are_excluded_if_so_configured() {
    in_namespace(|| async {
        let world = World::build();
        let mut masquerade = masqueraded();
        masquerade.except_to_hosts = [address("192.0.2.9"), address("2001:db8::9")].into();
        let (filter, seen) = seen(&world, only(masquerade)).await;
        assert_eq!(seen.map(|seen| seen.ip()), pod_1());
        set(&filter, only(masqueraded())).await;
        assert_eq!(seen_now(&world).map(|seen| seen.ip()), node());
    });
}

#[test]
fn ports_on_the_wire_are_of_the_range() {
    in_namespace(|| async {
        let world = World::build();
        let mut masquerade = masqueraded();
        masquerade.ports = Some((30_000, 30_003));
        let (_filter, seen) = seen(&world, only(masquerade)).await;
        assert_eq!(seen.map(|seen| seen.ip()), node());
        for seen in seen {
            assert!((30_000..=30_003).contains(&seen.port()), "{seen}");
        }
    });
}

#[test]
fn an_address_takes_the_place_of_the_devices_for_its_family() {
    in_namespace(|| async {
        let world = World::build();
        ip("addr add 192.0.2.77/32 dev eth0");
        let mut masquerade = masqueraded();
        masquerade.address = Some(address("192.0.2.77"));
        masquerade.ports = Some((31_000, 31_003));
        let (_filter, seen) = seen(&world, only(masquerade)).await;
        assert_eq!(
            seen.map(|seen| seen.ip()),
            [address("192.0.2.77"), address("2001:db8::1")]
        );
        assert!((31_000..=31_003).contains(&seen[0].port()), "{}", seen[0]);
    });
}

#[test]
fn only_packets_through_the_devices_of_the_filter_are_masqueraded() {
    in_namespace(|| async {
        let world = World::build();
        let filter = Filter::start().unwrap();
        for (pattern, expected) in [
            ("eth0", node()),
            ("eth*", node()),
            ("et+", node()),
            ("eth1", pod_1()),
            // A whole name is no beginning.
            ("eth", pod_1()),
        ] {
            let mut masquerade = masqueraded();
            masquerade.output = Some(pattern.parse().unwrap());
            set(&filter, only(masquerade)).await;
            let seen = seen_now(&world);
            assert_eq!(seen.map(|seen| seen.ip()), expected, "{pattern}");
        }
    });
}

#[test]
fn the_hosts_own_packets_leave_a_tunnel_with_an_address_of_the_tunnel() {
    in_namespace(|| async {
        let world = World::build();
        ip("link add other type veth peer name others");
        ip("link set other up");
        ip("link set others up");
        ip("addr add 10.7.0.1/32 dev other");
        ip("addr add fd07::1/128 dev other nodad");
        let v4 = echo(&world.outside, "192.0.2.9", 7001);
        let v6 = echo(&world.outside, "2001:db8::9", 7001);
        let seen = |source: &str, to| ask_here(PATIENCE, source, to).expect("an answer").ip();
        let others = [("10.7.0.1", v4), ("fd07::1", v6)];
        for (source, to) in others {
            assert_eq!(seen(source, to), address(source), "without rules");
        }
        let filter = Filter::start().unwrap();
        // What matters of a tunnel here is its name.
        let masquerade = Masquerade {
            own_through: ["eth0".to_owned(), "nobody0".to_owned()].into(),
            ..Masquerade::default()
        };
        set(&filter, only(masquerade)).await;
        for ((source, to), expected) in others.into_iter().zip(node()) {
            assert_eq!(seen(source, to), expected, "{source}");
        }
        assert_eq!(filter.counters().await.unwrap().masqueraded, 2);
        // The right source is left alone, and so is everything that is not the host's own.
        for (source, to) in [("192.0.2.1", v4), ("2001:db8::1", v6)] {
            assert_eq!(seen(source, to), address(source));
        }
        for (source, to) in [("10.65.0.1", v4), ("fd65::1", v6)] {
            let seen = ask(&world.pods[0], source, to).expect("an answer");
            assert_eq!(seen.ip(), address(source));
        }
        assert_eq!(filter.counters().await.unwrap().masqueraded, 2);
    });
}

fn node() -> [std::net::IpAddr; 2] {
    [address("192.0.2.1"), address("2001:db8::1")]
}

fn pod_1() -> [std::net::IpAddr; 2] {
    [address("10.65.0.1"), address("fd65::1")]
}
