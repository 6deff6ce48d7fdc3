//! Whom a path came from, and whether it goes out as it came.

use std::net::Ipv4Addr;
use std::num::NonZeroU32;

use crate::event::PeerId;

/// In eight octets, since there is one for each prefix and group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Via {
    /// `NOBODY` for our own.
    peer: u32,
    /// The sender's BGP Identifier, which is never zero (RFC 6286 §2.1).
    reflected: Option<NonZeroU32>,
}

impl Via {
    pub(super) fn new(peer: Option<PeerId>) -> Via {
        Via {
            peer: peer.map_or(NOBODY, |peer| peer.0),
            reflected: None,
        }
    }

    /// The attributes that go with it are those that were received, and get on their way what RFC 4456 §8 asks for:
    /// ORIGINATOR_ID of this router, if they have none, and our CLUSTER_ID.
    pub(super) fn reflected(self, sender: Ipv4Addr) -> Via {
        let sender = NonZeroU32::new(sender.to_bits()).unwrap_or(NonZeroU32::MAX);
        Via {
            reflected: Some(sender),
            ..self
        }
    }

    /// The peer that must not get it, because it sent it.
    pub(crate) fn peer(self) -> Option<PeerId> {
        (self.peer != NOBODY).then_some(PeerId(self.peer))
    }

    /// The sender of what is reflected as it came.
    pub(super) fn originator(self) -> Option<Ipv4Addr> {
        self.reflected.map(|bits| Ipv4Addr::from_bits(bits.get()))
    }
}

/// Four thousand million peers do not fit into memory.
const NOBODY: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_whom_and_takes_eight_octets() {
        let via = Via::new(Some(PeerId(7)));
        assert_eq!((via.peer(), via.originator()), (Some(PeerId(7)), None));
        let router = Ipv4Addr::new(192, 0, 2, 1);
        let reflected = via.reflected(router);
        assert_eq!(
            (reflected.peer(), reflected.originator()),
            (Some(PeerId(7)), Some(router))
        );
        assert_ne!(via, reflected);
        assert_eq!(Via::new(None).peer(), None);
        assert_eq!(size_of::<Via>(), 8);
    }
}
