//! What connection tracking remembers of a released address is gone, and nothing else is.

use std::fs;

use caracal_filter::{Filter, Rules};

use crate::harness::{World, address, ask, echo, in_namespace, masqueraded, nft, set};

/// Entries of this namespace, as the kernel lists them.
fn entries() -> Vec<String> {
    let text = fs::read_to_string("/proc/thread-self/net/nf_conntrack").unwrap();
    text.lines().map(str::to_owned).collect()
}

fn with(address: &str) -> usize {
    // IPv6 addresses are written out here.
    let written = match address.parse().unwrap() {
        std::net::IpAddr::V4(v4) => v4.to_string(),
        std::net::IpAddr::V6(v6) => {
            let groups = v6.segments().map(|group| format!("{group:04x}"));
            groups.join(":")
        }
    };
    let ends = [format!("src={written} "), format!("dst={written} ")];
    let concerns = |entry: &&String| ends.iter().any(|end| entry.contains(end));
    entries().iter().filter(concerns).count()
}

/// Both pods have talked to the world (masqueraded), to one another, and the world with a service that is pod 1.
async fn busy() -> (World, Filter) {
    let world = World::build();
    let filter = Filter::start().unwrap();
    let rules = Rules {
        masquerade: masqueraded(),
        ..Rules::default()
    };
    set(&filter, rules).await;
    nft(
        "table inet service { chain c { type nat hook prerouting priority dstnat; ip daddr 10.96.0.10 dnat ip to 10.65.0.1; \
         ip6 daddr fd96::10 dnat ip6 to fd65::1; }; }",
    );
    world.outside.ip("route add 10.96.0.10 via 192.0.2.1");
    world.outside.ip("route add fd96::10 via 2001:db8::1");
    let outside = [
        echo(&world.outside, "192.0.2.9", 7001),
        echo(&world.outside, "2001:db8::9", 7001),
    ];
    let pod_2 = [
        echo(&world.pods[1], "10.65.0.2", 7001),
        echo(&world.pods[1], "fd65::2", 7001),
    ];
    echo(&world.pods[0], "10.65.0.1", 7002);
    echo(&world.pods[0], "fd65::1", 7002);
    let sources = [["10.65.0.1", "fd65::1"], ["10.65.0.2", "fd65::2"]];
    for family in 0..2 {
        for (pod, sources) in world.pods.iter().zip(sources) {
            ask(pod, sources[family], outside[family]).unwrap();
        }
        ask(&world.pods[0], sources[0][family], pod_2[family]).unwrap();
    }
    ask(
        &world.outside,
        "192.0.2.9",
        "10.96.0.10:7002".parse().unwrap(),
    )
    .unwrap();
    ask(
        &world.outside,
        "2001:db8::9",
        "[fd96::10]:7002".parse().unwrap(),
    )
    .unwrap();
    (world, filter)
}

#[test]
fn entries_of_a_released_address_are_gone_and_others_stay() {
    in_namespace(|| async {
        let (_world, filter) = busy().await;
        for (released, other) in [("10.65.0.1", "10.65.0.2"), ("fd65::1", "fd65::2")] {
            assert_eq!((with(released), with(other)), (3, 2), "{:#?}", entries());
            let deleted = filter.forget(vec![address(released)]).await.unwrap();
            assert_eq!(deleted, 3, "outside, pod 2, and the service");
            assert_eq!((with(released), with(other)), (0, 1), "{:#?}", entries());
        }
        assert_eq!(filter.status().borrow().conntrack_deleted, 6);
    });
}

#[test]
fn many_addresses_at_once_are_forgotten_as_one_is() {
    in_namespace(|| async {
        let (_world, filter) = busy().await;
        let mut many: Vec<_> = (1..100).map(|n| address(&format!("10.70.0.{n}"))).collect();
        many.extend([address("10.65.0.1"), address("fd65::1")]);
        assert_eq!(filter.forget(many).await.unwrap(), 6);
        assert_eq!((with("10.65.0.1"), with("fd65::1")), (0, 0));
        assert_eq!((with("10.65.0.2"), with("fd65::2")), (1, 1));
    });
}

#[test]
fn nothing_to_forget_is_no_error() {
    in_namespace(|| async {
        let filter = Filter::start().unwrap();
        assert_eq!(filter.forget(vec![address("10.65.0.1")]).await.unwrap(), 0);
        assert_eq!(filter.forget(vec![]).await.unwrap(), 0);
    });
}
