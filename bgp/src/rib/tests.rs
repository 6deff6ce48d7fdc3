//! Export as a log: encoded once, skipped where superseded, never back to its source, bounded.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::config::{NextHopMode, PathsSent, Policy, SpeakerConfig};
use crate::policy::{Decision, Match, Rule};
use crate::rng::Rng;
use crate::wire::{Codec, Message, Origin};

mod add_path;

const ROOM: usize = 1 << 20;

#[test]
fn a_change_is_encoded_once_for_all_peers_with_equal_terms() {
    let mut rib = clients(50);
    for number in 0..100 {
        announce(&mut rib, 0, number, 1);
    }
    let before = rib.adj_outs.effort().0;
    let first = read(&mut rib, 1);
    assert_eq!(
        first.len(),
        1,
        "one UPDATE for all prefixes of equal attributes"
    );
    for peer in 2..50 {
        assert_eq!(read(&mut rib, peer), first);
    }
    assert_eq!(rib.adj_outs.effort().0 - before, 1);
    assert_eq!(rib.sent(PeerId(1), Family::Ipv4Unicast).0, 100);
    assert_eq!(rib.adj_outs.effort().1, 100, "peer 0 has not looked yet");
    assert_eq!(read(&mut rib, 0), []);
    assert_eq!(
        rib.adj_outs.effort(),
        (before + 1, 0, 0),
        "all have read it, so it is gone"
    );
}

#[test]
fn a_path_never_goes_back_to_its_source_and_is_withdrawn_there_when_the_source_changes() {
    let mut rib = clients(3);
    announce(&mut rib, 0, 7, 1);
    assert_eq!(announced(&read(&mut rib, 1)), [prefix(7)]);
    assert_eq!(read(&mut rib, 0), []);
    // Peer 1 now has the better path: it must lose what it has from peer 0, and peer 0 gets it.
    announce(&mut rib, 1, 7, 0);
    let to_source = read(&mut rib, 1);
    assert_eq!(
        (announced(&to_source), withdrawn(&to_source)),
        (vec![], vec![prefix(7)])
    );
    assert_eq!(announced(&read(&mut rib, 0)), [prefix(7)]);
    assert_eq!(
        (
            rib.sent(PeerId(0), Family::Ipv4Unicast).0,
            rib.sent(PeerId(1), Family::Ipv4Unicast).0
        ),
        (1, 0)
    );
}

#[test]
fn a_slow_peer_is_not_told_what_has_been_superseded() {
    let mut rib = clients(3);
    let mut told = 0;
    for round in 0..1000 {
        announce(&mut rib, 0, round % 10, 1 + round);
        told += announced(&read(&mut rib, 1)).len();
    }
    assert_eq!(told, 1000);
    let slow = read(&mut rib, 2);
    assert_eq!(announced(&slow).len(), 10);
    let newest: BTreeSet<u32> = slow
        .iter()
        .filter_map(|update| update.attributes.med)
        .collect();
    assert_eq!(newest, (991..=1000).collect());
}

#[test]
fn what_came_and_went_before_anybody_looked_is_not_sent() {
    let mut rib = clients(2);
    announce(&mut rib, 0, 1, 1);
    withdraw(&mut rib, 0, 1);
    assert_eq!(read(&mut rib, 1), []);
    announce(&mut rib, 0, 1, 1);
    withdraw(&mut rib, 0, 1);
    announce(&mut rib, 0, 1, 1);
    let updates = read(&mut rib, 1);
    assert_eq!(
        (announced(&updates), withdrawn(&updates)),
        (vec![prefix(1)], vec![])
    );
}

#[test]
fn the_log_is_bounded_by_the_table_however_slow_a_peer_is() {
    let mut rib = clients(3);
    let mut rng = Rng::new(3);
    for round in 0..4_000 {
        // Batches, so that records have many prefixes and die in parts.
        let med = rng
            .jitter(std::time::Duration::from_micros(400))
            .as_micros() as u32;
        for number in 0..20 {
            announce(&mut rib, 0, (round * 7 + number * 13) % 200, med % 5);
        }
        let _ = read(&mut rib, 1);
    }
    let (_, ids, octets) = rib.adj_outs.effort();
    assert!(
        ids <= 2 * 200 + 1024 && octets <= 64 * ids,
        "{ids} prefixes, {octets} octets"
    );
    let mut rest = announced(&read(&mut rib, 2));
    rest.sort();
    assert_eq!(rest, (0..200).map(prefix).collect::<Vec<_>>());
}

#[test]
fn many_prefixes_that_come_and_go_under_a_slow_peer_leave_nothing_behind() {
    let mut rib = clients(3);
    for number in 0..20_000 {
        announce(&mut rib, 0, number, 1);
        let _ = read(&mut rib, 1);
        withdraw(&mut rib, 0, number);
        let _ = read(&mut rib, 1);
        while rib.poll_change().is_some() {}
    }
    assert!(
        rib.table.iter().count() == 0,
        "{} prefixes kept",
        rib.table.iter().count()
    );
    let (_, ids, octets) = rib.adj_outs.effort();
    assert!(
        ids <= 2048 && octets <= 64 * 2048,
        "{ids} prefixes, {octets} octets"
    );
    assert_eq!(read(&mut rib, 2), []);
}

#[test]
fn a_new_peer_is_told_the_table_in_full_updates_and_news_first() {
    let mut rib = clients(2);
    // Two sets of attributes, interleaved.
    for number in 0..1000 {
        announce(&mut rib, 0, number, number % 2);
    }
    join(&mut rib, 5, SessionKind::Client);
    announce(&mut rib, 0, 5000, 9);
    let updates = read(&mut rib, 5);
    assert_eq!(announced(&updates[..1]), [prefix(5000)], "news first");
    assert_eq!(announced(&updates).len(), 1001);
    assert!(
        updates.len() <= 6,
        "{} updates for two sets of attributes",
        updates.len()
    );
    assert_eq!(rib.sent(PeerId(5), Family::Ipv4Unicast).0, 1001);
}

#[test]
fn a_walk_is_paced_and_what_changes_meanwhile_is_told_once() {
    let mut rib = clients(2);
    for number in 0..5000 {
        announce(&mut rib, 0, number, number % 50);
    }
    join(&mut rib, 5, SessionKind::Client);
    let mut pieces = Vec::new();
    let mut changed = false;
    loop {
        let mut out = Vec::new();
        let sent = rib.transmit(PeerId(5), true, &mut out, 4096);
        assert!(out.len() < 3 * 4096, "{} octets at once", out.len());
        pieces.extend(updates(&out));
        if pieces.len() >= 10 && !std::mem::replace(&mut changed, true) {
            // Told already, and not yet told: both go out as news, and the walk does not repeat them.
            withdraw(&mut rib, 0, 0);
            announce(&mut rib, 0, 4999, 77);
        }
        if !sent.more {
            break;
        }
    }
    let all = announced(&pieces);
    assert_eq!(
        all.iter().collect::<BTreeSet<_>>().len(),
        all.len(),
        "nothing twice"
    );
    assert_eq!((all.len(), withdrawn(&pieces)), (5000, vec![prefix(0)]));
    assert_eq!(rib.sent(PeerId(5), Family::Ipv4Unicast).0, 4999);
    let newest = pieces
        .iter()
        .filter(|update| update.announced.contains(&prefix(4999).into()));
    assert_eq!(
        newest
            .map(|update| update.attributes.med)
            .collect::<Vec<_>>(),
        [Some(77)]
    );
}

#[test]
fn a_change_of_terms_withdraws_what_is_no_longer_meant_for_the_peer() {
    let mut rib = clients(3);
    for number in 0..100 {
        announce(&mut rib, 0, number, 1);
    }
    assert_eq!(announced(&read(&mut rib, 1)).len(), 100);
    let half = Rule::accept(Match {
        prefixes: vec!["10.0.0.0/20 inside".parse().unwrap()],
        ..Match::default()
    });
    let policy = Policy {
        rules: vec![half],
        default: Decision::Reject,
    };
    let policy = policy.in_no_session();
    rib.change_terms(
        PeerId(1),
        Terms {
            role: None,
            policy,
            ..terms(SessionKind::Client)
        },
    );
    let updates = read(&mut rib, 1);
    assert_eq!(
        (announced(&updates).len(), withdrawn(&updates).len()),
        (64, 36)
    );
    rib.change_terms(PeerId(1), terms(SessionKind::Client));
    assert_eq!(announced(&read(&mut rib, 1)).len(), 100);
    assert_eq!(
        announced(&read(&mut rib, 2)).len(),
        100,
        "the others' log is not disturbed"
    );
}

#[test]
fn route_refresh_tells_the_family_again_and_nothing_else() {
    let mut rib = clients(2);
    announce(&mut rib, 0, 1, 1);
    announce(&mut rib, 0, 2, 2);
    assert_eq!(announced(&read(&mut rib, 1)).len(), 2);
    rib.refresh(PeerId(1), Family::Ipv6Unicast);
    assert_eq!(read(&mut rib, 1), []);
    rib.refresh(PeerId(1), Family::Ipv4Unicast);
    assert_eq!(announced(&read(&mut rib, 1)).len(), 2);
    assert_eq!(read(&mut rib, 1), []);
}

#[test]
fn attributes_that_fit_into_no_message_are_not_sent_and_what_they_replace_is_withdrawn() {
    let mut rib = clients(2);
    announce(&mut rib, 0, 1, 1);
    assert_eq!(announced(&read(&mut rib, 1)), [prefix(1)]);
    let large = rib.intern(Attributes {
        next_hop: Some(IpAddr::V4(address(0))),
        communities: (0..1100).collect(),
        ..Attributes::default()
    });
    for number in [1, 2] {
        rib.set_path(
            Source::Peer(PeerId(0), 0),
            prefix(number),
            &large,
            Verdict::Eligible,
        );
    }
    let updates = read(&mut rib, 1);
    assert_eq!(
        (announced(&updates), withdrawn(&updates)),
        (vec![], vec![prefix(1)])
    );
    assert_eq!(rib.sent(PeerId(1), Family::Ipv4Unicast).0, 0);
    join(&mut rib, 5, SessionKind::Client);
    assert_eq!(read(&mut rib, 5), []);
    assert_eq!(rib.sent(PeerId(5), Family::Ipv4Unicast).0, 0);
}

#[test]
fn a_path_is_shown_with_its_communities_and_then_its_large_ones() {
    let mut rib = clients(1);
    let attributes = rib.intern(Attributes {
        next_hop: Some(IpAddr::V4(address(0))),
        communities: vec![64999 << 16 | 7],
        large_communities: vec![(64999, 1, 2), (u32::MAX, 0, 3)],
        ..Attributes::default()
    });
    let from = Source::Peer(PeerId(0), 0);
    rib.set_path(from, prefix(1), &attributes, Verdict::Eligible);
    let shown = rib.route(&prefix(1)).map(|route| route.paths).unwrap();
    assert_eq!(
        shown[0].communities,
        ["64999:7", "64999:1:2", "4294967295:0:3"]
    );
}

#[test]
fn end_of_rib_comes_after_everything_and_is_held_back_when_asked() {
    let mut rib = clients(1);
    for number in 0..10 {
        announce(&mut rib, 0, number, number);
    }
    join(&mut rib, 5, SessionKind::Client);
    let mut out = Vec::new();
    assert!(!rib.transmit(PeerId(5), false, &mut out, ROOM).more);
    assert!(
        updates(&out)
            .iter()
            .all(|update| update.end_of_rib.is_none())
    );
    rib.release_end_of_rib();
    assert_eq!(
        std::iter::from_fn(|| rib.poll_woken()).last(),
        Some(PeerId(5))
    );
    out.clear();
    assert!(!rib.transmit(PeerId(5), true, &mut out, ROOM).more);
    let ends: Vec<Option<Family>> = updates(&out)
        .iter()
        .map(|update| update.end_of_rib)
        .collect();
    assert_eq!(ends, [Some(Family::Ipv4Unicast)]);
}

#[test]
fn everybody_has_what_he_should_after_any_walk_of_changes() {
    for seed in 0..200 {
        let mut rng = Rng::new(seed);
        let mut draw = |bound: u64| {
            let micros = rng
                .jitter(std::time::Duration::from_micros(1 << 20))
                .as_micros() as u64;
            micros % bound
        };
        let mut rib = clients(4);
        let mut known = vec![BTreeSet::new(); 4];
        for _ in 0..300 {
            let (peer, number) = (draw(4) as u32, draw(12) as u32);
            match draw(8) {
                0..3 => announce(&mut rib, peer, number, draw(3) as u32),
                3..5 => withdraw(&mut rib, peer, number),
                5 => {
                    rib.close(PeerId(peer));
                    if draw(2) == 0 {
                        rib.drop_paths(PeerId(peer));
                    }
                    join(&mut rib, peer, SessionKind::Client);
                    known[peer as usize].clear();
                }
                6 => while rib.poll_change().is_some() {},
                _ => learn(
                    &mut rib,
                    peer,
                    &mut known[peer as usize],
                    draw(300) as usize,
                ),
            }
        }
        for peer in 0..4 {
            learn(&mut rib, peer, &mut known[peer as usize], ROOM);
            let source = Source::Peer(PeerId(peer), 0);
            let entries = rib.table.iter().filter(|(_, entry)| entry.best().is_some());
            let wanted: BTreeSet<IpNet> = entries
                .filter(|(_, entry)| entry.best().is_some_and(|best| best.source != source))
                .map(|(_, entry)| entry.prefix)
                .collect();
            assert_eq!(known[peer as usize], wanted, "seed {seed}, peer {peer}");
            let shown: BTreeSet<IpNet> = rib
                .advertised(PeerId(peer))
                .iter()
                .map(|nlri| nlri.prefix)
                .collect();
            assert_eq!(shown, wanted, "seed {seed}, peer {peer}");
        }
        assert_eq!(
            rib.adj_outs.effort().1,
            0,
            "seed {seed}: everybody has read everything"
        );
        for peer in 0..4 {
            rib.forget(PeerId(peer));
        }
        while rib.poll_change().is_some() {}
        assert_eq!(rib.table.iter().count(), 0, "seed {seed}");
    }
}

#[test]
fn peers_that_come_at_once_are_told_everything_by_one_plan() {
    let mut rib = clients(1);
    let before = rib.adj_outs.plans();
    for peer in 1..100 {
        join(&mut rib, peer, SessionKind::Client);
        announce(&mut rib, peer, peer, 1);
    }
    for peer in 0..100 {
        let told = announced(&read(&mut rib, peer));
        let others = (1..100).filter(|&other| other != peer);
        assert_eq!(BTreeSet::from_iter(told), others.map(prefix).collect());
    }
    assert_eq!(rib.adj_outs.plans() - before, 1);
    announce(&mut rib, 0, 100, 1);
    join(&mut rib, 100, SessionKind::Client);
    assert_eq!(announced(&read(&mut rib, 100)).len(), 100);
    assert_eq!(rib.adj_outs.plans() - before, 2, "there was a change");
}

#[test]
fn what_an_open_record_takes_while_a_peer_joins_is_not_hidden_from_it() {
    let mut rib = clients(2);
    announce(&mut rib, 0, 1, 1);
    announce(&mut rib, 0, 2, 1);
    assert_eq!(announced(&read(&mut rib, 1)).len(), 2);
    // A record of withdrawals is open when the new one comes.
    withdraw(&mut rib, 0, 1);
    join(&mut rib, 2, SessionKind::Client);
    announce(&mut rib, 0, 3, 1);
    let mut out = Vec::new();
    let _ = rib.transmit(PeerId(2), true, &mut out, 1);
    assert_eq!(announced(&updates(&out)), [prefix(3)], "the log goes first");
    withdraw(&mut rib, 0, 3);
    let rest = read(&mut rib, 2);
    assert_eq!(withdrawn(&rest), [prefix(3)]);
    assert_eq!(announced(&rest), [prefix(2)]);
    assert_eq!(rib.sent(PeerId(2), Family::Ipv4Unicast).0, 1);
}

#[test]
fn attributes_that_are_said_anew_take_the_place_of_the_old_ones() {
    let mut rib = clients(2);
    for round in 0..10 {
        for number in 0..1000 {
            announce(&mut rib, 0, number, 1000 * round + number);
            assert_eq!(announced(&read(&mut rib, 1)), [prefix(number)]);
            assert_eq!(read(&mut rib, 0), []);
        }
        let kept = rib.interner.len();
        assert!(kept <= 2 * 1000 + 4, "{kept}: received and sent ones");
    }
    rib.drop_paths(PeerId(0));
    read(&mut rib, 1);
    read(&mut rib, 0);
    let kept = rib.interner.len();
    assert!(kept <= 4, "{kept}: what the group remembers");
}

#[test]
fn where_nobody_asks_for_changes_what_is_gone_leaves_nothing() {
    let mut rib = Rib::new(1, options(), false);
    for peer in 0..2 {
        join(&mut rib, peer, SessionKind::Client);
    }
    for number in 0..1000 {
        announce(&mut rib, 0, number, 1);
        assert_eq!(rib.table.find(&prefix(number)), Some(PrefixId(0)));
        assert_eq!(announced(&read(&mut rib, 1)), [prefix(number)]);
        withdraw(&mut rib, 0, number);
        assert_eq!(withdrawn(&read(&mut rib, 1)), [prefix(number)]);
    }
    assert!(!rib.has_changes());
    assert_eq!(rib.table.iter().count(), 0);
}

fn learn(rib: &mut Rib, peer: u32, known: &mut BTreeSet<IpNet>, octets_max: usize) {
    let mut out = Vec::new();
    let _ = rib.transmit(PeerId(peer), true, &mut out, octets_max);
    for update in updates(&out) {
        update
            .withdrawn
            .iter()
            .for_each(|nlri| assert!(known.remove(&nlri.prefix), "{nlri} unknown"));
        known.extend(update.announced.iter().map(|nlri| nlri.prefix));
    }
}

/// Clients of a reflector, all with End-of-RIB behind them.
fn clients(count: u32) -> Rib {
    let mut rib = Rib::new(1, options(), true);
    for peer in 0..count {
        join(&mut rib, peer, SessionKind::Client);
        assert_eq!(read(&mut rib, peer).len(), 0);
    }
    rib
}

fn join(rib: &mut Rib, peer: u32, kind: SessionKind) {
    let facts = PeerFacts {
        long_lived: false,
        address: address(peer).into(),
        router_id: address(peer),
        kind,
    };
    rib.open(PeerId(peer), facts, terms(kind), MemberTerms::default());
}

fn terms(kind: SessionKind) -> Terms {
    Terms {
        behind_local_asn: None,
        role: None,
        long_lived_stale: crate::disseminate::LongLivedStale::Sent,
        kind,
        local_asn: 64512,
        cluster_id: Ipv4Addr::new(10, 0, 0, 254),
        client_to_client: true,
        change_reflected: false,
        next_hop: NextHopMode::Auto,
        self_v4: Some(Ipv4Addr::new(10, 0, 0, 254)),
        self_v6: None,
        self_link_local: None,
        policy: Policy::accept_all().in_no_session(),
        graceful_shutdown: false,
        paths_sent: PathsSent::Best,
        codec: codec(),
    }
}

fn codec() -> Codec {
    Codec {
        four_octet_as: true,
        families: vec![Family::Ipv4Unicast],
        ..Codec::initial()
    }
}

fn address(peer: u32) -> Ipv4Addr {
    Ipv4Addr::from(0xac10_0001 + peer)
}

fn prefix(number: u32) -> IpNet {
    let net = Ipv4Addr::from(0x0a00_0000 + number * 64);
    ipnet::Ipv4Net::new(net, 26).unwrap().into()
}

fn announce(rib: &mut Rib, peer: u32, number: u32, med: u32) {
    let attributes = rib.intern(Attributes {
        origin: Origin::Igp,
        next_hop: Some(IpAddr::V4(address(peer))),
        med: Some(med),
        ..Attributes::default()
    });
    rib.set_path(
        Source::Peer(PeerId(peer), 0),
        prefix(number),
        &attributes,
        Verdict::Eligible,
    );
}

fn withdraw(rib: &mut Rib, peer: u32, number: u32) {
    rib.remove_path(Source::Peer(PeerId(peer), 0), &prefix(number));
}

/// All UPDATEs but End-of-RIB that the peer would get now.
fn read(rib: &mut Rib, peer: u32) -> Vec<crate::wire::Update> {
    let mut out = Vec::new();
    assert!(!rib.transmit(PeerId(peer), true, &mut out, ROOM).more);
    updates(&out)
        .into_iter()
        .filter(|update| update.end_of_rib.is_none())
        .collect()
}

fn updates(mut bytes: &[u8]) -> Vec<crate::wire::Update> {
    let mut updates = Vec::new();
    while let Some(octets) = codec().frame(bytes).unwrap() {
        match codec().decode(&bytes[..octets]).unwrap() {
            Message::Update(update) => updates.push(update),
            other => panic!("{other:?}"),
        }
        bytes = &bytes[octets..];
    }
    updates
}

fn announced(updates: &[crate::wire::Update]) -> Vec<IpNet> {
    updates
        .iter()
        .flat_map(|update| update.announced.iter().map(|nlri| nlri.prefix))
        .collect()
}

fn withdrawn(updates: &[crate::wire::Update]) -> Vec<IpNet> {
    updates
        .iter()
        .flat_map(|update| update.withdrawn.iter().map(|nlri| nlri.prefix))
        .collect()
}

fn options() -> decision::Options {
    decision::Options::from(&SpeakerConfig {
        multipath_max: 4,
        ..SpeakerConfig::new(64512, Ipv4Addr::LOCALHOST)
    })
}
