//! A packet for a service that nobody serves does not travel in circles.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use caracal_filter::{Filter, Rules};

use crate::harness::{PATIENCE, World, in_namespace, ip, services, set};

fn only(reject: bool) -> Rules {
    Rules {
        service_loops: Some(services(reject)),
        ..Rules::default()
    }
}

/// The world outside believes that this node has the services, and this node that the world outside has them.
fn circle() -> World {
    let world = World::build();
    for (net, outside, node) in [
        ("10.96.0.0/12", "192.0.2.9", "192.0.2.1"),
        ("fd96::/108", "2001:db8::9", "2001:db8::1"),
    ] {
        ip(&format!("route add {net} via {outside}"));
        world.outside.ip(&format!("route add {net} via {node}"));
    }
    world
}

/// Sends one datagram to an address of a service; returns the error that comes back as ICMP, if one does.
fn knock(
    world: &World,
    source: &'static str,
    service: &'static str,
    patience: Duration,
) -> Option<i32> {
    world.outside.run(move || {
        let source = std::net::SocketAddr::new(crate::harness::address(source), 0);
        let socket = UdpSocket::bind(source).unwrap();
        socket
            .connect((crate::harness::address(service), 53))
            .unwrap();
        socket.set_read_timeout(Some(patience)).unwrap();
        socket.send(b"anyone?").unwrap();
        let error = socket.recv(&mut [0; 8]).unwrap_err();
        error.raw_os_error().filter(|errno| *errno != 11)
    })
}

#[test]
fn a_packet_for_a_service_without_endpoints_goes_no_further() {
    in_namespace(|| async {
        let world = circle();
        let filter = Filter::start().unwrap();
        set(&filter, only(false)).await;
        for (place, (source, service)) in [("192.0.2.9", "10.96.0.10"), ("2001:db8::9", "fd96::10")]
            .into_iter()
            .enumerate()
        {
            assert_eq!(knock(&world, source, service, SHORT), None, "{service}");
            // Once, and not once more on every round.
            let deadline = Instant::now() + PATIENCE;
            let looped = loop {
                let looped = filter.counters().await.unwrap().looped;
                if looped > place as u64 || Instant::now() > deadline {
                    break looped;
                }
                tokio::time::sleep(SHORT).await;
            };
            assert_eq!(looped, place as u64 + 1, "{service}");
        }
    });
}

#[test]
fn a_rejected_packet_is_answered() {
    in_namespace(|| async {
        let world = circle();
        let filter = Filter::start().unwrap();
        set(&filter, only(true)).await;
        const ECONNREFUSED: i32 = 111;
        for (source, service) in [("192.0.2.9", "10.96.0.10"), ("2001:db8::9", "fd96::10")] {
            let answer = knock(&world, source, service, PATIENCE);
            assert_eq!(answer, Some(ECONNREFUSED), "{service}");
        }
        assert_eq!(filter.counters().await.unwrap().looped, 2);
    });
}

#[test]
fn a_service_that_is_served_is_reached() {
    in_namespace(|| async {
        let world = circle();
        let filter = Filter::start().unwrap();
        set(&filter, only(false)).await;
        // As kube-proxy does it.
        crate::harness::nft(
            "table ip kube-proxy { chain services { type nat hook prerouting priority dstnat; \
             ip daddr 10.96.0.10 dnat to 10.65.0.1; }; }",
        );
        crate::harness::echo(&world.pods[0], "10.65.0.1", 53);
        let to = "10.96.0.10:53".parse().unwrap();
        assert!(crate::harness::ask(&world.outside, "192.0.2.9", to).is_some());
        assert_eq!(filter.counters().await.unwrap().looped, 0);
    });
}

const SHORT: Duration = Duration::from_millis(300);
