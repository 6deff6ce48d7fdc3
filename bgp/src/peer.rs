//! A configured peer: when to connect, and its up to two connections.
//!
//! ```text
//!            set_peer                 retry timer            TCP is there
//!   ─────────────► Active ─────────────────► Connect ────────────────────► a Connection, OpenSent ...
//!                   ▲  ▲                        │                               │
//!                   │  └────────────────────────┘ no TCP                        │ lost, Cease, hold timer
//!                   ├───────────────────────────────────────────────────────────┤
//!   idle hold timer │                                                           │ protocol error
//!                  Idle ◄───────────────────────────────────────────────────────┘
//! ```
//!
//! A passive peer stays in Active. Connections that the peer opens are welcome in every phase but Idle: there
//! we have just been told nonsense, and wait longer each time (RFC 4271 §8.1.1, DampPeerOscillations).

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use smallvec::SmallVec;

use crate::collision::Initiator;
use crate::config::{PathsSent, PeerConfig, SpeakerConfig};
use crate::connection::{Cause, Connection, End, State, Traffic};
use crate::disseminate::{LongLivedStale, Terms};
use crate::errors::PeerErrors;
use crate::event::{BfdState, ConnectionId, PeerId};
use crate::import::Importer;
use crate::negotiated::{Negotiated, Offer};
use crate::policy::{PathSource, SessionPeer};
use crate::rib::{PerFamily, SessionKind};
use crate::rng::Rng;
use crate::speaker::{Again, down_because};
use crate::stale::Kept;
use crate::time::Time;
use crate::wire::{Family, Role};

/// A peer.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) id: PeerId,
    pub(crate) config: PeerConfig,
    pub(crate) phase: Phase,
    pub(crate) connections: SmallVec<[Box<Connection>; 2]>,
    /// Phase 1 of its session, when there is one.
    pub(crate) importer: Option<Importer>,
    /// What we want of it once more.
    pub(crate) again: Again,
    /// Families of which it has stale paths.
    pub(crate) stale: SmallVec<[Kept; 2]>,
    /// End-of-RIB that this session has brought.
    pub(crate) ended_families: Vec<Family>,
    /// We have restarted, and wait for its End-of-RIB until then.
    pub(crate) deferral_until: Option<Time>,
    pub(crate) counters: Counters,
    /// What BFD said last; `None`: nothing yet.
    pub(crate) bfd: Option<BfdState>,
    /// Families of which it has as much as it may have, and should have more.
    pub(crate) full: PerFamily<bool>,
    pub(crate) errors: PeerErrors,
    /// Why the last session or attempt ended, and when.
    pub(crate) last_error: Option<(String, Time)>,
    /// The NOTIFICATION that ended the last session.
    farewell: Option<String>,
    /// Families of which it has sent nearly too much, and whether it was too much.
    pub(crate) warned: SmallVec<[(Family, bool); 2]>,
    /// It is Idle because it has sent too much.
    pub(crate) held_by_limit: bool,
    /// Why it is Idle, while it is.
    pub(crate) held_because: String,
    /// What the timer queue knows of `next_deadline`.
    pub(crate) queued: Option<Time>,
    state: PeerState,
    state_since: Time,
    /// Protocol errors and failures of the path in a row.
    damped: u32,
}

/// What we do about having no connection. What it says while there are connections does not matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nobody may connect until then.
    Idle { until: Time },
    /// TCP is on its way; given up and tried anew at `deadline`.
    Connect {
        connection: ConnectionId,
        deadline: Time,
    },
    /// Waiting to be connected to, and at `retry` connecting ourselves.
    Active { retry: Option<Time> },
    /// Shut down.
    Stopped,
}

/// RFC 4271 §8.2.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PeerState {
    Idle,
    Connect,
    Active,
    OpenSent,
    OpenConfirm,
    Established,
}

/// Of all sessions.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counters {
    pub(crate) flaps: u64,
    pub(crate) updates_received: u64,
    pub(crate) updates_sent: u64,
    pub(crate) messages_received: u64,
    pub(crate) messages_sent: u64,
    /// Paths beyond `AddPath::receive_max`.
    pub(crate) paths_refused: u64,
}

impl Peer {
    pub(crate) fn new(now: Time, id: PeerId, config: PeerConfig) -> Peer {
        let mut peer = Peer {
            id,
            phase: Phase::Stopped,
            config,
            connections: SmallVec::new(),
            importer: None,
            again: Again::default(),
            stale: SmallVec::new(),
            ended_families: Vec::new(),
            deferral_until: None,
            counters: Counters::default(),
            bfd: None,
            full: PerFamily::default(),
            errors: PeerErrors::default(),
            last_error: None,
            farewell: None,
            warned: SmallVec::new(),
            held_by_limit: false,
            held_because: String::new(),
            queued: None,
            state: PeerState::Idle,
            state_since: now,
            damped: 0,
        };
        peer.start(now);
        peer
    }

    pub(crate) fn remote(&self) -> SocketAddr {
        SocketAddr::new(self.config.remote_address, self.config.remote_port)
    }

    /// Its AS number: as its last OPEN says, or as configured; `None`: any external one, and it has not said.
    pub(crate) fn remote_asn(&self) -> Option<u32> {
        let mut connections = self.connections.iter();
        let agreed = connections.find_map(|connection| connection.negotiated());
        let configured = self.config.remote_asn.number(self.config.local_asn);
        configured.or(agreed.map(|agreed| agreed.remote_asn))
    }

    pub(crate) fn kind(&self) -> SessionKind {
        if self.config.remote_asn.is_external(self.config.local_asn) {
            SessionKind::External
        } else if self.config.reflector_client {
            SessionKind::Client
        } else {
            SessionKind::Internal
        }
    }

    pub(crate) fn connection(&self, id: ConnectionId) -> Option<&Connection> {
        self.connections
            .iter()
            .find(|c| c.id == id)
            .map(Box::as_ref)
    }

    pub(crate) fn connection_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.connections
            .iter_mut()
            .find(|c| c.id == id)
            .map(Box::as_mut)
    }

    pub(crate) fn established(&self) -> Option<&Connection> {
        self.connections
            .iter()
            .find(|c| c.state() == State::Established)
            .map(Box::as_ref)
    }

    pub(crate) fn established_mut(&mut self) -> Option<&mut Connection> {
        self.connections
            .iter_mut()
            .find(|c| c.state() == State::Established)
            .map(Box::as_mut)
    }

    /// Of the session, when there is one.
    pub(crate) fn negotiated(&self) -> Option<&Negotiated> {
        self.established()?.negotiated()
    }

    /// Takes the connection out, with what it counted.
    pub(crate) fn remove_connection(&mut self, id: ConnectionId) -> Option<Box<Connection>> {
        let index = self.connections.iter().position(|c| c.id == id)?;
        let mut connection = self.connections.remove(index);
        let traffic = std::mem::take(&mut connection.traffic);
        self.counters.add(traffic);
        Some(connection)
    }

    /// What our OPEN says now.
    pub(crate) fn offer(&self, speaker: &SpeakerConfig) -> Offer {
        Offer {
            local_asn: self.config.local_asn,
            remote_asn: self.config.remote_asn,
            router_id: speaker.router_id,
            hold_time: self.config.hold_time,
            families: self.config.families.clone(),
            role: self.config.role,
            role_strict: self.config.role_strict,
            add_path: self.config.add_path,
            graceful_restart: self.config.graceful_restart,
            restarting: self.deferral_until.is_some(),
            long_lived: self.config.long_lived_times(),
            extended_messages: self.config.extended_messages,
            extended_next_hop: self.config.extended_next_hop,
            hostname: speaker
                .hostname
                .clone()
                .map(|host| (host, speaker.domain.clone().unwrap_or_default())),
            software: speaker.software.clone(),
        }
    }

    /// Phase 1 for the session on `connection`.
    pub(crate) fn importer(&self, speaker: &SpeakerConfig, connection: &Connection) -> Importer {
        let external = self.kind() == SessionKind::External;
        Importer {
            external_asn: connection
                .negotiated()
                .map(|agreed| agreed.remote_asn)
                .filter(|_| external),
            own_asns: [speaker.asn, self.config.local_asn],
            allow_own_as: self.config.allow_own_as,
            prepend: external
                .then_some(self.config.local_asn)
                .filter(|asn| *asn != speaker.asn && !self.config.local_as.no_prepend),
            role: self.role(),
            router_id: speaker.router_id,
            cluster_id: speaker.cluster_id.unwrap_or(speaker.router_id),
            own_addresses: [
                Some(connection.local.ip()),
                self.config.next_hop_self_v4.map(IpAddr::V4),
                self.config.next_hop_self_v6.map(IpAddr::V6),
            ],
            extended_next_hop: connection
                .negotiated()
                .is_some_and(|agreed| agreed.codec.extended_next_hop),
            policy: self.config.import.program(&self.session_peer()),
            source: PathSource::Peer {
                address: self.config.remote_address,
                kind: self.kind(),
            },
            graceful_shutdown: self.config.graceful_shutdown || speaker.graceful_shutdown,
            honour_graceful_shutdown: self.config.honour_graceful_shutdown,
        }
    }

    /// Itself as policies may ask for it.
    pub(crate) fn session_peer(&self) -> SessionPeer<'_> {
        SessionPeer {
            address: self.config.remote_address,
            kind: self.kind(),
            interface: self.config.interface.as_deref(),
        }
    }

    /// What we are to it, if that counts.
    pub(crate) fn role(&self) -> Option<Role> {
        let external = self.kind() == SessionKind::External;
        self.config.role.filter(|_| external)
    }

    /// Phase 3 for the session on `connection`.
    pub(crate) fn terms(&self, speaker: &SpeakerConfig, connection: &Connection) -> Option<Terms> {
        let (session_v4, session_v6) = match connection.local.ip() {
            IpAddr::V4(address) => (Some(address), None),
            IpAddr::V6(address) => (None, Some(address)),
        };
        let agreed = connection.negotiated()?;
        let long_lived_stale = if agreed.understands_long_lived {
            LongLivedStale::Sent
        } else if self.config.long_lived_partial && self.kind().is_internal() {
            LongLivedStale::LastResort
        } else {
            LongLivedStale::Withheld
        };
        // Peers that only say other things than each other get the same.
        let codec = agreed.codec.for_sending();
        Some(Terms {
            kind: self.kind(),
            long_lived_stale,
            local_asn: self.config.local_asn,
            behind_local_asn: Some(speaker.asn)
                .filter(|asn| *asn != self.config.local_asn && !self.config.local_as.replace_as),
            role: self.role(),
            cluster_id: speaker.cluster_id.unwrap_or(speaker.router_id),
            client_to_client: speaker.client_to_client || self.kind() != SessionKind::Client,
            change_reflected: self.config.change_reflected && self.kind().is_internal(),
            next_hop: self.config.next_hop,
            self_v4: self.config.next_hop_self_v4.or(session_v4),
            self_v6: self.config.next_hop_self_v6.or(session_v6),
            self_link_local: session_v6.filter(Ipv6Addr::is_unicast_link_local),
            policy: self.config.export.program(&self.session_peer()),
            graceful_shutdown: self.config.graceful_shutdown || speaker.graceful_shutdown,
            // Who gets only the best shall be in one group, whatever was offered.
            paths_sent: match codec.add_path_send.is_empty() {
                true => PathsSent::Best,
                false => self.config.add_path.send,
            },
            codec,
        })
    }

    /// It may have a session, unless the operator has shut it down.
    pub(crate) fn start(&mut self, now: Time) {
        self.phase = Phase::start(now, &self.config);
        self.held_by_limit = false;
        if let Some(words) = &self.config.shutdown {
            self.held_because = down_because(words);
        }
    }

    /// Most announcements that may stand at it.
    pub(crate) fn limits_out(&self) -> PerFamily<Option<usize>> {
        let mut limits = PerFamily::default();
        for (&family, &limit) in &self.config.prefix_limits_out {
            limits[family] = Some(limit);
        }
        limits
    }

    /// A connection has ended, or none could be made: what now?
    pub(crate) fn plan_retry(
        &mut self,
        now: Time,
        end: Option<&End>,
        session: Option<Time>,
        rng: &mut Rng,
    ) {
        if session.is_some_and(|since| now.since(since) >= self.config.idle_hold_max) {
            self.damped = 0;
        }
        if self.phase == Phase::Stopped || matches!(self.phase, Phase::Connect { .. }) {
            return;
        }
        let damped = end.filter(|end| self.config.damp_oscillations && end.is_damped());
        if let Some(end) = damped {
            let hold = IDLE_HOLD_MIN * 2u32.saturating_pow(self.damped.min(16));
            self.damped = self.damped.saturating_add(1);
            self.held_because = end.reason.clone();
            self.phase = Phase::Idle {
                until: now + rng.jitter(hold.min(self.config.idle_hold_max)),
            };
        } else if self.connections.is_empty() {
            // A session that breaks is usually back at once; what never was one, later.
            let wait = if session.is_some() {
                AFTER_SESSION
            } else {
                self.config.connect_retry
            };
            let wait = rng.jitter(wait.min(self.config.connect_retry));
            self.phase = Phase::Active {
                retry: (!self.config.passive).then(|| now + wait),
            };
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Time> {
        let connections = self.connections.iter().filter_map(|c| c.next_deadline());
        let stale = self.stale.iter().map(|kept| kept.until);
        connections
            .chain(self.phase.deadline())
            .chain(stale)
            .chain(self.deferral_until)
            .chain(self.again.at)
            .min()
    }

    pub(crate) fn state(&self) -> PeerState {
        let furthest = self.connections.iter().map(|c| c.state()).max();
        match furthest.unwrap_or(State::Closed) {
            State::Established => PeerState::Established,
            State::OpenConfirm => PeerState::OpenConfirm,
            State::OpenSent => PeerState::OpenSent,
            // RFC 4271 §8.2.2: a DelayOpenTimer runs in Connect where we have connected, else in Active.
            State::DelayOpen
                if self
                    .connections
                    .iter()
                    .any(|c| c.initiator == Initiator::Local) =>
            {
                PeerState::Connect
            }
            State::DelayOpen => PeerState::Active,
            State::Closed => match self.phase {
                Phase::Idle { .. } | Phase::Stopped => PeerState::Idle,
                Phase::Connect { .. } => PeerState::Connect,
                Phase::Active { .. } => PeerState::Active,
            },
        }
    }

    /// To be called after everything that may have changed the state.
    /// What it was before, if it is another now.
    pub(crate) fn note_state(&mut self, now: Time) -> Option<PeerState> {
        let state = self.state();
        (state != self.state).then(|| {
            self.state_since = now;
            std::mem::replace(&mut self.state, state)
        })
    }

    /// The path is to work before there is a session, and nobody says that it does.
    pub(crate) fn awaits_bfd(&self) -> bool {
        self.config.bfd.is_some_and(|bfd| bfd.strict)
            && !matches!(self.bfd, Some(BfdState::Up | BfdState::AdminDown))
    }

    /// Why nobody may connect, and for how long.
    pub(crate) fn held(&self, now: Time) -> Option<String> {
        let because = &self.held_because;
        match self.phase {
            _ if !self.connections.is_empty() => None,
            Phase::Idle { until } => {
                let seconds = until.since(now).as_secs_f32().ceil();
                Some(format!("{because}, again in {seconds:.0} s"))
            }
            Phase::Stopped => Some(because.clone()),
            _ if self.awaits_bfd() => Some("waits for BFD to be up".to_owned()),
            Phase::Connect { .. } | Phase::Active { .. } => None,
        }
    }

    /// Why there is no longer a session.
    pub(crate) fn blame_end(&mut self, now: Time, end: &End) {
        self.farewell = match &end.cause {
            Cause::Sent(_) | Cause::Received(_) => Some(end.reason.clone()),
            Cause::Lost | Cause::HoldTimer => None,
        };
        self.last_error = Some((end.reason.clone(), now));
    }

    /// Why no session could be made. What the peer said at the end of the last one is not forgotten over it.
    pub(crate) fn blame_attempt(&mut self, now: Time, reason: &str) {
        let reason = match &self.farewell {
            Some(farewell) if farewell != reason => format!("{reason}; before that: {farewell}"),
            _ => reason.to_owned(),
        };
        self.last_error = Some((reason, now));
    }

    pub(crate) fn state_since(&self) -> Time {
        self.state_since
    }

    /// All End-of-RIBs of the session are there.
    pub(crate) fn has_all_ends(&self) -> bool {
        self.negotiated().is_some_and(|agreed| {
            agreed
                .families()
                .iter()
                .all(|f| self.ended_families.contains(f))
        })
    }
}

impl Phase {
    /// Where a peer begins.
    fn start(now: Time, config: &PeerConfig) -> Phase {
        if config.shutdown.is_some() {
            return Phase::Stopped;
        }
        Phase::Active {
            retry: (!config.passive).then_some(now),
        }
    }

    pub(crate) fn deadline(self) -> Option<Time> {
        match self {
            Phase::Idle { until } => Some(until),
            Phase::Connect { deadline, .. } => Some(deadline),
            Phase::Active { retry } => retry,
            Phase::Stopped => None,
        }
    }
}

impl Counters {
    pub(crate) fn add(&mut self, traffic: Traffic) {
        self.messages_received += traffic.messages_received;
        self.updates_received += traffic.updates_received;
        self.messages_sent += traffic.messages_sent;
    }
}

impl PeerState {
    pub(crate) fn name(self) -> &'static str {
        match self {
            PeerState::Idle => "Idle",
            PeerState::Connect => "Connect",
            PeerState::Active => "Active",
            PeerState::OpenSent => "OpenSent",
            PeerState::OpenConfirm => "OpenConfirm",
            PeerState::Established => "Established",
        }
    }
}

/// IdleHoldTimer (RFC 4271 §8.1.1), doubled with each error.
const IDLE_HOLD_MIN: Duration = Duration::from_secs(1);
/// How long we wait to connect again to a peer whose session has just ended.
pub(crate) const AFTER_SESSION: Duration = Duration::from_millis(500);
