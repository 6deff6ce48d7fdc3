//! What people and programs may see: plain data, with serde.

use std::collections::BTreeMap;

use caracal_bfd::SessionView;
use serde::{Deserialize, Serialize};

/// All of BFD as it is now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BfdView {
    /// The sessions, those too that are being taken down.
    pub sessions: Vec<BfdSession>,
    /// Packets that were discarded, by reason ([`caracal_bfd::Discard::label`]).
    pub discards: BTreeMap<String, u64>,
    /// What happened so far.
    pub counters: Counters,
}

/// A session and the state of its sockets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BfdSession {
    /// The session.
    #[serde(flatten)]
    pub session: SessionView,
    /// Why it cannot hear or speak: a socket that could not be opened, a packet that could not be sent.
    pub problem: Option<String>,
}

/// Since the start, of all sessions, also of those that are gone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counters {
    /// How often a session went Up.
    pub ups: u64,
    /// How often one left Up.
    pub downs: u64,
    /// Packets that the system did not take.
    pub send_errors: u64,
}
