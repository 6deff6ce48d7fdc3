//! Messages as octets (RFC 4271 §4 and successors): decode and encode, side by side.
//!
//! ```text
//!             bytes from a peer                                  paths to announce or withdraw
//!                    │                                                        │
//!   Codec::frame     │ how long, is it a message?     Codec::encode_announce  │ as many prefixes as fit
//!   Codec::decode    ▼                                Codec::encode_withdraw  ▼
//!   Message ─┬─ Open ── Capability ...                                 UPDATEs, octets
//!            ├─ Update ── Attributes, prefixes, AttributeError ...     (Codec::encode: all the others)
//!            ├─ Notification, Keepalive, RouteRefresh
//!            └─ Err(Notification): end the session with it
//! ```
//!
//! Decoding never panics, never allocates more than a small multiple of the message, and says in its
//! error which action the RFCs prescribe (RFC 7606). Start from [`Codec`].

pub mod as_path;
pub mod attributes;
pub mod community;
mod cursor;
pub mod family;
pub mod iana;
pub mod message;
pub mod notification;
pub mod open;
mod pack;
mod prefix;
#[cfg(test)]
mod testing;
pub mod update;

pub use as_path::{AsPath, Segment};
pub use attributes::{Attributes, Origin, UnknownAttribute};
pub use community::Community;
pub use family::Family;
pub use message::{Codec, Message};
pub use notification::Notification;
pub use open::{Capability, Open};
pub use update::{AttributeError, AttributeErrorAction, MpReach, Update};
