//! A pod may send with its own address only, or with those that it was allowed.

use caracal_filter::{Filter, Rules, SpoofProtection};

use crate::harness::{World, ask, ask_in_vain, echo, in_namespace, protected, set};

fn only(spoofing: SpoofProtection) -> Rules {
    Rules {
        spoofing: Some(spoofing),
        ..Rules::default()
    }
}

/// Pod 1 has addresses that are not routed to it: one of nobody, and that of pod 2.
fn spoofer() -> World {
    let world = World::build();
    for line in [
        "addr add 10.66.0.1/32 dev eth0",
        "addr add fd66::1/128 dev eth0 nodad",
        "addr add 10.65.0.2/32 dev eth0",
        "addr add fd65::2/128 dev eth0 nodad",
    ] {
        world.pods[0].ip(line);
    }
    world
}

#[test]
fn a_spoofed_source_is_dropped_and_counted_and_an_honest_one_passes() {
    in_namespace(|| async {
        let world = spoofer();
        let filter = Filter::start().unwrap();
        set(&filter, only(protected())).await;
        let v4 = echo(&world.outside, "192.0.2.9", 7001);
        let v6 = echo(&world.outside, "2001:db8::9", 7001);
        for (source, to) in [("10.65.0.1", v4), ("fd65::1", v6)] {
            assert!(ask(&world.pods[0], source, to).is_some(), "{source}");
        }
        assert_eq!(filter.counters().await.unwrap().spoofed, 0);
        let mut dropped = 0;
        for (source, to) in [
            ("10.66.0.1", v4),
            ("fd66::1", v6),
            ("10.65.0.2", v4),
            ("fd65::2", v6),
        ] {
            assert_eq!(ask_in_vain(&world.pods[0], source, to), None, "{source}");
            let now = filter.counters().await.unwrap().spoofed;
            assert!(now > dropped, "{source}: {now} dropped");
            dropped = now;
        }
        // The owner of the address is still heard.
        assert!(ask(&world.pods[1], "10.65.0.2", v4).is_some());
        assert!(ask(&world.pods[1], "fd65::2", v6).is_some());
    });
}

#[test]
fn an_allowed_prefix_passes_on_its_device_and_on_no_other() {
    in_namespace(|| async {
        let world = World::build();
        for pod in &world.pods {
            pod.ip("addr add 10.66.0.1/32 dev eth0");
            pod.ip("addr add fd66::1/128 dev eth0 nodad");
        }
        let filter = Filter::start().unwrap();
        let mut spoofing = protected();
        spoofing.allowed = [(
            "cali1".to_owned(),
            [
                "10.66.0.0/24".parse().unwrap(),
                "fd66::/64".parse().unwrap(),
            ]
            .into(),
        )]
        .into();
        set(&filter, only(spoofing)).await;
        for (source, to) in [("10.66.0.1", "192.0.2.9"), ("fd66::1", "2001:db8::9")] {
            let to = heard(&world, to);
            world.pods[0].run(move || send(source, to.address));
            assert!(to.by(source), "{source} from its own device");
            world.pods[1].run(move || send(source, to.address));
            assert!(!to.by(source), "{source} from the device of another");
        }
        assert!(filter.counters().await.unwrap().spoofed > 0);
    });
}

#[test]
fn without_protection_anything_passes() {
    in_namespace(|| async {
        let world = World::build();
        world.pods[0].ip("addr add 10.66.0.1/32 dev eth0");
        let filter = Filter::start().unwrap();
        set(&filter, only(protected())).await;
        let to = heard(&world, "192.0.2.9");
        world.pods[0].run(move || send("10.66.0.1", to.address));
        assert!(!to.by("10.66.0.1"));
        set(&filter, Rules::default()).await;
        world.pods[0].run(move || send("10.66.0.1", to.address));
        assert!(to.by("10.66.0.1"));
    });
}

#[test]
fn a_pod_finds_its_gateway_and_detects_duplicates_while_protected() {
    in_namespace(|| async {
        let world = World::build();
        let filter = Filter::start().unwrap();
        set(&filter, only(protected())).await;
        // Duplicate address detection from ::, then neighbour discovery from the link-local address.
        world.pods[0].run(|| crate::harness::sysctl("ipv6/conf/eth0/accept_dad", "1"));
        world.pods[0].ip("link set eth0 down");
        world.pods[0].ip("link set eth0 up");
        for line in [
            "addr replace fd65::1/128 dev eth0 nodad",
            "route replace default via fe80::1 dev eth0",
        ] {
            world.pods[0].ip(line);
        }
        let v6 = echo(&world.outside, "2001:db8::9", 7002);
        // Detection takes a second or two.
        assert!(ask(&world.pods[0], "fd65::1", v6).is_some());
        assert_eq!(filter.counters().await.unwrap().spoofed, 0);
    });
}

/// One that only listens.
#[derive(Clone, Copy)]
struct Heard<'a> {
    world: &'a World,
    address: std::net::SocketAddr,
}

impl Heard<'_> {
    /// Whether a datagram from there has come. One that was sent to the same socket later comes later, so that of an honest
    /// sender says that there will be none.
    fn by(&self, source: &str) -> bool {
        let to = self.address;
        let honest = if to.is_ipv4() { "10.65.0.2" } else { "fd65::2" };
        self.world.pods[1].run(move || send(honest, to));
        let source = crate::harness::address(source);
        let honest = crate::harness::address(honest);
        SOCKETS.with(to, |socket| {
            let mut seen = false;
            let mut buffer = [0; 64];
            loop {
                let (_, from) = socket.recv_from(&mut buffer).expect("the honest datagram");
                seen |= from.ip() == source;
                if from.ip() == honest {
                    return seen;
                }
            }
        })
    }
}

/// Sockets that were opened outside, by address.
static SOCKETS: Sockets = Sockets(std::sync::Mutex::new(Vec::new()));
struct Sockets(std::sync::Mutex<Vec<(std::net::SocketAddr, std::sync::Arc<std::net::UdpSocket>)>>);

impl Sockets {
    fn with<T>(&self, at: std::net::SocketAddr, f: impl FnOnce(&std::net::UdpSocket) -> T) -> T {
        let found = {
            let sockets = self.0.lock().unwrap();
            let found = sockets.iter().find(|(address, _)| *address == at);
            found.unwrap().1.clone()
        };
        f(&found)
    }
}

fn heard<'a>(world: &'a World, address: &str) -> Heard<'a> {
    let at = std::net::SocketAddr::new(crate::harness::address(address), 0);
    let socket = world.outside.run(move || {
        let socket = std::net::UdpSocket::bind(at).unwrap();
        socket
            .set_read_timeout(Some(crate::harness::PATIENCE))
            .unwrap();
        socket
    });
    let address = socket.local_addr().unwrap();
    let entry = (address, std::sync::Arc::new(socket));
    SOCKETS.0.lock().unwrap().push(entry);
    Heard { world, address }
}

fn send(source: &str, to: std::net::SocketAddr) {
    let source = std::net::SocketAddr::new(crate::harness::address(source), 0);
    let socket = std::net::UdpSocket::bind(source).unwrap();
    socket.send_to(b"hear me", to).unwrap();
}
