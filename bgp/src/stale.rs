//! Paths that wait for their peer to say them again: why, and until when. One [`Kept`] a family.
//!
//! ```text
//!   session lost              Restart Time over              stale time over
//!  ─────────────► Restarting ───────────────────► LongLived ─────────────────► gone
//!                     │        (or gone at once)      │
//!                     └─────────────┬─────────────────┘
//!                                   ▼ session back, F set
//!                               Returned ── End-of-RIB, or time ──► what is still stale is gone
//!
//!   BoRR ──────────────────► Refreshing ── EoRR, or time ─────────► what is still stale is gone
//! ```
//!
//! Restarting and Returned are RFC 4724 §4.2, LongLived is RFC 9494 §4.2, Refreshing is RFC 7313 §4.
//! Nothing is done here: the speaker asks what has become of a family, and acts on its RIB.

use std::time::Duration;

use crate::rib::PeerFacts;
use crate::time::Time;
use crate::wire::{Attributes, Family};

/// The stale paths of one family of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) family: Family,
    pub(crate) stage: Stage,
    /// When the stage is over by itself.
    pub(crate) until: Time,
}

/// Why paths are stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The session is gone, and the peer has its Restart Time to come back.
    Restarting { then: LongLived },
    /// The session has been gone for longer.
    LongLived,
    /// The session is back, and End-of-RIB is awaited. A long-lived stale time that runs goes on until it has
    /// come (RFC 9494 §4.2), should the session be lost before.
    Returned { long_lived: Option<Time> },
    /// The peer is saying everything once more.
    Refreshing,
}

/// What follows Restart Time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LongLived {
    Never,
    /// From then on.
    For(Duration),
    /// It began before an earlier return, and goes on.
    Until(Time),
}

impl Kept {
    /// The session is lost, with these times for the family; `before` is what was kept during it. `None`: nothing is
    /// to be kept now.
    pub(crate) fn lost(
        now: Time,
        family: Family,
        restart_time: Duration,
        stale_time: Duration,
        before: Option<&Kept>,
    ) -> Option<Kept> {
        let running = before.and_then(|kept| match kept.stage {
            Stage::Returned { long_lived } => long_lived,
            _ => None,
        });
        let then = match running {
            Some(until) if until <= now => LongLived::Never,
            Some(until) => LongLived::Until(until),
            None if stale_time.is_zero() => LongLived::Never,
            None => LongLived::For(stale_time),
        };
        let kept = Kept {
            family,
            stage: Stage::Restarting { then },
            until: now + restart_time,
        };
        if restart_time.is_zero() {
            // RFC 9494 §4.2: the long-lived period begins at once.
            return kept.over(now);
        }
        Some(kept)
    }

    /// The stage is over: the next one, or nothing.
    pub(crate) fn over(&self, now: Time) -> Option<Kept> {
        let Stage::Restarting { then } = self.stage else {
            return None;
        };
        let until = match then {
            LongLived::Never => return None,
            LongLived::For(time) => now + time,
            LongLived::Until(until) if until <= now => return None,
            LongLived::Until(until) => until,
        };
        let (family, stage) = (self.family, Stage::LongLived);
        Some(Kept {
            family,
            stage,
            until,
        })
    }

    /// The session is back and the family may stay until End-of-RIB, or for `patience`.
    pub(crate) fn returned(&self, now: Time, patience: Duration) -> Kept {
        let long_lived = match self.stage {
            Stage::LongLived => Some(self.until),
            Stage::Restarting {
                then: LongLived::Until(until),
            } => Some(until),
            Stage::Returned { long_lived } => long_lived,
            Stage::Restarting { .. } | Stage::Refreshing => None,
        };
        Kept {
            stage: Stage::Returned { long_lived },
            until: now + patience,
            ..*self
        }
    }

    /// Begin of route refresh.
    pub(crate) fn refreshing(now: Time, family: Family, patience: Duration) -> Kept {
        Kept {
            family,
            stage: Stage::Refreshing,
            until: now + patience,
        }
    }

    /// The long-lived stale time had begun before the peer came back: its end decides (RFC 9494 §4.2), also about
    /// paths that were stale twice.
    pub(crate) fn is_long_lived(&self) -> bool {
        match self.stage {
            Stage::LongLived => true,
            Stage::Restarting { then } => matches!(then, LongLived::Until(_)),
            Stage::Returned { long_lived } => long_lived.is_some(),
            Stage::Refreshing => false,
        }
    }
}

/// What its sender says of a path (`None`: it is our own): some speaker keeps it beyond its peer's Restart Time. It counts
/// from those to whom we have offered long-lived graceful restart, and is a community like others from anybody else
/// (RFC 9494 §4.3): they were not to send such paths, save as §4.6 makes them the last choice by LOCAL_PREF.
pub(crate) fn says_long_lived_stale(attributes: &Attributes, sender: Option<&PeerFacts>) -> bool {
    sender.is_some_and(|sender| sender.long_lived) && attributes.communities.contains(&LLGR_STALE)
}

/// RFC 9494 §6: a community of paths that some speaker keeps beyond their time.
pub(crate) const LLGR_STALE: u32 = 0xffff_0006;
/// RFC 9494 §6: a community of paths that shall not be kept so long.
pub(crate) const NO_LLGR: u32 = 0xffff_0007;

#[cfg(test)]
mod tests;
