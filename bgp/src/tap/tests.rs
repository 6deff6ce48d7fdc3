use std::collections::BTreeMap;

use super::*;
use crate::testing::{Net, address, peer_config};
use crate::wire::Update;

const ALL: TapConfig = TapConfig {
    received: true,
    sent: true,
    adj_rib_in: true,
    loc_rib: true,
};

fn tapped(net: &mut Net, node: usize) -> Vec<Tapped> {
    std::iter::from_fn(|| net.nodes[node].speaker.poll_tap()).collect()
}

/// Two nodes; the first is tapped before there is a session.
fn pair(config: TapConfig) -> Net {
    let mut net = Net::new(2);
    net.nodes[0].speaker.set_tap(Some(config));
    net.peer(0, peer_config(1));
    net.peer(1, peer_config(0));
    net.run_for(20);
    net
}

fn updates(tapped: &[Tapped]) -> Vec<Update> {
    let mut codec = Codec {
        four_octet_as: true,
        ..Codec::initial()
    };
    codec.families = crate::wire::Family::ALL.to_vec();
    let octets = tapped.iter().filter_map(|tapped| match tapped {
        Tapped::Received { octets, .. } => Some(octets),
        _ => None,
    });
    let messages = octets.map(|octets| codec.decode(octets).unwrap());
    messages
        .filter_map(|message| match message {
            Message::Update(update) => Some(update),
            _ => None,
        })
        .collect()
}

#[test]
fn a_session_comes_with_both_opens_and_both_ends() {
    let mut net = pair(ALL);
    let up = tapped(&mut net, 0)
        .into_iter()
        .find_map(|tapped| match tapped {
            Tapped::Up(session) => Some(session),
            _ => None,
        });
    let session = up.unwrap();
    assert_eq!(session.remote.ip(), address(1));
    assert_eq!(session.local.ip(), address(0));
    for (open, of) in [(&session.sent_open, 0), (&session.received_open, 1)] {
        let Ok(Message::Open(open)) = Codec::initial().decode(open) else {
            panic!("no OPEN: {open:?}");
        };
        assert_eq!(IpAddr::V4(open.router_id), address(of));
    }
    assert_eq!(net.nodes[0].speaker.sessions(), [*session]);
}

#[test]
fn updates_come_as_they_arrived_and_end_of_rib_with_them() {
    let mut net = pair(ALL);
    net.originate(1, "10.1.0.0/16");
    net.run_for(1);
    let tapped = tapped(&mut net, 0);
    let updates = updates(&tapped);
    assert!(updates.iter().any(|update| update.end_of_rib.is_some()));
    assert!(updates.iter().any(|update| !update.announced.is_empty()));
    let up = tapped.iter().position(|t| matches!(t, Tapped::Up(_)));
    let first = tapped
        .iter()
        .position(|t| matches!(t, Tapped::Received { .. }));
    assert!(up < first, "{up:?} {first:?}");
}

#[test]
fn what_is_sent_is_tapped_when_asked_for() {
    let mut net = pair(ALL);
    net.originate(0, "10.0.0.0/16");
    net.run_for(1);
    let is_sent = |tapped: &Tapped| matches!(tapped, Tapped::Sent { .. });
    assert!(tapped(&mut net, 0).iter().any(is_sent));
    let mut net = pair(TapConfig { sent: false, ..ALL });
    net.originate(0, "10.0.0.0/16");
    net.run_for(1);
    assert!(!tapped(&mut net, 0).iter().any(is_sent));
}

#[test]
fn tables_are_named_as_they_are_not_as_they_were() {
    let mut net = pair(ALL);
    tapped(&mut net, 0);
    net.originate(1, "10.1.0.0/16");
    net.run_for(1);
    net.withdraw(1, "10.1.0.0/16");
    net.originate(1, "10.2.0.0/16");
    net.run_for(1);
    let tables: BTreeMap<IpNet, bool> = tapped(&mut net, 0)
        .into_iter()
        .filter_map(|tapped| match tapped {
            Tapped::LocRib { prefix, attributes } => Some((prefix, attributes.is_some())),
            _ => None,
        })
        .collect();
    let expected = [("10.1.0.0/16", false), ("10.2.0.0/16", true)];
    assert_eq!(
        tables,
        expected
            .map(|(prefix, is)| (prefix.parse().unwrap(), is))
            .into()
    );
}

#[test]
fn a_lost_session_and_one_that_was_ended_are_told_apart() {
    let mut net = pair(ALL);
    tapped(&mut net, 0);
    net.break_between(0, 1);
    let down = |net: &mut Net| {
        tapped(net, 0).into_iter().find_map(|tapped| match tapped {
            Tapped::Down { reason, .. } => Some(reason),
            _ => None,
        })
    };
    assert_eq!(down(&mut net), Some(DownReason::Lost));
    net.run_for(30);
    tapped(&mut net, 0);
    let now = net.now;
    net.nodes[1].speaker.shut_down(now, false, "");
    net.run_for(1);
    let Some(DownReason::NotificationReceived(octets)) = down(&mut net) else {
        panic!("no NOTIFICATION");
    };
    let message = Codec::initial().decode(&octets).unwrap();
    assert!(matches!(message, Message::Notification(_)), "{message:?}");
}

#[test]
fn states_are_those_of_the_rfc_from_one_to_the_next() {
    let mut net = pair(ALL);
    let states: Vec<(u16, u16)> = tapped(&mut net, 0)
        .into_iter()
        .filter_map(|tapped| match tapped {
            Tapped::State { old, new, .. } => Some((old, new)),
            _ => None,
        })
        .collect();
    assert_eq!(states.last().unwrap().1, 6);
    for pair in states.windows(2) {
        assert_eq!(pair[0].1, pair[1].0, "{states:?}");
    }
}

#[test]
fn a_dump_in_pieces_has_every_path_once_with_all_that_is_asked_of_it() {
    let mut net = pair(TapConfig::default());
    for n in 0..100 {
        net.originate(n % 2, &format!("10.{n}.0.0/16"));
    }
    net.run_for(2);
    tapped(&mut net, 0);
    let mut next = Some(Cursor::default());
    let mut prefixes = Vec::new();
    let mut pieces = 0;
    while let Some(from) = next {
        net.nodes[0].speaker.tap_rows(5, from, 30);
        let Some(Tapped::Rows {
            dump: 5,
            rows,
            next: then,
        }) = net.nodes[0].speaker.poll_tap()
        else {
            panic!("no rows");
        };
        for row in rows {
            assert_eq!(row.paths.len(), 1);
            assert!(row.paths[0].best && row.paths[0].accepted.is_some());
            prefixes.push(row.prefix);
        }
        next = then;
        pieces += 1;
    }
    prefixes.sort();
    prefixes.dedup();
    assert_eq!((prefixes.len(), pieces), (100, 4));
}

#[test]
fn without_a_tap_there_is_nothing() {
    let mut net = Net::mesh(2);
    net.nodes[0].speaker.tap_rows(1, Cursor::default(), 10);
    assert_eq!(tapped(&mut net, 0), []);
}

#[test]
fn a_tap_that_comes_late_begins_with_the_sessions_that_are_up() {
    let mut net = Net::mesh(3);
    net.nodes[0].speaker.set_tap(Some(ALL));
    let first = tapped(&mut net, 0);
    assert_eq!(first[0], Tapped::Begin);
    let up = |tapped: &Tapped| matches!(tapped, Tapped::Up(_));
    assert_eq!(first.iter().filter(|tapped| up(tapped)).count(), 2);
    net.originate(1, "10.1.0.0/16");
    net.run_for(1);
    let path = |tapped: &Tapped| {
        matches!(
            tapped,
            Tapped::AdjRibIn {
                received: Some(_),
                ..
            }
        )
    };
    assert_eq!(tapped(&mut net, 0).iter().filter(|t| path(t)).count(), 1);
}

#[test]
fn an_end_of_rib_comes_behind_the_paths_that_came_before_it() {
    let mut net = Net::new(2);
    net.nodes[0].speaker.set_tap(Some(ALL));
    for n in 0..10 {
        net.originate(1, &format!("10.{n}.0.0/16"));
    }
    net.peer(0, peer_config(1));
    net.peer(1, peer_config(0));
    net.run_for(20);
    let tapped = tapped(&mut net, 0);
    let last_path = tapped
        .iter()
        .rposition(|tapped| matches!(tapped, Tapped::AdjRibIn { .. }));
    let end = tapped
        .iter()
        .position(|tapped| matches!(tapped, Tapped::EndOfRib { .. }));
    assert!(last_path.is_some() && last_path < end, "{tapped:?}");
}

#[test]
fn a_session_that_ends_takes_its_paths_along_without_a_word() {
    let mut net = pair(ALL);
    for n in 0..10 {
        net.originate(1, &format!("10.{n}.0.0/16"));
    }
    net.run_for(1);
    tapped(&mut net, 0);
    let now = net.now;
    net.nodes[1].speaker.remove_peer(now, address(0));
    net.run_for(1);
    let tapped = tapped(&mut net, 0);
    assert!(tapped.iter().any(|t| matches!(t, Tapped::Down { .. })));
    let choices = tapped.iter().filter(|tapped| {
        matches!(
            tapped,
            Tapped::LocRib {
                attributes: None,
                ..
            }
        )
    });
    assert_eq!(choices.count(), 10);
    assert!(!tapped.iter().any(|t| matches!(t, Tapped::AdjRibIn { .. })));
}
