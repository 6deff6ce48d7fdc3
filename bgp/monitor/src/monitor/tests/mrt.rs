//! An independent reader, bgpkit-parser, reads what goes into MRT files.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::net::IpAddr;

use bgpkit_parser::Elementor;
use bgpkit_parser::models::{
    Bgp4MpEnum, BgpElem, BgpMessage, ElemType, EntryType, MrtMessage, MrtRecord,
};
use bgpkit_parser::parser::mrt::mrt_record::parse_mrt_record;

use super::updates;
use crate::config::RibConfig;
use crate::testing::{EPOCH, Net, address, asn};
use crate::{MonitorConfig, MrtFile, MrtOutput};

fn octets(net: &Net, of: MrtFile) -> Vec<u8> {
    let outputs = net.mrt.iter().filter_map(|output| match output {
        MrtOutput::Octets(file, octets) if *file == of => Some(octets.clone()),
        _ => None,
    });
    outputs.flatten().collect()
}

fn records(octets: &[u8]) -> Vec<MrtRecord> {
    let mut reader = Cursor::new(octets);
    let mut records = Vec::new();
    while (reader.position() as usize) < octets.len() {
        let record = parse_mrt_record(&mut reader);
        records.push(record.unwrap_or_else(|error| panic!("{error:?}")));
    }
    records
}

fn elements(records: Vec<MrtRecord>) -> Vec<BgpElem> {
    let mut elementor = Elementor::new();
    let elements = records.into_iter();
    elements
        .flat_map(|record| elementor.record_to_elems(record))
        .collect()
}

#[test]
fn updates_are_read_as_they_arrived() {
    let mut net = Net::new(3, updates(false));
    for n in 0..5 {
        net.originate(1 + n % 2, &format!("10.{n}.0.0/16"));
        net.originate(1 + n % 2, &format!("fd00:{n}::/64"));
    }
    net.run_for(20);
    net.withdraw(1, "10.0.0.0/16");
    net.withdraw(2, "fd00:1::/64");
    net.run_for(5);
    let records = records(&octets(&net, MrtFile::Updates));
    assert!(
        records
            .iter()
            .all(|record| record.common_header.entry_type == EntryType::BGP4MP_ET)
    );
    assert_eq!(u64::from(records[0].common_header.timestamp), EPOCH);
    let mut table: BTreeMap<(IpAddr, String), (Option<IpAddr>, String)> = BTreeMap::new();
    for element in elements(records) {
        let key = (element.peer_ip, element.prefix.to_string());
        let path = element.as_path.map(|path| path.to_string());
        match element.elem_type {
            ElemType::ANNOUNCE => {
                table.insert(key, (element.next_hop, path.unwrap_or_default()));
            }
            ElemType::WITHDRAW => assert!(table.remove(&key).is_some()),
        }
    }
    let mut truth = BTreeMap::new();
    for route in net.speakers[0].routes() {
        for path in route.paths {
            let key = (path.peer.unwrap(), route.prefix.to_string());
            truth.insert(key, (path.next_hop, path.as_path));
        }
    }
    assert_eq!(truth.len(), 8);
    assert_eq!(table, truth);
}

#[test]
fn opens_and_states_come_before_updates() {
    let mut net = Net::new(2, updates(true));
    net.originate(0, "10.0.0.0/16");
    net.run_for(20);
    net.break_link(1);
    net.settle();
    let mut opens = 0;
    let mut local_updates = 0;
    let mut states = Vec::new();
    for record in records(&octets(&net, MrtFile::Updates)) {
        let MrtMessage::Bgp4Mp(message) = record.message else {
            panic!("{record:?}");
        };
        match message {
            Bgp4MpEnum::StateChange(change) => {
                assert_eq!(change.peer_ip, address(1));
                assert_eq!(change.peer_asn.to_u32(), asn(1));
                states.push(change.new_state as u16);
            }
            Bgp4MpEnum::Message(message) => match &message.bgp_message {
                BgpMessage::Open(_) => opens += 1,
                BgpMessage::Update(update) => {
                    assert_eq!(opens, 2);
                    let is_ours = !update.announced_prefixes.is_empty();
                    local_updates += usize::from(is_ours && message.is_local());
                }
                _ => {}
            },
        }
    }
    assert_eq!((opens, local_updates), (2, 1));
    assert!(states.contains(&6), "{states:?}");
    assert_ne!(states.last(), Some(&6), "{states:?}");
}

fn rib() -> MonitorConfig {
    let mut config = MonitorConfig::default();
    config.mrt.rib = Some(RibConfig {
        directory: "/nowhere".into(),
        interval_seconds: 600,
    });
    config
}

#[test]
fn a_table_has_every_path_of_every_peer() {
    let mut net = Net::new(4, rib());
    for n in 0..10 {
        net.originate(1 + n % 3, &format!("10.{n}.0.0/16"));
        net.originate(1, &format!("fd00:{n}::/64"));
    }
    net.originate(2, "10.0.0.0/16");
    net.originate(0, "172.16.0.0/16");
    net.originate(0, "fd00:ffff::/64");
    net.run_for(70);
    assert_eq!(net.mrt.last(), Some(&MrtOutput::End(MrtFile::Rib)));
    let mut dumped: Vec<(IpAddr, String, Option<IpAddr>, String)> =
        elements(records(&octets(&net, MrtFile::Rib)))
            .into_iter()
            .map(|element| {
                let path = element.as_path.map(|path| path.to_string());
                let prefix = element.prefix.to_string();
                (
                    element.peer_ip,
                    prefix,
                    element.next_hop,
                    path.unwrap_or_default(),
                )
            })
            .collect();
    dumped.sort();
    let mut truth = Vec::new();
    for route in net.speakers[0].routes() {
        for path in route.paths {
            let unspecified: IpAddr = match route.prefix {
                ipnet::IpNet::V4(_) => "0.0.0.0".parse().unwrap(),
                ipnet::IpNet::V6(_) => "::".parse().unwrap(),
            };
            truth.push((
                path.peer.unwrap_or("0.0.0.0".parse().unwrap()),
                route.prefix.to_string(),
                path.next_hop.or(Some(unspecified)),
                path.as_path,
            ));
        }
    }
    truth.sort();
    assert_eq!(truth.len(), 23);
    assert_eq!(dumped, truth);
}

#[test]
fn tables_come_again_and_again() {
    let mut net = Net::new(2, rib());
    net.originate(1, "10.1.0.0/16");
    net.run_for(60 + 2 * 600 + 10);
    let ends = net
        .mrt
        .iter()
        .filter(|output| matches!(output, MrtOutput::End(_)));
    assert_eq!(ends.count(), 3);
}

#[test]
fn a_table_that_cannot_become_complete_is_abandoned() {
    let mut net = Net::new(2, rib());
    net.run_for(59);
    let now = net.now + std::time::Duration::from_secs(2);
    net.monitor.handle_timeout(now);
    net.monitor.handle_lost(now);
    let outputs: Vec<MrtOutput> = std::iter::from_fn(|| net.monitor.poll_mrt()).collect();
    assert_eq!(outputs, [MrtOutput::Abandon(MrtFile::Rib)]);
}
