//! TCP MD5 and GTSM between real sockets.

use std::net::Ipv6Addr;
use std::num::NonZeroU8;

use tokio::net::{TcpListener, TcpSocket};

use super::*;
use crate::sockopt;
use crate::{Md5Key, OptionsError, SessionOptions};

fn signed(key: &str) -> Option<SessionOptions> {
    Some(SessionOptions {
        key: Some(Md5Key::new(key.as_bytes()).unwrap()),
        ttl_security: None,
    })
}

fn near(hops: u8) -> Option<SessionOptions> {
    Some(SessionOptions {
        key: None,
        ttl_security: NonZeroU8::new(hops),
    })
}

/// False, and says so, on a kernel that cannot sign.
async fn can_sign(shell: &Shell) -> bool {
    match shell
        .set_session_options(loopback(1), signed("probe"))
        .await
    {
        Ok(()) => {
            shell.set_session_options(loopback(1), None).await.unwrap();
            true
        }
        Err(OptionsError::Key { why, .. }) if why.raw_os_error() == Some(libc::ENOPROTOOPT) => {
            println!("skipped: this kernel has no TCP MD5");
            false
        }
        Err(error) => panic!("{error}"),
    }
}

fn key_of(socket: &impl std::os::fd::AsFd, last: u8, key: &str) {
    sockopt::set_key(socket, loopback(last).into(), key.as_bytes()).unwrap();
}

fn passive(own: u8, remote: u8) -> PeerConfig {
    let mut config = peer(own, remote, 179);
    config.passive = true;
    config
}

/// A peer that connects, and with an attempt that is long enough for the socket's own words.
fn patient(own: u8, remote: u8, to: &Shell) -> PeerConfig {
    let mut config = peer(own, remote, to.listening()[0].port());
    config.connect_retry = Duration::from_secs(5);
    config
}

async fn until_failed(events: &mut tokio::sync::broadcast::Receiver<Event>) -> String {
    let event = wait_for_event(events, |event| {
        matches!(event, Event::ConnectionFailed { .. })
    });
    match event.await {
        Event::ConnectionFailed { reason, .. } => reason,
        other => panic!("{other:?}"),
    }
}

async fn flaps(shell: &Shell, last: u8) -> u64 {
    let peers = shell.with(|speaker, now| speaker.peers(now)).await.unwrap();
    let peer = peers.iter().find(|peer| peer.address == loopback(last));
    peer.unwrap().flaps
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_speakers_with_the_same_key_exchange_routes() {
    let (one, other) = (shell(101), shell(102));
    if !can_sign(&one).await {
        return;
    }
    one.set_session_options(loopback(102), signed("hush"))
        .await
        .unwrap();
    other
        .set_session_options(loopback(101), signed("hush"))
        .await
        .unwrap();
    join((&one, 101), (&other, 102)).await;
    originate(&one, vec![net("10.233.1.0/26")]).await;
    until(&other, "the route", |speaker, _| {
        has_route(speaker, &net("10.233.1.0/26"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_key_is_refused_and_said_and_the_right_one_works_at_once() {
    let (one, other) = (shell(104), shell(105));
    if !can_sign(&one).await {
        return;
    }
    one.set_session_options(loopback(105), signed("hush"))
        .await
        .unwrap();
    other
        .set_session_options(loopback(104), signed("rush"))
        .await
        .unwrap();
    let mut events = one.subscribe();
    add_peer(&other, passive(105, 104)).await;
    add_peer(&one, patient(104, 105, &other)).await;
    let reason = until_failed(&mut events).await;
    assert_eq!(
        reason,
        "no answer within 3 s; we sign (TCP MD5), and who has another key or none does not answer"
    );
    let peers = one.with(|speaker, now| speaker.peers(now)).await.unwrap();
    assert_eq!(peers[0].last_error.as_deref(), Some(reason.as_str()));

    other
        .set_session_options(loopback(104), signed("hush"))
        .await
        .unwrap();
    until_established(&one, 105).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_no_key_does_not_get_in_until_nobody_has_one() {
    let (one, other) = (shell(106), shell(107));
    if !can_sign(&one).await {
        return;
    }
    other
        .set_session_options(loopback(106), signed("hush"))
        .await
        .unwrap();
    let mut events = one.subscribe();
    add_peer(&other, passive(107, 106)).await;
    add_peer(&one, peer(106, 107, other.listening()[0].port())).await;
    assert_eq!(
        until_failed(&mut events).await,
        "TCP did not come up in time"
    );

    other
        .set_session_options(loopback(106), None)
        .await
        .unwrap();
    until_established(&one, 107).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_changes_and_goes_without_losing_the_session() {
    let shell = shell(111);
    if !can_sign(&shell).await {
        return;
    }
    shell
        .set_session_options(loopback(112), signed("old"))
        .await
        .unwrap();
    add_peer(&shell, passive(111, 112)).await;
    let stream = by_hand::tcp_with(112, shell.listening()[0], |socket| {
        key_of(socket, 111, "old")
    });
    let mut hand = ByHand::over(stream.await, 112).establish().await;
    until_established(&shell, 112).await;

    // What follows passes only if the kernel signs the session that is there with the new key, on both sides.
    shell
        .set_session_options(loopback(112), signed("new"))
        .await
        .unwrap();
    key_of(hand.stream(), 111, "new");
    originate(&shell, vec![net("10.233.1.0/26")]).await;
    assert!(until_announced(&mut hand, "10.233.1.0/26").await);

    shell
        .set_session_options(loopback(112), None)
        .await
        .unwrap();
    sockopt::remove_key(hand.stream(), loopback(111).into()).unwrap();
    originate(&shell, vec![net("10.233.2.0/26")]).await;
    assert!(until_announced(&mut hand, "10.233.2.0/26").await);
    assert!(
        shell
            .with(|speaker, now| is_established(speaker, now, loopback(112)))
            .await
            .unwrap()
    );
    assert_eq!(flaps(&shell, 112).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_change_the_listener_knows_the_new_key() {
    let shell = shell(113);
    if !can_sign(&shell).await {
        return;
    }
    add_peer(&shell, passive(113, 114)).await;
    for key in ["old", "new"] {
        shell
            .set_session_options(loopback(114), signed(key))
            .await
            .unwrap();
        let stream =
            by_hand::tcp_with(114, shell.listening()[0], |socket| key_of(socket, 113, key));
        ByHand::over(stream.await, 114).establish().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_that_is_on_its_way_begins_anew_with_the_new_key() {
    let shell = shell(115);
    if !can_sign(&shell).await {
        return;
    }
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(loopback(116), 0)).unwrap();
    key_of(&socket, 115, "right");
    let listener = socket.listen(8).unwrap();
    let mut config = peer(115, 116, listener.local_addr().unwrap().port());
    // The speaker itself would not try again before the test is over.
    config.connect_retry = DEADLINE * 10;
    shell
        .set_session_options(loopback(116), signed("wrong"))
        .await
        .unwrap();
    add_peer(&shell, config).await;
    shell
        .set_session_options(loopback(116), signed("right"))
        .await
        .unwrap();
    let (stream, _) = timeout(DEADLINE, listener.accept()).await.unwrap().unwrap();
    ByHand::over(stream, 116).establish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_key_can_hold_for_a_whole_prefix() {
    let admission = |speaker: &mut Speaker, now: Time, remote: IpAddr| {
        let IpAddr::V4(address) = remote else { return };
        speaker.set_peer(now, passive(120, address.octets()[3]));
    };
    let probe = shell(119);
    if !can_sign(&probe).await {
        return;
    }
    let shell = Shell::start_with_options(
        speaker(120),
        &[SocketAddr::new(loopback(120), 0)],
        Some(Box::new(admission)),
        [(net("127.0.0.120/29"), signed("hush").unwrap())],
    )
    .unwrap();
    let mut hands = Vec::new();
    for last in [121, 122] {
        let to = shell.listening()[0];
        let stream = by_hand::tcp_with(last, to, |socket| key_of(socket, 120, "hush")).await;
        hands.push(ByHand::over(stream, last).establish().await);
        until_established(&shell, last).await;
    }
    shell
        .set_session_options(net("127.0.0.120/29"), signed("new"))
        .await
        .unwrap();
    originate(&shell, vec![net("10.233.1.0/26")]).await;
    for mut hand in hands {
        key_of(hand.stream(), 120, "new");
        assert!(until_announced(&mut hand, "10.233.1.0/26").await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neighbours_with_ttl_security_on_both_sides_have_a_session() {
    let (one, other) = (shell(131), shell(132));
    one.set_session_options(loopback(132), near(1))
        .await
        .unwrap();
    other
        .set_session_options(loopback(131), near(1))
        .await
        .unwrap();
    join((&one, 131), (&other, 132)).await;
    until_established(&one, 132).await;
    until_established(&other, 131).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_connects_from_too_far_is_refused_with_its_ttl() {
    let shell = shell(133);
    shell
        .set_session_options(loopback(134), near(2))
        .await
        .unwrap();
    add_peer(&shell, passive(133, 134)).await;
    let mut events = shell.subscribe();
    let with_ttl = |ttl| {
        let prepare = move |socket: &TcpSocket| sockopt::set_ttl(socket, false, Some(ttl)).unwrap();
        by_hand::knock(134, shell.listening()[0], prepare)
    };
    for ttl in [64, 253] {
        by_hand::assert_refused(with_ttl(ttl).await).await;
        let wanted = format!(
            "peer 127.0.0.134: TTL {ttl} is below 254, which TTL security asks for (RFC 5082)"
        );
        assert_eq!(until_failed(&mut events).await, wanted);
    }
    assert_eq!(shell.refused_connections(), 2);
    let _near = ByHand::over(with_ttl(254).await.unwrap(), 134)
        .establish()
        .await;
    until_established(&shell, 134).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_whose_peer_moves_away_hears_nothing_more_of_it() {
    let shell = shell(135);
    shell
        .set_session_options(loopback(136), near(1))
        .await
        .unwrap();
    let mut config = passive(135, 136);
    config.hold_time = Duration::from_secs(3);
    config.graceful_restart = None;
    add_peer(&shell, config).await;
    let prepare = |socket: &TcpSocket| sockopt::set_ttl(socket, false, Some(255)).unwrap();
    let stream = by_hand::tcp_with(136, shell.listening()[0], prepare).await;
    let mut hand = ByHand::over(stream, 136).establish().await;
    until_established(&shell, 136).await;
    let mut events = shell.subscribe();
    sockopt::set_ttl(hand.stream(), false, Some(64)).unwrap();
    // It would do no harm, and it must not be heard: the hold timer ends the session all the same.
    hand.send(&Message::Keepalive).await;
    let event = wait_for_event(&mut events, |event| matches!(event, Event::Down { .. })).await;
    let Event::Down { reason, .. } = event else {
        panic!("{event:?}")
    };
    assert!(reason.to_lowercase().contains("hold timer"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_that_is_too_far_away_is_not_reached() {
    let shell = shell(137);
    shell
        .set_session_options(loopback(138), near(1))
        .await
        .unwrap();
    let far = TcpListener::bind(SocketAddr::new(loopback(138), 0))
        .await
        .unwrap();
    sockopt::set_ttl(&far, false, Some(64)).unwrap();
    let mut events = shell.subscribe();
    add_peer(&shell, peer(137, 138, far.local_addr().unwrap().port())).await;
    assert_eq!(
        until_failed(&mut events).await,
        "TCP did not come up in time"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_ipv6_both_work_as_well() {
    let loopback6 = IpAddr::from(Ipv6Addr::LOCALHOST);
    let own = Shell::start(speaker(141), &[SocketAddr::new(loopback6, 0)]).unwrap();
    if !can_sign(&shell(142)).await {
        return;
    }
    let mut both = signed("hush").unwrap();
    both.ttl_security = NonZeroU8::new(1);
    own.set_session_options(loopback6, Some(both))
        .await
        .unwrap();
    let mut config = passive(141, 142);
    config.remote_address = loopback6;
    config.local_address = Some(loopback6);
    add_peer(&own, config).await;
    let mut events = own.subscribe();
    let connect = async |ttl| {
        let socket = TcpSocket::new_v6().unwrap();
        sockopt::set_key(&socket, loopback6.into(), b"hush").unwrap();
        sockopt::set_ttl(&socket, true, Some(ttl)).unwrap();
        let connected = timeout(DEADLINE, socket.connect(own.listening()[0])).await;
        connected.unwrap()
    };
    let _far = connect(64).await;
    assert_eq!(
        until_failed(&mut events).await,
        "peer ::1: TTL 64 is below 255, which TTL security asks for (RFC 5082)"
    );
    let _near = ByHand::over(connect(255).await.unwrap(), 142)
        .establish()
        .await;
    until(&own, "Established", move |speaker, now| {
        is_established(speaker, now, loopback6)
    })
    .await;
}

#[tokio::test]
async fn a_speaker_that_has_stopped_takes_no_options() {
    let shell = shell(143);
    shell.stop(true).await;
    let error = shell
        .set_session_options(loopback(144), near(1))
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "the BGP speaker has stopped");
}

/// Reads until an UPDATE announces that prefix; false when the connection ends first.
async fn until_announced(hand: &mut ByHand, prefix: &str) -> bool {
    while let Some(message) = hand.read().await {
        if let Message::Update(update) = message
            && update.announced.contains(&net(prefix).into())
        {
            return true;
        }
    }
    false
}
