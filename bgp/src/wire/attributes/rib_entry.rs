//! Attributes as an entry of an MRT RIB has them (RFC 6396 §4.3.4).

use std::net::IpAddr;

use super::encode::encode_attribute;
use super::{Attributes, OPTIONAL_NON_TRANSITIVE};
use crate::wire::family::Family;
use crate::wire::iana::attribute_code;
use crate::wire::message::Codec;

impl Attributes {
    /// Appends them with AS numbers of four octets, and of MP_REACH_NLRI the next hop alone.
    pub fn encode_rib_entry(&self, family: Family, out: &mut Vec<u8>) {
        let codec = Codec {
            four_octet_as: true,
            aigp: true,
            ..Codec::initial()
        };
        self.encode(&codec, family == Family::Ipv4Unicast, out);
        let Some(next_hop) = self.next_hop else {
            return;
        };
        if family == Family::Ipv4Unicast && next_hop.is_ipv4() {
            return; // in NEXT_HOP
        }
        let code = attribute_code::MP_REACH_NLRI;
        encode_attribute(OPTIONAL_NON_TRANSITIVE, code, out, |out| {
            match (next_hop, self.next_hop_link_local) {
                (IpAddr::V4(next_hop), _) => {
                    out.push(4);
                    out.extend_from_slice(&next_hop.octets());
                }
                (IpAddr::V6(next_hop), None) => {
                    out.push(16);
                    out.extend_from_slice(&next_hop.octets());
                }
                (IpAddr::V6(next_hop), Some(link_local)) => {
                    out.push(32);
                    out.extend_from_slice(&next_hop.octets());
                    out.extend_from_slice(&link_local.octets());
                }
            }
        });
    }
}
