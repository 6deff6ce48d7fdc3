//! Clusters of thousands of nodes in one process and virtual time, to see how the work grows.
//!
//! ```text
//!   Shape ──► World ─── reflectors: whole speakers                        ┐ some metered: octets of heap,
//!             one heap  whole nodes: whole speakers, all tables           ┘ processor time
//!             of events light nodes: a speaker for the session, a Book for the paths
//!                │
//!   story ───────┴──► Account: convergence, UPDATEs, octets; check() compares everybody with what must be
//! ```
//!
//! Five thousand tables of 20,000 prefixes do not fit into a machine, and need not: all nodes have the same. So a
//! few nodes are *whole*, and the others *light*: their session is a [`Speaker`](caracal_bgp::Speaker) like any
//! other (OPEN, timers, graceful restart, their own blocks), but an UPDATE that comes in is decoded by the same
//! [`Codec`](caracal_bgp::wire::Codec), once where the same octets go to many, and noted in a
//! [`Book`](book::Book), one bit for each reflector and block, instead of in tables. A bit is set by an announcement whose next hop is the block's own node, and by nothing
//! else, so that in the end each light node's book can be compared with what must be there, block by block.
//!
//! Time: a piece of a stream takes its octets' time on the sender's link and some latency, and the next piece of
//! the same connection waits for the answer to it. Processors take no virtual time. What the speakers under
//! test really used of one is counted beside it.

pub mod account;
mod agenda;
pub mod blocks;
pub mod book;
pub mod host;
mod reading;
pub mod shape;
pub mod story;
mod verify;
pub mod world;

pub use account::Account;
pub use shape::Shape;
pub use story::Story;
pub use world::World;
