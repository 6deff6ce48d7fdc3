//! Two speakers that have nothing but link-local addresses, on two devices that are the ends of one cable:
//!
//! ```text
//!   one: fe80::1 on left ════ fe80::2 on right: other        (and a stub, to which nobody is connected)
//! ```
//!
//! The devices are in a network namespace of their own, in which this test starts itself again.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "how a test fails, or says that it was skipped"
)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV6};
use std::process::Command;
use std::time::Duration;

use caracal_bgp::view::PeerView;
use caracal_bgp::{Event, LocalPath, PeerConfig, Speaker, SpeakerConfig, Time};
use caracal_bgp_net::{Shell, Unnumbered, UnnumberedConfig, UnnumberedView};
use ipnet::IpNet;
use tokio::time::{sleep, timeout};

const INSIDE: &str = "CARACAL_LINK_LOCAL_INSIDE";
const DEADLINE: Duration = Duration::from_secs(30);

/// Runs the test of this name in a namespace. False: it is to be run here, because this is the namespace.
fn is_outside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return false;
    }
    let flags: [&[&str]; 2] = [&["--net"], &["--user", "--map-root-user", "--net"]];
    let unshare = |flags: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(flags).arg("--");
        command
    };
    let works = |flags: &&&[&str]| {
        let tried = unshare(flags).args(["ip", "link"]).output();
        tried.is_ok_and(|done| done.status.success())
    };
    let Some(flags) = flags.iter().find(works) else {
        println!("skipped: no network namespace can be made here");
        return true;
    };
    let done = unshare(flags)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    let errors = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}\n{errors}");
    assert!(said.contains("1 passed"), "{said}");
    true
}

fn ip(words: &str) {
    let done = Command::new("ip").args(words.split(' ')).output().unwrap();
    let errors = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "ip {words}: {errors}");
}

fn cable() {
    ip("link add left type veth peer name right");
    ip("link add stub type veth peer name end");
    for (device, address) in [
        ("left", "fe80::1"),
        ("right", "fe80::2"),
        ("stub", "fe80::3"),
    ] {
        // Without the kernel's own address there is only one to connect from.
        ip(&format!("link set {device} addrgenmode none"));
        ip(&format!("link set {device} up"));
        ip(&format!("addr add {address}/64 dev {device} nodad"));
    }
    ip("link set end up");
}

fn address(last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last)
}

fn index(device: &str) -> u32 {
    let file = format!("/sys/class/net/{device}/ifindex");
    match std::fs::read_to_string(file) {
        Ok(text) => text.trim().parse().unwrap(),
        // The mount of /sys may be that of another namespace; `ip` asks the kernel.
        Err(_) => {
            let done = Command::new("ip")
                .args(["-o", "link", "show", device])
                .output();
            let said = String::from_utf8(done.unwrap().stdout).unwrap();
            said.split(':').next().unwrap().parse().unwrap()
        }
    }
}

fn start(last: u8, device: &str) -> Shell {
    let asn = 65000 + u32::from(last);
    let config = SpeakerConfig::new(asn, Ipv4Addr::new(10, 0, 0, last));
    let listen = SocketAddrV6::new(address(last.into()), 0, 0, index(device));
    Shell::start(Speaker::new(config, Time::ZERO), &[listen.into()]).unwrap()
}

async fn add(shell: &Shell, own: u8, remote: u8, port: u16, device: Option<&str>) {
    let (own, asn) = (65000 + u32::from(own), 65000 + u32::from(remote));
    let config = PeerConfig {
        remote_port: port,
        interface: device.map(str::to_owned),
        connect_retry: Duration::from_millis(200),
        passive: port == 0,
        ..PeerConfig::new(address(remote.into()).into(), asn, own)
    };
    shell
        .with(move |speaker, now| speaker.set_peer(now, config))
        .await
        .unwrap();
}

async fn view(shell: &Shell) -> PeerView {
    let views = shell.with(|speaker, now| speaker.peers(now)).await.unwrap();
    views.into_iter().next().unwrap()
}

async fn until_established(shell: &Shell) {
    let waited = timeout(DEADLINE, async {
        while view(shell).await.state != "Established" {
            sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(waited.await.is_ok(), "{:?}", view(shell).await);
}

async fn refusal(shell: &Shell) -> String {
    let mut events = shell.subscribe();
    let waited = timeout(DEADLINE, async {
        loop {
            if let Event::ConnectionFailed { reason, .. } = events.recv().await.unwrap() {
                return reason;
            }
        }
    });
    waited.await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_over_link_local_addresses_brings_next_hops_with_their_device() {
    if is_outside("a_session_over_link_local_addresses_brings_next_hops_with_their_device") {
        return;
    }
    cable();
    let (one, other) = (start(1, "left"), start(2, "right"));
    // Whichever end connects: first only one of them does.
    add(&other, 2, 1, 0, Some("right")).await;
    add(&one, 1, 2, other.listening()[0].port(), Some("left")).await;
    until_established(&one).await;
    until_established(&other).await;

    let prefix: IpNet = "2001:db8:1::/48".parse().unwrap();
    one.with(move |speaker, now| speaker.originate(now, prefix, LocalPath::default()))
        .await
        .unwrap();
    let there = timeout(DEADLINE, async {
        loop {
            let next_hops = other
                .with(move |speaker, _| learned(speaker, &prefix))
                .await
                .unwrap();
            if !next_hops.is_empty() {
                return next_hops;
            }
            sleep(Duration::from_millis(20)).await;
        }
    });
    let wanted = (IpAddr::from(address(1)), Some("right".to_owned()));
    assert_eq!(there.await.unwrap(), [wanted]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_the_address_of_a_peer_on_another_link_is_refused() {
    if is_outside("who_has_the_address_of_a_peer_on_another_link_is_refused") {
        return;
    }
    cable();
    let (one, other) = (start(1, "left"), start(2, "right"));
    for (device, wanted) in [
        (Some("stub"), "fe80::1%right is not a configured peer"),
        (Some("gone"), "fe80::1%right is not a configured peer"),
        (
            None,
            "peer fe80::1: a link-local address needs an interface",
        ),
    ] {
        add(&other, 2, 1, 0, device).await;
        add(&one, 1, 2, other.listening()[0].port(), Some("left")).await;
        assert_eq!(refusal(&other).await, wanted);
    }
    // And what cannot be bound says so as well.
    add(&one, 1, 2, 179, Some("gone")).await;
    let said = timeout(DEADLINE, async {
        loop {
            let reason = refusal(&one).await;
            if reason.contains("gone") {
                return reason;
            }
        }
    });
    assert!(said.await.unwrap().contains("no network device gone"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_is_bound_to_a_device_is_taken_from_there_only() {
    if is_outside("a_peer_that_is_bound_to_a_device_is_taken_from_there_only") {
        return;
    }
    // Whoever speaks with an address of the same machine comes over the loopback device.
    ip("link set lo up");
    // Without `nodad` an IPv6 address is nobody's for a moment.
    for (address, words) in [("192.0.2.1/32", ""), ("2001:db8::1/128", " nodad")] {
        ip(&format!("addr add {address} dev lo{words}"));
        let own = address.parse::<IpNet>().unwrap().addr();
        let speaker = |last: u8| {
            let config = SpeakerConfig::new(65000 + u32::from(last), [10, 0, 0, last].into());
            let listen = std::net::SocketAddr::new(own, 0);
            Shell::start(Speaker::new(config, Time::ZERO), &[listen]).unwrap()
        };
        let (one, other) = (speaker(1), speaker(2));
        let remote = other.listening()[0];
        for (device, taken) in [("stub", false), ("lo", true)] {
            let accepts = PeerConfig {
                interface: Some(device.to_owned()),
                passive: true,
                ..PeerConfig::new(remote.ip(), 65001, 65002)
            };
            let connects = PeerConfig {
                remote_port: remote.port(),
                connect_retry: Duration::from_millis(200),
                ..PeerConfig::new(remote.ip(), 65002, 65001)
            };
            let heard = other.clone();
            let refused = tokio::spawn(async move { refusal(&heard).await });
            other
                .with(move |speaker, now| speaker.set_peer(now, accepts))
                .await
                .unwrap();
            one.with(move |speaker, now| speaker.set_peer(now, connects))
                .await
                .unwrap();
            if taken {
                until_established(&one).await;
                refused.abort();
            } else {
                let wanted = format!("peer {}: not over {device}", remote.ip());
                assert_eq!(refused.await.unwrap(), wanted);
            }
        }
    }
}

/// A discovery with a template for one end of the cable, where the other end listens on this port.
fn discover(shell: &Shell, own: u8, remote: u8, port: u16, device: &str) -> Unnumbered {
    let (own, asn) = (65000 + u32::from(own), 65000 + u32::from(remote));
    let mut config = UnnumberedConfig::new(device, asn, own);
    config.template.remote_port = port;
    config.template.connect_retry = Duration::from_millis(200);
    config.interval = Duration::from_millis(100);
    config.lifetime = Duration::from_secs(1);
    Unnumbered::start(shell, config)
}

async fn has_route(shell: &Shell, prefix: IpNet) -> bool {
    let ask = move |speaker: &mut Speaker, _| speaker.route(&prefix).is_some();
    shell.with(ask).await.unwrap()
}

async fn until_seen(discovery: &Unnumbered, what: &str, test: impl Fn(&UnnumberedView) -> bool) {
    let waited = timeout(DEADLINE, async {
        while !test(&discovery.view()) {
            sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(waited.await.is_ok(), "{what}: {:?}", discovery.view());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neighbours_find_each_other_and_who_falls_silent_is_no_peer() {
    if is_outside("neighbours_find_each_other_and_who_falls_silent_is_no_peer") {
        return;
    }
    cable();
    let (one, other) = (start(1, "left"), start(2, "right"));
    let ports = (one.listening()[0].port(), other.listening()[0].port());
    let left = discover(&one, 1, 2, ports.1, "left");
    let right = discover(&other, 2, 1, ports.0, "right");
    until_seen(&left, "right", |view| view.routers == [address(2)]).await;
    until_seen(&right, "left", |view| view.routers == [address(1)]).await;
    until_established(&one).await;
    until_established(&other).await;
    let peer = view(&one).await;
    assert_eq!(
        (peer.name.as_str(), peer.interface.as_deref()),
        ("fe80::2%left", Some("left"))
    );

    // IPv4 over a link without IPv4 addresses (RFC 8950).
    let prefix: IpNet = "192.0.2.0/24".parse().unwrap();
    one.with(move |speaker, now| speaker.originate(now, prefix, LocalPath::default()))
        .await
        .unwrap();
    let there = timeout(DEADLINE, async {
        loop {
            let ask = move |speaker: &mut Speaker, _| learned(speaker, &prefix);
            let next_hops = other.with(ask).await.unwrap();
            if !next_hops.is_empty() {
                return next_hops;
            }
            sleep(Duration::from_millis(20)).await;
        }
    });
    let wanted = (IpAddr::from(address(1)), Some("right".to_owned()));
    assert_eq!(there.await.unwrap(), [wanted]);

    // Another template reaches the peers that are there.
    let mut template = UnnumberedConfig::new("left", 65002, 65001).template;
    template.remote_port = ports.1;
    template.connect_retry = Duration::from_millis(200);
    template.export.default = caracal_bgp::policy::Decision::Reject;
    left.set_template(template).await.unwrap();
    let withdrawn = timeout(DEADLINE, async {
        while has_route(&other, prefix).await {
            sleep(Duration::from_millis(20)).await;
        }
    });
    withdrawn.await.unwrap();

    // One end goes without a word: its session is lost first, and when its time is over it is no peer.
    left.stop().await.unwrap();
    until_seen(&right, "nobody", |view| view.routers.is_empty()).await;
    let peers = |shell: &Shell| {
        let shell = shell.clone();
        async move { shell.with(|speaker, now| speaker.peers(now)).await.unwrap() }
    };
    assert_eq!(peers(&one).await, []);
    assert_eq!(peers(&other).await, []);

    // A device that is made anew is followed, and one that is gone is named.
    ip("link del left");
    until_seen(&right, "the device is gone", |view| {
        let wanted = "no peers are discovered on right: no network device right";
        view.problem.as_deref() == Some(wanted)
    })
    .await;
    ip("link add left type veth peer name right");
    for (device, own) in [("left", "fe80::1"), ("right", "fe80::2")] {
        ip(&format!("link set {device} addrgenmode none"));
        ip(&format!("link set {device} up"));
        ip(&format!("addr add {own}/64 dev {device} nodad"));
    }
    let _left = discover(&one, 1, 2, ports.1, "left");
    until_seen(&right, "left again", |view| {
        view.routers == [address(1)] && view.problem.is_none()
    })
    .await;
}

fn learned(speaker: &Speaker, prefix: &IpNet) -> Vec<(IpAddr, Option<String>)> {
    let next_hops = speaker.next_hops_on_devices(prefix);
    next_hops
        .map(|(hop, device)| (hop, device.map(str::to_owned)))
        .collect()
}
