//! Nothing comes out of a tunnel that was put into it by a pod, or by anybody who is no node; and no pod reaches the host's
//! own programs on 127.0.0.1.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use caracal_filter::{Filter, Rules, SpoofProtection, TunnelProtection};
use socket2::{Domain, Protocol, Socket, Type};

use crate::harness::{
    Namespace, PATIENCE, World, address, ask, echo, in_namespace, ip, nft, protected, set, sysctl,
};

fn of_pods(spoofing: SpoofProtection) -> Rules {
    Rules {
        spoofing: Some(spoofing),
        ..Rules::default()
    }
}

fn from_ends(ends: &[&str]) -> Rules {
    Rules {
        tunnels: Some(TunnelProtection {
            ipip: true,
            vxlan: Some(VXLAN_PORT),
            vxlan_v6: Some(VXLAN_PORT),
            ends: ends.iter().map(|net| net.parse().unwrap()).collect(),
        }),
        ..Rules::default()
    }
}

/// A tunnel as far as the filter sees it: its packets' outer header.
#[derive(Debug, Clone, Copy)]
enum Wrapping {
    Protocol(i32),
    Port(u16),
}

impl Wrapping {
    /// At this address in the current namespace.
    fn open(self, at: &str) -> Socket {
        let at = address(at);
        let domain = Domain::for_address(SocketAddr::new(at, 0));
        let (kind, protocol, port) = match self {
            Wrapping::Protocol(number) => (Type::RAW, Protocol::from(number), 0),
            Wrapping::Port(port) => (Type::DGRAM, Protocol::UDP, port),
        };
        let socket = Socket::new(domain, kind, Some(protocol)).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&SocketAddr::new(at, port).into()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }

    fn send(self, from: &str, to: &str) {
        let port = match self {
            Wrapping::Protocol(_) => 0,
            Wrapping::Port(port) => port,
        };
        let to = SocketAddr::new(address(to), port);
        let sent = self.open(from).send_to(&[0x45; 40], &to.into());
        assert_eq!(sent.unwrap(), 40);
    }
}

/// Whether something waits at the socket.
fn has_come(socket: &Socket) -> bool {
    socket.set_nonblocking(true).unwrap();
    let mut any = false;
    loop {
        match socket.recv(&mut [std::mem::MaybeUninit::uninit(); 128]) {
            Ok(_) => any = true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return any,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Sends it, then a question that is answered: what was sent before has come by then, if it comes.
fn comes_out(world: &World, wrapping: Wrapping, from: &str, to: &str) -> bool {
    let ear = {
        let to = to.to_owned();
        world.outside.run(move || wrapping.open(&to))
    };
    let (source, target) = (from.to_owned(), to.to_owned());
    let send = move || wrapping.send(&source, &target);
    // The first finds the way: neighbours.
    ask(&world.pods[0], from, asked(&world.outside, to)).expect("an answer");
    world.pods[0].run(send);
    ask(&world.pods[0], from, asked(&world.outside, to)).expect("an answer");
    has_come(&ear)
}

fn asked(outside: &Namespace, at: &str) -> SocketAddr {
    static NEXT: std::sync::atomic::AtomicU16 = std::sync::atomic::AtomicU16::new(7100);
    let port = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    echo(outside, at, port)
}

#[test]
fn a_pods_own_tunnels_are_dropped_and_counted_unless_they_may_be() {
    in_namespace(|| async {
        let world = World::build();
        let filter = Filter::start().unwrap();
        let ways = [
            (Wrapping::Protocol(4), "10.65.0.1", "192.0.2.9"),
            (Wrapping::Protocol(41), "10.65.0.1", "192.0.2.9"),
            (Wrapping::Port(VXLAN_PORT), "10.65.0.1", "192.0.2.9"),
            (Wrapping::Protocol(4), "fd65::1", "2001:db8::9"),
            (Wrapping::Protocol(41), "fd65::1", "2001:db8::9"),
            (Wrapping::Port(VXLAN_PORT), "fd65::1", "2001:db8::9"),
        ];
        set(&filter, of_pods(protected())).await;
        for (sent, (wrapping, from, to)) in ways.into_iter().enumerate() {
            assert!(
                !comes_out(&world, wrapping, from, to),
                "{wrapping:?} from {from}"
            );
            let dropped = filter.counters().await.unwrap().encapsulated;
            assert_eq!(dropped, sent as u64 + 1, "{wrapping:?} from {from}");
        }
        // Another port is no tunnel, and spoof protection is not concerned.
        let plain = Wrapping::Port(VXLAN_PORT + 1);
        assert!(comes_out(&world, plain, "10.65.0.1", "192.0.2.9"));
        assert_eq!(filter.counters().await.unwrap().spoofed, 0);
        let mut allowed = protected();
        (allowed.may_send_ipip, allowed.vxlan_port) = (true, None);
        set(&filter, of_pods(allowed)).await;
        for (wrapping, from, to) in ways {
            assert!(
                comes_out(&world, wrapping, from, to),
                "{wrapping:?} from {from}"
            );
        }
    });
}

#[test]
fn a_pod_reaches_no_vxlan_port_through_a_service() {
    in_namespace(|| async {
        let world = World::build();
        let filter = Filter::start().unwrap();
        // As kube-proxy does: the ports of services are not those of their endpoints, and sources become the node's.
        nft("add table inet other; \
             add chain inet other to { type nat hook prerouting priority dstnat; }; \
             add rule inet other to ip daddr 10.96.0.7 udp dport 53 dnat ip to 192.0.2.9:4789; \
             add rule inet other to ip daddr 10.96.0.8 udp dport 53 dnat ip to 192.0.2.1:4789; \
             add rule inet other to ip6 daddr fd96::7 udp dport 53 dnat ip6 to [2001:db8::9]:4789; \
             add chain inet other from { type nat hook postrouting priority srcnat; }; \
             add rule inet other from oifname eth0 masquerade");
        let services = [
            ("10.65.0.1", "10.96.0.7:53"),
            ("fd65::1", "[fd96::7]:53"),
            ("10.65.0.1", "10.96.0.8:53"),
        ];
        let [far, far_v6] = ["192.0.2.9", "2001:db8::9"].map(|at| {
            let open = move || Wrapping::Port(VXLAN_PORT).open(at);
            world.outside.run(open)
        });
        let ears = [far, far_v6, Wrapping::Port(VXLAN_PORT).open("192.0.2.1")];
        let send = || {
            for (from, to) in services {
                world.pods[0].run(move || {
                    let socket = UdpSocket::bind(SocketAddr::new(address(from), 0)).unwrap();
                    socket.send_to(&[0x45; 40], to).unwrap();
                });
            }
        };
        let heard = |ear: &Socket| {
            ear.set_nonblocking(false).unwrap();
            ear.recv(&mut [std::mem::MaybeUninit::uninit(); 128])
        };
        let mut rules = from_ends(&["10.65.0.0/16"]);
        let mut allowed = protected();
        allowed.vxlan_port = None;
        rules.spoofing = Some(allowed);
        set(&filter, rules.clone()).await;
        send();
        for (ear, (_, to)) in ears.iter().zip(services) {
            assert_eq!(heard(ear).unwrap(), 40, "{to}");
        }
        rules.spoofing = Some(protected());
        set(&filter, rules).await;
        send();
        while filter.counters().await.unwrap().encapsulated < 3 {
            tokio::task::yield_now().await;
        }
        for (ear, (_, to)) in ears.iter().zip(services) {
            assert!(!has_come(ear), "{to}");
        }
    });
}

#[test]
fn a_pod_that_may_send_from_everywhere_may_still_not_send_tunnels() {
    in_namespace(|| async {
        let world = World::build();
        let filter = Filter::start().unwrap();
        let mut spoofing = protected();
        spoofing.allowed = [("cali1".to_owned(), ["0.0.0.0/0".parse().unwrap()].into())].into();
        set(&filter, of_pods(spoofing)).await;
        let ipip = Wrapping::Protocol(4);
        assert!(!comes_out(&world, ipip, "10.65.0.1", "192.0.2.9"));
    });
}

#[test]
fn packets_in_tunnels_are_taken_from_nodes_only() {
    in_namespace(|| async {
        let world = World::build();
        let filter = Filter::start().unwrap();
        let ways = [
            (Wrapping::Protocol(4), "192.0.2.9", "192.0.2.1"),
            (Wrapping::Port(VXLAN_PORT), "192.0.2.9", "192.0.2.1"),
            (Wrapping::Port(VXLAN_PORT), "2001:db8::9", "2001:db8::1"),
        ];
        let ears = ways.map(|(wrapping, _, to)| wrapping.open(to));
        let send = |from: &World| {
            for (wrapping, source, to) in ways {
                from.outside.run(move || wrapping.send(source, to));
            }
        };
        for stranger in [&["192.0.2.7/32"][..], &[]] {
            set(&filter, from_ends(stranger)).await;
            let before = filter.counters().await.unwrap().strangers;
            send(&world);
            // On a veth a packet is there when it is sent, but for the neighbour that is looked for first.
            while filter.counters().await.unwrap().strangers < before + 3 {
                tokio::task::yield_now().await;
            }
            for (ear, (wrapping, ..)) in ears.iter().zip(ways) {
                assert!(!has_come(ear), "{wrapping:?} from a stranger");
            }
        }
        let before = filter.counters().await.unwrap().strangers;
        set(&filter, from_ends(&["192.0.2.9/32", "2001:db8::9/128"])).await;
        send(&world);
        for (ear, (wrapping, ..)) in ears.iter().zip(ways) {
            ear.set_nonblocking(false).unwrap();
            let length = ear.recv(&mut [std::mem::MaybeUninit::uninit(); 128]);
            assert!(length.is_ok(), "{wrapping:?} from a node: {length:?}");
        }
        assert_eq!(filter.counters().await.unwrap().strangers, before);
    });
}

#[test]
fn a_pod_does_not_reach_what_listens_on_the_hosts_loopback() {
    in_namespace(|| async {
        let world = World::build();
        sysctl("ipv4/conf/cali1/route_localnet", "1");
        world.pods[0].ip("addr del 127.0.0.1/8 dev lo");
        world.pods[0].ip("addr del ::1/128 dev lo");
        world.pods[0].ip("route add 127.0.0.0/8 via 169.254.1.1");
        world.pods[0].ip("route add ::1 via fe80::1 dev eth0");
        let ear = UdpSocket::bind("127.0.0.1:7200").unwrap();
        ear.set_read_timeout(Some(PATIENCE)).unwrap();
        let ear_v6 = UdpSocket::bind("[::1]:7200").unwrap();
        ear_v6.set_nonblocking(true).unwrap();
        let send = |to: &'static str| {
            world.pods[0].run(move || {
                let any = if to.starts_with('[') {
                    "[::]:0"
                } else {
                    "0.0.0.0:0"
                };
                let socket = UdpSocket::bind(any).unwrap();
                socket.send_to(b"hello", to).unwrap();
            });
        };
        // So it is without rules.
        send("127.0.0.1:7200");
        assert_eq!(ear.recv(&mut [0; 64]).unwrap(), 5);
        send("[::1]:7200");
        let filter = Filter::start().unwrap();
        set(&filter, of_pods(protected())).await;
        send("127.0.0.1:7200");
        while filter.counters().await.unwrap().loopback == 0 {
            tokio::task::yield_now().await;
        }
        ear.set_nonblocking(true).unwrap();
        assert!(ear.recv(&mut [0; 64]).is_err());
        // Linux sees to that by itself, with or without rules.
        send("[::1]:7200");
        assert!(ear_v6.recv(&mut [0; 64]).is_err());
        // A translation to there, as of an address for metadata, is somebody's wish.
        nft(
            "add table ip other; add chain ip other c { type nat hook prerouting priority dstnat; }; \
             add rule ip other c ip daddr 192.0.2.99 dnat to 127.0.0.1",
        );
        ip("addr add 192.0.2.99/32 dev eth0");
        ear.set_nonblocking(false).unwrap();
        send("192.0.2.99:7200");
        assert_eq!(ear.recv(&mut [0; 64]).unwrap(), 5);
    });
}

#[test]
fn a_pod_does_not_seem_to_be_the_hosts_loopback() {
    in_namespace(|| async {
        let world = World::build();
        sysctl("ipv4/conf/cali1/route_localnet", "1");
        world.pods[0].run(|| sysctl("ipv4/conf/eth0/route_localnet", "1"));
        let ear = UdpSocket::bind("192.0.2.1:7201").unwrap();
        ear.set_read_timeout(Some(PATIENCE)).unwrap();
        let send = || {
            world.pods[0].run(|| {
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                socket.send_to(b"hello", "192.0.2.1:7201").unwrap();
            });
        };
        let filter = Filter::start().unwrap();
        let mut spoofing = protected();
        spoofing.allowed = [("cali1".to_owned(), ["0.0.0.0/0".parse().unwrap()].into())].into();
        set(&filter, of_pods(spoofing)).await;
        send();
        while filter.counters().await.unwrap().loopback == 0 {
            tokio::task::yield_now().await;
        }
        ear.set_nonblocking(true).unwrap();
        assert!(ear.recv(&mut [0; 64]).is_err());
    });
}

const VXLAN_PORT: u16 = 4789;
