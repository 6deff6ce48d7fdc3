//! What a BGP speaker does, for others to watch: BMP and MRT without I/O, and records that can be replayed.
//!
//! ```text
//!                    poll_tap                               poll_transmit
//!   Speaker (1x) ─────────────► Monitor (1x) ─► Station (Nx) ─────────────► BMP collectors
//!      ▲                          │  │  │
//!      │ tap_rows                 │  │  └────► Updates (0..1) ── poll_mrt ─► MRT files
//!      └── poll_request ◄─────────┘  └───────► RibDump (0..1) ── poll_mrt ─► MRT files
//! ```
//!
//! [`Monitor`] is the type to start from. Its methods are of the kinds that those of
//! [`caracal_bgp::Speaker`] are: `handle_*` takes what was tapped, what became of connections, and time; `poll_*`
//! gives what the shell shall do and write. It neither opens nor sleeps nor reads a clock.
//!
//! A table is told as it *is*: a prefix that changes ten times while a collector is busy is told once. A dump is
//! a walk over the table in pieces that the slowest part asks for, so that a table of half a million prefixes
//! neither stalls the speaker nor lies in memory twice. A collector that cannot follow even so is let go when
//! its queue is full, and begins anew.
//!
//! | RFC | | where |
//! |---|---|---|
//! | 7854 | BMP | `bmp`, `station` |
//! | 9069 | BMP for the Loc-RIB | `bmp`, `station` |
//! | 6396 | MRT | `mrt`, `rib_dump`, `updates` |
//! | 8050 | MRT with ADD-PATH | `mrt` |

pub mod bmp;
pub mod config;
mod monitor;
pub mod mrt;
mod pen;
pub mod record;
mod rib_dump;
mod station;
mod updates;
mod wall;

pub use config::MonitorConfig;
pub use monitor::{Identity, Monitor, MrtFile, MrtOutput, Request, StationId};
pub use station::StationView;
pub use wall::WallClock;

#[cfg(test)]
mod testing;
