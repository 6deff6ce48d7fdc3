//! BFD without I/O: datagrams, time and configuration in; datagrams, deadlines, Up and Down out.
//!
//! ```text
//!      handle_packet   ┌───────────────────────── Sessions ─────────────────────────┐
//!  UDP ───────────────►│ demultiplexer: Your Discriminator, else the two addresses   │
//!   ▲                  │      │ Packet                                               │
//!   │  poll_transmit   │      ▼                                                      │
//!   │◄─────────────────│ Session (one a neighbour): state::next, timers, Poll        │
//!                      └───────────────┬─────────────────────────────────────────────┘
//!  time: handle_timeout, poll_timeout  │ poll_event
//!  operator: set, remove               ▼
//!                                  Up, Down and why
//! ```
//!
//! [`Sessions`] is the type to start from. Its methods are of four kinds: `handle_*` for what network and clock
//! bring, verbs for what the operator wants, `poll_*` for what the driver shall do, and questions.
//!
//! *Invariant:* nothing here sleeps, opens, reads a clock or draws randomness from outside. The same inputs give
//! the same outputs, octet by octet.
//!
//! *Invariant:* anyone can send any bytes. A packet is discarded with a [`Discard`] or belongs to a session, and
//! memory depends on the number of sessions only.
//!
//! | RFC | | where |
//! |---|---|---|
//! | 5880 §4.1 | packets | [`packet`] |
//! | 5880 §6.2, §6.8.6 | states | [`state`] |
//! | 5880 §6.5, §6.8 | timers, Poll Sequences, detection, AdminDown | `session` |
//! | 5880 §6.3, 5881, 5883 | demultiplexing, ports, TTL | [`sessions`] |
//!
//! Asynchronous mode, active role, no authentication, no Echo; `docs/rfc/bfd.md` has the table.

pub mod config;
pub mod event;
pub mod packet;
mod rng;
mod session;
pub mod sessions;
pub mod state;
mod timers;
pub mod view;

use std::time::Duration;

pub use config::{ConfigError, Kind, SessionConfig};
pub use event::{DownReason, Event, SessionId, Transmit};
pub use packet::{Diagnostic, Discard, Packet};
pub use sessions::Sessions;
pub use state::State;
pub use view::SessionView;

/// Time since an epoch that the driver chose. Monotonic.
///
/// All that happens to a point of time here is that a span is added, so the standard library's type does.
pub type Time = Duration;

#[cfg(test)]
mod testing;
