//! The tokio shell of [`caracal_bfd`]: sockets and timers, and no opinion about BFD.
//!
//! [`Bfd`] is the type to start from.
//!
//! ```text
//!   callers ──set, remove, view──► commands ──► driver ── Sessions ──► events (broadcast)
//!                                                │ │
//!    1x local address and kind: port 3784 or 4784┘ └1x session: source port 49152 to 65535
//!                   (RFC 5881 §4, RFC 5883 §5)
//! ```
//!
//! **One owner, on a thread of its own.** The driver is the only task that touches the
//! [`caracal_bfd::Sessions`]. It has a thread with a small runtime, because a BFD packet that waits behind a
//! full table is a failure that did not happen.
//!
//! **Packets before timeouts.** A driver that could not run for a while reads all that has arrived meanwhile
//! before it looks at the clock, so that it does not blame the neighbour. It asks the kernel, not tokio, which
//! may not know yet.
//!
//! **Sockets are desired, actual, pending.** There is a receiving socket for each local address that a session
//! has, and none without sessions. What cannot be opened (the address is not there yet, the port belongs to
//! another BFD daemon) is tried again, and is the session's [`BfdSession::problem`] until then.
//!
//! **Strangers.** A receiving socket hears one address only. What comes from nobody we know costs a system call
//! and a look into a table, is counted by reason, and is logged once a minute. Memory depends on the number of
//! sessions only; the rest is the kernel's buffer of one socket.

mod driver;
mod journal;
mod route;
mod shell;
mod socket;
mod view;

pub use caracal_bfd;
pub use route::{is_on_link, source_towards};
pub use shell::{Bfd, BfdError, Stopped};
pub use view::{BfdSession, BfdView, Counters};

#[cfg(test)]
mod tests;
