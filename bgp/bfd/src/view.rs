//! What people and programs may see of a session: plain data, with serde, for the socket API.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Time;
use crate::config::Kind;
use crate::event::SessionId;
use crate::session::Session;
use crate::state::State;

/// A session as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionView {
    /// Our discriminator.
    pub discriminator: SessionId,
    /// The other side's; `None`: it is not heard.
    pub remote_discriminator: Option<SessionId>,
    /// As configured.
    pub remote: IpAddr,
    /// As configured.
    pub local: IpAddr,
    /// As configured.
    pub kind: Kind,
    /// Ours.
    pub state: State,
    /// Seconds in this state.
    pub state_seconds: u64,
    /// The other side's, as it last said.
    pub remote_state: Option<State>,
    /// Why our state changed last, as we tell the other side.
    pub diagnostic: String,
    /// Why the other side's state changed last, as it tells us.
    pub remote_diagnostic: Option<String>,
    /// Between the packets that we send, before jitter; `None`: we send none unasked.
    pub transmit_interval_micros: Option<u64>,
    /// How long the other side may be silent.
    pub detection_time_micros: Option<u64>,
    /// Desired Min TX Interval of the other side.
    pub remote_min_tx_micros: Option<u64>,
    /// Required Min RX Interval of the other side.
    pub remote_min_rx_micros: Option<u64>,
    /// Detect Mult of the other side.
    pub remote_multiplier: Option<u8>,
    /// Packets of this session that were accepted.
    pub packets_received: u64,
    /// Packets sent.
    pub packets_sent: u64,
    /// How often it left Up.
    pub flaps: u64,
    /// Why it left Up last.
    pub last_down: Option<String>,
}

impl SessionView {
    pub(crate) fn new(now: Time, session: &Session) -> SessionView {
        let remote = session.remote.as_ref().map(|remote| &remote.packet);
        let counters = &session.counters;
        SessionView {
            discriminator: session.id,
            remote_discriminator: remote.map(|r| r.my_discriminator),
            remote: session.config.remote,
            local: session.config.local,
            kind: session.config.kind,
            state: session.state,
            state_seconds: now.saturating_sub(session.since).as_secs(),
            remote_state: remote.map(|r| r.state),
            diagnostic: session.diagnostic.to_string(),
            remote_diagnostic: remote.map(|r| r.diagnostic.to_string()),
            transmit_interval_micros: session.transmit_interval().map(micros),
            detection_time_micros: session.detection_time().map(micros),
            remote_min_tx_micros: remote.map(|r| micros(r.desired_min_tx)),
            remote_min_rx_micros: remote.map(|r| micros(r.required_min_rx)),
            remote_multiplier: remote.map(|r| r.detect_multiplier),
            packets_received: counters.packets_received,
            packets_sent: counters.packets_sent,
            flaps: counters.flaps,
            last_down: counters.last_down.map(|reason| reason.to_string()),
        }
    }
}

fn micros(interval: Duration) -> u64 {
    u64::try_from(interval.as_micros()).unwrap_or(u64::MAX)
}
