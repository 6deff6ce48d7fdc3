//! The whole speaker under fire: sessions of three kinds (several paths and IPv6 next hops among them) whose messages
//! are good ones, broken; and a fourth peer that looks on, and is told of every path.
//!
//! `CARACAL_FUZZ_MESSAGES` says how many (20,000 when it is not set), `CARACAL_SEED` which. Whatever is said, nothing
//! panics, no message makes work without end or takes memory out of proportion, what is shown agrees with itself, and
//! the onlooker keeps its session. What it is told is always well-formed, and adds up to what it is said to have.

#![allow(clippy::expect_used, clippy::panic, reason = "how a test fails")]

mod generate;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use caracal_bgp::config::{AddPath, PathsSent};
use caracal_bgp::wire::{
    AddPathMode, Capability, Codec, Family, LongLivedFamily, Message, NextHopAfi, Nlri, Open,
    Segment,
};
use caracal_bgp::{
    Action, ConnectionId, Event, LocalPath, PeerConfig, Speaker, SpeakerConfig, Time,
};
use generate::mutate::{HEADER_OCTETS, Random, mutate, shuffle_attributes};
use generate::{config, message_for, seed, update_for};
use ipnet::IpNet;
use peak_alloc::PeakAlloc;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const ASN: u32 = 64512;
/// By number of peer. The last one looks on.
const ASNS: [u32; 4] = [ASN, 65001, ASN, ASN];
const ONLOOKER: usize = 3;
/// What a message may make us do, in turns of any loop.
const TURNS_MAX: usize = 10_000;
/// What a message may make us hold for a moment, beside what stays, in octets. A hash table that grows holds two of it.
const MEMORY_MAX: usize = 4 * 1024 * 1024;

fn address(peer: usize) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, u8::try_from(peer).expect("few") + 2).into()
}

fn own() -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, 1)
}

fn open(peer: usize) -> Open {
    let mut capabilities = vec![
        Capability::Multiprotocol(Family::Ipv4Unicast),
        Capability::Multiprotocol(Family::Ipv6Unicast),
        Capability::RouteRefresh,
    ];
    // The internal one that is no client has AS numbers of two octets.
    if peer != 2 {
        capabilities.push(Capability::FourOctetAs(ASNS[peer]));
    }
    if peer < 2 {
        let extended = (Family::Ipv4Unicast, NextHopAfi::Ipv6);
        capabilities.push(Capability::ExtendedNextHop(vec![extended]));
    }
    if peer == 0 {
        capabilities.extend([
            Capability::EnhancedRouteRefresh,
            Capability::GracefulRestart {
                restarted: false,
                notification: true,
                time_seconds: 5,
                families: vec![(Family::Ipv4Unicast, true)],
            },
            Capability::LongLivedGracefulRestart(vec![LongLivedFamily {
                family: Family::Ipv4Unicast,
                forwarding: true,
                stale_time_seconds: 30,
            }]),
        ]);
    }
    let several = match peer {
        0 => Some(AddPathMode::Both),
        ONLOOKER => Some(AddPathMode::Receive),
        _ => None,
    };
    capabilities.extend(
        several.map(|mode| Capability::AddPath(Family::ALL.map(|family| (family, mode)).to_vec())),
    );
    Open {
        asn: ASNS[peer],
        hold_time_seconds: 0,
        router_id: Ipv4Addr::new(10, 0, 0, u8::try_from(peer).expect("few") + 2),
        capabilities,
    }
}

/// As the peer has it: `send` is what it says.
fn codec(peer: usize) -> Codec {
    let if_it = |does: bool| match does {
        true => Family::ALL.to_vec(),
        false => Vec::new(),
    };
    Codec {
        four_octet_as: peer != 2,
        families: Family::ALL.to_vec(),
        add_path_send: if_it(peer == 0),
        add_path_receive: if_it(peer == 0 || peer == ONLOOKER),
        extended_next_hop: peer < 2,
        enhanced_route_refresh: peer == 0,
        ..Codec::initial()
    }
}

/// What each peer might say, most of it UPDATEs that are accepted.
fn corpus(peer: usize) -> Vec<Vec<u8>> {
    let mut runner = TestRunner::new(config(1));
    let (updates, any) = (update_for(&codec(peer)), message_for(&codec(peer)));
    let mut all = Vec::new();
    for index in 0..300 {
        let mut message = match index % 20 {
            0 => any.new_tree(&mut runner).expect("a message").current(),
            _ => Message::Update(updates.new_tree(&mut runner).expect("one").current()),
        };
        if let Message::Update(update) = &mut message
            && ASNS[peer] != ASN
        {
            let path = &mut update.attributes.as_path.0;
            path.retain(|segment| !segment.is_confed());
            path.insert(0, Segment::Sequence(vec![ASNS[peer]]));
        }
        let mut octets = Vec::new();
        codec(peer).encode(&message, &mut octets);
        if !octets.is_empty() {
            all.push(octets);
        }
    }
    all
}

/// The speaker, and what its peers know.
struct Scene {
    speaker: Speaker,
    now: Time,
    connections: [Option<ConnectionId>; 4],
    /// What has come to the onlooker and is not a whole message yet.
    heard: Vec<u8>,
    /// What the onlooker has been told and not taken back.
    known: BTreeSet<Nlri>,
    sessions: u64,
}

impl Scene {
    fn new() -> Scene {
        let now = Time::from_micros(1);
        let config = SpeakerConfig {
            multipath_max: 4,
            ..SpeakerConfig::new(ASN, own())
        };
        let mut speaker = Speaker::new(config, now);
        for (peer, &asn) in ASNS.iter().enumerate() {
            let config = PeerConfig {
                passive: true,
                families: Family::ALL.to_vec(),
                hold_time: Duration::ZERO,
                reflector_client: peer == 0,
                extended_next_hop: peer < 2,
                long_lived: (peer == 0).then_some(Duration::from_secs(30)),
                add_path: AddPath {
                    receive: peer == 0,
                    receive_max: 4,
                    send: match peer {
                        0 => PathsSent::BestOf(2),
                        ONLOOKER => PathsSent::All,
                        _ => PathsSent::Best,
                    },
                },
                next_hop_self_v6: Some(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1)),
                ..PeerConfig::new(address(peer), asn, ASN)
            };
            speaker.set_peer(now, config);
        }
        speaker.originate(now, local(), LocalPath::default());
        let mut scene = Scene {
            speaker,
            now,
            connections: [None; 4],
            heard: Vec::new(),
            known: BTreeSet::new(),
            sessions: 0,
        };
        scene.connect(ONLOOKER);
        scene
    }

    /// A session of this peer, if it may have one now.
    fn connect(&mut self, peer: usize) {
        let (local, remote) = (
            SocketAddr::new(own().into(), 179),
            SocketAddr::new(address(peer), 40000),
        );
        if let Ok(connection) = self.speaker.handle_incoming(self.now, local, remote) {
            self.connections[peer] = Some(connection);
            let mut octets = Vec::new();
            Codec::initial().encode(&Message::Open(open(peer)), &mut octets);
            Codec::initial().encode(&Message::Keepalive, &mut octets);
            self.say(peer, &octets);
            self.sessions += 1;
        } else {
            // Held idle after an error, for a minute at most.
            self.pass(Duration::from_secs(61));
        }
    }

    fn say(&mut self, peer: usize, octets: &[u8]) {
        if let Some(connection) = self.connections[peer] {
            self.speaker.handle_bytes(self.now, connection, octets);
        }
        self.drain();
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        for _ in 0..TURNS_MAX {
            match self.speaker.poll_timeout() {
                Some(due) if due <= self.now => self.speaker.handle_timeout(self.now),
                _ => {
                    self.drain();
                    return;
                }
            }
        }
        panic!("timers without end");
    }

    /// Takes all outputs.
    fn drain(&mut self) {
        let mut turns = 0;
        let mut turn = || {
            turns += 1;
            assert!(turns < TURNS_MAX, "work without end");
        };
        while let Some(action) = self.speaker.poll_action() {
            turn();
            let Action::Close { connection } = action else {
                panic!("all are passive");
            };
            for one in &mut self.connections {
                if *one == Some(connection) {
                    *one = None;
                }
            }
        }
        let mut out = Vec::new();
        while let Some(connection) = self.speaker.poll_ready() {
            loop {
                turn();
                let more = self
                    .speaker
                    .poll_transmit(self.now, connection, &mut out, 16 * 1024);
                if self.connections[ONLOOKER] == Some(connection) {
                    self.heard.append(&mut out);
                }
                out.clear();
                if !more {
                    break;
                }
            }
        }
        while let Some(event) = self.speaker.poll_event() {
            turn();
            let whose = |peer| self.speaker.peer_identity(peer).map(|(_, address)| address);
            if let Event::Down { peer, reason, .. } = event {
                assert_ne!(whose(peer), Some(address(ONLOOKER)), "{reason}");
            }
        }
        while self.speaker.poll_route_change().is_some() {
            turn();
        }
        self.listen();
    }

    /// The onlooker reads what it was told.
    fn listen(&mut self) {
        let codec = codec(ONLOOKER);
        let mut rest = self.heard.as_slice();
        while let Some(length) = codec.frame(rest).expect("a good header")
            && length <= rest.len()
        {
            let (octets, tail) = rest.split_at(length);
            rest = tail;
            match codec.decode(octets).expect("a good message") {
                Message::Update(update) => {
                    assert!(update.errors.is_empty(), "{:?}", update.errors);
                    for nlri in &update.withdrawn {
                        self.known.remove(nlri);
                    }
                    let reach = update.mp_announced.iter();
                    let reach = reach.flat_map(|reach| &reach.prefixes);
                    let announced = update.announced.iter().chain(reach);
                    self.known.extend(announced);
                }
                Message::Notification(last) => panic!("{last}"),
                Message::Open(_) | Message::Keepalive | Message::RouteRefresh(_) => {}
            }
        }
        let read = self.heard.len() - rest.len();
        self.heard.drain(..read);
    }

    /// What is shown agrees with itself, and with what the onlooker knows.
    fn check(&self) {
        let peers = self.speaker.peers(self.now);
        let routes = self.speaker.routes();
        let mut paths: BTreeMap<IpAddr, usize> = BTreeMap::new();
        for route in &routes {
            let best = route.paths.iter().filter(|path| path.best).count();
            assert!(best <= 1, "{route:?}");
            for path in &route.paths {
                assert_eq!(
                    path.best,
                    path.lost_because.is_none() && path.best,
                    "{route:?}"
                );
                if let Some(peer) = path.peer {
                    *paths.entry(peer).or_default() += 1;
                }
            }
        }
        for peer in &peers {
            let shown = paths.get(&peer.address).copied().unwrap_or_default();
            assert_eq!(shown, peer.prefixes_received, "{peer:?}");
            assert!(peer.prefixes_accepted <= peer.prefixes_received, "{peer:?}");
            assert!(peer.prefixes_stale <= peer.prefixes_received, "{peer:?}");
            let advertised = self.speaker.advertised(peer.address);
            assert_eq!(advertised.len(), peer.prefixes_sent, "{peer:?}");
            if peer.state != "Established" {
                assert_eq!(peer.prefixes_received, peer.prefixes_stale, "{peer:?}");
            }
        }
        let onlooker = &peers[ONLOOKER];
        assert_eq!(
            (onlooker.state.as_str(), onlooker.flaps),
            ("Established", 0)
        );
        let advertised = self.speaker.advertised(address(ONLOOKER));
        assert_eq!(advertised.into_iter().collect::<BTreeSet<_>>(), self.known);
        assert!(self.known.iter().any(|nlri| nlri.prefix == local()));
    }
}

fn local() -> IpNet {
    "10.233.0.0/26".parse().expect("a prefix")
}

/// Invariant 6 of docs/architecture.md, for all that stands behind the decoder.
#[test]
fn no_message_panics_hangs_or_reaches_beyond_its_session() {
    let count = std::env::var("CARACAL_FUZZ_MESSAGES").ok();
    let count: usize = count.map_or(20_000, |count| count.parse().expect("a number"));
    let corpora: Vec<_> = (0..ONLOOKER).map(corpus).collect();
    let mut random = Random(seed().max(1));
    let mut scene = Scene::new();
    let (mut refused, mut most, mut widest) = (0, 0, 0);
    for index in 0..count {
        let peer = random.below(ONLOOKER);
        if scene.connections[peer].is_none() {
            refused += 1;
            scene.connect(peer);
        }
        let corpus = &corpora[peer];
        let mut octets = corpus[random.below(corpus.len())].clone();
        // Most are good, or good enough for the session to go on.
        match random.below(16) {
            0..4 => shuffle_attributes(&mut random, &mut octets),
            4 => {
                let other = &corpus[random.below(corpus.len())];
                mutate(&mut random, &mut octets, other);
                octets.truncate(4096);
            }
            _ => {}
        }
        if octets.len() < HEADER_OCTETS || random.below(256) != 0 {
            let length = u16::try_from(octets.len()).expect("at most 4096");
            octets[16..18].copy_from_slice(&length.to_be_bytes());
        }
        let cut = random.below(octets.len() + 1);
        MEMORY.reset_peak_usage();
        let before = MEMORY.current_usage();
        let done = catch_unwind(AssertUnwindSafe(|| {
            scene.say(peer, &octets[..cut]);
            scene.say(peer, &octets[cut..]);
            if index % 64 == 0 {
                scene.pass(Duration::from_millis(100));
            }
        }));
        most = most.max(MEMORY.peak_usage().saturating_sub(before));
        let checked = done.and_then(|()| {
            catch_unwind(AssertUnwindSafe(|| {
                assert!(most <= MEMORY_MAX, "{most} octets for a moment");
                if index % 1000 == 0 {
                    scene.check();
                    widest = widest.max(scene.known.len());
                }
            }))
        });
        if checked.is_err() {
            panic!(
                "message {index} of seed {}, peer {peer}: {octets:02x?}",
                seed()
            );
        }
    }
    scene.check();
    println!(
        "{count} messages in {} sessions, {refused} times refused or ended; {widest} routes at a time; {most} octets at most for a message",
        scene.sessions
    );
    // Many messages a session, and many sessions.
    assert!(scene.sessions > u64::try_from(count / 1000).expect("64 bits"));
    assert!(scene.sessions < u64::try_from(count / 2).expect("64 bits"));
    assert!(widest > 100, "{widest} routes at most");
}
