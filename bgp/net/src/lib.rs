//! The tokio shell of [`caracal_bgp`]: sockets and timers, and no opinion about BGP.
//!
//! [`Shell`] is the type to start from.
//!
//! ```text
//!   callers ──with(closure)──► commands ┐                         ┌─► events        (broadcast)
//!                                       ├──► driver ── Speaker ───┼─► route changes (watch)
//!   listener  (1x address) ──► inputs ──┤     (1x)                └─► log
//!   connect   (1x attempt) ──► inputs ──┤      │
//!   connection (1x TCP)    ──► inputs ──┘      └──► one buffer at a time ──► connection
//! ```
//!
//! **One owner.** The driver is the only task that touches the [`caracal_bgp::Speaker`]; all others hand it
//! something over a bounded channel. It has a thread of its own (`thread.rs`), which also accepts, connects and reads: an
//! UPDATE is on its way to all others without a thread being woken for it. It works in *turns*: some inputs, the timers, the actions, some
//! transmissions, the events. Each part of a turn is bounded, so a peer that sends a full table does not
//! delay the keepalives of the others.
//!
//! **Reading.** A connection takes a place in the input channel *before* it reads, so what the driver cannot
//! take stays in the kernel and TCP slows the sender down. Places are given in the order asked for, and nobody has
//! more than two, so that a keepalive waits for at most two reads of each other peer.
//!
//! **Writing.** What is small the driver writes itself, since to wake the connection's task would cost more than the
//! write. What is large, and what the socket has no room for, goes to that task: other cores copy it. It has at
//! most one buffer of about 32 KiB in its hands, and when many have one the driver writes what is large as well. The driver asks the speaker for the next one when that is written;
//! a peer that does not read costs one buffer and holds nobody, and what was superseded meanwhile is never encoded
//! for it.
//!
//! **Hostile peers.** Who is no peer is refused by a reset, which leaves no state with us or in the kernel; what is
//! told of them is limited. An address has a few connections at most, those included that are being closed.
//! Without descriptors, accepting pauses and sessions go on.
//!
//! **Threads.** What is large is written by the runtime in which the [`Shell`] was started: system calls and copies, which
//! are most of the work of a table that goes to many, use all cores. Reading is cheaper than to hand over what was read. Framing and
//! decoding have their place in `connection::read` (between the read and the hand-over), from where they could go to others
//! when the core can be handed decoded messages.
//!
//! **Signatures and distance.** TCP MD5 (RFC 2385) and GTSM (RFC 5082) are matters of sockets, so the speaker
//! does not know of them: [`SessionOptions`] are kept here, by address or prefix, and every socket gets those
//! of its other end (`options.rs`).
//!
//! **Links.** [`Unnumbered`] makes a peer of each router that it hears on a network device.

mod bfd;
mod connection;
mod driver;
mod journal;
mod listener;
pub mod monitor;
mod options;
mod places;
pub mod recorder;
mod shell;
mod socket;
mod sockopt;
mod thread;
mod unnumbered;

pub use bfd::PathWatch;
pub use caracal_bfd_net as bfd_net;
pub use listener::NetError;
pub use options::{BadKey, Md5Key, OptionsError, SessionOptions};
pub use recorder::Recording;
pub use shell::{Admission, Shell, Stopped};
pub use unnumbered::{Unnumbered, UnnumberedConfig, UnnumberedView};

#[cfg(test)]
mod tests;
