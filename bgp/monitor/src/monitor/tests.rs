mod bmp;
mod mrt;

use super::*;
use crate::config::{StationConfig, UpdatesConfig};
use crate::testing::Net;

fn one_station() -> MonitorConfig {
    MonitorConfig {
        bmp: vec![StationConfig::new("192.0.2.7:11019".parse().unwrap())],
        ..MonitorConfig::default()
    }
}

#[test]
fn a_station_that_does_not_read_is_let_go_and_told_everything_anew() {
    let mut config = one_station();
    config.bmp[0].queue_octets_max = 3000;
    let mut net = Net::new(3, config);
    net.run_for(20);
    net.reads = false;
    for n in 0..100 {
        net.originate(1, &format!("10.{n}.0.0/16"));
        net.settle();
    }
    let view = &net.monitor.stations()[0];
    assert!(!view.up && view.overruns == 1, "{view:?}");
    let error = view.last_error.as_deref().unwrap_or_default();
    assert!(error.contains("does not keep up"), "{error}");
    assert_eq!(net.closed, [StationId(0)]);
    net.reads = true;
    net.run_for(30);
    let view = &net.monitor.stations()[0];
    assert!(view.synchronized && view.connects == 2, "{view:?}");
    let told = bmp::Told::read(&net.stations[0]);
    assert_eq!(told.tables, net.truth());
}

#[test]
fn a_station_that_cannot_be_reached_is_tried_less_and_less_often() {
    let config = one_station();
    let now = Time::from_micros(1);
    let identity = Identity {
        name: String::new(),
        description: String::new(),
        asn: 1,
        router_id: Ipv4Addr::LOCALHOST,
    };
    let mut monitor = Monitor::new(now, config, identity, WallClock::new(0));
    let mut waits = Vec::new();
    let mut last = now;
    for _ in 0..12 {
        let at = monitor.poll_timeout().unwrap();
        waits.push(at.since(last).as_secs());
        last = at;
        monitor.handle_timeout(at);
        let Some(Request::Connect { station, .. }) = monitor.poll_request() else {
            panic!("no attempt");
        };
        monitor.handle_closed(at, station, "connection refused");
    }
    assert_eq!(waits[..4], [0, 2, 4, 8]);
    assert_eq!(waits[11], 720);
}

#[test]
fn what_was_lost_on_the_way_makes_everybody_begin_anew() {
    let mut net = Net::new(3, one_station());
    net.originate(1, "10.1.0.0/16");
    net.run_for(20);
    let now = net.now;
    net.monitor.handle_lost(now);
    let tap = net.monitor.tap();
    net.speakers[0].set_tap(tap);
    net.originate(2, "10.2.0.0/16");
    net.run_for(20);
    assert_eq!(net.closed, [StationId(0)]);
    assert_eq!(bmp::Told::read(&net.stations[0]).tables, net.truth());
}

#[test]
fn nobody_is_connected_to_when_all_is_over() {
    let mut net = Net::new(2, one_station());
    net.run_for(20);
    let now = net.now;
    net.monitor.stop(now);
    net.settle();
    let told = bmp::Told::read(&net.stations[0]);
    assert!(told.terminated);
    net.monitor.handle_closed(now, StationId(0), "closed");
    assert_eq!(net.monitor.poll_timeout(), None);
}

fn updates(sent: bool) -> MonitorConfig {
    let mut config = MonitorConfig::default();
    config.mrt.updates = Some(UpdatesConfig {
        directory: "/nowhere".into(),
        rotate_seconds: 900,
        rotate_octets: 1 << 20,
        sent,
    });
    config
}
