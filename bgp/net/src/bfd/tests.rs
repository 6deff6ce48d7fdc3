//! Peers over loopback whose paths BFD watches, on its real ports.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU8, Ordering};

use caracal_bfd_net::BfdSession;
use caracal_bfd_net::caracal_bfd::Sessions;
use caracal_bgp::view::PeerView;
use caracal_bgp::{BfdConfig, PeerConfig, SpeakerConfig};
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep_until, timeout};

use super::*;

const ASN: u32 = 64512;
const DEADLINE: Duration = Duration::from_secs(30);

/// Two addresses that no other test, and no other run of the tests, uses.
fn addresses() -> (IpAddr, IpAddr) {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    let last = NEXT.fetch_add(2, Ordering::Relaxed);
    let address = |last| Ipv4Addr::new(127, high | 0x80, low, last).into();
    (address(last), address(last + 1))
}

fn shell(address: IpAddr, seed: u64) -> Shell {
    let IpAddr::V4(router_id) = address else {
        unreachable!()
    };
    let config = SpeakerConfig {
        seed,
        ..SpeakerConfig::new(ASN, router_id)
    };
    let speaker = Speaker::new(config, Time::ZERO);
    Shell::start(speaker, &[SocketAddr::new(address, 0)]).unwrap()
}

async fn set(shell: &Shell, local: IpAddr, remote: (IpAddr, u16), bfd: Option<BfdConfig>) {
    let config = PeerConfig {
        remote_port: remote.1,
        local_address: Some(local),
        connect_retry: Duration::from_millis(200),
        bfd,
        ..PeerConfig::new(remote.0, ASN, ASN)
    };
    let set = move |speaker: &mut Speaker, now| speaker.set_peer(now, config);
    shell.with(set).await.unwrap();
}

fn watched() -> Option<BfdConfig> {
    Some(BfdConfig {
        min_interval_milliseconds: 20,
        // The machine may be busy.
        multiplier: 100,
        ..BfdConfig::default()
    })
}

async fn until(shell: &Shell, what: &str, condition: impl Fn(&PeerView) -> bool) -> PeerView {
    let view = || async {
        let view = |speaker: &mut Speaker, now| speaker.peers(now);
        shell.with(view).await.unwrap().pop().unwrap()
    };
    let waited = timeout(DEADLINE, async {
        loop {
            let view = view().await;
            if condition(&view) {
                return view;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    match waited.await {
        Ok(view) => view,
        Err(_) => panic!("timed out: {what}: {:?}", view().await),
    }
}

fn is_up(view: &PeerView) -> bool {
    view.state == "Established" && view.bfd.as_deref() == Some("Up")
}

/// A BFD neighbour that can fall silent.
fn neighbour(local: IpAddr, remote: IpAddr) -> JoinHandle<()> {
    tokio::spawn(async move {
        let hears = UdpSocket::bind((local, 3784)).await.unwrap();
        let speaks = UdpSocket::bind((local, 0)).await.unwrap();
        speaks.set_ttl(255).unwrap();
        let epoch = Instant::now();
        let mut sessions = Sessions::new(3);
        let config = SessionConfig {
            remote,
            local,
            interface: 0,
            kind: Kind::SingleHop,
            min_tx: Duration::from_millis(20),
            min_rx: Duration::from_millis(20),
            multiplier: 5,
            admin_down: false,
        };
        sessions.set(Duration::ZERO, config).unwrap();
        let mut buffer = [0; 64];
        loop {
            let now = epoch.elapsed();
            while let Some(transmit) = sessions.poll_transmit(now) {
                let sent = speaks.send_to(&transmit.bytes, transmit.destination).await;
                sent.unwrap();
            }
            let deadline = sessions.poll_timeout().unwrap();
            tokio::select! {
                biased;
                Ok((octets, from)) = hears.recv_from(&mut buffer) => {
                    let to = SocketAddr::new(local, 3784);
                    let _ = sessions.handle_packet(epoch.elapsed(), from, to, 255, &buffer[..octets]);
                }
                () = sleep_until(epoch + deadline) => sessions.handle_timeout(epoch.elapsed()),
            }
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_peers_watch_their_path_and_one_that_stops_is_not_taken_for_a_failure() {
    let (one, other) = addresses();
    let (left, right) = (shell(one, 1), shell(other, 2));
    let watch = PathWatch::start(&left, 11).unwrap();
    let watch_right = PathWatch::start(&right, 12).unwrap();
    let port = |shell: &Shell| shell.listening()[0].port();
    set(&left, one, (other, port(&right)), watched()).await;
    set(&right, other, (one, port(&left)), watched()).await;
    until(&left, "up", is_up).await;
    until(&right, "up", is_up).await;
    let view = watch.view().await;
    assert_eq!(view.sessions.len(), 1);
    assert_eq!(view.sessions[0].session.kind, Kind::SingleHop);
    assert_eq!(watch.problems().await, [""; 0]);
    watch_right.stop().await;
    let admin_down = |view: &PeerView| view.bfd.as_deref() == Some("AdminDown");
    let view = until(&left, "the other's wish", admin_down).await;
    assert_eq!((view.state.as_str(), view.flaps), ("Established", 0));
    // It is no longer wished here either.
    set(&left, one, (other, port(&right)), None).await;
    let view = until(&left, "not watched", |view| view.bfd.is_none()).await;
    assert_eq!((view.state.as_str(), view.flaps), ("Established", 0));
    let taken_back = timeout(DEADLINE, async {
        // It says so for a detection time; then it is forgotten.
        let silent = |s: &BfdSession| s.session.state == State::AdminDown;
        while !watch.view().await.sessions.iter().all(silent) {
            tokio::task::yield_now().await;
        }
    });
    taken_back.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_ends_the_session_with_bfd_as_the_reason() {
    let (one, other) = addresses();
    let (left, right) = (shell(one, 1), shell(other, 2));
    let _watch = PathWatch::start(&left, 11).unwrap();
    let port = |shell: &Shell| shell.listening()[0].port();
    let path = neighbour(other, one);
    set(&left, one, (other, port(&right)), watched()).await;
    set(&right, other, (one, port(&left)), None).await;
    until(&left, "up", is_up).await;
    path.abort();
    let view = until(&left, "down", |view| view.flaps == 1).await;
    assert_eq!(view.bfd.as_deref(), Some("Down"));
    let reason = view.last_error.unwrap();
    assert!(reason.contains("BFD"), "{reason}");
    // The path is there again.
    let path = neighbour(other, one);
    until(&left, "up again", is_up).await;
    path.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_cannot_be_watched_is_named() {
    let (one, other) = addresses();
    let left = shell(one, 1);
    let watch = PathWatch::start(&left, 11).unwrap();
    let daemon = UdpSocket::bind((one, 3784)).await.unwrap();
    set(&left, one, (other, 179), watched()).await;
    let problems = timeout(DEADLINE, async {
        loop {
            let problems = watch.problems().await;
            if !problems.is_empty() {
                return problems;
            }
            tokio::task::yield_now().await;
        }
    });
    let expected = format!("peer {other} is not watched by BFD: cannot listen on {one}:3784");
    let problems = problems.await.unwrap();
    assert!(problems[0].starts_with(&expected), "{problems:?}");
    drop(daemon);
}

#[test]
fn whether_routers_are_between_is_asked_of_the_kernel_unless_it_is_said() {
    let wish = |remote: &str, multihop| BfdWish {
        remote: remote.parse().unwrap(),
        local: Some(Ipv4Addr::LOCALHOST.into()),
        config: BfdConfig {
            multihop,
            ..BfdConfig::default()
        },
    };
    let kind = |wish| session_of(&wish).unwrap().kind;
    assert_eq!(kind(wish("127.0.0.9", None)), Kind::SingleHop);
    assert_eq!(kind(wish("240.0.0.1", None)), Kind::MultiHop);
    assert_eq!(kind(wish("127.0.0.9", Some(true))), Kind::MultiHop);
    assert_eq!(kind(wish("240.0.0.1", Some(false))), Kind::SingleHop);
}

#[tokio::test(start_paused = true)]
async fn nobody_wakes_up_while_no_peer_wishes_to_be_watched() {
    let (one, other) = addresses();
    let shell = shell(one, 1);
    let watch = PathWatch::start(&shell, 1).unwrap();
    set(&shell, one, (other, 179), None).await;
    let removed = move |speaker: &mut Speaker, now| speaker.remove_peer(now, other);
    shell.with(removed).await.unwrap();

    let metrics = tokio::runtime::Handle::current().metrics();
    let before = metrics.worker_park_count(0);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let parks = metrics.worker_park_count(0) - before;
    assert!(parks < 60, "slept {parks} times in an hour");
    drop(watch);
}
