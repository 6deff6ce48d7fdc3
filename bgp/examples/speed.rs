//! Processor time, allocations and memory of a reflecting speaker, without sockets: what the core alone costs.
//!
//! ```text
//!   senders: UPDATEs encoded before ──64 KiB──► Speaker ──64 KiB──► receivers: octets counted and dropped
//! ```
//!
//! `cargo run --release -p caracal-bgp --example speed [CASE...]`; without a case all of them run, each in a process
//! of its own, so that one's memory is not the other's. The whole, with sockets and beside other speakers, is
//! measured by `tests/bench`.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a tool for those who work on the crate"
)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use allocation_counter::AllocationInfo;
use caracal_bgp::wire::{
    AsPath, Attributes, Capability, Codec, Family, Message, Nlri, Open, Segment,
};
use caracal_bgp::{ConnectionId, PeerConfig, Speaker, SpeakerConfig, Time};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

fn main() {
    let cases = [
        "s1",
        "s1-500k",
        "s1-unique",
        "s1-v6",
        "fan-200x100",
        "fan-500x20",
        "flap",
        "idle-200",
        "reset",
    ];
    let asked: Vec<String> = std::env::args().skip(1).collect();
    match asked.as_slice() {
        [case] => run(case),
        _ => {
            let program = std::env::current_exe().expect("a path");
            for case in cases {
                if asked.is_empty() || asked.iter().any(|one| one == case) {
                    let ended = std::process::Command::new(&program).arg(case).status();
                    assert!(ended.expect("a process").success(), "{case}");
                }
            }
        }
    }
}

fn run(case: &str) {
    println!("{case}");
    match case {
        "s1" => one_to_one(&blocks(100_000, 100, false)),
        "s1-500k" => one_to_one(&blocks(500_000, 100, false)),
        "s1-unique" => one_to_one(&blocks(100_000, 1, false)),
        "s1-v6" => one_to_one(&blocks(100_000, 100, true)),
        "fan-200x100" => fan_out(200, 100),
        "fan-500x20" => fan_out(500, 20),
        "flap" => flap(),
        "idle-200" => drop(Lab::new(200)),
        "reset" => reset(),
        _ => println!("  there is no such case"),
    }
}

/// One client sends, another one receives.
fn one_to_one(sets: &[Set]) {
    let mut lab = Lab::new(2);
    let count = sets.iter().map(|set| set.prefixes.len()).sum();
    lab.step("load", count, &[(0, announcements(sets, 1))]);
    lab.step("announce again", count, &[(0, announcements(sets, 2))]);
    lab.step("withdraw", count, &[(0, withdrawals(sets))]);
}

/// All send, and all receive what the others have sent.
fn fan_out(clients: usize, prefixes: usize) {
    let mut lab = Lab::new(clients);
    let of_all = |make: &dyn Fn(&[Set]) -> Vec<u8>| -> Vec<(usize, Vec<u8>)> {
        let of = |client| {
            let set = |number| v4(client * prefixes + number, 26);
            Set {
                number: client,
                prefixes: (0..prefixes).map(set).collect(),
            }
        };
        (0..clients)
            .map(|client| (client, make(&[of(client)])))
            .collect()
    };
    let count = clients * prefixes;
    lab.step("load", count, &of_all(&|sets| announcements(sets, 1)));
    lab.step(
        "announce again",
        count,
        &of_all(&|sets| announcements(sets, 2)),
    );
    lab.step(
        "one to all",
        1,
        &[(
            0,
            announcements(
                &[Set {
                    number: 7,
                    prefixes: vec![v4(9_999_999, 32)],
                }],
                1,
            ),
        )],
    );
    lab.step("withdraw", count, &of_all(&withdrawals));
}

/// One prefix comes and goes while many are there.
fn flap() {
    let mut lab = Lab::new(2);
    lab.step(
        "load",
        100_000,
        &[(0, announcements(&blocks(100_000, 100, false), 1))],
    );
    let one = [Set {
        number: 7,
        prefixes: vec![v4(9_999_999, 32)],
    }];
    let (there, gone) = (announcements(&one, 1), withdrawals(&one));
    let rounds: Vec<_> = (0..10_000)
        .map(|n| (0, if n % 2 == 0 { &there } else { &gone }.clone()))
        .collect();
    lab.step("flap", rounds.len(), &rounds);
}

/// Sessions end and come back with many prefixes there.
fn reset() {
    let mut lab = Lab::new(2);
    let sets = blocks(100_000, 100, false);
    lab.step("load", 100_000, &[(0, announcements(&sets, 1))]);
    lab.measure("the receiver comes back", 100_000, |lab| {
        lab.close(1);
        lab.open(1);
    });
    lab.measure("the sender goes", 100_000, |lab| lab.close(0));
    lab.open(0);
    lab.step("and comes back", 100_000, &[(0, announcements(&sets, 1))]);
}

/// Prefixes with equal attributes.
struct Set {
    number: usize,
    prefixes: Vec<IpNet>,
}

/// As in the cluster: three /26 to one /32 (IPv6: /122 and /128).
fn blocks(count: usize, a_set: usize, is_v6: bool) -> Vec<Set> {
    let prefix = |number: usize| match (is_v6, number % 4) {
        (false, 3) => v4(number, 32),
        (false, _) => v4(number, 26),
        (true, kind) => {
            let address = (0xfd00u128 << 112) + ((number as u128) << 6);
            let length = if kind == 3 { 128 } else { 122 };
            IpNet::V6(Ipv6Net::new(Ipv6Addr::from(address), length).expect("a prefix"))
        }
    };
    let set = |number| Set {
        number,
        prefixes: (number * a_set..(number + 1) * a_set).map(prefix).collect(),
    };
    (0..count / a_set).map(set).collect()
}

fn v4(number: usize, length: u8) -> IpNet {
    let address = 0x0a00_0000 + ((number as u32) << 6);
    IpNet::V4(Ipv4Net::new(Ipv4Addr::from(address), length).expect("a prefix"))
}

fn announcements(sets: &[Set], med: u32) -> Vec<u8> {
    let mut octets = Vec::new();
    for set in sets {
        let next_hop = Ipv4Addr::from(0xac1f_0100 + (set.number % 60_000) as u32);
        let is_v6 = set.prefixes.iter().any(|prefix| prefix.addr().is_ipv6());
        let attributes = Attributes {
            next_hop: Some(match is_v6 {
                true => IpAddr::V6(next_hop.to_ipv6_mapped()),
                false => IpAddr::V4(next_hop),
            }),
            med: Some(med),
            local_pref: Some(100),
            communities: vec![
                0xfc00_0000 + (set.number % 65_536) as u32,
                set.number as u32,
            ],
            as_path: AsPath(vec![Segment::Sequence(vec![
                64_600,
                64_700 + (set.number % 100) as u32,
            ])]),
            ..Attributes::default()
        };
        let nlris: Vec<Nlri> = set.prefixes.iter().copied().map(Nlri::from).collect();
        assert!(codec().encode_announce(&attributes, &nlris, &mut octets) > 0);
    }
    octets
}

fn withdrawals(sets: &[Set]) -> Vec<u8> {
    let mut octets = Vec::new();
    let prefixes = sets.iter().flat_map(|set| &set.prefixes);
    let nlris: Vec<Nlri> = prefixes.copied().map(Nlri::from).collect();
    codec().encode_withdraw(&nlris, &mut octets);
    octets
}

fn codec() -> Codec {
    Codec {
        four_octet_as: true,
        families: Family::ALL.to_vec(),
        ..Codec::initial()
    }
}

/// A reflector with clients that are up.
struct Lab {
    speaker: Speaker,
    now: Time,
    connections: Vec<ConnectionId>,
    out: Vec<u8>,
    sent: usize,
    writes: usize,
}

impl Lab {
    fn new(clients: usize) -> Lab {
        let now = Time::from_micros(1);
        let config = SpeakerConfig::new(64_512, Ipv4Addr::new(172, 31, 0, 1));
        let mut lab = Lab {
            speaker: Speaker::new(config, now),
            now,
            connections: Vec::new(),
            out: Vec::with_capacity(OCTETS),
            sent: 0,
            writes: 0,
        };
        lab.measure("sessions", clients, |lab| {
            for client in 0..clients {
                let config = PeerConfig {
                    families: Family::ALL.to_vec(),
                    passive: true,
                    reflector_client: true,
                    ..PeerConfig::new(IpAddr::V4(address(client)), 64_512, 64_512)
                };
                lab.speaker.set_peer(now, config);
                lab.connections.push(ConnectionId(0));
                lab.open(client);
            }
        });
        lab
    }

    fn open(&mut self, client: usize) {
        let local = SocketAddr::from(([172, 31, 0, 1], 179));
        let remote = SocketAddr::from((address(client), 40_000));
        let connection = self
            .speaker
            .handle_incoming(self.now, local, remote)
            .expect("a peer");
        self.connections[client] = connection;
        let capabilities = Family::ALL.map(Capability::Multiprotocol).into_iter();
        let open = Open {
            asn: 64_512,
            hold_time_seconds: 90,
            router_id: address(client),
            capabilities: capabilities
                .chain([Capability::FourOctetAs(64_512)])
                .collect(),
        };
        let mut octets = Vec::new();
        codec().encode(&Message::Open(open), &mut octets);
        codec().encode(&Message::Keepalive, &mut octets);
        self.speaker.handle_bytes(self.now, connection, &octets);
        self.drain();
    }

    fn close(&mut self, client: usize) {
        self.speaker
            .handle_closed(self.now, self.connections[client], "closed by the peer");
        self.drain();
    }

    /// These octets arrive from these clients, by turns; all that follows is sent.
    fn step(&mut self, what: &str, count: usize, from: &[(usize, Vec<u8>)]) {
        self.measure(what, count, |lab| {
            for (client, octets) in from {
                for piece in octets.chunks(OCTETS) {
                    lab.speaker
                        .handle_bytes(lab.now, lab.connections[*client], piece);
                    lab.drain();
                }
            }
        });
    }

    fn drain(&mut self) {
        while self.speaker.poll_action().is_some() {}
        while let Some(connection) = self.speaker.poll_ready() {
            loop {
                self.out.clear();
                let more = self
                    .speaker
                    .poll_transmit(self.now, connection, &mut self.out, OCTETS);
                self.sent += self.out.len();
                self.writes += 1;
                if !more {
                    break;
                }
            }
        }
        while self.speaker.poll_event().is_some() {}
        while self.speaker.poll_route_change().is_some() {}
    }

    fn measure(&mut self, what: &str, count: usize, work: impl FnOnce(&mut Lab)) {
        (self.sent, self.writes) = (0, 0);
        let resident_before = resident();
        let mut took = Duration::ZERO;
        let AllocationInfo {
            count_total,
            bytes_current,
            ..
        } = allocation_counter::measure(|| {
            let start = processor_time();
            work(self);
            took = processor_time() - start;
        });
        let each = |total: f64| total / count.max(1) as f64;
        println!(
            "  {what:24} {:9.3} ms {:9.1} ns {:7.3} allocations {:8.1} octets kept each; {} octets out in {} writes; {:+} KiB resident of {} KiB",
            took.as_secs_f64() * 1e3,
            each(took.as_nanos() as f64),
            each(count_total as f64),
            each(bytes_current as f64),
            self.sent,
            self.writes,
            (resident() as i64 - resident_before as i64) / 1024,
            resident() / 1024,
        );
    }
}

fn address(client: usize) -> Ipv4Addr {
    Ipv4Addr::from(0xac1f_0100 + client as u32)
}

/// Octets of this process in memory.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: Option<usize> = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0) * 4096
}

/// Of this thread. What else the machine does is not in it.
fn processor_time() -> Duration {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = schedstat
        .split(' ')
        .next()
        .and_then(|first| first.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or(0))
}

/// What the shell reads and writes at once.
const OCTETS: usize = 64 * 1024;
