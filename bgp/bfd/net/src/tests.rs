//! Whole shells over loopback, on the real ports. Each test has addresses of its own.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use caracal_bfd::{DownReason, Event, Kind, SessionConfig, State};
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::driver::{Command, Driver};
use crate::{Bfd, BfdError, BfdSession, BfdView};

const DEADLINE: Duration = Duration::from_secs(30);

/// Two addresses that no other test, and no other run of the tests, uses.
fn addresses() -> (IpAddr, IpAddr) {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    let last = NEXT.fetch_add(2, Ordering::Relaxed);
    let address = |last| Ipv4Addr::new(127, high | 0x80, low, last).into();
    (address(last), address(last + 1))
}

fn config(local: IpAddr, remote: IpAddr) -> SessionConfig {
    SessionConfig {
        remote,
        local,
        interface: 0,
        kind: Kind::SingleHop,
        min_tx: Duration::from_millis(20),
        min_rx: Duration::from_millis(20),
        // The machine may be busy, and these tests are not about that.
        multiplier: 100,
        admin_down: false,
    }
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future)
        .await
        .unwrap_or_else(|_| panic!("timed out: {what}"))
}

async fn next(events: &mut broadcast::Receiver<Event>) -> Event {
    within("an event", events.recv()).await.unwrap()
}

async fn until(bfd: &Bfd, what: &str, condition: impl Fn(&BfdView) -> bool) -> BfdView {
    within(what, async {
        loop {
            let view = bfd.view().await.unwrap();
            if condition(&view) {
                return view;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
}

fn is_up(view: &BfdView) -> bool {
    view.sessions.iter().all(|s| s.session.state == State::Up)
}

/// The other side as a task that can be made to fall silent.
async fn mortal(config: SessionConfig) -> (JoinHandle<()>, mpsc::Sender<Command>) {
    let (commands, commands_in) = mpsc::channel(8);
    let (events, _) = broadcast::channel(8);
    let task = tokio::spawn(Driver::new(2, commands_in, events).run());
    let (reply, answer) = tokio::sync::oneshot::channel();
    commands.send(Command::Set { config, reply }).await.unwrap();
    answer.await.unwrap().unwrap();
    (task, commands)
}

#[tokio::test]
async fn two_shells_go_up_and_one_that_stops_is_no_failure() {
    for kind in [Kind::SingleHop, Kind::MultiHop] {
        let (one, other) = addresses();
        let (left, right) = (Bfd::start(1).unwrap(), Bfd::start(2).unwrap());
        let mut events = left.subscribe();
        let session = |local, remote| SessionConfig {
            kind,
            ..config(local, remote)
        };
        let id = left.set(session(one, other)).await.unwrap();
        right.set(session(other, one)).await.unwrap();
        let up = Event::Up {
            session: id,
            remote: other,
        };
        assert_eq!(next(&mut events).await, up);
        until(&right, "both are up", is_up).await;
        within("it stops", right.stop()).await;
        let Event::Down { reason, .. } = next(&mut events).await else {
            panic!("it went up twice");
        };
        assert_eq!(reason, DownReason::RemoteAdminDown);
        let view = left.view().await.unwrap();
        assert_eq!((view.counters.ups, view.counters.downs), (1, 1));
        assert_eq!(view.sessions[0].problem, None);
    }
}

#[tokio::test]
async fn a_neighbour_that_falls_silent_is_down_for_that_reason_and_comes_back() {
    let (one, other) = addresses();
    let bfd = Bfd::start(1).unwrap();
    let mut events = bfd.subscribe();
    bfd.set(config(one, other)).await.unwrap();
    let silent_soon = SessionConfig {
        multiplier: 3,
        ..config(other, one)
    };
    for _ in 0..2 {
        let (task, _commands) = mortal(silent_soon.clone()).await;
        assert!(matches!(next(&mut events).await, Event::Up { .. }));
        task.abort();
        let Event::Down { reason, .. } = next(&mut events).await else {
            panic!("it went up twice");
        };
        assert_eq!(reason, DownReason::DetectionTimeExpired);
    }
}

#[tokio::test]
async fn there_are_sockets_only_while_there_are_sessions() {
    let (one, other) = addresses();
    let port = SocketAddr::new(one, 3784);
    let bfd = Bfd::start(1).unwrap();
    drop(UdpSocket::bind(port).unwrap());
    let id = bfd.set(config(one, other)).await.unwrap();
    until(&bfd, "it listens", |view| {
        view.sessions[0].problem.is_none() && UdpSocket::bind(port).is_err()
    })
    .await;
    bfd.remove(id).await.unwrap();
    until(&bfd, "it is forgotten", |view| view.sessions.is_empty()).await;
    until(&bfd, "the port is free", |_| UdpSocket::bind(port).is_ok()).await;
}

#[tokio::test]
async fn a_port_that_another_daemon_has_is_named_and_taken_when_it_is_free() {
    let (one, other) = addresses();
    let daemon = UdpSocket::bind((one, 3784)).unwrap();
    let bfd = Bfd::start(1).unwrap();
    bfd.set(config(one, other)).await.unwrap();
    let view = until(&bfd, "the problem", |view| {
        view.sessions[0].problem.is_some()
    })
    .await;
    let expected = format!(
        "cannot listen on {one}:3784: the port is in use, by another BFD daemon (bfdd, bird) perhaps"
    );
    assert_eq!(view.sessions[0].problem.as_deref(), Some(&*expected));
    drop(daemon);
    until(&bfd, "it listens", |view| {
        view.sessions[0].problem.is_none()
    })
    .await;
    let (task, _commands) = mortal(config(other, one)).await;
    until(&bfd, "it is up", is_up).await;
    task.abort();
}

#[tokio::test]
async fn an_address_that_nobody_has_is_a_problem_of_its_session_only() {
    let (one, other) = addresses();
    let bfd = Bfd::start(1).unwrap();
    let absent: IpAddr = Ipv4Addr::new(240, 0, 0, 1).into();
    bfd.set(config(absent, other)).await.unwrap();
    bfd.set(config(one, other)).await.unwrap();
    let (task, _commands) = mortal(config(other, one)).await;
    let of = |view: &BfdView, local| -> BfdSession {
        let all = view.sessions.iter();
        let mut found = all.filter(|s| s.session.local == local).cloned();
        found.next().unwrap()
    };
    let view = until(&bfd, "one is up", |view| {
        of(view, one).session.state == State::Up
    })
    .await;
    let problem = of(&view, absent).problem.unwrap();
    let expected = "cannot listen on 240.0.0.1:3784: no interface has this address";
    assert_eq!(problem, expected);
    task.abort();
}

#[tokio::test]
async fn a_configuration_that_cannot_work_is_refused_with_its_value() {
    let (one, other) = addresses();
    let bfd = Bfd::start(1).unwrap();
    let config = SessionConfig {
        multiplier: 0,
        ..config(one, other)
    };
    let error = bfd.set(config).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("bfd session with {other}: multiplier is zero")
    );
    bfd.stop().await;
    let error = bfd.set(self::config(one, other)).await.unwrap_err();
    assert!(matches!(error, BfdError::Stopped(_)), "{error}");
}

/// Random octets, broken packets with a good beginning, and packets from too far away: a session that is up does
/// not notice, and everything is counted.
#[tokio::test]
async fn what_strangers_send_does_not_disturb_a_session() {
    let (one, other) = addresses();
    let bfd = Bfd::start(1).unwrap();
    bfd.set(config(one, other)).await.unwrap();
    let (task, _commands) = mortal(config(other, one)).await;
    until(&bfd, "it is up", is_up).await;
    let mut events = bfd.subscribe();
    let near = socket2::Socket::from(UdpSocket::bind((other, 0)).unwrap());
    near.set_ttl_v4(255).unwrap();
    let near = UdpSocket::from(near);
    let far = UdpSocket::bind((other, 0)).unwrap();
    let seed = std::process::id().into();
    println!("seed {seed}");
    let mut random = Random(seed);
    let mut sent = 0;
    for _ in 0..20 {
        for _ in 0..100 {
            let mut octets = random.octets(40);
            if random.below(2) == 0 && octets.len() >= 4 {
                // Version 1, Up, multiplier 3, a length that fits: the discriminators decide.
                octets[..4].copy_from_slice(&[0x20, 0xc0, 3, 24]);
            }
            let socket = [&near, &far][random.below(2)];
            // A full buffer is the stranger's loss.
            if socket.send_to(&octets, (one, 3784)).is_ok() {
                sent += 1;
            }
        }
        let before = bfd.view().await.unwrap();
        // It goes on hearing its neighbour.
        until(&bfd, "packets of the neighbour", |view| {
            view.sessions[0].session.packets_received > before.sessions[0].session.packets_received
        })
        .await;
    }
    let view = bfd.view().await.unwrap();
    assert!(events.try_recv().is_err(), "the session went down");
    assert!(is_up(&view) && view.sessions.len() == 1);
    for reason in ["ttl", "too_short", "version", "unknown_discriminator"] {
        assert!(view.discards.contains_key(reason), "{:?}", view.discards);
    }
    let discards: u64 = view.discards.values().sum();
    assert!((1..=sent).contains(&discards), "{discards} of {sent}");
    task.abort();
}

/// The driver's thread is held up for longer than the detection time, while the neighbour goes on sending. What it
/// sent is in the kernel, and counts before the clock does.
#[tokio::test]
async fn a_driver_that_was_held_up_does_not_blame_the_neighbour() {
    let (one, other) = addresses();
    let neighbour = Bfd::start(1).unwrap();
    neighbour
        .set(SessionConfig {
            multiplier: 3,
            ..config(other, one)
        })
        .await
        .unwrap();
    // The neighbour has all the patience there is; we have 60 ms.
    let patient = SessionConfig {
        multiplier: 255,
        ..config(one, other)
    };
    let (_task, commands) = mortal(patient).await;
    until(&neighbour, "it is up, and at the fast rate", |view| {
        is_up(view) && view.sessions[0].session.transmit_interval_micros == Some(20_000)
    })
    .await;
    let view = neighbour.view().await.unwrap();
    let sent_before = view.sessions[0].session.packets_sent;
    // This joins, so nothing else runs on our thread.
    let helper = neighbour.clone();
    let elsewhere = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(until(&helper, "many more packets", |view| {
            view.sessions[0].session.packets_sent >= sent_before + 20
        }));
    });
    elsewhere.join().unwrap();
    let mut view = BfdView::default();
    // The first answer is given before the clock is looked at.
    for _ in 0..2 {
        let (reply, answer) = tokio::sync::oneshot::channel();
        commands.send(Command::View { reply }).await.unwrap();
        view = answer.await.unwrap();
    }
    let ours = &view.sessions[0].session;
    assert_eq!((ours.state, ours.flaps), (State::Up, 0));
}

/// Numbers that look random, the same for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % limit as u64) as usize
    }

    fn octets(&mut self, most: usize) -> Vec<u8> {
        let count = self.below(most + 1);
        (0..count).map(|_| self.below(256) as u8).collect()
    }
}
