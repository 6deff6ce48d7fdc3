use super::*;
use crate::testing::{Net, address, peer_config, speaker_config};

/// Node 0 of a mesh of four, through all that may befall it.
fn story() -> Vec<Record> {
    let mut net = Net::new(4);
    net.octets_max = 300;
    let now = net.now;
    net.nodes[0].speaker.set_recording(now, true);
    for a in 0..4 {
        for b in (0..4).filter(|&b| b != a) {
            net.peer(a, peer_config(b));
        }
    }
    net.run_for(20);
    for n in 0..50 {
        net.originate(n % 4, &format!("10.{n}.0.0/16"));
        net.originate(n % 3, &format!("fd00:{n}::/64"));
    }
    net.run_for(5);
    net.break_between(0, 1);
    net.run_for(30);
    net.kill(2);
    net.replace(2, speaker_config(2));
    net.withdraw(0, "10.0.0.0/16");
    net.run_for(200);
    net.peer(0, {
        let mut config = peer_config(3);
        config.hold_time = std::time::Duration::from_secs(30);
        config
    });
    net.run_for(60);
    let refused = net.dial(9, 0).unwrap_err();
    assert!(refused.contains("not a configured peer"), "{refused}");
    let now = net.now;
    let speaker = &mut net.nodes[0].speaker;
    speaker.remove_peer(now, address(1));
    speaker.finish_restart(now);
    net.run_for(10);
    let now = net.now;
    net.nodes[0].speaker.shut_down(now, false, "");
    net.settle();
    std::iter::from_fn(|| net.nodes[0].speaker.poll_record()).collect()
}

#[test]
fn a_record_is_replayed_octet_by_octet() {
    let records = story();
    let octets_sent: usize = records
        .iter()
        .map(|record| match record.step {
            Step::Transmit { octets, .. } => octets,
            _ => 0,
        })
        .sum();
    assert!(octets_sent > 2000, "{octets_sent}");
    let mut replay = Replay::default();
    for (index, record) in records.iter().enumerate() {
        let line = serde_json::to_string(record).unwrap();
        let read: Record = serde_json::from_str(&line).unwrap();
        assert_eq!(read, *record);
        replay
            .step(&read)
            .unwrap_or_else(|error| panic!("step {index}: {line}: {error}"));
    }
    assert!(
        replay
            .speaker()
            .unwrap()
            .route(&"10.1.0.0/16".parse().unwrap())
            .is_none()
    );
}

#[test]
fn an_input_that_is_missing_is_noticed() {
    let records = story();
    let lost = records.iter().position(
        |record| matches!(&record.step, Step::Bytes { octets, .. } if octets.0.len() > 100),
    );
    let mut replay = Replay::default();
    let result = records
        .iter()
        .enumerate()
        .filter(|(index, _)| Some(*index) != lost)
        .try_for_each(|(_, record)| replay.step(record));
    let error = result.unwrap_err();
    assert!(matches!(error, ReplayError::Different { .. }), "{error}");
}

#[test]
fn a_record_without_a_beginning_is_refused() {
    let first = Record {
        at_micros: 7,
        step: Step::Timeout,
    };
    assert_eq!(Replay::default().step(&first), Err(ReplayError::NoStart));
}

#[test]
fn octets_that_are_no_base64_are_refused() {
    let line = r#"{"at":7,"do":"bytes","connection":3,"octets":"%%"}"#;
    let error = serde_json::from_str::<Record>(line).unwrap_err();
    assert!(error.to_string().contains("no base64"), "{error}");
}

#[test]
fn nothing_is_recorded_unless_asked_for() {
    let mut net = Net::mesh(2);
    assert_eq!(net.nodes[0].speaker.poll_record(), None);
}
