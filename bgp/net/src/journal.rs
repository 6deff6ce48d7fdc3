//! What the log says: one line a state change, about a named peer.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use caracal_bgp::{Event, PeerId, Speaker};
use tracing::{debug, info, warn};

/// Turns events into log lines, and keeps what repeats itself from filling the log.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    /// The newest complaint about a peer: a peer that is away fails in the same way every few seconds.
    complaints: HashMap<PeerId, String>,
    refusals: Refusals,
    strangers: Strangers,
}

impl Journal {
    /// Logs one event.
    pub(crate) fn record(&mut self, speaker: &Speaker, event: &Event) {
        match event {
            Event::Up { peer, .. } => {
                self.complaints.remove(peer);
                let (name, address) = identity(speaker, *peer);
                info!(peer = %name, %address, "peer is up");
            }
            Event::Down {
                peer,
                reason,
                stale_kept,
                ..
            } => {
                let (name, address) = identity(speaker, *peer);
                warn!(peer = %name, %address, %reason, routes_kept = stale_kept, "peer is down");
            }
            Event::ConnectionFailed {
                peer: Some(peer),
                remote,
                reason,
            } => {
                let (name, _) = identity(speaker, *peer);
                if self.is_news(*peer, reason) {
                    info!(peer = %name, address = %remote, %reason, "no session with peer");
                } else {
                    debug!(peer = %name, address = %remote, %reason, "still no session with peer");
                }
            }
            // Logged by `refused`, with a limit.
            Event::ConnectionFailed { peer: None, .. } => {}
            Event::EndOfRib { peer } => {
                let (name, address) = identity(speaker, *peer);
                debug!(peer = %name, %address, "peer has sent everything it had");
            }
            Event::DeferralOver { peer } => {
                let (name, address) = identity(speaker, *peer);
                debug!(peer = %name, %address, "no longer waiting for peer's routes after our restart");
            }
            Event::PrefixLimit {
                peer,
                family,
                received,
                max,
            } => {
                let (name, address) = identity(speaker, *peer);
                warn!(peer = %name, %address, "{received} prefixes of {family} received, the limit is {max}");
            }
            Event::LongLivedStale { peer, family } => {
                let (name, address) = identity(speaker, *peer);
                warn!(peer = %name, %address, %family, "peer is away for long: its routes are the last resort");
            }
            Event::Refreshed {
                peer,
                family,
                swept,
                complete,
            } => {
                let (name, address) = identity(speaker, *peer);
                if *complete {
                    info!(peer = %name, %address, %family, swept, "peer has sent its routes once more");
                } else {
                    warn!(peer = %name, %address, %family, swept, "peer did not finish to send its routes once more");
                }
            }
            Event::RefreshIgnored { peer, detail } => {
                let (name, address) = identity(speaker, *peer);
                if self.is_news(*peer, detail) {
                    warn!(peer = %name, %address, %detail, "ignored a ROUTE-REFRESH of peer");
                } else {
                    debug!(peer = %name, %address, %detail, "ignored a ROUTE-REFRESH of peer again");
                }
            }
            Event::UpdateError { peer, detail } => {
                let (name, address) = identity(speaker, *peer);
                if self.is_news(*peer, detail) {
                    warn!(peer = %name, %address, %detail, "peer sent a faulty UPDATE");
                } else {
                    debug!(peer = %name, %address, %detail, "peer sent a faulty UPDATE again");
                }
            }
            Event::FamilyDisabled { peer, family } => {
                let (name, address) = identity(speaker, *peer);
                warn!(peer = %name, %address, %family, "peer's routes of a family cannot be read: it is without them until its session begins anew");
            }
            Event::PathsRefused {
                peer,
                count,
                first,
                paths_max,
            } => {
                let (name, address) = identity(speaker, *peer);
                let what = format!("more than {paths_max} paths of a prefix");
                if self.is_news(*peer, &what) {
                    warn!(peer = %name, %address, count, %first, "refused {what} from peer");
                } else {
                    debug!(peer = %name, %address, count, %first, "refused {what} from peer again");
                }
            }
            Event::PrefixLimitOut {
                peer,
                family,
                limit,
            } => {
                let (name, address) = identity(speaker, *peer);
                warn!(peer = %name, %address, %family, limit, "peer has as much as it may have; the rest is held back");
            }
        }
    }

    /// Logs a connection that was closed at once, unless there was such a line a moment ago.
    pub(crate) fn refused(&mut self, remote: SocketAddr, reason: &str) {
        if let Some(unnamed) = self.refusals.admit(Instant::now()) {
            info!(%remote, %reason, unnamed, "refused a connection");
        }
    }

    /// False for what would only bury the rest: a stranger after many others.
    pub(crate) fn is_worth_telling(&mut self, event: &Event) -> bool {
        match event {
            Event::ConnectionFailed { peer: None, .. } => self.strangers.admit(Instant::now()),
            _ => true,
        }
    }

    fn is_news(&mut self, peer: PeerId, complaint: &str) -> bool {
        if self
            .complaints
            .get(&peer)
            .is_some_and(|last| last == complaint)
        {
            return false;
        }
        self.complaints.insert(peer, complaint.to_owned());
        true
    }
}

fn identity(speaker: &Speaker, peer: PeerId) -> (String, String) {
    match speaker.peer_identity(peer) {
        Some((name, address)) => (name, address.to_string()),
        None => ("removed".to_owned(), format!("#{}", peer.0)),
    }
}

/// At most one line each [`QUIET`].
#[derive(Debug, Default)]
struct Refusals {
    last: Option<Instant>,
    unnamed: u64,
}

impl Refusals {
    /// `Some`: log it, and say that so many before it were not logged.
    fn admit(&mut self, now: Instant) -> Option<u64> {
        if self
            .last
            .is_some_and(|last| now.saturating_duration_since(last) < QUIET)
        {
            self.unnamed += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.unnamed))
    }
}

/// At most [`STRANGERS_MAX`] each [`QUIET`].
#[derive(Debug, Default)]
struct Strangers {
    since: Option<Instant>,
    told: usize,
}

impl Strangers {
    fn admit(&mut self, now: Instant) -> bool {
        if self
            .since
            .is_none_or(|since| now.saturating_duration_since(since) >= QUIET)
        {
            self.since = Some(now);
            self.told = 0;
        }
        self.told += 1;
        self.told <= STRANGERS_MAX
    }
}

const QUIET: Duration = Duration::from_secs(10);
/// A small part of what the channel of events holds.
const STRANGERS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_refused_connections_is_one_line_with_a_count() {
        let mut refusals = Refusals::default();
        let start = Instant::now();
        assert_eq!(refusals.admit(start), Some(0));
        for _ in 0..1000 {
            assert_eq!(refusals.admit(start + QUIET / 2), None);
        }
        assert_eq!(refusals.admit(start + QUIET), Some(1000));
        assert_eq!(refusals.admit(start + QUIET * 2), Some(0));
    }

    #[test]
    fn of_many_strangers_some_are_told() {
        let mut strangers = Strangers::default();
        let start = Instant::now();
        let told = (0..10_000).filter(|_| strangers.admit(start)).count();
        assert_eq!(told, STRANGERS_MAX);
        assert!(strangers.admit(start + QUIET));
    }

    #[test]
    fn a_complaint_is_news_once_until_it_changes() {
        let mut journal = Journal::default();
        let peer = PeerId(7);
        assert!(journal.is_news(peer, "connection refused"));
        assert!(!journal.is_news(peer, "connection refused"));
        assert!(journal.is_news(peer, "no answer within 10 s"));
        assert!(journal.is_news(PeerId(8), "connection refused"));
    }
}
