//! The log: a line for each session that comes or goes, and moderation for everything that a stranger can cause.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use caracal_bfd::{Discard, Event, Time};
use tracing::{info, warn};

/// When a reason was last worth a line.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    discarded: BTreeMap<&'static str, Time>,
}

impl Journal {
    pub(crate) fn happened(&self, event: &Event) {
        match event {
            Event::Up { session, remote } => {
                info!(%remote, discriminator = %session, "BFD session is up");
            }
            Event::Down {
                session,
                remote,
                reason,
                ..
            } => warn!(%remote, discriminator = %session, %reason, "BFD session is down"),
        }
    }

    /// One line a minute for each reason.
    pub(crate) fn discarded(&mut self, now: Time, source: SocketAddr, reason: Discard) {
        if self.is_news(now, reason.label()) {
            info!(%source, %reason, "discarded a BFD packet; more of this reason are only counted for a minute");
        }
    }

    fn is_news(&mut self, now: Time, label: &'static str) -> bool {
        match self.discarded.get(label) {
            Some(last) if now < *last + QUIET => false,
            _ => {
                self.discarded.insert(label, now);
                true
            }
        }
    }
}

const QUIET: Time = Time::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_a_line_a_minute() {
        let mut journal = Journal::default();
        let times = (0..1200).map(Time::from_millis).map(|time| time * 100);
        let lines = times.filter(|now| journal.is_news(*now, "ttl")).count();
        assert_eq!(lines, 2);
        assert!(journal.is_news(Time::from_secs(121), "version"));
    }
}
