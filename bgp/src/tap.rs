//! What goes through a speaker, for monitors: BMP (RFC 7854, RFC 9069) and MRT (RFC 6396).
//!
//! A monitor asks for a tap with [`Speaker::set_tap`], and the driver drains [`Speaker::poll_tap`] after each
//! input. Without a tap nothing is copied, kept or allocated; with one, the speaker keeps what one input has
//! brought. A monitor that cannot keep up is the driver's business: it lets it go and begins anew.
//!
//! Messages come as octets, in order. Of tables, what comes is the *present*: a prefix that changed is named
//! once, with what it is when it is taken. [`Speaker::tap_rows`] adds a piece of the whole table at its place in
//! the same order, so that a dump in pieces and the changes meanwhile end in the table as it is.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::IpNet;

use crate::connection::{Cause, Connection, End};
use crate::event::PeerId;
use crate::peer::{Peer, PeerState};
pub use crate::rib::Interned;
use crate::rib::Source;
use crate::speaker::Speaker;
use crate::time::Time;
use crate::wire::{Codec, Family, Message, Notification};

/// What to tap. Sessions and their states come always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TapConfig {
    /// Messages of established sessions as they arrive.
    pub received: bool,
    /// UPDATEs as they are handed to the driver.
    pub sent: bool,
    /// What peers' paths are, before and after import policy (Adj-RIB-In).
    pub adj_rib_in: bool,
    /// What was chosen (Loc-RIB).
    pub loc_rib: bool,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tapped {
    /// The tap is set: what came before does not count any more. Sessions that are up follow.
    Begin,
    /// A session is up.
    Up(Box<Session>),
    /// It is down.
    Down {
        /// Whose.
        peer: PeerId,
        /// When.
        at: Time,
        /// Why.
        reason: DownReason,
    },
    /// A peer's state is another.
    State {
        /// Whose.
        peer: PeerId,
        /// When.
        at: Time,
        /// Between these addresses; port 0 where there is no connection.
        remote: SocketAddr,
        /// Ours; unspecified where there is no connection.
        local: SocketAddr,
        /// The peer's AS number.
        remote_asn: u32,
        /// Ours towards it.
        local_asn: u32,
        /// RFC 6396 §4.4.1: 1 Idle to 6 Established.
        old: u16,
        /// The same.
        new: u16,
    },
    /// A message arrived in an established session.
    Received {
        /// From whom.
        peer: PeerId,
        /// When.
        at: Time,
        /// One whole message.
        octets: Box<[u8]>,
    },
    /// UPDATEs were handed to the driver.
    Sent {
        /// For whom.
        peer: PeerId,
        /// When.
        at: Time,
        /// One or more whole messages.
        octets: Box<[u8]>,
    },
    /// A path of a peer whose session is up is another than before.
    AdjRibIn {
        /// From whom.
        peer: PeerId,
        /// Which.
        prefix: IpNet,
        /// RFC 7911; 0 without ADD-PATH.
        path_id: u32,
        /// As it arrived (pre-policy); `None`: gone.
        received: Option<Interned>,
        /// As import policy left it (post-policy); `None`: gone, or not accepted.
        accepted: Option<Interned>,
    },
    /// A peer has sent all that it has of a family (RFC 4724 §2); its paths stand before this.
    EndOfRib {
        /// Who.
        peer: PeerId,
        /// Of which.
        family: Family,
    },
    /// Another path is best, or none.
    LocRib {
        /// Of which prefix.
        prefix: IpNet,
        /// The best path's; `None`: there is no route any more.
        attributes: Option<Interned>,
    },
    /// A piece of the table, as [`Speaker::tap_rows`] asked.
    Rows {
        /// What it was asked with.
        dump: u64,
        /// In no order that means anything.
        rows: Vec<Row>,
        /// Where the next piece begins; `None`: this was the last.
        next: Option<Cursor>,
    },
}

/// A prefix with all its paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Which.
    pub prefix: IpNet,
    /// The best first, if there is one.
    pub paths: Vec<RowPath>,
}

/// A path of a [`Row`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowPath {
    /// Who sent it; `None`: local.
    pub peer: Option<PeerId>,
    /// RFC 7911; 0 without ADD-PATH.
    pub path_id: u32,
    /// As they arrived (Adj-RIB-In, pre-policy).
    pub received: Interned,
    /// As import policy left them; `None`: not accepted.
    pub accepted: Option<Interned>,
    /// It is the best.
    pub best: bool,
    /// Kept from before the peer's restart (RFC 4724 §4.2).
    pub stale: bool,
}

/// Where a dump in pieces goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cursor(pub(crate) usize);

/// An established session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// With whom.
    pub peer: PeerId,
    /// As configured.
    pub name: String,
    /// Since when.
    pub at: Time,
    /// The other end.
    pub remote: SocketAddr,
    /// Our end.
    pub local: SocketAddr,
    /// The peer's AS number.
    pub remote_asn: u32,
    /// Ours towards it.
    pub local_asn: u32,
    /// The peer's BGP Identifier.
    pub router_id: Ipv4Addr,
    /// Our OPEN, a whole message.
    pub sent_open: Box<[u8]>,
    /// The peer's, a whole message.
    pub received_open: Box<[u8]>,
    /// How messages of this session are read.
    pub codec: Codec,
}

/// Why a session ended (RFC 7854 §4.9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DownReason {
    /// We ended it with this NOTIFICATION, a whole message.
    NotificationSent(Box<[u8]>),
    /// We ended it without a word.
    Closed,
    /// The peer ended it with this NOTIFICATION, a whole message.
    NotificationReceived(Box<[u8]>),
    /// TCP broke, or the peer closed it without a word.
    Lost,
}

/// The tap's side in the speaker.
#[derive(Debug)]
pub(crate) struct Tap {
    pub(crate) config: TapConfig,
    pub(crate) queue: VecDeque<Tapped>,
    /// Ends of RIBs, for when what stands before them is taken.
    ends: VecDeque<(PeerId, Family)>,
}

/// The tap's side in the tables: what has changed since it was taken. A `None` set is not asked for.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    paths: Option<BTreeMap<PeerId, BTreeSet<(IpNet, u32)>>>,
    choices: Option<BTreeSet<IpNet>>,
}

impl Speaker {
    /// Taps this from now on; `None`: nothing any more. What was tapped and not taken is forgotten.
    ///
    /// Sessions that are up already are named at once; for what is in the tables see
    /// [`Speaker::tap_rows`].
    pub fn set_tap(&mut self, config: Option<TapConfig>) {
        let sessions = config.map(|_| self.sessions()).unwrap_or_default();
        let watch = config.map(|config| {
            let mut watch = Watch::new(config.adj_rib_in, config.loc_rib);
            sessions.iter().for_each(|session| watch.open(session.peer));
            watch
        });
        self.rib.watch(watch);
        self.tap = config.map(|config| {
            let sessions = sessions.into_iter().map(Box::new).map(Tapped::Up);
            Box::new(Tap {
                config,
                queue: std::iter::once(Tapped::Begin).chain(sessions).collect(),
                ends: VecDeque::new(),
            })
        });
    }

    /// The next thing that happened.
    #[must_use]
    pub fn poll_tap(&mut self) -> Option<Tapped> {
        let tap = self.tap.as_mut()?;
        let next = tap.queue.pop_front().or_else(|| self.rib.poll_watch());
        next.or_else(|| {
            let (peer, family) = tap.ends.pop_front()?;
            Some(Tapped::EndOfRib { peer, family })
        })
    }

    /// How much of what was tapped waits to be taken: everything but changes of tables, which coalesce.
    #[must_use]
    pub fn tapped_waiting(&self) -> usize {
        self.tap.as_ref().map_or(0, |tap| tap.queue.len())
    }

    /// Puts the next piece of the table, of about `rows_max` prefixes, at the end of what is tapped, as
    /// [`Tapped::Rows`] with this `dump`. Nothing happens without a tap.
    pub fn tap_rows(&mut self, dump: u64, from: Cursor, rows_max: usize) {
        if let Some(tap) = &mut self.tap {
            let (rows, next) = self.rib.rows(from, rows_max);
            tap.queue.push_back(Tapped::Rows { dump, rows, next });
        }
    }

    /// How many prefixes have a route.
    #[must_use]
    pub fn routes_count(&self) -> usize {
        self.rib.routes_count()
    }

    /// Established sessions, in order of address.
    pub fn sessions(&self) -> Vec<Session> {
        let peers = self.by_address.values().filter_map(|id| self.peers.get(id));
        peers
            .filter_map(|peer| peer.session(peer.established()?))
            .collect()
    }

    /// Where our own AS number and BGP Identifier are.
    pub fn config(&self) -> &crate::config::SpeakerConfig {
        &self.config
    }

    /// Tapped when there is a tap: `what` is not asked otherwise.
    pub(crate) fn tap(&mut self, what: impl FnOnce(&Speaker) -> Option<Tapped>) {
        if self.tap.is_some() {
            let tapped = what(self);
            if let (Some(tap), Some(tapped)) = (&mut self.tap, tapped) {
                tap.queue.push_back(tapped);
            }
        }
    }

    /// The message that `connection` takes next, if such messages are tapped.
    pub(crate) fn tap_received(&mut self, peer: PeerId, at: Time, message: Option<Box<[u8]>>) {
        if let (Some(tap), Some(octets)) = (&mut self.tap, message) {
            let received = Tapped::Received { peer, at, octets };
            tap.queue.push_back(received);
        }
    }

    pub(crate) fn taps_received(&self) -> bool {
        self.tap.as_ref().is_some_and(|tap| tap.config.received)
    }

    /// What of `octets` are UPDATEs.
    pub(crate) fn tap_sent(&mut self, peer: PeerId, at: Time, octets: &[u8]) {
        if let Some(tap) = &mut self.tap
            && tap.config.sent
            && !octets.is_empty()
        {
            let octets = octets.into();
            tap.queue.push_back(Tapped::Sent { peer, at, octets });
        }
    }

    pub(crate) fn tap_down(&mut self, peer: PeerId, at: Time, end: &End) {
        let stopped = self.stopped;
        self.tap(|_| {
            let reason = match &end.cause {
                Cause::Lost if stopped => DownReason::Closed,
                Cause::Lost => DownReason::Lost,
                Cause::HoldTimer => DownReason::NotificationSent(octets(&hold_timer_expired())),
                Cause::Sent(notification) => DownReason::NotificationSent(octets(notification)),
                Cause::Received(notification) => {
                    DownReason::NotificationReceived(octets(notification))
                }
            };
            Some(Tapped::Down { peer, at, reason })
        });
        if let Some(tap) = &mut self.tap {
            tap.ends.retain(|(of, _)| *of != peer);
        }
    }

    pub(crate) fn tap_end_of_rib(&mut self, peer: PeerId, family: Family) {
        if let Some(tap) = &mut self.tap {
            tap.ends.push_back((peer, family));
        }
    }

    pub(crate) fn tap_state(&mut self, id: PeerId, at: Time, old: PeerState) {
        self.tap(|speaker| {
            let peer = speaker.peers.get(&id)?;
            let connection = peer.connections.first();
            let unspecified = match peer.config.remote_address {
                IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                IpAddr::V6(_) => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
            };
            Some(Tapped::State {
                peer: id,
                at,
                remote: connection
                    .map_or(SocketAddr::new(peer.config.remote_address, 0), |c| c.remote),
                local: connection.map_or(SocketAddr::new(unspecified, 0), |c| c.local),
                remote_asn: peer.remote_asn().unwrap_or(0),
                local_asn: peer.config.local_asn,
                old: old.number(),
                new: peer.state().number(),
            })
        });
    }
}

impl Peer {
    /// What a monitor must know of the session on `connection`.
    pub(crate) fn session(&self, connection: &Connection) -> Option<Session> {
        let agreed = connection.negotiated()?;
        Some(Session {
            peer: self.id,
            name: self.config.name.clone(),
            at: connection.established_at?,
            remote: connection.remote,
            local: connection.local,
            remote_asn: agreed.remote_asn,
            local_asn: self.config.local_asn,
            router_id: agreed.remote_router_id,
            sent_open: connection.sent_open(),
            received_open: connection.received_open.clone(),
            codec: agreed.codec.clone(),
        })
    }
}

impl PeerState {
    /// RFC 6396 §4.4.1.
    fn number(self) -> u16 {
        match self {
            PeerState::Idle => 1,
            PeerState::Connect => 2,
            PeerState::Active => 3,
            PeerState::OpenSent => 4,
            PeerState::OpenConfirm => 5,
            PeerState::Established => 6,
        }
    }
}

impl Watch {
    fn new(paths: bool, choices: bool) -> Watch {
        Watch {
            paths: paths.then(BTreeMap::new),
            choices: choices.then(BTreeSet::new),
        }
    }

    /// A path has come, gone or changed. Our own are not noted.
    pub(crate) fn note_path(&mut self, source: Source, prefix: IpNet) {
        let Source::Peer(peer, path_id) = source else {
            return;
        };
        if let Some(paths) = self.paths.as_mut().and_then(|paths| paths.get_mut(&peer)) {
            paths.insert((prefix, path_id));
        }
    }

    /// The peer's session is up: its paths count from now on.
    pub(crate) fn open(&mut self, peer: PeerId) {
        if let Some(paths) = &mut self.paths {
            paths.entry(peer).or_default();
        }
    }

    /// It is down, and all that came with it is gone: nobody needs to be told one by one.
    pub(crate) fn close(&mut self, peer: PeerId) {
        if let Some(paths) = &mut self.paths {
            paths.remove(&peer);
        }
    }

    pub(crate) fn note_choice(&mut self, prefix: IpNet) {
        if let Some(choices) = &mut self.choices {
            choices.insert(prefix);
        }
    }

    pub(crate) fn take_path(&mut self) -> Option<(PeerId, IpNet, u32)> {
        self.paths.as_mut()?.iter_mut().find_map(|(peer, paths)| {
            let (prefix, path_id) = paths.pop_first()?;
            Some((*peer, prefix, path_id))
        })
    }

    pub(crate) fn take_choice(&mut self) -> Option<IpNet> {
        self.choices.as_mut()?.pop_first()
    }
}

fn hold_timer_expired() -> Notification {
    use crate::wire::iana::{UNSPECIFIC, error_code};
    Notification::new(error_code::HOLD_TIMER_EXPIRED, UNSPECIFIC, &[])
}

fn octets(notification: &Notification) -> Box<[u8]> {
    let mut octets = Vec::new();
    let message = Message::Notification(notification.clone());
    Codec::initial().encode(&message, &mut octets);
    octets.into()
}

#[cfg(test)]
mod tests;
