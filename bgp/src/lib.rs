//! BGP-4 without I/O: bytes, time and local prefixes in; bytes, deadlines and Loc-RIB changes out.
//!
//! [`Speaker`] is the type to start from.
//!
//! Invariant: nothing here sleeps, spawns, opens, reads a clock or draws randomness from outside.

pub mod config;
pub mod event;
pub mod speaker;
pub mod time;
pub mod view;
pub mod wire;

pub use config::{LocalPath, NextHopMode, PeerConfig, SpeakerConfig};
pub use event::{Action, ConnectionId, Event, PeerId};
pub use speaker::Speaker;
pub use time::Time;
