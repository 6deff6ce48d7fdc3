use super::*;
use crate::policy::{Match, Rule, SourcePattern};

fn written<T: Serialize>(config: &T) -> serde_json::Value {
    serde_json::to_value(config).expect("a configuration can be written")
}

#[test]
fn a_peer_is_read_back_as_it_was_written() {
    let mut peer = PeerConfig::new("192.0.2.7".parse().unwrap(), 64512, 64513);
    peer.connect_retry = Duration::from_millis(1500);
    peer.graceful_restart = None;
    peer.next_hop = NextHopMode::OwnAddress;
    peer.export.rules.push(Rule::accept(Match {
        prefixes: vec!["10.0.0.0/8".parse().unwrap()],
        from: vec![SourcePattern::Local],
        ..Match::default()
    }));
    let value = written(&peer);
    assert_eq!(value["remoteAsn"], 64512);
    assert_eq!(value["holdTime"], 90);
    assert_eq!(value["connectRetry"], 1.5);
    assert_eq!(value["families"][0], "ipv4-unicast");
    assert_eq!(value["nextHop"], "ownAddress");
    assert_eq!(serde_json::from_value::<PeerConfig>(value).unwrap(), peer);
}

#[test]
fn a_speaker_is_read_back_as_it_was_written() {
    let mut speaker = SpeakerConfig::new(64512, Ipv4Addr::new(192, 0, 2, 1));
    speaker.seed = u64::MAX;
    speaker.cluster_id = Some(Ipv4Addr::new(192, 0, 2, 9));
    let text = written(&speaker).to_string();
    assert_eq!(
        serde_json::from_str::<SpeakerConfig>(&text).unwrap(),
        speaker
    );
}

#[test]
fn a_time_that_is_none_is_named() {
    let mut value = written(&PeerConfig::new("192.0.2.7".parse().unwrap(), 1, 2));
    value["holdTime"] = (-3).into();
    let error = serde_json::from_value::<PeerConfig>(value).unwrap_err();
    assert!(error.to_string().contains("-3"), "{error}");
}
