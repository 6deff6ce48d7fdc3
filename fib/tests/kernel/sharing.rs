//! Nexthop objects under way: packets while they change, tunnels, other programs, and the end.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use caracal_fib::{Change, Config, Encapsulation, Mode, cleanup};

use crate::harness::*;
use crate::tunnels::{settle_tunnels, vtep, vxlan_tunnels};

#[test]
fn no_packet_is_lost_while_a_thousand_routes_move_by_one_write() {
    in_namespace(|| async {
        if let Err(error) = far_end() {
            println!("skipped: no second network namespace: {error}");
            return;
        }
        let fib = start().await;
        let to = |next_hop| {
            let blocks = (0..BLOCKS).map(|i| remote(&block(i), &[next_hop]));
            blocks.collect::<Vec<_>>()
        };
        fib.apply(to("172.18.0.2"));
        settle(&fib).await;
        let ends = Arc::new(AtomicBool::new(false));
        let over = ends.clone();
        // It inherits the namespace.
        let pinger = std::thread::spawn(move || ping(&over));
        let mut written = fib.status().borrow().object_writes;
        for round in 0..20 {
            let next_hop = ["172.18.0.3", "172.18.0.2"][round % 2];
            fib.apply(to(next_hop));
            let status = settle(&fib).await;
            written += 1;
            assert_eq!((status.writes, status.object_writes), (BLOCKS, written));
            assert!(ours("-4").iter().all(|route| route.contains(next_hop)));
        }
        ends.store(true, Ordering::Relaxed);
        let (answered, lost) = pinger.join().unwrap();
        assert!(answered > 20, "{answered}");
        assert_eq!(lost, 0, "of {}", answered + lost);
    });
}

#[test]
fn a_group_leads_through_vxlan_to_two_nodes_and_follows_them() {
    in_namespace(|| async {
        let fib = start().await;
        let always = Encapsulation::Vxlan(Mode::Always);
        let nodes = ["172.19.0.2", "172.19.0.3"];
        let blocks = (0..100).map(|i| encapsulated(&block(i), &nodes, always));
        fib.apply(vec![
            Change::SetTunnels(Box::new(vxlan_tunnels())),
            vtep(nodes[0], "10.233.2.1", 2),
            vtep(nodes[1], "10.233.3.1", 3),
        ]);
        settle_tunnels("vxlan.calico").await;
        settle(&fib).await;
        fib.apply(blocks.collect());
        let before = settle(&fib).await;
        assert_eq!((before.writes, before.object_writes), (100, 3));
        assert_eq!(before.failed, 0);
        let leads_to = |tunnels: [&str; 2]| {
            let way = |to| format!("nexthop via {to} dev vxlan.calico weight 1 onlink");
            let shown = ours("-4").join(" ");
            tunnels
                .iter()
                .all(|to| shown.matches(&way(to)).count() == 100)
        };
        assert!(leads_to(["10.233.2.1", "10.233.3.1"]), "{:?}", ours("-4"));
        // A node's tunnel has another address from now on: a new member, and the group.
        fib.apply(vec![vtep(nodes[1], "10.233.4.1", 4)]);
        until_kernel("both, as they are now", || {
            leads_to(["10.233.2.1", "10.233.4.1"])
        })
        .await;
        until_kernel("the former member is gone", || {
            !ip("nexthop show").contains("10.233.3.1")
        })
        .await;
        let written = before.object_writes + 3;
        let after = until(&fib, "all counted", |s| s.object_writes == written).await;
        assert_eq!(after.writes, 100, "no route was written");
    });
}

#[test]
fn the_routes_of_others_on_an_object_of_ours_survive_us() {
    in_namespace(|| async {
        let fib = start().await;
        fib.apply(vec![
            open(),
            remote("10.233.2.0/26", &["172.18.0.2"]),
            remote("10.233.3.0/26", &["172.18.0.3"]),
            remote("10.233.4.0/26", &["172.18.0.2", "172.18.0.3"]),
            remote("fd00:3::/122", &["2001:db8:18::2"]),
        ]);
        settle(&fib).await;
        ip("route add 192.0.2.0/24 nhid 670000001 proto static");
        let theirs = || ip("route show 192.0.2.0/24");
        let before = theirs();
        assert!(before.contains("via 172.18.0.2"), "{before}");
        // Nothing of ours needs it any more, and others follow it not.
        fib.apply(vec![
            remote("10.233.2.0/26", &["172.18.0.4"]),
            Change::RemoveRoute(net("10.233.3.0/26")),
        ]);
        until_kernel("that of nobody is gone", || {
            ip("nexthop show")
                .lines()
                .filter(|line| line.contains("via 172.18.0.3"))
                .count()
                == 1
        })
        .await;
        assert_eq!(theirs(), before);

        let objects = fib.status().borrow().objects;
        drop(fib);
        let config = Config::default();
        let dry = cleanup(&config, true).await.unwrap();
        assert_eq!(
            (dry.routes_v4, dry.routes_v6, dry.nexthops),
            (2, 1, objects - 1)
        );
        let cleaned = cleanup(&config, false).await.unwrap();
        assert_eq!(cleaned.nexthops, dry.nexthops);
        assert_eq!(
            cleaned.failures,
            [
                "nexthop object 670000001 stays: the route to 192.0.2.0/24 of protocol static uses it; `ip nexthop del id \
              670000001` removes both"
            ]
        );
        assert_eq!([ours("-4"), ours("-6")].concat(), [""; 0]);
        assert_eq!(theirs(), before);
        assert_eq!(ip("nexthop show").lines().count(), 1);
        ip("route del 192.0.2.0/24");
        let again = cleanup(&config, false).await.unwrap();
        assert_eq!((again.nexthops, again.failures), (1, Vec::new()));
        assert_eq!(ip("nexthop show"), "");
    });
}

/// A machine in a namespace of its own at the other end of `eth0`: it is 172.18.0.2 and 172.18.0.3, has all addresses of all
/// blocks, and sends back each datagram, until [`END`].
fn far_end() -> Result<(), String> {
    let (tell, told) = mpsc::channel();
    let (go, gone) = mpsc::channel();
    std::thread::spawn(move || {
        #[expect(
            deprecated,
            reason = "the replacement is unsafe for the sake of other flags"
        )]
        let entered = rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNET);
        let thread = rustix::thread::gettid().as_raw_nonzero();
        let entered = entered.map(|()| thread).map_err(|error| error.to_string());
        tell.send(entered).unwrap();
        if gone.recv().is_err() {
            return;
        }
        for line in [
            "link set lo up",
            "addr add 172.18.0.2/24 dev peer0",
            "addr add 172.18.0.3/24 dev peer0",
            "link set peer0 up",
            "route add local 10.64.0.0/10 dev lo",
        ] {
            ip(line);
        }
        let socket = UdpSocket::bind(("0.0.0.0", PORT)).unwrap();
        tell.send(Ok(thread)).unwrap();
        let mut datagram = [0; 8];
        loop {
            let (_, from) = socket.recv_from(&mut datagram).unwrap();
            if datagram == END {
                return;
            }
            socket.send_to(&datagram, from).unwrap();
        }
    });
    let answer = || told.recv_timeout(PATIENCE).map_err(|e| e.to_string());
    let thread = answer()??;
    ip(&format!("link set peer0 netns {thread}"));
    go.send(()).unwrap();
    answer()??;
    Ok(())
}

/// Asks an address of one block after the other, each when the one before has answered. Returns how many answered and how
/// many did not.
fn ping(ends: &AtomicBool) -> (u64, u64) {
    let socket = UdpSocket::bind(("172.18.0.1", 0)).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let (mut answered, mut lost) = (0, 0);
    for number in 0u64.. {
        let block = number % BLOCKS;
        let to = [10, 64 + (block / 256) as u8, (block % 256) as u8, 1];
        let to = SocketAddr::from((to, PORT));
        if ends.load(Ordering::Relaxed) {
            socket.send_to(&END, to).unwrap();
            break;
        }
        let question = number.to_ne_bytes();
        let mut answer = [0; 8];
        let sent = socket.send_to(&question, to).is_ok();
        if sent && socket.recv(&mut answer).is_ok() && answer == question {
            answered += 1;
        } else {
            lost += 1;
        }
    }
    (answered, lost)
}

fn block(i: u64) -> String {
    format!("10.{}.{}.0/26", 64 + i / 256, i % 256)
}

const BLOCKS: u64 = 1000;
const PORT: u16 = 7007;
const END: [u8; 8] = [0xff; 8];
