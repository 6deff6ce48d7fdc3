//! Peers on links: the same link-local address behind two network devices is two peers.

use std::net::{IpAddr, SocketAddr};

use crate::config::{PeerConfig, SpeakerConfig};
use crate::speaker::{Reset, Speaker};
use crate::time::Time;
use crate::{Action, PeerKey};

const ADDRESS: &str = "fe80::1";

fn address() -> IpAddr {
    ADDRESS.parse().unwrap()
}

fn on(device: &str) -> PeerKey {
    PeerKey::on(address(), Some(device))
}

fn speaker(devices: &[&str]) -> Speaker {
    let config = SpeakerConfig::new(65001, [10, 0, 0, 1].into());
    let mut speaker = Speaker::new(config, Time::ZERO);
    for device in devices {
        let config = PeerConfig {
            name: (*device).to_owned(),
            interface: Some((*device).to_owned()),
            ..PeerConfig::new(address(), 65002, 65001)
        };
        speaker.set_peer(Time::ZERO, config);
    }
    speaker
}

fn names(speaker: &Speaker) -> Vec<String> {
    let peers = speaker.peers(Time::ZERO).into_iter();
    peers.map(|peer| peer.name).collect()
}

fn come(speaker: &mut Speaker, remote: &str, device: Option<&str>) -> Result<(), String> {
    let local = "[fe80::9]:179".parse().unwrap();
    let remote = SocketAddr::new(remote.parse().unwrap(), 40000);
    let taken = speaker.handle_incoming_over(Time::ZERO, local, remote, device);
    taken.map(|_| ())
}

#[test]
fn the_same_link_local_address_on_two_devices_is_two_peers() {
    let mut speaker = speaker(&["eth1", "eth0"]);
    assert_eq!(names(&speaker), ["eth0", "eth1"]);
    speaker.handle_timeout(Time::ZERO);
    let mut connects = Vec::new();
    while let Some(action) = speaker.poll_action() {
        if let Action::Connect { interface, .. } = action {
            connects.extend(interface);
        }
    }
    connects.sort();
    assert_eq!(connects, ["eth0", "eth1"]);

    come(&mut speaker, ADDRESS, Some("eth1")).unwrap();
    let states: Vec<_> = speaker
        .peers(Time::ZERO)
        .into_iter()
        .map(|peer| peer.state)
        .collect();
    assert_eq!(states, ["Connect", "OpenSent"]);

    // The address alone is not enough here.
    let reset = speaker.reset_peer(Time::ZERO, address(), Reset::Hard, "");
    assert_eq!(reset.unwrap_err(), "fe80::1 is not a configured peer");
    speaker
        .reset_peer(Time::ZERO, on("eth1"), Reset::Hard, "")
        .unwrap();
    speaker.remove_peer(Time::ZERO, address());
    speaker.remove_peer(Time::ZERO, on("eth2"));
    assert_eq!(names(&speaker), ["eth0", "eth1"]);
    speaker.remove_peer(Time::ZERO, on("eth1"));
    assert_eq!(names(&speaker), ["eth0"]);
    // Now it is.
    speaker.remove_peer(Time::ZERO, address());
    assert_eq!(names(&speaker), [""; 0]);
}

#[test]
fn who_has_come_over_another_device_is_refused() {
    let mut speaker = speaker(&["eth0"]);
    let mut refused = |remote, device| come(&mut speaker, remote, device).unwrap_err();
    assert_eq!(
        refused(ADDRESS, Some("eth1")),
        "fe80::1%eth1 is not a configured peer"
    );
    assert_eq!(refused(ADDRESS, None), "peer fe80::1: not over eth0");
    assert_eq!(
        refused("fe80::2", Some("eth0")),
        "fe80::2%eth0 is not a configured peer"
    );

    // An ordinary peer may be bound to a device as well.
    let ordinary = PeerConfig {
        interface: Some("eth0".to_owned()),
        ..PeerConfig::new(IpAddr::from([192, 0, 2, 7]), 65002, 65001)
    };
    speaker.set_peer(Time::ZERO, ordinary);
    assert!(speaker.is_bound([192, 0, 2, 7].into()));
    let mut come = |device| come(&mut speaker, "192.0.2.7", device);
    assert_eq!(
        come(Some("eth1")).unwrap_err(),
        "peer 192.0.2.7: not over eth0"
    );
    assert_eq!(come(None).unwrap_err(), "peer 192.0.2.7: not over eth0");
    come(Some("eth0")).unwrap();
}
