//! Paths as UPDATEs: one for all prefixes that come one behind the other with the same attributes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use caracal_bgp::tap::{Interned, Session};
use caracal_bgp::wire::{Attributes, Codec, Family, Nlri};

/// How a table is told: AS numbers of four octets, every family, and Path Identifiers where the session that
/// it comes from has them.
pub(crate) fn codec(session: Option<&Session>) -> Codec {
    let of_session = session.map(|session| &session.codec);
    Codec {
        four_octet_as: true,
        message_octets_max: of_session.map_or(4096, |codec| codec.message_octets_max),
        families: Family::ALL.to_vec(),
        add_path_send: of_session.map_or(Vec::new(), |codec| codec.add_path_receive.clone()),
        extended_next_hop: true,
        aigp: true,
        ..Codec::initial()
    }
}

/// Prefixes that have the same attributes, or none any more.
#[derive(Debug, Default)]
pub(crate) struct Run {
    attributes: Option<Interned>,
    prefixes: Vec<Nlri>,
}

impl Run {
    /// True: it goes with those that are there. False: those must be taken first.
    pub(crate) fn add(&mut self, nlri: Nlri, attributes: Option<&Interned>) -> bool {
        if self.prefixes.is_empty() {
            self.attributes = attributes.cloned();
        } else if self.attributes.as_ref() != attributes || self.prefixes.len() >= PREFIXES_MAX {
            return false;
        }
        self.prefixes.push(nlri);
        true
    }

    /// As UPDATEs, one behind the other.
    pub(crate) fn take(&mut self, codec: &Codec) -> Vec<u8> {
        let mut out = Vec::new();
        let prefixes = std::mem::take(&mut self.prefixes);
        match self.attributes.take() {
            Some(attributes) => announce(codec, &attributes.unpack(), &prefixes, &mut out),
            None => withdraw(codec, &prefixes, &mut out),
        }
        out
    }
}

fn announce(codec: &Codec, attributes: &Attributes, prefixes: &[Nlri], out: &mut Vec<u8>) {
    for family in Family::ALL {
        let of_family = of_family(prefixes, family);
        if !of_family.is_empty() {
            let attributes = with_next_hop(attributes, family);
            if codec.encode_announce(&attributes, &of_family, out) == 0 {
                // They have come in an extended message (RFC 8654) of another session.
                let extended = Codec {
                    message_octets_max: usize::from(u16::MAX),
                    ..codec.clone()
                };
                extended.encode_announce(&attributes, &of_family, out);
            }
        }
    }
}

fn withdraw(codec: &Codec, prefixes: &[Nlri], out: &mut Vec<u8>) {
    for family in Family::ALL {
        codec.encode_withdraw(&of_family(prefixes, family), out);
    }
}

fn of_family(prefixes: &[Nlri], family: Family) -> Vec<Nlri> {
    let of_family = |nlri: &&Nlri| Family::of(&nlri.prefix) == family;
    prefixes.iter().filter(of_family).copied().collect()
}

/// A local path has no next hop; others may have one of the other family. Neither has a place in an UPDATE, so they
/// get the unspecified address.
pub(crate) fn with_next_hop(attributes: &Attributes, family: Family) -> Attributes {
    let mut attributes = attributes.clone();
    attributes.next_hop = match (family, attributes.next_hop) {
        (Family::Ipv4Unicast, None) => Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        (Family::Ipv6Unicast, None | Some(IpAddr::V4(_))) => {
            Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED))
        }
        (_, next_hop) => next_hop,
    };
    attributes
}

const PREFIXES_MAX: usize = 1000;
