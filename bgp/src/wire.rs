//! Messages as octets (RFC 4271 §4 and successors): decode and encode, side by side.
//!
//! Decoding never panics, never allocates more than a small multiple of the message, and says in its
//! error which action the RFCs prescribe (RFC 7606).

pub mod attributes;
pub mod message;
pub mod open;
pub mod update;

pub use attributes::{AsPath, Attributes, Origin, Segment};
pub use message::{Codec, Message, Notification};
pub use open::{Capability, Open};
pub use update::{AttributeError, AttributeErrorAction, Update};

use serde::{Deserialize, Serialize};

/// An address family that a session may carry (RFC 4760): AFI and SAFI together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// AFI 1, SAFI 1.
    Ipv4Unicast,
    /// AFI 2, SAFI 1.
    Ipv6Unicast,
}
