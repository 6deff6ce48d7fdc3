//! The one that watches: what was tapped goes to each that wants it.

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use caracal_bgp::tap::{Cursor, Session, TapConfig, Tapped};
use caracal_bgp::view::PeerView;
use caracal_bgp::wire::Nlri;
use caracal_bgp::{PeerId, Time};

use crate::config::MonitorConfig;
use crate::rib_dump::RibDump;
use crate::station::{Context, Station, StationView};
use crate::updates;
use crate::wall::WallClock;

/// Who we are, to those who watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// sysName (RFC 7854 §4.4): the node.
    pub name: String,
    /// sysDescr: the program and its version.
    pub description: String,
    /// Our AS number.
    pub asn: u32,
    /// Our BGP Identifier.
    pub router_id: Ipv4Addr,
}

/// A station, by its place in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StationId(pub usize);

/// What the shell shall do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Connect to a station; report `handle_connected` or `handle_closed`.
    Connect {
        /// To report with.
        station: StationId,
        /// Where to.
        address: SocketAddr,
    },
    /// Close the connection at once. No report is expected.
    Close {
        /// Whose.
        station: StationId,
    },
    /// Call [`caracal_bgp::Speaker::tap_rows`] with this.
    Rows {
        /// Which dump.
        dump: u64,
        /// From where.
        from: Cursor,
        /// How many.
        rows_max: usize,
    },
    /// Call [`Monitor::handle_statistics`].
    Statistics,
}

/// Which of the MRT files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MrtFile {
    /// Messages.
    Updates,
    /// Tables.
    Rib,
}

/// What goes into MRT files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MrtOutput {
    /// Whole records, for the file of this kind that is open, or for a new one.
    Octets(MrtFile, Vec<u8>),
    /// The file is complete.
    End(MrtFile),
    /// The file cannot become complete: to be thrown away.
    Abandon(MrtFile),
}

/// Everything that watches one speaker.
#[derive(Debug)]
pub struct Monitor {
    config: MonitorConfig,
    identity: Identity,
    wall: WallClock,
    sessions: BTreeMap<PeerId, Session>,
    stations: Vec<Station>,
    updates: Vec<u8>,
    rib_dump: Option<RibDump>,
    rib_dump_at: Option<Time>,
    dumps_begun: u64,
    requests: VecDeque<Request>,
    files: VecDeque<MrtOutput>,
}

impl Monitor {
    /// Connects to nobody yet: that comes with the first `handle_timeout`, which is due now.
    pub fn new(now: Time, config: MonitorConfig, identity: Identity, wall: WallClock) -> Monitor {
        let stations = config.bmp.iter().cloned();
        Monitor {
            stations: stations.map(|one| Station::new(one, now)).collect(),
            rib_dump_at: config.mrt.rib.as_ref().map(|_| now + FIRST_RIB_DUMP),
            config,
            identity,
            wall,
            sessions: BTreeMap::new(),
            updates: Vec::new(),
            rib_dump: None,
            dumps_begun: 0,
            requests: VecDeque::new(),
            files: VecDeque::new(),
        }
    }

    /// What the speaker is to be tapped for.
    pub fn tap(&self) -> Option<TapConfig> {
        self.config.tap()
    }

    /// What was tapped, in order.
    pub fn handle_tapped(&mut self, now: Time, tapped: &[Tapped]) {
        for one in tapped {
            self.pass_on(now, one);
        }
        self.for_stations(now, |station, context| station.flush(context));
        self.after(now);
    }

    /// Something that was tapped is lost: all stations begin anew, and the speaker is to be tapped anew.
    pub fn handle_lost(&mut self, now: Time) {
        self.sessions.clear();
        for index in 0..self.stations.len() {
            if self.stations[index].is_up() {
                self.stations[index].closed(now, "what it should have been told is lost");
                let station = StationId(index);
                self.requests.push_back(Request::Close { station });
            }
        }
        self.abandon_rib_dump(now);
    }

    /// A connection that was asked for is there.
    pub fn handle_connected(&mut self, now: Time, station: StationId) {
        let dump = self.next_dump();
        self.with_station(now, station, |station, context| {
            station.connected(context, dump);
        });
        self.after(now);
    }

    /// A connection could not be made, or is gone.
    pub fn handle_closed(&mut self, now: Time, station: StationId, reason: &str) {
        self.with_station(now, station, |station, context| {
            station.closed(context.now, reason);
        });
    }

    /// A deadline of `poll_timeout` has come.
    pub fn handle_timeout(&mut self, now: Time) {
        let mut statistics = false;
        for (index, station) in self.stations.iter_mut().enumerate() {
            if station.wants_connection(now) {
                self.requests.push_back(Request::Connect {
                    station: StationId(index),
                    address: station.config.address,
                });
            }
            statistics |= station.wants_statistics(now);
        }
        if statistics {
            self.requests.push_back(Request::Statistics);
        }
        if self.rib_dump_at.is_some_and(|at| at <= now) {
            self.begin_rib_dump(now);
        }
        self.after(now);
    }

    /// The speaker's peers, and how many routes its Loc-RIB has.
    pub fn handle_statistics(&mut self, now: Time, peers: &[PeerView], routes: usize) {
        self.for_stations(now, |station, context| {
            station.statistics(context, peers, routes);
        });
        self.after(now);
    }

    /// Says goodbye to everybody. What is to be written then is the last.
    pub fn stop(&mut self, now: Time) {
        self.stations.iter_mut().for_each(Station::stop);
        self.abandon_rib_dump(now);
        self.rib_dump_at = None;
    }

    /// The next thing to do.
    #[must_use]
    pub fn poll_request(&mut self) -> Option<Request> {
        self.requests.pop_front()
    }

    /// All that there is to write to this station; ask again when it is written.
    #[must_use]
    pub fn poll_transmit(&mut self, station: StationId) -> Option<Vec<u8>> {
        let octets = self.stations.get_mut(station.0)?.take();
        self.poll_pieces();
        octets
    }

    /// The next thing for an MRT file.
    #[must_use]
    pub fn poll_mrt(&mut self) -> Option<MrtOutput> {
        if !self.updates.is_empty() {
            let octets = std::mem::take(&mut self.updates);
            return Some(MrtOutput::Octets(MrtFile::Updates, octets));
        }
        let output = self.files.pop_front();
        if self.files.is_empty() {
            self.poll_pieces();
        }
        output
    }

    /// When `handle_timeout` is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        let stations = self.stations.iter().filter_map(Station::next_deadline);
        stations.chain(self.rib_dump_at).min()
    }

    /// The stations, in order of configuration.
    pub fn stations(&self) -> Vec<StationView> {
        self.stations.iter().map(Station::view).collect()
    }

    fn pass_on(&mut self, now: Time, tapped: &Tapped) {
        if self.config.mrt.updates.is_some() {
            updates::write(self.wall, &self.sessions, tapped, &mut self.updates);
        }
        match tapped {
            Tapped::Begin => self.sessions.clear(),
            Tapped::Up(session) => {
                self.sessions.insert(session.peer, (**session).clone());
                self.for_stations(now, |station, context| station.peer_up(context, session));
            }
            Tapped::Down { peer, at, reason } => {
                if let Some(session) = self.sessions.get(peer).cloned() {
                    self.for_stations(now, |station, context| {
                        station.peer_down(context, &session, *at, reason);
                    });
                    self.sessions.remove(peer);
                }
            }
            Tapped::AdjRibIn {
                peer,
                prefix,
                path_id,
                received,
                accepted,
            } => self.for_stations(now, |station, context| {
                let nlri = Nlri {
                    prefix: *prefix,
                    path_id: *path_id,
                };
                station.path(context, *peer, nlri, received.as_ref(), accepted.as_ref());
            }),
            Tapped::EndOfRib { peer, family } => self.for_stations(now, |station, context| {
                station.end_of_rib(context, *peer, *family);
            }),
            Tapped::LocRib { prefix, attributes } => self.for_stations(now, |station, context| {
                station.choice(context, *prefix, attributes.as_ref());
            }),
            Tapped::Rows { dump, rows, next } => {
                if let Some(rib) = self.rib_dump.as_mut().filter(|rib| rib.id == *dump) {
                    let mut octets = Vec::new();
                    let was_last = rib.rows(rows, *next, &mut octets);
                    self.files
                        .push_back(MrtOutput::Octets(MrtFile::Rib, octets));
                    if was_last {
                        self.rib_dump = None;
                        self.files.push_back(MrtOutput::End(MrtFile::Rib));
                    }
                } else {
                    self.for_stations(now, |station, context| {
                        station.rows(context, *dump, rows, *next);
                    });
                }
            }
            Tapped::State { .. } | Tapped::Received { .. } | Tapped::Sent { .. } => {}
        }
    }

    /// To be called after everything that may have filled a queue.
    fn after(&mut self, now: Time) {
        for (index, station) in self.stations.iter_mut().enumerate() {
            if station.check_overrun(now) {
                let station = StationId(index);
                self.requests.push_back(Request::Close { station });
            }
        }
        self.poll_pieces();
    }

    fn poll_pieces(&mut self) {
        let stations = self.stations.iter_mut().filter_map(Station::poll_piece);
        let mut pieces: Vec<(u64, Cursor)> = stations.collect();
        if self.files.is_empty() {
            pieces.extend(self.rib_dump.as_mut().and_then(RibDump::poll_piece));
        }
        for (dump, from) in pieces {
            let rows_max = ROWS_MAX;
            self.requests.push_back(Request::Rows {
                dump,
                from,
                rows_max,
            });
        }
    }

    fn begin_rib_dump(&mut self, now: Time) {
        let Some(rib) = &self.config.mrt.rib else {
            return;
        };
        self.rib_dump_at = Some(now + Duration::from_secs(rib.interval_seconds));
        if self.rib_dump.is_some() {
            // The last one is not through yet, which is slower than anybody could mean.
            return;
        }
        let id = self.next_dump();
        let (seconds, _) = self.wall.at(now);
        let mut octets = Vec::new();
        let dump = RibDump::begin(id, seconds, &self.identity, &self.sessions, &mut octets);
        self.rib_dump = Some(dump);
        self.files
            .push_back(MrtOutput::Octets(MrtFile::Rib, octets));
    }

    fn abandon_rib_dump(&mut self, now: Time) {
        if self.rib_dump.take().is_some() {
            self.files
                .retain(|output| !matches!(output, MrtOutput::Octets(MrtFile::Rib, _)));
            self.files.push_back(MrtOutput::Abandon(MrtFile::Rib));
            self.rib_dump_at = Some(now + FIRST_RIB_DUMP);
        }
    }

    fn next_dump(&mut self) -> u64 {
        self.dumps_begun += 1;
        self.dumps_begun
    }

    fn for_stations(&mut self, now: Time, mut tell: impl FnMut(&mut Station, &Context<'_>)) {
        let context = Context {
            now,
            wall: self.wall,
            identity: &self.identity,
            sessions: &self.sessions,
        };
        for station in &mut self.stations {
            tell(station, &context);
        }
    }

    fn with_station(
        &mut self,
        now: Time,
        id: StationId,
        tell: impl FnOnce(&mut Station, &Context<'_>),
    ) {
        let context = Context {
            now,
            wall: self.wall,
            identity: &self.identity,
            sessions: &self.sessions,
        };
        if let Some(station) = self.stations.get_mut(id.0) {
            tell(station, &context);
        }
    }
}

/// Prefixes in a piece of a dump: about a millisecond of the speaker's time.
const ROWS_MAX: usize = 1000;
/// How long sessions get to come up before the first dump.
const FIRST_RIB_DUMP: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
