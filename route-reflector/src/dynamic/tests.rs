//! Who comes, stays and goes.

use std::net::Ipv4Addr;
use std::time::Duration;

use caracal_bgp::SpeakerConfig;

use super::*;
use crate::config::{Config, Source};

fn desired(more: &str) -> Desired {
    let text = format!("asn: 64512\nrouterId: 172.31.0.1\nlisten: ['172.31.0.1:179']\n{more}");
    let Source::File(file) = Config::parse(&text).unwrap().source else {
        panic!("no file source")
    };
    Desired::from_file(&file, Duration::from_secs(90))
}

fn speaker(restarting: bool) -> Speaker {
    let config = SpeakerConfig {
        seed: 1,
        restarting,
        ..SpeakerConfig::new(64512, Ipv4Addr::new(172, 31, 0, 1))
    };
    Speaker::new(config, Time::ZERO)
}

fn addresses(speaker: &Speaker, now: Time) -> Vec<String> {
    speaker
        .peers(now)
        .iter()
        .map(|peer| peer.address.to_string())
        .collect()
}

const PREFIX: &str = "dynamicPeers: [{prefix: 172.31.0.0/16, asn: 64512, client: true}]";
const PEER: &str = "peers: [{address: 172.31.1.1, asn: 64512, client: true}]";

#[test]
fn who_connects_from_a_prefix_becomes_a_peer_and_nobody_else() {
    let mut speaker = speaker(false);
    let mut roster = Roster::new(desired(PREFIX));
    roster.admit(&mut speaker, Time::ZERO, "172.31.7.7".parse().unwrap());
    roster.admit(&mut speaker, Time::ZERO, "172.31.7.7".parse().unwrap());
    roster.admit(&mut speaker, Time::ZERO, "192.0.2.1".parse().unwrap());
    assert_eq!(addresses(&speaker, Time::ZERO), ["172.31.7.7"]);
    assert_eq!(roster.kind("172.31.7.7".parse().unwrap()), "dynamic client");
}

#[test]
fn a_dynamic_peer_that_stays_away_is_forgotten() {
    let mut speaker = speaker(false);
    let mut roster = Roster::new(desired(PREFIX));
    roster.admit(&mut speaker, Time::ZERO, "172.31.7.7".parse().unwrap());
    let soon = Time::ZERO + Duration::from_secs(ABSENT_SECONDS_MAX - 1);
    roster.expire(&mut speaker, soon);
    assert_eq!(addresses(&speaker, soon), ["172.31.7.7"]);
    let late = Time::ZERO + Duration::from_secs(ABSENT_SECONDS_MAX);
    roster.expire(&mut speaker, late);
    assert_eq!(addresses(&speaker, late), [""; 0]);
}

#[test]
fn a_configured_peer_may_stay_away_for_ever() {
    let mut speaker = speaker(false);
    let mut roster = Roster::new(desired(PEER));
    roster.apply(desired(PEER), &mut speaker, Time::ZERO);
    let late = Time::ZERO + Duration::from_secs(86_400);
    roster.expire(&mut speaker, late);
    assert_eq!(addresses(&speaker, late), ["172.31.1.1"]);
}

#[test]
fn a_new_file_adds_changes_and_removes_and_keeps_dynamic_peers_that_still_fit() {
    let mut speaker = speaker(false);
    let mut roster = Roster::new(desired(""));
    roster.apply(
        desired(&format!("{PREFIX}\n{PEER}")),
        &mut speaker,
        Time::ZERO,
    );
    roster.admit(&mut speaker, Time::ZERO, "172.31.7.7".parse().unwrap());
    assert_eq!(
        addresses(&speaker, Time::ZERO),
        ["172.31.1.1", "172.31.7.7"]
    );

    roster.apply(desired(PREFIX), &mut speaker, Time::ZERO);
    assert_eq!(addresses(&speaker, Time::ZERO), ["172.31.7.7"]);

    // A dynamic peer that is configured now is configured from now on.
    let named = "peers: [{address: 172.31.7.7, asn: 64512}]";
    roster.apply(
        desired(&format!("{PREFIX}\n{named}")),
        &mut speaker,
        Time::ZERO,
    );
    assert_eq!(roster.kind("172.31.7.7".parse().unwrap()), "peer");

    roster.apply(desired(""), &mut speaker, Time::ZERO);
    assert_eq!(addresses(&speaker, Time::ZERO), [""; 0]);
}

#[test]
fn a_dynamic_peer_goes_with_its_prefix() {
    let mut speaker = speaker(false);
    let mut roster = Roster::new(desired(PREFIX));
    roster.admit(&mut speaker, Time::ZERO, "172.31.7.7".parse().unwrap());
    roster.apply(desired(""), &mut speaker, Time::ZERO);
    assert_eq!(addresses(&speaker, Time::ZERO), [""; 0]);
}

#[test]
fn after_a_restart_clients_are_waited_for_and_other_reflectors_are_not() {
    let complete = |file: &str, at: Time, long_enough| {
        let mut speaker = speaker(true);
        let mut roster = Roster::new(desired(file));
        roster.apply(desired(file), &mut speaker, Time::ZERO);
        speaker.handle_timeout(at);
        roster.is_complete(&speaker.peers(at), long_enough)
    };
    let late = Time::ZERO + Duration::from_secs(60);
    assert!(!complete(PEER, Time::ZERO, true));
    assert!(complete(PEER, late, true));
    assert!(complete(
        "peers: [{address: 172.31.0.2, asn: 64512}]",
        Time::ZERO,
        false
    ));
    assert!(!complete(PREFIX, Time::ZERO, false));
    assert!(complete(PREFIX, Time::ZERO, true));
}
