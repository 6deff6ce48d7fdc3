//! A process without descriptors. Alone in its file, because the limit is the whole process's.

#![allow(clippy::unwrap_used, clippy::panic, reason = "how a test fails")]

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use caracal_bgp::view::PeerView;
use caracal_bgp::{PeerConfig, Speaker, SpeakerConfig, Time};
use caracal_bgp_net::Shell;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::time::{sleep, timeout};

const DEADLINE: Duration = Duration::from_secs(30);

fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 1, last)
}

fn start(last: u8) -> Shell {
    let config = SpeakerConfig::new(64512, address(last));
    let speaker = Speaker::new(config, Time::ZERO);
    Shell::start(speaker, &[SocketAddr::new(address(last).into(), 0)]).unwrap()
}

async fn add(shell: &Shell, own: u8, remote: u8, port: u16, passive: bool) {
    let config = PeerConfig {
        remote_port: port,
        local_address: Some(address(own).into()),
        hold_time: Duration::from_secs(3),
        connect_retry: Duration::from_millis(200),
        passive,
        ..PeerConfig::new(address(remote).into(), 64512, 64512)
    };
    shell
        .with(move |speaker, now| speaker.set_peer(now, config))
        .await
        .unwrap();
}

async fn view(shell: &Shell, last: u8) -> PeerView {
    let views = shell.with(|speaker, now| speaker.peers(now)).await.unwrap();
    let mut views = views.into_iter();
    views.find(|view| view.address == address(last)).unwrap()
}

async fn until(shell: &Shell, last: u8, what: impl Fn(&PeerView) -> bool) {
    let waited = timeout(DEADLINE, async {
        while !what(&view(shell, last).await) {
            sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(waited.await.is_ok(), "{:?}", view(shell, last).await);
}

/// What is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn count(&self, words: &str) -> usize {
        let text = String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned();
        text.matches(words).count()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_descriptors_accepting_pauses_and_sessions_go_on() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone());
    tracing::subscriber::set_global_default(subscriber.finish()).unwrap();

    let (one, other, late) = (start(1), start(2), start(3));
    add(&one, 1, 2, other.listening()[0].port(), false).await;
    add(&one, 1, 3, 179, true).await;
    add(&other, 2, 1, one.listening()[0].port(), false).await;
    until(&one, 2, |peer| peer.state == "Established").await;

    // A connection of a peer that waits to be accepted, when there is no descriptor left for it.
    let all = getrlimit(Resource::Nofile);
    let knocker = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    knocker
        .bind(&SocketAddr::new(address(3).into(), 0).into())
        .unwrap();
    let open = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64;
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(open + 8),
            ..all
        },
    )
    .unwrap();
    let mut hoard = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        hoard.push(file);
    }
    knocker.connect(&one.listening()[0].into()).unwrap();
    let named = async {
        while log.count("cannot accept connections for now") == 0 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(DEADLINE, named).await.unwrap();

    let before = view(&one, 2).await.messages_received;
    until(&one, 2, |peer| peer.messages_received >= before + 5).await;
    assert_eq!(log.count("cannot accept connections for now"), 1);
    assert_eq!(log.count("too many open files"), 1);
    let session = view(&one, 2).await;
    assert_eq!((session.state.as_str(), session.flaps), ("Established", 0));

    // With descriptors everybody comes in.
    hoard.clear();
    setrlimit(Resource::Nofile, all).unwrap();
    drop(knocker);
    add(&late, 3, 1, one.listening()[0].port(), false).await;
    until(&one, 3, |peer| peer.state == "Established").await;
}
