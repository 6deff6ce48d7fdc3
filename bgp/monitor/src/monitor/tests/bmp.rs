//! An independent decoder, netgauze-bmp-pkt, reads what a station is told.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use netgauze_bgp_pkt::BgpMessage;
use netgauze_bgp_pkt::path_attribute::{AsPath, MpReach, MpUnreach, PathAttributeValue as Value};
use netgauze_bmp_pkt::v3::{BmpMessageValue, PeerDownNotificationReason, StatisticsCounter};
use netgauze_bmp_pkt::wire::deserializer::BmpParsingContext;
use netgauze_bmp_pkt::{BmpMessage, BmpPeerType, PeerHeader};
use netgauze_parse_utils::reader::SliceReader;
use netgauze_parse_utils::traits::ParseFromWithOneInput;

use super::one_station;
use crate::testing::{Net, Tables, What, address, asn};

/// What a station knows after all that it was told.
#[derive(Default)]
pub(super) struct Told {
    pub(super) tables: Tables,
    pub(super) terminated: bool,
    initiated: usize,
    ups: usize,
    downs: Vec<PeerDownNotificationReason>,
    ends_of_rib: usize,
    statistics: Vec<(Option<IpAddr>, StatisticsCounter)>,
    times: Vec<i64>,
}

impl Told {
    pub(super) fn read(octets: &[u8]) -> Told {
        let mut told = Told::default();
        let mut context = BmpParsingContext::default();
        let mut rest = octets;
        while !rest.is_empty() {
            let length = u32::from_be_bytes(rest[1..5].try_into().unwrap()) as usize;
            let (message, after) = rest.split_at(length);
            let read = BmpMessage::parse(&mut SliceReader::new(message), &mut context);
            match read.unwrap_or_else(|error| panic!("{error:?}: {message:02x?}")) {
                BmpMessage::V3(value) => told.take(value),
                BmpMessage::V4(_) => panic!("version 4"),
            }
            rest = after;
        }
        told
    }

    fn take(&mut self, value: BmpMessageValue) {
        match value {
            BmpMessageValue::Initiation(_) => self.initiated += 1,
            BmpMessageValue::Termination(_) => self.terminated = true,
            BmpMessageValue::PeerUpNotification(up) => {
                let header = up.peer_header();
                assert_eq!(self.initiated, 1);
                self.ups += 1;
                let tables = &mut self.tables.0;
                let peer = header.address();
                if peer.is_some() {
                    tables.insert((peer, false), BTreeMap::new());
                }
                tables.insert((peer, true), BTreeMap::new());
            }
            BmpMessageValue::PeerDownNotification(down) => {
                let peer = down.peer_header().address();
                assert!(self.tables.0.remove(&(peer, false)).is_some(), "not up");
                self.tables.0.remove(&(peer, true));
                self.downs.push(down.reason().clone());
            }
            BmpMessageValue::RouteMonitoring(routes) => {
                let header = routes.peer_header();
                self.times.push(header.timestamp().unwrap().timestamp());
                self.update(table(header), routes.update_message());
            }
            BmpMessageValue::StatisticsReport(report) => {
                let peer = report.peer_header().address();
                for counter in report.counters() {
                    self.statistics.push((peer, counter.clone()));
                }
            }
            other => panic!("{other:?}"),
        }
    }

    fn update(&mut self, of: (Option<IpAddr>, bool), message: &BgpMessage) {
        let BgpMessage::Update(update) = message else {
            panic!("no UPDATE: {message:?}");
        };
        let table = self.tables.0.get_mut(&of).expect("a Peer Up before");
        if update.end_of_rib().is_some() {
            self.ends_of_rib += 1;
            return;
        }
        let mut what: What = (None, String::new(), None);
        let mut announced: Vec<IpNet> = Vec::new();
        for attribute in update.path_attributes() {
            match attribute.value() {
                Value::NextHop(next_hop) => what.0 = Some(IpAddr::V4(next_hop.next_hop())),
                Value::MultiExitDiscriminator(med) => what.2 = Some(med.metric()),
                Value::AsPath(AsPath::As4PathSegments(segments)) => {
                    let numbers = segments.iter().flat_map(|s| s.as_numbers().iter());
                    let numbers: Vec<String> = numbers.map(u32::to_string).collect();
                    what.1 = numbers.join(" ");
                }
                Value::MpReach(MpReach::Ipv6Unicast {
                    next_hop_global,
                    nlri,
                    ..
                }) => {
                    what.0 = Some(IpAddr::V6(*next_hop_global));
                    announced.extend(nlri.iter().map(|n| IpNet::V6(n.network().address())));
                }
                Value::MpUnreach(MpUnreach::Ipv6Unicast { nlri }) => {
                    for gone in nlri.iter() {
                        table.remove(&IpNet::V6(gone.network().address()));
                    }
                }
                _ => {}
            }
        }
        announced.extend(
            update
                .nlri()
                .iter()
                .map(|n| IpNet::V4(n.network().address())),
        );
        for gone in update.withdraw_routes() {
            table.remove(&IpNet::V4(gone.network().address()));
        }
        for prefix in announced {
            table.insert(prefix, what.clone());
        }
    }
}

fn table(header: &PeerHeader) -> (Option<IpAddr>, bool) {
    match header.peer_type() {
        BmpPeerType::GlobalInstancePeer {
            post_policy,
            asn2,
            adj_rib_out,
            ..
        } => {
            assert!(!asn2 && !adj_rib_out);
            (header.address(), post_policy)
        }
        BmpPeerType::LocRibInstancePeer { filtered } => {
            assert!(!filtered && header.address().is_none());
            assert_eq!(header.peer_as(), asn(0));
            (None, true)
        }
        other => panic!("{other:?}"),
    }
}

/// Three peers with prefixes of both families; some are not accepted, some are there from two.
fn story() -> Net {
    let mut net = Net::new(4, one_station());
    for n in 0..20 {
        net.originate(1 + n % 3, &format!("10.{n}.0.0/16"));
        net.originate(1 + n % 2, &format!("fd00:{n}::/64"));
    }
    net.originate(0, "172.16.0.0/16");
    net.originate(0, "fd00:ffff::/64");
    net.originate(1, "192.168.1.0/24");
    net.originate(2, "10.0.0.0/16");
    net
}

#[test]
fn a_station_knows_what_the_speaker_knows() {
    let mut net = story();
    net.run_for(30);
    let told = Told::read(&net.stations[0]);
    let truth = net.truth();
    assert_eq!(told.tables, truth);
    let before = (Some(address(1)), false);
    let after = (Some(address(1)), true);
    assert!(truth.prefixes(before).contains("192.168.1.0/24"));
    assert!(!truth.prefixes(after).contains("192.168.1.0/24"));
    assert!(truth.prefixes((None, true)).contains("172.16.0.0/16"));
    assert!(net.monitor.stations()[0].synchronized);
    assert!(told.ends_of_rib > 0);
}

#[test]
fn what_changes_and_who_flaps_is_told_live() {
    let mut net = story();
    net.run_for(30);
    for round in 0..5 {
        net.withdraw(1, &format!("10.{}.0.0/16", round * 3));
        net.originate(2, &format!("fd00:aaaa:{round}::/64"));
        net.break_link(1 + round % 3);
        net.settle();
        assert_eq!(Told::read(&net.stations[0]).tables, net.truth());
        net.run_for(20);
        assert_eq!(Told::read(&net.stations[0]).tables, net.truth());
    }
    let told = Told::read(&net.stations[0]);
    assert_eq!(net.monitor.stations()[0].connects, 1);
    assert_eq!(told.downs.len(), 5);
    assert_eq!(told.ups, 4 + 5, "four with the Loc-RIB");
    let remote_without_a_word = |reason: &PeerDownNotificationReason| {
        format!("{reason:?}").contains("RemoteSystemClosedNoData")
    };
    assert!(
        told.downs.iter().all(remote_without_a_word),
        "{:?}",
        told.downs
    );
    assert!(told.times.windows(2).all(|pair| pair[0] <= pair[1]));
    assert_eq!(told.times[0] as u64, crate::testing::EPOCH);
}

#[test]
fn a_session_that_was_ended_comes_with_its_notification() {
    let mut net = story();
    net.run_for(30);
    let now = net.now;
    net.speakers[0].remove_peer(now, address(1));
    net.speakers[2].remove_peer(now, address(0));
    net.run_for(1);
    let told = Told::read(&net.stations[0]);
    let reasons = format!("{:?}", told.downs);
    assert!(
        reasons.contains("LocalSystemClosedNotificationPduFollows"),
        "{reasons}"
    );
    assert!(
        reasons.contains("RemoteSystemClosedNotificationPduFollows"),
        "{reasons}"
    );
    assert_eq!(told.tables, net.truth());
}

#[test]
fn a_station_that_comes_late_is_told_the_same() {
    let mut net = story();
    net.run_for(30);
    let now = net.now;
    net.monitor
        .handle_closed(now, crate::StationId(0), "reset by peer");
    net.run_for(30);
    assert_eq!(net.monitor.stations()[0].connects, 2);
    assert_eq!(Told::read(&net.stations[0]).tables, net.truth());
}

#[test]
fn a_change_in_the_middle_of_a_dump_is_not_undone_by_it() {
    let mut net = story();
    net.run_for(30);
    let now = net.now;
    net.monitor
        .handle_closed(now, crate::StationId(0), "reset by peer");
    net.reads = false;
    net.run_for(3);
    for n in 0..20 {
        net.withdraw(1 + n % 3, &format!("10.{n}.0.0/16"));
        net.settle();
    }
    net.reads = true;
    net.settle();
    assert_eq!(Told::read(&net.stations[0]).tables, net.truth());
}

#[test]
fn only_what_is_wanted_is_told() {
    let mut config = one_station();
    config.bmp[0].pre_policy = false;
    config.bmp[0].loc_rib = false;
    let mut net = Net::new(2, config);
    net.originate(1, "10.1.0.0/16");
    net.run_for(20);
    let told = Told::read(&net.stations[0]);
    assert_eq!(told.ups, 1);
    let post_policy = (Some(address(1)), true);
    assert_eq!(told.tables.prefixes(post_policy).len(), 1);
    assert!(told.tables.prefixes((Some(address(1)), false)).is_empty());
}

#[test]
fn statistics_come_every_minute() {
    let mut net = story();
    net.run_for(130);
    let told = Told::read(&net.stations[0]);
    let of_peer = told
        .statistics
        .iter()
        .filter(|(peer, _)| *peer == Some(address(1)));
    assert_eq!(of_peer.count(), 2 * 2);
    let loc_rib = told.statistics.iter().find(|(peer, _)| peer.is_none());
    let routes = net.speakers[0].routes().len();
    let said = format!("{loc_rib:?}");
    assert!(said.contains(&format!("GaugeU64({routes})")), "{said}");
}
