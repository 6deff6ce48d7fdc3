//! Peers, and others, who mean ill. While each does its worst, two speakers beside it keep a session whose hold
//! time is six seconds, and what the shell holds on to stays small.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use socket2::{Domain, Socket, Type};
use tokio::io::AsyncWriteExt;

use super::*;
use crate::places::PLACES_MAX;

/// Two speakers and their session. Whatever is done to the first, they must not notice.
struct Bystanders {
    attacked: Shell,
    other: Shell,
    numbers: (u8, u8),
}

impl Bystanders {
    async fn new(first: u8) -> Bystanders {
        let numbers = (first, first + 1);
        let (attacked, other) = (shell(numbers.0), shell(numbers.1));
        for (own, from, to, remote) in [
            (&attacked, numbers.0, numbers.1, &other),
            (&other, numbers.1, numbers.0, &attacked),
        ] {
            let mut config = peer(from, to, remote.listening()[0].port());
            config.hold_time = HOLD_TIME;
            add_peer(own, config).await;
        }
        until_established(&attacked, numbers.1).await;
        Bystanders {
            attacked,
            other,
            numbers,
        }
    }

    /// A configured peer of the attacked speaker, that only accepts.
    async fn enemy(&self, last: u8) {
        let mut config = peer(self.numbers.0, last, 179);
        config.passive = true;
        add_peer(&self.attacked, config).await;
    }

    fn door(&self) -> SocketAddr {
        self.attacked.listening()[0]
    }

    /// Until both have sent each other some keepalives.
    async fn go_on(&self) {
        tokio::join!(
            keeps_hearing(&self.attacked, self.numbers.1),
            keeps_hearing(&self.other, self.numbers.0)
        );
    }

    /// They have not lost each other, and hear each other's routes.
    async fn assert_unharmed(&self) {
        for (shell, last) in [
            (&self.attacked, self.numbers.1),
            (&self.other, self.numbers.0),
        ] {
            let view = view(shell, last).await;
            assert_eq!((view.state.as_str(), view.flaps), ("Established", 0));
        }
        let late = net("10.99.0.0/24");
        originate(&self.attacked, vec![late]).await;
        until(&self.other, "a late route", move |speaker, _| {
            has_route(speaker, &late)
        })
        .await;
    }
}

async fn keeps_hearing(shell: &Shell, last: u8) {
    let before = view(shell, last).await.messages_received;
    let waited = timeout(DEADLINE, async {
        while view(shell, last).await.messages_received < before + KEEPALIVES {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(waited.await.is_ok(), "{:?}", view(shell, last).await);
}

/// A keepalive goes out each two seconds, and an attack lasts until two have come in either direction. The least hold
/// time, three seconds, is lost on a busy machine without any attack, too.
const HOLD_TIME: Duration = Duration::from_secs(6);
const KEEPALIVES: u64 = 2;
/// For the enemies to do all that they want on a busy machine.
const DEADLINE: Duration = Duration::from_secs(150);

async fn view(shell: &Shell, last: u8) -> caracal_bgp::view::PeerView {
    let peers = shell.with(|speaker, now| speaker.peers(now)).await.unwrap();
    let view = peers
        .into_iter()
        .find(|peer| peer.address == loopback(last));
    view.unwrap()
}

/// Something that threads of their own do until it is dropped.
struct Attack {
    over: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Attack {
    /// `blow` is told its number, and returns false for one that does not count.
    fn new(threads: u64, blow: impl FnMut(u64) -> bool + Clone + Send + 'static) -> Attack {
        let (over, done) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let one = |thread| {
            let (over, done, mut blow) = (over.clone(), done.clone(), blow.clone());
            std::thread::spawn(move || {
                let mut number = thread;
                while !over.load(Ordering::Relaxed) {
                    if blow(number) {
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                    number += threads;
                }
            })
        };
        Attack {
            threads: (0..threads).map(one).collect(),
            over,
            done,
        }
    }

    async fn blows(&self, wanted: u64) {
        let waited = timeout(DEADLINE, async {
            while self.done.load(Ordering::Relaxed) < wanted {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        assert!(waited.await.is_ok(), "{:?} of {wanted}", self.done);
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// A blocking connection from this address, which leaves nothing with the kernel when it is closed.
fn knock(from: Ipv4Addr, to: SocketAddr) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(from.into(), 0).into())?;
    socket.set_linger(Some(Duration::ZERO))?;
    socket.set_write_timeout(Some(Duration::from_millis(200)))?;
    socket.connect_timeout(&to.into(), Duration::from_millis(200))?;
    Ok(socket)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_strangers_is_refused_and_nobody_notices() {
    let bystanders = Bystanders::new(201).await;
    let mut events = bystanders.attacked.subscribe();
    let door = bystanders.door();
    let attack = Attack::new(2, move |number| {
        let [_, b, c, d] = u32::try_from(number & 0xff_ffff).unwrap().to_be_bytes();
        knock(Ipv4Addr::new(127, 200 + b % 50, c, d.max(1)), door).is_ok()
    });
    // Who has hung up before he is accepted is not refused.
    let refused = async {
        while bystanders.attacked.refused_connections() < STRANGERS {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let (refused, ()) = tokio::join!(timeout(DEADLINE, refused), bystanders.go_on());
    assert!(refused.is_ok(), "{:?} came", attack.done);
    drop(attack);
    // Nothing is left of them, as soon as the last one who has hung up is seen.
    let left = async {
        while bystanders.attacked.connections() > 1 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(timeout(DEADLINE, left).await.is_ok(), "some are left");
    bystanders.assert_unharmed().await;
    // Whoever listens to events still hears of the others: nothing was dropped.
    let mut strangers = 0;
    while let Ok(event) = events.try_recv() {
        strangers += usize::from(matches!(event, Event::ConnectionFailed { peer: None, .. }));
    }
    assert!((1..1000).contains(&strangers), "{strangers}");
}
const STRANGERS: u64 = 5_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_that_open_and_say_little_or_nothing_hold_nobody() {
    let bystanders = Bystanders::new(203).await;
    for last in [205, 206, 207] {
        bystanders.enemy(last).await;
    }
    let silent = by_hand::tcp(205, bystanders.door()).await;
    let mut half = by_hand::tcp(206, bystanders.door()).await;
    let mut slow = by_hand::tcp(207, bystanders.door()).await;
    let open = by_hand::open_message(207);
    half.write_all(&open[..open.len() / 2]).await.unwrap();
    let dripping = async {
        for octet in &open[..open.len() - 1] {
            slow.write_all(&[*octet]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::join!(dripping, bystanders.go_on());
    for last in [205, 206, 207] {
        assert_eq!(view(&bystanders.attacked, last).await.state, "OpenSent");
    }
    assert_eq!(bystanders.attacked.connections(), 4);
    // It was slow, not wrong.
    slow.write_all(&open[open.len() - 1..]).await.unwrap();
    until_state(&bystanders.attacked, 207, "OpenConfirm").await;
    bystanders.assert_unharmed().await;
    drop(silent);
}

async fn until_state(shell: &Shell, last: u8, state: &str) {
    let waited = timeout(DEADLINE, async {
        while view(shell, last).await.state != state {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(waited.await.is_ok(), "{:?}", view(shell, last).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_never_reads_costs_a_buffer_while_100_000_prefixes_go_to_another() {
    let bystanders = Bystanders::new(208).await;
    bystanders.enemy(210).await;
    let hand = ByHand::connect(210, bystanders.door())
        .await
        .establish()
        .await;
    until_established(&bystanders.attacked, 210).await;
    let all: Vec<IpNet> = (0..100_000)
        .map(|index| IpNet::new(Ipv4Addr::from(0x0b00_0000 + index).into(), 32).unwrap())
        .collect();
    // Who asks for all at once keeps the speaker from its peers himself.
    for portion in all.chunks(500) {
        originate(&bystanders.attacked, portion.to_vec()).await;
    }
    let there = async {
        while view(&bystanders.other, 208).await.prefixes_received < 100_000 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(DEADLINE, there).await.unwrap();
    bystanders.go_on().await;
    let sent = view(&bystanders.attacked, 210).await.prefixes_sent;
    assert!(sent < 100_000, "{sent} without reading");
    bystanders.assert_unharmed().await;
    drop(hand);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_connects_in_a_loop_has_a_few_descriptors_and_no_more() {
    let bystanders = Bystanders::new(211).await;
    bystanders.enemy(213).await;
    let door = bystanders.door();
    // It keeps its ends, so that ours have to wait for the farewell.
    let held = Arc::new(std::sync::Mutex::new(Vec::new()));
    let attack = Attack::new(1, {
        let held = held.clone();
        move |_| {
            let Ok(socket) = knock(Ipv4Addr::new(127, 0, 0, 213), door) else {
                return false;
            };
            let mut held = held.lock().unwrap();
            held.push(socket);
            if held.len() > 200 {
                held.clear();
            }
            true
        }
    });
    let mut most = 0;
    let watch = async {
        for _ in 0..100 {
            most = most.max(bystanders.attacked.connections());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::join!(watch, attack.blows(1_000), bystanders.go_on());
    drop(attack);
    assert!(most <= 1 + PLACES_MAX, "{most} connections at a time");
    assert!(bystanders.attacked.refused_connections() > 0);
    bystanders.assert_unharmed().await;
    // And it may come back as a peer.
    held.lock().unwrap().clear();
    let waited = timeout(DEADLINE, async {
        while bystanders.attacked.connections() > 1 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(waited.await.is_ok());
    let back = shell(213);
    add_peer(&back, peer(213, 211, door.port())).await;
    until_established(&bystanders.attacked, 213).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_sends_megabytes_of_garbage_is_held_idle() {
    let bystanders = Bystanders::new(214).await;
    bystanders.enemy(216).await;
    let door = bystanders.door();
    let attack = Attack::new(1, move |number| {
        let garbage: Vec<u8> = (0..64 * 1024_u64)
            .map(|index| ((index * index + number) >> 3).to_le_bytes()[0])
            .collect();
        let Ok(mut socket) = knock(Ipv4Addr::new(127, 0, 0, 216), door) else {
            return false;
        };
        let _ = (0..16).try_for_each(|_| socket.write_all(&garbage));
        true
    });
    tokio::join!(attack.blows(100), bystanders.go_on());
    drop(attack);
    let peer = view(&bystanders.attacked, 216).await;
    let said = peer.last_error.unwrap_or_default();
    assert!(said.contains("Connection Not Synchronized"), "{said}");
    assert_eq!(peer.flaps, 0);
    bystanders.assert_unharmed().await;
}

/// An established enemy says this for ever, and reads what comes back.
async fn repeated(
    bystanders: &Bystanders,
    last: u8,
    messages: Vec<Message>,
    wanted: u64,
) -> caracal_bgp::view::PeerView {
    bystanders.enemy(last).await;
    originate(
        &bystanders.attacked,
        (0..200)
            .map(|third| net(&format!("10.1.{third}.0/24")))
            .collect(),
    )
    .await;
    let hand = ByHand::connect(last, bystanders.door())
        .await
        .establish()
        .await;
    until_established(&bystanders.attacked, last).await;
    let octets = hand.encoded(&messages);
    let (mut reading, mut writing) = hand.into_stream().into_split();
    let reader = tokio::spawn(async move {
        let mut scratch = vec![0; 65536];
        while reading.read(&mut scratch).await.is_ok_and(|read| read > 0) {}
    });
    let writer = tokio::spawn(async move { while writing.write_all(&octets).await.is_ok() {} });
    let received = async {
        while view(&bystanders.attacked, last).await.messages_received < wanted {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let (received, ()) = tokio::join!(timeout(DEADLINE, received), bystanders.go_on());
    let seen = view(&bystanders.attacked, last).await;
    assert!(received.is_ok(), "{seen:?}");
    assert_eq!((seen.state.as_str(), seen.flaps), ("Established", 0));
    writer.abort();
    reader.abort();
    bystanders.assert_unharmed().await;
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_route_refreshes_is_answered_as_fast_as_it_is_read_and_holds_nobody() {
    let bystanders = Bystanders::new(217).await;
    let requests = vec![
        Message::RouteRefresh(Some(caracal_bgp::wire::RouteRefresh::request(
            Family::Ipv4Unicast
        )));
        100
    ];
    let seen = repeated(&bystanders, 219, requests, 20_000).await;
    // Requests that come while one is being answered are one.
    assert!(
        seen.updates_sent < seen.messages_received / 2,
        "{} UPDATEs for {} requests",
        seen.updates_sent,
        seen.messages_received
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prefix_that_flaps_thousands_of_times_a_second_is_passed_on_as_it_stands() {
    let bystanders = Bystanders::new(220).await;
    let flapping = net("192.0.2.0/24");
    let update = |announced, withdrawn| {
        let attributes = caracal_bgp::wire::Attributes {
            next_hop: Some(loopback(222)),
            ..Default::default()
        };
        Message::Update(caracal_bgp::wire::Update {
            announced,
            withdrawn,
            attributes,
            ..Default::default()
        })
    };
    let flaps: Vec<_> = (0..100)
        .flat_map(|_| {
            [
                update(vec![flapping.into()], vec![]),
                update(vec![], vec![flapping.into()]),
            ]
        })
        .collect();
    let seen = repeated(&bystanders, 222, flaps, 20_000).await;
    assert!(seen.updates_received >= 19_000, "{seen:?}");
}
