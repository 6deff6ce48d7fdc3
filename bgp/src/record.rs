//! A record of all that is done to a speaker, and its replay into another one.
//!
//! ```text
//!   driver ──handle_*, verbs──► Speaker ──poll_*──► driver
//!                 │                          │
//!                 └────────► Tape ◄──────────┘
//!                              │ poll_record
//!                              ▼
//!                        lines of JSON ──► Replay ──► another Speaker: the same answers?
//! ```
//!
//! The speaker is a function of its inputs, so inputs with their times are enough to see once more what happened
//! in the field. The order in which a driver takes the outputs is an input as well (what is superseded before
//! it is taken is never sent), so outputs are recorded too: octets as length and digest. A replay
//! compares them, and names the first that differs.
//!
//! There are no keys and passwords in it: a speaker does not know any.

use crate::wire::Family;
use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::config::{LocalPath, PeerConfig, SpeakerConfig};
use crate::event::{BfdState, ConnectionId};
use crate::peer_key::PeerKey;
use crate::speaker::{Reset, Speaker};
use crate::time::Time;

/// One thing that was done to a speaker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// When, in microseconds of the driver's clock.
    #[serde(rename = "at")]
    pub at_micros: u64,
    /// What.
    #[serde(flatten)]
    pub step: Step,
}

/// What was done: the method of [`Speaker`] and what it was given; for outputs, what it answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "do",
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
#[expect(missing_docs, reason = "they are named after the methods")]
pub enum Step {
    /// [`Speaker::new`], always the first.
    Start {
        config: SpeakerConfig,
    },
    SetPeer {
        config: Box<PeerConfig>,
    },
    RemovePeer {
        remote: PeerKey,
    },
    ResetPeer {
        remote: PeerKey,
        reset: Reset,
        words: String,
    },
    RefreshPeer {
        remote: PeerKey,
        family: Option<Family>,
    },
    ShutPeer {
        remote: PeerKey,
        words: String,
    },
    BringUpPeer {
        remote: PeerKey,
    },
    GracefulShutdown {
        on: bool,
    },
    Reflection {
        cluster_id: Option<Ipv4Addr>,
        client_to_client: bool,
    },
    ReleasePeer {
        remote: PeerKey,
    },
    Originate {
        prefix: IpNet,
        path: LocalPath,
    },
    Withdraw {
        prefix: IpNet,
    },
    FinishRestart,
    Incoming {
        local: SocketAddr,
        remote: SocketAddr,
        /// Over which network device, if the driver said so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        interface: Option<String>,
        /// What it was given; `None`: refused.
        connection: Option<ConnectionId>,
    },
    Connected {
        connection: ConnectionId,
        local: SocketAddr,
    },
    ConnectFailed {
        connection: ConnectionId,
        reason: String,
    },
    Bytes {
        connection: ConnectionId,
        octets: Octets,
    },
    Closed {
        connection: ConnectionId,
        reason: String,
    },
    Bfd {
        remote: PeerKey,
        state: BfdState,
    },
    Timeout,
    ShutDown {
        keep_forwarding: bool,
        words: String,
    },
    /// An action that was polled, in words.
    Action {
        action: String,
    },
    /// `None`: none was ready any more.
    Ready {
        connection: Option<ConnectionId>,
    },
    Transmit {
        connection: ConnectionId,
        octets_max: usize,
        /// How many came.
        octets: usize,
        /// FNV-1a of them.
        digest: u64,
        more: bool,
    },
    /// An event that was polled, in words.
    Event {
        event: String,
    },
    RouteChange {
        prefix: IpNet,
    },
}

/// Octets; base64 in the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Octets(pub Vec<u8>);

impl From<Octets> for String {
    fn from(octets: Octets) -> String {
        BASE64.encode(octets.0)
    }
}

impl TryFrom<String> for Octets {
    type Error = String;

    fn try_from(text: String) -> Result<Octets, String> {
        let octets = BASE64.decode(&text);
        octets
            .map(Octets)
            .map_err(|error| format!("no base64: {error}"))
    }
}

/// The speaker's side of a record.
#[derive(Debug, Default)]
pub(crate) struct Tape(VecDeque<Record>);

impl Speaker {
    /// Records from now on, or stops it. To be replayed, a record must begin with a new speaker.
    pub fn set_recording(&mut self, now: Time, on: bool) {
        self.tape = on.then(Box::default);
        let config = self.config.clone();
        self.record(now, || Step::Start { config });
    }

    /// What was done since it was last asked, one thing at a time. To be drained with the other outputs.
    #[must_use]
    pub fn poll_record(&mut self) -> Option<Record> {
        self.tape.as_mut()?.0.pop_front()
    }

    /// Recorded when there is a tape: `step` is not made otherwise.
    pub(crate) fn record(&mut self, now: Time, step: impl FnOnce() -> Step) {
        if let Some(tape) = &mut self.tape {
            tape.0.push_back(Record {
                at_micros: now.as_micros(),
                step: step(),
            });
        }
    }

    /// Of what has no time of its own.
    pub(crate) fn record_output(&mut self, step: impl FnOnce() -> Step) {
        if let Some(tape) = &mut self.tape {
            let at_micros = tape.0.back().map_or(0, |last| last.at_micros);
            let step = step();
            tape.0.push_back(Record { at_micros, step });
        }
    }
}

/// A record being replayed.
#[derive(Debug, Default)]
pub struct Replay {
    speaker: Option<Speaker>,
}

/// Why a replay ended early.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// Something was done before there was a speaker.
    #[error("the record does not begin with `start`")]
    NoStart,
    /// The speaker did not do what it did then.
    #[error("recorded was {recorded}, replayed is {replayed}")]
    Different {
        /// Then.
        recorded: String,
        /// Now.
        replayed: String,
    },
}

impl Replay {
    /// Does the next thing and compares the answer. Nothing should be replayed after an error.
    pub fn step(&mut self, record: &Record) -> Result<(), ReplayError> {
        let now = Time::from_micros(record.at_micros);
        if let Step::Start { config } = &record.step {
            let mut speaker = Speaker::new(config.clone(), now);
            speaker.set_recording(now, true);
            self.speaker = Some(speaker);
        } else {
            let speaker = self.speaker.as_mut().ok_or(ReplayError::NoStart)?;
            perform(speaker, now, &record.step);
        }
        let replayed = self.speaker.as_mut().and_then(Speaker::poll_record);
        match replayed {
            Some(replayed) if replayed.step == record.step => Ok(()),
            replayed => Err(ReplayError::Different {
                recorded: format!("{:?}", record.step),
                replayed: replayed.map_or("nothing".to_owned(), |r| format!("{:?}", r.step)),
            }),
        }
    }

    /// The speaker, as far as it has come.
    pub fn speaker(&self) -> Option<&Speaker> {
        self.speaker.as_ref()
    }

    /// The same, for good.
    pub fn into_speaker(self) -> Option<Speaker> {
        self.speaker
    }
}

/// One call; the speaker records it itself. Answers are compared in its record.
fn perform(speaker: &mut Speaker, now: Time, step: &Step) {
    match step {
        Step::Start { .. } => {}
        Step::SetPeer { config } => {
            speaker.set_peer(now, (**config).clone());
        }
        Step::RemovePeer { remote } => speaker.remove_peer(now, remote),
        Step::ResetPeer {
            remote,
            reset,
            words,
        } => {
            let _ = speaker.reset_peer(now, remote, *reset, words);
        }
        Step::RefreshPeer { remote, family } => {
            let _ = speaker.refresh_peer(now, remote, *family);
        }
        Step::ShutPeer { remote, words } => {
            let _ = speaker.shut_peer(now, remote.clone(), words);
        }
        Step::BringUpPeer { remote } => {
            let _ = speaker.bring_up_peer(now, remote.clone());
        }
        Step::GracefulShutdown { on } => speaker.set_graceful_shutdown(now, *on),
        Step::Reflection {
            cluster_id,
            client_to_client,
        } => speaker.set_reflection(now, *cluster_id, *client_to_client),
        Step::ReleasePeer { remote } => speaker.release_peer(now, remote),
        Step::Originate { prefix, path } => speaker.originate(now, *prefix, path.clone()),
        Step::Withdraw { prefix } => speaker.withdraw(now, *prefix),
        Step::FinishRestart => speaker.finish_restart(now),
        Step::Incoming {
            local,
            remote,
            interface,
            ..
        } => {
            let _ = speaker.handle_incoming_over(now, *local, *remote, interface.as_deref());
        }
        Step::Connected { connection, local } => {
            speaker.handle_connected(now, *connection, *local);
        }
        Step::ConnectFailed { connection, reason } => {
            speaker.handle_connect_failed(now, *connection, reason);
        }
        Step::Bytes { connection, octets } => speaker.handle_bytes(now, *connection, &octets.0),
        Step::Closed { connection, reason } => speaker.handle_closed(now, *connection, reason),
        Step::Bfd { remote, state } => speaker.handle_bfd(now, remote, *state),
        Step::Timeout => speaker.handle_timeout(now),
        Step::ShutDown {
            keep_forwarding,
            words,
        } => speaker.shut_down(now, *keep_forwarding, words),
        Step::Action { .. } => {
            let _ = speaker.poll_action();
        }
        Step::Ready { .. } => {
            let _ = speaker.poll_ready();
        }
        Step::Transmit {
            connection,
            octets_max,
            ..
        } => {
            let _ = speaker.poll_transmit(now, *connection, &mut Vec::new(), *octets_max);
        }
        Step::Event { .. } => {
            let _ = speaker.poll_event();
        }
        Step::RouteChange { .. } => {
            let _ = speaker.poll_route_change();
        }
    }
}

/// FNV-1a, 64 bits: the same on every machine, and with every version.
pub(crate) fn digest(octets: &[u8]) -> u64 {
    octets.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &octet| {
        (hash ^ u64::from(octet)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests;
