//! A collector on loopback, MRT files and a record: what they hold is what the speaker had.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::BufReader;
use std::path::Path;

use caracal_bgp::wire::Codec;
use caracal_monitor::config::{StationConfig, UpdatesConfig};
use caracal_monitor::record::{RecordError, replay};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::*;
use crate::monitor::{Identity, MonitorConfig};
use crate::recorder;

/// By peer (`None`: Loc-RIB).
type Tables = BTreeMap<Option<IpAddr>, BTreeSet<IpNet>>;

/// Takes one connection after the other, and keeps what it is told in the last.
async fn collect(listener: TcpListener, tables: watch::Sender<Tables>) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        tables.send_replace(Tables::new());
        let mut header = [0; 6];
        while stream.read_exact(&mut header).await.is_ok() {
            let length = u32::from_be_bytes(header[1..5].try_into().unwrap()) as usize;
            let mut body = vec![0; length - 6];
            stream.read_exact(&mut body).await.unwrap();
            tables.send_modify(|tables| take(header[5], &body, tables));
        }
    }
}

/// RFC 7854 §4: 0 Route Monitoring, 2 Peer Down, 3 Peer Up.
fn take(kind: u8, body: &[u8], tables: &mut Tables) {
    let of = || match body[0] {
        3 => None,
        _ => Some(IpAddr::V4(Ipv4Addr::new(
            body[22], body[23], body[24], body[25],
        ))),
    };
    match kind {
        0 => {
            let codec = Codec {
                four_octet_as: true,
                families: Family::ALL.to_vec(),
                ..Codec::initial()
            };
            let Ok(Message::Update(update)) = codec.decode(&body[42..]) else {
                panic!("no UPDATE: {body:?}");
            };
            let table = tables.get_mut(&of()).expect("a Peer Up before");
            // A local path has the next hop 0.0.0.0, which our decoder would not take from a peer.
            let is_local = !update.errors.is_empty();
            for nlri in update.withdrawn {
                if is_local {
                    table.insert(nlri.prefix);
                } else {
                    table.remove(&nlri.prefix);
                }
            }
            table.extend(update.announced.iter().map(|nlri| nlri.prefix));
        }
        2 => {
            tables.remove(&of()).expect("a Peer Up before");
        }
        3 => {
            tables.insert(of(), BTreeSet::new());
        }
        _ => {}
    }
}

fn truth(speaker: &mut Speaker) -> Tables {
    let sessions = speaker.sessions();
    let peers = sessions.iter().map(|session| Some(session.remote.ip()));
    let mut tables: Tables = peers.map(|peer| (peer, BTreeSet::new())).collect();
    tables.insert(None, BTreeSet::new());
    for route in speaker.routes() {
        for path in &route.paths {
            if path.best {
                tables.entry(None).or_default().insert(route.prefix);
            }
            if let Some(table) = tables.get_mut(&path.peer).filter(|_| path.peer.is_some()) {
                table.insert(route.prefix);
            }
        }
    }
    tables
}

async fn until_collected(shell: &Shell, tables: &mut watch::Receiver<Tables>) {
    let waited = timeout(DEADLINE, async {
        loop {
            tables.mark_unchanged();
            let truth = shell.with(|speaker, _| truth(speaker)).await.unwrap();
            if truth == *tables.borrow() {
                return;
            }
            tables.changed().await.unwrap();
        }
    });
    if waited.await.is_err() {
        let truth = shell.with(|speaker, _| truth(speaker)).await.unwrap();
        let sizes = |tables: &Tables| tables.values().map(BTreeSet::len).collect::<Vec<_>>();
        panic!("told {:?}, is {:?}", sizes(&tables.borrow()), sizes(&truth));
    }
}

fn identity() -> Identity {
    Identity {
        name: "test".to_owned(),
        description: "caracal".to_owned(),
        asn: ASN,
        router_id: Ipv4Addr::new(10, 0, 0, 171),
    }
}

fn prefixes(of: u8, count: u16) -> Vec<IpNet> {
    let prefix = |n: u16| format!("10.{of}.{n}.0/24").parse().unwrap();
    (0..count).map(prefix).collect()
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[tokio::test]
async fn a_collector_files_and_a_record_have_what_the_speaker_had() {
    let directory = tempfile::tempdir().unwrap();
    let record = directory.path().join("record.jsonl");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = MonitorConfig::default();
    let mut station = StationConfig::new(listener.local_addr().unwrap());
    station.post_policy = false;
    config.bmp.push(station);
    let mrt = directory.path().join("mrt");
    config.mrt.updates = Some(UpdatesConfig {
        directory: mrt.clone(),
        rotate_seconds: 900,
        rotate_octets: 1 << 20,
        sent: false,
    });
    let (tables_out, mut tables) = watch::channel(Tables::new());
    let collector = tokio::spawn(collect(listener, tables_out));

    let mut watched = speaker(171);
    let recording = recorder::begin(&mut watched, Time::ZERO, &record).unwrap();
    let listen = SocketAddr::new(loopback(171), 0);
    let watched = Shell::start(watched, &[listen]).unwrap();
    watched.record(recording).await.unwrap();
    let monitoring = watched.monitor(config, identity()).await.unwrap();
    let (one, other) = (shell(172), shell(173));
    join((&watched, 171), (&one, 172)).await;
    join((&watched, 171), (&other, 173)).await;
    originate(&one, prefixes(172, 200)).await;
    originate(&other, prefixes(173, 200)).await;
    originate(&other, prefixes(172, 10)).await;
    originate(&watched, prefixes(171, 10)).await;
    until(&watched, "everything", |speaker, _| {
        speaker.routes_count() == 410
    })
    .await;
    until_collected(&watched, &mut tables).await;
    // A session ends, and another comes.
    other.stop(false).await;
    until(&watched, "less", |speaker, _| speaker.routes_count() == 210).await;
    until_collected(&watched, &mut tables).await;
    let view = monitoring.view();
    assert!(
        view.stations[0].up && view.stations[0].connects == 1,
        "{view:?}"
    );
    assert!(view.mrt_octets > 1000 && view.mrt_errors == 0, "{view:?}");
    assert_eq!(view.overruns, 0);

    one.stop(false).await;
    watched.stop(false).await;
    monitoring.ended().await;
    collector.abort();
    let files = names(&mrt);
    assert!(
        files.len() == 1 && files[0].starts_with("updates.") && files[0].ends_with(".mrt"),
        "{files:?}"
    );
    let replayed = replay(BufReader::new(fs::File::open(&record).unwrap())).unwrap();
    assert!(replayed.records > 30, "{}", replayed.records);

    let text = fs::read_to_string(&record).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    assert!(text.contains("\"shutDown\""), "{:?}", lines.last());
    lines[6] = "{\"at\": 5, \"do\": \"nonsense\"}";
    let error = replay(lines.join("\n").as_bytes()).unwrap_err();
    assert!(
        matches!(error, RecordError::Line { line: 7, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_collector_that_comes_back_is_told_everything_anew() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut config = MonitorConfig::default();
    let mut station = StationConfig::new(address);
    station.post_policy = false;
    config.bmp.push(station);
    let watched = shell(174);
    originate(&watched, prefixes(174, 20)).await;
    let monitoring = watched.monitor(config, identity()).await.unwrap();
    let (first, _) = timeout(DEADLINE, listener.accept()).await.unwrap().unwrap();
    drop(first);
    let (tables_out, mut tables) = watch::channel(Tables::new());
    let collector = tokio::spawn(collect(listener, tables_out));
    until_collected(&watched, &mut tables).await;
    assert_eq!(monitoring.view().stations[0].connects, 2);
    watched.stop(false).await;
    monitoring.ended().await;
    collector.abort();
}
