//! A monitored speaker, its peers, and a station that keeps what it is told, all in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use caracal_bgp::policy::{Match, Rule};
use caracal_bgp::tap::Tapped;
use caracal_bgp::wire::Family;
use caracal_bgp::{Action, ConnectionId, LocalPath, PeerConfig, Speaker, SpeakerConfig, Time};
use ipnet::IpNet;

use crate::{Identity, Monitor, MonitorConfig, MrtOutput, Request, StationId, WallClock};

/// Speakers; the first is monitored and peers with all others.
pub(crate) struct Net {
    pub(crate) now: Time,
    pub(crate) speakers: Vec<Speaker>,
    links: Vec<[(usize, ConnectionId); 2]>,
    pub(crate) monitor: Monitor,
    /// What the station of the configuration was sent in this connection, unless it does not read.
    pub(crate) stations: Vec<Vec<u8>>,
    pub(crate) reads: bool,
    pub(crate) closed: Vec<StationId>,
    pub(crate) mrt: Vec<MrtOutput>,
}

pub(crate) const EPOCH: u64 = 1_763_769_600;

pub(crate) fn address(node: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, node as u8 + 1))
}

pub(crate) fn asn(node: usize) -> u32 {
    4_200_000_000 + node as u32
}

fn peer_config(node: usize, of: usize) -> PeerConfig {
    let mut config = PeerConfig::new(address(of), asn(of), asn(node));
    config.families = Family::ALL.to_vec();
    config.graceful_restart = None;
    config.next_hop_self_v6 = Some(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, node as u16 + 1));
    if node == 0 {
        let inside = Match {
            prefixes: vec!["192.168.0.0/16 le 32".parse().unwrap()],
            ..Match::default()
        };
        config.import.rules.push(Rule::reject(inside));
    }
    config
}

impl Net {
    pub(crate) fn new(count: usize, config: MonitorConfig) -> Net {
        let now = Time::from_micros(1);
        let mut speakers = Vec::new();
        for node in 0..count {
            let IpAddr::V4(router_id) = address(node) else {
                unreachable!()
            };
            speakers.push(Speaker::new(SpeakerConfig::new(asn(node), router_id), now));
        }
        let identity = Identity {
            name: "node0".to_owned(),
            description: "caracal test".to_owned(),
            asn: asn(0),
            router_id: Ipv4Addr::new(10, 0, 0, 1),
        };
        let stations = vec![Vec::new(); config.bmp.len()];
        let monitor = Monitor::new(now, config, identity, WallClock::new(EPOCH * 1_000_000));
        speakers[0].set_tap(monitor.tap());
        let mut net = Net {
            now,
            speakers,
            links: Vec::new(),
            monitor,
            stations,
            reads: true,
            closed: Vec::new(),
            mrt: Vec::new(),
        };
        for node in 1..count {
            net.connect_peers(node);
        }
        net
    }

    pub(crate) fn connect_peers(&mut self, node: usize) {
        self.speakers[0].set_peer(self.now, peer_config(0, node));
        self.speakers[node].set_peer(self.now, peer_config(node, 0));
    }

    pub(crate) fn originate(&mut self, node: usize, prefix: &str) {
        let prefix: IpNet = prefix.parse().unwrap();
        let path = LocalPath {
            med: Some(node as u32),
            ..LocalPath::default()
        };
        self.speakers[node].originate(self.now, prefix, path);
    }

    pub(crate) fn withdraw(&mut self, node: usize, prefix: &str) {
        self.speakers[node].withdraw(self.now, prefix.parse().unwrap());
    }

    /// TCP between the monitored one and this peer breaks.
    pub(crate) fn break_link(&mut self, node: usize) {
        let links = std::mem::take(&mut self.links);
        let (broken, kept) = links
            .into_iter()
            .partition(|link| link.iter().any(|(end, _)| *end == node));
        self.links = kept;
        let broken: Vec<[(usize, ConnectionId); 2]> = broken;
        for (end, connection) in broken.into_iter().flatten() {
            self.speakers[end].handle_closed(self.now, connection, "reset");
        }
    }

    pub(crate) fn run_for(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        loop {
            self.settle();
            let speakers = self.speakers.iter().filter_map(Speaker::poll_timeout);
            let next = speakers.chain(self.monitor.poll_timeout()).min();
            let Some(next) = next.filter(|next| *next <= end) else {
                break;
            };
            self.now = self.now.max(next);
            for speaker in &mut self.speakers {
                speaker.handle_timeout(self.now);
            }
            self.monitor.handle_timeout(self.now);
        }
        self.now = end;
    }

    pub(crate) fn settle(&mut self) {
        loop {
            let mut busy = false;
            for node in 0..self.speakers.len() {
                busy |= self.drain(node);
            }
            busy |= self.drain_monitor();
            if !busy {
                return;
            }
        }
    }

    fn drain_monitor(&mut self) -> bool {
        let tapped: Vec<Tapped> = std::iter::from_fn(|| self.speakers[0].poll_tap()).collect();
        let mut busy = !tapped.is_empty();
        self.monitor.handle_tapped(self.now, &tapped);
        while let Some(request) = self.monitor.poll_request() {
            busy = true;
            match request {
                Request::Connect { station, .. } => {
                    self.stations[station.0].clear();
                    self.monitor.handle_connected(self.now, station);
                }
                Request::Close { station } => self.closed.push(station),
                Request::Rows {
                    dump,
                    from,
                    rows_max,
                } => self.speakers[0].tap_rows(dump, from, rows_max.min(3)),
                Request::Statistics => {
                    let peers = self.speakers[0].peers(self.now);
                    let routes = self.speakers[0].routes().len();
                    self.monitor.handle_statistics(self.now, &peers, routes);
                }
            }
        }
        if self.reads {
            for (index, station) in self.stations.iter_mut().enumerate() {
                while let Some(octets) = self.monitor.poll_transmit(StationId(index)) {
                    station.extend_from_slice(&octets);
                    busy = true;
                }
            }
        }
        while let Some(output) = self.monitor.poll_mrt() {
            self.mrt.push(output);
            busy = true;
        }
        busy
    }

    fn drain(&mut self, node: usize) -> bool {
        let mut busy = false;
        while let Some(action) = self.speakers[node].poll_action() {
            busy = true;
            match action {
                Action::Connect {
                    connection, remote, ..
                } => self.connect(node, connection, remote),
                Action::Close { connection } => {
                    self.flush(node, connection);
                    if let Some((to, other)) = self.other(node, connection) {
                        self.links
                            .retain(|link| !link.contains(&(node, connection)));
                        self.speakers[to].handle_closed(self.now, other, "closed");
                    }
                }
            }
        }
        while let Some(connection) = self.speakers[node].poll_ready() {
            busy = true;
            self.flush(node, connection);
        }
        while self.speakers[node].poll_event().is_some() {}
        while self.speakers[node].poll_route_change().is_some() {}
        busy
    }

    fn connect(&mut self, node: usize, connection: ConnectionId, remote: SocketAddr) {
        let to = (0..self.speakers.len()).find(|&to| address(to) == remote.ip());
        let (now, local) = (self.now, SocketAddr::new(address(node), 40000));
        let taken = to.map(|to| (to, self.speakers[to].handle_incoming(now, remote, local)));
        match taken {
            Some((to, Ok(incoming))) => {
                self.links.push([(node, connection), (to, incoming)]);
                self.speakers[node].handle_connected(now, connection, local);
            }
            _ => self.speakers[node].handle_connect_failed(now, connection, "refused"),
        }
    }

    fn flush(&mut self, node: usize, connection: ConnectionId) {
        loop {
            let mut out = Vec::new();
            let speaker = &mut self.speakers[node];
            let more = speaker.poll_transmit(self.now, connection, &mut out, 65536);
            if let Some((to, other)) = self.other(node, connection) {
                self.speakers[to].handle_bytes(self.now, other, &out);
            }
            if !more {
                return;
            }
        }
    }

    fn other(&self, node: usize, connection: ConnectionId) -> Option<(usize, ConnectionId)> {
        self.links.iter().find_map(|[a, b]| {
            if *a == (node, connection) {
                Some(*b)
            } else {
                (*b == (node, connection)).then_some(*a)
            }
        })
    }

    /// What the station should know: table by table, as the speaker has it.
    pub(crate) fn truth(&mut self) -> Tables {
        let mut tables = Tables::default();
        let peers: Vec<IpAddr> = {
            let peers = self.speakers[0].sessions();
            peers.iter().map(|session| session.remote.ip()).collect()
        };
        for peer in peers {
            tables.0.insert((Some(peer), false), BTreeMap::new());
            tables.0.insert((Some(peer), true), BTreeMap::new());
        }
        tables.0.insert((None, true), BTreeMap::new());
        for route in self.speakers[0].routes() {
            for path in route.paths {
                let what = (path.next_hop, path.as_path.clone(), path.med);
                if let Some(peer) = path.peer {
                    let rejected = path
                        .lost_because
                        .as_ref()
                        .is_some_and(|reason| reason.contains("policy") || reason.contains("loop"));
                    tables.insert((Some(peer), false), route.prefix, what.clone());
                    if !rejected {
                        tables.insert((Some(peer), true), route.prefix, what.clone());
                    }
                }
                if path.best {
                    let unspecified: IpAddr = match route.prefix {
                        IpNet::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                        IpNet::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
                    };
                    let what = (what.0.or(Some(unspecified)), what.1, what.2);
                    tables.insert((None, true), route.prefix, what);
                }
            }
        }
        tables
    }
}

/// Next hop, AS_PATH as text, MULTI_EXIT_DISC.
pub(crate) type What = (Option<IpAddr>, String, Option<u32>);

/// By peer (`None`: Loc-RIB) and whether after policy.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tables(pub(crate) BTreeMap<(Option<IpAddr>, bool), BTreeMap<IpNet, What>>);

impl Tables {
    pub(crate) fn insert(&mut self, table: (Option<IpAddr>, bool), prefix: IpNet, what: What) {
        self.0.entry(table).or_default().insert(prefix, what);
    }

    pub(crate) fn prefixes(&self, table: (Option<IpAddr>, bool)) -> BTreeSet<String> {
        let table = self.0.get(&table);
        let prefixes = table.into_iter().flat_map(BTreeMap::keys);
        prefixes.map(IpNet::to_string).collect()
    }
}
