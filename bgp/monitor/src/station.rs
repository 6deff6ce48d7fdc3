//! A monitoring station (RFC 7854 §3.2): connected to, told who we are, then who our peers are, then what is in
//! the tables, then what changes.
//!
//! ```text
//!             retry is due             TCP is there            the last piece of the table
//!   Waiting ───────────────► Connecting ───────────► Up: dump ────────────────────────────► Up: live
//!      ▲                         │                      │                                       │
//!      └─────────────────────────┴── no TCP, lost, or its queue is full ──┴─────────────────────┘
//! ```
//!
//! What changes during the dump is told at once, in between; both tell what *is*, so the end is the same.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use caracal_bgp::tap::{Cursor, DownReason, Interned, Row, Session};
use caracal_bgp::view::PeerView;
use caracal_bgp::wire::{Family, Nlri};
use caracal_bgp::{PeerId, Time};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::bmp::{self, Gauge, PeerHeader, PeerKind};
use crate::config::StationConfig;
use crate::monitor::Identity;
use crate::pen::{Run, codec};
use crate::wall::WallClock;

/// A station as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StationView {
    /// As configured.
    pub address: SocketAddr,
    /// There is a connection.
    pub up: bool,
    /// It has been told all that was there when it came up.
    pub synchronized: bool,
    /// How often it was connected to.
    pub connects: u64,
    /// How often it was let go because it did not keep up.
    pub overruns: u64,
    /// BMP messages' octets given to its connections.
    pub octets: u64,
    /// Why there is no connection, or why the last one ended.
    pub last_error: Option<String>,
}

/// What the monitor knows of the world when it tells a station something.
pub(crate) struct Context<'a> {
    pub(crate) now: Time,
    pub(crate) wall: WallClock,
    pub(crate) identity: &'a Identity,
    pub(crate) sessions: &'a BTreeMap<PeerId, Session>,
}

#[derive(Debug)]
pub(crate) struct Station {
    pub(crate) config: StationConfig,
    phase: Phase,
    /// Encoded, and not yet taken by the shell.
    queue: Vec<u8>,
    /// What waits for more with the same attributes.
    runs: BTreeMap<(Option<PeerId>, PeerKind), Run>,
    retry: Duration,
    statistics_at: Option<Time>,
    connects: u64,
    overruns: u64,
    octets: u64,
    last_error: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting {
        until: Time,
    },
    Connecting,
    /// `Some`: so much of the table is still to be told.
    Up {
        dump: Option<Dump>,
    },
    Stopped,
}

/// A table that is being told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Dump {
    /// What its pieces are asked for with.
    id: u64,
    next: Cursor,
    /// The next piece is on its way.
    asked: bool,
}

impl Station {
    pub(crate) fn new(config: StationConfig, now: Time) -> Station {
        Station {
            config,
            phase: Phase::Waiting { until: now },
            queue: Vec::new(),
            runs: BTreeMap::new(),
            retry: RETRY_MIN,
            statistics_at: None,
            connects: 0,
            overruns: 0,
            octets: 0,
            last_error: None,
        }
    }

    pub(crate) fn view(&self) -> StationView {
        StationView {
            address: self.config.address,
            up: matches!(self.phase, Phase::Up { .. }),
            synchronized: self.phase == Phase::Up { dump: None },
            connects: self.connects,
            overruns: self.overruns,
            octets: self.octets,
            last_error: self.last_error.clone(),
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Time> {
        match self.phase {
            Phase::Waiting { until } => Some(until),
            Phase::Up { .. } => self.statistics_at,
            Phase::Connecting | Phase::Stopped => None,
        }
    }

    /// True: the shell shall connect.
    pub(crate) fn wants_connection(&mut self, now: Time) -> bool {
        let due = matches!(self.phase, Phase::Waiting { until } if until <= now);
        if due {
            self.phase = Phase::Connecting;
        }
        due
    }

    /// True: statistics are due.
    pub(crate) fn wants_statistics(&mut self, now: Time) -> bool {
        let due = self.is_up() && self.statistics_at.is_some_and(|at| at <= now);
        if due {
            self.plan_statistics(now);
        }
        due
    }

    pub(crate) fn is_up(&self) -> bool {
        matches!(self.phase, Phase::Up { .. })
    }

    /// TCP is there. The table will be asked for with `dump`.
    pub(crate) fn connected(&mut self, context: &Context<'_>, dump: u64) {
        if self.phase != Phase::Connecting {
            return;
        }
        self.connects += 1;
        self.phase = Phase::Up {
            dump: Some(Dump {
                id: dump,
                next: Cursor::default(),
                asked: false,
            }),
        };
        self.plan_statistics(context.now);
        let identity = context.identity;
        bmp::initiation(&identity.description, &identity.name, &mut self.queue);
        if self.config.loc_rib {
            bmp::loc_rib_up(&loc_rib(context), &mut self.queue);
        }
        for session in context.sessions.values() {
            self.peer_up(context, session);
        }
    }

    /// The connection is gone, or could not be made.
    pub(crate) fn closed(&mut self, now: Time, reason: &str) {
        if self.phase == Phase::Stopped {
            return;
        }
        if self.phase == (Phase::Up { dump: None }) {
            self.retry = RETRY_MIN;
        }
        self.last_error = Some(reason.to_owned());
        self.queue = Vec::new();
        self.runs.clear();
        self.phase = Phase::Waiting {
            until: now + self.retry,
        };
        self.retry = (self.retry * 2).min(RETRY_MAX);
    }

    /// Says that it ends.
    pub(crate) fn stop(&mut self) {
        if self.is_up() {
            bmp::termination("shutting down", &mut self.queue);
        }
        self.phase = Phase::Stopped;
    }

    /// True: it does not keep up, and was let go; the shell shall close its connection.
    pub(crate) fn check_overrun(&mut self, now: Time) -> bool {
        let octets = self.queue.len();
        let overrun = self.is_up() && octets > self.config.queue_octets_max;
        if overrun {
            self.overruns += 1;
            self.closed(
                now,
                &format!("{octets} octets wait for it: it does not keep up"),
            );
        }
        overrun
    }

    /// The next piece of the table, if it is time for it.
    pub(crate) fn poll_piece(&mut self) -> Option<(u64, Cursor)> {
        let Phase::Up { dump: Some(dump) } = &mut self.phase else {
            return None;
        };
        if dump.asked || self.queue.len() > LOW_WATER {
            return None;
        }
        dump.asked = true;
        Some((dump.id, dump.next))
    }

    /// All that is there to be written.
    pub(crate) fn take(&mut self) -> Option<Vec<u8>> {
        if self.queue.is_empty() {
            return None;
        }
        self.octets += self.queue.len() as u64;
        Some(std::mem::take(&mut self.queue))
    }

    pub(crate) fn peer_up(&mut self, context: &Context<'_>, session: &Session) {
        if self.is_up() && self.wants_peers() {
            let header = header(context, session, Some(session.at), self.first_kind());
            bmp::peer_up(&header, session, &mut self.queue);
        }
    }

    pub(crate) fn peer_down(
        &mut self,
        context: &Context<'_>,
        session: &Session,
        at: Time,
        reason: &DownReason,
    ) {
        self.runs.retain(|(peer, _), _| *peer != Some(session.peer));
        if self.is_up() && self.wants_peers() {
            let header = header(context, session, Some(at), self.first_kind());
            bmp::peer_down(&header, reason, &mut self.queue);
        }
    }

    /// A path of a peer that is up.
    pub(crate) fn path(
        &mut self,
        context: &Context<'_>,
        peer: PeerId,
        nlri: Nlri,
        received: Option<&Interned>,
        accepted: Option<&Interned>,
    ) {
        if !self.is_up() || !context.sessions.contains_key(&peer) {
            return;
        }
        for (wanted, post_policy, attributes) in [
            (self.config.pre_policy, false, received),
            (self.config.post_policy, true, accepted),
        ] {
            if wanted {
                let kind = PeerKind::AdjRibIn { post_policy };
                self.write(context, (Some(peer), kind), nlri, attributes);
            }
        }
    }

    pub(crate) fn choice(
        &mut self,
        context: &Context<'_>,
        prefix: IpNet,
        attributes: Option<&Interned>,
    ) {
        if self.is_up() && self.config.loc_rib {
            self.write(context, (None, PeerKind::LocRib), prefix.into(), attributes);
        }
    }

    /// A piece of the table.
    pub(crate) fn rows(
        &mut self,
        context: &Context<'_>,
        id: u64,
        rows: &[Row],
        then: Option<Cursor>,
    ) {
        match &mut self.phase {
            Phase::Up { dump: Some(dump) } if dump.id == id => {
                dump.asked = false;
                if let Some(next) = then {
                    dump.next = next;
                }
            }
            _ => return,
        }
        for row in rows {
            for path in &row.paths {
                if let Some(peer) = path.peer {
                    let (received, accepted) = (Some(&path.received), path.accepted.as_ref());
                    // What was never told need not be taken back.
                    let nlri = Nlri {
                        prefix: row.prefix,
                        path_id: path.path_id,
                    };
                    if self.config.pre_policy {
                        let kind = PeerKind::AdjRibIn { post_policy: false };
                        self.write_known(context, (Some(peer), kind), nlri, received);
                    }
                    if self.config.post_policy {
                        let kind = PeerKind::AdjRibIn { post_policy: true };
                        self.write_known(context, (Some(peer), kind), nlri, accepted);
                    }
                }
                if path.best && self.config.loc_rib {
                    let attributes = path.accepted.as_ref();
                    let nlri = Nlri::from(row.prefix);
                    self.write_known(context, (None, PeerKind::LocRib), nlri, attributes);
                }
            }
        }
        if then.is_none() {
            self.phase = Phase::Up { dump: None };
            self.retry = RETRY_MIN;
            self.ends(context);
        }
    }

    /// A peer has sent all it has of the family.
    pub(crate) fn end_of_rib(&mut self, context: &Context<'_>, peer: PeerId, family: Family) {
        self.flush(context);
        if let (true, Some(session)) = (self.is_up(), context.sessions.get(&peer)) {
            for kind in self.kinds() {
                let header = header(context, session, None, kind);
                bmp::end_of_rib(&header, family, &mut self.queue);
            }
        }
    }

    pub(crate) fn statistics(&mut self, context: &Context<'_>, peers: &[PeerView], routes: usize) {
        if !self.is_up() {
            return;
        }
        let wants_peers = self.wants_peers();
        for session in context.sessions.values().filter(|_| wants_peers) {
            let address = session.remote.ip();
            let Some(view) = peers.iter().find(|view| view.address == address) else {
                continue;
            };
            let gauge = |kind, value: usize| Gauge {
                kind,
                value: value as u64,
            };
            let gauges = [
                gauge(bmp::ADJ_RIB_IN_ROUTES, view.prefixes_received),
                gauge(bmp::ADJ_RIB_OUT_POST_POLICY_ROUTES, view.prefixes_sent),
            ];
            let header = header(context, session, None, self.first_kind());
            bmp::statistics(&header, &gauges, &mut self.queue);
        }
        if self.config.loc_rib {
            let gauge = Gauge {
                kind: bmp::LOC_RIB_ROUTES,
                value: routes as u64,
            };
            bmp::statistics(&loc_rib(context), &[gauge], &mut self.queue);
        }
    }

    /// What was collected goes into the queue.
    pub(crate) fn flush(&mut self, context: &Context<'_>) {
        for (of, mut run) in std::mem::take(&mut self.runs) {
            self.write_run(context, of, &mut run);
        }
    }

    fn write_known(
        &mut self,
        context: &Context<'_>,
        of: (Option<PeerId>, PeerKind),
        nlri: Nlri,
        attributes: Option<&Interned>,
    ) {
        let is_up = of.0.is_none_or(|peer| context.sessions.contains_key(&peer));
        if attributes.is_some() && is_up {
            self.write(context, of, nlri, attributes);
        }
    }

    fn write(
        &mut self,
        context: &Context<'_>,
        of: (Option<PeerId>, PeerKind),
        nlri: Nlri,
        attributes: Option<&Interned>,
    ) {
        let run = self.runs.entry(of).or_default();
        if !run.add(nlri, attributes) {
            let mut full = std::mem::take(run);
            run.add(nlri, attributes);
            self.write_run(context, of, &mut full);
        }
    }

    fn write_run(
        &mut self,
        context: &Context<'_>,
        (peer, kind): (Option<PeerId>, PeerKind),
        run: &mut Run,
    ) {
        let session = peer.and_then(|peer| context.sessions.get(&peer));
        let header = match (peer, session) {
            (None, _) => loc_rib(context),
            (Some(_), Some(session)) => header(context, session, None, kind),
            (Some(_), None) => return,
        };
        let updates = run.take(&codec(session));
        bmp::route_monitoring(&header, &updates, &mut self.queue);
    }

    /// RFC 7854 §5, RFC 9069 §5.2: End-of-RIB for each table.
    fn ends(&mut self, context: &Context<'_>) {
        self.flush(context);
        for session in context.sessions.values() {
            for kind in self.kinds() {
                let header = header(context, session, None, kind);
                for family in &session.codec.families {
                    bmp::end_of_rib(&header, *family, &mut self.queue);
                }
            }
        }
        if self.config.loc_rib {
            for family in Family::ALL {
                bmp::end_of_rib(&loc_rib(context), family, &mut self.queue);
            }
        }
    }

    fn wants_peers(&self) -> bool {
        self.config.pre_policy || self.config.post_policy
    }

    /// Of those messages that are about a peer and not about one of its tables.
    fn first_kind(&self) -> PeerKind {
        PeerKind::AdjRibIn { post_policy: false }
    }

    fn kinds(&self) -> impl Iterator<Item = PeerKind> + use<> {
        let wanted = [
            (self.config.pre_policy, false),
            (self.config.post_policy, true),
        ];
        wanted
            .into_iter()
            .filter(|(wanted, _)| *wanted)
            .map(|(_, post_policy)| PeerKind::AdjRibIn { post_policy })
    }

    fn plan_statistics(&mut self, now: Time) {
        let seconds = self.config.statistics_seconds;
        let interval = Duration::from_secs(seconds.into());
        self.statistics_at = (seconds > 0).then(|| now + interval);
    }
}

fn header(
    context: &Context<'_>,
    session: &Session,
    at: Option<Time>,
    kind: PeerKind,
) -> PeerHeader {
    PeerHeader {
        kind,
        address: Some(session.remote.ip()),
        asn: session.remote_asn,
        router_id: session.router_id,
        at: context.wall.at(at.unwrap_or(context.now)),
    }
}

fn loc_rib(context: &Context<'_>) -> PeerHeader {
    PeerHeader {
        kind: PeerKind::LocRib,
        address: None,
        asn: context.identity.asn,
        router_id: context.identity.router_id,
        at: context.wall.at(context.now),
    }
}

/// RFC 7854 §3.2 asks for a back-off and names 30 and 720 seconds; a station that only restarts should not be
/// without us for half a minute.
const RETRY_MIN: Duration = Duration::from_secs(2);
const RETRY_MAX: Duration = Duration::from_secs(720);
/// While more waits, no more of the table is asked for.
const LOW_WATER: usize = 256 << 10;
