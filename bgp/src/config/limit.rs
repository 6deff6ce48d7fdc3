//! How many prefixes a peer may send (RFC 4271 §6.7).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::seconds;

/// The bound for one family. What counts is what was received, whatever import policy thinks of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PrefixLimit {
    /// So many are still good.
    pub max: usize,
    /// From this percentage of `max` on there is a warning, once until it falls below; `None`: no warning.
    #[serde(default)]
    pub warn_percent: Option<u8>,
    /// What happens to one that sends more.
    pub action: LimitAction,
}

/// What happens to a peer that sends too many prefixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum LimitAction {
    /// Nothing but the warning.
    Warn,
    /// The session ends (RFC 4486 §4, Maximum Number of Prefixes Reached), and may come back after this time.
    Restart {
        /// How long nobody may connect.
        #[serde(with = "seconds")]
        after: Duration,
    },
    /// The session ends, and stays away until the operator resets the peer or raises the bound.
    Stop,
}

impl PrefixLimit {
    /// From how many prefixes on there is a warning.
    pub(crate) fn warns_at(&self) -> Option<usize> {
        let percent = usize::from(self.warn_percent?);
        Some(self.max.saturating_mul(percent).div_ceil(100))
    }
}
