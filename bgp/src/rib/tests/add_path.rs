//! Several paths of a prefix (RFC 7911): random lives of a table, held against what each peer must have then.

use std::collections::BTreeMap;

use super::*;
use crate::wire::Nlri;

/// Who gets what: plain, all, the two best, and at most four.
const PEERS: [(PathsSent, Option<usize>); 5] = [
    (PathsSent::Best, None),
    (PathsSent::All, None),
    (PathsSent::All, None),
    (PathsSent::BestOf(2), None),
    (PathsSent::Best, Some(4)),
];

/// What a peer has been told and not been told to forget: MED, which names the path here.
type Known = BTreeMap<Nlri, u32>;
/// What the peers have sent: MED by number of the prefix, peer and identifier.
type Model = BTreeMap<(u32, u32, u32), u32>;

#[test]
fn whatever_happens_every_peer_ends_with_the_paths_that_it_should_have() {
    for seed in 0..60 {
        let mut rng = Rng::new(seed);
        let mut draw = |n: u64| {
            rng.jitter(std::time::Duration::from_micros(400))
                .as_micros() as u64
                % n
        };
        let mut rib = Rib::new(seed, options(), true);
        let mut known: Vec<Known> = vec![Known::new(); PEERS.len()];
        let mut model = Model::new();
        let mut sends = PEERS.map(|(sends, _)| sends);
        for peer in 0..PEERS.len() {
            session(&mut rib, peer);
        }
        for step in 0..300 {
            let peer = draw(PEERS.len() as u64) as usize;
            let (id, number) = (draw(3) as u32, draw(8) as u32);
            let source = Source::Peer(PeerId(peer as u32), id);
            match draw(11) {
                0..=4 => {
                    path(&mut rib, source, number, step);
                    model.insert((number, peer as u32, id), step);
                }
                5 | 6 => {
                    rib.remove_path(source, &prefix(number));
                    model.remove(&(number, peer as u32, id));
                }
                7 => tell(&mut rib, peer, &mut known[peer], 1 + draw(200) as usize),
                8 => rib.refresh(PeerId(peer as u32), Family::Ipv4Unicast),
                9 if PEERS[peer].0 != PathsSent::Best => {
                    sends[peer] = match draw(4) as usize {
                        0 => PathsSent::All,
                        max => PathsSent::BestOf(max),
                    };
                    rib.change_terms(PeerId(peer as u32), terms_of(peer, sends[peer]));
                }
                _ => {
                    rib.close(PeerId(peer as u32));
                    known[peer].clear();
                    session(&mut rib, peer);
                    sends[peer] = PEERS[peer].0;
                }
            }
        }
        for (peer, known) in known.iter_mut().enumerate() {
            tell(&mut rib, peer, known, ROOM);
            check(&rib, peer, sends[peer], &model, known, seed);
        }
        for peer in 0..PEERS.len() as u32 {
            rib.forget(PeerId(peer));
        }
        while rib.poll_change().is_some() {}
        assert_eq!(rib.table.iter().count(), 0, "seed {seed}");
    }
}

#[test]
fn an_identifier_stays_as_long_as_its_path_lives() {
    let mut rib = Rib::new(1, options(), true);
    session(&mut rib, 1);
    session(&mut rib, 0);
    session(&mut rib, 2);
    let mut known = Known::new();
    let (first, second) = (Source::Peer(PeerId(0), 0), Source::Peer(PeerId(2), 5));
    path(&mut rib, first, 1, 10);
    path(&mut rib, second, 1, 20);
    tell(&mut rib, 1, &mut known, ROOM);
    let id_of = |known: &Known, med| known.iter().find(|(_, m)| **m == med).unwrap().0.path_id;
    let (one, two) = (id_of(&known, 10), id_of(&known, 20));
    assert!(one != two && one != 0 && two != 0);
    // The other becomes the best, and then the only one.
    path(&mut rib, second, 1, 5);
    tell(&mut rib, 1, &mut known, ROOM);
    assert_eq!((id_of(&known, 10), id_of(&known, 5)), (one, two));
    rib.remove_path(first, &prefix(1));
    tell(&mut rib, 1, &mut known, ROOM);
    assert_eq!((known.len(), id_of(&known, 5)), (1, two));
}

#[test]
fn what_is_beyond_a_limit_goes_out_when_there_is_room() {
    let mut rib = Rib::new(1, options(), true);
    session(&mut rib, 0);
    session(&mut rib, 4);
    let source = Source::Peer(PeerId(0), 0);
    for number in 0..7 {
        path(&mut rib, source, number, number);
    }
    let mut known = Known::new();
    tell(&mut rib, 4, &mut known, ROOM);
    assert_eq!(
        (known.len(), rib.sent(PeerId(4), Family::Ipv4Unicast)),
        (4, (4, 3))
    );
    let gone: Vec<IpNet> = known.keys().take(2).map(|nlri| nlri.prefix).collect();
    for prefix in gone {
        rib.remove_path(source, &prefix);
    }
    tell(&mut rib, 4, &mut known, ROOM);
    assert_eq!(
        (known.len(), rib.sent(PeerId(4), Family::Ipv4Unicast)),
        (4, (4, 1))
    );
    rib.change_limits(PeerId(4), PerFamily::default());
    tell(&mut rib, 4, &mut known, ROOM);
    assert_eq!(
        (known.len(), rib.sent(PeerId(4), Family::Ipv4Unicast)),
        (5, (5, 0))
    );
}

fn check(rib: &Rib, peer: usize, sends: PathsSent, model: &Model, known: &Known, seed: u64) {
    let id = PeerId(peer as u32);
    let advertised: Vec<Nlri> = rib.advertised(id);
    assert_eq!(
        advertised,
        known.keys().copied().collect::<Vec<_>>(),
        "seed {seed}, peer {peer}"
    );
    let mut wanted: Vec<(IpNet, u32)> = Vec::new();
    let mut figures = Counts::default();
    for number in 0..8 {
        let paths = model.iter().filter(|((of, ..), _)| *of == number);
        // A lower MED is better here, since all paths are of one neighbour AS: none.
        let mut paths: Vec<(u32, usize)> = paths
            .map(|((_, peer, _), med)| (*med, *peer as usize))
            .collect();
        paths.sort_unstable();
        let own = paths.iter().filter(|(_, from)| *from == peer).count();
        figures.received += own;
        figures.accepted += own;
        figures.best += usize::from(paths.first().is_some_and(|(_, from)| *from == peer));
        let count = match sends {
            PathsSent::Best => 1,
            PathsSent::BestOf(max) => max,
            PathsSent::All => paths.len(),
        };
        let others = paths
            .into_iter()
            .take(count)
            .filter(|(_, from)| *from != peer);
        wanted.extend(others.map(|(med, _)| (prefix(number), med)));
    }
    // As `FamilyView` shows them.
    assert_eq!(
        rib.received(id, Family::Ipv4Unicast),
        figures,
        "seed {seed}, peer {peer}"
    );
    assert_eq!(
        rib.sent(id, Family::Ipv4Unicast),
        (known.len(), wanted.len() - known.len()),
        "seed {seed}, peer {peer}"
    );
    wanted.sort();
    let mut told: Vec<(IpNet, u32)> = known
        .iter()
        .map(|(nlri, med)| (nlri.prefix, *med))
        .collect();
    told.sort();
    match PEERS[peer].1 {
        None => assert_eq!(told, wanted, "seed {seed}, peer {peer}"),
        Some(limit) => {
            assert_eq!(
                told.len(),
                wanted.len().min(limit),
                "seed {seed}, peer {peer}"
            );
            assert!(
                told.iter().all(|one| wanted.contains(one)),
                "seed {seed}, peer {peer}"
            );
        }
    }
}

fn session(rib: &mut Rib, peer: usize) {
    let (paths_sent, limit) = PEERS[peer];
    let facts = PeerFacts {
        address: address(peer as u32).into(),
        router_id: address(peer as u32),
        kind: SessionKind::Client,
        long_lived: false,
    };
    let mut limits = PerFamily::default();
    limits[Family::Ipv4Unicast] = limit;
    let terms = terms_of(peer, paths_sent);
    let own = MemberTerms {
        limits,
        marks_refresh: false,
    };
    rib.open(PeerId(peer as u32), facts, terms, own);
}

/// With ADD-PATH where the peer has agreed on it.
fn terms_of(peer: usize, paths_sent: PathsSent) -> Terms {
    Terms {
        paths_sent,
        codec: codec_for(PEERS[peer].0),
        ..terms(SessionKind::Client)
    }
}

fn codec_for(paths_sent: PathsSent) -> Codec {
    let families = match paths_sent {
        PathsSent::Best => Vec::new(),
        _ => vec![Family::Ipv4Unicast],
    };
    Codec {
        add_path_send: families.clone(),
        add_path_receive: families,
        ..codec()
    }
}

fn path(rib: &mut Rib, source: Source, number: u32, med: u32) {
    let attributes = rib.intern(Attributes {
        next_hop: Some(IpAddr::V4(Ipv4Addr::new(10, 9, 9, 9))),
        med: Some(med),
        ..Attributes::default()
    });
    rib.set_path(source, prefix(number), &attributes, Verdict::Eligible);
}

/// The peer reads, and believes what it reads.
fn tell(rib: &mut Rib, peer: usize, known: &mut Known, octets_max: usize) {
    let mut out = Vec::new();
    let _ = rib.transmit(PeerId(peer as u32), true, &mut out, octets_max);
    let codec = codec_for(PEERS[peer].0);
    let mut rest = &out[..];
    while let Ok(Some(octets)) = codec.frame(rest) {
        let Ok(Message::Update(update)) = codec.decode(&rest[..octets]) else {
            panic!("peer {peer}: no UPDATE");
        };
        rest = &rest[octets..];
        for nlri in &update.withdrawn {
            assert!(known.remove(nlri).is_some(), "{nlri} unknown to {peer}");
        }
        let med = update.attributes.med;
        known.extend(update.announced.iter().map(|nlri| (*nlri, med.unwrap())));
    }
    assert!(rest.is_empty());
}
