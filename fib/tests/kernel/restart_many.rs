//! A restart with 20,000 routes of all kinds: the new one finds everything as it wants it, whatever the order in which it
//! hears of its wishes.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use caracal_fib::{Change, Encapsulation, Mode, Tunnels, Vtep, VxlanDevice};

use crate::harness::*;

const V4: u32 = 12_000;
const V6: u32 = 8_000;
const VTEPS: u32 = 100;
const PODS: u32 = 20;

#[test]
fn a_restart_with_20_000_routes_writes_nothing_to_the_kernel() {
    in_namespace(|| async {
        for pod in 1..=PODS {
            add_cali(&format!("cali{pod}"));
        }
        let mut wishes = wishes();
        let fib = start().await;
        fib.apply(wishes.clone());
        fib.apply(vec![open()]);
        let first = settle(&fib).await;
        let expected = (V4 + V6 + 2 * PODS + 40) as usize;
        assert_eq!((first.desired, first.actual), (expected, expected));
        until_kernel("all entries of VTEPs", || {
            let neighbours = ip("neigh show nud permanent dev vxlan.calico");
            neighbours.lines().count() == VTEPS as usize
        })
        .await;
        drop(fib);
        until_kernel("duplicate address detection to be over", || {
            ip("-6 addr show tentative").trim().is_empty()
        })
        .await;

        let monitor = Monitor::start();
        let began = Instant::now();
        let fib = start().await;
        let read = began.elapsed();
        let mut random = Seeded(67);
        random.shuffle(&mut wishes);
        for portion in wishes.chunks(500) {
            fib.apply(portion.to_vec());
            // The worker may take it up before the next one comes.
            tokio::task::yield_now().await;
        }
        let status = settle(&fib).await;
        assert_eq!((status.desired, status.stale), (expected, 0));
        fib.apply(vec![open()]);
        let status = settle(&fib).await;
        println!(
            "{expected} routes: read after {read:?}, complete after {:?}",
            began.elapsed()
        );
        assert_eq!((status.desired, status.actual), (expected, expected));
        assert_eq!(status.writes, 0);
        assert_eq!(monitor.end(), [""; 0], "the kernel reported changes");
    });
}

/// Remote blocks of all kinds, own blocks, pods, tunnels and far ends.
fn wishes() -> Vec<Change> {
    let vxlan = Encapsulation::Vxlan(Mode::Always);
    let mut wishes = vec![Change::SetTunnels(Box::new(Tunnels {
        vxlan: Some(VxlanDevice {
            vni: 4096,
            port: 4789,
            address: address("10.233.0.1"),
            mac: [0x66, 0, 0, 0, 0, 1],
            local: address("172.18.0.1"),
            mtu: None,
        }),
        ..Tunnels::default()
    }))];
    for number in 0..V4 {
        // The /26 of 10.0.0.0/8, and nodes of one subnet.
        let (high, low) = (number / 1024, (number / 4) % 256);
        let prefix = format!("10.{high}.{low}.{}/26", (number % 4) * 64);
        let node = |n: u32| format!("172.18.0.{}", 2 + n % 250);
        let (one, other) = (node(number), node(number + 1));
        wishes.push(match number % 10 {
            0 => remote(&prefix, &[&one, &other]),
            1 => encapsulated(&prefix, &[&node(number % VTEPS)], vxlan),
            _ => remote(&prefix, &[&one]),
        });
    }
    for number in 0..V6 {
        let hop = |n: u32| format!("2001:db8:18::{:x}", 2 + n % 250);
        let (one, other) = (hop(number), hop(number + 1));
        let prefix = format!("fd00:{number:x}::/122");
        wishes.push(match number % 10 {
            0 => remote(&prefix, &[&one, &other]),
            _ => remote(&prefix, &[&one]),
        });
    }
    for number in 0..VTEPS {
        let vtep = Vtep {
            address: address(&format!("10.233.0.{}", 2 + number)),
            mac: [0x66, 0, 0, 0, 1, number as u8],
        };
        let node = address(&format!("172.18.0.{}", 2 + number));
        wishes.push(Change::SetVtep(node, vtep));
    }
    for number in 0..20 {
        wishes.push(blackhole(&format!("10.234.{number}.0/26")));
        wishes.push(blackhole(&format!("fd01:{number:x}::/122")));
    }
    for pod in 1..=PODS {
        let addresses = [format!("10.234.0.{pod}"), format!("fd01::{pod:x}")];
        wishes.push(workload(
            &format!("cali{pod}"),
            &[&addresses[0], &addresses[1]],
        ));
    }
    wishes
}

/// What the kernel tells everyone who listens, by a program that is not ours.
struct Monitor {
    program: Child,
    lines: mpsc::Receiver<String>,
}

impl Monitor {
    fn start() -> Monitor {
        let objects = ["link", "address", "route", "neigh", "nexthop", "rule"];
        let mut command = Command::new("ip");
        command.arg("monitor").args(objects).stdout(Stdio::piped());
        let (sender, lines) = mpsc::channel();
        let mut monitor = Monitor {
            program: command.spawn().unwrap(),
            lines,
        };
        let output = BufReader::new(monitor.program.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                // The test may be over.
                sender.send(line).ok();
            }
        });
        let deadline = Instant::now() + PATIENCE;
        loop {
            ip(&format!("route add blackhole {MARK} proto 99"));
            ip(&format!("route delete blackhole {MARK} proto 99"));
            let told = monitor.lines.recv_timeout(Duration::from_millis(20));
            if told.is_ok() {
                return monitor;
            }
            assert!(Instant::now() < deadline, "ip monitor says nothing");
        }
    }

    /// What it has told of until now, without our marks and what the kernel itself learns of its neighbours.
    fn end(&self) -> Vec<String> {
        ip(&format!("route add blackhole {LAST_MARK} proto 99"));
        let mut told = Vec::new();
        loop {
            let line = self.lines.recv_timeout(PATIENCE).unwrap();
            if line.contains(LAST_MARK) {
                break;
            }
            let learned = [
                "REACHABLE",
                "STALE",
                "DELAY",
                "PROBE",
                "INCOMPLETE",
                "FAILED",
            ];
            if !line.contains(MARK) && !learned.iter().any(|state| line.contains(state)) {
                told.push(line);
            }
        }
        told
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.program.kill().ok();
        self.program.wait().ok();
    }
}

const MARK: &str = "203.0.113.1";
const LAST_MARK: &str = "203.0.113.99";

/// A generator of numbers that look random (splitmix64).
struct Seeded(u64);

impl Seeded {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.next() % (last as u64 + 1);
            items.swap(last, other as usize);
        }
    }
}
