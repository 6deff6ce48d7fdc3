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
pub mod capability;
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
pub(crate) mod testing;
mod text;
pub mod update;

pub use as_path::{AsPath, Segment};
pub(crate) use attributes::Reflection;
pub use attributes::{Aigp, Attributes, Origin, Partial, UnknownAttribute};
pub use capability::{AddPathMode, Capability, LongLivedFamily, NextHopAfi, Role};
pub use community::Community;
pub use family::Family;
pub use message::{Codec, Message, RouteRefresh, RouteRefreshKind};
pub use notification::Notification;
pub use open::Open;
pub use prefix::Nlri;
pub use update::{AttributeError, AttributeErrorAction, MpReach, Update};
