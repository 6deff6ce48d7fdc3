//! Speakers over loopback TCP: with one another, and with a peer that the test plays by hand.

mod by_hand;
mod hostile;
mod monitoring;
mod options;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use caracal_bgp::wire::{Family, Message};
use caracal_bgp::{Event, LocalPath, PeerConfig, Speaker, SpeakerConfig, Time};
use ipnet::IpNet;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::{NetError, Shell};
use by_hand::ByHand;

const ASN: u32 = 64512;
const DEADLINE: Duration = Duration::from_secs(30);

fn loopback(last: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, last).into()
}

fn speaker(last: u8) -> Speaker {
    let config = SpeakerConfig {
        seed: last.into(),
        ..SpeakerConfig::new(ASN, Ipv4Addr::new(10, 0, 0, last))
    };
    Speaker::new(config, Time::ZERO)
}

/// A speaker that listens on 127.0.0.`last`, on a port of the kernel's choice.
fn shell(last: u8) -> Shell {
    Shell::start(speaker(last), &[SocketAddr::new(loopback(last), 0)]).unwrap()
}

fn peer(own: u8, remote: u8, remote_port: u16) -> PeerConfig {
    PeerConfig {
        name: format!("peer-{remote}"),
        remote_port,
        local_address: Some(loopback(own)),
        connect_retry: Duration::from_millis(200),
        ..PeerConfig::new(loopback(remote), ASN, ASN)
    }
}

async fn add_peer(shell: &Shell, config: PeerConfig) {
    shell
        .with(move |speaker, now| speaker.set_peer(now, config))
        .await
        .unwrap();
}

/// Makes two speakers peers of each other.
async fn join(one: (&Shell, u8), other: (&Shell, u8)) {
    add_peer(one.0, peer(one.1, other.1, other.0.listening()[0].port())).await;
    add_peer(other.0, peer(other.1, one.1, one.0.listening()[0].port())).await;
}

async fn originate(shell: &Shell, prefixes: Vec<IpNet>) {
    let all = move |speaker: &mut Speaker, now| {
        for prefix in prefixes {
            speaker.originate(now, prefix, LocalPath::default());
        }
    };
    shell.with(all).await.unwrap();
}

/// Waits until `condition` holds, asking again whenever something happened.
async fn until(
    shell: &Shell,
    what: &str,
    condition: impl Fn(&mut Speaker, Time) -> bool + Clone + Send + 'static,
) {
    let mut events = shell.subscribe();
    let (changed, mut changes) = watch::channel(());
    let follower = move |speaker: &mut Speaker| {
        while speaker.poll_route_change().is_some() {}
        changed.send_replace(());
    };
    shell.follow_routes(follower).await.unwrap();
    let waited = timeout(DEADLINE, async {
        loop {
            changes.mark_unchanged();
            if shell.with(condition.clone()).await.unwrap() {
                return;
            }
            tokio::select! {
                _ = events.recv() => {}
                changed = changes.changed() => changed.unwrap(),
            }
        }
    });
    if waited.await.is_err() {
        let peers = shell.with(|speaker, now| speaker.peers(now)).await;
        panic!("waited in vain for: {what}\n{peers:#?}");
    }
}

fn is_established(speaker: &mut Speaker, now: Time, remote: IpAddr) -> bool {
    speaker
        .peers(now)
        .iter()
        .any(|peer| peer.address == remote && peer.state == "Established")
}

async fn until_established(shell: &Shell, last: u8) {
    until(shell, "Established", move |speaker, now| {
        is_established(speaker, now, loopback(last))
    })
    .await;
}

/// Says whether the prefix has a path.
fn has_route(speaker: &mut Speaker, prefix: &IpNet) -> bool {
    speaker.route(prefix).is_some()
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

#[tokio::test]
async fn a_follower_takes_route_changes_in_their_turn_and_comes_back_for_what_it_leaves() {
    let shell = shell(17);
    let (taken, mut follows) = watch::channel(Vec::new());
    let follower = move |speaker: &mut Speaker| {
        let portion = std::iter::from_fn(|| speaker.poll_route_change()).take(2);
        taken.send_modify(|all: &mut Vec<usize>| all.push(portion.count()));
    };
    shell.follow_routes(follower).await.unwrap();
    let blocks = |count: u8| (0..count).map(|n| net(&format!("10.233.{n}.0/26")));
    originate(&shell, blocks(1).collect()).await;
    let first = timeout(DEADLINE, follows.wait_for(|portions| !portions.is_empty())).await;
    assert_eq!(*first.unwrap().unwrap(), [1]);

    originate(&shell, blocks(6).skip(1).collect()).await;
    let all = follows.wait_for(|portions| portions.iter().sum::<usize>() == 6);
    let all = timeout(DEADLINE, all).await.unwrap().unwrap();
    assert_eq!(*all, [1, 2, 2, 1]);
    drop(all);
    let left = shell.with(|speaker, _| speaker.has_route_changes()).await;
    assert!(!left.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_speakers_exchange_routes_and_withdrawals() {
    let (one, other) = (shell(11), shell(12));
    join((&one, 11), (&other, 12)).await;
    until_established(&one, 12).await;
    until_established(&other, 11).await;

    originate(&one, vec![net("10.233.1.0/26")]).await;
    until(&other, "the route", |speaker, _| {
        has_route(speaker, &net("10.233.1.0/26"))
    })
    .await;
    let next_hops = other
        .with(|speaker, _| speaker.next_hops(&net("10.233.1.0/26")))
        .await
        .unwrap();
    assert_eq!(next_hops, [loopback(11)]);

    one.with(|speaker, now| speaker.withdraw(now, net("10.233.1.0/26")))
        .await
        .unwrap();
    until(&other, "the withdrawal", |speaker, _| {
        !has_route(speaker, &net("10.233.1.0/26"))
    })
    .await;
}

#[tokio::test]
async fn everything_works_on_one_thread_too() {
    let (one, other) = (shell(14), shell(15));
    join((&one, 14), (&other, 15)).await;
    originate(
        &one,
        (0..=255)
            .map(|third| net(&format!("10.1.{third}.0/24")))
            .collect(),
    )
    .await;
    until(&other, "256 routes", |speaker, _| {
        while speaker.poll_route_change().is_some() {}
        speaker.routes().len() == 256
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_comes_back_is_connected_again() {
    let (one, other) = (shell(21), shell(22));
    let address = other.listening()[0];
    join((&one, 21), (&other, 22)).await;
    until_established(&one, 22).await;
    let mut events = one.subscribe();

    other.stop(true).await;
    wait_for_event(&mut events, |event| {
        matches!(
            event,
            Event::Down {
                stale_kept: true,
                ..
            }
        )
    })
    .await;

    let again = Shell::start(speaker(22), &[address]).unwrap();
    add_peer(&again, peer(22, 21, one.listening()[0].port())).await;
    until_established(&one, 22).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_connection_is_reported_and_the_next_one_works() {
    let shell = shell(31);
    let mut passive = peer(31, 32, 179);
    passive.passive = true;
    add_peer(&shell, passive).await;
    let mut events = shell.subscribe();

    let hand = ByHand::connect(32, shell.listening()[0]).await;
    let hand = hand.establish().await;
    wait_for_event(&mut events, |event| matches!(event, Event::Up { .. })).await;
    hand.reset();
    wait_for_event(&mut events, |event| matches!(event, Event::Down { .. })).await;

    let _hand = ByHand::connect(32, shell.listening()[0])
        .await
        .establish()
        .await;
    wait_for_event(&mut events, |event| matches!(event, Event::Up { .. })).await;
}

/// The speaker hears of the resets and of the new connections all at once, in any order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_resets_and_comes_back_at_once_is_welcome_at_the_first_attempt() {
    let shell = shell(131);
    let to = shell.listening()[0];
    let mut hands = Vec::new();
    for last in 200..220 {
        let passive = PeerConfig {
            passive: true,
            ..peer(131, last, 0)
        };
        add_peer(&shell, passive).await;
        hands.push(ByHand::connect(last, to).await.establish().await);
    }
    let (go_on, wait) = std::sync::mpsc::channel();
    let (busy, held) = (shell.clone(), move |_: &mut Speaker, _| {
        wait.recv_timeout(DEADLINE).unwrap();
    });
    let busy = tokio::spawn(async move { busy.with(held).await });
    let mut again = Vec::new();
    for (hand, last) in hands.into_iter().zip(200..) {
        hand.reset();
        let mut stream = by_hand::tcp(last, to).await;
        stream
            .write_all(&by_hand::open_message(last))
            .await
            .unwrap();
        again.push(ByHand::over(stream, last));
    }
    go_on.send(()).unwrap();
    busy.await.unwrap().unwrap();
    for mut hand in again {
        assert!(matches!(hand.read().await, Some(Message::Open(_))));
        assert_eq!(hand.read().await, Some(Message::Keepalive));
    }
    assert_eq!(shell.refused_connections(), 0);
}

#[tokio::test]
async fn what_is_due_before_it_starts_is_done_at_once() {
    let listening = shell(132);
    let port = listening.listening()[0].port();
    add_peer(&listening, peer(132, 133, 0)).await;
    let mut early = speaker(133);
    early.set_peer(Time::ZERO, peer(133, 132, port));
    let early = Shell::start(early, &[SocketAddr::new(loopback(133), 0)]).unwrap();
    until_established(&early, 132).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_does_not_read_holds_nobody() {
    let (shell, other) = (shell(41), shell(42));
    let mut slow = peer(41, 43, 179);
    slow.passive = true;
    add_peer(&shell, slow).await;
    let hand = ByHand::connect(43, shell.listening()[0])
        .await
        .establish()
        .await;
    until_established(&shell, 43).await;
    join((&shell, 41), (&other, 42)).await;
    until_established(&shell, 42).await;

    // From here on nobody reads at 127.0.0.43. Each prefix is five octets at least.
    let all: Vec<IpNet> = (0..PREFIXES)
        .map(|index| IpNet::new(Ipv4Addr::from(0x0a00_0000 + index).into(), 32).unwrap())
        .collect();
    originate(&shell, all).await;
    let last = IpNet::new(Ipv4Addr::from(0x0a00_0000 + PREFIXES - 1).into(), 32).unwrap();
    until(&other, "all routes", move |speaker, now| {
        while speaker.poll_route_change().is_some() {}
        speaker.peers(now)[0].prefixes_received == PREFIXES as usize
    })
    .await;
    shell
        .with(move |speaker, now| speaker.withdraw(now, last))
        .await
        .unwrap();
    until(&other, "a withdrawal after them", move |speaker, _| {
        !has_route(speaker, &last)
    })
    .await;

    let slow = shell.with(|speaker, now| speaker.peers(now)).await.unwrap();
    let slow = slow
        .iter()
        .find(|peer| peer.address == loopback(43))
        .unwrap();
    assert_eq!(slow.state, "Established");
    assert!(
        slow.prefixes_sent < PREFIXES as usize,
        "it has {} prefixes without reading",
        slow.prefixes_sent
    );
    drop(hand);
}
const PREFIXES: u32 = 200_000;

#[tokio::test]
async fn a_port_in_use_is_named_with_the_reason() {
    let first = shell(51);
    let address = first.listening()[0];
    let error = Shell::start(speaker(51), &[address]).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("cannot listen on {address}: address in use")
    );
    assert!(matches!(error, NetError::Listen { address: named, .. } if named == address));
}

#[tokio::test]
async fn an_address_that_is_not_ours_is_named_with_the_reason() {
    let error = Shell::start(speaker(52), &["192.0.2.1:179".parse().unwrap()]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot listen on 192.0.2.1:179: no interface has this address"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_from_an_unknown_address_is_closed_and_counted() {
    let shell = shell(61);
    by_hand::assert_refused(by_hand::knock(62, shell.listening()[0], |_| {}).await).await;
    assert_eq!(shell.refused_connections(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_admission_can_make_a_peer_of_who_connects() {
    let admission = |speaker: &mut Speaker, now: Time, remote: IpAddr| {
        if remote == loopback(64) {
            let mut config = peer(63, 64, 179);
            config.passive = true;
            speaker.set_peer(now, config);
        }
    };
    let listen = [SocketAddr::new(loopback(63), 0)];
    let shell = Shell::start_with(speaker(63), &listen, Some(Box::new(admission))).unwrap();
    let _hand = ByHand::connect(64, shell.listening()[0])
        .await
        .establish()
        .await;
    until_established(&shell, 64).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_that_fails_is_reported_with_the_systems_words() {
    let shell = shell(65);
    let nobody = std::net::TcpListener::bind("127.0.0.66:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut events = shell.subscribe();
    add_peer(&shell, peer(65, 66, nobody.port())).await;
    let event = wait_for_event(&mut events, |event| {
        matches!(event, Event::ConnectionFailed { .. })
    })
    .await;
    let Event::ConnectionFailed { remote, reason, .. } = event else {
        panic!("{event:?}")
    };
    assert_eq!(remote, loopback(66));
    assert!(reason.contains("connection refused"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_that_keeps_forwarding_closes_without_notification() {
    assert_eq!(last_message_when_stopped(71, true).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_for_good_says_administrative_shutdown() {
    let Some(Message::Notification(last)) = last_message_when_stopped(73, false).await else {
        panic!("no NOTIFICATION")
    };
    assert_eq!((last.code, last.subcode), (6, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_nobody_has_a_handle_any_more_it_ends_as_if_it_came_back() {
    let (shell, mut hand) = with_established_hand(75).await;
    drop(shell);
    assert_eq!(hand.last_words().await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_over_ipv6_works() {
    let loopback6 = IpAddr::from(std::net::Ipv6Addr::LOCALHOST);
    let start = |last| Shell::start(speaker(last), &[SocketAddr::new(loopback6, 0)]).unwrap();
    let (one, other) = (start(81), start(82));
    for (own, remote, next_hop) in [(&one, &other, "fd00::81"), (&other, &one, "fd00::82")] {
        let mut config = peer(81, 82, remote.listening()[0].port());
        config.remote_address = loopback6;
        config.local_address = Some(loopback6);
        config.families = vec![Family::Ipv6Unicast];
        // Both have the same address, and a next hop must not be the receiver's own (RFC 4271 §6.3).
        config.next_hop_self_v6 = Some(next_hop.parse().unwrap());
        add_peer(own, config).await;
    }
    originate(&one, vec![net("fd00:10::/122")]).await;
    until(&other, "the route", |speaker, _| {
        has_route(speaker, &net("fd00:10::/122"))
    })
    .await;
}

/// The first message after those of an established session, if there is one.
async fn last_message_when_stopped(last: u8, keep_forwarding: bool) -> Option<Message> {
    let (shell, mut hand) = with_established_hand(last).await;
    let stopping = tokio::spawn({
        let shell = shell.clone();
        async move { shell.stop(keep_forwarding).await }
    });
    let told = hand.last_words().await;
    drop(hand);
    stopping.await.unwrap();
    assert!(shell.with(|_, _| ()).await.is_err());
    // The port is free for a successor.
    assert!(TcpStream::connect(shell.listening()[0]).await.is_err());
    told
}

async fn with_established_hand(last: u8) -> (Shell, ByHand) {
    let shell = shell(last);
    let mut passive = peer(last, last + 1, 179);
    passive.passive = true;
    add_peer(&shell, passive).await;
    let hand = ByHand::connect(last + 1, shell.listening()[0])
        .await
        .establish()
        .await;
    until_established(&shell, last + 1).await;
    (shell, hand)
}

async fn wait_for_event(
    events: &mut tokio::sync::broadcast::Receiver<Event>,
    wanted: impl Fn(&Event) -> bool,
) -> Event {
    let waited = timeout(DEADLINE, async {
        loop {
            let event = events.recv().await.unwrap();
            if wanted(&event) {
                return event;
            }
        }
    });
    waited.await.unwrap()
}
